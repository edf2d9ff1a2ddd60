"""Spike-timing-dependent plasticity: what the spikes before and after a synapse do to its weight."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from neurosim.errors import InputError, ShapeError
from neurosim.language import seconds
from neurosim.units import check_dt, decay_of

BLOCK = 64  # steps whose traces are made in one product


class Factors(NamedTuple):
    """Potentiation ``after_up before_up^T`` less depression ``after_down before_down^T``, at each step.

    Attributes
    ----------
    after_up, after_down : Tensor [T, B, n_out]
    before_up, before_down : Tensor [T, B, n_in]
    """

    after_up: Tensor
    before_up: Tensor
    after_down: Tensor
    before_down: Tensor


@dataclass(frozen=True)
class STDP(ABC):
    r"""What pair and triplet rules share: bounds, and how a change depends on the weight.

    .. math:: w \leftarrow \mathrm{clip}(w + f_+(w)\,\Delta_+ - f_-(w)\,\Delta_-), \quad
              f_+ = \left(\frac{w_{max} - w}{w_{max} - w_{min}}\right)^\mu, \quad
              f_- = \left(\frac{w - w_{min}}{w_{max} - w_{min}}\right)^\mu

    With :math:`\mu = 0` changes do not depend on the weight (additive), with 1 they are multiplicative.

    References
    ----------
    Gütig et al., "Learning input correlations through nonlinear temporally asymmetric Hebbian plasticity", Journal
    of Neuroscience 23, 2003, doi:10.1523/JNEUROSCI.23-09-03697.2003.
    """

    w_min: float = 0.0
    w_max: float = 1.0
    mu: float = 0.0

    def __post_init__(self) -> None:
        """Check bounds and times."""
        name = type(self).__name__
        if not self.w_min < self.w_max:
            raise InputError(f"{name}: w_min must lie below w_max; got {self.w_min!r} and {self.w_max!r}.")
        if not 0 <= self.mu < math.inf:
            raise InputError(f"{name}: mu must be 0 or more; got {self.mu!r}.")
        if self.mu and not math.isfinite(self.w_max - self.w_min):
            raise InputError(f"{name}: changes that depend on the weight (mu={self.mu}) need finite bounds.")
        for field in self.__dataclass_fields__:
            if field.startswith("tau"):
                _TIME.check(name, field, getattr(self, field))

    @abstractmethod
    def factors(
        self, before: Tensor, after: Tensor, dt: float, traces: tuple[Tensor, ...] | None = None
    ) -> tuple[Factors, tuple[Tensor, ...]]:
        """Return the factors of each step's change and the traces after the last step.

        Parameters
        ----------
        before : Tensor [T, B, n_in]
            Spikes as they arrive at the synapses.
        after : Tensor [T, B, n_out]
            Spikes of the neurons that the synapses lead to.
        dt : float
            Length of a step, s.
        traces : tuple of Tensor, optional
            What an earlier call returned; silence came before if None.
        """

    def dependence(self, weight: Tensor) -> tuple[Tensor | float, Tensor | float]:
        """Return f+ and f- at `weight`."""
        if not self.mu:
            return 1.0, 1.0
        width = self.w_max - self.w_min
        up, down = (self.w_max - weight) / width, (weight - self.w_min) / width
        return up.clamp(min=0) ** self.mu, down.clamp(min=0) ** self.mu

    def bounded(self, weight: Tensor) -> Tensor:
        """Return the weights, held between the bounds."""
        return weight.clamp(self.w_min, self.w_max)

    def change(self, weight: Tensor, factors: Factors) -> Tensor:
        """Return the change of `weight` [n_out, n_in] over all steps, mean over the batch, before the bounds."""
        _, batch = factors.after_up.shape[:2]
        up, down = self.dependence(weight)
        raised = factors.after_up.flatten(0, 1).T @ factors.before_up.flatten(0, 1)
        lowered = factors.after_down.flatten(0, 1).T @ factors.before_down.flatten(0, 1)
        return (up * raised - down * lowered) / batch

    def eligibility(self, weight: Tensor, factors: Factors, decay: float) -> Tensor:
        """Return the change of each sample [B, n_out, n_in], with that of k steps before the last times decay^k."""
        steps = len(factors.after_up)
        ages = torch.arange(steps - 1, -1, -1, dtype=weight.dtype, device=weight.device)
        fading = (decay**ages)[:, None, None]
        up, down = self.dependence(weight)
        raised = torch.einsum("tbo,tbi->boi", fading * factors.after_up, factors.before_up)
        lowered = torch.einsum("tbo,tbi->boi", fading * factors.after_down, factors.before_down)
        return up * raised - down * lowered


@dataclass(frozen=True)
class PairSTDP(STDP):
    r"""Pair rule: each pair of a spike before and one after counts, by the time between them.

    .. math:: x \leftarrow x e^{-dt/\tau_+} + s_{pre}, \quad y \leftarrow y e^{-dt/\tau_-} + s_{post}, \quad
              \Delta w = A_+ f_+(w)\, x\, s_{post} - A_- f_-(w)\, y\, s_{pre}

    so that a pair :math:`\Delta t = t_{post} - t_{pre}` apart gives :math:`A_+ e^{-\Delta t / \tau_+}` where the spike
    before comes first and :math:`-A_- e^{-|\Delta t| / \tau_-}` where it comes last. Traces are updated before they
    are read: two spikes in the same step count on both sides, unless `coincident` is False.

    Parameters
    ----------
    w_min, w_max, mu : float
        As in `STDP`.
    a_plus, a_minus : float
        Sizes of the two sides.
    tau_plus, tau_minus : float
        Their time constants, s.
    nearest : bool
        Whether only the last spike on the other side counts, and not all of them.
    coincident : bool
        Whether two spikes in the same step make a pair.
    dendritic_delay : float
        Time, s, that a spike after takes back along the dendrite to its synapses, a whole number of steps: the rule
        sees it that much later. On chips it is a step.

    References
    ----------
    Song, Miller, Abbott, "Competitive Hebbian learning through spike-timing-dependent synaptic plasticity", Nature
    Neuroscience 3, 2000, doi:10.1038/78829. Morrison, Diesmann, Gerstner, "Phenomenological models of synaptic
    plasticity based on spike timing", Biological Cybernetics 98, 2008, doi:10.1007/s00422-008-0233-1.

    Examples
    --------
    >>> import torch
    >>> from neurosim.plasticity.stdp import PairSTDP
    >>> rule = PairSTDP(a_plus=0.01, a_minus=0.012)
    >>> before, after = torch.zeros(2, 50, 1, 1)
    >>> before[10], after[15] = 1.0, 1.0  # 5 ms later
    >>> factors, _ = rule.factors(before, after, dt=1e-3)
    >>> rule.change(torch.tensor([[0.5]]), factors)  # 0.01 exp(-5 / 20)
    tensor([[0.0078]])
    """

    a_plus: float = 0.01
    a_minus: float = 0.01
    tau_plus: float = 20e-3
    tau_minus: float = 20e-3
    nearest: bool = False
    coincident: bool = True
    dendritic_delay: float = 0.0

    def factors(
        self, before: Tensor, after: Tensor, dt: float, traces: tuple[Tensor, ...] | None = None
    ) -> tuple[Factors, tuple[Tensor, ...]]:
        """Return the factors of each step's change and the traces, with spikes under way; see `STDP.factors`.

        Raises
        ------
        InputError
            When the dendritic delay is no whole number of steps.
        """
        _check("PairSTDP", before, after, dt)
        steps = round(self.dendritic_delay / dt) if 0 <= self.dendritic_delay < math.inf else -1
        if steps < 0 or abs(self.dendritic_delay / dt - steps) > 1e-6 * max(steps, 1):
            raise InputError(
                f"PairSTDP: dendritic_delay must be a whole number of steps of {dt:g} s; got "
                f"{self.dendritic_delay!r} s."
            )
        if traces is None:
            traces = torch.zeros_like(before[0]), torch.zeros_like(after[0])
        x0, y0, *held = traces
        under_way = held[0] if held else after.new_zeros(steps, *after.shape[1:])
        if steps:  # the spikes that set out before come first
            line = torch.cat((under_way, after))
            after, under_way = line[: len(after)], line[len(after) :]
        x = trace(before, decay_of(self.tau_plus, dt), x0, nearest=self.nearest)
        y = trace(after, decay_of(self.tau_minus, dt), y0, nearest=self.nearest)
        ends = (x[-1], y[-1], under_way) if steps else (x[-1], y[-1])
        if not self.coincident:
            x, y = (
                decay_of(tau, dt) * shifted(values, start)
                for values, tau, start in ((x, self.tau_plus, x0), (y, self.tau_minus, y0))
            )
        return Factors(self.a_plus * after, x, self.a_minus * y, before), ends


@dataclass(frozen=True)
class TripletSTDP(STDP):
    r"""Triplet rule: pairs count more where a third spike came not long before.

    Traces :math:`r_1, r_2` of the spikes before and :math:`o_1, o_2` of those after, and

    .. math:: \text{spike after: } w \leftarrow w + r_1 (A_2^+ + A_3^+ o_2), \qquad
              \text{spike before: } w \leftarrow w - o_1 (A_2^- + A_3^- r_2)

    with :math:`o_2` and :math:`r_2` read before the spike's own step is added to them. All spikes count (all-to-all).
    Without the A3 terms it is `PairSTDP`.

    Parameters
    ----------
    w_min, w_max, mu : float
        As in `STDP`.
    a2_plus, a2_minus, a3_plus, a3_minus : float
        Sizes of the pair and triplet terms.
    tau_plus, tau_x, tau_minus, tau_y : float
        Time constants of r1, r2, o1 and o2, s.

    References
    ----------
    Pfister, Gerstner, "Triplets of spikes in a model of spike timing-dependent plasticity", Journal of Neuroscience
    26, 2006, doi:10.1523/JNEUROSCI.1425-06.2006. The sizes, tau_plus and tau_x are the defaults of NEST's
    ``stdp_triplet_synapse``; tau_minus and tau_y belong to its neurons.
    """

    w_max: float = 100.0
    a2_plus: float = 5e-10
    a2_minus: float = 7e-3
    a3_plus: float = 6.2e-3
    a3_minus: float = 2.3e-4
    tau_plus: float = 16.8e-3
    tau_x: float = 101e-3
    tau_minus: float = 33.7e-3
    tau_y: float = 125e-3

    def factors(
        self, before: Tensor, after: Tensor, dt: float, traces: tuple[Tensor, ...] | None = None
    ) -> tuple[Factors, tuple[Tensor, ...]]:
        """Return the factors of each step's change and the four traces; see `STDP.factors`."""
        _check("TripletSTDP", before, after, dt)
        pre, post = torch.zeros_like(before[0]), torch.zeros_like(after[0])
        start = (pre, pre, post, post) if traces is None else traces
        taus = (self.tau_plus, self.tau_x, self.tau_minus, self.tau_y)
        r1, r2, o1, o2 = (
            trace(spikes, decay_of(tau, dt), held)
            for spikes, tau, held in zip((before, before, after, after), taus, start, strict=True)
        )
        # A spike takes no part in its own triplet: what a trace was just before is what it is now less the spike.
        up = after * (self.a2_plus + self.a3_plus * (o2 - after))
        down = before * (self.a2_minus + self.a3_minus * (r2 - before))
        return Factors(up, r1, o1, down), (r1[-1], r2[-1], o1[-1], o2[-1])


