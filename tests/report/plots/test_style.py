"""Figures are saved whole, and matplotlib's global state is left alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from neurosim.errors import FileError, InputError
from neurosim.report import save_figure
from neurosim.report.plots.style import PALETTE, colour, new_figure, time_unit


@pytest.mark.parametrize(("ending", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_a_figure_is_saved_in_the_format_of_its_name(tmp_path: Path, ending: str, start: bytes) -> None:
    path = save_figure(new_figure(2, 1), tmp_path / "new folder" / f"picture.{ending}")
    assert path.read_bytes().startswith(start)
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot save a figure as 'a.jpeg'. The name must end in .png, .pdf, .svg"):
        save_figure(new_figure(2, 1), tmp_path / "a.jpeg")


def test_a_failed_save_leaves_the_earlier_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"earlier")
    figure = new_figure(2, 1)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figure, "savefig", full)
    with pytest.raises(FileError, match="No space left on device; the earlier file is untouched"):
        save_figure(figure, path)
    assert path.read_bytes() == b"earlier" and len(list(tmp_path.iterdir())) == 1


def test_ten_classes_have_ten_colours() -> None:
    assert len(set(PALETTE)) == len(PALETTE) == 10
    assert colour(10) == colour(0)


@pytest.mark.parametrize(
    ("duration", "unit"),
    [(0.1, "ms"), (0.9999, "ms"), (1.0, "ms"), (1.5, "ms"), (2.0, "s"), (60.0, "s"), (2e-4, "µs"), (0.0, "s")],
)
def test_time_axes_use_the_unit_that_fits(duration: float, unit: str) -> None:
    assert time_unit(duration)[1] == unit


def test_drawing_loads_no_pyplot_and_importing_no_matplotlib() -> None:
    code = (
        "import sys, neurosim.report as r\n"
        "assert 'matplotlib' not in sys.modules\n"
        "r.learning_curve([{'loss': 1.0}])\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
