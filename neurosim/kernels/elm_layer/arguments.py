"""Arguments and results of a recurrent layer of ELM neurons over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor


class Weights(NamedTuple):
    """Weights of N neurons with J branches of S synapses, h hidden units, d memory units and one output each.

    Attributes
    ----------
    synapse : Tensor [N, J, S]
    inward : Tensor [N, h, J + d]
        From the branches, and from the memory once decayed, to the hidden units.
    offset : Tensor [N, h]
    outward : Tensor [N, d, h]
        From the hidden units to the argument of the tanh, apart from a factor.
    middle : Tensor [N, d]
    keep, gain : Tensor [N, d]
        Decay of the memory over a step, and the factor of the tanh that is added to it.
    read : Tensor [N, d]
        From the memory after the step to the output.
    shift : Tensor [N]
    """

    synapse: Tensor
    inward: Tensor
    offset: Tensor
    outward: Tensor
    middle: Tensor
    keep: Tensor
    gain: Tensor
    read: Tensor
    shift: Tensor


class Start(NamedTuple):
    """State before the first step.

    Attributes
    ----------
    branch : Tensor [B, N, J]
    memory : Tensor [B, N, d]
    slow : Tensor [B, N]
        Low-pass of the output.
    activity : Tensor [B, N]
        Input of the recurrent connections in the first step.
    """

    branch: Tensor
    memory: Tensor
    slow: Tensor
    activity: Tensor


class Call(NamedTuple):
    r"""Arguments of a run over time.

    With :math:`z_t = [x_t; \mathrm{mask} \odot a_{t-1}]`,
    :math:`b_t = \kappa_s b_{t-1} + \sum_s w_s z_t[\mathrm{route}_s]` and :math:`d_t = \mathrm{keep}\, m_{t-1}`:

    .. math::
        m_t &= d_t + \mathrm{gain} \tanh(c (W_{out}\, \phi(W_{in} [b_t; d_t] + b_1) + b_2)) \\
        y_t &= w_y m_t + b_y, \quad r_t = \kappa_r r_{t-1} + (1 - \kappa_r) y_t, \quad a_t = \max(y_t - r_t, 0)

    Attributes
    ----------
    x : Tensor [T, B, n_in]
        T and B are 1 or more.
    start : sequence of Tensor
        Those of `Start`.
    weights : sequence of Tensor
        Those of `Weights`.
    mask : Tensor [B, N]
        Factor of the recurrent input.
    routes : Tensor [N, J, S] of int32
        The source of each synapse: an input, or a neuron after the inputs.
    kappa_s, kappa_r : float
        Decays of the branches and of the low-pass over a step.
    bend : float
        c.
    smooth : bool
        Whether :math:`\phi` is SiLU (else ReLU).
    trains : bool
        Whether the values that the backward pass reads are stored at each step.
    """

    x: Tensor
    start: Sequence[Tensor]
    weights: Sequence[Tensor]
    mask: Tensor
    routes: Tensor
    kappa_s: float
    kappa_r: float
    bend: float
    smooth: bool
    trains: bool = True


class Outputs(NamedTuple):
    """Results of a call; arrays with P have samples last, padded to full vectors.

    Attributes
    ----------
    activity : Tensor [T, B, N]
        a after each step.
    branch, memory, slow : Tensor
        State after the last step, as in `Start`.
    sources : Tensor [T + 1, n_in + N, P]
        z of each step.
    branches, values, hidden, slope, squashed : Tensor [T + 1 or T, N, J or d or h, P]
        Branches and memory before the first step and after each; hidden units, their derivative, and the tanh.
    """

    activity: Tensor
    branch: Tensor
    memory: Tensor
    slow: Tensor
    sources: Tensor
    branches: Tensor
    values: Tensor
    hidden: Tensor
    slope: Tensor
    squashed: Tensor


class Saved(NamedTuple):
    """What the backward pass reads; the fields are those of `Call` and `Outputs`."""

    activity: Tensor
    sources: Tensor
    branches: Tensor
    values: Tensor
    hidden: Tensor
    slope: Tensor
    squashed: Tensor
    weights: Sequence[Tensor]
    mask: Tensor
    routes: Tensor
    kappa_s: float
    kappa_r: float
    bend: float
    smooth: bool
