"""Cores of integers take currents that are whole, and no larger than their precision holds exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from neurosim.errors import InputError
from neurosim.kernels.common.autograd import under_transform
from neurosim.language import Core


def check_currents(core: Core, fed: Sequence[str], inputs: Sequence[Tensor], made_in: torch.dtype) -> None:
    """Look at the inputs of each port, which were computed in the precision `made_in`, where `core` asks for integers.

    Raises
    ------
    InputError
        When one is not whole or too large for its precision.
    """
    if _is_looked_at(core):
        for name, i in zip(fed, inputs, strict=True):
            _check_parts(core, name, i)
        _check_size(core, sum(map(_largest, inputs)), made_in)


def check_product(
    core: Core, x: Tensor | None, weight: Tensor, bias: Tensor | None = None, more: Tensor | None = None
) -> None:
    """Look at what currents ``x W^T + bias + more`` could be at most, where `core` asks for whole ones.

    Parameters
    ----------
    core : Core
    x : Tensor or None
        None for spikes 0/1.
    weight : Tensor [..., N, n]
    bias, more : Tensor, optional

    Raises
    ------
    InputError
        As in `check_currents`.
    """
    if not _is_looked_at(core):
        return
    for name, value in (("weight", weight), ("bias", bias), ("i", more), ("x", x)):
        if value is not None:
            _check_parts(core, name, value)
    size = _largest(weight.abs().sum(-1)) * (1.0 if x is None else _largest(x))
    _check_size(core, size + sum(_largest(each) for each in (bias, more) if each is not None), weight.dtype)


def _is_looked_at(core: Core) -> bool:
    # A compiler or a transform has no values to look at.
    return core.integers_up_to is not None and not torch.compiler.is_compiling() and not under_transform()


def _largest(x: Tensor) -> float:
    return float(x.detach().abs().amax()) if x.numel() else 0.0


def _check_parts(core: Core, name: str, value: Tensor) -> None:
    if not torch.equal(value, value.trunc()):
        found = value[value != value.trunc()].flatten()[0].item()
        raise InputError(
            f"{core.name}: {name} must hold integers; got {found!r}. Currents are sums of whole weights over "
            "spikes: quantise the network, or round what goes in."
        )


def _check_size(core: Core, size: float, dtype: torch.dtype) -> None:
    limit = core.integers_up_to or math.inf
    if dtype is torch.float64:
        limit *= 2.0**29
    elif dtype is not torch.float32:
        raise InputError(f"{core.name}: {dtype} cannot hold its integers; use .float() or .double().")
    if not size <= limit:
        instead = "use net.double() and x.double()" if dtype is torch.float32 else "use smaller weights or inputs"
        raise InputError(
            f"{core.name}: a current could be {size:.0f}; up to {limit:.0f} {dtype} holds all exactly: {instead}."
        )
