"""A function or a network run for many values of its parameters, over processes or machines."""

from __future__ import annotations

import collections
import contextlib
import datetime
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurosim.errors import ClusterError, FailedTrials, FileError, InputError
from neurosim.files.interrupt import deferred_interrupt
from neurosim.sweeps import dataset
from neurosim.sweeps.executor import Executor, InProcess, Processes
from neurosim.sweeps.outcome import Outcome
from neurosim.sweeps.schedule import Waiting, run_all
from neurosim.sweeps.store import Store
from neurosim.sweeps.trials import Plan
from neurosim.sweeps.work import (
    FunctionTask,
    Task,
    check_arguments,
    digest_of,
    name_of,
    packed,
    takes_seed,
    versions,
)

if TYPE_CHECKING:
    import xarray

    from neurosim.network.network import Network

_BATCH = 64


def sweep(
    what: Network | Callable[..., Any],
    parameters: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]],
    *,
    seeds: int | Sequence[int] | None = None,
    measure: Callable[..., Any] | None = None,
    path: str | os.PathLike[str] | None = None,
    resume: bool = False,
    workers: int | None = None,
    dask: str | None = None,
    slurm: Mapping[str, Any] | None = None,
    batch: int = _BATCH,
    progress: bool | None = None,
    **options: Any,
) -> xarray.Dataset:
    """Run a function or a network for each combination of the values of its parameters.

    Parameters
    ----------
    what : callable or Network
        A function of the parameters, which returns the result of a trial: a number, a text, an array of numbers or a
        mapping of names to such. It gets ``seed`` if it has such a parameter. With `steps` or `seconds` it returns a
        network in place of a result, which is then run, as a network that is given is.
    parameters : mapping of str to sequence, or sequence of mapping
        Values of each parameter, all combinations of which are run; or a list of combinations. Of a network
        ``"population.parameter"`` is a parameter of a core, as in ``"E.tau_mem"``, and ``"source.rate"``,
        ``"source.waveform"`` or ``"source.std"`` the value of a source.
    seeds : int or sequence of int, optional
        Number of seeds, from 0, or the seeds, with each of which each combination is run. If left out a network or
        function that takes one has seed 0.
    measure : callable, optional
        What is kept of the run of a network: a function of its `Recording`, of one trial. The mean rates if left out.
    path : path-like, optional
        NetCDF file of the data set. Until all trials are done, those that are lie in the folder ``<path>.parts``.
    resume : bool
        Continue a sweep to `path` that ended early, if there is one; the data set of a complete one is read.
    workers : int, optional
        Processes of this machine, or jobs at a time on a cluster; 0 runs all in this process. If left out a network
        runs in this process, and a function in as many processes as there are processors.
    dask : str, optional
        Address of the scheduler of a Dask cluster that runs the trials, such as ``"tcp://10.0.0.5:8786"``.
    slurm : mapping of str to value, optional
        Run the trials as SLURM jobs with these parameters of submitit, such as ``{"slurm_partition": "cpu"}``; `path`
        must lie on a disk that all machines share.
    batch : int
        Most trials of a network that run at once, on the axis of the batch: those that differ in the seed and in
        parameters of cores alone. The results do not depend on it.
    progress : bool, optional
        Whether to show how many trials are done and when the last one will be; on a terminal if left out.
    **options
        ``steps`` or ``seconds``, ``record``, ``engine``, ``plasticity`` and ``chunk`` of `simulate`.

    Returns
    -------
    xarray.Dataset
        A variable for each result. Dimensions are the parameters (``trial`` for a list of combinations), and ``seed``.
        ``error`` has the text of trials that failed, whose results are NaN, and ``wall_time`` that of each in s.
        Attributes say the versions, and when it was run.

    Raises
    ------
    InputError
        For a parameter that the function or network does not have, a value out of range, or a package that is missing.
    FileError
        When `path` cannot be written, or there is the beginning of a sweep to it and `resume` is not given, or of
        another sweep.
    ClusterError
        When the scheduler of a cluster cannot be reached or was lost. With `path` nothing that is done is lost.
    KeyboardInterrupt
        After Ctrl-C. With `path` what was done is kept.

    Warns
    -----
    FailedTrials
        When trials failed.

    Notes
    -----
    Each trial is kept once. Trials whose worker was lost run again; one that ends three workers fails. A trial has the
    same bits alone, in a batch, and on any number of workers.

    Examples
    --------
    >>> import neurosim as ns
    >>> def square(x, seed):
    ...     return {"y": x**2 + seed}
    >>> found = ns.sweep(square, {"x": [1.0, 2.0, 3.0]}, seeds=2, workers=0)
    >>> found["y"].dims, found["y"].sel(x=3.0, seed=1).item()
    (('x', 'seed'), 10.0)
    """
    dataset.check_installed()
    simulated = hasattr(what, "populations") or options.get("steps") is not None or options.get("seconds") is not None
    plan, task = _prepared(what, parameters, seeds, measure, batch, options, simulated)
    if dask is not None and slurm is not None:
        raise InputError("sweep: dask= and slurm= both say where to run; give one of them.")
    if slurm is not None and path is None:
        raise InputError("sweep: slurm= needs path=, a file on a disk that all machines share.")
    check_workers(workers)
    about = _identity(what, plan, measure, options)
    done = _complete(path, about) if resume else None
    if done is not None:
        return done
    with Store(path, about, resume=resume) as store:
        waiting = task.units([trial for trial in plan if trial.number not in store.outcomes])
        started = now()
        with executor_of(task, len(waiting), workers, dask, slurm, store, simulated) as executor:
            dataset.prepare()
            run(executor, collections.deque(waiting), store, len(plan), progress)
        more = {**versions(), "started": started, "finished": now()}
        attributes = dataset.attributes(name_of(what), plan, about["digest"], more)
        found = dataset.dataset_of(plan, store.outcomes, attributes)
        if store.path is not None:
            dataset.write(found, store.path)
            store.remove()
    warn_of(found, stacklevel=3)
    return found


