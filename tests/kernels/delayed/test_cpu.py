"""Sparse products with delays against the reference; split runs; which kernel runs; what the backward pass keeps."""

from __future__ import annotations

import itertools

import pytest
import torch

from neurosim.errors import InputError
from neurosim.kernels.common.bits import words
from neurosim.kernels.common.policy import forced
from neurosim.kernels.delayed import chunked, cpu, reference
from neurosim.kernels.delayed.arguments import Call
from neurosim.kernels.delayed.operator import delayed_sparse, run_delayed
from neurosim.kernels.delayed.rows import DelayedRows, all_to_all, delayed_rows
from neurosim.kernels.sparse import chunked as sparse_chunked
from tests.watching import dirty, kept_for_backward, noting

delayed_rows_of = delayed_rows

# steps, samples, presynaptic and postsynaptic neurons, synapses, span
CASES = {
    "plain": (21, 3, 30, 20, 240, 7),
    "words": (33, 2, 200, 70, 1400, 12),
    "one step": (1, 5, 40, 25, 300, 9),
    "fewer steps than the span": (4, 2, 30, 20, 300, 11),
    "no delay": (18, 3, 30, 20, 200, 0),
    "long delays": (40, 1, 8, 9, 60, 70_000),
    "long indices": (5, 2, 6, 70_000, 200, 3),
    "one": (1, 1, 1, 1, 1, 0),
    "multapses": (20, 2, 3, 2, 90, 5),
    "empty": (9, 2, 9, 5, 0, 4),
}
RATES = (0.0, 0.03, 0.4, 1.0)
TOLERANCE = {torch.float32: 4e-6, torch.float64: 1e-12}


def close(a, b):
    scale = max(float(b.abs().max()), 1.0) if b.numel() else 1.0
    return a.shape == b.shape and a.dtype == b.dtype and bool(((a - b).abs() <= TOLERANCE[b.dtype] * scale).all())


def made(name, rate, graded=False, dtype=torch.float32, seed=0):
    """Return spikes, weights and the rows of synapses."""
    torch.manual_seed(seed)
    steps, batch, n_in, n_out, count, span = CASES[name]
    line = (torch.rand(span + steps, batch, n_in) < rate).to(dtype)
    if graded:
        line = line * torch.randn_like(line)
    pre, post = torch.randint(n_in, (count,)), torch.randint(n_out, (count,))
    delay = torch.randint(span + 1, (count,))
    if count > 1:
        delay[:2] = torch.tensor([0, span])
    return line, torch.randn(count, dtype=dtype), delayed_rows(pre, post, delay, n_in, n_out, span)[0]


def plain(rows):
    return lambda line, weight: reference.multiply(line, weight, rows)


def ours(rows):
    return lambda line, weight: delayed_sparse(line, weight, rows)


def results(run, line, weight):
    """Return the output of `run` and both gradients."""
    leaves = [t.detach().clone().requires_grad_() for t in (line, weight)]
    out = run(*leaves)
    g = torch.linspace(-1, 2, out.numel(), dtype=torch.float64).to(out.dtype).view(out.shape)
    return [out.detach(), *torch.autograd.grad(out, leaves, g)]


def agree(found, expected):
    return all(close(a, b) for a, b in zip(found, expected, strict=True))


def summed_in_order(line, weight, rows):
    """Each spike at its delays, one after the other in order of step and neuron."""
    steps, batch, _ = line.shape
    out = weight.new_zeros(steps - rows.span, batch, rows.n_out)
    post, delay = rows.post.tolist(), rows.delay.tolist()
    for s, b, j in line.nonzero().tolist():
        for k in range(int(rows.starts[j]), int(rows.starts[j + 1])):
            t = s + delay[k] - rows.span
            if 0 <= t < len(out):
                out[t, b, post[k]] += weight[k]
    return out


@pytest.fixture(params=["by spike", "by spike with bounds", "together"])
def method(request, monkeypatch):
    """Compute the gradient of the weights by one of the methods, and currents with bounds or by search."""
    if "bounds" in request.param:
        monkeypatch.setitem(globals(), "delayed_rows", bounded_rows)
    with forced("dense" if request.param == "together" else "events"):
        yield


def bounded_rows(*arguments):
    """Return rows with bounds, also where these take more memory than the package would take."""
    rows, order = delayed_rows_of(*arguments)
    bounds = torch.zeros(rows.n_in * (rows.span + 1) + 1, dtype=torch.int32)
    key = rows.pre * (rows.span + 1) + rows.delay.long()
    bounds[1:] = torch.bincount(key, minlength=len(bounds) - 1).cumsum(0)
    return rows._replace(bounds=bounds), order


