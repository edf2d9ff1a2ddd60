"""Run all trials of a sweep: jobs of a suitable size, those of a lost worker again."""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Protocol

from neurosim.sweeps.executor import Executor, Units
from neurosim.sweeps.outcome import Outcome
from neurosim.sweeps.trials import Trial

_LOSSES = 3  # workers that a trial may end


class Waiting(Protocol):
    """Groups of trials that have not begun, such as a deque of them."""

    def __len__(self) -> int:
        """Return how many are left."""

    def popleft(self) -> Sequence[Trial]:
        """Return the next one."""


@dataclasses.dataclass
class _Job:
    units: Units
    losses: int = 0  # workers that ended while it ran


def run_all(
    waiting: Waiting,
    executor: Executor,
    add: Callable[[list[Outcome]], None],
    stopped: Callable[[], bool],
) -> bool:
    """Run groups of trials.

    A job whose worker was lost runs again, alone, so that the trial which ends its worker is found: it fails after
    three of them, and no other one does.

    Parameters
    ----------
    waiting : Waiting
    executor : Executor
    add : callable
        Takes the outcomes of each job once.
    stopped : callable
        Whether to begin no more jobs and leave those that run.

    Returns
    -------
    bool
        Whether all were run.
    """
    again: collections.deque[_Job] = collections.deque()
    running: dict[int, _Job] = {}
    numbers, size = itertools.count(), executor.first_size(len(waiting))
    most = executor.ahead * executor.slots
    while waiting or again or running:
        if stopped():
            return False
        while len(running) < most and not any(job.losses for job in running.values()):
            if again and running:
                break
            if again:
                job = again.popleft()
            elif waiting:
                fair = -(-len(waiting) // most)
                job = _Job([waiting.popleft() for _ in range(min(size, fair))])
            else:
                break
            number = next(numbers)
            running[number] = job
            executor.submit(number, job.units)
        for finished in executor.collect(0.5):
            job = running.pop(finished.job)
            if finished.outcomes is None:
                again.extend(_split(job, add))
                continue
            add(finished.outcomes)
            each = sum(outcome.seconds for outcome in finished.outcomes) / len(job.units)
            size = max(1, min(4 * size, int(executor.seconds / max(each, 1e-6))))
    return True


def _split(job: _Job, add: Callable[[list[Outcome]], None]) -> list[_Job]:
    """Return what to run after the worker of a job was lost."""
    losses = job.losses + 1
    if losses == 1:  # most likely another job ended the worker, or the worker was stopped from outside
        return [_Job(job.units, 1)]
    trials = [trial for unit in job.units for trial in unit]
    if len(trials) > 1:
        return [_Job([[trial]], 1) for trial in trials]
    if losses < _LOSSES:
        return [_Job(job.units, losses)]
    text = f"the worker that ran it ended, {losses} times: it was killed, ran out of memory or crashed"
    add([Outcome(trials[0].number, {}, text, 0.0, trials[0].parameters)])
    return []
