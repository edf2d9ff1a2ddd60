"""Where the trials of a sweep run: in this process, or in processes of this machine."""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import multiprocessing.context
import os
import queue
import signal
import sys
import types
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any, NamedTuple

from neurosim.sweeps.outcome import Outcome
from neurosim.sweeps.trials import Trial
from neurosim.sweeps.work import Task, run_units

Units = Sequence[Sequence[Trial]]
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Finished(NamedTuple):
    """The end of a job.

    Attributes
    ----------
    job : int
    outcomes : list of Outcome or None
        None if its worker was lost.
    """

    job: int
    outcomes: list[Outcome] | None


class Executor(ABC):
    """Runs jobs, each some groups of trials.

    Attributes
    ----------
    slots : int
        Jobs that run at a time.
    seconds : float
        Wall time that a job should take.
    ahead : int
        Jobs that are submitted for each slot.
    """

    slots: int = 1
    seconds: float = 0.5
    ahead: int = 2  # one runs, the next one waits

    def first_size(self, units: int) -> int:
        """Return how many of `units` groups a job has until it is known how long they take."""
        return 1

    @abstractmethod
    def submit(self, job: int, units: Units) -> None:
        """Begin a job."""

    @abstractmethod
    def collect(self, timeout: float) -> list[Finished]:
        """Return the jobs that ended since the last call; wait for one, but not longer than `timeout`, s."""

    def close(self, *, abandon: bool = False) -> None:
        """End the workers; with `abandon` at once."""
        return


class InProcess(Executor):
    """Runs jobs in this process, one after the other.

    Parameters
    ----------
    task : Task
    """

    seconds = 0.2

    def __init__(self, task: Task) -> None:
        self._task = task
        self._waiting: list[tuple[int, Units]] = []

    def submit(self, job: int, units: Units) -> None:
        """Note a job."""
        self._waiting.append((job, units))

    def collect(self, timeout: float) -> list[Finished]:
        """Run the next job."""
        job, units = self._waiting.pop(0)
        return [Finished(job, [outcome for unit in units for outcome in self._task.run(unit)])]


class Processes(Executor):
    """Processes of this machine.

    They are started anew after one of them ended. A function of a script is sent by its content, and the script is not
    run again.

    Parameters
    ----------
    payload : bytes
        Of `work.packed`.
    workers : int
    """

    def __init__(self, payload: bytes, workers: int) -> None:
        self.slots = workers
        self._payload = payload
        self._ended: queue.SimpleQueue[tuple[int, concurrent.futures.Future[list[Outcome]]]] = queue.SimpleQueue()
        self._jobs: dict[int, concurrent.futures.ProcessPoolExecutor] = {}
        self._open()

    def _open(self) -> None:
        threads = max(1, (os.cpu_count() or 1) // self.slots)
        self._context = _Context(threads)
        self._pool = concurrent.futures.ProcessPoolExecutor(
            self.slots, mp_context=self._context, initializer=_begin, initargs=(self._payload,)
        )
        self._pool.submit(os.getpid)  # starts the processes

    def submit(self, job: int, units: Units) -> None:
        """Begin a job in one of the processes."""
        try:
            future = self._pool.submit(_run, units)
        except BrokenProcessPool:
            self._renew()
            future = self._pool.submit(_run, units)
        self._jobs[job] = self._pool
        future.add_done_callback(lambda done: self._ended.put((job, done)))

    def collect(self, timeout: float) -> list[Finished]:
        """Return the jobs that ended."""
        found: list[Finished] = []
        with contextlib.suppress(queue.Empty):
            found.append(self._result(*self._ended.get(timeout=timeout)))
            while True:
                found.append(self._result(*self._ended.get_nowait()))
        return found

    def _result(self, job: int, future: concurrent.futures.Future[list[Outcome]]) -> Finished:
        pool = self._jobs.pop(job)
        try:
            return Finished(job, future.result())
        except (BrokenProcessPool, concurrent.futures.CancelledError):
            if pool is self._pool:
                self._renew()
            return Finished(job, None)

    def _renew(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._open()

    def close(self, *, abandon: bool = False) -> None:
        """End the processes."""
        if abandon:
            self._context.terminate()
        self._pool.shutdown(wait=True, cancel_futures=True)


class _Process(multiprocessing.context.SpawnProcess):
    """A process that does not run the script of this one again."""

    threads = 1

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        with _without_script(), _environment(dict.fromkeys(_THREADS, str(process_obj.threads))):
            return multiprocessing.context.SpawnProcess._Popen(process_obj)


class _Context(multiprocessing.context.SpawnContext):
    """Makes processes of so many threads each, and keeps them to end them at once."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._started: list[_Process] = []

    def Process(self, *args: Any, **kwargs: Any) -> _Process:  # type: ignore[override]
        """Return a process that has not been started."""
        process = _Process(*args, **kwargs)
        process.threads = self._threads
        self._started.append(process)
        return process

    def terminate(self) -> None:
        """End the processes that run."""
        for process in self._started:
            if process.is_alive():
                process.terminate()


@contextlib.contextmanager
def _without_script() -> Iterator[None]:
    """Hide the file of the main module: a process that is started would run it."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set variables of the environment."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


_payload = b""  # of this process, if it is a worker


def _begin(payload: bytes) -> None:
    """Begin a worker: it leaves Ctrl-C to the process that started it."""
    global _payload
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _payload = payload


def _run(units: Units) -> list[Outcome]:
    return run_units(_payload, units)
