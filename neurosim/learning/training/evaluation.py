"""Loss and metrics of a network on a data set, and the functions that training shares with it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from neurosim.errors import InputError
from neurosim.learning.losses import CrossEntropy, Loss, Steps
from neurosim.learning.rules.base import called
from neurosim.learning.training.arguments import as_loss, check_batches, check_module, checked_device
from neurosim.learning.training.batches import Batch, Batches, device_of, on_device
from neurosim.learning.training.finite import FiniteChecks
from neurosim.learning.training.metrics import Metric, accuracy, collect, collects, named_metrics, scored
from neurosim.learning.training.precision import Precision
from neurosim.learning.training.shards import Shards
from neurosim.units.doubles import has_doubles, where_doubles_are

_CROSS_ENTROPY = CrossEntropy()


def evaluate(
    net: nn.Module,
    data: Batches,
    loss: Loss | nn.Module = _CROSS_ENTROPY,
    metrics: Sequence[Metric] | None = None,
    *,
    device: torch.device | str | None = None,
) -> dict[str, float]:
    """Return the mean loss and metrics of a network on a data set, in eval mode and without gradients.

    Parameters
    ----------
    net : Network
        Its mode (train or eval) is restored; moved to `device` if one is given.
    data : iterable of (x, y) or (x, y, lengths)
        x is [T, B, ...] (time first), y is [B], or [B, ...] or [B, T, ...] where the loss takes it; lengths are the
        numbers of valid steps, int64 [B], or a mask, bool [B, T].
    loss : Loss or loss of torch.nn
        Also defines what is predicted from an output. A loss of torch.nn becomes a `TorchLoss`.
    metrics : sequence of callables, optional
        `metric(output, target, predicted)`, or objects of torchmetrics, which get predictions and targets. By default
        `accuracy`, if the targets are classes.
    device : torch.device or str, optional
        Device of the run; that of the network by default.

    Returns
    -------
    dict
        `loss` and one entry per metric, means over the samples that are counted.

    Raises
    ------
    InputError
        When there is no batch or the loss is not finite.
    ShapeError
        When a batch is not (x [T, B, ...], y [B]).
    """
    check_module("evaluate", net)
    check_batches("data", data)
    loss = as_loss(loss)
    if device is not None:
        net.to(checked_device(device))
    return mean_scores(net, data, loss, named_metrics(metrics), Precision(None, device_of(net)), "evaluation")


def mean_scores(
    net: nn.Module,
    data: Batches,
    loss: Loss,
    metrics: Mapping[str, Any] | None,
    precision: Precision,
    place: str,
    shards: Shards | None = None,
) -> dict[str, float]:
    """Compute the result of `evaluate`, over ranks if `shards` are given; `place` begins the error messages."""
    means, checks = Scores(loss, metrics), FiniteChecks(net)
    forward = precision.forward(net)
    if shards is not None:
        forward, data = shards.forward(forward), shards.same_batches(data, place)
    with modes_kept(net), torch.no_grad():
        net.eval()
        for number, given in enumerate(data, start=1):
            here = f"{place}, batch {number}"
            batch = on_device(given, net, loss, here, checks)
            output, _ = called(forward, batch.x)
            value = batch.loss(loss)(output, batch.y)
            checks.add(here, loss=value)
            means.add(value, output, batch)
        checks.finish()
    if not means.samples:
        raise InputError(f"{place}: the data has no batch. Check the data set and the batch size.")
    return means.values()


class Scores:
    """Loss and metrics over batches, as means over the samples that are counted.

    Parameters
    ----------
    loss : Loss
    metrics : mapping of str to Metric, optional
        By default accuracy, if targets and predictions are classes.
    """

    def __init__(self, loss: Loss, metrics: Mapping[str, Any] | None) -> None:
        self.loss, self.metrics = loss, metrics
        self.samples = 0
        self._sums: dict[str, Tensor | float] = {}
        self._parts: dict[str, list[Tensor]] = {}  # of devices without double precision, summed on the CPU
        for metric in (metrics or {}).values():
            if collects(metric):
                metric.reset()

    def add(self, value: Tensor, output: Tensor, batch: Batch) -> None:
        """Add one batch. Tensors stay on their device, without synchronisation."""
        target, mask = batch.y, batch.mask
        predicted = self.loss.predicted(output, target, Steps(0, len(output), mask))
        if self.metrics is None:
            floating = target.is_floating_point() or predicted.is_floating_point()
            self.metrics = {} if floating else {"accuracy": accuracy}
        skipped = self.loss.ignored(target)
        if skipped is not None and skipped.dim() == 2:
            mask = ~skipped if mask is None else mask & ~skipped
            skipped = ~mask.any(1)
        if skipped is not None:
            kept = ~skipped if batch.kept is None else batch.kept
            output, target, predicted = output[:, kept], target[kept], predicted[kept]
            mask = None if mask is None else mask[kept]
        samples = target.shape[0]
        self.samples += samples
        self._add("loss", value, samples)
        for name, metric in self.metrics.items():
            if collects(metric):
                collect(metric, target, predicted, mask)
            else:
                self._add(name, scored(name, metric, output, target, predicted, mask), samples)

    def _add(self, name: str, value: Tensor | float, samples: int) -> None:
        if isinstance(value, Tensor) and not has_doubles(value.device):
            self._parts.setdefault(name, []).append(value.detach() * samples)
            return
        amount = value.detach().double() if isinstance(value, Tensor) else value
        self._sums[name] = self._sums.get(name, 0.0) + amount * samples

    def values(self) -> dict[str, float]:
        """Return the loss and the metrics."""
        on_cpu = {name: where_doubles_are(torch.stack(parts)).double().sum() for name, parts in self._parts.items()}
        found = {name: float(total) / self.samples for name, total in {**self._sums, **on_cpu}.items()}
        for name, metric in (self.metrics or {}).items():
            if collects(metric):
                found[name] = float(metric.compute())
        return found


@contextlib.contextmanager
def modes_kept(net: nn.Module) -> Iterator[None]:
    """Restore the train or eval mode of every module."""
    modes = [(module, module.training) for module in net.modules()]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
