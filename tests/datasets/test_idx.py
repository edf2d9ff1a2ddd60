from __future__ import annotations

import gzip
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from neurosim.datasets import read_idx
from neurosim.errors import FileError

CODES = {"uint8": 0x08, "int8": 0x09, "int16": 0x0B, "int32": 0x0C, "float32": 0x0D, "float64": 0x0E}


def as_idx(values: np.ndarray) -> bytes:
    head = bytes([0, 0, CODES[values.dtype.name], values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return head + values.astype(values.dtype.newbyteorder(">")).tobytes()


GOOD = as_idx(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))


def written(folder, contents: bytes, *, packed: bool = False):
    path = folder / "images-idx3-ubyte"
    path.write_bytes(gzip.compress(contents, mtime=0) if packed else contents)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("idx")


@pytest.mark.parametrize("packed", [False, True])
@given(
    st.sampled_from(sorted(CODES)).flatmap(
        lambda name: arrays.arrays(name, arrays.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5))
    )
)
@settings(derandomize=True, deadline=None, max_examples=60)
def test_what_was_written_is_read(folder, packed, values):
    read = read_idx(written(folder, as_idx(values), packed=packed))
    assert read.dtype == values.dtype and read.dtype.isnative
    assert read.shape == values.shape
    assert read.tobytes() == values.tobytes()  # bytes: NaN is not equal to itself


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("length", range(len(GOOD)))
def test_cut_off_anywhere_it_is_refused(folder, packed, length):
    path = written(folder, GOOD[:length], packed=packed)
    with pytest.raises(FileError, match=r"images-idx3-ubyte (is not an idx file|ends early|is cut off)"):
        read_idx(path)


def test_a_gzip_stream_cut_off_anywhere_is_refused(folder):
    stream = gzip.compress(GOOD, mtime=0)
    for length in range(len(stream)):
        with pytest.raises(FileError, match="images-idx3-ubyte"):
            read_idx(written(folder, stream[:length]))


def test_a_flipped_bit_in_a_gzip_stream_is_noticed(folder):
    stream = bytearray(gzip.compress(GOOD, mtime=0))
    stream[-6] ^= 1  # in the check sum
    with pytest.raises(FileError, match=r"damaged gzip file: .*Fetch the file again"):
        read_idx(written(folder, bytes(stream)))


@pytest.mark.parametrize("packed", [False, True])
def test_bytes_after_the_end_are_refused_with_both_numbers(folder, packed):
    found = "more than 24" if packed else "25"
    with pytest.raises(FileError, match=rf"2 x 3 x 4 of uint8 need 24 bytes after the head, found {found}\. Fetch"):
        read_idx(written(folder, GOOD + b"\0", packed=packed))


@pytest.mark.parametrize("length", [0, 1 << 20])
def test_a_byte_after_the_end_is_noticed_where_reading_pauses(folder, length):
    # The reader takes a mebibyte at a time: the surplus byte lies just behind the last piece.
    values = np.zeros(length, np.uint8)
    assert len(read_idx(written(folder, as_idx(values), packed=True))) == length
    with pytest.raises(FileError, match=rf"found more than {length}\. Fetch"):
        read_idx(written(folder, as_idx(values) + b"\0", packed=True))


@pytest.mark.parametrize("packed", [False, True])
def test_missing_values_are_counted(folder, packed):
    with pytest.raises(FileError, match=r"need 24 bytes after the head, found 23\. Fetch it again"):
        read_idx(written(folder, GOOD[:-1], packed=packed))


@pytest.mark.parametrize(
    ("contents", "found"),
    [
        (b"", "nothing"),
        (b"\0\0\x08", "00 00 08"),
        (b"\x01\0\x08\x01\0\0\0\0", "01 00 08 01"),
        (b"\0\0\x0a\x01\0\0\0\0", "00 00 0a 01"),
        (b"\0\0\x08\0", "00 00 08 00"),
        (b"\0\0\x08\x09" + b"\0\0\0\x01" * 9 + b"x", "00 00 08 09"),
        (b"<!DOCTYPE html>", "3c 21 44 4f"),
    ],
)
def test_a_wrong_magic_number_is_shown(folder, contents, found):
    with pytest.raises(
        FileError, match=rf"is not an idx file: it begins with {found}, expected 00 00, a type out of 08"
    ):
        read_idx(written(folder, contents))


@pytest.mark.parametrize(
    ("packed", "message"),
    [(False, r"need 18446744065119617025 bytes after the head, found 3"), (True, "more than a gzip file of")],
)
def test_a_huge_declared_size_is_refused_before_memory_is_taken(folder, packed, message):
    size = 2**32 - 1
    contents = bytes([0, 0, 8, 2]) + struct.pack(">2I", size, size) + b"abc"
    path = written(folder, contents, packed=packed)
    tracemalloc.start()
    try:
        with pytest.raises(FileError, match=message):
            read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_a_declared_size_that_gzip_could_hold_takes_no_more_memory_than_the_contents(folder):
    # 60 kB of noise could stand for 60 MB; they do not, so 60 MB are never taken.
    noise = np.random.default_rng(0).bytes(60_000)
    path = written(folder, bytes([0, 0, 8, 1]) + struct.pack(">I", 50_000_000) + noise, packed=True)
    tracemalloc.start()
    try:
        with pytest.raises(FileError, match=r"need 50000000 bytes after the head, found 60000"):
            read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_highly_compressible_data_is_read(folder):
    values = np.zeros((300, 28, 28), np.uint8)
    assert np.array_equal(read_idx(written(folder, as_idx(values), packed=True)), values)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileError, match=r"cannot read .*absent: there is no such file. Check the path"):
        read_idx(tmp_path / "absent")
