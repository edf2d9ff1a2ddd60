"""Spoken words: recordings from disk, and their conversion to spikes by a cochlea model."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from neurosim.datasets.auditory import cochlea
from neurosim.datasets.labelled import Labelled
from neurosim.errors import FileError, InputError
from neurosim.files.archives import LARGEST, LIMIT, tar_members
from neurosim.files.paths import contents
from neurosim.files.wav import read_wav
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
        When there is no such recording, a file cannot be read, is damaged or is longer than 64 MiB, or all together are
        longer than 1 GiB.

    References
    ----------
    Jackson et al., Free Spoken Digit Dataset, github.com/Jakobovski/free-spoken-digit-dataset, CC BY-SA 4.0.
    """

    def is_word(name: str) -> bool:
        return _NAME.fullmatch(name) is not None

    found = []
    for name, content in sorted(_wav_files(Path(path), is_word)):
        known = _NAME.fullmatch(name)
        assert known is not None  # by the selection
        samples, rate = read_wav(name, content)
        found.append(Word(samples, rate, int(known[1]), known[2], int(known[3])))
    if not found:
        raise FileError(f"{path} holds no recordings called digit_speaker_take.wav, such as 7_jackson_0.wav.")
    return found


def _wav_files(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    if not path.is_dir():
        yield from tar_members(path, wanted)
        return
    total = 0
    for file in path.glob("*.wav"):
        if wanted(file.name):
            content = contents(file, limit=LARGEST)
            total += len(content)
            if total > LIMIT:
                raise FileError(f"the recordings in {path} are longer than {LIMIT:,} bytes. Give fewer.")
            yield file.name, content


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
    >>> from neurosim.datasets import Word, heard
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
