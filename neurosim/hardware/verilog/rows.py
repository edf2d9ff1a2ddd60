"""The synapses of a network as rows of one memory: the weights that a spike of each neuron adds, and where."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from neurosim.hardware.integers import Accumulator, IntegerNetwork, Projection
from neurosim.synapses.lowering import Dense


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """The rows of one projection.

    Attributes
    ----------
    projection : Projection
    accumulator : Accumulator
    weight : numpy.ndarray
        Stored weights, row after row.
    place : numpy.ndarray or None
        Of each weight its place in the accumulator, ``delay neurons + post``; None where a row has all in order.
    first : numpy.ndarray or None
        Where each row starts among the weights, and at the end how many there are; None where all have `length`.
    length : int
        Of a row that has all neurons in order.
    """

    projection: Projection
    accumulator: Accumulator
    weight: np.ndarray
    place: np.ndarray | None
    first: np.ndarray | None
    length: int


def rows_of(integers: IntegerNetwork) -> list[Rows]:
    """Return the rows of all projections, source by source in the order of the network."""
    return [
        _rows(projection, accumulator, integers.populations[projection.target].neurons)
        for source in (*integers.inputs, *integers.populations)
        for accumulator, projection in integers.outgoing(source)
    ]


def _rows(projection: Projection, accumulator: Accumulator, neurons: int) -> Rows:
    dense = isinstance(projection.connectivity, Dense) and not projection.before and not projection.delay.any()
    if dense:
        return Rows(projection, accumulator, projection.weight.T.reshape(-1), None, None, neurons)
    pre, post, weight, delay = listed(projection)
    place = (delay + projection.delay_steps) * neurons + post
    # Synapses of one pair and delay become one: a row adds to each place once.
    keys, index = np.unique(pre * (accumulator.depth * neurons) + place, return_inverse=True)
    summed = np.bincount(index.reshape(-1), weight, len(keys)).astype(np.int64)
    keys, summed = keys[summed != 0], summed[summed != 0]
    pre, place = np.divmod(keys, accumulator.depth * neurons)
    sources = int(np.prod(projection.shape))
    first = np.concatenate(([0], np.cumsum(np.bincount(pre, minlength=sources))))
    return Rows(projection, accumulator, summed, place, first, 0)


def listed(projection: Projection) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return pre, post, stored weight and delay of each synapse, sums over windows before the weights resolved."""
    sources = int(np.prod(projection.shape))
    delays = np.unique(projection.delay)
    parts = []
    for delay in delays:
        connectivity = dataclasses.replace(
            projection.connectivity,
            weight=torch.from_numpy(np.where(projection.delay == delay, projection.weight, 0)).double(),
            bias=None,
        )
        current = torch.eye(sources, dtype=torch.float64).reshape(sources, *projection.shape)
        for value in projection.before:
            current = value.apply(current)
        matrix = connectivity.apply(current).flatten(1).numpy()
        pre, post = np.nonzero(matrix)
        parts.append((pre, post, matrix[pre, post].astype(np.int64), np.full(len(pre), int(delay))))
    pre, post, weight, steps = (np.concatenate([part[k] for part in parts]) for k in range(4))
    return pre, post, weight, steps
