"""`neurosim bench` runs the benchmarks of a checkout and says what to do where there are none."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import pytest

from neurosim.cli import main
from neurosim.errors import InputError

# The command of this name hides its module.
bench = importlib.import_module("neurosim.cli.benchmarks")


def call(monkeypatch, *arguments) -> int:
    """Run the command as a user does and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["neurosim", "bench", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def test_it_runs_a_benchmark_and_keeps_its_figures_where_the_user_stands(monkeypatch, tmp_path, capfd):
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, "rules", "--quick", "--json", "figures.json") == 0
    assert "SLTT" in capfd.readouterr().out
    assert "rules" in json.loads((tmp_path / "figures.json").read_text())


def test_the_exit_code_is_that_of_the_benchmarks(monkeypatch, capfd):
    assert call(monkeypatch, "nothing") == 2
    assert "no benchmark 'nothing'; there are train-step" in capfd.readouterr().err


def test_the_folder_of_data_is_found_from_where_the_user_stands(monkeypatch, tmp_path):
    asked = []

    def run(command, **_):
        asked.append(command)
        return subprocess.CompletedProcess(command, returncode=3)

    monkeypatch.setattr(bench.subprocess, "run", run)
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, "conv-step", "--data", "events") == 3
    assert asked[0][1:] == ["-m", "benchmarks", "conv-step", "--data", str(tmp_path / "events")]
    assert call(monkeypatch, "circuits", "--peers", "others") == 3
    assert asked[1][1:] == ["-m", "benchmarks", "circuits", "--peers", str(tmp_path / "others")]


def test_without_a_checkout_it_says_what_to_do(tmp_path):
    # A folder of another project that is called the same.
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "__main__.py").touch()
    with pytest.raises(InputError, match=r"benchmarks/ is not here: .*Get the source of neurosim, run `make install`"):
        bench.folder([tmp_path])


def test_the_current_folder_is_looked_at_too(tmp_path, root, monkeypatch):
    monkeypatch.setattr(bench.neurosim, "__file__", str(tmp_path / "neurosim" / "__init__.py"))
    monkeypatch.chdir(root)
    assert bench.folder() == root
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="Looked in"):
        bench.folder()
