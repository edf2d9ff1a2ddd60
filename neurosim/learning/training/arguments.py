"""Checks of the objects that `fit` and `evaluate` are given; each error shows an example of the right form."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from neurosim.errors import InputError
from neurosim.learning.losses import Loss, TorchLoss
from neurosim.learning.rules.base import Rule
from neurosim.learning.training.groups import default_optimizer

Scheduler = LRScheduler | ReduceLROnPlateau


def as_loss(loss: Any) -> Loss:
    """Return a loss, or a loss of torch.nn as one."""
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, nn.Module):
        return TorchLoss(loss)
    example = "loss is a value such as ns.CrossEntropy()"
    if inspect.isclass(loss):
        raise InputError(f"{example}; got the class {loss.__name__}. Make a value of it: {loss.__name__}(...).")
    if callable(loss):
        raise InputError(
            f"{example}; got {loss!r}. Put the function into a subclass of ns.Loss, which also says what is predicted "
            "and whether the loss is a mean over steps."
        )
    raise InputError(f"{example}; got {loss!r}.")


def check_rule(rule: Any) -> None:
    """Raise `InputError` unless `rule` is a `Rule`."""
    if not isinstance(rule, Rule):
        got = (
            f"the class {rule.__name__}. Make a value of it: {rule.__name__}()" if inspect.isclass(rule) else repr(rule)
        )
        raise InputError(f"rule is a value such as ns.BPTT() or ns.SLTT(k=4); got {got}.")


def check_module(owner: str, net: Any) -> None:
    """Raise `InputError` unless `net` is a module."""
    if not isinstance(net, nn.Module):
        got = f"the class {net.__name__}" if inspect.isclass(net) else type(net).__name__
        raise InputError(
            f"{owner} needs a network, such as ns.Sequential(ns.Linear(64, 10), ns.LI(dt=1e-3)); got {got}."
        )


def check_batches(name: str, data: Any) -> None:
    """Raise `InputError` unless `data` can be iterated in every epoch."""
    if isinstance(data, (Iterator, str, torch.Tensor, dict)) or not hasattr(data, "__iter__"):
        raise InputError(
            f"{name} is a {type(data).__name__}, which cannot be iterated in every epoch. "
            "Pass a DataLoader or a list of (x, y) batches."
        )
    if inspect.isclass(data):
        raise InputError(f"{name} is the class {data.__name__}; pass a DataLoader or a list of (x, y) batches.")


def check_count(name: str, number: Any, of: str = "epochs") -> None:
    """Raise `InputError` unless `number` is an integer from 1."""
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise InputError(f"{name}={number!r}: an integer number of {of}, from 1.")


def divides_by_class_weights(loss: Loss) -> bool:
    """Return whether the mean of a loss is divided by the weights of the classes in the batch."""
    if isinstance(loss, TorchLoss):
        is_divided = isinstance(loss.module, (nn.CrossEntropyLoss, nn.NLLLoss))
        return is_divided and getattr(loss.module, "weight", None) is not None
    return getattr(loss, "class_weights", None) is not None


def check_accumulate(accumulate: Any, loss: Loss) -> None:
    """Raise `InputError` unless `accumulate` is an integer from 1, and 1 for a loss with class weights."""
    check_count("accumulate", accumulate, "batches")
    if accumulate > 1 and divides_by_class_weights(loss):
        raise InputError(
            f"accumulate={accumulate}: {loss!r} divides by the weights of the classes in a batch, which differ from "
            "batch to batch, so the step would not be that of one batch. Leave the class weights out, or give larger "
            "batches and accumulate=1."
        )


def check_counted(accumulate: int, loss: Loss, y: torch.Tensor, mask: torch.Tensor | None, place: str) -> None:
    """Raise `InputError` if gradients of batches are added and the loss ignores targets of this one.

    Parameters
    ----------
    accumulate : int
    loss : Loss
    y : Tensor [B, ...] or [B, T, ...]
        Targets as the data gave them, so that nothing waits for CUDA where they came from the CPU.
    mask : Tensor [B, T] of bool, optional
        The valid steps; an ignored target outside them has no share in the mean.
    place : str
        Of the batch.
    """
    skipped = None if accumulate == 1 else loss.ignored(y)
    if skipped is None:
        return
    if mask is not None and skipped.dim() == 2:
        skipped = skipped & mask.to(skipped.device)
    if bool(skipped.any()):
        raise InputError(
            f"{place} has targets that the loss ignores, and accumulate={accumulate}: the means of the batches then "
            "count other samples than their shares, so the step would not be that of one batch. Leave these samples "
            "out of the data, or give larger batches and accumulate=1. Checkpoints written so far are kept."
        )


def check_clip(clip: Any) -> None:
    """Raise `InputError` unless `clip` is None or a number above 0."""
    is_number = isinstance(clip, (int, float)) and not isinstance(clip, bool) and math.isfinite(clip) and clip > 0
    if clip is not None and not is_number:
        raise InputError(f"clip={clip!r}: the largest gradient norm allowed, a number above 0, or None.")


def check_share(name: str, value: Any) -> None:
    """Raise `InputError` unless `value` is None or a number from 0 to below 1."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is not None and not (is_number and 0 <= value < 1):
        raise InputError(f"{name}={value!r}: a number from 0 to below 1, such as 0.999, or None.")


def check_callable(name: str, value: Any) -> None:
    """Raise `InputError` unless `value` is None or a function."""
    if value is not None and (not callable(value) or inspect.isclass(value)):
        raise InputError(f"{name}={value!r}: a function of the progress, such as lambda progress: print(progress).")


def checked_device(device: Any) -> torch.device:
    """Return a device, or raise for what is none."""
    try:
        return torch.device(device)
    except (RuntimeError, TypeError):
        raise InputError(f'device={device!r}: a device such as "cpu", "cuda" or torch.device("cuda", 1).') from None


def optimizer_for(net: nn.Module, optimizer: Any, scheduler: Any) -> Optimizer:
    """Return the optimizer, by default Adam over all parameters, after checking that it fits network and scheduler."""
    learned = [parameter for parameter in net.parameters() if parameter.requires_grad]
    if not learned:
        raise InputError("the network has no parameter that requires a gradient: there is nothing to train.")
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        got = f"the class {optimizer.__name__}" if inspect.isclass(optimizer) else repr(optimizer)
        raise InputError(f"optimizer is a value such as torch.optim.Adam(net.parameters(), lr=1e-3); got {got}.")
    if scheduler is not None and not isinstance(scheduler, (LRScheduler, ReduceLROnPlateau)):
        got = f"the class {scheduler.__name__}" if inspect.isclass(scheduler) else repr(scheduler)
        raise InputError(
            f"scheduler is a value such as torch.optim.lr_scheduler.StepLR(optimizer, step_size=5); got {got}."
        )
    if optimizer is None:
        if scheduler is not None:
            raise InputError("a scheduler was given without its optimizer. Pass the optimizer it was made for too.")
        return default_optimizer(net)
    optimized = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    if not any(id(parameter) in optimized for parameter in learned):
        raise InputError(
            f"the optimizer {type(optimizer).__name__} has no parameter of this network. "
            "Make it from net.parameters(), after the network was built."
        )
    if scheduler is not None and scheduler.optimizer is not optimizer:
        raise InputError(
            f"the scheduler {type(scheduler).__name__} was made for another optimizer than the one given. "
            "Pass a scheduler of this optimizer."
        )
    return optimizer
