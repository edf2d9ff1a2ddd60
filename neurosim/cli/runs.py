"""A run on disk: its configuration, the trained weights and the results, in one folder."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neurosim.cli.choices import LOSSES, RULES, function_in, is_own
from neurosim.datasets import Encoder, Labelled, Split, direct, latency, load, rate
from neurosim.errors import FileError, InputError
from neurosim.files.atomic import replaced
from neurosim.language import triangle
from neurosim.learning import History, Loss, Rule, evaluate, fit, load_checkpoint
from neurosim.network import Network, Sequential
from neurosim.network.graph import Input
from neurosim.network.layers import LIF
from neurosim.synapses import Flatten, Linear


@dataclasses.dataclass(frozen=True)
class Config:
    """The configuration of a run; the defaults are the demonstration.

    Attributes
    ----------
    dataset : str
        Name of a bundled card, or path of a TOML file.
    data_root : str or None
        Folder of the data files, where the dataset needs one.
    network : str or None
        ``"FILE.py:FUNCTION"`` for a custom network: ``function(shape, classes, dt) -> Network``.
    hidden : tuple of int
        Sizes of the hidden populations otherwise.
    steps, dt : int, float
        Steps per sample, and the length of a step in s.
    encoder : str
        One of `ENCODERS`; ``rate`` fires at up to one spike per step.
    tau_mem, gain : float
        Membrane time constant in s and input gain r of the LIF neurons.
    rule, rule_options : str, dict
        A rule that `neurosim.learning` exports, or ``"FILE.py:FUNCTION"`` called with the network; its arguments.
    loss, loss_options : str, dict
        The same for the loss; a function is called without arguments.
    epochs, batch_size, learning_rate, seed
        Of the training (Adam, learning rate falling to zero along a cosine).
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
    rule_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    loss: str = "rate-cross-entropy"
    loss_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    epochs: int = 25
    batch_size: int = 64
    learning_rate: float = 2e-3
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the names; numbers are checked where they are used."""
        if self.encoder not in ENCODERS:
            raise InputError(f"encoder must be one of {', '.join(ENCODERS)}; got {self.encoder!r}.")
        if not is_own(self.rule):
            RULES.class_of(self.rule)
        if not is_own(self.loss):
            LOSSES.value(self.loss, self.loss_options)


ENCODERS: dict[str, Callable[[Config], Encoder]] = {
    "rate": lambda config: rate(config.steps, max_rate=1.0 / config.dt, dt=config.dt),
    "latency": lambda config: latency(config.steps),
    "direct": lambda config: direct(config.steps),
}


def data(config: Config) -> Split:
    """Read the dataset of `config`."""
    return load(config.dataset, config.data_root)


def encoder(config: Config) -> Encoder:
    """Return the encoder of `config`."""
    return ENCODERS[config.encoder](config)


def build(config: Config, split: Split) -> Network:
    """Return the untrained network of `config`, its weights drawn from the seed."""
    shape, classes = tuple(split.train.x.shape[1:]), len(split.train.classes)
    torch.manual_seed(config.seed)
    if config.network:
        return _own_network(config.network, shape, classes, config.dt)
    parts: list[Any] = [Input(shape), Flatten()]
    sizes = (math.prod(shape), *config.hidden, classes)
    names = [*(f"hidden{n}" if len(config.hidden) > 1 else "hidden" for n in range(1, len(sizes) - 1)), "output"]
    for before, after in itertools.pairwise(sizes):
        parts += [Linear(before, after), LIF(tau_mem=config.tau_mem, r=config.gain, dt=config.dt, spike=triangle())]
    return Sequential(*parts, names=names)


def rule(config: Config, net: Network) -> Rule:
    """Return the learning rule of `config` for a network."""
    return RULES.value(config.rule, config.rule_options, *([net] if is_own(config.rule) else []))


def loss(config: Config) -> Loss:
    """Return the loss of `config`."""
    return LOSSES.value(config.loss, config.loss_options)


def train(config: Config, folder: Path, *, resume: bool = False, progress: bool = True) -> dict[str, Any]:
    """Train by `config`, test once at the end, and write everything to `folder`.

    Returns
    -------
    dict
        The content of ``metrics.json``.
    """
    split = data(config)
    net = build(config, split)
    learning = rule(config, net)
    _write_json(folder / "run.json", dataclasses.asdict(config))
    optimizer = torch.optim.Adam(net.parameters(), lr=config.learning_rate)
    start = time.perf_counter()
    history = fit(
        net,
        split.train.batches(config.batch_size, seed=config.seed, encoder=encoder(config)),
        rule=learning,
        loss=loss(config),
        optimizer=optimizer,
        scheduler=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.epochs),
        epochs=config.epochs,
        checkpoint=folder,
        resume=resume,
        seed=config.seed,
        progress=progress,
    )
    seconds = time.perf_counter() - start
    history.save(folder / "history.json")
    scores = evaluate(net, test_batches(config, split.test), loss=loss(config))
    metrics = {
        "dataset": config.dataset,
        "test_accuracy": scores["accuracy"],
        "test_loss": scores["loss"],
        "test_samples": len(split.test),
        "train_accuracy": history.last["accuracy"],
        "epochs": len(history),
        "rule": repr(learning),
        "seconds_training": round(seconds, 2),
        "parameters": sum(p.numel() for p in net.parameters()),
        "torch": torch.__version__,
    }
    _write_json(folder / "metrics.json", metrics)
    return metrics


def test_batches(config: Config, test: Labelled) -> Any:
    """Return the test samples, encoded the same way at every call."""
    return test.batches(min(512, len(test)), seed=config.seed, encoder=encoder(config), shuffle=False)


def first(config: Config, data: Labelled, number: int) -> tuple[Tensor, Tensor]:
    """Return the first samples of a part of the data, encoded [T, B, ...] the same way at every call, and labels."""
    if not 1 <= number <= len(data):
        raise InputError(f"samples must be between 1 and {len(data)}; got {number}.")
    few = data.subset(slice(number))
    x, y = next(iter(few.batches(number, seed=config.seed, encoder=encoder(config), shuffle=False)))
    return x, y


def samples(config: Config, split: Split, number: int) -> tuple[Tensor, list[str]]:
    """Return the first test samples encoded [T, B, ...] and the names of their classes."""
    x, y = first(config, split.test, number)
    return x, [split.test.classes[int(label)] for label in y]


@dataclasses.dataclass(frozen=True, eq=False)
class Finished:
    """A trained run read back from its folder."""

    folder: Path
    config: Config
    split: Split
    net: Network
    metrics: dict[str, Any]
    history: History


def open_run(folder: str | os.PathLike[str]) -> Finished:
    """Read a run that `train` wrote.

    Raises
    ------
    FileError
        When the folder holds no run, or a file in it is damaged.
    """
    folder = Path(folder)
    config = _config(folder)
    split = data(config)
    net = build(config, split)
    load_checkpoint(folder / "last.pt", net)
    history = _read_json(folder / "history.json")
    return Finished(folder, config, split, net, _read_json(folder / "metrics.json"), History(history["rows"]))


def _config(folder: Path) -> Config:
    content = _read_json(folder / "run.json")
    known = {field.name for field in dataclasses.fields(Config)}
    if not isinstance(content, dict) or set(content) - known:
        raise FileError(f"{folder / 'run.json'} is not the configuration of a run; it is left unchanged. Train again.")
    return Config(**{**content, "hidden": tuple(content.get("hidden", ()))})


def _own_network(place: str, shape: tuple[int, ...], classes: int, dt: float) -> Network:
    net = function_in("network", place)(shape, classes, dt)
    if not isinstance(net, Network):
        raise InputError(f"network: {place} must return a Network; got {type(net).__name__}.")
    return net


def _write_json(path: Path, content: Any) -> None:
    with replaced(path) as part:
        part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _read_json(path: Path) -> Any:
    if not path.is_file():
        raise FileError(
            f"no {path.name} in {path.parent}; give a folder that `neurosim train` or `neurosim demo` has written."
        )
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise FileError(f"{path} cannot be read ({error}); it is left unchanged. Train again.") from error
