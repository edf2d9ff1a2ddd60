"""Networks against a loop over steps written by hand, and every way in which nodes and edges do not fit.

A matrix product of a BLAS may round differently when it is handed another number of rows (T times B), so "bit for bit"
is tested with weights that are multiples of 1/64 and inputs 0/1: every sum is then exact in any order, and what
differs would be the network's doing.
"""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

import neurosim as ns
from neurosim.errors import InputError, NetworkError, ShapeError
from neurosim.synapses import Identity, RoundedDelays

DT = 1e-3


def lif(**choices):
    return ns.LIF(tau_mem=10e-3, dt=DT, v_th=0.05, **choices)


def feed_forward():
    nodes = {"input": ns.Input(6), "hidden": lif(), "out": ns.LI(tau_mem=15e-3, dt=DT)}
    edges = [ns.Edge("input", "hidden", ns.Linear(6, 5)), ns.Edge("hidden", "out", ns.Linear(5, 3), delay=3e-3)]
    return nodes, edges


def self_loop(delay=None):
    nodes, edges = feed_forward()
    return nodes, [*edges, ns.Edge("hidden", "hidden", ns.Linear(5, 5), delay=delay)]


def two_cycle(there=0.0, back=1e-3):
    nodes, edges = feed_forward()
    nodes = {"input": nodes["input"], "hidden": nodes["hidden"], "other": lif(), "out": nodes["out"]}
    ring = [
        ns.Edge("hidden", "other", ns.Linear(5, 4), delay=there),
        ns.Edge("other", "hidden", ns.Linear(4, 5), delay=back),
    ]
    return nodes, [*edges, *ring]


def fan_in():
    nodes, edges = feed_forward()
    return nodes, [
        *edges,
        ns.Edge("input", "out", ns.Linear(6, 3)),
        ns.Edge("hidden", "out", ns.Linear(5, 3), name="again"),
    ]


def everything():
    nodes, edges = two_cycle(there=2e-3, back=3e-3)
    loops = [
        ns.Edge("hidden", "hidden", ns.Linear(5, 5), delay=2e-3),
        ns.Edge("other", "other", ns.Linear(4, 4), delay=5e-3),
    ]
    return nodes, [*edges, *loops, ns.Edge("other", "out", ns.Linear(4, 3), delay=1e-3)]


WIRINGS = {
    "feed forward, one edge delayed": feed_forward,
    "fan-in of three edges": fan_in,
    "self loop": self_loop,
    "self loop of 4 steps": lambda: self_loop(4e-3),
    "cycle of two": two_cycle,
    "cycle of two, delayed both ways": lambda: two_cycle(2e-3, 3e-3),
    "cycle of two, delayed the other way": lambda: two_cycle(4e-3, 0.0),
    "loops in cycles in chunks of 2": everything,
}


@pytest.fixture(params=WIRINGS.values(), ids=WIRINGS.keys())
def wiring(request):
    return request.param


def by_hand(net, x, through_time=True):
    """Run a network as its edges are meant: at step t, each edge carries what its source sent at t - delay."""
    sent = {name: [] for name in net.nodes}
    state = dict.fromkeys(net.neurons())
    for t in range(x.shape[0]):
        for name, node in net.nodes.items():
            if name == "input":
                sent[name].append(x[t])
                continue
            current = 0.0
            for edge in net.edges:
                if edge.target != name:
                    continue
                when = t - edge.delay_steps
                zeros = x.new_zeros(x.shape[1], *net.shape(edge.source))
                z = sent[edge.source][when] if when >= 0 else zeros
                current = current + edge((z.detach() if edge.delay_steps and not through_time else z)[None])[0]
            before = state[name]
            if before is not None and not through_time:
                before = tuple(value.detach() for value in before)
            z, state[name], *_ = node.run_reference(current[None], before)
            sent[name].append(z[0])
    return {name: torch.stack(values) for name, values in sent.items()}


