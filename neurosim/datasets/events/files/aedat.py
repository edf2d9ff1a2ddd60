"""AEDAT 2.0 and 3.1, the files of jAER and cAER.

References
----------
iniVation, "AEDAT file formats", https://docs.inivation.com/software/software-advanced-usage/file-formats/index.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from neurosim.datasets.events.columns import Columns
from neurosim.datasets.events.files.clocks import Unwrapped
from neurosim.datasets.events.files.source import EventReader, Source

MAGIC_2, MAGIC_3 = b"#!AER-DAT2.0", b"#!AER-DAT3.1"
_SENSORS = {"DVS128": (128, 128), "DAVIS128": (128, 128), "DAVIS208": (192, 208), "DAVIS240": (180, 240)}
_SENSORS |= {"DAVIS346": (260, 346), "DAVIS640": (480, 640)}
_DVS128 = (2, 128, 128)
_PACKET = 28  # bytes of the header of a packet
_POLARITY = 1  # kind of a packet
_LARGEST = 2**26  # bytes of a packet


def _shape_of(text: str) -> tuple[int, int, int] | None:
    """Return the shape of the sensor that a header names."""
    found = next((side for name, side in _SENSORS.items() if name in text.upper()), None)
    return None if found is None else (2, *found)


class Aedat2(EventReader):
    """AEDAT 2.0: address and time of 32 bits each, the highest byte first.

    What the bits of an address mean depends on the chip: DVS128 (a sensor of 128 x 128 pixels) or one of the DAVIS
    (any other size). Columns and rows are as stored; jAER mirrors the columns of the DVS128. Polarity is
    jAER's: 1 is on.

    Parameters
    ----------
    source : Source
    shape : tuple of int or None
        Shape of the sensor, where the header does not name the chip.
    """

    def __init__(self, source: Source, shape: tuple[int, ...] | None) -> None:
        self._source = source
        lines = []
        while (line := source.line(b"#")) is not None:
            lines.append(line.decode("utf-8", "replace"))
        chip = next((line for line in lines if "AEChip" in line), "")
        self.shape = shape if shape is not None else _shape_of(chip)

    def pieces(self) -> Iterator[Columns]:
        """Yield the changes of contrast; samples of frames and other signals are passed over."""
        clock = Unwrapped()
        for words in self._source.words(">u8", "an event"):
            pairs = words.view(">u4").reshape(-1, 2)
            address, t = pairs[:, 0].astype(np.uint32), clock(pairs[:, 1])
            if self.shape == _DVS128:
                kept = address < 2**15
                x, y, p = address >> 1 & 127, address >> 8 & 127, ~address & 1
            else:
                kept = (address >> 31 | address >> 10 & 1) == 0
                x, y, p = address >> 12 & 1023, address >> 22 & 511, address >> 11 & 1
            made = (x.astype(np.uint16), y.astype(np.uint16), p.astype(np.uint8))
            yield Columns(t[kept], *(column[kept] for column in made))


class Aedat31(EventReader):
    """AEDAT 3.1: packets of one kind each."""

    def __init__(self, source: Source) -> None:
        self._source = source
        text = []
        while (line := source.line(b"#")) is not None:
            if line.startswith(b"#!END-HEADER"):
                break
            text.append(line.decode("utf-8", "replace"))
        self.shape = next((_shape_of(line) for line in text if re.match(r"#Source \d+:", line)), None)

    def pieces(self) -> Iterator[Columns]:
        """Yield the valid changes of contrast, packet by packet."""
        source = self._source
        while source.place < source.size:
            head = source.exactly(_PACKET, "the header of a packet")
            kind = int.from_bytes(head[:2], "little")
            size, place, overflow, capacity, number, _ = np.frombuffer(head, "<i4", 6, 4).tolist()
            if not (size > 0 and 0 <= number <= capacity and size * capacity <= _LARGEST and overflow >= 0):
                raise source.refusal(
                    f"has a packet of {number} of {capacity} events of {size} bytes, overflow {overflow}, which ends "
                    f"at byte {source.place}; {_LARGEST:,} bytes are allowed"
                )
            content = source.exactly(size * number, "a packet")
            if kind != _POLARITY or number == 0:
                continue
            if size != 8 or place != 4:
                raise source.refusal(
                    f"has changes of contrast of {size} bytes with the time at {place}; 8 and 4 are read"
                )
            data, time = np.frombuffer(content, "<u4").reshape(-1, 2).T
            if (time >= 2**31).any():
                raise source.refusal("has a negative time")
            kept = (data & 1) == 1
            t = time[kept].astype(np.int64) + (overflow << 31)
            data = data[kept]
            x, y = ((data >> shift & 0x7FFF).astype(np.uint16) for shift in (17, 2))
            yield Columns(t, x, y, (data >> 1 & 1).astype(np.uint8))
