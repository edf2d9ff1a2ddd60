"""Spikes and traces as a block of Neo."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from neurosim.exchange.spikes.frame import full_precision
from neurosim.exchange.spikes.populations import Spikes, populations
from neurosim.files.packages import optional
from neurosim.recording.recording import Recording


def to_neo(spikes: Spikes) -> Any:
    """Return spikes, and the traces of a recording, as a `neo.Block`.

    One segment for each sample; in it a `SpikeTrain` for each neuron, silent ones too, in s and float64, from 0 to the
    duration, and an `AnalogSignal` without a unit for each trace. One group for each population. Each train has the
    annotations ``population``, ``neuron`` (index into the flattened shape) and, on a grid, ``dt`` and ``steps``: the
    integer steps.

    Parameters
    ----------
    spikes : Recording, Events, or mapping of str to Events

    Returns
    -------
    neo.Block
        Its annotation ``populations`` holds for each population ``shape`` and ``B``. The final state of a recording
        is not part of it.

    Raises
    ------
    ModuleNotFoundError
        When neo is not installed.
    ExportError
        For times that are not float64.
    InputError
        When there are no spikes recorded.
    """
    neo: Any = optional("neo", "spikes")
    given = populations("to_neo", spikes)
    samples = max(events.B for events in given.values())
    block = neo.Block(name="neurosim", populations={n: {"shape": e.shape, "B": e.B} for n, e in given.items()})
    block.segments = [neo.Segment(name=f"sample {b}", index=b) for b in range(samples)]
    for name, events in given.items():
        group = neo.Group(name=name)
        block.groups.append(group)
        size = math.prod(events.shape)
        cell = events.batch * size + events.neuron
        order = np.argsort(cell, kind="stable")
        time = full_precision("to_neo", name, events.time)[order]
        starts = np.searchsorted(cell[order], np.arange(events.B * size + 1)).tolist()
        step = events.step[order] if events.dt is not None else None
        for k in range(events.B * size):
            part = slice(starts[k], starts[k + 1])
            grid = {} if step is None else {"dt": events.dt, "steps": step[part]}
            train = neo.SpikeTrain(
                time[part], units="s", t_stop=events.duration, population=name, neuron=k % size, **grid
            )
            block.segments[k // size].spiketrains.append(train)
            group.spiketrains.append(train)
    if isinstance(spikes, Recording):
        second = optional("quantities", "spikes").s
        for name, trace in spikes.traces.items():
            values, sampling = np.asarray(trace), spikes.samplings.get(name)
            begin, every, which = (
                (0, 1, {}) if sampling is None else (sampling.begin, sampling.every, {"neurons": sampling.neurons})
            )
            clock = {"sampling_period": spikes.dt * every * second, "t_start": spikes.dt * begin * second}
            for b in range(spikes.B):
                flat = values[:, b].reshape(len(values), -1)
                signal = neo.AnalogSignal(flat, units="dimensionless", name=name, **clock, **which)
                block.segments[b].analogsignals.append(signal)
    return block
