"""Networks of IIR-SNN for tests."""

from __future__ import annotations

import torch

import neurosim as ns
from neurosim.models.iir import hidden, output
from neurosim.synapses import Dropout


def network(seed: int = 0, width: int = 24, dropout: float | None = None) -> ns.Network:
    torch.manual_seed(seed)
    drop = [] if dropout is None else [Dropout(dropout)]
    return ns.Sequential(
        ns.Linear(16, width, bias=True),
        hidden(),
        *drop,
        ns.Linear(width, width, bias=True),
        hidden(),
        ns.Linear(width, 3, bias=True),
        output(),
        names=("one", "two", "out"),
    ).double()


def settled(seed: int = 0, dropout: float | None = None) -> ns.Network:
    """A network whose leaks and thresholds are no round numbers."""
    net = network(seed, dropout=dropout)
    with torch.no_grad():
        for number, name in enumerate(("one", "two")):
            net.nodes[name].leak.fill_(0.8 - 0.1 * number)
            net.nodes[name].v_th.fill_(0.15 + 0.1 * number)
    return net
