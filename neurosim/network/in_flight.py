"""Spikes in flight: the last outputs of a node, which the delayed edges from it read in later steps."""

from __future__ import annotations

import torch
from torch import Tensor

from neurosim.network.graph import Connection, NetworkState


def delayed(line: Tensor, z: Tensor | None, delay: int, steps: int) -> Tensor:
    """Return the output of a node from `delay` steps before the first step of `z`.

    Parameters
    ----------
    line : Tensor [D, B, ...]
        Output of the D steps before those of `z`, the oldest first.
    z : Tensor [T, B, ...], optional
        Not needed if the result ends before it begins.
    delay : int
        From 1 to D.
    steps : int
        Length of the result, at most ``delay + T``.

    Returns
    -------
    Tensor [steps, B, ...]
        A view of `line` if it ends before `z` begins and `z` has no graph. With a graph the result has one too: the
        parameters that made `z` then have a gradient of 0, not none.
    """
    rest = steps - delay
    if rest > 0:
        assert z is not None
        return torch.cat((line[-delay:], z[:rest]))
    part = line[-delay : rest or None]
    return part if z is None or not z.requires_grad else torch.cat((part, z[:0]))


def shifted(line: Tensor, z: Tensor) -> Tensor:
    """Return the last D outputs of a node, given the D before `z` and `z` [T, B, ...]; always a copy."""
    steps, kept = z.shape[0], line.shape[0]  # len() of a tensor is slower
    return torch.cat((line[steps:], z if steps <= kept else z[-kept:]))


def arriving(edge: Connection, z: Tensor, state: NetworkState | None) -> Tensor:
    """Return the spikes [T, B, ...] that leave the delay of an edge while its source sends `z` [T, B, ...].

    Parameters
    ----------
    edge : Connection
    z : Tensor [T, B, ...]
        Output of the source in the steps of a call.
    state : NetworkState, optional
        State before these steps; None is the initial state.
    """
    if not edge.delay_steps:
        return z
    line = z.new_zeros((edge.delay_steps, *z.shape[1:])) if state is None else state.in_flight[edge.source]
    return delayed(line, z, edge.delay_steps, len(z))
