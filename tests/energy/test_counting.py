"""Counts on the actual spikes, against every pair of a spike and a weight counted one by one."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import neurosim as ns
from neurosim.energy import Operations, count_operations
from neurosim.errors import InputError, ShapeError
from neurosim.synapses import RoundedDelays

DT = 1e-3


def spikes(*shape: int, rate: float = 0.3) -> Tensor:
    return (torch.rand(shape) < rate).float()


def prune(synapse: Any, keep: float = 0.6) -> None:
    with torch.no_grad():
        synapse.weight.mul_(torch.rand_like(synapse.weight) < keep)


def pairs_of_linear(z: Tensor, weight: Any) -> int:
    found = 0
    for _, _, j in z.nonzero().tolist():
        for i in range(weight.shape[0]):
            found += bool(weight[i, j] != 0)
    return found


def pairs_of_conv(z: Tensor, conv: Any) -> int:
    """Walk over outputs and kernel as the definition of a convolution does, and look each weight and input up."""
    _, height, width = conv.output_shape(tuple(z.shape[2:]))
    weight, each_in, each_out = conv.weight, conv.c_in // conv.groups, conv.c_out // conv.groups
    found = 0
    for t, b, o, y, x in torch.ones(*z.shape[:2], conv.c_out, height, width).nonzero().tolist():
        first = (o // each_out) * each_in
        for c in range(each_in):
            for ky in range(conv.kernel[0]):
                for kx in range(conv.kernel[1]):
                    row = y * conv.stride[0] - conv.padding[0] + ky * conv.dilation[0]
                    column = x * conv.stride[1] - conv.padding[1] + kx * conv.dilation[1]
                    inside = 0 <= row < z.shape[3] and 0 <= column < z.shape[4]
                    if inside and weight[o, c, ky, kx] != 0 and z[t, b, first + c, row, column] != 0:
                        found += 1
    return found


def test_a_linear_layer_counts_every_pair_of_spike_and_weight() -> None:
    net = ns.Sequential(ns.Linear(11, 6), ns.LIF(dt=DT), names=("out",))
    prune(net.edges[0].synapses[0])
    x = spikes(7, 3, 11)
    counts = count_operations(net, x)
    assert counts.accumulates == pairs_of_linear(x, net.edges[0].synapses[0].weight)
    assert counts.dense == 7 * 3 * 11 * 6
    assert counts.synapses[0].events == x.sum()
    assert counts.synapses[0].addressed == x.sum() * 6


@pytest.mark.parametrize(
    "conv",
    [
        dict(kernel=3, padding=1),
        dict(kernel=3, stride=2, padding=1),
        dict(kernel=2, stride=3),
        dict(kernel=(3, 2), stride=(2, 1), padding=(2, 0), groups=2),
        dict(kernel=3, dilation=2, padding=2),
    ],
    ids=str,
)
def test_a_convolution_counts_every_pair_of_spike_and_weight(conv: dict) -> None:
    net = ns.Sequential(ns.Input((2, 6, 5)), ns.Conv2d(2, 4, **conv), ns.LIF(dt=DT), names=("out",))
    prune(net.edges[0].synapses[0])
    x = spikes(2, 2, 2, 6, 5)
    assert count_operations(net, x).accumulates == pairs_of_conv(x, net.edges[0].synapses[0])
    assert count_operations(net, torch.ones_like(x)).accumulates == pairs_of_conv(
        torch.ones_like(x), net.edges[0].synapses[0]
    )


def test_rate_times_flops_over_counts_at_the_border() -> None:
    net = ns.Sequential(ns.Input((1, 8, 8)), ns.Conv2d(1, 1, 3, padding=1), ns.LIF(dt=DT), names=("out",))
    x = torch.zeros(1, 1, 1, 8, 8)
    x[..., 0, :] = 1
    assert count_operations(net, x).accumulates == 2 * 4 + 6 * 6
    assert 8 * 9 > 2 * 4 + 6 * 6


def test_pooling_adds_once_for_each_event_and_window_and_makes_the_next_input_graded() -> None:
    net = ns.Sequential(
        ns.Input((2, 5, 4)), ns.SumPool2d(2), ns.Conv2d(2, 3, 2), ns.Flatten(), ns.LIF(dt=DT), names=("out",)
    )
    x = spikes(6, 2, 2, 5, 4, rate=0.7)
    counts = count_operations(net, x)
    pool, conv = counts.synapses
    assert [item.name for item in counts.synapses] == ["input->out[0]", "input->out[1]"]
    assert pool.effective == x[..., :4, :].sum(), "the fifth row fills no window"
    assert not pool.multiplies and conv.graded and conv.multiplies
    pooled = net.edges[0].synapses[0](x)
    assert conv.effective == pairs_of_conv(pooled, net.edges[0].synapses[1])
    assert counts.multiply_accumulates == conv.effective and counts.accumulates == pool.effective
    assert counts.neurobench() == {
        "effective_acs": 0.0,
        "effective_macs": conv.effective / 2,
        "dense": conv.dense / 2,
    }


def test_max_pooling_keeps_spikes_binary() -> None:
    net = ns.Sequential(
        ns.Input((1, 4, 4)), ns.MaxPool2d(2), ns.Flatten(), ns.Linear(4, 3), ns.LIF(dt=DT), names=("out",)
    )
    x = spikes(5, 2, 1, 4, 4, rate=0.6)
    pool, linear = count_operations(net, x).synapses
    assert pool.effective == x.sum()
    assert not linear.graded
    assert linear.effective == 3 * net.edges[0].synapses[0](x).sum()


def test_the_example_of_neurobench() -> None:
    net = ns.Sequential(ns.Linear(3, 3), ns.LIF(dt=DT), names=("out",))
    with torch.no_grad():
        net.edges[0].synapses[0].get_parameter("weight").copy_(
            torch.tensor([[1.0, 0.0, 2.0], [0.5, 0.0, 1.0], [3.0, 4.0, 0.0]])
        )
    counts = count_operations(net, torch.tensor([[[1.0, 1.0, 0.0]]]))
    assert counts.neurobench() == {"effective_acs": 4.0, "effective_macs": 0.0, "dense": 9.0}


@pytest.mark.parametrize(("value", "multiplies"), [(1.0, False), (-1.0, False), (0.5, True), (2.0, True)])
def test_one_graded_input_turns_the_layer_into_multiply_accumulates(value: float, multiplies: bool) -> None:
    net = ns.Sequential(ns.Linear(4, 2), ns.LIF(dt=DT), ns.Linear(2, 2), ns.LIF(dt=DT), names=("a", "b"))
    x = spikes(9, 2, 4)
    for step in (0, 8):
        one = x.clone()
        one[step, 1, 2] = value
        counts = count_operations(net, one, chunk=2)
        assert counts.synapses[0].multiplies is multiplies
        assert not counts.synapses[1].multiplies
        plain = count_operations(net, x)
        assert (plain + counts).synapses[0].graded is (counts + plain).synapses[0].graded is multiplies


def test_effective_is_at_most_dense_and_equal_for_ones_everywhere() -> None:
    net = ns.Sequential(ns.Input((2, 6, 6)), ns.Conv2d(2, 3, 3, padding=1), ns.LIF(dt=DT), names=("out",))
    with torch.no_grad():
        net.edges[0].synapses[0].get_parameter("weight").fill_(0.1)
    x = spikes(4, 2, 2, 6, 6)
    assert count_operations(net, x).accumulates < count_operations(net, x).dense
    full = count_operations(net, torch.ones_like(x))
    assert full.accumulates == full.dense


def busy() -> ns.Network:
    """Feed-forward, a loop, a skip with a delay: each kind of edge."""
    net = ns.Network(
        nodes={"input": ns.Input(6), "a": ns.LIF(dt=DT), "b": ns.LIF(dt=DT, reset="subtract"), "out": ns.LI(dt=DT)},
        edges=[
            ns.Edge("input", "a", ns.Linear(6, 5, bias=True)),
            ns.Edge("a", "a", ns.Linear(5, 5)),
            ns.Edge("a", "b", ns.Linear(5, 4), delay=2e-3),
            ns.Edge("b", "out", ns.Linear(4, 3)),
            ns.Edge("input", "out", ns.Linear(6, 3)),
        ],
    )
    with torch.no_grad():
        for synapse in net.synapses.parameters():
            synapse.mul_(12).abs_()
    return net


def test_recurrent_and_delayed_edges_count_the_spikes_that_arrive() -> None:
    net, x = busy(), spikes(9, 2, 6)
    counts = count_operations(net, x)
    out = net.run(x, None, ("a", "b")).recorded
    by_name = {item.name: item for item in counts.synapses}
    assert out["a"][:-2].sum() > 0 and out["b"].sum() > 0
    assert out["a"].sum() > out["a"][:-1].sum() > out["a"][:-2].sum(), "the last steps must matter for this test"
    assert by_name["a->a"].effective == 5 * out["a"][:-1].sum(), "the spikes of the last step are still under way"
    assert by_name["a->b"].effective == 4 * out["a"][:-2].sum()
    assert by_name["b->out"].effective == 3 * out["b"].sum()
    assert by_name["input->out"].effective == 3 * x.sum()


def test_an_edge_whose_synapses_have_delays_too_counts_the_spikes_that_leave_its_own() -> None:
    synapse = RoundedDelays(torch.ones(2, 6), torch.arange(6).repeat(2, 1), dt=DT)
    edges = [ns.Edge("in", "a", synapse, delay=3 * DT), ns.Edge("in", "b", ns.Linear(6, 2), delay=3 * DT)]
    net = ns.Network({"in": ns.Input(6), "a": ns.LIF(dt=DT), "b": ns.LIF(dt=DT)}, edges)
    x = torch.zeros(10, 1, 6)
    x[5:8, 0, 2] = 1.0  # the last leaves the delay after the run
    assert {item.name: item.events for item in count_operations(net, x).synapses} == {"in->a": 2, "in->b": 2}


def test_neurons_spikes_and_resets() -> None:
    net, x = busy(), spikes(9, 2, 6)
    counts = count_operations(net, x)
    out = net.run(x, None, ("a", "b")).recorded
    a, b, reader = counts.nodes
    assert counts.layers == ("a", "b", "out")
    assert (a.updates, b.updates, reader.updates) == (9 * 2 * 5, 9 * 2 * 4, 9 * 2 * 3)
    assert (a.spikes, b.spikes, reader.spikes) == (int(out["a"].sum()), int(out["b"].sum()), 0)
    assert (a.resets, reader.resets, reader.spiking) == (a.spikes, 0, False)
    assert a.messages == 2 * a.spikes, "to itself and to b"
    assert a.states == 1 and a.multiplications >= 2 and a.additions >= 1
    assert counts.spikes_per_neuron == pytest.approx(float(out["a"].sum() + out["b"].sum()) / (9 * 2))
    assert counts.synapses[0].bias_additions == 9 * 2 * 5 and counts.synapses[1].bias_additions == 0


def test_without_a_reset_nothing_is_reset() -> None:
    net = ns.Sequential(ns.Linear(3, 4), ns.LIF(dt=DT, reset=None), names=("out",))
    with torch.no_grad():
        net.edges[0].synapses[0].get_parameter("weight").fill_(20.0)
    (node,) = count_operations(net, torch.ones(5, 1, 3)).nodes
    assert node.spikes == 20 and node.resets == 0


@pytest.mark.parametrize("chunk", [1, 2, 4, 100])
def test_counts_do_not_depend_on_the_chunk(chunk: int) -> None:
    net, x = busy(), spikes(9, 2, 6)
    assert count_operations(net, x, chunk=chunk) == count_operations(net, x)


def test_counts_add_up_over_the_batch() -> None:
    net, x = busy(), spikes(8, 5, 6)
    assert count_operations(net, x[:, :2]) + count_operations(net, x[:, 2:]) == count_operations(net, x)


def test_counts_add_up_over_time() -> None:
    net, x = busy(), spikes(8, 3, 6)
    _, middle = net(x[:3])
    first, second, whole = count_operations(net, x[:3]), count_operations(net, x[3:], middle), count_operations(net, x)
    for a, b, c in zip(first.synapses, second.synapses, whole.synapses, strict=True):
        assert (a.effective + b.effective, a.events + b.events, a.dense + b.dense) == (c.effective, c.events, c.dense)
    for n, m, both in zip(first.nodes, second.nodes, whole.nodes, strict=True):
        assert (n.spikes + m.spikes, n.updates + m.updates) == (both.spikes, both.updates)


def test_without_spikes_only_what_grows_with_time_is_left() -> None:
    net = busy()
    with torch.no_grad():
        net.edges[0].synapses[0].get_parameter("bias").zero_()
    counts = count_operations(net, torch.zeros(7, 2, 6))
    assert (counts.accumulates, counts.multiply_accumulates, counts.spikes) == (0, 0, 0)
    assert all(item.events == item.addressed == 0 for item in counts.synapses)
    assert sum(node.updates for node in counts.nodes) == 7 * 2 * 12
    assert count_operations(net, torch.zeros(14, 2, 6)).nodes[0].updates == 2 * counts.nodes[0].updates


def test_synapses_used_on_two_edges_are_counted_on_each() -> None:
    shared = ns.Linear(4, 3)
    net = ns.Network(
        nodes={"input": ns.Input(4), "a": ns.LIF(dt=DT), "b": ns.LIF(dt=DT)},
        edges=[ns.Edge("input", "a", shared), ns.Edge("input", "b", shared)],
    )
    x = spikes(5, 1, 4)
    assert [item.effective for item in count_operations(net, x).synapses] == [3 * x.sum(), 3 * x.sum()]


def test_two_inputs_are_given_by_name() -> None:
    net = ns.Network(
        nodes={"left": ns.Input(2), "right": ns.Input(3), "out": ns.LIF(dt=DT)},
        edges=[ns.Edge("left", "out", ns.Linear(2, 4)), ns.Edge("right", "out", ns.Linear(3, 4))],
    )
    left, right = spikes(4, 2, 2), spikes(4, 2, 3)
    counts = count_operations(net, {"left": left, "right": right}, chunk=3)
    assert [item.effective for item in counts.synapses] == [4 * left.sum(), 4 * right.sum()]


def test_the_network_is_left_as_it_was() -> None:
    net, x = busy(), spikes(4, 1, 6)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    count_operations(net, x)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_counts_of_different_runs_do_not_add() -> None:
    net = busy()
    short, long = count_operations(net, spikes(3, 1, 6)), count_operations(net, spikes(4, 1, 6))
    with pytest.raises(InputError, match=r"3 steps of 0.001 s and 4 steps .* do not add"):
        _ = short + long
    other = count_operations(ns.Sequential(ns.Linear(6, 2), ns.LIF(dt=DT)), spikes(3, 1, 6))
    with pytest.raises(InputError, match="counts of different networks do not add"):
        _ = short + other


def test_bad_input_is_refused() -> None:
    net = busy()
    with pytest.raises(InputError, match="x for 'input' holds NaN or infinite values"):
        count_operations(net, torch.full((3, 1, 6), math.nan))
    with pytest.raises(InputError, match=r"at least one step and sample; got \[0, 1, 6\]"):
        count_operations(net, torch.zeros(0, 1, 6))
    with pytest.raises(InputError, match="got list"):
        count_operations(net, [1.0])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="chunk must be at least 1; got 0"):
        count_operations(net, torch.zeros(3, 1, 6), chunk=0)
    with pytest.raises(ShapeError, match=r"\[T, B, 6\]"):
        count_operations(net, torch.zeros(3, 1, 5))
    with pytest.raises(InputError, match="at least one step and one sample, found 0 and 1"):
        Operations((), (), 0, 1, DT)
