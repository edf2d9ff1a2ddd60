"""Open an HDF5 file of unknown origin: its structure is checked before anything is read as data.

HDF5 can do more than hold numbers. A file may point into other files on the machine, declare an array larger than any
memory, ask for a decoder to be loaded from disk, contain itself, or repeat one long text a million times. `opened` and
`opened_in_place` walk through the whole file first and refuse all of that. No other module opens an HDF5 file for
reading.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neurosim.errors import FileError, NeurosimError
from neurosim.files.paths import contents, regular_file

LIMIT = 2**30  # bytes that a file may declare
RATIO = 1100  # between declared and stored bytes of a file read in place; gzip reaches 1032
UNSTORED = 2**16  # bytes that an array may declare without storing them
MEMBERS = 100_000
DEPTH = 32
# The filters that come with HDF5 itself; any other is looked for on disk, as a library, and run.
_FILTERS = {
    h5py.h5z.FILTER_DEFLATE,
    h5py.h5z.FILTER_SHUFFLE,
    h5py.h5z.FILTER_FLETCHER32,
    h5py.h5z.FILTER_SCALEOFFSET,
    h5py.h5z.FILTER_NBIT,
    h5py.h5z.FILTER_LZF,
}
_HEAP = b"GCOL\x01"
# What h5py raises on a damaged file, depending on the place of the damage.
_DAMAGE = (
    OSError,
    RuntimeError,
    zlib.error,
    ValueError,
    KeyError,
    TypeError,
    OverflowError,
    MemoryError,
    AttributeError,
)


@contextlib.contextmanager
def opened(path: str | os.PathLike[str], *, what: str, limit: int = LIMIT, lists: bool = False) -> Iterator[Group]:
    """Read an HDF5 file into memory, check all of it, and yield it.

    Parameters
    ----------
    path : path-like
        The file; it is only read.
    what : str
        What it should be, for messages, such as ``"a netx network"``.
    limit : int
        Bytes that all arrays and texts together may take in memory.
    lists : bool
        Whether arrays of lists of numbers, each of its own length, are allowed.

    Yields
    ------
    Group
        The root.

    Raises
    ------
    FileError
        When the file is missing, truncated, damaged or no HDF5; for links to other files and links that lead
        nowhere, for groups that contain themselves, arrays kept in other files, types other than numbers and text,
        filters that are not HDF5's own, arrays that declare much more than the file stores, and for more than `limit`
        bytes, 100,000 members or 32 levels.

    Examples
    --------
    >>> import h5py, tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "a.h5"
    >>> with h5py.File(path, "w") as file:
    ...     file["layer/0/weight"] = [[1.0, 2.0]]
    >>> with opened(path, what="a network") as root:
    ...     root.group("layer").group("0").array("weight", shape=(1, None))
    array([[1., 2.]])
    """
    path = Path(path)
    with contextlib.ExitStack() as held:
        with _readable(path, what):
            content = contents(path, limit=limit)
            _check_heaps(content)
            file = held.enter_context(h5py.File(io.BytesIO(content), "r"))
            _Walk(path, what, limit, content, lists=lists).check(file)
        yield Group(path, what, file)


def opened_in_place(path: str | os.PathLike[str], *, what: str, tables: bool = False) -> h5py.File:
    """Open an HDF5 file that may be larger than memory, check its structure, and return it.

    Parameters
    ----------
    path : path-like
        The file; it is only read.
    what : str
        What it should be, for messages.
    tables : bool
        Whether arrays of structures of numbers are allowed, and attributes that are texts of variable length, which
        the caller must not read.

    Returns
    -------
    h5py.File
        Open for reading; the caller closes it.

    Raises
    ------
    FileError
        As for `opened`; for texts of variable length as well, in attributes too, and for arrays that declare more
        bytes than 1 GiB or 1100 times the length of the file.
    """
    path = Path(path)
    with contextlib.ExitStack() as on_error, _readable(path, what):
        with regular_file(path) as (_, size):
            pass
        file = on_error.enter_context(h5py.File(path, "r"))
        _Walk(path, what, max(LIMIT, RATIO * size), None, tables=tables).check(file)
        on_error.pop_all()
        return file


@contextlib.contextmanager
def _readable(path: Path, what: str) -> Iterator[None]:
    """Convert what h5py raises on a damaged file to one error."""
    try:
        yield
    except NeurosimError:
        raise
    except _DAMAGE as error:
        raise FileError(
            f"{path} is not {what} that can be read: truncated, damaged or of another kind ({error}). "
            "It is left as it is."
        ) from error


def _check_heaps(content: bytes) -> None:
    """Refuse a heap of texts in which HDF5 would loop forever: free space of size 0, an item beyond the end."""
    place = content.find(_HEAP)
    while place >= 0:
        end = place + int.from_bytes(content[place + 8 : place + 16], "little")
        item = place + 16
        while item + 16 <= min(end, len(content)):
            index, size = (int.from_bytes(content[item + k : item + k + n], "little") for k, n in ((0, 2), (8, 8)))
            if index == 0 and size == 0:
                raise ValueError(f"the heap at byte {place} has free space without a size at byte {item}")
            if size > end - item:
                raise ValueError(f"the heap at byte {place} has an item of {size} bytes at byte {item}, beyond its end")
            item += -(-size // 8) * 8 + (16 if index else 0)
        place = content.find(_HEAP, place + 1)


class Group:
    """A group of a file that `opened` has checked.

    Every method raises a `FileError` that names the file, the place in it, what was found and what is expected.
    """

    def __init__(self, path: Path, what: str, group: h5py.Group) -> None:
        self._path, self._what, self._group = path, what, group

    def __contains__(self, name: str) -> bool:
        return name in self._group

    @property
    def names(self) -> tuple[str, ...]:
        """The members' names."""
        return tuple(self._group)

    def refusal(self, name: str, why: str) -> FileError:
        """Return the error to raise about the member `name`: "FILE: PLACE why"."""
        place = f"{self._group.name.rstrip('/')}/{name}" if name else self._group.name
        return FileError(f"{self._path}: {place} {why} It is left as it is.")

    def group(self, name: str) -> Group:
        """Return a member that is a group."""
        member = self._member(name)
        if not isinstance(member, h5py.Group):
            raise self.refusal(name, "is an array, where a group is expected.")
        return Group(self._path, self._what, member)

    def array(self, name: str, *, shape: Sequence[int | None] | None = None, finite: bool = True) -> np.ndarray:
        """Return a member that is an array of numbers.

        Parameters
        ----------
        name : str
        shape : sequence of int or None, optional
            The expected shape; None allows any length.
        finite : bool
            Whether NaN and infinity are refused.

        Returns
        -------
        numpy.ndarray
            Integers, booleans or floating point, as stored.
        """
        member = self._dataset(name)
        if member.dtype.kind not in "biuf":
            raise self.refusal(name, f"is of type {member.dtype}, where numbers are expected.")
        found = member.shape
        if shape is not None and (
            len(found) != len(shape) or any(b not in (None, a) for a, b in zip(found, shape, strict=True))
        ):
            wanted = ", ".join("any" if n is None else str(n) for n in shape)
            raise self.refusal(name, f"is of shape {list(found)}, where [{wanted}] is expected.")
        with _readable(self._path, self._what):
            values = np.asarray(member[()])
        if finite and values.dtype.kind == "f" and not np.isfinite(values).all():
            raise self.refusal(name, "holds NaN or infinity.")
        return values

    def integers(self, name: str, *, shape: Sequence[int | None] | None = None) -> np.ndarray:
        """Return a member whose numbers are all integers, stored in any type, as int64."""
        values = self.array(name, shape=shape)
        real = values.astype(np.float64)
        if values.dtype.kind == "f" and (real != np.round(real)).any():
            odd = real[real != np.round(real)].flat[0]
            raise self.refusal(name, f"holds {odd:g}, where integers are expected.")
        if values.size and np.abs(real).max() >= 2**62:
            raise self.refusal(name, f"holds {np.abs(real).max():g}, which is out of range.")
        return values.astype(np.int64)

    def integer(self, name: str, *, low: int | None = None, high: int | None = None) -> int:
        """Return a member that is one integer in ``low ... high``; an array of one element counts as one."""
        values = self.integers(name)
        if values.size != 1:
            raise self.refusal(name, f"is of shape {list(values.shape)}, where one number is expected.")
        value = int(values.flat[0])
        if (low is not None and value < low) or (high is not None and value > high):
            allowed = f"{'any' if low is None else low} to {'any' if high is None else high}"
            raise self.refusal(name, f"is {value}, where {allowed} is allowed.")
        return value

    def text(self, name: str) -> str:
        """Return a member that is one text; an array of one element counts as one."""
        texts = self.texts(name)
        if len(texts) != 1:
            raise self.refusal(name, f"holds {len(texts)} texts, where one is expected.")
        return texts[0]

    def texts(self, name: str) -> list[str]:
        """Return a member that is text, flattened."""
        member = self._dataset(name)
        if h5py.check_string_dtype(member.dtype) is None:
            raise self.refusal(name, f"is of type {member.dtype}, where text is expected.")
        with _readable(self._path, self._what):
            return [bytes(value).rstrip(b"\0").decode() for value in np.atleast_1d(member[()]).flat]

    def attribute(self, name: str, *, of: str = "") -> bool | int | float | str | None:
        """Return an attribute of this group, or of the member `of`, that is one number or one text; None if missing."""
        owner = self._member(of) if of else self._group
        with _readable(self._path, self._what):
            if name not in owner.attrs:
                return None
            dtype, shape = owner.attrs.get_id(name).dtype, owner.attrs.get_id(name).shape
            is_text = h5py.check_string_dtype(dtype) is not None
            if (not is_text and dtype.kind not in "biuf") or math.prod(shape) != 1:
                raise self.refusal(of, f"has the attribute {name!r} of type {dtype}; one number or text is expected.")
            value = np.asarray(owner.attrs[name]).reshape(-1)[0]
        return (value.decode() if isinstance(value, bytes) else str(value)) if is_text else value.item()

    def length(self, name: str) -> int:
        """Return the length of a member that is an array of one axis."""
        member = self._dataset(name)
        if len(member.shape) != 1:
            raise self.refusal(name, f"is of shape {list(member.shape)}, where one axis is expected.")
        return int(member.shape[0])

    def list(self, name: str, index: int) -> np.ndarray:
        """Return the list of numbers at `index` of a member that is an array [n] of such lists."""
        member = self._dataset(name)
        if _list_element(member.dtype) is None or len(member.shape) != 1:
            raise self.refusal(name, f"is of type {_shown(member.dtype)}, where lists of numbers are expected.")
        if not 0 <= index < member.shape[0]:
            raise self.refusal(name, f"holds {member.shape[0]} lists, where number {index} is needed.")
        with _readable(self._path, self._what):
            return np.asarray(member[index])

    def _member(self, name: str) -> Any:
        if name not in self._group:
            have = ", ".join(self.names[:12]) or "nothing"
            raise self.refusal(name, f"is missing; there is {have}.")
        return self._group[name]

    def _dataset(self, name: str) -> h5py.Dataset:
        member = self._member(name)
        if not isinstance(member, h5py.Dataset):
            raise self.refusal(name, "is a group, where an array is expected.")
        return member


