"""Layers with delays, spikes, and the sum over spikes written out."""

from __future__ import annotations

from typing import Any

import torch

from neurosim.synapses import DelayedLinear

DT = 1e-3
D = 24  # steps, 25 taps


def layer(n_in: int, n_out: int, memory: int = D, seed: int = 0, **choices: Any) -> DelayedLinear:
    """A layer in double precision with its delays in range."""
    torch.manual_seed(seed)
    made = DelayedLinear(n_in, n_out, memory * DT, dt=DT, **choices).double()
    made.clamp_()
    return made


def spikes(steps: int, batch: int, n: int, share: float = 0.1, seed: int = 1) -> torch.Tensor:
    """Random spikes in double precision."""
    return (torch.rand(steps, batch, n, generator=torch.Generator().manual_seed(seed)) < share).double()


def written_out(x: torch.Tensor, weight: torch.Tensor, delay: torch.Tensor) -> torch.Tensor:
    """Each spike at its delays, one after the other in order of step and neuron."""
    steps, batch, _ = x.shape
    out = x.new_zeros(steps, batch, weight.shape[0])
    for s, b, j in x.nonzero().tolist():
        for o in range(weight.shape[0]):
            if s + delay[o, j] < steps:
                out[s + delay[o, j], b, o] += weight[o, j] * x[s, b, j]
    return out
