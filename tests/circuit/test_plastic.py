"""Weights that change by spike timing in the engine of circuits: against plain definitions and the layered run."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim import cores
from neurosim.circuit import Current, Poisson
from neurosim.circuit.engine import Engine
from neurosim.circuit.rule_checks import checked_rules
from neurosim.circuit.rules import pair_rule
from neurosim.circuit.sources import SpikeTrain
from neurosim.errors import InputError, ShapeError, UnitError
from neurosim.kernels.circuit.reference import pair_weights
from neurosim.network.neuron import Neuron
from neurosim.plasticity import InhibitorySTDP, PairSTDP, Plasticity, TripletSTDP, TsodyksMarkram
from neurosim.synapses import DelayedSparse, Identity, Scale, Sparse
from neurosim.synapses.connectivity import Bernoulli, FixedInDegree, OneToOne
from neurosim.synapses.distributions import Normal, Uniform

DT = 1e-4
NE, NI = 70, 33
RULES = [
    PairSTDP(w_max=40.0, a_plus=0.8, a_minus=0.9),
    PairSTDP(w_max=40.0, a_plus=0.8, a_minus=0.9, mu=1.0, dendritic_delay=5 * DT, tau_plus=5e-3),
    PairSTDP(w_max=22.0, a_plus=0.8, a_minus=0.9, mu=0.4, nearest=True, coincident=False, tau_minus=30e-3),
    PairSTDP(w_max=22.0, a_plus=0.8, a_minus=0.9, coincident=False, dendritic_delay=DT),
    TripletSTDP(w_max=40.0, a2_plus=0.3, a2_minus=0.5, a3_plus=0.4, a3_minus=0.2, mu=1.0),
    TripletSTDP(w_max=40.0, a2_plus=0.3, a2_minus=0.5, a3_plus=0.4, a3_minus=0.2, dendritic_delay=3 * DT),
    InhibitorySTDP(w_max=40.0, rate=0.1, target=20.0, tau=10e-3),
    InhibitorySTDP(w_max=30.0, rate=0.1, target=40.0, coincident=False, dendritic_delay=4 * DT),
]

# Weights of NEST 3.10.0, stdp_synapse with Wmax 2, alpha 1.05, tau_plus 20 ms, tau_minus 30 ms, between two parrots.
GOLDEN = [
    (0.0012, 1.0, 0.03, 0.6522859252231604),
    (0.0001, 0.0, 0.002, 0.8952612709683258),
    (0.003, 0.4, 0.03, 0.49975620731696263),
]

# Weights of NEST 3.10.0, stdp_triplet_synapse, Aplus 5e-3, Aminus 7e-3, Aplus_triplet 6.2e-3, Aminus_triplet 2.3e-3.
GOLDEN_TRIPLET = [(0.0012, 0.9624466571801297), (0.003, 1.1602957969609209), (0.0001, 0.9183051367451593)]

# Weights of NEST 3.10.0, vogels_sprekeler_synapse with tau 20 ms, between the same parrots.
GOLDEN_INHIBITORY = [
    (0.0012, 0.5, 2.0, 0.01, 0.2, 1.2779323023037346),
    (0.0012, -0.5, -2.0, 0.02, 0.4, -1.9358646046074686),
    (0.0001, -0.5, -2.0, 0.02, 0.4, -1.9299459173422377),
    (0.003, 0.5, 2.0, 0.01, 0.2, 1.2788977405501976),
]


def network(delayed=False, late=DT):
    weights, rule = Uniform(15.0, 20.0), Bernoulli(0.3)
    delay = Uniform(DT, 20 * DT)
    loop = (
        DelayedSparse.drawn(NE, NE, rule, delay=delay, weight=weights, seed=1, dt=DT)
        if delayed
        else Sparse.drawn(NE, NE, rule, weight=weights, seed=1)
    )
    return ns.Network(
        {
            "noise": Poisson(9000.0, NE),
            "E": Neuron(cores.refractory_lif, dt=DT, t_ref=10 * DT),
            "I": Neuron(cores.refractory_lif, dt=DT, t_ref=10 * DT),
        },
        [
            ns.Edge("noise", "E", Scale(9.0)),
            ns.Edge("E", "E", loop, delay=late),
            ns.Edge("E", "I", Sparse.drawn(NE, NI, rule, weight=Normal(30.0, 3.0), seed=2), delay=DT),
            ns.Edge("I", "E", Sparse.drawn(NI, NE, rule, weight=Normal(-30.0, 3.0), seed=3), delay=3 * DT),
        ],
        output="E",
    )


def plain(net, run, name, rule, steps, every=7, surprises=None):
    """Final weights of every few synapses of an edge from the spikes of a run, one synapse at a time."""
    edge = next(edge for edge in net.edges if edge.name == name)
    (synapse,) = edge.synapses
    numbers, weights = pair_rule(rule, DT), synapse.weight.detach().numpy()
    pre, post = (np.zeros((steps, math.prod(net.shape(node))), int) for node in (edge.source, edge.target))
    for grid, node in ((pre, edge.source), (post, edge.target)):
        np.add.at(grid, (run.spikes[node].step, run.spikes[node].neuron), 1)
    late = round(getattr(rule, "rule", rule).dendritic_delay / DT)
    found = []
    ends = synapse.connections.T.tolist()
    for n in range(0, len(ends), every):
        target, source = ends[n]
        delay = edge.delay_steps + (int(synapse.delay[n]) if isinstance(synapse, DelayedSparse) else 0)
        arrivals, spikes = np.zeros(steps, int), np.zeros(steps, int)
        arrivals[delay:] = pre[: steps - delay, source]
        spikes[late:] = post[: steps - late, target]
        found.append(pair_weights(numbers, arrivals, spikes, weights[n], surprises)[-1])
    return np.array(found)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("delayed", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_weights_have_the_bits_of_the_definition(rule, delayed, dtype):
    net = network(delayed).to(dtype)
    run = ns.simulate(net, steps=300, seed=5, plasticity={"E->E": rule})
    assert run.engine == "circuit"
    assert len(run.spikes["E"]) > 200
    weight = run.state.plastic["E->E"].weight[0]
    before = net["E->E"][0].weight
    assert ((weight != before).float().mean()) > 0.9
    assert np.array_equal(weight[::7].numpy(), plain(net, run, "E->E", rule, 300))


@pytest.mark.parametrize("late", [DT, 7 * DT])
@pytest.mark.parametrize("rule", RULES)
def test_spikes_and_weights_are_those_of_the_layered_run_with_a_change_at_each_step(rule, late):
    net = network(late=late).to(torch.float64)
    run = ns.simulate(net, steps=300, seed=5, plasticity={"E->E": rule})
    learner = Plasticity(net, {"E->E": rule})
    out, _ = learner.run(state=net.initial_state(batch=1, seed=5), steps=300, batch=1)
    wanted = ns.Events.from_grid(out, DT)
    assert np.array_equal(run.spikes["E"].step, wanted.step)
    assert np.array_equal(run.spikes["E"].neuron, wanted.neuron)
    assert torch.allclose(run.state.plastic["E->E"].weight[0], net["E->E"][0].weight, rtol=1e-11, atol=1e-12)


def single(weight):
    return Sparse(1, 1, torch.zeros(2, 1, dtype=torch.int64), torch.tensor([weight]))


def pair(t_pre, t_post, rule, delay, weight=0.3):
    """Weight after one pre- and one postsynaptic spike, the latter made by a strong input."""
    pre, post = (SpikeTrain(ns.Events(step=[t], neuron=[0], T=1000, dt=DT, shape=1)) for t in (t_pre, t_post))
    net = ns.Network(
        {"pre": pre, "force": post, "n": ns.LIF(dt=DT, size=1)},
        [
            ns.Edge("pre", "n", single(weight), delay=delay),
            ns.Edge("force", "n", Scale(1e4)),
        ],
    ).to(torch.float64)
    run = ns.simulate(net, steps=1000, plasticity={"pre->n": rule}, record=["n"])
    assert run.spikes["n"].step.tolist() == [t_post]
    return float(run.state.plastic["pre->n"].weight) - float(net["pre->n"][0].weight.detach())


def window(rule, age, coincident):
    """Change by one pair whose postsynaptic spike arrives `age` s after the presynaptic one: the closed form."""
    is_tie = abs(age) < DT / 2
    if isinstance(rule, InhibitorySTDP):
        pairs = (2 if coincident else 0) if is_tie else math.exp(-abs(age) / rule.tau)
        return (rule.rate if rule.w_max > 0 else -rule.rate) * (pairs - 2 * rule.target * rule.tau)
    a_plus, a_minus = (rule.a2_plus, rule.a2_minus) if isinstance(rule, TripletSTDP) else (rule.a_plus, rule.a_minus)
    up, down = a_plus * math.exp(-age / rule.tau_plus), a_minus * math.exp(age / rule.tau_minus)
    return (up - down) * coincident if is_tie else up if age > 0 else -down


TIMES = (-300, -31, -16, -15, -14, -1, 0, 1, 14, 15, 16, 31, 300)
TIMING = dict(tau_plus=17e-3, tau_minus=34e-3)


@pytest.mark.parametrize(
    ("kind", "settings", "weight"),
    [
        (PairSTDP, dict(a_plus=0.01, a_minus=0.012, coincident=True, **TIMING), 0.3),
        (PairSTDP, dict(a_plus=0.01, a_minus=0.012, coincident=False, **TIMING), 0.3),
        (TripletSTDP, dict(a2_plus=0.01, a2_minus=0.012, a3_plus=5.0, a3_minus=7.0, **TIMING), 0.3),
        (InhibitorySTDP, dict(rate=0.01, target=8.0), 0.3),
        (InhibitorySTDP, dict(rate=0.01, target=8.0, w_min=-1.0, w_max=0.0, coincident=False), -0.3),
    ],
)
@pytest.mark.parametrize(("delay", "dendritic"), [(0.0, 0.0), (1.5e-3, 0.0), (1.5e-3, 3e-3)])
def test_r4_the_change_by_one_pair_is_the_closed_form_for_axonal_and_dendritic_delays(
    delay, dendritic, kind, settings, weight
):
    # Brian2's delay of `pre` is axonal: dendritic_delay = 0. NEST's delay d is dendritic: dendritic_delay = 2 d.
    rule = kind(dendritic_delay=dendritic, **settings)
    for steps in TIMES:
        wanted = window(rule, steps * DT + dendritic - delay, settings.get("coincident", True))
        assert pair(400, 400 + steps, rule, delay, weight) == pytest.approx(wanted, abs=1e-12), steps


@pytest.mark.parametrize(("delay", "dendritic"), [(0.0, 0.0), (1.5e-3, 0.0), (1.5e-3, 3e-3)])
def test_r4_three_spikes_change_the_weight_by_the_closed_form_for_axonal_and_dendritic_delays(delay, dendritic):
    rule = TripletSTDP(a2_plus=0.01, a2_minus=0.012, a3_plus=0.05, a3_minus=0.07, dendritic_delay=dendritic, **TIMING)
    for pres, posts in (([400], [470, 520]), ([300, 380], [350])):
        source, force = trains(pres, posts, 1000)
        net = ns.Network(
            {"pre": source, "force": force, "n": ns.LIF(dt=DT, size=1)},
            [ns.Edge("pre", "n", single(0.3), delay=delay), ns.Edge("force", "n", Scale(1e4))],
        ).to(torch.float64)
        run = ns.simulate(net, steps=1000, plasticity={"pre->n": rule}, record=["n"])
        assert run.spikes["n"].step.tolist() == posts
        arrivals, back = [t * DT + delay for t in pres], [t * DT + dendritic for t in posts]
        wanted = 0.0
        for k, post in enumerate(back):
            before = sum(math.exp(-(post - t) / rule.tau_y) for t in back[:k])
            r1 = sum(math.exp(-(post - t) / rule.tau_plus) for t in arrivals if t <= post)
            wanted += r1 * (rule.a2_plus + rule.a3_plus * before)
        for k, pre in enumerate(arrivals):
            before = sum(math.exp(-(pre - t) / rule.tau_x) for t in arrivals[:k])
            o1 = sum(math.exp(-(pre - t) / rule.tau_minus) for t in back if t <= pre)
            wanted -= o1 * (rule.a2_minus + rule.a3_minus * before)
        change = float(run.state.plastic["pre->n"].weight) - float(net["pre->n"][0].weight.detach())
        assert change == pytest.approx(wanted, abs=1e-12)


def assert_same(a, b):
    for name, events in b.spikes.items():
        assert np.array_equal(a.spikes[name].step, events.step)
        assert np.array_equal(a.spikes[name].neuron, events.neuron)
    for name, state in b.state.plastic.items():
        for field, values in zip(state._fields, state, strict=True):
            assert torch.equal(getattr(a.state.plastic[name], field), values), field


@pytest.mark.parametrize("rule", [*RULES[:2], RULES[-1]])
def test_a_run_in_chunks_or_continued_or_stored_is_the_run_in_one(rule, tmp_path):
    net, rules = network(delayed=True), {"E->E": rule}
    whole = ns.simulate(net, steps=300, seed=5, plasticity=rules)
    assert_same(ns.simulate(net, steps=300, seed=5, plasticity=rules, chunk=7), whole)
    ns.simulate(net, steps=113, seed=5, plasticity=rules, path=tmp_path / "run.h5").close()
    for first in (ns.simulate(net, steps=113, seed=5, plasticity=rules), ns.Recording.load(tmp_path / "run.h5")):
        for _ in range(2):  # a state may be used twice
            rest = ns.simulate(net, steps=187, state=first.state, plasticity=rules)
            assert_same(Rest(rest), Rest(whole))
            joined = ns.Events.joined([first.spikes["E"].read(), rest.spikes["E"]])
            assert np.array_equal(joined.step, whole.spikes["E"].step)
            assert np.array_equal(joined.neuron, whole.spikes["E"].neuron)


class Rest:
    """A run of which the state counts alone."""

    def __init__(self, run):
        self.spikes, self.state = {}, run.state


def test_a_trial_is_the_same_alone_and_in_a_batch():
    net, rules = network(), {"E->E": RULES[0]}
    batch = ns.simulate(net, steps=200, seed=5, batch=3, plasticity=rules)
    weights = batch.state.plastic["E->E"].weight
    assert not torch.equal(weights[0], weights[1])
    for trial in range(3):
        alone = ns.simulate(net, steps=200, seed=5, trials=[trial], plasticity=rules)
        assert torch.equal(alone.state.plastic["E->E"].weight[0], weights[trial])
        rest = ns.simulate(net, steps=50, state=batch.state.select(trial), plasticity=rules)
        longer = ns.simulate(net, steps=250, seed=5, trials=[trial], plasticity=rules)
        assert torch.equal(rest.state.plastic["E->E"].weight, longer.state.plastic["E->E"].weight)


def large(n):
    weights = Uniform(15.0, 20.0)
    loop = ns.Drawn(FixedInDegree(20), weight=weights, delay=Uniform(3 * DT, 9 * DT))
    return ns.Network(
        {
            "noise": Poisson(9000.0, 2 * n),
            "E": Neuron(cores.refractory_lif, dt=DT, t_ref=10 * DT, size=2 * n),
            "I": ns.LIF(dt=DT, size=n),
        },
        [
            ns.Edge("noise", "E", ns.Drawn(OneToOne(), weight=9.0)),
            ns.Edge("E", "E", loop),
            ns.Edge("E", "I", ns.Drawn(FixedInDegree(20), weight=30.0, delay=4 * DT)),
            ns.Edge("I", "E", ns.Drawn(FixedInDegree(10), weight=-30.0, delay=5 * DT)),
            ns.Edge("I", "I", ns.Drawn(FixedInDegree(10), weight=-30.0, delay=5 * DT)),
        ],
        output="E",
    )


def test_the_result_is_that_of_one_part():
    net, rules = large(300), {"E->E": RULES[0]}
    found = []
    for parts in (1, 2, 3):
        engine = Engine(
            net, net.initial_state(batch=1, seed=3), ["E"], parts=parts, plasticity=checked_rules(net, rules)
        )
        assert engine.wiring.division.parts == parts
        assert len(set(engine.wiring.division.bounds["E"])) > min(parts, 2)  # E is divided
        events = [engine.advance(steps)["E"] for steps in (150, 100)]
        found.append((events, engine.state().plastic["E->E"]))
    for events, state in found[1:]:
        for mine, wanted in zip(events, found[0][0], strict=True):
            assert np.array_equal(mine.step, wanted.step)
            assert np.array_equal(mine.neuron, wanted.neuron)
        assert all(torch.equal(a, b) for a, b in zip(state, found[0][1], strict=True))


def test_many_spikes_of_a_target_between_two_arrivals():
    # More spikes of the target than are kept: the rows are flushed in the middle of a call.
    spikes = ns.Events(step=[5, 900], neuron=[0, 0], T=1000, dt=DT, shape=1)
    rule = PairSTDP(w_max=40.0, a_plus=0.01, a_minus=0.02, mu=1.0)
    net = ns.Network(
        {"pre": SpikeTrain(spikes), "drive": Current(1e4, 1), "n": ns.LIF(dt=DT, size=1)},
        [
            ns.Edge("pre", "n", Sparse(1, 1, torch.zeros(2, 1, dtype=torch.int64), torch.tensor([3.0])), delay=DT),
            ns.Edge("drive", "n", Identity()),
        ],
    )
    run = ns.simulate(net, steps=1000, plasticity={"pre->n": rule}, record=["n", "pre"])
    assert len(run.spikes["n"]) == 1000
    assert np.array_equal(run.state.plastic["pre->n"].weight[0].numpy(), plain(net, run, "pre->n", rule, 1000))


@pytest.mark.parametrize("rule", RULES)
def test_several_spikes_of_a_source_in_one_step(rule):
    weights = Sparse.drawn(20, 10, Bernoulli(0.4), weight=Uniform(15.0, 20.0), seed=1)
    net = ns.Network(
        {"pre": Poisson(4000.0, 20), "n": ns.LIF(dt=DT, size=10)}, [ns.Edge("pre", "n", weights, delay=DT)]
    )
    run = ns.simulate(net, steps=150, seed=2, plasticity={"pre->n": rule}, record=["pre", "n"])
    grid = run.spikes["pre"].to_grid()
    assert float(grid.max()) > 1
    assert len(run.spikes["n"]) > 50
    wanted = plain(net, run, "pre->n", rule, 150, every=1)
    assert np.array_equal(run.state.plastic["pre->n"].weight[0].numpy(), wanted)


def test_r20_a_spike_delivers_the_weight_after_all_changes_of_the_steps_before():
    spikes = ns.Events(step=[10, 30], neuron=[0, 0], T=50, dt=DT, shape=1)
    force = ns.Events(step=[20], neuron=[0], T=50, dt=DT, shape=1)
    net = ns.Network(
        {"pre": SpikeTrain(spikes), "force": SpikeTrain(force), "post": ns.LIF(dt=DT, size=1)},
        [
            ns.Edge("pre", "post", Sparse(1, 1, torch.zeros(2, 1, dtype=torch.int64), torch.tensor([0.3]))),
            ns.Edge("force", "post", Scale(1e4)),
        ],
    ).to(torch.float64)
    rule = PairSTDP(a_plus=0.1, a_minus=0.1)
    run = ns.simulate(net, steps=50, plasticity={"pre->post": rule}, record=["post.v"])
    v = np.asarray(run.traces["post.v"])[:, 0, 0]
    w = float(net["pre->post"][0].weight.detach())
    jump = v[10] / w
    assert v[30] == pytest.approx(jump * (w + 0.1 * math.exp(-10 * DT / 20e-3)) + v[29] * v[12] / v[11], rel=1e-9)


def test_what_cannot_learn_is_refused_by_name():
    net, rule = network(), PairSTDP(w_max=40.0)
    for rules, message in (
        ({"E->X": rule}, "no edge 'E->X'"),
        ({"E->E": "stdp"}, "PairSTDP"),
        ({"noise->E": rule}, "Scale"),
        ({"E->E": PairSTDP(w_max=18.0)}, "outside the bounds"),
        ([rule], "mapping"),
    ):
        with pytest.raises(InputError, match=message):
            ns.simulate(net, steps=3, plasticity=rules)
    with pytest.raises(UnitError, match="dendritic_delay"):
        ns.simulate(net, steps=3, plasticity={"E->E": PairSTDP(w_max=40.0, dendritic_delay=0.5 * DT)})
    with pytest.raises(InputError, match="Plasticity"):
        ns.simulate(net, steps=3, engine="layered", plasticity={"E->E": rule})
    run = ns.simulate(net, steps=3, plasticity={"E->E": rule})
    for one, other in ((rule, TsodyksMarkram()), (TsodyksMarkram(), rule)):
        state = ns.simulate(net, steps=3, plasticity={"E->E": one}).state
        with pytest.raises(InputError, match="another rule"):
            ns.simulate(net, steps=3, state=state, plasticity={"E->E": other})
    for engine in ("layered", "circuit"):
        with pytest.raises(InputError, match="weights that changed"):
            ns.simulate(net, steps=3, state=run.state, engine=engine)
    with pytest.raises(ShapeError, match="late"):
        ns.simulate(net, steps=3, state=run.state, plasticity={"E->E": PairSTDP(w_max=40.0, dendritic_delay=DT)})


def trains(pre, post, steps):
    return [SpikeTrain(ns.Events(step=t, neuron=[0] * len(t), T=steps, dt=DT, shape=1)) for t in (pre, post)]


def of_nest(rule, delay, weight):
    """Weight after the trains of the golden data, before the changes after the last presynaptic spike.

    NEST computes changes when a presynaptic spike is sent, so that those after the last one are left out.
    """
    pre, post = (
        sorted({(a * k * k + b * k + c) % 4001 + 20 for k in range(30)}) for a, b, c in ((37, 11, 40), (53, 29, 7))
    )
    source, force = trains(pre, post, 4100)
    net = ns.Network(
        {"pre": source, "force": force, "n": ns.LIF(dt=DT, size=1)},
        [ns.Edge("pre", "n", single(weight), delay=delay), ns.Edge("force", "n", Scale(1e6))],
    ).to(torch.float64)
    run = ns.simulate(net, steps=max(pre) + round(delay / DT) + 1, plasticity={"pre->n": rule})
    assert run.spikes["n"].step.tolist() == [t for t in post if t < run.T]
    return float(run.state.plastic["pre->n"].weight)


@pytest.mark.parametrize(("delay", "mu", "rate", "wanted"), GOLDEN)
def test_the_weight_is_that_of_nest(delay, mu, rate, wanted):
    rule = PairSTDP(
        w_max=2.0, a_plus=2 * rate, a_minus=2.1 * rate, mu=mu, tau_minus=30e-3, coincident=False,
        dendritic_delay=2 * delay,
    )  # fmt: skip
    assert of_nest(rule, delay, 1.0) == pytest.approx(wanted, rel=1e-13)


@pytest.mark.parametrize(("delay", "weight", "bound", "eta", "alpha", "wanted"), GOLDEN_INHIBITORY)
def test_the_weight_of_an_inhibitory_synapse_is_that_of_nest(delay, weight, bound, eta, alpha, wanted):
    bounds = dict(w_min=min(bound, 0.0), w_max=max(bound, 0.0))
    rule = InhibitorySTDP(**bounds, rate=eta, target=alpha / (2 * 20e-3), coincident=False, dendritic_delay=2 * delay)
    assert of_nest(rule, delay, weight) == pytest.approx(wanted, rel=1e-13)


@pytest.mark.parametrize(("delay", "wanted"), GOLDEN_TRIPLET)
def test_the_weight_by_triplets_is_that_of_nest(delay, wanted):
    rule = TripletSTDP(a2_plus=5e-3, a2_minus=7e-3, a3_plus=6.2e-3, a3_minus=2.3e-3, dendritic_delay=2 * delay)
    assert of_nest(rule, delay, 1.0) == pytest.approx(wanted, rel=1e-13)
