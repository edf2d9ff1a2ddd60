"""N-MNIST recordings as published by its authors: 5 bytes per event, in ``.bin`` or ``.bs2`` files or a tar of those.

Orchard et al., "Converting static image datasets to spiking neuromorphic datasets using saccades", Frontiers in
Neuroscience 9, 2015, doi:10.3389/fnins.2015.00437: x, y, then the polarity in one bit and the time in 23, in µs.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from torch import Tensor

from neurosim.datasets.nmnist_files import SHAPE, nmnist_events
from neurosim.errors import FileError
from neurosim.files.archives import tar_members
from neurosim.recording.events import Events

ENDINGS = (".bin", ".bs2")


def batch(folder: Path, steps: int, size: int) -> Tensor:
    """Return the first `size` recordings below `folder` on a grid of 1 ms, [T, B, 2, 34, 34]."""
    found = list(itertools.islice(_recordings(folder), size))
    if len(found) < size:
        raise FileError(
            f"{folder} holds {len(found)} N-MNIST recordings ({', '.join(ENDINGS)}, or a tar of those); {size} are "
            "needed. Give --data the folder of N-MNIST."
        )
    events = [nmnist_events(name, content) for name, content in found]
    time = np.concatenate([t for t, _ in events])
    neuron = np.concatenate([n for _, n in events])
    sample = np.repeat(np.arange(size), [len(t) for t, _ in events])
    inside = time < steps * 1000
    recorded = Events(
        time=time[inside] * 1e-6,
        neuron=neuron[inside],
        batch=sample[inside],
        duration=steps * 1e-3,
        shape=SHAPE,
        B=size,
    )
    return recorded.binned(1e-3, steps).to_grid(binary=True)


def _recordings(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*"), key=_natural):
        if path.suffix in ENDINGS:
            yield path.name, path.read_bytes()
        elif re.search(r"\.(tar|tgz)(\.\w+)?$", path.name):
            yield from tar_members(path, lambda name: name.endswith(ENDINGS))


def _natural(path: Path) -> list[str]:
    """Sort 2 before 10."""
    return [part.zfill(12) for part in re.split(r"(\d+)", str(path))]
