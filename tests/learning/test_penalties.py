"""Penalties on hidden rates, spikes and membranes, alone and in `fit`."""

from __future__ import annotations

import pytest
import torch

import neurosim as ns
from neurosim.errors import InputError
from neurosim.learning import EProp, MembranePenalty, SpikePenalty, Steps, mask_of, pad
from neurosim.learning.losses import Masked
from neurosim.learning.penalties import Penalised

DT, T, B = 1e-3, 12, 4


def network():
    torch.manual_seed(0)
    lif = dict(dt=DT, tau_mem=5e-3, r=8.0)
    parts = (ns.Linear(6, 8), ns.LIF(**lif), ns.Linear(8, 7), ns.LIF(**lif), ns.Linear(7, 3), ns.LI(dt=DT, r=5.0))
    return ns.Sequential(*parts, names=["a", "b", "out"]).double()


def data():
    generator = torch.Generator().manual_seed(1)
    return (torch.rand(T, B, 6, generator=generator) < 0.6).double(), torch.tensor([0, 1, 2, 0])


def gradients(rule, net, loss=None, x=None):
    net.zero_grad()
    inputs, y = data()
    value, output = rule.gradients(net, inputs if x is None else x, y, loss or ns.CrossEntropy())
    return [value, output, *(p.grad.clone() for p in net.parameters())]


def test_rates_are_compared_in_hertz():
    z = torch.zeros(10, 2, 2)
    z[:4, 0, 0] = z[0, 1, 0] = 1.0  # 5 spikes in 20 ms: 250 Hz; the other neuron is silent
    assert float(ns.RatePenalty(high=200.0).over(z, Steps(0, 10), DT)) == pytest.approx(50.0**2 / 2, rel=1e-5)
    assert float(ns.RatePenalty(low=10.0).over(z, Steps(0, 10), DT)) == pytest.approx(10.0**2 / 2, rel=1e-5)
    both = ns.RatePenalty(low=10.0, high=200.0).over(z, Steps(0, 10), DT)
    assert float(both) == pytest.approx((50.0**2 + 10.0**2) / 2, rel=1e-5)
    masked = ns.RatePenalty(low=0.0, high=200.0).over(z, Steps(0, 10, mask_of(torch.tensor([2, 3]), 10)), DT)
    assert float(masked) == pytest.approx((3 / 5e-3 - 200.0) ** 2 / 2, rel=1e-5)


@pytest.mark.parametrize(
    "penalty",
    [ns.RatePenalty(1e-4, low=20.0, high=60.0), SpikePenalty(2.0), MembranePenalty(3.0, low=-0.1, high=0.3)],
    ids=repr,
)
def test_the_gradient_is_that_of_the_sum(penalty):
    net, (x, y) = network(), data()
    found = gradients(Penalised(ns.BPTT(), (penalty,)), net)
    recomputed = gradients(Penalised(ns.BPTT(recompute=True), (penalty,)), net)
    for again, first in zip(recomputed, found, strict=True):
        torch.testing.assert_close(again, first, rtol=1e-9, atol=1e-12)
    names = penalty.recorded(net)
    assert [name.partition(".")[0] for name in names] == ["a", "b"]
    net.zero_grad()
    result = net.run(x, record=names, gradient=True)
    terms = [penalty.weight * penalty.over(result.recorded[name], Steps(0, T), DT) for name in names]
    total = ns.CrossEntropy()(result.out, y) + sum(terms)
    total.backward()
    wanted = [total.detach(), result.out.detach(), *(p.grad for p in net.parameters())]
    for value, each in zip(found, wanted, strict=True):
        torch.testing.assert_close(value, each)
    plain = gradients(ns.BPTT(), network())
    assert not torch.allclose(found[2], plain[2]) and float(found[0]) > float(plain[0])


@pytest.mark.parametrize("kind", [ns.SLTT, ns.OTTT])
@pytest.mark.parametrize("penalty", [SpikePenalty(2.0), MembranePenalty(3.0, high=0.3)], ids=repr)
@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
def test_rules_that_learn_step_by_step_give_the_same_for_every_chunk(kind, penalty, masked):
    loss = Masked(ns.CrossEntropy(), mask_of(torch.tensor([12, 3, 5, 9]), T)) if masked else None
    found = [gradients(Penalised(kind(chunk=chunk), (penalty,)), network(), loss) for chunk in (1, 5, 100)]
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-9, atol=1e-12)
    plain = gradients(kind(), network(), loss)
    assert not torch.allclose(found[0][2], plain[2])


def test_fit_takes_penalties():
    x, y = data()
    results = {}
    for name, penalties in {"none": (), "few": [SpikePenalty(1.0)], "rate": [ns.RatePenalty(1e-2, high=20.0)]}.items():
        net = network()
        optimizer = torch.optim.Adam(net.parameters(), 5e-3)
        ns.fit(net, [(x, y)], epochs=25, optimizer=optimizer, penalties=penalties, progress=False)
        results[name] = float(net.run(x, record=["a"]).recorded["a"].mean())
    assert results["few"] < 0.7 * results["none"] and results["rate"] < 0.7 * results["none"]
    net = network()
    batch = pad([(x[:5, 0].float(), 0), (x[:, 1].float(), 1)])
    history = ns.fit(net.float(), [batch], epochs=1, penalties=[SpikePenalty(1.0)], rule=ns.SLTT(), progress=False)
    assert history["loss"][0] > 0


def test_penalties_are_part_of_the_run(tmp_path):
    x, y = data()
    ns.fit(network(), [(x, y)], epochs=1, penalties=[SpikePenalty(1.0)], checkpoint=tmp_path, progress=False)
    with pytest.raises(InputError, match="the run used rule Penalised"):
        ns.fit(network(), [(x, y)], epochs=2, checkpoint=tmp_path, resume=True, progress=False)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ns.RatePenalty(), "needs low= or high="),
        (lambda: ns.RatePenalty(high=-3.0), "high must be a finite number from 0"),
        (lambda: ns.RatePenalty(low=30.0, high=20.0), "is above high"),
        (lambda: MembranePenalty(), "needs low= or high="),
        (lambda: SpikePenalty(-1.0), "weight must be a finite number from 0"),
        (lambda: SpikePenalty(nodes="a"), r'nodes=\("a",\)'),
        (lambda: SpikePenalty(nodes=["x"]).recorded(network()), "no population 'x'"),
        (lambda: Penalised(ns.BPTT(), SpikePenalty()), "penalties is a list such as"),
        (lambda: Penalised(ns.BPTT(), (3,)), "it has 3"),
        (lambda: Penalised(EProp(), (SpikePenalty(),)), "BPTT, SLTT or OTTT"),
        (lambda: Penalised(ns.SLTT(), (ns.RatePenalty(high=3.0),)), "is a function of all steps"),
        (lambda: ns.fit(network(), [data()], penalties=SpikePenalty(), progress=False), "penalties is a list"),
    ],
)
def test_what_cannot_be_penalised_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_a_network_without_hidden_spikes_needs_names():
    net = ns.Sequential(ns.Linear(6, 3), ns.LIF(dt=DT), names=["out"])
    with pytest.raises(InputError, match=r'nodes=\("out",\)'):
        SpikePenalty().recorded(net)
    assert SpikePenalty(nodes=["out"]).recorded(net) == ["out"]
