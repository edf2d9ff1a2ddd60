"""Sweeps of functions: the data set, processes, lost workers, interruptions, what is refused."""

from __future__ import annotations

import importlib.metadata
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from neurosim.errors import ClusterError, FailedTrials, FileError, InputError

pytest.importorskip("xarray")
pytest.importorskip("h5netcdf")

from neurosim.sweeps import load_sweep, sweep


def square(x, k="a", *, seed):
    if x == 2.0 and seed == 1:
        raise ValueError("no\ngood")
    return {"y": x**2 + seed, "v": np.arange(3) * x, "t": k, "n": int(x), "good": x > 1}


def test_the_data_set_has_dimensions_errors_and_versions(tmp_path):
    path = tmp_path / "new" / "a.nc"
    message = r"2 of 12 trials failed; the first: ValueError: no good \(test_sweeping.py, line"
    with pytest.warns(FailedTrials, match=message):
        found = sweep(square, {"x": [1.0, 2.0, 3.0], "k": ["a", "b"]}, seeds=2, workers=0, path=path)
    assert found["y"].dims == ("x", "k", "seed") and found["v"].dims == ("x", "k", "seed", "v_0")
    assert found["y"].sel(x=3.0, k="b", seed=1).item() == 10.0
    assert found["v"].sel(x=3.0, k="b", seed=1).values.tolist() == [0.0, 3.0, 6.0]
    assert np.isnan(found["y"].sel(x=2.0, seed=1)).all() and np.isnan(found["n"].sel(x=2.0, seed=1)).all()
    assert (found["t"].sel(k="b", x=3.0) == "b").all() and (found["t"].sel(x=2.0, seed=1) == "").all()
    assert found["error"].sel(x=2.0, k="a", seed=1).item().startswith("ValueError: no good (test_sweeping.py")
    assert (found["wall_time"] > 0).all() and found["wall_time"].attrs["units"] == "s"
    assert {"neurosim", "numpy", "python", "started", "finished", "digest"} <= set(found.attrs)
    assert load_sweep(path).identical(found)
    assert os.listdir(path.parent) == ["a.nc"]


def test_a_sweep_without_failures_keeps_types(tmp_path):
    found = sweep(square, [{"x": 1.0, "k": "a"}, {"x": 3.0, "k": "b"}], workers=0, path=tmp_path / "a.nc")
    assert found["y"].dims == ("trial", "seed") and found["k"].values.tolist() == ["a", "b"]
    assert found["n"].dtype == np.int64 and found["good"].dtype == bool
    assert load_sweep(tmp_path / "a.nc").identical(found)


def test_processes_give_the_same_data(tmp_path):
    scale = 2.0  # a function of this test, which no other process can import

    def scaled(x, seed):
        return {"y": scale * x + seed, "pid": os.getpid()}

    here = sweep(scaled, {"x": range(40)}, seeds=3, workers=0)
    there = sweep(scaled, {"x": range(40)}, seeds=3, workers=2, path=tmp_path / "a.nc")
    assert here["y"].identical(there["y"])
    assert os.getpid() not in np.unique(there["pid"])


