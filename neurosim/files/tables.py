"""Read TOML and JSON of unknown origin, and write TOML: sizes, nesting and numbers have limits."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neurosim.errors import FileError
from neurosim.files.paths import contents

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LARGEST_TOML = 2**20  # bytes
LARGEST_JSON = 2**26  # bytes
DEPTH = 32  # levels of tables and lists
_LONGEST_KEY = 256  # parts of a dotted key: tomllib takes quadratic time in their number
_DIGITS = 400  # of an integer; float64 ends at 309


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    dict
        Integers have at most 64 bits, as TOML states.

    Raises
    ------
    FileError
        When the file cannot be read, is no regular file, is not TOML, nests deeper than 32 levels, holds an integer of
        more than 64 bits, or is longer than 1 MiB; the message names the file.
    """
    content = contents(path, limit=LARGEST_TOML)
    try:
        text = content.decode("utf-8")
        for part in re.split(r"[\n,=\[\]{}]", text):
            if part.count(".") > _LONGEST_KEY:
                raise FileError(f"{path} is not TOML that is read: {_short(part)} has more than {_LONGEST_KEY} parts.")
        table = tomllib.loads(text)
    except FileError:
        raise
    except (ValueError, RecursionError, MemoryError) as error:
        raise FileError(f"{path} is not TOML: {str(error) or type(error).__name__}. Correct it there.") from error
    _check(table, path, "TOML", bits=64)
    return table


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    object
        Of dicts, lists, texts, numbers, booleans and None.

    Raises
    ------
    FileError
        When the file cannot be read, is no regular file, is not JSON, nests deeper than 32 levels, holds an integer of
        more than 400 digits, or is longer than 64 MiB; the message names the file.
    """
    content = contents(path, limit=LARGEST_JSON)
    try:
        value = json.loads(content, parse_int=_integer)
    except (ValueError, RecursionError, MemoryError) as error:
        raise FileError(f"{path} is not JSON: {str(error) or type(error).__name__}. It is left unchanged.") from error
    _check(value, path, "JSON", bits=None)
    return value


def toml_text(table: Mapping[str, Any]) -> str:
    r"""Return a flat table as TOML: texts, numbers, booleans and lists of them; None is left out.

    Examples
    --------
    >>> print(toml_text({"hidden": (256,), "dt": 1e-3, "dataset": "digits", "network": None, "resume": False}))
    hidden = [256]
    dt = 0.001
    dataset = "digits"
    resume = false
    <BLANKLINE>
    """
    return "".join(f"{key} = {_toml_value(value)}\n" for key, value in table.items() if value is not None)


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # A text of JSON is one of TOML, except that TOML allows no DEL in it.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Sequence):
        return f"[{', '.join(map(_toml_value, value))}]"
    return repr(value)


def _integer(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError(f"an integer of {len(digits):,} digits, where {_DIGITS} are allowed")
    return int(digits)


def _check(value: Any, path: Path, kind: str, bits: int | None) -> None:
    """Refuse deep nesting and long integers; without recursion, which a deep value would exhaust."""
    level, depth = [value], 0
    while level:
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict | list) and depth == DEPTH:
                raise FileError(f"{path} is not {kind} that is read: it nests deeper than {DEPTH} levels.")
            if isinstance(item, dict):
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
            elif bits is not None and isinstance(item, int) and not -(2 ** (bits - 1)) <= item < 2 ** (bits - 1):
                raise FileError(
                    f"{path} is not {kind} that is read: it holds an integer of {item.bit_length():,} bits, where "
                    f"{bits} with the sign are allowed."
                )
        level, depth = below, depth + 1


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
