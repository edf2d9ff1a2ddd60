"""Groups of parameters for an optimizer: learning rates that fit the size of the weights, no decay of neurons."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim import Adam, Optimizer

from neurosim.errors import InputError
from neurosim.network.population import Population
from neurosim.synapses import Synapse


def parameter_groups(net: nn.Module, *, lr: float = 1e-3, weight_decay: float = 0.0) -> list[dict[str, Any]]:
    """Return the parameters of a network in groups for an optimizer.

    Parameters
    ----------
    net : Module
        A network, or a module that holds one.
    lr : float
        Learning rate, above 0. That of weights which `ns.init` multiplied by k is k times as large.
    weight_decay : float
        Of weights, at least 0. Biases and parameters of neurons (time constants, thresholds) do not decay.

    Returns
    -------
    list of dict
        With ``params``, ``lr`` and ``weight_decay``; the first group has the learning rate `lr`. Parameters that need
        no gradient are left out.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> net = ns.Sequential(ns.Linear(4, 8, bias=True), ns.LIF(dt=1e-3, learn=["tau_mem"]))
    >>> optimizer = torch.optim.AdamW(ns.parameter_groups(net, lr=1e-3, weight_decay=0.01))
    >>> [(len(group["params"]), group["weight_decay"]) for group in optimizer.param_groups]
    [(1, 0.01), (2, 0.0)]
    """
    if not lr > 0:
        raise InputError(f"lr={lr}: a learning rate, above 0.")
    if not weight_decay >= 0:
        raise InputError(f"weight_decay={weight_decay}: at least 0.")
    groups: dict[tuple[float, float], list[nn.Parameter]] = {(lr, weight_decay): []}
    seen: set[int] = set()

    def collect(module: nn.Module, scale: float, decays: bool) -> None:
        if isinstance(module, Synapse):
            scale, decays = module.initial_scale, True
        elif isinstance(module, Population):
            scale, decays = 1.0, False
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                decay = weight_decay if decays and not name.endswith("bias") else 0.0
                groups.setdefault((lr * scale, decay), []).append(parameter)
        for child in module.children():
            collect(child, scale, decays)

    collect(net, 1.0, True)
    return [dict(params=params, lr=rate, weight_decay=decay) for (rate, decay), params in groups.items()]


def default_optimizer(net: nn.Module) -> Optimizer:
    """Return Adam over all parameters that need a gradient, with learning rate 1e-3 times the scale of the weights."""
    return Adam(parameter_groups(net, lr=1e-3))
