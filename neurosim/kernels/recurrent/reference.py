"""The definition of a recurrent layer: one step at a time, with the output of the step before through a matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def run(
    neurons: Callable[[Tensor, Sequence[Tensor]], tuple[Tensor, Sequence[Tensor]]],
    drive: Tensor,
    weight: Tensor,
    z0: Tensor,
    state: Sequence[Tensor],
    *,
    through_time: bool = True,
) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """Run ``i_t = drive_t + W z_{t-1}`` and `neurons` on it; every fused kernel is compared with this.

    Parameters
    ----------
    neurons : callable
        Takes a current [1, B, N] and a state; returns the output [1, B, N] and the state after that step.
    drive : Tensor [T, B, N]
        Current from outside the loop.
    weight : Tensor [H, n, n]
        One matrix for each head, ``H n = N``; row = postsynaptic neuron.
    z0 : Tensor [B, N]
        Output before the first step.
    state : sequence of Tensor [B, N]
        Before the first step.
    through_time : bool
        Without it no gradient passes from a step to earlier ones, neither by the state nor by the loop.

    Returns
    -------
    out : Tensor [T, B, N]
    last : Tensor [B, N]
        The last output.
    state : tuple of Tensor [B, N]
        After the last step.
    """
    z, outputs = z0, []
    for i in drive:
        pre = z if through_time else z.detach()
        state = state if through_time else tuple(s.detach() for s in state)
        current = torch.einsum("bhj,hij->bhi", pre.unflatten(1, (len(weight), -1)), weight).flatten(1)
        out, state = neurons((i + current)[None], state)
        z = out[0]
        outputs.append(z)
    return torch.stack(outputs) if outputs else drive, z if through_time else z.detach(), tuple(state)