def warn_of(found: xarray.Dataset, stacklevel: int) -> None:
    """Warn of trials that failed."""
    failed = [text for text in found["error"].values.ravel().tolist() if text]
    if failed:
        text = f"{len(failed)} of {found['error'].size} trials failed; the first: {failed[0]}"
        warnings.warn(text, FailedTrials, stacklevel=stacklevel)


def check_workers(workers: int | None) -> None:
    """Refuse a number of workers that is none."""
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 0):
        raise InputError(f"sweep: workers must be an integer from 0; got {workers!r}.")


def _prepared(
    what: Any,
    parameters: Any,
    seeds: Any,
    measure: Callable[..., Any] | None,
    batch: int,
    options: dict[str, Any],
    simulated: bool,
) -> tuple[Plan, Task]:
    """Return the trials and how each is run, checked."""
    if not callable(what):
        raise InputError(f"sweep needs a function or a network; got {type(what).__name__}.")
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        raise InputError(f"sweep: batch must be an integer from 1; got {batch!r}.")
    if not simulated:
        if measure is not None or options:
            raise InputError(
                f"sweep: {[*options] or ['measure']} are for runs of a network; give steps= or seconds= too, or leave "
                "them out."
            )
        plan = Plan(parameters, 1 if seeds is None and takes_seed(what) else seeds)
        check_arguments(what, plan.names, seed=plan.seeds is not None)
        return plan, FunctionTask(what)
    from neurosim.sweeps.simulated import NetworkTask, checked_options, mean_rates

    plan = Plan(parameters, seeds)
    if not hasattr(what, "populations"):
        check_arguments(what, [name for name in plan.names if "." not in name], seed=False)
    kept = checked_options(options)
    if ("steps" in kept) == ("seconds" in kept):
        raise InputError("sweep: give steps= or seconds=, the length of each run.")
    task = NetworkTask(
        what, measure or mean_rates, batch, kept, plan.cells[0], seeds=plan.seeds is not None and len(plan.seeds) > 1
    )
    task.check_values({name: [cell[name] for cell in plan.cells] for name in plan.names})
    return plan, task


