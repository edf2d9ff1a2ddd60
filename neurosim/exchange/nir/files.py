"""NIR files: HDF5 of unknown origin, checked before it is read, and written atomically."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from neurosim.errors import FileError
from neurosim.exchange.nir.graph import NirGraph, Node, node
from neurosim.files import untrusted_hdf5 as hdf5
from neurosim.files.atomic import replaced


def read_graph(path: str | os.PathLike[str], limit: int = hdf5.LIMIT) -> NirGraph:
    """Read a NIR file, without the `nir` package.

    Parameters
    ----------
    path : path-like
    limit : int
        Largest size of all arrays and texts of the file in memory, bytes.

    Returns
    -------
    NirGraph

    Raises
    ------
    FileError
        When the file is missing, damaged, no HDF5, no NIR, or unsafe (`neurosim.files.untrusted_hdf5.opened`).
    InputError
        When a node lacks a field of its kind.
    """
    with hdf5.opened(path, what="a NIR graph", limit=limit) as root:
        return _graph(root.group("node"), "")


def write_graph(path: str | os.PathLike[str], graph: Any) -> None:
    """Write a `nir.NIRGraph`, atomically."""
    import nir

    with replaced(path) as part:
        nir.write(part, graph)


def _graph(group: hdf5.Group, where: str) -> NirGraph:
    kind = group.text("type")
    if kind != "NIRGraph":
        raise group.refusal("type", f"is {kind!r}, where 'NIRGraph' is expected.")
    members = group.group("nodes")
    nodes: dict[str, Node | NirGraph] = {}
    for name in members.names:
        inner = members.group(name)
        kind = inner.text("type")
        if kind == "NIRGraph":
            nodes[name] = _graph(inner, f"{where}{name}.")
        else:
            fields = {key: _value(inner, key) for key in inner.names if key not in ("type", "metadata")}
            nodes[name] = node(f"{where}{name}", kind, fields)
    return NirGraph(nodes, _edges(group), _metadata(group))


def _edges(group: hdf5.Group) -> tuple[tuple[str, str], ...]:
    """Return the pairs of names in ``edges`` [E, 2]; no edges are stored as an empty array of numbers."""
    try:
        names = group.texts("edges")
    except FileError:
        if group.array("edges").size:
            raise
        return ()
    if len(names) % 2:
        raise group.refusal("edges", f"has {len(names)} names, where pairs are expected.")
    return tuple(zip(names[::2], names[1::2], strict=True))


def _metadata(group: hdf5.Group) -> Mapping[str, Any]:
    if "metadata" not in group:
        return {}
    members = group.group("metadata")
    metadata: dict[str, Any] = {}
    for name in members.names:
        try:
            metadata[name] = _value(members, name)
        except FileError:  # other programs may store anything here, groups for instance
            continue
    return metadata


def _value(group: hdf5.Group, name: str) -> np.ndarray | str:
    try:
        return group.array(name, finite=False)
    except FileError:
        return group.text(name)
