"""Weights that keep their signs in training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import neurosim as ns
from neurosim.circuit import FixedInDegree, Normal
from neurosim.errors import InputError

DT = 1e-3


def network() -> ns.Network:
    torch.manual_seed(0)
    excitatory = Normal(0.3, 0.1, low=0.0, outside="redrawn")
    inhibitory = Normal(-0.3, 0.1, high=0.0, outside="redrawn")
    nodes = {"x": ns.Input(12), "e": ns.LIF(size=20, v_th=0.3), "i": ns.LIF(size=10, v_th=0.3), "out": ns.LI(size=2)}
    edges = [
        ns.Edge("x", ("e", "i"), ns.Drawn(FixedInDegree(6), excitatory)),
        ns.Edge("e", "i", ns.Drawn(FixedInDegree(8), excitatory, 1e-3, learn=True)),
        ns.Edge("i", "e", ns.Drawn(FixedInDegree(5), inhibitory, 1e-3, learn=True)),
        ns.Edge("e", "out", ns.Linear(20, 2, bias=True)),
    ]
    return ns.Network(nodes, edges, dt=DT)


def data() -> list[tuple[torch.Tensor, torch.Tensor]]:
    torch.manual_seed(1)
    return [((torch.rand(20, 8, 12) < 0.3).float(), torch.arange(8) % 2) for _ in range(4)]


def signs(net: ns.Network) -> dict[str, torch.Tensor]:
    return {name: torch.signbit(p.detach()) for name, p in net.named_parameters() if name.endswith("weight")}


@pytest.mark.parametrize("keep", [True, False])
def test_weights_of_a_circuit_keep_their_signs(keep):
    """Dale's law: with steps of 0.3 a weight of 0.3 changes its sign, unless it is kept."""
    net = network()
    before = signs(net)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.3)
    ns.fit(net, data(), optimizer=optimizer, epochs=2, keep_signs=keep, wake=False, progress=False)
    after = signs(net)
    assert len(before) == 3 and all(torch.equal(before[name], after[name]) for name in before) is keep
    loop = net["i->e"][0]
    assert bool((loop.weight <= 0).all()) is keep and (not keep or bool((loop.weight == 0).any()))


def test_a_resumed_run_keeps_the_signs_of_zeros(tmp_path: Path):
    def run(folder: Path, epochs: int, resume: bool = False) -> ns.Network:
        net = network()
        optimizer = torch.optim.Adam(net.parameters(), lr=0.3)
        given = dict(optimizer=optimizer, keep_signs=True, wake=False, progress=False)
        ns.fit(net, data(), epochs=epochs, checkpoint=folder, resume=resume, **given)
        return net

    whole = run(tmp_path / "whole", 4)
    run(tmp_path / "parts", 2)
    parts = run(tmp_path / "parts", 4, resume=True)
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(one, other) and torch.equal(torch.signbit(one), torch.signbit(other))
    with pytest.raises(InputError, match="keep_signs=1: True or False"):
        ns.fit(network(), data(), keep_signs=1, progress=False)