@pytest.mark.parametrize("through_time", [True, False])
def test_a_network_does_what_its_edges_say(wiring, through_time):
    net = ns.Network(*wiring()).double()
    twin = copy.deepcopy(net)
    x = torch.randn(23, 3, 6, dtype=torch.float64, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    z, state, values, *_ = net.run(x, None, list(net.nodes), through_time=through_time)
    wanted = by_hand(twin, y, through_time)
    for name in net.nodes:
        torch.testing.assert_close(values[name], wanted[name].detach(), msg=lambda m, n=name: f"{n}: {m}")
    assert 0.02 < values["hidden"].mean() < 0.9
    g = torch.randn_like(z)
    z.backward(g)
    wanted["out"].backward(g)
    torch.testing.assert_close(
        torch.zeros_like(x) if x.grad is None else x.grad, torch.zeros_like(y) if y.grad is None else y.grad
    )
    for (name, ours), theirs in zip(net.named_parameters(), twin.parameters(), strict=True):
        # Without time, what lies behind a delay gets no gradient: none by hand is none or zero here.
        assert theirs.grad is not None or not through_time, name
        wanted_gradient = torch.zeros_like(theirs) if theirs.grad is None else theirs.grad
        torch.testing.assert_close(torch.zeros_like(ours) if ours.grad is None else ours.grad, wanted_gradient)
        assert bool(wanted_gradient.any()) or not through_time, name
    for edge in net.edges:
        if edge.delay_steps:
            torch.testing.assert_close(
                state.in_flight[edge.source][-edge.delay_steps :], wanted[edge.source][-edge.delay_steps :]
            )


def test_a_loop_written_out_in_plain_arithmetic():
    net = ns.Network(*self_loop()).double()
    w_in, _, w_loop = (edge.synapses[0].weight for edge in net.edges)
    x = torch.randn(40, 2, 6, dtype=torch.float64)
    alpha = torch.exp(torch.tensor(-DT / 10e-3, dtype=torch.float64))
    v = torch.zeros(2, 5, dtype=torch.float64)
    z = torch.zeros_like(v)
    values = net.run(x, None, ["hidden", "hidden.v", "hidden.u"]).recorded
    for t in range(40):
        u = alpha * v + (1 - alpha) * (x[t] @ w_in.T + z @ w_loop.T)
        z = (u > 0.05).double()
        v = torch.where(z > 0, 0.0, u)
        torch.testing.assert_close(values["hidden.u"][t], u.detach())
        torch.testing.assert_close(values["hidden.v"][t], v.detach())
        assert torch.equal(values["hidden"][t], z)


def exact(net):
    """Round weights to multiples of 1/64: sums of them are the same in any order."""
    with torch.no_grad():
        for weight in net.parameters():
            weight.copy_((weight * 64).round() / 64)
    return net


@pytest.mark.parametrize("cut", [1, 2, 3, 10, 22])
def test_a_run_split_in_two_is_the_run_in_one_bit_for_bit(wiring, cut):
    net = exact(ns.Network(*wiring()))
    x = (torch.rand(23, 3, 6) < 0.5).float()
    names = [*net.nodes, "hidden.v", "hidden.u", "out.v"]
    whole, last, values, *_ = net.run(x, None, names)
    first, state, before, *_ = net.run(x[:cut], None, names)
    second, end, after, *_ = net.run(x[cut:], state, names)
    assert torch.equal(torch.cat((first, second)), whole)
    for name in names:
        assert torch.equal(torch.cat((before[name], after[name])), values[name]), name
    for kind in ("nodes", "in_flight"):
        for name, held in getattr(last, kind).items():
            pairs = zip(held, getattr(end, kind)[name], strict=True)
            assert all(torch.equal(a, b) for a, b in pairs), (kind, name)


def test_gradients_flow_through_a_split_run(wiring):
    net = ns.Network(*wiring()).double()
    x = torch.randn(12, 2, 6, dtype=torch.float64)
    z, _ = net(x)
    z.square().sum().backward()
    wanted = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    first, state = net(x[:5])
    second, _ = net(x[5:], state)
    (first.square().sum() + second.square().sum()).backward()
    for parameter, gradient in zip(net.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_without_time_no_gradient_enters_by_the_state(wiring):
    net = ns.Network(*wiring())
    x = torch.randn(6, 2, 6)
    _, state = net(x)
    given = ns.NetworkState(
        {k: type(s)(*(v.detach().requires_grad_() for v in s)) for k, s in state.nodes.items()},
        {k: v.detach().requires_grad_() for k, v in state.in_flight.items()},
    )
    leaves = [*(v for s in given.nodes.values() for v in s), *given.in_flight.values()]
    for through_time, reached in ((False, False), (True, True)):
        z, _ = net(x, given, through_time=through_time)
        gradients = torch.autograd.grad(z.sum(), leaves, allow_unused=True)
        assert any(g is not None and bool(g.abs().sum() > 0) for g in gradients) == reached


def test_samples_of_a_batch_do_not_mix(wiring):
    net = exact(ns.Network(*wiring()))
    x = (torch.rand(15, 4, 6) < 0.5).float()
    whole, _ = net(x)
    for b in range(4):
        assert torch.equal(net(x[:, b : b + 1])[0], whole[:, b : b + 1])


def test_no_steps_leave_shapes_and_state(wiring):
    net = ns.Network(*wiring())
    names = [*net.nodes, "hidden.v", "out.v"]
    z, state, values, *_ = net.run(torch.ones(0, 2, 6), None, names)
    assert z.shape == (0, 2, 3)
    for name in names:
        assert values[name].shape == (0, 2, *net.shape(name.partition(".")[0])), name
    for name, held in net.initial_state(torch.ones(0, 2, 6)).in_flight.items():
        assert torch.equal(state.in_flight[name], held)


def test_several_inputs_are_given_by_name():
    nodes = {"left": ns.Input(2), "right": ns.Input((1, 3)), "out": ns.LI(dt=DT)}
    net = ns.Network(
        nodes, [ns.Edge("left", "out", ns.Linear(2, 4)), ns.Edge("right", "out", (ns.Flatten(), ns.Linear(3, 4)))]
    )
    x = {"left": torch.randn(5, 2, 2), "right": torch.randn(5, 2, 1, 3)}
    flat = torch.cat((x["left"], x["right"].flatten(2)), 2)
    weight = torch.cat([edge.synapses[-1].weight for edge in net.edges], 1)
    torch.testing.assert_close(net(x)[0], ns.LI(dt=DT)(flat @ weight.T)[0])
    assert net.inputs == ("left", "right")


def test_an_inner_node_can_be_the_output():
    nodes, edges = feed_forward()
    net = ns.Network(nodes, edges, output="hidden")
    x = torch.randn(9, 2, 6)
    assert net.output == "hidden"
    assert torch.equal(net(x)[0], net.run(x, None, ["hidden"]).recorded["hidden"])


def test_sequential_is_the_network_of_the_same_parts():
    neurons = [lif(), lif(), ns.LI(dt=DT)]
    synapses = [ns.Conv2d(1, 2, 3), ns.SumPool2d(2), ns.Flatten(), ns.Linear(18, 5), ns.Linear(5, 5), ns.Linear(5, 3)]
    conv, pool, flat, dense, loop, read = synapses
    short = ns.Sequential(
        ns.Input((1, 8, 8)), conv, neurons[0],
        pool, flat, dense, ns.Recurrent(neurons[1], loop, delay=2e-3),
        read, neurons[2],
        names=("c", "r", "o"),
    )  # fmt: skip
    full = ns.Network(
        {"input": ns.Input((1, 8, 8)), "c": neurons[0], "r": neurons[1], "o": neurons[2]},
        [
            ns.Edge("input", "c", conv),
            ns.Edge("c", "r", (pool, flat, dense)),
            ns.Edge("r", "r", loop, delay=2e-3),
            ns.Edge("r", "o", read),
        ],
    )
    x = torch.randn(11, 2, 1, 8, 8) * 3
    assert torch.equal(short(x)[0], full(x)[0])
    assert list(short.state_dict()) == list(full.state_dict())
    assert [(e.name, e.delay_steps) for e in short.edges] == [("input->c", 0), ("c->r", 0), ("r->r", 2), ("r->o", 0)]
    assert [short.shape(n) for n in short.nodes] == [(1, 8, 8), (2, 6, 6), (5,), (3,)]


def test_a_copy_is_apart_and_alike():
    net = ns.Network(*everything())
    x = torch.randn(9, 2, 6)
    wanted, _ = net(x)
    twin = copy.deepcopy(net)
    assert torch.equal(twin(x)[0], wanted)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert torch.equal(net(x)[0], wanted)
    assert not twin(x)[0].any()


def test_a_network_and_its_state_can_be_pickled():
    net = ns.Network(*everything())
    x = torch.randn(9, 2, 6)
    z, state = net(x)
    twin, held = pickle.loads(pickle.dumps((net, state.detach())))
    assert torch.equal(twin(x)[0], z)
    assert torch.equal(twin(x, held)[0], net(x, state)[0])
    assert type(held.nodes["hidden"])._fields == ("v",)


def test_parameters_are_named_by_edge_and_node():
    nodes, edges = self_loop()
    nodes["hidden"] = lif(size=5, learn=("tau_mem",))
    names = list(ns.Network(nodes, edges).state_dict())
    assert names == [
        "nodes.hidden.log_tau_mem",
        "nodes.hidden.tau_mem_start",
        "synapses.input->hidden.0.weight",
        "synapses.hidden->out.0.weight",
        "synapses.hidden->hidden.0.weight",
    ]


def test_weights_travel_by_state_dict():
    one, other = ns.Network(*everything()), ns.Network(*everything())
    x = torch.randn(9, 2, 6)
    assert not torch.equal(one(x)[0], other(x)[0])
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(x)[0], other(x)[0])


def test_detaching_a_state_keeps_its_values():
    net = ns.Network(*everything())
    _, state = net(torch.randn(9, 2, 6))
    held = state.detach()
    assert any(v.requires_grad for v in state.in_flight.values())
    assert not any(v.requires_grad for v in [*held.in_flight.values(), *held.nodes["hidden"]])
    assert all(torch.equal(held.in_flight[k], v) for k, v in state.in_flight.items())


def test_delays_are_kept_in_steps_and_seconds():
    edge = ns.Network(*feed_forward()).edges[1]
    assert (edge.name, edge.source, edge.target, edge.delay_steps) == ("hidden->out", "hidden", "out", 3)
    assert edge.delay == pytest.approx(3e-3)
    assert isinstance(edge.synapses[0], ns.Linear)


NODES = {"input": lambda: ns.Input(2), "a": lambda: ns.LIF(dt=DT), "b": lambda: ns.LIF(dt=DT)}


def build(nodes, edges, **options):
    return lambda: ns.Network(
        {name: make() for name, make in {**NODES, **nodes}.items() if make}, [ns.Edge(*e) for e in edges], **options
    )


def L(n_in=2, n_out=2):
    return ns.Linear(n_in, n_out)


ROW = [("input", "a", L()), ("a", "b", L())]
NAME = "a node's name must be text without '.', '/' and '->', and not that of a dict method; got {}."
REFUSED = {
    "a dot in a node": (build({"x.y": lambda: ns.LIF(dt=DT)}, ROW), NAME.format("'x.y'")),
    "a slash in a node": (build({"x/y": lambda: ns.LIF(dt=DT)}, ROW), NAME.format("'x/y'")),
    "an arrow in a node": (build({"x->y": lambda: ns.LIF(dt=DT)}, ROW), NAME.format("'x->y'")),
    "the name of a method": (build({"keys": lambda: ns.LIF(dt=DT)}, ROW), NAME.format("'keys'")),
    "the name of a field": (build({"training": lambda: ns.LIF(dt=DT)}, ROW), NAME.format("'training'")),
    "no name": (build({"": lambda: ns.LIF(dt=DT)}, ROW), NAME.format("''")),
    "a module that is no node": (
        build({"b": lambda: torch.nn.ReLU()}, ROW),
        "node 'b' must be an Input, a source or a layer of neurons; got ReLU.",
    ),
    "no input": (
        build({"input": None}, []),
        "the shape of 'a' cannot be computed; pass size= when making its neurons.",
    ),
    "no neurons": (build({"a": None, "b": None}, []), "a network needs at least one population of neurons."),
    "two steps": (
        build({"b": lambda: ns.LIF(dt=2e-3)}, ROW),
        "all populations and delays must share one dt; got 0.001 s in node 'a', 0.002 s in node 'b'.",
    ),
    "an unknown end": (
        build({}, [*ROW, ("a", "c", L())]),
        "edge 'a->c': no node 'c'; this network has ['input', 'a', 'b'].",
    ),
    "an edge into an input": (
        build({}, [*ROW, ("a", "input", L())]),
        "edge 'a->input': 'input' is an Input and takes no synapses.",
    ),
    "torch's layer for a synapse": (
        build({}, [ROW[0], ("a", "b", torch.nn.Linear(2, 2))]),
        "edge 'a->b': torch.nn.modules.linear.Linear is not a synapse; use neurosim's Linear, Conv2d, Flatten, ...",
    ),
    "a number for a synapse": (
        build({}, [ROW[0], ("a", "b", 0.5)]),
        "edge 'a->b': builtins.float is not a synapse; use neurosim's Linear, Conv2d, Flatten, ...",
    ),
    "a delay between steps": (
        build({}, [ROW[0], ("a", "b", L(), 1.5e-3)]),
        "edge 'a->b': delay must be an integer number of steps of 0.001 s; got 0.0015 s. "
        "The nearest are 0.001 s and 0.002 s.",
    ),
    "a delay backwards": (
        build({}, [ROW[0], ("a", "b", L(), -1e-3)]),
        "edge 'a->b': delay must be an integer number of steps of 0.001 s; got -0.001 s.",
    ),
    "a delay that is no number": (
        build({}, [ROW[0], ("a", "b", L(), float("nan"))]),
        "edge 'a->b': delay must be an integer number of steps of 0.001 s; got nan s.",
    ),
    "milliseconds": (
        build({}, [ROW[0], ("a", "b", L(), 20)]),
        "edge 'a->b': delay must be in [0, 0.1) s; got 20. Did you pass milliseconds? 20 ms is 0.02 s.",
    ),
    "a loop without delay": (
        build({}, [*ROW, ("a", "a", L(), 0.0)]),
        "edge 'a->a': a loop takes at least one step; give a delay of 0.001 s or more, or leave it out.",
    ),
    "a cycle without delay": (
        build({}, [*ROW, ("b", "a", L())]),
        "the cycle a -> b -> a has no delay; give one of its edges a delay of at least one step.",
    ),
    "an edge twice": (
        build({}, [*ROW, ("a", "b", L())]),
        "edges must have different names; ['a->b'] are used more than once. Pass name=.",
    ),
    "a wrong name of an edge": (
        build({}, [ROW[0], ("a", "b", L(), None, "a.b")]),
        "an edge's name must be text without '.' and '/', and not that of a dict method; got ['a.b'].",
    ),
    "an edge with the name of a method": (
        build({}, [ROW[0], ("a", "b", L(), None, "items")]),
        "an edge's name must be text without '.' and '/', and not that of a dict method; got ['items'].",
    ),
    "an unknown output": (
        build({}, ROW, output="c"),
        "output must name a population of neurons, one of ['a', 'b']; got 'c'.",
    ),
    "an input as output": (
        build({}, ROW, output="input"),
        "output must name a population of neurons, one of ['a', 'b']; got 'input'.",
    ),
    "a node without input": (
        build({}, ROW[:1]),
        "the shape of 'b' cannot be computed; pass size= when making its neurons.",
    ),
    "a shape that nothing tells": (
        build({}, [("input", "a", L()), ("b", "b", ns.Flatten())]),
        "the shape of 'b' cannot be computed; pass size= when making its neurons.",
    ),
}


@pytest.mark.parametrize(("make", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_nodes_and_edges_that_make_no_network_are_refused(make, said):
    with pytest.raises(NetworkError) as caught:
        make()
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (build({}, [ROW[0], ("a", "b", L(3, 2))]), "edge 'a->b': Linear: spikes must be [T, B, 3]; got [T, B, 2]."),
        (
            build({}, [*ROW, ("input", "b", L(2, 3))]),
            "edge 'a->b' gives currents of shape [2] to 'b', but edge 'input->b' says [3].",
        ),
        (
            build({"b": lambda: ns.LIF(dt=DT, size=4)}, ROW),
            "edge 'a->b' gives currents of shape [2] to 'b', but its size says [4].",
        ),
    ],
)
def test_shapes_that_do_not_fit_are_refused(make, said):
    with pytest.raises(ShapeError) as caught:
        make()
    assert str(caught.value) == said


@pytest.mark.parametrize("shape", [0, (), (2, -1), (2.0,)])
def test_an_input_needs_a_shape(shape):
    with pytest.raises(InputError) as caught:
        ns.Input(shape)
    assert str(caught.value) == f"Input: shape must hold integers from 1; got {shape!r}."


@pytest.mark.parametrize(
    ("parts", "options", "said"),
    [
        (
            (),
            {},
            "Sequential must start with Input(shape) or a synapse with n_in; got nothing. Put Input((C, H, W)) first.",
        ),
        (
            (ns.Conv2d(1, 2, 3), lif()),
            {},
            "Sequential must start with Input(shape) or a synapse with n_in; got Conv2d. Put Input((C, H, W)) first.",
        ),
        (
            (L(), lif()),
            {"names": ("a", "b")},
            "names must give one name for each of the 1 populations; got ['a', 'b'].",
        ),
        (
            (L(), torch.nn.ReLU()),
            {},
            "part 1 is torch.nn.modules.activation.ReLU: use neurons, such as ns.LIF(dt=1e-3).",
        ),
        ((L(), lif(), lif()), {}, "no synapse before lif; put Linear, Conv2d, ... between populations."),
        ((L(), lif(), L(), lif()), {"names": ("a", "a")}, "names must differ; 'a' is used twice."),
        (
            (L(), lif(), ns.Flatten(), L()),
            {},
            "Sequential must end with neurons; Flatten, Linear is last. Add LI(dt=...) to read out currents.",
        ),
    ],
)
def test_parts_that_make_no_row_are_refused(parts, options, said):
    with pytest.raises(NetworkError) as caught:
        ns.Sequential(*parts, **options)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("x", "kind", "said"),
    [
        (torch.ones(5, 2, 7), ShapeError, "x for 'input' must be a tensor [T, B, 6]; got [5, 2, 7]."),
        (torch.ones(5, 6), ShapeError, "x for 'input' must be a tensor [T, B, 6]; got [5, 6]."),
        ([[1.0]], ShapeError, "x for 'input' must be a tensor [T, B, 6]; got list."),
        (
            torch.ones(5, 2, 6).int(),
            InputError,
            "x for 'input' must be in floating point; got torch.int32. Use x.float().",
        ),
        ({"left": torch.ones(5, 2, 6)}, InputError, "x must give data for the inputs ['input']; got ['left']."),
    ],
)
def test_data_that_do_not_fit_are_refused(x, kind, said):
    with pytest.raises(kind) as caught:
        ns.Network(*self_loop())(x)
    assert str(caught.value) == said


