"""The outcomes of a sweep as one labelled data set of xarray, and that as a NetCDF file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurosim.errors import FileError, InputError
from neurosim.files.atomic import replaced
from neurosim.sweeps.outcome import Outcome
from neurosim.sweeps.trials import Plan

if TYPE_CHECKING:
    import xarray


def check_installed() -> None:
    """Refuse a sweep whose data set could not be made.

    Raises
    ------
    InputError
        When xarray or h5netcdf is not installed.
    """
    try:
        import h5netcdf  # noqa: F401
        import xarray  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"a sweep needs {error.name}. Install it with: pip install 'neurosim-toolkit[sweeps]'"
        ) from None


def prepare() -> None:
    """Let xarray load what it loads with its first data set, while workers start."""
    import xarray

    xarray.Dataset({"x": ("x", [0])})


def dataset_of(plan: Plan, outcomes: Mapping[int, Outcome], about: Mapping[str, Any]) -> xarray.Dataset:
    """Return the outcomes of all trials.

    Dimensions are the parameters, or ``trial`` for listed combinations, then ``seed``. A failed trial has its text in
    ``error`` and NaN, or an empty text, in the place of its results; beside it, integers beyond 2^53 are text.

    Parameters
    ----------
    plan : Plan
    outcomes : mapping of int to Outcome
        By number of the trial.
    about : mapping of str to str or number
        Attributes of the data set.
    """
    import xarray

    axes: dict[str, Any] = {"trial": np.arange(len(plan.cells))} if plan.axes is None else dict(plan.axes)
    if plan.seeds is not None:
        axes["seed"] = np.array(plan.seeds, dtype=np.int64)
    dims = tuple(axes)
    shape = tuple(map(len, axes.values()))
    columns, errors = _columns(outcomes, len(plan))
    seconds = np.array([outcomes[n].seconds if n in outcomes else np.nan for n in range(len(plan))])
    columns["wall_time"], columns["error"] = seconds, np.array(errors, dtype=object)
    variables: dict[str, Any] = {}
    taken = {*axes, *plan.names, *columns}
    for name, values in columns.items():
        own = tuple(_free(f"{name}_{axis}", taken) for axis in range(values.ndim - 1))
        variables[name] = ((*dims, *own), values.reshape((*shape, *values.shape[1:])))
    variables["wall_time"] = (*variables["wall_time"], {"units": "s"})
    coordinates: dict[str, Any] = {name: (name, _coordinate(values)) for name, values in axes.items()}
    if plan.axes is None:
        for name in plan.names:
            coordinates[name] = ("trial", _coordinate([cell[name] for cell in plan.cells]))
    return xarray.Dataset(variables, coordinates, dict(about))


def _free(name: str, taken: set[str]) -> str:
    """Return a name for a dimension that nothing else has, and note it."""
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _coordinate(values: Any) -> Any:
    found = np.asarray(values)
    return found.astype(object) if found.dtype.kind == "U" else found


def _columns(outcomes: Mapping[int, Outcome], total: int) -> tuple[dict[str, Any], list[str]]:
    """Return each result of all trials, and why trials failed; the first trial that did not fail says which there are.

    A trial whose results have other names or shapes fails.
    """
    errors = [outcomes[n].error if n in outcomes else "not run" for n in range(total)]
    good = [outcomes[n] for n in range(total) if not errors[n]]
    if not good:
        return {}, errors
    first = good[0]
    model = {name: _kind(value) for name, value in first.values.items()}
    for outcome in good[1:]:
        own = {name: _kind(value) for name, value in outcome.values.items()}
        if own != model:
            shown = [
                {name: shape if shape == "text" else list(shape) for name, shape in each.items()}
                for each in (own, model)
            ]
            errors[outcome.number] = f"it returned {shown[0]}, and trial {first.number} {shown[1]}; all must be alike"
    kept = np.array([n for n in range(total) if not errors[n]])
    columns = {name: _column([outcomes[n].values[name] for n in kept.tolist()], kept, total) for name in model}
    return columns, errors


def _kind(value: Any) -> Any:
    """Return the shape of a result, or that it is a text."""
    return "text" if isinstance(value, str) else getattr(value, "shape", ())


def _column(values: list[Any], kept: Any, total: int) -> Any:
    """Return values of the trials `kept` among all, with NaN or an empty text for the others."""
    if isinstance(values[0], str):
        column = np.full(total, "", dtype=object)
        column[kept] = values
        return column
    found = np.array(values)
    if found.dtype == object:  # integers above 64 bits
        found = found.astype(np.float64)
    if len(values) == total:
        return found
    if found.dtype.kind in "iu" and found.size and max(abs(int(found.min())), abs(int(found.max()))) > 2**53:
        text = np.full((total, *found.shape[1:]), "", dtype=object)  # a number with NaN beside it would be rounded
        text[kept] = found.astype(str)
        return text
    dtype = np.result_type(found.dtype, np.float32 if found.dtype.itemsize < 4 else np.float64)
    column = np.full((total, *found.shape[1:]), np.nan, dtype=dtype)
    column[kept] = found
    return column


def write(dataset: xarray.Dataset, path: Path) -> None:
    """Write a data set to a NetCDF file, completely or not at all."""
    import h5netcdf
    from xarray.backends import H5NetCDFStore

    # Dataset.to_netcdf loads Dask where it is installed.
    with replaced(path) as part, h5netcdf.File(part, "w") as file:
        dataset.dump_to_store(H5NetCDFStore(file))


def load_sweep(path: str | os.PathLike[str]) -> xarray.Dataset:
    """Read the data set of a sweep into memory.

    Parameters
    ----------
    path : path-like
        NetCDF file that `neurosim.sweep` wrote.

    Raises
    ------
    FileError
        When it cannot be read.
    InputError
        When xarray is not installed.
    """
    check_installed()
    import xarray

    try:
        return xarray.load_dataset(path, engine="h5netcdf")
    except (OSError, ValueError, KeyError) as error:
        raise FileError(f"{path} cannot be read as the data set of a sweep: {error}") from error


def attributes(what: str, plan: Plan, digest: str, more: Mapping[str, str]) -> dict[str, Any]:
    """Return the attributes of a data set, as NetCDF can hold them."""
    return {"sweep": what, "digest": digest, "trials": len(plan), "plan": json.dumps(plan.about()), **more}
