"""Spikes as a table of pandas."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurosim.errors import ExportError
from neurosim.exchange.spikes.populations import Spikes, check_no_traces, populations
from neurosim.files.packages import optional


def to_pandas(spikes: Spikes) -> Any:
    """Return spikes as a `pandas.DataFrame`, one row for each.

    Parameters
    ----------
    spikes : Recording, Events, or mapping of str to Events
        All on grids, or all at real times.

    Returns
    -------
    pandas.DataFrame
        ``population`` (categorical), ``sample``, ``neuron`` (index into the flattened shape), ``step`` on a grid
        (int64), and ``time`` in s (float64). In order of the populations, then time. ``frame.attrs["populations"]``
        holds for each population ``shape``, ``B``, and ``T`` and ``dt`` or ``duration``, which rows cannot hold.

    Raises
    ------
    ModuleNotFoundError
        When pandas is not installed.
    ExportError
        For a recording with traces, for times that are not float64, and for grids and real times mixed.
    InputError
        When there are no spikes recorded.

    Examples
    --------
    >>> import neurosim as ns
    >>> events = ns.Events(step=[0, 2], neuron=[1, 0], T=3, dt=1e-3, shape=2)
    >>> frame = to_pandas({"E": events})  # doctest: +SKIP
    >>> frame.groupby("population").size()  # doctest: +SKIP
    population
    E    2
    """
    pd: Any = optional("pandas", "spikes")
    check_no_traces("to_pandas", "a table of spikes", spikes)
    given = populations("to_pandas", spikes)
    on_grid = {events.dt is not None for events in given.values()}
    if len(on_grid) != 1:
        raise ExportError("to_pandas: some populations lie on a grid and some at real times; convert them one by one.")
    parts, about = [], {}
    for name, events in given.items():
        time = full_precision("to_pandas", name, events.time)
        step = {"step": events.step} if events.dt is not None else {}
        parts.append({"sample": events.batch, "neuron": events.neuron, **step, "time": time})
        clock = {"T": events.T, "dt": events.dt} if events.dt is not None else {"duration": events.duration}
        about[name] = {"shape": events.shape, "B": events.B, **clock}
    columns = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    lengths = [len(events) for events in given.values()]
    codes = np.repeat(np.arange(len(given)), lengths)
    frame = pd.DataFrame({"population": pd.Categorical.from_codes(codes, [*given]), **columns})
    frame.attrs = {"populations": about}
    return frame


def full_precision(owner: str, name: str, time: np.ndarray) -> np.ndarray:
    """Return times in float64; refuse those of single precision, which cannot resolve a step after some seconds."""
    if time.dtype != np.float64:
        raise ExportError(
            f"{owner}: the times of {name!r} are {time.dtype}, which lose a step of 0.1 ms after a quarter of an hour. "
            "Give them in float64, or binned(dt, T)."
        )
    return time
