"""The definition of the ELM neuron: its branches and its memory one step at a time, in torch's own operations."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor


def run(
    inputs: Iterable[Tensor],
    branch: Tensor,
    memory: Tensor,
    *,
    kappa_s: Tensor | float,
    keep: Tensor,
    hidden: Callable[[Tensor], Tensor],
    written: Callable[[Tensor, Tensor], Tensor],
) -> tuple[list[Tensor], Tensor]:
    """Run the recursion; the fused kernel is compared with this.

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
        From branches and decayed memory [B, N, branches + d_m] to the hidden units.
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
        memory = written(decayed, hidden(torch.cat((branch, decayed), dim=2)))
        after.append(memory)
    return after, branch
