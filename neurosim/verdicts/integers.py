"""The network in Loihi's integers, and how much its outputs differ from those of the network given."""

from __future__ import annotations

from typing import Any

import torch

from neurosim.hardware.lava.integers import is_integer
from neurosim.hardware.quantise import quantise
from neurosim.network.network import Network

BITS = 8


def in_integers(net: Network, x: Any, **choices: Any) -> tuple[Network, float | None]:
    """Return an integer network and the share of outputs that differ; of a network in integers itself, and None.

    `choices` are those of `quantise`.
    """
    if is_integer(net):
        return net, None
    integer = quantise(net, x, bits=BITS, **choices).net
    return integer, share_differing(net, integer, x)


def share_differing(net: Network, other: Network, x: Any) -> float:
    """Return the share of the outputs of all populations that differ between two networks of the same populations."""
    ours, theirs = (outputs(each, x) for each in (net, other))
    differing = sum(int((ours[name] != theirs[name]).sum()) for name in ours)
    return differing / max(sum(each.numel() for each in ours.values()), 1)


def outputs(net: Network, x: Any) -> dict[str, torch.Tensor]:
    """Return the outputs of each population [T, B, ...] in double precision."""
    dtype = next((p.dtype for p in net.parameters()), torch.float32)
    data = {n: torch.as_tensor(v).to(dtype) for n, v in (x if isinstance(x, dict) else {net.inputs[0]: x}).items()}
    was_training = net.training
    net.eval()
    try:
        with torch.no_grad():
            recorded = net.run(data, None, list(net.populations())).recorded
    finally:
        net.train(was_training)
    return {name: recorded[name].double() for name in net.populations()}
