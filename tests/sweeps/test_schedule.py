"""Trials of lost workers run again, each is kept once, and the one that ends workers is found."""

from __future__ import annotations

import collections

import pytest

from neurosim.sweeps.executor import Executor, Finished
from neurosim.sweeps.outcome import Outcome
from neurosim.sweeps.schedule import run_all
from neurosim.sweeps.trials import Trial


class Fake(Executor):
    """Workers that run nothing; a job with a trial of `deadly` ends all of them."""

    def __init__(self, slots, deadly=(), each=0.01, loses=0):
        self.slots, self.deadly, self.each, self.loses = slots, set(deadly), each, loses
        self.running, self.sizes, self.runs = {}, [], collections.Counter()

    def submit(self, job, units):
        assert len(self.running) < 2 * self.slots
        self.running[job] = units
        self.sizes.append(len(units))

    def collect(self, timeout):
        job, units = next(iter(self.running.items()))
        trials = [trial for unit in units for trial in unit]
        self.runs.update(trial.number for trial in trials)
        if self.loses or self.deadly.intersection(trial.number for trial in trials):
            self.loses = max(0, self.loses - 1)
            lost, self.running = [*self.running], {}
            return [Finished(each, None) for each in lost]
        del self.running[job]
        return [Finished(job, [Outcome(t.number, {"x": t.number}, "", self.each) for t in trials])]


def run(executor, count, size=1):
    trials = [Trial(k, {}, None) for k in range(count)]
    found = []
    units = [trials[k : k + size] for k in range(0, count, size)]
    assert run_all(collections.deque(units), executor, found.extend, lambda: False)
    return found


@pytest.mark.parametrize("slots", [1, 2, 5])
@pytest.mark.parametrize("size", [1, 4])
def test_each_trial_is_run_once_in_growing_jobs(slots, size):
    executor = Fake(slots)
    found = run(executor, 1000, size)
    assert sorted(outcome.number for outcome in found) == list(range(1000))
    assert set(executor.runs.values()) == {1}
    assert executor.sizes[0] == 1 and max(executor.sizes) > 1 and executor.sizes[-1] <= 2
    assert max(executor.sizes) * size * executor.each <= executor.seconds * 1.001


def test_a_long_trial_is_a_job_of_its_own():
    executor = Fake(2, each=3.0)
    run(executor, 40)
    assert max(executor.sizes) == 1


@pytest.mark.parametrize("losses", [1, 2])
def test_trials_of_lost_workers_run_again(losses):
    executor = Fake(2, loses=losses)
    found = run(executor, 300)
    assert sorted(outcome.number for outcome in found) == list(range(300))
    assert not any(outcome.error for outcome in found)


@pytest.mark.parametrize("size", [1, 5])
def test_the_trial_that_ends_its_worker_fails_and_no_other_one(size):
    executor = Fake(3, deadly=[0, 77, 78, 299])
    found = run(executor, 300, size)
    assert sorted(outcome.number for outcome in found) == list(range(300))
    failed = {outcome.number: outcome.error for outcome in found if outcome.error}
    assert set(failed) == {0, 77, 78, 299}
    assert all("the worker that ran it ended, 3 times" in text for text in failed.values())


def test_a_stop_leaves_the_rest():
    executor, found = Fake(1), []
    units = [[Trial(k, {}, None)] for k in range(100)]
    assert not run_all(collections.deque(units), executor, found.extend, lambda: len(found) >= 10)
    assert 10 <= len(found) < 100
