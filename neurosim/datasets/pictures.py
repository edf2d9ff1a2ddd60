"""Pictures of samples of data sets, and short animations of events."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurosim.datasets.checks import checked_integer
from neurosim.datasets.events.columns import volume
from neurosim.datasets.events.container import MICROSECOND, SensorEvents
from neurosim.datasets.events.picture import Picture, of_pixels
from neurosim.datasets.events.sets import EventSet
from neurosim.errors import InputError, ShapeError
from neurosim.files.atomic import replaced

_WAVE = (200, 800)  # pixels of the picture of a sound
_SMALLEST = 200  # pixels of the longer side of a picture; smaller ones are enlarged


def sample_picture(sample: Any) -> Picture:
    """Return a picture of one sample.

    Parameters
    ----------
    sample : SensorEvents, Tensor or an object with `wave`
        Events are drawn by pixel, or by channel over time; a tensor [C, H, W] or [H, W] as an image, [T] as a wave, and
        [T, channels] as channels over time, the first channel at the bottom; a `Word` as its wave.

    Returns
    -------
    Picture
        At least 200 pixels long.

    Raises
    ------
    InputError, ShapeError
        For something else.
    """
    if isinstance(sample, SensorEvents):
        if sample.B != 1:
            raise InputError(f"sample_picture: {sample.B} samples; give events.samples(k).")
        return enlarged(sample.picture())
    values = np.asarray(getattr(sample, "wave", sample), dtype=np.float64)
    if values.ndim == 3 and values.shape[0] in (1, 2, 3):
        values = values.mean(axis=0)
    elif values.ndim == 2:
        values = values.T[::-1]
    if values.ndim not in (1, 2) or not values.size or not np.isfinite(values).all():
        raise ShapeError(f"sample_picture: a sample of shape {list(values.shape)} with finite values is needed.")
    return enlarged(_wave(values) if values.ndim == 1 else of_pixels(np.maximum(-values, 0), np.maximum(values, 0)))


def _wave(values: np.ndarray) -> Picture:
    height, width = _WAVE
    pieces = np.array_split(values, min(width, len(values)))
    low, high = (np.array([side(piece) for piece in pieces]) for side in (np.min, np.max))
    most = max(float(np.abs(values).max()), 1e-30)
    row = np.arange(height)[:, None]
    bottom, top = ((height - 1) / 2 * (1 - value / most) for value in (low, high))
    inked = (row >= np.floor(top)) & (row <= np.ceil(bottom))
    return of_pixels(np.zeros_like(inked, dtype=float), inked.astype(float))


def enlarged(picture: Picture) -> Picture:
    """Return the picture with each pixel repeated, so that its longer side has 200 at least."""
    times = -(-_SMALLEST // max(picture.pixels.shape[:2]))
    return Picture(picture.pixels.repeat(times, axis=0).repeat(times, axis=1)) if times > 1 else picture


def event_frames(events: SensorEvents, frames: int = 40) -> list[Picture]:
    """Return pictures of the events in equal spans of time, one after the other.

    Parameters
    ----------
    events : SensorEvents
        One sample of a sensor with rows and columns.
    frames : int
        Pictures, from 1 to 1000.

    Raises
    ------
    InputError
        For several samples, or channels in one line, which `SensorEvents.picture` shows over time.
    """
    if events.B != 1 or len(events.shape) < 2:
        raise InputError(
            f"event_frames: {events!r}; one sample of a sensor with rows and columns is needed. Channels in one line "
            "have a picture over time."
        )
    if checked_integer("frames", frames) > 1000:
        raise InputError(f"event_frames: frames = {frames}; 1000 are allowed.")
    polarities, height, width = volume(events.shape)
    span = (events.last - events.first) // frames + 1
    made = []
    for k in range(frames):
        start = events.first + k * span
        part = events.between(start * MICROSECOND, (start + span) * MICROSECOND)
        number = part.count().reshape(polarities, height, width)
        made.append(enlarged(of_pixels(number[0] if polarities == 2 else np.zeros_like(number[0]), number[-1])))
    return made


def write_gif(path: str | os.PathLike[str], pictures: Sequence[Picture], *, every: float = 0.1) -> None:
    """Write pictures of one size as an animation.

    Parameters
    ----------
    path : path-like
        A file ending in ``.gif``.
    pictures : sequence of Picture
        One or more.
    every : float
        s between two pictures, from 0.02.

    Raises
    ------
    InputError
        For pictures of several sizes or none, and another time.
    FileError
        When the file cannot be written.
    """
    from PIL import Image

    if len({picture.pixels.shape for picture in pictures}) != 1:
        raise InputError(f"write_gif: give pictures of one size; got {len(pictures)}.")
    if isinstance(every, bool) or not isinstance(every, (int, float)) or not 0.02 <= every <= 60:
        raise InputError(f"write_gif: every = {every!r} s; 0.02 to 60 is allowed.")
    first, *rest = (Image.fromarray(picture.pixels).quantize(64) for picture in pictures)
    buffer = io.BytesIO()
    first.save(buffer, "gif", save_all=True, append_images=rest, duration=round(1000 * every), loop=0)
    with replaced(path) as part:
        part.write_bytes(buffer.getvalue())


def write_picture(path: str | os.PathLike[str], sample: Any, *, frames: int = 40) -> None:
    """Write a picture of a sample (``.png``), or an animation of its events (``.gif``).

    Raises
    ------
    InputError, ShapeError
        For another ending, and as `sample_picture` and `event_frames`.
    FileError
        When the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".gif":
        if not isinstance(sample, SensorEvents):
            raise InputError(
                f"{path}: an animation shows events; this sample is {type(sample).__name__}. Write a .png."
            )
        write_gif(path, event_frames(sample, frames))
    elif suffix == ".png":
        content = sample_picture(sample).png()
        with replaced(path) as part:
            part.write_bytes(content)
    else:
        raise InputError(f"{path}: a picture ends in .png, and an animation of events in .gif.")


def sample_of(data: Any, index: int) -> tuple[Any, str]:
    """Return a sample of a part of a data set, and the name of its label, empty where it has none."""
    if hasattr(data, "codes") or not any(hasattr(data, name) for name in ("__getitem__", "x", "events")):
        raise InputError(f"{type(data).__name__} has no samples to show.")
    if not 0 <= index < len(data):
        raise InputError(f"sample = {index}, but there are 0 to {len(data) - 1}.")
    if isinstance(data, EventSet):
        return data.events.samples(index), data.classes[int(data.y[index])]
    if isinstance(data, tuple):
        return data[index], str(getattr(data[index], "digit", ""))
    if isinstance(getattr(data, "x", None), Tensor):
        x = data.x[index]
        return (x.flatten(1) if data.timed else x), data.classes[int(data.y[index])]
    sample, label = data[index]
    y = torch.as_tensor(label)
    return sample, "" if y.ndim or not data.classes else data.classes[int(y)]
