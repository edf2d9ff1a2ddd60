"""Populations of Xylo's neuron, from the contents of the chip's registers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from neurosim import cores
from neurosim.hardware.xylo.configuration import MOST_HIDDEN
from neurosim.language import Surrogate
from neurosim.network.layers import layer
from neurosim.network.neuron import Neuron


def xylo_neurons(
    *,
    dt: float,
    dash_mem: int | Tensor = 4,
    dash_syn: int | Tensor = 1,
    dash_syn2: int | Tensor = 1,
    v_th: int | Tensor = 1024,
    bias: int | Tensor = 0,
    most: int = MOST_HIDDEN,
    unit: float = 1024.0,
    size: int | Sequence[int] | None = None,
    spike: Surrogate | None = None,
) -> Neuron:
    """Make a population of Xylo's neuron.

    Parameters
    ----------
    dt : float
        Time that a step of the chip represents, s.
    dash_mem, dash_syn, dash_syn2 : int or Tensor
        Decays of the membrane and of the two synaptic currents, 0 ... 15: a step takes ``2^-dash`` of the value, and at
        least 1 of a positive one. The time constant is ``-dt / log(1 - 2^-dash)``, about ``dt 2^dash``. A current whose
        dash is 0 never reaches the membrane.
    v_th : int or Tensor
        Threshold, 1 ... 32767. A neuron sends a spike for each time that its membrane holds it.
    bias : int or Tensor
        Added to the membrane at each step, -32768 ... 32767.
    most : int
        Most spikes of a step: 31 for a hidden neuron, 1 for one of the output.
    unit : float
        Voltage that is 1 for the surrogate.
    size, spike
        As in `neurosim.network.neuron.Neuron`.

    Returns
    -------
    Neuron
        With the core `neurosim.cores.xylo`. Its input ports are ``i`` and ``i2``, the two synaptic currents, and
        ``alias``, spikes that other neurons copy to it.

    Examples
    --------
    >>> import torch
    >>> from neurosim.hardware.xylo import xylo_neurons
    >>> layer = xylo_neurons(dt=1e-3, dash_mem=5, dash_syn=3, v_th=400)
    >>> z, state = layer({"i": torch.full((20, 1, 1), 60.0)})
    >>> z.flatten().int().tolist()
    [0, 0, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    """
    values: dict[str, float | Tensor] = dict(
        dash_mem=dash_mem, dash_syn=dash_syn, dash_syn2=dash_syn2, v_th=v_th, bias=bias, most=most, unit=unit
    )
    return layer(cores.xylo)(dt=dt, size=size, spike=spike, **values)
