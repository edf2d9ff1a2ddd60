"""What all synapses share: a map from the spikes of one step to the current of that step."""

from __future__ import annotations

import abc

import torch
from torch import Tensor, nn

from neurosim.errors import InputError, ShapeError
from neurosim.kernels.common.autograd import transformed
from neurosim.kernels.common.availability import DTYPES, fused


class Synapse(nn.Module, abc.ABC):
    """A map from ``[T, B, *in]`` to ``[T, B, *out]``, the same at every step.

    Attributes
    ----------
    memory : int
        Steps before a step that its current depends on; 0 but for synapses with delays of their own, which map
        ``[memory + T, B, *in]`` to ``[T, B, *out]`` by ``over``.
    traced : bool
        Whether its weights can learn from a trace of its input in place of the input: so for maps that are linear.
    """

    memory: int = 0
    traced: bool = True

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
        """Map ``x`` [n, *in] to [n, *out]; n is any number of steps and samples."""

    def apply_spikes(self, x: Tensor, bits: Tensor | None, active: Tensor | None) -> Tensor:
        """Do what `apply_step` does, told what `forward` says; a map that has no use for it looks away."""
        return self.apply_step(x)

    def passed_on(
        self, shape: tuple[int, ...], bits: Tensor | None, active: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return of the result for spikes of `shape` what `forward` is told of its input: nothing, as far as is known.

        In the result's mask a bit is set where the gradient of any input that is in the mask goes through it.
        """
        return None, None

    def forward(self, x: Tensor, bits: Tensor | None = None, active: Tensor | None = None) -> Tensor:
        """Map spikes to currents.

        Parameters
        ----------
        x : Tensor [T, B, *in]
            Spikes, or currents of an input.
        bits : Tensor [T B, ceil(n / 64)] of int64, optional
            Which of the n values of a step are 1, a bit each, where x is known to be spikes.
        active : Tensor [T B, ceil(n / 64)] of int64, optional
            Where the gradient of x is needed; elsewhere it may be left 0.

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
        told = bits is not None or active is not None
        current = self.apply_spikes(rows, bits, active) if told else self.apply_step(rows)
        return current.unflatten(0, x.shape[:2])

    def refuse(self, shape: tuple[int, ...], wanted: str) -> ShapeError:
        """Return the error for spikes of a wrong shape."""
        return ShapeError(
            f"{self._get_name()}: spikes must be [T, B, {wanted}]; got [T, B, {', '.join(map(str, shape))}]."
        )


def event_driven(x: Tensor, weight: Tensor) -> bool:
    """Whether the event-driven kernels can run a product of spikes and weights; torch's own serves torch.func."""
    if not torch.compiler.is_compiling() and transformed():
        return False
    return x.device.type == "cpu" and x.dtype == weight.dtype and x.dtype in DTYPES and fused(x.device)


def count(owner: str, name: str, value: object, low: int = 1) -> int:
    """Return `value` if it is a whole number from `low`."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= low:
        return value
    raise InputError(f"{owner}: {name} must be a whole number from {low}; got {value!r}.")


def pair(owner: str, name: str, value: object, length: int, low: int = 1) -> tuple[int, ...]:
    """Return `value` as one whole number for each of `length` axes."""
    values = (value,) * length if isinstance(value, int) else value
    if not isinstance(values, (tuple, list)) or len(values) != length:
        raise InputError(f"{owner}: {name} must be a whole number or {length} of them; got {value!r}.")
    return tuple(count(owner, name, v, low) for v in values)
