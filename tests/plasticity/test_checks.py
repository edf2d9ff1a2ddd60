"""Numbers of rules that are none."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim.circuit import OneToOne, Poisson
from neurosim.errors import InputError, ShapeError
from neurosim.plasticity import InhibitorySTDP, PairSTDP, TripletSTDP
from neurosim.plasticity.homeostasis import HomeostaticScaling, HomeostaticThreshold
from neurosim.plasticity.reward import RewardModulated, Rewards
from neurosim.plasticity.rewiring import Rewiring

RULES: dict[Any, dict[str, Any]] = {
    PairSTDP: dict(a_plus=0.1, w_max=1.0, mu=0.0, dendritic_delay=0.0),
    TripletSTDP: dict(a2_plus=0.1, a3_minus=0.1),
    InhibitorySTDP: dict(rate=1e-3, target=5.0),
    RewardModulated: dict(rule=PairSTDP(), rate=1.0, expectation=0.1),
    Rewiring: dict(every=1.0, weight=1.0, below=0.0, fraction=0.1),
    HomeostaticScaling: dict(target=5.0, rate=0.1, every=1.0),
    HomeostaticThreshold: dict(target=5.0, rate=0.1, every=1.0, lowest=0.1),
}


@pytest.mark.parametrize("wrong", [math.nan, "a", None, True])
@pytest.mark.parametrize(
    ("rule", "name"), [(rule, name) for rule, values in RULES.items() for name in values if name != "rule"]
)
def test_what_is_no_number_is_refused(rule, name, wrong):
    rule(**RULES[rule])
    with pytest.raises(InputError, match=rf"{rule.__name__}: {name} must be a .*number; got {wrong!r}"):
        rule(**{**RULES[rule], name: wrong})


def test_numbers_of_numpy_and_infinite_bounds_are_taken():
    assert PairSTDP(a_plus=np.float32(0.5), w_min=-math.inf, w_max=math.inf).a_plus == 0.5
    with pytest.raises(InputError, match="PairSTDP: a_minus must be a finite number; got inf"):
        PairSTDP(a_minus=math.inf)


def simulated(rules):
    edge = ns.Edge("noise", "E", ns.Drawn(OneToOne(), weight=0.5), name="in")
    net = ns.Network({"noise": Poisson(100.0, 3), "E": ns.LIF(size=3)}, [edge], dt=1e-3)
    return ns.simulate(net, steps=4, plasticity=rules)


@pytest.mark.parametrize(
    ("rules", "kind", "message"),
    [
        ({"in": HomeostaticScaling(1000.0, 0.1)}, InputError, "target must be below 1000 Hz, a spike at each step"),
        ({"E": HomeostaticThreshold(2000.0, 0.1)}, InputError, "target must be below 1000 Hz, a spike at each step"),
        (
            {"in": RewardModulated(PairSTDP(), reward=Rewards([1e-3, 1e-3 + 1e-12], [1.0, 2.0]))},
            InputError,
            "times 0 and 1 are the same step",
        ),
        ({"in": RewardModulated(PairSTDP(), reward="a")}, InputError, "reward must be numbers; got 'a'"),
        ({"in": RewardModulated(PairSTDP(), reward=[])}, ShapeError, "reward has no values"),
    ],
)
def test_rules_that_a_run_cannot_follow_are_refused(rules, kind, message):
    with pytest.raises(kind, match=message):
        simulated(rules)


def test_weights_that_are_not_numbers_are_refused():
    synapse = ns.Sparse(2, 2, torch.tensor([[0, 1], [0, 1]]), torch.tensor([0.5, 0.5]))
    with torch.no_grad():
        synapse.weight[1] = math.nan
    net = ns.Network(
        {"noise": Poisson(9.0, 2), "E": ns.LIF(size=2)}, [ns.Edge("noise", "E", synapse, name="in")], dt=1e-3
    )
    with pytest.raises(InputError, match="weight 1 is nan, outside the bounds"):
        ns.simulate(net, steps=2, plasticity={"in": PairSTDP()})


@pytest.mark.parametrize("times", ["a", [[1], [1, 2]]])
def test_times_of_rewards_are_numbers(times):
    with pytest.raises(InputError, match="Rewards: times and values must be sequences of numbers; got"):
        Rewards(times, [1.0, 2.0])
