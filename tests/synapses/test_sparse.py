"""Sparse synapses against the dense matrix of the same entries."""

from __future__ import annotations

import gc
import warnings
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import neurosim as ns
from neurosim.errors import InputError, KernelError, ShapeError
from neurosim.kernels.common import availability
from neurosim.kernels.delayed import chunked as delayed_chunked
from neurosim.kernels.sparse import chunked
from neurosim.kernels.sparse.rows import Rows
from neurosim.synapses import DelayedSparse


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 9), st.integers(1, 9), st.floats(0, 1), st.integers(0, 2**31))
def test_values_and_gradients_are_those_of_the_dense_matrix(n_in, n_out, density, seed):
    torch.manual_seed(seed)
    n = round(density * n_in * n_out)
    connections = torch.stack((torch.randint(n_out, (n,)), torch.randint(n_in, (n,))))  # with multapses
    synapse = ns.Sparse(n_in, n_out, connections)
    dense = synapse.dense().detach().requires_grad_()
    x = torch.randn(4, 3, n_in, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    out, wanted = synapse(x), y @ dense.T
    assert out.shape == (4, 3, *synapse.output_shape((n_in,)))
    torch.testing.assert_close(out, wanted)
    g = torch.randn_like(out)
    out.backward(g)
    wanted.backward(g)
    torch.testing.assert_close(x.grad, y.grad)
    torch.testing.assert_close(synapse.weight.grad, dense.grad[tuple(synapse.connections)])


def test_weights_follow_their_connections_when_these_are_sorted():
    connections = torch.tensor([[1, 0, 1], [2, 1, 0]])
    synapse = ns.Sparse(3, 2, connections, torch.tensor([1.0, 2.0, 3.0]))
    assert synapse.connections.tolist() == [[1, 0, 1], [0, 1, 2]] and synapse.weight.tolist() == [3.0, 2.0, 1.0]
    assert synapse(torch.tensor([[[10.0, 100.0, 1000.0]]])).tolist() == [[[200.0, 1030.0]]]


def several() -> ns.Sparse:
    """Two multapses beside each other, one autapse."""
    connections = torch.tensor([[1, 0, 1, 0, 1, 1], [2, 1, 2, 1, 1, 0]])
    return ns.Sparse(3, 2, connections, torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0, 32.0]))


def test_several_synapses_of_one_pair_each_count():
    synapse = several()
    assert synapse.connections.tolist() == [[1, 0, 0, 1, 1, 1], [0, 1, 1, 1, 2, 2]]
    assert synapse.weight.tolist() == [32.0, 2.0, 8.0, 16.0, 1.0, 4.0]  # of one pair in the order given
    assert synapse.multapses == 2
    x = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]])
    out = synapse(x)
    assert out.tolist() == [[[0.0, 32.0], [10.0, 16.0], [0.0, 5.0]]]
    (gradient,) = torch.autograd.grad(out[..., 0].sum() + 3 * out[..., 1].sum(), synapse.weight)
    assert gradient.tolist() == [3.0, 1.0, 1.0, 3.0, 3.0, 3.0]
    assert synapse.dense().tolist() == [[0.0, 10.0, 0.0], [32.0, 16.0, 5.0]]


def test_merged_synapses_are_one_for_each_pair_and_give_the_same_matrix():
    one = several().merged()
    assert one.connections.tolist() == [[1, 0, 1, 1], [0, 1, 1, 2]] and one.weight.tolist() == [32.0, 10.0, 16.0, 5.0]
    assert torch.equal(one.dense(), several().dense()) and one.multapses == 0
    empty = ns.Sparse(3, 2, torch.zeros(2, 0).long()).merged()
    assert empty.weight.shape == (0,) and not empty.dense().any()