def test_inputs_of_different_length_are_refused():
    nodes = {"left": ns.Input(2), "right": ns.Input(2), "out": ns.LI(dt=DT)}
    net = ns.Network(nodes, [ns.Edge("left", "out", L()), ns.Edge("right", "out", L())])
    with pytest.raises(ShapeError, match=r"^all inputs must share T and B; 'right' has \[6, 1\], another \[5, 1\]\.$"):
        net({"left": torch.ones(5, 1, 2), "right": torch.ones(6, 1, 2)})


def state_with(change):
    net = ns.Network(*self_loop())
    state = net.initial_state(torch.ones(1, 2, 6))
    change(state)
    return net, state


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda s: s.nodes.pop("hidden"),
            "state.nodes must hold ['hidden', 'out']; got ['out']. Was it made by another network?",
        ),
        (
            lambda s: s.in_flight.pop("hidden"),
            "state.in_flight must hold ['hidden']; got []. Was it made by another network?",
        ),
        (
            lambda s: s.in_flight.update({"hidden": torch.ones(2, 2, 5)}),
            "state.in_flight['hidden'] must be [3, 2, 5]; got [2, 2, 5].",
        ),
        (
            lambda s: s.nodes.update({"hidden": (torch.ones(3, 5),)}),
            "lif: state.v must be [2, 5] as i[0] is; got [3, 5].",
        ),
    ],
)
def test_a_state_of_another_network_or_batch_is_refused(change, said):
    net, state = state_with(change)
    with pytest.raises(ShapeError) as caught:
        net(torch.ones(4, 2, 6), state)
    assert str(caught.value) == said


