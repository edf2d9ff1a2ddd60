from __future__ import annotations

import json
from pathlib import Path

import pytest

from neurosim.errors import InputError
from neurosim.learning import History


def test_columns_and_rows() -> None:
    history = History([{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.5}])
    assert history["loss"] == [2.0, 1.5] and len(history) == 2
    assert [row["epoch"] for row in history] == [1, 2] and history.last == {"epoch": 2, "loss": 1.5}


def test_an_unknown_column_is_refused_with_those_there_are() -> None:
    with pytest.raises(InputError, match=r"the history has no column 'acc'\. Columns: epoch, loss\."):
        History([{"epoch": 1, "loss": 2.0}])["acc"]
    with pytest.raises(InputError, match=r"Columns: none, no epoch was finished\."):
        History()["loss"]
    with pytest.raises(InputError, match=r"the history is empty"):
        _ = History().last


def test_it_is_saved_as_json_that_any_reader_takes(tmp_path: Path) -> None:
    History([{"epoch": 1, "loss": 0.1, "gap": float("inf")}], stopped_early=True).save(tmp_path / "h.json")

    def refuse(name: str) -> float:
        raise AssertionError(f"{name} is not JSON")

    found = json.loads((tmp_path / "h.json").read_text(), parse_constant=refuse)
    assert found == {"rows": [{"epoch": 1, "loss": 0.1, "gap": None}], "stopped_early": True}
