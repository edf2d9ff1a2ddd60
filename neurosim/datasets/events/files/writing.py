"""Write a file of events."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import PurePath
from types import MappingProxyType

from neurosim.datasets.events.columns import Columns, volume
from neurosim.datasets.events.container import SensorEvents
from neurosim.datasets.events.files import addresses, hdf5, prophesee_writing
from neurosim.errors import InputError
from neurosim.files.atomic import replaced

_BYTES: Mapping[str, Callable[[Columns, tuple[int, int]], bytes]] = MappingProxyType(
    {
        "evt2": prophesee_writing.evt2_bytes,
        "evt3": prophesee_writing.evt3_bytes,
        "bin": lambda events, _: addresses.bin_bytes(events),
        "bs2": lambda events, _: addresses.bin_bytes(events, rows=256),
        "hdf5": hdf5.dsec_bytes,
        "bs1": lambda events, sides: addresses.bs1_bytes(events, sides),
    }
)
_SUFFIXES = {".bin": "bin", ".bs1": "bs1", ".bs2": "bs2", ".h5": "hdf5", ".hdf5": "hdf5"}


def write_events(path: str | os.PathLike[str], events: SensorEvents, *, kind: str | None = None) -> None:
    """Write the events of one sample to a file, completely or not at all.

    Parameters
    ----------
    path : path-like
        The file; one that exists is replaced.
    events : SensorEvents
        One sample.
    kind : str, optional
        "evt2" or "evt3" for RAW files, "bin", "bs1", "bs2", or "hdf5" (the layout of DSEC); by the end of the name if
        left out.

    Raises
    ------
    InputError
        For several samples, and for times and addresses that the format does not hold.
    FileError
        When the file cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from neurosim.datasets.events import SensorEvents, read_events, write_events
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "events.raw"
    >>> events = SensorEvents([5, 9], [1, 0], [0, 1], [1, 0], shape=(2, 2, 3))
    >>> write_events(path, events, kind="evt3")
    >>> read_events(path) == events
    True
    """
    chosen = kind or _SUFFIXES.get(PurePath(path).suffix.lower(), "")
    if chosen not in _BYTES:
        raise InputError(f"write_events: kind = {kind!r} for {path}; give one of {', '.join(_BYTES)}.")
    if events.B != 1:
        raise InputError(f"write_events: the file holds one sample; got {events.B}. Give events.samples(k).")
    _, height, width = volume(events.shape)
    content = _BYTES[chosen](Columns(events.t, events.x, events.y, events.p), (height, width))
    with replaced(path) as part:
        part.write_bytes(content)
