"""Initial weights with which populations fire: the variance of membranes against theory, loops, refusals."""

from __future__ import annotations

import copy
import math
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import neurosim as ns
from neurosim.cores import refractory_lif, resonate_and_fire
from neurosim.errors import ActivityWarning, InputError
from neurosim.network.init import fluctuation_driven
from neurosim.synapses import BatchNorm, RoundedDelays

DT = 1e-3


def spikes(*shape: int, rate: float = 0.1, seed: int = 0) -> Tensor:
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < rate).float()


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(("tau", "r", "v_th", "rate"), [(5e-3, 1.0, 1.0, 0.1), (2e-3, 7.0, 0.3, 0.02)])
def test_the_width_of_the_weights_is_that_of_the_theory(tau: float, r: float, v_th: float, rate: float) -> None:
    # A trace of Bernoulli spikes at rate p through a filter of unit sum has the mean p and the variance
    # p (1 - p) (1 - alpha) / (1 + alpha).
    net = ns.Sequential(ns.Linear(400, 300), ns.LIF(dt=DT, tau_mem=tau, r=r, v_th=v_th))
    fluctuation_driven(net, spikes(400, 20, 400, rate=rate), level=0.5)
    alpha = math.exp(-DT / tau)
    squares = r**2 * (rate**2 + rate * (1 - rate) * (1 - alpha) / (1 + alpha))
    width = float(net.edges[0].synapses[0].weight.detach().std())
    assert width == pytest.approx(0.5 * v_th / math.sqrt(400 * squares), rel=0.04)


POPULATIONS: dict[str, Any] = {
    "lif": lambda: ns.LIF(dt=DT, v_th=0.2),
    "learned": lambda: ns.LIF(dt=DT, size=30, learn=["tau_mem", "v_th"]),
    "subtract": lambda: ns.LIF(dt=DT, reset="subtract", reset_amount=0.5),
    "alif": lambda: ns.ALIF(dt=DT),
    "cubalif": lambda: ns.CubaLIF(dt=DT, r=30.0),
    "if": lambda: ns.IF(dt=DT, v_th=4.0),
    "refractory": lambda: ns.layer(refractory_lif)(dt=DT),
}


@pytest.mark.parametrize("kind", POPULATIONS)
def test_a_population_reaches_its_level_and_fires(kind: str) -> None:
    net = ns.Sequential(ns.Linear(40, 30), POPULATIONS[kind](), names=["out"])
    x, before = spikes(60, 8, 40), net.edges[0].synapses[0].weight.detach().clone()
    (row,) = fluctuation_driven(net, x)
    factor = row.factors["input->out"]
    weight = net.edges[0].synapses[0].weight
    assert torch.allclose(weight, before * factor) and net.edges[0].synapses[0].initial_scale == factor
    assert 0.001 < row.rate < 0.5 and row.rate == pytest.approx(float(net(x)[0].detach().mean()))
    (again,) = fluctuation_driven(net, x)
    assert again.factors == {"input->out": 1.0}


def test_rows_of_every_kind_of_synapse_are_scaled() -> None:
    parts = [
        *(ns.Input((2, 8, 8)), ns.Conv2d(2, 4, 3, padding=1), BatchNorm(4), ns.AvgPool2d(2), ns.LIF(dt=DT)),
        *(ns.Flatten(), ns.Linear(64, 20, bias=True), ns.LIF(dt=DT), ns.Linear(20, 3), ns.LI(dt=DT)),
    ]
    net = ns.Sequential(*parts, names=["conv", "dense", "out"])
    statistics = {name: value.clone() for name, value in net.named_buffers()}
    random = torch.get_rng_state()
    rows = fluctuation_driven(net, spikes(40, 6, 2, 8, 8))
    assert [row.population for row in rows] == ["conv", "dense"] and all(row.rate > 0.001 for row in rows)
    assert all(torch.equal(value, statistics[name]) for name, value in net.named_buffers())
    assert torch.equal(torch.get_rng_state(), random)
    assert net.edges[0].synapses[0].initial_scale == 1.0 != net.edges[0].synapses[1].initial_scale


def test_a_loop_has_its_share_of_the_variance() -> None:
    loop = ns.Edge("out", "out", ns.Linear(50, 50))
    edges = [ns.Edge("input", "out", ns.Linear(40, 50), delay=2 * DT), loop]
    net = ns.Network({"input": ns.Input(40), "out": ns.LIF(dt=DT)}, edges)
    x = spikes(200, 10, 40)
    (row,) = fluctuation_driven(net, x, recurrent=0.2)
    assert set(row.factors) == {"input->out", "out->out"}

    def variance(*edges: Any, given: dict[str, Tensor]) -> float:
        nodes = {"input": ns.Input(40), "loop": ns.Input(50), "out": ns.LIF(dt=DT, v_th=1e9)}
        used = {edge.source for edge in edges}
        alone = ns.Network({name: node for name, node in nodes.items() if name in {*used, "out"}}, edges)
        return float(alone.run(given, record=["out.v"]).recorded["out.v"].square().mean())

    synapses = {edge.name: edge.synapses for edge in net.edges}
    feeding = variance(ns.Edge("input", "out", synapses["input->out"], delay=2 * DT), given={"input": x})
    assert feeding == pytest.approx(0.8, rel=0.02)
    looped = variance(ns.Edge("loop", "out", synapses["out->out"], delay=DT), given={"loop": net(x)[0].detach()})
    assert looped == pytest.approx(0.2, rel=0.3)  # its spikes change the spikes


