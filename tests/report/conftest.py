"""A small recorded run that the plots draw."""

from __future__ import annotations

import pytest
import torch

import neurosim as ns
from neurosim.recording.recording import Recording
from neurosim.simulation import simulate


@pytest.fixture(scope="module")
def recording() -> Recording:
    """Return 40 steps of 5 samples of a network 8-12-3 that spikes."""
    torch.manual_seed(3)
    net = ns.Sequential(ns.Linear(8, 12), ns.LIF(dt=1e-3), ns.Linear(12, 3), ns.LIF(dt=1e-3), names=("hidden", "out"))
    with torch.no_grad():
        for edge in net.edges:
            edge.synapses[0].get_parameter("weight").abs_().mul_(8)
    x = (torch.rand(40, 5, 8) < 0.3).float()
    return simulate(net, x, record=("hidden", "out", "hidden.v"))
