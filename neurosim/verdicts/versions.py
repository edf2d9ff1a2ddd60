"""Versions of the programs that judge."""

from __future__ import annotations

import importlib.metadata


def version(distribution: str) -> str:
    """Return the version of an installed distribution, or "unknown"."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
