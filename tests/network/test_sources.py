"""Networks with sources: their description, state and gradients, and every place that takes data alone."""

from __future__ import annotations

import copy

import pytest
import torch

import neurosim as ns
from neurosim.circuit import Current, Poisson
from neurosim.energy import count_operations
from neurosim.errors import ExportError, InputError, NetworkError, ShapeError
from neurosim.exchange.nir import to_nir
from neurosim.exchange.peers import ConversionError, to_norse, to_snntorch
from neurosim.hardware.lava import to_lava
from neurosim.hardware.loihi import describe
from neurosim.hardware.netx import write_netx
from neurosim.hardware.placement import Workload, place
from neurosim.hardware.quantise import quantise
from neurosim.learning import EProp, EventProp
from neurosim.learning.rules.local_readouts import LocalReadouts
from neurosim.network import Source, SourceState, fold
from neurosim.plasticity import PairSTDP, Plasticity
from neurosim.synapses.norm import BatchNorm

DT = 1e-3


def exact(net):
    """Put the weights on a grid, so that sums do not depend on how many steps a product gets at once."""
    with torch.no_grad():
        for weight in net.parameters():
            weight.copy_((weight * 64).round() / 16)
    return net


@pytest.fixture
def driven():
    """A network with an Input and two sources, a loop and a delay."""
    nodes = {
        "input": ns.Input(4),
        "noise": Poisson(100.0, 6),
        "bias": Current([0.5, 0.0, -0.5, 0.25, 0.0], 5),
        "hidden": ns.LIF(dt=DT, v_th=0.2),
        "out": ns.LI(dt=DT),
    }
    edges = [
        ns.Edge("input", "hidden", ns.Linear(4, 5)),
        ns.Edge("noise", "hidden", ns.Linear(6, 5), delay=2e-3),
        ns.Edge("bias", "hidden", ns.Linear(5, 5)),
        ns.Edge("hidden", "hidden", ns.Linear(5, 5)),
        ns.Edge("hidden", "out", ns.Linear(5, 3)),
    ]
    return exact(ns.Network(nodes, edges))


@pytest.fixture
def alone():
    """A network without an Input."""
    nodes = {"noise": Poisson(500.0, 6), "out": ns.LIF(dt=DT, v_th=0.1)}
    return exact(ns.Network(nodes, [ns.Edge("noise", "out", ns.Linear(6, 3))]))


def data(T=30, B=2):
    return (torch.rand(T, B, 4, generator=torch.Generator().manual_seed(0)) < 0.3).float()


def test_sources_are_nodes_beside_inputs_and_populations(driven):
    assert driven.inputs == ("input",)
    assert driven.sources == ("noise", "bias")
    assert list(driven.populations()) == ["hidden", "out"]
    assert driven.shape("noise") == (6,) and driven.shape("hidden") == (5,)


def test_the_state_is_where_the_sources_stand(driven):
    start = driven.initial_state(data(), seed=9)
    assert isinstance(start.nodes["noise"], SourceState)
    assert [value.tolist() for value in start.nodes["noise"]] == [[9, 9], [0, 1], [0, 0]]
    _, after = driven(data(), start)
    assert after.nodes["noise"].step.tolist() == [30, 30]
    assert start.nodes["noise"].step.tolist() == [0, 0]
    assert [v.tolist() for v in driven.initial_state(data(), trials=[4, 2]).nodes["bias"]][1:] == [[4, 2], [0, 0]]


def test_what_the_sources_send_is_input_like_any_other(driven):
    """The same network with Inputs in place of the sources gives the same output."""
    start = driven.initial_state(data(), seed=1)
    z, _, sent, *_ = driven.run(data(), start, ("noise", "bias"))
    nodes = {**driven.nodes, "noise": ns.Input(6), "bias": ns.Input(5)}
    edges = [ns.Edge(e.source, e.target, e.synapses, e.delay) for e in driven.edges]
    plain = ns.Network(nodes, edges, output="out")
    assert sent["noise"].sum() > 10 and torch.equal(sent["bias"][3, 1], torch.tensor([0.5, 0.0, -0.5, 0.25, 0.0]))
    assert torch.equal(plain({"input": data(), **sent})[0], z)


