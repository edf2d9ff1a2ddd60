"""Spoken words: recordings from disk, and their conversion to spikes by a cochlea model."""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from neurosim.datasets.auditory import cochlea
from neurosim.datasets.cards import Card, card
from neurosim.datasets.checks import checked_integer
from neurosim.datasets.labelled import Labelled
from neurosim.datasets.parts import Parts
from neurosim.datasets.places import ROOT
from neurosim.errors import FileError, InputError
from neurosim.files.archives import LARGEST, LIMIT, tar_members
from neurosim.files.atomic import replaced
from neurosim.files.paths import contents, output_folder, regular_file
from neurosim.files.wav import read_wav
from neurosim.units import check_dt

_NAME = re.compile(r"(\d)_([^_]+)_(\d+)\.wav")
DIGITS = tuple(map(str, range(10)))
_LAST_TEST, _LAST_VALIDATION = 4, 9  # takes
_CONVERSION = 1  # counted up when `cochlea` or `heard` gives other spikes


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


def spoken_digits(root: str | os.PathLike[str] | None = None) -> Parts[tuple[Word, ...]]:
    """Load the Free Spoken Digit Dataset by its own split: takes 0 to 4 of each speaker and digit are the test part.

    Parameters
    ----------
    root : path-like, optional
        A folder of wav files or a tar archive of them, or the data root, with ``fsdd/``, ``fsdd/recordings/`` or an
        archive there. Default: the environment variable ``NEUROSIM_DATA``.

    Returns
    -------
    Parts of tuples of Word
        "train" (2700), "test" (300); `heard` and `HairCells` turn words into spikes. `held_out` takes the takes 5 to 9,
        as many as are tested.

    Raises
    ------
    FileError
        As `read_words`.
    """
    return load_spoken_digits(card("spoken_digits"), root)


def load_spoken_digits(card: Card, root: str | os.PathLike[str] | None = None) -> Parts[tuple[Word, ...]]:
    """Load the recordings of a card by their names."""
    words = read_words(_recordings(card, root))
    train = tuple(word for word in words if word.take > _LAST_TEST)
    test = tuple(word for word in words if word.take <= _LAST_TEST)
    return Parts({"train": train, "test": test}, card, torch.tensor([word.take <= _LAST_VALIDATION for word in train]))


def _recordings(card: Card, root: str | os.PathLike[str] | None) -> Path:
    """Return the folder or archive of the recordings below a data root."""
    given = root if root is not None else os.environ.get(ROOT)
    if not given:
        raise FileError(
            f"no folder to read {card.name} from: give `root` or set the environment variable {ROOT}. "
            f"Get the recordings from {card.download} ({card.source})."
        )
    base = Path(given)
    if base.is_file():
        return base
    folders = [folder for name in card.folders for folder in (base / name, base / name / "recordings")]
    for folder in (*folders, base, base / "recordings"):
        if next(folder.glob("*_*_*.wav"), None) is not None:
            return folder
        archive = next(iter(sorted(folder.glob("fsdd*.tar*"))), None)
        if archive is not None:
            return archive
    raise FileError(
        f"no recordings such as 7_jackson_0.wav below {base}, nor an archive fsdd*.tar of them: looked in "
        f"{', '.join(map(str, folders))}. Get them from {card.download} ({card.source})."
    )


def _wav_files(path: Path, selects: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    if not path.is_dir():
        yield from tar_members(path, selects)
        return
    total = 0
    for file in path.glob("*.wav"):
        if selects(file.name):
            content = contents(file, limit=LARGEST)
            total += len(content)
            if total > LIMIT:
                raise FileError(f"the recordings in {path} are longer than {LIMIT:,} bytes. Give fewer.")
            yield file.name, content


def heard(
    words: Iterable[Word],
    *,
    duration: float = 0.5,
    channels: int = 64,
    dt: float = 10e-3,
    cache: str | os.PathLike[str] | None = None,
) -> Labelled:
    """Convert words to spikes of a `cochlea`, cut or padded with silence to one duration.

    Parameters
    ----------
    words : iterable of Word
        The recordings.
    duration : float
        s.
    channels, dt
        As in `cochlea`.
    cache : path-like, optional
        A folder: the spikes are written there, and read the next time the same words are converted with the same
        values. The file is named by a digest of both.

    Returns
    -------
    Labelled
        `x` float32 [n, T, channels] with numbers of spikes, `y` the digits; timed.

    Raises
    ------
    InputError, UnitError
        When `duration` is less than a step, and as `cochlea`.
    FileError
        When `cache` cannot be written.

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
    checked_integer("channels", channels)
    words = list(words)
    digits = torch.tensor([word.digit for word in words], dtype=torch.int64)
    file = None if cache is None else output_folder(cache) / f"heard_{_digest(words, steps, channels, dt)}.npz"
    x = None if file is None else _cached(file, (len(words), steps, channels))
    if x is None:
        x = np.zeros((len(words), steps, channels), np.float32)
        for row, word in enumerate(words):
            sound = word.wave[: round(duration * word.rate)]
            spikes = cochlea(sound, word.rate, channels=channels, dt=dt)[:steps]
            x[row, : len(spikes)] = spikes
        if file is not None:
            with replaced(file) as part, open(part, "wb") as stream:
                np.savez_compressed(stream, x=x)
    return Labelled(torch.from_numpy(x), digits, DIGITS, timed=True)


def _digest(words: Sequence[Word], steps: int, channels: int, dt: float) -> str:
    """Return a digest of all that the spikes depend on."""
    digest = hashlib.sha256(f"{_CONVERSION} {steps} {channels} {dt!r}".encode())
    for word in words:
        digest.update(f" {word.rate!r} {word.wave.dtype} {len(word.wave)} ".encode())
        digest.update(np.ascontiguousarray(word.wave).tobytes())
    return digest.hexdigest()[:32]


def _cached(file: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """Return the spikes in a file of the cache; None where it is missing or damaged."""
    if not file.is_file():
        return None
    try:
        with regular_file(file) as (stream, _), np.load(stream, allow_pickle=False) as content:
            x = content["x"]
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    return x if x.shape == shape and x.dtype == np.float32 else None
