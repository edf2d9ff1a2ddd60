"""The fused CPU kernel against the definition: bit for bit, over sizes, layouts, threads and processes."""

from __future__ import annotations

import itertools
import math
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import neurosim as ns
from neurosim import language
from neurosim.compiler.llvm import jit as machine
from neurosim.compiler.llvm import threads
from neurosim.kernels.common.policy import forced
from neurosim.kernels.neurons import cpu
from neurosim.kernels.neurons import reference as eager
from neurosim.kernels.neurons.cpu_code import BLOCK
from tests.battery import gradients
from tests.core_list import BY_NAME, SELECTED

SURROGATES = {
    "atan": language.atan(),
    "atan of slope 3": language.atan(3.0),
    "fast_sigmoid": language.fast_sigmoid(5.0),
    "sigmoid": language.sigmoid(),
    "triangle": language.triangle(0.7, 0.3),
    "rectangle": language.rectangle(1.3),
    "exponential": language.exponential(0.01),
    "multi_gaussian": language.multi_gaussian(),
    "straight_through": language.straight_through(),
}
WITH_EXP = ("sigmoid", "exponential", "multi_gaussian")
TOLERANCE = {torch.float32: 3e-6, torch.float64: 3e-14}
PRECISIONS = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float) -> bool:
    """Whether a and b agree up to a share of the largest value."""
    return bool((a - b).abs().max() <= tolerance * b.abs().max()) if a.numel() else a.shape == b.shape


