"""The fused CUDA kernels against the definition; without a GPU they run in Triton's interpreter on CPU tensors."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import neurosim as ns
from neurosim.compiler.plan import Plan, known
from neurosim.compiler.program import record
from neurosim.compiler.triton import module_cache as generated
from neurosim.compiler.triton import source as triton_source
from neurosim.cores import alif, cubalif, integrate_and_fire, leaky_integrator, lif, loihi_refractory
from neurosim.kernels.neurons import cpu, cuda
from neurosim.kernels.neurons import reference as eager
from neurosim.kernels.neurons.arguments import Call
from neurosim.kernels.neurons.operator import run_core
from neurosim.language import Core, Reset, core, seconds
from neurosim.language.functions import absolute, exp, floor, log, maximum, minimum, sqrt, tanh, trunc, where
from tests.ahead import POINTER, compiled_ahead, printed_apart
from tests.user_cores import coba

pytest.importorskip("triton")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
if DEVICE.type == "cpu":
    os.environ.setdefault("TRITON_INTERPRET", "1")  # read when a kernel is made, so not too late here

BUILT_IN = (lif, cubalif, alif, integrate_and_fire, leaky_integrator)
ARITHMETIC = (ns.atan(2.0), ns.atan(3.0), ns.fast_sigmoid(25.0), ns.triangle(1.0), ns.rectangle(1.0))
WITH_EXP = (ns.sigmoid(4.0), ns.exponential(0.01), ns.multi_gaussian())
SURROGATES = (*ARITHMETIC, ns.straight_through(), *WITH_EXP)
# Relative and absolute: exp and its like come from other libraries, which agree to a few units in the last place.
TOLERANCE = {torch.float32: (2e-5, 2e-6), torch.float64: (1e-12, 1e-13)}


@core(parameters=dict(a=0.02, b=0.2, c=-65.0, d=8.0, v_th=30.0), state=dict(v=-65.0, w=-13.0))
def izhikevich(
    i: Any, v: Any, w: Any, *, dt: Any, a: Any, b: Any, c: Any, d: Any, v_th: Any, spike: Any, reset: Any
) -> Any:
    """A user's own core: time in milliseconds inside, two variables reset (Izhikevich 2003)."""
    h = 1000.0 * dt
    u = v + h * (0.04 * v * v + 5.0 * v + 140.0 - w + i)
    recovery = w + h * a * (b * v - w)
    z = spike(u - v_th)
    gate = reset.gate(z)
    return z, where(gate, c, u), where(gate, recovery + d, recovery)


@core(parameters=dict(tau_mem=seconds(20e-3), k=0.7), state=("v", "count", "fixed"))
def every_operation(i: Any, v: Any, count: Any, fixed: Any, *, alpha_mem: Any, k: Any, spike: Any) -> Any:
    """All that the language of cores has; one state is the same number for all neurons."""
    s = exp(-absolute(v)) + tanh(k * i) + sqrt(1.0 + v * v) + log(2.0 + i * i)
    s = s + 0.1 * trunc(3.0 * i) - 0.2 * floor(2.0 * i)
    u = alpha_mem * v + maximum(minimum(s, 3.0), i) / (1.0 + v * v) - (-i) * fixed
    u = where(u >= 2.5, 2.5, where(u < -4.0, -4.0, u))
    z = spike(u - k)
    return z, where(z, 0.1 * u, u), count + (u > 0.25) * 1.0, k + 0.0 * k


@dataclasses.dataclass
class Run:
    """What one direction each has given."""

    out: Tensor
    states: list[Tensor]
    recorded: list[Tensor]
    gradients: dict[str, Tensor]


