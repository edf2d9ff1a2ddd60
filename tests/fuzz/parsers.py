"""What reads files of unknown origin: how a good file is written, damaged and read."""

from __future__ import annotations

import copy
import functools
import io
import json
import random
import shutil
import struct
import tarfile
import wave
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

import neurosim as ns
from neurosim.cli import folder as run_folder
from neurosim.cli.folder import RunIdentity
from neurosim.cli.settings import Settings
from neurosim.datasets import read_idx, read_shd, read_words
from neurosim.datasets.events import (
    SensorEvents,
    event_pieces,
    read_events,
    read_nirdata,
    read_nwb_spikes,
    read_spoken_events,
    write_events,
    write_nirdata,
)
from neurosim.exchange.nir import from_nir, write_nir
from neurosim.exchange.spikes import read_sonata, write_sonata
from neurosim.files.tables import read_toml
from neurosim.hardware import load_target
from neurosim.hardware.loihi import loihi_neurons
from neurosim.hardware.netx import read_netx, write_netx
from tests import event_files
from tests.fuzz import damage


class Parser(ABC):
    """One kind of file.

    Parameters
    ----------
    home : pathlib.Path
        An empty folder.
    """

    name = "file"

    def __init__(self, home: Path) -> None:
        self.home = home
        self.path = home / self.name
        self.good = self.written()

    @abstractmethod
    def written(self) -> bytes:
        """Return a good file."""

    @abstractmethod
    def read(self) -> object:
        """Read the file at `path` and use what was read."""

    def damage(self, draw: random.Random) -> None:
        """Write a damaged file to `path`."""
        self.path.write_bytes(damage.of_bytes(self.good, draw))


class Hdf5Parser(Parser):
    """HDF5: half of the damage is in the bytes, half in the content."""

    def damage(self, draw: random.Random) -> None:
        """Write a damaged file to `path`."""
        if draw.random() < 0.5:
            super().damage(draw)
        else:
            self.path.write_bytes(self.good)
            damage.of_hdf5(self.path, draw)


def network() -> ns.Network:
    """Return a small network."""
    torch.manual_seed(0)
    hidden = ns.LIF(tau_mem=5e-3, r=50.0, dt=1e-3)
    return ns.Sequential(ns.Linear(3, 4), hidden, ns.Linear(4, 2), ns.LI(dt=1e-3), names=["a", "b"])


class RecordingFile(Hdf5Parser):
    """A recording."""

    name = "recording.h5"

    def written(self) -> bytes:
        """Return a good file."""
        ns.simulate(network(), torch.ones(12, 2, 3), record=["a", "a.v", "b"]).save(self.path)
        return self.path.read_bytes()

    def read(self) -> object:
        """Read the file and use it."""
        with ns.Recording.load(self.path) as recording:
            found = [recording.rates(), recording.T, recording.B]
            for events in recording.spikes.values():
                found.append(len(events.read()))
            for trace in recording.traces.values():
                found.append(np.asarray(trace[:2]).sum())
        return found


class Checkpoint(Parser):
    """A checkpoint: the bytes, the entries of the archive with right checksums, and the values."""

    name = "last.pt"

    def written(self) -> bytes:
        """Return a good file."""
        x = torch.ones(4, 6, 3)
        batches = [(x, torch.zeros(6, dtype=torch.int64))]
        ns.fit(network(), batches, epochs=1, checkpoint=self.home, progress=False)
        self.content = torch.load(self.path, weights_only=True)
        self.net = network()
        return self.path.read_bytes()

    def damage(self, draw: random.Random) -> None:
        """Write a damaged file to `path`."""
        kind = draw.randrange(3)
        if kind == 0:
            super().damage(draw)
        elif kind == 1:
            self._damage_entry(draw)
        else:
            content = damage.of_tree(copy.deepcopy(self.content), draw)
            torch.save(content, self.path)

    def _damage_entry(self, draw: random.Random) -> None:
        with zipfile.ZipFile(io.BytesIO(self.good)) as archive:
            entries = {info.filename: archive.read(info) for info in archive.infolist()}
        name = draw.choice(sorted(entries))
        if draw.random() < 0.7:
            name = next(entry for entry in entries if entry.endswith("data.pkl"))
        entries[name] = damage.of_bytes(entries[name], draw)
        with zipfile.ZipFile(self.path, "w", zipfile.ZIP_STORED) as archive:
            for entry, content in entries.items():
                archive.writestr(entry, content)

    def read(self) -> object:
        """Read the file and use it."""
        return ns.load_checkpoint(self.path, self.net)


