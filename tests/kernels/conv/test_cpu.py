"""Convolution of spikes against torch's, over settings, rates and values; which of the two runs; what is kept."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn import functional

import neurosim as ns
from neurosim.errors import InputError
from neurosim.kernels.common.bits import pack, words
from neurosim.kernels.common.policy import forced
from neurosim.kernels.conv import cpu as conv_cpu
from neurosim.kernels.conv.arguments import Call, Saved, Settings
from neurosim.kernels.conv.operator import event_conv, run_conv
from neurosim.kernels.conv.policy import is_event_driven
from tests.watching import dirty, kept_for_backward, noting

BOTH_PRODUCTS = pytest.mark.usefixtures("product")
EVENTS = pytest.mark.usefixtures("event_driven")

# c_in, c_out, groups, (H, W), (kh, kw), stride, padding, dilation
CASES = {
    "plain": (3, 8, 1, (9, 9), (3, 3), (1, 1), (1, 1), (1, 1)),
    "stride": (2, 16, 1, (13, 12), (5, 5), (2, 2), (1, 1), (1, 1)),
    "dilation": (2, 5, 1, (12, 11), (3, 2), (1, 1), (2, 0), (2, 3)),
    "stride and dilation": (3, 9, 1, (17, 20), (4, 3), (4, 3), (3, 1), (6, 2)),
    "stride over the kernel": (2, 4, 1, (11, 9), (1, 2), (3, 4), (0, 1), (1, 1)),
    "groups": (6, 9, 3, (7, 19), (3, 2), (1, 2), (0, 1), (1, 1)),
    "each channel alone": (5, 5, 5, (8, 8), (3, 3), (1, 1), (1, 1), (1, 1)),
    "one axis": (4, 10, 2, (1, 40), (1, 7), (1, 2), (0, 3), (1, 2)),
    "one place": (3, 4, 1, (3, 3), (3, 3), (1, 1), (0, 0), (1, 1)),
    "much padding": (2, 3, 1, (2, 3), (2, 2), (2, 1), (5, 4), (1, 1)),
    "large block": (2, 72, 1, (6, 6), (3, 3), (1, 1), (1, 1), (1, 1)),
    "many channels": (2, 600, 1, (3, 3), (1, 1), (1, 1), (0, 0), (1, 1)),
}
RATES = (0.0, 0.02, 0.3, 1.0)
VALUES = ("ones", "graded")
TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-12}


def close(a, b):
    scale = max(float(b.abs().max()), 1.0) if b.numel() else 1.0
    return a.shape == b.shape and a.dtype == b.dtype and bool(((a - b).abs() <= TOLERANCE[b.dtype] * 20 * scale).all())


def made(name, rate, values="ones", dtype=torch.float32, rows=5):
    c_in, c_out, groups, size, kernel, stride, padding, dilation = CASES[name]
    x = (torch.rand(rows, c_in, *size) < rate).to(dtype)
    if values == "graded":
        x = x * torch.randn_like(x)
    weight = torch.randn(c_out, c_in // groups, *kernel, dtype=dtype)
    return x, weight, torch.randn(c_out, dtype=dtype), Settings(stride, padding, dilation, groups)


@pytest.fixture
def event_driven():
    with forced("events"):
        yield


def results(run, x, weight, bias):
    """Return the output of `run` and the gradients of all it was given."""
    given = [None if t is None else t.detach().clone().requires_grad_() for t in (x, weight, bias)]
    out = run(*given)
    g = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view(out.shape)
    return [out.detach(), *torch.autograd.grad(out, [t for t in given if t is not None], g)]


def agree(ours, theirs):
    return [n for n, (a, b) in enumerate(zip(ours, theirs, strict=True)) if not close(a, b)] == []


@EVENTS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_those_of_torch(name, dtype):
    for rate, values, biased in itertools.product(RATES, VALUES, (True, False)):
        x, weight, bias, settings = made(name, rate, values, dtype)
        given = (x, weight, bias if biased else None)
        ours = results(lambda *t, s=settings: event_conv(*t, s), *given)
        assert agree(ours, results(lambda *t, s=settings: functional.conv2d(*t, *s), *given)), (rate, values, biased)


@pytest.mark.parametrize("values", VALUES)
def test_the_dense_product_gives_the_same(values):
    x, weight, bias, settings = made("groups", 0.3, values)
    theirs = results(lambda *t: functional.conv2d(*t, *settings), x, weight, bias)
    with forced("dense"):
        assert agree(results(lambda *t: event_conv(*t, settings), x, weight, bias), theirs)


@EVENTS
def test_each_gradient_alone():
    x, weight, bias, settings = made("stride", 0.2)
    theirs = results(lambda *t: functional.conv2d(*t, *settings), x, weight, bias)[1:]
    for needs in itertools.product((False, True), repeat=3):
        if not any(needs):
            continue
        given = [t.clone().requires_grad_(need) for t, need in zip((x, weight, bias), needs, strict=True)]
        out = event_conv(*given, settings)
        out.backward(torch.linspace(-1, 2, out.numel()).view(out.shape))
        for t, need, wanted in zip(given, needs, theirs, strict=True):
            assert (t.grad is not None) == need and (not need or close(t.grad, wanted))


@BOTH_PRODUCTS
@pytest.mark.parametrize("name", ["stride", "groups", "large block"])
def test_a_masked_gradient_is_the_dense_one_in_the_mask_and_zero_elsewhere(name):
    x, weight, bias, settings = made(name, 0.2)
    dense = results(lambda *t: functional.conv2d(*t, *settings), x, weight, bias)
    for share in (0.0, 0.3, 1.0):
        mask = (torch.rand(x.shape) < share).float()
        active = pack(mask.flatten(1)).bits
        ours = results(lambda *t, a=active: event_conv(*t, settings, mask=a), x, weight, bias)
        assert agree(ours, [dense[0], dense[1] * mask, *dense[2:]])
        assert not ours[1][mask == 0].any()
    everywhere = torch.full_like(active, -1)  # bits beyond the last input are set too
    ours = results(lambda *t: event_conv(*t, settings, mask=everywhere), x, weight, bias)
    assert agree(ours, dense)


@BOTH_PRODUCTS
def test_packed_bits_are_taken_for_the_input():
    x, weight, bias, settings = made("plain", 0.2)
    bits = pack(x.flatten(1)).bits
    theirs = results(lambda *t: functional.conv2d(*t, *settings), x, weight, bias)
    assert agree(results(lambda *t: event_conv(*t, settings, packed_bits=bits), x, weight, bias), theirs)


@EVENTS
@pytest.mark.parametrize("name", ["stride", "groups", "one axis"])
def test_gradcheck(name):
    for values in VALUES:
        x, weight, bias, settings = made(name, 0.3, values, torch.float64, rows=2)
        weight, bias = weight.requires_grad_(), bias.requires_grad_()
        assert torch.autograd.gradcheck(lambda w, b, x=x, s=settings: event_conv(x, w, b, s), (weight, bias))
    x = torch.randn_like(x).requires_grad_()  # nowhere 0: a step of the check makes and takes no spike
    assert torch.autograd.gradcheck(lambda x: event_conv(x, weight, bias, settings), (x,))


@EVENTS
@pytest.mark.parametrize("rows", [1, 2, 17, 40])
def test_the_bits_do_not_depend_on_the_number_of_threads(rows):
    x, weight, bias, settings = made("plain", 0.2, "graded", rows=rows)
    active = pack((torch.rand(x.shape) < 0.3).float().flatten(1)).bits
    found = []
    for threads in (1, 2, 3, 7):
        with forced("events", threads=threads):
            found.append(results(lambda *t: event_conv(*t, settings, mask=active), x, weight, bias))
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


@EVENTS
def test_work_is_shared_out(monkeypatch):
    x, weight, bias, settings = made("plain", 0.2, rows=40)
    shared = []

    def share(part, total, **_):
        shared.append(total)
        part(0, total)

    monkeypatch.setattr(conv_cpu, "spread", share)
    with forced("events", threads=2):
        results(lambda *t: event_conv(*t, settings), x, weight, bias)
    assert shared == [2, conv_cpu._SHARES]


@EVENTS
def test_memory_that_was_not_cleared_is_not_read(monkeypatch):
    cases = [made(name, 0.2) for name in ("plain", "groups", "much padding")]
    clean = [results(lambda *t, s=s: event_conv(*t, s), x, w, b) for x, w, b, s in cases]
    made_dirty = []
    monkeypatch.setattr(conv_cpu.buffer_pool, "empty", dirty(made_dirty, conv_cpu.buffer_pool.empty))
    monkeypatch.setattr(torch, "empty", dirty(made_dirty, torch.empty))
    for (x, w, b, s), wanted in zip(cases, clean, strict=True):
        found = results(lambda *t, s=s: event_conv(*t, s), x, w, b)
        assert all(map(torch.equal, found, wanted))
    assert len(made_dirty) >= 9


@EVENTS
def test_inputs_and_gradients_that_are_not_contiguous():
    x, weight, bias, settings = made("plain", 0.3)
    turned = x.contiguous(memory_format=torch.channels_last)
    thin = torch.stack((weight, weight), -1)[..., 0]
    out = event_conv(turned, thin.requires_grad_(), bias, settings)
    assert torch.equal(out, event_conv(x, weight, bias, settings))
    g = torch.randn(out.shape).contiguous(memory_format=torch.channels_last)
    (found,) = torch.autograd.grad(out, thin, g)
    wanted = results(lambda *t: functional.conv2d(*t, *settings) * g, x, weight, bias)
    scaled = results(lambda *t: event_conv(*t, settings) * g, x, weight, bias)
    assert agree(scaled, wanted) and found.abs().sum() > 0


@BOTH_PRODUCTS
def test_no_sample():
    x, weight, bias, settings = made("plain", 0.3, rows=0)
    ours = results(lambda *t: event_conv(*t, settings), x, weight, bias)
    assert ours[0].shape == (0, 8, 9, 9) and ours[1].shape == x.shape
    assert not ours[2].any() and not ours[3].any()


@pytest.mark.parametrize("values", VALUES)
@BOTH_PRODUCTS
def test_what_is_kept_is_a_bit_for_each_input(values):
    x, weight, _, settings = made("plain", 0.3, values)
    weight.requires_grad_()
    with kept_for_backward() as kept:
        event_conv(x, weight, None, settings)
    kept = [t for t in kept if t.data_ptr() != weight.data_ptr()]
    bits = kept.pop(0)
    assert bits.dtype is torch.int64 and bits.shape == (5, words(3 * 81))
    assert [t.data_ptr() for t in kept] == ([x.data_ptr()] if values == "graded" else [])


@EVENTS
def test_direct_call_and_operator_agree():
    for values in VALUES:
        x, weight, bias, settings = made("stride", 0.2, values)
        direct = results(lambda *t, s=settings: event_conv(*t, s), x, weight, bias)
        with forced("events", operators=True):
            operator = results(lambda *t, s=settings: event_conv(*t, s), x, weight, bias)
        assert all(map(torch.equal, direct, operator))


@EVENTS
@pytest.mark.parametrize("biased", [True, False])
def test_opcheck(biased):
    for values in VALUES:
        x, weight, bias, settings = made("stride", 0.2, values)
        tensors = (x.requires_grad_(), weight.requires_grad_(), bias.requires_grad_() if biased else None)
        torch.library.opcheck(run_conv.forward_operator, Call(*tensors, *settings))
    bits = pack((x != 0).float().flatten(1)).bits
    binary = (x.detach() != 0).float().requires_grad_()
    torch.library.opcheck(run_conv.forward_operator, Call(binary, *tensors[1:], *settings, bits, bits))


@BOTH_PRODUCTS
@pytest.mark.parametrize("needs", [(True, True, True), (False, True, False), (True, False, False)])
@pytest.mark.parametrize("values", VALUES)
def test_opcheck_of_the_backward_operator(needs, values):
    x, weight, bias, settings = made("stride", 0.2, values)
    for mask in (None, pack((x != 0).float().flatten(1)).bits):
        call = Call(x, weight, bias, *settings, mask=mask)
        outputs = run_conv.forward(call)
        saved = run_conv.save(call, outputs)
        torch.library.opcheck(run_conv.backward_operator, (*saved, list(needs), [torch.randn_like(outputs.out)]))


@EVENTS
@pytest.mark.parametrize("make", [ns.Conv1d, ns.Conv2d])
def test_compiled_in_one_graph(make):
    synapse = make(2, 3, 3, bias=True)
    x = (torch.rand(3, 2, 2, *(9,) * synapse.axes) < 0.2).float().requires_grad_()
    compiled = torch.compile(synapse, fullgraph=True, backend="aot_eager")
    for given in (x, (x.detach() * torch.randn(x.shape)).requires_grad_()):
        found = torch.autograd.grad(compiled(given).sin().sum(), [given, *synapse.parameters()])
        wanted = torch.autograd.grad(synapse(given).sin().sum(), [given, *synapse.parameters()])
        assert all(map(torch.equal, found, wanted))


@BOTH_PRODUCTS
def test_autocast_leaves_single_precision():
    x, weight, bias, settings = made("plain", 0.3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = event_conv(x, weight, bias, settings)
        half = ns.Conv2d(3, 8, 3)(x.bfloat16().unsqueeze(0))
    assert out.dtype is torch.float32 and half.dtype is torch.bfloat16
    assert close(out, functional.conv2d(x, weight, bias, *settings))


def test_gradients_of_samples_by_torch_func():
    synapse = ns.Conv2d(2, 3, 3)
    x = (torch.rand(4, 1, 2, 2, 7, 7) < 0.2).float()

    def loss(weight, x):
        return torch.func.functional_call(synapse, {"weight": weight}, (x,)).sin().sum()

    found = torch.func.vmap(torch.func.grad(loss), (None, 0))(synapse.weight, x)
    for n in range(4):
        assert close(found[n], torch.autograd.grad(loss(synapse.weight, x[n]), synapse.weight)[0])


@EVENTS
def test_a_gradient_of_a_gradient_is_refused():
    x, weight, bias, settings = made("plain", 0.3)
    weight.requires_grad_()
    (once,) = torch.autograd.grad(event_conv(x, weight, bias, settings).sum(), weight, create_graph=True)
    with pytest.raises(InputError, match="no gradient of a gradient"):
        once.sum().backward()


@EVENTS
@pytest.mark.parametrize("make", [ns.Conv1d, ns.Conv2d])
def test_synapses_use_it(make, monkeypatch):
    synapse = make(2, 3, 3, stride=2, padding=1, dilation=2, bias=True)
    x = (torch.rand(4, 2, 2, *(11,) * synapse.axes) < 0.3).float()
    wanted = synapse(x)
    ran = []
    monkeypatch.setattr(conv_cpu, "_event_forward", noting(ran, 1, conv_cpu._event_forward))
    assert torch.equal(synapse(x), wanted) and ran == [1]
    assert synapse.double()(x.double()).dtype is torch.float64 and ran == [1, 1]


# The network for N-MNIST of the NIR paper, and a wider layer.
LAYERS = {
    "2 to 16": ((2, 34, 34), (16, 2, 5, 5), (2, 2)),
    "16 to 16": ((16, 16, 16), (16, 16, 3, 3), (1, 1)),
    "16 to 8": ((16, 8, 8), (8, 16, 3, 3), (1, 1)),
    "64 to 64": ((64, 16, 16), (64, 64, 3, 3), (1, 1)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_the_rate_decides(name):
    size, weight, stride = LAYERS[name]
    layout = conv_cpu.layout_of(size, torch.empty(weight), Settings(stride, (1, 1), (1, 1), 1))
    inputs = 480 * size[0] * size[1] * size[2]
    assert all(is_event_driven(layout, 480, int(rate * inputs), layout.own) for rate in (0, 0.01, 0.05, 0.1))
    assert not is_event_driven(layout, 480, inputs, layout.own)
    assert not is_event_driven(layout, 480, 1 << 31, layout.own)


def test_what_is_measured_is_the_rate_of_the_call(monkeypatch):
    ran = []
    monkeypatch.setattr(conv_cpu, "_event_forward", noting(ran, 1, conv_cpu._event_forward))
    weight, settings = torch.randn(16, 16, 3, 3), Settings((1, 1), (1, 1), (1, 1), 1)
    for rate, times in ((0.02, [1]), (0.9, [1])):
        x = (torch.rand(4, 16, 16, 16) < rate).float()
        assert close(event_conv(x, weight, None, settings), functional.conv2d(x, weight, None, *settings))
        assert ran == times


@EVENTS
def test_a_saved_batch_can_be_differentiated_by_hand():
    x, weight, _, settings = made("plain", 0.3)
    g = torch.randn(5, 8, 9, 9)
    saved = Saved((3, 9, 9), pack(x.flatten(1)).bits, None, weight, *settings, None)
    g_x, g_weight, g_bias = conv_cpu.backward(saved, (False, True, True), [g])
    assert g_x is None and close(g_bias, g.sum((0, 2, 3)))
    assert close(g_weight, torch.nn.grad.conv2d_weight(x, weight.shape, g, *settings))
