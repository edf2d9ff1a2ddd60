"""Arguments and results of the leaky memory of ELM neurons over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor


class Weights(NamedTuple):
    """Weights of N neurons with d memory units, h hidden units and o outputs each.

    Attributes
    ----------
    inward : Tensor [N, h, d]
        From the memory, once decayed, to the hidden units.
    offset : Tensor [N, h]
    outward : Tensor [N, d, h]
        From the hidden units to the argument of the tanh, apart from a factor.
    middle : Tensor [N, d]
    keep, gain : Tensor [N, d]
        Decay of the memory over a step, and the factor of the tanh that is added to it.
    read : Tensor [N, o, d]
        From the memory after the step to the outputs.
    shift : Tensor [N, o]
    """

    inward: Tensor
    offset: Tensor
    outward: Tensor
    middle: Tensor
    keep: Tensor
    gain: Tensor
    read: Tensor
    shift: Tensor


class Call(NamedTuple):
    r"""Arguments of a run over time.

    .. math::
        f_t &= \kappa f_{t-1} + \mathrm{drive}_t \\
        d_t &= \mathrm{keep}\, m_{t-1} \\
        m_t &= d_t + \mathrm{gain} \tanh(s (W_{out}\, \phi(f_t + W_{in} d_t + b_1) + b_2)) \\
        y_t &= W_y m_t + b_y

    Attributes
    ----------
    drive : Tensor [T, B, N, h']
        Input of the hidden units at each step; T and B are 1 or more. h' is h padded with zeros to full vectors of the
        kernel (`cpu.padded_size`), and so is d'. The reference needs no padding.
    trace : Tensor [B, N, h']
        f before the first step.
    start : Tensor [B, N, d']
        m before the first step.
    weights : sequence of Tensor
        Those of `Weights`, not padded.
    kappa : float
        Decay of the trace over a step.
    bend : float
        s.
    smooth : bool
        Whether :math:`\phi` is SiLU (else ReLU).
    trains : bool
        Whether the values that the backward pass reads are stored at each step.
    """

    drive: Tensor
    trace: Tensor
    start: Tensor
    weights: Sequence[Tensor]
    kappa: float
    bend: float
    smooth: bool
    trains: bool = True


class Outputs(NamedTuple):
    """Results of a call; those after the memory are for the backward pass alone.

    Attributes
    ----------
    output : Tensor [T, B, N, o]
        y after each step.
    last : Tensor [B, N, d']
        m after the last step.
    memory : Tensor [T, B, N, d']
        m after each step, without gradient.
    values : Tensor [T + 1, B, N, d']
        m before the first step and after each.
    hidden, slope, squashed : Tensor
        Hidden units, their derivative, and the tanh, at each step if they were stored.
    """

    output: Tensor
    last: Tensor
    memory: Tensor
    values: Tensor
    hidden: Tensor
    slope: Tensor
    squashed: Tensor


class Saved(NamedTuple):
    """What the backward pass reads; the fields are those of `Call` and `Outputs`."""

    values: Tensor
    hidden: Tensor
    slope: Tensor
    squashed: Tensor
    weights: Sequence[Tensor]
    kappa: float
    bend: float
    smooth: bool
