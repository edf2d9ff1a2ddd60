"""Read idx files, the format of MNIST: a magic number, big-endian sizes, then the values row by row."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from neurosim.errors import FileError
from neurosim.files.paths import regular_file

_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"
# One byte of a deflate stream encodes at most 1032 bytes of contents (zlib's technical notes).
_DEFLATE_RATIO = 1032
_MAX_DIMENSIONS = 8
_CHUNK = 1 << 20


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """Read an idx file, packed with gzip or not (which its contents decide, not its name).

    The declared size is compared with the size of the file before memory is allocated, and the file must end after the
    values.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    numpy.ndarray
        The values, in the byte order of this machine. idx has the types uint8, int8, int16, int32, float32 and float64.

    Raises
    ------
    FileError
        When the file is missing, is not idx, ends early, is too long or is a damaged gzip file. The message
        names what was found and what was expected.

    References
    ----------
    The format is described on the MNIST page, http://yann.lecun.com/exdb/mnist/ .
    """
    path = Path(path)
    try:
        with regular_file(path) as (raw, file_bytes):
            packed = raw.read(2) == _GZIP_MAGIC
            raw.seek(0)
            if not packed:
                return _read(raw, path, file_bytes, file_bytes)
            with gzip.GzipFile(fileobj=raw) as stream:
                return _read(cast(BinaryIO, stream), path, file_bytes, None)
    except EOFError as error:
        raise FileError(f"{path} ends early: the gzip stream is cut off. Fetch the file again.") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise FileError(f"{path} is a damaged gzip file: {error}. Fetch the file again.") from error
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"cannot read {path}: {error.strerror or error}. Check the path.") from error


def _read(stream: BinaryIO, path: Path, file_bytes: int, content_bytes: int | None) -> np.ndarray:
    head = stream.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _DTYPES or not 1 <= head[3] <= _MAX_DIMENSIONS:
        raise FileError(
            f"{path} is not an idx file: it begins with {head.hex(' ') or 'nothing'}, expected 00 00, a type out of "
            f"{', '.join(f'{code:02x}' for code in _DTYPES)}, and 1 to {_MAX_DIMENSIONS} dimensions."
        )
    dtype, dimensions = np.dtype(_DTYPES[head[2]]), head[3]
    sizes = stream.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise FileError(f"{path} ends early: {len(sizes)} bytes of sizes, expected {4 * dimensions}. Fetch it again.")
    shape = struct.unpack(f">{dimensions}I", sizes)
    start, body = 4 + 4 * dimensions, math.prod(shape) * dtype.itemsize
    declared = f"its sizes {' x '.join(map(str, shape))} of {dtype.name} need {body} bytes after the head"
    # Checked before anything is allocated: eight bytes of a hostile file can declare exabytes.
    if content_bytes is not None and content_bytes != start + body:
        raise FileError(f"{path} is cut off or too long: {declared}, found {content_bytes - start}. Fetch it again.")
    if content_bytes is None and start + body > file_bytes * _DEFLATE_RATIO:
        raise FileError(
            f"{path} is damaged: {declared}, more than a gzip file of {file_bytes} bytes can hold. Fetch it again."
        )
    values = bytearray()
    # Memory grows with the bytes present. One byte beyond the end is requested, which makes gzip check its checksum.
    while len(values) <= body:
        chunk = stream.read(min(_CHUNK, body + 1 - len(values)))
        if not chunk:
            break
        values += chunk
    if len(values) != body:
        found = len(values) if len(values) < body else f"more than {body}"
        raise FileError(f"{path} is cut off or too long: {declared}, found {found}. Fetch it again.")
    return np.frombuffer(values, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)
