"""A graph as a plain script: run by a Python that has lava-nc and not this package, it gives the same."""

from __future__ import annotations

import ast
import errno
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim.errors import FileError
from neurosim.hardware.lava import to_lava
from neurosim.hardware.lava.layout import lava_layout
from tests.hardware.lava import test_export as test_lava_export
from tests.hardware.lava import test_integers as test_lava_integers
from tests.hardware.lava import test_neurons as test_lava_neurons
from tests.hardware.lava.make_environments import environment

Made = tuple[ns.Network, torch.Tensor]
NETWORKS: dict[str, Callable[[], Made]] = {
    "images": lambda: test_lava_export.images(0),
    "web": lambda: test_lava_export.web(0),
    "spiking": test_lava_neurons.spiking,
    "changes": lambda: test_lava_neurons.changes(0.3),
    "integers": lambda: test_lava_integers.images(0),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_script_gives_what_the_simulator_gives(name: str, tmp_path: Path) -> None:
    python = environment("3.10")
    if python is None:
        pytest.skip("no environment of Python 3.10 with lava-nc: run `make lava-pythons`")
    net, x = NETWORKS[name]()
    export = to_lava(net)
    x = x[:, :1]
    path = export.save_script(tmp_path / "out", x)
    assert path == tmp_path / "out" / "network.py"
    done = subprocess.run(
        [str(python), "-I", str(path), str(path.with_name("input.npz")), str(tmp_path / "sent.npz")],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=test_lava_export.LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.startswith("sample 0: ")
    names = list(export.network.neurons())
    with torch.no_grad():
        wanted = export.network.run(x.double(), None, names).recorded
    with np.load(tmp_path / "sent.npz", allow_pickle=False) as sent:
        assert sorted(sent.files) == sorted(names)
        for node in names:
            values = lava_layout(sent[node], len(net.shape(node))) * lava_layout(
                export.scale[node], export.scale[node].ndim
            )
            if net.neurons()[node].is_spiking:
                values = np.sign(sent[node]) if export.scale[node].ndim == 0 else (sent[node] != 0)
                values = lava_layout(np.asarray(values), len(net.shape(node)))
            np.testing.assert_allclose(values, wanted[node].numpy(), rtol=0, atol=1e-9, err_msg=node)
            assert np.count_nonzero(values) > 5


@pytest.mark.parametrize("name", NETWORKS)
def test_the_script_is_plain_python_of_its_version(name: str, tmp_path: Path) -> None:
    net, _ = NETWORKS[name]()
    path = to_lava(net).save_script(tmp_path)
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text, feature_version=(3, 10))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module).split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported <= {"sys", "pathlib", "numpy", "lava", "scipy"}
    assert max(map(len, text.splitlines())) <= 120
    assert sorted(p.name for p in tmp_path.iterdir()) == ["network.npz", "network.py"]


def test_names_that_python_has_for_itself_are_changed(tmp_path: Path) -> None:
    net = ns.Network(
        {"class": ns.Input(2), "data": ns.LIF(dt=1e-3), "1 st": ns.LIF(dt=1e-3)},
        [
            ns.Edge("class", "data", ns.Linear(2, 2)),
            ns.Edge("data", "1 st", ns.Linear(2, 2)),
            ns.Edge("data", "data", ns.Linear(2, 2), name="1 st"),
        ],
    )
    text = to_lava(net).save_script(tmp_path).read_text(encoding="utf-8")
    ast.parse(text)
    assert "return {'data': data_2, '1 st': n_1_st}" in text
    assert "n_1_st_2 = Dense(" in text


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="cannot create the folder"):
        to_lava(ns.Sequential(ns.Linear(2, 2), ns.LIF(dt=1e-3))).save_script(tmp_path / "file" / "below")


def test_a_full_disk_leaves_no_folder_and_an_earlier_one_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = to_lava(ns.Sequential(ns.Linear(2, 2), ns.LIF(dt=1e-3)))
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "notes").write_text("keep")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for name in ("new", "there"):
        with pytest.raises(FileError, match="No space left on device"):
            export.save_script(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["notes"]


def test_an_empty_path_is_refused() -> None:
    with pytest.raises(FileError, match="is empty"):
        to_lava(ns.Sequential(ns.Linear(2, 2), ns.LIF(dt=1e-3))).save_script("")
