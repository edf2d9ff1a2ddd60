"""The definition of the ELM neuron: its branches and its memory one step at a time, in torch's own operations."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn import functional

from neurosim.kernels.elm.arguments import Call, Weights


def recursion(
    inputs: Iterable[Tensor],
    branch: Tensor,
    memory: Tensor,
    *,
    kappa_s: Tensor | float,
    keep: Tensor,
    hidden: Callable[[Tensor, Tensor], Tensor],
    written: Callable[[Tensor, Tensor], Tensor],
) -> tuple[list[Tensor], Tensor]:
    """Run the neuron over time.

    Parameters
    ----------
    inputs : iterable of Tensor [B, N, branches]
        Input of the branches at each step.
    branch : Tensor [B, N, branches]
        Traces of the branches before the first step.
    memory : Tensor [B, N, d_m]
        Memory before the first step.
    kappa_s : Tensor or float
        Decay of the branches over a step.
    keep : Tensor [N, d_m]
        Decay of the memory over a step.
    hidden : callable
        From branches and decayed memory to the hidden units [B, N, d_mlp].
    written : callable
        From decayed memory and hidden units to the new memory.

    Returns
    -------
    memory : list of Tensor [B, N, d_m]
        After each step.
    branch : Tensor [B, N, branches]
        After the last step.
    """
    after = []
    for now in inputs:
        branch = kappa_s * branch + now
        decayed = keep * memory
        memory = written(decayed, hidden(branch, decayed))
        after.append(memory)
    return after, branch


def run(call: Call) -> tuple[Tensor, Tensor]:
    """Run the operation, whose branches are the traces of the hidden units; the fused kernel is compared with this.

    Returns
    -------
    output : Tensor [T, B, N, o]
    memory : Tensor [T, B, N, d]
        After each step, without padding.
    """
    weights = Weights(*call.weights)

    def hidden(trace: Tensor, decayed: Tensor) -> Tensor:
        total = _product(weights.inward, decayed) + trace + weights.offset
        return functional.silu(total) if call.smooth else torch.relu(total)

    def written(decayed: Tensor, hidden: Tensor) -> Tensor:
        change = torch.tanh(call.bend * (_product(weights.outward, hidden) + weights.middle))
        return decayed + weights.gain * change

    after, _ = recursion(
        call.drive, call.trace, call.start, kappa_s=call.kappa, keep=weights.keep, hidden=hidden, written=written
    )
    memory = torch.stack(after)
    return _product(weights.read, memory) + weights.shift, memory


def _product(weight: Tensor, x: Tensor) -> Tensor:
    """Return for each neuron its matrix [N, i, j] times its values [..., N, j]."""
    return torch.einsum("nij,...nj->...ni", weight, x)
