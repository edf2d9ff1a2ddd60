"""The tasks of a step of a circuit, for one trial: what each reads and adds to."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

PAD = 64  # slots of accumulators, states and rows of bits come in multiples of so many
MAGNITUDE = 15  # bits of the magnitude of a weight in a packed row


def padded(count: int) -> int:
    """Return `count` rounded up to a multiple of `PAD`."""
    return -(-count // PAD) * PAD


class SpikeLog:
    """Spikes of one population, in order of their step and neuron.

    The spikes of row r are ``ids[ends[r] : ends[r + 1]]``. The first `history` rows are the steps before a call, whose
    spikes are under way; row ``history + k`` is step k of the call.

    Parameters
    ----------
    before : sequence of Tensor
        Neurons that fired in each step before the call, the oldest first; their number is `history`.

    Attributes
    ----------
    ids : Tensor of int32
    ends : Tensor of int64
    """

    def __init__(self, before: Sequence[Tensor]) -> None:
        self.history = len(before)
        counts = np.array([0, *(len(step) for step in before)], np.int64)
        self.ends = torch.from_numpy(counts.cumsum())
        neurons = [np.empty(0, np.int32), *(step.numpy().astype(np.int32) for step in before)]
        self.ids = torch.from_numpy(np.concatenate(neurons))

    def open(self, steps: int, room: int) -> None:
        """Drop all but the spikes under way, and make room for `steps` steps and `room` spikes."""
        bounds = self.ends.numpy()[-1 - self.history :]
        ends = np.zeros(self.history + steps + 1, np.int64)
        ends[: self.history + 1] = bounds - bounds[0]
        under_way = self.ids.numpy()[bounds[0] : bounds[-1]]
        self.ids = torch.from_numpy(_longer(under_way, room))
        self.ends = torch.from_numpy(ends)

    def grow(self, room: int) -> None:
        """Make room for `room` more spikes."""
        self.ids = torch.from_numpy(_longer(self.ids.numpy(), room))

    def put(self, grid: Tensor) -> None:
        """Write the spikes of a source, given as numbers [steps, neurons]; `open` comes before."""
        numbers = grid.numpy().astype(np.int64)
        steps, neurons = numbers.nonzero()
        times = numbers[steps, neurons]
        count = int(self.ends[self.history])
        self.ids.numpy()[count : count + int(times.sum())] = neurons.repeat(times)
        self.ends.numpy()[self.history + 1 :] = count + numbers.sum(1).cumsum()

    def spikes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return step (int64) and neuron (int32) of the spikes of the call."""
        ends = self.ends.numpy()[self.history :]
        return np.arange(len(ends) - 1).repeat(np.diff(ends)), self.ids.numpy()[ends[0] : ends[-1]]

    def under_way(self) -> list[Tensor]:
        """Return the neurons that fired in each of the last `history` steps, the oldest first."""
        bounds = self.ends[len(self.ends) - 1 - self.history :].tolist()
        return [self.ids[a:b] for a, b in itertools.pairwise(bounds)]


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
    """A step of the neurons of one population.

    Attributes
    ----------
    plan_key : str
        Key of the plan of their core.
    neurons : int
    inputs : sequence of sequence of Term
        For each port that is fed, in the plan's order, what adds up to its input, in order of the additions.
    state, coefficients : sequence of Tensor [slots]
        As the plan orders them.
    numbers : sequence of float
        Those of the forward kernel of the plan.
    log : SpikeLog
        Where spikes go.
    """

    plan_key: str
    neurons: int
    inputs: Sequence[Sequence[Term]]
    state: Sequence[Tensor]
    coefficients: Sequence[Tensor]
    numbers: Sequence[float]
    log: SpikeLog


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
    starts : Tensor [sources * G + 1] of int64
        Where the synapses of a source and a delay begin; empty for bits.
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
    starts: Tensor
    post: Tensor
    weight: int | Tensor
    total: Tensor


class PoissonInput(NamedTuple):
    """Poisson trains, one for each neuron, that feed a port one to one.

    Attributes
    ----------
    limits : Tensor [n] of uint32
        Cumulative probabilities of at most 0, 1, ... spikes, times 2^32.
    neurons : int
    seed, stream, trial, first : int
        Of the random numbers, and the step of the run at the first step of the call.
    weight : int or float
        Of a spike: an integer in the unit of `total`, or a number.
    total : Tensor [slots]
        Accumulator.
    """

    limits: Tensor
    neurons: int
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


Task = Population | Delivery | PoissonInput | Sample
