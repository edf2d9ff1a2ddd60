"""The trials of a sweep on a Dask cluster."""

from __future__ import annotations

import contextlib
import queue
import time
from typing import Any

from neurosim.errors import ClusterError, InputError
from neurosim.sweeps.executor import Executor, Finished, Units
from neurosim.sweeps.work import run_units

_CONNECT = 10.0  # seconds to wait for the scheduler
_WORKERS = 60.0  # and for a first worker
_GRACE = 20.0  # seconds without the scheduler after which it is lost


class DaskCluster(Executor):
    """The workers of a Dask cluster.

    Parameters
    ----------
    payload : bytes
        Of `work.packed`.
    address : str
        Of the scheduler.

    Raises
    ------
    InputError
        When `distributed` is not installed.
    ClusterError
        When no scheduler answers, or it has no workers.
    """

    seconds = 1.0

    def __init__(self, payload: bytes, address: str) -> None:
        try:
            import distributed
        except ImportError:
            raise InputError(
                "a sweep over Dask needs distributed. Install it with: pip install 'neurosim-toolkit[clusters]'"
            ) from None
        self._address, self._payload = address, payload
        self._ended: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        self._jobs: dict[int, Any] = {}
        self._lost_since: float | None = None
        try:
            self._client = distributed.Client(address, timeout=_CONNECT, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise ClusterError(
                f"no Dask scheduler answers at {address!r}: {error}. Start one with `dask scheduler`, and give the "
                'address that it prints, such as "tcp://10.0.0.5:8786".'
            ) from error
        try:
            self._client.wait_for_workers(1, timeout=_WORKERS)
        except (OSError, TimeoutError) as error:
            self._client.close()
            raise ClusterError(
                f"the Dask scheduler at {address} has no workers. Start some with `dask worker {address}`."
            ) from error
        self.slots = self._threads()

    def _threads(self) -> int:
        return max(1, sum(self._client.ncores().values()))

    def submit(self, job: int, units: Units) -> None:
        """Send a job to the cluster."""
        future = self._client.submit(run_units, self._payload, units, pure=False)
        self._jobs[job] = future  # a future that nobody holds is cancelled
        future.add_done_callback(lambda done: self._ended.put((job, done)))

    def collect(self, timeout: float) -> list[Finished]:
        """Return the jobs that ended."""
        found: list[Finished] = []
        with contextlib.suppress(queue.Empty):
            found.append(self._result(*self._ended.get(timeout=timeout)))
            while True:
                found.append(self._result(*self._ended.get_nowait()))
        self._check_scheduler()
        return found

    def _result(self, job: int, future: Any) -> Finished:
        from distributed.scheduler import KilledWorker

        del self._jobs[job]
        if future.status in ("cancelled", "lost"):
            if self._client.status != "running":
                raise self._lost()
            future.release()  # the worker was lost with the result before it was read
            return Finished(job, None)
        error = future.exception() if future.status == "error" else None
        if isinstance(error, KilledWorker):
            return Finished(job, None)
        if error is not None:
            raise error
        return Finished(job, future.result())

    def _check_scheduler(self) -> None:
        if self._client.status == "running":
            self._lost_since = None
        elif self._lost_since is None:
            self._lost_since = time.monotonic()
        elif time.monotonic() - self._lost_since > _GRACE or self._client.status == "closed":
            raise self._lost()

    def _lost(self) -> ClusterError:
        return ClusterError(f"the Dask scheduler at {self._address} was lost.")

    def close(self, *, abandon: bool = False) -> None:
        """Leave the cluster; jobs that run are cancelled."""
        with contextlib.suppress(Exception):
            if abandon and self._client.status == "running":
                self._client.cancel(list(self._jobs.values()))
            self._client.close(timeout=2)
