"""The tasks of a step of a circuit, for one trial: what each reads and adds to."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from torch import Tensor

from neurosim.kernels.circuit.plastic import Decay, PairRule, Targets

PAD = 64  # slots of accumulators, states and rows of bits come in multiples of so many
MAGNITUDE = 15  # bits of the magnitude of a weight in a packed row


def padded(count: int) -> int:
    """Return `count` rounded up to a multiple of `PAD`."""
    return -(-count // PAD) * PAD


class SpikeLog:
    """Spikes of one population, in order of their step and neuron.

    The neurons of a population may be divided into parts, each with its own list. The spikes of row r and part p are
    ``ids[p][ends[p][r] : ends[p][r + 1]]``. The first `history` rows are the steps before a call, whose spikes are
    under way; row ``history + k`` is step k of the call.

    Parameters
    ----------
    before : sequence of Tensor
        Neurons that fired in each step before the call, the oldest first; their number is `history`.
    bounds : sequence of int
        First neuron of each part, and the number of neurons.

    Attributes
    ----------
    ids : list of array of int32
    ends : list of array of int64
    """

    def __init__(self, before: Sequence[Tensor], bounds: Sequence[int]) -> None:
        self.history, self.bounds = len(before), tuple(bounds)
        self.ids: list[np.ndarray] = []
        self.ends: list[np.ndarray] = []
        steps = [step.numpy().astype(np.int32) for step in before]
        for first, last in itertools.pairwise(bounds):
            own = [step[(step >= first) & (step < last)] for step in steps]
            self.ids.append(np.concatenate([np.empty(0, np.int32), *own]))
            self.ends.append(np.array([0, *(len(step) for step in own)], np.int64).cumsum())

    @property
    def parts(self) -> int:
        """Number of parts."""
        return len(self.bounds) - 1

    def open(self, steps: int, room: int) -> None:
        """Drop all but the spikes under way, and make room for `steps` steps and about `room` spikes."""
        for p in range(self.parts):
            rows = self.ends[p][-1 - self.history :]
            ends = np.zeros(self.history + steps + 1, np.int64)
            ends[: self.history + 1] = rows - rows[0]
            share = room * (self.bounds[p + 1] - self.bounds[p]) // max(self.bounds[-1], 1)
            self.ids[p], self.ends[p] = _longer(self.ids[p][rows[0] : rows[-1]], share), ends

    def make_room(self, part: int, row: int, number: int) -> None:
        """Make sure that `number` spikes have room in a part after `row`."""
        if int(self.ends[part][row]) + number > len(self.ids[part]):
            self.ids[part] = _longer(self.ids[part], len(self.ids[part]) + number)

    def put(self, grid: Tensor) -> None:
        """Write the spikes of a source of one part, given as numbers [steps, neurons]; `open` comes before."""
        numbers = grid.numpy().astype(np.int64)
        steps, neurons = numbers.nonzero()
        times = numbers[steps, neurons]
        count, total = int(self.ends[0][self.history]), int(times.sum())
        self.make_room(0, self.history, total)
        self.ids[0][count : count + total] = neurons.repeat(times)
        self.ends[0][self.history + 1 :] = count + numbers.sum(1).cumsum()

    def spikes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return step (int64) and neuron (int32) of the spikes of the call."""
        parts = []
        for ids, ends in zip(self.ids, self.ends, strict=True):
            own = ends[self.history :]
            parts.append((np.arange(len(own) - 1).repeat(np.diff(own)), ids[own[0] : own[-1]]))
        step, neuron = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        if self.parts > 1:
            order = np.argsort(step, kind="stable")  # the neurons of a part are above those of the one before
            step, neuron = step[order], neuron[order]
        return step, neuron

    def under_way(self) -> list[np.ndarray]:
        """Return the neurons that fired in each of the last `history` steps, the oldest first."""
        rows = [ends[len(ends) - 1 - self.history :].tolist() for ends in self.ends]
        return [
            np.concatenate([self.ids[p][own[k] : own[k + 1]] for p, own in enumerate(rows)])
            for k in range(self.history)
        ]


def _longer(ids: np.ndarray, room: int) -> np.ndarray:
    """Return a copy of `ids` with room for more."""
    held = np.empty(len(ids) + room, np.int32)
    held[: len(ids)] = ids
    return held


class Term(NamedTuple):
    """A part of the input of a port.

    Attributes
    ----------
    kind : {"integer", "real", "dense"}
        An accumulator of integers in a unit, one of numbers, or values over time.
    values : Tensor
        Accumulator [slots], int32 or numbers; values [steps, neurons].
    unit : float
        Of integers.
    """

    kind: Literal["integer", "real", "dense"]
    values: Tensor
    unit: float = 1.0


class Population(NamedTuple):
    """A step of the neurons of one population, or of a part of it.

    Attributes
    ----------
    plan_key : str
        Key of the plan of their core.
    part : int
        Number of the part; 0 if there is one.
    inputs : sequence of sequence of Term
        For each port that is fed, in the plan's order, what adds up to its input, in order of the additions.
    state, coefficients : sequence of Tensor [slots]
        As the plan orders them.
    numbers : sequence of float
        Those of the forward kernel of the plan.
    log : SpikeLog
        Where spikes go.
    resting : Tensor [blocks] of uint8, optional
        Blocks of `PAD` neurons whose last step had no input and changed nothing; they are skipped until they have
        input. None: every block is computed. No input may be dense.
    """

    plan_key: str
    part: int
    inputs: Sequence[Sequence[Term]]
    state: Sequence[Tensor]
    coefficients: Sequence[Tensor]
    numbers: Sequence[float]
    log: SpikeLog
    resting: Tensor | None = None


