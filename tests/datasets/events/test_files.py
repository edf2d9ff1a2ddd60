"""Files of events: each reader on files written word by word, and writers there and back."""

from __future__ import annotations

import importlib
import importlib.util
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurosim.datasets.events import SensorEvents, event_pieces, read_events, write_events
from neurosim.datasets.events.files import source
from neurosim.errors import FileError, InputError
from tests import event_files as made
from tests.event_files import Event


def drawn(number: int, width: int, height: int, *, gap: int = 40, seed: int = 0) -> list[Event]:
    """Return events of which some share time, row and polarity, in rising columns."""
    rng = np.random.default_rng(seed)
    events, t = list[Event](), 0
    while len(events) < number:
        t += int(rng.integers(0, gap))
        y, p = int(rng.integers(height)), int(rng.integers(2))
        columns = np.sort(rng.choice(width, size=int(rng.integers(1, min(9, width))), replace=False))
        events += [(t, int(x), y, p) for x in columns]
    return events


def rows(events: SensorEvents) -> list[Event]:
    return list(zip(*(c.tolist() for c in (events.t, events.x, events.y, events.p)), strict=True))


WRAPS = [(5, 3, 2, 1), (2**34 - 1, 4, 2, 0), (2**34 + 70, 600, 479, 1), (2**34 + 2**33 + 64, 6, 6, 1), (2**35, 5, 5, 0)]
CLOCKS = [(10, 1, 1, 0), (2**24 - 1, 2, 2, 1), (2**24 + 9, 3, 3, 1), (2**24 + 2**23, 4, 4, 0), (2**25, 5, 5, 1)]
FILES: dict[str, tuple[str, Callable[..., bytes], int, int]] = {
    "evt2": ("a.raw", made.evt2, 640, 480),
    "evt21": ("a.raw", made.evt21, 640, 480),
    "evt21 legacy": ("a.raw", lambda events: made.evt21(events, legacy=True), 640, 480),
    "evt3": ("a.raw", made.evt3, 640, 480),
    "dat": ("a.dat", made.dat, 640, 480),
    "es": ("a.es", made.es, 640, 480),
    "aedat2 davis": ("a.aedat", made.aedat2, 240, 180),
    "aedat2 dvs128": ("a.aedat", lambda events: made.aedat2(events, 128, 128), 128, 128),
    "aedat31": ("a.aedat", made.aedat31, 240, 180),
    "aedat4": ("a.aedat4", made.aedat4, 640, 480),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_holds_the_events_that_were_written(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, write, width, height = FILES[name]
    events = drawn(300, width, height)
    path = tmp_path / file
    path.write_bytes(write(events))
    found = read_events(path)
    assert rows(found) == events and found.shape == (2, height, width)
    # In pieces so short that words, vectors and clocks go over their edges.
    monkeypatch.setattr(source, "PIECE", 13)
    monkeypatch.setattr("neurosim.datasets.events.files.reading.PIECE", 13)
    parts = list(event_pieces(path))
    assert [row for part in parts for row in rows(part)] == events and len(parts) > 10


@pytest.mark.parametrize(
    ("name", "events"),
    [
        ("evt2", WRAPS),
        ("evt21", WRAPS),
        ("evt3", CLOCKS),
        ("dat", [(2**32 - 1, 1, 1, 1), (2**32 + 3, 2, 2, 0), (2**32 + 2**31 + 9, 4, 4, 1), (2**33, 3, 3, 1)]),
        ("aedat2 davis", [(2**32 - 1, 1, 1, 1), (2**32 + 3, 2, 2, 0), (2**32 + 2**31 + 9, 4, 4, 1), (2**33, 3, 3, 1)]),
        ("aedat31", [(2**31 - 1, 1, 1, 1), (2**31 + 3, 2, 2, 0)]),
        ("es", [(0, 1, 1, 1), (127, 2, 2, 0), (10**5, 3, 3, 1)]),
    ],
)
def test_a_clock_that_wraps_counts_on(name: str, events: list[Event], tmp_path: Path) -> None:
    file, write, *_ = FILES[name]
    (tmp_path / file).write_bytes(write(events))
    assert rows(read_events(tmp_path / file)) == events


def test_events_before_the_first_time_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    lone = struct.pack("<I", 1 << 28 | 5 << 22 | 3 << 11 | 2)
    head, body = made.evt_header("2.0", "EVT2", 640, 480), made.evt2([(9, 1, 1, 0)])
    path.write_bytes(head + lone + body[len(head) :])
    assert rows(read_events(path)) == [(9, 1, 1, 0)]
    head, body = made.evt_header("3.0", "EVT3", 640, 480), made.evt3([(9, 1, 1, 0), (10, 1, 1, 0), (10, 2, 1, 0)])
    path.write_bytes(head + struct.pack("<5H", 0x6005, 0x2803, 0x3003, 0x4FFF, 0x0002) + body[len(head) :])
    assert rows(read_events(path)) == [(9, 1, 1, 0), (10, 1, 1, 0), (10, 2, 1, 0)]


def test_a_vector_beyond_the_sensor_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    words = [0x8000, 0x6001, 0x0001, 0x3000, *[0x4FFF] * 7000]
    path.write_bytes(made.evt_header("3.0", "EVT3", 640, 480) + struct.pack(f"<{len(words)}H", *words))
    with pytest.raises(FileError, match=r"x\[640\] = 640, as \d+ of 84000 events lie outside 0 to 639"):
        read_events(path)


@pytest.mark.parametrize(("packing", "module"), [(1, "lz4"), (2, "lz4"), (3, "zstandard"), (4, "zstandard")])
def test_packets_are_unpacked(packing: int, module: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    pack = importlib.import_module("lz4.frame" if module == "lz4" else module).compress
    events, path = drawn(3000, 640, 480), tmp_path / "a.aedat4"
    path.write_bytes(made.aedat4(events, packing=packing, pack=pack, size=700))
    assert rows(read_events(path)) == events
    bomb = pack(bytes(2**27))
    path.write_bytes(made.aedat4([], packing=packing) + struct.pack("<ii", 3, len(bomb)) + bomb)
    with pytest.raises(FileError, match=r"unpacks to more than 67,108,864 bytes"):
        read_events(path)
    path.write_bytes(made.aedat4(events, packing=packing, pack=lambda content: pack(content)[:-9], size=700))
    with pytest.raises(FileError, match=r"cannot be unpacked|damaged packet"):
        read_events(path)


@pytest.mark.parametrize("suffix", ["bin", "bs2"])
def test_five_bytes_hold_an_event_of_a_pixel(suffix: str, tmp_path: Path) -> None:
    path, events = tmp_path / f"1.{suffix}", drawn(200, 34, 34)
    path.write_bytes(made.five_bytes(events))
    assert rows(read_events(path, shape=(2, 34, 34))) == events
    with pytest.raises(FileError, match="does not state the shape"):
        read_events(path)


def test_row_240_moves_the_clock_on(tmp_path: Path) -> None:
    path = tmp_path / "1.bin"
    path.write_bytes(made.five_bytes([(5, 1, 1, 0), (7, 0, 240, 0), (8, 2, 2, 1), (9, 0, 240, 0), (9, 3, 3, 1)]))
    assert rows(read_events(path, shape=(2, 34, 34))) == [(5, 1, 1, 0), (8200, 2, 2, 1), (16393, 3, 3, 1)]
    assert [row for part in event_pieces(path, shape=(2, 34, 34)) for row in rows(part)][-1] == (16393, 3, 3, 1)


def test_channels_have_two_bytes(tmp_path: Path) -> None:
    path = tmp_path / "1.bs1"
    events = [(5, 3, 0, 1), (6, 700, 0, 1)]
    path.write_bytes(made.five_bytes(events, first=2))
    assert rows(read_events(path, shape=800)) == [(5, 3, 0, 0), (6, 700, 0, 0)]
    assert rows(read_events(path, shape=(2, 1, 800))) == events
    path.write_bytes(made.five_bytes([*events, (7, 1, 0, 0)], first=2))
    with pytest.raises(FileError, match=r"both polarities; give shape=\(2, 1, channels\)"):
        read_events(path, shape=800)


@pytest.mark.parametrize("kind", ["evt2", "evt3", "bin", "bs2", "bs1"])
def test_what_was_written_is_read(kind: str, tmp_path: Path) -> None:
    shape = {"bs1": (2, 1, 900), "bin": (2, 200, 256), "bs2": (2, 200, 256)}.get(kind, (2, 480, 640))
    events = SensorEvents(*np.array(drawn(500, shape[2], shape[1], gap=9000)).T, shape=shape)
    path = tmp_path / f"a.{'raw' if kind.startswith('evt') else kind}"
    write_events(path, events, kind=kind)
    assert read_events(path, shape=shape) == events
    empty = events.between(0, 0)
    write_events(path, empty, kind=kind)
    assert read_events(path, shape=shape) == empty


def test_long_waits_are_written(tmp_path: Path) -> None:
    events = SensorEvents([3, 2**24 + 5, 2**27 + 1, 2**27 + 1], [1, 2, 3, 2], [4] * 4, [0, 1, 1, 1], shape=(2, 9, 9))
    write_events(tmp_path / "a.raw", events, kind="evt3")
    assert read_events(tmp_path / "a.raw") == events


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("evt2", {"t": [2**34]}, "the first event lies at 17179869184 us"),
        ("evt3", {"t": [2**24]}, r"EVT 3.0 begins before 16777216 us. Shift the events with shifted\(-first\)"),
        ("evt3", {"shape": (2, 3000, 9)}, "names 2048 columns and rows; the sensor has 9 x 3000"),
        ("bin", {"t": [2**23]}, "t reaches 8388608; 5 bytes an event hold 8388607"),
        ("bin", {"y": [240], "shape": (2, 300, 9)}, "y reaches 240"),
        ("bs1", {}, "the sensor has 9 rows"),
        ("es", {}, "give one of evt2, evt3"),
        ("bin", {"offsets": [0, 1, 1]}, "one sample; got 2"),
    ],
)
def test_what_a_format_does_not_hold_is_refused(
    kind: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    events = SensorEvents(**{"t": [0], "x": [0], "y": [0], "p": [0], "shape": (2, 9, 9), **changes})
    path = tmp_path / "a"
    path.write_bytes(b"before")
    with pytest.raises(InputError, match=message):
        write_events(path, events, kind=kind)
    assert path.read_bytes() == b"before"


EVENTS = [(5, 3, 2, 1), (9, 4, 2, 0)]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("a.raw", b"% evt 4.0\n% end\n", "states no encoding"),
        ("a.raw", b"% format EVT4;height=4;width=4\n% end\n", "states the encoding 'EVT4'"),
        ("a.raw", b"% evt 2.0\n% end\n", "does not state the shape"),
        ("a.raw", b"% evt 2.0\n% geometry 0x5\n% end\n", "states a sensor of 0 x 5 pixels"),
        ("a.raw", made.evt2(EVENTS) + b"\0", "no multiple of the 4 bytes of a word of EVT 2.0"),
        ("a.raw", b"% evt 2.0", "a line of its header at byte 0 without an end"),
        ("a.raw", b"% x\n" * 20000, "a header of more than 65,536 bytes"),
        ("a.raw", made.evt2([(9, 3, 2, 1), (5, 4, 2, 0)]), r"event 1 has t = 5 us, before event 0.*repair=\['sort'\]"),
        ("a.raw", made.evt2([(9, 700, 2, 1)]), r"x\[0\] = 700.*repair=\['outside'\]"),
        ("a.dat", made.dat(EVENTS).replace(b"Version 2", b"Version 1"), "is DAT of version 1"),
        ("a.dat", made.dat(EVENTS)[:-3], "no multiple of the 8 bytes of an event"),
        ("a.es", made.es(EVENTS)[:-1], "ends inside an event"),
        ("a.es", made.es(EVENTS).replace(b"\2\0\0\1", b"\2\0\0\2"), "version 2, atis; version 2 of a dvs is read"),
        ("a.es", made.es(EVENTS)[:15], "ends 15 bytes after byte 0, inside its header"),
        ("a.aedat", made.aedat31(EVENTS)[:-1], "inside a packet"),
        (
            "a.aedat",
            made.aedat31(EVENTS).replace(struct.pack("<ii", 8, 4), struct.pack("<ii", 2**30, 4)),
            "has a packet of",
        ),
        ("a.aedat", made.aedat2(EVENTS).replace(b"DAVIS240", b"OTHER"), "does not state the shape"),
        ("a.aedat4", made.aedat4(EVENTS).replace(b"EVTS\6", b"EVTX\6"), "a buffer is of the kind b'EVTX'"),
        ("a.aedat4", made.aedat4(EVENTS).replace(b">EVTS<", b">IMUS<"), "no stream None of events; there are none"),
        ("a.aedat4", made.aedat4(EVENTS).replace(b"<dv ", b"<!D "), "with declarations"),
        ("a.aedat4", made.aedat4(EVENTS, packing=9), "packed in a way with the number 9"),
        ("a.aedat4", made.aedat4([(5, -3, 2, 1)]), "negative column or row"),
        ("a.xyz", b"abc", "is no file of events that is recognised. Give kind="),
    ],
)
def test_a_damaged_file_is_refused(file: str, content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / file
    path.write_bytes(content)
    with pytest.raises(FileError, match=message):
        read_events(path)
    with pytest.raises(FileError, match=message):
        list(event_pieces(path))
    assert path.read_bytes() == content


def test_pieces_are_in_order_and_reading_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(made.evt2([(900, 3, 2, 1), (5, 4, 2, 0)]))
    assert read_events(path, repair=["sort"]).t.tolist() == [5, 900]
    monkeypatch.setattr("neurosim.datasets.events.files.reading.PIECE", 12)
    with pytest.raises(FileError, match=r"a piece begins at 5 us, before the end of the one before it, 900 us"):
        list(event_pieces(path))
    with pytest.raises(FileError, match="holds more than 1 events"):
        read_events(path, limit=1)
    with pytest.raises(InputError, match="kind = 'evt9'; there are aedat2"):
        read_events(path, kind="evt9")


def test_a_plugin_states_the_sensor(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(b"% evt 2.0\n% plugin_name hal_plugin_gen41_evk3\n% end\n")
    assert read_events(path).shape == (2, 720, 1280)


def test_slayer_has_256_rows(tmp_path: Path) -> None:
    events = SensorEvents([5, 9], [255, 0], [255, 240], [1, 0], shape=(2, 256, 256))
    write_events(tmp_path / "a.bs2", events)
    assert read_events(tmp_path / "a.bs2", shape=events.shape) == events
    with pytest.raises(InputError, match="y reaches 255; 5 bytes an event hold 239"):
        write_events(tmp_path / "a.bin", events)
