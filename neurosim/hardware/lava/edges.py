"""What the synapses of an edge compute together: one matrix, one list of connections or one convolution, and a bias."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from neurosim.errors import InputError
from neurosim.network.graph import Connection
from neurosim.synapses.lowering import (
    Convolution,
    Dense,
    Described,
    Opaque,
    Pooling,
    Reshape,
    Scaling,
    Shifted,
    SparseRows,
    Weighted,
)
from neurosim.synapses.probing import MANY, listed
from neurosim.synapses.synapse import lowered_chain

Arithmetic = Dense | SparseRows | Convolution | Pooling | Scaling | Reshape


@dataclass(frozen=True)
class Projection:
    """An edge as one affine function of its spikes.

    Attributes
    ----------
    edge : Connection
    connectivity : Dense, SparseRows or Convolution
        In double precision, without bias; a convolution over two axes.
    bias : numpy.ndarray or None
        Current at every step, of the target's shape.
    """

    edge: Connection
    connectivity: Weighted
    bias: np.ndarray | None

    @property
    def delays(self) -> np.ndarray | None:
        """Steps of each synapse beyond those of the edge, of the shape of the weights; None where there are none."""
        delay = None if isinstance(self.connectivity, Convolution) else self.connectivity.delay
        return None if delay is None else delay.numpy()

    @property
    def shortest(self) -> int:
        """Steps that the fastest of the synapses takes."""
        if self.delays is None:
            return self.edge.delay_steps
        existing = self.delays[self.connectivity.weight.numpy() != 0]
        return self.edge.delay_steps + int(existing.min() if existing.size else self.delays.min())


def values_of(edge: Connection, shape: tuple[int, ...]) -> list[Described | Opaque]:
    """Return what each synapse of an edge computes for spikes of `shape`; shifts and identities are left out."""
    return [
        value
        for value in lowered_chain(edge.synapses, shape)
        if not isinstance(value, Shifted) and not (isinstance(value, Scaling) and value.is_identity)
    ]


def refusal(value: Described | Opaque) -> str | None:
    """Return why Lava cannot hold a synapse, and what to do instead, if that is so."""
    if isinstance(value, Opaque):
        return f"which {value.reason}; use Linear or Conv2d"
    if isinstance(value, Shifted):
        return "which rounds sums; Lava's floating-point processes do not: quantise the network, or leave it out"
    if isinstance(value, Pooling) and value.kind == "max":
        return "but Lava adds spikes up and has no maximum; use SumPool2d or a stride and train again"
    if isinstance(value, Dense) and value.delay is not None and value.delay.is_floating_point():
        return "but its delays are not in whole steps; round them with rounded()"
    if isinstance(value, SparseRows) and value.delay is not None:
        try:
            value.merged()
        except InputError as error:
            return f"but {str(error).rstrip('.')}"
    return None


def projection_of(edge: Connection, shape: tuple[int, ...], target: tuple[int, ...]) -> Projection:
    """Return what the synapses of an edge compute together.

    Pooling, convolution, scaling and linear synapses in a row are composed: into one convolution where that is exact,
    else into a matrix or its connections.

    Parameters
    ----------
    edge : Connection
        Of synapses that `refusal` accepts; those with delays alone, or behind `Flatten`.
    shape, target : tuple of int
        Of the populations at its ends, in the network's order.
    """
    values: list[Arithmetic] = [value.to(torch.float64) for value in values_of(edge, shape)]  # type: ignore[union-attr,misc]
    bias = _bias(values, shape, target)
    weighted = [value for value in values if not isinstance(value, Reshape)]
    if len(weighted) == 1 and isinstance(weighted[0], (Dense, SparseRows)):
        matrix = replace(weighted[0], bias=None)
        # Lava adds up the weights of one pair, and the delays too.
        return Projection(edge, matrix.merged() if isinstance(matrix, SparseRows) else matrix, bias)
    convolution = _convolution(values, shape)
    if convolution is not None:
        return Projection(edge, convolution, bias)
    rows = connections(values, shape)
    if len(rows.weight) > MANY * rows.n_out * rows.n_in:
        return Projection(edge, Dense(rows.matrix()), bias)
    return Projection(edge, rows, bias)


def as_connections(projection: Projection, shape: tuple[int, ...]) -> Projection:
    """Return a convolution as the list of its connections, which may be delayed; `shape` is that of the source."""
    if not isinstance(projection.connectivity, Convolution):
        return projection
    image = shape if len(shape) == 3 else (shape[0], 1, shape[1])
    return replace(projection, connectivity=connections([projection.connectivity], image))


def connections(values: Sequence[Arithmetic], shape: tuple[int, ...]) -> SparseRows:
    """Return the product of several linear values as a list of connections, from what they return for unit inputs."""
    linear = [v if isinstance(v, (Pooling, Reshape)) else replace(v, bias=None) for v in values]

    def run(x: torch.Tensor) -> torch.Tensor:
        for value in linear:
            x = value.apply(x)
        return x

    post, pre, weight = listed(run, shape)
    n_out = run(torch.zeros(1, *shape, dtype=torch.float64)).numel()
    return SparseRows(n_out, math.prod(shape), post, pre, weight)


def _bias(values: Sequence[Arithmetic], shape: tuple[int, ...], target: tuple[int, ...]) -> np.ndarray | None:
    """Return the current at every step without any input."""
    if all(isinstance(value, (Pooling, Reshape)) or value.bias is None for value in values):
        return None
    x = torch.zeros(1, *shape, dtype=torch.float64)
    for value in values:
        x = value.apply(x)
    return x.numpy().reshape(target)


def _convolution(values: Sequence[Arithmetic], shape: tuple[int, ...]) -> Convolution | None:
    """Return several values as one convolution over two axes, or None where they are none."""
    if len(shape) not in (2, 3):
        return None
    image: tuple[int, ...] = shape if len(shape) == 3 else (shape[0], 1, shape[1])
    origin = image
    composed: Convolution | None = None
    for place, value in enumerate(values):
        if isinstance(value, Reshape):
            if place == len(values) - 1 and len(value.shape) == 1:
                break
            return None
        step = _as_convolution(value, image)
        if step is None:
            return None
        composed = step if composed is None else _composed(composed, step, origin)
        if composed is None:
            return None
        image = tuple(step.apply(torch.zeros(1, *image, dtype=torch.float64)).shape[1:])
    return composed


def _as_convolution(value: Arithmetic, image: tuple[int, ...]) -> Convolution | None:
    """Return a value for an image [C, H, W] as a convolution without bias, or None where it is none."""
    channels = image[0]
    if isinstance(value, Convolution):
        if len(value.kernel) == 2:
            return replace(value, bias=None)
        wide = ((1, *value.stride), (0, *value.padding), (1, *value.dilation))
        return Convolution(value.weight.unsqueeze(2), *wide, value.groups)
    if isinstance(value, Pooling):
        windows = torch.full((channels, 1, *value.kernel), value.factor, dtype=torch.float64)
        return Convolution(windows, value.stride, (0, 0), (1, 1), channels)
    if isinstance(value, Scaling):
        factors = value.weight
        if factors.dim() == 2:  # of a row of channels [C, L]
            factors = factors.unsqueeze(1)
        factors = factors.expand(image).reshape(channels, -1)
        if bool((factors == factors[:, :1]).all()):
            return Convolution(factors[:, :1, None, None].clone(), (1, 1), (0, 0), (1, 1), channels)
    return None


def _composed(a: Convolution, b: Convolution, shape: tuple[int, ...]) -> Convolution | None:
    """Return `b` after `a` as one convolution, where one of them keeps channels apart; `shape` is that of a's input.

    Beyond the border b reads 0. The values that a would compute there are 0 only if its windows are adjacent and fill
    the image; otherwise the two can be composed only where b does not read beyond the border.
    """
    by_channel_a = a.groups == a.weight.shape[0] and a.weight.shape[1] == 1
    by_channel_b = b.groups == b.weight.shape[0] and b.weight.shape[1] == 1
    size = tuple(d * (k - 1) + 1 for d, k in zip(a.dilation, a.kernel, strict=True))
    tiles = size == a.stride and a.padding == (0, 0) and all(n % s == 0 for n, s in zip(shape[1:], size, strict=True))
    if not (by_channel_a or by_channel_b) or (any(b.padding) and not tiles):
        return None
    spread = tuple(d * s for d, s in zip(b.dilation, a.stride, strict=True))
    reach = tuple(s * (k - 1) for s, k in zip(spread, b.kernel, strict=True))
    undilated = a.weight.new_zeros(*a.weight.shape[:2], *size)
    undilated[:, :, :: a.dilation[0], :: a.dilation[1]] = a.weight
    rows = b.weight.shape[0] if by_channel_a else a.weight.shape[0]
    inside = b.weight.shape[1] if by_channel_a else a.weight.shape[1]
    kernel = a.weight.new_zeros(rows, inside, reach[0] + size[0], reach[1] + size[1])
    for p in range(b.kernel[0]):
        for q in range(b.kernel[1]):
            tap = b.weight[:, :, p, q, None, None]
            place = kernel[:, :, p * spread[0] :, q * spread[1] :][:, :, : size[0], : size[1]]
            if by_channel_b:
                place += tap * undilated
            else:
                group = b.weight.shape[0] // b.groups
                for row in range(rows):
                    first = row // group * inside
                    place[row] += tap[row] * undilated[first : first + inside, 0]
    padding = tuple(p + q * s for p, q, s in zip(a.padding, b.padding, a.stride, strict=True))
    stride = tuple(s * t for s, t in zip(a.stride, b.stride, strict=True))
    return Convolution(kernel, stride, padding, (1, 1), b.groups if by_channel_a else a.groups)
