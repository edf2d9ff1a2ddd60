"""What decides the synapses of a projection: its rule, the distributions of weights and delays, and its key.

Integers alone: a target is ``word * n >> 32``, a weight or a delay the level whose limits enclose a word.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol

import numpy as np

PICKS, COUNTS, WEIGHTS, DELAYS, KEPT = range(5)  # purposes of words
LONG = 1 << 20  # words of a row where words are not those of a neuron

Kind = Literal["out", "in", "total", "binomial", "one", "all", "listed"]


class Key(NamedTuple):
    """What the words of a projection depend on, beside row, index and purpose.

    Attributes
    ----------
    seed : int
        In ``0 ... 2^64 - 1``.
    stream : int
        In ``0 ... 2^32 - 1``; that of the name of the edge.
    """

    seed: int
    stream: int


class Listed(NamedTuple):
    """Synapses that are given or that a rule of a user drew: rows by presynaptic neuron.

    Attributes
    ----------
    starts : ndarray [n_in + 1] of int64
        The synapses of neuron i are those from ``starts[i]`` up to, but without, ``starts[i + 1]``.
    post : ndarray [n] of int32
    """

    starts: np.ndarray
    post: np.ndarray


class Pairs(NamedTuple):
    """Which pairs of neurons have synapses.

    Attributes
    ----------
    kind : {"out", "in", "total", "binomial", "one", "all", "listed"}
        ``out``: `number` synapses of each presynaptic neuron; ``in``: of each postsynaptic neuron; ``total``: in all;
        ``binomial``: of each presynaptic neuron as many as `limits` say; ``one``: neuron k to neuron k; ``all``: each
        pair; ``listed``: those of `listed`.
    n_in, n_out : int
        Presynaptic and postsynaptic neurons.
    expected : float
        Expected number of synapses.
    number : int
        Of synapses, as the kind says; of binomial the least.
    is_distinct : bool
        Whether no pair has several synapses.
    without_self : bool
        Whether neuron k has no synapse onto neuron k.
    limits : ndarray of uint32, optional
        The number of synapses of a presynaptic neuron is the number of limits up to its word.
    listed : callable, optional
        Takes the key to the synapses of a listed rule.
    """

    kind: Kind
    n_in: int
    n_out: int
    expected: float
    number: int = 0
    is_distinct: bool = True
    without_self: bool = False
    limits: np.ndarray | None = None
    listed: Callable[[Key], Listed] | None = None


class Levels(NamedTuple):
    """A distribution of integers: ``first`` plus the number of limits that are at most a word.

    Attributes
    ----------
    first : int
        The least integer.
    limits : ndarray [levels - 1] of uint32
        Ascending; none if there is one level.
    """

    first: int
    limits: np.ndarray

    @property
    def last(self) -> int:
        """The largest integer."""
        return self.first + len(self.limits)

    @property
    def mean_size(self) -> float:
        """Mean of the absolute values."""
        shares = np.diff(self.limits, prepend=0, append=1 << 32) / (1 << 32)
        return float(shares @ np.abs(np.arange(self.first, self.last + 1)))

    @property
    def is_constant(self) -> bool:
        """Whether there is one level."""
        return not len(self.limits)


class Drawing(NamedTuple):
    """All that decides the synapses of a projection.

    Attributes
    ----------
    pairs : Pairs
    weight : Levels
        In units of `unit`.
    delay : Levels
        In steps.
    unit : float
        A power of two.
    key : Key
    listed_weight, listed_delay : ndarray [n] of int32, optional
        Weights in units and delays in steps of listed synapses that have their own.
    """

    pairs: Pairs
    weight: Levels
    delay: Levels
    unit: float
    key: Key
    listed_weight: np.ndarray | None = None
    listed_delay: np.ndarray | None = None

    @property
    def is_one_to_one(self) -> bool:
        """Whether neuron k has one synapse, onto neuron k, all with one weight and without delay."""
        is_prompt = self.delay.is_constant and not self.delay.first and self.listed_delay is None
        return self.pairs.kind == "one" and self.weight.is_constant and self.listed_weight is None and is_prompt


class HasDrawing(Protocol):
    """A synapse that is drawn."""

    @property
    def drawing(self) -> Drawing:
        """What decides its synapses."""
