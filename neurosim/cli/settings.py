"""The settings of a training run: their defaults, their ranges, and the TOML file that holds them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from neurosim.errors import FileError, InputError
from neurosim.files.tables import read_toml, toml_text

ENCODERS = ("rate", "latency", "direct")
SCHEDULES = ("cosine", "constant")
# Of torch.optim: those that need neither a closure nor sparse gradients.
OPTIMIZERS = ("adadelta", "adagrad", "adam", "adamax", "adamw", "asgd", "nadam", "radam", "rmsprop", "rprop", "sgd")


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings of a run; the defaults are those of the demonstration.

    Attributes
    ----------
    dataset : str
        Name of a bundled card, path of a TOML card, or ``"FILE.py:FUNCTION"``, called without arguments, which returns
        a `neurosim.datasets.Split`.
    data_root : str or None
        Folder of the data files, where the dataset needs one.
    network : str or None
        ``"FILE.py:FUNCTION"`` for a custom network: ``function(shape, classes, dt) -> Network``.
    hidden : tuple of int
        Sizes of the hidden populations otherwise.
    steps, dt : int, float
        Steps per sample, and the length of a step in s.
    encoder : str
        One of `ENCODERS`; ``rate`` fires at up to one spike per step. Data with steps of its own has no encoder.
    tau_mem, gain : float
        Membrane time constant in s and input gain r of the LIF neurons.
    rule, rule_option : str, tuple of str
        A rule that `neurosim.learning` exports, or ``"FILE.py:FUNCTION"`` called with the network; its arguments, each
        as ``"name=value"``.
    loss, loss_option : str, tuple of str
        The same for the loss; a function is called without arguments.
    optimizer, optimizer_option : str, tuple of str
        One of `OPTIMIZERS`, the classes of `torch.optim` in lower case; its arguments.
    learning_rate : float
        Initial learning rate.
    schedule : str
        ``"cosine"``: the learning rate falls to zero over `epochs`; ``"constant"``.
    epochs, batch_size : int
    validation : float
        Share of the training samples that are held out and tested after each epoch, 0 to below 1.
    patience : int or None
        Stop after this many epochs without a new lowest loss (of validation, where there is one).
    clip : float or None
        Largest norm of the gradient.
    device : str
        Device of the training, such as ``"cuda"``.
    shards : int or None
        Parts of each batch, which the ranks of a program started by torchrun share; a multiple of their number.
    seed : int
    """

    dataset: str = "digits"
    data_root: str | None = None
    network: str | None = None
    hidden: tuple[int, ...] = (256,)
    steps: int = 32
    dt: float = 1e-3
    encoder: str = "rate"
    tau_mem: float = 5e-3
    gain: float = 5.0
    rule: str = "bptt"
    rule_option: tuple[str, ...] = ()
    loss: str = "rate-cross-entropy"
    loss_option: tuple[str, ...] = ()
    optimizer: str = "adam"
    optimizer_option: tuple[str, ...] = ()
    learning_rate: float = 2e-3
    schedule: str = "cosine"
    epochs: int = 25
    batch_size: int = 64
    validation: float = 0.0
    patience: int | None = None
    clip: float | None = None
    device: str = "cpu"
    shards: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Check type and range of each value; names are checked where the library is loaded."""
        for name, (test, allowed) in _RANGES.items():
            value = getattr(self, name)
            if not test(value):
                raise InputError(f"{name} = {_short(value)}, but it must be {allowed}.")

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Settings:
        """Return the settings of a table of names and values; what is left out has its default."""
        values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in table.items()}
        return cls(**values)

    def table(self) -> dict[str, Any]:
        """Return all settings by name."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def toml(self) -> str:
        """Return the content of a TOML file that `read_settings` reads."""
        return toml_text(self.table())

    def differences(self, other: Settings) -> list[str]:
        """List the settings that differ, such as ``"dt is 0.001, not 0.002"``."""
        mine, others = self.table(), other.table()
        return [
            f"{name} is {_short(mine[name])}, not {_short(others[name])}" for name in mine if mine[name] != others[name]
        ]


def read_settings(path: Path) -> dict[str, Any]:
    """Read a TOML file of settings, such as the ``run.toml`` of a run.

    Returns
    -------
    dict
        The settings in the file, by name.

    Raises
    ------
    FileError
        When the file cannot be read, has an unknown key or a value out of range.
    """
    table = read_toml(path)
    known = [field.name for field in dataclasses.fields(Settings)]
    for key in table:
        if key not in known:
            raise FileError(f"{path}: unknown setting {_short(key)}. Allowed: {', '.join(known)}.")
    try:
        Settings.of(table)
    except InputError as error:
        raise FileError(f"{path}: {error} Correct it there.") from error
    return table


def _integer(value: object, least: int, most: int = 2**31 - 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _real(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _positive(value: Any) -> bool:
    return _real(value) and value > 0


def _text(value: object) -> bool:
    return isinstance(value, str) and value != "" and "\0" not in value


def _texts(value: object) -> bool:
    return isinstance(value, tuple) and all(map(_text, value))


def _or_none(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or test(value)


_TEXT = (_text, "a text that is not empty")
_TEXTS = (_texts, "a list of texts, each NAME=VALUE")
_COUNT = (lambda value: _integer(value, 1), "an integer from 1")
_POSITIVE = (_positive, "a number above 0")
_RANGES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "dataset": _TEXT,
    "data_root": (_or_none(_text), _TEXT[1]),
    "network": (_or_none(_text), _TEXT[1]),
    "hidden": (
        lambda value: isinstance(value, tuple) and bool(value) and all(_integer(size, 1) for size in value),
        "a list of sizes from 1",
    ),
    "steps": _COUNT,
    "dt": _POSITIVE,
    "encoder": (lambda value: value in ENCODERS, f"one of {', '.join(ENCODERS)}"),
    "tau_mem": _POSITIVE,
    "gain": (_real, "a finite number"),
    "rule": _TEXT,
    "rule_option": _TEXTS,
    "loss": _TEXT,
    "loss_option": _TEXTS,
    "optimizer": (lambda value: value in OPTIMIZERS, f"one of {', '.join(OPTIMIZERS)}"),
    "optimizer_option": _TEXTS,
    "learning_rate": _POSITIVE,
    "schedule": (lambda value: value in SCHEDULES, f"one of {', '.join(SCHEDULES)}"),
    "epochs": _COUNT,
    "batch_size": _COUNT,
    "validation": (lambda value: _real(value) and 0 <= value < 1, "a share from 0 to below 1"),
    "patience": (_or_none(_COUNT[0]), _COUNT[1]),
    "clip": (_or_none(_positive), _POSITIVE[1]),
    "device": _TEXT,
    "shards": (_or_none(_COUNT[0]), _COUNT[1]),
    "seed": (lambda value: _integer(value, 0, 2**63 - 1), "an integer from 0"),
}


def _short(value: object) -> str:
    text = repr(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= 80 else f"{text[:77]}..."
