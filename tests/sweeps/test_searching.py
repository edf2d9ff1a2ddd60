"""Searches: Optuna proposes, the store of a sweep keeps."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from neurosim.errors import FailedTrials, FileError, InputError

optuna = pytest.importorskip("optuna")
pytest.importorskip("xarray")
pytest.importorskip("h5netcdf")

from neurosim.sweeps import Search, load_sweep, search  # noqa: E402


def bowl(x, n, kind, seed):
    return {"loss": (x - 1.0) ** 2 + n + (kind == "b"), "seed_seen": seed}


SPACE = {"x": (-3.0, 3.0), "n": (0, 3), "kind": ["a", "b"]}
CHOICES = optuna.distributions.CategoricalDistribution


def test_the_best_is_found_and_all_trials_are_kept(tmp_path):
    found = search(bowl, SPACE, trials=60, objective="loss", seed=3, workers=0, path=tmp_path / "a.nc")
    best = found.isel(trial=found.attrs["best"])
    assert best["loss"] == found["loss"].min() and best["loss"] < 0.3 and best["kind"] == "a" and best["n"] == 0
    assert found.sizes["trial"] == 60 and (found["seed_seen"] == 3).all() and found["n"].dtype.kind == "i"
    assert load_sweep(tmp_path / "a.nc").identical(found) and os.listdir(tmp_path) == ["a.nc"]
    again = search(bowl, SPACE, trials=60, objective="loss", seed=3, workers=0)
    assert again["x"].identical(found["x"])
    most = search(lambda x: x, {"x": (-3.0, 3.0)}, trials=30, direction="maximize", workers=0)
    assert most["x"][most.attrs["best"]] == most["x"].max()


def test_a_search_over_processes_keeps_each_trial_once():
    def own(x):
        return {"y": x * x, "pid": os.getpid()}

    found = search(own, {"x": (-1.0, 1.0)}, trials=30, objective="y", workers=2)
    assert found.sizes["trial"] == 30 and (found["y"] == found["x"] ** 2).all() and (found["pid"] != os.getpid()).all()


def test_a_search_that_ended_early_is_continued(tmp_path, monkeypatch):
    path = tmp_path / "a.nc"

    def stopping(x):
        if x > 0.9 and os.environ.get("STOP"):
            raise KeyboardInterrupt
        return x

    monkeypatch.setenv("STOP", "1")
    with pytest.raises(KeyboardInterrupt):
        search(stopping, {"x": (0.0, 1.0)}, trials=400, direction="maximize", workers=0, path=path)
    monkeypatch.delenv("STOP")
    kept = len((tmp_path / "a.nc.parts" / "trials.jsonl").read_text().splitlines())
    assert kept > 0
    with pytest.raises(FileError, match=r"another sweep: \['space'\] differ"):
        search(stopping, {"x": (0.0, 2.0)}, trials=400, direction="maximize", workers=0, path=path, resume=True)
    found = search(
        stopping, {"x": (0.0, 1.0)}, trials=kept + 5, direction="maximize", workers=0, path=path, resume=True
    )
    assert found.sizes["trial"] == kept + 5
    how = {"direction": "maximize", "workers": 0, "path": path, "resume": True}
    assert search(stopping, {"x": (0.0, 1.0)}, trials=kept + 5, **how).identical(found)
    with pytest.raises(FileError, match="is the data set of another search, or of fewer trials"):
        search(stopping, {"x": (0.0, 1.0)}, trials=kept + 6, **how)


def test_a_trial_that_ends_its_worker_fails_with_its_parameters():
    def deadly(n):
        if n == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return n

    with pytest.warns(FailedTrials, match="the worker that ran it ended, 3 times"):
        found = search(deadly, {"n": [0, 1]}, trials=6, workers=1, sampler=optuna.samplers.RandomSampler(seed=0))
    assert found.sizes["trial"] == 6 and ((found["error"] != "") == (found["n"] == 1)).all()


def test_an_objective_that_is_none_is_named_again_when_the_search_is_continued(tmp_path):
    for resume in (False, True, True):
        with pytest.raises(InputError, match="the objective 'lss' must be a number among"):
            search(bowl, SPACE, trials=2, workers=0, objective="lss", path=tmp_path / "a.nc", resume=resume)


def test_a_result_is_told_once():
    with Search({"x": (0.0, 1.0)}) as made:
        trial = made.ask()
        made.tell(trial, 1.0)
        for other in (trial, trial._replace(number=7)):
            with pytest.raises(InputError, match=f"trial {other.number} has its result already, or ask"):
                made.tell(other, 2.0)
        assert len(made) == 1 and made.best.values == {"result": 1.0}


def test_ask_and_tell():
    with Search({"x": optuna.distributions.FloatDistribution(1e-3, 1.0, log=True)}, objective="y", seed=1) as made:
        for k in range(5):
            trial = made.ask()
            assert trial.number == k and trial.seed is None
            if k == 2:
                made.tell(trial, error="no result")
            else:
                made.tell(trial, {"y": trial.parameters["x"], "note": "text"}, seconds=0.5)
        assert len(made) == 5 and made.best.values["y"] == min(t.value for t in made.study.trials if t.value)
        assert [trial.state.name for trial in made.study.trials].count("FAIL") == 1
        found = made.dataset()
    assert found["error"].values.tolist() == ["", "", "no result", "", ""] and found["note"].values[0] == "text"


def test_failed_trials_and_nan_are_told_as_failed():
    def half(n):
        if n > 5:
            raise ValueError("high")
        return float("nan") if n == 5 else float(n)

    with pytest.warns(FailedTrials, match="ValueError: high"):
        found = search(half, {"n": (0, 10)}, trials=25, workers=0)
    assert float(found["result"][found.attrs["best"]]) == float(found["result"].min())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: search(bowl, {**SPACE, "z": (0, 1)}, trials=2), "bowl has no parameter 'z'"),
        (lambda: search(bowl, {"x": (0, 1)}, trials=2), "bowl needs 'n'"),
        (lambda: search(abs, {}, trials=2), "space must be a mapping"),
        (lambda: search(lambda x: x, {"x": (1, 0)}, trials=2), r"range of 'x' must be \(low, high\), .*; got \(1, 0\)"),
        (lambda: search(lambda x: x, {"x": 3}, trials=2), "range of 'x' must be"),
        (lambda: search(lambda x: x, {"x": (0.0, float("inf"))}, trials=2), "range of 'x' must be .*finite"),
        (lambda: search(lambda x: x, {"x": (False, True)}, trials=2), "range of 'x' must be"),
        (lambda: search(lambda x: x, {"x": [1, "a"]}, trials=2), "'x' mixes texts and numbers"),
        (lambda: search(lambda x: x, {"x": CHOICES((None, "a"))}, trials=2), "must be numbers or texts; got None"),
        (lambda: search(lambda x: x, {"x": (0, 1)}, trials=2, seed=-1), "seed must be an integer in 0 ... 2.32 - 1"),
        (lambda: search(lambda x: x, {"x": (0, 1)}, trials=0), "trials must be an integer from 1; got 0"),
        (lambda: search(lambda x: x, {"x": (0, 1)}, trials=2, direction="up"), 'direction must be "minimize"'),
        (
            lambda: search(bowl, SPACE, trials=2, workers=0),
            r"objective must name one of the results \['loss', 'seed_se",
        ),
        (lambda: search(bowl, SPACE, trials=2, workers=0, objective="y"), "the objective 'y' must be a number among"),
    ],
)
def test_what_is_no_search_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_optuna_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match=r"a search needs optuna. Install it with: pip install 'neurosim-toolkit\[sea"):
        search(lambda x: x, {"x": (0, 1)}, trials=2)
