"""The comparison of simulators on one NIR file runs, and its rules are what they are called."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("nir")

from benchmarks import interop


def test_a_quick_run_writes_its_figures(tmp_path, capsys):
    assert interop.main(["--quick", "--json", str(tmp_path / "figures.json")]) == 0
    rows = json.loads((tmp_path / "figures.json").read_text())["rows"]
    assert {row["tool"] for row in rows} == set(interop.TOOLS) and {row["gain"] for row in rows} == set(interop.GAINS)
    for row in rows:
        if "error" not in row and row["equal"] < 1.0:
            assert row["equal by rule"] == 1.0, row
    assert "LIF 20-30-5" in capsys.readouterr().out


def test_a_tool_that_fails_is_a_row_and_no_end():
    def broken(graph, x):
        raise ValueError("no such\nnode")

    assert interop.compared("norse", broken, None, None, None) == {"error": "ValueError: no such node"}
