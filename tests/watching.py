"""What tests put around functions and memory to see what happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

Function = Callable[..., Any]


def noting(called: list[Any], what: object, real: Function) -> Function:
    """Return `real`, which notes `what` in `called` when it runs."""

    def run(*given: Any, **named: Any) -> Any:
        called.append(what)
        return real(*given, **named)

    return run


def dirty(called: list[Any], real: Function) -> Function:
    """Return `real`, whose memory for numbers is filled with NaN; noted in `called`."""

    def empty(*given: Any, **named: Any) -> Tensor:
        called.append(real)
        memory: Tensor = real(*given, **named)
        return memory.fill_(float("nan")) if memory.is_floating_point() else memory

    return empty


@contextmanager
def kept_for_backward() -> Iterator[list[Tensor]]:
    """Collect the tensors that autograd keeps inside."""
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield kept
