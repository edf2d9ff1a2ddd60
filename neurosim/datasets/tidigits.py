"""N-TIDIGITS: spoken digits through a silicon cochlea of 64 channels."""

from __future__ import annotations

import os

import numpy as np
import torch

from neurosim.datasets.cards import Card, card
from neurosim.datasets.events.container import SensorEvents
from neurosim.datasets.events.files.seconds import microseconds
from neurosim.datasets.events.sets import EventSet
from neurosim.datasets.parts import Parts
from neurosim.datasets.places import located
from neurosim.errors import FileError
from neurosim.files.untrusted_hdf5 import Group, opened

_HELD_OUT = 0.1  # share of the speakers


def ntidigits(root: str | os.PathLike[str] | None = None, *, verify: bool = True) -> Parts[EventSet]:
    """Load the single digits of N-TIDIGITS18: eleven words (o and z are both 0) by 225 speakers.

    Parameters
    ----------
    root : path-like, optional
        The data root, with ``n-tidigits.hdf5`` in ``ntidigits/`` or itself, or this file. Default: the environment
        variable ``NEUROSIM_DATA``.
    verify : bool
        Compare the digest, where the card states one.

    Returns
    -------
    Parts of EventSet
        "train", "test": events of shape (64,), the speaker as group. The parts have different speakers. `held_out`
        takes a tenth of the training speakers, the last in the order of their names.

    Raises
    ------
    FileError
        When the file is missing or damaged.

    References
    ----------
    Anumula, Neil, Delbruck and Liu 2018, "Feature representations for neuromorphic audio spike streams",
    doi:10.3389/fnins.2018.00023.
    """
    return load_ntidigits(card("ntidigits"), root, verify=verify)


def load_ntidigits(card: Card, root: str | os.PathLike[str] | None = None, *, verify: bool = True) -> Parts[EventSet]:
    """Load the events that a card describes as a file with times and addresses of each recording by its name."""
    ((_, path),) = located(card, root, verify=verify).items()
    parts = {}
    with opened(path, what="N-TIDIGITS") as file:
        for name in ("train", "test"):
            times, addresses = (file.group(f"{name}_{what}") for what in ("timestamps", "addresses"))
            single = [each for each in sorted(times.names) if each.rpartition("-")[2] in card.classes]
            if not single:
                raise times.refusal("", "holds no recording of one digit, such as man-ae-z.")
            samples = [_sample(times, addresses, each, card) for each in single]
            y = torch.tensor([card.classes.index(each.rpartition("-")[2]) for each in single])
            parts[name] = EventSet(SensorEvents.joined(samples), y, card.classes, tuple(map(_speaker, single)))
    people = sorted(set(parts["train"].groups))
    last = people[len(people) - max(round(_HELD_OUT * len(people)), 1) :]
    return Parts(parts, card, torch.tensor([each in last for each in parts["train"].groups]))


def _speaker(name: str) -> str:
    """Return the speaker of a recording such as ``man-ae-a-z``, the first two parts of its name."""
    return "-".join(name.split("-")[:2])


def _sample(times: Group, addresses: Group, name: str, card: Card) -> SensorEvents:
    t = microseconds(times.array(name, shape=(None,)))
    x = addresses.integers(name, shape=(None,))
    if t is None or len(t) != len(x):
        raise times.refusal(
            name, f"has times that are negative or too large, or not one for each of {len(x)} addresses."
        )
    order = np.argsort(t, kind="stable")
    try:
        return SensorEvents(t[order], x[order], shape=card.shape)
    except ValueError as error:
        raise FileError(f"recording {name} of {card.name}: {error}") from error