class RunFolder(Parser):
    """The settings, identity, results and epochs of a run."""

    name = "run.toml"

    def written(self) -> bytes:
        """Return a good file."""
        settings = Settings(hidden=(4, 3), rule_option=("k=1",))
        identity = RunIdentity.new(settings, "train")
        run_folder.write_start(self.home, settings, identity)
        row = {"epoch": 1, "loss": 0.5, "accuracy": 0.25, "learning_rate": 1e-3}
        (self.home / "history.json").write_text(
            json.dumps({"rows": [row, {**row, "epoch": 2}], "stopped_early": False})
        )
        (self.home / "metrics.json").write_text(json.dumps({"run": identity.id, "test_accuracy": 0.5, "epochs": 2}))
        self.files = {path.name: path.read_bytes() for path in self.home.iterdir()}
        self.damaged = self.name
        return b""

    def damage(self, draw: random.Random) -> None:
        """Write a damaged file beside good ones."""
        (self.home / self.damaged).write_bytes(self.files[self.damaged])
        name = self.damaged = draw.choice(sorted(self.files))
        if name.endswith(".json") and draw.random() < 0.6:
            tree = damage.of_tree(json.loads(self.files[name]), draw)
            (self.home / name).write_text(json.dumps(tree))
        else:
            (self.home / name).write_bytes(damage.of_bytes(self.files[name], draw))

    def read(self) -> object:
        """Read the files and use them."""
        settings = run_folder.settings_of(self.home)
        run_folder.check_continued(self.home, settings)
        rows, metrics = run_folder.rows_of(self.home), run_folder.metrics_of(self.home)
        return settings.toml(), run_folder.identity_of(self.home), ns.History(rows)["loss"], metrics


class NirFile(Hdf5Parser):
    """A NIR graph."""

    name = "network.nir"

    def written(self) -> bytes:
        """Return a good file."""
        write_nir(network(), self.path)
        return self.path.read_bytes()

    def read(self) -> object:
        """Read the file and use it."""
        return from_nir(self.path, dt=1e-3)


class NetxFile(Hdf5Parser):
    """A network of lava-dl."""

    name = "network.net"

    def written(self) -> bytes:
        """Return a good file."""
        net = ns.Sequential(
            *(ns.Input((2, 6, 6)), ns.Conv2d(2, 3, 3), loihi_neurons(dt=1e-3, v_th=30), ns.Flatten()),
            *(ns.Linear(48, 2), loihi_neurons(dt=1e-3, v_th=30)),
        )
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.fill_(2.0)
        write_netx(net, self.path)
        return self.path.read_bytes()

    def read(self) -> object:
        """Read the file and use it."""
        return read_netx(self.path)


class TargetFile(Parser):
    """A chip."""

    name = "target.toml"

    @functools.cached_property
    def tree(self) -> Any:
        """The table."""
        self.path.write_bytes(self.good)
        return read_toml(self.path)

    def written(self) -> bytes:
        """Return a good file."""
        return load_target("loihi1").path.read_bytes()

    def damage(self, draw: random.Random) -> None:
        """Write a damaged file to `path`."""
        if draw.random() < 0.5:
            super().damage(draw)
        else:
            self.path.write_text(as_toml(damage.of_tree(self.tree, draw)), encoding="utf-8")

    def read(self) -> object:
        """Read the file and use it."""
        return load_target(self.path)


def as_toml(tree: Any) -> str:
    """Write a table, its tables in lines; what TOML does not have is written as JSON has it."""
    if not isinstance(tree, dict):
        return f"a = {json.dumps(tree)}"

    def inline(value: Any) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{json.dumps(k)} = {inline(v)}" for k, v in value.items()) + "}"
        if isinstance(value, list):
            return f"[{', '.join(map(inline, value))}]"
        return json.dumps(value, ensure_ascii=False).replace("NaN", "nan").replace("Infinity", "inf")

    return "\n".join(f"{json.dumps(key)} = {inline(value)}" for key, value in tree.items())


