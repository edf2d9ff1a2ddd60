"""The training loop."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence, Sized
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from neurosim.errors import InputError
from neurosim.learning.losses import CrossEntropy, Loss
from neurosim.learning.rules.base import BPTT, Rule
from neurosim.learning.training import random_state
from neurosim.learning.training.evaluation import Batches, device_of, mean_scores, modes_kept
from neurosim.learning.training.history import History
from neurosim.learning.training.metrics import Metric, accuracy, named_metrics
from neurosim.learning.training.precision import Precision
from neurosim.learning.training.trainer import Run, default_optimizer

_BPTT = BPTT()
_CROSS_ENTROPY = CrossEntropy()


def fit(
    net: nn.Module,
    train: Batches,
    *,
    rule: Rule = _BPTT,
    loss: Loss = _CROSS_ENTROPY,
    optimizer: Optimizer | None = None,
    scheduler: LRScheduler | ReduceLROnPlateau | None = None,
    epochs: int = 10,
    validate: Batches | None = None,
    metrics: Sequence[Metric] = (accuracy,),
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    patience: int | None = None,
    clip: float | None = None,
    seed: int | None = 0,
    wake: bool = True,
    mixed_precision: torch.dtype | None = None,
    device: torch.device | str | None = None,
    progress: bool = True,
    on_epoch: Callable[[dict[str, Any]], Any] | None = None,
) -> History:
    """Train a network.

    Parameters
    ----------
    net : Network
        Or a module that is called like one, for example one that preprocesses inputs. Has the weights of the last epoch
        afterwards; the mode (train or eval) of every module is restored.
    train : iterable of (x, y)
        Iterated once per epoch: a `DataLoader`, a list, any iterable that can be iterated again. x is [T, B, ...] (time
        first), y is [B]. A method `set_epoch(epoch)`, if it has one, is called with 0, 1, ... before each epoch.
    rule : Rule
        Such as `BPTT()`, `SLTT()` or `SLTT(k=...)`.
    loss : Loss
        One of `neurosim.learning`, or a subclass of `Loss`.
    optimizer : torch.optim.Optimizer, optional
        Over parameters of `net`. If None, Adam over all of them with learning rate 1e-3, times k for weights that
        `ns.init` multiplied by k, which need steps k times as large; see `parameter_groups`.
    scheduler : torch scheduler, optional
        Over `optimizer`. Stepped after each epoch; `ReduceLROnPlateau` is given the watched loss (see `patience`).
    epochs : int
        Total number of epochs, those before a resume included.
    validate : iterable of (x, y), optional
        Evaluated after each epoch.
    metrics : sequence of callables
        `metric(output, target, predicted)`, see `neurosim.learning.training.metrics`.
    checkpoint : path-like, optional
        A folder for `last.pt` (after every epoch) and `best.pt` (lowest watched loss). Files of an earlier run are
        replaced as those of this run are written.
    resume : bool
        Continue from `last.pt`. On the CPU the resumed run gives the same bits as an uninterrupted one.
    patience : int, optional
        Stop after this many epochs in a row without a new lowest watched loss: the validation loss, or the training
        loss if there is no `validate`.
    clip : float, optional
        Largest norm of the gradient of all parameters of the optimizer together.
    seed : int or None
        Seeds torch, numpy and `random` for this run; their states are restored afterwards. None does not seed them.
    wake : bool
        Whether weights that are as their constructor drew them are scaled with `ns.init.fluctuation_driven` if the
        population they feed hardly fires in the first batch (less than one spike per 1000 neuron-steps).
    mixed_precision : torch.dtype, optional
        `torch.float16` (with gradient scaling) or `torch.bfloat16`; on CUDA only.
    device : torch.device or str, optional
        Device of the training; the network is moved there. Its own device by default.
    progress : bool
        Whether to show a progress bar.
    on_epoch : callable, optional
        Called with the row of each epoch, after its checkpoint is written. Its random draws do not change the run.

    Returns
    -------
    History
        One row per epoch, those before a resume included.

    Raises
    ------
    InputError
        When an argument cannot be used, or a loss or gradient is not finite (names epoch and batch).
    ShapeError
        When a batch is not (x [T, B, ...], y [B]).
    FileError
        When a checkpoint cannot be written, or is missing or damaged on resume.
    """
    _check_count("epochs", epochs)
    if patience is not None:
        _check_count("patience", patience)
    if clip is not None and not clip > 0:
        raise InputError(f"clip={clip}: the largest gradient norm allowed, above 0, or None.")
    _check_batches("train", train)
    if validate is not None:
        _check_batches("validate", validate)
    if resume and checkpoint is None:
        raise InputError("resume=True needs checkpoint=FOLDER, the folder of the run to resume.")
    if device is not None:
        net.to(device)
    own_optimizer = optimizer is None
    optimizer = _optimizer_for(net, optimizer, scheduler)
    run = Run(
        net=net,
        rule=rule,
        loss=loss,
        metrics=named_metrics(metrics),
        optimizer=optimizer,
        scheduler=scheduler,
        precision=Precision(mixed_precision, device_of(net), optimizer),
        clip=clip,
        folder=None if checkpoint is None else Path(checkpoint),
        generators=[torch.Generator(), *random_state.generators_of(train)],
        own_optimizer=own_optimizer,
        wake=wake,
    )
    with contextlib.ExitStack() as stack:
        stack.enter_context(modes_kept(net))
        if seed is None:
            run.generators[0].seed()
        else:
            stack.enter_context(random_state.kept())
            random_state.seed_all(seed)
            run.generators[0].manual_seed(seed)
        if resume:
            run.resume()
        elif run.folder is not None and not (run.folder / "last.pt").exists():
            # So an interrupt in the first epoch can be resumed, and a wrong folder fails at the start.
            run.save("last.pt")
        bar = stack.enter_context(_bar(progress, train, epochs, run.epoch))
        while run.epoch < epochs and (patience is None or run.waited < patience):
            start = time.perf_counter()
            row = run.train_epoch(train, bar.update)
            if validate is not None:
                place = f"epoch {run.epoch + 1}, validation"
                scores = mean_scores(net, validate, loss, run.metrics, run.precision, place)
                row |= {f"validation_{name}": value for name, value in scores.items()}
            row["seconds"] = time.perf_counter() - start
            run.finish_epoch(row)
            shown = {name: value for name, value in row.items() if name.endswith(("loss", "accuracy"))}
            bar.set_postfix(epoch=run.epoch, **{name: f"{value:.4g}" for name, value in shown.items()})
            if on_epoch is not None:
                with random_state.kept():
                    on_epoch(dict(row))
    return History(run.rows, stopped_early=run.epoch < epochs)


def _optimizer_for(
    net: nn.Module, optimizer: Optimizer | None, scheduler: LRScheduler | ReduceLROnPlateau | None
) -> Optimizer:
    learned = [parameter for parameter in net.parameters() if parameter.requires_grad]
    if not learned:
        raise InputError("the network has no parameter that requires a gradient: there is nothing to train.")
    if optimizer is None:
        if scheduler is not None:
            raise InputError("a scheduler was given without its optimizer. Pass the optimizer it was made for too.")
        return default_optimizer(net)
    optimized = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    if not any(id(parameter) in optimized for parameter in learned):
        raise InputError(
            f"the optimizer {type(optimizer).__name__} has no parameter of this network. "
            "Make it from net.parameters(), after the network was built."
        )
    if scheduler is not None and scheduler.optimizer is not optimizer:
        raise InputError(
            f"the scheduler {type(scheduler).__name__} was made for another optimizer than the one given. "
            "Pass a scheduler of this optimizer."
        )
    return optimizer


def _bar(progress: bool, train: Batches, epochs: int, done: int) -> Any:
    from tqdm.auto import tqdm

    batches = len(train) if isinstance(train, Sized) else None
    total = None if batches is None else batches * epochs
    return tqdm(total=total, initial=(batches or 0) * done, unit="batch", desc="training", disable=not progress)


def _check_count(name: str, number: object) -> None:
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise InputError(f"{name}={number!r}: an integer number of epochs, from 1.")


def _check_batches(name: str, data: Any) -> None:
    if isinstance(data, Iterator) or not hasattr(data, "__iter__"):
        raise InputError(
            f"{name} is a {type(data).__name__}, which cannot be iterated in every epoch. "
            "Pass a DataLoader or a list of (x, y) batches."
        )
