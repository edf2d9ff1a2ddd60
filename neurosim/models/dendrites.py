r"""Active dendrites: segments that recognise a pattern by a few coincident synapses, and their error probabilities.

Ahmad & Hawkins, "How do neurons operate on sparse distributed representations?", arXiv:1601.00720, and "Properties of
sparse distributed representations", arXiv:1503.07469. Of n cells exactly a are active; a segment has s synapses, from
cells of its pattern, and is active when at least :math:`\theta` of them are active.

The probabilities are exact: sums of integers, divided once at the end.
"""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from torch import Tensor, nn

from neurosim.errors import InputError, ShapeError
from neurosim.synapses.linear import uniform_weight


def overlap_count(cells: int, active: int, synapses: int, overlap: int) -> int:
    r"""Return the number of patterns that share `overlap` cells with a segment, :math:`\binom{s}{b}\binom{n-s}{a-b}`.

    Parameters
    ----------
    cells, active, synapses : int
        n, a and s; ``0 <= a, s <= n``.
    overlap : int
        b, at least 0.
    """
    _check(cells, active, synapses)
    if overlap < 0 or overlap > min(synapses, active):
        return 0
    return math.comb(synapses, overlap) * math.comb(cells - synapses, active - overlap)


def false_match(cells: int, active: int, synapses: int, threshold: int) -> float:
    r"""Return the probability that a segment is active for a random pattern.

    :math:`P = \sum_{b \ge \theta} \binom{s}{b}\binom{n-s}{a-b} / \binom{n}{a}`, the tail of a hypergeometric
    distribution.

    Parameters
    ----------
    cells, active, synapses : int
        n, a and s; ``0 <= a, s <= n``.
    threshold : int
        Number of active synapses needed, at least 0.

    Examples
    --------
    >>> f"{false_match(2048, 40, 20, 10):.3e}"
    '3.911e-13'
    """
    _check(cells, active, synapses)
    _check_integer("threshold", threshold)
    matching = sum(overlap_count(cells, active, synapses, b) for b in range(threshold, min(synapses, active) + 1))
    return float(Fraction(matching, math.comb(cells, active)))


def missed_match(active: int, synapses: int, threshold: int, noise: int) -> float:
    r"""Return the probability that a segment is inactive for its own pattern when part of it is replaced.

    The segment has synapses from s of the a cells of its pattern, of which v are silent:
    :math:`P = \sum_{b < \theta} \binom{a-v}{b}\binom{v}{s-b} / \binom{a}{s}`.

    Parameters
    ----------
    active, synapses : int
        a and s; ``0 <= s <= a``.
    threshold : int
        Active synapses needed.
    noise : int
        v, cells of the pattern that are not active, 0 to a. The segment has no synapses from the cells that replace
        them.
    """
    _check(active, noise, synapses)
    _check_integer("threshold", threshold)
    missing = sum(
        math.comb(active - noise, b) * math.comb(noise, synapses - b) for b in range(min(threshold, synapses + 1))
    )
    return float(Fraction(missing, math.comb(active, synapses)))


def any_of(probability: float, segments: int) -> float:
    """Return the probability ``1 - (1 - p)^M`` that at least one of M independent segments is active.

    Exact to rounding, also for a `probability` far below the resolution of 1.
    """
    if not 0.0 <= probability <= 1.0:
        raise InputError(f"any_of: a probability must be in 0 to 1; got {probability!r}.")
    _check_integer("segments", segments)
    if probability == 1.0:
        return 1.0 if segments else 0.0
    return -math.expm1(segments * math.log1p(-probability))


def union_density(cells: int, active: int, patterns: int) -> float:
    """Return the expected fraction of cells in the union of M random patterns, ``1 - (1 - a/n)^M``."""
    _check(cells, active, 0)
    return any_of(active / cells, patterns)


def union_false_match(cells: int, active: int, patterns: int) -> float:
    """Return about the probability that a random pattern is a subset of the union of M others, ``density^a``."""
    return union_density(cells, active, patterns) ** active


