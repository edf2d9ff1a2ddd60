"""Weights that change by rewards in the engine of circuits: closed form, plain definition and layered run."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim.circuit.engine import Engine
from neurosim.circuit.rule_checks import checked_rules
from neurosim.circuit.sources import SpikeTrain
from neurosim.errors import InputError, ShapeError, UnitError
from neurosim.plasticity import InhibitorySTDP, PairSTDP, Plasticity, RewardModulated, Rewards, TripletSTDP
from neurosim.synapses import Scale, Sparse
from tests.circuit.test_plastic import large, network, plain, single

DT = 1e-4
PAIR = PairSTDP(w_max=40.0, a_plus=0.8, a_minus=0.9)
TIMED = Rewards([20 * DT, 21 * DT, 150 * DT, 299 * DT], [1.0, -0.5, 2.0, 1.0])
RULES = [
    RewardModulated(PAIR, rate=2.0, tau=5e-3, expectation=0.0, reward=TIMED),
    RewardModulated(PairSTDP(w_max=22.0, mu=0.4, nearest=True, coincident=False, dendritic_delay=5 * DT),
                    rate=30.0, tau=20e-3, reward=TIMED),
    RewardModulated(TripletSTDP(w_max=40.0, a2_plus=0.3, a2_minus=0.5, a3_plus=0.4, mu=1.0), rate=0.5, tau=5e-3,
                    expectation=0.3, reward=lambda t: np.sin(700 * t)),
    RewardModulated(InhibitorySTDP(w_max=30.0, rate=0.1, target=40.0), rate=1.0, tau=3e-3, reward=TIMED),
]  # fmt: skip


def surprises(rule, steps, trial=0):
    """What the eligibility is multiplied with in each step, in plain loops."""
    found, expected = np.zeros(steps), 0.0
    for step in range(steps):
        if isinstance(rule.reward, Rewards):
            given = {round(t / DT): r for t, r in zip(rule.reward.times, rule.reward.values, strict=True)}.get(step)
        else:
            given = float(rule.reward(np.array([step * DT]))[0])
        if given is not None:
            found[step] = rule.rate * (given - expected)
            expected += rule.expectation * (given - expected)
    return found


@pytest.mark.parametrize("delay", [0.0, 1.5e-3])
@pytest.mark.parametrize("dendritic", [0.0, 3e-3])
@pytest.mark.parametrize("t_post", [370, 400, 430])
def test_r4_one_pair_and_one_reward_change_the_weight_by_the_closed_form(t_post, dendritic, delay):
    timing = PairSTDP(a_plus=0.01, a_minus=0.012, tau_plus=17e-3, tau_minus=34e-3, dendritic_delay=dendritic)
    rule = RewardModulated(timing, rate=0.7, tau=50e-3, expectation=0.5, reward=Rewards([900 * DT], [2.0]))
    pre, post = (SpikeTrain(ns.Events(step=[t], neuron=[0], T=1000, dt=DT, shape=1)) for t in (400, t_post))
    net = ns.Network(
        {"pre": pre, "force": post, "n": ns.LIF(dt=DT, size=1)},
        [ns.Edge("pre", "n", single(0.3), delay=delay), ns.Edge("force", "n", Scale(1e4))],
    ).to(torch.float64)
    run = ns.simulate(net, steps=1000, plasticity={"pre->n": rule}, record=["n"])
    assert run.spikes["n"].step.tolist() == [t_post]
    arrival, back = 400 * DT + delay, t_post * DT + dendritic
    age = back - arrival
    up, down = 0.01 * math.exp(-age / 17e-3), 0.012 * math.exp(age / 34e-3)
    tag = up - down if abs(age) < DT / 2 else up if age > 0 else -down
    wanted = 0.7 * 2.0 * tag * math.exp(-(900 * DT - max(arrival, back)) / 50e-3)
    before = float(net["pre->n"][0].weight.detach())
    assert float(run.state.plastic["pre->n"].weight) - before == pytest.approx(wanted, abs=1e-12)
    assert float(run.state.plastic["pre->n"].expected) == 1.0


# Time (ms), weight and eligibility of NEST 3.10.0, stdp_dopamine_synapse of delay 1 ms between parrots firing at 20.1,
# 50.1, 80.1, 130.1 and 24.1, 47.1, 91.1, 128.1 ms, with dopamine at 61.1 and 141.1 ms; A_plus 1, A_minus 1.5, tau_plus,
# tau_minus and tau_n 20 ms, tau_c 50 ms.
GOLDEN = [
    (55, 100.0, -0.9771127598063648),
    (70, 99.71355655485954, -0.7238629361251556),
    (150, 98.92257252663882, -1.083944709111541),
    (400, 98.41732935542684, -0.00730356199993291),
]


def test_dopamine_changes_the_weight_as_in_nest():
    trains = ([201, 501, 801, 1301], [241, 471, 911, 1281])
    pre, post = (SpikeTrain(ns.Events(step=t, neuron=[0] * 4, T=4100, dt=DT, shape=1)) for t in trains)
    net = ns.Network(
        {"pre": pre, "force": post, "n": ns.LIF(dt=DT, size=1)},
        [ns.Edge("pre", "n", single(100.0), delay=1e-3), ns.Edge("force", "n", Scale(1e6))],
    ).to(torch.float64)

    def dopamine(t):
        # NEST's times of plastic synapses are before the delay, ours after it: 1 ms later.
        return sum(np.where(t > time - DT / 2, np.exp(-(t - time) / 20e-3) / 20, 0.0) for time in (62.1e-3, 142.1e-3))

    timing = PairSTDP(w_max=1e3, a_plus=1.0, a_minus=1.5, coincident=False, dendritic_delay=2e-3)
    decay = 1 / 50e-3 + 1 / 20e-3
    step = 1e3 * (1 - math.exp(-DT * decay)) / decay  # integral of the product of both decays over a step, ms
    rule = RewardModulated(timing, rate=step, tau=50e-3, expectation=0.0, reward=dopamine)
    for ms, weight, eligibility in GOLDEN:
        found = ns.simulate(net, steps=10 * ms + 10, plasticity={"pre->n": rule}).state.plastic["pre->n"]
        value, since = found.eligible[0, 0].tolist()
        assert float(found.weight) == pytest.approx(weight, rel=1e-13)
        assert value * math.exp(-since * DT / 50e-3) == pytest.approx(eligibility, rel=1e-11)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("delayed", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_weights_have_the_bits_of_the_definition(rule, delayed, dtype):
    net = network(delayed).to(dtype)
    run = ns.simulate(net, steps=300, seed=5, plasticity={"E->E": rule})
    weight = run.state.plastic["E->E"].weight[0]
    assert ((weight != net["E->E"][0].weight).float().mean()) > 0.9
    assert len(torch.unique(weight)) > 100
    assert np.array_equal(weight[::7].numpy(), plain(net, run, "E->E", rule, 300, surprises=surprises(rule, 300)))


@pytest.mark.parametrize("rule", RULES)
def test_spikes_and_weights_are_those_of_the_layered_run_with_a_change_at_each_step(rule):
    net = network().to(torch.float64)
    run = ns.simulate(net, steps=300, seed=5, plasticity={"E->E": rule})
    plain_rule = RewardModulated(rule.rule, rule.rate, rule.tau, rule.expectation)
    learner, state, out = Plasticity(net, {"E->E": plain_rule}), net.initial_state(batch=1, seed=5), []
    given = rule.reward.between(0, 300, DT) if isinstance(rule.reward, Rewards) else rule.reward(np.arange(300) * DT)
    for step in range(300):
        z, state = learner.run(state=state, steps=1, batch=1)
        out.append(z)
        if not np.isnan(given[step]):
            learner.reward(float(given[step]))
    wanted = ns.Events.from_grid(torch.cat(out), DT)
    assert np.array_equal(run.spikes["E"].step, wanted.step)
    assert np.array_equal(run.spikes["E"].neuron, wanted.neuron)
    found = run.state.plastic["E->E"]
    assert torch.allclose(found.weight[0], net["E->E"][0].weight, rtol=1e-10, atol=1e-11)
    assert float(found.expected) == pytest.approx(learner.expected["E->E"], rel=1e-12)


def assert_same(a, b):
    for name, events in b.spikes.items():
        assert np.array_equal(a.spikes[name].step, events.step)
        assert np.array_equal(a.spikes[name].neuron, events.neuron)
    assert all(torch.equal(x, y) for x, y in zip(a.state.plastic["E->E"], b.state.plastic["E->E"], strict=True))


@pytest.mark.parametrize("rule", RULES[1:3])
def test_a_run_in_chunks_or_continued_or_stored_is_the_run_in_one(rule, tmp_path):
    net, rules = network(delayed=True), {"E->E": rule}
    whole = ns.simulate(net, steps=300, seed=5, plasticity=rules)
    assert_same(ns.simulate(net, steps=300, seed=5, plasticity=rules, chunk=7), whole)
    ns.simulate(net, steps=113, seed=5, plasticity=rules, path=tmp_path / "run.h5").close()
    for first in (ns.simulate(net, steps=113, seed=5, plasticity=rules), ns.Recording.load(tmp_path / "run.h5")):
        rest = ns.simulate(net, steps=187, state=first.state, plasticity=rules)
        joined = ns.Events.joined([first.spikes["E"].read(), rest.spikes["E"]])
        rest.spikes = {"E": joined}
        whole.spikes = {"E": whole.spikes["E"]}
        assert_same(rest, whole)


def test_each_trial_has_rewards_and_weights_of_its_own():
    values = np.stack((np.ones(200), np.zeros(200), -np.ones(200)), 1)
    rules = {"E->E": RewardModulated(PAIR, rate=0.1, expectation=0.0, reward=values)}
    net = network()
    batch = ns.simulate(net, steps=200, seed=5, batch=3, plasticity=rules)
    weights = batch.state.plastic["E->E"].weight
    assert torch.equal(weights[1], net["E->E"][0].weight)
    for trial in range(3):
        alone = ns.simulate(net, steps=200, seed=5, trials=[trial], plasticity=rules)
        assert torch.equal(alone.state.plastic["E->E"].weight[0], weights[trial])


def test_the_result_is_that_of_one_part():
    net, rules = large(300), {"E->E": RULES[2]}
    found = []
    for parts in (1, 3):
        engine = Engine(
            net, net.initial_state(batch=1, seed=3), ["E"], parts=parts, plasticity=checked_rules(net, rules)
        )
        assert engine.wiring.division.parts == parts
        found.append(([engine.advance(steps)["E"] for steps in (90, 60)], engine.state().plastic["E->E"]))
    for mine, wanted in zip(found[1][0], found[0][0], strict=True):
        assert np.array_equal(mine.step, wanted.step)
        assert np.array_equal(mine.neuron, wanted.neuron)
    assert all(torch.equal(a, b) for a, b in zip(found[1][1], found[0][1], strict=True))


def test_the_rewarded_one_of_two_inputs_grows():
    # The distal reward: spikes of both inputs make the neuron fire; a reward follows those of the first one alone.
    times = np.arange(0.05, 4.0, 0.1)
    first = np.rint(times[::2] * 1e3).astype(int)
    events = ns.Events(
        step=np.rint(times * 1e3).astype(int), neuron=np.arange(len(times)) % 2, T=4000, dt=1e-3, shape=2
    )
    rewards = Rewards((first + 30) * 1e-3, np.ones(len(first)))
    rule = RewardModulated(
        PairSTDP(a_plus=0.05, a_minus=0.0, w_max=200.0), rate=1.0, tau=20e-3, expectation=0.0, reward=rewards
    )
    pairs = torch.tensor([[0, 0], [0, 1]])
    net = ns.Network(
        {"in": SpikeTrain(events), "n": ns.LIF(dt=1e-3, size=1)},
        [ns.Edge("in", "n", Sparse(2, 1, pairs, torch.tensor([100.0, 100.0])), delay=1e-3)],
    )
    run = ns.simulate(net, steps=4000, plasticity={"in->n": rule})
    one, other = (run.state.plastic["in->n"].weight[0] - 100.0).tolist()
    assert len(run.spikes["n"]) == len(times)
    assert one == pytest.approx(len(first) * 0.05 * math.exp(-29 / 20), rel=2e-2)
    assert 0 < other < 0.02 * one


def test_what_cannot_be_rewarded_is_refused_by_name():
    net = network()
    for rule, kind, message in (
        (RewardModulated(PAIR), InputError, "needs the reward over time"),
        (RewardModulated(PAIR, reward=Rewards([0.5 * DT], [1.0])), UnitError, "Rewards"),
        (RewardModulated(PAIR, reward=np.array([1.0, np.nan])), InputError, "NaN"),
        (RewardModulated(PAIR, reward=np.ones(2)), InputError, "holds 2 steps; the run needs step 2"),
    ):
        with pytest.raises(kind, match=message):
            ns.simulate(net, steps=3, plasticity={"E->E": rule})
    with pytest.raises(InputError, match="reward= is for simulate"):
        Plasticity(net, {"E->E": RULES[0]})
    with pytest.raises(InputError, match="rule must be PairSTDP"):
        RewardModulated("stdp")
    with pytest.raises(ShapeError, match="one value for each time"):
        Rewards([0.1, 0.2], [1.0])
    with pytest.raises(InputError, match="ascend"):
        Rewards([0.2, 0.1], [1.0, 1.0])
    state = ns.simulate(net, steps=3, plasticity={"E->E": PAIR}).state
    with pytest.raises(ShapeError, match=r"eligible must be .* or their rule have changed"):
        ns.simulate(net, steps=3, state=state, plasticity={"E->E": RULES[0]})
