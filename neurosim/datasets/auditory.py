"""A cochlea model: a sound becomes spikes of channels that are tuned like places of the inner ear."""

from __future__ import annotations

import numpy as np

from neurosim.datasets.checks import checked_integer
from neurosim.errors import InputError, ShapeError
from neurosim.units import check_dt


def cochlea(
    sound: np.ndarray,
    rate: float,
    *,
    channels: int = 64,
    dt: float = 10e-3,
    low: float = 80.0,
    high: float | None = None,
    peak_rate: float = 150.0,
    depth: float = 40.0,
) -> np.ndarray:
    r"""Convert a sound to spikes of channels that are tuned like places of the inner ear.

    Each channel weights the spectrum with the magnitude of a gammatone filter of order 4,
    :math:`(1 + ((f - f_c) / b)^2)^{-2}` with :math:`b = 1.019\,\mathrm{ERB}(f_c)` and
    :math:`\mathrm{ERB}(f) = 24.7 (4.37 f / 1000 + 1)`; centres are equally spaced on the ERB scale. The
    filtered sound is rectified, averaged over a step and put on a logarithmic scale, on which the loudest step of the
    sound fires at `peak_rate` and a level `depth` below it not at all. A neuron that integrates this and fires at every
    integer gives the spikes. Nothing is random.

    Parameters
    ----------
    sound : numpy.ndarray
        [n], any scale.
    rate : float
        Hz, samples in a second.
    channels : int
        Number of filters.
    dt : float
        s, length of a step.
    low, high : float
        Hz, centres of the first and the last filter; `high` is 0.45 `rate` if left out.
    peak_rate : float
        Hz.
    depth : float
        dB.

    Returns
    -------
    numpy.ndarray
        Number of spikes, float32 [ceil(n / (rate dt)), channels].

    Raises
    ------
    ShapeError, InputError, UnitError
        For a sound that is not [n], and centres out of range.

    References
    ----------
    Patterson et al. 1992, "Complex sounds and auditory images"; Glasberg and Moore 1990,
    doi:10.1016/0378-5955(90)90170-T (ERB).

    Examples
    --------
    >>> import numpy as np
    >>> from neurosim.datasets import cochlea
    >>> tone = np.sin(2 * np.pi * 1000 * np.arange(1600) / 8000)
    >>> spikes = cochlea(tone, 8000, channels=32)
    >>> spikes.shape, int(spikes.sum(0).argmax())
    ((20, 32), 17)
    """
    if sound.ndim != 1 or not len(sound):
        raise ShapeError(f"cochlea: sound must be samples [n]; got shape {list(sound.shape)}.")
    step = check_dt("cochlea", dt)
    top = 0.45 * rate if high is None else high
    if not 0 < low < top <= rate / 2:
        raise InputError(f"cochlea: centres must lie in 0 < low < high <= rate / 2; got {low:g}, {top:g}, {rate:g} Hz.")
    centres = erb_centres(low, top, checked_integer("channels", channels))
    width = bandwidth(centres)
    frequency = np.fft.rfftfreq(len(sound), 1.0 / rate)
    weight = (1.0 + ((frequency - centres[:, None]) / width[:, None]) ** 2) ** -2
    passed = np.fft.irfft(np.fft.rfft(sound.astype(np.float64)) * weight, len(sound), axis=1)
    which = np.floor(np.arange(len(sound)) / (rate * step) + 1e-9).astype(np.int64)
    starts = np.flatnonzero(np.diff(which, prepend=-1))
    heard = np.add.reduceat(np.maximum(passed, 0.0), starts, axis=1) / np.diff(starts, append=len(sound))
    least = np.finfo(np.float64).tiny
    level = 20.0 * np.log10(np.maximum(heard, least) / max(heard.max(), least)) if heard.max() > least else -depth
    drive = peak_rate * step * np.clip(1.0 + level / depth, 0.0, 1.0) * np.ones_like(heard)
    total = np.floor(np.cumsum(drive, axis=1))
    spikes: np.ndarray = np.diff(total, axis=1, prepend=0.0).T.astype(np.float32)
    return spikes


def bandwidth(f: np.ndarray) -> np.ndarray:
    """Return the parameter b of a gammatone filter of order 4 with its centre at `f`, Hz: 1.019 ERB."""
    width: np.ndarray = 1.019 * 24.7 * (4.37e-3 * f + 1.0)
    return width


def erb_centres(low: float, high: float, number: int) -> np.ndarray:
    """Return centres of filters in Hz, equally spaced on the ERB scale of Glasberg and Moore 1990."""
    first, last = (21.4 * np.log10(1.0 + 4.37e-3 * f) for f in (low, high))
    places = np.linspace(first, last, number)
    centres: np.ndarray = (10.0 ** (places / 21.4) - 1.0) / 4.37e-3
    return centres
