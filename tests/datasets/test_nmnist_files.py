"""Events of N-MNIST: five bytes each."""

from __future__ import annotations

import pytest

from neurosim.datasets import nmnist_events
from neurosim.errors import FileError


def event(x: int, y: int, polarity: int, microseconds: int) -> bytes:
    time = microseconds.to_bytes(3, "big")
    return bytes((x, y, polarity << 7 | time[0], time[1], time[2]))


def test_time_polarity_and_pixel_are_read() -> None:
    time, place = nmnist_events("a.bin", event(3, 5, 1, 2**23 - 1) + event(33, 33, 0, 70_000))
    assert time.tolist() == [2**23 - 1, 70_000]
    assert place.tolist() == [(34 + 5) * 34 + 3, 33 * 34 + 33]
    assert [len(each) for each in nmnist_events("a.bin", b"")] == [0, 0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (event(0, 0, 0, 0)[:4], r"a\.bin is 4 bytes long; a recording of N-MNIST has 5 bytes for each event"),
        (event(0, 0, 0, 0) + event(34, 0, 0, 0), r"a\.bin: event 1 lies at column 34, row 0"),
        (event(0, 240, 0, 0), r"event 0 lies at column 0, row 240"),
    ],
)
def test_another_file_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(FileError, match=message):
        nmnist_events("a.bin", content)
