"""Time 10,000 short trials beside the trials alone: over processes, or over a Dask cluster of which a worker is killed.

python benchmarks/sweeps.py                     two processes
python benchmarks/sweeps.py --dask              two workers of Dask
python benchmarks/sweeps.py --dask --kill       and one of them is killed halfway; its nanny starts another
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from neurosim.sweeps import sweep

WORKERS = 2


def trial(number: int, seconds: float) -> dict[str, float]:
    """Wait, and return the time that it took."""
    start = time.perf_counter()
    time.sleep(seconds)
    return {"took": time.perf_counter() - start, "twice": 2.0 * number}


@contextlib.contextmanager
def _cluster(kill_after: float | None) -> Iterator[str]:
    """Start a Dask cluster, kill one of its workers after some seconds, and yield its address."""
    import distributed

    with distributed.LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None) as cluster:
        if kill_after is not None:
            victim = cluster.workers[0].pid
            timer = threading.Timer(kill_after, os.kill, (victim, signal.SIGKILL))
            timer.daemon = True
            timer.start()
        yield cluster.scheduler_address


def main() -> None:
    """Run, and print one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=0.01, help="of a trial")
    parser.add_argument("--dask", action="store_true")
    parser.add_argument("--kill", action="store_true", help="kill a worker of Dask halfway")
    given = parser.parse_args()
    if given.kill and not given.dask:
        parser.error("--kill kills a worker of Dask: give --dask too.")
    middle = given.trials * given.seconds / WORKERS / 2 if given.kill else None
    values = {"number": range(given.trials), "seconds": [given.seconds]}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        where = {"dask": stack.enter_context(_cluster(middle))} if given.dask else {"workers": WORKERS}
        start = time.perf_counter()
        found = sweep(trial, values, path=Path(folder) / "sweep.nc", progress=False, **where)
        wall = time.perf_counter() - start
    alone = float(found["took"].sum()) / WORKERS
    twice = found["twice"].values.ravel()
    lost = sum(got != 2.0 * number for number, got in enumerate(twice))
    print(
        f"{given.trials:,} trials of {1e3 * given.seconds:g} ms on {WORKERS} workers{' of Dask' * given.dask}"
        f"{', one killed' * given.kill}: {wall:.2f} s, the trials alone {alone:.2f} s, overhead "
        f"{100 * (wall / alone - 1):.1f} %; {lost} results lost or wrong"
    )


if __name__ == "__main__":
    main()