@pytest.mark.parametrize("cut", [0, 1, 13, 30])
def test_a_split_run_is_the_same_run(driven, cut):
    start = driven.initial_state(data(), seed=1)
    z, after = driven(data(), start)
    first, middle = driven(data()[:cut], start)
    rest, end = driven(data()[cut:], middle)
    assert torch.equal(torch.cat((first, rest)), z)
    for name, values in after.nodes.items():
        assert all(torch.equal(a, b) for a, b in zip(values, end.nodes[name], strict=True)), name


def test_a_network_without_input_runs_for_steps(alone):
    start = alone.initial_state(batch=3, seed=2)
    z, _ = alone(state=start, steps=40)
    assert z.shape == (40, 3, 3) and z.sum() > 0
    assert alone(steps=40)[0].shape == (40, 1, 3) and alone(steps=0, batch=2)[0].shape == (0, 2, 3)
    first, middle = alone(state=start, steps=15)
    rest, _ = alone(state=middle, steps=25)
    assert torch.equal(torch.cat((first, rest)), z)
    assert alone.double()(steps=4)[0].dtype == torch.float64


def test_samples_of_a_state_can_be_picked(alone):
    _, middle = alone(state=alone.initial_state(batch=4, seed=2), steps=10)
    later, _ = alone(state=middle, steps=10)
    picked = {name: type(held)(*(value[[3, 1]] for value in held)) for name, held in middle.nodes.items()}
    assert torch.equal(alone(state=ns.NetworkState(picked, {}), steps=10)[0], later[:, [3, 1]])


@pytest.mark.parametrize("rule", [ns.BPTT(), ns.BPTT(recompute=True), ns.SLTT(), ns.SLTT(chunk=4), ns.OTTT()], ids=repr)
def test_rules_train_with_sources(driven, rule):
    torch.manual_seed(0)
    value, output = rule.gradients(driven, data(), torch.tensor([0, 2]), ns.CrossEntropy())
    gradients = [p.grad.clone() for p in driven.parameters()]
    assert all(torch.isfinite(g).all() for g in gradients) and sum(float(g.abs().sum()) for g in gradients) > 0
    driven.zero_grad()
    torch.manual_seed(0)
    again, same = rule.gradients(driven, data(), torch.tensor([0, 2]), ns.CrossEntropy())
    assert torch.equal(value, again) and torch.equal(output, same)
    if isinstance(rule, ns.BPTT):
        driven.zero_grad()
        torch.manual_seed(0)
        ns.BPTT(recompute=not rule.recompute).gradients(driven, data(), torch.tensor([0, 2]), ns.CrossEntropy())
        assert all(torch.equal(p.grad, g) for p, g in zip(driven.parameters(), gradients, strict=True))


def test_several_spikes_a_step_keep_their_number_when_steps_are_computed_again():
    net = ns.Network({"noise": Poisson(3000.0, 6), "out": ns.LIF(dt=DT)}, [ns.Edge("noise", "out", ns.Linear(6, 3))])
    gradients = []
    for recompute in (False, True):
        net.zero_grad()
        z, _ = net(state=net.initial_state(seed=1), steps=40, recompute=recompute)
        z.sum().backward()
        gradients.append(net.edges[0].synapses[0].weight.grad.clone())
    assert torch.allclose(*gradients, rtol=1e-5) and gradients[0].abs().sum() > 0


