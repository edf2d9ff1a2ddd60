"""What a worker does: it runs trials and returns how each ended. Torch is not loaded here."""

from __future__ import annotations

import functools
import importlib.metadata
import inspect
import os
import pickle
import sys
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from neurosim import __version__
from neurosim.errors import ClusterError, InputError
from neurosim.files.digest import digest_of as plain_digest_of
from neurosim.sweeps.outcome import Outcome, values_of
from neurosim.sweeps.trials import Trial, is_text


class Task(ABC):
    """How trials are run."""

    @abstractmethod
    def units(self, trials: Sequence[Trial]) -> list[list[Trial]]:
        """Return trials in groups, each of which is run at once."""

    @abstractmethod
    def run(self, unit: Sequence[Trial]) -> list[Outcome]:
        """Run a group."""


class FunctionTask(Task):
    """Trials that are calls of a function.

    Parameters
    ----------
    function : callable
        Takes the parameters of a trial, and `seed` if trials have one.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def units(self, trials: Sequence[Trial]) -> list[list[Trial]]:
        """Return each trial alone."""
        return [[trial] for trial in trials]

    def run(self, unit: Sequence[Trial]) -> list[Outcome]:
        """Call the function for each trial."""
        return [self._one(trial) for trial in unit]

    def _one(self, trial: Trial) -> Outcome:
        seed = {} if trial.seed is None else {"seed": trial.seed}
        start = time.perf_counter()
        try:
            values, error = values_of(self.function(**trial.parameters, **seed), trial.parameters), ""
        except (Exception, SystemExit) as failure:
            values, error = {}, text_of(failure)
        return Outcome(trial.number, values, error, time.perf_counter() - start)


def text_of(error: BaseException) -> str:
    """Return an error as one line, with the place that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({os.path.basename(frames[-1].filename)}, line {frames[-1].lineno})" if frames else ""
    text = "".join(c if is_text(c) else "?" for c in str(error))
    return f"{type(error).__name__}: {' '.join(text.split())}{place}"


def check_arguments(function: Callable[..., Any], names: Sequence[str], *, seed: bool) -> None:
    """Refuse a function that does not take the parameters of a sweep.

    Raises
    ------
    InputError
    """
    called = name_of(function)
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # a builtin that does not say
        return
    kinds = inspect.Parameter
    named = {n for n, p in parameters.items() if p.kind in (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY)}
    takes_all = any(p.kind is kinds.VAR_KEYWORD for p in parameters.values())
    given = [*names, *(["seed"] if seed else [])]
    for name in given:
        if name not in named and not takes_all:
            hint = "; leave out seeds=, or let it take a seed" if name == "seed" else ""
            raise InputError(f"sweep: {called} has no parameter {name!r}; it has {sorted(named)}{hint}.")
    for name, parameter in parameters.items():
        if name in named - {*given} and parameter.default is kinds.empty:
            raise InputError(f"sweep: {called} needs {name!r}; give values of it in parameters, or a default.")


def takes_seed(function: Callable[..., Any]) -> bool:
    """Return whether a function has a parameter called seed."""
    try:
        return "seed" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def name_of(function: Any) -> str:
    """Return how a function or a network is called in messages and files."""
    return getattr(function, "__name__", type(function).__name__)


def packed(task: Task) -> bytes:
    """Return a task as another process reads it, with functions of scripts and notebooks.

    Raises
    ------
    InputError
        When something in it cannot be sent to another process, or cloudpickle is not installed.
    """
    try:
        import cloudpickle
    except ImportError:
        raise InputError(
            "a sweep over processes needs cloudpickle. Install it with: pip install 'neurosim-toolkit[sweeps]'"
        ) from None
    try:
        content: bytes = cloudpickle.dumps(task)
    except Exception as error:
        raise InputError(
            f"sweep: the function or network cannot be sent to another process: {error}. Open files and the like "
            "inside the function, or use workers=0."
        ) from error
    return pickle.dumps((__version__, sys.version_info[:2], content))


@functools.lru_cache(maxsize=2)
def unpacked(payload: bytes) -> Task:
    """Return the task that `packed` wrote.

    Raises
    ------
    ClusterError
        When this process has another version of Python or neurosim, or lacks a module.
    """
    version, python, content = pickle.loads(payload)
    own = sys.version_info[:2]
    if version != __version__ or python != own:
        raise ClusterError(
            f"a worker has neurosim {__version__} on Python {own[0]}.{own[1]}, the sweep neurosim {version} "
            f"on Python {python[0]}.{python[1]}; use the same on both."
        )
    try:
        task: Task = pickle.loads(content)
    except Exception as error:
        raise ClusterError(
            f"a worker cannot read the function of the sweep: {text_of(error)}. Install what it imports there, or "
            "start Python in the folder of its modules."
        ) from error
    return task


def run_units(payload: bytes, units: Sequence[Sequence[Trial]]) -> list[Outcome]:
    """Run groups of trials in another process."""
    task = unpacked(payload)
    return [outcome for unit in units for outcome in task.run(unit)]


def digest_of(*values: Any) -> str:
    """Return a digest of values; torch is loaded for none that is not a tensor or a network."""
    if "torch" not in sys.modules:  # without it there are neither
        return plain_digest_of(*values)
    from neurosim.recording import identity

    return identity.digest_of(*values)


def versions() -> dict[str, str]:
    """Return the versions that results may depend on."""
    found = {"neurosim": __version__, **{name: importlib.metadata.version(name) for name in ("numpy", "torch")}}
    return {**found, "python": ".".join(map(str, sys.version_info[:3])), "platform": sys.platform}
