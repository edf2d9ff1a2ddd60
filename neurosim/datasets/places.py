"""Find the files that a card names, and compare their digests."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from neurosim.datasets.cards import Card, CardFile
from neurosim.errors import FileError

ROOT = "NEUROSIM_DATA"


def located(
    card: Card, root: str | os.PathLike[str] | None, *, verify: bool = True, parts: tuple[str, ...] = ()
) -> dict[CardFile, Path]:
    """Return the path of each file of a card.

    Parameters
    ----------
    card : Card
        With files.
    root : path-like or None
        The data root, or the file itself where there is one. Default: the environment variable ``NEUROSIM_DATA``.
    verify : bool
        Compare digests, where the card states them.
    parts : tuple of str
        The parts of the split whose files are needed; all if empty.

    Raises
    ------
    FileError
        When a file is missing, or not the one of the card.
    """
    wanted = tuple(file for file in card.files if not parts or file.part in parts)
    found = _find(card, wanted, root)
    if verify:
        for file, path in found.items():
            check_digest(file, path)
    return found


def _find(card: Card, files: tuple[CardFile, ...], root: str | os.PathLike[str] | None) -> dict[CardFile, Path]:
    fetch = f"Get them from {card.download} ({card.source})."
    root = root if root is not None else os.environ.get(ROOT) or None
    if root is None:
        raise FileError(
            f"no folder to read {card.name} from: give `root` or set the environment variable {ROOT} to the "
            f"folder that holds {card.folders[0]}/{files[0].name} and the others. {fetch}"
        )
    if len(files) == 1 and Path(root).is_file():
        return {files[0]: Path(root)}
    folders = [Path(root) / name for name in card.folders] + [Path(root)]
    missing: list[str] = []
    for folder in folders:
        paths = {file: _either(folder, file.name) for file in files}
        if all(paths.values()):
            return {file: path for file, path in paths.items() if path is not None}
        if any(paths.values()) and not missing:
            missing = [f"{folder} lacks {', '.join(file.name for file, path in paths.items() if path is None)}"]
    raise FileError(
        f"{card.name} not found below {root}: looked for {', '.join(file.name for file in files)} "
        f"(or without .gz) in {', '.join(map(str, folders))}{'; ' + missing[0] if missing else ''}. {fetch}"
    )


def _either(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / name.removesuffix(".gz")) if path.is_file()), None)


def check_digest(file: CardFile, path: Path) -> None:
    """Refuse a file whose digest is not the one of the card, where the card states one."""
    unpacked = file.name.endswith(".gz") and path.suffix != ".gz"
    stated = file.sha256_unpacked if unpacked else file.sha256
    if stated is None:
        return
    digest = sha256_of(path)
    if digest != stated:
        raise FileError(
            f"{path} is not the file that the card describes: its sha256 is {digest}, expected {stated}. "
            f"Fetch it again, or pass verify=False if it is a modified copy."
        )


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}. Check its permissions.") from error
    return digest.hexdigest()
