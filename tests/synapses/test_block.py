"""Block-diagonal synapses against the dense matrix with zeros between the blocks."""

from __future__ import annotations

import pytest
import torch

import neurosim as ns
from neurosim.energy.fanout import fan_out
from neurosim.errors import InputError, ShapeError
from neurosim.synapses.block import BlockLinear


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("n_in", "n_out", "blocks"), [(6, 4, 2), (5, 5, 5), (7, 3, 1), (12, 24, 3)])
def test_it_is_a_dense_matrix_with_zeros_between_the_blocks(n_in, n_out, blocks, bias):
    synapse = BlockLinear(n_in, n_out, blocks, bias=bias).double()
    dense = ns.Linear(n_in, n_out, bias=bias).double()
    with torch.no_grad():
        dense.weight.copy_(torch.block_diag(*synapse.weight))
        if bias:
            dense.bias.copy_(synapse.bias)
    x = torch.randn(9, 4, n_in, dtype=torch.float64, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    out, wanted = synapse(x), dense(y)
    torch.testing.assert_close(out, wanted)
    g = torch.randn_like(out)
    out.backward(g)
    wanted.backward(g)
    torch.testing.assert_close(x.grad, y.grad)
    torch.testing.assert_close(torch.block_diag(*synapse.weight.grad), dense.weight.grad * (dense.weight != 0))
    if bias:
        torch.testing.assert_close(synapse.bias.grad, dense.bias.grad)


def test_shapes():
    synapse = BlockLinear(6, 4, 2)
    assert synapse.weight.shape == (2, 2, 3) and synapse.output_shape((6,)) == (4,)
    assert synapse(torch.ones(0, 3, 6)).shape == (0, 3, 4) and synapse(torch.ones(5, 0, 6)).shape == (5, 0, 4)
    assert repr(synapse) == "BlockLinear(6, 4, 2, bias=False)"


def test_weights_start_as_those_of_a_dense_layer_of_the_size_of_a_block():
    bound = BlockLinear(64, 64, 4).weight.abs().max().item()
    assert 0.9 * 16**-0.5 < bound <= 16**-0.5


def test_a_network_is_trained_through_it():
    net = ns.Sequential(ns.Linear(8, 6), ns.LIF(dt=1e-3, v_th=0.05), BlockLinear(6, 4, 2), ns.LI(dt=1e-3))
    net((torch.rand(20, 3, 8) < 0.5).float())[0].sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in net.parameters())


def test_its_fan_out_counts_the_synapses_that_exist():
    counted = fan_out(BlockLinear(6, 4, 2), (6,))
    assert counted.existing.flatten().tolist() == [2] * 6 and counted.weights == 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((6, 4, 3), "BlockLinear: n_out must be a multiple of blocks = 3; got 4."),
        ((5, 4, 2), "BlockLinear: n_in must be a multiple of blocks = 2; got 5."),
        ((6, 4, 0), "BlockLinear: blocks must be an integer from 1; got 0."),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(InputError) as error:
        BlockLinear(*arguments)
    assert str(error.value) == message


def test_spikes_of_a_wrong_shape_are_refused():
    with pytest.raises(ShapeError) as error:
        BlockLinear(6, 4, 2)(torch.ones(5, 3, 4))
    assert str(error.value) == "BlockLinear: spikes must be [T, B, 6]; got [T, B, 4]."
