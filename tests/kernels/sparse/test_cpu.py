"""Sparse products of spikes against the reference; which kernel runs; what is kept for the backward pass."""

from __future__ import annotations

import itertools

import pytest
import torch

import neurosim as ns
from neurosim.errors import InputError
from neurosim.kernels.common.bits import pack, words
from neurosim.kernels.common.policy import forced
from neurosim.kernels.sparse import chunked, reference
from neurosim.kernels.sparse import cpu as sparse_cpu
from neurosim.kernels.sparse.arguments import Call
from neurosim.kernels.sparse.operator import event_sparse, run_sparse
from neurosim.kernels.sparse.policy import is_event_driven
from neurosim.kernels.sparse.rows import index_type, sorted_rows
from tests.watching import dirty, kept_for_backward, noting

# samples, presynaptic and postsynaptic neurons, density; above 1: synapses, drawn with replacement
CASES = {
    "plain": (40, 30, 20, 0.4),
    "words": (33, 200, 70, 0.1),
    "whole": (32, 64, 48, 0.2),
    "few rows": (3, 70, 9, 0.5),
    "one": (1, 1, 1, 1.0),
    "empty": (20, 9, 5, 0.0),
    "multapses": (40, 30, 20, 900),
    "long indices": (18, 5, 70_000, 300),
}
RATES = (0.0, 0.02, 0.3, 1.0)
VALUES = ("ones", "graded")
TOLERANCE = {torch.float32: 4e-6, torch.float64: 1e-12}


def close(a, b):
    scale = max(float(b.abs().max()), 1.0) if b.numel() else 1.0
    return a.shape == b.shape and a.dtype == b.dtype and bool(((a - b).abs() <= TOLERANCE[b.dtype] * scale).all())


def made(name, rate, values="ones", dtype=torch.float32, samples=None):
    """Return spikes, weights and the rows of synapses."""
    known, n_in, n_out, density = CASES[name]
    x = (torch.rand(known if samples is None else samples, n_in) < rate).to(dtype)
    if values == "graded":
        x = x * torch.randn_like(x)
    if density > 1:
        post, pre = torch.randint(n_out, (density,)), torch.randint(n_in, (density,))
    else:
        post, pre = (torch.rand(n_out, n_in) < density).nonzero().T
    return x, torch.randn(len(pre), dtype=dtype), sorted_rows(pre, post, n_in, n_out)[0]


def plain(rows):
    """Return the product as it is defined."""
    return lambda x, weight: reference.multiply(x, weight, rows)


def ours(rows, **given):
    return lambda x, weight: event_sparse(x, weight, rows, **given)


def results(run, x, weight):
    """Return the output of `run` and both gradients."""
    given = [t.detach().clone().requires_grad_() for t in (x, weight)]
    out = run(*given)
    g = torch.linspace(-1, 2, out.numel(), dtype=torch.float64).to(out.dtype).view(out.shape)
    return [out.detach(), *torch.autograd.grad(out, given, g)]


def agree(found, wanted):
    return [n for n, (a, b) in enumerate(zip(found, wanted, strict=True)) if not close(a, b)] == []


@pytest.fixture(params=["events", "dense", None])
def method(request):
    """Run one of the two kernels of each product, or the cheaper one."""
    with forced(request.param):
        yield


@pytest.mark.usefixtures("method")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_those_of_the_reference(name, dtype):
    for rate, values in itertools.product(RATES, VALUES):
        x, weight, rows = made(name, rate, values, dtype)
        assert agree(results(ours(rows), x, weight), results(plain(rows), x, weight)), (rate, values)


