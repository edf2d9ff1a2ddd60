"""Spike-timing-dependent plasticity: the change of a weight from pre- and postsynaptic spikes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from neurosim.errors import InputError, ShapeError
from neurosim.language import seconds
from neurosim.plasticity.checks import check_numbers
from neurosim.plasticity.pairs import AllPairs, Pairs
from neurosim.units import check_dt, decay_of, steps_obstacle

_ALL = AllPairs()
BLOCK = 64  # steps whose traces are computed in one product


class Factors(NamedTuple):
    """Potentiation ``post_up pre_up^T`` minus depression ``post_down pre_down^T``, at each step.

    Attributes
    ----------
    post_up, post_down : Tensor [T, B, n_out]
    pre_up, pre_down : Tensor [T, B, n_in]
    """

    post_up: Tensor
    pre_up: Tensor
    post_down: Tensor
    pre_down: Tensor


@dataclass(frozen=True)
class STDP(ABC):
    r"""Base of pair and triplet rules: bounds, and the dependence of changes on the weight.

    .. math:: w \leftarrow \mathrm{clip}(w + f_+(w)\,\Delta_+ - f_-(w)\,\Delta_-), \quad
              f_+ = \left(\frac{w_{max} - w}{w_{max} - w_{min}}\right)^\mu, \quad
              f_- = \left(\frac{w - w_{min}}{w_{max} - w_{min}}\right)^\mu

    With :math:`\mu = 0` changes do not depend on the weight (additive), with 1 they are multiplicative.

    Parameters
    ----------
    w_min, w_max, mu : float
        As above.
    dendritic_delay : float
        Time, s, from a postsynaptic spike to its arrival at the synapses along the dendrite, an integer number of
        steps. On chips it is one step. The delay of an edge is axonal: a presynaptic spike arrives at the synapses
        after it. The times of spikes in a rule are those of their arrival at the synapse.

    References
    ----------
    Gütig et al., "Learning input correlations through nonlinear temporally asymmetric Hebbian plasticity", Journal
    of Neuroscience 23, 2003, doi:10.1523/JNEUROSCI.23-09-03697.2003.
    """

    w_min: float = 0.0
    w_max: float = 1.0
    mu: float = 0.0
    dendritic_delay: float = 0.0

    def __post_init__(self) -> None:
        """Check bounds and times."""
        name = type(self).__name__
        check_numbers(self, infinite=("w_min", "w_max"))
        if not self.w_min < self.w_max:
            raise InputError(f"{name}: w_min must be below w_max; got {self.w_min!r} and {self.w_max!r}.")
        if self.mu < 0:
            raise InputError(f"{name}: mu must be 0 or more; got {self.mu!r}.")
        if self.mu and not math.isfinite(self.w_max - self.w_min):
            raise InputError(f"{name}: changes that depend on the weight (mu={self.mu}) need finite bounds.")
        for field in self.__dataclass_fields__:
            if field.startswith("tau"):
                _TIME.check(name, field, getattr(self, field))

    def arriving(self, post: Tensor, dt: float, line: Sequence[Tensor] = ()) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return postsynaptic spikes [T, B, n_out] when they arrive at the synapses, and those still on their way.

        Parameters
        ----------
        post : Tensor [T, B, n_out]
        dt : float
            Length of a step, s.
        line : sequence of Tensor [steps, B, n_out], one or none
            Spikes of earlier calls on their way.

        Raises
        ------
        InputError
            When the dendritic delay is not an integer number of steps.
        """
        obstacle = steps_obstacle("dendritic_delay", self.dendritic_delay, dt)
        if obstacle:
            raise InputError(f"{type(self).__name__}: {obstacle}")
        steps = round(self.dendritic_delay / dt)
        if not steps:
            return post, ()
        before = line[0] if line else post.new_zeros(steps, *post.shape[1:])
        joined = torch.cat((before, post))
        return joined[: len(post)], (joined[len(post) :],)

    @abstractmethod
    def factors(
        self, pre: Tensor, post: Tensor, dt: float, traces: tuple[Tensor, ...] | None = None
    ) -> tuple[Factors, tuple[Tensor, ...]]:
        """Return the factors of each step's change and the traces after the last step.

        Parameters
        ----------
        pre : Tensor [T, B, n_in]
            Presynaptic spikes, at the step in which they arrive.
        post : Tensor [T, B, n_out]
            Postsynaptic spikes.
        dt : float
            Length of a step, s.
        traces : tuple of Tensor, optional
            Traces of an earlier call; by default there were no spikes before.
        """

    def dependence(self, weight: Tensor) -> tuple[Tensor | float, Tensor | float]:
        """Return f+ and f- at `weight`."""
        if not self.mu:
            return 1.0, 1.0
        width = self.w_max - self.w_min
        up, down = (self.w_max - weight) / width, (weight - self.w_min) / width
        return up.clamp(min=0) ** self.mu, down.clamp(min=0) ** self.mu

    def bounded(self, weight: Tensor) -> Tensor:
        """Return the weights, clipped to the bounds."""
        return weight.clamp(self.w_min, self.w_max)

    def change(self, weight: Tensor, factors: Factors, pairs: Pairs = _ALL) -> Tensor:
        """Return the change of the weights over all steps, mean over the batch, before the bounds.

        Parameters
        ----------
        weight : Tensor [n_out, n_in], or [n] of listed pairs
        factors : Factors
        pairs : Pairs
            Which neurons the weights join.
        """
        _, batch = factors.post_up.shape[:2]
        up, down = self.dependence(weight)
        raised = pairs.summed(factors.post_up, factors.pre_up)
        lowered = pairs.summed(factors.post_down, factors.pre_down)
        return (up * raised - down * lowered) / batch

    def eligibility(self, weight: Tensor, factors: Factors, decay: float, pairs: Pairs = _ALL) -> Tensor:
        """Return the change of each sample [B, *weights], that of k steps before the last times decay^k."""
        steps = len(factors.post_up)
        ages = torch.arange(steps - 1, -1, -1, dtype=weight.dtype, device=weight.device)
        fading = (decay**ages)[:, None, None]
        up, down = self.dependence(weight)
        raised = pairs.by_sample(fading * factors.post_up, factors.pre_up)
        lowered = pairs.by_sample(fading * factors.post_down, factors.pre_down)
        return up * raised - down * lowered


