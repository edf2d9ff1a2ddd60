"""From the description of a weighted synapse back to a synapse of this package that computes it."""

from __future__ import annotations

import torch
from torch import nn

from neurosim.errors import InputError
from neurosim.synapses.conv import Conv1d, Conv2d
from neurosim.synapses.linear import Linear
from neurosim.synapses.lowering import Convolution, Dense, SparseRows, Weighted
from neurosim.synapses.rounded_delays import RoundedDelays
from neurosim.synapses.sparse import Sparse
from neurosim.synapses.synapse import Synapse

LARGEST_MATRIX = 2**27  # values of a matrix that connections are written out to


def synapse_of(value: Weighted, *, dt: float) -> Synapse:
    """Return a plain synapse that computes what `value` describes.

    Parameters
    ----------
    value : Dense, SparseRows or Convolution
        From a population of one axis to one of one axis, or a convolution.
    dt : float
        Length of a step, s, for delays.

    Returns
    -------
    Linear, Sparse, RoundedDelays, Conv1d or Conv2d
        With parameters of its own (buffers in `RoundedDelays`), in the precision of the weights. Connections with a
        bias become a `Linear`.

    Raises
    ------
    InputError
        For a current of several axes, delays between two steps, or connections with a bias between so many neurons
        that their matrix has more than 2^27 values.
    """
    if isinstance(value, Convolution):
        return _convolution(value)
    if value.out_shape is not None:
        raise InputError(
            f"no synapse of neurosim has connections onto a population of shape {list(value.out_shape)}; add Flatten "
            "and make the population after it one row of neurons."
        )
    if isinstance(value, SparseRows):
        if value.delay is not None:
            raise InputError("no synapse of neurosim has listed connections with delays of their own.")
        if value.bias is None:
            return Sparse(value.n_in, value.n_out, torch.stack((value.post, value.pre)), value.weight)
        if value.n_in * value.n_out > LARGEST_MATRIX:
            raise InputError(
                f"connections of {value.n_in} to {value.n_out} neurons with a bias would become a matrix of more than "
                "2^27 values; leave the bias out."
            )
        value = Dense(value.matrix(), value.bias)
    if value.delay is not None:
        if value.delay.is_floating_point():
            raise InputError("delays are not in whole steps; round them with DelayedLinear.rounded().")
        return RoundedDelays(value.weight, value.delay, value.bias, dt=dt)
    n_out, n_in = value.weight.shape
    linear = Linear(n_in, n_out, bias=value.bias is not None)
    return _filled(linear, value)


def _convolution(value: Convolution) -> Synapse:
    settings = dict(stride=value.stride, padding=value.padding, dilation=value.dilation)
    kind = Conv1d if len(value.kernel) == 1 else Conv2d
    made = kind(value.c_in, value.c_out, value.kernel, groups=value.groups, bias=value.bias is not None, **settings)
    return _filled(made, value)


def _filled(synapse: Linear | Conv1d | Conv2d, value: Dense | Convolution) -> Synapse:
    synapse.weight = nn.Parameter(value.weight.clone())
    synapse.bias = None if value.bias is None else nn.Parameter(value.bias.clone())
    return synapse
