"""Which neuron reaches which: the connectivity that a placement needs."""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from neurosim.errors import InputError
from neurosim.synapses import Synapse
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
)
from neurosim.synapses.synapse import lowered_chain


class Reach(abc.ABC):
    """The synapses from one population to another; a weight of 0 is no synapse."""

    def __init__(self, inputs: int, outputs: int) -> None:
        self.inputs, self.outputs = inputs, outputs

    @abc.abstractmethod
    def onto(self, neurons: np.ndarray) -> np.ndarray:
        """Count the synapses of each neuron before onto the given neurons after.

        Parameters
        ----------
        neurons : numpy.ndarray [n] of int64
            Indices into the flattened population after.

        Returns
        -------
        numpy.ndarray [inputs] of int64
        """

    def fan_in(self, neuron: int) -> int:
        """Count the synapses of one neuron after."""
        return int(self.onto(np.array([neuron])).sum())

    def shared(self, neurons: np.ndarray) -> np.ndarray | None:
        """Return the lengths of the distinct synapse lists, where lists that differ only in place are stored once.

        None where lists are not known to repeat.
        """
        return None


class Full(Reach):
    """Every neuron before reaches every neuron after."""

    def onto(self, neurons: np.ndarray) -> np.ndarray:
        """Count them."""
        return np.full(self.inputs, len(neurons), np.int64)


class Listed(Reach):
    """Synapses listed by the neuron after.

    Parameters
    ----------
    inputs, outputs : int
    post, pre : numpy.ndarray [n] of int64
    """

    def __init__(self, inputs: int, outputs: int, post: np.ndarray, pre: np.ndarray) -> None:
        super().__init__(inputs, outputs)
        order = np.argsort(post, kind="stable")
        self._pre = pre[order]
        self._starts = np.searchsorted(post[order], np.arange(outputs + 1))

    def onto(self, neurons: np.ndarray) -> np.ndarray:
        """Count them."""
        if len(neurons) and neurons[-1] - neurons[0] == len(neurons) - 1:
            chosen = self._pre[self._starts[neurons[0]] : self._starts[neurons[-1] + 1]]
        else:
            parts = [self._pre[self._starts[k] : self._starts[k + 1]] for k in neurons]
            chosen = np.concatenate(parts) if parts else self._pre[:0]
        return np.bincount(chosen, minlength=self.inputs).astype(np.int64)


class Chained(Reach):
    """Synapses of several linear maps one after the other, such as a convolution behind pooling.

    The maps are applied once with weights of 1; the derivative of chosen outputs by an input is then the number of
    paths from that input to them, which for maps with one convolution or matrix is the number of synapses.
    """

    def __init__(self, values: Sequence[Described], shape: tuple[int, ...]) -> None:
        with torch.enable_grad():
            self._x = torch.ones((1, *shape), dtype=torch.float64, requires_grad=True)
            y = self._x
            for value in values:
                y = _existing(value).apply(y)
            self._y = y.flatten()
        super().__init__(math.prod(shape), self._y.numel())
        kinds = [value for value in values if not isinstance(value, Reshape)]
        for value in values:  # what reshapes the input first leaves its order as it is
            if not isinstance(value, Reshape):
                break
            shape = value.shape
        # All places of a window reach the same neurons as the sum of the window, where windows do not overlap.
        first = kinds[0] if len(kinds) == 2 else None
        if isinstance(first, Pooling) and first.kernel == first.stride and first.kind != "max":
            shape = tuple(kinds.pop(0).apply(torch.zeros(1, *shape)).shape[1:])
        last = kinds[0] if len(kinds) == 1 else None
        shareable = isinstance(last, Convolution) and len(last.kernel) == 2 and last.groups == 1
        self._conv = last if isinstance(last, Convolution) and shareable else None
        self._shape = shape

    def onto(self, neurons: np.ndarray) -> np.ndarray:
        """Count them; at most one for each neuron, where several paths lead to it."""
        chosen = torch.zeros(self.outputs, dtype=torch.float64)
        chosen[torch.from_numpy(neurons)] = 1.0
        if not self._y.requires_grad:
            return np.zeros(self.inputs, np.int64)
        (paths,) = torch.autograd.grad(self._y, self._x, chosen, retain_graph=True)
        return paths.flatten().round().long().clamp(max=len(neurons)).numpy()

    def shared(self, neurons: np.ndarray) -> np.ndarray | None:
        """Store the kernel once for each set of its positions that reaches the given neurons.

        Pixels in the middle use the full kernel and share it; pixels at a border, or near neurons of another core, use
        a part of it.
        """
        if self._conv is None:
            return None
        conv, (_, height, width) = self._conv, self._shape
        rows, columns = conv.apply(torch.zeros(1, *self._shape)).shape[2:]
        here = np.zeros(self.outputs, bool)
        here[neurons] = True
        channels = here.reshape(conv.c_out, rows * columns).T
        first, kind = _distinct(channels)
        kind = kind.reshape(rows, columns)
        size = np.append(channels[first].sum(1), 0)  # and 0 for no place at all
        taps = []
        for i in range(conv.kernel[0]):
            for j in range(conv.kernel[1]):
                y, y_fits = _target(height, i, conv, 0, rows)
                x, x_fits = _target(width, j, conv, 1, columns)
                reached = np.where(y_fits[:, None] & x_fits, kind[np.ix_(y, x)], len(first))
                taps.append(np.where(size[reached] > 0, reached, len(first)).ravel())
        patterns = np.stack(taps, 1)
        lengths = size[patterns[_distinct(patterns)[0]]].sum(1)
        return np.repeat(lengths[lengths > 0], conv.c_in).astype(np.int64)


