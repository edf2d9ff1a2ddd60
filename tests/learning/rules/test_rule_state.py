"""State of rules, plasticity and FPTT in checkpoints; that every rule resumes is in tests/rule_battery.py."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

import neurosim as ns
from neurosim.errors import InputError
from neurosim.learning import FPTT, HLOP, LateralBanks
from neurosim.plasticity import Plasticity, RewardModulated
from neurosim.plasticity.stdp import PairSTDP
from tests.rule_battery import flat

DT = 1e-3


def network() -> ns.Network:
    torch.manual_seed(0)
    net = ns.Sequential(
        ns.Linear(8, 10), ns.LIF(dt=DT, r=4.0), ns.Linear(10, 3), ns.LI(dt=DT, r=4.0), names=("hidden", "out")
    )
    torch.nn.init.normal_(net.edges[0].synapses[0].weight, 0.2, 0.5)
    return net


def batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [(torch.rand(6, 9, 8, generator=generator), torch.arange(9) % 3) for _ in range(2)]


def hlop(net: ns.Network) -> HLOP:
    torch.manual_seed(5)
    banks = LateralBanks(net)
    for _ in range(2):
        banks.begin_task([3, 2])
    return HLOP(ns.BPTT(), banks)


def test_state_of_another_network_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    ns.fit(net, batches(), rule=hlop(net), optimizer=optimizer, epochs=1, checkpoint=tmp_path, progress=False)
    rule = hlop(ns.Sequential(ns.Linear(5, 4), ns.LIF(dt=DT), ns.Linear(4, 3), ns.LI(dt=DT)))
    before = {name: value.clone() for name, value in flat(rule.state_dict()).items()}
    with pytest.raises(InputError, match="the lateral neurons belong to other layers"):
        ns.fit(
            net, batches(), rule=rule, optimizer=optimizer, epochs=2, checkpoint=tmp_path, resume=True, progress=False
        )
    assert all(torch.equal(value, before[name]) for name, value in flat(rule.state_dict()).items())
    with pytest.raises(InputError, match="keeps nothing from batch to batch"):
        ns.BPTT().load_state_dict({"more": 1})


def test_plasticity_resumes(tmp_path: Path) -> None:
    x = (torch.rand(40, 2, 8, generator=torch.Generator().manual_seed(2)) < 0.4).float() * 3

    def begun() -> tuple[ns.Network, Plasticity]:
        torch.manual_seed(0)
        net = ns.Sequential(ns.Linear(8, 4), ns.LIF(dt=DT, r=4.0), names=("out",))
        torch.nn.init.uniform_(net.edges[0].synapses[0].weight, 0.2, 0.8)
        return net, Plasticity(net, {"input->out": RewardModulated(PairSTDP(), rate=5.0)}, chunk=4)

    net, whole = begun()
    _, state = whole.run(x[:20])
    whole.reward(1.0)
    whole.run(x[:10], state)
    ns.save_checkpoint(tmp_path / "half.pt", net, notes=whole.state_dict())
    whole.run(x[20:], state)
    whole.reward(0.3)
    other, resumed = begun()
    resumed.load_state_dict(ns.load_checkpoint(tmp_path / "half.pt", other).notes)
    resumed.run(x[20:], state)
    resumed.reward(0.3)
    a, b = (each.edges[0].synapses[0].weight for each in (net, other))
    assert torch.equal(a, b) and resumed.expected == whole.expected
    with pytest.raises(InputError, match="expected was saved for"):
        resumed.load_state_dict({"expected": {"other": 0.0}, "traces": {}, "eligible": {}})


def test_fptt_resumes() -> None:
    def begun() -> tuple[ns.Network, FPTT]:
        net = network()
        return net, FPTT(torch.optim.Adamax(net.parameters(), 1e-2))

    net, whole = begun()
    (x, y), (more, _) = batches()
    whole.sequence(net, x, y, ns.CrossEntropy())
    other, resumed = begun()
    other.load_state_dict(net.state_dict())
    resumed.load_state_dict(copy.deepcopy(whole.state_dict()))
    for each, trainer in ((net, whole), (other, resumed)):
        trainer.sequence(each, more, y, ns.CrossEntropy())
        trainer.end_epoch()
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))
    small = ns.Sequential(ns.Linear(2, 2), ns.LI(dt=DT))
    with pytest.raises(InputError, match="'mean' was saved for other parameters"):
        FPTT(torch.optim.Adamax(small.parameters())).load_state_dict(whole.state_dict())
