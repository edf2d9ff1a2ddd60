"""A row of layers in one call gives the bits of the layers one by one."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

import neurosim as ns
from neurosim.errors import InputError
from neurosim.kernels.common import policy
from neurosim.kernels.common.buffers import BufferPool
from neurosim.kernels.row import cpu
from neurosim.network import fused_row
from neurosim.network.fused_row import FusedRow
from neurosim.network.preference import STRATEGIES

DT = 1e-3
LAYERED = tuple(strategy for strategy in STRATEGIES if not isinstance(strategy, FusedRow))


def neurons(kind="lif", spike=None, **choices):
    make = {"lif": ns.LIF, "cuba": ns.CubaLIF, "alif": ns.ALIF, "li": ns.LI, "if": ns.IF}[kind]
    return make(dt=DT, **({} if kind == "li" else {"spike": spike or ns.atan(2.0)}), **choices)


def row(sizes=(70, 64, 33, 5), kind="lif", last=None, loops=(), bias=False, scale=110.0, **choices):
    torch.manual_seed(3)
    parts = []
    for number, (n_in, n) in enumerate(itertools.pairwise(sizes)):
        is_last = number == len(sizes) - 2
        made = neurons(last or kind) if is_last else neurons(kind, size=n, **choices)
        parts += [ns.Linear(n_in, n, bias=bias), ns.Recurrent(made, ns.Linear(n, n)) if number in loops else made]
    net = ns.Sequential(*parts)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if "weight" in name and parameter.dim() == 2:
                parameter *= scale / (20.0 if parameter.shape[0] == parameter.shape[1] else 1.0)
    return net


def spikes(steps=23, batch=7, n=70, rate=0.08, dtype=torch.float32):
    return (torch.rand(steps, batch, n, generator=torch.Generator().manual_seed(1)) < rate).to(dtype)


class Counted(FusedRow):
    """The strategy, and of how many layers the rows are that it has run in one call."""

    def __init__(self):
        self.rows = []

    def run(self, context, component):
        before = len(context.finished)
        super().run(context, component)
        if len(context.finished) > before:
            self.rows.append(len(context.finished) - before)


def values(state) -> list[Tensor]:
    return [v for each in state.nodes.values() for v in each] + list(state.in_flight.values())


def training(net, x, strategies, state=None, of_states=True):
    """Return output, final state and all gradients of a loss that reads all of them."""
    net.strategies = strategies
    net.zero_grad()
    x = x.clone().requires_grad_()
    starts = [] if state is None else [v.requires_grad_() for v in values(state)]
    z, after = net(x, state)
    generator = torch.Generator().manual_seed(2)
    loss = torch.zeros((), dtype=x.dtype)
    for result in (z, *(values(after) if of_states else ())):
        loss = loss + (result * torch.randn(result.shape, generator=generator, dtype=x.dtype)).sum()
    found = [x, *net.parameters(), *starts]
    return [z, *values(after), *torch.autograd.grad(loss, found, allow_unused=True)]


def assert_same(found, wanted):
    assert len(found) == len(wanted)
    for number, (a, b) in enumerate(zip(found, wanted, strict=True)):
        assert (a is None and b is None) or torch.equal(a, b), number


NETS = {
    "chain": {},
    "bias": dict(bias=True),
    "wide": dict(sizes=(70, 128, 130, 120)),
    "long sums": dict(sizes=(70, 300, 270, 40), scale=200.0),
    "loop": dict(loops=(0,)),
    "loops of other widths": dict(sizes=(70, 33, 64, 5), loops=(0, 1)),
    "loop at the end": dict(loops=(2,)),
    "readout": dict(last="li"),
    "triangle": dict(sizes=(70, 128, 130, 120), spike=ns.triangle(1.0)),
    "triangle and loop": dict(loops=(0,), spike=ns.triangle(1.0)),
    "cuba": dict(kind="cuba"),
    "cuba and loop": dict(kind="cuba", loops=(1,), scale=60.0),
    "alif": dict(kind="alif"),
    "if": dict(kind="if", scale=8.0),
    "learned": dict(learn=("tau_mem",), loops=(0,)),
    "subtract": dict(reset="subtract"),
}


@pytest.mark.parametrize("threads", [1, 2, 8])
@pytest.mark.parametrize("name", NETS)
def test_a_row_has_the_bits_of_its_layers(name, threads):
    net, x = row(**NETS[name]), spikes()
    counted = Counted()
    with policy.forced(threads=threads):
        found, wanted = (training(net, x, s) for s in ((counted, *LAYERED), LAYERED))
    assert counted.rows == [len(net.populations())]
    assert wanted[0].abs().mean() > 0.0 and wanted[-1].abs().max() > 0.0
    assert_same(found, wanted)


@pytest.mark.parametrize("name", ["chain", "loops of other widths", "cuba", "readout"])
def test_without_gradients_and_in_chunks(name):
    net, x = row(**NETS[name]), spikes()
    with torch.no_grad():
        net.strategies = LAYERED
        wanted, after = net(x)
        for strategies, length in ((STRATEGIES, 23), (STRATEGIES, 5), (STRATEGIES, 2), (LAYERED, 5)):
            net.strategies, state, parts = strategies, None, []
            for begin in range(0, 23, length):
                z, state = net(x[begin : begin + length], state)
                parts.append(z)
            if 23 % length != 1:  # a single step is a dense product
                assert_same([torch.cat(parts), *values(state)], [wanted, *values(after)])


def test_double_precision_from_a_state_that_needs_its_gradient():
    net = row(loops=(0,), sizes=(70, 33, 5)).double()
    x = spikes(dtype=torch.float64)
    with torch.no_grad():
        _, state = net(x)
    found, wanted = (training(net, x, s, state.detach()) for s in (STRATEGIES, LAYERED))
    assert_same(found, wanted)


def test_only_some_parameters_learn():
    net, x = row(), spikes()
    for parameter in net.edges[0].synapses[0].parameters():
        parameter.requires_grad_(False)
    results = []
    for strategies in (STRATEGIES, LAYERED):
        net.strategies = strategies
        net.zero_grad()
        net(x)[0].square().sum().backward()
        results.append([net.get_parameter(n).grad for n, p in net.named_parameters() if p.requires_grad])
    assert_same(*results)


def test_spatial_learning_alone():
    net, x = row(), spikes()
    results = []
    for strategies in (STRATEGIES, LAYERED):
        net.strategies = strategies
        results.append(torch.autograd.grad(net(x, through_time=False)[0].sum(), [*net.parameters()]))
    assert_same(*results)


def test_behind_another_component_it_takes_bits_and_mask():
    torch.manual_seed(0)
    spike = ns.triangle(1.0)
    parts = [ns.Input((2, 6, 6)), ns.Conv2d(2, 4, 3), neurons("if", spike), ns.Flatten(), ns.Linear(64, 120)]
    net = ns.Sequential(*parts, neurons("if", spike), ns.Linear(120, 5), neurons("if", spike))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter *= 3.0
    x = spikes(n=72).unflatten(2, (2, 6, 6))
    found, wanted = (training(net, x, s, of_states=False) for s in (STRATEGIES, LAYERED))
    assert_same(found, wanted)


@pytest.mark.parametrize(("rate", "factor"), [(0.5, 1.0), (0.08, 0.5)], ids=["dense", "graded"])
def test_what_is_not_event_driven_runs_layer_by_layer(rate, factor):
    net, x, counted = row(), factor * spikes(rate=rate), Counted()
    for _ in range(3):
        found, wanted = (training(net, x, s) for s in ((counted, *LAYERED), LAYERED))
        assert_same(found, wanted)
    assert counted.rows == [2] * 3  # those behind it


def test_a_dense_hidden_layer_too():
    net, x, counted = row(scale=900.0), spikes(), Counted()
    net.edges[1].synapses[0].weight.data.abs_()
    found, wanted = (training(net, x, s) for s in ((counted, *LAYERED), LAYERED))
    assert_same(found, wanted)
    assert not counted.rows


def test_half_precision_runs_layer_by_layer():
    net, x, counted = row(loops=(0,)).bfloat16(), spikes(dtype=torch.bfloat16), Counted()
    results = []
    for strategies in ((counted, *LAYERED), LAYERED):
        net.strategies = strategies
        z, after = net(x)
        results.append([z, *values(after)])
    assert_same(*results)
    assert not counted.rows


def test_nothing_is_read_before_it_is_written(monkeypatch):
    def poisoned(self, shape, dtype):
        values = torch.empty(tuple(shape), dtype=dtype)
        values.view(-1).view(torch.uint8).fill_(0xFF)  # NaN
        return values

    net, x = row(loops=(0,), spike=ns.triangle(1.0), sizes=(70, 33, 120, 5)), spikes()
    wanted = training(net, x, LAYERED)
    monkeypatch.setattr(BufferPool, "empty", poisoned)
    assert_same(training(net, x, STRATEGIES), wanted)


def test_the_backward_pass_may_run_twice_and_no_gradient_of_it_is_given():
    net, x = row(), spikes()
    parameters = [*net.parameters()]
    loss = net(x)[0].sum()
    assert_same(*(torch.autograd.grad(loss, parameters, retain_graph=True) for _ in range(2)))
    first = torch.autograd.grad(loss, parameters, create_graph=True)
    with pytest.raises(InputError, match="gradient of a gradient"):
        first[0].sum().backward()


def test_another_value_prepares_nothing_new():
    net, x = row(), spikes()
    net(x)[0].sum().backward()
    before = cpu.prepare.cache_info().misses
    with torch.no_grad():
        net.edges[0].synapses[0].weight.mul_(0.9)
    net(x)[0].sum().backward()
    assert cpu.prepare.cache_info().misses == before


@pytest.mark.parametrize("loops", [(), (0, 1)], ids=["chain", "loops"])
def test_layers_behind_the_last_result_that_is_read_get_no_gradient(loops):
    net, x = row(loops=loops), spikes()
    with torch.no_grad():
        net.edges[-1].synapses[0].weight[0, 0] = torch.nan  # 0 times which would reach the layers before it
    results = []
    for strategies in (STRATEGIES, LAYERED):
        net.strategies = strategies
        _, after = net(x)
        hidden = [value for value in values(after) if value.shape[-1] == 33]
        parameters = [*net.parameters()]
        results.append(torch.autograd.grad(sum(v.square().sum() for v in hidden), parameters, allow_unused=True))
    assert_same(*results)
    assert results[0][-1] is None and not any(g.isnan().any() for g in results[0] if g is not None)


@pytest.mark.parametrize("loops", [(), (0,)], ids=["chain", "loop"])
def test_a_result_of_a_layer_without_gradient_needs_none(loops):
    net, x = row(loops=loops), spikes()
    for parameter in (
        p for edge in net.edges if edge.target == net.edges[0].target for p in edge.synapses[0].parameters()
    ):
        parameter.requires_grad_(False)
    found = []
    for strategies in (STRATEGIES, LAYERED):
        net.strategies = strategies
        z, after = net(x)
        found.append([each.requires_grad for each in (z, *values(after))])
    assert found[0] == found[1]
    assert not all(found[0])


def test_a_method_set_on_a_synapse_runs():
    net, x = row(), spikes()
    plain = net(x)[0]
    for number, name in enumerate(("forward", "apply_step")):
        synapse = net.edges[number].synapses[0]
        method = getattr(synapse, name)
        setattr(synapse, name, lambda x, method=method: 0.0 * method(x))
        assert not net(x)[0].any(), name
        delattr(synapse, name)
    assert plain.any()
    assert torch.equal(net(x)[0], plain)


def test_tangents_are_refused_without_gradients_too():
    net, x = row().requires_grad_(False), spikes()
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
        for steps in (1, len(x)):
            with pytest.raises(NotImplementedError, match="jvp"):
                net(dual[:steps])
            with torch.no_grad(), pytest.raises(NotImplementedError, match="jvp"):
                net(dual[:steps])


@pytest.mark.parametrize("steps", [1, 23])
@pytest.mark.parametrize("strategies", [STRATEGIES, LAYERED], ids=["row", "layers"])
def test_weights_on_another_device_are_named(strategies, steps):
    net, x = row(), spikes()[:steps]
    net.strategies = strategies
    with torch.no_grad():
        _, state = net(x)
        net(x, state)
        net.edges[1].synapses[0].to("meta")
        with pytest.raises(InputError, match=r"are on cpu and on meta"):
            net(x, state)
        with pytest.raises(InputError, match=r"x for 'input' is on cpu, the weights of the network are on meta"):
            net.to("meta")(x, state)


@pytest.mark.parametrize("sizes", [(70, 20, 5), (20, 70, 5)], ids=["the input", "a hidden layer"])
def test_more_values_than_events_are_numbered_with_run_layer_by_layer(monkeypatch, sizes):
    monkeypatch.setattr(fused_row, "_MOST", 23 * 7 * 70)
    monkeypatch.setattr(cpu.Prepared, "forward", lambda *_: pytest.fail("the row ran"))
    row(sizes)(spikes(n=sizes[0]))
