"""Events as points of a cloud, with the time as third coordinate."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from neurosim.datasets.checks import checked_integer
from neurosim.datasets.events.columns import volume
from neurosim.datasets.events.container import SensorEvents
from neurosim.errors import InputError


def event_points(events: SensorEvents, points: int, *, seed: int = 0) -> Tensor:
    """Return events of each sample, drawn at random, as points (x, y, time) in [0, 1].

    Parameters
    ----------
    events : SensorEvents
        Samples of a sensor with rows and columns; the polarity is left out.
    points : int
        Events that are drawn of each sample: without repetition if there are enough.
    seed : int
        The same seed and number of the sample give the same points.

    Returns
    -------
    Tensor [B, points, 3]

    Raises
    ------
    InputError
        When a sample has no events.
    """
    number = checked_integer("points", points)
    _, height, width = volume(events.shape)
    found = np.empty((events.B, number, 3), np.float32)
    for sample in range(events.B):
        one = events.samples(sample)
        size = len(one)
        if not size:
            raise InputError(f"event_points: sample {sample} has no events, so that no point can be drawn.")
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(sample,)))
        rows = rng.choice(size, number, replace=size < number)
        time = (one.t[rows] - one.first) / max(one.last - one.first, 1)
        found[sample] = np.stack((one.x[rows] / max(width - 1, 1), one.y[rows] / max(height - 1, 1), time), 1)
    return torch.from_numpy(found)
