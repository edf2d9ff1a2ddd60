"""Arguments and results of neurons with a recurrent edge, on every device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Call(NamedTuple):
    """Arguments of running neurons over time with a recurrent edge one step late: ``i_t = drive_t + W z_{t-1}``.

    Attributes
    ----------
    plan_key : str
        Key of the neurons' plan.
    drive : Tensor [T, B, N]
        Current from outside into the input port of the recurrent edge.
    weight : Tensor [H, n, n]
        One matrix for each head, a block of n neurons, ``H n = N``; a row belongs to a postsynaptic neuron.
    z0 : Tensor [B, N]
        Output before the first step.
    state : sequence of Tensor [B, N]
        State before the first step.
    coefficients : sequence of Tensor [B, N]
        Coefficients that differ per neuron, as the plan orders them.
    forward_numbers, backward_numbers : sequence of float
        Coefficients shared by all neurons, as the forward and the backward kernel of the plan take them.
    chunk : int
        Steps between two checkpoints of the state, from which the backward pass computes the values of each step again
        where that is possible (see `cpu_recomputed`); 0 stores the values of each step.
    others : sequence of Tensor [T, B, N]
        Currents into the other input ports, as the plan orders them.
    port : int
        Position of the port of the recurrent edge among the ports of the plan.
    """

    plan_key: str
    drive: Tensor
    weight: Tensor
    z0: Tensor
    state: Sequence[Tensor]
    coefficients: Sequence[Tensor]
    forward_numbers: Sequence[float]
    backward_numbers: Sequence[float]
    chunk: int = 0
    others: Sequence[Tensor] = ()
    port: int = 0


class Outputs(NamedTuple):
    """Results of a call.

    Attributes
    ----------
    out : Tensor [T, B, N]
    last : Tensor [B, N]
        Output of the last step.
    packed_bits : Tensor [T + 1, B, H, ceil(n / 64)] of int64
        Where the output before the first step and after each is not zero; without steps if the output is graded or not
        packed.
    state : sequence of Tensor [B, N]
        State after the last step.
    stored : sequence of Tensor [T, B, N]
        Values of each step that the plan stores.
    """

    out: Tensor
    last: Tensor
    packed_bits: Tensor
    state: Sequence[Tensor]
    stored: Sequence[Tensor]


class Saved(NamedTuple):
    """What the backward pass reads.

    Attributes
    ----------
    plan_key, weight, z0, coefficients, backward_numbers, port
        As in `Call`.
    sent : Tensor
        The packed bits of the outputs, or the outputs themselves if they are graded.
    stored : sequence of Tensor [T, B, N]
        Values of each step that the backward kernel of the plan reads.
    """

    plan_key: str
    weight: Tensor
    z0: Tensor
    sent: Tensor
    coefficients: Sequence[Tensor]
    backward_numbers: Sequence[float]
    stored: Sequence[Tensor]
    port: int = 0


def in_order(driven: Tensor, others: Sequence[Tensor], port: int) -> list[Tensor]:
    """Return one tensor for each port in the order of the plan, given that of the recurrent edge and the others."""
    return [*others[:port], driven, *others[port:]]


def driven_first(inputs: Sequence[Tensor], port: int) -> list[Tensor]:
    """Return the tensors of all ports with that of the recurrent edge first; undoes `in_order`."""
    return [inputs[port], *inputs[:port], *inputs[port + 1 :]]


def last_output(out: Tensor, z0: Tensor) -> Tensor:
    """Return the output of the last step as a tensor of its own; of no steps that before the first."""
    return (out[-1] if len(out) else z0).clone()


def all_outputs(z0: Tensor, out: Tensor) -> Tensor:
    """Return the output before the first step and after each: [T + 1, B, N]."""
    return torch.cat((z0[None].to(out.dtype), out))
