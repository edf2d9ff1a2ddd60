"""Edges that learn, on Lava and in the simulator: the same weights step by step; and what Lava cannot learn."""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim.errors import ExportError, InputError, NothingCompared
from neurosim.hardware.lava import to_lava, verify_learning
from neurosim.plasticity.reward import RewardModulated
from neurosim.plasticity.stdp import PairSTDP, TripletSTDP
from tests.hardware.lava.test_export import DT, LIMIT

pytest.importorskip("lava.magma")
STEPS = 50
RULE = PairSTDP(
    w_min=-math.inf, w_max=math.inf, a_plus=0.07, a_minus=0.05, tau_plus=6e-3, tau_minus=9e-3, dendritic_delay=DT
)


def plastic(seed: int = 0) -> tuple[ns.Network, torch.Tensor]:
    """A hidden layer with a bias and a loop, an output of neurons that differ, an edge that has to wait."""
    torch.manual_seed(seed)
    net = ns.Network(
        {
            "x": ns.Input(6),
            "a": ns.LIF(dt=DT, r=4.0),
            "b": ns.CubaLIF(dt=DT, tau_mem=torch.rand(4) * 5e-3 + 5e-3, r=2.0),
        },
        [
            ns.Edge("x", "a", ns.Linear(6, 8, bias=True)),
            ns.Edge("a", "a", ns.Linear(8, 8)),
            ns.Edge("a", "b", ns.Linear(8, 4)),
            ns.Edge("a", "b", ns.Linear(8, 4), delay=1e-3, name="late"),
        ],
    )
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.abs_().mul_(3.0)
    return net, (torch.rand(STEPS, 2, 6) < 0.4).float()


def test_weights_of_pairs_go_the_same_way() -> None:
    net, x = plastic()
    other = dataclasses.replace(RULE, a_plus=-0.02, a_minus=-0.03, tau_plus=3e-3)
    result = verify_learning(net, {"x->a": RULE, "a->a": other, "a->b": RULE}, x, timeout=LIMIT)
    assert result.agrees, result.summary()
    assert [(e.name, e.largest < 1e-12 < 0.1 < e.moved) for e in result.edges] == [
        ("x->a", True),
        ("a->a", True),
        ("a->b", True),
    ]
    assert result.spikes > 50
    assert "weights moved by up to" in result.summary()
    assert (result.steps, result.samples) == (STEPS, 2)


def test_weights_that_do_not_change_show_nothing() -> None:
    net = ns.Sequential(ns.Linear(4, 2), ns.LIF(dt=1e-3), names=["out"])
    rule = PairSTDP(w_min=-math.inf, w_max=math.inf, dendritic_delay=1e-3)
    with pytest.warns(NothingCompared, match="no weight of input->out changed"):
        result = verify_learning(net, {"input->out": rule}, torch.zeros(8, 1, 4))
    assert result.agrees and "no weight of input->out changed: that shows nothing" in result.summary()


def test_weights_under_reward_go_the_same_way() -> None:
    net, x = plastic(1)
    rule = RewardModulated(RULE, rate=0.8, tau=15e-3, expectation=0.3)
    rewards = np.where(
        np.random.default_rng(0).random(STEPS) < 0.3, np.nan, np.random.default_rng(1).normal(size=STEPS)
    )
    result = verify_learning(net, {"x->a": rule, "a->b": RULE}, x[:, :1], rewards.tolist(), timeout=LIMIT)
    assert result.agrees, result.summary()
    assert all(e.largest < 1e-12 < 0.03 < e.moved for e in result.edges)


def test_without_the_way_back_the_weights_are_others() -> None:
    # The comparison can fail: a rule that the simulator follows differently is found.
    net, x = plastic()
    export = to_lava(net, {"x->a": RULE})
    run = export.run(x[:, :1], timeout=LIMIT)
    wrong = dataclasses.replace(RULE, dendritic_delay=0.0)
    from neurosim.hardware.lava.learning_verification import _simulated

    _, weights = _simulated(export.network, {"x->a": wrong}, x[:, :1].double(), None)
    assert np.abs(weights["x->a"][1:] - run.weights["x->a"][:, 0]).max() > 0.01


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (TripletSTDP(), r"learns by TripletSTDP, which Lava's learning rules do not compute exactly; use PairSTDP"),
        (dataclasses.replace(RULE, w_min=0.0), r"w_min=0, w_max=inf, mu=0; Lava has no bounds"),
        (dataclasses.replace(RULE, nearest=True), r"nearest=True, coincident=True; on Lava all pairs count"),
        (dataclasses.replace(RULE, coincident=False), r"nearest=False, coincident=False; on Lava all pairs count"),
        (dataclasses.replace(RULE, dendritic_delay=0.0), r"dendritic_delay=0 s; .* use dendritic_delay=0.001"),
        (RewardModulated(dataclasses.replace(RULE, a_minus=0.0)), r"a_minus=0 with a reward; the tag"),
    ],
)
def test_a_rule_that_lava_cannot_learn_by_is_named(rule: object, message: str) -> None:
    net, _ = plastic()
    with pytest.raises(ExportError) as caught:
        to_lava(net, {"x->a": rule})  # type: ignore[dict-item]
    (problem,) = str(caught.value).splitlines()[1:]
    assert re.match(f"  - edge 'x->a': {message}", problem), problem


def test_an_edge_that_would_have_to_wait_cannot_learn() -> None:
    net, _ = plastic()
    with pytest.raises(ExportError, match=r"edge 'late': would have to wait 1 step\(s\) on Lava, whose synapses that"):
        to_lava(net, {"late": RULE})


def test_rules_rewards_and_inputs_are_checked() -> None:
    net, x = plastic()
    with pytest.raises(InputError, match=r"no edge \['y'\]; this network has"):
        to_lava(net, {"y": RULE})
    with pytest.raises(InputError, match="must hold spikes, 0 and 1 only"):
        to_lava(net, {"x->a": RULE}).run(x + 0.5)
    with pytest.raises(InputError, match="rewards must hold one for each of 50 steps; got none"):
        to_lava(net, {"x->a": RewardModulated(RULE)}).run(x)
    with pytest.raises(ExportError, match=r"edges \['x->a'\] learn; scripts exist only for networks that do not"):
        to_lava(net, {"x->a": RULE}).save_script("nowhere")
