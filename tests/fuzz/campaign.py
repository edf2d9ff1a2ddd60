"""Read damaged files and collect what went wrong."""

from __future__ import annotations

import dataclasses
import os
import random
import resource
import sys
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

from neurosim.errors import NeurosimError
from tests.fuzz.parsers import PARSERS, fresh

LONGEST = 5.0  # s of the processor that one file may take
MEMORY = 2**30  # bytes by which the process may grow


@dataclasses.dataclass
class Outcome:
    """What became of the damaged files of one kind.

    Attributes
    ----------
    read, refused : int
        Files that were read, and files that were refused by an error of neurosim.
    faults : dict of str to str
        Where something else came out: the number of the file by the kind and place of what happened.
    seconds : float
        Time of the processor.
    """

    read: int = 0
    refused: int = 0
    faults: dict[str, str] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0


def memory_folder() -> str | None:
    """Return a folder in memory, where there is one: the files of a campaign are small and many."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def run(kind: str, number: int, seed: int, home: Path, *, first: int = 0) -> Outcome:
    """Read `number` damaged files of a kind; the same seed gives the same files."""
    parser = PARSERS[kind](fresh(home))
    outcome, counts = Outcome(), Counter[str]()
    before = _memory()
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for file in range(first, first + number):
            draw = random.Random(f"{seed}/{kind}/{file}")
            parser.damage(draw)
            began = time.process_time()
            try:
                parser.read()
                outcome.read += 1
            except NeurosimError:
                outcome.refused += 1
            except Exception as error:
                place = traceback.extract_tb(error.__traceback__)
                own = next((each for each in reversed(place) if "neurosim" in each.filename), place[-1])
                key = f"{type(error).__name__} at {Path(own.filename).name}:{own.lineno}: {str(error)[:80]}"
                outcome.faults.setdefault(key, f"file {file}")
                counts[key] += 1
            if (took := time.process_time() - began) > LONGEST:
                outcome.faults[f"{took:.0f} s"] = f"file {file}"
    outcome.seconds = time.process_time() - start
    if _memory() - before > MEMORY:
        outcome.faults[f"{(_memory() - before) / 2**20:.0f} MiB more memory"] = "any file"
    outcome.faults = {key: f"{place}, {counts[key]} in all" for key, place in outcome.faults.items()}
    return outcome


def _memory() -> int:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
