"""The weight's gradient of an all-to-all synapse, asked for by rules that find the current's gradient themselves."""

from __future__ import annotations

import pytest
import torch

import neurosim as ns

INPUTS = {
    "spikes": lambda x: (x > 1.5).to(x),
    "graded events": lambda x: x * (x > 1.5),
    "dense": lambda x: x,
    "silent": torch.zeros_like,
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", list(INPUTS))
def test_it_is_the_one_that_autograd_finds(kind, dtype):
    torch.manual_seed(0)
    synapse = ns.Linear(70, 9).to(dtype)
    x = INPUTS[kind](torch.randn(6, 4, 70, dtype=dtype).transpose(0, 1).contiguous().transpose(0, 1))
    g = torch.randn(6, 4, 9, dtype=dtype)
    (wanted,) = torch.autograd.grad(torch.nn.functional.linear(x, synapse.weight), synapse.weight, g)
    found = synapse.weight_gradient(x, g)
    assert found.shape == synapse.weight.shape and found.dtype == dtype
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_half_precision_is_left_to_torch():
    synapse = ns.Linear(5, 3).to(torch.bfloat16)
    x, g = torch.ones(2, 1, 5, dtype=torch.bfloat16), torch.ones(2, 1, 3, dtype=torch.bfloat16)
    assert torch.equal(synapse.weight_gradient(x, g), torch.full((3, 5), 2.0, dtype=torch.bfloat16))
