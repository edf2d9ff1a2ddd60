"""Readers of events side by side: small files, and a reader that finds something else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import event_data
from neurosim.datasets.events import XYTP, write_events


def test_all_rows_are_measured(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    write_events(tmp_path / "own.raw", event_data.drawn(400, (2, 20, 30), 9000), kind="evt3")
    event_data.main(["--number", "2000", "--rounds", "1", "--files", str(tmp_path / "own.raw")])
    text = capsys.readouterr().out
    assert text.count("neurosim ") == 4 and "own.raw: evt3, 400 events" in text and "frames of 1 ms" in text


def test_other_events_are_found() -> None:
    events = event_data.drawn(400, (2, 20, 30), 9000)
    found = events.to_array(XYTP)
    assert event_data.differs(found, events) == ""
    found["x"][3] += 1
    assert event_data.differs(found, events) == "x"
    assert event_data.differs(np.concatenate([found, found]), events) == "800 events"
