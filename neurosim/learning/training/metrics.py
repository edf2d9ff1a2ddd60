"""Metrics: functions of output, target and prediction, averaged over samples, and objects that collect batches."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from neurosim.errors import InputError, ShapeError
from neurosim.units.doubles import widened


class Collector(Protocol):
    """A metric that collects the batches of an epoch, such as those of torchmetrics."""

    def reset(self) -> None:
        """Forget all batches."""

    def update(self, predicted: Tensor, target: Tensor, /) -> None:
        """Take a batch."""

    def compute(self) -> Tensor:
        """Return the value for all batches."""


Metric = Callable[..., "Tensor | float"] | Collector
"""`metric(output [T, B, C], target [B], predicted [B])` -> mean over the batch; `__name__` heads its history column.

A metric that takes `mask` gets the valid steps, bool [B, T], of batches with lengths or masks. An object with the
methods `reset`, `update(predicted, target)` and `compute`, such as those of torchmetrics, collects the batches of an
epoch.
"""


def accuracy(output: Tensor, target: Tensor, predicted: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the fraction of samples whose predicted class is the target, 0 to 1.

    Parameters
    ----------
    output : Tensor
        The network's output [T, B, C]; unused here.
    target, predicted : Tensor
        Classes [B]; or classes of each step [B, T], of which the fraction of each sample is averaged.
    mask : Tensor [B, T] of bool, optional
        The valid steps, of classes of each step.

    Raises
    ------
    InputError
        For targets or predictions that are no classes.
    ShapeError
        When target and prediction differ in shape.
    """
    if target.is_floating_point() or predicted.is_floating_point():
        raise InputError(
            f"accuracy is for classes; target and prediction are {target.dtype} and {predicted.dtype}. Leave it out of "
            "metrics, or give a metric of your own."
        )
    if target.shape != predicted.shape:
        raise ShapeError(f"accuracy: the target is {list(target.shape)}, the prediction {list(predicted.shape)}.")
    right = widened(predicted == target)
    if right.dim() == 1:
        return right.mean()
    if mask is None:
        return right.flatten(1).mean(1).mean()
    return (right * mask).sum(1).div(mask.sum(1)).mean()


def spikes_per_step(output: Tensor, target: Tensor, predicted: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the mean output over valid steps: for spikes, the fraction of steps with a spike, 0 to 1."""
    if mask is None:
        return widened(output).mean()
    each = widened(output).flatten(2).mean(2).T * mask
    return (each.sum(1) / mask.sum(1)).mean()


def collects(metric: object) -> bool:
    """Whether a metric is an object that collects batches, such as those of torchmetrics."""
    return not inspect.isclass(metric) and all(
        callable(getattr(metric, n, None)) for n in ("update", "compute", "reset")
    )


def named_metrics(metrics: Sequence[Metric] | None) -> dict[str, Any] | None:
    """Return the metrics by the name of their column in the history; None, the default, stands for accuracy alone."""
    if metrics is None:
        return None
    example = "metrics is a sequence of functions, such as metrics=[ns.accuracy]"
    if isinstance(metrics, str) or callable(metrics) or not isinstance(metrics, Sequence):
        raise InputError(f"{example}; got {metrics!r}.")
    named: dict[str, Any] = {}
    for metric in metrics:
        if inspect.isclass(metric) or not (callable(metric) or collects(metric)):
            hint = f"an instance, {metric.__name__}(...)," if inspect.isclass(metric) else "functions"
            raise InputError(f"{example}; got {metric!r}. Pass {hint} with metric(output, target, predicted).")
        name = getattr(metric, "__name__", type(metric).__name__ if collects(metric) else None)
        if name is None:
            raise InputError(f"the metric {metric!r} has no __name__ for its column. Pass a function.")
        if name in named or name == "loss":
            raise InputError(f"two columns of the history would be called {name!r}. Rename a metric.")
        named[name] = metric
    return named


def scored(
    name: str,
    metric: Callable[..., Tensor | float],
    output: Tensor,
    target: Tensor,
    predicted: Tensor,
    mask: Tensor | None,
) -> Tensor | float:
    """Return the value of a metric on a batch."""
    if mask is None:
        return metric(output, target, predicted)
    if "mask" not in inspect.signature(metric).parameters:
        raise InputError(
            f"the metric {name!r} would count steps that are padding; give it an argument mask=None, which holds the "
            "valid steps, [B, T]."
        )
    return metric(output, target, predicted, mask=mask)


def collect(metric: Any, target: Tensor, predicted: Tensor, mask: Tensor | None) -> None:
    """Give a batch to an object that collects batches."""
    if isinstance(metric, torch.nn.Module):
        metric.to(predicted.device)
    if mask is not None and target.dim() > 1:
        metric.update(predicted[mask], target[mask])
    else:
        metric.update(predicted, target)
