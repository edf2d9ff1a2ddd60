"""A recurrent network of adaptive neurons for speech."""

from __future__ import annotations

from neurosim.language import fast_sigmoid
from neurosim.network.layers import ALIF, LI
from neurosim.network.network import Network
from neurosim.network.sequential import Recurrent, Sequential
from neurosim.synapses.linear import Linear
from neurosim.units import check_dt, unit_gain

_TAU_MEM = 50e-3


def adaptive_speech(channels: int = 64, classes: int = 10, *, hidden: int = 256, dt: float = 10e-3) -> Network:
    """Build a recurrent network of adaptive neurons behind the channels of a cochlea.

    The hidden neurons are `ALIF`, each with a synapse to every other and to itself: a membrane of 50 ms and a threshold
    that rises by 0.2 at a spike and falls back within 300 ms, as in the long short-term memory of spiking networks of
    Bellec et al., NeurIPS 2018, arXiv:1803.09574. The read-out integrates with 200 ms; the mean of its membrane over
    time gives the class (`MeanMembrane`). `examples/spoken_digits.py` trains it.

    Parameters
    ----------
    channels : int
        Input channels, such as those of `neurosim.datasets.heard`.
    classes : int
    hidden : int
        Adaptive neurons.
    dt : float
        Length of a step, s.

    Returns
    -------
    Network
        Input ``"input"``, populations ``"alif1"`` and ``"leaky_integrator2"``.

    Raises
    ------
    InputError
        For a number below 1.
    UnitError
        For a step out of range.

    Examples
    --------
    >>> import torch
    >>> from neurosim.models import adaptive_speech
    >>> net = adaptive_speech(hidden=32)
    >>> v, _ = net(torch.rand(50, 2, 64))
    >>> v.shape
    torch.Size([50, 2, 10])
    """
    dt = check_dt("adaptive_speech", dt)
    gain = unit_gain(_TAU_MEM, dt)
    neurons = ALIF(tau_mem=_TAU_MEM, tau_adapt=0.3, beta=0.2, r=gain, dt=dt, spike=fast_sigmoid(5.0))
    layers = Linear(channels, hidden), Recurrent(neurons, Linear(hidden, hidden)), Linear(hidden, classes)
    return Sequential(*layers, LI(tau_mem=0.2, r=20.0, dt=dt))
