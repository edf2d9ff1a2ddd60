"""The sparse product as it is defined, in torch's operations, with all their derivatives."""

from __future__ import annotations

from torch import Tensor

from neurosim.kernels.sparse.rows import Rows


def multiply(x: Tensor, weight: Tensor, rows: Rows) -> Tensor:
    r"""Return the currents that spikes cause: :math:`i_r[o] = \sum_{k: post_k = o} w_k\, x_r[pre_k]`.

    Memory is that of a number for each synapse and row of `x`.

    Parameters
    ----------
    x : Tensor [R, n_in]
        Spikes or other input; R counts steps and samples.
    weight : Tensor [n]
        Weight of each synapse, in the order of `rows`.
    rows : Rows
        The synapses. Several of one pair of neurons each count.

    Returns
    -------
    Tensor [R, n_out]
    """
    shares = x.index_select(1, rows.pre) * weight
    return shares.new_zeros((x.shape[0], rows.n_out)).index_add(1, rows.post.long(), shares)
