"""Train by settings, and open what was trained."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from neurosim.cli import folder as run_folder
from neurosim.cli.choices import LOSSES, RULES, function_in, is_own, options_of
from neurosim.cli.folder import HISTORY, LAST, METRICS, RunIdentity
from neurosim.cli.schedule import Cosine
from neurosim.cli.settings import Settings
from neurosim.datasets import Encoder, Labelled, Split, direct, latency, load, rate
from neurosim.errors import FileError, InputError, NeurosimError
from neurosim.files.atomic import json_text
from neurosim.files.lock import owned
from neurosim.files.paths import output_folder
from neurosim.language import triangle
from neurosim.learning import History, Loss, Progress, Rule, evaluate, fit, load_checkpoint
from neurosim.network import Network, Sequential
from neurosim.network.graph import Input
from neurosim.network.layers import LIF
from neurosim.network.ranks import Ranks, device_of_rank, number_of_ranks
from neurosim.synapses import Flatten, Linear

_ENCODERS: dict[str, Callable[[Settings], Encoder]] = {
    "rate": lambda settings: rate(settings.steps, max_rate=1.0 / settings.dt, dt=settings.dt),
    "latency": lambda settings: latency(settings.steps),
    "direct": lambda settings: direct(settings.steps),
}


def named(settings: Settings) -> Settings:
    """Return the settings with the names of rule and loss as the library writes them.

    Raises
    ------
    InputError
        When there is no such rule or loss.
    """
    rule = settings.rule if is_own(settings.rule) else RULES.name_of(settings.rule)
    loss = settings.loss if is_own(settings.loss) else LOSSES.name_of(settings.loss)
    return dataclasses.replace(settings, rule=rule, loss=loss)


def data(settings: Settings) -> Split:
    """Read the dataset of a run."""
    if not is_own(settings.dataset):
        found = load(settings.dataset, settings.data_root)
        return found if isinstance(found, Split) else found.split()
    split = function_in("dataset", settings.dataset)()
    if not isinstance(split, Split):
        raise InputError(f"dataset: {settings.dataset} must return a Split; got {type(split).__name__}.")
    return split


def encoder(settings: Settings, part: Labelled) -> Encoder | None:
    """Return the encoder of a run; None for data with steps of its own."""
    return None if part.timed else _ENCODERS[settings.encoder](settings)


def build(settings: Settings, split: Split) -> Network:
    """Return the untrained network of a run, its weights drawn from the seed."""
    first = 2 if split.train.timed else 1
    shape, classes = tuple(split.train.x.shape[first:]), len(split.train.classes)
    torch.manual_seed(settings.seed)
    if settings.network:
        return _own_network(settings.network, shape, classes, settings.dt)
    parts: list[Any] = [Input(shape), Flatten()]
    sizes = (math.prod(shape), *settings.hidden, classes)
    names = [*(f"hidden{n}" if len(settings.hidden) > 1 else "hidden" for n in range(1, len(sizes) - 1)), "output"]
    for before, after in itertools.pairwise(sizes):
        parts += [
            Linear(before, after),
            LIF(tau_mem=settings.tau_mem, r=settings.gain, dt=settings.dt, spike=triangle()),
        ]
    return Sequential(*parts, names=names)


def rule(settings: Settings, net: Network) -> Rule:
    """Return the learning rule of a run for a network."""
    arguments = [net] if is_own(settings.rule) else []
    return RULES.value(settings.rule, options_of("rule", settings.rule_option), *arguments)


def loss(settings: Settings) -> Loss:
    """Return the loss of a run."""
    return LOSSES.value(settings.loss, options_of("loss", settings.loss_option))


def device(name: str) -> torch.device:
    """Return a device that is there.

    Raises
    ------
    InputError
        When there is no such device here.
    """
    try:
        found = torch.device(name)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"device = {name!r} cannot be used here: {reason}. Give cpu, or cuda where there is one."
        ) from error
    return found


def optimizer(settings: Settings, net: Network) -> Optimizer:
    """Return the optimizer of a run over the parameters of its network."""
    kinds = {name.lower(): kind for name, kind in vars(torch.optim).items() if isinstance(kind, type)}
    options = options_of("optimizer", settings.optimizer_option)
    try:
        return kinds[settings.optimizer](net.parameters(), lr=settings.learning_rate, **options)
    except (TypeError, ValueError) as error:
        raise InputError(f"optimizer {settings.optimizer}: {error}. Correct --optimizer-option.") from error


def train(
    settings: Settings,
    folder: str | os.PathLike[str],
    *,
    resume: bool = False,
    overwrite: bool = False,
    command: str = "train",
    progress: bool = True,
) -> dict[str, Any]:
    """Train by `settings`, test once at the end, and write everything to `folder`.

    Parameters
    ----------
    settings : Settings
        What to train.
    folder : path-like
        Where to; nothing is written before all settings are checked.
    resume : bool
        Continue the run in the folder. `settings` are those of the run; `epochs` alone may be larger.
    overwrite : bool
        Remove an earlier run in the folder; without it a folder that holds a run is refused.
    command : str
        Part of the identity of the run.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    dict
        The content of ``metrics.json``.

    Raises
    ------
    InputError
        When a setting cannot be used, or differs from that of the run to resume.
    FileError
        When the folder holds another run, is in use by another process, cannot be written, or holds no run to resume.
    """
    settings = named(settings)
    split = data(settings)
    part, validation = _held_out(settings, split.train)
    place = device_of_rank(device(settings.device))
    if settings.shards is None and (size := number_of_ranks()) > 1:
        raise InputError(f"{size} ranks were started and shards is not given. Give --shards, a multiple of {size}.")
    ranks = Ranks.here(place)
    net = build(settings, split).to(place)
    learning = rule(settings, net)
    measure = loss(settings)
    descent = optimizer(settings, net)
    here = Path(folder)
    if resume:
        run_folder.check_continued(here, settings)
    with contextlib.ExitStack() as stack:
        identity: RunIdentity | None = None
        with ranks.together(f"opening {here}"):
            if ranks.is_first:  # which alone writes
                stack.enter_context(_owned_run(here, fresh=not resume, overwrite=overwrite))
                if resume:
                    identity = _resumed(here, settings, net)
                else:
                    identity = RunIdentity.new(settings, command)
                    run_folder.write_start(here, settings, identity)
        identity = ranks.objects(identity)[0]
        assert identity is not None

        def keep_settings(_: Progress) -> None:
            if ranks.is_first:
                run_folder.write_settings(here, settings)

        start = time.perf_counter()
        history = fit(
            net,
            part.batches(settings.batch_size, seed=settings.seed, encoder=encoder(settings, part)),
            rule=learning,
            loss=measure,
            optimizer=descent,
            scheduler=Cosine(descent, settings.epochs) if settings.schedule == "cosine" else None,
            epochs=settings.epochs,
            validate=None if validation is None else test_batches(settings, validation),
            checkpoint=here,
            resume=resume,
            patience=settings.patience,
            clip=settings.clip,
            seed=settings.seed,
            device=place,
            shards=settings.shards,
            progress=progress,
            # A run that `fit` refuses to resume keeps its settings.
            on_epoch=keep_settings if resume else None,
        )
        seconds = time.perf_counter() - start
        if ranks.is_first:
            history.save(here / HISTORY)
        scores = evaluate(net, test_batches(settings, split.test), loss=measure)
        metrics: dict[str, Any] = {
            "run": identity.id,
            "dataset": settings.dataset,
            "test_accuracy": scores["accuracy"],
            "test_loss": scores["loss"],
            "test_samples": len(split.test),
            **{name: history.last[name] for name in ("validation_accuracy", "validation_loss") if name in history.last},
            "train_accuracy": history.last["accuracy"],
            "epochs": len(history),
            "rule": repr(learning),
            "seconds_training": round(seconds, 2),
            "parameters": sum(p.numel() for p in net.parameters()),
            "torch": torch.__version__,
        }
        if ranks.is_first:
            json_text(metrics, here / METRICS)
    return metrics


@contextlib.contextmanager
def _owned_run(folder: Path, *, fresh: bool, overwrite: bool) -> Iterator[None]:
    """Own the folder of a run; a fresh run that fails before its first epoch leaves nothing behind."""
    if fresh and not overwrite and run_folder.holds_run(folder):
        raise FileError(
            f"{folder} holds a run. Give --resume to continue it, --overwrite to remove it, or another folder."
        )
    new = not folder.exists()
    try:
        with owned(output_folder(folder)):
            if fresh:
                run_folder.clear(folder)
            try:
                yield
            except NeurosimError:
                if fresh and not (folder / "best.pt").exists():
                    run_folder.clear(folder)
                raise
    finally:
        if new and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _resumed(folder: Path, settings: Settings, net: Network) -> RunIdentity:
    """Check that the run in a folder can be resumed; return its identity."""
    identity = run_folder.identity_of(folder)
    run_folder.check_sources(folder, settings, identity)
    training = load_checkpoint(folder / LAST, net).training or {}
    done = training.get("epoch")
    if not isinstance(done, int):
        raise FileError(f"{folder / LAST} holds no run to resume. Train again with --overwrite.")
    if settings.epochs < done:
        raise InputError(
            f"epochs = {settings.epochs}, but the run in {folder} has {done} already. Give at least {done}."
        )
    return identity


def _held_out(settings: Settings, part: Labelled) -> tuple[Labelled, Labelled | None]:
    """Return the samples to train on and those for validation, drawn from the seed."""
    number = round(settings.validation * len(part))
    if not settings.validation:
        return part, None
    if not 0 < number < len(part):
        raise InputError(f"validation = {settings.validation:g} of {len(part)} samples leaves none on one side.")
    order = torch.randperm(len(part), generator=torch.Generator().manual_seed(settings.seed))
    return part.subset(order[number:].sort().values), part.subset(order[:number].sort().values)


def test_batches(settings: Settings, test: Labelled) -> Any:
    """Return the test samples, encoded the same way at every call."""
    return test.batches(min(512, len(test)), seed=settings.seed, encoder=encoder(settings, test), shuffle=False)


def first(settings: Settings, part: Labelled, number: int) -> tuple[Tensor, Tensor]:
    """Return the first samples of a part of the data, encoded [T, B, ...] the same way at every call, and labels."""
    if not 1 <= number <= len(part):
        raise InputError(f"samples must be between 1 and {len(part)}; got {number}.")
    few = part.subset(slice(number))
    x, y = next(iter(few.batches(number, seed=settings.seed, encoder=encoder(settings, few), shuffle=False)))
    return x, y


def samples(settings: Settings, split: Split, number: int) -> tuple[Tensor, list[str]]:
    """Return the first test samples encoded [T, B, ...] and the names of their classes."""
    x, y = first(settings, split.test, number)
    return x, [split.test.classes[int(label)] for label in y]


@dataclasses.dataclass(frozen=True, eq=False)
class Finished:
    """A trained run read back from its folder."""

    folder: Path
    settings: Settings
    identity: RunIdentity
    split: Split
    net: Network
    metrics: dict[str, Any]
    history: History


def open_run(folder: str | os.PathLike[str], weights: str = "last") -> Finished:
    """Read a run that `train` wrote, with the weights of its last epoch or its best.

    Raises
    ------
    FileError
        When the folder holds no run that has finished, a file in it is damaged or belongs to another run, or a user's
        file that is part of the run has changed.
    """
    here = Path(folder)
    settings = run_folder.settings_of(here)
    identity = run_folder.identity_of(here)
    run_folder.check_sources(here, settings, identity)
    metrics, history = run_folder.metrics_of(here), History(run_folder.rows_of(here))
    split = data(settings)
    net = build(settings, split)
    load_checkpoint(here / f"{weights}.pt", net)
    return Finished(here, settings, identity, split, net, metrics, history)


def _own_network(place: str, shape: tuple[int, ...], classes: int, dt: float) -> Network:
    net = function_in("network", place)(shape, classes, dt)
    if not isinstance(net, Network):
        raise InputError(f"network: {place} must return a Network; got {type(net).__name__}.")
    return net
