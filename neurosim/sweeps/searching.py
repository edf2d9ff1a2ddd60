"""A search for the best parameters of a function: Optuna proposes them, a sweep runs and keeps the trials."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from neurosim.errors import FileError, InputError
from neurosim.sweeps import dataset
from neurosim.sweeps.outcome import Outcome, values_of
from neurosim.sweeps.store import Store
from neurosim.sweeps.sweeping import check_workers, executor_of, now, run, warn_of
from neurosim.sweeps.trials import Plan, Trial, check_alike, plain
from neurosim.sweeps.work import FunctionTask, check_arguments, digest_of, name_of, takes_seed, versions

if TYPE_CHECKING:
    import xarray

_DIRECTIONS = ("minimize", "maximize")


class Search:
    """Trials that Optuna proposes (`ask`), with their results (`tell`), in the store of a sweep.

    Use it in a ``with`` statement.

    Parameters
    ----------
    space : mapping of str to tuple, list or optuna distribution
        Of each parameter: ``(low, high)``, integers if both are; a list of choices; or a distribution of Optuna, such
        as ``FloatDistribution(1e-4, 1e-1, log=True)``.
    objective : str, optional
        Which result is searched for; may be left out if a trial returns one number.
    direction : {"minimize", "maximize"}
    seed : int
        Of the proposals of the sampler, and of each trial if `with_seed`.
    sampler : optuna sampler, optional
        ``TPESampler`` with `seed` if left out.
    path, resume
        As in `neurosim.sweep`. Trials of a search that ended early are told to the study; the proposals after them are
        not those of the search without a break.
    with_seed : bool
        Whether trials have a seed.
    about : mapping, optional
        Further plain values that say which search this is.

    Attributes
    ----------
    study : optuna.Study

    Raises
    ------
    InputError
        When Optuna or xarray is missing, or for a space that is none.
    FileError
        As in `neurosim.sweep`.

    Examples
    --------
    >>> with Search({"x": (-2.0, 2.0)}, seed=1) as search:
    ...     for _ in range(30):
    ...         trial = search.ask()
    ...         search.tell(trial, (trial.parameters["x"] - 1.0) ** 2)
    >>> abs(search.best.parameters["x"] - 1.0) < 0.3
    True
    """

    def __init__(
        self,
        space: Mapping[str, Any],
        *,
        objective: str | None = None,
        direction: Literal["minimize", "maximize"] = "minimize",
        seed: int = 0,
        sampler: Any = None,
        path: str | os.PathLike[str] | None = None,
        resume: bool = False,
        with_seed: bool = False,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        dataset.check_installed()
        try:
            import optuna
        except ImportError:
            raise InputError("a search needs optuna. Install it with: pip install 'neurosim-toolkit[search]'") from None
        if direction not in _DIRECTIONS:
            raise InputError(f'search: direction must be "minimize" or "maximize"; got {direction!r}.')
        if not isinstance(space, Mapping) or not space:
            raise InputError(f"search: space must be a mapping of a parameter to its range; got {space!r}.")
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
            raise InputError(f"search: seed must be an integer in 0 ... 2^32 - 1; got {seed!r}.")
        self._optuna = optuna
        self.space = {name: _distribution(optuna, name, given) for name, given in space.items()}
        Plan([dict.fromkeys(self.space, 0)], None)  # checks the names
        self.objective, self.with_seed, self.seed = objective, with_seed, seed
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(seed=seed) if sampler is None else sampler
        self.study = optuna.create_study(direction=direction, sampler=sampler)
        self._about = {
            **(about or {}), "space": repr(self.space), "objective": objective, "direction": direction, "seed": seed,
            "neurosim": versions()["neurosim"],
        }  # fmt: skip
        self._store = Store(path, self._about, resume=resume)
        self._started, self._asked = now(), dict[int, Any]()
        self._next = 0

    def __enter__(self) -> Search:
        self._store.__enter__()
        try:
            for number in sorted(self._store.outcomes):
                outcome = self._store.outcomes[number]
                if outcome.parameters is None or {*outcome.parameters} != {*self.space}:
                    raise FileError(f"{self._store.folder}: trial {number} has no parameters; delete the folder.")
                self.study.add_trial(self._frozen(self.checked(outcome)))
        except BaseException as error:
            self._store.__exit__(type(error), error, error.__traceback__)
            raise
        self._next = max(self._store.outcomes, default=-1) + 1
        return self

    def __exit__(self, *error: Any) -> None:
        self._store.__exit__(*error)

    def __len__(self) -> int:
        """Return the number of trials that ended."""
        return len(self._store.outcomes)

    @property
    def digest(self) -> str:
        """What says which search this is."""
        return hashlib.sha256(json.dumps(self._about, sort_keys=True).encode()).hexdigest()

    @property
    def store(self) -> Store:
        """Where the outcomes are."""
        return self._store

    def _frozen(self, outcome: Outcome) -> Any:
        """Return a trial that ended as the study takes it."""
        value = self._value(outcome)
        states = self._optuna.trial.TrialState
        return self._optuna.trial.create_trial(
            params=outcome.parameters,
            distributions=self.space,
            value=value,
            state=states.FAIL if value is None else states.COMPLETE,
        )

    def _value(self, outcome: Outcome) -> float | None:
        """Return the objective of a trial; None if it failed."""
        if outcome.error:
            return None
        value = outcome.values[self.objective or next(iter(outcome.values))]
        return float(value) if value == value else None

    def ask(self) -> Trial:
        """Return the next trial, with the parameters that are proposed."""
        asked = self.study.ask(self.space)
        trial = Trial(self._next, dict(asked.params), self.seed if self.with_seed else None)
        self._next += 1
        self._asked[trial.number] = asked
        return trial

    def tell(self, trial: Trial, result: Any = None, *, error: str = "", seconds: float = float("nan")) -> None:
        """Keep the result of a trial.

        Parameters
        ----------
        trial : Trial
            Of `ask`.
        result : number, or mapping of str to number, text or array
        error : str
            Why it failed, in place of a result.
        seconds : float
            Wall time.
        """
        outcome = Outcome(
            trial.number, {} if error else values_of(result, trial.parameters), error, seconds, trial.parameters
        )
        self.end(self.checked(outcome))

    def checked(self, outcome: Outcome) -> Outcome:
        """Return an outcome, failed if it has no objective."""
        if outcome.error:
            return outcome
        names = [*outcome.values]
        if self.objective is None and len(names) > 1:
            raise InputError(f"search: objective must name one of the results {names}.")
        value = outcome.values.get(self.objective or names[0]) if names else None
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise InputError(f"search: the objective {self.objective!r} must be a number among {names}; got {value!r}.")
        return outcome

    def end(self, outcome: Outcome) -> None:
        """Keep the outcome of a trial, and tell the study."""
        if outcome.number not in self._asked:
            raise InputError(f"search: trial {outcome.number} has its result already, or ask() did not return it.")
        self._store.add([outcome])
        self.report(outcome)

    def report(self, outcome: Outcome) -> None:
        """Tell the study of an outcome that is kept."""
        value = self._value(outcome)
        failed = self._optuna.trial.TrialState.FAIL
        asked = self._asked.pop(outcome.number)
        self.study.tell(asked, value, state=failed if value is None else None)

    @property
    def best(self) -> Outcome:
        """The best trial so far.

        Raises
        ------
        InputError
            When no trial has ended without an error.
        """
        good = [outcome for outcome in self._store.outcomes.values() if self._value(outcome) is not None]
        if not good:
            raise InputError("search: no trial has ended without an error.")
        sign = 1.0 if self._about["direction"] == "minimize" else -1.0
        return min(good, key=lambda outcome: (sign * (self._value(outcome) or 0.0), outcome.number))

    def dataset(self) -> xarray.Dataset:
        """Return all trials that ended as one data set of dimension ``trial``; its attribute ``best`` is the best."""
        numbers = sorted(self._store.outcomes)
        outcomes = {k: self._store.outcomes[n]._replace(number=k) for k, n in enumerate(numbers)}
        if not outcomes:
            raise InputError("search: no trial has ended.")
        plan = Plan([outcome.parameters or {} for outcome in outcomes.values()], None)
        more = {**versions(), "started": self._started, "finished": now(), "objective": self.objective or ""}
        more["digest"] = self.digest
        found = dataset.dataset_of(plan, outcomes, {"search": repr(self.space), "trials": len(plan), **more})
        best = [k for k, n in enumerate(numbers) if self._value(self._store.outcomes[n]) is not None]
        if best:
            found.attrs["best"] = numbers.index(self.best.number)
        return found

    def finish(self) -> xarray.Dataset:
        """Return the data set, and write it if there is a path."""
        found = self.dataset()
        if self._store.path is not None:
            dataset.write(found, self._store.path)
            self._store.remove()
        return found


def search(
    function: Callable[..., Any],
    space: Mapping[str, Any],
    *,
    trials: int,
    objective: str | None = None,
    direction: Literal["minimize", "maximize"] = "minimize",
    seed: int = 0,
    sampler: Any = None,
    path: str | os.PathLike[str] | None = None,
    resume: bool = False,
    workers: int | None = None,
    dask: str | None = None,
    progress: bool | None = None,
) -> xarray.Dataset:
    """Search for the parameters for which a result of a function is smallest, or largest.

    Parameters
    ----------
    function : callable
        As in `neurosim.sweep`; it gets ``seed`` if it has such a parameter.
    space, objective, direction, seed, sampler
        As in `Search`.
    trials : int
        Trials in all, with those of a search that is continued.
    path, resume, workers, dask, progress
        As in `neurosim.sweep`; a complete search is not extended. With one worker or none the same seed gives the same
        trials.

    Returns
    -------
    xarray.Dataset
        All trials, with dimension ``trial``; its attribute ``best`` is the number of the best one.

    Examples
    --------
    >>> def bowl(x, n):
    ...     return (x - 1.0) ** 2 + n
    >>> found = search(bowl, {"x": (-2.0, 2.0), "n": [0, 1]}, trials=40, workers=0)
    >>> best = found.isel(trial=found.attrs["best"])
    >>> int(best["n"]), abs(float(best["x"]) - 1.0) < 0.3
    (0, True)
    """
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 1:
        raise InputError(f"search: trials must be an integer from 1; got {trials!r}.")
    check_workers(workers)
    with_seed = takes_seed(function)
    check_arguments(function, list(space), seed=with_seed)
    about = {"function": digest_of(function), "name": name_of(function)}
    made = Search(
        space, objective=objective, direction=direction, seed=seed, sampler=sampler, path=path, resume=resume,
        with_seed=with_seed, about=about,
    )  # fmt: skip
    done = _complete(made, path, trials) if resume else None
    if done is not None:
        return done
    with made as found:
        waiting = _Proposals(found, trials - len(found))
        with executor_of(_Task(function), len(waiting), workers, dask, None, found.store, False) as executor:
            executor.seconds, executor.ahead = 0.0, 1  # one trial each: the next proposal depends on its result

            def ended(outcome: Outcome) -> None:
                found.report(found.checked(outcome))

            run(executor, waiting, found.store, trials, progress, ended)
        result = found.finish()
    warn_of(result, stacklevel=3)
    return result


def _complete(made: Search, path: str | os.PathLike[str] | None, trials: int) -> xarray.Dataset | None:
    """Return the data set of this search if it is complete."""
    if path is None or not Path(path).exists() or Path(f"{os.fspath(path)}.parts").exists():
        return None
    found = dataset.load_sweep(path)
    if found.attrs.get("digest") != made.digest or found.sizes["trial"] < trials:
        raise FileError(
            f"{path} is the data set of another search, or of fewer trials; give another path, or leave resume out to "
            "replace it."
        )
    return found


class _Task(FunctionTask):
    """Trials whose outcomes have their parameters."""

    def run(self, unit: Sequence[Trial]) -> list[Outcome]:
        """Call the function for each trial."""
        pairs = zip(super().run(unit), unit, strict=True)
        return [outcome._replace(parameters=trial.parameters) for outcome, trial in pairs]


class _Proposals:
    """Trials that are asked for when a worker is free."""

    def __init__(self, search: Search, count: int) -> None:
        self._search, self._count = search, max(count, 0)

    def __len__(self) -> int:
        return self._count

    def popleft(self) -> Sequence[Trial]:
        """Return the next trial."""
        self._count -= 1
        return [self._search.ask()]


def _distribution(optuna: Any, name: str, given: Any) -> Any:
    """Return the distribution of a parameter."""
    kinds = optuna.distributions
    if isinstance(given, kinds.CategoricalDistribution):
        given = list(given.choices)
    if isinstance(given, list) and given:
        choices = [plain(name, value) for value in given]
        check_alike(name, choices)
        return kinds.CategoricalDistribution(choices)
    found = given
    if isinstance(given, tuple) and len(given) == 2:
        low, high = (plain(name, value) for value in given)
        if not isinstance(low, (bool, str)) and not isinstance(high, (bool, str)) and low <= high:
            are_integers = isinstance(low, int) and isinstance(high, int)
            found = (kinds.IntDistribution if are_integers else kinds.FloatDistribution)(low, high)
    if isinstance(found, kinds.BaseDistribution) and math.isfinite(found.high - found.low):
        return found
    raise InputError(
        f"search: the range of {name!r} must be (low, high), finite, a list of choices or a distribution of Optuna; "
        f"got {given!r}."
    )
