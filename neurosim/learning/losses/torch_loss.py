"""Losses of `torch.nn` as losses of this package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from neurosim.errors import InputError, ShapeError
from neurosim.learning.losses.base import Loss, Steps, check_float

_OF_CLASSES = (nn.CrossEntropyLoss, nn.NLLLoss, nn.MultiMarginLoss)


@dataclass(frozen=True, eq=False, repr=False)
class TorchLoss(Loss):
    """A loss of `torch.nn`, applied to the output of every step or to its mean or sum over time.

    Parameters
    ----------
    module : torch.nn.Module
        Called with predictions and targets, with ``reduction="mean"``; such as ``nn.CrossEntropyLoss()`` or
        ``nn.MSELoss()``.
    of : {"step", "mean", "sum"}
        Whether the module gets the output of each step (the result is a mean over steps, usable with SLTT), the mean
        over time, or the sum over time, such as spike counts.

    Raises
    ------
    InputError
        For another module or choice.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> from neurosim.learning import TorchLoss
    >>> output, y = torch.rand(5, 3, 10), torch.tensor([0, 4, 9])
    >>> bool(TorchLoss(torch.nn.CrossEntropyLoss())(output, y) == ns.CrossEntropy()(output, y))
    True
    """

    module: nn.Module
    of: Literal["step", "mean", "sum"] = "step"

    def __post_init__(self) -> None:
        """Check module and choice."""
        if not isinstance(self.module, nn.Module):
            raise InputError(f"TorchLoss needs a loss module such as nn.CrossEntropyLoss(); got {self.module!r}.")
        if self.of not in ("step", "mean", "sum"):
            raise InputError(f'TorchLoss(of={self.of!r}): of must be "step", "mean" or "sum".')
        reduction = getattr(self.module, "reduction", "mean")
        if reduction != "mean":
            raise InputError(
                f'{self!r} has reduction={reduction!r}; a mean over the batch is needed: reduction="mean".'
            )

    @property
    def per_step(self) -> bool:  # type: ignore[override]
        """Whether the loss is a mean over steps."""
        return self.of == "step"

    @property
    def has_classes(self) -> bool:
        """Whether the targets are classes."""
        return isinstance(self.module, _OF_CLASSES)

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the module's loss, mean over steps and batch; see `Loss`."""
        return self.over(output, target, Steps(0, len(output)))

    def is_over_time(self, output: Tensor, target: Tensor) -> bool:
        """Whether the target is [B, T, ...]."""
        return self.per_step and target.dim() == (2 if self.has_classes else output.dim())

    def over(self, output: Tensor, target: Tensor, steps: Steps) -> Tensor:
        """Return the module's loss of some steps; see `Loss.over`."""
        check_float(output)
        if steps.mask is not None:
            raise InputError(f"{self!r} has no lengths or masks; use a loss of neurosim.learning, as CrossEntropy().")
        batch, *shape = output.shape[1:]
        sample = [batch] if self.has_classes else [batch, *shape]
        allowed = [sample, [batch, steps.total, *sample[1:]]][: 1 + self.per_step]
        if list(target.shape) not in allowed:
            form = " or ".join(map(str, allowed))
            raise ShapeError(f"the target is {list(target.shape)}; {self!r} needs {form}, batch first.")
        if not self.per_step:
            return self._value(output.mean(0) if self.of == "mean" else output.sum(0), target)
        if not self.is_over_time(output, target):
            return self._value(output.flatten(0, 1), target.expand(len(output), *target.shape).flatten(0, 1))
        weighted = getattr(self.module, "weight", None) is not None
        ignores = self.ignored(target) is not None
        if (weighted or ignores) and not steps.are_all(output):
            raise InputError(
                f"{self!r} with class weights or ignored targets is no sum over chunks of steps for targets [B, T]; "
                "use CrossEntropy(class_weights=..., ignore_index=...), or the rule BPTT()."
            )
        part = steps.of(target, len(output)).transpose(0, 1)
        return self._value(output.flatten(0, 1), part.flatten(0, 1))

    def _value(self, output: Tensor, target: Tensor) -> Tensor:
        value: Any = self.module(output, target if self.has_classes else target.to(output.dtype))
        if not isinstance(value, Tensor) or value.dim():
            got = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ShapeError(f"{self!r} returned {got}; a loss is a tensor without dimensions.")
        return value

    def ignored(self, target: Tensor) -> Tensor | None:
        """Return where the target is the class that the module ignores."""
        index = getattr(self.module, "ignore_index", None)
        if index is None or not self.has_classes or not bool((target == index).any()):
            return None
        return target == index

    def prediction(self, output: Tensor) -> Tensor:
        """Return the class of the largest sum over time, [B], or estimates in the form of the target."""
        if self.has_classes:
            return output.sum(0).argmax(1)
        return output.transpose(0, 1) if self.per_step else output.mean(0) if self.of == "mean" else output.sum(0)

    def predicted(self, output: Tensor, target: Tensor, steps: Steps) -> Tensor:
        """Return the prediction for a target of this form: for classes [B, T] that of each step."""
        if self.has_classes and target.dim() == 2:
            return output.argmax(2).T
        return super().predicted(output, target, steps)

    def __repr__(self) -> str:
        """Return the module and what it is applied to."""
        return f"TorchLoss({self.module!r}, of={self.of!r})"
