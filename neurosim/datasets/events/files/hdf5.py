"""HDF5 files of events: those of DSEC, and of Metavision without the codec of its own.

References
----------
Gehrig, Aarents, Gehrig and Scaramuzza 2021, "DSEC: A stereo event camera dataset for driving scenarios",
doi:10.1109/LRA.2021.3068942; Prophesee, "HDF5 event files" of the Metavision SDK's documentation.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

import h5py
import numpy as np

from neurosim.datasets.events.columns import LATEST, Columns
from neurosim.datasets.events.files.source import EventReader, Source, sized
from neurosim.errors import InputError
from neurosim.files.untrusted_hdf5 import opened_in_place

MAGIC = b"\x89HDF"
_WHAT = "an HDF5 file of events"
_BYTES = 16  # of an event, about
_KINDS = set("iub")  # of columns: integers and booleans
_SPAN = 2**36  # microseconds of which each millisecond has an entry of a table


class Hdf5(EventReader):
    """Events in arrays ``events/t``, ``x``, ``y`` and ``p`` (DSEC) or in one table ``CD/events`` (Metavision)."""

    def __init__(self, source: Source, shape: tuple[int, ...] | None) -> None:
        self._source, self.shape = source, shape
        with opened_in_place(source.path, what=_WHAT, tables=True) as file:
            columns, _ = self._arrays(file)
            side = [_integer(columns[0].parent, name) for name in ("height", "width")]
            if shape is None and side[0] is not None and side[1] is not None:
                self.shape = sized(side[0], side[1], source)

    def _arrays(self, file: h5py.File) -> tuple[list[h5py.Dataset], int]:
        """Return the arrays of t, x, y, p, or the table four times, and what is added to the times."""
        table = file.get("CD/events")
        if isinstance(table, h5py.Dataset):
            if not {"t", "x", "y", "p"} <= set(table.dtype.names or ()) or table.ndim != 1:
                raise self._source.refusal("has a table CD/events without t, x, y and p")
            kinds = "".join(table.dtype[name].kind for name in "txyp")
            if not set(kinds) <= _KINDS:
                raise self._source.refusal(f"has a table CD/events of types {kinds}; integers are read")
            return [table] * 4, 0
        arrays = [file.get(f"events/{name}") for name in "txyp"]
        if not all(isinstance(array, h5py.Dataset) and array.ndim == 1 for array in arrays):
            raise self._source.refusal(
                "has neither events/t, x, y and p nor a table CD/events. read_nirdata reads NIRData, read_nwb_spikes "
                "NWB, and read_spoken_events the Spiking Heidelberg Digits and Speech Commands"
            )
        sizes = {array.shape[0] for array in arrays}
        kinds = "".join(array.dtype.kind for array in arrays)
        if len(sizes) != 1 or not set(kinds) <= _KINDS:
            raise self._source.refusal(f"has events of lengths {sorted(sizes)} and types {kinds}; integers are read")
        offset = file.get("t_offset")
        start = 0
        if isinstance(offset, h5py.Dataset):
            if offset.size != 1 or offset.dtype.kind not in "iu":
                raise self._source.refusal("has a t_offset that is no integer")
            start = int(np.asarray(offset[()]).reshape(-1)[0])
            if abs(start) > LATEST:
                raise self._source.refusal(f"has a t_offset of {start} us")
        return arrays, start

    def pieces(self) -> Iterator[Columns]:
        """Yield the events."""
        with opened_in_place(self._source.path, what=_WHAT, tables=True) as file:
            arrays, start = self._arrays(file)
            rows = max(self._source.piece // _BYTES, 1)
            for first in range(0, arrays[0].shape[0], rows):
                part = slice(first, first + rows)
                try:
                    if arrays[0].dtype.names:
                        read = arrays[0][part]
                        t, x, y, p = (read[name] for name in "txyp")
                    else:
                        t, x, y, p = (array[part] for array in arrays)
                except (OSError, RuntimeError, ValueError) as error:
                    raise self._source.refusal(f"is damaged: {error}") from error
                if len(t) and int(t.max()) > LATEST:
                    raise self._source.refusal(f"has an event at {int(t.max())} us")
                yield Columns(t.astype(np.int64) + start, x, y, p)


def _integer(group: h5py.Group, name: str) -> int | None:
    """Return an attribute that is an integer; no other is read, since reading a text of a damaged file may hang."""
    if name not in group.attrs:
        return None
    about = group.attrs.get_id(name)
    return int(group.attrs[name]) if about.dtype.kind in "iu" and about.shape == () else None


def dsec_bytes(events: Columns, sides: tuple[int, int]) -> bytes:
    """Return events as an HDF5 file as DSEC has them, with the size of the sensor as attributes of the group."""
    start = int(events.t[0]) if len(events.t) else 0
    t = events.t - start
    span = int(t[-1]) if len(t) else 0
    if span >= _SPAN:
        raise InputError(f"write_events: the events last {span} us; this layout holds less than {_SPAN} us.")
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        group = file.create_group("events")
        for name, column in zip("txyp", (t, *events[1:]), strict=True):
            group.create_dataset(name, data=column, compression="gzip", compression_opts=4, shuffle=True)
        group.attrs["height"], group.attrs["width"] = sides
        file["t_offset"] = np.int64(start)
        index = np.searchsorted(t, np.arange(span // 1000 + 1) * 1000)
        file.create_dataset("ms_to_idx", data=index.astype(np.uint64), compression="gzip")
    return buffer.getvalue()
