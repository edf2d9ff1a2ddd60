"""Frames and files of events beside the packages that make and read them.

``python -m benchmarks.event_data`` draws events as an event camera has them, writes EVT 2.0 and 3.0, reads the files,
and bins recordings of the size of N-MNIST's, each with neurosim and with every installed package that can. ``--files``
adds your own files (AEDAT 4, EVT, Event Stream). A contender whose events differ is marked. No package is
needed.
"""

from __future__ import annotations

import argparse
import importlib
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.timing import interleaved
from neurosim.datasets.events import XYTP, SensorEvents, read_events, write_events

_Read = Callable[[Path], np.ndarray]


def drawn(number: int, shape: tuple[int, int, int], span: int, seed: int = 1) -> SensorEvents:
    """Return events of edges: several pixels of a row at one time."""
    rng = np.random.default_rng(seed)
    polarities, height, width = shape
    lines = number // 4
    t = np.repeat(np.sort(rng.integers(0, span, lines)), 4)
    x = np.repeat(rng.integers(0, width - 4, lines), 4) + np.tile(np.arange(4), lines)
    y, p = np.repeat(rng.integers(0, height, lines), 4), np.repeat(rng.integers(0, polarities, lines), 4)
    return SensorEvents(t, x, y, p, shape=shape)


def _expelliarmus(encoding: str) -> _Read:
    wizard = importlib.import_module("expelliarmus").Wizard(encoding=encoding)
    return lambda path: wizard.read(path)


def _faery(_: str) -> _Read:
    faery = importlib.import_module("faery")
    return lambda path: np.concatenate(list(faery.events_stream_from_file(path)))


def _aedat(_: str) -> _Read:
    aedat = importlib.import_module("aedat")
    return lambda path: np.concatenate([each["events"] for each in aedat.Decoder(path) if "events" in each])


def _event_stream(_: str) -> _Read:
    event_stream = importlib.import_module("event_stream")

    def read(path: Path) -> np.ndarray:
        with event_stream.Decoder(str(path)) as decoder:
            return np.concatenate(list(decoder))

    return read


READERS: Mapping[str, Mapping[str, Callable[[str], _Read]]] = {
    "evt2": {"expelliarmus": _expelliarmus, "faery": _faery},
    "evt3": {"expelliarmus": _expelliarmus, "faery": _faery},
    "aedat4": {"aedat": _aedat, "faery": _faery},
    "es": {"event_stream": _event_stream},
}


def kind_of(path: Path) -> str:
    """Return the name in `READERS` of a file."""
    head = path.read_bytes()[:4096]
    if head.startswith(b"%"):
        return "evt3" if b"evt 3.0" in head or b"EVT3" in head else "evt2"
    return path.suffix.removeprefix(".")


def differs(found: np.ndarray, events: SensorEvents) -> str:
    """Return which columns differ from ours, "" if none does."""
    if len(found) != len(events):
        return f"{len(found):,} events"
    p = next(name for name in ("p", "on") if name in (found.dtype.names or ()) or name == "on")
    pairs = (("t", events.t), ("x", events.x), ("y", events.y), (p, events.p))
    return "".join(name for name, ours in pairs if not np.array_equal(found[name].astype(np.int64), ours))


def reading(path: Path, rounds: int) -> None:
    """Print the times of reading a file."""
    kind, events = kind_of(path), read_events(path)
    contenders: dict[str, Callable[[], object]] = {"neurosim": lambda: read_events(path)}
    notes = {}
    for name, make in READERS.get(kind, {}).items():
        try:
            read = make(kind)
        except ImportError:
            continue
        contenders[name] = lambda read=read: read(path)  # type: ignore[misc]
        notes[name] = differs(read(path), events)
    print(f"\n{path.name}: {kind}, {len(events):,} events, {path.stat().st_size:,} bytes")
    show(contenders, rounds, notes)


def binning(rounds: int) -> None:
    """Print the times of frames of 1 ms of recordings of the size of N-MNIST's: 4,100 events in 300 ms."""
    recordings = [drawn(4100, (2, 34, 34), 300_000, seed) for seed in range(20)]
    arrays = [each.to_array(XYTP) for each in recordings]

    def ours() -> None:
        for each in arrays:
            SensorEvents.from_array(each, shape=(2, 34, 34)).binned(1e-3, 300, dtype=torch.int16)

    contenders: dict[str, Callable[[], object]] = {"neurosim": ours}
    try:
        transforms: Any = importlib.import_module("tonic.transforms")
    except ImportError:
        pass
    else:
        frame = transforms.ToFrame(sensor_size=(34, 34, 2), time_window=1000)

        def tonics() -> None:
            for each in arrays:
                frame(each)

        contenders["tonic"] = tonics
    print("\nframes of 1 ms of 20 recordings of 34 x 34 pixels with 4,100 events, from structured arrays")
    show(contenders, rounds, {})


def show(contenders: Mapping[str, Callable[[], object]], rounds: int, notes: Mapping[str, str]) -> None:
    """Measure in turns and print a line for each."""
    for name, times in interleaved(contenders, rounds, calls=3).items():
        note = f"  other {notes[name]}" if notes.get(name) else ""
        print(f"  {name:14} {1e3 * times.median:8.2f} ms, fastest {1e3 * times.seconds[0]:8.2f} ms{note}")


def main(arguments: list[str] | None = None) -> None:
    """Run all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.event_data", description=__doc__)
    parser.add_argument("--files", nargs="*", type=Path, default=[], help="files of your own")
    parser.add_argument("--number", type=int, default=500_000, help="events that are drawn")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("evt2", "evt3"):
            path = Path(folder) / f"{kind}.raw"
            write_events(path, drawn(chosen.number, (2, 480, 640), 1_000_000), kind=kind)
            reading(path, chosen.rounds)
    for path in chosen.files:
        reading(path, chosen.rounds)
    binning(chosen.rounds)


if __name__ == "__main__":
    main()
