"""A content-addressable memory of spiking neurons after the hippocampal region CA3, millisecond by millisecond."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from neurosim.errors import InputError
from neurosim.synapses.synapse import count

REST, REFRACTORY = -60.0, 1  # mV, ms
TAU_SYN, TAU_STDP = 0.3, 3.0  # ms
FULL = 6.0  # nA, the weight of a synapse that passes a spike, and the largest learned one
_STAY = math.exp(-1.0 / TAU_SYN)
_ARRIVAL = TAU_SYN * (1.0 - _STAY)  # share of a weight that is added to the current
_FADE = math.exp(-1.0 / TAU_STDP)


class _Kind(NamedTuple):
    """Constants of neurons: capacity (nF), time constant (ms) and threshold (mV)."""

    cm: float
    tau: float
    threshold: float


_BIG, _FAST, _OUT = _Kind(0.27, 3.0, -57.0), _Kind(0.14, 0.5, -57.0), _Kind(0.27, 3.0, -57.5)


class _Population:
    """Neurons with exponential currents, in steps of 1 ms."""

    def __init__(self, size: int, kind: _Kind) -> None:
        self.kind, self.size = kind, size
        self.v, self.waits = np.full(size, REST), np.zeros(size, int)
        self.excited, self.inhibited = np.zeros(size), np.zeros(size)
        self.fired = np.zeros(size, bool)

    def step(self) -> None:
        """Integrate the currents of a step, fire, and let the currents decay."""
        kind = self.kind
        limit = REST + kind.tau / kind.cm * (self.excited - self.inhibited)
        v = limit - math.exp(-1.0 / kind.tau) * (limit - self.v)
        self.v = np.where(self.waits > 0, self.v, v)
        self.fired = (self.waits == 0) & (self.v >= kind.threshold)
        self.v[self.fired] = REST
        self.waits = np.where(self.fired, REFRACTORY, np.maximum(self.waits - 1, 0))
        self.excited *= _STAY
        self.inhibited *= _STAY


class _Projection:
    """Synapses [sources, targets] of one delay, ms."""

    def __init__(self, source: str, target: str, weight: np.ndarray, delay: int, *, inhibits: bool = False) -> None:
        self.source, self.target, self.weight, self.inhibits = source, target, weight, inhibits
        self._under_way = [np.zeros(weight.shape[1]) for _ in range(delay)]

    def arriving(self) -> np.ndarray:
        """Return what arrives in this step."""
        return self._under_way.pop(0)

    def send(self, fired: np.ndarray) -> None:
        """Send the spikes of this step."""
        self._under_way.append(fired @ self.weight)

    def learn(self, pre: np.ndarray, post: np.ndarray) -> None:
        """Change the weights by the spikes of a step, before it is sent; nothing here."""


class _Learned(_Projection):
    """Synapses with the pair rule: all pairs count, a change is the same at each weight, and weights stay in 0 to 6 nA.

    A spike of a target counts one step late, and before a spike of a source in the same step. A pair without
    difference in time lowers the weight by the full amount and never raises it.
    """

    def __init__(self, source: str, target: str, sizes: tuple[int, int]) -> None:
        super().__init__(source, target, np.zeros(sizes), 1)
        self._pre, self._post, self._late = np.zeros(sizes[0]), np.zeros(sizes[1]), np.zeros(sizes[1], bool)

    def learn(self, pre: np.ndarray, post: np.ndarray) -> None:
        """Change the weights by the spikes of a step."""
        self._pre, self._post = self._pre * _FADE, self._post * _FADE
        raised = FULL * np.outer(self._pre, self._late)
        self.weight = np.clip(self.weight + raised, 0.0, FULL)
        self._post += self._late
        lowered = FULL * np.outer(pre, self._post)
        self.weight = np.clip(self.weight - lowered, 0.0, FULL)
        self._pre += pre
        self._late = post.copy()


class Recalled(NamedTuple):
    """Cues and contents that a memory sent in an operation, each with the ms after its begin.

    Attributes
    ----------
    cues, contents : dict of int to tuple of int
        What was sent at each ms, of those with a spike.
    """

    cues: dict[int, tuple[int, ...]]
    contents: dict[int, tuple[int, ...]]


class ContentMemory:
    """A memory that stores a content for each cue, and finds contents by cue and cues by any part of a content.

    Cue and content are one-hot and binary. Two pairs of populations of spiking neurons, one for each direction, are
    joined by synapses with spike-timing-dependent plasticity; inhibition selects between them. To learn is to hold both
    inputs for 3 ms; to recall is one spike. A cue that is learned again forgets its content. Recall by content
    finds **all** cues that store at least one of the given neurons.

    An operation may begin 7 ms after one that learns (8 ms if both contents share a neuron) and 6 ms after a recall.
    The operations here take 8 ms; `step` and `play` leave the time to the caller.

    Parameters
    ----------
    cues, contents : int
        Numbers of cues, and of neurons of a content.

    Attributes
    ----------
    now : int
        Steps so far, ms.
    populations : dict of str to array of bool
        Which neurons fired in the last step, by the authors' names.

    References
    ----------
    Casanueva-Morato, Ayuso-Martinez, Dominguez-Morales, Jimenez-Fernandez, Jimenez-Moreno 2024, Neural Networks 178,
    106474 (arXiv:2310.05868). Sizes, weights and delays are those of the authors' program; the order of the events in a
    step is the one that gives the spikes of its runs on SpiNNaker.

    Examples
    --------
    >>> from neurosim.models import ContentMemory
    >>> memory = ContentMemory(5, 10)
    >>> _ = memory.learn(0, [0, 1, 8, 9]), memory.learn(4, [1, 5, 6])
    >>> memory.contents_of(0), memory.cues_with([5]), memory.cues_with([1])
    ((0, 1, 8, 9), (4,), (0, 4))
    """

    def __init__(self, cues: int, contents: int) -> None:
        self.cues, self.contents = count("ContentMemory", "cues", cues), count("ContentMemory", "contents", contents)
        c, m = self.cues, self.contents
        self._all = {
            **{name: _Population(c, _BIG) for name in ("CueCue", "mergeCue")},
            **{name: _Population(m, _BIG) for name in ("ContCue", "ContCont", "mergeCont")},
            "CueCont": _Population(c, _FAST),
            "ContCond": _Population(m, _FAST),
            "ContCondInt": _Population(1, _FAST),
            "outCue": _Population(c, _OUT),
            "outCont": _Population(m, _OUT),
        }
        one_cue, one_content = FULL * np.eye(c), FULL * np.eye(m)
        others = FULL * m * (1.0 - np.eye(c))
        self._projections = [
            _Projection("inCue", "CueCue", one_cue, 1),
            _Projection("inCont", "ContCue", one_content, 1),
            _Learned("CueCue", "ContCue", (c, m)),
            _Projection("CueCue", "CueCont", one_cue, 2),
            _Projection("CueCue", "CueCont", others, 3, inhibits=True),
            _Projection("CueCue", "ContCond", np.full((c, m), FULL), 2, inhibits=True),
            _Projection("ContCue", "ContCond", 1.5 * one_content, 1),
            _Projection("ContCue", "ContCondInt", np.full((m, 1), FULL), 1),
            _Projection("ContCondInt", "ContCond", np.full((1, m), 2.0), 1),
            _Projection("ContCond", "ContCont", one_content, 1),
            _Learned("ContCont", "CueCont", (m, c)),
            _Projection("CueCont", "CueCont", others, 2, inhibits=True),
            _Projection("CueCue", "mergeCue", one_cue, 3),
            _Projection("ContCue", "mergeCont", one_content, 3),
            _Projection("CueCont", "mergeCue", one_cue, 1),
            _Projection("ContCont", "mergeCont", one_content, 1),
            _Projection("mergeCue", "outCue", one_cue, 1),
            _Projection("mergeCont", "outCont", one_content, 1),
        ]
        self.now = 0
        self.populations: dict[str, np.ndarray] = {}

    @property
    def weights(self) -> tuple[np.ndarray, np.ndarray]:
        """The learned weights, nA: from cues to contents [cues, contents], and from contents to cues."""
        first, second = (each.weight.copy() for each in self._projections if isinstance(each, _Learned))
        return first, second

    def step(self, cue: Iterable[int] = (), content: Iterable[int] = ()) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Run 1 ms with the given spikes at the inputs; return the cues and contents that were sent."""
        fired = {
            "inCue": self._spikes("cue", cue, self.cues),
            "inCont": self._spikes("content", content, self.contents),
        }
        for projection in self._projections:
            target = self._all[projection.target]
            current = _ARRIVAL * projection.arriving()
            if projection.inhibits:
                target.inhibited += current
            else:
                target.excited += current
        for name, population in self._all.items():
            population.step()
            fired[name] = population.fired
        for projection in self._projections:
            projection.learn(fired[projection.source], fired[projection.target])
            projection.send(fired[projection.source])
        self.now += 1
        self.populations = fired
        return _numbers(fired["outCue"]), _numbers(fired["outCont"])

    def play(self, inputs: Mapping[int, tuple[Iterable[int], Iterable[int]]], steps: int) -> Recalled:
        """Run `steps` ms with cues and contents at the given ms from now on; return all that was sent."""
        wrong = [t for t in inputs if not 0 <= t < steps]
        if wrong:
            raise InputError(f"ContentMemory: inputs at {wrong} ms lie outside of 0 to {steps - 1} ms.")
        found = Recalled({}, {})
        for t in range(steps):
            cues, contents = self.step(*inputs.get(t, ((), ())))
            if cues:
                found.cues[t] = cues
            if contents:
                found.contents[t] = contents
        return found

    def learn(self, cue: int, content: Sequence[int]) -> Recalled:
        """Store a content for a cue, whose old content is forgotten."""
        if not len(tuple(content)):
            raise InputError("ContentMemory: a content has at least one neuron; got none.")
        return self.play(dict.fromkeys(range(3), ((cue,), tuple(content))), 8)

    def contents_of(self, cue: int) -> tuple[int, ...]:
        """Return the content of a cue; nothing if it has none."""
        return self.play({0: ((cue,), ())}, 8).contents.get(6, ())

    def cues_with(self, content: Sequence[int]) -> tuple[int, ...]:
        """Return all cues that store at least one of the neurons of `content`."""
        return self.play({0: ((), tuple(content))}, 8).cues.get(6, ())

    @staticmethod
    def _spikes(name: str, numbers: Iterable[int], size: int) -> np.ndarray:
        fired = np.zeros(size, bool)
        for number in numbers:
            if isinstance(number, bool) or not isinstance(number, int | np.integer) or not 0 <= number < size:
                raise InputError(f"ContentMemory: {name} must be integers from 0 to {size - 1}; got {number!r}.")
            fired[number] = True
        return fired


def _numbers(fired: np.ndarray) -> tuple[int, ...]:
    return tuple(fired.nonzero()[0].tolist())
