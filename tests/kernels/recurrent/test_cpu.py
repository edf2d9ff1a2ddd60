"""Recurrent layers in one call against the step function run step by step: values, gradients, sizes, layouts, threads.

Weights and currents are multiples of 1/64, so that the sum over spikes is exact in any order: what a neuron is given is
then the same to the bit, and so must be its spikes. Gradients pass products of any numbers and agree up to rounding.
"""

from __future__ import annotations

import itertools
import math
from unittest import mock

import pytest
import torch

import neurosim as ns
from neurosim import language
from neurosim.errors import InputError
from neurosim.kernels.common.bits import unpack
from neurosim.kernels.common.policy import forced
from neurosim.kernels.linear import cpu as linear_cpu
from neurosim.kernels.neurons import reference as eager
from neurosim.kernels.recurrent import cpu as recurrent_cpu
from neurosim.kernels.recurrent import reference
from neurosim.kernels.recurrent.arguments import Call
from neurosim.kernels.recurrent.operator import run_recurrent
from tests.core_list import BY_NAME, SELECTED, Model
from tests.user_cores import coba

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
PRECISIONS = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


def exact(x: torch.Tensor) -> torch.Tensor:
    """Round to multiples of 1/64."""
    return (x * 64).round() / 64


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float) -> bool:
    """Whether a and b agree up to a share of the largest value."""
    return a.shape == b.shape and bool((a - b).abs().max() <= tolerance * b.abs().max()) if b.numel() else True


def given(model, steps, batch, n, heads=1, dtype=torch.float32):
    """Return current, weights, first spikes and first state."""
    width = heads * n
    drive = exact((torch.randn(steps, batch, width, dtype=dtype) + 0.4) * model.current)
    weight = exact(torch.randn(heads, n, n, dtype=dtype) * (2.0 * model.current / math.sqrt(n)))
    z0 = (torch.rand(batch, width) < 0.3).to(dtype)
    spread = {"wait": 2.0}  # a time to rest, steps
    state = [
        exact(v + spread.get(name, 0.3) * torch.randn(batch, width, dtype=dtype))
        for name, v in model.core.state.items()
    ]
    return drive, weight, z0, state


def stepwise(layer, drive, weight, z0, state, through_time=True):
    """Run the definition."""
    run = lambda i, before: layer.run_reference(i, before)[:2]  # noqa: E731
    return reference.run(run, drive, weight, z0, state, through_time=through_time)


def in_one_call(layer, drive, weight, z0, state, through_time=True):
    result = layer.run_recurrent(drive, weight, z0, state, through_time=through_time)
    return result.out, result.last if through_time else result.last.detach(), tuple(result.state)


