"""A linear layer with its neurons in one pass, event-driven or not, against product and definition."""

from __future__ import annotations

import functools
import itertools

import pytest
import torch
from torch.nn import functional

import neurosim as ns
from neurosim import language
from neurosim.errors import InputError
from neurosim.kernels.common.bits import pack
from neurosim.kernels.common.policy import forced
from neurosim.kernels.linear import cpu as linear_cpu
from neurosim.kernels.linear import product as linear_product
from neurosim.kernels.linear import reference
from neurosim.kernels.linear.masked_product import masked_product
from neurosim.kernels.linear.operator import Call, run_layer
from neurosim.kernels.neurons import cpu
from tests.core_list import BY_NAME, SELECTED

BOTH_PRODUCTS = pytest.mark.usefixtures("product")


@pytest.fixture
def event_driven():
    with forced("events"):
        yield


def exact(*shape: int, dtype: torch.dtype, size: float) -> torch.Tensor:
    """Return numbers whose sums are exact in any order."""
    return torch.randint(-32, 33, shape).to(dtype) * (2.0 ** round(torch.tensor(size / 32).log2().item()))


class Case:
    """A layer of a model, with data whose products are exact."""

    def __init__(
        self,
        model,
        steps=20,
        batch=3,
        n=70,
        width=33,
        rate=0.15,
        dtype=torch.float32,
        bias=True,
        graded=False,
        **choices,
    ):
        self.neuron = model.make(**choices).to(dtype)
        size = model.current / max(n * rate, 1.0) ** 0.5
        self.weight = exact(width, n, dtype=dtype, size=size).requires_grad_()
        self.bias = exact(width, dtype=dtype, size=model.current / 4).requires_grad_() if bias else None
        x = (torch.rand(steps, batch, n) < rate).to(dtype)
        if graded:
            x *= torch.randint(-3, 4, x.shape) / 2
        self.x = x.requires_grad_()
        start = [value + 0.3 * torch.randn(batch, width, dtype=dtype) for value in model.core.state.values()]
        self.state = tuple(s.requires_grad_() for s in start)
        self.g = torch.randn(steps, batch, width, dtype=dtype)

    @property
    def inputs(self):
        maybe = [] if self.bias is None else [self.bias]
        return [self.x, self.weight, *maybe, *self.state, *self.neuron.parameters()]

    def results(self, out, after):
        grads = torch.autograd.grad(
            (out * self.g).sum() + sum((s * (n + 1)).sum() for n, s in enumerate(after)), self.inputs, allow_unused=True
        )
        return [out, *after], grads

    def fused(self, **how):
        result = self.neuron.run_linear(self.x, self.weight, self.bias, self.state, **how)
        return self.results(result.out, result.state)

    def defined(self, through_time=True):
        run = functools.partial(self.neuron.run_reference, through_time=through_time)
        return self.results(*reference.run(run, self.x, self.weight, self.bias, self.state)[:2])

    def check(self, tolerance=None, through_time=True, **how):
        values, grads = self.fused(through_time=through_time, **how)
        expected_values, expected = self.defined(through_time)
        for a, b in zip(values, expected_values, strict=True):
            assert torch.equal(a, b)
        tolerance = tolerance or (2e-5 if self.x.dtype is torch.float32 else 1e-12)
        for a, b in zip(grads, expected, strict=True):
            if b is None:  # cut off from the output; the kernels then return zeros
                assert a is None or not a.any()
            else:
                assert (a - b).abs().max() <= tolerance * max(b.abs().max(), 1e-6)


@BOTH_PRODUCTS
@pytest.mark.parametrize("chunk", [0, 6])
@pytest.mark.parametrize("model", SELECTED, ids=lambda m: m.name)
def test_every_core_equals_product_and_definition(model, chunk):
    for dtype, graded in itertools.product((torch.float32, torch.float64), (False, True)):
        Case(model, dtype=dtype, graded=graded).check(chunk=chunk)


