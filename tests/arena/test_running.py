"""Processes of the arena: what is done is kept, what is missing is named, and the tested part is touched once."""

from __future__ import annotations

import json

import pytest
import torch

from neurosim.arena import CONTESTS, run_arena, running
from neurosim.arena.measuring import priced, run
from neurosim.arena.recipe import joined
from neurosim.arena.recipes import RECIPES
from neurosim.datasets import Labelled, Series
from neurosim.errors import FileError, InputError


class Finished:
    """A process that has ended."""

    returncode = 0

    def __init__(self, status=0):
        self.returncode = status

    def poll(self):
        """Return the exit status."""
        return self.returncode


@pytest.fixture
def started(monkeypatch):
    """Replace the processes by writing a result; return the list of what was started."""
    keys = []

    def start(place, root, key, code, quick, log):
        keys.append(key)
        if key[0] == "braille":
            running.write_result(place, {"name": "braille", "seed": key[1], "missing": "no file", "code": code})
        elif key[0] == "qtdb":
            log.write(b"Traceback\nValueError: broken\n")
            return Finished(1)
        else:
            found = {
                "name": key[0], "seed": key[1], "code": code, "score": 0.5, "seconds": 1.0, "validation": 0.5,
                "train_seconds": 1.0, "parameters": 1, "synaptic_operations": 1.0, "dense_operations": 1.0,
                "energy_J": {}, "peak_bytes": 1, "neurobench": {},
            }  # fmt: skip
            running.write_result(place, found)
        return Finished()

    monkeypatch.setattr(running, "_start", start)
    return keys


def test_finished_runs_are_not_repeated(started, tmp_path):
    first = run_arena(tmp_path, names=["vowels"], seeds=2)
    assert started == [("vowels", 0), ("vowels", 1)] and len(first.runs) == 2
    again = run_arena(tmp_path, names=["vowels"], seeds=3)
    assert started == [("vowels", 0), ("vowels", 1), ("vowels", 2)] and len(again.runs) == 3


def test_results_of_other_recipes_are_not_mixed(started, tmp_path, monkeypatch):
    run_arena(tmp_path, names=["vowels"], seeds=1)
    monkeypatch.setattr(running, "_code", lambda: "another")
    run_arena(tmp_path, names=["vowels"], seeds=1)
    assert len(started) == 2


def test_a_damaged_result_is_run_again(started, tmp_path):
    run_arena(tmp_path, names=["vowels"], seeds=1)
    (tmp_path / "runs" / "vowels-0.json").write_text("{")
    assert len(run_arena(tmp_path, names=["vowels"], seeds=1).runs) == 1 and len(started) == 2


def test_a_missing_set_is_named_and_the_others_run(started, tmp_path):
    found = run_arena(tmp_path, names=["braille", "vowels"], seeds=1, workers=1)
    assert found.missing == {"braille": "no file"} and [each["name"] for each in found.runs] == ["vowels"]


def test_a_run_that_fails_says_why(started, tmp_path):
    with pytest.raises(FileError, match=r"qtdb with seed 0 ended with status 1: ValueError: broken"):
        run_arena(tmp_path, names=["qtdb"], seeds=1)


@pytest.mark.parametrize("options", [{"names": ["mnist"]}, {"seeds": 0}, {"workers": True}])
def test_what_cannot_be_run_is_refused(options, tmp_path):
    with pytest.raises(InputError):
        run_arena(tmp_path, **options)


def test_every_set_has_a_recipe_and_a_card():
    assert set(RECIPES) | {"mackey-glass"} == set(CONTESTS)
    assert all(contest.described.licence for contest in CONTESTS.values())
    smape, share = CONTESTS["mackey-glass"], CONTESTS["yin-yang"]
    assert smape.reached(13.0) and not smape.reached(13.37) and share.reached(0.97) and not share.reached(0.96)


def test_the_worker_writes_what_is_missing(tmp_path, monkeypatch):
    from neurosim.arena import worker

    threads = torch.get_num_threads()
    task = {"name": "braille", "seed": 0, "root": str(tmp_path), "folder": str(tmp_path), "quick": True, "code": "c"}
    try:
        worker.main(task)
    finally:
        torch.set_num_threads(threads)
    found = json.loads((tmp_path / "braille-0.json").read_text())
    assert "braille7_sigma_delta_unique1158.npz" in found["missing"] and found["code"] == "c"


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_run_measures_and_continues(tmp_path):
    found = run("yin-yang", 0, None, tmp_path, quick=True)
    assert found["parameters"] == 4 * 120 + 120 * 3 and found["neurobench"]["footprint"] == 4 * 840
    assert 0 <= found["score"] <= 1 and found["peak_bytes"] > 2**20
    assert 0 < found["synaptic_operations"] <= found["dense_operations"] == 20 * 840
    again = run("yin-yang", 0, None, tmp_path, quick=True)  # nothing is left to train
    assert again["score"] == found["score"] and again["train_seconds"] == found["train_seconds"]


def test_parts_are_joined():
    labelled = Labelled(torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64), ("a",))
    assert len(joined(labelled, labelled)) == 4
    series = Series((torch.zeros(2, 1),), (torch.tensor(0),), ("a",))
    assert len(joined(series, series)) == 2


def test_operations_are_those_of_neurobench():
    """An input of ones through all weights counts each synapse once a step (NeuroBench's dense case)."""
    import neurosim as ns

    net = ns.Sequential(ns.Linear(3, 3), ns.LI(dt=1e-3))
    counts = priced(net, torch.ones(2, 5, 3))["neurobench"]
    assert counts["dense"] == counts["effective_acs"] == 2 * 9 and counts["effective_macs"] == 0
