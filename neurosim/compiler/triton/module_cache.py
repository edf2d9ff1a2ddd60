"""The cache folder of generated Python files, which are written completely or not at all."""

from __future__ import annotations

import atexit
import functools
import hashlib
import os
import shutil
import tempfile
import warnings
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

from neurosim.errors import FileError
from neurosim.files.atomic import replaced


def folder() -> Path:
    """Return the cache folder: NEUROSIM_CACHE_DIR, or the user's cache folder of the system."""
    import platformdirs

    return Path(os.environ.get("NEUROSIM_CACHE_DIR") or platformdirs.user_cache_dir("neurosim"))


def module(name: str, text: str) -> ModuleType:
    """Return the Python source `text` as a module from a file in the cache, which Triton and debuggers read.

    Parameters
    ----------
    name : str
        Start of the file name; a hash of `text` follows.
    text : str
        The source.
    """
    path = _written(f"{name}_{hashlib.sha256(text.encode()).hexdigest()[:16]}.py", text)
    made = ModuleType(path.stem)
    made.__file__ = str(path)
    SourceFileLoader(path.stem, str(path)).exec_module(made)
    return made


def _written(name: str, text: str) -> Path:
    path = folder() / "kernels" / name
    if _holds(path, text):
        return path
    try:
        with replaced(path) as part:
            part.write_text(text, encoding="utf-8")
    except FileError:
        path = _instead_of(path.parent) / name
        path.write_text(text, encoding="utf-8")
    return path


def _holds(path: Path, text: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") == text
    except (OSError, UnicodeDecodeError):
        return False


@functools.cache
def _instead_of(refused: Path) -> Path:
    """Return a folder of this process for when the cache folder cannot be written, and say so once."""
    made = tempfile.mkdtemp(prefix="neurosim-")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    warnings.warn(
        f"{refused} cannot be written: generated kernels go to a temporary folder, anew in every process. "
        "Name a folder that you may write to in the environment variable NEUROSIM_CACHE_DIR.",
        RuntimeWarning,
        stacklevel=2,
    )
    return Path(made)
