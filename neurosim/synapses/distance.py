"""A rule by which the probability of a synapse depends on the distance of the neurons."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from neurosim.errors import InputError, ShapeError
from neurosim.kernels.common.philox import WORD
from neurosim.kernels.drawing.arguments import KEPT, Key, Listed, Pairs
from neurosim.kernels.drawing.draw import draw_pairs
from neurosim.kernels.drawing.levels import binomial
from neurosim.kernels.drawing.words import row_words
from neurosim.synapses.connectivity import ConnectionRule, Word, check_word, excludes_self

Profile = Callable[[np.ndarray], np.ndarray]

_BLOCK = 1 << 18  # candidates looked at at once
_SAMPLE = 1 << 16  # pairs of which the expected number is estimated


@dataclass(frozen=True)
class GaussianProfile:
    """A probability that falls off with the distance d as ``peak * exp(-d^2 / (2 width^2))``.

    Parameters
    ----------
    peak : float
        In (0, 1].
    width : float
        In the unit of the positions, above 0.
    """

    peak: float
    width: float

    def __post_init__(self) -> None:
        _check_profile(self, self.peak, self.width)

    def __call__(self, distance: np.ndarray) -> np.ndarray:
        """Return the probabilities at distances."""
        return self.peak * np.exp(-0.5 * (distance / self.width) ** 2)


@dataclass(frozen=True)
class ExponentialProfile:
    """A probability that falls off with the distance d as ``peak * exp(-d / width)``.

    Parameters
    ----------
    peak, width : float
        As in `GaussianProfile`.
    """

    peak: float
    width: float

    def __post_init__(self) -> None:
        _check_profile(self, self.peak, self.width)

    def __call__(self, distance: np.ndarray) -> np.ndarray:
        """Return the probabilities at distances."""
        return self.peak * np.exp(-distance / self.width)


class ByDistance(ConnectionRule):
    """Each pair has a synapse with a probability that depends on the distance of the neurons, independently.

    Candidates are drawn with the largest probability; each is kept with the share that its distance leaves. So time
    and memory grow with the candidates, not with the pairs.

    Parameters
    ----------
    positions_in, positions_out : Tensor or array [n, dimensions]
        Of the presynaptic and of the postsynaptic neurons, in any unit.
    probability : GaussianProfile, ExponentialProfile or callable
        Takes distances, an array of float64, to probabilities.
    maximum : float, optional
        Largest probability of a callable, in (0, 1]; the less, the fewer candidates. That of a profile is its peak.
    period : sequence of float, optional
        Length of each dimension of a torus; distances are then those across the nearer edge.
    autapses : {"allowed", "excluded"}
        Whether a neuron may be connected to itself, in a projection of a population to itself.

    Examples
    --------
    >>> import numpy as np, neurosim as ns
    >>> from neurosim.circuit import ByDistance, GaussianProfile
    >>> grid = np.stack(np.meshgrid(np.arange(20.0), np.arange(20.0)), -1).reshape(-1, 2)
    >>> rule = ByDistance(grid, grid, GaussianProfile(0.5, 2.0), period=(20, 20), autapses="excluded")
    >>> synapse = ns.Sparse.drawn(400, 400, rule, seed=0)
    >>> 10 < synapse.weight.numel() / 400 < 14  # 2 pi 0.5 2^2 = 12.6 without autapses 12.1
    True
    """

    def __init__(
        self,
        positions_in: Tensor | np.ndarray,
        positions_out: Tensor | np.ndarray,
        probability: Profile,
        *,
        maximum: float | None = None,
        period: Sequence[float] | None = None,
        autapses: Word = "allowed",
    ) -> None:
        check_word("ByDistance", "autapses", autapses)
        self.ends = tuple(_positions(*each) for each in (("in", positions_in), ("out", positions_out)))
        dimensions = self.ends[0].shape[1]
        if self.ends[1].shape[1] != dimensions:
            raise ShapeError(
                f"ByDistance: positions must have equal dimensions; got {dimensions} and {self.ends[1].shape[1]}."
            )
        self.period = None if period is None else np.asarray(period, np.float64)
        if self.period is not None and (self.period.shape != (dimensions,) or not (self.period > 0).all()):
            raise InputError(f"ByDistance: period must be {dimensions} numbers above 0; got {period!r}.")
        peak = getattr(probability, "peak", 1.0) if maximum is None else maximum
        is_number = isinstance(peak, (int, float)) and not isinstance(peak, bool)
        if not callable(probability) or not is_number or not 0 < peak <= 1:
            raise InputError(
                "ByDistance: probability must be a function of distances such as GaussianProfile(0.5, 2.0), and "
                f"maximum in (0, 1]; got {probability!r} and {maximum!r}."
            )
        self.probability, self.maximum, self.autapses = probability, float(peak), autapses

    def __repr__(self) -> str:
        return f"ByDistance({len(self.ends[0])} to {len(self.ends[1])} neurons, {self.probability!r})"

    def pairs(self, n_in: int, n_out: int, has_same_ends: bool) -> Pairs:
        """Return what decides the pairs; see `ConnectionRule.pairs`."""
        for name, size, positions in zip(("in", "out"), (n_in, n_out), self.ends, strict=True):
            if len(positions) != size:
                raise ShapeError(
                    f"ByDistance: positions_{name} must be of {size} neurons; got {len(positions)} positions."
                )
        excluded = excludes_self(self, self.autapses, n_out, has_same_ends)
        counts = binomial(n_out - excluded, self.maximum)
        expected = self.maximum * n_in * (n_out - excluded)
        candidates = Pairs("binomial", n_in, n_out, expected, counts.first, True, excluded, counts.limits)
        share = self._mean_probability()
        return Pairs(
            "listed",
            n_in,
            n_out,
            share * n_in * (n_out - excluded),
            without_self=excluded,
            listed=functools.partial(self._kept, candidates),
        )

    def _mean_probability(self) -> float:
        """Estimate the probability of a pair from some that are spread over all."""
        n_in, n_out = map(len, self.ends)
        step = max(n_in * n_out // _SAMPLE, 1)
        step += step > 1 and step % 2 == 0  # so that sizes which are powers of two are covered
        pre, post = np.divmod(np.arange(0, n_in * n_out, step), n_out)
        return float(self._probability(pre, post).mean())

    def _probability(self, pre: np.ndarray, post: np.ndarray) -> np.ndarray:
        apart = self.ends[0][pre] - self.ends[1][post]
        if self.period is not None:
            apart -= self.period * np.rint(apart / self.period)
        distance = np.sqrt((apart * apart).sum(1))
        found = np.asarray(self.probability(distance), np.float64)
        if found.shape != distance.shape:
            raise ShapeError(f"ByDistance: probability must return {list(distance.shape)}; got {list(found.shape)}.")
        wrong = np.flatnonzero(~((found >= 0) & (found <= self.maximum * (1 + 1e-12))))
        if wrong.size:
            raise InputError(
                f"ByDistance: probability must lie in [0, maximum={self.maximum:g}]; got {found[wrong[0]]:g} at the "
                f"distance {distance[wrong[0]]:g}."
            )
        return found

    def _kept(self, candidates: Pairs, key: Key) -> Listed:
        """Return the candidates that are kept."""
        starts, post = draw_pairs(candidates, key)
        counts = np.diff(starts)
        kept = np.empty(len(post), bool)
        first = 0
        while first < len(counts):
            last = max(int(np.searchsorted(starts, starts[first] + _BLOCK, side="right")) - 1, first + 1)
            rows, part = np.arange(first, last), slice(starts[first], starts[last])
            pre = np.repeat(rows, counts[first:last])
            limits = np.rint(self._probability(pre, post[part]) / self.maximum * WORD)
            kept[part] = row_words(key, KEPT, rows, counts[first:last]) < limits
            first = last
        remaining = np.concatenate(([0], np.cumsum(kept)))[starts]
        return Listed(remaining, post[kept])


def _positions(name: str, positions: Tensor | np.ndarray) -> np.ndarray:
    given = positions.detach().cpu().numpy() if isinstance(positions, torch.Tensor) else positions
    try:
        array = np.array(given, np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.ndim != 2 or not array.size or not np.isfinite(array).all():
        got = f"shape {list(array.shape)}" if array.ndim != 2 or not array.size else "a number that is not finite"
        raise ShapeError(f"ByDistance: positions_{name} must be finite numbers [n, dimensions]; got {got}.")
    return array


def _check_profile(owner: object, peak: float, width: float) -> None:
    numbers = all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in (peak, width))
    if not numbers or not 0 < peak <= 1 or not 0 < width < np.inf:
        raise InputError(
            f"{type(owner).__name__}: peak must be in (0, 1] and width above 0; got {peak!r} and {width!r}."
        )
