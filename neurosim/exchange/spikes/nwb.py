"""Spikes as a file of Neurodata Without Borders."""

from __future__ import annotations

import datetime
import math
import os
from typing import Any

import h5py
import numpy as np

from neurosim.errors import InputError
from neurosim.exchange.spikes.frame import full_precision
from neurosim.exchange.spikes.populations import (
    Spikes,
    check_no_traces,
    check_one_sample,
    populations,
)
from neurosim.files.atomic import replaced
from neurosim.files.packages import optional


def write_nwb(
    path: str | os.PathLike[str],
    spikes: Spikes,
    *,
    start: datetime.datetime,
    identifier: str,
    description: str = "simulation with neurosim",
) -> None:
    """Write spikes to an NWB file, completely or not at all.

    Each neuron, silent ones too, is a row of the table of units: ``spike_times`` in s (float64), ``population``,
    ``neuron`` (index into the flattened shape) and the interval of observation, from 0 to the duration. On a grid the
    resolution of the spike times is dt.

    Parameters
    ----------
    path : path-like
        Usually ends in ``.nwb``.
    spikes : Recording, Events, or mapping of str to Events
        One sample; all populations on one grid, or all at real times.
    start : datetime.datetime
        Of the session, with its time zone: NWB requires it.
    identifier : str
        Of the session, unique: NWB requires it.
    description : str
        Of the session.

    Raises
    ------
    ModuleNotFoundError
        When pynwb is not installed.
    ExportError
        For several samples, traces, and times that are not float64.
    InputError
        When there are no spikes recorded, `start` has no time zone, `identifier` is empty, or the steps differ.
    FileError
        When the file cannot be written; an earlier file is then unchanged.
    """
    pynwb: Any = optional("pynwb", "spikes")
    check_no_traces("write_nwb", "the table of units of an NWB file", spikes)
    given = populations("write_nwb", spikes)
    check_one_sample("write_nwb", "an NWB file", given)
    if not isinstance(start, datetime.datetime) or start.tzinfo is None:
        raise InputError(f"write_nwb: start must be a datetime with a time zone; got {start!r}.")
    if not identifier:
        raise InputError("write_nwb: identifier must not be empty; str(uuid.uuid4()) gives a unique one.")
    steps = {events.dt for events in given.values()}
    if len(steps) != 1:
        raise InputError(f"write_nwb: the table of units has one resolution; got dt of {sorted(steps, key=str)} s.")
    (dt,) = steps
    file = pynwb.NWBFile(session_description=description, identifier=identifier, session_start_time=start)
    resolution = -1.0 if dt is None else dt  # -1 is NWB's word for unknown
    units = pynwb.misc.Units(name="units", description="simulated neurons", resolution=resolution)
    units.add_column("population", "population of the network")
    units.add_column("neuron", "index into the flattened shape of the population")
    for name, events in given.items():
        size = math.prod(events.shape)
        order = np.argsort(events.neuron, kind="stable")
        time = full_precision("write_nwb", name, events.time)[order]
        starts = np.searchsorted(events.neuron[order], np.arange(size + 1)).tolist()
        for k in range(size):
            units.add_unit(
                spike_times=time[starts[k] : starts[k + 1]],
                obs_intervals=[[0.0, events.duration]],
                population=name,
                neuron=k,
            )
    file.units = units
    # Given the path of the temporary file, pynwb warns of its ending.
    with replaced(path) as part, h5py.File(part, "w") as stream, pynwb.NWBHDF5IO(file=stream, mode="w") as writer:
        writer.write(file)
