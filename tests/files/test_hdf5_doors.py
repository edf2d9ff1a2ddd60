"""Every way into neurosim through an HDF5 file is guarded."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim.datasets import read_shd
from neurosim.errors import FileError
from neurosim.exchange.nir import from_nir, write_nir
from neurosim.hardware.loihi import loihi_neurons
from neurosim.hardware.netx import read_netx, write_netx

GUARD = "neurosim/files/untrusted_hdf5.py"


def net() -> ns.Network:
    return ns.Sequential(ns.Linear(3, 2), ns.LIF(r=50.0, dt=1e-3), names=["out"])


def a_recording(path: Path) -> None:
    ns.simulate(net(), torch.rand(10, 2, 3), record=["out", "out.v"]).save(path)


def a_nir_graph(path: Path) -> None:
    pytest.importorskip("nir")
    write_nir(net(), path)


def a_netx_network(path: Path) -> None:
    synapse = ns.Linear(3, 2)
    with torch.no_grad():
        synapse.weight.fill_(2.0)
    write_netx(ns.Sequential(synapse, loihi_neurons(dt=1e-3, v_th=30), names=["out"]), path)


def an_shd_file(path: Path) -> None:
    with h5py.File(path, "w") as file:
        for name, kind in (("times", np.float32), ("units", np.uint16)):
            rows = file.create_dataset(f"spikes/{name}", (1,), dtype=h5py.vlen_dtype(kind))
            rows[0] = np.zeros(2, kind)
        file["labels"] = np.array([3])


DOORS: dict[str, tuple[Callable[[Path], None], Callable[[Path], object]]] = {
    "Recording.load": (a_recording, lambda path: ns.Recording.load(path).close()),
    "from_nir": (a_nir_graph, lambda path: from_nir(path, dt=1e-3)),
    "read_netx": (a_netx_network, read_netx),
    "read_shd": (an_shd_file, read_shd),
}


@pytest.mark.parametrize("door", DOORS)
def test_a_door_refuses_a_link_to_another_file(tmp_path: Path, door: str) -> None:
    write, read = DOORS[door]
    path = tmp_path / "a.h5"
    write(path)
    read(path)
    with h5py.File(tmp_path / "secret.h5", "w") as secret:
        secret["s"] = np.ones((10, 2, 2))
    with h5py.File(path, "r+") as file:
        place = "traces/out.v" if door == "Recording.load" else "more"
        file.pop(place, None)
        file[place] = h5py.ExternalLink(tmp_path / "secret.h5", "/s")
    with pytest.raises(FileError, match="points into another file"):
        read(path)


def test_hdf5_is_opened_for_reading_in_one_module(root: Path) -> None:
    found = []
    for path in sorted((root / "neurosim").rglob("*.py")):
        name = path.relative_to(root).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            call = ast.unparse(node.func)
            writes = len(node.args) > 1 and isinstance(node.args[1], ast.Constant) and node.args[1].value in ("w", "r+")
            if (call == "h5py.File" and not writes) or call in ("nir.read", "self.nir.read", "pandas.read_hdf"):
                found.append(name)
    assert set(found) == {GUARD}
