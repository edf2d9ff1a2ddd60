"""`Network.explain`: what ran, why, and that the run is the real one."""

from __future__ import annotations

import pytest
import torch

import neurosim as ns
from neurosim.kernels.common import availability, decisions
from neurosim.kernels.common.layer_output import LayerOutput
from neurosim.network import Explanation, KernelCalls, Strategy
from neurosim.network.preference import STRATEGIES
from neurosim.synapses import BatchNorm, RoundedDelays
from neurosim.synapses.traced import Traces

DT = 1e-3


def one(*synapses, n=64, **choices):
    return ns.Sequential(*synapses, ns.LIF(dt=DT, **choices), names=["out"]) if synapses else one(ns.Linear(n, 32))


def spikes(rate, *shape):
    x = torch.zeros(shape)
    x.view(-1)[: round(rate * x.numel())] = 1.0
    return x


def only(explanation: Explanation):
    (row,) = explanation.rows
    return row


@pytest.mark.parametrize(
    ("rate", "kernel", "reason"),
    [(0.25, "event-driven", "rate 25 %, at most 30 %"), (0.5, "dense", "rate 50 %, above 30 %")],
)
def test_the_product_follows_the_measured_rate(rate, kernel, reason):
    row = only(one().explain(spikes(rate, 20, 5, 64)))
    assert (row.populations, row.strategy, row.skipped) == (("out",), "fused linear", {})
    assert row.kernels == (KernelCalls("linear", "cpu", kernel, 1, reason),)
    assert row.rates == {"input->out": rate}


def test_a_small_step_is_dense():
    (calls,) = only(one().explain(spikes(0.1, 1, 5, 64))).kernels
    assert (calls.kernel, calls.reason) == ("dense", "one step of at most 4 million multiplications")


@pytest.mark.parametrize(
    ("operation", "make", "shape"),
    [
        ("conv", lambda: one(ns.Input((2, 9, 9)), ns.Conv2d(2, 8, 3), ns.Flatten()), (2, 9, 9)),
        ("sparse", lambda: one(ns.Sparse.random(64, 32, 0.2)), (64,)),
    ],
)
def test_other_products_choose_too(operation, make, shape):
    rows = [only(make().explain(spikes(rate, 20, 16, *shape))) for rate in (0.01, 0.99)]
    assert [row.strategy for row in rows] == ["layer by layer"] * 2
    products = [row.kernels[0] for row in rows]
    assert [(p.operation, p.device, p.kernel) for p in products] == [
        (operation, "cpu", "event-driven"),
        (operation, "cpu", "dense"),
    ]
    assert products[0].reason != products[1].reason and "rate 99 %" in products[1].reason
    assert all(row.kernels[1] == KernelCalls("neurons", "cpu", "fused", 1, "") for row in rows)


def test_delays_choose_too():
    torch.manual_seed(0)
    synapse = RoundedDelays(torch.rand(8, 64), torch.randint(0, 4, (8, 64)), dt=DT)
    x = spikes(0.1, 20, 16, 64)
    products = [only(one(ns.Input(64), synapse).explain(data)).kernels[0] for data in (x, x / 2)]
    assert [(p.operation, p.kernel) for p in products] == [("delayed", "event-driven"), ("delayed", "dense")]
    assert products[1].reason == "the inputs are not all 0 or 1"


def cycles():
    torch.manual_seed(0)
    lif = {name: ns.LIF(dt=DT) for name in ("loop", "a", "b")}
    return ns.Network(
        {"input": ns.Input(64), **lif, "out": ns.LI(dt=DT)},
        [
            ns.Edge("input", "loop", ns.Linear(64, 32)),
            ns.Edge("loop", "loop", ns.Linear(32, 32)),
            ns.Edge("loop", "a", ns.Linear(32, 32)),
            ns.Edge("a", "b", ns.Linear(32, 32)),
            ns.Edge("b", "a", ns.Linear(32, 32), delay=5 * DT),
            ns.Edge("b", "out", ns.Linear(32, 4)),
            ns.Edge("loop", "out", ns.Linear(32, 4)),
        ],
    )


