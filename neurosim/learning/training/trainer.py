"""One training run: its state from batch to batch and epoch to epoch, and what a checkpoint saves."""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from neurosim.errors import FileError, InputError, NeurosimError
from neurosim.learning.losses import Loss
from neurosim.learning.rules.base import Backward, Forward, Rule
from neurosim.learning.training import arguments, random_state, resuming, signs, start
from neurosim.learning.training.arguments import Scheduler
from neurosim.learning.training.averaging import Average
from neurosim.learning.training.batches import Batch, Batches, on_device
from neurosim.learning.training.checkpoint import Checkpoint, check_fits, check_same, load_checkpoint, save_checkpoint
from neurosim.learning.training.evaluation import Scores
from neurosim.learning.training.finite import FiniteChecks, is_late
from neurosim.learning.training.groups import default_optimizer
from neurosim.learning.training.precision import Precision
from neurosim.learning.training.progress import Progress
from neurosim.learning.training.shards import Shards
from neurosim.learning.training.watching import Watch

Callback = Callable[[Progress], Any] | None


@dataclass
class Run:
    """The arguments of a run, checked by `fit`, and its progress.

    The first of `generators` is that of the rule; the others are those of the data loader. With `own_optimizer` the
    optimizer is the default one.
    """

    net: nn.Module
    rule: Rule
    loss: Loss
    metrics: Mapping[str, Any] | None
    optimizer: Optimizer
    scheduler: Scheduler | None
    scheduler_per: Literal["epoch", "batch"]
    precision: Precision
    clip: float | None
    accumulate: int
    average: Average | None
    watch: Watch
    seed: int | None
    folder: Path | None
    generators: list[torch.Generator]
    own_optimizer: bool = False
    wake: bool = True
    keep_signs: bool = False
    shards: Shards | None = None
    epoch: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, Any] = field(init=False)
    checks: FiniteChecks = field(init=False)

    def __post_init__(self) -> None:
        """Keep the settings of optimizer and scheduler at the start of the run."""
        scheduler = None if self.scheduler is None else resuming.plain(self.scheduler.state_dict())
        self.checks = FiniteChecks(self.net)
        self.settings = {"optimizer": resuming.settings_of(self.optimizer), "scheduler": scheduler}

    def train_epoch(self, train: Batches, tick: Callable[[], Any], on_batch: Callback) -> dict[str, Any] | None:
        """Train on the data once; return the row of the epoch, or None if the callback stopped it."""
        set_epoch = getattr(train, "set_epoch", None)
        if set_epoch is not None:
            set_epoch(self.epoch)
        self.net.train()
        row = {"epoch": self.epoch + 1, "learning_rate": float(self.optimizer.param_groups[0]["lr"])}
        means = Scores(self.loss, self.metrics)
        for first, batches in self._groups(train):
            if first == 1 and self.epoch == 0:
                self._wake(batches[0].x)
            with signs.kept(self.net) if self.keep_signs else contextlib.nullcontext():
                results = self._step(batches, first)
            if first == 1 and self.epoch == 0:
                self._warn_of_untrained()
            if self.average is not None:
                self.average.update(self.net)
            if self.scheduler is not None and self.scheduler_per == "batch":
                self._step_scheduler(self.scheduler, results[-1][0])
            for batch, (value, output) in zip(batches, results, strict=True):
                means.add(value, output, batch)
                tick()
            if on_batch is not None:
                last = first + len(batches) - 1
                numbers = {"epoch": self.epoch + 1, "batch": last, "loss": float(results[-1][0])}
                if self.call(on_batch, numbers):
                    return None
        self.checks.finish()
        if not means.samples:
            raise InputError("train has no batch. Check the data set and the batch size.")
        return row | means.values()

    def _groups(self, train: Batches) -> Iterator[tuple[int, list[Batch]]]:
        """Yield the batches of each step of the optimizer, with the number of the first."""
        group: list[Batch] = []
        number = 0
        if self.shards is not None:
            train = self.shards.same_batches(train, f"epoch {self.epoch + 1}")
        for number, batch in enumerate(train, start=1):
            place = f"epoch {self.epoch + 1}, batch {number}"
            group.append(on_device(batch, self.net, self.loss, place, self.checks))
            arguments.check_counted(self.accumulate, self.loss, batch[1], group[-1].mask, place)
            if len(group) == self.accumulate:
                yield number - len(group) + 1, group
                group = []
        if group:
            yield number - len(group) + 1, group

    def call(self, callback: Callback, numbers: dict[str, Any]) -> bool:
        """Call a callback; return whether it stops the run. Its random draws do not change the run."""
        if callback is None:
            return False
        progress = Progress(self.net, dict(numbers))
        with random_state.kept():
            callback(progress)
        return progress.stopped if self.shards is None else self.shards.any_of(progress.stopped)

    def _step(self, batches: list[Batch], first: int) -> list[tuple[Tensor, Tensor]]:
        """Compute the gradients of the batches and step; return their losses and outputs before the step.

        `first` is the number of the first batch in the epoch.
        """
        place = f"epoch {self.epoch + 1}, batch {first}"
        results: list[list[tuple[Tensor, Tensor]]] = []
        scaler, forward = self.precision.scaler, self.precision.forward(self.net)
        samples = sum(batch.y.shape[0] for batch in batches)

        def closure() -> float | Tensor:
            self.optimizer.zero_grad()
            self.net.zero_grad()
            found = self._gradients(batches, forward, samples, first)
            if scaler.is_enabled():
                scaler.unscale_(self.optimizer)
            trained = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
            total = get_total_norm([parameter.grad for parameter in trained if parameter.grad is not None])
            if self.clip is not None:
                clip_grads_with_norm_(trained, self.clip, total)
            shares = [batch.y.shape[0] / samples for batch in batches]
            value = _mean([value for value, _ in found], shares)
            # The scaler handles overflow: it skips the step and reduces the scale.
            norm = {} if scaler.is_enabled() else {"gradient": total}
            # As a tensor of double precision a number keeps its range.
            shown = value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)
            self.checks.add(place, loss=shown, **norm)
            results.append(found)
            return value

        if scaler.is_enabled():
            closure()
            scaler.step(self.optimizer)
            scaler.update()
        else:
            # Optimizers such as LBFGS call the closure several times in one step.
            self.optimizer.step(cast("Callable[[], float]", closure))
        return results[0]

    def _gradients(
        self, batches: list[Batch], forward: Forward, samples: int, first: int
    ) -> list[tuple[Tensor, Tensor]]:
        """Add the gradients of the batches of a step; return their losses and outputs."""
        backward, generator = cast(Backward, self.precision.backward), self.generators[0]
        if self.shards is not None:
            place = self.epoch + 1, first
            return self.shards.gradients(self.net, self.rule, forward, self.loss, batches, generator, backward, place)
        found = []
        for batch in batches:
            scaled = _scaled(backward, batch.y.shape[0] / samples) if len(batches) > 1 else backward
            loss = batch.loss(self.loss)
            found.append(self.rule.gradients(forward, batch.x, batch.y, loss, generator, backward=scaled))
        return found

    def _wake(self, x: Tensor) -> None:
        if not start.wake(self.net, x, scale=self.wake):
            return
        if self.own_optimizer:
            self.optimizer = default_optimizer(self.net)
        if self.average is not None:
            self.average = Average(self.net, self.average.decay)

    def _warn_of_untrained(self) -> None:
        names = [name for name, value in self.net.named_parameters() if value.requires_grad and value.grad is None]
        if names:
            warnings.warn(
                f"no gradient reaches {', '.join(names)}: {self.rule!r} will not train them. Under SLTT no "
                "gradient passes a delay. Connect them to the output, or set requires_grad to False.",
                stacklevel=4,
            )

    @staticmethod
    def _step_scheduler(scheduler: Scheduler, watched: Any) -> None:
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(float(watched))
        else:
            scheduler.step()

    def averaged(self) -> contextlib.AbstractContextManager[Any]:
        """Context in which the network has the average of its parameters, if there is one."""
        return contextlib.nullcontext() if self.average is None else self.average.applied(self.net)

    def finish_epoch(self, row: dict[str, Any]) -> None:
        """Count the epoch, step the scheduler and write the checkpoints."""
        watched = self.watch.value(row)
        if self.scheduler is not None and self.scheduler_per == "epoch":
            self._step_scheduler(self.scheduler, watched)
        self.rows.append(row)
        self.epoch += 1
        if self.watch.improves(watched):
            with self.averaged():
                self.save("best.pt")
        self.save("last.pt")

    def save(self, name: str) -> None:
        """Write network and progress to the run's folder, if it has one; of several ranks the first writes."""
        if self.folder is None:
            return
        if self.shards is None:
            save_checkpoint(self.folder / name, self.net, training=self._state())
            return
        with self.shards.ranks.together(f"writing {name}"):
            if self.shards.ranks.is_first:
                save_checkpoint(self.folder / name, self.net, training=self._state())

    def resume(self) -> None:
        """Load everything from `last.pt`, or nothing when a part does not fit."""
        if self.folder is None:
            return
        file = self.folder / "last.pt"
        if not file.exists():
            raise FileError(f"there is no {file} to resume from. Start the run with resume=False.")
        saved = load_checkpoint(file)
        training = self._checked(file, saved)
        before = copy.deepcopy((self._state(), self.net.state_dict()))
        optimizer = self.optimizer
        try:
            if self.own_optimizer:
                start.restore(self.net, {**training["start"], "drawn": ()})
                self.optimizer = default_optimizer(self.net)
            resuming.check_optimizer(file, training["optimizer"]["state"], self.optimizer)
            self._load(training, saved.network)
        except Exception as error:
            self.optimizer = optimizer
            self._load(*before)
            if isinstance(error, NeurosimError):
                raise
            # Any part may fail in its own way on content that was edited.
            raise FileError(
                f"{file} is damaged ({type(error).__name__}: {error}). Nothing was loaded; use another file."
            ) from error

    def _load(self, training: dict[str, Any], network: Mapping[str, Tensor]) -> None:
        self.rule.load_state_dict(training["rule_state"])
        self.optimizer.load_state_dict(training["optimizer"]["state"])
        self.net.load_state_dict(network)
        start.restore(self.net, training["start"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(training["scheduler"]["state"])
        if self.average is not None:
            for name, value in training["average"].items():
                self.average.values[name].copy_(value)
        self.precision.scaler.load_state_dict(training["scaler"])
        self.settings = training["settings"]
        self.epoch, self.rows = training["epoch"], training["rows"]
        self.watch.best, self.watch.waited = training["best"], training["waited"]
        random_state.restore(training["random"], self.generators)

    def _state(self) -> dict[str, Any]:
        scheduler = None if self.scheduler is None else self.scheduler.state_dict()
        return {
            "run": self.description(),
            "settings": self.settings,
            "epoch": self.epoch,
            "best": self.watch.best,
            "waited": self.watch.waited,
            "rows": self.rows,
            "rule_state": self.rule.state_dict(),
            "optimizer": {"state": self.optimizer.state_dict()},
            "scheduler": {"state": scheduler},
            "average": {} if self.average is None else self.average.values,
            "scaler": self.precision.scaler.state_dict(),
            "start": start.state(self.net),
            "random": random_state.capture(self.generators),
        }

    def description(self) -> dict[str, Any]:
        """Return the arguments on which the results of the run depend, as plain data."""
        return {
            "rule": repr(self.rule),
            "loss": repr(self.loss),
            "optimizer": type(self.optimizer).__name__,
            "default optimizer": self.own_optimizer,
            "scheduler": "none" if self.scheduler is None else type(self.scheduler).__name__,
            "scheduler_per": self.scheduler_per,
            "clip": self.clip,
            "accumulate": self.accumulate,
            "average": None if self.average is None else self.average.decay,
            "keep_signs": self.keep_signs,
            "shards": None if self.shards is None else self.shards.number,
            "watch": repr(self.watch),
            "seed": self.seed,
            "mixed_precision": str(self.precision.dtype),
            "gradient scaling": self.precision.scaler.is_enabled(),
        }

    def _checked(self, file: Path, saved: Checkpoint) -> dict[str, Any]:
        """Return the saved state of training after checking that all of it fits."""
        training, now = saved.training, self._state()
        if training is None:
            raise FileError(f"{file} holds a network but no run to resume. Load its weights with load_checkpoint.")
        if not isinstance(training, dict) or training.keys() != now.keys():
            raise FileError(f"{file} lacks what a run needs to resume. Load its weights with load_checkpoint.")
        check_fits(file, saved.network, self.net)
        check_same(file, saved.description, self.net)
        for name in ("run", "settings", "optimizer", "scheduler"):
            if not isinstance(training[name], dict) or training[name].keys() != now[name].keys():
                raise resuming.damaged(file, name)
        resuming.check_description(file, training["run"], now["run"])
        resuming.check_random(file, training["random"], now["random"])
        resuming.check_progress(file, training)
        resuming.check_start(file, training["start"])
        for name in ("scheduler", "average", "scaler"):
            resuming.check_form(file, name, training[name], now[name])
        if not isinstance(training["rule_state"], dict):
            raise resuming.damaged(file, "rule_state")
        if not self.own_optimizer:
            resuming.check_optimizer(file, training["optimizer"]["state"], self.optimizer)
            # Those of a run in the same program may have moved since it began.
            moved = {
                "optimizer": training["optimizer"]["state"]["param_groups"],
                "scheduler": training["scheduler"]["state"],
            }
            groups = [{k: v for k, v in group.items() if k != "params"} for group in moved["optimizer"]]
            allowed = (training["settings"]["optimizer"], groups)
            resuming.check_settings(file, f"optimizer {now['run']['optimizer']}", self.settings["optimizer"], allowed)
            # Of a schedule that goes on with another length, for example.
            free = getattr(self.scheduler, "may_change", ())
            before, after, here = (
                resuming.without(each, free)
                for each in (training["settings"]["scheduler"], moved["scheduler"], self.settings["scheduler"])
            )
            resuming.check_settings(file, f"scheduler {now['run']['scheduler']}", here, (before, after))
        return training


def _mean(values: list[Tensor], shares: list[float]) -> float | Tensor:
    """Return the mean of losses by the shares of their samples, on CUDA as a tensor."""
    if not is_late(values[0].device):
        return sum(float(value) * share for value, share in zip(values, shares, strict=True))
    if len(values) == 1:
        return values[0].detach()
    return torch.stack([value.detach() * share for value, share in zip(values, shares, strict=True)]).sum()


def _scaled(backward: Backward, share: float) -> Backward:
    return lambda value: backward(value * share)
