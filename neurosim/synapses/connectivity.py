"""Rules by which synapses are drawn: in time and memory that grow with the synapses, not with the pairs.

What is drawn depends on the rule, the sizes and the seed alone; `neurosim.kernels.drawing.reference` defines it.
Structure, weights and delays have random numbers each, so that another distribution of weights leaves the structure as
it is.
"""

from __future__ import annotations

import abc
import functools
from dataclasses import dataclass
from typing import Literal

import numpy as np

from neurosim.errors import InputError
from neurosim.kernels.drawing.arguments import Key, Listed, Pairs
from neurosim.kernels.drawing.levels import binomial
from neurosim.kernels.sparse.rows import MOST_NEURONS

Word = Literal["allowed", "excluded"]

_MOST_PAIRS = 1 << 62  # so that products with words stay within 64 bits


class ConnectionRule(abc.ABC):
    """A rule that says which pairs of neurons have synapses."""

    @abc.abstractmethod
    def pairs(self, n_in: int, n_out: int, has_same_ends: bool) -> Pairs:
        """Return what decides the pairs; nothing is drawn yet. A rule of your own returns `listed_pairs`.

        Parameters
        ----------
        n_in, n_out : int
            Presynaptic and postsynaptic neurons.
        has_same_ends : bool
            Whether the projection joins a population to itself.

        Raises
        ------
        InputError
            When the rule does not fit the sizes.
        """


def pairs_of(rule: ConnectionRule, n_in: int, n_out: int, has_same_ends: bool) -> Pairs:
    """Return what decides the pairs of a rule, after a check of the rule and the sizes."""
    if not isinstance(rule, ConnectionRule):
        raise InputError(f"rule must be a ConnectionRule such as Bernoulli(0.1) or FixedInDegree(100); got {rule!r}.")
    if max(n_in, n_out) > MOST_NEURONS or n_in * n_out > _MOST_PAIRS:
        raise InputError(f"{type(rule).__name__}: {n_in} x {n_out} neurons are too many; the limit is 2^31 each.")
    return rule.pairs(n_in, n_out, has_same_ends)


def listed_pairs(pre: np.ndarray, post: np.ndarray, n_in: int, n_out: int) -> Pairs:
    """Return pairs that a rule of your own lists.

    Parameters
    ----------
    pre, post : ndarray [n] of an integer type
        In ``0 ... n_in - 1`` and ``0 ... n_out - 1``. A pair may be listed several times.
    n_in, n_out : int
    """
    for name, neurons, size in (("pre", pre, n_in), ("post", post, n_out)):
        if len(neurons) and not 0 <= int(neurons.min()) <= int(neurons.max()) < size:
            raise InputError(f"{name} must lie in 0 ... {size - 1}; got {int(neurons.min())} to {int(neurons.max())}.")
    place = np.asarray(pre, np.int64) * n_out + post
    order = np.argsort(place, kind="stable")
    place = place[order]
    starts = np.concatenate(([0], np.cumsum(np.bincount(pre, minlength=n_in), dtype=np.int64)))
    rows = Listed(starts, np.asarray(post)[order].astype(np.int32))
    is_distinct = not (place[1:] == place[:-1]).any()
    return Pairs("listed", n_in, n_out, len(place), is_distinct=is_distinct, listed=functools.partial(_same, rows))


def _same(rows: Listed, key: Key) -> Listed:
    return rows


