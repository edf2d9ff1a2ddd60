"""Checks of arguments, shared by encoders, batches and data sets."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from neurosim.errors import InputError


def checked_integer(name: str, value: object, *, least: int = 1) -> int:
    """Return `value` as an int if it is an integer from `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise InputError(f"{name} = {value!r}, but it must be an integer from {least}.")
    return int(value)


def checked_values(x: Tensor, *, unit_range: bool) -> Tensor:
    """Return `x` as float32 if it is floating point and every value is finite, and in [0, 1] where asked."""
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
