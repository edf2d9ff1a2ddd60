"""The adjoint of a step against autograd, on steps drawn at random from the language, and on hand-made ones."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import neurosim as ns
from neurosim.compiler.adjoint import adjoint
from neurosim.compiler.program import record
from neurosim.language import Reset, Surrogate, atan
from neurosim.language.functions import absolute, detach, exp, log, maximum, minimum, sqrt, tanh, where
from tests.battery import gradients

LEAVES = 5  # input, two states, parameter, spike of the input


@dataclasses.dataclass(frozen=True)
class Step:
    """A step as a list of operations, each on values that came before."""

    operations: tuple[tuple[str, int, int, int], ...]
    bounded: str

    def __call__(self, i, v, w, *, p, spike):
        """Run the step on whatever it is given."""
        values = [i, v, w, p + 0.0 * i, spike(i - 0.3) if self.bounded == "clamp" else 0.5 * i]
        for op, a, b, c in self.operations:
            values.append(self._apply(op, values[a], values[b], values[c]))
        return values[-1], self._bound(values[-1]), self._bound(values[-2])

    def _bound(self, x):
        return minimum(maximum(x, -2.0), 2.0) if self.bounded == "clamp" else tanh(x)

    @staticmethod
    def _apply(op, a, b, c):
        if op == "add":
            return a + b
        if op == "sub":
            return a - b
        if op == "mul":
            return a * b * 0.5
        if op == "div":
            return a / (b * b + 1.5)
        if op == "over":
            return 0.7 / (a * a + 1.0)
        if op == "max":
            return maximum(a, b)
        if op == "min":
            return minimum(a, b)
        if op == "abs":
            return absolute(a)
        if op == "where":
            return where(a > b, b - c, a)
        if op == "pick":
            return where(atan()(a), b, c)
        if op == "cut":
            return detach(a) + b
        if op == "exp":
            return exp(-absolute(a))
        if op == "log":
            return log(a * a + 1.0)
        if op == "sqrt":
            return sqrt(a * a + 1.0)
        return tanh(a - b)


EXACT = ("add", "sub", "mul", "div", "over", "max", "min", "abs", "where", "pick", "cut", "sqrt")
SMOOTH = ("add", "sub", "mul", "div", "exp", "log", "sqrt", "tanh")


@st.composite
def steps(draw, names, bounded):
    made: list[tuple[str, int, int, int]] = []
    products = 0
    for number in range(draw(st.integers(2, 9))):
        op = draw(st.sampled_from([n for n in names if products < 3 or n not in ("mul", "div", "over")]))
        products += op in ("mul", "div", "over")
        operands = [draw(st.integers(0, LEAVES + number - 1)) for _ in range(3)]
        made.append((op, *operands))
    return Step(tuple(made), bounded)


def compare(step: Step, spike: Surrogate, tolerance: float) -> None:
    def random(i, v, w, *, p, spike):
        return step(i, v, w, p=p, spike=spike)

    core = ns.core(parameters=dict(p=0.7), state={"v": 0.25, "w": -0.5})(random)
    torch.manual_seed(1)
    i = torch.randn(4, 2, 5, dtype=torch.float64)
    for per_neuron in (False, True):
        layer = ns.Neuron(core, dt=1e-3, spike=spike, size=5, learn=("p",) if per_neuron else ()).double()
        fused, reference = (gradients(run, layer, i, None) for run in (layer, layer.run_reference))
        close: dict[str, Any] = dict(rtol=tolerance, atol=tolerance, equal_nan=True)
        torch.testing.assert_close(fused[0], reference[0], **(close if step.bounded == "tanh" else EXACTLY))
        for a, b in zip(fused[1], reference[1], strict=True):
            torch.testing.assert_close(a, b, **(close if step.bounded == "tanh" else EXACTLY))
        for name, expected in reference[2].items():
            scale = float(expected.abs().max()) + 1.0
            torch.testing.assert_close(fused[2][name] / scale, expected / scale, **close)


EXACTLY: dict[str, Any] = dict(rtol=0.0, atol=0.0)
quickly = settings(
    max_examples=20, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)


@quickly
@given(steps(EXACT, "clamp"))
def test_steps_drawn_at_random_agree_in_values_to_the_bit_and_in_gradients(step):
    # A value written twice is one value to us and two to autograd, hence rounding in the sums of gradients.
    compare(step, atan(), 1e-13)


@quickly
@given(steps(SMOOTH, "tanh"))
def test_steps_with_functions_drawn_at_random_agree_up_to_rounding(step):
    compare(step, atan(), 1e-12)


def of(step, per_neuron=(), **parameters):
    core = ns.core(parameters=parameters)(step)
    return adjoint(record(core, atan(), Reset(), per_neuron))


def test_what_does_not_depend_on_an_input_has_no_gradient():
    def constant(i, v):
        return 0.0 * 1.0 + detach(i), detach(v)

    found = of(constant)
    assert repr(found.inputs["i"]) == "0.0" and repr(found.state["v"]) == "0.0"


def test_a_comparison_passes_no_gradient_and_a_spike_does():
    def compared(i, v):
        return where(i > 0.5, v, 0.0), v

    def picked(i, v, *, spike):
        return where(spike(i), v, 0.0), v

    assert repr(of(compared).inputs["i"]) == "0.0"
    assert repr(of(picked).inputs["i"]) != "0.0"


def test_only_tensor_coefficients_get_a_share():
    def scaled(i, v, *, p, q):
        return p * q * i, v

    found = of(scaled, ("p",), p=1.0, q=2.0)
    assert list(found.per_neuron) == ["p"] and "g_out" in repr(found.per_neuron["p"])


@pytest.mark.parametrize("extreme", [maximum, minimum])
def test_the_extreme_operand_gets_the_gradient(extreme):
    def bounded(i, v):
        return extreme(i, v), v

    layer = ns.layer(ns.core(state={"v": 0.5})(bounded))(dt=1e-3)
    i = torch.tensor([0.0, 0.5, 1.0]).reshape(1, 1, 3)
    found = gradients(layer, layer, i, None)[2]["i"] / gradients(layer, layer, i, None)[2]["i"].max()
    reference = gradients(layer.run_reference, layer, i, None)[2]["i"]
    assert torch.equal(found, reference / reference.max()) and int((reference != 0).sum()) == 2


def test_three_uses_add_up_in_autograds_order():
    # Rounding makes the order of a sum of three visible.
    def thrice(i, v):
        u = v + i
        return u * 1.7 + u * 1e-8 + u * 0.3, u * 0.9

    layer = ns.layer(ns.core()(thrice))(dt=1e-3)
    i = torch.randn(50, 3, 40)
    fused, reference = (gradients(run, layer, i, None)[2] for run in (layer, layer.run_reference))
    assert torch.equal(fused["i"], reference["i"]) and torch.equal(fused["state.v"], reference["state.v"])


@pytest.mark.parametrize("numerator", [1.0, 0.7, "v"])
def test_division_has_autograds_bits(numerator):
    def divided(i, v):
        return (v if numerator == "v" else numerator) / (i * i + 1.1), v * 0.9 + i

    layer = ns.layer(ns.core()(divided))(dt=1e-3)
    i = torch.randn(30, 3, 40)
    fused, reference = (gradients(run, layer, i, None) for run in (layer, layer.run_reference))
    assert torch.equal(fused[0], reference[0]) and torch.equal(fused[2]["i"], reference[2]["i"])
