"""A digest of a network, its data and its state: what says whether a run that ended early is the same."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Mapping
from types import CodeType
from typing import Any

import numpy as np
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
        default values and closures, not by what it calls.

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
    digest = hashlib.sha256()
    for value in values:
        _add(digest, value)
    return digest.hexdigest()


def _add(digest: Any, value: Any) -> None:
    """Add a value, with its kind, so that values of two kinds differ."""
    digest.update(f"<{type(value).__module__}.{type(value).__qualname__}>".encode())
    if isinstance(value, nn.Module):
        _add_module(digest, value)
    elif isinstance(value, Tensor):
        _add(digest, value.detach().cpu().numpy())
    elif isinstance(value, np.ndarray):
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
        for each in value:
            _add(digest, each)
    elif isinstance(value, (set, frozenset)):
        _add(digest, sorted(map(repr, value)))
    elif isinstance(value, functools.partial):
        _add(digest, [value.func, value.args, value.keywords])
    elif isinstance(value, CodeType):
        _add(digest, [value.co_code, value.co_names, value.co_consts])
    elif callable(value) and hasattr(value, "__code__"):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        _add(digest, [value.__code__, value.__defaults__, value.__kwdefaults__, cells])
    elif hasattr(value, "shape") and hasattr(value, "__getitem__"):  # read in pieces, such as a dataset on disk
        digest.update(f"{tuple(value.shape)}".encode())
        rows = max(1, _VALUES // max(1, math.prod(value.shape[1:])))
        for first in range(0, value.shape[0], rows):
            _add(digest, np.asarray(value[first : first + rows]))
    elif callable(value) and hasattr(value, "__qualname__"):
        digest.update(f"{value.__module__}.{value.__qualname__}".encode())
    elif hasattr(value, "__dict__"):
        _add(digest, vars(value))
    else:
        digest.update(repr(value).encode())


def _add_module(digest: Any, module: nn.Module) -> None:
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
