"""Weights and biases that contain the batch normalisation behind them."""

from __future__ import annotations

from torch import Tensor, nn

from neurosim.errors import ShapeError
from neurosim.synapses.lowering import Dense
from neurosim.synapses.norm import norm_factors


def absorb_batch_norm(
    weight: Tensor, bias: Tensor | None, norm: nn.BatchNorm1d | nn.BatchNorm2d
) -> tuple[Tensor, Tensor]:
    """Return weights and bias of a layer equal to layer and batch normalisation together in eval mode.

    Computed in double precision and rounded once, to the precision of the weights.

    Parameters
    ----------
    weight : Tensor [out, ...]
    bias : Tensor [out], optional
    norm : BatchNorm1d or BatchNorm2d
        With running statistics of `out` channels.

    Raises
    ------
    InputError
        When the norm has no running statistics.
    ShapeError
        When it has another number of channels.
    """
    if norm.num_features != weight.shape[0]:
        raise ShapeError(f"absorb_batch_norm: weight {list(weight.shape)} does not fit {norm.num_features} features.")
    folded = Dense(weight.flatten(1), bias).times(*norm_factors(norm))
    assert folded.bias is not None  # `times` was given a constant
    return folded.weight.view_as(weight), folded.bias