def test_the_matrix_has_the_gradient_of_its_synapses():
    synapse = several()
    synapse.dense()[1].sum().backward()
    assert synapse.weight.grad.tolist() == [1.0, 0.0, 0.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize(("n_out", "most"), [(500, 6.1), (70_000, 8.1)])
def test_a_synapse_takes_six_to_eight_bytes(n_out, most):
    n = 100_000
    synapse = ns.Sparse(200, n_out, torch.stack((torch.randint(n_out, (n,)), torch.randint(200, (n,)))))
    held = [t for t in (*synapse.parameters(), *synapse.buffers())]
    assert synapse.nbytes == sum(t.untyped_storage().nbytes() for t in held)  # nothing larger is kept alive
    assert synapse.bytes_per_synapse == synapse.nbytes / n <= most
    stored = [t for t in vars(synapse).values() if isinstance(t, torch.Tensor)]
    assert not stored


def test_structure_and_weights_travel_with_the_state_dict():
    one, other = (ns.Sparse(8, 8, torch.randint(8, (2, 40))) for _ in range(2))
    x = torch.randn(2, 2, 8)
    assert not torch.equal(one.connections, other.connections)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(x), other(x)) and torch.equal(one.connections, other.connections)
    assert sorted(one.state_dict()) == ["post_bytes", "starts", "weight"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (dict(starts=torch.tensor([0, 4, 2, 3])), "starts must ascend from 0 to 3"),
        (dict(starts=torch.tensor([1, 1, 2, 3])), "starts must ascend from 0 to 3"),
        (dict(starts=torch.tensor([0, 1, 2, 2])), "starts must ascend from 0 to 3"),
        (dict(starts=torch.tensor([0.0, 1.0, 2.0, 3.0])), "starts must be int64 and post_bytes uint8"),
        (
            dict(post_bytes=torch.tensor([0, 0, 2, 0, 1, 0]).byte()),
            "post must be below 2; got 2",
        ),
        (dict(starts=torch.tensor([0, 3])), "size mismatch for one.starts"),
    ],
)
def test_a_state_dict_that_leads_outside_is_refused_before_it_is_copied(changed, said):
    synapse = ns.Sparse(3, 2, torch.tensor([[0, 1, 0], [0, 1, 2]]))
    before = {name: value.clone() for name, value in synapse.state_dict().items()}
    with pytest.raises(RuntimeError, match=said):
        nn.ModuleDict({"one": synapse}).load_state_dict({f"one.{k}": v for k, v in {**before, **changed}.items()})
    assert torch.equal(synapse.starts, before["starts"]) and torch.equal(synapse.post_bytes, before["post_bytes"])


def test_transforms_of_torch_func_run_the_definition():
    synapse, x = several(), torch.randn(5, 4, 3)
    stacked = torch.func.vmap(lambda one: synapse(one[None])[0])(x)
    torch.testing.assert_close(stacked, synapse(x))
    hessian = torch.func.hessian(lambda w: torch.func.functional_call(synapse, {"weight": w}, (x,)).square().sum())
    assert hessian(synapse.weight.detach()).shape == (6, 6)


def test_half_precision_needs_no_kernel():
    synapse, x = several().half(), torch.randn(2, 4, 3)
    torch.testing.assert_close(synapse(x.half()).float(), several()(x), rtol=1e-3, atol=5e-2)
    assert synapse(x.half()).dtype is torch.float16


def test_random_connects_each_pair_with_the_given_probability():
    synapse = ns.Sparse.random(200, 300, 0.1, generator=torch.Generator().manual_seed(0))
    deviation = (200 * 300 * 0.1 * 0.9) ** 0.5
    assert abs(synapse.weight.numel() - 6000) < 4 * deviation
    again = ns.Sparse.random(200, 300, 0.1, generator=torch.Generator().manual_seed(0))
    assert torch.equal(synapse.connections, again.connections)


@pytest.mark.parametrize(
    ("connections", "weight", "kind", "said"),
    [
        ([[0, 1], [1, 0]], None, ShapeError, "Sparse: connections must be a tensor [2, n] of int64; got list."),
        (
            torch.ones(3, 2).long(),
            None,
            ShapeError,
            "Sparse: connections must be [2, n] of int64; got [3, 2] of torch.int64.",
        ),
        (
            torch.ones(2, 2),
            None,
            ShapeError,
            "Sparse: connections must be [2, n] of int64; got [2, 2] of torch.float32.",
        ),
        (torch.tensor([[2], [0]]), None, InputError, "Sparse: post neuron 2 is outside 0..1."),
        (torch.tensor([[0], [-1]]), None, InputError, "Sparse: pre neuron -1 is outside 0..2."),
        (torch.tensor([[1], [0]]), torch.ones(2), ShapeError, "Sparse: weight must be [1]; got [2]."),
        (
            torch.tensor([[1], [0]]),
            torch.ones(1).long(),
            InputError,
            "Sparse: weight must be in floating point; got torch.int64. Use weight.float().",
        ),
    ],
)
def test_wrong_connections_are_refused(connections, weight, kind, said):
    with pytest.raises(kind) as caught:
        ns.Sparse(3, 2, connections, weight)
    assert str(caught.value) == said