def test_cycles_and_the_reasons_against_what_comes_first():
    loop, cycle, out = cycles().explain(spikes(0.2, 20, 5, 64)).rows
    assert (loop.populations, loop.strategy) == (("loop",), "fused loop")
    assert [str(calls) for calls in loop.kernels] == ["linear: event-driven on cpu", "recurrent: fused on cpu"]
    assert (cycle.populations, cycle.strategy) == (("a", "b"), "stepwise")
    assert cycle.skipped == {"fused loop": "the cycle has several edges"}
    # 20 steps in chunks of 5: two populations, and two synapses in the cycle beside the one from outside.
    assert {(calls.operation, calls.calls) for calls in cycle.kernels} == {("linear", 9), ("neurons", 8)}
    assert set(cycle.rates) == {"loop->a", "a->b", "b->a"}
    assert (out.strategy, out.skipped) == ("layer by layer", {"fused linear": "several edges drive it"})


def test_rates_are_those_of_a_run():
    net, x = cycles().double(), 9.0 * spikes(0.2, 20, 5, 64).double()
    found = net.run(x, record=["loop", "b"]).recorded
    rates = {name: rate for row in net.explain(x).rows for name, rate in row.rates.items()}
    assert rates["loop->a"] == rates["loop->loop"] == pytest.approx(found["loop"].mean().item(), rel=1e-12)
    assert rates["loop->a"] > 0 and rates["b->out"] == pytest.approx(found["b"].mean().item(), rel=1e-12)


def test_recomputation_shows():
    net = one(ns.Linear(64, 32), ns.Linear(32, 16))
    row = only(net.explain(spikes(0.1, 16, 5, 64), recompute=True))
    assert row.strategy == "recomputed"
    assert row.skipped == {"fused linear": "recompute=True keeps less without the synapses before Linear"}
    assert {calls.calls for calls in row.kernels if calls.operation == "neurons"} == {4}


def test_as_text_it_is_a_table():
    text = str(cycles().explain(spikes(0.2, 20, 5, 64)))
    lines = text.splitlines()
    assert lines[0].split() == ["populations", "strategy", "kernels", "input", "rate", "why"]
    column = lines[0].index("strategy")
    assert lines[1].startswith("loop ") and lines[1][column:].startswith("fused loop")
    assert "a" in (line[:column].strip() for line in lines) and "b" in (line[:column].strip() for line in lines)
    assert "not fused loop: the cycle has several edges" in text
    assert "linear: event-driven on cpu, 9 calls" in text
    assert all(line == line.rstrip() for line in lines)


def test_nothing_is_changed():
    net = ns.Sequential(ns.Linear(64, 32), BatchNorm(32), ns.LIF(dt=DT), names=["out"])
    before = {name: value.clone() for name, value in net.state_dict().items()}
    x, traces = spikes(0.2, 20, 5, 64), Traces()
    random = torch.get_rng_state()
    net.explain(x)
    net.eval().explain(x, through_time=False, traces=traces)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random) and not traces._traces
    assert decisions.observers == [] and net.strategies is STRATEGIES


def test_what_comes_after_a_failure_is_not_observed():
    with pytest.raises(ns.NeurosimError):
        one().explain(torch.zeros(20, 5, 63))
    with pytest.raises(RuntimeError), decisions.observed():
        raise RuntimeError
    assert decisions.observers == []


def test_without_kernels_the_reference_is_named(monkeypatch):
    monkeypatch.setattr(availability, "obstacle", lambda device: "they are away")
    monkeypatch.setenv("NEUROSIM_REQUIRE_KERNELS", "0")
    availability._warn.cache_clear()
    with pytest.warns(RuntimeWarning, match="they are away"):
        row = only(one().explain(spikes(0.2, 20, 5, 64)))
    availability._warn.cache_clear()
    assert row.strategy == "layer by layer"
    assert [(calls.operation, calls.kernel) for calls in row.kernels] == [("linear", "torch"), ("neurons", "reference")]
    assert row.kernels[1].reason == "they are away"


class Everything(Strategy):
    """Runs all that is left of a network in one call."""

    name = "everything"

    def concerns(self, context, component):
        return True

    def run(self, context, component):
        for name, node in context.nodes.items():
            if name not in context.finished:
                state = node.initial_state(torch.ones(1, 5, 4))
                context.store(name, LayerOutput(torch.zeros(context.steps, 5, *context.nodes.shapes[name]), state, {}))
                context.finished.add(name)


def test_a_strategy_of_ones_own_is_named_with_all_that_it_ran():
    net = cycles()
    net.strategies = (Everything(), *STRATEGIES)
    row = only(net.explain(spikes(0.2, 20, 5, 64)))
    assert (row.populations, row.strategy, row.kernels) == (("loop", "a", "b", "out"), "everything", ())
