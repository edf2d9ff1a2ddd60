"""A digest of a network, its data and its state: what says whether a run that ended early is the same."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Mapping
from types import CellType, CodeType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neurosim.network.description import describe
from neurosim.network.graph import NetworkState
from neurosim.recording.events import Events
from neurosim.synapses.drawn import Drawn

_VALUES = 1 << 13  # of data read at a time


def digest_of(*values: Any) -> str:
    """Return a digest of values, the same in every process.

    Parameters
    ----------
    *values
        Networks (with their sources, rules and tensors), states, data [T, B, ...] that can be sliced, events, rules,
        plain values, and mappings and sequences of such. A function is known by its code and what it refers to by
        default values and closures, a method by its object too, not by what it calls.

    Examples
    --------
    >>> import neurosim as ns
    >>> from neurosim.circuit import Poisson
    >>> def net(rate):
    ...     nodes = {"noise": Poisson(rate, 5), "n": ns.LIF(dt=1e-3, size=5)}
    ...     return ns.Network(nodes, [ns.Edge("noise", "n", ns.Drawn(ns.circuit.OneToOne(), weight=1.0))])
    >>> digest_of(net(20.0)) == digest_of(net(20.0)), digest_of(net(20.0)) == digest_of(net(20.0000001))
    (True, False)
    """
    digest = _Digest()
    for value in values:
        _add(digest, value)
    return digest.hexdigest()


class _Digest:
    """A digest that is being made.

    Attributes
    ----------
    above : list of int
        Identities of the values that hold the present one, the outermost first.
    """

    def __init__(self) -> None:
        self.above: list[int] = []
        self._sha = hashlib.sha256()
        self.update, self.hexdigest = self._sha.update, self._sha.hexdigest


def _add(digest: _Digest, value: Any) -> None:
    """Add a value, with its kind, so that values of two kinds differ."""
    digest.update(f"<{type(value).__module__}.{type(value).__qualname__}>".encode())
    if id(value) in digest.above:  # it holds itself, as a function that calls itself does
        digest.update(f"{digest.above.index(id(value))}".encode())
        return
    digest.above.append(id(value))
    _add_content(digest, value)
    digest.above.pop()


def _add_content(digest: _Digest, value: Any) -> None:
    if isinstance(value, nn.Module):
        _add_module(digest, value)
    elif isinstance(value, Tensor):
        _add(digest, _array(value))
    elif isinstance(value, (np.ndarray, np.generic)):
        digest.update(f"{value.dtype} {value.shape}".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, Events):
        events = value.numpy()
        _add(digest, [events.shape, events.B, events.T, events.dt, events.duration])
        _add(digest, [events.step if events.dt is not None else events.time, events.batch, events.neuron])
    elif isinstance(value, NetworkState):
        _add(digest, [value.nodes, value.in_flight, value.plastic])
    elif isinstance(value, Mapping):
        _add(digest, list(value.items()))
    elif isinstance(value, (list, tuple)):
        digest.update(f"{len(value)}".encode())
        for each in value:
            _add(digest, each)
    elif isinstance(value, (set, frozenset)):
        _add(digest, sorted(map(repr, value)))
    elif isinstance(value, functools.partial):
        _add(digest, [value.func, value.args, value.keywords])
    elif isinstance(value, CodeType):
        _add(digest, [value.co_code, value.co_names, value.co_consts])
    elif callable(value) and hasattr(value, "__code__"):
        cells = [_held(cell) for cell in value.__closure__ or ()]
        owner = getattr(value, "__self__", None)  # of a method
        _add(digest, [value.__code__, value.__defaults__, value.__kwdefaults__, cells, owner])
    elif hasattr(value, "shape") and hasattr(value, "__getitem__"):  # read in pieces, such as a dataset on disk
        digest.update(f"{tuple(value.shape)}".encode())
        rows = max(1, _VALUES // max(1, math.prod(value.shape[1:])))
        for first in range(0, value.shape[0], rows):
            _add(digest, np.asarray(value[first : first + rows]))
    elif callable(value) and hasattr(value, "__qualname__"):
        digest.update(f"{value.__module__}.{value.__qualname__}".encode())
    elif hasattr(value, "__dict__"):
        _add(digest, vars(value))
        if callable(value):
            _add(digest, getattr(type(value).__call__, "__code__", None))
    else:
        digest.update(repr(value).encode())


def _array(tensor: Tensor) -> np.ndarray:
    """Return the values of a tensor; bytes where NumPy has not its dtype, such as bfloat16."""
    tensor = tensor.detach().cpu()
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    try:
        return tensor.numpy()
    except TypeError:
        return tensor.reshape(-1).view(torch.uint8).reshape(*tensor.shape, -1).numpy()


def _held(cell: CellType) -> Any:
    """Return what a cell of a closure holds; None if it has no value yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _add_module(digest: _Digest, module: nn.Module) -> None:
    """Add what determines the results of a network: its description, tensors, and what its parts hold beside them."""
    _add(digest, describe(module))
    _add(digest, {name: tensor for name, tensor in module.state_dict().items() if isinstance(tensor, Tensor)})
    for name, part in module.named_modules():
        held = {key: each for key, each in vars(part).items() if not key.startswith("_") and _is_data(each)}
        _add(digest, [name, held])
        if isinstance(part, Drawn) and part.is_bound and not part.is_plain:  # weights that the rule did not draw
            _add(digest, part.weight)


def _is_data(value: Any) -> bool:
    """Whether an attribute is data of this library, such as a rule, a distribution, events or values over time."""
    return type(value).__module__.startswith("neurosim.") and not isinstance(value, nn.Module)
