"""A module while its forward method is traced: what the method changes is undone and refused."""

from __future__ import annotations

import collections
import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from neurosim.errors import InputError

_OWN = frozenset(vars(nn.Module()))


@contextlib.contextmanager
def traced(module: nn.Module) -> Iterator[None]:
    """Trace in evaluation mode; refuse, and undo, changes of attributes and of tensors and lists that they hold."""
    kept = [_Kept(one) for one in nn.Module.modules(module)]
    for each in kept:
        each.module.training = False
    try:
        yield
    finally:
        changed = [(type(each.module).__name__, name) for each in kept for name in each.restore()]
    if changed:
        kind, name = changed[0]
        raise InputError(f"its forward method changes the attribute {name!r} of {kind}: a state that cannot be read.")


class _Kept:
    """The attributes of one module before its forward method was traced."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.attributes = dict(vars(module))
        self.buffers = dict(module._buffers)
        held = {**self.attributes, **self.buffers}
        self.tensors = {k: (v, v._version, v.detach().clone()) for k, v in held.items() if isinstance(v, Tensor)}
        inner = {k: v for k, v in held.items() if isinstance(v, (list, dict, set, collections.deque)) and k not in _OWN}
        self.containers = {k: (v, copy.copy(v)) for k, v in inner.items()}

    def restore(self) -> list[str]:
        """Undo all changes and return the names of what was changed."""
        now, buffers = vars(self.module), self.module._buffers
        made = [
            name for name in now if name.startswith("_tensor_constant")
        ]  # by the tracer, for a tensor of the method
        names = {*now, *self.attributes} - {"training", *made}
        changed = [name for name in sorted(names) if now.get(name) is not self.attributes.get(name)]
        changed += [name for name in self.buffers if buffers.get(name) is not self.buffers[name]]
        for name, (tensor, version, value) in self.tensors.items():
            if tensor._version != version:
                changed.append(name)
                with torch.no_grad():
                    tensor.copy_(value)
        for name, (container, before) in self.containers.items():
            if len(container) != len(before) or any(a is not b for a, b in zip(container, before, strict=False)):
                changed.append(name)
                _refill(container, before)
        now.clear()
        now.update(self.attributes)
        buffers.clear()
        buffers.update(self.buffers)
        return changed


def _refill(container: Any, before: Any) -> None:
    """Give a list, a set, a deque or a dictionary its former entries."""
    container.clear()
    if isinstance(container, (dict, set)):
        container.update(before)
    else:
        container.extend(before)
