"""Files for nir 1.0.4: no field that it lacks, the reset by subtraction, and what it lacks refused by name."""

from __future__ import annotations

from pathlib import Path

import h5py
import pytest
import torch

pytest.importorskip("nir")

import neurosim as ns
from neurosim.errors import ExportError
from neurosim.exchange.nir import from_nir, write_nir_1_0_4

DT = 1e-3


def network(**choices: object) -> ns.Network:
    torch.manual_seed(0)
    return ns.Sequential(
        ns.Linear(12, 8),
        ns.Recurrent(ns.LIF(dt=DT, r=20.0, reset="subtract"), ns.Linear(8, 8)),
        ns.Linear(8, 6, bias=True),
        ns.CubaLIF(dt=DT, r=9.0, reset="subtract"),
        ns.Linear(6, 4),
        ns.IF(**{"dt": DT, "r": 2.0, "reset": "subtract", **choices}),
        names=["a", "b", "c"],
    )


def test_the_file_has_no_reset_and_the_kinds_of_that_version(tmp_path: Path) -> None:
    write_nir_1_0_4(network(), tmp_path / "net.nir")
    names: list[str] = []
    kinds = set()
    with h5py.File(tmp_path / "net.nir") as file:
        assert file["version"][()] == b"1.0.4"
        file["node"].visit(names.append)
        kinds = {node["type"][()].decode() for node in file["node"]["nodes"].values()}
    assert not [name for name in names if "v_reset" in name]
    assert {"LIF", "CubaLIF", "IF"} <= kinds <= {"LIF", "CubaLIF", "IF", "Linear", "Affine", "Input", "Output"}


def test_it_is_read_back_with_the_reset_by_subtraction(tmp_path: Path) -> None:
    net = network().double()
    write_nir_1_0_4(net, tmp_path / "net.nir")
    again = from_nir(tmp_path / "net.nir", dt=DT, reset="subtract").double()
    x = (torch.rand(80, 3, 12, generator=torch.Generator().manual_seed(2)) < 0.4).double()
    ours, theirs = net(x)[0], again(x)[0]
    assert ours.sum() > 20 and torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(reset="value"), "node 'c': reset=\"value\"; that version subtracts the threshold: train with"),
        (dict(reset_amount=0.5), "node 'c': has a reset_amount"),
    ],
)
def test_what_that_version_lacks_is_refused_by_name(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(ExportError, match=f"nir 1.0.4 cannot express this network:\n  - {message}"):
        write_nir_1_0_4(network(**change), tmp_path / "net.nir")
    assert not (tmp_path / "net.nir").exists()


def test_a_current_behind_a_membrane_that_never_fires_is_refused(tmp_path: Path) -> None:
    net = ns.Sequential(ns.Linear(4, 3), ns.CubaLIF(dt=DT, reset=None), names=["out"])
    with pytest.raises(ExportError, match="node 'out': is a CubaLI"):
        write_nir_1_0_4(net, tmp_path / "net.nir")