class Looped(torch.nn.Module):
    """A layer with its loop, as a module whose parameters can be handed in."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, drive, weight, z0, state):
        return in_one_call(self.layer, drive, weight, z0, state)


def gradients(run, layer, drive, weight, z0, state, through_time=True):
    """Return values and all gradients by name, of a loss that weighs every result differently."""
    leaves = [x.detach().clone().requires_grad_() for x in (drive, weight, z0, *state)]
    out, last, after = run(layer, *leaves[:3], tuple(leaves[3:]), through_time)
    loss = torch.zeros((), dtype=drive.dtype)
    for number, x in enumerate((out, last, *after)):
        loss = loss + (x * torch.linspace(0.5, 1.5 + number, x.numel(), dtype=x.dtype).view_as(x)).sum()
    held = dict(layer.named_parameters())
    wanted = [*leaves, *held.values()]
    found = torch.autograd.grad(loss, wanted, allow_unused=True)
    names = ["drive", "weight", "z0", *layer.core.state, *held]
    filled = (torch.zeros_like(w) if g is None else g for w, g in zip(wanted, found, strict=True))
    return [x.detach() for x in (out, last, *after)], dict(zip(names, filled, strict=True))


def compare(layer, *tensors, through_time=True, tolerance=None, graded=False):
    """Compare one call with the steps: values to the bit unless graded, gradients up to rounding."""
    tolerance = TOLERANCE[tensors[0].dtype] if tolerance is None else tolerance
    values, found = gradients(in_one_call, layer, *tensors, through_time=through_time)
    wanted, expected = gradients(stepwise, layer, *tensors, through_time=through_time)
    for name, a, b in zip(("out", "last", *layer.core.state), values, wanted, strict=True):
        assert close(a, b, tolerance) if graded else torch.equal(a, b), name
    for name, b in expected.items():
        assert close(found[name], b, tolerance), (name, (found[name] - b).abs().max(), b.abs().max())
    return values, found


SPIKING = [m for m in SELECTED if m.spiking]


@PRECISIONS
@pytest.mark.parametrize("model", SPIKING, ids=lambda m: m.name)
def test_every_core_and_reset(model, dtype):
    tensors = given(model, 15, 3, 19, dtype=dtype)
    resets = model.resets if dtype is torch.float32 else model.resets[:1]
    for reset, detached in itertools.product(resets, (True, False)):
        values, found = compare(model.make(reset=reset, detach_reset=detached), *tensors)
        least = 0.01 if "wait" in model.core.state else 0.02  # some rest from the start
        assert least < values[0].mean() < 0.95
        if model.name != "izhikevich":
            assert all(g.abs().sum() > 0 for g in found.values())


@PRECISIONS
def test_a_core_that_sends_its_membrane(dtype):
    model = BY_NAME["leaky_integrator"]
    drive, weight, z0, state = given(model, 24, 5, 19, 2, dtype)
    compare(model.make(), drive, weight * 0.1, z0 * 0.37, state, graded=True)


@pytest.mark.parametrize("model", SPIKING, ids=lambda m: m.name)
@pytest.mark.parametrize("spike", [ns.triangle(0.7), ns.rectangle(1.3), ns.sigmoid()], ids=lambda s: s.name)
def test_surrogates(model, spike):
    compare(model.make(spike=spike), *given(model, 30, 9, 21))


@PRECISIONS
@pytest.mark.parametrize("batch", [1, 3, 32, 37])
@pytest.mark.parametrize("neurons", [16, 19, 33, 64])
def test_gradients_of_few_neurons_are_computed_one_by_one(neurons, batch, dtype, monkeypatch):
    layer, tensors = ns.LIF(dt=1e-3, spike=ns.triangle(0.7)), given(BY_NAME["lif"], 9, batch, neurons, 2, dtype)
    asked, real = [], recurrent_cpu.compiled_backward
    monkeypatch.setattr(recurrent_cpu, "compiled_backward", lambda shape: (asked.append(shape.few), real(shape))[1])
    for product in ("dense", "events"):
        with forced(product):
            compare(layer, *tensors)
    assert asked == [False, True]


def test_how_few_they_are_is_measured(monkeypatch):
    asked, real = [], recurrent_cpu.compiled_backward
    monkeypatch.setattr(recurrent_cpu, "compiled_backward", lambda shape: (asked.append(shape.few), real(shape))[1])
    for spike in (ns.triangle(0.1), ns.triangle(100.0), ns.atan()):
        compare(ns.LIF(dt=1e-3, spike=spike), *given(BY_NAME["lif"], 40, 3, 20))
    assert asked == [True, False, False]


def test_weights_that_are_not_learned_cost_no_gradient(monkeypatch):
    monkeypatch.setattr(recurrent_cpu, "weight_gradient", None)
    layer, (drive, weight, z0, state) = ns.LIF(dt=1e-3), given(BY_NAME["lif"], 10, 2, 5)
    drive.requires_grad_()
    in_one_call(layer, drive, weight, z0, state)[0].sum().backward()
    assert drive.grad.any()


@PRECISIONS
@pytest.mark.parametrize("model", [m for m in SPIKING if m.name != "izhikevich"], ids=lambda m: m.name)
def test_learned_parameters_of_each_neuron(model, dtype):
    layer = model.make(size=19, learn=model.learnable, detach_reset=False).to(dtype)
    with torch.no_grad():
        for p in layer.parameters():
            p.mul_(1 + 0.05 * torch.randn_like(p))
    _, found = compare(layer, *given(model, 20, 4, 19, dtype=dtype), tolerance=2 * TOLERANCE[dtype])
    assert all(found[name].abs().sum() > 0 for name, _ in layer.named_parameters())


@pytest.mark.parametrize("model", [m for m in SELECTED if m.name != "izhikevich"], ids=lambda m: m.name)
def test_gradients_of_the_smooth_twin_are_those_of_finite_differences(model):
    layer = model.make(size=4, learn=model.learnable, detach_reset=False, spike=language.smooth(2.0)).double()
    drive, weight, z0, state = given(model, 4, 2, 2, 2, torch.float64)
    leaves = [x.mul(0.5).requires_grad_() for x in (drive, weight, z0, *state)]
    held = dict(layer.named_parameters())

    def run(*tensors):
        parameters = dict(zip(held, tensors[len(leaves) :], strict=True))
        looped = Looped(layer)
        given = {f"layer.{name}": value for name, value in parameters.items()}
        out, last, after = torch.func.functional_call(looped, given, (*tensors[:3], tensors[3 : len(leaves)]))
        return out, last, *after

    parameters = [p.detach().clone().requires_grad_() for p in held.values()]
    assert torch.autograd.gradcheck(run, (*leaves, *parameters), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("steps", [0, 1, 17, 63, 100])
@pytest.mark.parametrize("neurons", [1, 17, 63, 64, 100])
def test_sizes_that_hurt(steps, neurons):
    layer = ns.ALIF(dt=1e-3, beta=0.25)
    for batch in (1, 3):
        compare(layer, *given(BY_NAME["alif"], steps, batch, neurons), tolerance=2e-5)


@pytest.mark.parametrize("spiking", [True, False])
def test_batches_around_a_tile_of_samples(spiking):
    model = BY_NAME["lif" if spiking else "leaky_integrator"]
    for batch in (0, 2, 7, 8, 9, 33, 67):
        drive, weight, z0, state = given(model, 7, batch, 33)
        compare(model.make(), drive, weight if spiking else weight * 0.1, z0, state, graded=not spiking)


@pytest.mark.parametrize("spike", [ns.atan(), ns.triangle()], ids=lambda s: s.name)
def test_the_same_bits_for_any_number_of_threads(spike):
    layer, tensors = ns.LIF(dt=1e-3, spike=spike), given(BY_NAME["lif"], 20, 21, 40, 3)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            values, found = gradients(in_one_call, layer, *tensors)
            results.append([*values, *found.values()])
    finally:
        torch.set_num_threads(before)
    assert all(map(torch.equal, results[0], results[1])) and all(map(torch.equal, results[0], results[2]))


def test_samples_of_a_batch_do_not_mix():
    layer, (drive, weight, z0, (v,)) = ns.LIF(dt=1e-3), given(BY_NAME["lif"], 20, 11, 40)
    whole, found = gradients(in_one_call, layer, drive, weight, z0, (v,))
    assert found["drive"].shape == drive.shape
    for b in range(11):
        out, *_ = in_one_call(layer, drive[:, b : b + 1], weight, z0[b : b + 1], (v[b : b + 1],))
        assert torch.equal(out, whole[0][:, b : b + 1])


def test_blocks_are_a_matrix_with_zeros_between_them():
    layer, (drive, weight, z0, state) = ns.CubaLIF(dt=1e-3), given(BY_NAME["cubalif"], 30, 6, 18, 3)
    full = torch.block_diag(*weight)[None]
    values, found = gradients(in_one_call, layer, drive, weight, z0, state)
    wanted, expected = gradients(in_one_call, layer, drive, full, z0, state)
    assert all(map(torch.equal, values, wanted))
    for name in ("drive", "z0", "v", "j"):
        assert close(found[name], expected[name], 1e-5), name
    for h in range(3):
        part = slice(18 * h, 18 * (h + 1))
        assert close(found["weight"][h], expected["weight"][0, part, part], 1e-5)


@pytest.mark.parametrize("cut", [1, 17, 29])
def test_a_run_split_in_two(cut):
    layer, (drive, weight, z0, state) = ns.ALIF(dt=1e-3), given(BY_NAME["alif"], 30, 3, 25)

    def split(layer, drive, weight, z0, state, through_time=True):
        first, between, middle = in_one_call(layer, drive[:cut], weight, z0, state, through_time)
        second, last, after = in_one_call(layer, drive[cut:], weight, between, middle, through_time)
        return torch.cat((first, second)), last, after

    values, found = gradients(split, layer, drive, weight, z0, state)
    wanted, expected = gradients(in_one_call, layer, drive, weight, z0, state)
    assert all(map(torch.equal, values, wanted))
    assert all(close(found[name], b, 1e-5) for name, b in expected.items())


@pytest.mark.parametrize("model", SPIKING, ids=lambda m: m.name)
def test_without_time(model):
    drive, weight, z0, state = given(model, 25, 5, 19)
    for reset in model.resets:
        _, found = compare(model.make(reset=reset), drive, weight, z0, state, through_time=False)
        assert not found["z0"].any() and not any(found[name].any() for name in model.core.state)
        assert found["weight"].any()


def test_first_spikes_may_be_any_number():
    drive, weight, z0, state = given(BY_NAME["lif"], 12, 5, 40)
    _, found = compare(ns.LIF(dt=1e-3), drive, weight, z0 * 0.25, state)
    none = gradients(in_one_call, ns.LIF(dt=1e-3), drive, weight, z0 * 0.0, state)[1]
    assert not torch.equal(found["weight"], none["weight"])


def test_the_weight_gradient_does_not_depend_on_how_it_is_summed_up(monkeypatch):
    layer, tensors = ns.LIF(dt=1e-3), given(BY_NAME["lif"], 30, 7, 33, 2)
    results, dense = [], mock.Mock(side_effect=linear_cpu._dense_backward)
    monkeypatch.setattr(linear_cpu, "_dense_backward", dense)
    for product, calls in (("events", 0), ("dense", 2)):
        with forced(product):
            results.append(gradients(in_one_call, layer, *tensors)[1]["weight"])
        assert dense.call_count == calls  # one for each head
    assert close(results[0], results[1], 1e-5)


def test_layouts_in_memory():
    layer, (drive, weight, z0, (v,)) = ns.LIF(dt=1e-3), given(BY_NAME["lif"], 20, 6, 25)
    wanted, expected = gradients(in_one_call, layer, drive, weight, z0, (v,))

    def turned(x):
        return x.transpose(0, -1).contiguous().transpose(0, -1)

    def odd(layer, drive, weight, z0, state, through_time):
        return in_one_call(layer, turned(drive), turned(weight), turned(z0), tuple(map(turned, state)), through_time)

    values, found = gradients(odd, layer, drive, weight, z0, (v,))
    assert all(map(torch.equal, values, wanted))
    assert all(torch.equal(found[name], b) for name, b in expected.items())
    x, other = drive.clone().requires_grad_(), torch.randn(25, 6, 20)
    a, b = (
        torch.autograd.grad((run(layer, x, weight, z0, (v,))[0].permute(2, 1, 0) * other).sum(), x)[0]
        for run in (in_one_call, stepwise)
    )
    assert close(a, b, 1e-5)


def test_memory_that_held_something_else_does_not_show(monkeypatch):
    layer = ns.ALIF(dt=1e-3, size=33, learn=("tau_mem",))
    tensors = given(BY_NAME["alif"], 20, 3, 33)
    clean = gradients(in_one_call, layer, *tensors)
    made = []

    def poisoned(real):
        def empty(*args, **kwargs):
            x = real(*args, **kwargs)
            made.append(x)
            return x.fill_(math.nan if x.is_floating_point() else -1)

        return empty

    for name in ("empty", "empty_like"):
        monkeypatch.setattr(torch, name, poisoned(getattr(torch, name)))
    dirty = gradients(in_one_call, layer, *tensors)
    assert len(made) >= 5
    assert all(map(torch.equal, clean[0], dirty[0]))
    assert all(torch.equal(clean[1][name], dirty[1][name]) for name in clean[1])


def test_the_kernel_really_ran(monkeypatch):
    calls = []

    def counted(name):
        real = getattr(recurrent_cpu, name)
        return lambda *args: (calls.append(name), real(*args))[1]

    def refused(*args, **kwargs):
        raise AssertionError("the reference ran")

    for name in ("forward", "backward", "weight_gradient"):
        monkeypatch.setattr(recurrent_cpu, name, counted(name))
    monkeypatch.setattr(eager, "run", refused)
    gradients(in_one_call, ns.LIF(dt=1e-3), *given(BY_NAME["lif"], 10, 2, 5))
    assert calls == ["forward", "backward", "weight_gradient"]


def test_only_some_results_have_a_gradient():
    layer, (drive, weight, z0, state) = ns.ALIF(dt=1e-3), given(BY_NAME["alif"], 15, 2, 20)
    drive.requires_grad_()
    for pick in (lambda z, last, s: z[3].sum(), lambda z, last, s: last.sum(), lambda z, last, s: (s[1] * s[0]).sum()):
        fused, steps = (
            torch.autograd.grad(pick(*run(layer, drive, weight, z0, state)), drive)[0]
            for run in (in_one_call, stepwise)
        )
        assert close(fused, steps, 1e-5) and fused.abs().sum() > 0


def test_without_gradients_nothing_is_kept_for_them():
    layer, tensors = ns.LIF(dt=1e-3), given(BY_NAME["lif"], 15, 2, 20)
    tensors[1].requires_grad_()
    wanted = in_one_call(layer, *tensors)
    assert wanted[0].requires_grad
    for context in (torch.no_grad, torch.inference_mode):
        with context():
            found = in_one_call(layer, *tensors)
        assert not found[0].requires_grad
        assert torch.equal(found[0], wanted[0]) and torch.equal(found[1], wanted[1])


def test_spikes_are_kept_as_bits():
    layer, (drive, weight, z0, state) = ns.LIF(dt=1e-3), given(BY_NAME["lif"], 15, 2, 130)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: (kept.append(x), x)[1], lambda x: x):
        out, *_ = in_one_call(layer, drive.requires_grad_(), weight, z0, state)
    over_time = [x for x in kept if x.shape[:1] == (15,)]
    assert [tuple(x.shape) for x in kept if x.dtype is torch.int64] == [(16, 2, 1, 3)]
    assert len(over_time) == 1 and over_time[0].data_ptr() != out.data_ptr()


@pytest.mark.parametrize(("n", "heads"), [(130, 1), (64, 3), (33, 2)])
def test_bits_are_sent_on_where_blocks_fill_words(n, heads):
    tensors = given(BY_NAME["lif"], 15, 4, n, heads)
    out, *_, bits, mask, _ = ns.LIF(dt=1e-3).run_recurrent(*tensors)
    assert mask is None
    if heads * n == 66:
        assert bits is None
    else:
        assert torch.equal(unpack(bits, heads * n, torch.float32), out.flatten(0, 1))


def arguments(layer, dtype=torch.float32, train=True):
    key, forward, backward = layer._prepared(train, True, ())
    model = BY_NAME.get(layer.core.name) or Model(layer.core, 1.0, lambda dt: (1.0, {}))
    drive, weight, z0, state = given(model, 5, 2, 3, 2, dtype)
    coefficients = [t.to(dtype).expand(2, 6).contiguous().detach() for t in layer._varying_coefficients().values()]
    leaves = [x.requires_grad_(train) for x in (drive, weight, z0)]
    lists = [[x.requires_grad_(train) for x in xs] for xs in (state, coefficients)]
    others = [torch.rand_like(drive).requires_grad_(train) for _ in range(len(layer.ports) - 1)]
    return Call(key, *leaves, *lists, forward, backward, others=others, port=len(others))


OPERATORS = {
    "lif": lambda: ns.LIF(dt=1e-3),
    "learned": lambda: ns.ALIF(dt=1e-3, size=6, learn=("beta",)),
    "graded": lambda: ns.LI(dt=1e-3),
    "ports": lambda: ns.layer(coba)(dt=1e-3),
}


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("layer", OPERATORS)
def test_opcheck_of_the_forward_operator(layer, train):
    torch.library.opcheck(run_recurrent.forward_operator, arguments(OPERATORS[layer](), train=train))


@pytest.mark.parametrize("layer", OPERATORS)
@pytest.mark.parametrize("needs_weight", [True, False])
def test_opcheck_of_the_backward_operator(layer, needs_weight):
    call = arguments(OPERATORS[layer]())
    with torch.no_grad():
        outputs = run_recurrent.forward(call)
        saved = run_recurrent.save(call, outputs)
    coefficients = [t.detach() for t in saved.coefficients]
    plain = saved._replace(weight=saved.weight.detach(), z0=saved.z0.detach(), coefficients=coefficients)
    g_states = [torch.randn_like(s) for s in outputs.state]
    for g_last in (None, outputs.last):
        grads = [torch.randn_like(outputs.out), g_last, *g_states]
        torch.library.opcheck(run_recurrent.backward_operator, (*plain, [True, needs_weight, True], grads))


def test_direct_call_and_operator_agree():
    layer, tensors = ns.ALIF(dt=1e-3, size=20, learn=("tau_mem",)), given(BY_NAME["alif"], 15, 3, 20)
    direct = gradients(in_one_call, layer, *tensors)
    with forced(operators=True):
        checked = gradients(in_one_call, layer, *tensors)
    assert all(map(torch.equal, direct[0], checked[0]))
    assert all(torch.equal(direct[1][name], checked[1][name]) for name in direct[1])


def test_autocast_runs_in_single_precision():
    layer, tensors = ns.LIF(dt=1e-3), given(BY_NAME["lif"], 15, 3, 20)
    wanted = in_one_call(layer, *tensors)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = in_one_call(layer, *tensors)
        half = in_one_call(layer, tensors[0].bfloat16(), *tensors[1:])
    assert torch.equal(found[0], wanted[0]) and found[0].dtype is torch.float32
    assert half[0].dtype is torch.bfloat16 and half[2][0].dtype is torch.float32


def test_compiled():
    torch._dynamo.reset()
    layer, tensors = ns.LIF(dt=1e-3), given(BY_NAME["lif"], 15, 3, 20)
    compiled = torch.compile(in_one_call, fullgraph=True, backend="aot_eager")
    wanted, found = (gradients(run, layer, *tensors) for run in (in_one_call, compiled))
    assert all(map(torch.equal, wanted[0], found[0]))
    assert all(torch.equal(wanted[1][name], found[1][name]) for name in wanted[1])


def test_function_transforms():
    layer, (drive, weight, z0, state) = ns.ALIF(dt=1e-3), given(BY_NAME["alif"], 12, 3, 10)

    def loss(drive, weight):
        out, last, after = in_one_call(layer, drive, weight, z0, tuple(state))
        return (out * torch.linspace(0.5, 1.5, out.numel()).view_as(out)).sum() + last.sum() + after[1].sum()

    leaves = [x.clone().requires_grad_() for x in (drive, weight)]
    wanted = torch.autograd.grad(loss(*leaves), leaves)
    assert all(map(torch.equal, torch.func.grad(loss, argnums=(0, 1))(drive, weight), wanted))
    several = torch.stack((drive, drive.flip(0)))
    each = torch.func.vmap(torch.func.grad(loss, argnums=1), in_dims=(0, None))(several, weight)
    for one, x in zip(each, several, strict=True):
        assert torch.equal(one, torch.func.grad(loss, argnums=1)(x, weight))
    with pytest.raises(InputError, match="no gradient of a gradient"):
        torch.func.grad(lambda w: torch.func.grad(loss, argnums=1)(drive, w).sum())(weight)


def test_a_gradient_of_a_gradient_is_refused():
    layer, (drive, weight, z0, state) = ns.LIF(dt=1e-3), given(BY_NAME["lif"], 9, 2, 5)
    drive.requires_grad_()
    (plain,) = torch.autograd.grad(in_one_call(layer, drive, weight, z0, state)[0].sum(), drive)
    (once,) = torch.autograd.grad(in_one_call(layer, drive, weight, z0, state)[0].sum(), drive, create_graph=True)
    assert torch.equal(once, plain)
    with pytest.raises(InputError, match="no gradient of a gradient"):
        once.sum().backward()


def test_no_code_is_compiled_for_another_batch_or_length(monkeypatch):
    layer = ns.LIF(dt=1e-3)
    gradients(in_one_call, layer, *given(BY_NAME["lif"], 20, 8, 40))
    made = recurrent_cpu.CompiledKernel.number_compiled
    gradients(in_one_call, layer, *given(BY_NAME["lif"], 13, 5, 40))
    assert recurrent_cpu.CompiledKernel.number_compiled == made


def test_traces_are_those_of_the_steps():
    layer, (drive, weight, z0, state) = ns.ALIF(dt=1e-3), given(BY_NAME["alif"], 20, 3, 19)
    out, after, values, *_ = layer.run_recurrent(drive, weight, z0, state, record=("u", "a"))
    z, current = z0, []
    for t in range(20):
        current.append(drive[t] + z @ weight[0].T)
        z = out[t]
    wanted = layer.run(torch.stack(current), state, record=("u", "a")).recorded
    assert torch.equal(values["a"][-1], after.a)
    assert torch.equal(values["u"], wanted["u"]) and torch.equal(values["a"], wanted["a"])
