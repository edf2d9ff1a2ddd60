"""Spike files of SONATA: HDF5 with a list of times and a list of neurons for each population."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping

import h5py
import numpy as np

from neurosim.errors import ExportError, InputError
from neurosim.exchange.spikes.frame import full_precision
from neurosim.exchange.spikes.populations import Spikes, check_no_traces, check_one_sample, populations
from neurosim.files import untrusted_hdf5 as hdf5
from neurosim.files.atomic import replaced
from neurosim.recording.events import Events
from neurosim.units.times import grid_tolerance

_SORTING = {"none": 0, "by_id": 1, "by_time": 2}
_MAGIC = 0x0A7A
_MOST_STEPS, _MOST_NEURONS = 2**48, 2**40


def write_sonata(path: str | os.PathLike[str], spikes: Spikes) -> None:
    """Write spikes to a SONATA file, completely or not at all.

    The layout is ``/spikes/<population>/timestamps`` (float64, ms) and ``node_ids`` (uint64), sorted by time. SONATA
    has no place for the number of neurons and the length of the run; they are attributes of the population, which
    `read_sonata` reads and other readers skip: ``neurosim_size``, and ``neurosim_dt`` and ``neurosim_T`` or
    ``neurosim_duration``.

    Parameters
    ----------
    path : path-like
        Usually ends in ``.h5``.
    spikes : Recording, Events, or mapping of str to Events
        One sample; populations of one axis.

    Raises
    ------
    ExportError
        For several samples, traces, a population of several axes, a name with a slash, and times that are not float64.
    InputError
        When there are no spikes recorded.
    FileError
        When the file cannot be written; an earlier file is then unchanged.

    References
    ----------
    Dai et al., "The SONATA data format for efficient description of large-scale network models", PLoS Computational
    Biology 16, 2020, doi:10.1371/journal.pcbi.1007696.

    Examples
    --------
    >>> import neurosim as ns, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "spikes.h5"
    >>> write_sonata(path, {"E": ns.Events(step=[0, 3], neuron=[1, 0], T=5, dt=1e-4, shape=2)})
    >>> read_sonata(path)["E"]
    <Events n=2 T=5 dt=0.0001 s B=1 shape=[2]>
    """
    check_no_traces("write_sonata", "a SONATA spike file", spikes)
    given = populations("write_sonata", spikes)
    check_one_sample("write_sonata", "a SONATA spike file", given)
    for name, events in given.items():
        if len(events.shape) != 1:
            raise ExportError(
                f"write_sonata: {name!r} has the shape {list(events.shape)}, and SONATA numbers neurons on one axis. "
                f"Give Events of the same spikes with shape={math.prod(events.shape)}."
            )
        if not name or "/" in name or name == ".":
            raise ExportError(f"write_sonata: {name!r} cannot name a population of SONATA; use no slash.")
    with replaced(path) as part, h5py.File(part, "w") as file:
        file.attrs["magic"], file.attrs["version"] = np.uint32(_MAGIC), np.array([0, 1], dtype=np.uint32)
        for name, events in given.items():
            group = file.create_group(f"spikes/{name}")
            group.attrs.create("sorting", _SORTING["by_time"], dtype=h5py.enum_dtype(_SORTING, basetype="u1"))
            times = group.create_dataset("timestamps", data=full_precision("write_sonata", name, events.time) * 1e3)
            times.attrs["units"] = np.bytes_("ms")
            group.create_dataset("node_ids", data=np.asarray(events.neuron, dtype=np.uint64))
            group.attrs["neurosim_size"] = events.shape[0]
            if events.dt is None:
                group.attrs["neurosim_duration"] = events.duration
            else:
                group.attrs["neurosim_dt"], group.attrs["neurosim_T"] = events.dt, events.T


def read_sonata(
    path: str | os.PathLike[str],
    *,
    sizes: Mapping[str, int] | None = None,
    duration: float | None = None,
    limit: int = hdf5.LIMIT,
) -> dict[str, Events]:
    """Read a SONATA spike file.

    Parameters
    ----------
    path : path-like
    sizes : mapping of str to int, optional
        Neurons of each population, for a file that another program wrote: SONATA has no place for it.
    duration : float, optional
        Length of the run, s, for a file that another program wrote.
    limit : int
        Largest size of all arrays of the file in memory, bytes.

    Returns
    -------
    dict of str to Events
        On the grid on which `write_sonata` was given them; else at real times, s, float64: use ``binned(dt, T)``.

    Raises
    ------
    FileError
        When the file is missing, damaged, no HDF5, unsafe (`neurosim.files.untrusted_hdf5.opened`) or no SONATA, has a
        unit other than ms, or times that are not on the grid that the file declares.
    InputError
        When `sizes` or `duration` is needed, or does not hold all spikes.
    """
    with hdf5.opened(path, what="a SONATA spike file", limit=limit) as root:
        spikes = root.group("spikes")
        if not spikes.names:
            raise spikes.refusal("", "holds no population.")
        return {name: _population(spikes.group(name), name, sizes or {}, duration) for name in spikes.names}


def _population(group: hdf5.Group, name: str, sizes: Mapping[str, int], duration: float | None) -> Events:
    neuron = group.integers("node_ids", shape=(None,))
    times = group.array("timestamps", shape=neuron.shape).astype(np.float64)
    unit = group.attribute("units", of="timestamps")
    if unit not in (None, "ms"):
        raise group.refusal("timestamps", f"is in {unit!r}, where SONATA has 'ms'.")
    declared = {key: group.attribute(f"neurosim_{key}") for key in ("size", "dt", "T", "duration")}
    size = sizes.get(name, declared["size"])
    if size is None:
        raise InputError(f"read_sonata: the file does not tell the number of neurons of {name!r}; give sizes={{...}}.")
    if not isinstance(size, int) or not 1 <= size <= _MOST_NEURONS:
        raise group.refusal("", f"has {size!r} neurons, where an integer from 1 to {_MOST_NEURONS} is allowed.")
    if declared["dt"] is not None and declared["T"] is not None:
        dt, steps = declared["dt"], declared["T"]
        if not isinstance(dt, float) or not 0 < dt < 0.1 or not isinstance(steps, int) or not 0 <= steps <= _MOST_STEPS:
            raise group.refusal("", f"declares T = {steps!r} steps of {dt!r} s, which is no time grid.")
        place = times / (dt * 1e3)
        step = np.rint(place)
        off = np.abs(place - step) > grid_tolerance(steps)
        if (off | (step < 0) | (step >= steps)).any():
            raise group.refusal("timestamps", f"holds times that are not on the grid of {steps} steps of {dt:g} s.")
        return Events(step=step.astype(np.int64), neuron=_inside(group, neuron, size), shape=size, T=steps, dt=dt)
    length = declared["duration"] if duration is None else duration
    if length is None:
        raise InputError(f"read_sonata: the file does not tell the length of the run of {name!r}; give duration= in s.")
    if duration is None and (not isinstance(length, (int, float)) or not 0 <= length < math.inf):
        raise group.refusal("", f"declares a duration of {length!r}, where seconds from 0 are expected.")
    return Events(time=times * 1e-3, neuron=_inside(group, neuron, size), shape=size, duration=float(length))


def _inside(group: hdf5.Group, neuron: np.ndarray, size: int) -> np.ndarray:
    if neuron.size and not (neuron.min() >= 0 and neuron.max() < size):
        raise group.refusal("node_ids", f"holds neuron {neuron.max()}, where 0 to {size - 1} are allowed.")
    return neuron
