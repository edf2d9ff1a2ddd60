"""A card describes a dataset: contents, origin and licence."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from neurosim.errors import FileError
from neurosim.files.bundled import data_file
from neurosim.files.tables import read_toml


@dataclass(frozen=True)
class CardFile:
    """One file of a dataset.

    Attributes
    ----------
    name : str
        File name as distributed.
    part : str
        The part of the split it belongs to, ``"train"`` for example.
    holds : str
        What it holds: ``"images"`` or ``"labels"`` in idx files.
    sha256 : str or None
        Digest of the file as distributed; None: not known, not checked.
    sha256_unpacked : str or None
        Digest of the contents after gunzip; None: not known, not checked.
    url : str or None
        Where the file can be fetched from without a browser; None: by hand, from the page `Card.download`.
    md5 : str or None
        The digest that the publisher prints, where it is md5. It shows damage in transfer, not forgery.
    unpack : str or None
        ``"zip"`` or ``"tar"``: the file is an archive, whose members are read.
    member : str or None
        The address is that of a zip archive, and the file is this member of it.
    """

    name: str
    part: str
    holds: str
    sha256: str | None = None
    sha256_unpacked: str | None = None
    url: str | None = None
    md5: str | None = None
    unpack: str | None = None
    member: str | None = None


@dataclass(frozen=True)
class Card:
    """Description of a dataset, read from a TOML file by `card`.

    Attributes
    ----------
    name, title : str
        Short name, and one line for people.
    source : str
        The page that describes the data.
    download : str
        Where the files can be fetched from.
    licence, citation : str
        As the authors state them.
    format : str
        How the data is stored: ``"idx"`` for example; `neurosim.datasets.loading` has a reader for each.
    shape : tuple of int
        Shape of one sample, channels first; of one step where samples run over time.
    scale : float
        The stored value that becomes 1.0.
    classes : tuple of str
        Names of the labels 0, 1, ...; empty where the targets are values.
    counts : dict of str to int
        Number of samples in each part.
    split : str
        How the parts were made.
    folders : tuple of str
        Folders below the data root where the files are looked for, in this order.
    files : tuple of CardFile
        The files; empty where an installed package brings the data.
    note : str
        Further remarks.
    sampling : str
        Rate, steps and lengths of samples that run over time.
    validation : str
        What a fair validation part is, where the publisher has none.
    access : str
        ``"direct"``: each file has an address; ``"browser"``: the files are fetched by hand; ``"package"``: a package
        ships them; ``"generated"``: computed, there are no files.
    path : pathlib.Path
        The TOML file itself.
    """

    name: str
    title: str
    source: str
    download: str
    licence: str
    citation: str
    format: str
    shape: tuple[int, ...]
    scale: float
    classes: tuple[str, ...]
    counts: dict[str, int]
    split: str
    folders: tuple[str, ...]
    files: tuple[CardFile, ...]
    note: str
    path: Path
    sampling: str = ""
    validation: str = ""
    access: str = "browser"


def card(name: str | os.PathLike[str]) -> Card:
    """Read the card of a dataset.

    Parameters
    ----------
    name : str or path-like
        The name of a bundled card, or the path of another card (ending in ``.toml``).

    Returns
    -------
    Card

    Raises
    ------
    FileError
        For an unknown name, an unreadable file, or a card with a missing, unknown or unusable entry.

    Examples
    --------
    >>> card("mnist").counts
    {'train': 60000, 'test': 10000}
    """
    text = os.fspath(name)
    path = Path(text) if text.endswith(".toml") else data_file("datasets", text)
    return _parse(read_toml(path), path)


_TEXTS = ("name", "title", "source", "download", "licence", "citation", "format", "split")
_REQUIRED = {**dict.fromkeys(_TEXTS, "a text"), "shape": "a list of sizes", "classes": "a list of texts"}
_REQUIRED["counts"] = "a table of sample numbers"
_OPTIONAL = {"scale": "a positive number", "folders": "a list of texts", "files": "a list of tables", "note": "a text"}
_OPTIONAL |= {"sampling": "a text", "validation": "a text", "access": "a text"}
_DIGESTS = {"sha256": 64, "sha256_unpacked": 64, "md5": 32}
_FILE_KEYS = {"name", "part", "holds", "url", "member", "unpack", *_DIGESTS}
_ACCESS = ("direct", "browser", "package", "generated")
FORMATS = (
    "braille",
    "dvs-gesture",
    "event-folders",
    "exercises",
    "generated",
    "idx",
    "mat-events",
    "nmnist",
    "nmnist-small",
    "npy-events",
    "ntidigits",
    "oxford",
    "pixels",
    "qtdb",
    "scikit-learn",
    "speech-commands",
    "spoken-digits",
    "spoken-events",
    "text",
    "ts",
    "wisdm",
    "yin-yang",
)


def _parse(table: dict[str, Any], path: Path) -> Card:
    expected = {**_REQUIRED, **_OPTIONAL}
    for key in table:
        if key not in expected:
            raise FileError(
                f"card {path}: unknown entry {key!r}; a card has {', '.join(expected)}. Remove or rename it."
            )
    for key, kind in _REQUIRED.items():
        if key not in table:
            raise FileError(f"card {path}: {key!r} is missing; it is {kind}. Add it.")
    for key, kind in expected.items():
        if key in table and not _fits(table[key], kind):
            raise FileError(f"card {path}: {key} = {table[key]!r}, but it must be {kind}. Correct it.")
    access = table.get("access", "browser")
    for key, value, allowed in (("format", table["format"], FORMATS), ("access", access, _ACCESS)):
        if value not in allowed:
            raise FileError(f"card {path}: {key} = {value!r}, but it must be one of {', '.join(allowed)}.")
    files = tuple(_file(entry, table["counts"], path, table["format"]) for entry in table.get("files", []))
    if access == "direct" and not (files and all(file.url for file in files)):
        raise FileError(f"card {path}: access = 'direct', but a file has no url. Add it, or set access = 'browser'.")
    return Card(
        **{key: table[key] for key in _TEXTS},
        shape=tuple(table["shape"]),
        scale=float(table.get("scale", 1.0)),
        classes=tuple(table["classes"]),
        counts=dict(table["counts"]),
        folders=tuple(table.get("folders", [table["name"]])),
        files=files,
        **{key: table.get(key, "") for key in ("note", "sampling", "validation")},
        access=access,
        path=path,
    )


def _fits(value: object, kind: str) -> bool:
    if kind == "a text":
        return isinstance(value, str)
    if kind == "a positive number":
        return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < float("inf")
    if kind == "a table of sample numbers":
        return isinstance(value, dict) and bool(value) and all(map(_is_size, value.values()))
    if not isinstance(value, list):
        return False
    if kind == "a list of sizes":
        return bool(value) and all(map(_is_size, value))
    return all(isinstance(item, dict if kind == "a list of tables" else str) for item in value)


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _file(entry: dict[str, Any], counts: dict[str, int], path: Path, format: str) -> CardFile:
    where = f"card {path}, file {entry.get('name', '?')!r}"
    if not {"name", "part", "holds"} <= set(entry) <= _FILE_KEYS or not all(isinstance(v, str) for v in entry.values()):
        raise FileError(
            f"{where}: has the entries {', '.join(map(repr, entry))}; it needs name, part and holds, "
            f"may have {', '.join(sorted(_FILE_KEYS - {'name', 'part', 'holds'}))}, and all are texts."
        )
    if Path(entry["name"]).name != entry["name"]:
        raise FileError(f"{where}: a file name without folders is needed; folders go into `folders`.")
    if entry["part"] not in counts and entry["part"] != "all":
        raise FileError(f"{where}: part = {entry['part']!r} is not among the counts: {', '.join(counts)}.")
    if format == "idx" and entry["holds"] not in ("images", "labels"):
        raise FileError(f"{where}: holds = {entry['holds']!r}, but it must be images or labels.")
    for key, digits in _DIGESTS.items():
        if key in entry and not re.fullmatch(f"[0-9a-f]{{{digits}}}", entry[key]):
            raise FileError(
                f"{where}: {key} = {entry[key]!r} is not {digits} hexadecimal digits. Leave it out if not known."
            )
    if "url" in entry and not entry["url"].startswith(("https://", "http://")):
        raise FileError(f"{where}: url = {entry['url']!r}, but it must begin with https:// or http://.")
    if entry.get("unpack", "zip") not in ("zip", "tar"):
        raise FileError(f"{where}: unpack = {entry['unpack']!r}, but it must be zip or tar.")
    return CardFile(**cast("dict[str, str]", entry))
