"""A leaky integrator with a threshold and no reset."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor

from neurosim.cores import reset_free_leaky
from neurosim.language import Surrogate
from neurosim.network.neuron import Neuron


class ResetFreeLeaky(Neuron):
    r"""Reset-free leaky integrator with threshold: linear in its input up to the threshold.

    .. math:: v[t] = \alpha\, v[t-1] + (1 - \alpha)\, r\, i[t], \quad z[t] = \Theta(v[t] - v_{th}),
              \quad \alpha = e^{-dt/\tau_{mem}}

    A spike does not change the membrane, so all steps are one triangular matrix product,
    :math:`v[t] = \alpha^{t+1} v[-1] + (1 - \alpha)\, r \sum_{s \le t} \alpha^{t-s} i[s]`, which a scan could compute.
    On the CPU the fused loop over time is faster than every scan that was measured, and is used (``docs/parallel.md``).
    A neuron above its threshold fires at every step until it has decayed below it: this is not a LIF.

    Parameters
    ----------
    dt : float, optional
        Length of a step, s, in (0, 0.1); that of its network if left out.
    tau_mem : float or Tensor
        Time constant of the membrane, s, in (0, 1).
    v_th : float or Tensor
        Threshold.
    r : float or Tensor
        Gain of the current.
    size, spike, learn
        As in `Neuron`.

    References
    ----------
    Fang et al. 2023, "Parallel Spiking Neurons with High Efficiency and Ability to Learn Long-term Dependencies",
    NeurIPS, arXiv:2304.12760, where it is the LIF neuron with its reset removed.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> from neurosim.parallel import ResetFreeLeaky
    >>> i = torch.full((40, 1, 1), 1.5)
    >>> int(ResetFreeLeaky(dt=1e-3)(i)[0].sum()), int(ns.LIF(dt=1e-3)(i)[0].sum())
    (19, 1)
    """

    def __init__(
        self,
        *,
        dt: float | None = None,
        tau_mem: float | Tensor = 20e-3,
        v_th: float | Tensor = 1.0,
        r: float | Tensor = 1.0,
        size: int | Sequence[int] | None = None,
        spike: Surrogate | None = None,
        learn: Iterable[str] = (),
    ) -> None:
        super().__init__(
            reset_free_leaky,
            dt=dt,
            size=size,
            spike=spike,
            reset=None,
            learn=learn,
            tau_mem=tau_mem,
            v_th=v_th,
            r=r,
        )