def test_a_cycle_of_two_populations_and_synapses_with_delays() -> None:
    delayed = RoundedDelays(torch.randn(20, 20), torch.full((20, 20), 3), dt=DT)
    edges = [
        *(ns.Edge("input", "a", ns.Linear(30, 20)), ns.Edge("a", "b", ns.Linear(20, 20))),
        ns.Edge("b", "a", ns.Linear(20, 20), delay=DT),
    ]
    net = ns.Network({"input": ns.Input(30), "a": ns.LIF(dt=DT), "b": ns.LIF(dt=DT)}, edges)
    rows = fluctuation_driven(net, spikes(50, 8, 30))
    assert [row.population for row in rows] == ["a", "b"] and all(row.rate > 0 for row in rows)
    assert "a: input->a times" in str(rows[0])
    with pytest.raises(InputError, match=r"no synapse of edge 'input->out' has a parameter weight"):
        fluctuation_driven(
            ns.Network({"input": ns.Input(20), "out": ns.LIF(dt=DT)}, [ns.Edge("input", "out", delayed)]),
            spikes(5, 2, 20),
            populations=["out"],
        )


def test_what_cannot_be_scaled_is_refused_by_name() -> None:
    net = ns.Sequential(ns.Linear(4, 3), ns.layer(resonate_and_fire)(dt=DT), ns.Linear(3, 2), ns.LI(dt=DT))
    x = spikes(10, 2, 4)
    first, last = net.populations()
    for name, reason in (
        (first, "its core resonate_and_fire has no membrane v"),
        (last, "no population of a core that spikes"),
        ("absent", "the network has the populations"),
    ):
        with pytest.raises(InputError, match=f"population '{name}' cannot be scaled: .*{reason}"):
            fluctuation_driven(net, x, populations=[name])
    for options, message in (({"level": 0}, "level=0: "), ({"recurrent": 1.0}, r"recurrent=1\.0: ")):
        with pytest.raises(InputError, match=message):
            fluctuation_driven(net, x, **options)
    lif = ns.Sequential(ns.Linear(4, 3), ns.LIF(dt=DT), names=["out"])
    with pytest.raises(InputError, match="x does not move population 'out'"):
        fluctuation_driven(lif, torch.zeros(10, 2, 4), populations=["out"])
    before = lif.edges[0].synapses[0].weight.clone()
    assert fluctuation_driven(lif, torch.zeros(10, 2, 4))[0].factors == {"input->out": 1.0}
    assert torch.equal(before, lif.edges[0].synapses[0].weight)


def in_place(weight: Tensor) -> None:
    with torch.no_grad():
        weight.mul_(1.001)


CHANGES: dict[str, Any] = {
    "in place": lambda one: in_place(one.weight),
    "data": lambda one: one.weight.data.neg_(),
    "one value": lambda one: one.weight.data.view(-1)[0].add_(1e-3),
    "init": lambda one: nn.init.xavier_uniform_(one.weight),
    "loaded": lambda one: one.load_state_dict({"weight": torch.rand_like(one.weight)}, strict=False),
    "replaced": lambda one: setattr(one, "weight", nn.Parameter(torch.rand_like(one.weight))),
}
SYNAPSES: dict[str, Any] = {
    "linear": lambda: ns.Linear(8, 8),
    "conv1d": lambda: ns.Conv1d(2, 3, 2),
    "conv2d": lambda: ns.Conv2d(2, 3, 2),
    "block": lambda: ns.BlockLinear(8, 8, 2),
    "sparse": lambda: ns.Sparse.random(8, 8, 0.9),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", SYNAPSES)
def test_weights_that_changed_are_no_longer_as_drawn(kind: str, change: str) -> None:
    synapse = SYNAPSES[kind]()
    if kind == "sparse" and change == "init":
        pytest.skip("xavier needs a matrix")
    same = copy.deepcopy(synapse).double()
    CHANGES[change](synapse)
    assert same.has_drawn_weights() and not synapse.has_drawn_weights()


def test_a_silent_and_a_saturated_population_are_warned_of_by_simulate() -> None:
    net = ns.Sequential(ns.Linear(8, 6), ns.LIF(dt=DT, v_th=50.0), names=["out"])
    x = spikes(20, 2, 8)
    with pytest.warns(ActivityWarning, match=r"no spike in the 20 steps of this run: out\. .*fluctuation_driven"):
        first = ns.simulate(net, x)
    busy = ns.Sequential(ns.Linear(8, 6, bias=True), ns.LIF(dt=DT), names=["out"])
    nn.init.constant_(busy.edges[0].synapses[0].bias, 1e4)
    with pytest.warns(ActivityWarning, match=r"fires at every step in the 20 steps of this run: out \(100%\)"):
        ns.simulate(busy, x)
    fluctuation_driven(net, spikes(60, 8, 8), level=2.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x = spikes(60, 8, 8)
        ns.simulate(net, x)
        ns.simulate(net, torch.zeros(20, 2, 8), state=first.state)  # a continued run may be a few steps