class Segments(nn.Module):
    """Dendritic segments that are active when enough of their synapses are active.

    Parameters
    ----------
    synapses : Tensor [M, s] of int64
        For each of M segments, the presynaptic cells, without duplicates.
    cells : int
        n, number of cells.
    threshold : int
        Active synapses needed, 1 to s. Of the order of 8 to 20 for an NMDA spike.

    Raises
    ------
    ShapeError, InputError
        When the table of synapses is not valid, or the threshold cannot be reached.

    Examples
    --------
    >>> import torch
    >>> segments = Segments(torch.tensor([[0, 1, 2], [2, 3, 4]]), cells=6, threshold=2)
    >>> segments(torch.tensor([1.0, 1.0, 0.0, 0.0, 1.0, 0.0]))
    tensor([ True, False])
    """

    synapses: Tensor

    def __init__(self, synapses: Tensor, *, cells: int, threshold: int) -> None:
        super().__init__()
        if synapses.dim() != 2 or 0 in synapses.shape:
            raise ShapeError(f"Segments: synapses must be [segments, synapses of each]; got {list(synapses.shape)}.")
        if synapses.is_floating_point() or int(synapses.min()) < 0 or int(synapses.max()) >= cells:
            raise InputError(f"Segments: synapses must be integer indices of cells, 0 to {cells - 1}.")
        if bool((synapses.sort(1).values.diff(dim=1) == 0).any()):
            raise InputError("Segments: a segment has two synapses from one cell; sample without replacement.")
        if not 1 <= threshold <= synapses.shape[1]:
            raise InputError(
                f"Segments: threshold must be a number of synapses, 1 to {synapses.shape[1]}; got {threshold!r}."
            )
        self.cells, self.threshold = cells, threshold
        self.register_buffer("synapses", synapses.long().clone())

    @classmethod
    def sampled(
        cls, patterns: Tensor, synapses: int, *, threshold: int, generator: torch.Generator | None = None
    ) -> Segments:
        """Return one segment for each pattern, with synapses sampled from its active cells.

        Parameters
        ----------
        patterns : Tensor [M, n]
            Active where not 0; at least `synapses` active cells in each.
        synapses : int
            s, synapses of each segment.
        threshold, generator
            As in the class; source of the random draws.
        """
        if patterns.dim() != 2:
            raise ShapeError(f"Segments.sampled: patterns must be [segments, cells]; got {list(patterns.shape)}.")
        on = patterns != 0
        few = int(on.sum(1).min()) if len(on) else 0
        if not 1 <= synapses <= few:
            raise InputError(
                f"Segments.sampled: a pattern has {few} active cells; {synapses!r} synapses cannot be drawn."
            )
        order = torch.rand(patterns.shape, generator=generator, dtype=torch.float64).to(patterns.device)
        chosen = torch.where(on, order, 2.0).argsort(1)[:, :synapses]
        return cls(chosen, cells=patterns.shape[1], threshold=threshold)

    def active(self, z: Tensor) -> Tensor:
        """Return the number of active synapses of each segment, int64 [..., M], for cells z [..., n]."""
        if not z.dim() or z.shape[-1] != self.cells:
            raise ShapeError(f"Segments: cells must be [..., {self.cells}]; got {list(z.shape)}.")
        return (z != 0)[..., self.synapses].sum(-1)

    def forward(self, z: Tensor) -> Tensor:
        """Return which segments are active, bool [..., M], for cells z [..., n], active where not 0."""
        return self.active(z) >= self.threshold

    def extra_repr(self) -> str:
        """Return the sizes."""
        count, each = self.synapses.shape
        return f"{count} segments, {each} of {self.cells} cells, threshold={self.threshold}"


def k_winners(x: Tensor, k: int) -> Tensor:
    """Keep the k largest values of the last axis and set the others to 0; gradients pass only through the winners.

    Of equal values the first win, so exactly k remain.
    """
    if not 1 <= k <= x.shape[-1]:
        raise InputError(f"k_winners: k must be in 1 to {x.shape[-1]}; got {k!r}.")
    winners = x.sort(dim=-1, descending=True, stable=True).indices[..., :k]
    return torch.zeros_like(x).scatter(-1, winners, x.gather(-1, winners))


class ActiveDendrites(nn.Module):
    r"""Point neurons gated by the strongest of their dendritic segments, then k winners.

    .. math:: y_j = (W x + b)_j\, \sigma(d_j), \quad d_j = u_{j,m^*} \cdot c, \quad
              m^* = \arg\max_m |u_{j,m} \cdot c|

    with a context c, then `k_winners`. The idea is that of Iyer et al., "Avoiding catastrophe: active dendrites enable
    multi-task learning in dynamic environments", Frontiers in Neurorobotics 2022, arXiv:2201.00042, written from the
    description and not compared with its program.

    Parameters
    ----------
    n_in, n_out : int
        Inputs and neurons.
    context : int
        Length of the context.
    segments : int
        Of each neuron.
    winners : int
        Neurons that stay active, 1 to `n_out`.

    Attributes
    ----------
    segments : Parameter [n_out, segments, context]
    """

    def __init__(self, n_in: int, n_out: int, *, context: int, segments: int, winners: int) -> None:
        super().__init__()
        for name, number in (("n_in", n_in), ("n_out", n_out), ("context", context), ("segments", segments)):
            _check_integer(name, number, 1)
        if not 1 <= winners <= n_out:
            raise InputError(f"ActiveDendrites: winners must be in 1 to {n_out}; got {winners!r}.")
        self.feed_forward = nn.Linear(n_in, n_out)
        self.segments = uniform_weight((n_out, segments, context), context)
        self.winners = winners

    def gate(self, context: Tensor) -> Tensor:
        """Return the factor of each neuron, in (0, 1), [B, n_out] for a context [B, context]."""
        if context.shape[-1] != self.segments.shape[2]:
            raise ShapeError(
                f"ActiveDendrites: context must be [B, {self.segments.shape[2]}]; got {list(context.shape)}."
            )
        drive = (context @ self.segments.flatten(0, 1).T).unflatten(-1, self.segments.shape[:2])
        strongest = drive.abs().argmax(-1, keepdim=True)
        return torch.sigmoid(drive.gather(-1, strongest)[..., 0])

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the output [B, n_out] for x [B, n_in]; a context may be shared by all samples; None is no gating."""
        drive = self.feed_forward(x)
        return k_winners(drive if context is None else drive * self.gate(context), self.winners)


def _check_integer(name: str, number: object, low: int = 0) -> None:
    if not isinstance(number, int) or isinstance(number, bool) or number < low:
        raise InputError(f"{name} must be an integer from {low}; got {number!r}.")


def _check(cells: int, active: int, synapses: int) -> None:
    for name, number in (("cells", cells), ("active", active), ("synapses", synapses)):
        _check_integer(name, number)
    if cells < 1 or active > cells or synapses > cells:
        raise InputError(f"of {cells} cells there cannot be {active} active and {synapses} with a synapse.")