@dataclass(frozen=True)
class Bernoulli(ConnectionRule):
    """Each pair has a synapse with the same probability, independently.

    The number of targets of a neuron is drawn from the binomial distribution, then that many different targets.

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
        check_word("Bernoulli", "autapses", self.autapses)
        is_number = isinstance(self.probability, (int, float)) and not isinstance(self.probability, bool)
        if not is_number or not 0 < self.probability <= 1:
            raise InputError(f"Bernoulli: probability must be in (0, 1]; got {self.probability!r}.")

    def pairs(self, n_in: int, n_out: int, has_same_ends: bool) -> Pairs:
        """Return what decides the pairs; see `ConnectionRule.pairs`."""
        excluded = excludes_self(self, self.autapses, n_out, has_same_ends)
        counts = binomial(n_out - excluded, self.probability)
        expected = self.probability * n_in * (n_out - excluded)
        return Pairs("binomial", n_in, n_out, expected, counts.first, without_self=excluded, limits=counts.limits)


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
        check_word(name, "multapses", self.multapses)
        check_word(name, "autapses", self.autapses)

    def _counted(self, kind: Literal["in", "out", "total"], n_in: int, n_out: int, has_same_ends: bool) -> Pairs:
        excluded = excludes_self(self, self.autapses, n_out, has_same_ends)
        rows = {"in": n_out, "out": n_in, "total": 1}[kind]
        others = {"in": n_in - excluded, "out": n_out - excluded, "total": n_in * (n_out - excluded)}[kind]
        distinct = self.multapses == "excluded"
        if distinct and self.count > others:
            name = type(self).__name__
            what = "pairs" if kind == "total" else "presynaptic neurons" if kind == "in" else "postsynaptic neurons"
            raise InputError(
                f"{name}: count={self.count} synapses without multapses are more than the {others} {what}"
                f"{' other than the neuron itself' if excluded and kind != 'total' else ''}; use multapses='allowed', "
                "or a smaller count."
            )
        return Pairs(kind, n_in, n_out, rows * self.count, self.count, distinct, excluded)


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

    def pairs(self, n_in: int, n_out: int, has_same_ends: bool) -> Pairs:
        """Return what decides the pairs; see `ConnectionRule.pairs`."""
        return self._counted("out", n_in, n_out, has_same_ends)


class FixedInDegree(_Counted):
    """Each postsynaptic neuron has the same number of synapses, from random presynaptic neurons.

    Parameters
    ----------
    count : int
        Synapses of a postsynaptic neuron, from 1.
    multapses, autapses : {"allowed", "excluded"}
        As in `FixedOutDegree`.
    """

    def pairs(self, n_in: int, n_out: int, has_same_ends: bool) -> Pairs:
        """Return what decides the pairs; see `ConnectionRule.pairs`."""
        return self._counted("in", n_in, n_out, has_same_ends)


class FixedTotal(_Counted):
    """A fixed number of synapses between random pairs.

    Parameters
    ----------
    count : int
        Number of synapses, from 1.
    multapses, autapses : {"allowed", "excluded"}
        As in `FixedOutDegree`.
    """

    def pairs(self, n_in: int, n_out: int, has_same_ends: bool) -> Pairs:
        """Return what decides the pairs; see `ConnectionRule.pairs`."""
        return self._counted("total", n_in, n_out, has_same_ends)


@dataclass(frozen=True)
class OneToOne(ConnectionRule):
    """Each presynaptic neuron has one synapse, onto the postsynaptic neuron of the same index."""

    def pairs(self, n_in: int, n_out: int, has_same_ends: bool) -> Pairs:
        """Return what decides the pairs; see `ConnectionRule.pairs`."""
        if n_in != n_out:
            raise InputError(f"OneToOne: n_in and n_out must be equal; got {n_in} and {n_out}.")
        return Pairs("one", n_in, n_out, n_in)


@dataclass(frozen=True)
class AllToAll(ConnectionRule):
    """Each pair has a synapse.

    Parameters
    ----------
    autapses : {"allowed", "excluded"}
        Whether a neuron is connected to itself, in a projection of a population to itself.
    """

    autapses: Word = "allowed"

    def __post_init__(self) -> None:
        check_word("AllToAll", "autapses", self.autapses)

    def pairs(self, n_in: int, n_out: int, has_same_ends: bool) -> Pairs:
        """Return what decides the pairs; see `ConnectionRule.pairs`."""
        excluded = excludes_self(self, self.autapses, n_out, has_same_ends)
        return Pairs("all", n_in, n_out, n_in * (n_out - excluded), without_self=excluded)


def excludes_self(rule: ConnectionRule, autapses: Word, n_out: int, has_same_ends: bool) -> bool:
    """Return whether a neuron itself is left out of its targets; two populations have no autapses."""
    excluded = autapses == "excluded" and has_same_ends
    if excluded and n_out == 1:
        raise InputError(f"{type(rule).__name__}: one neuron has no synapse where autapses are excluded.")
    return excluded


def check_word(owner: str, name: str, word: object) -> None:
    """Refuse what is neither "allowed" nor "excluded"."""
    if word not in ("allowed", "excluded"):
        raise InputError(f"{owner}: {name} must be 'allowed' or 'excluded'; got {word!r}.")
