"""A linear layer with its neurons on CUDA against the same layer on the CPU; without a GPU in Triton's interpreter."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch
from torch import Tensor

import neurosim as ns
from neurosim.compiler.plan import Plan, known
from neurosim.compiler.program import record
from neurosim.cores import alif, cubalif, leaky_integrator, lif
from neurosim.kernels.common.bits import pack
from neurosim.kernels.common.operator import Gradients
from neurosim.kernels.linear import cpu, policy
from neurosim.kernels.linear.arguments import Call, Outputs, Saved
from neurosim.kernels.linear.operator import run_layer
from neurosim.language import Core, Reset

pytest.importorskip("triton")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
if DEVICE.type == "cpu":
    os.environ.setdefault("TRITON_INTERPRET", "1")  # read when a kernel is made, so not too late here

from neurosim.kernels.linear import cuda, cuda_events  # noqa: E402

T, B, N_IN, N = 7, 2, 70, 20
ALL = (True, True, True)


class Case:
    """A layer with data whose sums are exact in any order: spikes then cannot depend on how a product is taken."""

    def __init__(self, core: Core, chunk: int = 0, graded: bool = False, per_neuron: tuple[str, ...] = ()) -> None:
        plan = Plan(record(core, ns.triangle(1.0), Reset(), per_neuron), True)
        known(plan)
        value = {k: core.parameters[k].default if k in core.parameters else 0.9 for k in core.coefficients}
        value["dt"] = 1e-3
        shared = {k: value[k] for k in core.coefficients if k not in per_neuron}
        coefficients = [value[k] * torch.linspace(0.9, 1.1, N).expand(B, N).double() for k in per_neuron]
        numbers = [plan.host_values(u, shared) for u in (plan.forward_uniforms, plan.backward_uniforms)]
        weight = torch.randint(-16, 17, (N, N_IN)).double() / 2
        x = (torch.rand(T, B, N_IN) < 0.2).double()
        if graded:
            x *= torch.randint(-3, 4, x.shape)
        state = [0.3 * torch.randn(B, N).double() for _ in core.state]
        bias = torch.randint(-4, 5, (N,)).double()
        self.call = Call(plan.key, x, weight, bias, state, coefficients, *numbers, chunk)
        self.plan, self.is_binary = plan, not graded
        self.grads = [torch.randn(T, B, N).double(), *(torch.randn(B, N).double() for _ in core.state)]

    def on_the_cpu(self) -> tuple[Outputs, Gradients]:
        outputs = cpu.forward(self.call)
        saved = self.saved(self.call, outputs, self.is_binary)
        return outputs, cpu.backward(saved, ALL, self.grads)

    def on_cuda(self, is_packed: bool) -> tuple[Outputs, Gradients]:
        call = moved(self.call)
        bits = cuda_events.pack(call.x.flatten(0, 1)) if is_packed else None
        call = call._replace(packed_bits=bits)
        outputs = cuda.forward(call)
        assert outputs.is_binary == is_packed
        return outputs, cuda.backward(self.saved(call, outputs, is_packed), ALL, [g.to(DEVICE) for g in self.grads])

    def saved(self, call: Call, outputs: Outputs, is_binary: bool) -> Saved:
        saved = run_layer.save(call, outputs)
        return saved._replace(x=None if is_binary else call.x)

    def check(self, is_packed: bool = True) -> None:
        (a, g_a), (b, g_b) = self.on_the_cpu(), self.on_cuda(is_packed)
        assert torch.equal(a.out, b.out.cpu()) and a.out.any()
        assert len(a.stored) == len(b.stored) and all(g is not None for g in (*g_a, *g_b))
        for wanted, found in zip((*a.state, *a.stored, *g_a), (*b.state, *b.stored, *g_b), strict=True):
            torch.testing.assert_close(found.cpu(), wanted, rtol=1e-11, atol=1e-11)
        if self.plan.program.is_spiking and self.call.chunk:
            assert torch.equal(b.packed_bits.cpu(), pack(a.out.flatten(0, 1)).bits)
        else:
            assert not len(b.packed_bits)
        assert not len(b.mask) and not len(b.input_bits)


def moved(call: Call) -> Call:
    """Return the call on the device."""

    def move(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.to(DEVICE)
        return [move(each) for each in value] if isinstance(value, list) else value

    return Call(*map(move, call))


PRODUCT = pytest.mark.usefixtures("product")


@PRODUCT
@pytest.mark.parametrize("chunk", [0, 3, 7])
@pytest.mark.parametrize("core", [lif, cubalif, alif, leaky_integrator], ids=lambda c: c.name)
def test_equals_the_layer_on_the_cpu(core: Core, chunk: int) -> None:
    Case(core, chunk).check()


@PRODUCT
@pytest.mark.parametrize("chunk", [0, 2])
def test_inputs_that_are_not_known_to_be_spikes(chunk: int) -> None:
    Case(lif, chunk, graded=True).check(is_packed=False)


@PRODUCT
def test_a_coefficient_for_each_neuron() -> None:
    Case(alif, 3, per_neuron=("v_th", "beta")).check()


def test_without_a_gradient_of_the_input_or_a_bias() -> None:
    case = Case(lif)
    call = moved(case.call._replace(bias=None))
    outputs = cuda.forward(call)
    g_x, g_weight, g_bias, *_ = cuda.backward(
        run_layer.save(call, outputs), (False, True, False), [g.to(DEVICE) for g in case.grads]
    )
    assert g_x is None and g_bias is None and g_weight is not None and g_weight.any()


def test_a_large_output_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(lif)
    monkeypatch.setattr(policy, "PACKED", T * B * N)
    assert len(cuda.forward(moved(case.call)).packed_bits) == T * B
    monkeypatch.setattr(policy, "PACKED", T * B * N + 1)
    assert not len(cuda.forward(moved(case.call)).packed_bits)


def test_the_rate_is_measured_only_where_it_may_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[Tensor] = []
    count = cuda_events.count

    def counted(bits: Tensor) -> Tensor:
        measured.append(bits)
        return count(bits)

    monkeypatch.setattr(cuda_events, "count", counted)

    def pays(rows: int, n: int, rate: float, dtype: torch.dtype = torch.float32, may_wait: bool = True) -> bool:
        bits = torch.zeros(rows, n // 64, dtype=torch.int64)
        bits[: round(rows * rate)] = -1
        weight = torch.empty(n, n, dtype=dtype)
        return policy.is_event_driven_on_cuda(rows, weight, (lambda: bits) if may_wait else None)

    assert not pays(16, 256, 0.0) and measured == []  # too small to wait for
    assert not pays(30000, 512, 0.01, may_wait=False) and measured == []
    assert pays(30000, 512, 0.01) and len(measured) == 1
    assert not pays(30000, 512, 0.2) and len(measured) == 2
    precision = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        assert pays(30000, 512, 0.001) and not pays(30000, 512, 0.01)
    finally:
        torch.set_float32_matmul_precision(precision)


def test_a_run_that_trains_never_waits_for_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "WORTH_MEASURING", 0)
    monkeypatch.setattr(cuda_events, "count", lambda bits: pytest.fail("the host waits"))
    case = Case(lif)
    call = moved(case.call)
    cuda.backward(run_layer.save(call, cuda.forward(call)), ALL, [g.to(DEVICE) for g in case.grads])
