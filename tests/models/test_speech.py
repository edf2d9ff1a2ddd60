"""The recurrent adaptive network: its parts, its equations as a plain loop, refusals."""

from __future__ import annotations

import math

import pytest
import torch

from neurosim.errors import InputError, UnitError
from neurosim.models import adaptive_speech


def test_it_computes_a_plain_loop_of_its_equations() -> None:
    torch.manual_seed(0)
    net = adaptive_speech(6, 3, hidden=20).double()
    x = 2 * torch.rand(40, 4, 6).double()
    w_in, w_rec, w_out = (
        net.synapses[e][0].weight for e in ("input->alif1", "alif1->alif1", "alif1->leaky_integrator2")
    )
    with torch.no_grad():
        result = net.run(x, record=["alif1"])
        alpha, rho, kappa = (math.exp(-10e-3 / tau) for tau in (50e-3, 0.3, 0.2))
        v = z = a = torch.zeros(4, 20).double()
        out, spikes, outputs = torch.zeros(4, 3).double(), [], []
        for current in x:
            v = alpha * v + current @ w_in.T + z @ w_rec.T
            z = (v > 1 + 0.2 * a).double()
            v = v * (1 - z)
            a = rho * a + z
            out = kappa * out + (1 - kappa) * 20 * (z @ w_out.T)
            spikes.append(z)
            outputs.append(out)
    assert 0.01 < result.recorded["alif1"].mean() < 0.5
    assert torch.equal(result.recorded["alif1"], torch.stack(spikes))
    torch.testing.assert_close(result.out, torch.stack(outputs))


def test_sizes_and_gradients() -> None:
    torch.manual_seed(0)
    net = adaptive_speech(hidden=32)
    out, _ = net(2 * torch.rand(30, 3, 64))
    assert out.shape == (30, 3, 10)
    out.mean(0).logsumexp(1).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


@pytest.mark.parametrize(
    ("choices", "kind", "said"),
    [(dict(hidden=0), InputError, "an integer from 1"), (dict(dt=10), UnitError, "dt"), (dict(dt=0), UnitError, "dt")],
)
def test_wrong_sizes_and_steps_are_refused(choices, kind, said) -> None:
    with pytest.raises(kind, match=said):
        adaptive_speech(**choices)
