"""Whatever happens to a Lava run, it ends, says what happened and leaves no process, shared memory or file behind."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
import venv
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from neurosim.errors import InputError, TargetRunError
from neurosim.hardware.lava import runner
from neurosim.hardware.lava.description import DenseProcess, LavaGraph, SourceProcess
from neurosim.hardware.lava.exchange import Request
from neurosim.hardware.lava.runner import run_graph
from tests.hardware.lava.reference import lif_population

pytest.importorskip("lava.magma")
ONE = np.array(1.0)


def graph(du: np.ndarray = ONE) -> LavaGraph:
    population = lif_population("out", (5,), 1, du, np.array(0.1), ONE)
    return LavaGraph(
        (SourceProcess("input", (3,)),),
        (population,),
        (DenseProcess("input->out", "input", "out", np.full((5, 3), 0.3)),),
    )


def request(steps: int, samples: int = 1) -> Request:
    return Request({"input": np.ones((steps, samples, 3))}, ("out",))


ENDLESS = request(2_000_000)


def members(group: int) -> list[int]:
    """List the living processes of a group."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, _, pgrp = (entry / "stat").read_text().rpartition(") ")[2].split()[:3]
            except OSError:
                continue
            if int(pgrp) == group and state not in "ZX":
                found.append(int(entry.name))
    return found


def segments(prefix: str) -> list[Path]:
    return list(Path("/dev/shm").glob(f"{prefix}*"))


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


@dataclasses.dataclass
class Watched:
    """A worker process: its group, the name of its shared memory, its folder."""

    group: int
    prefix: str
    folder: Path

    def is_running(self) -> bool:
        # The worker, a sample, its shared memory manager, one process of Lava at least, and channels between them.
        return len(members(self.group)) > 3 and len(segments(self.prefix)) > 3

    def is_gone(self) -> bool:
        return not members(self.group) and not segments(self.prefix) and not self.folder.exists()


def workers_of(parent: int) -> list[Watched]:
    """Find the workers that process `parent` has started."""
    found = []
    for pid in Path(f"/proc/{parent}/task").glob("*/children"):
        for child in pid.read_text().split():
            command = Path(f"/proc/{child}/cmdline").read_text().split("\0")
            if len(command) > 4 and command[2].endswith("worker.py"):
                found.append(Watched(int(child), command[4].lstrip("/"), Path(command[3])))
    return found


def trackers(group: int) -> list[int]:
    """List the group's processes that remove shared memory of those that ended."""
    found = [pid for pid in members(group) if b"resource_tracker" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert found
    return found


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Watched]:
    """List the workers that this process starts."""
    seen: list[Watched] = []
    enter = runner._Worker.__enter__

    def watched(self: runner._Worker) -> runner._Worker:
        entered = enter(self)
        seen.append(Watched(self._process.pid, self._prefix, self._folder))
        return entered

    monkeypatch.setattr(runner._Worker, "__enter__", watched)
    return seen


def test_a_run_that_ends_well_leaves_nothing(started: list[Watched]) -> None:
    run = run_graph(graph(), request(20, samples=2), timeout=300.0)
    assert run.sent["out"].shape == (20, 2, 5)
    assert run.sent["out"].sum() == 20 * 2 * 5 // 2  # 0.9 a step, so every second step
    assert run.python == ".".join(map(str, sys.version_info[:3]))
    assert [w.is_gone() for w in started] == [True]


