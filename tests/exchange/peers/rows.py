"""What the tests of conversions share: inputs on a dyadic grid, step-wise runs, and the comparison."""

from __future__ import annotations

import torch
from torch import nn

import neurosim as ns

STEPS, BATCH, N = 400, 2, 32


def grid(
    n: int = N, low: int = -4, high: int = 9, steps: int = STEPS, dtype: torch.dtype = torch.float64
) -> torch.Tensor:
    """Return inputs in quarters: membranes stand exactly at thresholds all the time."""
    return torch.randint(low, high, (STEPS, BATCH, n)).to(dtype) / 4


def noise(n: int = N, scale: float = 1.0, shift: float = 0.3, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(STEPS, BATCH, n, dtype=dtype) * scale + shift


def dyadic(module: nn.Module, spread: int = 4) -> nn.Module:
    """Set all weights and biases to eighths."""
    with torch.no_grad():
        for value in module.parameters():
            if value.dim():
                value.copy_(torch.randint(-spread, 2 * spread, value.shape) / 8)
    return module


def same(net: ns.Network, x: torch.Tensor, theirs: torch.Tensor, at_least: int = 1000) -> None:
    """Check that no spike differs."""
    with torch.no_grad():
        z, _ = net(x)
    assert theirs.sum() > at_least and theirs.mean() < 0.95
    assert int((z != theirs).sum()) == 0


def close(net: ns.Network, x: torch.Tensor, theirs: torch.Tensor, allowed: int, at_least: int = 1000) -> None:
    """Check that at most `allowed` neurons part, each first where its membrane is within rounding of the threshold.

    The network is one population behind currents; after the first difference the two are different runs.
    """
    name = net.output
    with torch.no_grad():
        z, _, values, *_ = net.run(x, record=(f"{name}.u",))
    assert theirs.sum() > at_least
    off = z != theirs
    first = torch.where(off.any(0), off.int().argmax(0), -1)
    apart = (first >= 0).nonzero().tolist()
    assert len(apart) <= allowed, len(apart)
    threshold = torch.as_tensor(net.nodes[name].value("v_th"))
    for sample, neuron in apart:
        distance = values[f"{name}.u"][first[sample, neuron], sample, neuron] - threshold.expand(N)[neuron]
        assert abs(distance.item()) < 1e-5
