"""Unpack archives of unknown origin into a folder: names, kinds and sizes of the members are checked first."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from neurosim.errors import FileError
from neurosim.files.archives import DAMAGE, unpacked
from neurosim.files.paths import regular_file

LIMIT = 2**38  # bytes of all members
MEMBERS = 2_000_000
_RATIO = 2000  # bytes of a member for each byte of it in the archive, from a mebibyte on; deflate reaches 1032
_CHUNK = 2**20
# What the readers of both kinds raise on damaged data; RuntimeError: a member that is encrypted.
_ALL_DAMAGE = (*DAMAGE, zipfile.BadZipFile, NotImplementedError, RuntimeError)
_WINDOWS = {"con", "prn", "aux", "nul"}


def unpack(path: Path, folder: Path, kind: str, *, limit: int = LIMIT) -> list[Path]:
    """Unpack an archive into a folder; archives of the same kind among its members are unpacked in turn.

    The members are written to a folder of their own first, and moved when all of them are complete. A member that is
    there already with the same size is left; nothing is overwritten.

    Parameters
    ----------
    path : pathlib.Path
        The archive.
    folder : pathlib.Path
        Where the members belong; created if it is missing.
    kind : {"zip", "tar"}
        A tar archive may be packed with gzip, bzip2, xz or lzma.
    limit : int
        Bytes of all members.

    Returns
    -------
    list of pathlib.Path
        The files.

    Raises
    ------
    FileError
        When the archive is damaged, a member lies outside the folder, is a link or a device, appears twice, or unpacks
        to more than is allowed, and when a file of another size is there already. `folder` is then as it was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    work = folder / f".{path.name}.unpacking"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        budget = [limit]
        _write(path, work, kind, budget)
        for inner in sorted(work.rglob(f"*.{kind}")):
            place = inner.with_name(f".{inner.name}.inner")
            place.mkdir()
            _write(inner, place, kind, budget)
            inner.unlink()
            _move(place, inner.parent)
        return _move(work, folder)
    except _ALL_DAMAGE as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"{path} cannot be unpacked: {error}. Nothing of it is used.") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def member_of(path: Path, name: str, target: Path, *, limit: int = LIMIT) -> None:
    """Write one member of a zip archive to a file.

    Raises
    ------
    FileError
        When the archive is damaged or does not hold it, or it unpacks to more than is allowed.
    """
    try:
        with regular_file(path) as (raw, _), zipfile.ZipFile(raw) as archive:
            try:
                info = archive.getinfo(name)
            except KeyError as error:
                raise FileError(f"{path} does not hold {name}. It is another file than the card describes.") from error
            _check_zip(path, info)
            with archive.open(info) as source:
                _copy(path, info.filename, source, target, info.file_size, [limit])
    except _ALL_DAMAGE as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"{path} cannot be unpacked: {error}. Nothing of it is used.") from error


def _write(path: Path, folder: Path, kind: str, budget: list[int]) -> None:
    """Write the members of an archive into an empty folder."""
    seen: set[str] = set()
    for name, size, source in _zip(path) if kind == "zip" else _tar(path):
        place = _place(path, name)
        key = str(place).lower()
        if key in seen:
            raise _refusal(path, name, "appears twice")
        seen.add(key)
        if len(seen) > MEMBERS:
            raise FileError(f"{path} has more than {MEMBERS:,} members. Nothing of it is used.")
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        _copy(path, name, source, target, size, budget)


def _refusal(path: Path, name: str, why: str) -> FileError:
    return FileError(f"{path}: the member {name[:100]!r} {why}. Nothing of it is used.")


def _zip(path: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    with regular_file(path) as (raw, _), zipfile.ZipFile(raw) as archive:
        for info in archive.infolist():
            if info.is_dir():
                continue
            _check_zip(path, info)
            with archive.open(info) as source:
                yield info.filename, info.file_size, source


def _check_zip(path: Path, info: zipfile.ZipInfo) -> None:
    mode = info.external_attr >> 16
    if mode and not (stat.S_ISREG(mode) or stat.S_IFMT(mode) == 0):
        raise _refusal(path, info.filename, "is no regular file")
    if info.file_size > _CHUNK and info.file_size > _RATIO * max(info.compress_size, 1):
        packed = f"{info.file_size:,} bytes of {info.compress_size:,} packed ones"
        raise _refusal(path, info.filename, f"declares {packed}")


def _tar(path: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    with regular_file(path) as (raw, _), contextlib.closing(unpacked(raw)) as plain:
        with tarfile.open(fileobj=plain, mode="r|") as archive:
            for member in archive:
                archive.members = []  # type: ignore[attr-defined]  # tarfile keeps every header it has read
                if member.isdir():
                    continue
                if not member.isreg() or member.issparse():
                    raise _refusal(path, member.name, "is no regular file")
                source: Any = archive.extractfile(member)
                yield member.name, member.size, source
        while plain.read(2**16):  # the decoder checks its checksum at the end, which tarfile does not reach
            pass


def _place(path: Path, name: str) -> Path:
    """Return where a member belongs, below the folder, or refuse its name."""
    parts = [part for part in PurePosixPath(name).parts if part != "."]
    wrong = not parts or name.startswith("/") or "\\" in name or "\0" in name or len(name) > 1000
    for part in parts:
        wrong = wrong or part == ".." or ":" in part or part.split(".")[0].lower() in _WINDOWS or part != part.strip()
    if wrong:
        raise _refusal(path, name, "lies outside the folder, or is no name")
    return Path(*parts)


def _copy(path: Path, name: str, source: IO[bytes], target: Path, size: int, budget: list[int]) -> None:
    done = 0
    with open(target, "xb") as out:
        while chunk := source.read(_CHUNK):
            done += len(chunk)
            budget[0] -= len(chunk)
            if done > size or budget[0] < 0:
                raise _refusal(path, name, "unpacks to more than is declared or allowed")
            out.write(chunk)
    if done != size:
        raise _refusal(path, name, f"is {done:,} bytes long, where {size:,} are declared")


def _move(work: Path, folder: Path) -> list[Path]:
    """Move all files to the same places below another folder; none is overwritten."""
    files = [file for file in sorted(work.rglob("*")) if file.is_file()]
    targets = [folder / file.relative_to(work) for file in files]
    for file, target in zip(files, targets, strict=True):
        _check_parents(target, folder)
        if os.path.lexists(target) and not _is_same(file, target):
            raise FileError(f"{target} is there already and differs from that of the archive. Move it away.")
    for file, target in zip(files, targets, strict=True):
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, target)
    shutil.rmtree(work)
    return targets


def _is_same(file: Path, target: Path) -> bool:
    return not target.is_symlink() and target.is_file() and target.stat().st_size == file.stat().st_size


def _check_parents(target: Path, folder: Path) -> None:
    """Refuse a link on the way from the folder to a file in it."""
    for parent in target.parents:
        if parent == folder:
            return
        if parent.is_symlink() or (parent.exists() and not parent.is_dir()):
            raise FileError(f"{parent} is a link or a file, where the archive has a folder. Move it away.")
