"""Double precision, where a device has it: Apple's GPUs and some of Intel's do not."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def has_doubles(device: torch.device) -> bool:
    """Return whether tensors on `device` may be in double precision."""
    if device.type == "xpu":
        properties: Any = torch.xpu.get_device_properties(device)
        return bool(properties.has_fp64)
    return device.type != "mps"


def widened(x: Tensor) -> Tensor:
    """Return `x` in double precision, or in single where its device has no double precision."""
    return x.double() if has_doubles(x.device) else x.float()


def where_doubles_are(x: Tensor) -> Tensor:
    """Return `x`, copied to the CPU if its device has no double precision."""
    return x if has_doubles(x.device) else x.cpu()
