"""Plans: their keys, their plain numbers, and what they store."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

import neurosim as ns
from neurosim.compiler.plan import Plan, find, known
from neurosim.compiler.printer import backward_kernel, forward_kernel
from neurosim.compiler.program import record
from neurosim.language import Reset
from tests.user_cores import coba


def plan(layer=None, **choices):
    layer = ns.LIF(dt=1e-3) if layer is None else layer
    return Plan(layer._program(), **choices)


def test_equal_plans_have_one_key_and_are_kept_once():
    first, second = plan(train=True), plan(train=True)
    assert first.key == second.key and known(first) == known(second)
    assert find(first.key) is find(known(second))


def test_the_key_does_not_depend_on_values():
    assert plan().key == plan(ns.LIF(dt=1e-4, tau_mem=0.3, v_th=2.0)).key


@pytest.mark.parametrize(
    "other",
    [
        lambda: plan(train=True),
        lambda: plan(recorded=("v",)),
        lambda: plan(ns.LIF(dt=1e-3, reset="subtract")),
        lambda: plan(ns.LIF(dt=1e-3, reset=None)),
        lambda: plan(ns.LIF(dt=1e-3, learn=("v_th",))),
        lambda: plan(ns.IF(dt=1e-3)),
    ],
)
def test_whatever_changes_the_kernel_changes_the_key(other):
    assert other().key != plan().key


def test_what_matters_for_training_only_changes_the_key_of_training_only():
    detached, whole = ns.LIF(dt=1e-3), ns.LIF(dt=1e-3, detach_reset=False)
    assert plan(detached, train=True).key != plan(whole, train=True).key
    assert plan(train=True, through_time=False).key != plan(train=True).key
    assert plan(train=True).key != plan(ns.LIF(dt=1e-3, spike=ns.triangle()), train=True).key
    assert plan().key == plan(ns.LIF(dt=1e-3, spike=ns.triangle())).key


def test_the_key_is_the_same_in_another_process():
    code = (
        "import neurosim as ns; from neurosim.compiler.plan import Plan;"
        "print(Plan(ns.ALIF(dt=1e-3)._program(), True).key)"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert other.stdout.strip() == plan(ns.ALIF(dt=1e-3), train=True).key


def test_plain_numbers_are_computed_in_double_precision():
    made = plan()
    given = {"alpha_mem": 0.9512294245007140, "v_th": 1.0, "v_reset": 0.0, "r": 0.1}
    values = dict(zip(map(repr, made.forward_uniforms), made.host_values(made.forward_uniforms, given), strict=True))
    assert values["mul(sub(1.0, alpha_mem), r)"] == (1.0 - 0.9512294245007140) * 0.1
    assert set(values) == {"alpha_mem", "mul(sub(1.0, alpha_mem), r)", "v_th", "v_reset"}


def test_recorded_values_are_found_by_name():
    layer, i = ns.LIF(dt=1e-3), torch.randn(20, 2, 3) * 4
    z, after, values, *_ = layer.run(i, record=("v", "u"))
    assert torch.equal(values["v"][-1], after.v) and torch.equal((values["u"] > 1.0).float(), z)
    assert torch.equal(torch.where(z == 1, 0.0, values["u"]), values["v"])
    trained = layer.run(i.requires_grad_(), record=("v", "u")).recorded
    assert torch.equal(trained["u"], values["u"]) and not trained["u"].requires_grad


def of(step, per_neuron=(), **declared):
    return Plan(record(ns.core(**declared)(step), ns.atan(), Reset(), per_neuron))


def test_the_order_of_ports_and_of_coefficients_is_part_of_the_key():
    def step(a, b, v):
        return v + a - 2.0 * b, v

    def swapped(b, a, v):
        return v + a - 2.0 * b, v

    def scaled(i, v, *, p, q):
        return p * i - q, v

    def turned(i, v, *, q, p):
        return p * i - q, v

    swapped.__name__, turned.__name__ = step.__name__, scaled.__name__
    assert of(step, inputs=("a", "b")).key != of(swapped, inputs=("b", "a")).key
    numbers = dict(p=1.0, q=2.0)
    assert of(scaled, ("p", "q"), parameters=numbers).key != of(turned, ("q", "p"), parameters=numbers).key


def test_a_kernel_has_an_array_for_each_port():
    plan = Plan(record(coba, ns.atan(), Reset()), train=True)
    forward, backward = forward_kernel(plan), backward_kernel(plan)
    assert forward.inputs == ("ge", "gi") == forward.arrays[:2] and set(forward.reads) == {"ge", "gi"}
    assert backward.inputs == ("g_ge", "g_gi") == backward.arrays[1:3] and set(backward.writes) == {"g_ge", "g_gi"}


def test_numbers_of_each_trial_reach_the_kernel_as_the_products_that_it_reads():
    program = record(ns.cores.lif, ns.atan(), Reset(), ("v_th",), per_trial=("alpha_mem", "r"))
    plan = Plan(program, train=True)
    assert [repr(node) for node in plan.per_trial] == ["alpha_mem", "mul(sub(1.0, alpha_mem), r)"]
    forward, backward = forward_kernel(plan), backward_kernel(plan)
    assert list(forward.coefficients) == list(backward.coefficients) == ["v_th", "trial0", "trial1"]
    assert [repr(node) for node in forward.uniforms] == ["v_reset"]
    assert plan.key != Plan(record(ns.cores.lif, ns.atan(), Reset(), ("v_th",)), train=True).key


def test_what_differs_between_trials_has_no_gradient_and_is_a_number_to_the_step():
    program = record(ns.cores.lif, ns.atan(), Reset(), per_trial=("alpha_mem",))
    plan = Plan(program, train=True)
    assert plan.adjoint.per_neuron == {} and program.trace.leaf("parameter", "alpha_mem").is_number
    (so_far, after) = backward_kernel(plan).sums["share_trial0"]
    assert so_far is after
