"""`neurosim sweep` runs what a TOML file describes."""

from __future__ import annotations

import json
import sys

import pytest

from neurosim.cli import main

pytest.importorskip("xarray")
pytest.importorskip("h5netcdf")

MODEL = """
import neurosim as ns
from neurosim.circuit import OneToOne, Poisson


def power(x, n, seed):
    if x == 3:
        raise ValueError("three")
    return {"y": x**n + seed}


def network(rate):
    nodes = {"noise": Poisson(rate, 20), "out": ns.LIF(dt=1e-3, size=20)}
    return ns.Network(nodes, [ns.Edge("noise", "out", ns.Drawn(OneToOne(), weight=2.0))])


def spikes(run):
    return {"n": len(run.spikes["out"])}
"""


@pytest.fixture
def call(monkeypatch, tmp_path):
    """Return a function that runs the command with a file, as a user does, and returns its exit code."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(MODEL)

    def run(text, *arguments):
        (tmp_path / "sweep.toml").write_text(text)
        monkeypatch.setattr(sys, "argv", ["neurosim", "sweep", "sweep.toml", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0)

    return run


@pytest.mark.filterwarnings("always")
def test_a_function_is_swept(call, capsys, tmp_path):
    text = 'function = "model.py:power"\npath = "a.nc"\nseeds = 2\n[parameters]\nx = [1, 2]\nn = [2, 3]\n'
    assert call(text, "--workers", 0, "--json", "a.json") == 0
    assert "8 trials, 0 failed" in capsys.readouterr().out
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["dimensions"] == {"x": 2, "n": 2, "seed": 2} and content["results"] == ["y"]
    from neurosim.sweeps import load_sweep

    assert load_sweep(tmp_path / "a.nc")["y"].sel(x=2, n=3, seed=1).item() == 9
    assert call(text, "--resume", "--out", "a.nc") == 0  # it is complete
    assert call(text.replace("[1, 2]", "[1, 3]"), "--workers", 1) == 1
    assert "FailedTrials" not in (shown := capsys.readouterr()).err and "4 of 8 trials failed" in shown.err


def test_a_network_is_swept(call, capsys):
    text = """
    function = "model.py:network"
    measure = "model.py:spikes"
    seconds = 0.1
    seeds = [5, 6]
    record = ["out"]
    [parameters]
    rate = [100.0, 500.0]
    "out.tau_mem" = [5e-3, 20e-3]
    """
    assert call(text, "--out", "b.nc") == 0
    assert "Wrote b.nc: n by rate, out.tau_mem, seed." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "unknown key 'x'. Allowed: function"),
        ("seeds = 1", 'function is missing. Write function = "model.py:trial"'),
        ('function = "model.py:power"', "parameters is missing"),
        ('function = "model.py:power"\nparameters = 3', "parameters must be a table"),
        ('function = "model.py:power"\n[parameters]\nx = [1]', "path is missing"),
        ('function = "model.py:power"\npath = 5\n[parameters]\nx = [1]', "path must be a text. Write path"),
        ('function = "power"\npath = "a"\n[parameters]\nx = [1]', 'function must be "FILE.py:FUNCTION"'),
        ('function = "model.py:power"\npath = "a"\n[parameters]\nx = [1]', "power needs 'n'"),
        ('function = "model.py:power"\npath = "a"\nworkers = "b"\n[parameters]\nx = [1]\nn = [1]', "workers must be"),
    ],
)
def test_what_is_no_sweep_is_refused_in_one_line(call, capsys, text, message):
    assert call(text) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
