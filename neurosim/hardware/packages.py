"""Where an isolated interpreter finds the packages of a judge, and for how long a judge may run."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from neurosim.errors import InputError, TargetRunError


def search_path(what: str, modules: Sequence[str], install: str) -> list[str]:
    """Return the folders of the modules; an isolated interpreter skips the user's site and PYTHONPATH.

    Parameters
    ----------
    what : str
        Name of the judge, in the error.
    modules : sequence of str
        Modules that it needs.
    install : str
        Command that installs them.

    Raises
    ------
    TargetRunError
        When one is not installed.
    """
    folders: dict[str, None] = {}
    for name in modules:
        try:
            spec = importlib.util.find_spec(name)
        except ModuleNotFoundError:
            spec = None
        if spec is None:
            raise TargetRunError(
                f"{what} cannot be used: no module named {name!r} for {sys.executable}. Install it with: {install}"
            )
        # A module that is one file has no folder of its own.
        for place in spec.submodule_search_locations or [spec.origin or ""]:
            folders[str(Path(place).parents[name.count(".")])] = None
    return list(folders)


def check_timeout(timeout: float) -> None:
    """Raise `InputError` if this is no positive number of seconds."""
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 < timeout < math.inf:
        raise InputError(f"timeout must be a positive number of seconds; got {timeout!r}.")