def _identity(what: Any, plan: Plan, measure: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain values that say which sweep this is."""
    own = {"function": digest_of(what), "measure": digest_of(measure), "arguments": digest_of(dict(options))}
    own["trials"] = digest_of(plan.about())
    return {**own, "neurosim": versions()["neurosim"], "digest": digest_of(own)}


def _complete(path: str | os.PathLike[str] | None, about: Mapping[str, Any]) -> xarray.Dataset | None:
    """Return the data set of this sweep if it is complete."""
    if path is None or not Path(path).exists() or Path(f"{os.fspath(path)}.parts").exists():
        return None
    found = dataset.load_sweep(path)
    if (found.attrs.get("digest"), found.attrs.get("neurosim")) != (about["digest"], about["neurosim"]):
        raise FileError(
            f"{path} is the data set of another sweep, of other arguments or of another version of neurosim; give "
            "another path, or leave resume out to replace it."
        )
    return found


@contextlib.contextmanager
def executor_of(
    task: Task,
    units: int,
    workers: int | None,
    dask: str | None,
    slurm: Mapping[str, Any] | None,
    store: Store,
    simulated: bool,
) -> Iterator[Executor]:
    """Return where trials run; at the end its workers are ended."""
    executor: Executor
    if workers is None:
        workers = 0 if simulated else os.cpu_count() or 1
    if not units:
        executor = InProcess(task)
    elif dask is not None:
        from neurosim.sweeps.dask_cluster import DaskCluster

        executor = DaskCluster(packed(task), dask)
    elif slurm is not None:
        from neurosim.sweeps.slurm import Slurm

        assert store.folder is not None
        executor = Slurm(packed(task), slurm, max(workers, 1), store.folder / "slurm")
    elif workers:
        executor = Processes(packed(task), min(workers, units))
    else:
        executor = InProcess(task)
    try:
        yield executor
    except BaseException:
        executor.close(abandon=True)
        raise
    executor.close()


def run(
    executor: Executor,
    waiting: Waiting,
    store: Store,
    total: int,
    progress: bool | None,
    ended: Callable[[Outcome], None] = lambda outcome: None,
) -> None:
    """Run what is left, keep each outcome and report it; raise if it was interrupted."""
    with _bar(total, len(store.outcomes), progress) as bar, deferred_interrupt() as is_interrupted:

        def add(outcomes: list[Outcome]) -> None:
            before = len(store.outcomes)
            store.add(outcomes)
            bar.update(len(store.outcomes) - before)
            for outcome in outcomes:
                ended(outcome)

        try:
            complete = run_all(waiting, executor, add, is_interrupted)
        except ClusterError as error:
            raise ClusterError(f"{error} {_kept(store, total)}") from error
        if not complete:
            raise KeyboardInterrupt(f"after {len(store.outcomes)} of {total} trials. {_kept(store, total)}")


def _kept(store: Store, total: int) -> str:
    if store.folder is None:
        return "With path= what is done would have been kept."
    return f"{len(store.outcomes)} of {total} trials are in {store.folder}; the same call with resume=True continues."


def _bar(total: int, done: int, show: bool | None) -> Any:
    from tqdm.auto import tqdm

    shown = sys.stderr.isatty() if show is None else show
    form = "{desc}: {n_fmt} of {total_fmt} trials |{bar}| {elapsed} gone, {remaining} left, ends {eta:%a %H:%M}"
    return tqdm(total=total, initial=done, disable=not shown, desc="sweep", leave=False, bar_format=form)


def now() -> str:
    """Return the time of day with its zone."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")
