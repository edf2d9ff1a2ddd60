"""Read a file of events, whatever its format."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import PurePath
from types import MappingProxyType

import numpy as np

from neurosim.datasets.checks import checked_integer
from neurosim.datasets.events.columns import Columns, checked_repairs, checked_shape
from neurosim.datasets.events.container import SensorEvents
from neurosim.datasets.events.files import addresses, aedat, aedat4, event_stream, hdf5, prophesee
from neurosim.datasets.events.files.source import LARGE, PIECE, EventReader, Source
from neurosim.errors import FileError, InputError, ShapeError
from neurosim.files.paths import regular_file

LIMIT = 100_000_000  # events that are read at once
_Shape = tuple[int, ...] | None
_READERS: Mapping[str, Callable[[Source, _Shape], EventReader]] = MappingProxyType(
    {
        "aedat2": aedat.Aedat2,
        "aedat3.1": lambda source, _: aedat.Aedat31(source),
        "aedat4": lambda source, _: aedat4.Aedat4(source),
        "raw": lambda source, _: prophesee.Raw(source),
        "dat": lambda source, _: prophesee.Dat(source),
        "es": lambda source, _: event_stream.EventStream(source),
        "bin": addresses.Bin,
        "bs1": addresses.Bs1,
        "bs2": addresses.Bs2,
        "hdf5": hdf5.Hdf5,
    }
)
KINDS = tuple(_READERS)
_MAGIC = (
    (aedat.MAGIC_2, "aedat2"),
    (aedat.MAGIC_3, "aedat3.1"),
    (aedat4.MAGIC[:12], "aedat4"),
    (event_stream.MAGIC, "es"),
    (hdf5.MAGIC, "hdf5"),
)


def kind_of(path: str | os.PathLike[str], head: bytes) -> str:
    """Return the format of a file by its first bytes, or by the end of its name where the format has no mark."""
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    suffix = PurePath(path).suffix.lower().removeprefix(".")
    if head.startswith(b"%"):
        return "dat" if suffix == "dat" else "raw"
    if suffix in ("raw", "bin", "bs1", "bs2"):
        return suffix
    raise FileError(f"{path} is no file of events that is recognised. Give kind= one of {', '.join(KINDS)}.")


def event_pieces(
    path: str | os.PathLike[str],
    *,
    shape: int | tuple[int, ...] | None = None,
    kind: str | None = None,
    repair: Collection[str] = (),
) -> Iterator[SensorEvents]:
    """Read a file of events piece by piece, so that it may be larger than memory.

    Parameters
    ----------
    path, shape, kind, repair
        As for `read_events`; "sort" sorts each piece by itself.

    Yields
    ------
    SensorEvents
        About a megabyte of the file each, later than those before; all times count from the same instant.

    Raises
    ------
    FileError
        As `read_events`, when the damage is reached.
    """
    last = 0
    for columns, found in _columns(path, shape, kind, repair, PIECE):
        piece = _checked(path, columns, found, repair)
        if len(piece):
            if piece.t[0] < last:
                raise FileError(
                    f"{path}: a piece begins at {piece.t[0]} us, before the end of the one before it, {last} us. "
                    "Read the file at once with read_events(..., repair=['sort'])."
                )
            last = int(piece.t[-1])
            yield piece


def read_events(
    path: str | os.PathLike[str],
    *,
    shape: int | tuple[int, ...] | None = None,
    kind: str | None = None,
    repair: Collection[str] = (),
    limit: int = LIMIT,
) -> SensorEvents:
    """Read a file of events.

    Parameters
    ----------
    path : path-like
        AEDAT 2.0, 3.1 or 4, RAW with EVT 2.0, 2.1 or 3.0, DAT, Event Stream, ``.bin``, ``.bs1``, ``.bs2``,
        or HDF5 as DSEC and Metavision have it.
    shape : int or tuple of int, optional
        Shape of the sensor, as for `SensorEvents`; needed where the file does not state it.
    kind : str, optional
        The format, where neither the first bytes nor the end of the name tell it: "aedat2", "aedat3.1", "aedat4",
        "raw", "dat", "es", "bin", "bs1", "bs2" or "hdf5".
    repair : collection of str
        As for `SensorEvents`.
    limit : int
        Events that are read at most; `event_pieces` reads files of any length.

    Returns
    -------
    SensorEvents
        Times, columns and rows as stored.

    Raises
    ------
    FileError
        When the file is missing, truncated, damaged, of another format or version, or longer than `limit`, and for
        events outside the shape, negative times and times that fall.
    ModuleNotFoundError
        When the file is packed and the package that unpacks it is not installed.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from neurosim.datasets.events import read_events
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "1.bin"
    >>> _ = path.write_bytes(bytes([3, 5, 0x80, 0x01, 0x00]))
    >>> read_events(path, shape=(2, 34, 34))
    <SensorEvents n=1 B=1 shape=[2, 34, 34] 256 to 256 us>
    """
    most = checked_integer("limit", limit)
    parts, number = list[Columns](), 0
    sensor: tuple[int, ...] = ()
    for columns, found in _columns(path, shape, kind, repair, LARGE):
        sensor = found
        parts.append(columns)
        number += len(columns.t)
        if number > most:
            raise FileError(
                f"{path} holds more than {most:,} events. Give a larger limit, or read it with event_pieces."
            )
    filled = [part for part in parts if len(part.t)] or parts[:1]
    joined = filled[0] if len(filled) == 1 else Columns(*map(np.concatenate, zip(*filled, strict=True)))
    return _checked(path, joined, sensor, repair)


def _columns(
    path: str | os.PathLike[str],
    shape: int | tuple[int, ...] | None,
    kind: str | None,
    repair: Collection[str],
    size: int,
) -> Iterator[tuple[Columns, tuple[int, ...]]]:
    """Yield the columns of a file, at least one piece, and the shape of the sensor."""
    given = None if shape is None else checked_shape(shape)
    checked_repairs(repair)
    if kind is not None and kind not in _READERS:
        raise InputError(f"read_events: kind = {kind!r}; there are {', '.join(KINDS)}.")
    with regular_file(path) as (stream, length):
        head = stream.read(16)
        stream.seek(0)
        reader = _READERS[kind or kind_of(path, head)](Source(path, stream, length, size), given)
        found = given or reader.shape
        if found is None:
            raise FileError(f"{path} does not state the shape of its sensor. Give shape=(polarities, H, W).")
        yield Columns(np.zeros(0, np.int64), *(np.zeros(0, t) for t in (np.uint16, np.uint16, np.uint8))), found
        for columns in reader.pieces():
            yield columns, found


def _checked(
    path: str | os.PathLike[str], columns: Columns, shape: tuple[int, ...], repair: Collection[str]
) -> SensorEvents:
    try:
        return SensorEvents(*columns, shape=shape, repair=repair)
    except (InputError, ShapeError) as error:
        raise FileError(f"{path}: {str(error).removeprefix('SensorEvents: ')}") from error