@pytest.mark.usefixtures("method")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_those_of_the_reference(name, dtype):
    for rate, graded in itertools.product(RATES if name != "long delays" else (0.001,), (False, True)):
        line, weight, rows = made(name, rate, graded, dtype)
        assert agree(results(ours(rows), line, weight), results(plain(rows), line, weight)), (rate, graded)


@pytest.mark.parametrize("name", ["plain", "fewer steps than the span", "one step", "multapses"])
def test_currents_have_the_bits_of_the_sum_in_order(name):
    line, weight, rows = made(name, 0.3)
    out = delayed_sparse(line, weight, rows)
    assert torch.equal(out, summed_in_order(line, weight, rows)) and out.any()


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("name", ["plain", "words", "no delay"])
def test_a_run_cut_anywhere_gives_the_same_bits(name, graded):
    line, weight, rows = made(name, 0.3, graded)
    whole = delayed_sparse(line, weight, rows)
    for cuts in ([len(whole)], [1] * len(whole), [5, 0, len(whole) - 5]):
        first, parts = 0, []
        for length in cuts:
            parts.append(delayed_sparse(line[first : first + rows.span + length], weight, rows))
            first += length
        assert torch.equal(torch.cat(parts), whole)


def test_gradcheck():
    line, weight, rows = made("plain", 0.3, True, torch.float64)
    line, weight = line[:12, :2], weight.requires_grad_()
    assert torch.autograd.gradcheck(lambda w: delayed_sparse(line, w, rows), (weight,))
    line = torch.randn(9, 2, 30, dtype=torch.float64).requires_grad_()  # nowhere 0: the check's step makes no spike
    assert torch.autograd.gradcheck(lambda line: delayed_sparse(line, weight, rows), (line,))


@pytest.mark.usefixtures("method")
@pytest.mark.parametrize("graded", [False, True])
def test_the_bits_do_not_depend_on_the_number_of_threads(graded):
    line, weight, rows = made("words", 0.2, graded)
    found = []
    for threads in (1, 2, 3, 7):
        with forced(threads=threads):
            found.append(results(ours(rows), line, weight))
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


@pytest.mark.usefixtures("method")
def test_memory_that_was_not_cleared_is_not_read(monkeypatch):
    line, weight, rows = made("words", 0.2, True)
    clean = results(ours(rows), line, weight)
    made_dirty = []
    monkeypatch.setattr(cpu.buffer_pool, "empty", dirty(made_dirty, cpu.buffer_pool.empty))
    monkeypatch.setattr(torch, "empty", dirty(made_dirty, torch.empty))
    assert all(map(torch.equal, results(ours(rows), line, weight), clean))
    assert len(made_dirty) >= 2


@pytest.mark.usefixtures("method")
@pytest.mark.parametrize("graded", [False, True])
def test_inputs_and_gradients_that_are_not_contiguous(graded):
    line, weight, rows = made("words", 0.2, graded)
    expected = results(ours(rows), line, weight)
    turned, thin = line.permute(2, 0, 1).contiguous().permute(1, 2, 0), torch.stack((weight, weight), -1)[:, 0]
    assert not turned.is_contiguous() and not thin.is_contiguous()
    leaves = turned.detach().requires_grad_(), thin.detach().requires_grad_()
    out = delayed_sparse(*leaves, rows)
    g = torch.linspace(-1, 2, out.numel(), dtype=torch.float64).float().view(out.shape)
    turned_g = g.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    assert all(map(torch.equal, (out, *torch.autograd.grad(out, leaves, turned_g)), expected))


@pytest.mark.usefixtures("method")
@pytest.mark.parametrize(("steps", "batch"), [(0, 3), (4, 0)])
def test_no_step_and_no_sample(steps, batch):
    _, weight, rows = made("plain", 0.3)
    out, g_line, g_weight = results(ours(rows), torch.zeros(rows.span + steps, batch, 30), weight)
    assert out.shape == (steps, batch, 20) and g_line.shape == (rows.span + steps, batch, 30)
    assert not g_line.any() and not g_weight.any()


@pytest.mark.parametrize("graded", [False, True])
def test_what_is_kept_is_a_bit_for_each_input(graded):
    line, weight, rows = made("words", 0.3, graded)
    weight.requires_grad_()
    with kept_for_backward() as kept:
        delayed_sparse(line, weight, rows)
    own = [t.data_ptr() for t in (weight, rows.starts, rows.post, rows.delay)]
    bits, *kept = (t for t in kept if t.data_ptr() not in own)
    assert bits.dtype is torch.int64 and bits.shape == (45 * 2, words(200))
    assert [t.data_ptr() for t in kept] == ([line.data_ptr()] if graded else [])


