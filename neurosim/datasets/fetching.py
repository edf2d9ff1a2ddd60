"""Fetch the files of a data set to a folder: downloaded or given by their paths, checked, then unpacked."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from neurosim.datasets.cards import Card, CardFile, card
from neurosim.datasets.places import ROOT, sha256_of
from neurosim.errors import FileError
from neurosim.files.atomic import replaced
from neurosim.files.downloads import NeedsBrowser, download
from neurosim.files.lock import owned
from neurosim.files.paths import output_folder
from neurosim.files.unpacking import member_of, unpack

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Unverified:
    """A file whose sha256 the card does not state.

    Attributes
    ----------
    name : str
        Of the file.
    path : pathlib.Path
        Where it lies, before it is used.
    size : int
        Bytes.
    sha256 : str
        Of the file as it came.
    md5 : bool
        Whether it has the md5 that the card states; False where it states none. md5 shows damage, not forgery.
    """

    name: str
    path: Path
    size: int
    sha256: str
    md5: bool


Confirm = Callable[[Unverified], bool]


def fetch(
    name: str | os.PathLike[str],
    root: str | os.PathLike[str] | None = None,
    *,
    files: Sequence[str | os.PathLike[str]] = (),
    confirm: Confirm | None = None,
    progress: Progress | None = None,
) -> Path:
    """Fetch the files of a data set, so that its function finds them below the data root.

    A download that was interrupted goes on where it ended. A file is used when it has the sha256 of the card; where the
    card states none, `confirm` decides. What is there already is checked and kept.

    Parameters
    ----------
    name : str or path-like
        A bundled card (see `dataset_names`), or a TOML file.
    root : path-like, optional
        The data root; the files go into its folder of the card. Default: the environment variable ``NEUROSIM_DATA``.
    files : sequence of path-like
        Files that were fetched by hand, with the names that the card gives them; they are not downloaded, but checked
        and unpacked all the same.
    confirm : callable, optional
        Is given an `Unverified` and returns whether the file is used. Without it such a file is refused.
    progress : callable, optional
        Called with the name of the file, the bytes that are there, and those of all, None where that is not known.

    Returns
    -------
    pathlib.Path
        The folder of the data set.

    Raises
    ------
    FileError
        When a file has to be fetched with a browser (the message says from where and where to put it), is not the one
        of the card, is not confirmed, or cannot be downloaded or unpacked; when another process fetches to the folder.

    Notes
    -----
    ``fetch("yin_yang", "data")`` returns the folder ``data/yin_yang``; an example that runs would need the network.
    """
    about = card(name)
    given = root if root is not None else os.environ.get(ROOT)
    if not given:
        raise FileError(f"no folder to fetch {about.name} to: give `root` or set the environment variable {ROOT}.")
    if not about.files:
        raise FileError(f"{about.name} has no files to fetch: {_how(about)}")
    paths = _by_name(about, files)
    folder = output_folder(Path(given) / about.folders[0])
    absent = [file for file in about.files if not _is_there(folder, file)]
    if not absent:
        return folder
    missing = []
    with owned(folder):
        for file in absent:
            if _is_there(folder, file):  # another process has fetched it meanwhile
                continue
            if file.name in paths:
                _use(about, file, paths[file.name], folder, confirm)
            elif not file.unpack and (folder / file.name).is_file():
                _use(about, file, folder / file.name, folder, confirm)
            elif file.url is None:
                missing.append(file)
            else:
                _downloaded(about, file, folder, confirm, progress)
    if missing:
        raise FileError(_by_hand(about, missing, folder))
    return folder


def _how(about: Card) -> str:
    if about.access == "generated":
        return f"it is computed. {about.note}".strip()
    return f"see {about.download} ({about.source})."


def _by_hand(about: Card, files: Sequence[CardFile], folder: Path) -> str:
    names = ", ".join(file.name for file in files)
    return (
        f"{about.name}: {names} must be fetched with a browser. Open {about.download} and save "
        f"{'it' if len(files) == 1 else 'them'}, then give {'its path' if len(files) == 1 else 'their paths'}: "
        f"neurosim data fetch {about.name} --file PATH, or put what the archive holds in {folder}."
    )


def _by_name(about: Card, files: Sequence[str | os.PathLike[str]]) -> dict[str, Path]:
    known = {file.name for file in about.files}
    paths = {}
    for each in files:
        path = Path(each)
        if path.name not in known:
            raise FileError(f"{path} is none of the files of {about.name}: {', '.join(sorted(known))}. Rename it.")
        if not path.is_file():
            raise FileError(f"cannot read {path}: there is no such file. Check the path.")
        paths[path.name] = path
    return paths


def _mark(folder: Path, file: CardFile) -> Path:
    """Return the file that says which archive was unpacked, or which unknown file was confirmed."""
    return folder / f".{file.name}.fetched.json"


def _is_there(folder: Path, file: CardFile) -> bool:
    """Return whether a file of the card, or what was unpacked from it, lies in the folder; refuse another one."""
    try:
        marked = json.loads(_mark(folder, file).read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        marked = None
    if file.unpack:
        return marked is not None and (file.sha256 is None or marked == file.sha256)
    path = folder / file.name
    if not path.is_file():
        return False
    stated = file.sha256 or marked
    digest = sha256_of(path)
    if stated is not None and digest != stated:
        raise FileError(
            f"{path} is not the file expected: its sha256 is {digest}, expected {stated}. It is left as it is; "
            "move it away to fetch it again."
        )
    return stated is not None


def _downloaded(about: Card, file: CardFile, folder: Path, confirm: Confirm | None, progress: Progress | None) -> None:
    assert file.url is not None
    part = folder / f".{file.name}.part"
    whole = folder / f".{file.name}.downloaded"
    if not whole.exists():
        reported = None if progress is None else _named(progress, file.name)
        try:
            download(file.url, part, progress=reported)
        except NeedsBrowser as error:
            raise FileError(f"{error} {_by_hand(about, [file], folder)}") from error
        os.replace(part, whole)
    try:
        if file.member:
            inside = folder / f".{file.name}.member"
            inside.unlink(missing_ok=True)
            try:
                member_of(whole, file.member, inside)
                _use(about, file, inside, folder, confirm)
            finally:
                inside.unlink(missing_ok=True)
        else:
            _use(about, file, whole, folder, confirm)
    except _NotConfirmed:
        raise
    except FileError:
        whole.unlink(missing_ok=True)  # it is not what was asked for, and would be so again
        raise
    whole.unlink(missing_ok=True)


def _named(progress: Progress, name: str) -> Callable[[int, int | None], None]:
    return lambda done, total: progress(name, done, total)


class _NotConfirmed(FileError):
    """A file without a known digest that nobody confirmed; it stays where it was downloaded to."""


def _use(about: Card, file: CardFile, path: Path, folder: Path, confirm: Confirm | None) -> None:
    """Check a file, then copy it to its place or unpack it."""
    digest = sha256_of(path)
    if file.sha256 is not None:
        if digest != file.sha256:
            raise FileError(
                f"{file.name} is not the file that the card of {about.name} describes: its sha256 is {digest}, "
                f"expected {file.sha256}. It is not used."
            )
    else:
        same = _md5(path) == file.md5 if file.md5 else False
        if file.md5 and not same:
            raise FileError(f"{file.name} does not have the md5 {file.md5} that its publisher states. It is not used.")
        found = Unverified(file.name, path, path.stat().st_size, digest, same)
        if confirm is None or not confirm(found):
            raise _NotConfirmed(
                f"{file.name}: no sha256 is known for it, so that it has to be confirmed. It has {found.size:,} bytes, "
                f"sha256 {digest}{' and the stated md5' if same else ''}. Compare these with the publisher's, then run "
                f"neurosim data fetch {about.name} --accept-unverified."
            )
    if file.unpack:
        unpack(path, folder, file.unpack)
    elif path != folder / file.name:
        with replaced(folder / file.name) as part:
            shutil.copyfile(path, part)
    if file.unpack or file.sha256 is None:
        with replaced(_mark(folder, file)) as part:
            part.write_text(json.dumps({"name": file.name, "sha256": digest}), encoding="utf-8")


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
