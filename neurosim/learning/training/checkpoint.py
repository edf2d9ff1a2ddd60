"""Checkpoints: tensors and description of a network and, for `fit`, the state of a run. Plain data, never code."""

from __future__ import annotations

import io
import os
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor, nn

from neurosim.errors import FileError, InputError, ShapeError
from neurosim.files.atomic import replaced
from neurosim.files.paths import regular_file
from neurosim.network.description import describe, differences

FORMAT = "neurosim checkpoint"
VERSION = 2


@dataclass(frozen=True)
class Checkpoint:
    """Contents of a checkpoint file.

    Attributes
    ----------
    network : dict
        Tensors by parameter and buffer name.
    training : dict or None
        What `fit` needs to resume; None when only a network was saved.
    notes : dict
        Values passed to `save_checkpoint`.
    description : dict of str to dict
        Constants, steps, resets and edges of the network; see `neurosim.network.description`.
    """

    network: dict[str, Tensor]
    training: dict[str, Any] | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    description: dict[str, dict[str, Any]] = field(default_factory=dict)


def save_checkpoint(
    path: str | os.PathLike[str],
    net: nn.Module,
    *,
    training: Mapping[str, Any] | None = None,
    notes: Mapping[str, Any] | None = None,
) -> None:
    """Write the network's parameters and buffers to `path`, completely or not at all.

    Parameters
    ----------
    path : path-like
        The file, conventionally ending in `.pt`. An earlier file is replaced when the new one is complete.
    net : Network
        Its `state_dict` is written, and its description: constants of the cores, dt, resets, surrogates, edges.
    training : mapping, optional
        State of `fit`, for resuming.
    notes : mapping, optional
        Numbers, strings, lists, dicts and tensors of the user, such as how to build the network.

    Raises
    ------
    InputError
        When a value is of another type, which only code could restore; names its place.
    FileError
        When the file cannot be written (full disk, no permission). The earlier file is then untouched.
    """
    content = {
        "format": FORMAT,
        "version": VERSION,
        "network": _plain(net.state_dict(), "network"),
        "description": _plain(describe(net), "description"),
        "training": None if training is None else _plain(training, "training"),
        "notes": _plain(notes or {}, "notes"),
    }
    # torch.save reports a full disk as a RuntimeError of its own; bytes written by Python keep the system's reason.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with replaced(path) as part, open(part, "wb") as stream:
        stream.write(buffer.getbuffer())


def load_checkpoint(path: str | os.PathLike[str], net: nn.Module | None = None) -> Checkpoint:
    """Read a checkpoint, and copy its tensors into `net` if one is given.

    No code from the file is run. The network is changed only when every tensor fits.

    Parameters
    ----------
    path : path-like
        A file written by `save_checkpoint` or `fit`.
    net : Network, optional
        Receives the tensors, on its own device.

    Raises
    ------
    FileError
        When the file is missing, truncated, damaged, not a checkpoint, or of another format version.
    InputError, ShapeError
        When the file belongs to another network, which has other tensors, constants or edges; names the difference. The
        tensors alone can be loaded into such a network with ``net.load_state_dict(load_checkpoint(path).network)``.
    """
    file = Path(path)
    content = read_stored(file)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise FileError(f"{file} is not a neurosim checkpoint. Give a file written by fit or save_checkpoint.")
    if content.get("version") != VERSION:
        raise FileError(
            f"{file} has checkpoint version {content.get('version')!r}, this neurosim reads version {VERSION}. "
            "Install the neurosim that wrote it, or train again."
        )
    missing = {"network", "description", "training", "notes"} - content.keys()
    if missing:
        raise FileError(
            f"{file} lacks {', '.join(sorted(missing))}: it is not a complete checkpoint. Use another file."
        )
    if not isinstance(content["network"], dict) or not all(isinstance(t, Tensor) for t in content["network"].values()):
        raise FileError(f"{file} holds no tensors by name: it is not a complete checkpoint. Use another file.")
    described = content["description"]
    if not isinstance(described, dict) or not all(isinstance(part, dict) for part in described.values()):
        raise FileError(
            f"{file} holds no description of its network: it is not a complete checkpoint. Use another file."
        )
    if net is not None:
        check_fits(file, content["network"], net)
        check_same(file, described, net)
        net.load_state_dict(content["network"])
    return Checkpoint(content["network"], content["training"], content["notes"], described)


def check_fits(file: Path, tensors: Mapping[str, Tensor], net: nn.Module) -> None:
    """Raise for tensors that do not fit `net`, naming the first."""
    own = net.state_dict()
    for name in tensors:
        if name not in own:
            raise InputError(f"{file} holds {name!r}, which the network does not have: it belongs to another network.")
    for name, tensor in own.items():
        if name not in tensors:
            raise InputError(f"{file} has no {name!r}, which the network needs: it belongs to another network.")
        stored = tensors[name]
        if stored.shape != tensor.shape:
            raise ShapeError(
                f"{file}: {name!r} is {list(stored.shape)}, in the network it is {list(tensor.shape)}. "
                "Build the network with the sizes it was saved with."
            )
        if stored.dtype != tensor.dtype:
            raise InputError(
                f"{file}: {name!r} is {stored.dtype}, in the network it is {tensor.dtype}. "
                f"Convert the network first: net.to({stored.dtype})."
            )


def check_same(file: Path, description: Mapping[str, Mapping[str, Any]], net: nn.Module) -> None:
    """Raise `InputError` for a network with other constants or edges than the saved one, naming the first of them."""
    found = differences(description, describe(net))
    if found:
        more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
        raise InputError(
            f"{file} was saved from another network: {'; '.join(found[:3])}{more}. Build the network as it was, or "
            "load the tensors alone: net.load_state_dict(load_checkpoint(path).network)."
        )


def read_stored(file: Path) -> Any:
    """Return what `torch.save` wrote to a file; nothing in it is run."""
    try:
        with regular_file(file) as (stream, _):
            return _read_archive(stream)
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"cannot read checkpoint {file}: {error.strerror or error}.") from error
    except Exception as error:
        # A damaged archive can fail in any part of the reader, each with its own exception.
        raise FileError(
            f"{file} is not a complete checkpoint ({type(error).__name__}): it is truncated, damaged or of another "
            "kind. The file was not changed; use an earlier checkpoint."
        ) from error


def _read_archive(stream: BinaryIO) -> Any:
    # The archive has a checksum per entry, which torch.load does not verify.
    with zipfile.ZipFile(stream) as archive:
        packed = [info.filename for info in archive.infolist() if info.compress_type != zipfile.ZIP_STORED]
        if packed:  # torch compresses nothing; compressed data may expand far beyond the file
            raise zipfile.BadZipFile(f"{packed[0]} is compressed")
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"checksum of {damaged} is wrong")
    stream.seek(0)
    return torch.load(stream, map_location="cpu", weights_only=True)


def _plain(value: Any, place: str) -> Any:
    """Return `value` in types that load without running code; raise `InputError` for others."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, np.generic):
        return _plain(value.item(), place)
    if isinstance(value, Counter):
        return Counter({key: _plain(number, f"{place}.{key}") for key, number in value.items()})
    if isinstance(value, Mapping):
        plain = {key: _plain(item, f"{place}.{key}") for key, item in value.items()}
        return OrderedDict(plain) if isinstance(value, OrderedDict) else plain
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return type(value)(_plain(item, f"{place}[{index}]") for index, item in enumerate(value))
    raise InputError(
        f"{place} is a {type(value).__qualname__}, which a checkpoint cannot hold without code. "
        "Use numbers, strings, lists, dicts and tensors."
    )
