"""One training run: its state from batch to batch and epoch to epoch, and what a checkpoint saves."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from neurosim.errors import FileError, InputError
from neurosim.learning.losses import Loss
from neurosim.learning.rules.base import Rule
from neurosim.learning.training import random_state, start
from neurosim.learning.training.checkpoint import Checkpoint, check_fits, load_checkpoint, save_checkpoint
from neurosim.learning.training.evaluation import Batches, Means, check_finite, on_device, scores
from neurosim.learning.training.groups import parameter_groups
from neurosim.learning.training.metrics import Metric
from neurosim.learning.training.precision import Precision


@dataclass
class Run:
    """The arguments of a run, checked by `fit`, and its progress.

    The first of `generators` is that of the rule; the others are those of the data loader. With `own_optimizer` the
    optimizer is the default one.
    """

    net: nn.Module
    rule: Rule
    loss: Loss
    metrics: Mapping[str, Metric]
    optimizer: Optimizer
    scheduler: LRScheduler | ReduceLROnPlateau | None
    precision: Precision
    clip: float | None
    folder: Path | None
    generators: list[torch.Generator]
    own_optimizer: bool = False
    wake: bool = True
    epoch: int = 0
    best: float = math.inf
    waited: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)

    def train_epoch(self, train: Batches, tick: Callable[[], Any]) -> dict[str, Any]:
        """Train on the data once; return the row of the epoch."""
        set_epoch = getattr(train, "set_epoch", None)
        if set_epoch is not None:
            set_epoch(self.epoch)
        self.net.train()
        row = {"epoch": self.epoch + 1, "learning_rate": float(self.optimizer.param_groups[0]["lr"])}
        means = Means()
        for number, batch in enumerate(train, start=1):
            place = f"epoch {self.epoch + 1}, batch {number}"
            x, y = on_device(batch, self.net, self.loss, place)
            if number == 1 and self.epoch == 0:
                self._wake(x)
            value, output = self._step(x, y, place)
            if number == 1 and self.epoch == 0:
                self._warn_of_untrained()
            means.add(y.shape[0], scores(value, output, y, self.loss, self.metrics))
            tick()
        if not means.samples:
            raise InputError("train has no batch. Check the data set and the batch size.")
        return row | means.values()

    def _step(self, x: Tensor, y: Tensor, place: str) -> tuple[Tensor, Tensor]:
        """Compute the gradients of one batch and step; return the loss and the output before the step."""
        results: list[tuple[Tensor, Tensor]] = []
        scaler = self.precision.scaler

        def closure() -> float:
            self.optimizer.zero_grad()
            self.net.zero_grad()
            value, output = self.rule.gradients(
                self.precision.forward(self.net), x, y, self.loss, self.generators[0], backward=self.precision.backward
            )
            if scaler.is_enabled():
                scaler.unscale_(self.optimizer)
            trained = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
            total = get_total_norm([parameter.grad for parameter in trained if parameter.grad is not None])
            if self.clip is not None:
                clip_grads_with_norm_(trained, self.clip, total)
            check_finite(place, self.net, loss=float(value))
            # The scaler handles overflow: it skips the step and reduces the scale.
            if not scaler.is_enabled():
                check_finite(place, self.net, gradient=float(total))
            results.append((value, output))
            return float(value)

        if scaler.is_enabled():
            closure()
            scaler.step(self.optimizer)
            scaler.update()
        else:
            # Optimizers such as LBFGS call the closure several times in one step.
            self.optimizer.step(closure)
        return results[0]

    def _wake(self, x: Tensor) -> None:
        if start.wake(self.net, x, scale=self.wake) and self.own_optimizer:
            self.optimizer = default_optimizer(self.net)

    def _warn_of_untrained(self) -> None:
        names = [name for name, value in self.net.named_parameters() if value.requires_grad and value.grad is None]
        if names:
            warnings.warn(
                f"no gradient reaches {', '.join(names)}: {self.rule!r} will not train them. Under SLTT no "
                "gradient passes a delay. Connect them to the output, or set requires_grad to False.",
                stacklevel=4,
            )

    def finish_epoch(self, row: dict[str, Any]) -> None:
        """Count the epoch, step the scheduler and write the checkpoints."""
        watched = row.get("validation_loss", row["loss"])
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(watched)
        elif self.scheduler is not None:
            self.scheduler.step()
        self.rows.append(row)
        self.epoch += 1
        improved = watched < self.best
        self.waited = 0 if improved else self.waited + 1
        self.best = min(watched, self.best)
        if improved:
            self.save("best.pt")
        self.save("last.pt")

    def save(self, name: str) -> None:
        """Write network and progress to the run's folder, if it has one."""
        if self.folder is not None:
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
        if self.own_optimizer:
            start.restore(self.net, {**training["start"], "drawn": ()})
            self.optimizer = default_optimizer(self.net)
        before = copy.deepcopy(self.rule.state_dict())
        try:
            self.rule.load_state_dict(training["rule_state"])
            self.optimizer.load_state_dict(training["optimizer"]["state"])
        except ValueError as error:
            self.rule.load_state_dict(before)
            raise InputError(f"{file}: the optimizer's groups differ from those of the run ({error}).") from error
        self.net.load_state_dict(saved.network)
        start.restore(self.net, training["start"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(training["scheduler"]["state"])
        self.precision.scaler.load_state_dict(training["scaler"])
        for name in ("epoch", "best", "waited", "rows"):
            setattr(self, name, training[name])
        random_state.restore(training["random"], self.generators)

    def _state(self) -> dict[str, Any]:
        scheduler = None if self.scheduler is None else self.scheduler.state_dict()
        return {
            "epoch": self.epoch,
            "best": self.best,
            "waited": self.waited,
            "rows": self.rows,
            "rule": repr(self.rule),
            "rule_state": self.rule.state_dict(),
            "optimizer": {"kind": type(self.optimizer).__name__, "state": self.optimizer.state_dict()},
            "scheduler": {"kind": _kind(self.scheduler), "state": scheduler},
            "scaler": self.precision.scaler.state_dict(),
            "start": start.state(self.net),
            "random": random_state.capture(self.generators),
        }

    def _checked(self, file: Path, saved: Checkpoint) -> dict[str, Any]:
        """Return the saved state of training after checking that all of it fits."""
        training = saved.training
        if training is None:
            raise FileError(f"{file} holds a network but no run to resume. Load its weights with load_checkpoint.")
        if training.keys() != self._state().keys():
            raise FileError(f"{file} lacks what a run needs to resume. Load its weights with load_checkpoint.")
        check_fits(file, saved.network, self.net)
        for part, saved_as, now in (
            ("rule", training["rule"], repr(self.rule)),
            ("optimizer", training["optimizer"]["kind"], _kind(self.optimizer)),
            ("scheduler", training["scheduler"]["kind"], _kind(self.scheduler)),
            ("gradient scaling", bool(training["scaler"]), self.precision.scaler.is_enabled()),
            ("random generators", len(training["random"]["own"]), len(self.generators)),
        ):
            if saved_as != now:
                raise InputError(
                    f"{file}: the run used {part} {saved_as}, now it is {now}. Resume with the same, or "
                    "start a new run from its weights with load_checkpoint."
                )
        return training


def _kind(part: object) -> str:
    return "none" if part is None else type(part).__name__


def default_optimizer(net: nn.Module) -> Optimizer:
    """Return Adam over all parameters that need a gradient, with learning rate 1e-3 times the scale of the weights."""
    return Adam(parameter_groups(net, lr=1e-3))
