"""A wav file is read, or refused with its name."""

from __future__ import annotations

import io
import struct
import wave

import numpy as np
import pytest

from neurosim.errors import FileError
from neurosim.files.wav import read_wav


def wav(samples: np.ndarray, *, rate: int = 8000, channels: int = 1, width: int = 2) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return buffer.getvalue()


GOOD = wav(np.arange(-50, 50))


def test_samples_are_read() -> None:
    samples, rate = read_wav("a.wav", GOOD)
    assert rate == 8000.0 and samples.dtype == np.float32
    assert np.array_equal(samples * 32768, np.arange(-50, 50))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (wav(np.arange(4), channels=2), r"a\.wav has 2 channel\(s\) of 16 bits"),
        (wav(np.arange(4), width=1), r"a\.wav has 1 channel\(s\) of 8 bits"),
        (b"", r"a\.wav is not a wav file: it ends early"),
        (b"no sound", r"a\.wav is not a wav file"),
        (GOOD[:-1], r"a\.wav ends early: it declares 200 bytes of sound, found 199"),
        (GOOD[:40] + struct.pack("<I", 2**32 - 1) + GOOD[44:], "ends early|not a wav file"),
        (GOOD[:16] + struct.pack("<I", 2**32 - 1) + GOOD[20:], "not a wav file"),
        (GOOD[:24] + struct.pack("<I", 0) + GOOD[28:], "declares 0 samples in a second"),
        (GOOD[:24] + struct.pack("<I", 2**31) + GOOD[28:], "declares 2,147,483,648 samples in a second"),
    ],
)
def test_another_file_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(FileError, match=message):
        read_wav("a.wav", content)


def test_a_data_chunk_of_an_odd_length_gives_its_frames() -> None:
    odd = GOOD[:40] + struct.pack("<I", 199) + GOOD[44:]
    assert len(read_wav("a.wav", odd)[0]) == 99
