"""What every loss is: a scalar of output and target, and of the output of some steps of a run."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from neurosim.errors import InputError, ShapeError


@dataclass(frozen=True)
class Steps:
    """The steps of a run that an output has, and which steps of the run are valid.

    Attributes
    ----------
    start : int
        First step of the output in the run.
    total : int
        T, the number of steps of the run.
    mask : Tensor [B, T] of bool, optional
        True at the valid steps of each sample; by default every step is valid.
    """

    start: int
    total: int
    mask: Tensor | None = None

    def of(self, values: Tensor, length: int) -> Tensor:
        """Return the values [B, length, ...] at the steps of an output of `length` steps, of values [B, T, ...]."""
        return values[:, self.start : self.start + length]

    def are_all(self, output: Tensor) -> bool:
        """Whether an output [t, B, ...] has all steps of the run."""
        return self.start == 0 and len(output) == self.total


class Loss(ABC):
    """What training minimises.

    A user's loss derives from this class and defines `__call__` and `prediction`. It sets `per_step` to True if (and
    only if) it is the mean over steps of a quantity of one step; its targets may then have any shape.

    Attributes
    ----------
    per_step : bool
        Whether the loss is a mean over steps, which rules that learn step by step need.
    target_over_time : bool, optional
        Whether a target with two dimensions or more holds a value for each step, [B, T, ...]. A rule that runs a batch
        in chunks then gives the loss the steps of each chunk. A loss with such targets must say it.
    """

    per_step: ClassVar[bool] = False
    target_over_time: ClassVar[bool | None] = None

    def __init_subclass__(cls, **options: Any) -> None:
        """Let `over` and `predicted` call a method that the class replaces, not that of its base."""
        super().__init_subclass__(**options)
        for replaced, derived in (("__call__", "over"), ("prediction", "predicted")):
            if replaced in vars(cls) and derived not in vars(cls):
                setattr(cls, derived, getattr(Loss, derived))

    @abstractmethod
    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss of output [T, B, C] against the target [B] or [B, ...], a scalar; mean over the batch."""

    @abstractmethod
    def prediction(self, output: Tensor) -> Tensor:
        """Return the prediction for each sample, from output [T, B, C].

        It is the class, int64 [B], or an estimate in the form of the target.
        """

    def over(self, output: Tensor, target: Tensor, steps: Steps) -> Tensor:
        """Return the loss of the output of some steps of a run.

        The sum over the chunks of a run, each times its number of steps over T, is the loss of the run. The default
        serves losses without a mask.

        Parameters
        ----------
        output : Tensor [t, B, C]
            Of t steps.
        target : Tensor [B], [B, ...] or [B, T, ...]
            Of the run.
        steps : Steps
            Which steps these are, and which are valid.

        Raises
        ------
        InputError
            When the loss cannot be computed from these steps.
        """
        if steps.mask is not None:
            raise InputError(
                f"{self!r} has no lengths or masks: it would count steps that are padding. Use a loss of "
                "neurosim.learning, or define over(output, target, steps) and predicted(...) with steps.mask."
            )
        if steps.are_all(output):
            return self(output, target)
        check_per_step("a rule that runs chunks of steps", self)
        return self(output, self.target_at(output, target, steps))

    def predicted(self, output: Tensor, target: Tensor, steps: Steps) -> Tensor:
        """Return the prediction for a target of this form, from output [T, B, C] of a full run."""
        if steps.mask is not None:
            raise InputError(f"{self!r} has no lengths or masks; define predicted(output, target, steps).")
        return self.prediction(output)

    def ignored(self, target: Tensor) -> Tensor | None:
        """Return where a target is not to be counted, bool of the shape of the target; None if all is counted."""
        return None

    def is_over_time(self, output: Tensor, target: Tensor) -> bool:
        """Whether the target holds a value for each step, [B, T, ...]."""
        if target.dim() < 2:
            return False
        if self.target_over_time is None:
            raise InputError(
                f"{self!r} does not say whether its target {list(target.shape)} has a value for each step, [B, T, ...];"
                " set target_over_time = True in its class (or False), or use the rule BPTT()."
            )
        return self.target_over_time

    def target_at(self, output: Tensor, target: Tensor, steps: Steps) -> Tensor:
        """Return the target of the steps of `output` [t, B, ...], given that of the run."""
        if not self.is_over_time(output, target):
            return target
        if target.shape[1] != steps.total:
            raise ShapeError(
                f"the target is {list(target.shape)}; a target for each step is [B, T, ...] with T = {steps.total}."
            )
        return steps.of(target, len(output))

    def check_target(self, target: Tensor, classes: int) -> None:  # noqa: B027 (most targets need no check)
        """Raise for a target that does not fit `classes` outputs; `fit` calls it before the batch leaves the CPU."""

    def __repr__(self) -> str:
        """Return the class with the arguments that differ from their defaults."""
        if dataclasses.is_dataclass(self):
            fields = [f for f in dataclasses.fields(self) if getattr(self, f.name) != f.default]
            values = {f.name: getattr(self, f.name) for f in fields if f.repr}
        else:
            values = {n: v for n, v in vars(self).items() if isinstance(v, (bool, int, float, str, tuple))}
        return f"{type(self).__qualname__}({', '.join(f'{name}={value!r}' for name, value in values.items())})"