def test_a_state_of_another_kind_is_refused():
    with pytest.raises(
        InputError, match=r"^state must be the NetworkState that a network returned, or None; got tuple\.$"
    ):
        ns.Network(*self_loop())(torch.ones(4, 2, 6), (torch.zeros(2, 5),))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nobody", "cannot record 'nobody': no node 'nobody'; this network has ['input', 'hidden', 'out']."),
        ("input.v", "cannot record 'input.v': 'input' is an input and has no variables."),
        ("hidden.", "cannot record 'hidden.': no variable after the dot; leave the dot out to record the output."),
        ("hidden.w", "lif: cannot record ['w']; this core has ['v', 'u', 'z']."),
    ],
)
def test_what_is_not_there_cannot_be_recorded(name, said):
    with pytest.raises(InputError) as caught:
        ns.Network(*self_loop()).run(torch.ones(4, 2, 6), None, [name])
    assert str(caught.value) == said


def test_the_shape_of_an_unknown_node_is_refused():
    with pytest.raises(InputError, match=r"^no node 'x'; this network has \['input', 'hidden', 'out'\]\.$"):
        ns.Network(*self_loop()).shape("x")


def test_an_edge_to_several_targets_is_one_edge_each():
    delayed = RoundedDelays(torch.ones(3, 3), torch.ones(3, 3).long())
    nodes = {"x": ns.Input(3), "a": ns.LIF(), "b": ns.LIF(), "c": ns.LIF()}
    edges = [ns.Edge("x", ("a", "b", "c"), Identity()), ns.Edge("a", ("a", "b"), [delayed, Identity()], delay=2e-3)]
    net = ns.Network(nodes, edges, dt=1e-3)
    assert [edge.name for edge in net.edges] == ["x->a", "x->b", "x->c", "a->a", "a->b"]
    assert [edge.delay_steps for edge in net.edges] == [0, 0, 0, 2, 2]
    copies = [synapse for edge in net.edges for synapse in edge.synapses]
    assert len({id(synapse) for synapse in copies}) == len(copies) and not delayed.has_dt
    written = [ns.Edge("x", name, Identity()) for name in "abc"]
    for name in "ab":
        twin = RoundedDelays(torch.ones(3, 3), torch.ones(3, 3).long(), dt=1e-3)
        written.append(ns.Edge("a", name, [twin, Identity()], delay=2e-3))
    each = ns.Network({"x": ns.Input(3), **{name: ns.LIF(dt=1e-3) for name in "abc"}}, written)
    x = torch.rand(30, 2, 3) * 6
    assert torch.equal(net(x)[0], each(x)[0]) and net(x)[0].any()


def test_synapses_with_parameters_are_not_shared_by_several_targets():
    nodes = {"x": ns.Input(3), "a": ns.LIF(dt=1e-3), "b": ns.LIF(dt=1e-3)}
    with pytest.raises(NetworkError, match=r"edge 'x' to \('a', 'b'\): Linear holds the parameters \['weight'\]"):
        ns.Network(nodes, [ns.Edge("x", ("a", "b"), [Identity(), ns.Linear(3, 3)])])
    with pytest.raises(NetworkError, match=r"edge 'x' to \('a', 'b'\): one name, 'both', for several edges"):
        ns.Network(nodes, [ns.Edge("x", ("a", "b"), Identity(), name="both")])
    with pytest.raises(NetworkError, match=r"edge 'x' to \(\): no target"):
        ns.Network(nodes, [ns.Edge("x", (), Identity())])
    with pytest.raises(NetworkError, match=r"edge 'x->c': no node 'c'"):
        ns.Network(nodes, [ns.Edge("x", ("a", "b", "c"), Identity())])
