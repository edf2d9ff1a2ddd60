"""Training of delays: the width of an epoch, a learning rate for delays, and their range."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from neurosim.errors import InputError
from neurosim.synapses.delay_schedule import decreasing_width
from neurosim.synapses.delayed_linear import DelayedLinear


def narrow(net: nn.Module, epoch: int, epochs: int) -> None:
    """Set the width of all `DelayedLinear` in a network to that of `decreasing_width` for an epoch, from 0.

    Call it before each epoch; in `fit`, ``on_epoch=lambda row: narrow(net, row["epoch"], epochs)`` does so for the next
    one.
    """
    for layer in _delayed(net):
        layer.narrow(decreasing_width(layer.memory, epoch, epochs, layer.variant))


def delay_groups(
    net: nn.Module, *, lr: float = 1e-3, delay_lr: float = 0.1, weight_decay: float = 1e-5
) -> list[dict[str, Any]]:
    """Return parameter groups for an optimizer, with a separate learning rate for delays.

    Parameters
    ----------
    net : torch.nn.Module
        Holds at least one `DelayedLinear`.
    lr : float
        Of all other parameters.
    delay_lr : float
        Of the delays, in steps; in the authors' program 100 times that of the weights.
    weight_decay : float
        Of all parameters but delays and batch norms.

    Returns
    -------
    list of dict
        Named ``"weights"``, ``"norms"`` (where there are any) and ``"delays"``, of parameters that require a gradient.

    Raises
    ------
    InputError
        When there is no delay to train.
    """
    delays = {id(layer.delay) for layer in _delayed(net)}
    norms = {
        id(p)
        for module in net.modules()
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d))
        for p in module.parameters()
    }
    learned = [p for p in net.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"name": "weights", "params": [p for p in learned if id(p) not in delays | norms], "lr": lr},
        {"name": "norms", "params": [p for p in learned if id(p) in norms], "lr": lr},
        {"name": "delays", "params": [p for p in learned if id(p) in delays], "lr": delay_lr},
    ]
    if not groups[-1]["params"]:
        raise InputError("delay_groups: this network holds no DelayedLinear whose delays are trained.")
    for group in groups:
        group["weight_decay"] = weight_decay if group["name"] == "weights" else 0.0
    return [group for group in groups if group["params"]]


def keep_in_range(optimizer: torch.optim.Optimizer, net: nn.Module) -> RemovableHandle:
    """Clamp the delays of all `DelayedLinear` in a network after each step of an optimizer.

    Returns
    -------
    torch.utils.hooks.RemovableHandle
        Its `remove` ends the clamping.
    """
    layers = list(_delayed(net))

    def clamp(*_: Any) -> None:
        for layer in layers:
            layer.clamp_()

    handle: RemovableHandle = optimizer.register_step_post_hook(clamp)
    return handle


def _delayed(net: nn.Module) -> Iterator[DelayedLinear]:
    return (module for module in net.modules() if isinstance(module, DelayedLinear))