@dataclass(frozen=True)
class PairSTDP(STDP):
    r"""Pair rule: each pair of a pre- and a postsynaptic spike counts, by the time between them.

    .. math:: x \leftarrow x e^{-dt/\tau_+} + s_{pre}, \quad y \leftarrow y e^{-dt/\tau_-} + s_{post}, \quad
              \Delta w = A_+ f_+(w)\, x\, s_{post} - A_- f_-(w)\, y\, s_{pre}

    so that a pair with :math:`\Delta t = t_{post} - t_{pre}` contributes :math:`A_+ e^{-\Delta t / \tau_+}` if the
    presynaptic spike is first and :math:`-A_- e^{-|\Delta t| / \tau_-}` if it is last. Traces are updated before they
    are read: two spikes in the same step count on both sides, unless `coincident` is False.

    Parameters
    ----------
    w_min, w_max, mu, dendritic_delay : float
        As in `STDP`.
    a_plus, a_minus : float
        Amplitudes of potentiation and depression.
    tau_plus, tau_minus : float
        Their time constants, s.
    nearest : bool
        Whether only the last spike on the other side counts, instead of all.
    coincident : bool
        Whether two spikes in the same step make a pair.

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
    >>> pre, post = torch.zeros(2, 50, 1, 1)
    >>> pre[10], post[15] = 1.0, 1.0  # 5 ms later
    >>> factors, _ = rule.factors(pre, post, dt=1e-3)
    >>> rule.change(torch.tensor([[0.5]]), factors)  # 0.01 exp(-5 / 20)
    tensor([[0.0078]])
    """

    a_plus: float = 0.01
    a_minus: float = 0.01
    tau_plus: float = 20e-3
    tau_minus: float = 20e-3
    nearest: bool = False
    coincident: bool = True

    def factors(
        self, pre: Tensor, post: Tensor, dt: float, traces: tuple[Tensor, ...] | None = None
    ) -> tuple[Factors, tuple[Tensor, ...]]:
        """Return the factors of each step's change and the traces, with spikes on their way; see `STDP.factors`."""
        check_spikes("PairSTDP", pre, post, dt)
        if traces is None:
            traces = torch.zeros_like(pre[0]), torch.zeros_like(post[0])
        x0, y0, *rest = traces
        post, line = self.arriving(post, dt, rest)
        x = trace(pre, decay_of(self.tau_plus, dt), x0, nearest=self.nearest)
        y = trace(post, decay_of(self.tau_minus, dt), y0, nearest=self.nearest)
        ends = (x[-1], y[-1], *line)
        if not self.coincident:
            x, y = (
                decay_of(tau, dt) * shifted(values, start)
                for values, tau, start in ((x, self.tau_plus, x0), (y, self.tau_minus, y0))
            )
        return Factors(self.a_plus * post, x, self.a_minus * y, pre), ends


