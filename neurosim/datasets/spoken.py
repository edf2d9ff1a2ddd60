"""Spoken words: recordings from disk, a cochlea model that converts them to spikes, and recorded spikes of words."""

from __future__ import annotations

import io
import os
import re
import tarfile
import wave
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from neurosim.datasets.checks import checked_integer
from neurosim.datasets.labelled import Labelled
from neurosim.errors import FileError, InputError, ShapeError
from neurosim.files.untrusted_hdf5 import opened
from neurosim.recording.events import Events
from neurosim.units import check_dt

_NAME = re.compile(r"(\d)_([^_]+)_(\d+)\.wav")
DIGITS = tuple(map(str, range(10)))


class Word(NamedTuple):
    """A recording of a spoken digit.

    Attributes
    ----------
    wave : numpy.ndarray
        float32 [n] in [-1, 1].
    rate : float
        Samples in a second, Hz.
    digit : int
        The digit.
    speaker : str
        Name of the speaker.
    take : int
        Which of the speaker's recordings of the digit.
    """

    wave: np.ndarray
    rate: float
    digit: int
    speaker: str
    take: int


def read_words(path: str | os.PathLike[str]) -> list[Word]:
    """Read recordings of spoken digits called ``digit_speaker_take.wav``, as the Free Spoken Digit Dataset has them.

    In the dataset's own split takes 0 to 4 are the test part and the others the training part.

    Parameters
    ----------
    path : path-like
        A folder of 16-bit mono wav files, or a tar archive of them.

    Returns
    -------
    list of Word
        In the order of their names.

    Raises
    ------
    FileError
        When there is nothing of the kind, or a file cannot be read.

    References
    ----------
    Jackson et al., Free Spoken Digit Dataset, github.com/Jakobovski/free-spoken-digit-dataset, CC BY-SA 4.0.
    """
    found = []
    try:
        for name, content in sorted(_wav_files(Path(path))):
            known = _NAME.fullmatch(name)
            if known:
                samples, rate = _read_wav(name, content)
                found.append(Word(samples, rate, int(known[1]), known[2], int(known[3])))
    except (OSError, tarfile.TarError, EOFError) as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"cannot read {path}: {error}. Give the folder or the archive of the wav files.") from error
    if not found:
        raise FileError(f"{path} holds no recordings called digit_speaker_take.wav, such as 7_jackson_0.wav.")
    return found


def _wav_files(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        for file in path.glob("*.wav"):
            yield file.name, file.read_bytes()
        return
    with tarfile.open(path) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None:
                yield Path(member.name).name, content.read()


def _read_wav(name: str, content: bytes) -> tuple[np.ndarray, float]:
    try:
        with wave.open(io.BytesIO(content)) as sound:
            if (sound.getsampwidth(), sound.getnchannels()) != (2, 1):
                bits, channels = 8 * sound.getsampwidth(), sound.getnchannels()
                raise FileError(f"{name} has {channels} channel(s) of {bits} bits; only 16-bit mono is read.")
            raw, rate = sound.readframes(sound.getnframes()), sound.getframerate()
    except (wave.Error, EOFError) as error:
        raise FileError(f"{name} is not a wav file: {error}.") from error
    return np.frombuffer(raw, dtype="<i2").astype(np.float32) / 32768.0, float(rate)


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
    >>> from neurosim.datasets.spoken import cochlea
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
    centres = _erb_centres(low, top, checked_integer("channels", channels))
    width = 1.019 * 24.7 * (4.37e-3 * centres + 1.0)
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


def _erb_centres(low: float, high: float, number: int) -> np.ndarray:
    first, last = (21.4 * np.log10(1.0 + 4.37e-3 * f) for f in (low, high))
    places = np.linspace(first, last, number)
    centres: np.ndarray = (10.0 ** (places / 21.4) - 1.0) / 4.37e-3
    return centres


def heard(words: Iterable[Word], *, duration: float = 0.5, channels: int = 64, dt: float = 10e-3) -> Labelled:
    """Convert words to spikes of a `cochlea`, cut or padded with silence to one duration.

    Parameters
    ----------
    words : iterable of Word
        The recordings.
    duration : float
        s.
    channels, dt
        As in `cochlea`.

    Returns
    -------
    Labelled
        `x` float32 [n, T, channels] with numbers of spikes, `y` the digits; timed.

    Examples
    --------
    >>> import numpy as np
    >>> from neurosim.datasets.spoken import Word, heard
    >>> hum = np.sin(np.arange(2000, dtype=np.float32))
    >>> data = heard([Word(hum, 8000.0, 7, "nobody", 0)])
    >>> tuple(data.x.shape), data.y.tolist()
    ((1, 50, 64), [7])
    """
    steps = round(duration / check_dt("heard", dt))
    if steps < 1:
        raise InputError(f"heard: duration = {duration!r} s is less than a step of {dt:g} s.")
    digits, grids = [], []
    for word in words:
        spikes = cochlea(word.wave[: round(duration * word.rate)], word.rate, channels=channels, dt=dt)[:steps]
        grids.append(np.pad(spikes, ((0, steps - len(spikes)), (0, 0))))
        digits.append(word.digit)
    x = torch.from_numpy(np.stack(grids)) if grids else torch.zeros(0, steps, channels)
    return Labelled(x, torch.tensor(digits, dtype=torch.int64), DIGITS, timed=True)


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
        When the file is missing or not of this form.

    References
    ----------
    Cramer, Stradmann, Schemmel, Zenke 2022, doi:10.1109/TNNLS.2020.3044364.
    """
    steps = round(duration / check_dt("read_shd", dt))
    with opened(path, what="Spiking Heidelberg Digits, shd_train.h5 or shd_test.h5,", lists=True) as file:
        labels, spikes = file.integers("labels", shape=(None,)), file.group("spikes")
        chosen = range(len(labels)) if samples is None else samples
        x = torch.zeros(len(chosen), steps, channels)
        for row, number in enumerate(chosen):
            time, unit = spikes.list("times", number).astype(np.float64), spikes.list("units", number)
            inside = time < steps * dt
            events = Events(time=time[inside], neuron=unit[inside], duration=steps * dt, shape=channels)
            x[row] = events.binned(dt, steps).to_grid()[:, 0]
    y = torch.from_numpy(labels[list(chosen)])
    return Labelled(x, y, tuple(f"{language} {digit}" for language in ("en", "de") for digit in DIGITS), timed=True)