def _distinct(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the index of the first row of each kind, and the kind of each row, without sorting."""
    kinds: dict[bytes, int] = {}
    packed = np.packbits(rows, axis=1) if rows.dtype == bool else np.ascontiguousarray(rows, np.int32)
    kind = np.array([kinds.setdefault(row.tobytes(), len(kinds)) for row in packed])
    return np.unique(kind, return_index=True)[1], kind


class Thinned(Reach):
    """The same synapses after pruning a share of each neuron's, rounded up: an estimate of what pruning saves."""

    def __init__(self, reach: Reach, density: float) -> None:
        super().__init__(reach.inputs, reach.outputs)
        self._reach, self._density = reach, density

    def onto(self, neurons: np.ndarray) -> np.ndarray:
        """Count those left."""
        return np.ceil(self._reach.onto(neurons) * self._density).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Link:
    """Synapses from one population to another, as a placement sees them.

    Attributes
    ----------
    name, source, target : str
    reach : Reach
    delay : int
        Longest delay in steps, beyond the one step of a connection.
    """

    name: str
    source: str
    target: str
    reach: Reach
    delay: int = 0


def reach_of(synapses: Sequence[Synapse], shape: tuple[int, ...]) -> Reach:
    """Return the connectivity of one edge for spikes of `shape`.

    Raises
    ------
    InputError
        For a synapse that is not linear.
    """
    values: list[Described] = []
    for synapse, value in zip(synapses, lowered_chain(synapses, shape), strict=True):
        if isinstance(value, Opaque):
            raise InputError(f"synapses of {type(synapse).__name__} cannot be counted: it {value.reason}.")
        if not isinstance(value, Shifted):  # an exponent of the edge takes no memory
            values.append(value)
    weighted = [value for value in values if not isinstance(value, Reshape)]
    if len(weighted) == 1:
        (one,) = weighted
        if isinstance(one, Dense):
            return _matrix(one.weight != 0)
        if isinstance(one, Scaling):
            one = one.rows(shape)
        if isinstance(one, SparseRows):
            exists = one.weight != 0
            return Listed(one.n_in, one.n_out, one.post[exists].cpu().numpy(), one.pre[exists].cpu().numpy())
    return Chained(values, shape)


def _matrix(exists: Tensor) -> Reach:
    outputs, inputs = exists.shape
    if bool(exists.all()):
        return Full(inputs, outputs)
    post, pre = exists.nonzero().T.cpu().numpy()
    return Listed(inputs, outputs, post, pre)


def _existing(value: Described) -> Described:
    """Return a value with weights of 1 for synapses and 0 elsewhere."""
    if isinstance(value, Pooling):
        return value.counted()
    if isinstance(value, (Dense, SparseRows, Convolution, Scaling)):
        return value.counted(all_positions=False).to(torch.float64)
    return value


def _target(length: int, tap: int, conv: Convolution, axis: int, places: int) -> tuple[np.ndarray, np.ndarray]:
    """Return for each pixel along an axis the place that a tap of the kernel reaches, and whether there is one."""
    place, rest = np.divmod(np.arange(length) + conv.padding[axis] - tap * conv.dilation[axis], conv.stride[axis])
    fits = (rest == 0) & (place >= 0) & (place < places)
    return np.where(fits, place, 0), fits