class Case:
    """One core with its choices and random data, run by the definition and by the kernel."""

    def __init__(
        self,
        neuron: Core,
        T: int,
        shape: tuple[int, ...],
        *,
        dtype: torch.dtype = torch.float32,
        spike: ns.Surrogate | None = None,
        reset: Reset | None = None,
        per_neuron: tuple[str, ...] = (),
        through_time: bool = True,
        recorded: tuple[str, ...] = (),
        scale: tuple[float, float] = (2.0, 1.0),
    ) -> None:
        self.core, self.through_time = neuron, through_time
        spike, reset = spike or ns.atan(2.0), reset or Reset()
        self.plan = Plan(record(neuron, spike, reset, per_neuron), True, through_time, recorded)
        self.choices = {k: v for k, v in {"spike": spike, "reset": reset}.items() if k in neuron.wants}
        value = {k: neuron.parameters[k].default if k in neuron.parameters else 0.9 for k in neuron.coefficients}
        value["dt"] = 1e-3
        self.numbers = {k: value[k] for k in neuron.coefficients if k not in per_neuron}

        real = cuda.arithmetic(dtype)

        def random(*size: int) -> Tensor:
            return torch.randn(size, dtype=real)

        self.inputs = {k: (random(T, *shape) * scale[0] + scale[1]).to(dtype) for k in neuron.inputs}
        self.state = [start + 0.1 * random(*shape) for start in neuron.state.values()]
        self.tensors = {k: value[k] * (1.0 + 0.05 * torch.rand(shape, dtype=real)) for k in per_neuron}
        self.g_out, self.g_states = random(T, *shape).to(dtype), [random(*shape) for _ in neuron.state]

    def reference(self) -> Run:
        start = {f"start {k}": s for k, s in zip(self.core.state, self.state, strict=True)}
        *widened, g_out = (x.to(cuda.arithmetic(x.dtype)) for x in (*self.inputs.values(), self.g_out))
        values = {**dict(zip(self.inputs, widened, strict=True)), **start, **self.tensors}
        leaves = {k: v.detach().requires_grad_() for k, v in values.items()}
        first, last = len(self.inputs), len(self.inputs) + len(self.state)
        each = list(leaves.values())
        inputs, state, tensors = each[:first], each[first:last], each[last:]
        given = {**self.numbers, **dict(zip(self.tensors, tensors, strict=True)), **self.choices}
        watch: dict[str, list[Tensor]] = {name: [] for name in self.plan.recorded}
        out, after = eager.run(self.core, inputs, state, given, through_time=self.through_time, watch=watch)
        # A state that is the same number for all neurons stays a number there.
        after = tuple(s if isinstance(s, Tensor) else torch.full_like(inputs[0][0], s) for s in after)
        ends = zip([out, *after], [g_out, *self.g_states], strict=True)
        results, cotangents = zip(*((x, g) for x, g in ends if x.requires_grad), strict=True)
        gradients = torch.autograd.grad(
            results, list(leaves.values()), cotangents, allow_unused=True, materialize_grads=True
        )
        watched = [torch.stack(values).detach() if values else out.detach() for values in watch.values()]
        return Run(out.detach(), [s.detach() for s in after], watched, dict(zip(leaves, gradients, strict=True)))

    def fused(self) -> Run:
        plan = self.plan
        per_neuron = [t.to(DEVICE) for t in self.tensors.values()]
        forward, backward = (plan.host_values(u, self.numbers) for u in (plan.forward_uniforms, plan.backward_uniforms))
        inputs, state = ([x.to(DEVICE) for x in each] for each in (self.inputs.values(), self.state))
        call = Call(known(plan), inputs, state, per_neuron, forward, backward)
        outputs = cuda.forward(call)
        out, after, stored = outputs
        g_states = [g.to(DEVICE) for g in self.g_states]
        gradients = cuda.backward(run_core.save(call, outputs), [self.g_out.to(DEVICE), *g_states])
        names = [*self.inputs, *(f"start {k}" for k in self.core.state), *self.tensors]
        recorded = [stored[plan.recording(name)].cpu() for name in plan.recorded]
        flat = [*gradients.inputs, *gradients.state, *gradients.coefficients]
        cpu_gradients = {name: g.cpu() for name, g in zip(names, flat, strict=True)}
        return Run(out.cpu(), [s.cpu() for s in after], recorded, cpu_gradients)

    def check(self, *, forward_close: bool = False, gradients_close: bool = False) -> tuple[Run, Run]:
        """Compare bit for bit what is not said to be close.

        A decay stands twice in a step: autograd adds its two shares to the sum one by one, the kernel their sum.
        """
        wanted, got = self.reference(), self.fused()

        def compare(name: str, a: Tensor, b: Tensor, close: bool) -> None:
            relative, absolute = TOLERANCE[self.g_out.dtype] if close else (0.0, 0.0)
            torch.testing.assert_close(a, b, rtol=relative, atol=absolute, msg=lambda text: f"{name}: {text}")

        compare("out", got.out, wanted.out, forward_close)
        for a, b in zip([*got.states, *got.recorded], [*wanted.states, *wanted.recorded], strict=True):
            compare("state", a, b, forward_close)
        for name, gradient in wanted.gradients.items():
            compare(f"gradient of {name}", got.gradients[name], gradient, gradients_close or name.startswith("alpha"))
        return wanted, got


