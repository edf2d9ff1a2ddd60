"""Metrics of continual learning, from the accuracy on each task after each task."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neurosim.errors import InputError, ShapeError


def average_accuracy(matrix: Tensor | Sequence[Sequence[float]]) -> float:
    """Return ACC, the mean accuracy on all tasks after learning the last.

    Parameters
    ----------
    matrix : Tensor [K, K] or nested sequence
        Row i holds the accuracy on each task after learning task i; values right of the diagonal are not read.
    """
    return float(_accuracies(matrix)[-1].mean())


def backward_transfer(matrix: Tensor | Sequence[Sequence[float]]) -> float:
    """Return BWT, the mean change of the accuracy on each earlier task after learning it; below 0 is forgetting.

    Parameters
    ----------
    matrix : Tensor [K, K] or nested sequence
        As in `average_accuracy`, with K from 2.
    """
    accuracy = _accuracies(matrix)
    if len(accuracy) < 2:
        raise InputError("backward_transfer needs two tasks or more; got one.")
    return float((accuracy[-1] - accuracy.diagonal())[:-1].mean())


def _accuracies(matrix: Tensor | Sequence[Sequence[float]]) -> Tensor:
    accuracy = torch.as_tensor(matrix, dtype=torch.float64)
    if accuracy.dim() != 2 or not len(accuracy) or accuracy.shape[0] != accuracy.shape[1]:
        raise ShapeError(f"the accuracies must be a matrix [tasks, tasks]; got {list(accuracy.shape)}.")
    return accuracy
