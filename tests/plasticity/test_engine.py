"""Plastic edges in a running network, against a loop written out by hand, and what reward does to them."""

from __future__ import annotations

import math
from typing import Any, cast

import pytest
import torch
from torch import Tensor

import neurosim as ns
from neurosim.errors import InputError, ShapeError, UnitError
from neurosim.plasticity.engine import Plasticity
from neurosim.plasticity.reward import RewardModulated
from neurosim.plasticity.stdp import PairSTDP, TripletSTDP

DT = 1e-3
EDGE = "input->out"
RULE = PairSTDP(a_plus=0.05, a_minus=0.04, tau_plus=10e-3, tau_minus=15e-3)


def net_of(n_in: int = 5, n_out: int = 3, seed: int = 0) -> ns.Network:
    torch.manual_seed(seed)
    net = ns.Sequential(ns.Linear(n_in, n_out), ns.LIF(tau_mem=10e-3, r=10.0, dt=DT), names=("out",)).double()
    with torch.no_grad():
        weight_of(net).uniform_(0.2, 0.8)
    return net


def weight_of(net: ns.Network, edge: str = EDGE) -> Tensor:
    (synapse,) = next(e for e in net.edges if e.name == edge).synapses
    assert isinstance(synapse, ns.Linear)
    return synapse.weight


def spikes(steps: int = 60, batch: int = 2, neurons: int = 5, seed: int = 1, rate: float = 0.2) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(steps, batch, neurons, generator=generator) < rate).double()


