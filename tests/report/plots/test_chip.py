"""The picture of a placement shows every core, and the report holds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import neurosim as ns
from neurosim.energy import count_operations, count_traffic, energy
from neurosim.hardware.placement import Full, Link, NeuronGroup, Workload, place
from neurosim.report import Section, chip_map, save_figure, write_report
from neurosim.report.plots.style import PALETTE


def net() -> ns.Network:
    torch.manual_seed(1)
    return ns.Sequential(
        ns.Linear(784, 256),
        ns.LIF(dt=1e-3, r=30.0),
        ns.Linear(256, 10),
        ns.LIF(dt=1e-3, r=30.0),
        names=("hidden", "out"),
    )


def squares(axes: Any) -> tuple[Any, Any]:
    """Return the collection of cores and that of their fillings."""
    cores, *filled = axes.collections
    return cores, filled[0] if filled else None


def test_every_core_is_a_square_in_the_colour_of_its_population(tmp_path: Path) -> None:
    placement = place(net(), "loihi1")
    figure: Any = chip_map(placement)
    chip, table = figure.axes
    cores, filled = squares(chip)
    assert len(cores.get_paths()) == 128 and len(filled.get_paths()) == 3
    from matplotlib.colors import to_hex

    assert [to_hex(c).upper() for c in filled.get_facecolors()] == [PALETTE[0], PALETTE[0], PALETTE[1]]
    heights = [path.get_extents().height for path in filled.get_paths()]
    fullest = [max(placement.share(part, key) for key in placement.limits) for _, part in placement.parts()]
    assert heights == pytest.approx([0.9 * share for share in fullest])
    # Four cores share a tile, so the three lie together.
    assert max(path.get_extents().x1 for path in filled.get_paths()) < 2
    assert [label.get_text() for label in table.get_yticklabels()] == ["hidden (2)", "out (1)"]
    assert save_figure(figure, tmp_path / "chip.png").stat().st_size > 5000


def test_several_chips_and_what_does_not_fit_are_drawn() -> None:
    workload = Workload({"in": 4}, (NeuronGroup("big", (700_000,)),), (Link("in->big", "in", "big", Full(4, 700_000)),))
    figure: Any = chip_map(place(workload, "loihi1"))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[:4] == [f"chip {k}: 128 of 128 cores" for k in (1, 2, 3, 4)]
    below = figure.get_supxlabel()
    assert "The first 4 of 6 chips are shown" in below and "would fit: 6 chips" in below


def test_a_chip_of_thousands_of_cores_is_cut_to_those_in_use() -> None:
    workload = Workload({"in": 4}, (NeuronGroup("p", (600,)),), (Link("in->p", "in", "p", Full(4, 600)),))
    cores, filled = squares(chip_map(place(workload, "truenorth")).axes[0])
    assert len(cores.get_paths()) == 128 and len(filled.get_paths()) == 3


def test_a_chip_of_absurdly_many_cores_is_drawn_all_the_same(root: Path, tmp_path: Path) -> None:
    text = (root / "hardware_targets" / "odin.toml").read_text().replace("value = 1\n", "value = 9007199254740992\n", 1)
    (tmp_path / "mine.toml").write_text(text)
    placement = place(ns.Sequential(ns.Linear(4, 3), ns.LIF(dt=1e-3)), tmp_path / "mine.toml")
    cores, _ = squares(chip_map(placement).axes[0])
    assert placement.cores_per_chip == 2**53 and len(cores.get_paths()) <= 6400


def test_a_report_holds_a_placement(tmp_path: Path) -> None:
    placement = place(ns.Sequential(ns.Linear(5000, 3), ns.LIF(dt=1e-3), names=("<p>",)), "loihi1")
    text = write_report(tmp_path / "r.html", title="t", sections=[Section("Chip", placement)]).read_text()
    assert "&lt;p&gt;: a fan-in of 5,000 exceeds" in text and "<p>: a" not in text
    assert "would fit: prune" in text and "data:image/png" in text


def test_hops_on_one_tile_cost_nothing() -> None:
    network, x = net(), (torch.rand(10, 2, 784) < 0.3).float()
    operations = count_operations(network, x)
    traffic = count_traffic(network, x, place(network, "loihi1"))
    names = ("loihi1", "loihi2", "truenorth")
    report, plain = energy(operations, names, [traffic]), energy(operations, names)
    assert report["loihi1"].total == pytest.approx(plain["loihi1"].total)
    assert report["loihi1"].layers["hidden"]["hops"] == 0
    assert any("mesh hops" in text for text in plain["loihi1"].target.excluded)
    assert not any("mesh hops" in text for text in report["loihi1"].target.excluded)
