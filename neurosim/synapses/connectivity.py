"""Rules by which sparse synapses are drawn: in time and memory that grow with the synapses, not with the pairs.

A rule draws pairs of neurons as keys ``pre * n_out + post``. What is drawn depends on the rule, the sizes, the seed and
the version of NumPy alone. Structure, weights and delays have a generator each, so that another distribution of weights
leaves the structure as it is.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from neurosim.errors import InputError
from neurosim.kernels.sparse.rows import MOST_NEURONS, Rows, index_type
from neurosim.synapses.delayed import in_steps
from neurosim.synapses.distributions import Constant, Distribution, Uniform
from neurosim.units import delay_obstacle, longest_delay

Word = Literal["allowed", "excluded"]

_BLOCK = 1 << 20  # synapses drawn at once
_MOST_PAIRS = 1 << 62  # so that sums of keys stay within 64 bits
_NUMPY = {torch.uint16: np.uint16, torch.int32: np.int32}


class ConnectionRule(abc.ABC):
    """A rule that says which pairs of neurons have synapses."""

    @abc.abstractmethod
    def keys(self, n_in: int, n_out: int, chance: np.random.Generator) -> Iterator[np.ndarray]:
        """Yield the keys ``pre * n_out + post`` of all synapses, int64, ascending, in blocks.

        Raises
        ------
        InputError
            When the rule does not fit the sizes.
        """


@dataclass(frozen=True)
class Bernoulli(ConnectionRule):
    """Each pair has a synapse with the same probability, independently.

    The gaps between synapses are drawn, from the geometric distribution, in place of all pairs.

    Parameters
    ----------
    probability : float
        In (0, 1].
    autapses : {"allowed", "excluded"}
        Whether a neuron may be connected to itself, in a projection of a population to itself.
    """

    probability: float
    autapses: Word = "allowed"

    def __post_init__(self) -> None:
        _check_word("Bernoulli", "autapses", self.autapses)
        if not isinstance(self.probability, (int, float)) or not 0 < self.probability <= 1:
            raise InputError(f"Bernoulli: probability must be in (0, 1]; got {self.probability!r}.")

    def keys(self, n_in: int, n_out: int, chance: np.random.Generator) -> Iterator[np.ndarray]:
        """Yield the keys; see `ConnectionRule.keys`."""
        targets = _targets(self, n_in, n_out, self.autapses)
        pairs, last = n_in * targets, -1
        while last < pairs - 1:
            block = int(min(_BLOCK, 1.1 * self.probability * (pairs - last) + 100, _MOST_PAIRS // pairs))
            gaps = np.minimum(chance.geometric(self.probability, max(block, 1)), pairs + 1)
            places = last + np.cumsum(gaps)
            last = int(places[-1])
            yield _keys(places[: np.searchsorted(places, pairs)], targets, n_out)


@dataclass(frozen=True)
class _Counted(ConnectionRule):
    """A rule with a fixed number of synapses."""

    count: int
    multapses: Word = "allowed"
    autapses: Word = "allowed"

    def __post_init__(self) -> None:
        name = type(self).__name__
        if isinstance(self.count, bool) or not isinstance(self.count, int) or self.count < 1:
            raise InputError(f"{name}: count must be an integer from 1; got {self.count!r}.")
        _check_word(name, "multapses", self.multapses)
        _check_word(name, "autapses", self.autapses)


class FixedOutDegree(_Counted):
    """Each presynaptic neuron has the same number of synapses, onto random postsynaptic neurons.

    Parameters
    ----------
    count : int
        Synapses of a presynaptic neuron, from 1.
    multapses : {"allowed", "excluded"}
        Whether a pair may have several synapses.
    autapses : {"allowed", "excluded"}
        Whether a neuron may be connected to itself, in a projection of a population to itself.
    """

    def keys(self, n_in: int, n_out: int, chance: np.random.Generator) -> Iterator[np.ndarray]:
        """Yield the keys; see `ConnectionRule.keys`."""
        targets = _targets(self, n_in, n_out, self.autapses)
        for places in _fixed(self, n_in, targets, chance):
            yield _keys(places, targets, n_out)


class FixedInDegree(_Counted):
    """Each postsynaptic neuron has the same number of synapses, from random presynaptic neurons.

    Parameters
    ----------
    count : int
        Synapses of a postsynaptic neuron, from 1.
    multapses, autapses : {"allowed", "excluded"}
        As in `FixedOutDegree`.
    """

    def keys(self, n_in: int, n_out: int, chance: np.random.Generator) -> Iterator[np.ndarray]:
        """Yield the keys; see `ConnectionRule.keys`."""
        sources = _targets(self, n_out, n_in, self.autapses)
        every, first = np.empty(n_out * self.count, np.int64), 0
        for places in _fixed(self, n_out, sources, chance):
            post, pre = np.divmod(_keys(places, sources, n_in), n_in)
            every[first : first + len(places)] = pre * n_out + post
            first += len(places)
        every.sort()
        yield from (every[first : first + _BLOCK] for first in range(0, len(every), _BLOCK))


class FixedTotal(_Counted):
    """A fixed number of synapses between random pairs.

    Parameters
    ----------
    count : int
        Number of synapses, from 1.
    multapses, autapses : {"allowed", "excluded"}
        As in `FixedOutDegree`.
    """

    def keys(self, n_in: int, n_out: int, chance: np.random.Generator) -> Iterator[np.ndarray]:
        """Yield the keys; see `ConnectionRule.keys`."""
        targets = _targets(self, n_in, n_out, self.autapses)
        for places in _fixed(self, 1, n_in * targets, chance):
            yield from (_keys(places[k : k + _BLOCK], targets, n_out) for k in range(0, len(places), _BLOCK))


@dataclass(frozen=True)
class OneToOne(ConnectionRule):
    """Each presynaptic neuron has one synapse, onto the postsynaptic neuron of the same index."""

    def keys(self, n_in: int, n_out: int, chance: np.random.Generator) -> Iterator[np.ndarray]:
        """Yield the keys; see `ConnectionRule.keys`."""
        if n_in != n_out:
            raise InputError(f"OneToOne: n_in and n_out must be equal; got {n_in} and {n_out}.")
        yield np.arange(n_in, dtype=np.int64) * (n_out + 1)


def draw_rows(rule: ConnectionRule, n_in: int, n_out: int, chance: np.random.Generator) -> Rows:
    """Return synapses drawn by a rule.

    Beside the rows it takes memory for at most 12 bytes a synapse.

    Parameters
    ----------
    rule : ConnectionRule
    n_in, n_out : int
        Number of presynaptic and of postsynaptic neurons, from 1.
    chance : numpy.random.Generator

    Returns
    -------
    Rows
    """
    if not isinstance(rule, ConnectionRule):
        raise InputError(f"rule must be a ConnectionRule such as Bernoulli(0.1) or FixedInDegree(100); got {rule!r}.")
    if max(n_in, n_out) > MOST_NEURONS or n_in * n_out > _MOST_PAIRS:
        raise InputError(f"{type(rule).__name__}: {n_in} x {n_out} neurons are too many; the limit is 2^31 each.")
    dtype, counts = _NUMPY[index_type(n_out)], np.zeros(n_in + 1, np.int64)

    def narrowed(keys: np.ndarray) -> np.ndarray:
        if len(keys):
            pre, keys = np.divmod(keys, n_out)
            counts[pre[0] + 1 : pre[-1] + 2] += np.bincount(pre - pre[0])
        return keys.astype(dtype)

    parts = [np.empty(0, dtype), *(narrowed(keys) for keys in rule.keys(n_in, n_out, chance))]
    return Rows(torch.from_numpy(np.cumsum(counts)), torch.from_numpy(np.concatenate(parts)), n_out)


def draw_weights(distribution: Distribution | None, rows: Rows, chance: np.random.Generator) -> torch.Tensor:
    """Return weights [n] in torch's default type; without a distribution those of a linear layer."""
    count = rows.post.numel()
    if distribution is None:
        bound = 1.0 / math.sqrt(max(-(-count // rows.n_out), 1))
        distribution = Uniform(-bound, bound)
    if not isinstance(distribution, Distribution):
        raise InputError(f"weight must be a Distribution such as Constant(1.0); got {distribution!r}.")
    dtype = np.dtype(np.float64 if torch.get_default_dtype() is torch.float64 else np.float32)
    return torch.from_numpy(distribution.drawn(count, chance, dtype)).to(torch.get_default_dtype())


def draw_delays(distribution: Distribution, count: int, dt: float, chance: np.random.Generator) -> torch.Tensor:
    """Return delays [count] in steps of `dt` seconds, int32: what is drawn, in s, rounded to the nearest step.

    Raises
    ------
    InputError
        When delays below 0 may be drawn, one is too long (`neurosim.units.longest_delay`), or a constant is not an
        integer number of steps.
    """
    if not isinstance(distribution, Distribution):
        raise InputError(f"delay must be a Distribution such as Constant(1.5e-3); got {distribution!r}.")
    if isinstance(distribution, Constant):
        in_steps("Constant", torch.tensor([distribution.value], dtype=torch.float64), dt)
    if distribution.lowest < 0:
        raise InputError(
            f"delay must be at least 0 s; got {distribution!r}. Give it low=0.0 and outside='clipped' or 'redrawn'."
        )
    steps = torch.empty(count, dtype=torch.int32)
    for first in range(0, count, _BLOCK):
        part = steps[first : first + _BLOCK]
        seconds = distribution.draw(len(part), chance)
        longest = float(seconds.max())
        if longest >= longest_delay(dt):
            obstacle = delay_obstacle(round(longest / dt) * dt, dt)
            raise InputError(f"{obstacle} It was drawn from {distribution!r}.")
        part.copy_(torch.from_numpy(np.rint(seconds / dt)))
    return steps


def generators(seed: int) -> tuple[np.random.Generator, np.random.Generator, np.random.Generator]:
    """Return independent generators for structure, weights and delays."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise InputError(f"seed must be an integer from 0; got {seed!r}.")
    structure, weights, delays = np.random.SeedSequence(int(seed)).spawn(3)
    make = np.random.Philox
    return np.random.Generator(make(structure)), np.random.Generator(make(weights)), np.random.Generator(make(delays))


def _fixed(rule: _Counted, rows: int, targets: int, chance: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield places ``row * targets + target`` with `count` random targets for each of `rows` rows, ascending."""
    count, multapses = rule.count, rule.multapses
    if multapses == "excluded" and count > targets:
        raise InputError(
            f"{type(rule).__name__}: count={count} synapses are more than the {targets} pairs that there are; use "
            "multapses='allowed', or a smaller count."
        )
    at_once = max(_BLOCK // count, 1)
    for first in range(0, rows, at_once):
        own = np.arange(first, min(first + at_once, rows), dtype=np.int64) * targets
        if multapses == "allowed":
            yield _sorted(own, targets, count, chance)
        elif 2 * count > targets:
            exists = np.ones(len(own) * targets, bool)
            exists[_distinct(own - own[0], targets, targets - count, chance)] = False
            yield np.flatnonzero(exists) + own[0]
        else:
            yield _distinct(own, targets, count, chance)


def _distinct(own: np.ndarray, targets: int, count: int, chance: np.random.Generator) -> np.ndarray:
    """Return places with `count` different targets for each row, ascending; `own` is where the rows begin.

    Duplicates are drawn again until there are none. No target is preferred, so that each set of `count` targets is
    equally probable.
    """
    places = _sorted(own, targets, count, chance)
    while (twice := np.flatnonzero(places[1:] == places[:-1])).size:
        begin = own[np.searchsorted(own, places[twice], side="right") - 1]
        places[twice] = begin + chance.integers(0, targets, twice.size)
        places.sort()
    return places


def _sorted(own: np.ndarray, targets: int, count: int, chance: np.random.Generator) -> np.ndarray:
    """Return places with `count` targets for each row, ascending; `own` is where the rows begin."""
    places = chance.integers(0, targets, (len(own), count))
    places += own[:, None]
    places = places.ravel()
    places.sort()
    return places


def _targets(rule: ConnectionRule, n_in: int, n_out: int, autapses: Word) -> int:
    """Return how many neurons a neuron may be connected to."""
    if autapses == "allowed":
        return n_out
    if n_in != n_out:
        raise InputError(
            f"{type(rule).__name__}: autapses='excluded' needs a projection of a population to itself; got n_in={n_in} "
            f"and n_out={n_out}."
        )
    if n_in == 1:
        raise InputError(f"{type(rule).__name__}: one neuron has no synapse where autapses are excluded.")
    return n_out - 1


def _keys(places: np.ndarray, targets: int, n_out: int) -> np.ndarray:
    """Return the keys ``pre * n_out + post`` of places ``pre * targets + target``; a neuron itself is no target."""
    if targets == n_out:
        return places
    pre, target = np.divmod(places, targets)
    return pre * n_out + target + (target >= pre)


def _check_word(owner: str, name: str, word: object) -> None:
    if word not in ("allowed", "excluded"):
        raise InputError(f"{owner}: {name} must be 'allowed' or 'excluded'; got {word!r}.")