def trace(spikes: Tensor, decay: float, start: Tensor, *, nearest: bool = False) -> Tensor:
    """Return ``x[t] = decay x[t-1] + s[t]`` at every step; with `nearest` a spike sets it to 1 instead.

    Parameters
    ----------
    spikes : Tensor [T, ...]
    decay : float
        In [0, 1).
    start : Tensor [...]
        Trace before the first step.
    nearest : bool
        Whether only the last spike counts.
    """
    if nearest or len(spikes) == 1:
        rows, held = [], start
        for now in spikes:
            held = torch.where(now > 0, now, decay * held) if nearest else decay * held + now
            rows.append(held)
        return torch.stack(rows)
    # Many steps at once: a product with the lower triangle of decay^(t - s).
    out, held = torch.empty_like(spikes), start
    steps = torch.arange(min(BLOCK, len(spikes)), dtype=spikes.dtype, device=spikes.device)
    ages = steps[:, None] - steps[None, :]
    triangle = torch.where(ages >= 0, decay ** ages.clamp(min=0), torch.zeros_like(ages))
    fading = decay ** (steps + 1)
    for first in range(0, len(spikes), BLOCK):
        part = spikes[first : first + BLOCK].flatten(1)
        size = len(part)
        made = triangle[:size, :size] @ part + fading[:size, None] * held.flatten()
        out[first : first + size] = made.view_as(spikes[first : first + size])
        held = out[first + size - 1]
    return out


def shifted(values: Tensor, start: Tensor) -> Tensor:
    """Return at each step the value of the step before, `start` [...] at the first, of `values` [T, ...]."""
    return torch.cat((start[None], values[:-1]))


_TIME = seconds(20e-3)


def _check(owner: str, before: Tensor, after: Tensor, dt: float) -> None:
    check_dt(owner, dt)
    if before.dim() != 3 or after.dim() != 3 or before.shape[:2] != after.shape[:2] or not len(before):
        raise ShapeError(
            f"{owner}: spikes must be [T, B, n_in] before and [T, B, n_out] after, with a step at least; "
            f"got {list(before.shape)} and {list(after.shape)}."
        )
