"""Populations with several input ports: what feeds them, alone and in a network, with and without loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim import cores, language
from neurosim.errors import InputError, NetworkError, ShapeError
from neurosim.network import fold
from neurosim.synapses import BatchNorm
from neurosim.synapses.traced import Traces
from tests.user_cores import coba

PRECISIONS = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
make = ns.layer(coba)


def conductances(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {port: torch.rand(shape, generator=draw, dtype=dtype) ** 4 * 0.4 for port in ("ge", "gi")}


class TestLayer:
    @PRECISIONS
    @pytest.mark.parametrize("learn", [(), ("tau_mem", "e_exc", "e_inh")], ids=str)
    @pytest.mark.parametrize("through_time", [True, False])
    def test_the_kernel_has_the_bits_of_the_definition(self, dtype, learn, through_time):
        layer = make(dt=1e-3, size=(3, 5), learn=learn, detach_reset=False).to(dtype)
        given = conductances(50, 4, 3, 5, dtype=dtype)

        def values(run: Any) -> list[torch.Tensor]:
            i = {port: x.clone().requires_grad_() for port, x in given.items()}
            start = [torch.full((4, 3, 5), 0.1, dtype=dtype, requires_grad=True) for _ in layer.core.state]
            z, *after = run(i, start)
            time = torch.linspace(0.5, 1.5, 50, dtype=dtype)[:, None, None, None]
            loss = (z * time).sum() + sum(s.square().sum() for s in after)
            leaves = [*i.values(), *start, *layer.parameters()]
            grads = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
            return [x.detach() for x in (z, *after, *grads)]

        def fused(i: Any, start: Any) -> Any:
            z, state = layer(i, start, through_time=through_time)
            return z, *state

        def defined(i: Any, start: Any) -> Any:
            result = layer.run_reference(i, start, through_time=through_time)
            return result.out, *result.state

        found, expected = values(fused), values(defined)
        exact = len(found) - len(learn)  # a parameter's gradient is a sum over time
        assert all(map(torch.equal, found[:exact], expected[:exact])) and 0 < found[0].mean() < 0.5
        for a, b in zip(found[exact:], expected[exact:], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4 if dtype is torch.float32 else 1e-10, atol=1e-6)

    def test_gradients_of_both_ports_are_those_of_finite_differences(self):
        layer = make(dt=1e-3, spike=language.smooth(4.0), detach_reset=False)
        i = conductances(12, 2, 3, dtype=torch.float64)

        def run(ge: torch.Tensor, gi: torch.Tensor) -> tuple[torch.Tensor, ...]:
            z, state = layer({"ge": ge, "gi": gi})
            return z, *state

        assert torch.autograd.gradcheck(run, [x.requires_grad_() for x in i.values()])

    def test_a_run_in_two_parts_is_the_run_in_one(self):
        layer, i = make(dt=1e-3), conductances(60, 2, 7)
        z, state = layer(i)
        for cut in (1, 17, 59):
            first, between = layer({port: x[:cut] for port, x in i.items()})
            second, after = layer({port: x[cut:] for port, x in i.items()}, between)
            assert torch.equal(torch.cat((first, second)), z) and all(map(torch.equal, after, state))

    def test_an_unfed_port_has_the_value_that_the_core_declares(self):
        layer, i = make(dt=1e-3), conductances(60, 2, 7)
        z, state = layer({"ge": i["ge"]})
        zeros = layer({"ge": i["ge"], "gi": torch.zeros_like(i["gi"])})
        assert torch.equal(z, zeros[0]) and all(map(torch.equal, state, zeros[1])) and z.any()
        assert torch.equal(z, layer.run_reference({"ge": i["ge"]}).out)

        @ns.core(inputs={"i": None, "gain": 2.0})
        def gained(i, gain, v):
            return v + gain * i, v + gain * i

        amplifier = ns.layer(gained)(dt=1e-3)
        ones = torch.ones(3, 1, 1)
        assert amplifier({"i": ones})[0].flatten().tolist() == [2.0, 4.0, 6.0]
        assert amplifier({"i": ones, "gain": ones})[0].flatten().tolist() == [1.0, 2.0, 3.0]

    def test_the_order_of_the_mapping_does_not_matter(self):
        layer, i = make(dt=1e-3), conductances(30, 2, 7)
        assert torch.equal(layer(i)[0], layer({"gi": i["gi"], "ge": i["ge"]})[0])

    @pytest.mark.parametrize(
        ("i", "kind", "message"),
        [
            (torch.ones(3, 1, 1), InputError, r"coba: the input must be a mapping from the input ports \['ge', 'gi'\]"),
            ({}, InputError, r"coba: \['ge'\] must be fed; this core has the input ports \['ge', 'gi'\]"),
            ({"gi": torch.ones(3, 1, 1)}, InputError, r"coba: \['ge'\] must be fed"),
            ({"ge": torch.ones(3, 1, 1), "i": torch.ones(3, 1, 1)}, InputError, r"coba: no port \['i'\]"),
            ({"ge": torch.ones(3)}, ShapeError, r"coba: ge must be a tensor \[T, B, ...\]; got shape \[3\]"),
            (
                {"ge": torch.ones(3, 1, 1), "gi": torch.ones(3, 1, 2)},
                ShapeError,
                r"coba: ge and gi must be alike; got \[3, 1, 1\] of torch.float32 on cpu and \[3, 1, 2\]",
            ),
            (
                {"ge": torch.ones(3, 1, 1), "gi": torch.ones(3, 1, 1, dtype=torch.float64)},
                ShapeError,
                r"ge and gi must be alike; got .*float64",
            ),
        ],
    )
    def test_what_is_refused(self, i, kind, message):
        with pytest.raises(kind, match=message):
            make(dt=1e-3)(i)

    def test_a_layer_of_one_port_takes_a_tensor(self):
        with pytest.raises(ShapeError, match=r"lif: i must be a tensor \[T, B, ...\]; got dict"):
            ns.LIF(dt=1e-3)({"i": torch.ones(3, 1, 1)})

    def test_recording_and_half_precision_and_integers(self):
        layer, i = make(dt=1e-3), conductances(40, 2, 7)
        recorded = layer.run(i, record=("u", "g_inh")).recorded
        assert set(recorded) == {"u", "g_inh"} and torch.equal(recorded["g_inh"][-1], layer(i)[1].g_inh)
        half = {port: x.bfloat16() for port, x in i.items()}
        assert torch.equal(layer(half)[0].float(), layer({port: x.float() for port, x in half.items()})[0])

        @ns.core(inputs=("a", "b"), integers_up_to=100.0)
        def counter(a, b, v):
            return v + a + b, v + a + b

        counts = ns.layer(counter)(dt=1e-3)
        assert counts({"a": torch.full((2, 1, 1), 50.0), "b": torch.full((2, 1, 1), 50.0)})[1].v.item() == 200.0
        for b, message in ((51.0, "a current could be 101; up to 100"), (0.5, "b must hold integers; got 0.5")):
            with pytest.raises(InputError, match=message):
                counts({"a": torch.full((2, 1, 1), 50.0), "b": torch.full((2, 1, 1), b)})

    @pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`")
    def test_under_a_compiler(self):
        torch._dynamo.reset()
        layer, i = make(dt=1e-3), conductances(40, 2, 7)
        compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
        for given in (i, {"ge": i["ge"]}):
            leaves = [{port: x.clone().requires_grad_() for port, x in given.items()} for _ in range(2)]
            results = [run(x)[0] for run, x in zip((layer, compiled), leaves, strict=True)]
            grads = [torch.autograd.grad(z.sum(), list(x.values())) for z, x in zip(results, leaves, strict=True)]
            assert torch.equal(*results) and all(map(torch.equal, *grads))


def plain(n_in: int, n_out: int, scale: float, seed: int) -> ns.Linear:
    """Return synapses of non-negative weights on a grid, so that the order of a sum does not matter."""
    torch.manual_seed(seed)
    synapse = ns.Linear(n_in, n_out, bias=False)
    with torch.no_grad():
        synapse.weight.copy_((torch.rand(n_out, n_in) * scale * 256).round() / 256)
    return synapse


def feedforward(**choices: Any) -> ns.Network:
    return ns.Network(
        {"x": ns.Input(20), "y": ns.Input(10), "out": make(dt=1e-3, **choices)},
        [
            ns.Edge("x", "out", plain(20, 8, 0.2, 1), port="ge"),
            ns.Edge("y", "out", plain(10, 8, 0.2, 2), port="gi", delay=2e-3),
            ns.Edge("y", "out", plain(10, 8, 0.1, 3), port="ge", name="both"),
        ],
    )


def balanced() -> ns.Network:
    """Excitatory and inhibitory neurons that feed each other."""
    edges = [
        ns.Edge("x", "exc", plain(20, 16, 0.06, 1), port="ge"),
        ns.Edge("x", "inh", plain(20, 6, 0.06, 2), port="ge"),
    ]
    for number, (source, n_in) in enumerate((("exc", 16), ("inh", 6))):
        port = "ge" if source == "exc" else "gi"
        for target, n_out in (("exc", 16), ("inh", 6)):
            edges.append(ns.Edge(source, target, plain(n_in, n_out, 0.1, 3 + number), delay=1e-3, port=port))
    return ns.Network({"x": ns.Input(20), "exc": make(dt=1e-3), "inh": make(dt=1e-3)}, edges, output="exc")


def with_loop(port: str, driven: tuple[str, ...], **choices: Any) -> ns.Network:
    """Make a population with a loop on `port`, driven from outside through the ports `driven`."""
    scale = {"ge": 0.06, "gi": 0.03}
    edges = [ns.Edge("x", "pool", plain(20, 16, scale[into], 1), port=into) for into in driven]
    edges.append(ns.Edge("pool", "pool", plain(16, 16, 0.1, 2), port=port))
    return ns.Network({"x": ns.Input(20), "pool": make(dt=1e-3, **choices)}, edges)


def spikes(steps: int, batch: int, n: int, rate: float = 0.2, seed: int = 7) -> torch.Tensor:
    return (torch.rand(steps, batch, n, generator=torch.Generator().manual_seed(seed)) < rate).float()


class TestNetwork:
    def test_edges_feed_the_port_that_they_name_and_add_up(self):
        net, x, y = feedforward(), spikes(50, 3, 20), spikes(50, 3, 10, seed=8)
        assert [edge.name for edge in net.edges] == ["x->out:ge", "y->out:gi", "both"]
        z, state = net({"x": x, "y": y})
        late = torch.cat((torch.zeros(2, 3, 10), y[:-2]))
        weights = [edge.synapses[0].weight for edge in net.edges]
        i = {"ge": x @ weights[0].T + y @ weights[2].T, "gi": late @ weights[1].T}
        alone, after = net.nodes["out"](i)
        assert torch.equal(z, alone) and all(map(torch.equal, state.nodes["out"], after)) and 0 < z.mean() < 0.5

    def test_one_fed_port_runs_with_its_product_in_one_pass(self):
        def net() -> ns.Network:
            edge = ns.Edge("x", "out", plain(20, 8, 0.3, 1), port="ge")
            return ns.Network({"x": ns.Input(20), "out": make(dt=1e-3)}, [edge])

        x = spikes(50, 3, 20)
        one, other = net(), net()
        other.edges[0].synapses[0].register_forward_hook(lambda *_: None)  # its product is then on its own
        results: list[tuple[torch.Tensor, ...]] = []
        for each in (one, other):
            z, state = each(x)[:2]
            gradient = torch.autograd.grad(z.sum() + state.nodes["out"].v.sum(), each.edges[0].synapses[0].weight)[0]
            results.append((z, *state.nodes["out"], gradient))
        *exact, weights = zip(*results, strict=True)
        assert all(torch.equal(a, b) for a, b in exact) and results[0][0].any()
        torch.testing.assert_close(*weights)

    def test_populations_that_feed_each_other_are_stepped_one_by_one(self):
        net, x = balanced(), spikes(40, 2, 20)
        z, state = net(x)
        weight = {edge.name: edge.synapses[0].weight for edge in net.edges}
        now = {"exc": net.nodes["exc"].initial_state(torch.zeros(1, 2, 16)), "inh": None}
        sent = {"exc": torch.zeros(1, 2, 16), "inh": torch.zeros(1, 2, 6)}
        for t in range(40):
            new = {}
            for name in ("exc", "inh"):
                ge = x[t : t + 1] @ weight[f"x->{name}:ge"].T + sent["exc"] @ weight[f"exc->{name}:ge"].T
                i = {"ge": ge, "gi": sent["inh"] @ weight[f"inh->{name}:gi"].T}
                new[name], now[name] = net.nodes[name].run_reference(i, now[name])[:2]
            sent = new
            assert torch.equal(z[t : t + 1], sent["exc"])
        assert all(map(torch.equal, state.nodes["inh"], now["inh"])) and 0.01 < z.mean() < 0.5

    @pytest.mark.parametrize("make_net", [feedforward, balanced])
    def test_a_run_in_two_parts_is_the_run_in_one(self, make_net):
        net = make_net()
        x = {name: spikes(40, 2, net.shape(name)[0], seed=n) for n, name in enumerate(net.inputs)}
        z, state = net(x)
        first, between = net({name: data[:13] for name, data in x.items()})
        second, after = net({name: data[13:] for name, data in x.items()}, between)
        assert torch.equal(torch.cat((first, second)), z) and z.any()
        for name, values in state.nodes.items():
            assert all(map(torch.equal, values, after.nodes[name]))

    @pytest.mark.parametrize("make_net", [feedforward, balanced])
    def test_less_memory_gives_the_same_gradients(self, make_net):
        net = make_net()
        x = {name: spikes(40, 2, net.shape(name)[0], seed=n) for n, name in enumerate(net.inputs)}
        found = []
        for recompute in (False, True):
            z, _ = net(x, recompute=recompute)
            loss = (z * torch.arange(40.0)[:, None, None]).sum()
            found.append((z, *torch.autograd.grad(loss, list(net.parameters()))))
        for a, b in zip(*found, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
        assert torch.equal(found[0][0], found[1][0]) and all(g.abs().sum() > 0 for g in found[0][1:])

    def test_local_variables_are_recorded(self):
        net, x = balanced(), spikes(40, 2, 20)
        traces = ns.simulate(net, x, record=("exc.u", "inh.g_exc", "inh")).traces
        recorded = net.run(x, record=("exc.u", "inh.g_exc")).recorded
        assert all(np.array_equal(traces[name], values.numpy()) for name, values in recorded.items())
        assert traces["exc.u"].shape == (40, 2, 16) and traces["exc.u"].any()

    @pytest.mark.parametrize("driven", [("ge",), ("ge", "gi")], ids=str)
    @pytest.mark.parametrize("port", ["ge", "gi"])
    def test_a_loop_on_one_port_is_one_call(self, port, driven):
        net, x = with_loop(port, driven), spikes(40, 2, 20)
        assert "fused loop" in str(net.explain(x))
        z, after = net(x)
        weights = {edge.name: edge.synapses[0].weight for edge in net.edges}
        state, sent, pool = None, torch.zeros(1, 2, 16), net.nodes["pool"]
        for t in range(40):
            i = {into: x[t : t + 1] @ weights[f"x->pool:{into}"].T for into in driven}
            i[port] = i.get(port, 0.0) + sent @ weights[f"pool->pool:{port}"].T
            sent, state = pool.run_reference(i, state)[:2]
            assert torch.equal(z[t : t + 1], sent)
        assert all(map(torch.equal, after.nodes["pool"], state)) and 0.01 < z.mean() < 0.7

    @PRECISIONS
    @pytest.mark.parametrize("through_time", [True, False])
    @pytest.mark.parametrize("support", [language.atan(2.0), language.triangle(2.0)], ids=lambda s: s.name)
    @pytest.mark.parametrize("port", ["ge", "gi"])
    def test_a_loop_in_one_call_has_the_gradients_of_the_steps(self, port, support, through_time, dtype):
        found = []
        for fused in (True, False):
            net = with_loop(port, ("ge", "gi"), spike=support, learn=("e_inh",), size=16).to(dtype)
            if not fused:
                net.edges[2].synapses[0].register_forward_hook(lambda *_: None)
            x = spikes(40, 2, 20).to(dtype).requires_grad_()
            assert ("stepwise" in str(net.explain(x))) is not fused
            z, state = net(x, through_time=through_time)
            time = torch.linspace(0.5, 1.5, 40, dtype=dtype)[:, None, None]
            loss = (z * time).sum() + sum(s.square().sum() for s in state.nodes["pool"])
            found.append((z, *torch.autograd.grad(loss, [x, *net.parameters()])))
        assert torch.equal(found[0][0], found[1][0])
        for a, b in zip(*found, strict=True):
            scale = b.abs().max()
            assert (a - b).abs().max() <= (1e-5 if dtype is torch.float32 else 1e-12) * scale and scale > 0

    @pytest.mark.parametrize("port", ["ge", "gi"])
    def test_a_loop_with_less_memory_has_the_same_gradients(self, port):
        net, x = with_loop(port, ("ge", "gi")), spikes(40, 2, 20)
        found = []
        for recompute in (False, True):
            z, state = net(x, recompute=recompute)
            loss = (z * torch.arange(40.0)[:, None, None]).sum() + state.nodes["pool"].v.sum()
            found.append((z, *torch.autograd.grad(loss, list(net.parameters()))))
        assert all(map(torch.equal, *found)) and all(g.abs().sum() > 0 for g in found[0][1:])
        assert "recomputed loop" in str(net.explain(x, recompute=True))

    @pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`")
    def test_a_loop_under_a_compiler_and_transforms(self):
        torch._dynamo.reset()
        net, x = with_loop("gi", ("ge", "gi")), spikes(20, 2, 20)
        parameters = dict(net.named_parameters())

        def loss(values: dict[str, torch.Tensor]) -> torch.Tensor:
            z, state = torch.func.functional_call(net, values, (x,))
            return z.sum() + state.nodes["pool"].v.square().sum()

        expected = torch.autograd.grad(loss(parameters), list(parameters.values()))
        for a, b in zip(torch.func.grad(loss)(parameters).values(), expected, strict=True):
            torch.testing.assert_close(a, b)
        compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
        z, state = compiled(x)
        assert torch.equal(z, net(x)[0])
        found = torch.autograd.grad(z.sum() + state.nodes["pool"].v.square().sum(), list(parameters.values()))
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b)

    def test_what_is_refused(self):
        nodes = {"x": ns.Input(4), "n": make(dt=1e-3), "m": ns.LIF(dt=1e-3)}

        def refused(message: str, *edges: ns.Edge) -> None:
            with pytest.raises(NetworkError, match=message):
                ns.Network(nodes, edges)

        to_m = ns.Edge("x", "m", ns.Linear(4, 2))
        refused(
            r"edge 'x->n': 'n' has the input ports \['ge', 'gi'\]; name the one to feed, as in "
            r"Edge\('x', 'n', ..., port='ge'\)",
            ns.Edge("x", "n", ns.Linear(4, 2)),
            to_m,
        )
        refused(
            r"edge 'x->n:g': 'n' has no input port 'g'; it has \['ge', 'gi'\]",
            ns.Edge("x", "n", ns.Linear(4, 2), port="g"),
            to_m,
        )
        refused(
            r"node 'n': no edge feeds its input ports \['ge'\]", ns.Edge("x", "n", ns.Linear(4, 2), port="gi"), to_m
        )
        refused(
            r"edge 'x->m': 'm' has no input port 'ge'; it has \['i'\]", ns.Edge("x", "m", ns.Linear(4, 2), port="ge")
        )
        with pytest.raises(NetworkError, match=r"'coba1' has the input ports"):
            ns.Sequential(ns.Linear(4, 2), make(dt=1e-3))

    def test_the_only_port_may_be_named(self):
        net = ns.Network({"x": ns.Input(4), "m": ns.LIF(dt=1e-3)}, [ns.Edge("x", "m", ns.Linear(4, 2), port="i")])
        assert net.edges[0].name == "x->m" and net.edges[0].port == "i"

    def test_folding_keeps_the_ports(self):
        nodes = {"x": ns.Input(4), "n": make(dt=1e-3)}
        edges = [
            ns.Edge("x", "n", [ns.Linear(4, 2), BatchNorm(2)], port="ge"),
            ns.Edge("x", "n", ns.Linear(4, 2), port="gi"),
        ]
        net = ns.Network(nodes, edges).eval()
        assert [edge.port for edge in fold(net).edges] == ["ge", "gi"]
        x = spikes(20, 2, 4)
        assert torch.equal(fold(net)(x)[0], net(x)[0])

    def test_traces_need_one_port(self):
        net = feedforward()
        x = {"x": spikes(10, 2, 20), "y": spikes(10, 2, 10)}
        with pytest.raises(InputError, match=r"edge 'x->out:ge': .* need one input port and one shared tau_mem"):
            net(x, through_time=False, traces=Traces())


def test_rules_of_one_current_refuse_several_ports_by_name():
    from neurosim.learning import CrossEntropy, EProp, Goodness

    edges = [
        ns.Edge("x", "cells", ns.Linear(6, 4), port="ge"),
        ns.Edge("cells", "out", ns.Linear(4, 2)),
    ]
    net = ns.Network({"x": ns.Input(6), "cells": make(dt=1e-3), "out": ns.LI(dt=1e-3)}, edges)
    x, target = spikes(10, 2, 6), torch.tensor([0, 1])
    with pytest.raises(InputError, match=r"EProp: 'cells' has the input ports \['ge', 'gi'\]; eligibilities are"):
        EProp().gradients(net, x, target, CrossEntropy())
    row = ns.Network({"x": ns.Input(6), "cells": make(dt=1e-3)}, edges[:1])
    with pytest.raises(InputError, match=r"Goodness: 'cells' has the input ports \['ge', 'gi'\]"):
        Goodness(row, 2)


def test_the_equation_has_every_port():
    text = ns.latex(cores.conductance_lif)
    for symbol in (r"\mathrm{ge}[t]", r"\mathrm{gi}[t]", "i[t]"):
        assert symbol in text


def test_operations_are_counted_for_all_ports():
    assert make(dt=1e-3).operations().state == 3
    assert ns.layer(cores.conductance_lif)(dt=1e-3).operations().function == 1