def test_a_training_run_resumes_bit_for_bit(driven, tmp_path):
    batches = [(data(), torch.tensor([0, 2])), (1 - data(), torch.tensor([1, 1]))]

    def train(folder, epochs, resume=False):
        net = copy.deepcopy(driven)
        torch.manual_seed(99)  # fit seeds torch itself
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        options = dict(epochs=epochs, optimizer=optimizer, seed=3, progress=False)
        ns.fit(net, batches, checkpoint=tmp_path / folder, resume=resume, **options)
        return list(net.parameters())

    whole = train("whole", 3)
    first = train("parts", 1)
    again = train("parts", 3, resume=True)
    assert all(torch.equal(a, b) for a, b in zip(whole, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(whole, first, strict=True))


@pytest.mark.filterwarnings("ignore:edge 'noise->out'. 1 of 18 weights are exactly 0")
def test_a_circuit_learns_from_its_own_spikes(alone):
    def run(chunk):
        net = copy.deepcopy(alone)
        plasticity = Plasticity(net, {"noise->out": PairSTDP(a_plus=0.05, w_max=2.0)}, chunk=chunk)
        plasticity.run(state=net.initial_state(batch=2, seed=1), steps=30)
        return net.edges[0].synapses[0].weight

    assert not torch.equal(run(1), alone.edges[0].synapses[0].weight)
    with pytest.raises(InputError, match="this network has no Input; steps must be an integer from 1; got None"):
        Plasticity(alone, {"noise->out": PairSTDP()}).run()


def test_a_network_of_sources_is_explained(alone, driven):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    (row,) = alone.explain(steps=20, batch=3).rows
    assert row.populations == ("out",) and 0.3 < row.rates["noise->out"] < 0.5
    assert torch.equal(torch.get_rng_state(), before)
    rates = {name: rate for row in driven.explain(data()).rows for name, rate in row.rates.items()}
    assert rates["bias->hidden"] == pytest.approx(3 / 5)


def test_a_compiled_network_draws_the_same(alone):
    start = alone.initial_state(batch=2, seed=1)
    compiled = torch.compile(alone, backend="eager")
    assert torch.equal(compiled(state=start, steps=30)[0], alone(state=start, steps=30)[0])


def test_folding_and_copies_keep_sources(alone):
    nodes = {"noise": Poisson(500.0, 6), "out": ns.LIF(dt=DT)}
    net = ns.Network(nodes, [ns.Edge("noise", "out", [ns.Linear(6, 3), BatchNorm(3)])]).eval()
    assert fold(net).sources == ("noise",)
    start = alone.initial_state(seed=1)
    assert torch.equal(copy.deepcopy(alone)(state=start, steps=30)[0], alone(state=start, steps=30)[0])


def test_a_source_is_an_input_from_outside_the_chip(alone):
    assert Workload.of(alone).inputs == {"noise": 6}
    assert place(alone, "loihi1").fits


class Ramp(Source):
    """A source of one's own."""

    def __init__(self):
        super().__init__("Ramp", 2)

    @property
    def is_spiking(self):
        return False

    def check(self, dt):
        pass

    def values(self, state, steps, *, stream, dt, dtype):
        step = state.step + torch.arange(steps)[:, None]
        return step[..., None].to(dtype).expand(-1, -1, 2)


def test_a_source_of_ones_own_runs():
    net = ns.Network({"ramp": Ramp(), "out": ns.LI(dt=DT)}, [ns.Edge("ramp", "out", ns.Linear(2, 1))])
    run = ns.simulate(net, steps=5, batch=2, record=["ramp"], chunk=2)
    assert run.traces["ramp"][:, 1, 0].tolist() == [0, 1, 2, 3, 4]


# Refusals


def linear(source, target="out"):
    return [ns.Edge(source, target, ns.Linear(2, 2))]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: ns.Network({"out": ns.LIF(dt=DT)}, linear("out")),
            "the shape of 'out' cannot be computed",
        ),
        (lambda: ns.Network({"s": 3, "out": ns.LIF(dt=DT)}, []), "must be an Input, a source or a layer"),  # type: ignore[dict-item]
        (
            lambda: ns.Network({"x": ns.Input(2), "s": Current(1.0, 2), "out": ns.LIF(dt=DT)}, linear("x", "s")),
            "'s' is a source and takes no synapses",
        ),
        (
            lambda: ns.Network({"out": ns.LIF(dt=DT), "s": Current(1.0, 2)}, linear("s")),
            r"output must name a population of neurons, one of \['out'\]; got 's'",
        ),
    ],
)
def test_networks_that_are_none_are_refused(make, message):
    with pytest.raises(NetworkError, match=message):
        make()


