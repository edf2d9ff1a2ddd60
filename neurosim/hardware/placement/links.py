"""Which neuron reaches which: what a placement has to know of synapses, and no more."""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from neurosim.errors import InputError
from neurosim.synapses import AvgPool2d, BlockLinear, Conv2d, Flatten, Linear, MaxPool2d, Sparse, SumPool2d, Synapse
from neurosim.synapses.delayed import Delayed
from neurosim.synapses.shift import Shift


class Reach(abc.ABC):
    """The synapses from one population to another, those with weight 0 left out."""

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
        """Return the lengths of the synapse lists that are left if those that differ in place alone are kept once.

        None where nothing is known to repeat.
        """
        return None


class Full(Reach):
    """Every neuron reaches every other."""

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


class Mapped(Reach):
    """Synapses of a chain of linear maps, such as a convolution behind pooling.

    The maps are run once with ``weight != 0`` for their weights; the derivative of chosen outputs by the inputs is
    then the number of ways from each input to them, which for maps of one convolution or matrix is that of synapses.
    """

    def __init__(self, maps: Sequence[Synapse], shape: tuple[int, ...]) -> None:
        with torch.enable_grad():
            self._x = torch.ones((1, *shape), dtype=torch.float64, requires_grad=True)
            y = self._x
            for one in maps:
                y = _existing(one, y)
            self._y = y.flatten()
        super().__init__(math.prod(shape), self._y.numel())
        kinds = [one for one in maps if not isinstance(one, Flatten)]
        # All places of a window, where windows do not overlap, reach what their sum reaches.
        if len(kinds) == 2 and isinstance(kinds[0], (AvgPool2d, SumPool2d)) and kinds[0].kernel == kinds[0].stride:
            shape = kinds.pop(0).output_shape(shape)
        self._conv = kinds[0] if len(kinds) == 1 and isinstance(kinds[0], Conv2d) and kinds[0].groups == 1 else None
        self._shape = shape

    def onto(self, neurons: np.ndarray) -> np.ndarray:
        """Count them; no more than there are neurons, where several ways lead to one."""
        chosen = torch.zeros(self.outputs, dtype=torch.float64)
        chosen[torch.from_numpy(neurons)] = 1.0
        if not self._y.requires_grad:
            return np.zeros(self.inputs, np.int64)
        (ways,) = torch.autograd.grad(self._y, self._x, chosen, retain_graph=True)
        return ways.flatten().round().long().clamp(max=len(neurons)).numpy()

    def shared(self, neurons: np.ndarray) -> np.ndarray | None:
        """Keep the kernel once for each set of its positions that falls on the given neurons.

        A pixel in the middle uses the whole kernel and shares it with all others there; pixels at a border, or near
        neurons of another core, use a part of it.
        """
        if self._conv is None:
            return None
        conv, (_, height, width) = self._conv, self._shape
        _, rows, columns = conv.output_shape(self._shape)
        here = np.zeros(self.outputs, bool)
        here[neurons] = True
        channels = here.reshape(conv.c_out, rows * columns).T
        first, kind = _distinct(channels)
        kind = kind.reshape(rows, columns)
        size = np.append(channels[first].sum(1), 0)  # and of no place at all
        taps = []
        for i in range(conv.kernel[0]):
            for j in range(conv.kernel[1]):
                y, y_fits = _target(height, i, conv, 0, rows)
                x, x_fits = _target(width, j, conv, 1, columns)
                found = np.where(y_fits[:, None] & x_fits, kind[np.ix_(y, x)], len(first))
                taps.append(np.where(size[found] > 0, found, len(first)).ravel())
        patterns = np.stack(taps, 1)
        lengths = size[patterns[_distinct(patterns)[0]]].sum(1)
        return np.repeat(lengths[lengths > 0], conv.c_in).astype(np.int64)


def _distinct(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the index of the first row of each kind, and the kind of each row; numpy's own sorts them for that."""
    kinds: dict[bytes, int] = {}
    packed = np.packbits(rows, axis=1) if rows.dtype == bool else np.ascontiguousarray(rows, np.int32)
    kind = np.array([kinds.setdefault(row.tobytes(), len(kinds)) for row in packed])
    return np.unique(kind, return_index=True)[1], kind


class Thinned(Reach):
    """The same synapses with a part of each neuron's pruned away, rounded up: to ask what pruning would bring."""

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
        Longest delay in steps beyond the step that a connection takes.
    """

    name: str
    source: str
    target: str
    reach: Reach
    delay: int = 0


def reach_of(maps: Sequence[Synapse], shape: tuple[int, ...]) -> Reach:
    """Return the synapses of one edge for spikes of `shape`.

    Raises
    ------
    InputError
        For a map without weights that can be counted.
    """
    maps = [one for one in maps if not isinstance(one, Shift)]  # an exponent of the edge takes no memory
    weighted = [one for one in maps if not isinstance(one, Flatten)]
    inputs = math.prod(shape)
    if len(weighted) == 1:
        (one,) = weighted
        if isinstance(one, (Linear, Delayed)):
            weight: Tensor = one.weight  # type: ignore[assignment]  # both kinds with delays have one
            return _matrix(weight.detach() != 0)
        if isinstance(one, BlockLinear):
            return _matrix(torch.block_diag(*(one.weight.detach() != 0)))
        if isinstance(one, Sparse):
            post, pre = one.connections[:, one.weight.detach() != 0].cpu().numpy()
            return Listed(inputs, one.n_out, post, pre)
    return Mapped(maps, shape)


def _matrix(exists: Tensor) -> Reach:
    outputs, inputs = exists.shape
    if bool(exists.all()):
        return Full(inputs, outputs)
    post, pre = exists.nonzero().T.cpu().numpy()
    return Listed(inputs, outputs, post, pre)


def _existing(one: Synapse, x: Tensor) -> Tensor:
    """Apply a map whose weights are 1 where there is a synapse and 0 elsewhere."""
    if isinstance(one, (AvgPool2d, MaxPool2d)):
        one = SumPool2d(one.kernel, stride=one.stride)  # type: ignore[arg-type]
    if isinstance(one, (Flatten, SumPool2d)):
        return one.apply_step(x)
    weight = getattr(one, "weight", None)
    if not isinstance(weight, Tensor) or not isinstance(one, nn.Module):
        raise InputError(
            f"synapses of {type(one).__name__} cannot be counted: it has no parameter called 'weight'. Give your "
            "synapse one, with a zero where there is no connection."
        )
    ones = {"weight": (weight.detach() != 0).double().cpu()}
    bias = getattr(one, "bias", None)
    if isinstance(bias, Tensor):
        ones["bias"] = torch.zeros_like(bias, dtype=torch.float64, device="cpu")
    y: Tensor = functional_call(one, ones, (x.unsqueeze(0),))[0]
    return y


def _target(length: int, tap: int, conv: Conv2d, axis: int, places: int) -> tuple[np.ndarray, np.ndarray]:
    """Return for each pixel along an axis the place that a tap of the kernel leads to, and whether there is one."""
    whole, rest = np.divmod(np.arange(length) + conv.padding[axis] - tap * conv.dilation[axis], conv.stride[axis])
    fits = (rest == 0) & (whole >= 0) & (whole < places)
    return np.where(fits, whole, 0), fits