@dataclass(frozen=True, eq=False, repr=False)
class Masked(Loss):
    """A loss over the valid steps of each sample of one batch alone.

    Parameters
    ----------
    loss : Loss
    mask : Tensor [B, T] of bool
        True at valid steps; each sample has one or more.
    """

    loss: Loss
    mask: Tensor

    @property
    def per_step(self) -> bool:  # type: ignore[override]
        """Whether the loss is a mean over steps."""
        return self.loss.per_step

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a full run."""
        return self.over(output, target, Steps(0, len(output)))

    def over(self, output: Tensor, target: Tensor, steps: Steps) -> Tensor:
        """Return the loss of the output of some steps."""
        if self.mask.shape != (output.shape[1], steps.total):
            raise ShapeError(
                f"the mask is {list(self.mask.shape)}; [B, T] = [{output.shape[1]}, {steps.total}] is needed, as the "
                "output of the network has."
            )
        return self.loss.over(output, target, dataclasses.replace(steps, mask=self.mask))

    def prediction(self, output: Tensor) -> Tensor:
        """Raise: the prediction of `loss` is computed by its method `predicted`."""
        raise InputError("a loss with a mask predicts by predicted(output, target, steps).")

    def target_at(self, output: Tensor, target: Tensor, steps: Steps) -> Tensor:
        """Return the target of the steps of `output`."""
        return self.loss.target_at(output, target, steps)

    def is_over_time(self, output: Tensor, target: Tensor) -> bool:
        """Whether the target holds a value for each step."""
        return self.loss.is_over_time(output, target)

    def __repr__(self) -> str:
        """Return that of the loss."""
        return repr(self.loss)


def check_per_step(owner: object, loss: object) -> None:
    """Raise `InputError` unless `loss` is a mean over steps."""
    if not isinstance(loss, Loss):
        raise InputError(f"loss must be a Loss such as CrossEntropy(); got {loss!r}.")
    if not loss.per_step:
        raise InputError(
            f"{owner} needs a loss that is a mean over steps; {loss!r} uses all steps at once. "
            "Use CrossEntropy() or CrossEntropyMSE(), a subclass of Loss with per_step = True, or the rule BPTT()."
        )


def check_all_steps(loss: Loss, output: Tensor, steps: Steps) -> None:
    """Raise `InputError` unless `output` has all steps of the run, for a loss that is not a mean over steps."""
    if not steps.are_all(output):
        raise InputError(f"{loss!r} uses all steps at once; got {len(output)} of {steps.total}. Use the rule BPTT().")


def check_classes_alone(owner: str, loss: object, target: Tensor) -> None:
    """Raise unless the target is one class for each sample, [B], and every step is valid."""
    if isinstance(loss, Masked):
        raise InputError(f"{owner} has no lengths or masks; give batches (x, y) without padding.")
    if target.dim() != 1:
        raise ShapeError(f"{owner} needs one class for each sample, [B]; the target is {list(target.shape)}.")


def check_output(output: Tensor) -> Tensor:
    """Return `output` if it is [T, B, C] in floating point."""
    if output.ndim != 3 or 0 in output.shape:
        raise ShapeError(
            f"the output is {list(output.shape)}; losses take [T, B, C]: steps, batch, classes. "
            "End the network with one population that has one neuron for each class."
        )
    return check_float(output)


def check_float(output: Tensor) -> Tensor:
    """Return `output` if it is in floating point."""
    if not output.is_floating_point():
        raise InputError(f"the output is {output.dtype}; losses take floating-point values: output.float().")
    return output


def shares(like: Tensor, steps: Steps, counted: Tensor | None = None, weights: Tensor | None = None) -> Tensor:
    r"""Return the share of each step of each sample in a mean over samples and valid steps.

    .. math:: s_{bt} = \frac{u_{bt}}{\sum_{b,t} w_{bt} u_{bt}}, \quad u_{bt} = c_{bt} \frac{m_{bt}}{\sum_t m_{bt}}

    A batch of padded samples has the mean of the samples without padding, each run alone.

    Parameters
    ----------
    like : Tensor [t, B, ...]
        For type, device and B.
    steps : Steps
        With the mask m.
    counted : Tensor [B] or [B, T] of bool, optional
        c: which samples or steps count.
    weights : Tensor [B] or [B, T], optional
        w: weights that the values have already.

    Returns
    -------
    Tensor [B, T]
    """
    u = like.new_full((like.shape[1], steps.total), 1.0 / steps.total)
    if steps.mask is not None:
        valid = steps.mask.to(u)
        u = valid / valid.sum(1, keepdim=True)
    if counted is not None:
        u = u * columns(counted).to(u)
    return u / (u if weights is None else u * columns(weights).to(u)).sum()


def columns(values: Tensor) -> Tensor:
    """Return values [B] as [B, 1], and values [B, T] as they are."""
    return values[:, None] if values.dim() == 1 else values


def valid_steps(output: Tensor, mask: Tensor | None, fill: float = 0.0) -> Tensor:
    """Return `output` [T, B, ...] with `fill` at steps that are not valid."""
    if mask is None:
        return output
    outside = ~mask.T.view(*output.shape[:2], *[1] * (output.dim() - 2))
    return output.masked_fill(outside, fill)


def number_of_steps(output: Tensor, mask: Tensor | None) -> Tensor | int:
    """Return the number of valid steps, [B, 1], or T if all are valid."""
    return len(output) if mask is None else mask.sum(1, keepdim=True).to(output.dtype)


def steps_before_first_spike(owner: str, spikes: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the number of steps before the first spike, [B, ...], from spikes [T, B, ...]; T where there is none.

    It is differentiable. With a mask [B, T] only valid steps and their spikes are counted.
    """
    low, high = float(spikes.detach().min()), float(spikes.detach().max())
    if low < 0 or high > 1:
        raise InputError(
            f"{owner} got output values from {low:g} to {high:g}; it needs spikes, 0 or 1. "
            "End the network with a spiking neuron, or use MaxMembrane() for membrane potentials."
        )
    before = torch.cumprod(1 - valid_steps(spikes, mask), 0)
    return valid_steps(before, mask).sum(0)


