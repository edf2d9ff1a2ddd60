"""No rule keeps tensors of an earlier call: live tensors are counted over repeated calls."""

from __future__ import annotations

import gc
import warnings

import pytest
import torch
from torch import Tensor

import neurosim as ns
from neurosim.learning import FPTT
from neurosim.models import LiquidNeurons
from neurosim.parallel import PSN, ResetFreeLeaky
from neurosim.synapses import BatchNorm, DelayedLinear, Dropout, Standardised
from tests.rule_list import RULES, data

DT = 1e-3


def live_tensors() -> int:
    gc.collect()
    return sum(issubclass(type(each), Tensor) for each in gc.get_objects())


def growth(call, calls: int = 6) -> int:
    """Return how many tensors `calls` further calls leave behind, after calls that fill caches."""
    for _ in range(3):
        call()
    before = live_tensors()
    for _ in range(calls):
        call()
    return live_tensors() - before


def recurrent():
    return ns.Sequential(ns.Linear(6, 8), ns.Recurrent(ns.LIF(dt=DT), ns.Linear(8, 8)), ns.Linear(8, 3), ns.LI(dt=DT))


def recurrent_alone():
    return ns.Sequential(ns.Linear(6, 3), ns.Recurrent(ns.LIF(dt=DT), ns.Linear(3, 3, bias=True)))


def late_loop():
    return ns.Sequential(
        ns.Linear(6, 8), ns.Recurrent(ns.LIF(dt=DT), ns.Linear(8, 8), 3 * DT), ns.Linear(8, 3), ns.LI(dt=DT)
    )


def chain():
    return ns.Sequential(ns.Linear(6, 8), ns.LIF(dt=DT, size=8, learn=("tau_mem",)), ns.Linear(8, 3), ns.LIF(dt=DT))


def convolutional():
    parts = (ns.Conv1d(1, 2, 3), ns.LIF(dt=DT), ns.Flatten(), ns.Linear(8, 3), ns.LI(dt=DT))
    return ns.Sequential(ns.Input((1, 6)), *parts)


def normed():
    parts = (ns.Linear(6, 8), BatchNorm(8), ns.LIF(dt=DT), Standardised(ns.Linear(8, 3)), ns.LI(dt=DT))
    return ns.Sequential(*parts)


def dropping():
    return ns.Sequential(ns.Linear(6, 8), ns.LIF(dt=DT), Dropout(0.5), ns.Linear(8, 3), ns.LI(dt=DT))


def sparse():
    return ns.Sequential(ns.Sparse.random(6, 8, 0.5), ns.LIF(dt=DT), ns.Linear(8, 3), ns.LI(dt=DT))


def delayed():
    synapse = DelayedLinear(6, 8, max_delay=4 * DT, dt=DT)
    return ns.Sequential(synapse, ns.LIF(dt=DT), ns.Linear(8, 3), ns.LI(dt=DT))


def several_edges():
    return ns.Network(
        nodes={"input": ns.Input(6), "a": ns.LIF(dt=DT), "b": ns.ALIF(dt=DT), "out": ns.LI(dt=DT)},
        edges=[
            ns.Edge("input", "a", ns.Linear(6, 4)),
            ns.Edge("input", "b", ns.Linear(6, 4), delay=2 * DT),
            ns.Edge("a", "b", ns.Linear(4, 4)),
            ns.Edge("b", "b", ns.Linear(4, 4)),
            ns.Edge("b", "out", ns.Linear(4, 3)),
            ns.Edge("a", "out", ns.Linear(4, 3)),
        ],
    )


def cycle():
    return ns.Network(
        nodes={"input": ns.Input(6), "a": ns.LIF(dt=DT), "b": ns.LIF(dt=DT), "out": ns.LI(dt=DT)},
        edges=[
            ns.Edge("input", "a", ns.Linear(6, 4)),
            ns.Edge("a", "b", ns.Linear(4, 4)),
            ns.Edge("b", "a", ns.Linear(4, 4), delay=DT),
            ns.Edge("b", "out", ns.Linear(4, 3)),
        ],
    )


def reset_free():
    return ns.Sequential(ns.Linear(6, 8), ResetFreeLeaky(dt=DT), ns.Linear(8, 3), ns.LI(dt=DT))


def parallel():
    return ns.Sequential(ns.Linear(6, 8), PSN(9, dt=DT), ns.Linear(8, 3), ns.LI(dt=DT))


def liquid():
    return ns.Sequential(ns.Linear(6, 8), LiquidNeurons(8, dt=DT), ns.Linear(8, 3), ns.LI(dt=DT))


NETWORKS = [
    chain, recurrent, recurrent_alone, late_loop, convolutional, normed, dropping, sparse, delayed, several_edges,
    cycle, reset_free, parallel, liquid,
]  # fmt: skip
ANY_NETWORK = [ns.BPTT(), ns.BPTT(recompute=True), ns.SLTT(chunk=3), ns.SLTT(k=2), ns.OTTT(chunk=3)]


@pytest.mark.parametrize("make", NETWORKS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("rule", ANY_NETWORK, ids=["bptt", "recompute", "sltt", "sltt-k", "ottt"])
def test_a_call_leaves_no_tensor(rule, make):
    net = make()
    x, y = (torch.rand(9, 2, *net.shape("input")) < 0.5).float(), torch.tensor([0, 2])

    def call():
        rule.gradients(net, x, y, ns.CrossEntropy())

    try:
        call()
    except ns.NeurosimError as refusal:
        pytest.skip(str(refusal))
    assert growth(call) == 0


@pytest.mark.parametrize("case", RULES, ids=str)
def test_no_rule_leaves_a_tensor(case):
    net = case.network()
    rule = case.make(net)
    x, y = data()
    assert growth(lambda: rule.gradients(net, x, y, ns.CrossEntropy())) == 0


def test_fptt_leaves_no_tensor():
    net = recurrent()
    trainer = FPTT(torch.optim.SGD(net.parameters(), 0.01))
    x, y = torch.rand(9, 2, 6), torch.tensor([0, 2])
    assert growth(lambda: trainer.sequence(net, x, y, ns.CrossEntropy())) == 0


@pytest.mark.parametrize("make", NETWORKS, ids=lambda make: make.__name__)
def test_neither_does_a_run_without_its_backward_pass(make):
    net = make()
    x = (torch.rand(9, 2, *net.shape("input")) < 0.5).float()
    assert growth(lambda: net(x, recompute=True)) == 0


def test_the_count_finds_a_cycle_through_a_graph():
    """A tensor whose graph keeps the tensor itself is never freed."""

    def call():
        kept: list[Tensor] = []
        x = torch.ones(3, requires_grad=True)
        y = x * 2.0
        y.register_hook(lambda g: kept and None)
        kept.append(y)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert growth(call) > 0
