"""Sweeps over a Dask cluster: a worker that is killed, a scheduler that is not there or is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import types
from typing import Any

import pytest

from neurosim.errors import ClusterError, InputError

distributed = pytest.importorskip("distributed")
pytest.importorskip("xarray")
pytest.importorskip("h5netcdf")

from neurosim.sweeps import dask_cluster, sweep  # noqa: E402


@pytest.fixture
def cluster():
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, worker_dashboard_address=None
    ) as found:
        yield found


def test_a_killed_worker_loses_and_doubles_nothing(cluster, tmp_path):
    mark, ends = str(tmp_path / "killed"), str(tmp_path / "ends")

    def trial(x, seed):
        if x == 100 and not os.path.exists(mark):
            open(mark, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        with open(ends, "a") as log:
            log.write(f"{x} {seed}\n")
        return {"y": x * x + seed}

    found = sweep(trial, {"x": range(200)}, seeds=2, dask=cluster.scheduler_address, path=tmp_path / "a.nc")
    assert os.path.exists(mark)
    assert (found["error"] == "").all() and (found["y"] == found["x"] ** 2 + found["seed"]).all()


@pytest.mark.parametrize("status", ["lost", "cancelled"])
def test_a_result_that_is_lost_with_its_worker_is_computed_again(status):
    executor = object.__new__(dask_cluster.DaskCluster)
    released = []
    future = types.SimpleNamespace(status=status, release=lambda: released.append(True))
    executor._address, executor._jobs = "tcp://here", {3: future}
    client: Any = types.SimpleNamespace(status="running")
    executor._client = client
    assert executor._result(3, future) == (3, None) and released
    client.status, executor._jobs = "connecting", {3: future}
    with pytest.raises(ClusterError, match=r"the Dask scheduler at tcp://here was lost"):
        executor._result(3, future)


def test_no_scheduler_is_an_error_by_name(monkeypatch):
    monkeypatch.setattr(dask_cluster, "_CONNECT", 0.5)
    with pytest.raises(ClusterError, match=r"no Dask scheduler answers at 'tcp://127.0.0.1:9': .*Start one with `dask"):
        sweep(lambda x: x, {"x": [1]}, dask="tcp://127.0.0.1:9")
    with pytest.raises(ClusterError, match="no Dask scheduler answers at 'nonsense://'"):
        sweep(lambda x: x, {"x": [1]}, dask="nonsense://")


def test_a_lost_scheduler_is_an_error_and_what_is_done_is_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(dask_cluster, "_GRACE", 0.5)
    file = tmp_path / "scheduler.json"
    options = ["--scheduler-file", str(file)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    dask = [sys.executable, "-m", "dask"]
    scheduler = subprocess.Popen([*dask, "scheduler", *options, "--no-dashboard", "--port", "0"], **quiet)
    worker = subprocess.Popen([*dask, "worker", *options, "--nthreads", "1", "--no-dashboard", "--no-nanny"], **quiet)
    log = tmp_path / "a.nc.parts" / "trials.jsonl"

    def kill():
        while not (log.exists() and log.stat().st_size):
            time.sleep(0.05)
        scheduler.kill()

    def trial(x):
        time.sleep(0.05)
        return x

    try:
        while not file.exists():
            time.sleep(0.05)
        import json

        address = json.loads(file.read_text())["address"]
        threading.Thread(target=kill, daemon=True).start()
        message = r"the Dask scheduler at tcp://.* was lost. [1-9]\d* of 2000 trials are in .*a.nc.parts; the same call"
        with pytest.raises(ClusterError, match=message):
            sweep(trial, {"x": range(2000)}, dask=address, path=tmp_path / "a.nc")
    finally:
        for process in (worker, scheduler):
            process.kill()
            process.wait()
    kept = len(log.read_text().splitlines())
    assert 0 < kept < 2000


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(
        InputError, match=r"needs distributed. Install it with: pip install 'neurosim-toolkit\[clusters"
    ):
        sweep(lambda x: x, {"x": [1]}, dask="tcp://127.0.0.1:9")
