"""Runs that end early lose nothing that was recorded, and continue to the same recording."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim.circuit import FixedInDegree, Poisson
from neurosim.circuit.engine import Engine
from neurosim.errors import FileError

DT = 1e-4


def network(weight=0.1):
    return ns.Network(
        {"x": Poisson(9000.0, 100), "E": ns.LIF(dt=DT, size=100, r=200.0)},
        [
            ns.Edge("x", "E", ns.Drawn(ns.circuit.OneToOne(), weight=0.2)),
            ns.Edge("E", "E", ns.Drawn(FixedInDegree(10), weight=weight, delay=5 * DT)),
        ],
    )


def assert_same(a, b):
    x, y = a.spikes["E"].read(), b.spikes["E"].read()
    assert len(y) > 100
    assert np.array_equal(x.step, y.step)
    assert np.array_equal(x.neuron, y.neuron)
    assert np.array_equal(a.traces["E.v"][:], b.traces["E.v"][:])
    assert torch.equal(a.state.nodes["E"].v, b.state.nodes["E"].v)


ARGUMENTS = dict(steps=600, seed=3, record=["E", "E.v"], chunk=50)


@pytest.mark.parametrize("engine", ["circuit", "layered"])
def test_a_run_in_segments_is_the_run_in_one(tmp_path, engine):
    net = network()
    whole = ns.simulate(net, engine=engine, **ARGUMENTS)
    with ns.simulate(net, engine=engine, path=tmp_path / "run.h5", checkpoint=0.0, **ARGUMENTS) as stored:
        assert_same(stored, whole)
    assert [each.name for each in tmp_path.iterdir()] == ["run.h5"]


def test_a_run_that_failed_is_continued(tmp_path, monkeypatch):
    net, path = network(), tmp_path / "run.h5"
    whole = ns.simulate(net, **ARGUMENTS)
    advance, calls = Engine.advance, []

    def fails(self, *arguments):
        calls.append(0)
        if len(calls) == 7:
            raise MemoryError
        return advance(self, *arguments)

    monkeypatch.setattr(Engine, "advance", fails)
    with pytest.raises(MemoryError):
        ns.simulate(net, path=path, checkpoint=0.0, **ARGUMENTS)
    monkeypatch.undo()
    assert not path.exists()
    with pytest.raises(FileError, match=r"holds the beginning of a run that ended early. Continue it with resume=True"):
        ns.simulate(net, path=path, **ARGUMENTS)
    with pytest.raises(FileError, match=r"beginning of another run: \['network'\] differ"):
        ns.simulate(network(0.2), path=path, resume=True, **ARGUMENTS)
    with pytest.raises(FileError, match=r"beginning of another run: \['T', 'record'\] differ"):
        ns.simulate(net, path=path, resume=True, steps=900, seed=3, record=["E"])
    with ns.simulate(net, path=path, resume=True, **ARGUMENTS) as stored:
        assert_same(stored, whole)
    assert len(list(tmp_path.iterdir())) == 1
    with ns.simulate(net, path=path, resume=True, **ARGUMENTS) as again:  # nothing to continue: from the start
        assert_same(again, whole)


def test_r2_what_a_killed_process_had_recorded_is_kept(tmp_path):
    path = tmp_path / "run.h5"
    program = f"""
        import sys
        sys.path.insert(0, {os.path.dirname(os.path.dirname(__file__))!r})
        import neurosim as ns
        from tests.test_long_runs import ARGUMENTS, network
        ns.simulate(network(), path={str(path)!r}, checkpoint=0.0, **(ARGUMENTS | dict(steps=2_000_000, record=["E"])))
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)])
    folder = tmp_path / "run.h5.parts"
    end = time.monotonic() + 120
    while len(list(folder.glob("*.h5"))) < 4 and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    parts = sorted(folder.glob("[0-9]*.h5"))
    assert len(parts) >= 4
    kept = []
    for part in parts:
        with ns.Recording.load(part) as recording:
            assert recording.T == 50
            kept.append(recording.spikes["E"].read())
    joined = ns.Events.joined(kept)
    assert joined.T is not None
    whole = ns.simulate(network(), **(ARGUMENTS | dict(steps=joined.T, record=["E"]))).spikes["E"]
    assert np.array_equal(joined.step, whole.step)
    assert np.array_equal(joined.neuron, whole.neuron)


def interrupt_soon(monkeypatch, at):
    """Send Ctrl-C to this process during a call of the engine."""
    advance, calls = Engine.advance, []

    def interrupted(self, *arguments):
        calls.append(0)
        if len(calls) == at:
            signal.raise_signal(signal.SIGINT)
        return advance(self, *arguments)

    monkeypatch.setattr(Engine, "advance", interrupted)


def test_ctrl_c_keeps_what_was_recorded(tmp_path, monkeypatch):
    net, path = network(), tmp_path / "run.h5"
    whole = ns.simulate(net, **ARGUMENTS)
    interrupt_soon(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt, match="after 200 of 600 steps") as caught:
        ns.simulate(net, **ARGUMENTS)
    monkeypatch.undo()
    first = caught.value.recording  # type: ignore[attr-defined]
    assert first.T == 200
    rest = ns.simulate(net, steps=400, record=["E", "E.v"], chunk=50, state=first.state)
    joined = ns.Events.joined([first.spikes["E"], rest.spikes["E"]])
    assert np.array_equal(joined.neuron, whole.spikes["E"].neuron)
    interrupt_soon(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt, match="the same call with resume=True continues the run"):
        ns.simulate(net, path=path, **ARGUMENTS)
    monkeypatch.undo()
    with ns.simulate(net, path=path, resume=True, **ARGUMENTS) as stored:
        assert_same(stored, whole)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_outside_the_main_thread_no_signal_is_handled():
    found = []
    thread = threading.Thread(target=lambda: found.append(ns.simulate(network(), **ARGUMENTS)))
    thread.start()
    thread.join()
    assert found[0].T == 600


def test_ctrl_c_in_the_last_steps_ends_the_program_too(tmp_path, monkeypatch):
    path = tmp_path / "run.h5"
    interrupt_soon(monkeypatch, 12)
    with pytest.raises(KeyboardInterrupt, match="the recording is complete") as caught:
        ns.simulate(network(), path=path, **ARGUMENTS)
    monkeypatch.undo()
    caught.value.recording.close()  # type: ignore[attr-defined]
    with ns.Recording.load(path) as stored:
        assert_same(stored, ns.simulate(network(), **ARGUMENTS))
