"""A linear layer with its neurons on CUDA against the same layer on the CPU; without a GPU in Triton's interpreter."""

from __future__ import annotations

import os

import pytest
import torch
from torch import Tensor

import neurosim as ns
from neurosim.compiler.plan import Plan, known
from neurosim.compiler.program import record
from neurosim.cores import alif, cubalif, leaky_integrator, lif
from neurosim.kernels.common.bits import pack
from neurosim.kernels.linear import cpu as layer
from neurosim.kernels.linear import masked_product
from neurosim.kernels.linear.cpu import Layer
from neurosim.language import Core, Reset

pytest.importorskip("triton")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
if DEVICE.type == "cpu":
    os.environ.setdefault("TRITON_INTERPRET", "1")  # read when a kernel is made, so not too late here

from neurosim.kernels.linear import cuda as cuda_layer  # noqa: E402
from neurosim.kernels.linear import cuda_events  # noqa: E402

T, B, N_IN, N = 7, 2, 70, 20


class Case:
    """A layer with data whose sums are exact in any order: spikes then cannot depend on how a product is taken."""

    def __init__(self, core: Core, chunk: int = 0, graded: bool = False, per_neuron: tuple[str, ...] = ()) -> None:
        plan = Plan(record(core, ns.triangle(1.0), Reset(), per_neuron), True)
        known(plan)
        value = {k: core.parameters[k].default if k in core.parameters else 0.9 for k in core.coefficients}
        value["dt"] = 1e-3
        numbers = {k: value[k] for k in core.coefficients if k not in per_neuron}
        coefficients = [value[k] * torch.linspace(0.9, 1.1, N).expand(B, N).double() for k in per_neuron]
        uniforms = [plan.host_values(u, numbers) for u in (plan.forward_uniforms, plan.backward_uniforms)]
        weight = torch.randint(-16, 17, (N, N_IN)).double() / 2
        self.layer = Layer(plan, weight, torch.randint(-4, 5, (N,)).double(), coefficients, *uniforms, chunk)
        self.x = (torch.rand(T, B, N_IN) < 0.2).double()
        if graded:
            self.x *= torch.randint(-3, 4, self.x.shape)
        self.state = [0.3 * torch.randn(B, N).double() for _ in core.state]
        self.g, self.g_states = torch.randn(T, B, N).double(), [torch.randn(B, N).double() for _ in core.state]
        self.graded = graded

    def on(self, device: torch.device) -> Layer:
        made = self.layer
        bias = None if made.bias is None else made.bias.to(device)
        return made._replace(
            weight=made.weight.to(device), bias=bias, per_neuron=[p.to(device) for p in made.per_neuron]
        )

    def mask(self, asked: Tensor | None) -> tuple[layer.Result, layer.Gradients]:
        result = layer.forward(self.layer, self.x, None, self.state)
        x = self.x if self.graded else None
        arguments = (self.layer, x, result.input_bits, N_IN, asked, True, self.g, self.g_states)
        return result, layer.backward(*arguments, self._saved(result))

    def found(self, asked: Tensor | None, came: bool) -> tuple[layer.Result, layer.Gradients]:
        made, x = self.on(DEVICE), self.x.to(DEVICE)
        bits = cuda_events.pack(x.flatten(0, 1))[0] if came else None
        result = cuda_layer.forward(made, x, bits, [s.to(DEVICE) for s in self.state])
        assert result.ones == came
        ends = [g.to(DEVICE) for g in self.g_states]
        asked = None if asked is None else asked.to(DEVICE)
        kept = None if came else x
        arguments = (made, kept, result.input_bits, N_IN, asked, True, self.g.to(DEVICE), ends)
        return result, cuda_layer.backward(*arguments, self._saved(result))

    def _saved(self, result: layer.Result) -> list[Tensor]:
        plan = self.layer.plan
        return result.kept if self.layer.chunk else [result.kept[plan.position(node)] for node in plan.saved]

    def check(self, came: bool = True, asked: Tensor | None = None) -> None:
        (a, g_a), (b, g_b) = self.mask(asked), self.found(asked, came)
        assert torch.equal(a.out, b.out.cpu()) and a.out.any()
        pairs = [*zip(a.states, b.states, strict=True), *zip(a.kept, b.kept, strict=True)]
        assert g_a.x is not None and g_b.x is not None and g_a.bias is not None and g_b.bias is not None
        pairs += [(g_a.x, g_b.x), (g_a.weight, g_b.weight), (g_a.bias, g_b.bias)]
        pairs += [*zip(g_a.states, g_b.states, strict=True), *zip(g_a.per_neuron, g_b.per_neuron, strict=True)]
        for mask, found in pairs:
            torch.testing.assert_close(found.cpu(), mask, rtol=1e-11, atol=1e-11)
        if self.layer.plan.program.is_spiking:
            assert torch.equal(b.bits.cpu(), pack(a.out.flatten(0, 1)).bits)
            assert b.active.shape == a.active.shape and (b.active == -1).all()


@pytest.fixture(params=["dense", "event-driven"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    sparse = request.param == "event-driven"
    monkeypatch.setattr(cuda_layer, "_pays", lambda bits, weight: sparse)
    monkeypatch.setattr(masked_product, "pays", lambda mask, width, columns: sparse)
    return request.param


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("chunk", [0, 3, 7])
@pytest.mark.parametrize("core", [lif, cubalif, alif, leaky_integrator], ids=lambda c: c.name)
def test_equals_the_layer_on_the_cpu(core: Core, chunk: int) -> None:
    Case(core, chunk).check()


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("chunk", [0, 2])
def test_inputs_that_are_not_known_to_be_spikes(chunk: int) -> None:
    Case(lif, chunk, graded=True).check(came=False)


@pytest.mark.usefixtures("way")
def test_a_coefficient_for_each_neuron() -> None:
    Case(alif, 3, per_neuron=("v_th", "beta")).check()


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("chunk", [0, 4])
def test_input_gradient_where_wanted(chunk: int) -> None:
    Case(lif, chunk).check(asked=pack((torch.rand(T * B, N_IN) < 0.3).double()).bits)


def test_without_a_gradient_of_the_input_or_a_bias() -> None:
    case = Case(lif)
    case.layer = case.layer._replace(bias=None)
    made = case.on(DEVICE)
    result = cuda_layer.forward(made, case.x.to(DEVICE), None, [s.to(DEVICE) for s in case.state])
    ends = [g.to(DEVICE) for g in case.g_states]
    x, g = case.x.to(DEVICE), case.g.to(DEVICE)
    found = cuda_layer.backward(made, x, result.input_bits, N_IN, None, False, g, ends, case._saved(result))
    assert found.x is None and found.bias is None and found.weight.any()


def test_the_rate_is_asked_for_only_where_it_may_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Tensor] = []
    count = cuda_events.count

    def counted(bits: Tensor) -> Tensor:
        asked.append(bits)
        return count(bits)

    monkeypatch.setattr(cuda_events, "count", counted)

    def pays(rows: int, n: int, rate: float, dtype: torch.dtype = torch.float32) -> bool:
        bits = torch.zeros(rows, n // 64, dtype=torch.int64)
        bits[: round(rows * rate)] = -1
        return cuda_layer._pays(bits, torch.empty(n, n, dtype=dtype))

    assert not pays(16, 256, 0.0) and asked == []  # too small to wait for
    assert pays(30000, 512, 0.01) and len(asked) == 1
    assert not pays(30000, 512, 0.2) and len(asked) == 2
    precision = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        assert pays(30000, 512, 0.001) and not pays(30000, 512, 0.01)
    finally:
        torch.set_float32_matmul_precision(precision)
