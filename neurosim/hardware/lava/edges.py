"""What the maps of an edge come to: one matrix, one list of connections or one convolution, with a bias and delays."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from neurosim.network.graph import Connection
from neurosim.synapses import (
    AvgPool2d,
    BatchNorm,
    BlockLinear,
    Conv1d,
    Conv2d,
    DelayedLinear,
    Flatten,
    Linear,
    MaxPool2d,
    RoundedDelays,
    Sparse,
    Standardised,
    SumPool2d,
    Synapse,
)

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

LINEAR = (Linear, BlockLinear, Sparse, Conv1d, Conv2d, Flatten, SumPool2d, AvgPool2d)
_FOLD = "put it into the weights with neurosim.network.fold(net), and export what that returns"
INSTEAD: dict[type[Synapse], str] = {
    BatchNorm: _FOLD,
    Standardised: _FOLD,
    MaxPool2d: "Lava adds spikes up and has no maximum; use SumPool2d or a stride and train again",
    DelayedLinear: "its delays are not in whole steps; round them with rounded()",
}
_BLOCK = 256  # inputs whose weights are worked out together
_MANY = 0.5  # share of connections from which a composed map is kept as a matrix


@dataclass(frozen=True)
class Kernel:
    """A cross-correlation as torch defines it: weight [out, in / groups, kh, kw], pairs (height, width)."""

    weight: np.ndarray
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int


@dataclass(frozen=True)
class Lowered:
    """An edge as one affine map.

    Attributes
    ----------
    edge : Connection
    maps : numpy.ndarray [out, in], csr_matrix [out, in] or Kernel
        float64.
    bias : numpy.ndarray or None
        Current at every step, of the target's shape.
    delays : numpy.ndarray of int64 [out, in] or None
        Steps of each synapse beyond those of the edge.
    """

    edge: Connection
    maps: np.ndarray | csr_matrix | Kernel
    bias: np.ndarray | None
    delays: np.ndarray | None = None

    @property
    def shortest(self) -> int:
        """Steps that the fastest of the synapses takes."""
        if self.delays is None:
            return self.edge.delay_steps
        there = self.delays[self.maps != 0]
        return self.edge.delay_steps + int(there.min() if there.size else self.delays.min())


def lower(edge: Connection, shape: tuple[int, ...], target: tuple[int, ...]) -> Lowered:
    """Return what the maps of an edge come to.

    Pooling, convolution and linear maps in a row are composed, into one convolution where that is exact and into a
    matrix or its connections elsewhere.

    Parameters
    ----------
    edge : Connection
        Of synapses of the kinds in `LINEAR`, or one `RoundedDelays`, perhaps behind `Flatten`; in double precision.
    shape, target : tuple of int
        Of the populations at its ends, in the network's order.
    """
    bias = _bias(edge, shape, target)
    maps = [synapse for synapse in edge.synapses if not isinstance(synapse, Flatten)]
    if len(maps) == 1 and isinstance(maps[0], RoundedDelays):
        return Lowered(edge, _array(maps[0].weight), bias, maps[0].delay.cpu().numpy())
    if len(maps) == 1 and isinstance(maps[0], Linear):
        return Lowered(edge, _array(maps[0].weight), bias)
    kernel = _kernel(edge.synapses, shape)
    if kernel is not None:
        return Lowered(edge, kernel, bias)
    matrix = connections(edge, shape)
    listed = len(maps) == 1 and isinstance(maps[0], (Sparse, BlockLinear))
    dense = not listed and matrix.nnz > _MANY * math.prod(matrix.shape)
    return Lowered(edge, matrix.toarray() if dense else matrix, bias)


def as_connections(lowered: Lowered, shape: tuple[int, ...]) -> Lowered:
    """Return a convolution as the list of its connections, which may be delayed."""
    return replace(lowered, maps=connections(lowered.edge, shape))


def connections(edge: Connection, shape: tuple[int, ...]) -> csr_matrix:
    """Return the product of the maps of an edge as a sparse matrix [out, in], by what they make of unit inputs."""
    from scipy.sparse import csr_matrix, hstack

    maps, size = [_double(synapse, bias=False) for synapse in edge.synapses], math.prod(shape)
    parts = []
    for first in range(0, size, _BLOCK):
        last = min(first + _BLOCK, size)
        x = torch.zeros(last - first, size, dtype=torch.float64)
        x[torch.arange(last - first), torch.arange(first, last)] = 1.0
        with torch.no_grad():
            x = x.reshape(-1, *shape)
            for synapse in maps:
                x = synapse.apply_step(x)
        parts.append(csr_matrix(x.flatten(1).numpy().T))
    made: csr_matrix = hstack(parts, format="csr")
    return made


def _bias(edge: Connection, shape: tuple[int, ...], target: tuple[int, ...]) -> np.ndarray | None:
    """Return the current that the maps give at every step, whatever comes in."""
    if all(getattr(synapse, "bias", None) is None for synapse in edge.synapses):
        return None
    x = torch.zeros(1, *shape, dtype=torch.float64)
    with torch.no_grad():
        for synapse in edge.synapses:
            if isinstance(synapse, RoundedDelays):  # has one bias for each neuron, and is the only map with any
                x = torch.zeros(1, synapse.n_out, dtype=torch.float64) + (0.0 if synapse.bias is None else synapse.bias)
            else:
                x = _double(synapse, bias=True).apply_step(x)
    return x.numpy().reshape(target)


def _double(synapse: Synapse, *, bias: bool) -> Synapse:
    """Return a map in double precision, with or without its bias."""
    made = copy.deepcopy(synapse).double()
    if not bias and getattr(made, "bias", None) is not None:
        made.bias = None  # type: ignore[assignment]
    return made


def _kernel(synapses: tuple[Synapse, ...], shape: tuple[int, ...]) -> Kernel | None:
    """Return the maps as one convolution, or None where they are not."""
    made: Kernel | None = None
    origin = shape
    for place, synapse in enumerate(synapses):
        if isinstance(synapse, Flatten):
            if place == len(synapses) - 1:
                break
            return None
        step = _as_kernel(synapse, shape[0])
        if step is None:
            return None
        made = step if made is None else _composed(made, step, origin)
        if made is None:
            return None
        shape = synapse.output_shape(shape)
    return made


def _as_kernel(synapse: Synapse, channels: int) -> Kernel | None:
    if isinstance(synapse, Conv2d):
        return Kernel(_array(synapse.weight), synapse.stride, synapse.padding, synapse.dilation, synapse.groups)
    if isinstance(synapse, Conv1d):
        pairs = ((1, *synapse.stride), (0, *synapse.padding), (1, *synapse.dilation))
        return Kernel(_array(synapse.weight)[:, :, None], *pairs, synapse.groups)
    if isinstance(synapse, (SumPool2d, AvgPool2d)):
        share = 1.0 if isinstance(synapse, SumPool2d) else 1.0 / math.prod(synapse.kernel)
        return Kernel(np.full((channels, 1, *synapse.kernel), share), synapse.stride, (0, 0), (1, 1), channels)
    return None


def _composed(a: Kernel, b: Kernel, shape: tuple[int, ...]) -> Kernel | None:
    """Return `b` after `a` as one convolution, where one of them works on each channel for itself.

    What b sees beyond the edge is 0. That is what a would have made there only if its windows lie side by side and
    fill the image: else the two can be put together only where b does not look beyond the edge.
    """
    by_channel_a = a.groups == a.weight.shape[0] and a.weight.shape[1] == 1
    by_channel_b = b.groups == b.weight.shape[0] and b.weight.shape[1] == 1
    size = tuple(d * (k - 1) + 1 for d, k in zip(a.dilation, a.weight.shape[2:], strict=True))
    tiles = size == a.stride and a.padding == (0, 0) and all(n % s == 0 for n, s in zip(shape[1:], size, strict=True))
    if not (by_channel_a or by_channel_b) or (any(b.padding) and not tiles):
        return None
    spread = tuple(d * s for d, s in zip(b.dilation, a.stride, strict=True))
    reach = tuple(s * (k - 1) for s, k in zip(spread, b.weight.shape[2:], strict=True))
    undilated = np.zeros((*a.weight.shape[:2], *size))
    undilated[:, :, :: a.dilation[0], :: a.dilation[1]] = a.weight
    rows = b.weight.shape[0] if by_channel_a else a.weight.shape[0]
    inside = b.weight.shape[1] if by_channel_a else a.weight.shape[1]
    kernel = np.zeros((rows, inside, reach[0] + size[0], reach[1] + size[1]))
    for p in range(b.weight.shape[2]):
        for q in range(b.weight.shape[3]):
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
    return Kernel(kernel, stride, padding, (1, 1), b.groups if by_channel_a else a.groups)


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().cpu().numpy()
