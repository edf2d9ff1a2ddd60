"""One edge of a network of integers: stored weights, their common factor, delays, and the currents they can cause."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import torch

from neurosim.compiler.integers.ranges import Range
from neurosim.files.problems import Problems
from neurosim.network.graph import Connection
from neurosim.synapses.lowering import (
    Convolution,
    Dense,
    Lowered,
    Opaque,
    Pooling,
    Reshape,
    Scaling,
    Shifted,
    SparseRows,
    Weighted,
)
from neurosim.synapses.synapse import lowered_chain

HELD = (
    "Flatten, Unflatten and SumPool2d, then one synapse with integer weights (Linear, Sparse, Conv1d, Conv2d, Scale, "
    "Identity, RoundedDelays, DelayedSparse), then Shift"
)
LARGEST_WEIGHT = 2**31 - 1


@dataclasses.dataclass(frozen=True, eq=False)
class Projection:
    """Synapses of one edge.

    Attributes
    ----------
    name, source, target, port : str
    shape : tuple of int
        Of the source.
    before : tuple of Reshape and Pooling
        Reshaping and sums over windows before the weights.
    connectivity : Dense, SparseRows, Convolution or Scaling
    weight : numpy.ndarray
        Integers of the shape of ``connectivity.weight``, without common factor.
    factor : int
        That factor: a weight is ``weight factor``.
    exponent : int
        The current of a step is the sum of its weights times two to this, rounded down.
    delay : numpy.ndarray
        Steps of each weight beyond `delay_steps`, or 0 without dimensions.
    delay_steps : int
    """

    name: str
    source: str
    target: str
    port: str
    shape: tuple[int, ...]
    before: tuple[Reshape | Pooling, ...]
    connectivity: Weighted | Scaling
    weight: np.ndarray
    factor: int
    exponent: int
    delay: np.ndarray
    delay_steps: int

    @property
    def longest_delay(self) -> int:
        """Steps of the synapse with the longest delay."""
        return self.delay_steps + int(self.delay.max(initial=0))

    @property
    def weighted_shape(self) -> tuple[int, ...]:
        """Shape of what the weights take."""
        shape = self.shape
        for value in self.before:
            shape = _shape_after(value, shape)
        return shape

    @property
    def synapses(self) -> int:
        """Weights that are stored."""
        return self.weight.size

    def bounds(self, source: Range, neurons: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the least and the largest sum of stored weights, int64 [neurons], that a step can bring."""
        windows = math.prod(math.prod(value.kernel) for value in self.before if isinstance(value, Pooling))
        low, high = min(source.low * windows, 0), max(source.high * windows, 0)
        positive, negative = np.maximum(self.weight, 0), np.minimum(self.weight, 0)
        up, down = (self._by_target(each, neurons) for each in (positive, negative))
        return up * low + down * high, up * high + down * low

    def _by_target(self, weight: np.ndarray, neurons: int) -> np.ndarray:
        value = self.connectivity
        if isinstance(value, SparseRows):
            return np.bincount(value.post.numpy(), weight, value.n_out).astype(np.int64)
        if isinstance(value, Scaling):
            return np.broadcast_to(weight, self.weighted_shape).reshape(-1).astype(np.int64)
        sums = weight.reshape(len(weight), -1).sum(1)
        return np.repeat(sums, neurons // len(sums)) if isinstance(value, Convolution) else sums


def projection_of(edge: Connection, shape: tuple[int, ...], problems: Problems) -> Projection | None:
    """Return an edge as integers; what cannot be goes to `problems`."""
    where = f"edge {edge.name!r}"
    kinds = [type(synapse).__name__ for synapse in edge.synapses]
    values = lowered_chain(edge.synapses, shape)
    for kind, value in zip(kinds, values, strict=True):
        if isinstance(value, Opaque):
            problems.add(where, f"holds {kind}, which {value.reason}; it can hold {HELD}")
            return None
    exponent = values.pop().exponent if isinstance(values[-1], Shifted) else 0  # type: ignore[union-attr]
    connectivity: Weighted | Scaling = Scaling(torch.ones(()))
    if values and isinstance(values[-1], (Dense, SparseRows, Convolution, Scaling)):
        connectivity = values.pop()  # type: ignore[assignment]
    before = [value for value in values if _is_before(value)]
    if len(before) != len(values):
        problems.add(where, f"holds {', '.join(kinds)}; it can hold {HELD}")
        return None
    if connectivity.bias is not None and bool((connectivity.bias != 0).any()):
        problems.add(where, "has a bias, a current of every step; give it to the neurons, such as bias_mant of loihi")
    weight = connectivity.weight.double().cpu().numpy()
    if not (np.isfinite(weight).all() and (weight == np.trunc(weight)).all() and np.abs(weight).max(initial=0) < 2**31):
        wrong = weight[~((weight == np.trunc(weight)) & (np.abs(weight) < 2**31))].flat[0]
        problems.add(
            where, f"has a weight of {float(wrong)!r}; weights must be integers of 32 bits: quantise the network"
        )
        return None
    delay = getattr(connectivity, "delay", None)
    if delay is not None and delay.is_floating_point():
        problems.add(where, "has delays between two steps; round them with rounded()")
        return None
    integers = weight.astype(np.int64)
    factor = int(np.gcd.reduce(np.abs(integers), axis=None)) or 1
    return Projection(
        edge.name,
        edge.source,
        edge.target,
        edge.port,
        shape,
        tuple(before),  # type: ignore[arg-type]
        connectivity,
        integers // factor,
        factor,
        exponent,
        np.zeros((), np.int64) if delay is None else delay.cpu().numpy().astype(np.int64),
        edge.delay_steps,
    )


def _is_before(value: Lowered) -> bool:
    return isinstance(value, Reshape) or (isinstance(value, Pooling) and value.kind == "sum")


def _shape_after(value: Reshape | Pooling, shape: tuple[int, ...]) -> tuple[int, ...]:
    if isinstance(value, Reshape):
        return value.shape
    places = ((n - k) // s + 1 for n, k, s in zip(shape[1:], value.kernel, value.stride, strict=True))
    return (shape[0], *places)
