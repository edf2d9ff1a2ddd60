"""From the output of a network to a class: by count, first spike, membrane or population vote.

Each takes an output [T, B, C] and, for samples of several lengths, a mask [B, T] of their valid steps. A class of -1
says that the sample has no spike, which decides for no class. Of classes that are equal the first one is given.
"""

from __future__ import annotations

import torch
from torch import Tensor

from neurosim.datasets.checks import checked_integer
from neurosim.errors import InputError, ShapeError


def class_by_count(spikes: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the class with the most spikes, int64 [B]; -1 without any spike.

    Examples
    --------
    >>> class_by_count(torch.tensor([[[0.0, 1.0], [0.0, 0.0]], [[0.0, 1.0], [0.0, 0.0]]]))
    tensor([ 1, -1])
    """
    number = _valid(spikes, mask, 0.0).sum(0, dtype=torch.float64)  # 16 bits do not count beyond 256
    return _decided(number.argmax(1), number)


def class_by_first_spike(spikes: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the class that spikes first, int64 [B]; -1 without any spike.

    Examples
    --------
    >>> class_by_first_spike(torch.tensor([[[0.0, 1.0]], [[1.0, 0.0]], [[1.0, 0.0]]]))
    tensor([1])
    """
    fired = _valid(spikes, mask, 0.0) != 0
    return _decided(fired.to(torch.int8).argmax(0).masked_fill(~fired.any(0), len(spikes)).argmin(1), fired.any(0))


def class_by_membrane(v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the class whose membrane reaches the highest value at a valid step, int64 [B]; -1 without such a step.

    Examples
    --------
    >>> class_by_membrane(torch.tensor([[[0.5, -1.0]], [[0.0, 0.75]]]))
    tensor([1])
    """
    highest = _valid(v, mask, -torch.inf).amax(0)
    return highest.argmax(1) if mask is None else highest.argmax(1).masked_fill(~mask.any(1), -1)


def class_by_vote(spikes: Tensor, classes: int, mask: Tensor | None = None) -> Tensor:
    """Return the class that most neurons vote for, int64 [B]; -1 without any spike.

    Neurons of a class lie side by side, ``N / classes`` of them. A neuron has as many votes as spikes.

    Examples
    --------
    >>> class_by_vote(torch.tensor([[[1.0, 0.0, 1.0, 1.0]], [[1.0, 0.0, 0.0, 1.0]]]), 2)
    tensor([1])
    """
    number = _valid(spikes, mask, 0.0).sum(0, dtype=torch.float64)  # 16 bits do not count beyond 256
    if number.shape[1] % checked_integer("classes", classes):
        raise InputError(f"class_by_vote: {number.shape[1]} neurons cannot be divided among {classes} classes.")
    votes = number.reshape(len(number), classes, -1).sum(2)
    return _decided(votes.argmax(1), votes)


def _valid(output: Tensor, mask: Tensor | None, fill: float) -> Tensor:
    """Return the output with `fill` at steps that are not valid."""
    if output.ndim != 3 or 0 in output.shape[::2]:
        raise ShapeError(f"the output has shape {list(output.shape)}; [T, B, C] with T and C from 1 is decoded.")
    if bool(output.isnan().any()):
        raise InputError("the output holds NaN, which belongs to no class.")
    if mask is None:
        return output
    if mask.dtype != torch.bool or mask.shape != (output.shape[1], output.shape[0]):
        raise ShapeError(f"mask is {mask.dtype} of shape {list(mask.shape)}; booleans [B, T] are expected.")
    return (output if output.is_floating_point() else output.double()).masked_fill(~mask.T[..., None], fill)


def _decided(chosen: Tensor, number: Tensor) -> Tensor:
    return chosen.masked_fill(~(number != 0).any(1), -1)