class _Walk:
    """The check of a whole file.

    Parameters
    ----------
    path, what, limit, lists, tables
        As for `opened` and `opened_in_place`.
    content : bytes or None
        The bytes of the file; None for a file that is read in place, of which attributes are checked instead and
        nothing of variable length is allowed.
    """

    def __init__(
        self, path: Path, what: str, limit: int, content: bytes | None, *, lists: bool = False, tables: bool = False
    ) -> None:
        self._path, self._what, self._limit, self._content = path, what, limit, content
        self._lists, self._tables = lists, tables
        self._bytes = self._members = 0

    def check(self, group: h5py.Group, place: str = "", above: tuple[Any, ...] = ()) -> None:
        """Refuse what must not be read, in this group and all below it."""
        if len(above) >= DEPTH:
            raise self._refusal(place, f"lies more than {DEPTH} levels deep")
        above = (*above, self._identity(group))
        self._check_attributes(group, place)
        for name in group:
            inside = f"{place}/{name}"
            self._members += 1
            if self._members > MEMBERS:
                raise self._refusal(inside, f"is one member too many: a file may hold {MEMBERS:,}")
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise self._refusal(inside, f"points into another file, {link.filename!r}; such links are not followed")
            if isinstance(link, h5py.SoftLink):
                raise self._refusal(inside, f"is a link to {link.path!r}; links are not followed")
            member = group[name]
            if isinstance(member, h5py.Group):
                if self._identity(member) in above:
                    raise self._refusal(inside, "contains itself")
                self.check(member, inside, above)
            elif isinstance(member, h5py.Dataset):
                self._check_dataset(member, inside)
                self._check_attributes(member, inside)
            else:
                raise self._refusal(inside, f"is a {type(member).__name__}; only groups and arrays are read")

    def _check_dataset(self, dataset: h5py.Dataset, place: str) -> None:
        settings = dataset.id.get_create_plist()
        if settings.get_external_count() or dataset.is_virtual:
            raise self._refusal(place, "keeps its values in another file; such arrays are not read")
        for k in range(settings.get_nfilters()):
            number, *_, name = settings.get_filter(k)
            if number not in _FILTERS:
                raise self._refusal(
                    place, f"needs the filter {number} ({name.decode(errors='replace')}), which is not HDF5's own"
                )
        text = h5py.check_string_dtype(dataset.dtype)
        element = _list_element(dataset.dtype) if self._lists else None
        is_numbers = dataset.dtype.kind in "biuf" or (self._tables and _is_table(dataset.dtype))
        if text is None and element is None and not is_numbers:
            raise self._refusal(place, f"is of type {_shown(dataset.dtype)}; only numbers and text are read")
        # HDF5 has lists of kind 0, sequences, and 1, texts; another kind is not refused, and reading it ends Python.
        # The type as it is stored: two bytes of a frame, the class, then flags, of which the lowest bits are the kind.
        if element is not None and dataset.id.get_type().encode()[3] & 15:
            raise self._refusal(place, "holds lists of a kind that HDF5 does not define")
        if dataset.shape is None:
            raise self._refusal(place, "is an empty dataset without a shape")
        size = dataset.size * dataset.dtype.itemsize
        self._count(size, dataset, place)
        stored = dataset.id.get_storage_size()
        if is_numbers and size > max(UNSTORED, RATIO * stored):
            raise self._refusal(place, f"declares {size:,} bytes, of which the file stores {stored:,}")
        if element is not None or (text is not None and text.length is None):
            self._check_lengths(dataset, place, 1 if element is None else element.itemsize)

    def _check_lengths(self, dataset: h5py.Dataset, place: str, size: int) -> None:
        """Count the bytes of texts or lists, whose elements have `size` bytes each."""
        kind = "texts" if size == 1 and h5py.check_string_dtype(dataset.dtype) is not None else "lists"
        if dataset.size > MEMBERS:
            raise self._refusal(place, f"holds {dataset.size:,} {kind}; {MEMBERS:,} are allowed")
        for stored in self._stored(dataset, place, kind):
            # Each text or list is a length (4 bytes), the heap it lies in (8) and its number there (4). The declared
            # size of the array does not contain these lengths, and HDF5 does not check them.
            lengths = np.frombuffer(stored[: len(stored) // 16 * 16], "<u4").reshape(-1, 4)[:, 0]
            self._count(int(lengths.sum(dtype=np.int64)) * size, dataset, place)

    def _stored(self, dataset: h5py.Dataset, place: str, kind: str) -> Iterator[bytes]:
        """Yield the bytes of an array as they lie in the file, filters undone."""
        layout = dataset.id.get_create_plist().get_layout()
        content = self._content
        if content is not None and layout == h5py.h5d.CONTIGUOUS:
            start = dataset.id.get_offset() or 0
            yield content[start : start + dataset.size * 16] if start else b""
        elif (
            content is not None
            and layout == h5py.h5d.CHUNKED
            and dataset.compression in (None, "gzip")
            and not dataset.shuffle
        ):
            for k in range(dataset.id.get_num_chunks()):
                chunk = dataset.id.get_chunk_info(k)
                raw = content[chunk.byte_offset : chunk.byte_offset + chunk.size]
                packed = dataset.compression is not None and not chunk.filter_mask & 1
                yield zlib.decompressobj().decompress(raw, self._limit) if packed else raw
        else:
            raise self._refusal(place, f"holds {kind} stored in a way that is not read")

    def _check_attributes(self, owner: h5py.Group | h5py.Dataset, place: str) -> None:
        """Refuse attributes other than numbers and texts of fixed length, in a file that is read in place."""
        if self._content is not None:
            return
        for k in range(h5py.h5a.get_num_attrs(owner.id)):
            attribute = h5py.h5a.open(owner.id, index=k)
            name = f"{place or '/'} attribute {attribute.name.decode(errors='replace')!r}"
            self._members += 1
            if self._members > MEMBERS:
                raise self._refusal(name, f"is one member too many: a file may hold {MEMBERS:,}")
            is_unread_text = self._tables and h5py.check_string_dtype(attribute.dtype) is not None
            if attribute.dtype.kind not in "biufS" and not is_unread_text:
                raise self._refusal(name, f"is of type {_shown(attribute.dtype)}; only numbers and fixed text are read")

    def _count(self, size: int, dataset: h5py.Dataset, place: str) -> None:
        self._bytes += size
        if self._bytes > self._limit:
            shape = f"of shape {list(dataset.shape)} and type {_shown(dataset.dtype)}"
            raise self._refusal(place, f"{shape} brings the file to {self._bytes:,} bytes; {self._limit:,} are allowed")

    @staticmethod
    def _identity(group: h5py.Group) -> Any:
        about = h5py.h5o.get_info(group.id)
        return about.fileno, about.addr

    def _refusal(self, place: str, why: str) -> FileError:
        return FileError(f"{self._path}: {place} {why}. As {self._what} it is refused and left as it is.")


def _is_table(dtype: np.dtype[Any]) -> bool:
    """Return whether a type is a structure of numbers."""
    return dtype.names is not None and all(dtype[name].kind in "biuf" for name in dtype.names)


def _list_element(dtype: np.dtype[Any]) -> np.dtype[Any] | None:
    """Return the type of the numbers of which `dtype` holds lists, if it does."""
    element = h5py.check_vlen_dtype(dtype)
    return np.dtype(element) if element is not None and np.dtype(element).kind in "biuf" else None


def _shown(dtype: np.dtype[Any]) -> str:
    if h5py.check_string_dtype(dtype) is not None:
        return "text"
    reference = h5py.check_ref_dtype(dtype)
    sequence = h5py.check_vlen_dtype(dtype)
    return "reference" if reference else f"lists of {np.dtype(sequence)}" if sequence else str(dtype)
