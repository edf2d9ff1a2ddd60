"""The base of all synapses: from the spikes of a step to the current of that step."""

from __future__ import annotations

import abc
import copy
import inspect
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from neurosim.errors import InputError, ShapeError
from neurosim.kernels.common import decisions
from neurosim.kernels.common.autograd import under_transform
from neurosim.kernels.common.availability import DTYPES, fused
from neurosim.synapses.lowering import Lowered, Opaque
from neurosim.synapses.probing import probed
from neurosim.units.doubles import where_doubles_are

# Methods that a subclass may replace without changing what is computed.
_NO_ARITHMETIC = frozenset({"extra_repr", "output_shape", "passed_on", "refuse", "train"})


class Synapse(nn.Module, abc.ABC):
    """Synapses: currents ``[T, B, *out]`` of spikes ``[T, B, *in]``, by the same function at every step.

    Attributes
    ----------
    memory : int
        Number of earlier steps that the current of a step depends on; 0 except for synapses with delays, whose method
        ``over`` takes ``[memory + T, B, *in]`` to ``[T, B, *out]``.
    traced : bool
        Whether the weights can learn from a trace of the input instead of the input, as in linear synapses.
    folds : bool
        Whether `neurosim.network.fold` makes the synapse part of plain weights and biases.
    initial_scale : float
        Factor by which `neurosim.network.init` multiplied the weights that the constructor drew.
    """

    memory: int = 0
    traced: bool = True
    folds: bool = False
    initial_scale: float = 1.0
    _drawn: tuple[float, float] | None = None

    def note_drawn_weights(self) -> None:
        """Remember that the weights are those that the constructor drew."""
        self._drawn = _fingerprint(self.get_parameter("weight"))

    def has_drawn_weights(self) -> bool:
        """Whether the weights are those that the constructor drew: not trained, loaded or set since."""
        weight = self._parameters.get("weight")
        if self._drawn is None or weight is None:
            return False
        total, size = _fingerprint(weight)
        # A sum depends on the number of threads in its last bits.
        return abs(total - self._drawn[0]) <= 1e-9 * self._drawn[1] and abs(size / self._drawn[1] - 1) <= 1e-9

    @property
    def min_delay(self) -> int:
        """Shortest delay of these synapses, steps; `memory` is the longest."""
        return 0

    @property
    def mixes_steps(self) -> bool:
        """Whether the current of a step depends on other steps of the call."""
        return False

    @abc.abstractmethod
    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of one step's current for spikes of `shape` (no T, no B).

        Raises
        ------
        ShapeError
            When `shape` does not fit.
        """

    @abc.abstractmethod
    def apply_step(self, x: Tensor) -> Tensor:
        """Return the currents [n, *out] of ``x`` [n, *in]; n is any number of steps and samples."""

    def apply_spikes(self, x: Tensor, packed_bits: Tensor | None, mask: Tensor | None) -> Tensor:
        """Like `apply_step`, with the packed bits and the gradient mask of `forward`."""
        return self.apply_step(x)

    def passed_on(
        self, shape: tuple[int, ...], packed_bits: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return packed bits and mask of the output for spikes of `shape`, or (None, None) if they are unknown.

        A bit of the output's mask is set where the gradient of any input in the mask depends on it.
        """
        return None, None

    def forward(self, x: Tensor, packed_bits: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Return the currents of spikes.

        Parameters
        ----------
        x : Tensor [T, B, *in]
            Spikes, or currents of an input.
        packed_bits : Tensor [T B, ceil(n / 64)] of int64, optional
            One bit for each of the n values of a step, set where it is 1, if x is known to be spikes.
        mask : Tensor [T B, ceil(n / 64)] of int64, optional
            One bit for each value whose gradient is needed; elsewhere the gradient may be 0.

        Returns
        -------
        Tensor [T, B, *out]
        """
        if x.dim() < 3:
            raise ShapeError(
                f"{self._get_name()}: x must be [T, B, ...]; got {list(x.shape)}. Time comes first, then the batch."
            )
        self.output_shape(tuple(x.shape[2:]))
        if x.shape[0] == 0:
            return x.new_empty((0, x.shape[1], *self.output_shape(tuple(x.shape[2:]))))
        rows = x.flatten(0, 1)
        known = (packed_bits is not None or mask is not None) and "apply_step" not in vars(self)
        current = self.apply_spikes(rows, packed_bits, mask) if known else self.apply_step(rows)
        return current.unflatten(0, x.shape[:2])

    def lowered(self, shape: tuple[int, ...]) -> Lowered:
        """Return what this synapse computes in one step, as data.

        The description is that of the computation that runs, in the current mode (training or evaluation). Where a
        subclass, a hook or an assigned method changes the arithmetic of a class, the description of the class is
        compared with runs on random inputs, and replaced where it differs by the matrix that unit inputs give, if
        random inputs show that the computation is linear.

        Parameters
        ----------
        shape : tuple of int
            Of one step's spikes, without T and B.

        Returns
        -------
        Dense, SparseRows, Convolution, Pooling, Scaling, Reshape, Shifted or Opaque
            Values of `neurosim.synapses.lowering`, whose tensors are not copies; Opaque, with the reason, for any other
            computation.

        Raises
        ------
        ShapeError
            When `shape` does not fit.

        Examples
        --------
        >>> import torch
        >>> from neurosim.synapses import Synapse
        >>> class Difference(Synapse):
        ...     def output_shape(self, shape):
        ...         return (shape[0] - 1,)
        ...
        ...     def apply_step(self, x):
        ...         return x[:, 1:] - x[:, :-1]
        >>> Difference().lowered((4,)).matrix()
        tensor([[-1.,  1.,  0.,  0.],
                [ 0., -1.,  1.,  0.],
                [ 0.,  0., -1.,  1.]], dtype=torch.float64)
        """
        shape = tuple(shape)
        self.output_shape(shape)
        if self.runs_as_written():
            return self._lowered(shape)
        return self._found(shape, None if type(self)._lowered is Synapse._lowered else self._lowered)

    def _lowered(self, shape: tuple[int, ...]) -> Lowered:
        """Return the description of this class; the default finds the matrix by running the synapse.

        Override it for a synapse with a structure that readers can use, such as a convolution.
        """
        return self._found(shape)

    def _found(self, shape: tuple[int, ...], written: Callable[[tuple[int, ...]], Lowered] | None = None) -> Lowered:
        """Return the description found by running the synapse; see `probed`."""
        if self.memory or self.mixes_steps:
            return Opaque("combines spikes of several steps")
        return probed(self, shape, written)

    def runs_as_written(self) -> bool:
        """Whether a call runs the methods that `_lowered` was written for."""
        kind = type(self)
        if self._forward_hooks or self._forward_pre_hooks:
            return False
        if any(inspect.isroutine(getattr(kind, name, None)) for name in vars(self)):
            return False
        order = kind.__mro__
        owner = next(place for place, one in enumerate(order) if "_lowered" in vars(one))
        return not any(
            _is_replaced(name, order[place + 1 :]) for place, one in enumerate(order[:owner]) for name in vars(one)
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Synapse:
        """Copy results that hooks store on a module too, such as the weight of a pruned layer."""
        for module in self.modules():
            for value in vars(module).values():
                if isinstance(value, Tensor) and not value.is_leaf:  # torch copies leaves only
                    memo[id(value)] = value.detach().clone()
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        copied.__dict__ = copy.deepcopy(self.__dict__, memo)
        return copied

    def refuse(self, shape: tuple[int, ...], wanted: str) -> ShapeError:
        """Return the error for spikes of a wrong shape."""
        return ShapeError(
            f"{self._get_name()}: spikes must be [T, B, {wanted}]; got [T, B, {', '.join(map(str, shape))}]."
        )


def _fingerprint(weight: Tensor) -> tuple[float, float]:
    """Return the sum and the norm of weights, in double precision."""
    weight = where_doubles_are(weight.detach())
    return float(weight.sum(dtype=torch.float64)), float(torch.linalg.vector_norm(weight, dtype=torch.float64))


def lowered_chain(synapses: Sequence[Synapse], shape: tuple[int, ...]) -> list[Lowered]:
    """Return what each of several synapses in a row computes, for spikes of `shape` into the first."""
    values = []
    for synapse in synapses:
        values.append(synapse.lowered(shape))
        shape = synapse.output_shape(shape)
    return values


def _is_replaced(name: str, bases: tuple[type, ...]) -> bool:
    """Whether a class replaces arithmetic of its bases by defining this name; abstract methods have none."""
    if name in _NO_ARITHMETIC or (name.startswith("__") and name != "__call__"):
        return False
    methods = (vars(base)[name] for base in bases if name in vars(base))
    return any(inspect.isroutine(method) and not getattr(method, "__isabstractmethod__", False) for method in methods)


def event_driven(x: Tensor, weight: Tensor) -> bool:
    """Whether the event-driven kernels can run a product of spikes and weights; torch's own serves torch.func."""
    if not torch.compiler.is_compiling() and under_transform():
        return False
    applies = x.device.type == "cpu" and x.dtype == weight.dtype and x.dtype in DTYPES and fused(x.device)
    if decisions.observers and not applies:
        decisions.note("product", x.device.type, "torch", "no event-driven kernel on this device or in this precision")
    return applies


def count(owner: str, name: str, value: object, low: int = 1) -> int:
    """Return `value` if it is an integer from `low`, of Python or numpy."""
    if isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= low:
        return int(value)
    raise InputError(f"{owner}: {name} must be an integer from {low}; got {value!r}.")


def pair(owner: str, name: str, value: object, length: int, low: int = 1) -> tuple[int, ...]:
    """Return `value` as one integer for each of `length` axes."""
    values = (value,) * length if isinstance(value, Integral) else value
    if not isinstance(values, (tuple, list)) or len(values) != length:
        raise InputError(f"{owner}: {name} must be an integer or {length} of them; got {value!r}.")
    return tuple(count(owner, name, v, low) for v in values)