class Delivery(NamedTuple):
    """Delivery of the spikes of a population to rows of synapses.

    Attributes
    ----------
    kind : {"bits", "constant", "packed", "wide", "real"}
        Format of the rows.
    log : SpikeLog
        Of the source.
    delays : Tensor [G] of int64
        Steps, ascending.
    first, last : Tensor [sources * G] of int64
        For a part of the targets, where its synapses of a source and a delay begin and end; views of `starts` if there
        is one part. For bits the words of the part, [1] each.
    post : Tensor
        Targets: words [sources, width] of int64 whose bits are slots, slots of uint16 or int32, or int32 with the
        magnitude of the weight in the lowest `MAGNITUDE` bits and the slot above.
    weight : int or Tensor
        One integer for all synapses, a factor of the magnitudes, or a weight for each synapse.
    total : Tensor [slots]
        Accumulator.
    """

    kind: Literal["bits", "constant", "packed", "wide", "real"]
    log: SpikeLog
    delays: Tensor
    first: Tensor
    last: Tensor
    post: Tensor
    weight: int | Tensor
    total: Tensor


class PlasticDelivery(NamedTuple):
    """Delivery of the spikes of a population to rows whose weights change.

    A spike that arrives in a step adds the weight after all changes of the steps before.

    Attributes
    ----------
    rule : PairRule
    log, delays, first, last, post, total
        As in `Delivery` of the kind "real".
    weight : Tensor
        Of each synapse.
    sources : Tensor [rows, 7] of float64
        For each row, the step of its last arrival, the first step whose changes are not computed, the trace with that
        arrival and before it, the factor of its depression and that of one spike, and the slow trace.
    targets : Targets
    eligible : Tensor [n, 2] of float64, optional
        Eligibility of each synapse and the step of its last change, where the rule has one.
    """

    rule: PairRule
    log: SpikeLog
    delays: Tensor
    first: Tensor
    last: Tensor
    post: Tensor
    weight: Tensor
    sources: Tensor
    targets: Targets
    total: Tensor
    eligible: Tensor | None = None


class Reward(NamedTuple):
    """Change of the weights of plastic rows by a reward, at the end of a step.

    Attributes
    ----------
    rows : PlasticDelivery
        Those of a part of the targets.
    surprise : Tensor [steps] of float64
        What the eligibility is multiplied with in each step of a call; 0 where there is no reward.
    """

    rows: PlasticDelivery
    surprise: Tensor


class PostSpikes(NamedTuple):
    """Recording of the spikes of a part of the targets, after the step of their neurons.

    Attributes
    ----------
    rule : PairRule
    log : SpikeLog
        Of the targets.
    part : int
    delay : int
        Steps from a spike to its arrival at the synapses.
    targets : Targets
    """

    rule: PairRule
    log: SpikeLog
    part: int
    delay: int
    targets: Targets


class ShortTermDelivery(NamedTuple):
    """Delivery of the spikes of a population with amplitudes that depend on the spikes before.

    Attributes
    ----------
    u : float
        Share of the resources that a spike uses at rest.
    facil, rec : Decay
        Of facilitation and of recovery.
    log, delays, first, last, post, weight, total
        As in `Delivery` of the kind "real".
    sources : Tensor [rows, 3] of float64
        For each row the step of its last arrival, its u and its x.
    """

    u: float
    facil: Decay
    rec: Decay
    log: SpikeLog
    delays: Tensor
    first: Tensor
    last: Tensor
    post: Tensor
    weight: Tensor
    sources: Tensor
    total: Tensor


class PoissonInput(NamedTuple):
    """Poisson trains, one for each neuron of a part of a population, that feed a port one to one.

    Attributes
    ----------
    limits : Tensor [K, n] of uint32
        For each rate the cumulative probabilities of at most 0, 1, ... spikes, times 2^32.
    counts : Tensor [K] of int64
        How many limits each rate has; those behind are not read.
    rows : Tensor [steps] of int64
        Row of `limits` in each step of the call.
    blocks : tuple of int
        First block of 64 neurons and the end.
    seed, stream, trial, first : int
        Of the random numbers, and the step of the run at the first step of the call.
    weight : int or float
        Of a spike: an integer in the unit of `total`, or a number.
    total : Tensor [slots]
        Accumulator.
    """

    limits: Tensor
    counts: Tensor
    rows: Tensor
    blocks: tuple[int, int]
    seed: int
    stream: int
    trial: int
    first: int
    weight: float
    total: Tensor


class Sample(NamedTuple):
    """Copies of a state variable of some neurons in some steps.

    Attributes
    ----------
    values : Tensor [slots]
    neurons : Tensor [n] of int32
    begin, end, every : int
        Steps of the call: the first that is copied, the first that is not, and the distance of two copies.
    row : int
        Row of `out` for step `begin`.
    out : Tensor [rows, n]
    """

    values: Tensor
    neurons: Tensor
    begin: int
    end: int
    every: int
    row: int
    out: Tensor


Task = Population | Delivery | PlasticDelivery | PostSpikes | Reward | ShortTermDelivery | PoissonInput | Sample