@BOTH_PRODUCTS
@pytest.mark.parametrize("chunk", [0, 4])
@pytest.mark.parametrize("width", [1, 16, 17, 63, 64, 65, 130])
def test_widths_and_lengths_that_hurt(width, chunk):
    for steps, batch, n in ((1, 1, 1), (17, 2, 64), (5, 7, 65)):
        Case(BY_NAME["alif"], steps, batch, n, width, rate=0.5, bias=False).check(chunk=chunk)


@BOTH_PRODUCTS
@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_silence_and_a_storm(rate):
    Case(BY_NAME["lif"], rate=rate).check()


@BOTH_PRODUCTS
@pytest.mark.parametrize("chunk", [0, 6])
@pytest.mark.parametrize("detached", [True, False])
@pytest.mark.parametrize("reset", ["value", "subtract", None])
def test_resets_learned_parameters_and_time(reset, detached, chunk):
    for through_time in (True, False):
        choices = {"learn": ("tau_mem", "v_th", "r"), "size": 33, "reset": reset, "detach_reset": detached}
        Case(BY_NAME["lif"], **choices).check(through_time=through_time, chunk=chunk, tolerance=1e-4)


@BOTH_PRODUCTS
@pytest.mark.parametrize("chunk", [0, 3])
def test_gradients_against_finite_differences(chunk):
    case = Case(
        BY_NAME["cubalif"], 7, 2, 5, 3, rate=0.6, dtype=torch.float64, spike=language.smooth(2.0), detach_reset=False,
        graded=True,
    )  # fmt: skip

    def f(x, weight, bias, *state):
        result = case.neuron.run_linear(x, weight, bias, state, chunk=chunk)
        return result.out, *result.state

    # A finite difference at an input of 0 would turn it into an event; the others are enough.
    x = case.x.detach() + 0.25
    assert torch.autograd.gradcheck(f, (x.requires_grad_(), case.weight, case.bias, *case.state))


@pytest.mark.parametrize("chunk", [0, 5])
def test_recomputed_values_give_the_same_gradients(chunk):
    case = Case(BY_NAME["lif"])
    case.weight = torch.randn_like(case.weight).requires_grad_()
    with forced("events"):
        for a, b in zip(case.fused()[1], case.fused(chunk=chunk)[1], strict=True):
            assert torch.equal(a, b)


