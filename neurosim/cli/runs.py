"""A run on disk: what was asked, the weights, and what came out, in one folder."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import json
import math
import os
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neurosim.datasets import Encoder, Labelled, Split, digits, direct, fashion_mnist, latency, mnist, rate
from neurosim.errors import FileError, InputError
from neurosim.files.atomic import replaced
from neurosim.language import triangle
from neurosim.learning import (
    BPTT,
    SLTT,
    CrossEntropy,
    History,
    Loss,
    RateCrossEntropy,
    Rule,
    evaluate,
    fit,
    load_checkpoint,
)
from neurosim.network.graph import Input
from neurosim.network.network import Network, Sequential
from neurosim.network.neuron import LIF
from neurosim.synapses import Flatten, Linear

DATASETS = ("digits", "mnist", "fashion_mnist")
ENCODERS = ("rate", "latency", "direct")
RULES = ("bptt", "sltt")
LOSSES = ("rate", "cross-entropy")


@dataclasses.dataclass(frozen=True)
class Config:
    """What a run is asked to do; the defaults are the demonstration.

    Attributes
    ----------
    dataset : str
        One of `DATASETS`.
    data_root : str or None
        Folder of the data files, where the dataset needs one.
    network : str or None
        ``"file.py:function"`` for a network of the user's own: ``function(shape, classes, dt) -> Network``.
    hidden : tuple of int
        Sizes of the hidden populations otherwise.
    steps, dt : int, float
        Length of a sample, in steps and s a step.
    encoder : str
        One of `ENCODERS`; ``rate`` fires at up to one spike a step.
    tau_mem, gain : float
        Membrane time constant in s and input gain r of the LIF neurons.
    rule, k : str, int or None
        One of `RULES`; steps drawn per batch for SLTT-K.
    loss : str
        One of `LOSSES`.
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
    k: int | None = None
    loss: str = "rate"
    epochs: int = 25
    batch_size: int = 64
    learning_rate: float = 2e-3
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the words; the numbers are checked where they are used."""
        for name, allowed in (("dataset", DATASETS), ("encoder", ENCODERS), ("rule", RULES), ("loss", LOSSES)):
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} must be one of {', '.join(allowed)}; got {getattr(self, name)!r}.")
        if self.k is not None and self.rule != "sltt":
            raise InputError(
                f"k={self.k} goes with the rule sltt; got {self.rule!r}. Add --rule sltt or leave --k out."
            )
        if self.rule == "sltt" and self.loss == "rate":
            raise InputError(
                "sltt needs a loss that is a mean over steps; the rate loss is not. Add --loss cross-entropy."
            )


def data(config: Config) -> Split:
    """Read the dataset of `config`."""
    if config.dataset == "digits":
        return digits()
    read = mnist if config.dataset == "mnist" else fashion_mnist
    return read(config.data_root)


def encoder(config: Config) -> Encoder:
    """Return the encoder of `config`."""
    if config.encoder == "rate":
        return rate(config.steps, max_rate=1.0 / config.dt, dt=config.dt)
    return latency(config.steps) if config.encoder == "latency" else direct(config.steps)


def build(config: Config, split: Split) -> Network:
    """Make the untrained network of `config`, its weights drawn from the seed."""
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


def rule(config: Config) -> Rule:
    """Return the learning rule of `config`."""
    return BPTT() if config.rule == "bptt" else SLTT(k=config.k)


def loss(config: Config) -> Loss:
    """Return the loss of `config`."""
    return RateCrossEntropy() if config.loss == "rate" else CrossEntropy()


def train(config: Config, folder: Path, *, resume: bool = False, progress: bool = True) -> dict[str, Any]:
    """Train as `config` says, test once at the end, and leave everything in `folder`.

    Returns
    -------
    dict
        The content of ``metrics.json``.
    """
    split = data(config)
    net = build(config, split)
    _write_json(folder / "run.json", dataclasses.asdict(config))
    optimizer = torch.optim.Adam(net.parameters(), lr=config.learning_rate)
    start = time.perf_counter()
    history = fit(
        net,
        split.train.batches(config.batch_size, seed=config.seed, encoder=encoder(config)),
        rule=rule(config),
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
        "rule": repr(rule(config)),
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
    """Return the first samples of a part of the data, encoded [T, B, ...] the same way at every call, and classes."""
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
    """Read a run that `train` left.

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
    given = _read_json(folder / "run.json")
    known = {field.name for field in dataclasses.fields(Config)}
    if not isinstance(given, dict) or set(given) - known:
        raise FileError(f"{folder / 'run.json'} is not the description of a run; it is left as it is. Train again.")
    return Config(**{**given, "hidden": tuple(given.get("hidden", ()))})


def _own_network(place: str, shape: tuple[int, ...], classes: int, dt: float) -> Network:
    file, _, function = place.rpartition(":")
    if not file or not Path(file).is_file():
        raise FileError(f"network must be FILE.py:FUNCTION with a file that exists; got {place!r}.")
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    make = getattr(module, function, None)
    if not callable(make):
        raise InputError(
            f"{file} has no function {function!r}; define {function}(shape, classes, dt) -> Network there."
        )
    made = make(shape, classes, dt)
    if not isinstance(made, Network):
        raise InputError(f"{place} must return a Network; got {type(made).__name__}.")
    return made


def _write_json(path: Path, content: Any) -> None:
    with replaced(path) as part:
        part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _read_json(path: Path) -> Any:
    if not path.is_file():
        raise FileError(
            f"no {path.name} in {path.parent}; give a folder that `neurosim train` or `neurosim demo` has made."
        )
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise FileError(f"{path} cannot be read ({error}); it is left as it is. Train again.") from error
