"""Train a spiking network with Lightning, which is not needed otherwise: ``pip install lightning``.

    python examples/lightning_module.py

The state of the network starts anew in every batch, so that a `LightningModule` needs nothing special. The gradients
are those of backpropagation through time. Another rule calls the backward pass itself in `rule.gradients` and needs
``automatic_optimization = False``, as ``--rule sltt`` shows.
"""

from __future__ import annotations

import argparse
from typing import Any

import lightning  # type: ignore[import-not-found, unused-ignore]
import torch
from torch import Tensor

import neurosim as ns
from neurosim.datasets import digits, rate

DT = 1e-3


class Classifier(lightning.LightningModule):  # type: ignore[misc, unused-ignore]
    """A spiking classifier of digits."""

    def __init__(self, rule: ns.Rule | None = None) -> None:
        super().__init__()
        neurons = ns.LIF(tau_mem=5e-3, r=5.0, dt=DT, spike=ns.triangle())
        self.net = ns.Sequential(ns.Linear(64, 128), neurons, ns.Linear(128, 10), ns.LI(dt=DT))
        self.loss, self.rule = ns.CrossEntropy(), rule
        self.automatic_optimization = rule is None

    def training_step(self, batch: tuple[Tensor, Tensor], number: int) -> Tensor:
        """Return the loss; a rule that calls the backward pass itself steps the optimizer here."""
        x, y = batch
        if self.rule is None:
            return self.loss(self.net(x)[0], y)
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        value, _ = self.rule.gradients(self.net, x, y, self.loss, backward=self.manual_backward)
        optimizer.step()
        return value

    def validation_step(self, batch: tuple[Tensor, Tensor], number: int) -> None:
        """Log the accuracy."""
        x, y = batch
        predicted = self.loss.prediction(self.net(x)[0])
        self.log("accuracy", (predicted == y).float().mean(), batch_size=len(y))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer."""
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def main() -> None:
    """Train and print the accuracy on the test digits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--rule", choices=("bptt", "sltt"), default="bptt")
    args = parser.parse_args()
    lightning.seed_everything(0, verbose=False)
    data = digits().flat()
    train = data.train.batches(64, encoder=rate(20, max_rate=500.0, dt=DT))
    test = data.test.batches(360, encoder=rate(20, max_rate=500.0, dt=DT), shuffle=False)
    quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
    trainer = lightning.Trainer(max_epochs=args.epochs, accelerator="cpu", **quiet)
    trainer.fit(Classifier(ns.SLTT() if args.rule == "sltt" else None), train, test)
    print(f"test accuracy {float(trainer.callback_metrics['accuracy']):.3f}")


if __name__ == "__main__":
    main()
