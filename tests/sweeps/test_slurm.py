"""Sweeps through submitit, whose jobs run on this machine."""

from __future__ import annotations

import sys

import pytest

from neurosim.errors import ClusterError, InputError

submitit = pytest.importorskip("submitit")
pytest.importorskip("xarray")
pytest.importorskip("h5netcdf")

from neurosim.sweeps import sweep  # noqa: E402
from neurosim.sweeps.executor import Finished  # noqa: E402
from neurosim.sweeps.slurm import Slurm  # noqa: E402

HERE = {"cluster": "local", "timeout_min": 5}


def test_jobs_run_all_trials(tmp_path):
    def trial(x, seed):
        return {"y": x * x + seed}

    found = sweep(trial, {"x": range(5)}, seeds=2, slurm=HERE, workers=1, path=tmp_path / "a.nc")
    assert (found["error"] == "").all() and (found["y"] == found["x"] ** 2 + found["seed"]).all()
    assert [path.name for path in tmp_path.glob("a*")] == ["a.nc"]


def test_a_job_without_a_result_is_lost_and_one_that_fails_is_an_error(tmp_path):
    class Job:
        def __init__(self, error):
            self.error = error

        def done(self):
            return True

        def result(self):
            raise self.error

    executor = Slurm(b"", HERE, 2, tmp_path)
    assert executor.first_size(11) == 6
    executor._jobs[3] = Job(submitit.core.utils.UncompletedJobError("gone"))
    assert executor.collect(0.0) == [Finished(3, None)]
    executor._jobs[4] = Job(submitit.core.utils.FailedJobError("no module x"))
    with pytest.raises(ClusterError, match="a SLURM job failed: no module x"):
        executor.collect(0.0)


def test_errors_name_what_is_missing(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="slurm= holds what submitit does not take"):
        sweep(lambda x: x, {"x": [1]}, slurm={"cluster": "local", "nonsense": 1}, path=tmp_path / "a.nc")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ClusterError, match="there is no SLURM on this machine"):
        sweep(lambda x: x, {"x": [1]}, slurm={}, path=tmp_path / "a.nc")
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(InputError, match="needs submitit"):
        sweep(lambda x: x, {"x": [1]}, slurm={}, path=tmp_path / "a.nc")
