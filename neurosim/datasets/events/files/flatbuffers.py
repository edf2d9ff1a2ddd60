"""The little of FlatBuffers that event files need: a table, its fields, a vector, a text; every place is checked.

References
----------
Google, "FlatBuffers internals", https://flatbuffers.dev/internals/.
"""

from __future__ import annotations

import struct


class Damage(ValueError):
    """A place lies outside the buffer."""


class Table:
    """A table in a buffer.

    Parameters
    ----------
    content : bytes
        The buffer.
    place : int
        Where the table begins.
    """

    def __init__(self, content: bytes, place: int) -> None:
        self._content, self._place = content, place
        self._fields = place - self._number("<i", place)
        self._size = self._number("<H", self._fields)

    @classmethod
    def root(cls, content: bytes, identifier: bytes) -> Table:
        """Return the root of a buffer, which must be of a kind."""
        if content[4:8] != identifier:
            raise Damage(f"a buffer is of the kind {content[4:8]!r}, where {identifier!r} is expected")
        return cls(content, int(struct.unpack_from("<I", content)[0]))

    def _number(self, kind: str, place: int) -> int:
        if not 0 <= place <= len(self._content) - struct.calcsize(kind):
            raise Damage(f"a buffer of {len(self._content)} bytes leads to its byte {place}")
        return int(struct.unpack_from(kind, self._content, place)[0])

    def _field(self, index: int) -> int | None:
        entry = 4 + 2 * index
        offset = self._number("<H", self._fields + entry) if entry + 2 <= self._size else 0
        return self._place + offset if offset else None

    def integer(self, index: int, kind: str, default: int) -> int:
        """Return a field that is a number of a type of `struct`."""
        place = self._field(index)
        return default if place is None else self._number(kind, place)

    def bytes(self, index: int, width: int = 1) -> bytes:
        """Return a field that is a vector of elements of `width` bytes, or a text."""
        place = self._field(index)
        if place is None:
            return b""
        start = place + self._number("<I", place)
        number = self._number("<I", start)
        if number * width > len(self._content) - start - 4:
            raise Damage(
                f"a vector of {number} elements of {width} bytes does not lie in a buffer of {len(self._content)}"
            )
        return self._content[start + 4 : start + 4 + number * width]
