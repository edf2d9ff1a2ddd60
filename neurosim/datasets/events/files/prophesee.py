"""Files of Prophesee's cameras: RAW with EVT 2.0, 2.1 and 3.0, and DAT.

References
----------
Prophesee, "Event encoding formats" and "File formats" of the Metavision SDK's documentation,
https://docs.prophesee.ai/stable/data/encoding_formats/index.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from neurosim.datasets.events.columns import Columns
from neurosim.datasets.events.files import decoding_code
from neurosim.datasets.events.files.source import EventReader, Source, sized

_CD = (0x00, 0x0C)  # kinds of events in DAT that are changes of contrast
# Sizes of sensors by the generation that the name of a plugin states, for files without a geometry.
_GENERATIONS = {
    "gen31": (480, 640),
    "gen3": (480, 640),
    "gen41": (720, 1280),
    "gen4": (720, 1280),
    "imx636": (720, 1280),
}


class Header:
    """The lines of text before the data: ``% key value``."""

    def __init__(self, source: Source) -> None:
        self.fields: dict[str, str] = {}
        while (line := source.line(b"%")) is not None:
            key, _, value = line[1:].decode("utf-8", "replace").strip().partition(" ")
            if key == "end":
                break
            self.fields[key.lower()] = value.strip()
        name, *options = self.fields.get("format", "").split(";")
        self.options = dict(option.lower().partition("=")[::2] for option in options)
        self.encoding = name.upper().replace(".", "") or {"2.0": "EVT2", "2.1": "EVT21", "3.0": "EVT3"}.get(
            self.fields.get("evt", ""), ""
        )

    def shape(self, source: Source) -> tuple[int, int, int] | None:
        """Return the sensor's shape, where it is stated."""
        given = (
            self.options.get("height", self.fields.get("height")),
            self.options.get("width", self.fields.get("width")),
        )
        geometry = re.fullmatch(r"(\d{1,6})x(\d{1,6})", self.fields.get("geometry", ""))
        if geometry:
            given = (geometry[2], geometry[1])
        if all(value is not None and re.fullmatch(r"\d{1,6}", value) for value in given):
            height, width = (int(value or 0) for value in given)
            return sized(height, width, source)
        plugin = self.fields.get("plugin_name", "")
        return next(((2, *side) for name, side in _GENERATIONS.items() if name in plugin), None)


class Raw(EventReader):
    """A RAW file; which encoding it has, its header states."""

    def __init__(self, source: Source) -> None:
        self._source, header = source, Header(source)
        self.encoding, self.shape = header.encoding, header.shape(source)
        if self.encoding not in ("EVT2", "EVT21", "EVT3"):
            stated = f"the encoding {self.encoding!r}" if self.encoding else "no encoding"
            raise source.refusal(f"states {stated} in its header; EVT2, EVT21 and EVT3 are read")
        self._swaps = int(header.options.get("endianness", "little") == "legacy")

    def pieces(self) -> Iterator[Columns]:
        """Yield the changes of contrast; events before the first time are left out, since they have none."""
        unknown = decoding_code.UNKNOWN
        if self.encoding == "EVT2":
            state = np.array([0, unknown, 0], np.int64)
            for words in self._source.words("<u4", "a word of EVT 2.0"):
                yield decoding_code.decoded(decoding_code.evt2(), words, state, len(words))
        elif self.encoding == "EVT21":
            state = np.array([0, unknown, 0], np.int64)
            for words in self._source.words("<u8", "a word of EVT 2.1", 16):
                most = decoding_code.most_events(words, self._swaps)
                yield decoding_code.decoded(decoding_code.evt21(), words, state, most, self._swaps)
        else:
            state = np.array([0, unknown, 0, 0, unknown, 0, 0], np.int64)
            for words in self._source.words("<u2", "a word of EVT 3.0", 16):
                most = decoding_code.most_events(words)
                yield decoding_code.decoded(decoding_code.evt3(), words, state, most)


class Dat(EventReader):
    """A DAT file: 32 bits of time and 32 bits of address; a clock that wraps counts on."""

    def __init__(self, source: Source) -> None:
        self._source, header = source, Header(source)
        self.shape = header.shape(source)
        kind, size = source.exactly(2, "the kind and the size of an event")
        if header.fields.get("version", "2") != "2" or kind not in _CD or size != 8:
            raise source.refusal(
                f"is DAT of version {header.fields.get('version', '2')} with events of kind {kind} and {size} bytes; "
                "version 2 with kind 0 or 12 and 8 bytes is read"
            )

    def pieces(self) -> Iterator[Columns]:
        """Yield the events."""
        state = np.zeros(3, np.int64)
        for words in self._source.words("<u8", "an event"):
            yield decoding_code.decoded(decoding_code.dat(), words, state, len(words))