@pytest.fixture
def fenced(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Fill new memory with NaN and put a strip of NaN behind it; return the strips."""
    strips = []

    def empty_like(like: Tensor, **choices: Any) -> Tensor:
        dtype = choices.get("dtype", like.dtype)
        memory = torch.full((like.numel() + 256,), float("nan"), dtype=dtype, device=like.device)
        strips.append(memory[like.numel() :])
        return memory[: like.numel()].view(like.shape)

    monkeypatch.setattr(torch, "empty_like", empty_like)
    return strips


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("neuron", BUILT_IN, ids=lambda c: c.name)
def test_equals_the_definition_bit_for_bit(neuron: Core, dtype: torch.dtype, fenced: list[Tensor]) -> None:
    case = Case(neuron, 17, (3, 63), dtype=dtype, recorded=tuple(neuron.state))
    wanted, got = case.check()
    assert wanted.out.abs().sum() > 0 and got.gradients["i"].abs().sum() > 0
    assert fenced and all(torch.isnan(strip).all() for strip in fenced)


# One unit in the last place: the device rounds to the nearest, Triton's interpreter cuts a bfloat16 off.
LAST_PLACE = {torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8 if DEVICE.type == "cuda" else 2.0**-7}


@core(parameters=dict(k=3.0), state=("v",))
def squared(i: Any, v: Any, *, k: Any, spike: Any) -> Any:
    """What comes in is worked with before it meets anything in single precision."""
    u = 0.5 * v + i * i * i
    z = spike(u - k)
    return z, where(z, 0.0, u)


@pytest.mark.parametrize("shape", [(3, 63), (2, 130)], ids=str)
@pytest.mark.parametrize("dtype", list(LAST_PLACE), ids=str)
@pytest.mark.parametrize("neuron", [*BUILT_IN, squared, coba], ids=lambda c: c.name)
def test_half_precision_rounds_at_the_door_only(
    neuron: Core, dtype: torch.dtype, shape: tuple[int, ...], fenced: list[Tensor]
) -> None:
    first = next(name for name in neuron.coefficients if not name.startswith("tau"))  # 0 where no neuron is, a divisor
    case = Case(neuron, 17, shape, dtype=dtype, per_neuron=(first,))
    wanted, got = case.reference(), case.fused()
    assert got.out.dtype == dtype and {got.gradients[name].dtype for name in neuron.inputs} == {dtype}
    for a, b in zip(got.states, wanted.states, strict=True):  # inside all is in single precision: the same bits
        assert a.dtype == torch.float32 and torch.equal(a, b)
    if neuron is not leaky_integrator:
        assert torch.equal(got.out.float(), wanted.out)
    for name, gradient in wanted.gradients.items():
        # A coefficient's shares are summed over time in another order.
        relative, absolute = (LAST_PLACE[dtype], 1e-6) if name in neuron.inputs else (2e-5, 2e-5)
        torch.testing.assert_close(got.gradients[name].float(), gradient, rtol=relative, atol=absolute)
    torch.testing.assert_close(got.out.float(), wanted.out, rtol=LAST_PLACE[dtype], atol=1e-6)
    assert wanted.out.any() and fenced and all(torch.isnan(strip).all() for strip in fenced)


def test_only_what_half_precision_holds_is_stored_in_it() -> None:
    plan = Case(lif, 1, (1, 1), recorded=("z", "u", "v")).plan
    kept = {name: cuda.stored_in(plan.stored[plan.recording(name)], torch.bfloat16) for name in plan.recorded}
    assert kept == {"z": torch.bfloat16, "u": torch.float32, "v": torch.float32}
    assert cuda.stored_in(plan.program.trace.leaf("input", "i"), torch.float16) == torch.float16
    assert cuda.stored_in(plan.saved[0], torch.float64) == torch.float64


@core(parameters={}, state=("v",))
def exponential(i: Any, v: Any, *, spike: Any) -> Any:
    """The exponential of the input."""
    u = exp(i)
    return spike(u - 1.0), u


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of results that are infinite in the interpreter
def test_exp_in_single_precision_has_the_bits_of_the_cpu() -> None:
    ends = torch.tensor([0.0, -0.0, 1e-40, -1e-40, 88.7, 88.8, -87.4, -103.9, -104.1, 1e30, -1e30])
    values = torch.cat([ends, ends.new_tensor([float("inf"), -float("inf"), float("nan")]), 30.0 * torch.randn(4000)])
    plan = Plan(record(exponential, ns.atan(2.0), Reset(), ()), False)
    call = Call(known(plan), [values[None]], [torch.zeros_like(values)], [], [], [])
    on_device = call._replace(inputs=[values[None].to(DEVICE)], state=[torch.zeros_like(values).to(DEVICE)])
    (found,), (wanted,) = cuda.forward(on_device).state, cpu.forward(call).state
    assert torch.equal(found.cpu().view(torch.int32)[:-4001], wanted.view(torch.int32)[:-4001])
    assert torch.equal(found.cpu()[-4000:], wanted[-4000:]) and torch.isnan(found[-4001]) and torch.isnan(wanted[-4001])
    torch.testing.assert_close(wanted[-4000:], values[-4000:].exp(), rtol=3e-7, atol=0.0)


@pytest.mark.parametrize("detached", [True, False])
@pytest.mark.parametrize("mode", ["value", "subtract", None])
@pytest.mark.parametrize("neuron", [lif, cubalif, alif, integrate_and_fire], ids=lambda c: c.name)
def test_every_reset(neuron: Core, mode: Any, detached: bool) -> None:
    Case(neuron, 12, (1, 17), reset=Reset(mode, detached)).check()


@pytest.mark.parametrize("spike", SURROGATES, ids=lambda s: s.name)
def test_every_surrogate(spike: Any) -> None:
    Case(lif, 9, (1, 63), spike=spike).check(gradients_close=spike in WITH_EXP)


@pytest.mark.parametrize("spike", SURROGATES, ids=lambda s: s.name)
def test_every_surrogate_in_double_precision(spike: Any) -> None:
    Case(lif, 5, (1, 17), spike=spike, dtype=torch.float64).check(gradients_close=spike in WITH_EXP)


@pytest.mark.parametrize(
    ("T", "shape"),
    [
        (1, (1,)),
        (1, (1, 1000)),
        (17, (1, 128)),
        (17, (1, 129)),
        (63, (17, 1)),
        (63, (63,)),
        (17, (10, 100)),
        (1000, (1, 1)),
    ],
)
def test_sizes(T: int, shape: tuple[int, ...], fenced: list[Tensor]) -> None:
    Case(lif, T, shape).check()
    assert fenced and all(torch.isnan(strip).all() for strip in fenced)


@pytest.mark.parametrize(("dtype", "width"), [(torch.float32, 1028), (torch.float64, 4), (torch.bfloat16, 132)])
def test_wide_layers_have_four_neurons_to_a_thread(
    dtype: torch.dtype, width: int, monkeypatch: pytest.MonkeyPatch, fenced: list[Tensor]
) -> None:
    assert cuda.tiling(cuda.WIDE, dtype)["EACH"] == 4 and cuda.tiling(cuda.WIDE + 1, dtype)["EACH"] == 1
    assert cuda.tiling(cuda.WIDE - 4, dtype)["EACH"] == (2 if dtype == torch.bfloat16 else 1)
    monkeypatch.setattr(cuda, "WIDE", 0)
    case = Case(cubalif, 9, (width,), dtype=dtype)
    wanted, got = case.reference(), case.fused()
    assert torch.equal(got.out.to(wanted.out.dtype), wanted.out)
    last = LAST_PLACE.get(dtype, 0.0)
    torch.testing.assert_close(got.gradients["i"].to(wanted.out.dtype), wanted.gradients["i"], rtol=last, atol=last)
    assert torch.equal(got.gradients["start v"], wanted.gradients["start v"])
    assert fenced and all(torch.isnan(strip).all() for strip in fenced)


def test_no_steps_returns_the_state_and_passes_its_gradient() -> None:
    case = Case(alif, 0, (2, 5), per_neuron=("v_th",))
    got = case.fused()
    assert got.out.shape == got.gradients["i"].shape == (0, 2, 5)
    for state, start in zip(got.states, case.state, strict=True):
        assert torch.equal(state, start)
    for name, g in zip(case.core.state, case.g_states, strict=True):
        assert torch.equal(got.gradients[f"start {name}"], g)
    assert torch.equal(got.gradients["v_th"], torch.zeros(2, 5))


def test_no_neurons() -> None:
    got = Case(lif, 4, (2, 0)).fused()
    assert got.out.shape == got.gradients["i"].shape == (4, 2, 0)
    assert got.states[0].shape == got.gradients["start v"].shape == (2, 0)


@pytest.mark.parametrize("neuron", BUILT_IN, ids=lambda c: c.name)
def test_gradients_cut_at_every_step(neuron: Core) -> None:
    case = Case(neuron, 9, (1, 17), through_time=False)
    _, got = case.check()
    for name in neuron.state:
        assert not got.gradients[f"start {name}"].any()
    assert got.gradients["i"].any()


@pytest.mark.parametrize("neuron", BUILT_IN, ids=lambda c: c.name)
def test_a_coefficient_for_each_neuron(neuron: Core, fenced: list[Tensor]) -> None:
    case = Case(neuron, 17, (2, 70), per_neuron=neuron.coefficients, dtype=torch.float64)
    _, got = case.check()
    assert all(got.gradients[name].any() for name in neuron.coefficients)


def test_coefficients_without_time() -> None:
    Case(lif, 9, (1, 17), per_neuron=("alpha_mem", "v_th"), through_time=False).check()


def test_inputs_with_holes() -> None:
    case = Case(cubalif, 6, (7, 11), per_neuron=("v_th",))
    plain = case.fused()
    case.inputs["i"] = case.inputs["i"].permute(2, 1, 0).contiguous().permute(2, 1, 0)
    case.state = [torch.stack([s, s + 1.0], dim=-1)[..., 0] for s in case.state]
    case.tensors = {k: v.t().contiguous().t() for k, v in case.tensors.items()}
    case.g_out = torch.stack([case.g_out, case.g_out], dim=1)[:, 1]
    assert not any(x.is_contiguous() for x in (case.inputs["i"], *case.state, *case.tensors.values(), case.g_out))
    holed = case.fused()
    for a, b in zip([plain.out, *plain.states], [holed.out, *holed.states], strict=True):
        assert torch.equal(a, b)
    for name in plain.gradients:
        assert torch.equal(plain.gradients[name], holed.gradients[name])


def test_arguments_stay_as_they_are() -> None:
    case = Case(cubalif, 5, (2, 9), per_neuron=("v_th",))
    given = (case.inputs["i"], *case.state, *case.g_states, case.g_out, *case.tensors.values())
    before = [x.clone() for x in given]
    case.fused()
    assert all(map(torch.equal, before, given))


def test_numbers_keep_double_precision() -> None:
    # 0.1 has other digits in single precision; the kernel must see those of double precision.
    case = Case(integrate_and_fire, 1, (1, 1), dtype=torch.float64)
    case.numbers["r"] = 0.1
    case.inputs["i"], case.state = torch.ones(1, 1, 1, dtype=torch.float64), [torch.zeros(1, 1, dtype=torch.float64)]
    assert case.fused().states[0].item() == 0.1


def test_the_same_as_the_kernel_for_the_cpu() -> None:
    case = Case(alif, 20, (3, 50), per_neuron=("beta",))
    numbers = case.plan.host_values(case.plan.forward_uniforms, case.numbers)
    call = Call(known(case.plan), [case.inputs["i"]], case.state, list(case.tensors.values()), numbers, ())
    on_cpu = cpu.forward(call)
    got = case.fused()
    assert torch.equal(on_cpu.out, got.out)
    assert all(torch.equal(a, b) for a, b in zip(on_cpu.state, got.states, strict=True))


@pytest.mark.parametrize("detached", [True, False])
def test_a_core_of_the_users_own(detached: bool) -> None:
    case = Case(izhikevich, 60, (1, 17), dtype=torch.float64, scale=(5.0, 40.0), reset=Reset("value", detached))
    case.inputs["i"][:] = case.inputs["i"].abs()
    wanted, _ = case.check()
    assert wanted.out.sum() > 17


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("per_neuron", [(), ("alpha_exc", "e_inh")], ids=str)
def test_a_core_of_several_ports(dtype: torch.dtype, per_neuron: tuple[str, ...], fenced: list[Tensor]) -> None:
    case = Case(coba, 30, (3, 50), dtype=dtype, per_neuron=per_neuron, scale=(0.4, 0.3), recorded=("v", "g_exc"))
    _, got = case.check()
    assert {"ge", "gi"} <= set(got.gradients) and all(torch.isnan(strip).all() for strip in fenced)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_every_operation_of_the_language(dtype: torch.dtype) -> None:
    case = Case(every_operation, 8, (1, 63), dtype=dtype, recorded=("count",))
    wanted, _ = case.check(forward_close=True, gradients_close=True)
    assert wanted.states[1].any() and not (wanted.states[1] == 8).all()


@core(state=("v",))
def clipped(i: Any, v: Any) -> Any:
    u = maximum(minimum(i, 1.0), -1.0)
    return u, u


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_whole_numbers_are_exact(dtype: torch.dtype) -> None:
    case = Case(loihi_refractory, 17, (3, 63), dtype=dtype, recorded=("u", "v"))
    case.inputs["i"], case.state = (case.inputs["i"] * 400).round(), [(s * 1e6).round() for s in case.state]
    wanted, _ = case.check()
    assert wanted.out.sum() > 20 and wanted.gradients["i"].any()
    assert all(torch.equal(values, values.trunc()) and values.abs().max() > 1e5 for values in wanted.recorded)


def test_a_nan_is_passed_on_and_stays_with_its_neuron() -> None:
    case = Case(clipped, 2, (1, 9))
    case.inputs["i"][:, 0, 4] = float("nan")
    v = case.fused().states[0]
    assert torch.isnan(v).nonzero().tolist() == [[0, 4]]


@pytest.fixture
def layers_run_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the operator take these kernels on the CPU as well, where no device is there to ask for them."""
    if DEVICE.type == "cpu":
        monkeypatch.setattr(cpu, "forward", cuda.forward)
        monkeypatch.setattr(cpu, "backward", cuda.backward)


@pytest.mark.usefixtures("layers_run_triton")
@pytest.mark.parametrize(
    ("make", "learn"),
    [
        (ns.LIF, ("tau_mem", "v_th", "v_reset", "r")),
        (ns.ALIF, ("tau_adapt", "beta")),
        (ns.CubaLIF, ("tau_syn", "tau_mem")),
        (ns.LIF, ("reset_amount", "v_th")),
    ],
)
def test_a_layer_learns_its_parameters(make: Any, learn: tuple[str, ...]) -> None:
    own = dict(reset="subtract", reset_amount=0.7) if "reset_amount" in learn else {}
    layer = make(dt=1e-3, size=17, learn=learn, **own).double().to(DEVICE)
    i = (torch.randn(12, 2, 17, dtype=torch.float64) * 20.0).to(DEVICE).requires_grad_()
    start = [torch.randn(2, 17, dtype=torch.float64).mul(0.1).to(DEVICE).requires_grad_() for _ in layer.core.state]
    results = []
    for run in (layer, layer.run_reference):
        z, state, *_ = run(i, start)
        loss = (z * torch.linspace(0.0, 1.0, z.numel(), dtype=z.dtype, device=DEVICE).view_as(z)).sum()
        loss = loss + sum((s * s).sum() for s in state)
        results.append([z, *state, *torch.autograd.grad(loss, [i, *start, *layer.parameters()])])
    assert results[0][0].sum() > 0
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.usefixtures("layers_run_triton")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("fed", [("ge", "gi"), ("ge",)], ids=str)
@pytest.mark.parametrize("trials", [False, True], ids=["numbers", "a number for each trial"])
def test_ports_and_values_of_trials(dtype: torch.dtype, fed: tuple[str, ...], trials: bool) -> None:
    values: dict[str, Any] = {"tau_exc": torch.tensor([[3e-3], [6e-3], [9e-3]]), "e_inh": torch.full((3, 1), -1.5)}
    layer = ns.layer(coba)(dt=1e-3, detach_reset=False, **(values if trials else {})).to(DEVICE)
    given = {port: (torch.rand(40, 3, 17, dtype=dtype) ** 4 * 0.5).to(DEVICE) for port in fed}
    results = []
    for run in (layer, layer.run_reference):
        leaves = {port: x.clone().requires_grad_() for port, x in given.items()}
        z, state, *_ = run(leaves)
        loss = (z * torch.linspace(0.0, 1.0, 40, dtype=dtype, device=DEVICE)[:, None, None]).sum()
        found = torch.autograd.grad(loss + sum((s * s).sum() for s in state), list(leaves.values()))
        results.append([z, *state, *found])
    assert all(map(torch.equal, *results)) and 0 < results[0][0].mean() < 0.5


@pytest.mark.usefixtures("layers_run_triton")
def test_a_run_in_two_parts_equals_the_run_in_one() -> None:
    layer = ns.ALIF(dt=1e-3).to(DEVICE)
    i = (torch.randn(20, 2, 9) * 10.0).to(DEVICE)
    whole, end = layer(i)
    first, state = layer(i[:7])
    second, state = layer(i[7:], state)
    assert torch.equal(whole, torch.cat([first, second]))
    assert all(torch.equal(a, b) for a, b in zip(end, state, strict=True))


def test_another_size_uses_the_same_function() -> None:
    made = cuda.compiled.cache_info().currsize
    case = Case(lif, 3, (1, 5), recorded=("v",))
    case.fused()
    after_first = cuda.compiled.cache_info().currsize
    assert after_first <= made + 2
    Case(lif, 4, (2, 7), recorded=("v",)).fused()
    assert cuda.compiled.cache_info().currsize == after_first


def test_source_lies_whole_in_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEUROSIM_CACHE_DIR", str(tmp_path / "new"))
    module = generated.module("thing", "x = 1\n\n\ndef f():\n    return x\n")
    assert module.f() == 1 and inspect.getsource(module.f).endswith("return x\n")
    (path,) = (tmp_path / "new" / "kernels").iterdir()
    assert path.name.startswith("thing_") and path.suffix == ".py"
    path.write_text("x = 2\n")  # damaged, or by another version
    assert generated.module("thing", "x = 1\n\n\ndef f():\n    return x\n").x == 1
    assert generated.module("thing", "x = 3\n").x == 3
    assert len(list((tmp_path / "new" / "kernels").iterdir())) == 2


def test_the_usual_cache_folder_is_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    import platformdirs

    monkeypatch.delenv("NEUROSIM_CACHE_DIR")
    assert generated.folder() == Path(platformdirs.user_cache_dir("neurosim"))


def test_a_folder_that_cannot_be_written_gives_one_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("NEUROSIM_CACHE_DIR", str(tmp_path / "file" / "below"))
    with pytest.warns(
        RuntimeWarning, match=r"below.kernels cannot be written: .* temporary folder.* in .* NEUROSIM_CACHE_DIR"
    ):
        first = generated.module("thing", "x = 4\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        second = generated.module("other", "x = 5\n")
    assert (first.x, second.x) == (4, 5)
    assert Path(str(first.__file__)).parent == Path(str(second.__file__)).parent


def ahead_of_time(
    neuron: Core,
    real: str,
    backwards: bool,
    *,
    width: int = 1000,
    fusion: bool = False,
    through_time: bool = True,
    per_neuron: tuple[str, ...] = (),
    capability: int = 90,
) -> dict[str, Any]:
    """Compile a kernel of a core for a GPU that need not be there."""
    plan = Plan(record(neuron, ns.atan(2.0), Reset(), per_neuron), True, through_time)
    function = cuda.compiled(known(plan), real, backwards, False)
    dtype: torch.dtype = getattr(torch, real)
    kinds = dict.fromkeys(function.arg_names, POINTER[cuda.arithmetic(dtype)]) | {"steps": "i32", "width": "i32"}
    kinds |= dict.fromkeys(("ptr_i", "ptr_out", "ptr_g_i", "ptr_g_out"), POINTER[dtype])
    kinds |= {f"ptr_kept{n}": POINTER[cuda.stored_in(node, dtype)] for n, node in enumerate(plan.saved)}
    options = cuda.OPTIONS | ({"enable_fp_fusion": True} if fusion else {})
    return compiled_ahead(function, kinds, cuda.tiling(width, dtype), options, capability=capability)


def all_ahead() -> dict[str, Any]:
    exact = {f"{c.name} {back}": ahead_of_time(c, "float32", back) for c in BUILT_IN for back in (False, True)}
    for back in (False, True):
        exact[f"lif in double precision {back}"] = ahead_of_time(lif, "float64", back)
        each = ahead_of_time(alif, "float32", back, per_neuron=alif.coefficients, through_time=False)
        exact[f"alif with tensors {back}"] = each
    for neuron, real, width in ((lif, "bfloat16", 1000), (alif, "float16", cuda.WIDE), (lif, "float32", cuda.WIDE)):
        for back in (False, True):
            exact[f"{neuron.name} in {real}, {width} {back}"] = ahead_of_time(neuron, real, back, width=width)
    functions = [ahead_of_time(every_operation, f"float{bits}", back) for bits in (32, 64) for back in (False, True)]
    return {"exact": exact, "functions": functions, "fusion": ahead_of_time(lif, "float32", False, fusion=True)}


def test_machine_code_is_made_without_a_device(tmp_path: Path) -> None:
    pytest.importorskip("triton.backends.nvidia")
    answer = printed_apart(tmp_path, __file__)
    assert len(answer["exact"]) == 20
    for name, kernel in answer["exact"].items():
        assert kernel["machine"] > 1000, name
        assert kernel["contracted"] == 0, f"{name}: a product and a sum became one rounding"
        assert kernel["ahead"] >= triton_source.AHEAD, f"{name}: loads do not run ahead"
        if str(cuda.WIDE) in name:
            assert kernel["widest"] >= 8, f"{name}: four neurons are not read at once"
        assert kernel["short"] == 0 and kernel["long"] > 0, f"{name}: an index of 32 bits"
        assert not {"steps", "width"} & set(kernel["specialised"]), f"{name}: another size would be compiled again"
        assert set(kernel["divisions"]) <= {"rn"}, f"{name}: an inexact division"
    assert answer["exact"]["lif True"]["divisions"] == ["rn"]
    assert len(answer["functions"]) == 4 and all(kernel["machine"] > 1000 for kernel in answer["functions"])
    # The count above can find something: the same kernel with contraction allowed has it.
    assert answer["fusion"]["contracted"] > 0


if __name__ == "__main__":
    print(json.dumps(all_ahead()))
