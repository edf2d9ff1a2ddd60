"""One run of the arena: a network trained on one data set with one seed, and what it took."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neurosim.arena.forecast import forecast
from neurosim.arena.recipe import Augmented, Part, Recipe, batches_of, joined
from neurosim.arena.recipes import RECIPES
from neurosim.datasets import Labelled
from neurosim.energy import count_operations, energy
from neurosim.learning import History, evaluate, fit, load_checkpoint, pad
from neurosim.network.network import Network

COUNTED = 16  # test samples whose operations are counted
MODELS = ("loihi1", "horowitz45", "lemaire2022")
QUICK_SAMPLES, QUICK_EPOCHS = 48, 1


def run(
    name: str, seed: int, root: str | os.PathLike[str] | None, folder: Path, *, quick: bool = False
) -> dict[str, Any]:
    """Train and test once; a run that was interrupted continues at its last epoch.

    Parameters
    ----------
    name : str
        Of `CONTESTS`.
    seed : int
    root : path-like, optional
        Data root; the environment variable ``NEUROSIM_DATA``, or what installed packages hold, if left out.
    folder : pathlib.Path
        For checkpoints and for what is computed once.
    quick : bool
        A few samples and one epoch: shows that everything runs, and measures nothing.

    Returns
    -------
    dict
        ``score`` and ``validation``, ``train_seconds``, ``parameters``, ``peak_bytes``, ``synaptic_operations`` (pairs
        of a nonzero input and a nonzero weight) and ``dense_operations`` per inference, ``neurobench``, and
        ``energy_J``, joules per inference by model.
    """
    if name == "mackey-glass":
        found = _forecast(seed, quick)
    else:
        found = _classify(RECIPES[name], name, seed, root, folder, quick)
    return {"name": name, "seed": seed, **found, "peak_bytes": peak_bytes()}


def _forecast(seed: int, quick: bool) -> dict[str, Any]:
    start = time.perf_counter()
    sizes = {"series": 2, "neurons": 100, "steps": 16} if quick else {}
    found = forecast(seed, **sizes)
    seconds = time.perf_counter() - start
    read_out = found.net.shape("if")[0] + found.drive.shape[-1] + 1
    own = sum(each.numel() for each in found.net.parameters())
    counts = priced(found.net, found.drive)
    return {
        "score": found.error,
        "validation": found.validation,
        "train_seconds": seconds,
        "parameters": own + read_out,
        **counts,
    }


def _classify(
    recipe: Recipe, name: str, seed: int, root: str | os.PathLike[str] | None, folder: Path, quick: bool
) -> dict[str, Any]:
    data = recipe.data(root, folder, quick)
    if quick:
        data = type(data)(*(_first(part) for part in data))
    checkpoint = folder / f"{name}-{seed}"
    net, history = _trained(recipe, data.train, data.validation, seed, checkpoint, quick)
    seconds = sum(row["seconds"] for row in history)
    if recipe.refit:
        net, again = _trained(recipe, joined(data.train, data.validation), None, seed, checkpoint / "refit", quick)
        seconds += sum(row["seconds"] for row in again)
        validation = list(history)[-1]["validation_accuracy"]
    else:
        net.load_state_dict(load_checkpoint(checkpoint / "best.pt").network)
        validation = max(row["validation_accuracy"] for row in history)
    test = evaluate(net, batches_of(data.test, 100), recipe.loss)["accuracy"]
    return {
        "score": test,
        "validation": validation,
        "train_seconds": seconds,
        "parameters": sum(each.numel() for each in net.parameters()),
        **priced(net, _inputs(data.test, COUNTED)),
    }


def _trained(
    recipe: Recipe, part: Part, validation: Part | None, seed: int, checkpoint: Path, quick: bool
) -> tuple[Network, History]:
    """Train a network, or continue where its training stopped."""
    epochs = QUICK_EPOCHS if quick else recipe.epochs
    torch.manual_seed(seed)
    net = recipe.build()
    train = batches_of(part, recipe.batch_size, seed=seed, shuffle=True)
    steps = len(train) * epochs  # type: ignore[arg-type]
    if recipe.augment is not None:
        train = Augmented(train, recipe.augment)
    optimizer = torch.optim.AdamW(net.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=max(steps, 2), pct_start=0.1
    )
    watched = validation is not None
    history = fit(
        net,
        train,
        loss=recipe.loss,
        optimizer=optimizer,
        scheduler=schedule,
        scheduler_per="batch",
        epochs=epochs,
        validate=None if validation is None else batches_of(validation, 100),
        watch="validation_accuracy" if watched else None,
        watch_mode="max" if watched else "min",
        clip=1.0,
        average=recipe.smoothing,
        seed=seed,
        checkpoint=checkpoint,
        resume=(checkpoint / "last.pt").is_file(),
        progress=False,
    )
    return net, history


def _first(part: Part) -> Part:
    order = torch.randperm(len(part), generator=torch.Generator().manual_seed(0))[:QUICK_SAMPLES]
    return part.subset(order)


def _inputs(part: Part, number: int) -> Tensor:
    """Return inputs [T, B, ...] of samples spread over a part."""
    places = torch.linspace(0, len(part) - 1, min(number, len(part))).long()
    chosen = part.subset(places)
    if isinstance(chosen, Labelled):
        return chosen.x.movedim(1, 0).contiguous()
    return pad([chosen[k] for k in range(len(chosen))])[0]


def priced(net: Network, x: Tensor) -> dict[str, Any]:
    """Return operations and energies of a run, per inference."""
    net.eval()
    counted = count_operations(net, x)
    report = energy(counted, MODELS)
    return {
        "synaptic_operations": (counted.accumulates + counted.multiply_accumulates) / counted.samples,
        "dense_operations": counted.dense / counted.samples,
        "neurobench": {**counted.neurobench(), "footprint": footprint(net)},
        "energy_J": {column.target.name: column.total for column in report.columns},
        "spikes_per_neuron": counted.spikes_per_neuron,
    }


def footprint(net: Network) -> int:
    """Return the bytes of all parameters and buffers, as NeuroBench counts them."""
    tensors = (*net.parameters(), *net.buffers())
    return sum(each.numel() * each.element_size() for each in tensors)


def peak_bytes() -> int:
    """Return the greatest memory that this process has had, in bytes; 0 where the system does not say."""
    if sys.platform == "linux":
        # The figure of getrusage includes the process that started this one.
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
