"""Between events (when, which neuron, which sample) and spikes on the grid [T, B, ...]."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from neurosim.datasets.checks import checked_whole
from neurosim.errors import InputError, ShapeError
from neurosim.units import check_dt

_BOUNDARY_SLACK = 1e-6


class Events(NamedTuple):
    """Spikes as a list.

    Attributes
    ----------
    time : numpy.ndarray
        float64 [n], s.
    neuron : numpy.ndarray
        int64 [n], position in the flattened shape of the neurons.
    batch : numpy.ndarray
        int64 [n], which sample.
    """

    time: np.ndarray
    neuron: np.ndarray
    batch: np.ndarray


def events_to_grid(
    time: ArrayLike,
    neuron: ArrayLike,
    batch: ArrayLike | None = None,
    *,
    dt: float,
    steps: int,
    shape: int | tuple[int, ...],
    batches: int = 1,
    counts: bool = False,
) -> Tensor:
    """Put events on the grid.

    Step k holds the times ``k dt <= t < (k + 1) dt``. A time that lies below a boundary by less than a millionth of a
    step, or by no more than its own floating point type can resolve, counts as on the boundary: 3 * 0.001 is in step 3.

    Parameters
    ----------
    time : array-like
        Floating point [n], s, in any order; each in ``0 <= t < steps * dt``.
    neuron : array-like
        Whole numbers [n], position in the flattened `shape`.
    batch : array-like, optional
        Whole numbers [n], which sample. None: all belong to sample 0.
    dt : float
        s, the time step.
    steps : int
        T.
    shape : int or tuple of int
        The neurons of one sample.
    batches : int
        B.
    counts : bool
        False: 0/1, and several events of one neuron in one step become one. True: their number.

    Returns
    -------
    torch.Tensor
        float32 [T, B, *shape].

    Raises
    ------
    InputError
        When a time, a neuron or a sample lies outside the grid, or times are not floating point.
    ShapeError
        When the lists differ in length.
    UnitError
        When `dt` is not in (0, 1) s.

    Examples
    --------
    >>> events_to_grid([0.0, 2e-3], [1, 0], dt=1e-3, steps=3, shape=2)[:, 0].tolist()
    [[0.0, 1.0], [0.0, 0.0], [1.0, 0.0]]
    """
    check_dt("events_to_grid", dt)
    steps, batches = checked_whole("steps", steps), checked_whole("batches", batches)
    shape = tuple(checked_whole("shape", size) for size in (shape if isinstance(shape, tuple) else (shape,)))
    when = np.asarray(time)
    which = _index("neuron", neuron, math.prod(shape))
    sample = _index("batch", np.zeros(which.shape, np.int64) if batch is None else batch, batches)
    if when.ndim != 1 or not when.shape == which.shape == sample.shape:
        raise ShapeError(
            f"time, neuron and batch have shapes {when.shape}, {which.shape} and {sample.shape}; "
            f"they must be lists of one length."
        )
    step = _step(when, dt, steps)
    cell = torch.from_numpy((step * batches + sample) * math.prod(shape) + which)
    grid = torch.zeros(steps * batches * math.prod(shape))
    grid.index_put_((cell,), torch.ones(()), accumulate=counts)
    return grid.reshape(steps, batches, *shape)


def grid_to_events(grid: Tensor, *, dt: float) -> Events:
    """List the spikes of a grid, in the order of step, sample, neuron.

    Parameters
    ----------
    grid : torch.Tensor
        [T, B, ...] of whole numbers not below 0; a cell with n spikes gives n events.
    dt : float
        s, the time step. A spike in step k gets the time ``k dt``, the beginning of its step.

    Returns
    -------
    Events

    Raises
    ------
    ShapeError
        When the grid has fewer than two axes.
    InputError
        When a cell does not hold a whole number from 0 on.
    UnitError
        When `dt` is not in (0, 1) s.

    Examples
    --------
    >>> grid_to_events(torch.tensor([[[0, 1]], [[0, 0]], [[1, 0]]]), dt=1e-3).time.tolist()
    [0.0, 0.002]
    """
    check_dt("grid_to_events", dt)
    if grid.ndim < 2:
        raise ShapeError(f"the grid has shape {tuple(grid.shape)}; it must be [T, B, ...].")
    flat = grid.detach().cpu().reshape(*grid.shape[:2], math.prod(grid.shape[2:]))
    step, sample, which = (index.numpy() for index in flat.nonzero(as_tuple=True))
    number = flat[step, sample, which].numpy()
    if not np.all((number > 0) & (number == np.floor(number)) & (number < 2**53)):
        bad = number[~((number > 0) & (number == np.floor(number)) & (number < 2**53))][0]
        raise InputError(f"the grid holds {bad}, but a cell holds a number of spikes: 0, 1, 2, ...")
    repeat = number.astype(np.int64)
    return Events(np.repeat(step * dt, repeat), np.repeat(which, repeat), np.repeat(sample, repeat))


def _step(time: np.ndarray, dt: float, steps: int) -> np.ndarray:
    if len(time) == 0:
        return np.zeros(0, np.int64)
    if time.dtype.kind != "f":
        raise InputError(f"times are {time.dtype}, but they are floating point seconds. Divide microseconds by 1e6.")
    position = np.nan_to_num(time.astype(np.float64) / dt, nan=-1.0, posinf=steps, neginf=-1.0)
    boundary = np.rint(position)
    slack = np.maximum(_BOUNDARY_SLACK, 2 * float(np.finfo(time.dtype).eps) * np.abs(position))
    step = np.where(boundary - position <= slack, np.maximum(boundary, np.floor(position)), np.floor(position))
    outside = (step < 0) | (step >= steps)
    if outside.any():
        first = int(np.flatnonzero(outside)[0])
        raise InputError(
            f"time[{first}] = {float(time[first]):g} s ({int(outside.sum())} of {len(time)} times are outside), but "
            f"{steps} steps of {dt:g} s hold 0 <= t < {steps * dt:g} s. Take more steps, drop or shift the events, or "
            f"convert: times are seconds, not milliseconds."
        )
    return step.astype(np.int64)


def _index(name: str, values: ArrayLike, below: int) -> np.ndarray:
    index = np.asarray(values)
    if index.size == 0:
        return index.astype(np.int64)
    if index.dtype.kind not in "iu":
        raise InputError(f"{name} is {index.dtype}, but it must hold whole numbers.")
    outside = (index < 0) | (index >= below)
    if outside.any():
        raise InputError(f"{name} holds {index[outside].flat[0]}, but it must lie in 0 to {below - 1}.")
    return index.astype(np.int64)
