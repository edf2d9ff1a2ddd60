"""Read arrays of NumPy files of unknown origin: the declared size is compared with the file before memory is taken."""

from __future__ import annotations

import io
import math
import os
import zipfile
import zlib
from collections.abc import Sequence

import numpy as np

from neurosim.errors import FileError
from neurosim.files.paths import contents, regular_file

LIMIT = 2**30  # bytes of an array
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_npy(path: str | os.PathLike[str]) -> np.ndarray:
    """Read an array of numbers from a ``.npy`` file.

    Raises
    ------
    FileError
        When the file is missing, damaged, longer than 1 GiB, or holds objects.
    """
    return npy_array(os.fspath(path), contents(path, limit=LIMIT))


def npy_array(name: str, content: bytes) -> np.ndarray:
    """Return the array of numbers that the bytes of a ``.npy`` file hold."""
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        shape, fortran, kind = _HEADERS[version](stream)
    except (ValueError, KeyError, TypeError, SyntaxError, RecursionError, MemoryError, OverflowError) as error:
        raise FileError(f"{name} is no .npy file that is read: {error}. Fetch it again.") from error
    if kind.kind not in "biuf":
        raise FileError(f"{name} holds {kind}, where numbers are expected. Nothing of it is read.")
    place = stream.tell()
    if any(side < 0 for side in shape) or math.prod(shape) * kind.itemsize != len(content) - place:
        raise FileError(
            f"{name} declares {kind} of shape {list(shape)}, but holds {len(content) - place:,} bytes. Fetch it again."
        )
    flat = np.frombuffer(content, kind, offset=place)
    return flat.reshape(shape, order="F" if fortran else "C")


def read_npz(path: str | os.PathLike[str], names: Sequence[str]) -> dict[str, np.ndarray]:
    """Read arrays of numbers by name from a ``.npz`` file.

    Raises
    ------
    FileError
        When the file is missing or damaged, lacks an array, or an array is longer than 1 GiB or holds objects.
    """
    found = {}
    with regular_file(path, limit=LIMIT) as (stream, _):
        try:
            with zipfile.ZipFile(stream) as archive:
                for name in names:
                    size = archive.getinfo(f"{name}.npy").file_size
                    if size > LIMIT:
                        raise FileError(f"{path}: {name} declares {size:,} bytes; {LIMIT:,} are allowed.")
                    with archive.open(f"{name}.npy") as member:
                        found[name] = npy_array(f"{path}: {name}", member.read(LIMIT + 1))
        except KeyError as error:
            raise FileError(f"{path} lacks the array {name!r}; it needs {', '.join(names)}.") from error
        except (zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError, NotImplementedError) as error:
            if isinstance(error, FileError):
                raise
            raise FileError(f"{path} is no complete .npz file: {error}. Fetch it again.") from error
    return found
