"""Modules of torch.nn in `Sequential`, nesting, parts by number and name, and networks inside `nn.Sequential`."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

import neurosim as ns
from neurosim.errors import InputError, NetworkError
from neurosim.network import Stateful
from neurosim.synapses import BatchNorm

DT = 1e-3


def spikes(*shape):
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(0)) < 0.5).double()


def images(norm=True):
    torch.manual_seed(0)
    modules = [nn.Conv2d(2, 4, 3, padding=1), *([nn.BatchNorm2d(4)] if norm else []), nn.Identity()]
    after = [nn.AvgPool2d(2), nn.MaxPool2d(2, 1), nn.Flatten(), nn.Linear(4 * 9, 5)]
    return [m.double() for m in modules], [m.double() for m in after]


@pytest.mark.parametrize("training", [True, False])
def test_modules_of_torch_compute_the_same_step_by_step(training):
    first, after = images()
    net = ns.Sequential(ns.Input((2, 8, 8)), *first, ns.IF(dt=DT, r=0.5), *after, ns.LI(dt=DT)).double().train(training)
    reference = [copy.deepcopy(m).train(training) for m in (*first, *after)]
    x = spikes(6, 3, 2, 8, 8)
    neuron, readout = ns.IF(dt=DT, r=0.5), ns.LI(dt=DT)
    outputs, state, last = [], None, None
    for x_t in x:  # a plain torch loop over steps
        for module in reference[:3]:
            x_t = module(x_t)
        z, state = neuron(x_t[None], state)
        x_t = z[0]
        for module in reference[3:]:
            x_t = module(x_t)
        v, last = readout(x_t[None], last)
        outputs.append(v[0])
    out, _ = net(x)
    torch.testing.assert_close(out, torch.stack(outputs))
    assert out.any()
    out.square().sum().backward()
    torch.stack(outputs).square().sum().backward()
    for module, own in zip((*first, *after), reference, strict=True):
        for p, q in zip(module.parameters(), own.parameters(), strict=True):
            torch.testing.assert_close(p.grad, q.grad)
    norm = net["input->integrate_and_fire1"][1]
    assert isinstance(norm, BatchNorm)
    torch.testing.assert_close(norm.running_mean, reference[1].running_mean)
    torch.testing.assert_close(norm.running_var, reference[1].running_var)


def test_parameters_are_those_of_the_module():
    linear = nn.Linear(6, 4)
    net = ns.Sequential(linear, ns.LIF(dt=DT))
    assert net[0].weight is linear.weight and net[0].bias is linear.bias
    assert [*net.parameters()] == [linear.weight, linear.bias]


@pytest.mark.parametrize(
    "pool", [nn.MaxPool2d(3, 2, padding=1), nn.AvgPool2d(2, divisor_override=1), nn.AvgPool2d((2, 3), stride=(1, 2))]
)
def test_pooling_with_settings_that_a_synapse_has(pool):
    x = spikes(4, 3, 2, 6, 7).sub_(0.5)
    out, _ = ns.Sequential(ns.Input((2, 6, 7)), pool, ns.LI(dt=DT), dt=DT).double()(x)
    current = pool(x.flatten(0, 1)).unflatten(0, (4, 3))
    torch.testing.assert_close(out, ns.LI(dt=DT)(current)[0])


class Own(nn.Linear):
    def forward(self, x):
        return x


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Dropout(0.2), r"part 1 is torch\.nn\.modules\.dropout\.Dropout: .*use ns\.Dropout\(p\)"),
        (nn.ReLU(), r"use neurons, such as ns\.LIF"),
        (nn.LayerNorm(4), r"use neurosim\.synapses\.LayerNorm"),
        (nn.LSTM(4, 4), r"use ns\.Recurrent"),
        (nn.Bilinear(2, 2, 2), r"use a synapse such as ns\.Linear"),
        (Own(4, 4), r"its class is derived from one of torch\.nn"),
        (nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), r"part 1 is .*Linear: its class is derived"),
        (nn.utils.spectral_norm(nn.Linear(4, 4)), r"Linear with a hook"),
        (nn.Conv1d(4, 4, 3, padding="same"), r"padding='same'"),
        (nn.Conv1d(4, 4, 3, padding=1, padding_mode="circular"), r"padding_mode='circular'"),
        (nn.MaxPool2d(2, ceil_mode=True), r"MaxPool2d with padding, dilation, ceil_mode"),
        (nn.AvgPool2d(2, ceil_mode=True), r"ceil_mode"),
        (nn.Flatten(0), r"of dimensions 0 to -1; ns\.Flatten\(\)"),
        (nn.BatchNorm1d(4, momentum=None), r"without a momentum"),
        (nn.BatchNorm1d(4, track_running_stats=False), r"running statistics"),
        (ns.LIF, r"part 1 must be a synapse or neurons.*got"),
        (nn.Linear, r"got the class Linear"),
        (3, r"part 1 must be a synapse or neurons, such as ns\.Linear\(64, 10\).*got int"),
    ],
)
def test_what_has_no_exact_counterpart_is_refused_with_an_alternative(module, message):
    with pytest.raises(NetworkError, match=message):
        ns.Sequential(ns.Linear(4, 4), module, ns.LIF(dt=DT))


def test_chains_are_nested():
    torch.manual_seed(0)
    lif = dict(dt=DT, tau_mem=5e-3, r=8.0)
    front = ns.Sequential(ns.Linear(6, 8), ns.Recurrent(ns.LIF(**lif), ns.Linear(8, 8)))
    back = nn.Sequential(nn.Linear(8, 7), nn.Sequential(ns.LIF(**lif), ns.Linear(7, 3)), ns.LI(dt=DT))
    net = ns.Sequential(front, back)
    parts = [front[0], ns.Recurrent(front[2], front[1]), back[0], back[1][0], back[1][1], back[2]]
    flat = ns.Sequential(*parts)
    x = spikes(20, 3, 6).float()
    assert torch.equal(net(x)[0], flat(x)[0]) and net(x)[0].any()
    assert [edge.name for edge in net.edges] == [edge.name for edge in flat.edges]
    inner = ns.Sequential(ns.Linear(6, 8), front_again := ns.LIF(**lif), ns.Sequential(ns.Linear(8, 3), ns.LI(dt=DT)))
    assert inner[1] is front_again and len(inner) == 4
    branched = ns.Network(
        {"input": ns.Input(6), "a": ns.LIF(dt=DT), "b": ns.LI(dt=DT)},
        [
            ns.Edge("input", "a", ns.Linear(6, 3)),
            ns.Edge("a", "b", ns.Linear(3, 3)),
            ns.Edge("input", "b", ns.Linear(6, 3)),
        ],
    )
    with pytest.raises(NetworkError, match="part 0 is a network that is no chain"):
        ns.Sequential(branched, ns.Linear(3, 2), ns.LI(dt=DT))


def test_parts_by_number_and_name():
    parts = [ns.Linear(6, 8), BatchNorm(8), ns.LIF(dt=DT), ns.Linear(8, 3), ns.LI(dt=DT)]
    net = ns.Sequential(*parts, names=["a", "b"])
    assert len(net) == 5 and list(net) == parts and net[-1] is parts[-1] and net[1:3] == parts[1:3]
    assert net["a"] is parts[2] and list(net["a->b"]) == [parts[3]] and net["input"].shape == (6,) and bool(net)
    for key, error in ((5, IndexError), (-6, IndexError), ("c", InputError)):
        with pytest.raises(error):
            net[key]


def test_a_network_inside_of_nn_sequential():
    torch.manual_seed(0)
    hidden = ns.Sequential(ns.Linear(6, 8), ns.LIF(dt=DT, tau_mem=5e-3, r=8.0))
    model, x = nn.Sequential(Stateful(hidden), nn.Linear(8, 3)), spikes(20, 4, 6).float()
    expected = nn.functional.linear(hidden(x)[0], model[1].weight, model[1].bias)
    assert torch.equal(model(x), expected) and torch.equal(model(x), expected)
    model(x).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    keeping = Stateful(hidden, keep=True)
    parts = torch.cat([keeping(x[:7]), keeping(x[7:])])
    assert torch.equal(parts, hidden(x)[0]) and parts.any()
    keeping.reset()
    assert torch.equal(keeping(x[:7]), parts[:7])
    step = Stateful(hidden[1], keep=True, single_step=True)
    z = torch.stack([step(i_t) for i_t in hidden[0](x)])
    assert torch.equal(z, hidden(x)[0])
    assert pickle.loads(pickle.dumps(step)).state is None and step.state is not None
    with pytest.raises(InputError, match="Stateful needs a network"):
        Stateful(nn.Linear(3, 3))


def test_states_move_and_samples_are_selected():
    net = ns.Network(
        {"input": ns.Input(6), "a": ns.LIF(dt=DT, r=8.0), "out": ns.LI(dt=DT)},
        [ns.Edge("input", "a", ns.Linear(6, 3)), ns.Edge("a", "out", ns.Linear(3, 3), delay=2 * DT)],
    )
    x = spikes(9, 5, 6).float()
    _, state = net(x)
    for index in ([3, 0], torch.tensor([3, 0]), slice(1, 4), torch.tensor([True, False, True, False, False]), 2, -1):
        chosen = [index] if isinstance(index, int) else index
        _, expected = net(x[:, chosen])
        found = state.select(index)
        assert torch.equal(found.nodes["a"].v, expected.nodes["a"].v)
        assert torch.equal(found.in_flight["a"], expected.in_flight["a"])
    double = state.to(torch.float64)
    assert double.nodes["a"].v.dtype == torch.float64 and double.in_flight["a"].dtype == torch.float64
    assert state.to("meta").nodes["a"].v.device.type == "meta"
    assert torch.equal(net.double()(x.double(), double)[0], net(x.double(), state.to(dtype=torch.float64))[0])
