"""LIF with a decay per step, beside snnTorch's Leaky."""

from __future__ import annotations

import pytest
import torch

import neurosim as ns


def test_it_is_the_leaky_neuron_of_snntorch() -> None:
    """Without a reset, which acts a step late there: spikes, membrane, and the gradient of the decay."""
    snntorch = pytest.importorskip("snntorch")
    torch.manual_seed(0)
    x = torch.randn(60, 3, 7) * 0.6
    neuron = ns.Neuron(
        ns.cores.beta_lif, dt=1e-3, beta=0.9, v_th=1.0, reset=None, spike=ns.atan(slope=2.0), learn=("beta",)
    )
    spikes, state = neuron(x)
    peer = snntorch.Leaky(beta=0.9, threshold=1.0, reset_mechanism="none", learn_beta=True)
    v, found = torch.zeros(3, 7), []
    for now in x:
        z, v = peer(now, v)
        found.append(z)
    assert torch.equal(spikes, torch.stack(found)) and 0.1 < spikes.detach().mean() < 0.9
    assert torch.allclose(state.v, v, atol=1e-6)
    weights = torch.rand_like(spikes)
    (spikes * weights).sum().backward()
    (torch.stack(found) * weights).sum().backward()
    own = neuron.get_parameter("beta").grad
    assert own is not None and float(own) == pytest.approx(float(peer.beta.grad), rel=1e-4)
