"""AEDAT 4, the files of the DV software.

References
----------
iniVation, "AEDAT 4", https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-4.0.html.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import numpy as np

from neurosim.datasets.events.columns import Columns
from neurosim.datasets.events.files.flatbuffers import Damage, Table
from neurosim.datasets.events.files.source import EventReader, Source, sized
from neurosim.files.packages import optional

MAGIC = b"#!AER-DAT4.0\r\n"
_EVENT = np.dtype(
    {"names": ["t", "x", "y", "p"], "formats": ["<i8", "<i2", "<i2", "u1"], "offsets": [0, 8, 10, 12], "itemsize": 16}
)
_LARGEST = 2**26  # bytes of a packet, unpacked
_NONE, _LZ4, _LZ4_HIGH, _ZSTD, _ZSTD_HIGH = range(5)


class Aedat4(EventReader):
    """AEDAT 4: packets of streams; the first stream of events is read.

    Parameters
    ----------
    source : Source
    stream : int, optional
        Number of the stream, where the file has several of events.
    """

    def __init__(self, source: Source, stream: int | None = None) -> None:
        self._source = source
        if source.read(len(MAGIC)) != MAGIC:
            raise source.refusal("is no AEDAT 4")
        size = int.from_bytes(source.exactly(4, "its header"), "little")
        if size > _LARGEST:
            raise source.refusal(f"has a header of {size:,} bytes; {_LARGEST:,} are allowed")
        try:
            table = Table.root(source.exactly(size, "its header"), b"IOHE")
            self._packing = table.integer(0, "<i", _NONE)
            self._end = table.integer(1, "<q", -1)
            text = table.bytes(2).decode("utf-8", "replace")
        except (Damage, struct.error) as error:
            raise source.refusal(f"has a damaged header: {error}") from error
        if not _NONE <= self._packing <= _ZSTD_HIGH:
            raise source.refusal(f"is packed in a way with the number {self._packing}; 0 to {_ZSTD_HIGH} are read")
        streams = _streams(text, source)
        self._stream = min(streams, default=None) if stream is None else stream
        if self._stream not in streams:
            raise source.refusal(f"has no stream {stream} of events; there are {sorted(streams) or 'none'}")
        self.shape = streams[self._stream]

    def pieces(self) -> Iterator[Columns]:
        """Yield the events, packet by packet."""
        source, held, number = self._source, list[bytes](), 0
        end = self._end if 0 < self._end <= source.size else source.size
        while source.place < end:
            stream, size = struct.unpack("<ii", source.exactly(8, "the header of a packet"))
            if not 0 <= size <= _LARGEST:
                raise source.refusal(f"has a packet of {size} bytes; {_LARGEST:,} are allowed")
            packed = source.exactly(size, "a packet")
            if stream == self._stream:
                content = self._unpacked(packed)
                try:
                    held.append(Table.root(content[4:], b"EVTS").bytes(0, _EVENT.itemsize))
                except (Damage, struct.error) as error:
                    raise source.refusal(f"has a damaged packet before byte {source.place}: {error}") from error
                number += len(held[-1])
            if number >= source.piece:
                yield self._events(b"".join(held))
                held, number = [], 0
        if held:
            yield self._events(b"".join(held))

    def _events(self, content: bytes) -> Columns:
        events = np.frombuffer(content, _EVENT)
        t, x, y, p = (np.ascontiguousarray(events[name]) for name in "txyp")
        if len(t) and min(int(x.min()), int(y.min())) < 0:
            raise self._source.refusal("has an event with a negative column or row")
        return Columns(t, x.view(np.uint16), y.view(np.uint16), p)

    def _unpacked(self, packed: bytes) -> bytes:
        if self._packing == _NONE:
            return packed
        lz4 = self._packing in (_LZ4, _LZ4_HIGH)
        package = optional("lz4.frame" if lz4 else "zstandard", "events")
        try:
            content = _lz4(package, packed) if lz4 else _zstd(package, packed)
        except (RuntimeError, ValueError, MemoryError) as error:
            raise self._source.refusal(
                f"has a packet before byte {self._source.place} that cannot be unpacked: {error}"
            ) from error
        if len(content) > _LARGEST:
            raise self._source.refusal(f"has a packet that unpacks to more than {_LARGEST:,} bytes")
        return content


def _lz4(package: Any, packed: bytes) -> bytes:
    decoder = package.LZ4FrameDecompressor()
    room = 8 * len(packed) + 1024  # which is reserved at once, so that a short packet does not take much
    parts = [decoder.decompress(packed, max_length=room)]
    while not decoder.eof and (number := sum(map(len, parts))) <= _LARGEST:
        part = decoder.decompress(b"", max_length=min(room, _LARGEST + 1 - number))
        if not part and decoder.needs_input:
            raise ValueError("it ends early")
        parts.append(part)
    return b"".join(parts) if len(parts) > 1 else bytes(parts[0])


def _zstd(package: Any, packed: bytes) -> bytes:
    decoder = package.ZstdDecompressor(max_window_size=_LARGEST)
    try:
        with decoder.stream_reader(io.BytesIO(packed)) as stream:
            content: bytes = stream.read(_LARGEST + 1)
    except package.ZstdError as error:
        raise ValueError(str(error)) from error
    return content


def _streams(text: str, source: Source) -> dict[int, tuple[int, int, int] | None]:
    """Return the shapes of the streams of events that a description names, by the number of the stream."""
    if "<!" in text:  # a declaration of entities can make a short text long
        raise source.refusal("describes its streams with declarations, which are not read")
    try:
        root = ElementTree.fromstring(text.rstrip("\0"))
    except ElementTree.ParseError as error:
        raise source.refusal(f"describes its streams in a way that cannot be read: {error}") from error
    found: dict[int, tuple[int, int, int] | None] = {}
    for node in root.findall(".//node[@name='outInfo']/node"):
        values = {attr.get("key"): attr.text or "" for attr in node.iter("attr")}
        number = node.get("name", "")
        if values.get("typeIdentifier") == "EVTS" and re.fullmatch(r"\d{1,9}", number):
            side = [values.get(name, "") for name in ("sizeY", "sizeX")]
            known = all(re.fullmatch(r"\d{1,6}", each) for each in side)
            found[int(number)] = sized(int(side[0]), int(side[1]), source) if known else None
    return found
