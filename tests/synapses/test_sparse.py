"""Sparse synapses against the dense matrix of the same entries."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import neurosim as ns
from neurosim.errors import InputError, ShapeError


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 9), st.integers(1, 9), st.floats(0, 1), st.integers(0, 2**31))
def test_values_and_gradients_are_those_of_the_dense_matrix(n_in, n_out, density, seed):
    torch.manual_seed(seed)
    mask = torch.rand(n_out, n_in) < density
    synapse = ns.Sparse(n_in, n_out, mask.nonzero().T.contiguous())
    dense = torch.zeros(n_out, n_in)
    dense[mask] = synapse.weight.detach()  # entries stand row by row in both
    dense.requires_grad_()
    x = torch.randn(4, 3, n_in, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    out, wanted = synapse(x), y @ dense.T
    assert out.shape == (4, 3, *synapse.output_shape((n_in,)))
    torch.testing.assert_close(out, wanted)
    g = torch.randn_like(out)
    out.backward(g)
    wanted.backward(g)
    torch.testing.assert_close(x.grad, y.grad)
    torch.testing.assert_close(synapse.weight.grad, dense.grad[mask])


def test_weights_follow_their_connections_when_these_are_sorted():
    connections = torch.tensor([[1, 0, 1], [2, 1, 0]])
    synapse = ns.Sparse(3, 2, connections, torch.tensor([1.0, 2.0, 3.0]))
    assert synapse.connections.tolist() == [[0, 1, 1], [1, 0, 2]]
    assert synapse(torch.tensor([[[10.0, 100.0, 1000.0]]])).tolist() == [[[200.0, 1030.0]]]


def test_connections_travel_with_the_state_dict():
    one, other = (ns.Sparse.random(8, 8, 0.5, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    other.load_state_dict(one.state_dict())
    x = torch.randn(2, 2, 8)
    assert torch.equal(one(x), other(x))
    assert sorted(one.state_dict()) == ["connections", "weight"]


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
        (
            torch.tensor([[1, 0, 1], [2, 0, 2]]),
            None,
            InputError,
            "Sparse: connection 2 -> 1 is listed twice; add the two weights up.",
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
    assert repr(ns.Sparse(3, 2, torch.tensor([[1], [0]]))) == "Sparse(3, 2, 1 connections)"
