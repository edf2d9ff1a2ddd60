"""Packages that some files need."""

from __future__ import annotations

import importlib
from typing import Any


def optional(name: str) -> Any:
    """Return a module of an optional package.

    Raises
    ------
    ModuleNotFoundError
        With the line that installs it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        package = name.partition(".")[0]
        if error.name != package:
            raise
        raise ModuleNotFoundError(
            f"{package} is not installed. Install it with: pip install 'neurosim-toolkit[events]'", name=package
        ) from error
