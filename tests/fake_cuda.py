"""Networks on a CUDA device that is not there: shapes, types and devices are those of CUDA, values there are none.

An operation that needs a value, and would wait for the device, raises; so does one whose tensors are on two devices. A
build of torch without CUDA has neither indexing nor gradients there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from neurosim.kernels.common import availability


class Noted(TorchDispatchMode):
    """Notes each operation: name, and type, device and shape of the tensors that go in and come out."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, list[Tensor], list[Tensor]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.calls.append((func.name(), _tensors((args, kwargs or {})), _tensors(result)))
        return result

    def of(self, name: str) -> list[tuple[list[Tensor], list[Tensor]]]:
        """Return the tensors in and out of each call of an operation."""
        return [(given, results) for called, given, results in self.calls if called == name]

    def to_host(self) -> list[str]:
        """Return the operations that copy from the device to the host."""
        return [
            name
            for name, given, results in self.calls
            if any(t.device.type != "cpu" for t in given) and any(t.device.type == "cpu" for t in results)
        ]


class Indexing(TorchFunctionMode):
    """Indexing by numbers and slices, for which torch would ask the driver of the device."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.__getitem__ and args[0].device.type != "cpu":
            found = _indexed(*args)
            if found is not None:
                return found
        return func(*args, **(kwargs or {}))


def _indexed(x: Tensor, index: Any) -> Tensor | None:
    dim = 0
    for part in index if isinstance(index, tuple) else (index,):
        if isinstance(part, slice):
            x, dim = torch.ops.aten.slice(x, dim, part.start, part.stop, part.step or 1), dim + 1
        elif part is None:
            x, dim = x.unsqueeze(dim), dim + 1
        elif isinstance(part, int):
            x = x.select(dim, part)
        else:
            return None
    return x


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in torch.utils._pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]


@contextlib.contextmanager
def fake_device(monkeypatch: pytest.MonkeyPatch, kernels: bool = True) -> Iterator[Noted]:
    """Run what is inside without values; `kernels` says whether the fused kernels are there."""
    obstacle = availability.obstacle
    monkeypatch.setattr(
        availability, "obstacle", lambda device: None if kernels and device == "cuda" else obstacle(device)
    )
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)
    # Not a mode for numbers that a program knows on the host, which torch makes of type and value there.
    with torch.no_grad(), Indexing(), FakeTensorMode(allow_non_fake_inputs=True), Noted() as noted:
        yield noted


def moved(module: nn.Module, device: str = "cuda", dtype: torch.dtype | None = None) -> nn.Module:
    """Put the parameters and buffers of `module` on a device, inside `fake_device`."""
    for part in module.modules():
        for name, weight in part._parameters.items():
            if weight is not None:
                part._parameters[name] = nn.Parameter(empty(weight, device, dtype), weight.requires_grad)
        for name, value in part._buffers.items():
            if value is not None:
                part._buffers[name] = empty(value, device, dtype)
    return module


def empty(like: Tensor, device: str, dtype: torch.dtype | None = None) -> Tensor:
    kind = dtype if dtype is not None and like.is_floating_point() else like.dtype
    return torch.empty(like.shape, dtype=kind, device=device)