@pytest.mark.usefixtures("method")
@pytest.mark.parametrize("name", ["plain", "words", "few rows"])
def test_a_masked_gradient_is_the_reference_where_active_and_zero_elsewhere(name):
    x, weight, rows = made(name, 0.2)
    wanted = results(plain(rows), x, weight)
    for share in (0.0, 0.3, 1.0):
        mask = (torch.rand(x.shape) < share).float()
        found = results(ours(rows, mask=pack(mask).bits), x, weight)
        assert agree(found, [wanted[0], wanted[1] * mask, wanted[2]])
        assert not found[1][mask == 0].any()
    everywhere = torch.full_like(pack(mask).bits, -1)  # bits beyond the last input are set too
    assert agree(results(ours(rows, mask=everywhere), x, weight), wanted)


@pytest.mark.usefixtures("method")
def test_bits_of_the_producer_are_taken_for_the_input():
    x, weight, rows = made("words", 0.2)
    found = results(ours(rows, packed_bits=pack(x).bits), x, weight)
    assert agree(found, results(plain(rows), x, weight))


@pytest.mark.usefixtures("method")
def test_gradcheck():
    x, weight, rows = made("plain", 0.3, "graded", torch.float64, samples=18)
    weight.requires_grad_()
    assert torch.autograd.gradcheck(lambda w: event_sparse(x, w, rows), (weight,))
    x = torch.randn(3, 30, dtype=torch.float64).requires_grad_()  # nowhere 0: the check's step makes no spike
    assert torch.autograd.gradcheck(lambda x: event_sparse(x, weight, rows), (x,))


@pytest.mark.parametrize("name", ["words", "few rows"])
@pytest.mark.parametrize("product", ["events", "dense"])
def test_the_bits_do_not_depend_on_the_number_of_threads(name, product):
    x, weight, rows = made(name, 0.2, "graded")
    active = pack((torch.rand(x.shape) < 0.3).float()).bits
    found = []
    for threads in (1, 2, 3, 7):
        with forced(product, threads=threads):
            found.append(results(ours(rows, mask=active), x, weight))
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


def test_work_is_shared_out(monkeypatch):
    x, weight, rows = made("words", 0.2)
    shared = []

    def share(part, total, *_):
        shared.append(total)
        part(0, total)

    monkeypatch.setattr(sparse_cpu, "spread", share)
    for product in ("events", "dense"):
        with forced(product):
            results(ours(rows, mask=pack(x).bits), x, weight)
    words_before = words(200)
    # Rows, rows and words; groups of 16 rows, groups and words, and words again for the one row left over.
    assert shared == [33, 33, words_before, 3, 3, words_before, words_before]


@pytest.mark.usefixtures("method")
def test_memory_that_was_not_cleared_is_not_read(monkeypatch):
    x, weight, rows = made("words", 0.2, "graded")
    active = pack((torch.rand(x.shape) < 0.3).float()).bits
    clean = results(ours(rows, mask=active), x, weight)
    made_dirty = []
    monkeypatch.setattr(sparse_cpu.buffer_pool, "empty", dirty(made_dirty, sparse_cpu.buffer_pool.empty))
    monkeypatch.setattr(torch, "empty", dirty(made_dirty, torch.empty))
    assert all(map(torch.equal, results(ours(rows, mask=active), x, weight), clean))
    assert len(made_dirty) >= 2


@pytest.mark.usefixtures("method")
def test_inputs_and_gradients_that_are_not_contiguous():
    x, weight, rows = made("words", 0.2)
    wanted = results(ours(rows), x, weight)
    turned, thin = x.T.contiguous().T, torch.stack((weight, weight), -1)[:, 0]
    assert not turned.is_contiguous() and not thin.is_contiguous()
    given = turned.detach().requires_grad_(), thin.detach().requires_grad_()
    out = event_sparse(*given, rows)
    g = torch.linspace(-1, 2, out.numel(), dtype=torch.float64).float().view(out.shape).T.contiguous().T
    assert all(map(torch.equal, (out, *torch.autograd.grad(out, given, g)), wanted))


@pytest.mark.usefixtures("method")
def test_no_row():
    x, weight, rows = made("plain", 0.3, samples=0)
    out, g_x, g_weight = results(ours(rows), x, weight)
    assert out.shape == (0, 20) and g_x.shape == (0, 30) and not g_weight.any()


