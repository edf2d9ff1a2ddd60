"""``neurosim sweep``: a sweep that a TOML file describes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from neurosim.cli.choices import function_in, is_own
from neurosim.cli.results import Result
from neurosim.errors import FileError
from neurosim.files.tables import read_toml
from neurosim.sweeps import sweep

_FUNCTIONS = ("function", "measure")
_OTHERS = ("path", "seeds", "workers", "dask", "batch", "steps", "seconds", "record", "engine", "chunk")
_TABLES = ("parameters", "slurm")


def run(
    file: Path, path: Path | None, workers: int | None, dask: str | None, *, resume: bool, progress: bool
) -> Result:
    """Run the sweep of a file; what is given here comes before it.

    Raises
    ------
    FileError
        When the file cannot be read, lacks something or holds something else.
    """
    table = read_toml(file)
    known = (*_FUNCTIONS, *_OTHERS, *_TABLES)
    for key in table:
        if key not in known:
            raise FileError(f"{file}: unknown key {key!r}. Allowed: {', '.join(known)}.")
    for key in ("function", "parameters"):
        if key not in table:
            raise FileError(f"{file}: {key} is missing. Write {_EXAMPLE[key]}.")
    for key in _TABLES:
        if key in table and not isinstance(table[key], Mapping):
            raise FileError(f"{file}: {key} must be a table. Write {_EXAMPLE[key]}.")
    options = {key: table[key] for key in _OTHERS if key in table}
    given = {"path": None if path is None else str(path), "workers": workers, "dask": dask}
    options.update({key: value for key, value in given.items() if value is not None})
    if "path" not in options:
        raise FileError(f"{file}: path is missing. Write {_EXAMPLE['path']}, or give --out.")
    if not isinstance(options["path"], str):
        raise FileError(f"{file}: path must be a text. Write {_EXAMPLE['path']}.")
    if "measure" in table:
        options["measure"] = _function(file, table, "measure")
    if "slurm" in table:
        options["slurm"] = dict(table["slurm"])
    found = sweep(_function(file, table, "function"), table["parameters"], resume=resume, progress=progress, **options)
    failed = int((found["error"] != "").sum())
    names = [str(name) for name in found.data_vars if name not in ("error", "wall_time")]
    content = {
        "path": options["path"],
        "trials": int(found["error"].size),
        "failed": failed,
        "dimensions": {str(name): int(size) for name, size in found.sizes.items()},
        "results": names,
        "seconds": float(found["wall_time"].sum()),
    }
    lines = [
        f"{content['trials']} trials, {failed} failed; {content['seconds']:.1f} s of trials in all.",
        f"Wrote {options['path']}: {', '.join(names) or 'no results'} by {', '.join(map(str, found['error'].dims))}.",
    ]
    return Result("\n".join(lines), content)


_EXAMPLE = {
    "function": 'function = "model.py:trial"',
    "parameters": "a table such as [parameters] with g = [3.0, 5.0]",
    "path": 'path = "sweep.nc"',
    "slurm": 'a table such as [slurm] with slurm_partition = "cpu"',
}


def _function(file: Path, table: Mapping[str, Any], key: str) -> Callable[..., Any]:
    if not isinstance(table[key], str) or not is_own(table[key]):
        raise FileError(f'{file}: {key} must be "FILE.py:FUNCTION"; got {table[key]!r}.')
    return function_in(key, table[key])
