"""What an export is given: a recording, or events of one or several populations."""

from __future__ import annotations

from collections.abc import Mapping

from neurosim.errors import ExportError, InputError
from neurosim.recording.events import Events
from neurosim.recording.recording import Recording

Spikes = Recording | Events | Mapping[str, Events]


def populations(owner: str, spikes: Spikes) -> dict[str, Events]:
    """Return events in NumPy arrays by population; events alone are the population "spikes"."""
    if isinstance(spikes, Events):
        given: Mapping[str, Events] = {"spikes": spikes}
    else:
        given = spikes.spikes if isinstance(spikes, Recording) else spikes
    if not isinstance(given, Mapping) or not all(isinstance(events, Events) for events in given.values()):
        raise InputError(f"{owner}: give a Recording, Events, or a mapping of names to Events; got {spikes!r}.")
    if not given:
        raise InputError(f"{owner}: no spikes were recorded. Give simulate(..., record=(...)) the names of nodes.")
    return {name: events.numpy() for name, events in given.items()}


def check_one_sample(owner: str, target: str, given: Mapping[str, Events]) -> None:
    """Refuse several samples, for a target that has one clock."""
    for name, events in given.items():
        if events.B != 1:
            raise ExportError(
                f"{owner}: {name!r} has {events.B} samples, and {target} holds one run. "
                "Write each to a file of its own: events.samples(k)."
            )


def check_no_traces(owner: str, target: str, spikes: Spikes) -> None:
    """Refuse traces, for a target that holds spikes only."""
    if isinstance(spikes, Recording) and spikes.traces:
        raise ExportError(
            f"{owner}: the recording has the traces {sorted(spikes.traces)}, and {target} holds spikes only. "
            "Give recording.spikes."
        )