@pytest.mark.parametrize("graded", [False, True])
def test_direct_call_and_operator_agree(graded):
    line, weight, rows = made("words", 0.2, graded)
    direct = results(ours(rows), line, weight)
    with forced(operators=True):
        assert all(map(torch.equal, results(ours(rows), line, weight), direct))


@pytest.mark.parametrize("graded", [False, True])
def test_opcheck(graded):
    line, weight, rows = made("plain", 0.2, graded)
    call = Call(line, weight, *rows)
    outputs = run_delayed.forward(call)
    saved, grads = run_delayed.save(call, outputs), [torch.randn_like(outputs.out)]
    for needs in ([True, True], [False, True], [True, False]):
        torch.library.opcheck(run_delayed.backward_operator, (*saved, needs, grads))
    torch.library.opcheck(run_delayed.forward_operator, (line.requires_grad_(), weight.requires_grad_(), *rows))


def test_autocast_leaves_single_precision():
    line, weight, rows = made("plain", 0.3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = delayed_sparse(line, weight, rows)
    assert close(out, reference.multiply(line, weight, rows))


def test_a_gradient_of_a_gradient_is_refused():
    line, weight, rows = made("plain", 0.3)
    out = delayed_sparse(line, weight.requires_grad_(), rows)
    (once,) = torch.autograd.grad(out.sum(), weight, create_graph=True)
    with pytest.raises(InputError, match="no gradient of a gradient"):
        once.sum().backward()


@pytest.mark.parametrize(
    ("rate", "kernels"), [(0.02, ["by_spike", "weight_by_spike"]), (0.5, ["by_spike", "weight_together"])]
)
def test_the_rate_decides_how_the_weights_learn(rate, kernels, monkeypatch):
    line, weight, rows = made("words", rate)
    names: list[str] = []
    for name in ("by_spike", "together", "weight_by_spike", "weight_together"):
        monkeypatch.setattr(cpu, name, noting(names, name, getattr(cpu, name)))
    delayed_sparse(line, weight.requires_grad_(), rows).sum().backward()
    assert names == kernels


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["plain", "one step", "no delay", "multapses", "empty"])
def test_chunks_of_synapses_give_the_reference(name, dtype, monkeypatch):
    line, weight, rows = made(name, 0.5, True, torch.float64)
    expected = results(plain(rows), line, weight)
    for at_once in (1 << 24, 500):
        monkeypatch.setattr(sparse_chunked, "_AT_ONCE", at_once)
        found = results(lambda x, w: chunked.multiply(x, w, rows), line.to(dtype), weight.to(dtype))
        for a, b in zip(found, expected, strict=True):
            assert a.dtype is dtype and a.shape == b.shape
            scale = max(float(b.abs().max()), 1.0) if b.numel() else 1.0
            tolerance = {torch.float16: 4e-3, torch.float32: 1e-5, torch.float64: 1e-12}[dtype]
            assert ((a.double() - b).abs() <= tolerance * scale).all()


def test_bounds_are_where_each_delay_begins():
    _, _, rows = made("words", 0.0)
    assert rows.with_bounds().bounds is None  # 200 neurons with 13 delays and 1400 synapses
    few = DelayedRows(rows.starts, rows.post, (rows.delay.long() // 4).to(torch.uint16), rows.n_out, 3).with_bounds()
    assert few.bounds.dtype is torch.int32 and few.bounds.shape == (801,)
    for j in range(200):
        for d in range(4):
            first, last = few.bounds[4 * j + d : 4 * j + d + 2].tolist()
            assert (few.delay[first:last].long() == d).all() and (few.pre[first:last] == j).all()
    line, weight, _ = made("words", 0.3)
    expected = delayed_sparse(line[:20], weight, few._replace(bounds=None))
    assert torch.equal(delayed_sparse(line[:20], weight, few), expected)


def test_all_to_all_holds_each_pair_once():
    delay = torch.randint(6, (5, 7))
    rows, order = all_to_all(delay, 8)
    assert isinstance(rows, DelayedRows) and rows.span == 8 and rows.starts.tolist() == [*range(0, 36, 5)]
    assert torch.equal(delay.T.flatten()[order], rows.delay.long())
    assert torch.equal(order // 5, rows.pre) and torch.equal(order % 5, rows.post.long())
