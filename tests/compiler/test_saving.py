"""What a training run keeps for its backward pass: the fewest arrays over time that suffice."""

from __future__ import annotations

import itertools

import pytest
import torch

import neurosim as ns
from neurosim.compiler.plan import Plan
from tests.core_list import BY_NAME


def kept(layer: ns.Neuron, **choices) -> list[str]:
    return [node.label or repr(node) for node in Plan(layer._program(), train=True, **choices).saved]


@pytest.mark.parametrize("name", ["integrate_and_fire", "lif", "cubalif"])
def test_with_fixed_parameters_one_array_is_kept(name):
    model = BY_NAME[name]
    for reset, detached in itertools.product(model.resets, (True, False)):
        (only,) = Plan(model.make(reset=reset, detach_reset=detached)._program(), train=True).saved
        # The membrane itself where the gradient through the reset asks for it, else its distance to threshold.
        assert only.label == "u" or (only.op == "sub" and only.args[0].label == "u")


def test_the_adaptive_neuron_keeps_one_and_one_more_if_the_reset_has_a_gradient():
    assert len(kept(ns.ALIF(dt=1e-3))) == 1
    assert len(kept(ns.ALIF(dt=1e-3, detach_reset=False))) == 2


def test_a_linear_step_keeps_nothing():
    assert kept(ns.LI(dt=1e-3)) == []


def test_a_learned_parameter_costs_what_its_gradient_reads():
    assert sorted(kept(ns.LIF(dt=1e-3, learn=("tau_mem",)))) == ["i", "v"]
    assert len(kept(ns.LIF(dt=1e-3, learn=("v_th",)))) == 1
    assert len(kept(ns.LIF(dt=1e-3, learn=tuple(ns.cores.lif.parameters)))) == 2
    assert len(kept(ns.ALIF(dt=1e-3, learn=tuple(ns.cores.alif.parameters)))) == 3


def test_without_training_nothing_is_kept():
    plan = Plan(ns.LIF(dt=1e-3)._program(), train=False)
    assert plan.saved == () and plan.stored == ()


def test_memory_of_a_training_step_is_output_and_what_is_kept():
    i = torch.randn(50, 2, 30, requires_grad=True)
    z, _ = ns.LIF(dt=1e-3)(i)
    assert [t.shape for t in z.grad_fn.saved_tensors] == [i.shape]
