"""Pictures of NIR graphs: every node and edge is drawn; what is missing is named."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

import neurosim as ns
from neurosim.errors import FileError, InputError, TargetRunError
from neurosim.exchange.nir import draw_nir, picture, to_nir, write_nir
from neurosim.network import Network


@pytest.fixture
def net() -> Network:
    return ns.Sequential(
        ns.Linear(4, 3),
        ns.Recurrent(ns.LIF(dt=1e-3), ns.Linear(3, 3)),
        ns.Linear(3, 2),
        ns.LI(dt=1e-3),
        names=("a:b", "c"),
    )


def needs_nirviz() -> None:
    pytest.importorskip("nir")
    pytest.importorskip("nirviz")
    if shutil.which("dot") is None:
        pytest.skip("dot is not installed")


@pytest.mark.parametrize("orientation", ["horizontal", "vertical"])
def test_every_node_and_edge_is_drawn(net: Network, tmp_path: Path, orientation: str) -> None:
    needs_nirviz()
    graph = to_nir(net)
    write_nir(net, tmp_path / "net.nir")
    drawn = [
        draw_nir(source, tmp_path / f"{k}.svg", orientation=orientation).read_text()  # type: ignore[arg-type]
        for k, source in enumerate((net, graph, tmp_path / "net.nir"))
    ]
    for text in drawn:
        labels = sorted(re.findall(r"<text[^>]*>([^<]*)</text>", text))
        assert labels == sorted(type(node).__name__ for node in graph.nodes.values())
        assert text.count('class="edge"') == len(graph.edges)


def test_a_picture_of_pixels(net: Network, tmp_path: Path) -> None:
    needs_nirviz()
    assert draw_nir(net, tmp_path / "net.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_what_is_not_installed_is_named(net: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nirviz", None)
    with pytest.raises(TargetRunError, match=r"nirviz is not installed. Install it with: pip install .*\[pictures\]"):
        draw_nir(net, tmp_path / "net.svg")
    monkeypatch.setitem(sys.modules, "nirviz", pytest)  # any module: it is not called
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(TargetRunError, match="the program dot, which nirviz runs, is not installed"):
        draw_nir(net, tmp_path / "net.svg")
    assert list(tmp_path.iterdir()) == []


def test_wrong_input_is_refused(net: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"must end in .svg or .png; got 'net.pdf'"):
        draw_nir(net, tmp_path / "net.pdf")
    with pytest.raises(InputError, match="orientation must be"):
        draw_nir(net, tmp_path / "net.svg", orientation="up")  # type: ignore[arg-type]
    monkeypatch.setattr(picture, "_nirviz", lambda: None)
    with pytest.raises(InputError, match=r"takes a file, a Network or .*; got int"):
        draw_nir(3, tmp_path / "net.svg")
    (tmp_path / "bad.nir").write_bytes(b"no HDF5")
    with pytest.raises(FileError, match=r"bad\.nir"):
        draw_nir(tmp_path / "bad.nir", tmp_path / "net.svg")
