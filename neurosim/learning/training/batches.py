"""Batches of a data set: their forms, their checks, and the way to the device of the network."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from neurosim.errors import InputError, ShapeError
from neurosim.learning.losses import Loss, Masked, mask_of
from neurosim.learning.training.finite import FiniteChecks, is_late
from neurosim.network.network import Network

Batches = Iterable[Any]

_FORMS = "(x [T, B, ...], y [B]), or (x, y, lengths [B])"


class Batch(NamedTuple):
    """A batch on the device of the network.

    Attributes
    ----------
    x : Tensor [T, B, ...]
    y : Tensor [B], [B, ...] or [B, T, ...]
    mask : Tensor [B, T] of bool, optional
        The valid steps of each sample.
    kept : Tensor of int64, optional
        Numbers of the samples that count, if the targets came from the CPU and the loss ignores some.
    """

    x: Tensor
    y: Tensor
    mask: Tensor | None
    kept: Tensor | None = None

    def loss(self, loss: Loss) -> Loss:
        """Return `loss` over the valid steps of this batch."""
        return loss if self.mask is None else Masked(loss, self.mask)


def pad(samples: Sequence[tuple[Any, Any]]) -> tuple[Tensor, Tensor, Tensor]:
    """Join samples of different lengths into one batch; a ``collate_fn`` of `torch.utils.data.DataLoader`.

    Parameters
    ----------
    samples : sequence of (x, y)
        x is [T_b, ...], time first, with T_b from 1; y is a class or a tensor of one shape, or a tensor [T_b, ...] with
        a value for each step.

    Returns
    -------
    x : Tensor [T, B, ...]
        T is the greatest length; steps after the end of a sample are 0.
    y : Tensor [B, ...] or [B, T, ...]
    lengths : Tensor [B] of int64

    Examples
    --------
    >>> import torch
    >>> from neurosim.learning import pad
    >>> x, y, lengths = pad([(torch.ones(2, 4), 1), (torch.ones(5, 4), 0)])
    >>> x.shape, y, lengths
    (torch.Size([5, 2, 4]), tensor([1, 0]), tensor([2, 5]))
    """
    if not samples:
        raise InputError("pad: there is no sample.")
    xs = [torch.as_tensor(x) for x, _ in samples]
    ys = [torch.as_tensor(y) for _, y in samples]
    for x in xs:
        if x.dim() < 1 or not len(x) or x.shape[1:] != xs[0].shape[1:]:
            raise ShapeError(
                f"pad: samples must be [T, ...] with one step or more and one shape of a step; got {list(x.shape)} and "
                f"{list(xs[0].shape)}."
            )
    lengths = torch.tensor([len(x) for x in xs])
    # A target of each step is as long as its sample in every sample.
    over_time = all(y.dim() and len(y) == len(x) for x, y in zip(xs, ys, strict=True)) and len({*map(len, xs)}) > 1
    if not over_time and len({y.shape for y in ys}) > 1:
        raise ShapeError(
            f"pad: targets must have one shape, or a value for each step; got {[list(y.shape) for y in ys]}."
        )
    y = torch.nn.utils.rnn.pad_sequence(ys, batch_first=True) if over_time else torch.stack(ys)
    return torch.nn.utils.rnn.pad_sequence(xs), y, lengths


def on_device(batch: Any, net: nn.Module, loss: Loss, place: str, checks: FiniteChecks) -> Batch:
    """Return a batch on the device of the network, or raise; integer inputs are converted to floating point.

    All that can be checked on the CPU is checked before the batch moves, so that nothing waits for CUDA; the values of
    an input that comes from there are checked by `checks`.
    """
    is_batch = isinstance(batch, tuple | list) and len(batch) in (2, 3) and all(isinstance(p, Tensor) for p in batch)
    if not is_batch:
        raise ShapeError(f"{place} is a {_shown(batch)}; a pair of tensors is needed: {_FORMS}.")
    x, y, *lengths = batch
    if x.ndim < 2 or y.ndim < 1 or 0 in x.shape or x.shape[1] != y.shape[0]:
        got = f"x is {list(x.shape)} and y is {list(y.shape)}"
        raise ShapeError(f"{place}: {got}; {_FORMS} are needed.{_turned(x, y)}")
    if x.is_complex() or y.is_complex():
        raise InputError(f"{place}: x is {x.dtype} and y is {y.dtype}; give real and imaginary part as two inputs.")
    mask = _mask(lengths[0], x, place) if lengths else None
    where = device_of(net)
    if isinstance(net, Network) and y.device.type == "cpu" and where.type != "cpu":
        loss.check_target(y, math.prod(net.shape(net.output)))
    late = is_late(x.device)
    if not late:
        _check_values(x, y, place)
    elif x.is_floating_point():
        checks.add(place, x=(x - x).sum())  # 0, or NaN; a sum of large finite values may be infinite
    kept = None
    if y.device.type == "cpu" and where.type != "cpu":
        kept = _kept(loss, y, mask)
    x = sent(x, where)
    if not x.is_floating_point():
        x = x.to(next(net.parameters()).dtype)
    return Batch(x, sent(y, where), *(None if t is None else sent(t, where) for t in (mask, kept)))


def sent(x: Tensor, device: torch.device) -> Tensor:
    """Return `x` on `device`; to CUDA through memory that the host need not wait for."""
    if device.type == "cuda" and x.device.type == "cpu":
        x = x.pin_memory()
    return x.to(device, non_blocking=True)


def _check_values(x: Tensor, y: Tensor, place: str) -> None:
    # A NaN membrane is not above threshold, so spikes and the loss would not contain the NaN.
    if x.is_floating_point() and not math.isfinite(float(x.sum())) and not torch.isfinite(x).all():
        step = int((~torch.isfinite(x)).flatten(1).any(1).nonzero()[0])
        raise InputError(f"{place}: x holds NaN or infinity, first at step {step}. Clean the data (torch.nan_to_num).")
    if y.is_floating_point() and not is_late(y.device) and not torch.isfinite(y).all():
        raise InputError(f"{place}: y holds NaN or infinity. Clean the data (torch.nan_to_num).")


def _kept(loss: Loss, y: Tensor, mask: Tensor | None) -> Tensor | None:
    """Return the numbers of the samples that the loss counts, or None if it ignores none by their target."""
    skipped = loss.ignored(y)
    if skipped is None:
        return None
    if skipped.dim() == 2:
        return (~skipped if mask is None else mask.cpu() & ~skipped).any(1).nonzero().flatten()
    return (~skipped).nonzero().flatten()


def _mask(lengths: Tensor, x: Tensor, place: str) -> Tensor:
    if len(lengths) != x.shape[1]:
        raise ShapeError(
            f"{place}: lengths is {list(lengths.shape)}; one for each of the {x.shape[1]} samples is needed."
        )
    try:
        return mask_of(lengths, len(x))
    except (InputError, ShapeError) as error:
        raise type(error)(f"{place}: {error}") from None


def _turned(x: Tensor, y: Tensor) -> str:
    """Return what to turn, where the shapes of x and y show it."""
    if y.dim() > 1 and y.shape[:2] == x.shape[:2]:
        return " y looks time first; a target for each step is [B, T, ...], batch first: use y.transpose(0, 1)."
    if y.shape[:1] == x.shape[:1]:
        return " x looks batch first: use x.transpose(0, 1)."
    return ""


def _shown(batch: Any) -> str:
    if isinstance(batch, tuple | list):
        return f"{type(batch).__name__} of {', '.join(type(part).__name__ for part in batch) or 'nothing'}"
    return type(batch).__name__


def device_of(net: nn.Module) -> torch.device:
    """Return the device of the network's parameters; the CPU if it has none."""
    return next((parameter.device for parameter in net.parameters()), torch.device("cpu"))
