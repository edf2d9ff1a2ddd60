"""The training loop."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence, Sized
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import Optimizer

from neurosim.errors import InputError
from neurosim.learning.losses import CrossEntropy, Loss
from neurosim.learning.penalties import Penalised, Penalty
from neurosim.learning.rules.base import BPTT, Rule
from neurosim.learning.training import arguments, random_state
from neurosim.learning.training.arguments import Scheduler
from neurosim.learning.training.averaging import Average
from neurosim.learning.training.batches import Batches, device_of
from neurosim.learning.training.evaluation import mean_scores, modes_kept
from neurosim.learning.training.history import History
from neurosim.learning.training.metrics import Metric, named_metrics
from neurosim.learning.training.precision import Precision
from neurosim.learning.training.progress import Progress
from neurosim.learning.training.shards import Shards
from neurosim.learning.training.trainer import Run
from neurosim.learning.training.watching import Watch
from neurosim.network.ranks import device_of_rank

_BPTT = BPTT()
_CROSS_ENTROPY = CrossEntropy()


def fit(
    net: nn.Module,
    train: Batches,
    *,
    rule: Rule = _BPTT,
    loss: Loss | nn.Module = _CROSS_ENTROPY,
    penalties: Sequence[Penalty] = (),
    optimizer: Optimizer | None = None,
    scheduler: Scheduler | None = None,
    scheduler_per: Literal["epoch", "batch"] = "epoch",
    epochs: int = 10,
    validate: Batches | None = None,
    metrics: Sequence[Metric] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    patience: int | None = None,
    watch: str | None = None,
    watch_mode: Literal["min", "max"] = "min",
    clip: float | None = None,
    accumulate: int = 1,
    average: float | None = None,
    seed: int | None = 0,
    wake: bool = True,
    keep_signs: bool = False,
    mixed_precision: torch.dtype | None = None,
    device: torch.device | str | None = None,
    shards: int | None = None,
    progress: bool = True,
    on_batch: Callable[[Progress], Any] | None = None,
    on_epoch: Callable[[Progress], Any] | None = None,
) -> History:
    """Train a network.

    Parameters
    ----------
    net : Network
        Or a module that is called like one, for example one that preprocesses inputs. Has the weights of the last epoch
        afterwards; the mode (train or eval) of every module is restored.
    train : iterable of (x, y) or (x, y, lengths)
        Iterated once per epoch: a `DataLoader`, a list, any iterable that can be iterated again. x is [T, B, ...] (time
        first), y is [B], or [B, ...] or [B, T, ...] where the loss takes it; lengths are the numbers of valid steps,
        int64 [B], or a mask, bool [B, T] (see `neurosim.learning.pad`). A method `set_epoch(epoch)`, if it has one, is
        called with 0, 1, ... before each epoch.
    rule : Rule
        Such as `BPTT()`, `SLTT()` or `SLTT(k=...)`.
    loss : Loss or loss of torch.nn
        One of `neurosim.learning`, or a subclass of `Loss`. A loss of torch.nn, such as ``nn.MSELoss()``, becomes a
        `TorchLoss` of the output of each step.
    penalties : sequence of Penalty
        Added to the loss, such as ``[ns.RatePenalty(1e-4, high=20.0)]``, for `BPTT`, and for `SLTT` and `OTTT` those
        that are means over steps. The loss in the history includes them; that of `validate` does not.
    optimizer : torch.optim.Optimizer, optional
        Over parameters of `net`. If None, Adam over all of them with learning rate 1e-3, times k for weights that
        `ns.init` multiplied by k, which need steps k times as large; see `parameter_groups`.
    scheduler : torch scheduler, optional
        Over `optimizer`. Stepped after each epoch; `ReduceLROnPlateau` is given the watched value (see `watch`).
    scheduler_per : {"epoch", "batch"}
        Whether the scheduler is stepped after each epoch, or after each step of the optimizer, as `OneCycleLR` needs.
    epochs : int
        Total number of epochs, those before a resume included.
    validate : iterable, optional
        Batches like those of `train`.
        Evaluated after each epoch.
    metrics : sequence of callables, optional
        `metric(output, target, predicted)`, or objects of torchmetrics, which get predictions and targets. By default
        `accuracy`, if the targets are classes.
    checkpoint : path-like, optional
        A folder for `last.pt` (after every epoch) and `best.pt` (best watched value). Files of an earlier run are
        replaced as those of this run are written.
    resume : bool
        Continue from `last.pt`. On the CPU the resumed run gives the same bits as an uninterrupted one.
    patience : int, optional
        Stop after this many epochs in a row without a new best watched value.
    watch : str, optional
        Column of the history whose value is watched, such as ``"validation_accuracy"``; by default the validation loss,
        or the training loss if there is no `validate`.
    watch_mode : {"min", "max"}
        Whether the best value is the lowest or the highest.
    clip : float, optional
        Largest norm of the gradient of all parameters of the optimizer together.
    accumulate : int
        Number of batches of one step of the optimizer. Their gradients are added with the shares of their samples, so
        that the step is that of one batch with the samples of all (batch normalisation excepted). Above 1, class
        weights and targets that the loss ignores are refused: such a loss is no mean over all samples.
    average : float, optional
        Decay of the moving average of the parameters after each step, such as 0.999. The average is evaluated on
        `validate`, is in `best.pt`, and is in the network after the run; training continues without it.
    seed : int or None
        Seeds torch, numpy and `random` for this run; their states are restored afterwards. None does not seed them.
    wake : bool
        Whether weights that are as their constructor drew them are scaled with `ns.init.fluctuation_driven` if the
        population they feed hardly fires in the first batch (less than one spike per 1000 neuron-steps).
    keep_signs : bool
        Whether the weights of synapses keep their signs (Dale's law): after each step of the optimizer a weight that
        changed its sign is 0. A weight of 0 counts as positive, one of -0.0 as negative.
    mixed_precision : torch.dtype, optional
        `torch.float16` (with gradient scaling) or `torch.bfloat16`; on CUDA only.
    device : torch.device or str, optional
        Device of the training; the network is moved there. Its own device by default.
    shards : int, optional
        Parts of each batch, which the ranks of a program started by torchrun share (docs/scaling.md); a multiple of
        their number. All ranks iterate over the same whole batches. The gradient is the mean of those of the shards by
        their samples, so that it is that of the batch (batch normalisation excepted). The result has the same bits for
        any number of ranks, and depends on the number of shards. Rank 0 writes the checkpoints, into a folder that all
        ranks see. On the CPU each rank computes with one thread. None trains in one process.
    progress : bool
        Whether to show a progress bar.
    on_batch, on_epoch : callable, optional
        Called with a `Progress` after each step of the optimizer, and after each epoch when its checkpoint is written.
        It has the numbers so far by name, the network as ``progress.net``, and ``progress.stop()``. Random draws of a
        callback do not change the run.

    Returns
    -------
    History
        One row per epoch, those before a resume included; an epoch that a callback stops has no row.

    Raises
    ------
    InputError
        When an argument cannot be used, or a loss or gradient is not finite (names epoch and batch).
    ShapeError
        When a batch is not (x [T, B, ...], y [B]).
    FileError
        When a checkpoint cannot be written, or is missing or damaged on resume.
    """
    arguments.check_module("fit", net)
    arguments.check_rule(rule)
    loss = arguments.as_loss(loss)
    if not isinstance(penalties, (tuple, list)) or len(penalties):
        rule = Penalised(rule, penalties)  # type: ignore[arg-type]
    arguments.check_count("epochs", epochs)
    if patience is not None:
        arguments.check_count("patience", patience)
    arguments.check_clip(clip)
    arguments.check_accumulate(accumulate, loss)
    arguments.check_share("average", average)
    arguments.check_callable("on_batch", on_batch)
    arguments.check_callable("on_epoch", on_epoch)
    arguments.check_batches("train", train)
    if validate is not None:
        arguments.check_batches("validate", validate)
    if not isinstance(keep_signs, bool):
        raise InputError(f"keep_signs={keep_signs!r}: True or False.")
    if scheduler_per not in ("epoch", "batch"):
        raise InputError(f'scheduler_per={scheduler_per!r}: "epoch" or "batch".')
    if resume and checkpoint is None:
        raise InputError("resume=True needs checkpoint=FOLDER, the folder of the run to resume.")
    if device is not None:
        net.to(device_of_rank(arguments.checked_device(device)))
    own_optimizer = optimizer is None
    optimizer = arguments.optimizer_for(net, optimizer, scheduler)
    divided = Shards.of(shards, net, rule, loss, seed)
    run = Run(
        net=net,
        rule=rule,
        loss=loss,
        metrics=named_metrics(metrics),
        optimizer=optimizer,
        scheduler=scheduler,
        scheduler_per=scheduler_per,
        precision=Precision(mixed_precision, device_of(net), optimizer),
        clip=clip,
        accumulate=accumulate,
        average=None if average is None else Average(net, average),
        watch=Watch(watch, watch_mode, validates=validate is not None),
        seed=seed,
        folder=None if checkpoint is None else Path(checkpoint),
        generators=[torch.Generator(), *random_state.generators_of(train)],
        own_optimizer=own_optimizer,
        wake=wake,
        keep_signs=keep_signs,
        shards=divided,
    )
    with contextlib.ExitStack() as stack:
        stack.enter_context(modes_kept(net))
        if divided is not None:
            stack.enter_context(divided.one_thread())
            given = {"resume": resume, "validate": validate is None, "on_batch": on_batch is None}
            given |= {"on_epoch": on_epoch is None, "checkpoint": checkpoint is None}
            divided.ranks.check_same("the run", run.description() | {"epochs": epochs, "patience": patience} | given)
        if seed is None:
            run.generators[0].seed()
        else:
            stack.enter_context(random_state.kept())
            random_state.seed_all(seed)
            run.generators[0].manual_seed(seed)
        if resume and divided is not None:
            with divided.ranks.together("resuming"):
                run.resume()
        elif resume:
            run.resume()
        elif run.folder is not None:
            # So an interrupt in the first epoch can be resumed, and not from the checkpoint of an earlier run in the
            # folder; and a wrong folder fails at the start.
            run.save("last.pt")
        progress = progress and (divided is None or divided.ranks.is_first)
        bar = stack.enter_context(_bar(progress, train, epochs, run.epoch))
        stopped = False
        while run.epoch < epochs and (patience is None or run.watch.waited < patience) and not stopped:
            start = time.perf_counter()
            row = run.train_epoch(train, bar.update, on_batch)
            if row is None:
                break
            if validate is not None:
                place = f"epoch {run.epoch + 1}, validation"
                with run.averaged():
                    scores = mean_scores(net, validate, loss, run.metrics, run.precision, place, divided)
                row |= {f"validation_{name}": value for name, value in scores.items()}
            row["seconds"] = time.perf_counter() - start
            run.finish_epoch(row)
            shown = {name: value for name, value in row.items() if name.endswith(("loss", "accuracy"))}
            bar.set_postfix(epoch=run.epoch, **{name: f"{value:.4g}" for name, value in shown.items()})
            stopped = run.call(on_epoch, row)
        if run.average is not None:
            run.average.copy_to(net)
    return History(run.rows, stopped_early=run.epoch < epochs)


def _bar(progress: bool, train: Batches, epochs: int, done: int) -> Any:
    from tqdm.auto import tqdm

    batches = len(train) if isinstance(train, Sized) else None
    total = None if batches is None else batches * epochs
    return tqdm(total=total, initial=(batches or 0) * done, unit="batch", desc="training", disable=not progress)
