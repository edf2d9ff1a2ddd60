"""Integer networks as fixed-point graphs: bit for bit on Lava, and what cannot be."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import neurosim as ns
from neurosim import cores
from neurosim.errors import ExportError, InputError
from neurosim.hardware.lava import Verification, to_lava, verify
from neurosim.hardware.lava.start_voltage import UNITY, integer_start
from neurosim.hardware.lava.verification import compare
from neurosim.hardware.loihi import chip_weight, loihi_neurons
from neurosim.synapses import RoundedDelays, Synapse
from neurosim.synapses.shift import Shift
from tests.hardware.lava.test_export import DT, LIMIT

pytest.importorskip("lava.magma")
STEPS, SAMPLES = 40, 2


def whole(synapse: Synapse, size: float = 60.0, bits: int = 8) -> Synapse:
    """Give a map whole weights that the chip can hold."""
    with torch.no_grad():
        synapse.weight.copy_(chip_weight(torch.randn_like(synapse.weight) * size, bits))
    return synapse


def integers(low: int, high: int, *shape: int) -> torch.Tensor:
    return torch.randint(low, high, shape).float()


def images(seed: int) -> tuple[ns.Network, torch.Tensor]:
    """Convolutions, pools and shifts; biases of both signs that begin before the data; a membrane that is read out."""
    torch.manual_seed(seed)
    net = ns.Network(
        {
            "x": ns.Input((1, 6, 5)),
            "a": loihi_neurons(dt=DT, du=1000, dv=300, v_th=200, bias_mant=integers(-20, 20, 2, 6, 5), bias_exp=3),
            "b": loihi_neurons(dt=DT, dv=integers(0, 400, 9), v_th=integers(20, 80, 9), bias_mant=-2000, bias_exp=3),
            "out": loihi_neurons(dt=DT, du=500, dv=100, v_th=None),
        },
        [
            ns.Edge("x", "a", whole(ns.Conv2d(1, 2, 3, padding=1))),
            ns.Edge("a", "b", (ns.SumPool2d(2), ns.Flatten(), whole(ns.Linear(12, 9), bits=6), Shift(-1))),
            ns.Edge("x", "b", (ns.Flatten(), whole(ns.Linear(30, 9)), Shift(2))),
            ns.Edge("x", "a", (whole(ns.Conv2d(1, 2, 3, padding=1)), Shift(-2)), delay=2e-3, name="late"),
            ns.Edge("b", "out", whole(ns.Linear(9, 4))),
        ],
    )
    return net, (torch.rand(STEPS, SAMPLES, 1, 6, 5) < 0.3).float()


def webs(seed: int) -> tuple[ns.Network, torch.Tensor]:
    """Loops, lists, delays of each synapse, weights of one sign; currents that wrap and voltages that are clipped."""
    torch.manual_seed(seed)
    delays = RoundedDelays(
        whole(ns.Linear(15, 12)).weight.detach(), torch.randint(1, 6, (12, 15)), max_delay=6e-3, dt=DT
    )
    up = ns.Linear(8, 15)
    with torch.no_grad():
        up.weight.copy_(integers(0, 255, 15, 8))
    net = ns.Network(
        {
            "x": ns.Input(8),
            "a": loihi_neurons(dt=DT, du=200, dv=50, v_th=131071, bias_mant=integers(-4096, 4096, 15), bias_exp=7),
            "b": loihi_neurons(dt=DT, du=integers(0, 4096, 12), dv=4096, v_th=20),
        },
        [
            ns.Edge("x", "a", (up, Shift(7))),
            ns.Edge("a", "a", (whole(ns.Sparse.random(15, 15, 0.4), 150.0), Shift(5))),
            ns.Edge("a", "b", (delays, Shift(1))),
            ns.Edge("b", "b", whole(ns.Sparse.random(12, 12, 0.3)), delay=3e-3),
        ],
    )
    return net, (torch.rand(STEPS, SAMPLES, 8) < 0.5).float()


@pytest.mark.parametrize("make", [images, webs])
def test_no_bit_differs(make: Callable[[int], tuple[ns.Network, torch.Tensor]]) -> None:
    net, x = make(0)
    result = verify(net, x, timeout=LIMIT)
    assert result.agrees, result.summary()
    assert [node.states_differing for node in result.nodes] == [0] * len(result.nodes)
    assert all(node.spikes_lava > 30 for node in result.nodes if node.name != "out"), result.summary()
    assert result.spikes_differing_float32 is None
    graph = to_lava(net).graph
    assert graph.model == "fixed_pt"
    if make is images:
        assert [p.process for p in graph.populations] == ["LIF", "LIFReset", "LIF"]
        assert {item.name: item.bits for item in graph.dense} == {"a->b": 6, "x->b": 8, "b->out": 8}
        assert {item.name: int(item.delay) for item in graph.sparse} == {"late": 2}
    else:
        states = to_lava(net).run(x, record=["a.u", "a.v"], timeout=LIMIT).traces
        assert np.abs(np.diff(states["a.u"], axis=0)).max() > 2**23  # a current wrapped
        assert np.abs(states["a.v"]).max() == 2**23 - 1  # a voltage was clipped
        assert {item.signs for item in graph.dense} == {"excitatory", "mixed"}


def test_graded_input_of_whole_numbers_is_exact_and_of_parts_refused() -> None:
    torch.manual_seed(0)
    net = ns.Sequential(whole(ns.Linear(7, 10)), loihi_neurons(dt=DT, dv=200, v_th=200), names=["out"])
    x = integers(-3, 4, STEPS, 1, 7)
    result = verify(net, x, timeout=LIMIT)
    assert result.agrees
    assert result.spikes > 30
    with pytest.raises(InputError, match=r"x for \['input'\] holds fractions"):
        to_lava(net).run(x + 0.5)


def test_the_first_difference_tells_whole_voltages() -> None:
    net, x = images(1)
    export = to_lava(net)
    right = export.graph.population("a")
    wrong = dataclasses.replace(right, arguments={**right.arguments, "vth": np.asarray(201)})
    populations = (wrong, *export.graph.populations[1:])
    graph = dataclasses.replace(export.graph, populations=populations)
    found = compare(dataclasses.replace(export, graph=graph), net, x, timeout=LIMIT).first_difference
    assert found is not None
    assert (found.node, found.sent_simulator, found.sent_lava, found.v_th) == ("a", 1.0, 0.0, 200 * 64.0)
    assert found.v_simulator == found.v_lava
    assert 200 * 64 < found.v_simulator <= 201 * 64
    # A state that is off before any spike is.
    wrong = dataclasses.replace(right, arguments={**right.arguments, "v": right.arguments["v"] + 3})
    graph = dataclasses.replace(export.graph, populations=(wrong, *export.graph.populations[1:]))
    result: Verification = compare(dataclasses.replace(export, graph=graph), net, x[:1], timeout=LIMIT)
    assert result.spikes_differing == 0
    assert not result.agrees
    assert result.nodes[0].states_differing
    assert result.first_difference is not None
    assert (result.first_difference.node, result.first_difference.step) == ("a", 0)
    assert result.first_difference.v_simulator != result.first_difference.v_lava


@pytest.mark.parametrize(
    ("neurons", "message"),
    [
        (dict(refractory=3), r"node 'out': refractory=3; Lava's fixed-point neurons have no refractory period"),
        (dict(du=-1), r"node 'out': du=-1; Lava's neurons have the offset bit on: use du from 0"),
        (dict(dv=4000, bias_mant=4000, bias_exp=7, v_th=131071), r"node 'out': bias=512000 would fire, or exceed 24"),
    ],
)
def test_what_fixed_point_neurons_cannot_do_is_named(neurons: dict[str, int], message: str) -> None:
    net = ns.Sequential(
        whole(ns.Linear(3, 3)),
        loihi_neurons(dt=DT),
        whole(ns.Linear(3, 2)),
        loihi_neurons(dt=DT, **neurons),
        names=["a", "out"],
    )
    with pytest.raises(ExportError, match=message):
        to_lava(net)


def test_graded_spikes_without_memory_are_exact() -> None:
    torch.manual_seed(0)
    net = ns.Network(
        {
            "x": ns.Input((1, 4, 5)),
            "all": ns.layer(cores.graded)(dt=DT, v_th=40),
            "up": ns.layer(cores.graded_relu)(dt=DT, v_th=500),
            "spikes": loihi_neurons(dt=DT, dv=400, v_th=9000, bias_mant=30, bias_exp=2),
        },
        [
            ns.Edge("x", "all", whole(ns.Conv2d(1, 2, 3, padding=1), 20.0)),
            ns.Edge("all", "up", (ns.Flatten(), whole(ns.Linear(40, 10), 20.0), Shift(-3))),
            ns.Edge("up", "up", whole(ns.Linear(10, 10), 0.7)),
            ns.Edge("up", "spikes", whole(ns.Linear(10, 6), 20.0)),
            ns.Edge("all", "spikes", (ns.Flatten(), whole(ns.Sparse.random(40, 6, 0.3), 20.0))),
        ],
    )
    x = integers(-2, 3, STEPS, SAMPLES, 1, 4, 5)
    result = verify(net, x, timeout=LIMIT)
    assert result.agrees, result.summary()
    assert [node.states_differing for node in result.nodes] == [None, None, 0]
    assert all(node.spikes_lava > 30 for node in result.nodes), result.summary()
    assert {p.process for p in to_lava(net).graph.populations} == {"GradedVec", "GradedReluVec", "LIF"}
    export = to_lava(net)
    right = export.graph.population("up")
    wrong = dataclasses.replace(right, arguments={"vth": np.asarray(700)})
    populations = tuple(wrong if p.name == "up" else p for p in export.graph.populations)
    graph = dataclasses.replace(export.graph, populations=populations)
    found = compare(dataclasses.replace(export, graph=graph), net, x, timeout=LIMIT).first_difference
    assert found is not None
    assert (found.node, found.v_th, found.v_lava) == ("up", 500.0, 0.0)
    assert 500 < found.sent_simulator == found.v_simulator <= 700
    each = ns.Sequential(whole(ns.Linear(2, 2)), ns.layer(cores.graded)(dt=DT, v_th=torch.tensor([1.0, 2.0])))
    with pytest.raises(ExportError, match="v_th=1 to 2; GradedVec has one for a population"):
        to_lava(each)


def test_odd_weights_of_both_signs_are_refused() -> None:
    net = ns.Sequential(ns.Linear(2, 1), loihi_neurons(dt=DT), names=["out"])
    with torch.no_grad():
        net.edges[0].synapses[0].weight.copy_(torch.tensor([[3.0, -2.0]]))
    with pytest.raises(ExportError, match=r"edge 'input->out': weights must be integers, .* or even from -256"):
        to_lava(net)


def test_windows_that_overlap_may_not_add_up_too_much() -> None:
    weights = whole(ns.Linear(9, 2))
    with torch.no_grad():
        weights.weight.fill_(100.0)
    maps = (ns.SumPool2d(2, stride=1), ns.Flatten(), weights)
    with pytest.raises(ExportError, match=r"edge 'input->out': its pool and its weights, .* products up to 400"):
        to_lava(ns.Sequential(ns.Input((1, 4, 4)), *maps, loihi_neurons(dt=DT), names=["out"]))


def test_a_delay_that_the_chip_cannot_hold_is_named() -> None:
    net = ns.Network(
        {"x": ns.Input(3), "a": loihi_neurons(dt=DT)}, [ns.Edge("x", "a", whole(ns.Linear(3, 2)), delay=70e-3)]
    )
    with pytest.raises(ExportError, match="edge 'x->a': would have to wait 70 steps on Lava, which holds up to 63"):
        to_lava(net)


@settings(max_examples=200, deadline=None)
@given(
    bias=st.lists(st.integers(-(4096 << 7), 4095 << 7), min_size=1, max_size=5),
    dv=st.integers(0, UNITY),
    vth=st.integers(0, 131071),
    steps=st.integers(1, 6),
)
def test_from_an_integer_start_the_bias_leads_to_zero(bias: list[int], dv: int, vth: int, steps: int) -> None:
    b = np.array(bias)
    start = integer_start(b, np.full_like(b, dv), np.full_like(b, vth), steps)
    v, fires = np.zeros_like(b) if start is None else start, False
    for _ in range(steps):
        v = np.array([int(math.copysign((abs(int(n)) * (UNITY - dv)) >> 12, int(n))) for n in v]) + b
        fires |= bool(np.any(v > vth << 6))
    if start is not None:
        assert not fires
        assert np.all(v == 0) or dv == UNITY
        assert np.abs(start).max() < 2**23
    elif dv < UNITY:
        # Without a leak it is steps times the bias; a leak asks for more.
        assert np.any(b < 0) or np.abs(b).max() * steps * (UNITY / (UNITY - dv)) ** steps >= 2**23 / 2


def test_samples_in_one_run_are_samples_apart() -> None:
    torch.manual_seed(3)
    net = ns.Sequential(
        ns.Input((1, 6, 5)),
        whole(ns.Conv2d(1, 2, 3, padding=1)),
        loihi_neurons(dt=DT, du=1000, dv=300, v_th=200, bias_mant=integers(-20, 20, 2, 6, 5), bias_exp=3),
        ns.SumPool2d(2),
        ns.Flatten(),
        whole(ns.Linear(12, 9)),
        loihi_neurons(dt=DT, dv=100, v_th=100, bias_mant=-2000, bias_exp=1),
        names=["a", "b"],
    )
    result = verify(net, (torch.rand(20, 7, 1, 6, 5) < 0.3).float(), together=True, timeout=LIMIT)
    assert result.agrees, result.summary()
    assert [node.states_differing for node in result.nodes] == [0, 0]
    assert all(node.spikes_lava > 30 for node in result.nodes)
