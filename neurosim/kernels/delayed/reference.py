"""The sparse product with delays as it is defined, in torch's operations, with all their derivatives."""

from __future__ import annotations

import torch
from torch import Tensor

from neurosim.kernels.delayed.rows import DelayedRows


def multiply(line: Tensor, weight: Tensor, rows: DelayedRows) -> Tensor:
    r"""Return the currents that spikes cause after the delay of each synapse.

    .. math:: i_t[o] = \sum_{k: post_k = o} w_k\, x_{t + D - d_k}[pre_k]

    with D the span and the spikes :math:`x` counted from D steps before the first current. Memory is that of a number
    for each synapse, step and sample.

    Parameters
    ----------
    line : Tensor [span + T, B, n_in]
        Spikes or other input: those of `span` steps before the first current, and those of the T steps of currents.
    weight : Tensor [n]
        Weight of each synapse, in the order of `rows`.
    rows : DelayedRows
        The synapses. Several of one pair of neurons each count.

    Returns
    -------
    Tensor [T, B, n_out]
    """
    steps = torch.arange(rows.span, line.shape[0], device=line.device)[:, None] - rows.delay.long()
    shares = line[steps, :, rows.pre] * weight[:, None]  # [T, n, B]
    currents = shares.new_zeros((len(steps), rows.n_out, line.shape[1])).index_add(1, rows.post.long(), shares)
    return currents.transpose(1, 2)