def mask_of(lengths: Tensor, steps: int) -> Tensor:
    """Return the mask [B, T] of `lengths`, the number of valid steps of each sample.

    Parameters
    ----------
    lengths : Tensor [B] of an integer type, or [B, T] of bool
        Numbers of valid steps, 1 to `steps`; or the mask itself, with one valid step or more for each sample.
    steps : int
        T.

    Examples
    --------
    >>> import torch
    >>> from neurosim.learning import mask_of
    >>> mask_of(torch.tensor([1, 3]), 3)
    tensor([[ True, False, False],
            [ True,  True,  True]])
    """
    if not isinstance(lengths, Tensor) or lengths.is_floating_point() or lengths.is_complex():
        got = lengths.dtype if isinstance(lengths, Tensor) else type(lengths).__name__
        raise InputError(f"lengths must be an integer tensor [B], or a bool mask [B, T]; got {got}.")
    if lengths.dtype == torch.bool:
        if lengths.dim() != 2 or lengths.shape[1] != steps:
            raise ShapeError(f"the mask is {list(lengths.shape)}; [B, T] with T = {steps} is needed.")
        if not lengths.any(1).all():
            raise InputError("the mask has a sample without a valid step; leave such samples out of the batch.")
        return lengths
    if lengths.dim() != 1 or not len(lengths):
        raise ShapeError(f"lengths is {list(lengths.shape)}; one number of steps for each sample is needed: [B].")
    low, high = (int(end) for end in lengths.aminmax())
    if low < 1 or high > steps:
        raise InputError(f"lengths must be from 1 to T = {steps}; got {low if low < 1 else high}.")
    return torch.arange(steps, device=lengths.device) < lengths[:, None]
