"""Files whose events have times in seconds: NIRData, NWB, the Spiking Heidelberg Digits and Speech Commands.

Times are rounded to microseconds.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import h5py
import numpy as np
import torch
from torch import Tensor

from neurosim.datasets.events.columns import EXACT_IN_SECONDS, LATEST, SIDE, checked_shape, volume
from neurosim.datasets.events.container import MICROSECOND, SensorEvents
from neurosim.errors import FileError, InputError, ShapeError
from neurosim.files.atomic import replaced
from neurosim.files.untrusted_hdf5 import Group, opened

_SPOKEN = "Spiking Heidelberg Digits or Speech Commands"
_GRAPH, _NODE, _EVENTS = "NIRGraphData", "NIRNodeData", "EventData"
_CELLS = 2**27  # places of a padded array


def read_spoken_events(
    path: str | os.PathLike[str], *, channels: int = 700, samples: Sequence[int] | None = None
) -> tuple[SensorEvents, Tensor]:
    """Read the events and labels of the Spiking Heidelberg Digits or the Spiking Speech Commands.

    Parameters
    ----------
    path : path-like
        ``shd_train.h5``, ``ssc_valid.h5`` and the like.
    channels : int
        Channels of the cochlea.
    samples : sequence of int, optional
        Which samples; all if left out.

    Returns
    -------
    events : SensorEvents
        Of shape (channels,). Times, which the files have in s of half precision, are rounded to microseconds.
    labels : torch.Tensor
        int64 [B]: 0 to 19 of the digits, 0 to 34 of the commands.

    Raises
    ------
    FileError
        When the file is missing, damaged or not of this form.

    References
    ----------
    Cramer, Stradmann, Schemmel, Zenke 2022, doi:10.1109/TNNLS.2020.3044364.
    """
    checked_shape(channels)
    with opened(path, what=_SPOKEN, lists=True) as file:
        labels, spikes = file.integers("labels", shape=(None,)), file.group("spikes")
        if len(labels) and not 0 <= labels.min() <= labels.max() < 35:
            raise file.refusal("labels", f"holds {labels.min()} to {labels.max()}, where 0 to 34 is allowed.")
        for name in ("times", "units"):
            if spikes.length(name) != len(labels):
                raise spikes.refusal(
                    name, f"holds {spikes.length(name)} samples, where there are {len(labels)} labels."
                )
        chosen = list(range(len(labels)) if samples is None else samples)
        for number in chosen:
            if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or not 0 <= number < len(labels):
                raise InputError(f"read_spoken_events: sample {number!r}; the file has 0 to {len(labels) - 1}.")
        parts = [_sorted(spikes, number) for number in chosen]
    offsets = np.cumsum([0, *(len(t) for t, _ in parts)])
    t, x = (
        (np.concatenate([np.zeros(0, np.int64), *column]) for column in zip(*parts, strict=True)) if parts else ([], [])
    )
    events = _container(path, t, x, None, None, shape=(channels,), offsets=offsets)
    return events, torch.from_numpy(labels[chosen])


def _sorted(spikes: Group, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return time and channel of the spikes of a sample, sorted by time."""
    time, unit = spikes.list("times", number), spikes.list("units", number)
    if len(time) != len(unit) or unit.dtype.kind not in "iu":
        raise spikes.refusal(
            "units", f"has {len(unit)} values of {unit.dtype} for {len(time)} times in sample {number}."
        )
    t = microseconds(time)
    if t is None:
        raise spikes.refusal("times", f"of sample {number} holds a time that is negative, infinite, NaN or too large.")
    order = np.argsort(t, kind="stable")
    return t[order], unit[order].astype(np.int64)


def read_nwb_spikes(path: str | os.PathLike[str]) -> SensorEvents:
    """Read the spike times of the table of units of an NWB file; a unit is a channel.

    Parameters
    ----------
    path : path-like
        Times are rounded to microseconds.

    Returns
    -------
    SensorEvents
        One sample of shape (units,).

    Raises
    ------
    FileError
        When the file is missing, damaged, without spike times, or with times that are negative.

    References
    ----------
    Rübel et al. 2022, "The Neurodata Without Borders ecosystem for neurophysiological data science",
    doi:10.7554/eLife.78362.
    """
    with opened(path, what="an NWB file") as file:
        units = file.group("units")
        time = units.array("spike_times", shape=(None,))
        ends = units.integers("spike_times_index", shape=(None,))
        if len(ends) == 0 or (np.diff(ends, prepend=0) < 0).any() or ends[-1] != len(time):
            raise units.refusal("spike_times_index", f"does not rise to the number of spike times, {len(time)}.")
        t = microseconds(time)
        if t is None:
            raise units.refusal("spike_times", "holds a time that is negative or too large.")
    unit = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))
    order = np.argsort(t, kind="stable")
    return _container(path, t[order], unit[order], None, None, shape=(len(ends),))


