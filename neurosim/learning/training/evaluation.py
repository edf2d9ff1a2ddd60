"""Loss and metrics of a network on a data set, and the functions that training shares with it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from neurosim.errors import InputError, ShapeError
from neurosim.learning.losses import CrossEntropy, Loss
from neurosim.learning.training.metrics import Metric, accuracy, named_metrics
from neurosim.learning.training.precision import Precision
from neurosim.network.network import Network

Batches = Iterable[tuple[Tensor, Tensor]]

_CROSS_ENTROPY = CrossEntropy()


def evaluate(
    net: nn.Module,
    data: Batches,
    loss: Loss = _CROSS_ENTROPY,
    metrics: Sequence[Metric] = (accuracy,),
    *,
    device: torch.device | str | None = None,
) -> dict[str, float]:
    """Return the mean loss and metrics of a network on a data set, in eval mode and without gradients.

    Parameters
    ----------
    net : Network
        Its mode (train or eval) is restored; moved to `device` if one is given.
    data : iterable of (x, y)
        x is [T, B, ...] (time first), y is [B].
    loss : Loss
        Also defines how a class is predicted from an output.
    metrics : sequence of callables
        `metric(output, target, predicted)`, see `neurosim.learning.training.metrics`.
    device : torch.device or str, optional
        Device of the run; that of the network by default.

    Returns
    -------
    dict
        `loss` and one entry per metric, means over samples.

    Raises
    ------
    InputError
        When there is no batch or the loss is not finite.
    ShapeError
        When a batch is not (x [T, B, ...], y [B]).
    """
    if device is not None:
        net.to(device)
    return mean_scores(net, data, loss, named_metrics(metrics), Precision(None, device_of(net)), "evaluation")


def mean_scores(
    net: nn.Module, data: Batches, loss: Loss, metrics: Mapping[str, Metric], precision: Precision, place: str
) -> dict[str, float]:
    """Compute the result of `evaluate`; `place` begins the error messages."""
    means = Means()
    forward = precision.forward(net)
    with modes_kept(net), torch.no_grad():
        net.eval()
        for number, batch in enumerate(data, start=1):
            here = f"{place}, batch {number}"
            x, y = on_device(batch, net, loss, here)
            output, _ = forward(x)
            value = loss(output, y)
            check_finite(here, net, loss=float(value))
            means.add(y.shape[0], scores(value, output, y, loss, metrics))
    if not means.samples:
        raise InputError(f"{place}: the data has no batch. Check the data set and the batch size.")
    return means.values()


class Means:
    """Means over samples, from means over batches."""

    def __init__(self) -> None:
        self.samples = 0
        self._sums: dict[str, Tensor | float] = {}

    def add(self, samples: int, values: Mapping[str, Tensor | float]) -> None:
        """Add one batch. Tensors stay on their device, without synchronisation."""
        self.samples += samples
        for name, value in values.items():
            amount = value.detach().double() if isinstance(value, Tensor) else value
            self._sums[name] = self._sums.get(name, 0.0) + amount * samples

    def values(self) -> dict[str, float]:
        """Return the means."""
        return {name: float(total) / self.samples for name, total in self._sums.items()}


def scores(
    value: Tensor, output: Tensor, target: Tensor, loss: Loss, metrics: Mapping[str, Metric]
) -> dict[str, Tensor | float]:
    """Return the loss and the metrics of one batch."""
    predicted = loss.prediction(output)
    return {"loss": value, **{name: metric(output, target, predicted) for name, metric in metrics.items()}}


def on_device(batch: Any, net: nn.Module, loss: Loss, place: str) -> tuple[Tensor, Tensor]:
    """Return x and y on the device of the network, or raise; integer inputs are converted to floating point."""
    pair = isinstance(batch, tuple | list) and len(batch) == 2 and all(isinstance(part, Tensor) for part in batch)
    if not pair:
        raise ShapeError(f"{place} is a {type(batch).__name__}; a pair of tensors is needed: (x [T, B, ...], y [B]).")
    x, y = batch
    if x.ndim < 2 or y.ndim < 1 or 0 in x.shape or x.shape[1] != y.shape[0]:
        hint = " x looks batch first: use x.transpose(0, 1)." if y.shape[:1] == x.shape[:1] else ""
        got = f"x is {list(x.shape)} and y is {list(y.shape)}"
        raise ShapeError(f"{place}: {got}; [T, B, ...] and [B] are needed.{hint}")
    where = device_of(net)
    if isinstance(net, Network) and y.device.type == "cpu" and where.type != "cpu":
        loss.check_target(y, math.prod(net.shape(net.output)))
    x = x.to(where, non_blocking=True)
    if not x.is_floating_point():
        x = x.to(next(net.parameters()).dtype)
    # A NaN membrane is not above threshold, so spikes and the loss would not contain the NaN.
    if not math.isfinite(float(x.sum())) and not torch.isfinite(x).all():
        step = int((~torch.isfinite(x)).flatten(1).any(1).nonzero()[0])
        raise InputError(f"{place}: x holds NaN or infinity, first at step {step}. Clean the data (torch.nan_to_num).")
    return x, y.to(where, non_blocking=True)


def check_finite(place: str, net: nn.Module, **values: float) -> None:
    """Raise for a loss or gradient that is NaN or infinite, with the most likely cause."""
    for name, value in values.items():
        if math.isfinite(value):
            continue
        if not all(torch.isfinite(parameter).all() for parameter in net.parameters()):
            cause = "Parameters of the network are no longer finite: start from an earlier checkpoint."
        else:
            cause = "Lower the learning rate, clip the gradient (clip=1.0), or use a surrogate with a smaller slope."
        raise InputError(f"{place}: the {name} is {value}. {cause} Checkpoints written so far are kept.")


def device_of(net: nn.Module) -> torch.device:
    """Return the device of the network's parameters; the CPU if it has none."""
    return next((parameter.device for parameter in net.parameters()), torch.device("cpu"))


@contextlib.contextmanager
def modes_kept(net: nn.Module) -> Iterator[None]:
    """Restore the train or eval mode of every module."""
    modes = [(module, module.training) for module in net.modules()]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
