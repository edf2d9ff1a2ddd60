"""Files of data that installed packages ship: they are read in place, and the package is not imported."""

from __future__ import annotations

import importlib.util
from pathlib import Path

PACKAGES = {"aeon": "aeon", "seglearn": "seglearn"}  # import name: distribution


def packaged(package: str, place: str) -> Path | None:
    """Return the folder `place` inside an installed package, or None where there is none."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations))) / place
    return folder if folder.is_dir() else None
