"""The trials of a sweep as jobs of SLURM, through submitit."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neurosim.errors import ClusterError, InputError
from neurosim.sweeps.executor import Executor, Finished, Units
from neurosim.sweeps.work import run_units


class Slurm(Executor):
    """Jobs of SLURM: an equal share of all trials each, and what is left in jobs of about ten minutes.

    Parameters
    ----------
    payload : bytes
        Of `work.packed`.
    options : mapping
        Parameters of submitit's ``AutoExecutor``; ``cluster="local"`` runs the jobs on this machine.
    jobs : int
        Jobs at a time.
    folder : Path
        For scripts and results, on a disk that all machines share.

    Raises
    ------
    InputError
        When submitit is not installed, or does not know a parameter.
    ClusterError
        When there is no SLURM here.
    """

    seconds = 600.0
    ahead = 1

    def __init__(self, payload: bytes, options: Mapping[str, Any], jobs: int, folder: Path) -> None:
        try:
            import submitit
        except ImportError:
            raise InputError(
                "a sweep over SLURM needs submitit. Install it with: pip install 'neurosim-toolkit[clusters]'"
            ) from None
        own = dict(options)
        try:
            self._executor = submitit.AutoExecutor(folder=folder, cluster=own.pop("cluster", "slurm"))
            self._executor.update_parameters(**own)
        except RuntimeError as error:
            raise ClusterError(f"there is no SLURM on this machine: {error}. Run this where `sbatch` runs.") from error
        except (NameError, TypeError, ValueError) as error:
            raise InputError(f"sweep: slurm= holds what submitit does not take: {error}") from error
        self._failed, self._lost = submitit.core.utils.FailedJobError, submitit.core.utils.UncompletedJobError
        self._payload, self.slots = payload, jobs
        self._jobs: dict[int, Any] = {}

    def first_size(self, units: int) -> int:
        """Return an equal share: a job may wait for long before it begins."""
        return -(-units // self.slots)

    def submit(self, job: int, units: Units) -> None:
        """Submit a job."""
        self._jobs[job] = self._executor.submit(run_units, self._payload, units)

    def collect(self, timeout: float) -> list[Finished]:
        """Return the jobs that ended."""
        end = time.monotonic() + timeout
        while not (ended := [job for job, each in self._jobs.items() if each.done()]) and time.monotonic() < end:
            time.sleep(0.1)
        return [self._result(job, self._jobs.pop(job)) for job in ended]

    def _result(self, job: int, submitted: Any) -> Finished:
        try:
            return Finished(job, submitted.result())
        except self._failed as error:  # with what the job raised
            raise ClusterError(f"a SLURM job failed: {error}") from error
        except self._lost:
            return Finished(job, None)

    def close(self, *, abandon: bool = False) -> None:
        """Cancel the jobs that run."""
        for job in self._jobs.values():
            with contextlib.suppress(Exception):
                job.cancel()
