"""Event Stream files, ``.es``.

References
----------
Marcireau, "Event Stream file format", https://github.com/neuromorphicsystems/event_stream.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from neurosim.datasets.events.columns import Columns
from neurosim.datasets.events.files import decoding_code
from neurosim.datasets.events.files.source import EventReader, Source, sized

MAGIC = b"Event Stream"
_KINDS = ("generic", "dvs", "atis", "asynchronous", "color")
_DVS = 1


class EventStream(EventReader):
    """An Event Stream of a DVS, version 2."""

    def __init__(self, source: Source) -> None:
        self._source = source
        head = source.exactly(len(MAGIC) + 8, "its header")
        version, kind = head[len(MAGIC)], head[len(MAGIC) + 3]
        if version != 2 or kind != _DVS:
            name = _KINDS[kind] if kind < len(_KINDS) else f"of kind {kind}"
            raise source.refusal(f"is an Event Stream of version {version}, {name}; version 2 of a dvs is read")
        width, height = (int.from_bytes(head[k : k + 2], "little") for k in (16, 18))
        self.shape = sized(height, width, source)

    def pieces(self) -> Iterator[Columns]:
        """Yield the events; rows count from the bottom, as stored."""
        state = np.zeros(6, np.int64)
        for content in self._source.words("u1", "a byte"):
            yield decoding_code.decoded(decoding_code.event_stream(), content, state, len(content) // 5 + 1)
        if state[2]:
            raise self._source.refusal("ends inside an event")
