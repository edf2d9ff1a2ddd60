"""Networks of integers as data: ranges hold what is computed, and what is no integer is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import neurosim as ns
from neurosim.compiler.integers.nodes import Graph
from neurosim.compiler.integers.ranges import Range, Ranges, truncated
from neurosim.errors import ExportError, InputError
from neurosim.hardware.integers import integer_network, simulated, spikes_of
from neurosim.hardware.integers.operations import operations
from neurosim.hardware.loihi import loihi_neurons
from neurosim.network.layers import layer
from tests.hardware.integers.cases import DT, NETWORKS, data, dense, linear, pooled, spikes

Make = Callable[[], ns.Network]


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_no_state_or_output_leaves_its_range(make: Make) -> None:
    net = make()
    integers = integer_network(net, target="C")
    traces = simulated(net, integers, data(net))
    active = 0
    for name, population in integers.populations.items():
        low, high = population.step.output_range
        outputs = traces.outputs[name]
        assert low <= outputs.min() and outputs.max() <= high
        active += int(np.count_nonzero(outputs))
        for state, values in traces.states[name].items():
            held = population.step.state_ranges[state]
            assert held.low <= values.min() and values.max() <= held.high
    assert active


@settings(max_examples=200, deadline=None)
@given(
    bounds=st.tuples(st.integers(-900, 900), st.integers(-900, 900)),
    offset=st.integers(0, 1800),
    exponent=st.integers(1, 8),
    limit=st.integers(-900, 900),
)
def test_ranges_hold_every_value(bounds: tuple[int, int], offset: int, exponent: int, limit: int) -> None:
    low, high = min(bounds), max(bounds)
    x, half = min(low + offset, high), 1 << (exponent - 1)
    graph = Graph()
    i, edge = graph.make("input", payload="i"), graph.constant(limit)
    scaled = graph.make("mul", i, graph.constant(-3))
    turned = graph.make("floor", graph.make("add", i, graph.constant(half)), payload=exponent)
    expected = {
        graph.make("quotient", scaled, payload=exponent): truncated(-3 * x, exponent),
        graph.make("floor", scaled, payload=exponent): math.floor(-3 * x / 2**exponent),
        graph.make("remainder", scaled, payload=exponent): -3 * x - (truncated(-3 * x, exponent) << exponent),
        graph.make("abs", i): abs(x),
        graph.make("over", scaled, graph.constant(7)): -3 * x // 7,
        graph.make("sub", i, graph.scaled(turned, exponent)): (x + half) % (2 * half) - half,
    }
    comparisons = {"gt": x > limit, "ge": x >= limit, "lt": x < limit, "le": x <= limit, "eq": x == limit}
    for op, holds in comparisons.items():
        chosen = graph.make("select", graph.make(op, i, edge), graph.make("sub", i, edge), scaled)
        expected[chosen] = x - limit if holds else -3 * x
    ranges = Ranges({("input", "i"): Range(low, high)})
    for node, value in expected.items():
        assert ranges(node).low <= value <= ranges(node).high, node


def test_a_decided_choice_and_a_wrap_that_never_happens_are_not_computed() -> None:
    step = integer_network(dense(), target="C").populations["out"].step
    computed = {node.op for node in step.order}
    assert computed <= {"constant", "input", "state", "add", "mul", "quotient", "remainder", "gt", "select"}


def test_even_weights_are_stored_as_half() -> None:
    net = NETWORKS["even_weights"]()
    (projection,) = integer_network(net, target="C").projections.values()
    assert projection.factor == 2 and np.abs(projection.weight).max() <= 128
    weight: Any = net.edges[0].synapses[0].weight
    assert np.array_equal(projection.weight * projection.factor, weight.detach().numpy())


def test_operations_of_synapses_are_those_of_the_spikes() -> None:
    net, x = dense(), spikes(12)
    integers = integer_network(net, target="C")
    counted = operations(integers, spikes_of(integers, x), simulated(net, integers, x))
    assert counted.synapses == pytest.approx(9 * float(x.sum()) / (x.shape[0] * x.shape[1]))
    pool = pooled()
    integers, x = integer_network(pool, target="C"), data(pool)
    counted = operations(integers, spikes_of(integers, x), simulated(pool, integers, x))
    assert counted.synapses == pytest.approx(9 * float(x[:, :, :, :6].sum()) / (x.shape[0] * x.shape[1]))


def _refused(net: ns.Network) -> str:
    with pytest.raises(ExportError) as found:
        integer_network(net, target="C")
    return str(found.value)


def test_what_is_no_integer_is_refused_by_name() -> None:
    real = ns.Sequential(ns.Linear(4, 2), ns.LIF(dt=DT), names=["out"])
    message = _refused(real)
    assert "node 'out': its model is 'lif', which does not compute in integers" in message
    assert "edge 'input->out': has a weight of" in message and "quantise the network" in message
    synapse: Any = ns.Linear(4, 2, bias=True)
    with torch.no_grad():
        synapse.weight.zero_()
        synapse.bias.fill_(3.0)
    biased = ns.Sequential(synapse, loihi_neurons(dt=DT), names=["out"])
    assert "edge 'input->out': has a bias" in _refused(biased)
    nodes = {"in": ns.Input((1, 4, 4)), "out": loihi_neurons(dt=DT, size=2)}
    chain = [ns.MaxPool2d(2), ns.Flatten(), linear(4, 2)]
    message = _refused(ns.Network(nodes, [ns.Edge("in", "out", chain)]))
    assert "edge 'in->out': holds MaxPool2d, Flatten, Linear; it can hold Flatten" in message


def test_a_membrane_that_is_sent_on_is_refused() -> None:
    nodes = {"in": ns.Input(4), "v": loihi_neurons(dt=DT, v_th=None, size=4), "out": loihi_neurons(dt=DT, size=2)}
    edges = [ns.Edge("in", "v", linear(4, 4)), ns.Edge("v", "out", linear(4, 2))]
    assert "node 'v': sends its membrane" in _refused(ns.Network(nodes, edges))


def test_a_core_of_integers_that_computes_others_is_refused() -> None:
    @ns.core(parameters=dict(v_th=1.0), state=("v",), integers_up_to=2.0**17)
    def leaky(i: Any, v: Any, *, v_th: Any, spike: Any, reset: Any) -> tuple[Any, ...]:
        u = v * 0.9 + i
        z = spike(u - v_th)
        return z, reset(u, z, to=0.0, by=v_th)

    message = _refused(ns.Sequential(linear(4, 2), layer(leaky)(dt=DT, size=2), names=["out"]))
    assert "core leaky: it computes with mul(v, 0.9), which is no integer" in message


def test_an_integrator_that_no_bits_hold_is_refused() -> None:
    @ns.core(state=("v",), integers_up_to=2.0**17)
    def endless(i: Any, v: Any) -> tuple[Any, ...]:
        u = v + i
        return u, u

    message = _refused(ns.Sequential(linear(4, 2), layer(endless)(dt=DT, size=2), names=["out"]))
    assert "core endless: the state v could reach" in message and "a core that clips its state" in message


@pytest.mark.parametrize("wrong", [(1, 2), (0, 0), (0.0, 1.0), (0, 2**40), (0,), None, (False, True)])
def test_a_wrong_range_of_inputs_is_refused(wrong: Any) -> None:
    with pytest.raises(InputError, match="input_range must be two integers"):
        integer_network(dense(), target="C", input_range=wrong)


def test_data_outside_the_range_are_refused() -> None:
    integers = integer_network(dense(), target="C")
    for value in (2.0, -1.0, 0.5, float("nan")):
        with pytest.raises(InputError, match="must hold integers from 0 to 1"):
            spikes_of(integers, torch.full((3, 1, 12), value))
    with pytest.raises(InputError, match=r"must be \[T, B, 12\]"):
        spikes_of(integers, torch.zeros(3, 1, 11))
    for steps, samples in ((0, 1), (3, 0)):
        with pytest.raises(InputError, match=r"\[T, B, 12\] with T and B from 1; got"):
            spikes_of(integers, torch.zeros(steps, samples, 12))
    with pytest.raises(InputError, match=r"x for 'in\w*' must be a tensor; got NoneType"):
        spikes_of(integers, None)  # type: ignore[arg-type]


def test_data_of_any_type_are_those_of_the_tensor() -> None:
    net = dense()
    integers, x = integer_network(net, target="C"), data(net)
    expected = simulated(net, integers, x)
    for each in (x.bool(), x.int(), x.numpy(), x.transpose(0, 1).contiguous().transpose(0, 1)):
        found = simulated(net, integers, each)  # type: ignore[arg-type]
        assert not any(any(counts.values()) for counts in expected.differing(found).values())
