"""The sliding PSN: one filter over time, on runs of any length and in parts."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

import neurosim as ns
from benchmarks.parallel_in_time import convolved, shifted_sums
from neurosim.errors import InputError, ShapeError
from neurosim.language import smooth
from neurosim.parallel import MaskedPSN, SlidingPSN
from neurosim.parallel.window import BLOCK, filtered

DT = 1e-3


def random(layer):
    with torch.no_grad():
        layer.weight.add_(0.2 * torch.randn_like(layer.weight))
        layer.v_th.fill_(0.6)
    return layer


@pytest.mark.parametrize("order", [1, 2, 5, 40])
@pytest.mark.parametrize("steps", [1, 3, 16, 17, 50])
def test_it_is_a_masked_psn_with_the_same_weights_on_each_diagonal(order, steps):
    layer = random(SlidingPSN(order, dt=DT).double())
    masked = MaskedPSN(steps, order, dt=DT, masking=1.0).double()
    with torch.no_grad():
        for t in range(steps):
            for s in range(steps):
                # Where no tap reaches, the mask has to keep the number out.
                masked.weight[t, s] = layer.weight[t - s] if 0 <= t - s < order else 99.0
        masked.v_th.fill_(0.6)
    i = 2 * torch.randn(steps, 3, 4, dtype=torch.float64)
    (z, _, a, *_), (z_masked, _, b, *_) = (each.run(i, record=["h"]) for each in (layer, masked))
    assert torch.allclose(a["h"], b["h"], rtol=0, atol=1e-12) and torch.equal(z, z_masked)


@pytest.mark.parametrize(("steps", "order"), [(1, 1), (1, 4), (15, 3), (16, 1), (33, 2), (70, 20)])
@pytest.mark.parametrize("by", [shifted_sums, convolved])
def test_blocks_filter_as_shifted_sums_and_a_convolution_do(steps, order, by):
    line = torch.randn(steps + order - 1, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(order, dtype=torch.float64, requires_grad=True)
    offset = torch.randn((), dtype=torch.float64, requires_grad=True)
    leaves = (line, weight, offset)
    found, wanted = filtered(*leaves), by(*leaves)
    assert torch.allclose(found, wanted, rtol=0, atol=1e-12)
    g = torch.randn_like(found)
    for a, b in zip(torch.autograd.grad(found, leaves, g), torch.autograd.grad(wanted, leaves, g), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-11)


@pytest.mark.parametrize("steps", [3, BLOCK + 2])
def test_gradients_are_those_of_finite_differences(steps):
    layer = random(SlidingPSN(4, dt=DT, spike=smooth())).double()
    i = torch.randn(steps, 2, 2, dtype=torch.float64, requires_grad=True)
    past = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)

    def run(x, past, weight, v_th):
        z, state = torch.func.functional_call(layer, {"weight": weight, "v_th": v_th}, (x, (past,)))
        return z, state.past

    assert torch.autograd.gradcheck(run, (i, past, layer.weight, layer.v_th))


@pytest.mark.parametrize("order", [1, 2, 6, 30])
def test_a_split_run_equals_the_run_in_one(order):
    # Weights in 64ths and small whole inputs: every sum is exact, in whatever order it is taken.
    layer = SlidingPSN(order, dt=DT)
    with torch.no_grad():
        layer.weight.copy_(torch.randint(-64, 65, (order,)) / 64)
        layer.weight[0] = 0.75
    i = torch.randint(-3, 4, (41, 3, 5)).float()
    z, state = layer(i)
    assert 0.02 < z.mean() < 0.9 and torch.equal(state.past, torch.cat((torch.zeros(30, 3, 5), i))[72 - order :])
    for cut in (0, 1, 2, 17, 40):
        first, between = layer(i[:cut])
        second, after = layer(i[cut:], between)
        assert torch.equal(torch.cat((first, second)), z) and torch.equal(after.past, state.past)
    steps, now = [], None
    for i_t in i:
        z_t, now = layer(i_t[None], now)
        steps.append(z_t)
    assert torch.equal(torch.cat(steps), z)


def test_the_gradient_of_a_split_run_is_that_of_the_whole():
    layer, i = random(SlidingPSN(6, dt=DT)).double(), torch.randn(40, 2, 3, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(40, 2, 3, dtype=torch.float64)

    def gradients(z):
        return torch.autograd.grad((z * weights).sum(), (i, layer.weight, layer.v_th))

    first, between = layer(i[:13])
    second, _ = layer(i[13:], between)
    whole = gradients(layer(i)[0])
    for a, b in zip(gradients(torch.cat((first, second))), whole, strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-12) and a.abs().max() > 0


def test_without_time_earlier_inputs_count_as_state():
    layer, i = random(SlidingPSN(4, dt=DT)).double(), torch.randn(40, 2, 3, dtype=torch.float64, requires_grad=True)
    past = torch.randn(3, 2, 3, dtype=torch.float64, requires_grad=True)
    z, after = layer(i, (past,), through_time=False)
    whole, _ = layer(i, (past,))
    assert torch.equal(z, whole) and not after.past.requires_grad
    g = torch.randn_like(z)
    g_i, g_past, *shared = torch.autograd.grad(z, (i, past, layer.weight, layer.v_th), g, allow_unused=True)
    assert g_past is None
    # The definition: each step by itself, what came before it detached.
    line = torch.cat((past, i)).detach()
    alone = []
    for t in range(40):
        window = [line[t + 3 - n] for n in range(1, 4)]
        h = layer.weight[0] * i[t] + sum(w * x for w, x in zip(layer.weight[1:], window, strict=True))
        alone.append(layer.fire.spike(h - layer.v_th))
    wanted = torch.autograd.grad(torch.stack(alone), (i, layer.weight, layer.v_th), g)
    for a, b in zip((g_i, *shared), wanted, strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-12)
    (through,) = torch.autograd.grad(whole, i, g)
    assert not torch.allclose(through, g_i)


def test_a_filter_without_time_gives_no_gradient_to_what_came_before():
    line, weight = torch.randn(20, 4, requires_grad=True), torch.randn(3)
    g = torch.randn(18, 4)
    (found,) = torch.autograd.grad(filtered(line, weight, torch.zeros(()), through_time=False), line, g)
    assert torch.equal(found, torch.cat((torch.zeros(2, 4), weight[0] * g)))


def test_the_state_does_not_hold_the_whole_run():
    _, state = SlidingPSN(3, dt=DT)(torch.randn(1000, 2, 3))
    assert state.past.untyped_storage().nbytes() == 2 * 2 * 3 * 4


def test_first_weights_are_those_of_the_paper():
    layer = SlidingPSN(4, dt=DT)
    assert layer.weight.tolist() == [1.0, 0.5, 0.25, 0.125] and layer.v_th.item() == 1.0
    spread = SlidingPSN(400, dt=DT, start="uniform").weight
    assert 0.04 < spread.abs().max() < 0.05 and spread.min() < -0.04
    assert layer.fire.spike.name == ns.atan(2.0).name


def test_samples_are_independent():
    layer, i = SlidingPSN(5, dt=DT).double(), torch.randn(30, 4, 5, dtype=torch.float64)
    z, _, values, *_ = layer.run(i, record=["h"])
    other = i.clone()
    other[:, 0] = 100.0
    assert torch.allclose(layer.run(other, record=["h"]).recorded["h"][:, 1:], values["h"][:, 1:], rtol=0, atol=1e-13)
    order = torch.tensor([2, 0, 3, 1])
    assert torch.equal(layer(i[:, order])[0], z[:, order])


@pytest.mark.parametrize("shape", [(0, 2, 3), (7, 0, 3), (7, 2), (7, 2, 3, 4)])
def test_shapes(shape):
    i = torch.randn(shape, requires_grad=True)
    z, state = SlidingPSN(3, dt=DT)(i)
    assert z.shape == shape and state.past.shape == (2, *shape[1:])
    z.sum().backward()
    assert i.grad.shape == shape


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_precision(dtype):
    layer, i = SlidingPSN(3, dt=DT), torch.randn(30, 2, 3).to(dtype)
    z, state = layer(i)
    held = torch.float64 if dtype is torch.float64 else torch.float32
    assert z.dtype is dtype and state.past.dtype is held
    assert torch.equal(z, layer(i.to(held))[0].to(dtype)) and 0 < z.mean() < 1


# torch's own compiler makes an instance of an autograd function and then warns of it.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_it_compiles_into_one_graph():
    torch._dynamo.reset()
    layer, i = SlidingPSN(4, dt=DT), torch.randn(40, 2, 3)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    found = [torch.autograd.grad(run(i)[0].sum(), layer.weight)[0] for run in (layer, compiled)]
    assert torch.equal(layer(i)[0], compiled(i)[0]) and torch.equal(*found)


def test_function_transforms_are_supported():
    weight, line = torch.randn(3, dtype=torch.float64), torch.randn(20, 4, dtype=torch.float64)

    def size(w):
        return (filtered(line, w, w.new_zeros(())) ** 2).sum()

    wanted = torch.autograd.grad(size(weight.requires_grad_()), weight)[0]
    assert torch.equal(torch.func.grad(size)(weight.detach()), wanted)


def test_copies_are_equal_and_independent():
    layer, i = random(SlidingPSN(4, dt=DT)), torch.randn(40, 2, 3)
    z, state = layer(i)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(i)[0], z) and repr(twin) == repr(layer)
        with torch.no_grad():
            twin.weight.zero_()
        assert torch.equal(layer(i)[0], z)
    assert type(pickle.loads(pickle.dumps(state))) is type(state)
    assert repr(layer).startswith("SlidingPSN(\n  4, dt=0.001, spike=atan(slope=2.0)")


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: SlidingPSN(0, dt=DT), InputError, r"SlidingPSN: order must be an integer from 1; got 0"),
        (
            lambda: SlidingPSN(2, dt=DT, start="x"),
            InputError,
            r'SlidingPSN: start must be "exponential" or .* got \'x\'',
        ),
        (
            lambda: SlidingPSN(3, dt=DT)(torch.randn(5, 2, 3), (torch.zeros(3, 2, 3),)),
            ShapeError,
            r"SlidingPSN: state.past must be \[2, 2, 3\]; got \[3, 2, 3\]",
        ),
        (
            lambda: SlidingPSN(3, dt=DT)(torch.randn(5, 2, 3), (torch.zeros(2, 2, 3, device="meta"),)),
            InputError,
            r"SlidingPSN: state.past is on meta, i on cpu",
        ),
    ],
)
def test_wrong_arguments_are_refused_by_name(make, error, message):
    with pytest.raises(error, match=message):
        make()
