"""Arguments and results of a linear layer with its neurons, on every device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from neurosim.kernels.neurons import arguments as neurons


class Call(NamedTuple):
    """Arguments of a linear layer with its neurons.

    Attributes
    ----------
    plan_key : str
        Key of the neurons' plan.
    x : Tensor [T, B, n]
        Spikes, or any other input; float32 or float64.
    weight : Tensor [N, n]
    bias : Tensor [N] or None
    state : sequence of Tensor [B, N]
        State before the first step.
    coefficients : sequence of Tensor [B, N]
        Coefficients that differ per neuron, as the plan orders them.
    forward_numbers, backward_numbers : sequence of float
        Coefficients shared by all neurons, as the forward and the backward kernel of the plan take them.
    chunk : int
        Steps between two checkpoints of the state, from which the backward pass computes the values of each step again;
        0 stores the values of each step.
    packed_bits : Tensor [T B, ceil(n / 64)] of int64 or None
        Bits of x, every value of which is then 0 or 1; None if they are not known.
    mask : Tensor [T B, ceil(n / 64)] of int64 or None
        Where the gradient of x is needed, a bit each; elsewhere it may be 0. None for everywhere.
    """

    plan_key: str
    x: Tensor
    weight: Tensor
    bias: Tensor | None
    state: Sequence[Tensor]
    coefficients: Sequence[Tensor]
    forward_numbers: Sequence[float]
    backward_numbers: Sequence[float]
    chunk: int = 0
    packed_bits: Tensor | None = None
    mask: Tensor | None = None


class Outputs(NamedTuple):
    """Results of a call; the last three are for the backward pass alone.

    Attributes
    ----------
    out : Tensor [T, B, N]
    packed_bits, mask : Tensor [T B, ceil(N / 64)] of int64
        Where the output is a spike, and where its surrogate is not zero (all bits set if that is not known). Without
        rows if the neurons send no spikes, or their surrogate is not zero anywhere.
    state : sequence of Tensor [B, N]
        State after the last step.
    stored : sequence of Tensor
        Values of each step [T, B, N] that the plan stores, or with chunks the states at the checkpoints [C, B, N].
    input_bits : Tensor [T B, ceil(n / 64)] of int64
        Where the input is not zero.
    is_binary : bool
        Whether the input is known to be 1 there.
    events : tuple of Tensor or None
        The events of the input, if they were listed; see ``bits.events``.
    """

    out: Tensor
    packed_bits: Tensor
    mask: Tensor
    state: Sequence[Tensor]
    stored: Sequence[Tensor]
    input_bits: Tensor
    is_binary: bool = False
    events: tuple[Tensor, Tensor] | None = None


class Saved(NamedTuple):
    """What the backward pass reads.

    Attributes
    ----------
    x : Tensor [T, B, n] or None
        The input; None if it is 1 wherever a bit of `input_bits` is set.
    input_bits : Tensor [T B, ceil(n / 64)] of int64
        Where the input is not zero.
    n_in : int
        n.
    stored : sequence of Tensor
        Values of each step [T, B, N] that the backward kernel of the plan reads, or with chunks the states at the
        checkpoints [C, B, N].
    events : sequence of Tensor
        The events of the input, if they are kept.
    plan_key, weight, bias, coefficients, forward_numbers, backward_numbers, chunk, mask
        As in `Call`.
    """

    plan_key: str
    x: Tensor | None
    input_bits: Tensor
    n_in: int
    mask: Tensor | None
    weight: Tensor
    bias: Tensor | None
    coefficients: Sequence[Tensor]
    forward_numbers: Sequence[float]
    backward_numbers: Sequence[float]
    chunk: int
    stored: Sequence[Tensor]
    events: Sequence[Tensor] = ()


def neurons_call(layer: Call | Saved, current: Tensor, state: Sequence[Tensor]) -> neurons.Call:
    """Return the call of the neurons of a layer with their `current` [t, B, N]."""
    return neurons.Call(layer.plan_key, [current], state, layer.coefficients, layer.forward_numbers, ())


def neurons_saved(layer: Saved, stored: Sequence[Tensor]) -> neurons.Saved:
    """Return what the backward pass of the neurons reads, `stored` being their values of each step."""
    return neurons.Saved(layer.plan_key, layer.coefficients, layer.backward_numbers, stored)


def chunks(steps: int, chunk: int) -> list[tuple[int, int]]:
    """Return where each chunk begins and ends."""
    return [(first, min(first + chunk, steps)) for first in range(0, steps, chunk)]
