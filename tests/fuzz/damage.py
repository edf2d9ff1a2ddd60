"""Damage to files: bytes, texts, trees of plain values and HDF5 files, from one random generator."""

from __future__ import annotations

import copy
import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

# What sizes, counts and offsets become.
INTEGERS = (
    0,
    1,
    -1,
    2,
    7,
    255,
    2**15,
    2**16 - 1,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**40,
    2**62,
    2**63 - 1,
    -(2**31),
    -(2**63),
)
VALUES = (
    *(None, True, False, 0, 1, -1, 3.5, 1e308, -1e308, 1e-320, float("nan"), float("inf"), 2**63, -(2**70), 10**300),
    *("", "x", "input", "a" * 5000, "../../etc/passwd", "\0", "µ😀", "1", "nan", [], {}, [[]], [None], {"a": 1}),
)


def of_bytes(content: bytes, draw: random.Random) -> bytes:
    """Damage bytes: flipped bits, wrong sizes, cuts, moved and repeated pieces."""
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 4, 16))):
        if not data:
            break
        draw.choice(_OF_BYTES)(data, draw)
    return bytes(data)


def _flip(data: bytearray, draw: random.Random) -> None:
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def _set(data: bytearray, draw: random.Random) -> None:
    data[draw.randrange(len(data))] = draw.choice((0, 1, 127, 128, 255, draw.randrange(256)))


def _size(data: bytearray, draw: random.Random) -> None:
    kind = draw.choice(("<H", "<I", "<Q", ">H", ">I", ">Q"))
    packed = struct.pack(kind, draw.choice(INTEGERS) % (1 << 8 * struct.calcsize(kind)))
    place = draw.randrange(len(data))
    data[place : place + len(packed)] = packed[: len(data) - place]


def _cut(data: bytearray, draw: random.Random) -> None:
    del data[draw.randrange(len(data)) :]


def _remove(data: bytearray, draw: random.Random) -> None:
    place = draw.randrange(len(data))
    del data[place : place + draw.choice((1, 2, 8, 64, 512))]


def _repeat(data: bytearray, draw: random.Random) -> None:
    place = draw.randrange(len(data))
    piece = data[place : place + draw.choice((1, 2, 8, 64, 512))]
    data[place:place] = piece * draw.choice((1, 2, 20))


def _insert(data: bytearray, draw: random.Random) -> None:
    place = draw.randrange(len(data) + 1)
    data[place:place] = draw.randbytes(draw.choice((1, 4, 16, 100)))


def _blank(data: bytearray, draw: random.Random) -> None:
    place, length = draw.randrange(len(data)), draw.choice((2, 8, 64, 512))
    length = min(length, len(data) - place)
    data[place : place + length] = bytes([draw.choice((0, 255))]) * length


_OF_BYTES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    *(_flip, _flip, _set, _size, _size, _cut, _remove, _repeat, _insert, _blank),
)


def of_tree(tree: Any, draw: random.Random) -> Any:
    """Damage plain values: one or several entries become others, go, come or are wrapped."""
    tree = json.loads(json.dumps(tree)) if not _has_other_values(tree) else tree
    for _ in range(draw.choice((1, 1, 1, 2, 5))):
        places = list(_places(tree))
        if not places:
            return copy.deepcopy(draw.choice(VALUES))
        holder, key = draw.choice(places)
        kind = draw.randrange(6)
        if kind <= 2:
            holder[key] = copy.deepcopy(draw.choice(VALUES))
        elif kind == 3:
            del holder[key]
        elif kind == 4:
            deep = holder[key]
            for _ in range(draw.choice((1, 5, 60))):
                deep = draw.choice(([deep], {"a": deep}))
            holder[key] = deep
        elif isinstance(holder, dict):
            holder[draw.choice(("", "x", "neurons", "a" * 300, "\0"))] = copy.deepcopy(draw.choice(VALUES))
        else:
            holder.insert(key, copy.deepcopy(draw.choice(VALUES)))
    return tree


def _places(tree: Any) -> Any:
    level = [tree]
    while level:
        item = level.pop()
        keys = list(item) if isinstance(item, dict) else range(len(item)) if isinstance(item, list) else ()
        for key in keys:
            yield item, key
            level.append(item[key])


def _has_other_values(tree: Any) -> bool:
    level = [tree]
    while level:
        item = level.pop()
        if isinstance(item, dict):
            level.extend(item.values())
        elif isinstance(item, list):
            level.extend(item)
        elif not isinstance(item, str | int | float | None):
            return True
    return False


def of_hdf5(path: Path, draw: random.Random) -> None:
    """Damage the content of an HDF5 file that stays one: values, types, shapes, members, attributes."""
    with h5py.File(path, "r+") as file:
        for _ in range(draw.choice((1, 1, 2, 4))):
            members: list[str] = []
            file.visit(members.append)
            if not members:
                return
            name = draw.choice(sorted(members))
            member = file[name]
            if draw.random() < 0.15 or (isinstance(member, h5py.Group) and draw.random() < 0.7):
                _hdf5_member(file, name, draw)
            elif isinstance(member, h5py.Dataset):
                _hdf5_values(file, name, member, draw)
            if name in file and len(file[name].attrs) and draw.random() < 0.5:
                attribute = draw.choice(sorted(file[name].attrs))
                file[name].attrs[attribute] = draw.choice((0, -1, 2**62, 1e308, float("nan"), "text", np.zeros(3)))
            if len(file.attrs) and draw.random() < 0.3:
                attribute = draw.choice(sorted(file.attrs))
                file.attrs[attribute] = draw.choice((0, -1, 2**62, 1e308, float("nan"), "text", np.zeros(3)))


def _hdf5_member(file: h5py.File, name: str, draw: random.Random) -> None:
    kind = draw.randrange(4)
    if kind == 0:
        del file[name]
    elif kind == 1:
        del file[name]
        file[name] = draw.choice((0, -5, 2**62, np.zeros((0, 3)), np.full(4, np.nan), "text"))
    elif kind == 2:
        del file[name]
        file.create_group(name)
    elif f"{name}_more" not in file:
        file[f"{name}_more"] = draw.choice((np.arange(4), 1.5, "text"))


def _hdf5_values(file: h5py.File, name: str, member: h5py.Dataset, draw: random.Random) -> None:
    if member.dtype.kind not in "iufb":
        text = draw.choice(("", "input", "LIF", "dense", "x" * 300, "NaN"))
        del file[name]
        file[name] = text
        return
    if member.size > 10**6:
        return  # declared by damage before
    values = np.asarray(member[()])
    kind = draw.randrange(5)
    if kind <= 1 and values.size:
        flat = values.reshape(-1)
        bad = draw.choice(INTEGERS) if values.dtype.kind in "iub" else draw.choice((np.nan, np.inf, -1.0, 1e30, 0.0))
        if values.dtype.kind in "iu":
            about = np.iinfo(values.dtype)
            bad = min(max(int(bad), about.min), about.max)
        flat[draw.randrange(flat.size)] = bad
        del file[name]
        file[name] = values
    else:
        del file[name]
        if kind == 2:
            file[name] = values.reshape(-1)[: draw.randrange(values.size + 1)]
        elif kind == 3:
            file[name] = values.astype(draw.choice(("f8", "f4", "i8", "i2", "u1")), casting="unsafe")
        else:
            shape = tuple(draw.choice((1, 8, 2**20, 2**40)) for _ in range(max(values.ndim, 1)))
            file.create_dataset(name, shape, values.dtype, chunks=tuple(min(n, 8) for n in shape))