def test_a_script_without_a_guard_is_not_run_again(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "print('once')\nimport neurosim as ns\ndef double(x):\n    return 2 * x\n"
        "print(ns.sweep(double, {'x': [1, 2, 3]}, workers=2)['result'].values.tolist())\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["once", "[2, 4, 6]"]


def test_a_killed_worker_loses_and_doubles_nothing(tmp_path):
    mark, log = str(tmp_path / "killed"), str(tmp_path / "sweep.nc.parts" / "trials.jsonl")

    def deadly(x):
        if x == 150 and not os.path.exists(mark):
            open(mark, "w").close()
            with open(log) as lines:
                assert lines.readline()  # some are done
            os.kill(os.getpid(), signal.SIGKILL)
        if x == 77:
            os.kill(os.getpid(), signal.SIGKILL)
        return x * x

    with pytest.warns(FailedTrials, match="1 of 300 trials failed; the first: the worker that ran it ended, 3 times"):
        found = sweep(deadly, {"x": range(300)}, workers=2, path=tmp_path / "sweep.nc")
    assert os.path.exists(mark)
    failed = found["x"].values[found["error"].values != ""]
    assert failed.tolist() == [77]
    good = found.sel(x=[x for x in range(300) if x != 77])
    assert (good["result"].values == good["x"].values ** 2).all()


def test_an_interrupted_sweep_is_continued(tmp_path, monkeypatch):
    path, calls = tmp_path / "a.nc", tmp_path / "calls"

    def run(x, seed):
        with open(calls, "a") as log:
            log.write(f"{x} {seed}\n")
        if x == 5 and os.environ.get("STOP"):
            raise KeyboardInterrupt
        return x + 10.0 * seed

    monkeypatch.setenv("STOP", "1")
    with pytest.raises(KeyboardInterrupt):
        sweep(run, {"x": range(20)}, seeds=2, workers=0, path=path)
    monkeypatch.delenv("STOP")
    log = tmp_path / "a.nc.parts" / "trials.jsonl"
    kept = len(log.read_text().splitlines())
    assert 1 <= kept <= 10
    with open(log, "a") as torn:
        torn.write('{"trial":39,"seco')
    with pytest.raises(FileError, match=r"of a sweep that ended early\. Continue it with resume=True"):
        sweep(run, {"x": range(20)}, seeds=2, workers=0, path=path)
    with pytest.raises(FileError, match=r"holds the beginning of another sweep: \['digest', 'trials'\] differ"):
        sweep(run, {"x": range(21)}, seeds=2, workers=0, path=path, resume=True)
    before = len(calls.read_text().splitlines())
    found = sweep(run, {"x": range(20)}, seeds=2, workers=0, path=path, resume=True)
    assert len(calls.read_text().splitlines()) - before == 40 - kept
    assert (found["result"] == found["x"] + 10.0 * found["seed"]).all()
    assert not (tmp_path / "a.nc.parts").exists()
    # A complete one is read.
    assert sweep(run, {"x": range(20)}, seeds=2, workers=0, path=path, resume=True).identical(found)
    assert len(calls.read_text().splitlines()) == before + 40 - kept
    with pytest.raises(FileError, match="is the data set of another sweep"):
        sweep(run, {"x": range(3)}, seeds=2, path=path, workers=0, resume=True)


def test_ctrl_c_says_what_is_kept(tmp_path):
    def stop(x):
        if x == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return x

    with pytest.raises(KeyboardInterrupt, match=r"of 500 trials. \d+ of 500 trials are in .*a.nc.parts; the same call"):
        sweep(stop, {"x": range(500)}, workers=0, path=tmp_path / "a.nc")


def test_a_folder_in_use_is_refused(tmp_path):
    path = tmp_path / "a.nc"

    def nested(x):
        sweep(lambda y: y, {"y": [1]}, workers=0, path=path)
        return x

    with pytest.warns(FailedTrials, match="in use by process"):
        sweep(nested, {"x": [1]}, workers=0, path=path)


def test_results_that_are_not_alike_fail():
    with pytest.warns(FailedTrials, match=r"2 of 4 trials failed; the first: it returned \{'v': \[2\]\}, and trial 0"):
        found = sweep(lambda n: {"v": np.zeros(n)}, [{"n": 1}, {"n": 2}, {"n": 1}, {"n": 3}], workers=0)
    assert (found["error"] == "").values.tolist() == [True, False, True, False]
    with pytest.warns(FailedTrials, match="a result must not have the name of a parameter; 'x' has"):
        sweep(lambda x: {"x": x}, {"x": [1]}, workers=0)


def test_axes_of_results_have_names_of_their_own(tmp_path):
    results = {"y": np.arange(3), "y_0": 4.0}
    found = sweep(lambda y_0_: results, {"y_0_": [1, 2]}, workers=0, path=tmp_path / "a.nc")
    assert found["y"].dims == ("y_0_", "y_0__") and found["y"].values.tolist() == [[0, 1, 2]] * 2
    assert found["y_0"].dims == ("y_0_",) and found.identical(load_sweep(tmp_path / "a.nc"))


def test_a_sweep_of_one_trial_has_no_dimensions(tmp_path):
    found = sweep(lambda: {"v": np.arange(2), "n": 3}, {}, workers=0, path=tmp_path / "a.nc")
    assert found["v"].dims == ("v_0",) and found["n"].item() == 3 and found["error"].item() == ""


def test_texts_of_errors_are_kept_without_what_a_file_cannot_hold(tmp_path):
    def fail(x):
        raise ValueError("a\0b\ud800")

    with pytest.warns(FailedTrials, match=r"ValueError: a\?b\?"):
        sweep(fail, {"x": [1]}, workers=0, path=tmp_path / "a.nc")


def test_a_complete_sweep_of_another_version_is_refused(tmp_path, monkeypatch):
    sweep(square, {"x": [1.0]}, workers=0, path=tmp_path / "a.nc")
    monkeypatch.setattr("neurosim.sweeps.work.__version__", "9.9")
    with pytest.raises(FileError, match="another version of neurosim"):
        sweep(square, {"x": [1.0]}, workers=0, path=tmp_path / "a.nc", resume=True)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("sweep.json", b"[]"), ("trials.jsonl", b"\xff\n"),
        ("trials.jsonl", b'{"trial":1e999,"seconds":0,"error":"","values":{}}\n'),
        ("trials.jsonl", b'{"trial":0,"seconds":0,"error":"","values":{"result":[1]}}\n'),
    ],
)  # fmt: skip
def test_a_damaged_folder_is_named(tmp_path, name, content):
    path = tmp_path / "a.nc"

    def stops(x):
        if x == 2 and not (tmp_path / "go").exists():
            raise KeyboardInterrupt
        return x

    with pytest.raises(KeyboardInterrupt):
        sweep(stops, {"x": [1, 2]}, workers=0, path=path)
    (tmp_path / "a.nc.parts" / name).write_bytes(content)
    (tmp_path / "go").touch()
    with pytest.raises(FileError, match=r"a.nc.parts.*delete the folder"):
        sweep(stops, {"x": [1, 2]}, workers=0, path=path, resume=True)


