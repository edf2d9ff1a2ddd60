"""Read the Spiking Heidelberg Digits."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from neurosim.datasets.checks import checked_integer
from neurosim.datasets.labelled import Labelled
from neurosim.errors import InputError
from neurosim.files.untrusted_hdf5 import Group, opened
from neurosim.recording.events import Events
from neurosim.units import check_dt, steps_of

CLASSES = tuple(f"{language} {digit}" for language in ("en", "de") for digit in range(10))
_LONGEST = 100.0  # s


def read_shd(
    path: str | os.PathLike[str],
    *,
    dt: float = 10e-3,
    duration: float = 1.0,
    channels: int = 700,
    samples: Sequence[int] | None = None,
) -> Labelled:
    """Read the Spiking Heidelberg Digits, numbers of spikes on a grid; spikes after `duration` are omitted.

    Parameters
    ----------
    path : path-like
        ``shd_train.h5`` or ``shd_test.h5``: ``spikes/times``, ``spikes/units`` and ``labels``.
    dt : float
        s, length of a step.
    duration : float
        s.
    channels : int
        Channels of the cochlea there.
    samples : sequence of int, optional
        Which samples; all if left out.

    Returns
    -------
    Labelled
        `x` float32 [n, T, channels], `y` int64 of 20 labels: English 0 to 9, then German; timed.

    Raises
    ------
    FileError
        When the file is missing or not of this form: lists of unequal length, times that are negative or not finite,
        channels or labels out of range.
    InputError
        When an argument is out of range.
    UnitError
        When `duration` is no integer number of steps.

    References
    ----------
    Cramer, Stradmann, Schemmel, Zenke 2022, doi:10.1109/TNNLS.2020.3044364.
    """
    step = check_dt("read_shd", dt)
    if not step <= duration <= _LONGEST:
        raise InputError(
            f"read_shd: duration = {duration!r} s; from one step of {step:g} s to {_LONGEST:g} s is allowed."
        )
    steps = steps_of("read_shd", "duration", duration, step)
    checked_integer("channels", channels)
    with opened(path, what="Spiking Heidelberg Digits, shd_train.h5 or shd_test.h5,", lists=True) as file:
        labels, spikes = file.integers("labels", shape=(None,)), file.group("spikes")
        wrong = labels[(labels < 0) | (labels >= len(CLASSES))]
        if len(wrong):
            raise file.refusal("labels", f"holds {wrong[0]}, where 0 to {len(CLASSES) - 1} is allowed.")
        for name in ("times", "units"):
            if spikes.length(name) != len(labels):
                raise spikes.refusal(
                    name, f"holds {spikes.length(name)} samples, where there are {len(labels)} labels."
                )
        chosen = range(len(labels)) if samples is None else _checked_samples(samples, len(labels))
        x = torch.zeros(len(chosen), steps, channels)
        for row, number in enumerate(chosen):
            x[row] = _counts(spikes, number, step, steps, channels)
    y = torch.from_numpy(labels[list(chosen)])
    return Labelled(x, y, CLASSES, timed=True)


def _counts(spikes: Group, number: int, dt: float, steps: int, channels: int) -> Tensor:
    """Return the numbers of spikes of one sample [T, channels]."""
    time, unit = spikes.list("times", number).astype(np.float64), spikes.list("units", number)
    if len(time) != len(unit):
        raise spikes.refusal("times", f"has {len(time)} spikes in sample {number}, and units has {len(unit)}.")
    if not (np.isfinite(time).all() and (time >= 0).all()):
        raise spikes.refusal("times", f"of sample {number} holds a time that is negative, infinite or NaN.")
    if unit.dtype.kind not in "iu" or (len(unit) and not 0 <= unit.min() <= unit.max() < channels):
        raise spikes.refusal("units", f"of sample {number} holds something other than channels 0 to {channels - 1}.")
    inside = time < steps * dt
    events = Events(time=time[inside], neuron=unit[inside].astype(np.int64), duration=steps * dt, shape=channels)
    return events.binned(dt, steps).to_grid()[:, 0]


def _checked_samples(samples: Sequence[int], number: int) -> list[int]:
    chosen = [checked_integer("samples", each, least=0) for each in samples]
    if chosen and max(chosen) >= number:
        raise InputError(f"read_shd: samples holds {max(chosen)}; the file has the samples 0 to {number - 1}.")
    return chosen
