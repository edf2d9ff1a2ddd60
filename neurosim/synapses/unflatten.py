"""The values of a population in another shape."""

from __future__ import annotations

import math

from torch import Tensor

from neurosim.errors import InputError
from neurosim.synapses.lowering import Lowered, Reshape
from neurosim.synapses.synapse import Synapse, count


class Unflatten(Synapse):
    """The same values in the same order, in another shape: ``[T, B, N] -> [T, B, *shape]``.

    Parameters
    ----------
    shape : tuple of int
        Of one step's current, with as many values as one step's spikes.

    Examples
    --------
    >>> import torch
    >>> from neurosim.synapses import Unflatten
    >>> Unflatten((2, 3))(torch.arange(6.0).view(1, 1, 6)).tolist()
    [[[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]]]
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        if not isinstance(shape, (tuple, list)) or not shape:
            raise InputError(f"Unflatten: shape must be a tuple of integers; got {shape!r}.")
        self.shape = tuple(count("Unflatten", "shape", size) for size in shape)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the current."""
        if math.prod(shape) != math.prod(self.shape):
            raise self.refuse(shape, f"of {math.prod(self.shape)} values for {list(self.shape)}")
        return self.shape

    def passed_on(
        self, shape: tuple[int, ...], packed_bits: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return the same: the order of the bits does not depend on the shape."""
        return (packed_bits, mask) if type(self) is Unflatten else (None, None)

    def apply_step(self, x: Tensor) -> Tensor:
        """Return ``x`` [n, ...] as [n, *shape]."""
        return x.reshape(len(x), *self.shape)

    def _lowered(self, shape: tuple[int, ...]) -> Lowered:
        return Reshape(self.shape)

    def extra_repr(self) -> str:
        """Return the shape."""
        return str(self.shape)
