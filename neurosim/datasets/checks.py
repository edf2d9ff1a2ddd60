"""Checks of arguments, shared by encoders, batches and data sets."""

from __future__ import annotations

import numbers

import numpy as np
import torch
from torch import Tensor

from neurosim.errors import InputError, ShapeError

EXACT = 2**24  # the largest number up to which float32 holds every integer


def checked_integer(name: str, value: object, *, least: int = 1) -> int:
    """Return `value` as an int if it is an integer from `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise InputError(f"{name} = {value!r}, but it must be an integer from {least}.")
    return int(value)


def checked_numbers(**values: object) -> None:
    """Refuse a value that is no real number; its range is for the caller to check."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise InputError(f"{name} = {value!r}, but it must be a number.")


def checked_values(x: Tensor, *, unit_range: bool) -> Tensor:
    """Return `x` as float32 if it is floating point and every value is finite, and in [0, 1] where asked."""
    if not isinstance(x, Tensor):
        raise InputError(f"x is of type {type(x).__name__}, but encoders take tensors. Give torch.as_tensor(x).")
    if not x.is_floating_point():
        raise InputError(f"x is {x.dtype}, but encoders take floating point. Scale it first: 8-bit pixels by 255.")
    low, high = (0.0, 1.0) if unit_range else (-torch.finfo(torch.float32).max, torch.finfo(torch.float32).max)
    if x.numel():
        least, most = torch.aminmax(x.detach())
        if not (least >= low and most <= high):  # negated, so that NaN is caught too
            bad = ~((x >= low) & (x <= high))
            place = tuple(torch.nonzero(bad)[0].tolist())
            allowed = "in [0, 1]" if unit_range else "finite"
            advice = "Scale the data to [0, 1]" if unit_range else "Repair or drop the sample"
            raise InputError(
                f"x[{', '.join(map(str, place))}] = {x[place].item():g} ({int(bad.sum())} of {x.numel()} values are "
                f"not allowed), but values must be {allowed}. {advice}."
            )
    return x.float()


def check_counts(name: str, spikes: Tensor, threshold: float) -> None:
    """Refuse numbers of spikes in a step that float32 does not count exactly."""
    if spikes.numel() and not float(spikes.detach().max()) < EXACT:  # negated, so that NaN is caught too
        raise InputError(
            f"{name}: threshold = {threshold!r}, by which a step has {EXACT:,} spikes or more. Give a larger threshold."
        )


def checked_signal(name: str, x: Tensor) -> Tensor:
    """Return a signal [T, B, ...] as float32, if every value is finite."""
    signal = checked_values(x, unit_range=False)
    if x.ndim < 2:
        raise ShapeError(f"the signal has shape {tuple(x.shape)}; {name} needs time and batch first: [T, B, ...].")
    return signal
