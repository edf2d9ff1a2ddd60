"""A picture of events: where they lie, or when."""

from __future__ import annotations

import io

import numpy as np

_BINS = 400  # columns of a picture of one line of channels
_OFF, _ON = np.array([0.85, 0.33, 0.1]), np.array([0.0, 0.45, 0.74])  # two colours that colour-blind readers part


class Picture:
    """A picture that a notebook shows.

    Attributes
    ----------
    pixels : numpy.ndarray
        uint8 [H, W, 3], red, green and blue.
    """

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels

    def __repr__(self) -> str:
        return f"<Picture {self.pixels.shape[1]} x {self.pixels.shape[0]} pixels>"

    def png(self) -> bytes:
        """Return the picture as a PNG file."""
        from matplotlib.image import imsave

        buffer = io.BytesIO()
        imsave(buffer, self.pixels, format="png")
        return buffer.getvalue()

    def _repr_png_(self) -> bytes:
        return self.png()


def of_pixels(off: np.ndarray, on: np.ndarray) -> Picture:
    """Return numbers of events [H, W] of two polarities as a picture: white without events, orange off, blue on."""
    total = off + on
    seen = total > 0
    if not seen.any():
        return Picture(np.full((*total.shape, 3), 255, np.uint8))
    most = np.quantile(total[seen], 0.99)
    depth = (np.minimum(total, most) / most)[..., None]
    share = (on / np.maximum(total, 1))[..., None]
    colour = share * _ON + (1 - share) * _OFF
    return Picture(np.round(255 * (1 - depth * (1 - colour))).astype(np.uint8))


def of_channels(t: np.ndarray, channel: np.ndarray, channels: int) -> Picture:
    """Return events as a picture of time from left to right, the first channel at the bottom."""
    first, last = (int(t[0]), int(t[-1])) if len(t) else (0, 0)
    column = ((t - first) / (last - first + 1) * _BINS).astype(np.int64)
    flat = np.bincount((channels - 1 - channel) * _BINS + column, minlength=channels * _BINS)
    number = flat.reshape(channels, _BINS)
    return of_pixels(np.zeros_like(number), number)