def test_all_trials_may_fail():
    with pytest.warns(FailedTrials, match="2 of 2 trials failed"):
        found = sweep(lambda x: 1 / 0, {"x": [1, 2]}, workers=0)
    assert set(found.data_vars) == {"error", "wall_time"}
    with pytest.warns(FailedTrials, match="SystemExit: 3"):
        sweep(lambda x: sys.exit(3), {"x": [1]}, workers=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sweep(square, {"z": [1]}), r"square has no parameter 'z'; it has \['k', 'seed', 'x'\]"),
        (lambda: sweep(square, {"k": ["a"]}), "square needs 'x'; give values of it in parameters"),
        (lambda: sweep(lambda x: x, {"x": [1]}, seeds=2), "has no parameter 'seed'; it has .*leave out seeds="),
        (lambda: sweep(3, {"x": [1]}), "sweep needs a function or a network; got int"),
        (lambda: sweep(square, {"x": [1.0]}, measure=len), r"\['measure'\] are for runs of a network"),
        (lambda: sweep(square, {"x": [1.0]}, record=["E"]), r"\['record'\] are for runs of a network"),
        (lambda: sweep(square, {"x": [1.0]}, workers=-1), "workers must be an integer from 0; got -1"),
        (lambda: sweep(square, {"x": [1.0]}, batch=0), "batch must be an integer from 1; got 0"),
        (lambda: sweep(square, {"x": [1.0]}, dask="a", slurm={}), "dask= and slurm= both say where to run"),
        (lambda: sweep(square, {"x": [1.0]}, slurm={}), "slurm= needs path="),
    ],
)
def test_what_cannot_be_swept_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_what_cannot_be_sent_to_another_process_is_refused(tmp_path):
    with open(tmp_path / "open", "w") as file, pytest.raises(InputError, match="cannot be sent to another process"):
        sweep(lambda x: file.name, {"x": [1, 2]}, workers=1)


def test_a_worker_of_another_version_is_refused(monkeypatch):
    from neurosim.sweeps import work

    payload = work.packed(work.FunctionTask(square))
    monkeypatch.setattr(work, "__version__", "9.9")
    with pytest.raises(ClusterError, match=r"a worker has neurosim 9\.9 on Python .* use the same on both"):
        work.unpacked(payload)


@pytest.mark.parametrize("name", ["xarray", "h5netcdf", "cloudpickle"])
def test_a_package_that_is_missing_is_named(monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=rf"needs {name}. Install it with: pip install 'neurosim-toolkit\[sweeps\]'"):
        sweep(lambda x: x, {"x": [1, 2]}, workers=1)


def test_a_sweep_of_a_function_does_not_load_torch(tmp_path):
    script = f"""
import sys
from neurosim.sweeps import sweep
found = sweep(lambda x: 2.0 * x, {{"x": [1.0, 2.0]}}, path={str(tmp_path / "a.nc")!r}, workers=0)
print("torch" in sys.modules, found.attrs["torch"])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", importlib.metadata.version("torch")]