@pytest.mark.usefixtures("method")
@pytest.mark.parametrize("values", VALUES)
def test_what_is_kept_is_a_bit_for_each_input(values):
    x, weight, rows = made("words", 0.3, values)
    weight.requires_grad_()
    with kept_for_backward() as kept:
        event_sparse(x, weight, rows)
    own = [t.data_ptr() for t in (weight, rows.starts, rows.post)]
    bits, *kept = (t for t in kept if t.data_ptr() not in own)
    assert bits.dtype is torch.int64 and bits.shape == (33, words(200))
    assert [t.data_ptr() for t in kept] == ([x.data_ptr()] if values == "graded" else [])


@pytest.mark.parametrize("product", ["events", "dense"])
def test_direct_call_and_operator_agree(product):
    for values in VALUES:
        x, weight, rows = made("words", 0.2, values)
        with forced(product):
            direct = results(ours(rows), x, weight)
        with forced(product, operators=True):
            assert all(map(torch.equal, direct, results(ours(rows), x, weight)))


@pytest.mark.parametrize("values", VALUES)
def test_opcheck(values):
    x, weight, rows = made("plain", 0.2, values)
    bits = pack(x).bits
    for mask in (None, bits):
        call = Call(x, weight, *rows, mask=mask)
        outputs = run_sparse.forward(call)
        saved, grads = run_sparse.save(call, outputs), [torch.randn_like(outputs.out)]
        for needs in ([True, True], [False, True], [True, False]):
            torch.library.opcheck(run_sparse.backward_operator, (*saved, needs, grads))
    torch.library.opcheck(run_sparse.forward_operator, Call(x.requires_grad_(), weight.requires_grad_(), *rows))
    if values == "ones":
        torch.library.opcheck(run_sparse.forward_operator, Call(x, weight, *rows, bits, bits))


def test_compiled_in_one_graph():
    synapse = ns.Sparse.random(30, 20, 0.4)
    x = (torch.rand(3, 7, 30) < 0.2).float().requires_grad_()
    compiled = torch.compile(synapse, fullgraph=True, backend="aot_eager")
    for given in (x, (x.detach() * torch.randn(x.shape)).requires_grad_()):
        found = torch.autograd.grad(compiled(given).sin().sum(), [given, synapse.weight])
        assert all(map(torch.equal, found, torch.autograd.grad(synapse(given).sin().sum(), [given, synapse.weight])))


