"""Metrics: functions of output, target and predicted class, averaged over samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from neurosim.errors import InputError

Metric = Callable[[Tensor, Tensor, Tensor], "Tensor | float"]
"""`metric(output [T, B, C], target [B], predicted [B])` -> mean over the batch; `__name__` heads its history column."""


def accuracy(output: Tensor, target: Tensor, predicted: Tensor) -> Tensor:
    """Return the fraction of samples whose predicted class is the target, 0 to 1.

    Parameters
    ----------
    output : Tensor
        The network's output [T, B, C]; unused here.
    target, predicted : Tensor
        Classes [B].
    """
    return (predicted == target).double().mean()


def spikes_per_step(output: Tensor, target: Tensor, predicted: Tensor) -> Tensor:
    """Return the mean output: for spikes, the fraction of steps with a spike, 0 to 1."""
    return output.double().mean()


def named_metrics(metrics: Sequence[Metric]) -> dict[str, Metric]:
    """Return the metrics by the name of their column in the history."""
    named: dict[str, Metric] = {}
    for metric in metrics:
        name = getattr(metric, "__name__", None)
        if name is None:
            raise InputError(f"the metric {metric!r} has no __name__ for its column. Pass a function.")
        if name in named or name == "loss":
            raise InputError(f"two columns of the history would be called {name!r}. Rename a metric.")
        named[name] = metric
    return named
