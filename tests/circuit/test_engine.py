"""The engine of circuits gives the bits of the layered strategies."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim import cores
from neurosim.circuit import Current, FromTable, Poisson, SpikeTrain
from neurosim.circuit.engine import Engine, obstacle
from neurosim.errors import InputError, ShapeError
from neurosim.language import Core
from neurosim.network.neuron import Neuron
from neurosim.synapses import DelayedSparse, Identity, Scale, Sparse
from neurosim.synapses.connectivity import AllToAll, Bernoulli, FixedInDegree, FixedOutDegree, FixedTotal, OneToOne
from neurosim.synapses.distributions import Normal, Uniform

DT = 1e-4
NE, NI = 70, 33  # no multiples of the lanes


def synapse(n_in, n_out, weight, seed, delayed):
    rule, weights = Bernoulli(0.3), Normal(weight, 0.3 * abs(weight))
    if delayed:
        delay = Uniform(DT, 20 * DT)
        return DelayedSparse.drawn(n_in, n_out, rule, delay=delay, weight=weights, seed=seed, dt=DT)
    return Sparse.drawn(n_in, n_out, rule, weight=weights, seed=seed)


def network(core=cores.refractory_lif, delayed=False, **values):
    if core is cores.refractory_lif:
        values.setdefault("t_ref", 10 * DT)
    late = 0.0 if delayed else DT
    return ns.Network(
        {"noise": Poisson(9000.0, NE), "E": Neuron(core, dt=DT, **values), "I": Neuron(core, dt=DT, **values)},
        [
            ns.Edge("noise", "E", Scale(9.0)),
            ns.Edge("E", "E", synapse(NE, NE, 20.0, 1, delayed), delay=late),
            ns.Edge("E", "I", synapse(NE, NI, 30.0, 2, delayed)),
            ns.Edge("I", "E", synapse(NI, NE, -30.0, 3, delayed), delay=3 * DT),
            ns.Edge("I", "I", synapse(NI, NI, -20.0, 4, False), delay=5 * DT),
        ],
    )


def assert_equal(a, b):
    for name, events in b.spikes.items():
        found, wanted = a.spikes[name].read(), events.read()
        for column in ("step", "batch", "neuron"):
            assert np.array_equal(getattr(found, column), getattr(wanted, column)), (name, column)
    for name, trace in b.traces.items():
        assert np.array_equal(np.asarray(a.traces[name]), np.asarray(trace), equal_nan=True), name
    for kind in ("nodes", "in_flight"):
        found, wanted = getattr(a.state, kind), getattr(b.state, kind)
        assert list(found) == list(wanted) or set(found) == set(wanted)
        for name, values in wanted.items():
            pairs = (
                [(found[name], values)] if isinstance(values, torch.Tensor) else zip(found[name], values, strict=True)
            )
            assert all(torch.equal(x, y) for x, y in pairs), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("delayed", [False, True])
@pytest.mark.parametrize("core", [cores.lif, cores.refractory_lif, cores.cubalif, cores.alif, cores.atrlif])
def test_the_engine_gives_the_bits_of_the_layered_run(core, delayed, dtype):
    net = network(core, delayed).to(dtype)
    record = ["E", "I", "E.v", "noise"]
    runs = [ns.simulate(net, steps=300, seed=5, batch=2, record=record, engine=e) for e in ("circuit", "layered")]
    assert [run.engine for run in runs] == ["circuit", "layered"]
    assert len(runs[0].spikes["E"]) > 100
    assert len(runs[0].spikes["I"]) > 20
    assert_equal(*runs)


RATES = {
    "change points": lambda: Poisson([9000.0, 0.0, 3000.0], NE, times=[2 * DT, 100 * DT, 150 * DT]),
    "window": lambda: Poisson(9000.0, NE, start=20 * DT, stop=250 * DT),
    "steps": lambda: Poisson(9000.0 * torch.rand(300, 1, generator=torch.Generator().manual_seed(3)), NE),
    "trials": lambda: Poisson(torch.tensor([[[5000.0], [9000.0]], [[0.0], [9000.0]]]), NE, times=[0.0, 130 * DT]),
    "one a step": lambda: Poisson([9000.0, 0.0], NE, times=[0.0, 130 * DT], binary=True),
}


@pytest.mark.parametrize("drawn", [False, True])
@pytest.mark.parametrize("rates", RATES.values(), ids=RATES)
def test_rates_over_time_are_drawn_in_the_loop_with_the_bits_of_the_layered_run(rates, drawn):
    feed = ns.Drawn(OneToOne(), weight=9.0) if drawn else Scale(9.0)
    loop = ns.Drawn(Bernoulli(0.3), weight=2.0)
    edges = [ns.Edge("noise", "E", feed), ns.Edge("E", "E", loop, delay=2 * DT)]
    net = ns.Network({"noise": rates(), "E": Neuron(cores.refractory_lif, dt=DT, size=NE, t_ref=10 * DT)}, edges)
    engine = Engine(net, net.initial_state(batch=2, seed=5), ["E"])
    assert [drive.source for drive in engine.wiring.drives] == ["noise"] and not engine.dense_sources
    wanted = ns.simulate(net, steps=300, seed=5, batch=2, engine="layered")
    assert len(wanted.spikes["E"]) > 100
    for chunk in (300, 37):
        assert_equal(ns.simulate(net, steps=300, seed=5, batch=2, chunk=chunk, engine="circuit"), wanted)
    # Trials that stand at different steps.
    first = ns.simulate(net, steps=120, seed=5, batch=2, engine="layered")
    later = first.state.nodes["noise"]._replace(step=torch.tensor([120, 140]))
    state = first.state._replace(nodes={**first.state.nodes, "noise": later})
    assert_equal(*(ns.simulate(net, steps=100, state=state, engine=e) for e in ("circuit", "layered")))


def test_r2_a_run_in_chunks_from_a_file_and_continued_is_the_run_in_one(tmp_path):
    net = network(delayed=True)
    whole = ns.simulate(net, steps=300, seed=5)
    assert whole.engine == "circuit"  # chosen, since there are sparse synapses among the populations
    assert_equal(ns.simulate(net, steps=300, seed=5, chunk=7), whole)
    with ns.simulate(net, steps=300, seed=5, path=tmp_path / "run.h5") as stored:
        assert_equal(stored, whole)
    first = ns.simulate(net, steps=113, seed=5)
    rest = ns.simulate(net, steps=187, state=first.state)
    joined = ns.Events.joined([first.spikes["E"], rest.spikes["E"]])
    assert np.array_equal(joined.step, whole.spikes["E"].step)
    assert np.array_equal(joined.neuron, whole.spikes["E"].neuron)
    other = ns.simulate(net, steps=187, state=first.state, engine="layered")
    assert_equal(rest, other)


def test_a_trial_is_the_same_alone_and_in_a_batch_with_its_parameters():
    tau = torch.tensor([[10e-3], [20e-3], [30e-3]])
    net = network(tau_mem=tau)
    batch = ns.simulate(net, steps=200, seed=5, batch=3)
    assert batch.engine == "circuit"
    for trial in range(3):
        alone = ns.simulate(network(tau_mem=float(tau[trial])), steps=200, seed=5, trials=[trial])
        own = batch.spikes["E"].samples(trial)
        assert np.array_equal(own.step, alone.spikes["E"].step)
        assert np.array_equal(own.neuron, alone.spikes["E"].neuron)


def test_real_weights_do_not_depend_on_the_number_of_parts():
    found = []
    for parts in (1, 2, 3):
        net = network(delayed=True)
        engine = Engine(net, net.initial_state(batch=1, seed=5), ["E", "I"], parts=parts)
        found.append(engine.advance(200))
        # Synapses stay in the order of their weights.
        assert torch.equal(net["E->I"][0].rows.post, network(delayed=True)["E->I"][0].rows.post)
        assert engine.wiring.division.parts == parts
    for events in found[1:]:
        for name in ("E", "I"):
            assert np.array_equal(events[name].step, found[0][name].step)
            assert np.array_equal(events[name].neuron, found[0][name].neuron)


def test_values_for_each_neuron_and_input_from_outside():
    torch.manual_seed(0)
    net = ns.Network(
        {
            "x": ns.Input(12),
            "drive": Current(lambda t: 1.0 + np.sin(40 * t), 1),
            "E": Neuron(cores.lif, dt=DT, r=40.0, tau_mem=torch.linspace(5e-3, 30e-3, NE)),
        },
        [
            ns.Edge("x", "E", ns.Linear(12, NE), delay=2 * DT),
            ns.Edge("drive", "E", ns.Linear(1, NE, bias=False)),
            ns.Edge("E", "E", Sparse.drawn(NE, NE, FixedInDegree(9), weight=Normal(5.0, 1.0), seed=1), delay=4 * DT),
            ns.Edge("E", "E", Identity(), delay=DT, name="self"),
        ],
    )
    x = (torch.rand(250, 2, 12) < 0.2).float()
    for chunk in (250, 33):
        runs = [
            ns.simulate(net, {"x": x}, seed=3, chunk=chunk, record=["E", "E.v"], engine=e)
            for e in ("circuit", "layered")
        ]
        assert len(runs[0].spikes["E"]) > 100
        assert_equal(*runs)


@pytest.mark.parametrize("drawn", [2, 9])
def test_edges_of_one_source_with_other_delays_and_ways_of_delivery(drawn):
    torch.manual_seed(0)
    feed = ns.Drawn(Bernoulli(0.3), weight=Normal(6.0, 1.0), delay=Uniform(DT, drawn * DT))
    loop = ns.Drawn(Bernoulli(0.3), weight=2.0, delay=Uniform(DT, 5 * DT))
    net = ns.Network(
        {"noise": Poisson(900.0, NE), "E": ns.LIF(dt=DT, size=NE), "I": ns.LIF(dt=DT, size=NI)},
        [
            ns.Edge("noise", "E", feed, delay=0.0),
            ns.Edge("noise", "I", ns.Linear(NE, NI), delay=6 * DT),
            ns.Edge("noise", "I", ns.Linear(NE, NI), delay=3 * DT, name="sooner"),
            ns.Edge("E", "E", loop, delay=0.0),
            ns.Edge("E", "I", loop, delay=8 * DT),
        ],
    )
    runs = [ns.simulate(net, steps=200, seed=3, chunk=33, engine=e) for e in ("circuit", "layered")]
    assert len(runs[0].spikes["E"]) > 100
    assert_equal(*runs)
    assert {name: len(line) for name, line in runs[0].state.in_flight.items()} == {"noise": max(6, drawn), "E": 13}
    first = ns.simulate(net, steps=101, seed=3, engine="circuit")
    rest = [ns.simulate(net, steps=99, state=first.state, engine=e) for e in ("circuit", "layered")]
    assert_equal(*rest)
    joined = ns.Events.joined([first.spikes["E"], rest[0].spikes["E"]])
    assert np.array_equal(joined.step, runs[0].spikes["E"].step)


def test_a_full_log_grows():
    net = ns.Network(
        {"drive": Current(1e4, NE), "E": ns.LIF(dt=DT)},
        [ns.Edge("drive", "E", Identity()), ns.Edge("E", "E", synapse(NE, NE, 1.0, 1, False), delay=DT)],
    )
    run = ns.simulate(net, steps=1000, engine="circuit")
    assert len(run.spikes["E"]) == 1000 * NE


@pytest.mark.parametrize("parts", [1, 2])
def test_a_state_that_is_not_finite_is_refused_by_name_and_step(parts):
    spikes = ns.Events(step=[3, 23], neuron=[1, 130], T=30, dt=DT, shape=150)
    net = ns.Network(
        {
            "x": SpikeTrain(spikes),
            "y": Poisson(9000.0, 150),
            "out": ns.LIF(dt=DT, size=150, v_th=1e30, r=1e30, reset=None),
        },
        [
            ns.Edge("x", "out", ns.Drawn(OneToOne(), weight=1e-3)),
            ns.Edge("y", "out", ns.Drawn(OneToOne(), weight=1e-30)),
            ns.Edge("x", "out", Scale(torch.tensor([1e20 if k == 130 else 1.0 for k in range(150)])), name="far"),
            ns.Edge("out", "out", synapse(150, 150, 1.0, 1, False), delay=2 * DT),
        ],
    )
    with pytest.raises(InputError, match=r"^out\.v of neuron 130 in trial 0, after step 23, is no longer finite"):
        Engine(net, net.initial_state(batch=1, seed=0), ["out"], parts=parts).advance(30)


def test_what_the_engine_cannot_run_is_named():
    lif = ns.LIF(dt=DT)
    loop = ns.Network(
        {"x": ns.Input(3), "a": lif}, [ns.Edge("x", "a", ns.Linear(3, 3)), ns.Edge("a", "a", ns.Linear(3, 3))]
    )
    x = torch.zeros(4, 1, 3)
    with pytest.raises(InputError, match="cannot run this network: edge 'a->a': Linear has no rows"):
        ns.simulate(loop, x, engine="circuit")
    assert ns.simulate(loop, x).engine == "layered"
    stateless = ns.Network({"a": Neuron(cores.threshold, dt=DT, size=3)}, [])
    assert obstacle(stateless, [], torch.device("cpu")) == "'a' has no state"
    membrane = ns.Network({"x": ns.Input(3), "a": ns.LI(dt=DT)}, [ns.Edge("x", "a", ns.Linear(3, 3))])
    assert "is not a spike" in obstacle(membrane, [], torch.device("cpu"))
    with pytest.raises(InputError, match='engine must be "circuit"'):
        ns.simulate(loop, x, engine="fast")
    local = network()
    assert ns.simulate(local, steps=3, record=["E.u"]).engine == "layered"


def drawn(kind):
    """A network of drawn synapses whose tables are of one kind."""
    weight, inhibitory, rule, delay = {
        "bits": (8.0, -16.0, Bernoulli(0.3), 2 * DT),
        "constant": (8.0, -16.0, FixedInDegree(2), 2 * DT),
        "bits and repeats": (8.0, -16.0, FixedInDegree(20), 2 * DT),
        "packed": (
            Normal(8.0, 1.0, low=0.0, outside="redrawn"),
            Normal(-16.0, 1.0),
            FixedInDegree(12),
            Uniform(DT, 9 * DT),
        ),
        "wide": (Normal(8.0, 20.0), -16.0, FixedTotal(700), Uniform(DT, 9 * DT)),
    }[kind]
    if kind == "packed":
        inhibitory = Normal(-16.0, 1.0, high=0.0, outside="redrawn")
    values = dict(dt=DT, t_ref=10 * DT)
    ends = {"E": Neuron(cores.refractory_lif, size=150, **values), "I": Neuron(cores.refractory_lif, size=70, **values)}
    return ns.Network(
        {"x": Poisson(9000.0, 150), "y": Poisson(50.0, 40), **ends},
        [
            ns.Edge("x", "E", ns.Drawn(OneToOne(), weight=9.0)),
            ns.Edge("y", "I", ns.Drawn(Bernoulli(0.5), weight=90.0), delay=3 * DT),
            ns.Edge("E", ("E", "I"), ns.Drawn(rule, weight=weight, delay=delay)),
            ns.Edge("I", ("E", "I"), ns.Drawn(rule, weight=inhibitory, delay=delay)),
        ],
    )


@pytest.mark.parametrize("kind", ["bits", "constant", "bits and repeats", "packed", "wide"])
def test_r3_drawn_synapses_give_the_bits_of_the_layered_run_in_any_division(kind):
    net = drawn(kind)
    layered = ns.simulate(net, steps=400, seed=5, record=["E", "I"], engine="layered")
    assert len(layered.spikes["E"]) > 100
    assert len(layered.spikes["I"]) > 20
    assert_equal(ns.simulate(net, steps=400, seed=5, record=["E", "I"], chunk=41), layered)
    start = net.initial_state(batch=1, seed=5)
    for parts in (1, 2, 3):
        engine = Engine(net, start, ["E", "I", "E.v"], parts=parts)
        assert engine.wiring.division.parts == parts
        kinds = {route.kind for route in engine.wiring.routes}
        assert kinds >= ({"bits", "constant"} if kind == "bits and repeats" else {kind})
        recorded = [engine.advance(steps) for steps in (150, 250)]
        for name in ("E", "I"):
            events = ns.Events.joined([each[name] for each in recorded])
            assert np.array_equal(events.step, layered.spikes[name].step)
            assert np.array_equal(events.neuron, layered.spikes[name].neuron)
        traces = torch.cat([each["E.v"] for each in recorded])
        assert torch.equal(traces[-1], layered.state.nodes["E"].v)
        assert torch.equal(engine.state().nodes["I"].v, layered.state.nodes["I"].v)


def test_how_edges_are_grouped_does_not_change_the_raster():
    def net(split):
        parts = {"E1": 60, "E2": 90} if split else {"E": 150}
        values = dict(dt=DT, t_ref=10 * DT)
        nodes = {"x": Poisson(9000.0, 150), "E": Neuron(cores.refractory_lif, size=150, **values)}
        edges = [ns.Edge("x", "E", ns.Drawn(OneToOne(), weight=9.0))]
        edges += [
            ns.Edge("E", "E", ns.Drawn(AllToAll(), weight=0.3), delay=2 * DT, name=f"part {k}")
            for k in range(len(parts))
        ]
        if not split:
            edges[-1] = ns.Edge("E", "E", ns.Drawn(AllToAll(), weight=0.6), delay=2 * DT)
        return ns.Network(nodes, edges)

    one, two = (ns.simulate(net(split), steps=300, seed=5, record=["E"]) for split in (False, True))
    assert one.engine == "circuit"
    assert len(one.spikes["E"]) > 100
    assert np.array_equal(one.spikes["E"].neuron, two.spikes["E"].neuron)
    assert np.array_equal(one.spikes["E"].step, two.spikes["E"].step)


def test_weights_that_were_changed_or_learn_are_delivered_as_real_numbers():
    net, unseen = drawn("constant"), drawn("constant")
    with torch.no_grad():
        net["E->E"][0].weight.mul_(1.3)
    unseen["E->E"][0].weight.data.mul_(1.3)  # which autograd does not count
    learning = ns.Network(
        {"x": Poisson(9000.0, 150), "E": Neuron(cores.refractory_lif, dt=DT, size=150, t_ref=10 * DT)},
        [
            ns.Edge("x", "E", ns.Drawn(OneToOne(), weight=9.0)),
            ns.Edge("E", "E", ns.Drawn(Bernoulli(0.2), weight=4.0, delay=3 * DT, learn=True)),
        ],
    )
    with torch.no_grad():
        learning["E->E"][0].weight.mul_(1.3)
    for each in (net, unseen, learning):
        record = [name for name in ("E", "I") if name in each.nodes]
        runs = [ns.simulate(each, steps=300, seed=5, record=record, engine=e) for e in ("circuit", "layered")]
        assert len(runs[0].spikes["E"]) > 100
        assert_equal(*runs)


def test_neurons_at_rest_are_skipped_without_a_difference():
    n = 3200  # 50 blocks
    spikes = ns.Events(step=np.arange(0, 400, 20), neuron=np.arange(20) % 5, T=500, dt=DT, shape=n)
    net = ns.Network(
        {"x": SpikeTrain(spikes), "E": Neuron(cores.refractory_lif, dt=DT, size=n, t_ref=10 * DT, r=200.0)},
        [
            ns.Edge("x", "E", ns.Drawn(OneToOne(), weight=4.0)),
            ns.Edge("E", "E", ns.Drawn(FixedOutDegree(2), weight=0.5, delay=3 * DT)),
        ],
    )
    runs = [ns.simulate(net, steps=500, record=["E", "E.v"], engine=e, chunk=100) for e in ("circuit", "layered")]
    assert_equal(*runs)
    assert len(runs[0].spikes["E"]) >= 20
    engine = Engine(net, net.initial_state(batch=1, seed=0), ["E"])
    for _ in range(5):
        engine.advance(100)
    blocks = engine.trials[0].resting["E"].of_part(0)
    assert blocks is not None
    assert 20 <= int(blocks.sum()) < 50  # those that no spike has reached


def assert_real(net, largest):
    runs = [ns.simulate(net, steps=10, record=["E.v"], engine=e) for e in ("circuit", "layered")]
    assert_equal(*runs)
    assert runs[0].traces["E.v"].max() >= 0.99 * largest * (1 - np.exp(-DT / 20e-3))


def test_a_neuron_with_far_more_synapses_than_the_mean_is_added_up_without_overflow():
    n = 200_000
    nodes = {
        "drive": Current(1e6, n),
        "A": Neuron(cores.lif, dt=DT, size=n),
        "E": Neuron(cores.lif, dt=DT, size=7000, v_th=1e9),
    }
    rule = FromTable({"pre": np.arange(n), "post": np.zeros(n, int)})
    edges = [ns.Edge("drive", "A", Identity()), ns.Edge("A", "E", ns.Drawn(rule, weight=1.0), delay=DT)]
    assert_real(ns.Network(nodes, edges), n)


def test_a_train_with_many_spikes_in_a_step_is_added_up_without_overflow():
    n = 200_000
    spikes = ns.Events(step=np.full(n, 3), neuron=np.zeros(n, int), T=10, dt=DT, shape=50)
    nodes = {"x": SpikeTrain(spikes), "E": Neuron(cores.lif, dt=DT, size=70, v_th=1e9)}
    edges = [
        ns.Edge("x", "E", ns.Drawn(FixedOutDegree(3), weight=1.0)),
        ns.Edge("E", "E", ns.Drawn(FixedInDegree(3), weight=1.0), delay=DT),
    ]
    assert_real(ns.Network(nodes, edges), n)


SPIKING = [
    core
    for core in vars(cores).values()
    if isinstance(core, Core)
    and core.state
    and core.integers_up_to is None
    and Neuron(core, dt=DT, size=1)._program().is_spiking
]
# Input by a spike, in the unit of the first port, under which the neurons fire; 30 for those without units.
INPUT = {
    "lif_delta": 3e-3,
    "lif_exp": 9e-10,
    "lif_alpha": 9e-10,
    "lif_cond": 2e-8,
    "adex": 5e-8,
    "hodgkin_huxley": 5e-8,
}
INPUT |= {"conductance_lif": 2.0, "slow_lif": 3e4}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("core", SPIKING, ids=lambda core: core.name)
def test_every_spiking_core_has_the_bits_of_the_layered_run(core, dtype):
    size = INPUT.get(core.name, 30.0)
    positive = dict(low=0.0, outside="redrawn")
    neurons, (first, *others) = Neuron(core, dt=DT, size=NE), [port for port in core.inputs if port != "normal"]
    drawn = ns.Drawn(Bernoulli(0.2), weight=Normal(size / 4, size / 8, **positive), delay=Uniform(DT, 9 * DT))
    listed = Sparse.drawn(NE, NE, Bernoulli(0.1), weight=Normal(size / 4, size / 8, **positive), seed=1).to(dtype)
    edges = [
        ns.Edge("noise", "E", Scale(torch.tensor(size, dtype=dtype)), port=first),
        ns.Edge("E", "E", drawn, port=first, name="drawn"),
        ns.Edge("E", "E", listed, port=first, delay=2 * DT, name="listed"),
        *(ns.Edge("E", "E", drawn, port=port, name=f"drawn {port}") for port in others if port != "i"),
    ]
    net = ns.Network({"noise": Poisson(9000.0, NE), "E": neurons}, edges)
    runs = [ns.simulate(net, steps=200, seed=5, record=["E"], engine=e) for e in ("circuit", "layered")]
    assert len(runs[0].spikes["E"]) > 20
    assert_equal(*runs)


def test_a_network_of_drawn_synapses_runs_in_the_precision_that_it_is_put_in():
    net = drawn("constant")
    single = ns.simulate(net, steps=50, seed=5, record=["E.v"])
    runs = [ns.simulate(net.double(), steps=50, seed=5, record=["E.v"], engine=e) for e in ("circuit", "layered")]
    assert single.traces["E.v"].dtype == np.float32
    assert runs[0].traces["E.v"].dtype == runs[0].state.nodes["E"].v.numpy().dtype == np.float64
    assert_equal(*runs)
    assert list(net.state_dict()) == []


def test_a_batch_of_none_is_refused_by_name():
    edges = [ns.Edge("noise", "E", ns.Drawn(OneToOne(), weight=0.5))]
    net = ns.Network({"noise": Poisson(100.0, 3), "E": ns.LIF(size=3)}, edges, dt=1e-3)
    with pytest.raises(ShapeError, match="needs a batch of 1 or more; got 0"):
        ns.simulate(net, steps=2, batch=0, engine="circuit")
    assert ns.simulate(net, steps=2, batch=0, engine="layered").B == 0
