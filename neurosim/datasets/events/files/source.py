"""The bytes of an event file, read in pieces."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from neurosim.datasets.events.columns import Columns
from neurosim.errors import FileError

_HEADER = 2**16  # bytes of a header of lines
PIECE = 2**20  # bytes
LARGE = 2**26  # bytes of a piece of a file that is read at once


class Source:
    """A file that is read once, from its beginning to its end.

    Attributes
    ----------
    path : path-like
        For messages.
    size : int
        Bytes of the file.
    place : int
        Bytes read so far.
    piece : int
        Bytes of the file that a piece of events takes.
    """

    def __init__(self, path: str | os.PathLike[str], stream: BinaryIO, size: int, piece: int = PIECE) -> None:
        self.path, self.size, self.place, self.piece = path, size, 0, piece
        self._stream = stream

    def read(self, number: int) -> bytes:
        """Return the next bytes, fewer only at the end of the file."""
        try:
            content = self._stream.read(number)
        except OSError as error:
            raise FileError(f"cannot read {self.path}: {error.strerror or error}. Check the path.") from error
        self.place += len(content)
        return content

    def exactly(self, number: int, what: str) -> bytes:
        """Return the next bytes, or refuse a file that ends before."""
        if number > self.size - self.place:
            raise self.refusal(f"ends {self.size - self.place:,} bytes after byte {self.place:,}, inside {what}")
        return self.read(number)

    def refusal(self, why: str) -> FileError:
        """Return the error to raise: "FILE why"."""
        return FileError(f"{self.path} {why}. It is left as it is.")

    def line(self, mark: bytes) -> bytes | None:
        """Return the next line if it begins with `mark`, without its end; else None, and nothing is read."""
        start = self.place
        first = self.read(len(mark))
        if first != mark:
            self._back(start)
            return None
        content = first + self._stream.readline(_HEADER)
        self.place = start + len(content)
        if not content.endswith(b"\n"):
            raise self.refusal(f"has a line of its header at byte {start} without an end")
        if self.place > _HEADER:
            raise self.refusal(f"has a header of more than {_HEADER:,} bytes")
        return content.rstrip(b"\r\n")

    def _back(self, place: int) -> None:
        self._stream.seek(place)
        self.place = place

    def words(self, kind: str, what: str, share: int = 1) -> Iterator[np.ndarray]:
        """Yield the rest of the file as arrays of words of a type of NumPy, of `piece` bytes or one part in `share`.

        Raises
        ------
        FileError
            When the rest is no multiple of a word.
        """
        size = np.dtype(kind).itemsize
        if (self.size - self.place) % size:
            raise self.refusal(
                f"has {self.size - self.place:,} bytes after its header, no multiple of the {size} bytes of {what}"
            )
        while content := self.read(max(self.piece // share // size, 1) * size):
            if len(content) % size:
                raise self.refusal("changes while it is read")
            yield np.frombuffer(content, kind)


class EventReader(ABC):
    """One format: events of a source, in pieces.

    Attributes
    ----------
    shape : tuple of int or None
        Shape of the sensor, where the file states it.
    """

    shape: tuple[int, ...] | None = None

    @abstractmethod
    def pieces(self) -> Iterator[Columns]:
        """Yield the events in the order of the file; nothing is checked that the container checks."""


def sized(height: int, width: int, source: Source) -> tuple[int, int, int]:
    """Return the shape of a sensor with two polarities, checked."""
    if not (1 <= height <= 2**16 and 1 <= width <= 2**16):
        raise source.refusal(f"states a sensor of {width} x {height} pixels; 1 to 65,536 are allowed")
    return 2, height, width
