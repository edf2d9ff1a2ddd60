"""Packages that some files need."""

from __future__ import annotations

import importlib
from typing import Any


def optional(name: str, extra: str) -> Any:
    """Return a module of an optional package.

    Parameters
    ----------
    name : str
        Of the module.
    extra : str
        Of this package, which brings it.

    Raises
    ------
    ModuleNotFoundError
        With the line that installs it.

    Examples
    --------
    >>> optional("json", "events").__name__
    'json'
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        package = name.partition(".")[0]
        if error.name != package:
            raise
        raise ModuleNotFoundError(
            f"{package} is not installed. Install it with: pip install 'neurosim-toolkit[{extra}]'", name=package
        ) from error
