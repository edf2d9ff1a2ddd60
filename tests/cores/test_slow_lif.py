"""The slow LIF neuron is the LIF neuron with a wider range of its time constant."""

from __future__ import annotations

import pytest
import torch

import neurosim as ns
from neurosim import cores
from neurosim.errors import UnitError


def test_it_is_lif_with_a_wider_range() -> None:
    slow, i = ns.layer(cores.slow_lif), 40 * torch.randn(400, 2, 5, dtype=torch.float64)
    for reset in ("value", "subtract", None):
        (z, state), (z_lif, state_lif) = (
            make(dt=1e-3, tau_mem=0.1, reset=reset)(i)
            for make in (slow, ns.LIF)  # type: ignore[operator]
        )
        assert torch.equal(z, z_lif) and torch.equal(state.v, state_lif.v) and z.any()
    assert slow(dt=1e-3, tau_mem=30.0)(i)[0].shape == i.shape
    with pytest.raises(UnitError, match="Did you pass milliseconds"):
        ns.LIF(dt=1e-3, tau_mem=30.0)