class Clock:
    """A clock that can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def test_over_time_the_group_is_killed(started: list[Watched], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(runner, "time", clock)

    def put_forward() -> None:
        wait_for(lambda: started and started[0].is_running())
        clock.ahead = 1000.0

    watcher = threading.Thread(target=put_forward)
    watcher.start()
    begin = time.monotonic()
    with pytest.raises(TargetRunError, match=r"not done after 1000 s \(0 of 1 samples finished\).*timeout="):
        run_graph(graph(), ENDLESS, timeout=1000.0)
    assert time.monotonic() - begin < 100.0
    watcher.join()
    assert [w.is_gone() for w in started] == [True]


def test_an_exception_in_a_process_of_lava_is_told_at_once(started: list[Watched]) -> None:
    # Lava itself would wait for ever: the other processes wait for the one that is gone.
    begin = time.monotonic()
    with pytest.raises(TargetRunError, match=r"(?s)Lava failed in a Lava process.*could not be broadcast"):
        run_graph(graph(du=np.ones(4)), request(20), timeout=300.0)
    assert time.monotonic() - begin < 100.0
    assert [w.is_gone() for w in started] == [True]


def test_an_exception_while_building_is_told(started: list[Watched]) -> None:
    wrong = dataclasses.replace(graph(), dense=(DenseProcess("input->out", "input", "out", np.ones((4, 3))),))
    with pytest.raises(TargetRunError, match=r"(?s)Lava failed in sample 0.*Shapes"):
        run_graph(wrong, request(20), timeout=300.0)
    assert [w.is_gone() for w in started] == [True]


def test_a_worker_that_dies_is_told(started: list[Watched]) -> None:
    def kill() -> None:
        wait_for(lambda: started and started[0].is_running())
        os.kill(started[0].group, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(TargetRunError, match="ended early, after 0 of 1 samples"):
        run_graph(graph(), ENDLESS, timeout=300.0)
    killer.join()
    assert [w.is_gone() for w in started] == [True]


# Where the tests run in the background of a script, a shell lets processes ignore SIGINT from their start.
SCRIPT = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from tests.hardware.lava.test_runner import ENDLESS, graph, run_graph
run_graph(graph(), ENDLESS, timeout=1000.0)
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
def test_when_the_user_s_process_ends_so_does_the_group(sent: signal.Signals, root: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", SCRIPT]
    with subprocess.Popen(command, cwd=root, env=environment, stderr=subprocess.PIPE, text=True) as user:
        try:
            wait_for(lambda: workers_of(user.pid) and workers_of(user.pid)[0].is_running(), seconds=90.0)
            (worker,) = workers_of(user.pid)
            # Python's own trackers would tidy up after dead processes if they had the time.
            for tracker in trackers(worker.group):
                os.kill(tracker, signal.SIGKILL)
            user.send_signal(sent)
            _, stderr = user.communicate(timeout=60)
            if sent == signal.SIGINT:
                assert "KeyboardInterrupt" in stderr
                assert worker.is_gone()
            else:
                wait_for(worker.is_gone, seconds=60.0)
        finally:
            user.kill()  # does nothing to one that has ended


def test_two_runs_at_once_do_not_disturb_each_other(started: list[Watched]) -> None:
    with ThreadPoolExecutor() as pool:
        good = pool.submit(run_graph, graph(), request(1000), 300.0)
        wait_for(lambda: started and started[0].is_running())
        os.killpg(started[0].group, signal.SIGSTOP)  # held in the middle while the other one fails and is cleared away
        with pytest.raises(TargetRunError, match="Lava failed in a Lava process"):
            run_graph(graph(du=np.ones(4)), request(20), timeout=300.0)
        assert started[0].is_running()
        os.killpg(started[0].group, signal.SIGCONT)
        assert good.result().sent["out"].sum() == 1000 * 5 // 2
    assert len({w.prefix for w in started}) == 2
    assert [w.is_gone() for w in started] == [True, True]


@pytest.mark.parametrize("missing", ["lava.magma", "networkx"])
def test_without_lava_the_command_to_install_it_is_told(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == missing else find(name))
    command = "pip install --no-deps --ignore-requires-python lava-nc==0.10.0"
    with pytest.raises(TargetRunError, match=f"no module named '{missing}'.*{command}"):
        run_graph(graph(), request(20))


def test_an_interpreter_without_lava_is_named(tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", with_pip=False)
    python = tmp_path / "bare" / "bin" / "python"
    with pytest.raises(TargetRunError, match=f"(?s)lava-nc cannot be used.*{python}.*pip install"):
        run_graph(graph(), request(20), timeout=300.0, python=python)


def test_an_interpreter_that_is_not_there_is_named() -> None:
    with pytest.raises(TargetRunError, match=r"cannot start '/no/such/python'.*Python 3.10 to 3.13"):
        run_graph(graph(), request(20), python="/no/such/python")


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan")])
def test_a_time_limit_is_positive(timeout: float) -> None:
    with pytest.raises(InputError, match="timeout must be a positive number of seconds"):
        run_graph(graph(), request(20), timeout=timeout)