@pytest.mark.parametrize("density", [0, -0.1, 1.5])
def test_a_wrong_density_is_refused(density):
    with pytest.raises(InputError) as caught:
        ns.Sparse.random(3, 2, density)
    assert str(caught.value) == f"Sparse: density must be in (0, 1]; got {density!r}."


def test_a_wrong_shape_is_refused():
    with pytest.raises(ShapeError, match=r"^Sparse: spikes must be \[T, B, 3\]; got \[T, B, 4\]\.$"):
        ns.Sparse.random(3, 2, 1.0)(torch.ones(1, 1, 4))


def test_it_says_what_it_is():
    assert repr(ns.Sparse(3, 2, torch.tensor([[1], [0]]))) == "Sparse(3, 2, 1 synapses)"


def test_distributed_training_sends_its_buffers(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    made: Any = None
    try:
        made = nn.parallel.DistributedDataParallel(several())
        made(torch.ones(2, 1, 3)).sum().backward()
        assert made.module.weight.grad.tolist() == [2.0] * 6
        narrow = several()
        narrow.register_buffer("post", narrow.rows.post)
        with pytest.raises(RuntimeError, match="Invalid scalar type"):  # why indices are kept as bytes
            nn.parallel.DistributedDataParallel(narrow)
    finally:
        # Before its process group: the last owner waits for threads which may need Python's lock, which it holds.
        made = None
        gc.collect()
        torch.distributed.destroy_process_group()


def test_one_neuron_and_one_neuron_can_be_joined():
    for density in (0.05, 1.0):
        synapse = ns.Sparse.random(1, 1, density, generator=torch.Generator().manual_seed(0))
        assert synapse.rows.post.numel() == synapse.weight.numel() <= 1
    assert synapse.weight.numel() == 1


@pytest.mark.parametrize("delayed", [False, True])
def test_a_device_without_a_kernel_is_warned_of_once_or_refused(delayed, monkeypatch):
    pairs, x = torch.tensor([[0, 1], [0, 2]]), torch.ones(2, 1, 3, device="meta")
    synapse = (DelayedSparse(3, 2, pairs, torch.tensor([1, 1]), dt=1e-3) if delayed else ns.Sparse(3, 2, pairs)).to(
        "meta"
    )
    monkeypatch.setattr(type(synapse), "min_delay", 1, raising=False)
    monkeypatch.setattr(chunked if not delayed else delayed_chunked, "multiply", lambda x, weight, rows: x)
    availability._warn.cache_clear()
    monkeypatch.setenv("NEUROSIM_REQUIRE_KERNELS", "0")
    with pytest.warns(RuntimeWarning, match=r"runs, slowly: sparse synapses.* have no kernel on 'meta' devices"):
        synapse(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        synapse(x)
    monkeypatch.setenv("NEUROSIM_REQUIRE_KERNELS", "1")
    with pytest.raises(KernelError, match=r"have no kernel on 'meta' devices\. Unset NEUROSIM_REQUIRE_KERNELS"):
        synapse(x)


@pytest.mark.parametrize(
    ("rows", "kind", "said"),
    [
        (([0, 1, 2], [0, 1], 2), ShapeError, "Sparse: rows must be of 3 to 2 neurons; got 2 to 2."),
        (([0, 1, 2, 2], [0, 2], 2), InputError, "Sparse: post must be below 2; got 2."),
        (([0, 1, 3, 2], [0, 1], 2), InputError, "Sparse: starts must ascend from 0 to 2."),
    ],
)
def test_rows_that_lead_outside_are_refused(rows, kind, said):
    starts, post, n_out = rows
    with pytest.raises(kind) as caught:
        ns.Sparse(3, 2, Rows(torch.tensor(starts), torch.tensor(post).to(torch.uint16), n_out))
    assert str(caught.value) == said
    with pytest.raises(InputError, match=r"post of the rows must be torch.uint16; got torch.int32"):
        ns.Sparse(3, 2, Rows(torch.tensor([0, 0, 0, 1]), torch.tensor([1]).int(), 2))
