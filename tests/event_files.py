"""Small files of events in every format, written word by word from the formats' definitions."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence

Event = tuple[int, int, int, int]  # t, x, y, p


def evt_header(version: str, name: str, width: int, height: int, more: str = "") -> bytes:
    return f"% evt {version}\n% format {name};height={height};width={width}{more}\n% end\n".encode()


def evt2(events: Iterable[Event], width: int = 640, height: int = 480) -> bytes:
    """Write a word of the upper time before each event, as a camera may."""
    words = []
    for t, x, y, p in events:
        words += [0x8 << 28 | (t >> 6) % 2**28, 0xA << 28 | 5, p << 28 | t % 64 << 22 | x << 11 | y]
    return evt_header("2.0", "EVT2", width, height) + struct.pack(f"<{len(words)}I", *words)


def evt21(events: Sequence[Event], width: int = 640, height: int = 480, legacy: bool = False) -> bytes:
    """Write events of one time, row and polarity within 32 columns as one vector."""
    words, k = [], 0
    while k < len(events):
        t, x, y, p = events[k]
        base, mask = x & ~31, 0
        while k < len(events) and events[k][0] == t and events[k][2:] == (y, p) and base <= events[k][1] < base + 32:
            bit = 1 << events[k][1] - base
            if mask >= bit:
                break  # in a vector columns rise
            mask |= bit
            k += 1
        words += [0x8 << 60 | (t >> 6) % 2**28 << 32, p << 60 | t % 64 << 54 | base << 43 | y << 32 | mask]
    if legacy:
        words = [word >> 32 | word % 2**32 << 32 for word in words]
    order = ";endianness=legacy" if legacy else ""
    return evt_header("2.1", "EVT21", width, height, order) + struct.pack(f"<{len(words)}Q", *words)


def evt3(events: Sequence[Event], width: int = 640, height: int = 480) -> bytes:
    """Write events of one time, row and polarity as vectors of 12 and 8, and others alone."""
    words, k = [], 0
    while k < len(events):
        t, _, y, p = events[k]
        words += [0x8 << 12 | (t >> 12) % 2**12, 0x6 << 12 | t % 2**12, y]
        line = []
        while k < len(events) and (t, y, p) == (events[k][0], *events[k][2:]) and (not line or events[k][1] > line[-1]):
            line.append(events[k][1])
            k += 1
        if len(line) == 1:
            words.append(0x2 << 12 | p << 11 | line[0])
            continue
        words.append(0x3 << 12 | p << 11 | line[0])
        base, lengths = line[0], ((4, 12), (5, 8))
        number = 0
        while base <= line[-1]:
            kind, length = lengths[number % 2]
            words.append(kind << 12 | sum(1 << column - base for column in line if base <= column < base + length))
            base, number = base + length, number + 1
    return evt_header("3.0", "EVT3", width, height) + struct.pack(f"<{len(words)}H", *words)


def dat(events: Iterable[Event], width: int = 640, height: int = 480) -> bytes:
    head = (
        f"% Data file containing CD events.\n% Version 2\n% Width {width}\n% Height {height}\n".encode() + b"\x0c\x08"
    )
    return head + b"".join(struct.pack("<II", t % 2**32, p << 28 | y << 14 | x) for t, x, y, p in events)


def es(events: Iterable[Event], width: int = 640, height: int = 480) -> bytes:
    made, last = bytearray(b"Event Stream" + struct.pack("<4B2H", 2, 0, 0, 1, width, height)), 0
    for t, x, y, p in events:
        wait, last = t - last, t
        made += b"\xff" * (wait // 127) + struct.pack("<BHH", wait % 127 << 1 | p, x, y)
    return bytes(made)


def aedat2(events: Iterable[Event], width: int = 240, height: int = 180) -> bytes:
    """Write the addresses of a DVS128, or of a DAVIS with a sample of a frame before each event."""
    chip = "DVS128" if (width, height) == (128, 128) else f"DAVIS{width}C"
    made = bytearray(f"#!AER-DAT2.0\r\n# created today\r\n# AEChip: eu.seebetter.ini.chips.davis.{chip}\r\n".encode())
    for t, x, y, p in events:
        if chip == "DVS128":
            made += struct.pack(">II", y << 8 | x << 1 | 1 - p, t % 2**32)
        else:
            made += struct.pack(">IIII", 1 << 31 | 77, t % 2**32, y << 22 | x << 12 | p << 11, t % 2**32)
    return bytes(made)


def aedat31(events: Sequence[Event], size: int = 3) -> bytes:
    """Write packets of a few events with an invalid one behind each, and a packet of another kind between them."""
    made = bytearray(b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DAVIS240\r\n#!END-HEADER\r\n")
    groups: list[list[Event]] = []
    for event in events:
        if not groups or len(groups[-1]) == size or groups[-1][0][0] >> 31 != event[0] >> 31:
            groups.append([])
        groups[-1].append(event)
    for group in groups:
        made += struct.pack("<hhiiiiii", 0, 1, 8, 4, 0, 1, 1, 1) + bytes(8)
        number = len(group) + 1
        made += struct.pack("<hhiiiiii", 1, 1, 8, 4, group[0][0] >> 31, number, number, number - 1)
        for t, x, y, p in group:
            made += struct.pack("<II", x << 17 | y << 2 | p << 1 | 1, t % 2**31)
        made += struct.pack("<II", 0, group[-1][0] % 2**31)
    return bytes(made)


def aedat4(
    events: Sequence[Event],
    width: int = 640,
    height: int = 480,
    packing: int = 0,
    pack: Callable[[bytes], bytes] = bytes,
    size: int = 4,
) -> bytes:
    """Write packets of a few events, and a packet of another stream before them."""
    attributes = "".join(f'<attr key="{k}" type="int">{v}</attr>' for k, v in (("sizeX", width), ("sizeY", height)))
    text = (
        '<dv version="2.0"><node name="outInfo" path="/outInfo/"><node name="3" path="/outInfo/3/">'
        f'<attr key="typeIdentifier" type="string">EVTS</attr><node name="info" path="/">{attributes}</node></node>'
        '<node name="1" path="/outInfo/1/"><attr key="typeIdentifier" type="string">FRME</attr></node></node></dv>'
    ).encode()
    # Root, identifier, table of fields (its size, the table's, and where the fields lie in it), table, text.
    head = struct.pack("<I4sHHHHHH", 20, b"IOHE", 10, 20, 4, 8, 16, 0)
    head += struct.pack("<iiqI", 12, packing, -1, 4) + struct.pack("<I", len(text)) + text + b"\0"
    made = bytearray(b"#!AER-DAT4.0\r\n" + struct.pack("<I", len(head)) + head)
    made += struct.pack("<ii", 1, 5) + b"frame"
    for k in range(0, len(events), size):
        group = events[k : k + size]
        body = b"".join(struct.pack("<qhhB3x", *event) for event in group)
        packet = struct.pack("<I4sHHHH", 16, b"EVTS", 6, 8, 4, 0) + struct.pack("<iI", 8, 4)
        packet += struct.pack("<I", len(group)) + body
        packed = pack(struct.pack("<I", len(packet)) + packet)
        made += struct.pack("<ii", 3, len(packed)) + packed
    return bytes(made)


def five_bytes(events: Iterable[Event], first: int = 1) -> bytes:
    """Write `first` bytes of the column, two of row and column together, then polarity and time."""
    made = bytearray()
    for t, x, y, p in events:
        address = (x, y) if first == 1 else (x >> 8, x & 255)
        made += bytes((*address, p << 7 | t >> 16, t >> 8 & 255, t & 255))
    return bytes(made)
