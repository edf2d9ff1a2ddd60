"""Find the cards that are data, not code: `datasets/*.toml`, `hardware_targets/*.toml` and `pretrained/*.toml`."""

from __future__ import annotations

import configparser
from pathlib import Path
from typing import Literal

from neurosim.errors import FileError

Kind = Literal["datasets", "hardware_targets", "pretrained"]


def data_files(kind: Kind) -> list[Path]:
    """List the bundled TOML files of one kind, sorted by name.

    Parameters
    ----------
    kind : {"datasets", "hardware_targets", "pretrained"}
        Which folder.

    Returns
    -------
    list of pathlib.Path

    Raises
    ------
    FileError
        When the folder is not where an installation or a checkout has it.

    Examples
    --------
    >>> "digits" in [path.stem for path in data_files("datasets")]
    True
    """
    return sorted(_folder(kind, Path(__file__).resolve().parent.parent).glob("*.toml"))


def data_file(kind: Kind, name: str) -> Path:
    """Find one bundled TOML file by its name without the ending.

    Parameters
    ----------
    kind : {"datasets", "hardware_targets", "pretrained"}
        Which folder.
    name : str
        For example ``"mnist"`` for ``mnist.toml``.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    FileError
        When there is no such file; the message lists those there are.
    """
    known = {path.stem: path for path in data_files(kind)}
    if name not in known:
        raise FileError(
            f"no {name!r} among the bundled {kind}: there are {', '.join(known) or 'none'}. "
            f"For another file give its path, ending in .toml."
        )
    return known[name]


def _folder(kind: Kind, package: Path) -> Path:
    # A folder called `datasets` beside an installed package may belong to another package, such as Hugging Face's. So
    # it counts only beside the setup.cfg of neurosim, in a checkout. It comes first, so that a checkout does not read
    # an old copy that a build left inside the package.
    checkout = package.parent / kind
    if checkout.is_dir() and _is_checkout(package.parent):
        return checkout
    installed = package / "_data" / kind
    if installed.is_dir():
        return installed
    raise FileError(
        f"the bundled {kind} are missing: neither {installed} (an installation) nor {checkout} (a checkout) is there. "
        f"Install neurosim-toolkit again."
    )


def _is_checkout(folder: Path) -> bool:
    config = configparser.ConfigParser(interpolation=None)
    try:
        config.read(folder / "setup.cfg", encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        return False
    return config.get("metadata", "name", fallback="") == "neurosim-toolkit"