def by_hand(weight: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """LIF neurons whose weights move after each step, all in plain loops; returns weights and spikes."""
    w = weight.detach().clone()
    v = torch.zeros(x.shape[1], len(w), dtype=x.dtype)
    pre, post = torch.zeros_like(x[0]), torch.zeros_like(v)
    keep = math.exp(-0.1)
    out = []
    for now in x:
        v = keep * v + (1 - keep) * 10.0 * now @ w.T
        z = (v > 1).double()
        v = v * (1 - z)
        out.append(z)
        pre, post = pre * math.exp(-1 / 10) + now, post * math.exp(-1 / 15) + z
        moved = torch.zeros_like(w)
        for b in range(x.shape[1]):
            moved += 0.05 * torch.outer(z[b], pre[b]) - 0.04 * torch.outer(post[b], now[b])
        w = (w + moved / x.shape[1]).clamp(0, 1)
    return w, torch.stack(out)


def test_weights_move_while_the_network_runs():
    net, x = net_of(), spikes()
    still, _ = net(x)
    wanted, out = by_hand(weight_of(net), x)
    z, _ = Plasticity(net, {EDGE: RULE}).run(x)
    torch.testing.assert_close(weight_of(net).detach(), wanted, rtol=0, atol=1e-12)
    assert torch.equal(z, out) and not torch.equal(z, still)  # what was learnt was felt at once
    assert weight_of(net).requires_grad


def test_a_split_run_equals_the_run_in_one():
    whole, parts, x = net_of(), net_of(), spikes()
    z, _ = Plasticity(whole, {EDGE: RULE}).run(x)
    plasticity = Plasticity(parts, {EDGE: RULE})
    first, state = plasticity.run(x[:23])
    second, _ = plasticity.run(x[23:], state)
    assert torch.equal(torch.cat((first, second)), z)
    torch.testing.assert_close(weight_of(parts), weight_of(whole), rtol=0, atol=1e-13)


def test_in_chunks_the_weights_move_between_them():
    net, x = net_of(), spikes()
    z, _ = net(x)
    factors, _ = RULE.factors(x, z, DT)
    wanted = (weight_of(net) + RULE.change(weight_of(net), factors)).clamp(0, 1).detach()
    out, _ = Plasticity(net, {EDGE: RULE}, chunk=60).run(x)
    assert torch.equal(out, z)
    torch.testing.assert_close(weight_of(net).detach(), wanted, rtol=0, atol=1e-13)


def test_a_delayed_edge_reads_spikes_when_they_arrive():
    def make(delay: float) -> ns.Network:
        nodes = {"input": ns.Input(5), "out": ns.LIF(tau_mem=10e-3, r=10.0, dt=DT)}
        net = ns.Network(nodes, [ns.Edge("input", "out", ns.Linear(5, 3), delay=delay)]).double()
        weight_of(net).data.copy_(weight_of(net_of()))
        return net

    x = spikes()
    late = torch.cat((torch.zeros(4, 2, 5).double(), x[:-4]))
    for chunk in (1, 3, 60):
        delayed, shifted = make(4e-3), make(0.0)
        Plasticity(delayed, {EDGE: RULE}, chunk=chunk).run(x)
        Plasticity(shifted, {EDGE: RULE}, chunk=chunk).run(late)
        torch.testing.assert_close(weight_of(delayed), weight_of(shifted), rtol=0, atol=1e-13)
        assert not torch.equal(weight_of(delayed), weight_of(net_of()))


def test_a_loop_reads_the_spikes_of_the_step_before():
    torch.manual_seed(0)
    net = ns.Sequential(ns.Linear(5, 3), ns.Recurrent(ns.LIF(r=20.0, dt=DT), ns.Linear(3, 3)), names=("out",)).double()
    with torch.no_grad():
        weight_of(net).fill_(0.5)
        weight_of(net, "out->out").fill_(0.1)
    x = spikes()
    z, _ = net(x)
    assert z.sum() > 5
    factors, _ = RULE.factors(torch.cat((torch.zeros_like(z[:1]), z[:-1])), z, DT)
    wanted = RULE.bounded(0.1 + RULE.change(torch.full((3, 3), 0.1).double(), factors))
    Plasticity(net, {"out->out": RULE}, chunk=60).run(x)
    torch.testing.assert_close(weight_of(net, "out->out").detach(), wanted, rtol=0, atol=1e-13)


@pytest.mark.parametrize("chunk", [1, 7, 60])
def test_reward_releases_what_is_eligible(chunk):
    net, x = net_of(), spikes()
    start = weight_of(net).detach().clone()
    rule = RewardModulated(RULE, rate=0.5, tau=20e-3, expectation=0.25)
    plasticity = Plasticity(net, {EDGE: rule}, chunk=chunk)
    z, _ = plasticity.run(x)
    assert torch.equal(weight_of(net), start)  # nothing moves before the reward
    waiting, traces = torch.zeros(2, 3, 5).double(), None
    for t in range(60):
        factors, traces = RULE.factors(x[t : t + 1], z[t : t + 1], DT, traces)
        for b in range(2):
            one = RULE.change(start, type(factors)(*(f[:, b : b + 1] for f in factors)))
            waiting[b] = math.exp(-1 / 20) * waiting[b] + one
    given = torch.tensor([1.0, -0.5]).double()
    plasticity.reward(given)
    wanted = start + 0.5 * (1.0 * waiting[0] - 0.5 * waiting[1]) / 2
    torch.testing.assert_close(weight_of(net).detach(), wanted.clamp(0, 1), rtol=0, atol=1e-12)
    assert plasticity.expected[EDGE] == pytest.approx(0.25 * 0.25)
    before = weight_of(net).detach().clone()
    plasticity.reward(plasticity.expected[EDGE])  # as much as expected: nothing to learn
    torch.testing.assert_close(weight_of(net).detach(), before, rtol=0, atol=1e-15)


def test_no_reward_changes_nothing():
    net, x = net_of(), spikes()
    start = weight_of(net).detach().clone()
    plasticity = Plasticity(net, {EDGE: RewardModulated(TripletSTDP(w_max=1.0))}, chunk=10)
    for _ in range(3):
        plasticity.run(x)
        plasticity.reward(0.0)
        plasticity.forget()
    assert torch.equal(weight_of(net), start)


def test_without_the_expected_reward_the_weights_drift():
    # The reward does not depend on what the network does. Only the expectation tells that there is nothing to learn.
    drift = []
    for share in (0.2, 0.0):
        net = net_of()
        plasticity = Plasticity(net, {EDGE: RewardModulated(RULE, rate=0.05, expectation=share)}, chunk=60)
        start = weight_of(net).detach().clone()
        for trial in range(60):
            plasticity.forget()
            plasticity.run(spikes(seed=trial))
            plasticity.reward(1.0)
        drift.append(float((weight_of(net).detach() - start).abs().mean()))
    assert drift[0] < 0.4 * drift[1]


def test_reward_teaches_a_neuron_to_fire_at_one_pattern_and_not_at_the_other():
    torch.manual_seed(0)
    net = ns.Sequential(ns.Linear(20, 1), ns.LIF(tau_mem=10e-3, r=3.0, dt=DT), names=("out",))
    torch.nn.init.uniform_(weight_of(net), 0.2, 0.4)
    rule = RewardModulated(PairSTDP(a_plus=0.02, a_minus=0.0), rate=1.0, tau=0.1, expectation=0.1)
    plasticity = Plasticity(net, {EDGE: rule}, chunk=30)
    generator = torch.Generator().manual_seed(1)
    share = []
    for _ in range(60):
        wanted = torch.rand(32, generator=generator) < 0.5
        rates = torch.full((32, 20), 0.03)
        rates[wanted, :10], rates[~wanted, 10:] = 0.15, 0.15
        plasticity.forget()
        z, _ = plasticity.run((torch.rand(30, 32, 20, generator=generator) < rates).float())
        right = (z.sum((0, 2)) >= 2) == wanted
        share.append(float(right.float().mean()))
        plasticity.reward(2.0 * right - 1.0)
    weight = weight_of(net).detach()[0]
    assert weight[:10].mean() > weight[10:].mean() + 0.3
    assert sum(share[:5]) / 5 < 0.7 < 0.84 < sum(share[-10:]) / 10


def test_two_edges_learn_each_by_its_rule():
    torch.manual_seed(0)
    net = ns.Sequential(
        ns.Linear(5, 4), ns.LIF(r=20.0, dt=DT), ns.Linear(4, 2), ns.LIF(r=20.0, dt=DT), names=("mid", "out")
    ).double()
    with torch.no_grad():
        for edge in net.edges:
            weight_of(net, edge.name).fill_(0.4)
    plasticity = Plasticity(net, {"input->mid": RULE, "mid->out": RewardModulated(RULE)})
    plasticity.run(spikes())
    assert not (weight_of(net, "input->mid") == 0.4).any() and (weight_of(net, "mid->out") == 0.4).all()
    plasticity.reward(1.0)
    assert not (weight_of(net, "mid->out") == 0.4).all()
    assert list(plasticity.expected) == ["mid->out"]


def conv() -> ns.Network:
    return ns.Sequential(ns.Input((1, 4, 4)), ns.Conv2d(1, 2, 3), ns.LIF(dt=DT), names=("out",))


def silent() -> ns.Network:
    return ns.Sequential(ns.Linear(2, 2), ns.LI(dt=DT), names=("out",))


def after_run(x: Tensor, reward: object = 1.0) -> None:
    plasticity = Plasticity(net_of(), {EDGE: RewardModulated(RULE)})
    plasticity.run(spikes())
    plasticity.run(x)
    plasticity.reward(reward)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: Plasticity(net_of(), {"a": RULE}), InputError, r"no edge 'a'; this network has \['input->out'\]"),
        (lambda: Plasticity(conv(), {EDGE: RULE}), InputError, "must be one Linear or Sparse; got Conv2d"),
        (lambda: Plasticity(silent(), {EDGE: RULE}), InputError, "'out' never fires"),
        (
            lambda: Plasticity(net_of(), {EDGE: cast(Any, 3)}),
            InputError,
            "must be PairSTDP, TripletSTDP, InhibitorySTDP, RewardModulated or AstrocyteModulated; got 3",
        ),
        (
            lambda: Plasticity(net_of(), {EDGE: RULE}, chunk=0),
            InputError,
            "chunk must be a number of steps from 1; got 0",
        ),
        (lambda: Plasticity(net_of(), {EDGE: RULE}).run(torch.ones(0, 1, 5)), ShapeError, r"x is \[0, 1, 5\]"),
        (
            lambda: Plasticity(net_of(), {EDGE: RewardModulated(RULE)}).reward(1.0),
            InputError,
            "a reward needs a run before it",
        ),
        (lambda: after_run(spikes(batch=3)), ShapeError, r"x holds 3 samples, the traces have 2; call forget\(\)"),
        (lambda: after_run(spikes(), torch.ones(3)), ShapeError, r"one number or \[2\]; got \[3\]"),
        (lambda: RewardModulated(RULE, tau=200.0), UnitError, "tau must be"),
        (lambda: RewardModulated(RULE, rate=math.inf), InputError, "rate must be a finite number; got inf"),
        (lambda: RewardModulated(RULE, expectation=2.0), InputError, r"expectation must be in \[0, 1\]; got 2.0"),
    ],
)
def test_wrong_arguments_are_refused_by_name(make, kind, message):
    with pytest.raises(kind, match=message):
        make()