def wav(number: int) -> bytes:
    """Return a recording."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(struct.pack(f"<{number}h", *range(number)))
    return buffer.getvalue()


class Wav(Parser):
    """A folder of one recording."""

    name = "3_ann_7.wav"

    def written(self) -> bytes:
        """Return a good file."""
        return wav(50)

    def read(self) -> object:
        """Read the folder."""
        return read_words(self.home)


class Tar(Parser):
    """An archive of recordings, packed or not."""

    name = "words.tar"

    def written(self) -> bytes:
        """Return a good file."""
        self.kinds = []
        for mode in ("w", "w:gz", "w:xz", "w:bz2"):
            with tarfile.open(self.path, mode) as archive:
                for number in range(3):
                    content = wav(20)
                    about = tarfile.TarInfo(f"recordings/{number}_ann_{number}.wav")
                    about.size = len(content)
                    archive.addfile(about, io.BytesIO(content))
            self.kinds.append(self.path.read_bytes())
        return self.kinds[0]

    def damage(self, draw: random.Random) -> None:
        """Write a damaged file to `path`."""
        self.path.write_bytes(damage.of_bytes(draw.choice(self.kinds), draw))

    def read(self) -> object:
        """Read the archive."""
        return read_words(self.path)


class Idx(Parser):
    """Images, packed or not."""

    name = "images"

    def written(self) -> bytes:
        """Return a good file."""
        return struct.pack(">I3I", 0x00000803, 5, 4, 4) + bytes(range(80))

    def damage(self, draw: random.Random) -> None:
        """Write a damaged file to `path`."""
        import gzip

        content = self.good if draw.random() < 0.7 else gzip.compress(damage.of_bytes(self.good, draw))
        self.path.write_bytes(damage.of_bytes(content, draw) if draw.random() < 0.8 else content)

    def read(self) -> object:
        """Read the file."""
        return read_idx(self.path)


class Shd(Hdf5Parser):
    """Spiking Heidelberg Digits."""

    name = "shd.h5"

    def written(self) -> bytes:
        """Return a good file."""
        with h5py.File(self.path, "w") as file:
            for name, kind in (("times", "f4"), ("units", "u2")):
                rows = file.create_dataset(f"spikes/{name}", (3,), dtype=h5py.vlen_dtype(np.dtype(kind)))
                for number in range(3):
                    rows[number] = np.arange(number + 2, dtype=kind) / (10 if kind == "f4" else 1)
            file["labels"] = np.array([3, 0, 19])
        return self.path.read_bytes()

    def read(self) -> object:
        """Read the file."""
        return read_shd(self.path, channels=20, dt=0.05)


class SonataFile(Hdf5Parser):
    """A spike file."""

    name = "spikes.h5"

    def written(self) -> bytes:
        """Return a good file."""
        grid = ns.Events(step=[0, 3, 3, 7], neuron=[1, 0, 2, 1], T=8, dt=1e-4, shape=3)
        write_sonata(self.path, {"E": grid, "I": ns.Events(time=[0.1, 0.2], neuron=[0, 1], duration=0.5, shape=2)})
        return self.path.read_bytes()

    def read(self) -> object:
        """Read the file."""
        return read_sonata(self.path)


class EventFile(Parser):
    """Events of a sensor, in one format; half of the damaged files are read in pieces."""

    events = tuple((5 + 90 * k, (7 * k) % 40, (3 * k) % 30, k % 2) for k in range(60))
    shape: tuple[int, ...] | None = None

    @abstractmethod
    def content(self) -> bytes:
        """Return a good file."""

    def written(self) -> bytes:
        """Return a good file."""
        return self.content()

    def damage(self, draw: random.Random) -> None:
        """Write a damaged file to `path`."""
        super().damage(draw)
        self.in_pieces = draw.random() < 0.5

    in_pieces = False

    def read(self) -> object:
        """Read the file."""
        if self.in_pieces:
            return [len(piece) for piece in event_pieces(self.path, shape=self.shape)]
        return read_events(self.path, shape=self.shape).address.sum()


def _event_file(kind: str, file: str, write: Callable[..., bytes], shape: tuple[int, ...] | None) -> type[EventFile]:
    def content(self: EventFile) -> bytes:
        return write(self.events)

    return type(kind, (EventFile,), {"name": file, "content": content, "shape": shape, "__doc__": f"Events: {kind}."})


class EventHdf5(Hdf5Parser):
    """Events of a sensor as DSEC has them."""

    name = "a.h5"

    def written(self) -> bytes:
        """Return a good file."""
        write_events(self.path, self.events(), kind="hdf5")
        return self.path.read_bytes()

    @staticmethod
    def events() -> SensorEvents:
        """Return some events."""
        return SensorEvents(*np.array(EventFile.events).T, shape=(2, 30, 40))

    def read(self) -> object:
        """Read the file, in pieces and at once."""
        pieces = [len(piece) for piece in event_pieces(self.path, shape=(2, 30, 40))]
        return pieces, read_events(self.path, shape=(2, 30, 40)).address.sum()


class Metavision(EventHdf5):
    """Events of a sensor in one table."""

    def written(self) -> bytes:
        """Return a good file."""
        with h5py.File(self.path, "w") as file:
            kind = np.dtype([("x", "u2"), ("y", "u2"), ("p", "i2"), ("t", "i8")])
            file.create_dataset("CD/events", data=self.events().to_array(kind), chunks=(16,), compression="gzip")
            file.attrs["geometry"] = "40x30"
        return self.path.read_bytes()


class NirData(EventHdf5):
    """Events as NIRData."""

    def written(self) -> bytes:
        """Return a good file."""
        write_nirdata(self.path, SensorEvents.joined([self.events(), self.events().between(0, 1e-3)]))
        return self.path.read_bytes()

    def read(self) -> object:
        """Read the file."""
        return read_nirdata(self.path)


class Nwb(EventHdf5):
    """Spike times of units."""

    def written(self) -> bytes:
        """Return a good file."""
        with h5py.File(self.path, "w") as file:
            file["units/spike_times"], file["units/spike_times_index"] = np.array([0.1, 0.3, 0.2]), np.array([2, 2, 3])
        return self.path.read_bytes()

    def read(self) -> object:
        """Read the file."""
        return read_nwb_spikes(self.path)


class Spoken(Shd):
    """Spiking Heidelberg Digits as events."""

    def read(self) -> object:
        """Read the file."""
        return read_spoken_events(self.path, channels=20)


PARSERS: dict[str, type[Parser]] = {
    "recording": RecordingFile,
    "checkpoint": Checkpoint,
    "run": RunFolder,
    "nir": NirFile,
    "netx": NetxFile,
    "sonata": SonataFile,
    "target": TargetFile,
    "wav": Wav,
    "tar": Tar,
    "idx": Idx,
    "shd": Shd,
    "spoken": Spoken,
    "dsec": EventHdf5,
    "metavision": Metavision,
    "nirdata": NirData,
    "nwb": Nwb,
    "evt2": _event_file("evt2", "a.raw", event_files.evt2, None),
    "evt21": _event_file("evt21", "a.raw", event_files.evt21, None),
    "evt3": _event_file("evt3", "a.raw", event_files.evt3, None),
    "dat": _event_file("dat", "a.dat", event_files.dat, None),
    "es": _event_file("es", "a.es", event_files.es, None),
    "aedat2": _event_file("aedat2", "a.aedat", event_files.aedat2, None),
    "aedat3": _event_file("aedat3", "a.aedat", event_files.aedat31, None),
    "aedat4": _event_file("aedat4", "a.aedat4", event_files.aedat4, None),
    "bin": _event_file("bin", "a.bin", event_files.five_bytes, (2, 34, 48)),
    "bs1": _event_file("bs1", "a.bs1", lambda events: event_files.five_bytes(events, first=2), (2, 1, 50)),
}


def fresh(folder: Path) -> Path:
    """Return the folder, empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
