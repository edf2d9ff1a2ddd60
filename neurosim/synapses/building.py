"""From the description of a synapse back to synapses of this package that compute it."""

from __future__ import annotations

import torch
from torch import nn

from neurosim.errors import InputError
from neurosim.synapses.conv import Conv1d, Conv2d
from neurosim.synapses.delayed_sparse import DelayedSparse
from neurosim.synapses.linear import Linear
from neurosim.synapses.lowering import (
    Convolution,
    Dense,
    Described,
    Pooling,
    Reshape,
    Scaling,
    SparseRows,
)
from neurosim.synapses.pool import AvgPool2d, Flatten, MaxPool2d, SumPool2d
from neurosim.synapses.rounded_delays import RoundedDelays
from neurosim.synapses.scale import Identity, Scale
from neurosim.synapses.shift import Shift
from neurosim.synapses.sparse import Sparse
from neurosim.synapses.synapse import Synapse
from neurosim.synapses.unflatten import Unflatten

LARGEST_MATRIX = 2**27  # values of a matrix that listed connections are expanded to


def synapses_of(value: Described, shape: tuple[int, ...], *, dt: float) -> list[Synapse]:
    """Return plain synapses that compute, one after the other, what `value` describes.

    Parameters
    ----------
    value : Dense, SparseRows, Convolution, Pooling, Scaling, Reshape or Shifted
    shape : tuple of int
        Of one step's input.
    dt : float
        Length of a step, s, for delays.

    Returns
    -------
    list of Synapse
        With parameters of their own (buffers in `RoundedDelays`), in the precision of the weights: one synapse, behind
        a `Flatten` where a matrix reads an image. Listed connections with a bias become a `Linear`.

    Raises
    ------
    InputError
        For a current of several axes from a matrix, delays between two steps, listed connections with a bias and with
        delays, or with a bias and a matrix of more than 2^27 values.
    """
    if isinstance(value, (Dense, SparseRows)):
        flatten: list[Synapse] = [Flatten()] if len(shape) > 1 else []
        return [*flatten, _matrix(value, dt)]
    if isinstance(value, Convolution):
        return [_convolution(value)]
    if isinstance(value, Pooling):
        (height, width), (down, right) = value.kernel, value.stride
        pool = SumPool2d if value.kind == "sum" else AvgPool2d if value.kind == "mean" else MaxPool2d
        return [pool((height, width), stride=(down, right))]
    if isinstance(value, Scaling):
        if value.is_identity:
            return [Identity()]
        weight = value.weight if value.weight.dim() == 0 else value.weight.expand(shape)
        return [Scale(weight, None if value.bias is None else value.bias.expand(shape))]
    if isinstance(value, Reshape):
        return [Flatten() if len(value.shape) == 1 else Unflatten(value.shape)]
    return [Shift(value.exponent)]


def _matrix(value: Dense | SparseRows, dt: float) -> Synapse:
    if value.out_shape is not None:
        raise InputError(
            f"no synapse of neurosim has connections onto a population of shape {list(value.out_shape)}; make the "
            "population one row of neurons."
        )
    if isinstance(value, SparseRows):
        if value.delay is not None and value.delay.is_floating_point():
            raise InputError("delays are not integer numbers of steps; round them.")
        if value.delay is not None and value.bias is not None:
            raise InputError("listed connections with delays have no bias; give the constant current its own edge.")
        if value.delay is not None:
            pairs = torch.stack((value.post, value.pre))
            return DelayedSparse(value.n_in, value.n_out, pairs, value.delay, value.weight, dt=dt)
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
    return _filled(Linear(n_in, n_out, bias=value.bias is not None), value)


def _convolution(value: Convolution) -> Synapse:
    settings = dict(stride=value.stride, padding=value.padding, dilation=value.dilation)
    kind = Conv1d if len(value.kernel) == 1 else Conv2d
    conv = kind(value.c_in, value.c_out, value.kernel, groups=value.groups, bias=value.bias is not None, **settings)
    return _filled(conv, value)


def _filled(synapse: Linear | Conv1d | Conv2d, value: Dense | Convolution) -> Synapse:
    synapse.weight = nn.Parameter(value.weight.clone())
    synapse.bias = None if value.bias is None else nn.Parameter(value.bias.clone())
    return synapse
