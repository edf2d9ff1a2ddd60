"""Weights that keep their signs in training: Dale's law."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from neurosim.synapses.synapse import Synapse


@contextlib.contextmanager
def kept(net: nn.Module) -> Iterator[None]:
    """Set weights of synapses to 0 that change their sign in the block.

    The zero has the sign of the weight before (0.0 or -0.0), so that a weight keeps its sign from step to step, and in
    a checkpoint, without any memory beside it.
    """
    weights = [
        weight
        for module in net.modules()
        if isinstance(module, Synapse)
        and isinstance(weight := module._parameters.get("weight"), nn.Parameter)
        and weight.requires_grad
    ]
    before = [torch.signbit(weight.detach()) for weight in weights]
    yield
    with torch.no_grad():
        for weight, is_negative in zip(weights, before, strict=True):
            zeros = torch.where(is_negative, -0.0, 0.0).to(weight)
            weight.copy_(torch.where(torch.signbit(weight) == is_negative, weight, zeros))