def test_results_do_not_depend_on_the_number_of_threads():
    case = Case(BY_NAME["lif"], 40, 30, 130, 200)
    case.weight = torch.randn_like(case.weight).requires_grad_()
    results = []
    for threads in (1, 3):
        with forced("events", threads=threads):
            values, grads = case.fused()
        results.append([*values, *grads[1:]])  # the gradient of the input is torch's product, which may
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.usefixtures("event_driven")
def test_what_is_written_past_the_caches_is_the_same(monkeypatch):
    case = Case(BY_NAME["cubalif"], 30, 4, 65, 128, bias=False)
    values, grads = case.fused()
    i = functional.linear(case.x, case.weight).detach().requires_grad_()
    z, _ = case.neuron(i)
    (g,) = torch.autograd.grad(z, i, case.g)
    monkeypatch.setattr(cpu, "STREAM", 0)
    streamed_values, streamed_grads = case.fused()
    for a, b in zip((*values, *grads), (*streamed_values, *streamed_grads), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(z, case.neuron(i)[0])
    assert torch.equal(g, torch.autograd.grad(case.neuron(i)[0], i, case.g)[0])


def test_packed_bits_and_mask_of_the_output(product):
    for width in (17, 64, 100):
        case = Case(BY_NAME["lif"], width=width, spike=language.triangle(0.25))
        result = case.neuron.run_linear(case.x, case.weight, case.bias, case.state, ("u",))
        assert torch.equal(result.packed_bits, pack(result.out.detach().flatten(0, 1)).bits)
        near = ((result.recorded["u"] - 1.0).abs() < 0.25).float()
        assert product == "dense" or torch.equal(result.mask, pack(near.flatten(0, 1)).bits)
        assert case.neuron.run_linear(case.x.detach(), case.weight.detach(), None, case.state).packed_bits is not None
    unlimited = Case(BY_NAME["lif"])
    assert unlimited.neuron.run_linear(unlimited.x, unlimited.weight, None).mask is None
    membrane = Case(BY_NAME["leaky_integrator"])
    result = membrane.neuron.run_linear(membrane.x, membrane.weight, None)
    assert result.packed_bits is None and result.mask is None


def test_packed_bits_of_the_input_are_used(product):
    case = Case(BY_NAME["lif"])
    packed_bits = pack(case.x.detach().flatten(0, 1)).bits
    for a, b in zip(case.fused()[1], case.fused(packed_bits=packed_bits)[1], strict=True):
        assert torch.equal(a, b)
    g_x = case.fused(packed_bits=packed_bits, mask=torch.zeros_like(packed_bits))[1][0]
    assert g_x.any() == (product == "dense")


@pytest.mark.parametrize("density", [0.05, 0.7])
@pytest.mark.parametrize("chunk", [0, 6])
def test_the_gradient_of_the_input_is_computed_where_the_mask_is_set(density, chunk, product):
    case = Case(BY_NAME["lif"])
    mask = (torch.rand_like(case.x) < density).float()
    masked = case.fused(mask=pack(mask.detach().flatten(0, 1)).bits, chunk=chunk)[1][0]
    whole = case.fused(chunk=chunk)[1][0]
    assert torch.allclose(masked * mask, whole * mask, rtol=1e-4, atol=1e-5)
    assert product == "dense" or not (masked * (1 - mask)).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_masked_product(dtype):
    for rows, width, n, density in (
        (5, 7, 9, 0.5),
        (33, 64, 64, 0.3),
        (130, 300, 70, 0.3),
        (20, 100, 130, 0.2),
        (3, 5, 5, 1.0),
        (4, 3, 2, 0.0),
    ):
        g, weight = torch.randn(rows, width, dtype=dtype), torch.randn(width, n, dtype=dtype)
        mask = torch.rand(rows, n) < density
        found = masked_product(g, weight, pack(mask.to(dtype)).bits)
        assert torch.allclose(found, (g @ weight) * mask, atol=1e-4 if dtype is torch.float32 else 1e-12)
        assert not found[~mask].any()


def test_of_spikes_just_the_bits_are_kept():
    case = Case(BY_NAME["lif"], bias=False)
    kept: list[torch.Tensor] = []

    def keep(t):
        kept.append(t)
        return t

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        case.neuron.run_linear(case.x, case.weight, None)
    sizes = {(tuple(t.shape), t.dtype) for t in kept}
    assert ((60, 2), torch.int64) in sizes and ((20, 3, 33), torch.float32) in sizes
    assert not any(shape == (20, 3, 70) for shape, _ in sizes)
    kept.clear()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        case.neuron.run_linear(case.x * 0.5, case.weight, None, chunk=5)
    shapes = [tuple(t.shape) for t in kept]
    assert (20, 3, 70) in shapes and (20, 3, 33) not in shapes and (4, 3, 33) in shapes


def test_values_can_be_recorded():
    case = Case(BY_NAME["lif"])
    values = case.neuron.run_linear(case.x, case.weight, case.bias, case.state, ("u", "v"), chunk=5).recorded
    expected = case.neuron.run(functional.linear(case.x, case.weight, case.bias), case.state, ("u", "v")).recorded
    assert torch.equal(values["u"], expected["u"]) and torch.equal(values["v"], expected["v"])


@pytest.mark.usefixtures("event_driven")
def test_uninitialised_memory_is_not_read(monkeypatch):
    empty = linear_cpu.buffer_pool.empty
    monkeypatch.setattr(linear_cpu.buffer_pool, "empty", lambda shape, dtype: empty(shape, dtype).fill_(float("nan")))
    for chunk in (0, 6):
        Case(BY_NAME["cubalif"], width=100).check(chunk=chunk)


@pytest.mark.parametrize("graded", [True, False])
@BOTH_PRODUCTS
def test_non_contiguous_input(graded):
    case = Case(BY_NAME["lif"], graded=graded)
    case.x = case.x.detach().transpose(0, 1).contiguous().transpose(0, 1).requires_grad_()
    case.weight = case.weight.detach().T.contiguous().T.requires_grad_()
    assert not case.x.is_contiguous() and not case.weight.is_contiguous()
    case.check()


def call(chunk=0, train=True, is_packed=False, learn=("tau_mem",), spike=None):
    neuron = ns.LIF(dt=1e-3, size=3, learn=learn, spike=spike)
    key, forward, backward = neuron._prepared(train, True, ())
    x = (torch.rand(5, 2, 7) < 0.2).float().requires_grad_(train)
    coefficients = [
        t.float().expand(2, 3).contiguous().detach().requires_grad_(train)
        for t in neuron._varying_coefficients().values()
    ]
    return Call(
        plan_key=key,
        x=x,
        weight=torch.randn(3, 7).requires_grad_(train),
        bias=torch.randn(3).requires_grad_(train),
        state=[torch.randn(2, 3, requires_grad=train)],
        coefficients=coefficients,
        forward_numbers=forward,
        backward_numbers=backward,
        chunk=chunk,
        packed_bits=pack(x.detach().flatten(0, 1)).bits if is_packed else None,
    )


@BOTH_PRODUCTS
@pytest.mark.parametrize(("chunk", "is_packed"), [(0, False), (2, True), (2, False)])
def test_opcheck(chunk, is_packed):
    torch.library.opcheck(run_layer.forward_operator, call(chunk, is_packed=is_packed))


def test_opcheck_without_gradients():
    torch.library.opcheck(run_layer.forward_operator, call(train=False, learn=(), spike=language.triangle()))


@pytest.mark.parametrize("needs", [(True, True, True), (False, True, False)])
@pytest.mark.parametrize("is_packed", [True, False])
@pytest.mark.parametrize("chunk", [0, 2])
def test_opcheck_of_the_backward_operator(chunk, is_packed, needs):
    made = call(chunk, is_packed=is_packed)
    with torch.no_grad():
        outputs = run_layer.forward(made)
        saved = run_layer.save(made, outputs)
    plain = [detached(value) for value in saved]
    torch.library.opcheck(run_layer.backward_operator, (*plain, list(needs), [outputs.out, *outputs.state]))


def detached(value):
    if isinstance(value, torch.Tensor):
        return value.detach()
    return [detached(each) for each in value] if isinstance(value, (list, tuple)) else value


def test_direct_call_and_operator_agree():
    for graded, chunk in itertools.product((True, False), (0, 5)):
        case = Case(BY_NAME["alif"], graded=graded)
        direct = case.fused(chunk=chunk)
        with forced(operators=True):
            operator = case.fused(chunk=chunk)
        for a, b in zip((*direct[0], *direct[1]), (*operator[0], *operator[1]), strict=True):
            assert torch.equal(a, b)


def test_a_gradient_of_a_gradient_is_refused():
    case = Case(BY_NAME["lif"])
    result = case.neuron.run_linear(case.x, case.weight, case.bias, case.state)
    (once,) = torch.autograd.grad(result.out.sum(), case.x, create_graph=True)
    with pytest.raises(InputError, match="no gradient of a gradient"):
        once.sum().backward()


@BOTH_PRODUCTS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_product_alone(dtype):
    for rows, n, width, graded in ((7, 65, 33, False), (1, 1, 1, True), (300, 10, 64, True)):
        x = (torch.rand(rows, n) < 0.3).to(dtype)
        x = (x * torch.randint(-3, 4, x.shape) if graded else x).requires_grad_()
        weight = exact(width, n, dtype=dtype, size=1.0).requires_grad_()
        bias = exact(width, dtype=dtype, size=1.0).requires_grad_()
        g = exact(rows, width, dtype=dtype, size=1.0)
        found, expected = linear_product.linear(x, weight, bias), functional.linear(x, weight, bias)
        assert torch.equal(found, expected)
        inputs = (x, weight, bias)
        for a, b in zip(*(torch.autograd.grad(y, inputs, g) for y in (found, expected)), strict=True):
            assert torch.allclose(a, b, rtol=1e-5)
