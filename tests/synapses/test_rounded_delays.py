"""Rounded delays against a sum written out, and as edges of networks."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import nn

import neurosim as ns
from neurosim.errors import ExportError, InputError
from neurosim.synapses import RoundedDelays
from tests.synapses.delays import DT, D, layer, spikes, written_out


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_events_give_the_bits_of_the_sum_in_order(dtype):
    made = layer(7, 5, memory=6).to(dtype).eval()
    x = spikes(30, 3, 7, 0.3).to(dtype)
    wanted = written_out(x, made.weight.detach(), made.delay_steps())
    with torch.no_grad():
        assert torch.equal(made.rounded()(x)[0], wanted)
        torch.testing.assert_close(made(x)[0], wanted)
    torch.testing.assert_close(made(x)[0].detach(), wanted)  # with gradient, by convolution


def test_events_and_the_dense_sum_are_equal_where_sums_are_exact():
    made = layer(70, 33).eval()
    with torch.no_grad():
        made.weight.copy_((made.weight * 256).round() / 256)
    x = spikes(64, 5, 70, 0.05)
    dense = made(x)[0].detach()  # a gradient is asked for: by convolution
    with torch.no_grad():
        assert torch.equal(made(x)[0], dense) and torch.equal(made.rounded()(x)[0], dense)
    assert dense.abs().sum() > 0


@pytest.mark.parametrize("threads", [1, 2])
def test_a_run_cut_anywhere_gives_the_same_bits(threads):
    made = layer(70, 40).rounded()
    x = spikes(40, 24, 70, 0.2)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        whole, end = made(x)
        for cuts in ([17, 23], [1] * 40, [0, 3, 0, 37], [30, 10]):
            state, parts = None, []
            for part in x.split(cuts):
                current, state = made(part, state)
                parts.append(current)
            assert torch.equal(torch.cat(parts), whole) and torch.equal(state, end)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("training", [True, False])
def test_a_learning_layer_cut_in_two_gives_the_same_currents_and_gradients(training):
    made = layer(6, 4).train(training)
    x = spikes(40, 2, 6, 0.3).requires_grad_()
    whole, _ = made(x)
    first, state = made(x[:13])
    second, _ = made(x[13:], state)
    torch.testing.assert_close(torch.cat((first, second)), whole)
    g = torch.randn_like(whole)
    wanted = torch.autograd.grad(whole, (x, made.weight), g)
    torch.testing.assert_close(torch.autograd.grad(torch.cat((first, second)), (x, made.weight), g), wanted)


def test_graded_input_and_crowded_spikes_go_through_the_convolution_to_the_same_currents():
    made = layer(6, 4, memory=3).eval()
    for x in (torch.randn(20, 2, 6, dtype=torch.float64), spikes(20, 2, 6, 0.9)):
        wanted = written_out(x, made.weight.detach(), made.delay_steps())
        with torch.no_grad():
            torch.testing.assert_close(made(x)[0], wanted)
            torch.testing.assert_close(made.rounded()(x)[0], wanted)


def test_empty_runs():
    made = layer(3, 2)
    state = spikes(D, 2, 3)
    for each in (made, copy.deepcopy(made).eval(), made.rounded()):
        with torch.no_grad():
            current, after = each(torch.zeros(0, 2, 3, dtype=torch.float64), state)
            assert current.shape == (0, 2, 2) and torch.equal(after, state)
            assert each(torch.zeros(4, 0, 3, dtype=torch.float64))[0].shape == (4, 0, 2)


def test_rounded_lists_follow_a_change_of_weights_and_of_precision():
    made = layer(4, 3).rounded()
    x = spikes(40, 2, 4)
    once = made(x)[0]
    made.weight.mul_(2.0)
    assert torch.equal(made(x)[0], 2.0 * once)
    assert made.float()(x.float())[0].dtype == torch.float32
    other = layer(4, 3, seed=5).rounded()
    made.double().load_state_dict(other.state_dict())
    assert torch.equal(made(x)[0], other(x)[0])


def test_the_norm_behind_the_synapses_becomes_part_of_them():
    made = layer(5, 4, bias=True).eval()
    norm = nn.BatchNorm1d(4).double()
    norm.train()(3.0 + 2.0 * torch.randn(50, 4, dtype=torch.float64))
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2.0)
        norm.bias.uniform_(-1.0, 1.0)
        made.bias.uniform_(-1.0, 1.0)
        x = spikes(30, 2, 5)
        wanted = norm.eval()(made(x)[0].flatten(0, 1)).view(30, 2, 4)
        torch.testing.assert_close(made.rounded(norm)(x)[0], wanted)
    with pytest.raises(InputError, match="running statistics of 4 neurons"):
        made.rounded(nn.BatchNorm1d(3))


def unrolled(rounded: RoundedDelays, v_th: float = 1.0, **choices: Any) -> ns.Network:
    """A network whose edges are the synapses of each delay."""
    edges = [
        ns.Edge("input", "a", synapse, delay=delay, name=f"input->a after {round(delay / DT)} steps")
        for delay, synapse in rounded.by_delay()
    ]
    nodes = {"input": ns.Input(rounded.n_in), "a": ns.LIF(dt=DT, tau_mem=5e-3, v_th=v_th, **choices)}
    return ns.Network(nodes, edges).to(rounded.weight)


def test_edges_of_each_delay_are_the_same_network():
    made = layer(8, 5)
    with torch.no_grad():
        made.weight.copy_((made.weight * 256).round() / 256)
    rounded = made.rounded()
    maps = rounded.by_delay()
    assert [round(delay / DT) for delay, _ in maps] == rounded.delay.unique().tolist()
    x = spikes(80, 3, 8, 0.2)
    net = unrolled(rounded, 0.1)
    wanted, _ = net.nodes["a"](rounded(x)[0])
    assert torch.equal(net(x)[0], wanted) and wanted.sum() > 50
    first, state = net(x[:33])
    assert torch.equal(torch.cat((first, net(x[33:], state)[0])), wanted)


def test_the_bias_goes_with_the_first_edge_only():
    maps = layer(3, 2, bias=True).rounded().by_delay()
    assert [synapse.bias is not None for _, synapse in maps] == [True] + [False] * (len(maps) - 1)


def test_lava_is_given_a_delayed_connection_for_each_delay():
    from neurosim.hardware.lava import to_lava

    rounded = layer(8, 5).rounded()
    graph = to_lava(unrolled(rounded, 0.1)).graph
    assert sorted(dense.delay for dense in graph.dense) == rounded.delay.unique().tolist()
    gain = 1.0 - math.exp(-DT / 5e-3)
    for dense in graph.dense:
        wanted = gain * rounded.weight * (rounded.delay == dense.delay)
        torch.testing.assert_close(torch.as_tensor(dense.weight), wanted)
    with pytest.raises(ExportError, match="node 'a': reset='subtract'"):
        to_lava(unrolled(rounded, reset="subtract"))


def test_lava_fires_the_same_spikes():
    pytest.importorskip("lava.magma")
    from neurosim.hardware.lava import verify

    compared = verify(unrolled(layer(8, 5).rounded(), 0.1), spikes(40, 1, 8, 0.3))
    assert compared.spikes > 10 and compared.spikes_differing == 0


def test_lava_refuses_delays_between_steps_by_name_and_says_what_to_do():
    from neurosim.hardware.lava import to_lava

    net = ns.Network({"in": ns.Input(3), "a": ns.LIF(dt=DT)}, [ns.Edge("in", "a", layer(3, 2))])
    with pytest.raises(ExportError, match=r"edge 'in->a': holds DelayedLinear, .*round them with rounded\(\)"):
        to_lava(net)


def test_compiled_in_one_graph():
    rounded, x = layer(4, 3).rounded(), spikes(40, 2, 4)
    net = ns.Network({"in": ns.Input(4), "a": ns.LIF(dt=DT)}, [ns.Edge("in", "a", rounded)])
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x)[0], net(x)[0])