def test_two_sources_of_one_stream_are_refused(monkeypatch):
    monkeypatch.setattr("neurosim.network.source.stream_of", lambda name: 1)
    nodes = {"a": Poisson(1.0, 2), "b": Poisson(1.0, 2), "out": ns.LIF(dt=DT)}
    with pytest.raises(NetworkError, match="nodes 'a' and 'b' would draw the same numbers; rename one of them"):
        ns.Network(nodes, [*linear("a"), *linear("b")])


def test_calls_that_do_not_fit_are_refused(alone, driven):
    plain = ns.Sequential(ns.Linear(2, 2), ns.LIF(dt=DT))
    for call, error, message in (
        (lambda: alone(), InputError, "this network has no Input; give steps="),
        (lambda: alone(steps=-1), InputError, "steps must be .* from 0; got -1"),
        (lambda: alone(torch.ones(3, 1, 2)), InputError, r"x must give data for the inputs \[\]; got \['x'\]"),
        (lambda: driven(steps=3), InputError, r"x must give data for the inputs \['input'\]; got \[\]"),
        (lambda: driven(data(), steps=3), InputError, "contradict x, which has T = 30 and B = 2"),
        (lambda: driven(data(), batch=3), InputError, "contradict x"),
        (lambda: alone(steps=3, state="x"), InputError, "state must be the NetworkState .*; got str"),
        (
            lambda: alone(steps=3, state=ns.NetworkState({}, {})),
            ShapeError,
            r"state.nodes must hold \['noise', 'out'\]; got \[\]",
        ),
        (lambda: alone(steps=3, batch=2, state=alone.initial_state()), ShapeError, r"must hold int64 values \[2\]"),
        (lambda: driven(data(B=3), driven.initial_state(data())), ShapeError, r"must be \[2, 3, 6\]; got \[2, 2, 6\]"),
        (lambda: alone.initial_state(seed=-1), InputError, "seed must be an integer in 0 ... 2.63 - 1; got -1"),
        (lambda: alone.initial_state(seed=1.5), InputError, "seed must be an integer"),
        (lambda: alone.initial_state(batch=2, trials=[1]), InputError, "one number for each of the 2 samples; got 1"),
        (lambda: alone.initial_state(trials=[2**32]), InputError, r"trials must be integers in 0 \.\.\. 2\^32 - 1"),
        (lambda: driven.initial_state(data(), batch=5), InputError, "batch=5 contradicts x, which has B = 2"),
        (lambda: plain.initial_state(torch.ones(1, 1, 2), seed=1), InputError, "are for networks with sources"),
        (lambda: alone.run(steps=3, record=["noise.v"]), InputError, "'noise' is a source and has no variables"),
    ):
        with pytest.raises(error, match=message):
            call()


DATA_ALONE = {
    "count_operations": lambda net, path: count_operations(net, data()),
    "to_nir": lambda net, path: to_nir(net),
    "quantise": lambda net, path: quantise(net, data(), bits=8),
    "describe": lambda net, path: describe(net),
    "write_netx": lambda net, path: write_netx(net, path),
    "to_lava": lambda net, path: to_lava(net),
    "to_snntorch": lambda net, path: to_snntorch(net),
    "to_norse": lambda net, path: to_norse(net),
    "EProp": lambda net, path: EProp().gradients(net, data(), torch.tensor([0, 1]), ns.CrossEntropy()),
    "EventProp": lambda net, path: EventProp().gradients(net, data(), torch.tensor([0, 1]), ns.CrossEntropy()),
    "LocalReadouts": lambda net, path: LocalReadouts(net, classes=3),
}


@pytest.mark.parametrize("name", DATA_ALONE)
def test_what_takes_data_alone_refuses_sources_by_name(driven, name, tmp_path):
    said = r"node '(noise|bias)':? makes its own input; replace it by an Input and give its output as data, which simul"
    with pytest.raises((InputError, ExportError, ConversionError), match=said):
        DATA_ALONE[name](driven, tmp_path / "a.net")