def drive(model, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return (torch.randn(*shape, dtype=dtype) + 0.5) * model.current


def start(model, *shape: int, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    return [value + 0.3 * torch.randn(*shape, dtype=dtype) for value in model.core.state.values()]


def compare(layer, i, state, exact=True, tolerance=0.0):
    """Compare the fused kernel with the reference: all values and all gradients."""
    fused = gradients(layer, layer, i, state)
    reference = gradients(layer.run_reference, layer, i, state)
    assert torch.equal(fused[0], reference[0]), "output"
    for name, a, b in zip(layer.core.state, fused[1], reference[1], strict=True):
        assert torch.equal(a, b), f"final {name}"
    for name, expected in reference[2].items():
        same = torch.equal(fused[2][name], expected)
        assert same or (not exact and close(fused[2][name], expected, tolerance)), name
    return fused[2]


@PRECISIONS
@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("model", [m for m in SELECTED if m.spiking], ids=lambda m: m.name)
def test_same_bits_as_the_definition(model, surrogate, dtype):
    # Values are equal to the last bit; so are gradients, but where the surrogate holds an exponential.
    i, state = drive(model, 12, 3, 7, dtype=dtype), start(model, 3, 7, dtype=dtype)
    for reset, detached in itertools.product(model.resets, (True, False)):
        layer = model.make(spike=SURROGATES[surrogate], reset=reset, detach_reset=detached)
        found = compare(layer, i, state, surrogate not in WITH_EXP, TOLERANCE[dtype])
        assert all(g.abs().sum() > 0 for g in found.values() if g.ndim and model.name != "izhikevich")


@PRECISIONS
def test_same_bits_without_a_spike(dtype):
    model = BY_NAME["leaky_integrator"]
    compare(model.make(), drive(model, 12, 3, 7, dtype=dtype), start(model, 3, 7, dtype=dtype))


@PRECISIONS
@pytest.mark.parametrize("model", SELECTED, ids=lambda m: m.name)
def test_parameters_of_each_neuron(model, dtype):
    # Values, input and state gradients to the bit. A parameter's gradient is a sum over time and batch that the
    # reference adds up in another order.
    names = model.learnable
    i, state = drive(model, 12, 3, 7, dtype=dtype), start(model, 3, 7, dtype=dtype)
    for reset, detached in itertools.product(model.resets, (True, False)):
        layer = model.make(size=7, learn=names, reset=reset, detach_reset=detached).to(dtype)
        with torch.no_grad():
            for p in layer.parameters():
                p.mul_(1 + 0.05 * torch.randn_like(p))
        fused = gradients(layer, layer, i, state)
        reference = gradients(layer.run_reference, layer, i, state)
        assert torch.equal(fused[0], reference[0]) and all(map(torch.equal, fused[1], reference[1]))
        for name, expected in reference[2].items():
            if name == "i" or name.startswith("state."):
                assert torch.equal(fused[2][name], expected), name
            else:
                assert close(fused[2][name], expected, 5 * TOLERANCE[dtype]), name


@PRECISIONS
def test_a_parameter_that_the_step_uses_once_has_the_same_bits_too(dtype):
    # With one sample nothing is summed over the batch, and the sum over time runs in one order.
    layer = ns.LIF(dt=1e-3, size=7, learn=("r", "v_reset"), v_reset=-0.1).to(dtype)
    compare(layer, drive(BY_NAME["lif"], 60, 1, 7, dtype=dtype), start(BY_NAME["lif"], 1, 7, dtype=dtype))


@PRECISIONS
def test_only_some_outputs_have_a_gradient(dtype):
    layer, i = ns.ALIF(dt=1e-3), drive(BY_NAME["alif"], 15, 2, 5, dtype=dtype).requires_grad_()
    for pick in (lambda z, s: z[3].sum(), lambda z, s: s.a.sum(), lambda z, s: (s.v * z[-1]).sum()):
        fused, reference = (torch.autograd.grad(pick(*run(i)[:2]), i)[0] for run in (layer, layer.run_reference))
        assert torch.equal(fused, reference) and fused.abs().sum() > 0


@PRECISIONS
@pytest.mark.parametrize("model", [m for m in SELECTED if m.name != "izhikevich"], ids=lambda m: m.name)
def test_gradients_of_the_smooth_twin_are_those_of_finite_differences(model, dtype):
    # The same step with a sigmoid for the spike is smooth, so that its true gradient is known.
    names = model.learnable
    for reset in model.resets:
        layer = model.make(size=2, learn=names, reset=reset, detach_reset=False, spike=language.smooth(4.0)).double()
        state = [s.requires_grad_() for s in start(model, 2, 2, dtype=torch.float64)]
        i = (drive(model, 4, 2, 2, dtype=torch.float64) * 0.5).requires_grad_()
        parameters = [p.detach().clone().requires_grad_() for p in layer.parameters()]
        held = [name for name, _ in layer.named_parameters()]

        def run(i, *rest, layer=layer, held=held):
            states = len(layer.core.state)
            given = dict(zip(held, rest[states:], strict=True))
            z, after = torch.func.functional_call(layer, given, (i, rest[:states]))
            return z, *after

        if dtype is torch.float64:
            assert torch.autograd.gradcheck(run, (i, *state, *parameters), atol=1e-6, rtol=1e-4)
        detached = model.make(size=2, learn=names, reset=reset, spike=language.smooth(4.0)).to(dtype)
        for twin in (layer.to(dtype), detached):
            fused = gradients(twin, twin, i.to(dtype), [s.to(dtype) for s in state])
            reference = gradients(twin.run_reference, twin, i.to(dtype), [s.to(dtype) for s in state])
            for name, expected in reference[2].items():
                assert close(fused[2][name], expected, 10 * TOLERANCE[dtype]), name


def test_cutting_the_reset_changes_the_gradient():
    i = drive(BY_NAME["lif"], 30, 1, 9)
    layers = ns.LIF(dt=1e-3), ns.LIF(dt=1e-3, detach_reset=False)
    cut, whole = (gradients(layer, layer, i, None)[2]["i"] for layer in layers)
    assert not torch.equal(cut, whole)


@pytest.mark.parametrize("steps", [0, 1, 17, 63, 1000])
@pytest.mark.parametrize("neurons", [1, 17, 63, 1000])
def test_sizes_that_hurt(steps, neurons):
    for batch in (1, 3):
        i = drive(BY_NAME["lif"], steps, batch, neurons)
        found = compare(ns.LIF(dt=1e-3), i, None)
        assert found["i"].shape == i.shape


@pytest.mark.parametrize("width", [1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5, 9 * BLOCK + 17])
def test_widths_around_a_block_whatever_the_number_of_threads(width):
    layer, i = ns.ALIF(dt=1e-3), drive(BY_NAME["alif"], 9, 1, width)
    found = {}
    for number in (1, 2, 3):
        with forced(threads=number):
            found[number] = compare(layer, i, None)["i"]
    assert torch.equal(found[1], found[2]) and torch.equal(found[1], found[3])


def test_work_is_shared_out_once_it_is_worth_it(monkeypatch):
    handed: list[int] = []

    def watched(*work):
        found = threads.shares(*work)
        handed.append(found[0])
        return found

    monkeypatch.setattr(machine, "shares", watched)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    with torch.no_grad():
        ns.LIF(dt=1e-3)(torch.randn(40, 1, 200))
        ns.LIF(dt=1e-3)(torch.randn(40, 1, 4000))
    assert handed == [1, 2]


LAYOUTS = {
    "transposed": lambda: torch.randn(5, 20, 6).transpose(0, 1) * 4,
    "sliced": lambda: torch.randn(40, 10, 12)[::2, 1:6, ::2] * 4,
    "expanded": lambda: (torch.randn(20, 1, 6) * 4).expand(20, 5, 6),
    "permuted": lambda: torch.randn(6, 5, 20).permute(2, 1, 0) * 4,
    "channels last": lambda: (torch.randn(20, 3, 4, 4) * 4).to(memory_format=torch.channels_last),
    "inside a larger one": lambda: torch.randn(7 + 20 * 5 * 6)[7:].view(20, 5, 6) * 4,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_in_memory(layout):
    i = LAYOUTS[layout]()
    state = [torch.randn(i.shape[1:]).transpose(0, -1).contiguous().transpose(0, -1)]
    layer = ns.LIF(dt=1e-3)
    tidy = gradients(layer, layer, i.contiguous(), [s.contiguous() for s in state])
    i_given, state_given = i.detach().requires_grad_(), state[0].detach().requires_grad_()
    z, after = layer(i_given, (state_given,))
    weights = torch.linspace(0.5, 1.5, z.numel()).reshape(z.shape)
    loss = (z * weights).sum() + (after.v * weights[0].flip(-1) * 0.3).sum()
    g_i, g_v = torch.autograd.grad(loss, (i_given, state_given))
    assert torch.equal(z, tidy[0]) and torch.equal(after.v, tidy[1][0])
    assert torch.equal(g_i, tidy[2]["i"]) and torch.equal(g_v, tidy[2]["state.v"])


def test_a_gradient_that_is_not_contiguous():
    layer, i = ns.LIF(dt=1e-3), (torch.randn(20, 3, 6) * 4).requires_grad_()
    other = torch.randn(6, 3, 20)
    fused, reference = (
        torch.autograd.grad((run(i)[0].permute(2, 1, 0) * other).sum(), i)[0] for run in (layer, layer.run_reference)
    )
    assert torch.equal(fused, reference)
    expanded, reference = (torch.autograd.grad(run(i)[0].sum(), i)[0] for run in (layer, layer.run_reference))
    assert torch.equal(expanded, reference)


def test_memory_that_held_something_else_does_not_show(monkeypatch):
    layer, i = ns.ALIF(dt=1e-3, size=33, learn=("tau_mem",)), drive(BY_NAME["alif"], 20, 3, 33)
    clean = gradients(layer, layer, i, None)
    made = []

    def poisoned(real):
        def empty(*args, **kwargs):
            made.append(real)
            return real(*args, **kwargs).fill_(math.nan)

        return empty

    for name in ("empty", "empty_like"):
        monkeypatch.setattr(torch, name, poisoned(getattr(torch, name)))
    dirty = gradients(layer, layer, i, None)
    assert len(made) >= 3
    assert torch.equal(clean[0], dirty[0]) and all(map(torch.equal, clean[1], dirty[1]))
    assert all(torch.equal(clean[2][name], dirty[2][name]) for name in clean[2])


def test_the_kernel_really_ran(monkeypatch):
    calls = {"forward": 0, "backward": 0}

    def counted(name):
        real = getattr(cpu, name)

        def run(*args):
            calls[name] += 1
            return real(*args)

        return run

    def refused(*args, **kwargs):
        raise AssertionError("the reference ran")

    for name in calls:
        monkeypatch.setattr(cpu, name, counted(name))
    monkeypatch.setattr(eager, "run", refused)
    i = (torch.randn(20, 2, 3) * 4).requires_grad_()
    ns.LIF(dt=1e-3)(i)[0].sum().backward()
    assert calls == {"forward": 1, "backward": 1}
    with pytest.raises(AssertionError, match="the reference ran"):
        ns.LIF(dt=1e-3).run_reference(i)


def test_called_from_several_threads_at_once():
    # A layer nobody has used yet: the first calls meet in tracing and compiling.
    def work(layer, i):
        z, _, found = gradients(layer, layer, i, None)
        return z, found["i"]

    for attempt in range(5):
        layer = ns.ALIF(dt=1e-3, reset="subtract", spike=language.atan(2.0 + 0.01 * attempt), beta=1.0 + attempt)
        inputs = [drive(BY_NAME["alif"], 20, 2, 9) for _ in range(8)]
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(work, [layer] * 8, inputs))
        for i, (z, gradient) in zip(inputs, results, strict=True):
            expected = work(layer, i)
            assert torch.equal(z, expected[0]) and torch.equal(gradient, expected[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_in_a_forked_child(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    layer, fresh = ns.LIF(dt=1e-3), ns.LIF(dt=1e-3, reset="subtract", v_th=0.9)
    i = torch.randn(40, 1, 2000) * 4
    expected = layer(i)[0].numpy()
    expected_fresh = fresh.run_reference(i).out.numpy()
    child = os.fork()
    if not child:
        status = 1
        try:
            signal.alarm(60)
            with torch.no_grad():
                same = (layer(i)[0].numpy() == expected).all() and (fresh(i)[0].numpy() == expected_fresh).all()
            status = 0 if same else 2
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


@ns.core(state=("v",))
def exponential(i, v):
    """Send exp of the input on, to see what a kernel makes of it."""
    return language.exp(i), v


# Least argument whose exp is not 0, and largest whose exp is not infinite, rounded outwards.
EXP_RANGE = {torch.float32: (-104.0, 89.0), torch.float64: (-745.2, 709.8)}


@PRECISIONS
def test_the_exponential_follows_torch_over_its_range(dtype):
    i = torch.linspace(*EXP_RANGE[dtype], 100_001, dtype=dtype)[None, None]
    layer = ns.layer(exponential)(dt=1e-3)
    z, expected = layer(i)[0], layer.run_reference(i).out
    finite, kind = torch.isfinite(expected), torch.finfo(dtype)
    assert torch.equal(torch.isfinite(z), finite) and not finite.all()
    # Where the result is a subnormal number, neighbours differ by `tiny * eps`.
    torch.testing.assert_close(z[finite], expected[finite], rtol=2 * kind.eps, atol=kind.tiny * kind.eps)
    assert ((expected > 0) & (expected < kind.tiny)).any() and (expected == 0).any()


@PRECISIONS
@pytest.mark.parametrize("neurons", [1, 16, 1 << 18], ids=["scalar", "vector", "streamed"])
def test_the_exponential_at_the_ends_of_its_range(dtype, neurons):
    ends = torch.tensor([math.nan, -math.inf, -1e30, -200.0, -0.0, 0.0, 100.0, 800.0, 1e30, math.inf], dtype=dtype)
    i = ends[:, None, None].expand(-1, 1, neurons)
    layer = ns.layer(exponential)(dt=1e-3)
    z, expected = layer(i)[0][..., 0].flatten(), torch.exp(ends)
    assert torch.equal(z[torch.isinf(expected)], expected[torch.isinf(expected)])
    torch.testing.assert_close(z, expected, rtol=2 * torch.finfo(dtype).eps, atol=0, equal_nan=True)


def test_an_upswing_that_overflows_is_seen():
    @ns.core(state=("v",))
    def upswing(i, v, *, spike):
        u = v + language.exp(v) + i
        return spike(u - 30.0), u

    layer = ns.layer(upswing)(dt=1e-3, reset=None)
    _, after = layer(torch.full((20, 1, 1), 3.0))
    assert after.v.isinf().all() and torch.equal(after.v, layer.run_reference(torch.full((20, 1, 1), 3.0)).state.v)