def test_autocast_leaves_single_precision():
    x, weight, rows = made("plain", 0.3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = event_sparse(x, weight, rows)
    assert close(out, plain(rows)(x, weight))


def test_a_gradient_by_torch_func():
    synapse, x = ns.Sparse.random(30, 20, 0.4), (torch.rand(3, 7, 30) < 0.2).float()

    def loss(weight):
        return torch.func.functional_call(synapse, {"weight": weight}, (x,)).sin().sum()

    assert close(torch.func.grad(loss)(synapse.weight), torch.autograd.grad(loss(synapse.weight), synapse.weight)[0])


def test_a_gradient_of_a_gradient_is_refused():
    x, weight, rows = made("plain", 0.3)
    weight.requires_grad_()
    out = event_sparse(x, weight, rows)
    (once,) = torch.autograd.grad(out.sum(), weight, create_graph=True)
    with pytest.raises(InputError, match="no gradient of a gradient"):
        once.sum().backward()


def test_rows_hold_each_synapse_once_in_order():
    torch.manual_seed(0)
    post, pre, delay = (torch.randint(most, (500,)) for most in (20, 30, 7))
    for late in (None, delay):
        rows, order = sorted_rows(pre, post, 30, 20, late)
        key = pre * 20 + post if late is None else (pre * 7 + late) * 20 + post
        assert sorted(order.tolist()) == list(range(500))
        assert torch.equal(rows.pre, pre[order]) and torch.equal(rows.post.long(), post[order])
        steps = key[order].diff()
        assert (steps >= 0).all() and (order.diff()[steps == 0] > 0).all()  # equal ones in the order given
        for j in range(30):
            first, last = rows.starts[j : j + 2].tolist()
            assert (rows.pre[first:last] == j).all()


def test_indices_take_16_bits_where_they_fit():
    assert index_type(65_536) is torch.uint16 and index_type(65_537) is torch.int32
    pre, post = torch.tensor([0, 0]), torch.tensor([65_535, 0])
    for n_out in (65_536, 65_537):
        rows, _ = sorted_rows(pre, post, 1, n_out)
        assert rows.post.dtype is index_type(n_out)
        out = event_sparse(torch.ones(1, 1), torch.tensor([2.0, 3.0]), rows)
        assert out[0, [0, 65_535]].tolist() == [2.0, 3.0] and out.sum() == 5.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
@pytest.mark.parametrize("name", CASES)
def test_chunks_of_synapses_give_the_reference(name, dtype, monkeypatch):
    x, weight, rows = made(name, 0.5, "graded", torch.float64)
    wanted = results(plain(rows), x, weight)
    for at_once in (1 << 24, 1000):
        monkeypatch.setattr(chunked, "_AT_ONCE", at_once)
        found = results(lambda x, weight: chunked.multiply(x, weight, rows), x.to(dtype), weight.to(dtype))
        for a, b in zip(found, wanted, strict=True):
            assert a.dtype is dtype and a.shape == b.shape
            scale = max(float(b.abs().max()), 1.0) if b.numel() else 1.0
            tolerance = {torch.float16: 4e-3, torch.float32: 1e-5, torch.float64: 1e-12}[dtype]
            assert ((a.double() - b).abs() <= tolerance * scale).all()


def test_chunks_keep_the_input_and_the_weights_alone(monkeypatch):
    x, weight, rows = made("plain", 0.5)
    monkeypatch.setattr(chunked, "_AT_ONCE", 100)
    weight.requires_grad_()
    with kept_for_backward() as kept:
        chunked.multiply(x, weight, rows)
    assert [t.shape for t in kept] == [x.shape, weight.shape]


def ran(monkeypatch):
    """Return a list of the kernels that will have run."""
    names: list[str] = []
    for name in ("by_spike", "together", "weight_by_spike", "weight_together", "masked"):
        monkeypatch.setattr(sparse_cpu, name, noting(names, name, getattr(sparse_cpu, name)))
    return names


@pytest.mark.parametrize(
    ("rate", "kernels"),
    [
        (0.02, ["by_spike", "masked", "weight_by_spike"]),
        (0.065, ["together", "masked", "weight_by_spike"]),  # neurons without a spike in a group cost it nothing
        (0.09, ["together", "together", "weight_by_spike"]),
        (0.5, ["together", "together", "weight_together"]),
    ],
)
def test_the_rate_decides(rate, kernels, monkeypatch):
    synapse = ns.Sparse.random(200, 70, 0.1)
    x, names = (torch.rand(64, 200) < rate).float().requires_grad_(), ran(monkeypatch)
    event_sparse(x, synapse.weight, synapse.rows, mask=pack(x.detach()).bits).sum().backward()
    assert names == kernels


def test_a_list_too_long_is_not_made():
    rows, _ = sorted_rows(torch.tensor([0]), torch.tensor([0]), 1, 1)
    assert is_event_driven(rows, 1 << 40, (1 << 31) - 1, 16, 1.3)
    assert not is_event_driven(rows, 1 << 40, 1 << 31, 16, 1.3)


def test_the_synapse_uses_it(monkeypatch):
    one = ns.Sparse.random(30, 20, 0.4)
    x, names = (torch.rand(4, 5, 30) < 0.02).float(), ran(monkeypatch)
    with torch.no_grad():
        assert one(x).any()
    assert names == ["by_spike"]
    assert one.double()(x.double()).dtype is torch.float64