def read_nirdata(
    path: str | os.PathLike[str],
    *,
    node: str | None = None,
    observable: str | None = None,
    shape: int | tuple[int, ...] | None = None,
) -> SensorEvents:
    """Read events of NIRData: a sample for each row, an address for each neuron.

    Parameters
    ----------
    path : path-like
        A file that ``nir.write_data`` or `write_nirdata` wrote.
    node, observable : str, optional
        Which of them; may be left out where there is one.
    shape : int or tuple of int, optional
        Shape of the sensor; the number of neurons in a line if left out.

    Returns
    -------
    SensorEvents
        Times are rounded to microseconds.

    Raises
    ------
    FileError
        When the file is missing or damaged, or the observable holds no events.
    """
    with opened(path, what="NIRData") as file:
        if file.attribute("__type__") != _GRAPH:
            raise file.refusal("", "is no NIRGraphData.")
        nodes = file.group("nodes")
        chosen = _one(nodes, "node", node)
        observables = nodes.group(chosen).group("observables")
        group = observables.group(_one(observables, "observable", observable))
        if group.attribute("__type__") != _EVENTS:
            raise group.refusal("", f"is {group.attribute('__type__')!r}; EventData is read.")
        index = group.integers("idx", shape=(None, None))
        time = group.array("time", shape=(None, None), finite=False)
        neurons = group.attribute("n_neurons")
        if time.shape != index.shape or isinstance(neurons, bool) or not isinstance(neurons, int):
            raise group.refusal("time", f"is of shape {list(time.shape)} for indices of {list(index.shape)}.")
        is_event = index >= 0
        t = microseconds(time[is_event].astype(np.float64))
        if t is None:
            raise group.refusal("time", "holds a time that is negative, infinite or NaN.")
        if neurons < 1 or (shape is None and neurons > SIDE):
            raise group.refusal("n_neurons", f"is {neurons}; 1 to {SIDE:,} are read, more with shape=(H, W).")
    sensor = checked_shape(neurons if shape is None else shape)
    polarities, height, width = volume(sensor)
    if polarities * height * width != neurons:
        raise InputError(f"read_nirdata: shape {list(sensor)} is not of {neurons} neurons, which {path} has.")
    rest, x = np.divmod(index[is_event], width)
    p, y = np.divmod(rest, height)
    order = np.lexsort((t, np.nonzero(is_event)[0]))
    offsets = np.concatenate(([0], np.cumsum(is_event.sum(axis=1))))
    return _container(path, *(column[order] for column in (t, x, y, p)), shape=sensor, offsets=offsets)


def write_nirdata(
    path: str | os.PathLike[str],
    events: SensorEvents,
    *,
    node: str = "input",
    observable: str = "spikes",
    duration: float | None = None,
) -> None:
    """Write events as NIRData: an array of addresses and one of times in s, a row for each sample.

    Parameters
    ----------
    path : path-like
        The file; one that exists is replaced.
    events : SensorEvents
        Any number of samples.
    node, observable : str
        Where in the graph the events belong.
    duration : float, optional
        s; up to a microsecond after the last event if left out.

    Raises
    ------
    InputError
        When the duration is shorter than the events or not finite, a name has a slash, a time is so late that seconds
        do not hold its microsecond, or a row would be too long.
    FileError
        When the file cannot be written.
    """
    if events.last >= EXACT_IN_SECONDS:
        raise InputError(
            f"write_nirdata: the last event lies at {events.last} us; times in s hold each microsecond below "
            f"{EXACT_IN_SECONDS} us. Shift the events with shifted(-first)."
        )
    span = (events.last + 1) * MICROSECOND if duration is None else duration
    is_number = isinstance(span, (int, float)) and not isinstance(span, bool)
    if not (is_number and events.last * MICROSECOND <= span < math.inf):
        raise InputError(
            f"write_nirdata: duration = {duration!r} s, but the last event lies at {events.last} us; "
            "a finite number of s from there on is allowed."
        )
    for kind, name in (("node", node), ("observable", observable)):
        if not isinstance(name, str) or not name or name == "." or "/" in name or "\0" in name:
            raise InputError(f"write_nirdata: {kind} = {name!r}; give a name without a slash.")
    sizes = np.diff(events.offsets)
    longest = int(sizes.max()) if len(sizes) else 0
    if longest * events.B > _CELLS:
        raise InputError(f"write_nirdata: {events.B} samples of up to {longest} events are more than {_CELLS} places.")
    index, time = np.full((events.B, longest), -1, np.int64), np.full((events.B, longest), np.inf)
    place = np.arange(len(events)) - np.repeat(events.offsets[:-1], sizes)
    index[events.batch, place], time[events.batch, place] = events.address, events.t * MICROSECOND
    with replaced(path) as part, h5py.File(part, "w") as file:
        file.attrs["__type__"] = _GRAPH
        holder = file.create_group(f"nodes/{node}")
        holder.attrs["__type__"] = _NODE
        group = holder.create_group(f"observables/{observable}")
        group.attrs["__type__"] = _EVENTS
        group.attrs["n_neurons"], group.attrs["t_max"] = int(np.prod(events.shape)), span
        for name, values in (("idx", index), ("time", time)):
            group.create_dataset(name, data=values, compression="gzip" if values.size else None)


def microseconds(time: np.ndarray) -> np.ndarray | None:
    """Return times in s as int64 microseconds, rounded; None if one is negative, too large or not finite."""
    exact = np.asarray(time, np.float64) / MICROSECOND
    if exact.size and not (exact.min() > -0.5 and exact.max() < LATEST):  # negated, so that NaN is caught too
        return None
    found: np.ndarray = np.rint(exact).astype(np.int64)
    return found


def _one(group: Group, kind: str, name: str | None) -> str:
    if name is not None:
        return name
    if len(group.names) != 1:
        raise group.refusal("", f"has {len(group.names)}; give {kind}= one of {', '.join(group.names[:12]) or 'none'}.")
    return group.names[0]


def _container(path: str | os.PathLike[str], *columns: object, **about: object) -> SensorEvents:
    try:
        return SensorEvents(*columns, **about)  # type: ignore[arg-type]
    except (InputError, ShapeError) as error:
        raise FileError(f"{path}: {str(error).removeprefix('SensorEvents: ')}") from error
