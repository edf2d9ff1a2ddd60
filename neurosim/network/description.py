"""What a network computes beside its tensors, as plain data: constants, resets, steps, edges."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from torch import nn

from neurosim.language import Surrogate
from neurosim.network.network import Network
from neurosim.network.parameters import CoreParameters
from neurosim.network.start_values import StartValues
from neurosim.synapses.drawn import Drawn

Description = dict[str, dict[str, Any]]

_PLAIN = (bool, int, float, str)
# Set while a network trains or runs, or given by tensors.
_NOT_CHOSEN = {"training", "initial_scale", "memory", "size"}


def describe(net: nn.Module) -> Description:
    """Return, for each module, what determines its results beside its parameters and buffers.

    Parameters
    ----------
    net : Module
        A network, or a module that holds one.

    Returns
    -------
    dict of str to dict
        By name of the module: its class, the constants of its core, dt, reset and surrogate, and the plain attributes
        of modules of this library; for a network its edges. Plain data, for a checkpoint.

    Examples
    --------
    >>> import neurosim as ns
    >>> from neurosim.network.description import describe
    >>> net = ns.Sequential(ns.Linear(4, 2), ns.LIF(tau_mem=5e-3, dt=1e-3), names=["out"])
    >>> describe(net)["nodes.out"]["tau_mem"], describe(net)["nodes.out"]["reset"]
    (0.005, 'value')
    """
    return {name: _module(module) for name, module in net.named_modules() if not _is_container(module)}


def differences(saved: Mapping[str, Mapping[str, Any]], now: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return what differs between two descriptions, one text for each difference."""
    found = []
    for name in [*saved, *(name for name in now if name not in saved)]:
        place = f"{name}: " if name else ""
        if name not in now or name not in saved:
            found.append(f"{place}it was {_kind(saved, name)}, now it is {_kind(now, name)}")
            continue
        before, after = saved[name], now[name]
        for key in [*before, *(key for key in after if key not in before)]:
            # As text, so that NaN is NaN.
            if repr(before.get(key)) != repr(after.get(key)):
                found.append(f"{place}{key} was {before.get(key)!r}, now it is {after.get(key)!r}")
    return found


def _kind(description: Mapping[str, Mapping[str, Any]], name: str) -> str:
    return str(description[name].get("class")) if name in description else "not there"


def _is_container(module: nn.Module) -> bool:
    return type(module) in (nn.ModuleDict, nn.ModuleList, nn.ParameterDict, nn.ParameterList)


def _module(module: nn.Module) -> dict[str, Any]:
    found: dict[str, Any] = {"class": type(module).__qualname__}
    if isinstance(module, Network):
        edges = {e.name: [e.source, e.target, e.port, e.delay_steps] for e in module.edges}
        is_drawn = any(isinstance(synapse, Drawn) for edge in module.edges for synapse in edge.synapses)
        seed = {"seed": module.seed} if is_drawn else {}  # which nothing else depends on
        return {**found, "dt": module.dt, **seed, "output": module.output, "edges": json.dumps(edges)}
    if isinstance(module, CoreParameters):
        shared = {name: value for name in module.declared if isinstance(value := module.value(name), float | int)}
        return {**found, "core": module.core.name, **shared, **_attributes(module)}
    if isinstance(module, StartValues):
        return {**found, **module.texts()}
    if type(module).__module__.startswith("neurosim."):
        return {**found, **_attributes(module)}
    if type(module).__module__.startswith("torch."):
        return {**found, "arguments": module.extra_repr()}
    return found


def _attributes(module: nn.Module) -> dict[str, Any]:
    """Return the public attributes of a module that are plain values, and its surrogate."""
    found: dict[str, Any] = {}
    for name, value in vars(module).items():
        if name.startswith("_") or name in _NOT_CHOSEN:
            continue
        if value is None or isinstance(value, _PLAIN):
            found[name] = value
        elif isinstance(value, Surrogate):
            found[name] = repr(value)
        elif isinstance(value, tuple) and all(isinstance(each, _PLAIN) for each in value):
            found[name] = list(value)
    return found
