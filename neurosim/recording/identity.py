"""A digest of a network, its data and its state: what says whether a run that ended early is the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neurosim.files import digest
from neurosim.network.description import describe
from neurosim.network.graph import NetworkState
from neurosim.recording.events import Events
from neurosim.synapses.drawn import Drawn


def digest_of(*values: Any) -> str:
    """Return a digest of values, the same in every process.

    Parameters
    ----------
    *values
        Networks (with their sources, rules and tensors), states, data [T, B, ...] that can be sliced, events, rules,
        and all that `neurosim.files.digest` takes.

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
    return digest.digest_of(*values, parts=_parts)


def _parts(value: Any) -> list[Any] | None:
    """Return the values that determine a module, tensor, state or events; None of another kind of value."""
    if isinstance(value, nn.Module):
        return _module_parts(value)
    if isinstance(value, Tensor):
        return [_array(value)]
    if isinstance(value, Events):
        events = value.numpy()
        times = events.step if events.dt is not None else events.time
        return [
            [events.shape, events.B, events.T, events.dt, events.duration],
            [times, events.batch, events.neuron],
        ]
    if isinstance(value, NetworkState):
        return [[value.nodes, value.in_flight, value.plastic]]
    return None


def _array(tensor: Tensor) -> np.ndarray:
    """Return the values of a tensor; bytes where NumPy has not its dtype, such as bfloat16."""
    tensor = tensor.detach().cpu()
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    try:
        return tensor.numpy()
    except TypeError:
        return tensor.reshape(-1).view(torch.uint8).reshape(*tensor.shape, -1).numpy()


def _module_parts(module: nn.Module) -> list[Any]:
    """Return the description of a network, its tensors, and what its parts hold beside them."""
    parts: list[Any] = [
        describe(module),
        {name: tensor for name, tensor in module.state_dict().items() if isinstance(tensor, Tensor)},
    ]
    for name, part in module.named_modules():
        held = {key: each for key, each in vars(part).items() if not key.startswith("_") and _is_data(each)}
        parts.append([name, held])
        if isinstance(part, Drawn) and part.is_bound and not part.is_plain:  # weights that the rule did not draw
            parts.append(part.weight)
    return parts


def _is_data(value: Any) -> bool:
    """Whether an attribute is data of this library, such as a rule, a distribution, events or values over time."""
    return type(value).__module__.startswith("neurosim.") and not isinstance(value, nn.Module)
