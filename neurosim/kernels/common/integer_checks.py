"""Checks of the currents into cores of integers: integers, and no larger than the precision holds exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from neurosim.errors import InputError
from neurosim.kernels.common.autograd import under_transform
from neurosim.kernels.common.float32 import allows_tf32
from neurosim.language import Core


def check_currents(core: Core, ports: Sequence[str], inputs: Sequence[Tensor], dtype: torch.dtype) -> None:
    """Check the input of each port, computed in precision `dtype`, of a core of integers.

    Raises
    ------
    InputError
        When one is not an integer or too large for its precision.
    """
    if _is_checked(core):
        check_products(core, inputs[0].device.type)
        for name, i in zip(ports, inputs, strict=True):
            _check_integers(core, name, i)
        _check_size(core, sum(map(_largest, inputs)), dtype)


def check_product(
    core: Core,
    x: Tensor | None,
    weight: Tensor,
    bias: Tensor | None = None,
    ports: Sequence[str] = (),
    inputs: Sequence[Tensor] = (),
) -> None:
    """Check the largest current that ``x W^T + bias`` and the inputs of some ports can give, of a core of integers.

    Parameters
    ----------
    core : Core
    x : Tensor or None
        None for spikes 0/1.
    weight : Tensor [..., N, n]
    bias : Tensor, optional
    ports : sequence of str
    inputs : sequence of Tensor
        One for each port.

    Raises
    ------
    InputError
        As in `check_currents`.
    """
    if not _is_checked(core):
        return
    check_products(core, weight.device.type)
    for name, value in (("weight", weight), ("bias", bias), *zip(ports, inputs, strict=True), ("x", x)):
        if value is not None:
            _check_integers(core, name, value)
    size = _largest(weight.abs().sum(-1)) * (1.0 if x is None else _largest(x))
    _check_size(core, size + sum(_largest(each) for each in (bias, *inputs) if each is not None), weight.dtype)


def check_products(core: Core, device: str) -> None:
    """Check that products on a type of device are exact, for a core of integers.

    Raises
    ------
    InputError
        Where TensorFloat-32 is allowed: a product in it rounds integers to others, which no later check can see.
    """
    if core.integers_up_to is not None and device == "cuda" and allows_tf32():
        raise InputError(
            f"{core.name}: TensorFloat-32, which torch is told to allow, rounds integers from 2049 on; use "
            'torch.set_float32_matmul_precision("highest").'
        )


def _is_checked(core: Core) -> bool:
    # Under a compiler or a transform the values are not known.
    return core.integers_up_to is not None and not torch.compiler.is_compiling() and not under_transform()


def _largest(x: Tensor) -> float:
    return float(x.detach().abs().amax()) if x.numel() else 0.0


def _check_integers(core: Core, name: str, value: Tensor) -> None:
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
