"""Text as integers: the characters of a file, and parallel streams of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from neurosim.datasets.checks import checked_integer
from neurosim.errors import FileError, InputError
from neurosim.files.paths import contents

LARGEST = 2**30  # bytes of a text


class Text(NamedTuple):
    """Characters as integers.

    Attributes
    ----------
    codes : Tensor [n] of int64
        Index of each character in the alphabet.
    alphabet : str
        Every character that occurs, sorted.
    """

    codes: Tensor
    alphabet: str

    @classmethod
    def of(cls, text: str) -> Text:
        """Return the characters of `text`, with their alphabet."""
        alphabet = "".join(sorted(set(text)))
        place = {character: number for number, character in enumerate(alphabet)}
        return cls(torch.tensor([place[character] for character in text], dtype=torch.int64), alphabet)

    def split(self, share: float) -> tuple[Text, Text]:
        """Return the first `share` of the text and the rest, in the same alphabet."""
        if not 0 < share < 1:
            raise InputError(f"Text.split: share must lie between 0 and 1; got {share!r}.")
        cut = round(share * len(self.codes))
        return Text(self.codes[:cut], self.alphabet), Text(self.codes[cut:], self.alphabet)

    def windows(self, batch: int, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Read the text at `batch` places at once, window after window.

        Sample b of a window continues where sample b of the window before ended, so that a network may carry its state
        from one to the next. Characters at the end of a stream that do not fill a window are omitted.

        Parameters
        ----------
        batch, steps : int
            Parallel streams, and characters of each in a window.

        Yields
        ------
        x, y : Tensor [steps, batch] of int64
            Characters, and for each the one that follows it.

        Examples
        --------
        >>> x, y = next(Text.of("abcdefghi").windows(batch=2, steps=3))
        >>> x.T.tolist(), y.T.tolist()
        ([[0, 1, 2], [4, 5, 6]], [[1, 2, 3], [5, 6, 7]])
        """
        checked_integer("batch", batch)
        checked_integer("steps", steps)
        length = (len(self.codes) - 1) // batch
        if length < steps:
            raise InputError(
                f"Text.windows: {len(self.codes)} characters give {batch} streams of {length}, less than a window of "
                f"{steps}; take fewer streams or shorter windows."
            )
        x = self.codes[: batch * length].view(batch, length).T
        y = self.codes[1 : batch * length + 1].view(batch, length).T
        for start in range(0, length - steps + 1, steps):
            yield x[start : start + steps], y[start : start + steps]


def read_text(path: str | os.PathLike[str]) -> Text:
    """Read a text file in UTF-8, such as the plays of Shakespeare on which character models are tested.

    Parameters
    ----------
    path : path-like
        The file, or a folder that holds it as ``input.txt``, itself or in ``tinyshakespeare``.

    Raises
    ------
    FileError
        When there is no such file, or it is empty, not UTF-8 or longer than 1 GiB.

    References
    ----------
    Karpathy, char-rnn, github.com/karpathy/char-rnn: ``data/tinyshakespeare/input.txt``, 1,115,394 characters of 65
    kinds; the text is in the public domain.
    """
    given = Path(path)
    places = [given / "tinyshakespeare" / "input.txt", given / "input.txt"] if given.is_dir() else [given]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise FileError(f"no text at {given}: give a text file, or a folder that holds it as input.txt.")
    try:
        text = contents(found, limit=LARGEST).decode("utf-8")
    except UnicodeDecodeError as error:
        raise FileError(f"cannot read {found}: {error}. Give a text file in UTF-8.") from error
    if not text:
        raise FileError(f"{found} is empty. Give a text file.")
    return Text.of(text)