@dataclass(frozen=True)
class TripletSTDP(STDP):
    r"""Triplet rule: pairs count more if a third spike precedes them closely.

    With traces :math:`r_1, r_2` of presynaptic and :math:`o_1, o_2` of postsynaptic spikes,

    .. math:: \text{postsynaptic spike: } w \leftarrow w + r_1 (A_2^+ + A_3^+ o_2), \qquad
              \text{presynaptic spike: } w \leftarrow w - o_1 (A_2^- + A_3^- r_2)

    where :math:`o_2` and :math:`r_2` exclude the spike itself. All spikes count (all-to-all).
    Without the A3 terms it is `PairSTDP`.

    Parameters
    ----------
    w_min, w_max, mu, dendritic_delay : float
        As in `STDP`.
    a2_plus, a2_minus, a3_plus, a3_minus : float
        Amplitudes of the pair and triplet terms.
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
        self, pre: Tensor, post: Tensor, dt: float, traces: tuple[Tensor, ...] | None = None
    ) -> tuple[Factors, tuple[Tensor, ...]]:
        """Return the factors of each step's change, the four traces and spikes on their way; see `STDP.factors`."""
        check_spikes("TripletSTDP", pre, post, dt)
        no_pre, no_post = torch.zeros_like(pre[0]), torch.zeros_like(post[0])
        start = [no_pre, no_pre, no_post, no_post] if traces is None else list(traces)
        post, line = self.arriving(post, dt, start[4:])
        taus = (self.tau_plus, self.tau_x, self.tau_minus, self.tau_y)
        r1, r2, o1, o2 = (
            trace(spikes, decay_of(tau, dt), first)
            for spikes, tau, first in zip((pre, pre, post, post), taus, start[:4], strict=True)
        )
        # A spike is not part of its own triplet: the trace without it is the trace minus the spike.
        up = post * (self.a2_plus + self.a3_plus * (o2 - post))
        down = pre * (self.a2_minus + self.a3_minus * (r2 - pre))
        return Factors(up, r1, o1, down), (r1[-1], r2[-1], o1[-1], o2[-1], *line)


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
        rows, x = [], start
        for now in spikes:
            x = torch.where(now > 0, now, decay * x) if nearest else decay * x + now
            rows.append(x)
        return torch.stack(rows)
    # A block of steps is one product with the lower triangle of decay^(t - s).
    out, x = torch.empty_like(spikes), start
    steps = torch.arange(min(BLOCK, len(spikes)), dtype=spikes.dtype, device=spikes.device)
    ages = steps[:, None] - steps[None, :]
    triangle = torch.where(ages >= 0, decay ** ages.clamp(min=0), torch.zeros_like(ages))
    fading = decay ** (steps + 1)
    for first in range(0, len(spikes), BLOCK):
        part = spikes[first : first + BLOCK].flatten(1)
        size = len(part)
        block = triangle[:size, :size] @ part + fading[:size, None] * x.flatten()
        out[first : first + size] = block.view_as(spikes[first : first + size])
        x = out[first + size - 1]
    return out


def shifted(values: Tensor, start: Tensor) -> Tensor:
    """Return `values` [T, ...] one step later, with `start` [...] at the first step."""
    return torch.cat((start[None], values[:-1]))


_TIME = seconds(20e-3)


def check_spikes(owner: str, pre: Tensor, post: Tensor, dt: float) -> None:
    """Check the shapes of the spikes that a rule gets, and the length of a step."""
    check_dt(owner, dt)
    if pre.dim() != 3 or post.dim() != 3 or pre.shape[:2] != post.shape[:2] or not len(pre):
        raise ShapeError(
            f"{owner}: spikes must be [T, B, n_in] (pre) and [T, B, n_out] (post), with at least one step; "
            f"got {list(pre.shape)} and {list(post.shape)}."
        )
