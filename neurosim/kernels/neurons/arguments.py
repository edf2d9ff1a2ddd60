"""Arguments and results of running neurons over time, on every device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor


class Call(NamedTuple):
    """Arguments of running neurons over time.

    Attributes
    ----------
    plan_key : str
        Key of the neurons' plan.
    inputs : sequence of Tensor [T, ...]
        The current of each input port, as the plan orders them.
    state : sequence of Tensor [...]
        State before the first step.
    coefficients : sequence of Tensor [...]
        Coefficients that differ per neuron, as the plan orders them.
    forward_numbers, backward_numbers : sequence of float
        Coefficients shared by all neurons, as the forward and the backward kernel of the plan take them.
    """

    plan_key: str
    inputs: Sequence[Tensor]
    state: Sequence[Tensor]
    coefficients: Sequence[Tensor]
    forward_numbers: Sequence[float]
    backward_numbers: Sequence[float]


class Outputs(NamedTuple):
    """Results of a call.

    Attributes
    ----------
    out : Tensor [T, ...]
    state : sequence of Tensor [...]
        State after the last step.
    stored : sequence of Tensor [T, ...]
        Values of each step that the plan stores.
    """

    out: Tensor
    state: Sequence[Tensor]
    stored: Sequence[Tensor]


class Gradients(NamedTuple):
    """Gradients of inputs [T, ...], initial states [...] and coefficients [...]."""

    inputs: Sequence[Tensor]
    state: Sequence[Tensor]
    coefficients: Sequence[Tensor]


class Saved(NamedTuple):
    """What the backward pass reads.

    Attributes
    ----------
    plan_key, coefficients, backward_numbers
        As in `Call`.
    stored : sequence of Tensor [T, ...]
        Values of each step that the backward kernel of the plan reads.
    """

    plan_key: str
    coefficients: Sequence[Tensor]
    backward_numbers: Sequence[float]
    stored: Sequence[Tensor]
