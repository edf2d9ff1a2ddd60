"""The columns of an event list: conversion to tensors, checks, order."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurosim.errors import InputError

_BOUNDARY_SLACK = 1e-6  # of a step


def check_form(step: Any, time: Any, T: Any, dt: Any, duration: Any) -> None:
    """Check that the arguments describe events on a grid or at real times, not a mixture."""
    on_grid = step is not None and T is not None and dt is not None and time is None and duration is None
    at_times = time is not None and duration is not None and step is None and T is None and dt is None
    if not (on_grid or at_times):
        values = {"step": step, "T": T, "dt": dt, "time": time, "duration": duration}
        given = [name for name, value in values.items() if value is not None]
        raise InputError(f"Events: give step=, T= and dt= (on a grid), or time= and duration=; got {given}.")


def checked_duration(duration: Any) -> float:
    """Return the length of a recording in s, checked."""
    if isinstance(duration, bool) or not isinstance(duration, (int, float)) or not 0 <= duration < math.inf:
        raise InputError(f"Events: duration must be a number of seconds from 0; got {duration!r}.")
    return float(duration)


def integer(name: str, value: Any, low: int | None) -> int:
    """Return an integer argument, checked."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or (low is not None and value < low):
        raise InputError(f"Events: {name} must be an integer{'' if low is None else f' from {low}'}; got {value!r}.")
    return int(value)


def tensor(values: Tensor | np.ndarray) -> Tensor:
    """Return the same numbers as a tensor, without a copy where torch can share them."""
    if isinstance(values, Tensor):
        return values
    return torch.from_numpy(values if values.flags.writeable else values.copy())


def _listed(values: Any, device: torch.device | None) -> Tensor:
    """Return a tensor of a list, array or tensor, on `device` if one is given."""
    if isinstance(values, Tensor):
        return values.to(device) if device is not None else values
    array = np.asarray(values)
    if array.dtype.kind == "u":
        array = array.astype(np.int64) if not array.size or array.max() < 2**63 else array.astype(np.float64)
    return torch.from_numpy(np.array(array)).to(device or "cpu")


def indices(name: str, values: Any, below: int | None, device: torch.device | None) -> Tensor:
    """Return a list of integers in ``0 ... below - 1`` as int64, checked."""
    index = _listed(values, device)
    if index.numel() == 0:
        return index.to(torch.int64)
    if index.dtype == torch.bool or index.is_floating_point() or index.is_complex():
        raise InputError(f"Events: {name} must hold integers; got {str(index.dtype).removeprefix('torch.')}.")
    outside = (index < 0) | (index >= (below or 0))
    if bool(outside.any()):
        allowed = f"0 to {below - 1}" if below else "no value at all, since there is none"
        raise InputError(f"Events: {name} holds {index[outside][0].item()}; allowed is {allowed}.")
    return index.to(torch.int64)


def times(values: Any, duration: float | None, device: torch.device | None) -> Tensor:
    """Return a list of times in ``0 <= t <= duration``, checked, in the type given."""
    time = _listed(values, device)
    if time.numel() == 0:
        return time.double()
    if not time.is_floating_point():
        kind = str(time.dtype).removeprefix("torch.")
        raise InputError(f"Events: time must be in seconds in floating point; got {kind}. Divide microseconds by 1e6.")
    outside = ~((time >= 0) & (time.double() <= (duration or 0.0)))
    if bool(outside.any()):
        _refuse_times(time, outside, f"0 <= t <= {duration:g} s (duration)")
    return time


def _refuse_times(time: Tensor, outside: Tensor, allowed: str) -> None:
    first = int(outside.nonzero()[0])
    raise InputError(
        f"time[{first}] = {time[first].item():g} s lies outside {allowed}, as {int(outside.sum())} of {len(time)} "
        "times do. Drop or shift these events, or allow for more time; times are seconds, not milliseconds."
    )


def steps_of(time: Tensor, dt: float, steps: int) -> Tensor:
    """Return the step of each time; see `Events.binned`."""
    position = time.double() / dt
    boundary = position.round()
    slack = (2 * torch.finfo(time.dtype).eps * position).clamp(min=_BOUNDARY_SLACK)
    step = torch.where(boundary - position <= slack, torch.maximum(boundary, position.floor()), position.floor())
    outside = step >= steps
    if bool(outside.any()):
        _refuse_times(time, outside, f"0 <= t < {steps * dt:g} s ({steps} steps of {dt:g} s)")
    return step.to(torch.int64)


def order_of(when: Tensor, batch: Tensor, neuron: Tensor) -> Tensor | None:
    """Return the permutation that sorts by time, then sample, then neuron; None if they are sorted."""
    later, same = when[1:] > when[:-1], when[1:] == when[:-1]
    next_sample, same_sample = batch[1:] > batch[:-1], batch[1:] == batch[:-1]
    sorted_pair = later | (same & (next_sample | (same_sample & (neuron[1:] >= neuron[:-1]))))
    if bool(sorted_pair.all()):
        return None
    order = torch.argsort(neuron, stable=True)
    for key in (batch, when):
        order = order[torch.argsort(key[order], stable=True)]
    return order


def nonzero(flat: Tensor) -> Tensor:
    """Return the indices of what is not 0; NumPy's search of a mask takes a quarter of torch's time on the CPU."""
    if flat.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero((flat != 0).numpy()))
    return flat.nonzero().reshape(-1)


def divided(index: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return quotient and remainder; an empty axis has no index to divide."""
    quotient = torch.div(index, max(size, 1), rounding_mode="floor")
    return quotient, index - quotient * size


def check_numbers(number: Tensor, binary: bool) -> None:
    """Check that the cells of a grid hold numbers of events."""
    if binary:
        if bool((number != 1).any()):
            raise InputError("spikes must be 0 or 1 to be kept as events; record this node as a trace instead.")
        return
    good = number > 0
    if number.is_floating_point():
        good &= (number == number.floor()) & (number < 2**53)
    if not bool(good.all()):
        bad = number[~good][0].item()
        raise InputError(f"Events.from_grid: a cell must hold a number of events (0, 1, 2, ...); got {bad}.")


def search(when: Any, value: float) -> int:
    """Return how many of the sorted times are below `value`; a file is read at a few places only."""
    low, high = 0, int(when.shape[0])
    while low < high:
        middle = (low + high) // 2
        if when[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low
