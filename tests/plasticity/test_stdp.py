"""Timing rules against their closed forms and against spike-by-spike loops."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from neurosim.errors import InputError, ShapeError, UnitError
from neurosim.plasticity import stdp as plastic
from neurosim.plasticity.stdp import PairSTDP, TripletSTDP, trace

W = torch.tensor([[50.0]], dtype=torch.float64)


def train(steps, length: int) -> Tensor:
    spikes = torch.zeros(length, 1, 1, dtype=torch.float64)
    spikes[list(steps)] = 1.0
    return spikes


def change(rule, before: Tensor, after: Tensor, dt: float = 1e-3, weight: Tensor = W) -> Tensor:
    factors, _ = rule.factors(before, after, dt)
    return rule.change(weight, factors)


def noise(steps: int, batch: int, neurons: int, seed: int, rate: float = 0.2) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(steps, batch, neurons, generator=generator) < rate).double()


@pytest.mark.parametrize("later", [1, 2, 5, 17, 60, -1, -2, -5, -17, -60])
def test_a_single_pair_changes_the_weight_by_the_exponential_window(later):
    rule = PairSTDP(a_plus=0.011, a_minus=0.017, tau_plus=15e-3, tau_minus=30e-3, w_max=100.0)
    found = change(rule, train([80], 200), train([80 + later], 200))
    ms = later * 1e-3
    wanted = 0.011 * math.exp(-ms / 15e-3) if later > 0 else -0.017 * math.exp(ms / 30e-3)
    assert found.item() == pytest.approx(wanted, abs=1e-12)


def test_two_spikes_in_one_step_count_on_both_sides():
    rule = PairSTDP(a_plus=0.011, a_minus=0.017, w_max=100.0)
    assert change(rule, train([9], 20), train([9], 20)).item() == pytest.approx(0.011 - 0.017, abs=1e-15)


def test_the_window_is_in_seconds_and_not_in_steps():
    rule = PairSTDP(w_max=100.0)
    coarse = change(rule, train([10], 50), train([15], 50), dt=1e-3)
    fine = change(rule, train([100], 500), train([150], 500), dt=1e-4)
    assert coarse.item() == pytest.approx(fine.item(), rel=1e-12)


@pytest.mark.parametrize("nearest", [False, True])
def test_all_pairs_count_or_only_the_nearest(nearest):
    rule = PairSTDP(a_plus=0.02, a_minus=0.03, tau_minus=25e-3, nearest=nearest, w_max=100.0)
    before, after = noise(90, 1, 1, 1), noise(90, 1, 1, 2)
    pres, posts = before[:, 0, 0].nonzero()[:, 0].tolist(), after[:, 0, 0].nonzero()[:, 0].tolist()
    wanted = 0.0
    for post in posts:
        earlier = [pre for pre in pres if pre <= post]
        wanted += sum(0.02 * math.exp(-(post - pre) / 20) for pre in (earlier[-1:] if nearest else earlier))
    for pre in pres:
        earlier = [post for post in posts if post <= pre]
        wanted -= sum(0.03 * math.exp(-(pre - post) / 25) for post in (earlier[-1:] if nearest else earlier))
    assert change(rule, before, after).item() == pytest.approx(wanted, abs=1e-12)


# 60 pairs, tau_minus 33.7 ms and tau_y 125 ms: Pfister and Gerstner's frequency curve with NEST's sizes.
CURVE = {
    (10, 0.1): 0.000,
    (10, 1): 0.000,
    (10, 10): 0.132,
    (10, 20): 0.247,
    (10, 40): 0.534,
    (10, 50): 0.741,
    (-10, 0.1): -0.312,
    (-10, 1): -0.312,
    (-10, 10): -0.334,
    (-10, 20): -0.352,
    (-10, 40): 0.155,
    (-10, 50): 0.727,
}


def pairing(later: int, rate: float) -> tuple[Tensor, Tensor, float]:
    """60 pairs `later` ms apart at `rate` Hz on the coarsest grid that holds them."""
    dt = 5e-3 if rate == 40 else 10e-3
    period, shift = round(1 / rate / dt), round(later * 1e-3 / dt)
    first = 5
    pres = [first + period * n for n in range(60)]
    length = pres[-1] + 10
    return train(pres, length), train([pre + shift for pre in pres], length), dt


@pytest.mark.parametrize(("later", "rate"), CURVE)
def test_the_triplet_rule_has_the_published_dependence_on_frequency(later, rate):
    before, after, dt = pairing(later, rate)
    assert change(TripletSTDP(), before, after, dt).item() == pytest.approx(CURVE[later, rate], abs=6e-4)


def test_only_the_triplet_rule_changes_sign_with_frequency():
    slow, fast = (change(TripletSTDP(), *pairing(-10, rate)).item() for rate in (20, 40))
    assert slow < -0.3 and fast > 0.1
    pair = PairSTDP(a_plus=0.005, a_minus=0.007, tau_plus=16.8e-3, tau_minus=33.7e-3, w_max=100.0)
    curve = [change(pair, *pairing(10, rate)).item() for rate in (0.1, 10, 20, 40, 50)]
    assert all(a > b for a, b in itertools.pairwise(curve)) and curve[0] > 0 > curve[-1]


def test_a_spike_takes_no_part_in_its_own_triplet():
    rule = TripletSTDP(a2_plus=0.0, a2_minus=0.0, a3_plus=1.0, a3_minus=1.0)
    assert change(rule, train([5], 40), train([8], 40)).item() == 0.0
    assert change(rule, train([8], 40), train([5], 40)).item() == 0.0
    three = change(rule, train([5], 40), train([8, 12], 40)).item()
    assert three == pytest.approx(math.exp(-7 / 16.8) * math.exp(-4 / 125), rel=1e-12)
    three = change(rule, train([8, 12], 40), train([5], 40)).item()
    assert three == pytest.approx(-math.exp(-7 / 33.7) * math.exp(-4 / 101), rel=1e-12)


def test_without_triplet_terms_it_is_the_pair_rule():
    before, after = noise(90, 2, 4, 1), noise(90, 2, 3, 2)
    weight = torch.full((3, 4), 50.0, dtype=torch.float64)
    triplet = TripletSTDP(a2_plus=0.01, a2_minus=0.02, a3_plus=0.0, a3_minus=0.0)
    pair = PairSTDP(a_plus=0.01, a_minus=0.02, tau_plus=16.8e-3, tau_minus=33.7e-3, w_max=100.0)
    torch.testing.assert_close(
        change(triplet, before, after, weight=weight), change(pair, before, after, weight=weight)
    )


@pytest.mark.parametrize("later", [4, 0, -3])
def test_a_dendrite_applies_the_spike_function_after_off(later):
    rule = PairSTDP(a_plus=0.011, a_minus=0.017, tau_plus=15e-3, tau_minus=30e-3, w_max=100.0)
    slow = PairSTDP(a_plus=0.011, a_minus=0.017, tau_plus=15e-3, tau_minus=30e-3, w_max=100.0, dendritic_delay=2e-3)
    found = change(slow, train([80], 200), train([80 + later], 200))
    torch.testing.assert_close(found, change(rule, train([80], 200), train([82 + later], 200)))
    with pytest.raises(
        InputError, match=r"dendritic_delay must be an integer number of steps of 0\.001 s; got 0\.0015 s"
    ):
        change(PairSTDP(dendritic_delay=1.5e-3), train([1], 5), train([2], 5))


@pytest.mark.parametrize(
    "rule",
    [
        PairSTDP(w_max=100.0),
        PairSTDP(nearest=True, w_max=100.0),
        PairSTDP(w_max=100.0, dendritic_delay=3e-3),
        TripletSTDP(),
    ],
)
def test_a_split_run_equals_the_run_in_one(rule):
    before, after = noise(200, 3, 4, 1), noise(200, 3, 5, 2)
    weight = torch.full((5, 4), 50.0, dtype=torch.float64)
    traces, parts = None, torch.zeros(5, 4, dtype=torch.float64)
    for part, other in zip(before.split(37), after.split(37), strict=True):
        factors, traces = rule.factors(part, other, 1e-3, traces)
        parts += rule.change(weight, factors)
    torch.testing.assert_close(parts, change(rule, before, after, weight=weight), rtol=0, atol=1e-12)


def test_the_change_is_the_mean_over_the_batch():
    before, after = noise(50, 1, 4, 1), noise(50, 1, 3, 2)
    weight = torch.full((3, 4), 50.0, dtype=torch.float64)
    rule = PairSTDP(w_max=100.0)
    once = change(rule, before, after, weight=weight)
    torch.testing.assert_close(change(rule, before.repeat(1, 6, 1), after.repeat(1, 6, 1), weight=weight), once)
    assert once.shape == (3, 4) and once.abs().min() > 0


def test_eligibility_decays_from_its_step():
    before, after = noise(30, 2, 4, 1), noise(30, 2, 3, 2)
    weight = torch.full((3, 4), 0.3, dtype=torch.float64)
    rule = PairSTDP(mu=0.5)
    factors, _ = rule.factors(before, after, 1e-3)
    wanted = torch.zeros(2, 3, 4, dtype=torch.float64)
    for t in range(30):
        for b in range(2):
            one = [factor[t : t + 1, b : b + 1] for factor in factors]
            wanted[b] = 0.9 * wanted[b] + rule.change(weight, plastic.Factors(*one))
    torch.testing.assert_close(rule.eligibility(weight, factors, 0.9), wanted, rtol=0, atol=1e-13)


def test_changes_shrink_towards_the_bounds_as_the_exponent_says():
    before, after = train([5], 40), train([8], 40)
    full = PairSTDP(w_min=-1.0, w_max=3.0)
    for weight, mu in itertools.product((-1.0, 0.0, 2.0, 3.0), (0.0, 0.5, 1.0, 2.0)):
        rule = PairSTDP(w_min=-1.0, w_max=3.0, mu=mu)
        w = torch.tensor([[weight]], dtype=torch.float64)
        up = change(rule, before, after, weight=w) / change(full, before, after, weight=w)
        down = change(rule, after, before, weight=w) / change(full, after, before, weight=w)
        assert up.item() == pytest.approx(((3 - weight) / 4) ** mu)
        assert down.item() == pytest.approx(((weight + 1) / 4) ** mu)
    assert full.bounded(torch.tensor([-9.0, 0.5, 9.0])).tolist() == [-1.0, 0.5, 3.0]


@pytest.mark.parametrize("length", [1, 2, 63, 64, 65, 200])
def test_a_trace_is_its_recursion(length):
    spikes = noise(length, 2, 3, 1)
    held = start = torch.rand(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rows = []
    for now in spikes:
        held = 0.93 * held + now
        rows.append(held)
    torch.testing.assert_close(trace(spikes, 0.93, start), torch.stack(rows), rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: PairSTDP(tau_plus=20.0), UnitError, "tau_plus must be .* got 20.0. Did you pass milliseconds"),
        (lambda: TripletSTDP(tau_y=0.0), UnitError, "TripletSTDP: tau_y must be"),
        (lambda: PairSTDP(w_min=1.0), InputError, "w_min must be below w_max; got 1.0 and 1.0"),
        (lambda: PairSTDP(mu=-1.0), InputError, "mu must be 0 or more; got -1.0"),
        (lambda: PairSTDP(w_max=math.inf, mu=1.0), InputError, "need finite bounds"),
        (lambda: change(PairSTDP(), train([1], 5), train([1], 6)), ShapeError, r"got \[5, 1, 1\] and \[6, 1, 1\]"),
        (lambda: change(PairSTDP(), train([1], 5), train([1], 5), dt=1.0), UnitError, "Did you pass milliseconds"),
    ],
)
def test_wrong_arguments_are_refused_by_name(make, kind, message):
    with pytest.raises(kind, match=message):
        make()
