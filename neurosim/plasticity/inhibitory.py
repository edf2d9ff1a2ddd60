"""Plasticity of inhibitory synapses that balances excitation, so that neurons fire at a target rate."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neurosim.errors import InputError
from neurosim.plasticity.stdp import STDP, Factors, check_spikes, shifted, trace
from neurosim.units import decay_of


@dataclass(frozen=True)
class InhibitorySTDP(STDP):
    r"""Vogels' rule: spikes that are near in time strengthen inhibition, each presynaptic spike weakens it.

    With the traces :math:`x` and :math:`y` of pre- and postsynaptic spikes, both of time constant :math:`\tau`, the
    strength :math:`|w|` of a synapse changes by

    .. math:: \Delta |w| = \eta\, x\, s_{post} + \eta\, (y - \alpha)\, s_{pre}, \qquad \alpha = 2\, r^*\, \tau

    so that a pair of spikes :math:`\Delta t` apart contributes :math:`\eta\, e^{-|\Delta t| / \tau}`, whichever is
    first, and a presynaptic spike :math:`-\eta \alpha`. For independent spikes the mean change is 0 where the
    postsynaptic rate is :math:`r^*`. Traces are updated before they are read, as in `PairSTDP`.

    Parameters
    ----------
    w_min, w_max : float
        Bounds of the weights, on one side of 0: ``w_max=0`` where currents of inhibitory synapses are negative,
        ``w_min=0`` where they are conductances of a port of their own.
    mu : float
        0: the changes do not depend on the weight.
    dendritic_delay : float
        As in `STDP`.
    rate : float
        :math:`\eta`, above 0.
    target : float
        Target rate :math:`r^*` of the postsynaptic neurons, Hz, above 0.
    tau : float
        Time constant of the traces, s.
    coincident : bool
        Whether two spikes in the same step make a pair.

    Raises
    ------
    InputError
        For bounds on both sides of 0, a `mu` that is not 0, or a number out of range.

    References
    ----------
    Vogels, Sprekeler, Zenke, Clopath, Gerstner, "Inhibitory plasticity balances excitation and inhibition in sensory
    pathways and memory networks", Science 334, 2011, doi:10.1126/science.1211095.

    Examples
    --------
    >>> import torch
    >>> from neurosim.plasticity import InhibitorySTDP
    >>> rule = InhibitorySTDP(w_min=-1.0, w_max=0.0, rate=0.01, target=5.0)
    >>> pre, post = torch.zeros(2, 50, 1, 1)
    >>> pre[10], post[15] = 1.0, 1.0  # 5 ms later
    >>> factors, _ = rule.factors(pre, post, dt=1e-3)
    >>> rule.change(torch.tensor([[-0.5]]), factors)  # -0.01 (exp(-5 / 20) - 2 5 0.02)
    tensor([[-0.0058]])
    """

    rate: float = 1e-3
    target: float = 5.0
    tau: float = 20e-3
    coincident: bool = True

    def __post_init__(self) -> None:
        """Check the numbers."""
        super().__post_init__()
        if self.mu:
            raise InputError(f"InhibitorySTDP: the changes do not depend on the weight, mu must be 0; got {self.mu!r}.")
        if self.w_min < 0 < self.w_max:
            raise InputError(
                f"InhibitorySTDP: w_min and w_max must be on one side of 0; got {self.w_min!r} and {self.w_max!r}."
            )
        for name in ("rate", "target"):
            if getattr(self, name) <= 0:
                raise InputError(f"InhibitorySTDP: {name} must be a number above 0; got {getattr(self, name)!r}.")

    @property
    def step(self) -> float:
        """Change of a weight by a pair in one step: `rate` with the sign of the weights."""
        return self.rate if self.w_max > 0 else -self.rate

    @property
    def alpha(self) -> float:
        """What a presynaptic spike subtracts, in units of `rate`."""
        return 2 * self.target * self.tau

    def factors(
        self, pre: Tensor, post: Tensor, dt: float, traces: tuple[Tensor, ...] | None = None
    ) -> tuple[Factors, tuple[Tensor, ...]]:
        """Return the factors of each step's change, both traces and spikes on their way; see `STDP.factors`."""
        check_spikes("InhibitorySTDP", pre, post, dt)
        if traces is None:
            traces = torch.zeros_like(pre[0]), torch.zeros_like(post[0])
        x0, y0, *rest = traces
        post, line = self.arriving(post, dt, rest)
        decay = decay_of(self.tau, dt)
        x, y = trace(pre, decay, x0), trace(post, decay, y0)
        ends = (x[-1], y[-1], *line)
        if not self.coincident:
            x, y = decay * shifted(x, x0), decay * shifted(y, y0)
        return Factors(self.step * post, x, -self.step * (y - self.alpha), pre), ends
