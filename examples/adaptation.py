"""Adapt a digit classifier at test time to noise and to a loss of contrast, without labels, and measure the effect.

    python examples/adaptation.py --data-root FOLDER_WITH_THE_IDX_FILES

A small convolutional network with batch normalisation is trained on clean images. The test images are then corrupted
and presented once, batch after batch, to copies of the trained network: *source* (unchanged), *statistics* (batch
statistics only), *entropy* (and the modulator), *Hebbian* (and soft Hebbian weights), *both*; and, as a case where
adaptation fails, *both, sorted*, on batches of mostly one class. Each prediction is scored when its batch arrives.
Adaptation uses no labels, and its learning rates were chosen before any corrupted image was used. The method follows
neuro-modulated Hebbian learning, with our own equations: see `NeuromodulatedAdaptation`. Accuracies are written to
``runs/adaptation/result.json``. With ``--quick`` and no data it uses the digits of scikit-learn.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import neurosim as ns
from neurosim.datasets import Split, digits, direct, mnist
from neurosim.files.atomic import replaced
from neurosim.plasticity import NeuromodulatedAdaptation
from neurosim.synapses import BatchNorm

DT, STEPS = 1e-3, 6
ARMS: dict[str, dict[str, float | bool]] = {
    "source": {"rate": 0.0, "modulation": 0.0, "statistics": False},
    "statistics": {"rate": 0.0, "modulation": 0.0},
    "entropy": {"rate": 0.0, "modulation": 1e-3},
    "Hebbian": {"rate": 1e-3, "modulation": 0.0},
    "both": {"rate": 1e-3, "modulation": 1e-3},
    "both, sorted": {"rate": 1e-3, "modulation": 1e-3},
}


def network(side: int, channels: int, seed: int) -> ns.Network:
    """Return the untrained network."""
    torch.manual_seed(seed)
    neurons: dict[str, Any] = dict(tau_mem=2e-3, r=2.0, dt=DT, spike=ns.triangle())
    return ns.Sequential(
        ns.Input((1, side, side)),
        ns.Conv2d(1, channels, 3, padding=1),
        BatchNorm(channels),
        ns.LIF(**neurons),
        ns.AvgPool2d(2),
        ns.Conv2d(channels, 2 * channels, 3, padding=1),
        BatchNorm(2 * channels),
        ns.LIF(**neurons),
        ns.AvgPool2d(2),
        ns.Flatten(),
        ns.Linear(2 * channels * (side // 4) ** 2, 10),
        ns.LI(tau_mem=2e-3, r=2.0, dt=DT),
        names=("one", "two", "out"),
    )


def corrupted(x: Tensor, kind: str, seed: int) -> Tensor:
    """Return images with noise or less contrast."""
    if kind == "noise":
        return (x + 0.5 * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))).clamp(0, 1)
    if kind == "contrast":
        return 0.3 + 0.25 * (x - 0.3)
    return x


def score(net: ns.Network, arm: str, x: Tensor, y: Tensor, size: int) -> float:
    """Return the accuracy, each prediction made when its batch arrives."""
    adapted = NeuromodulatedAdaptation(copy.deepcopy(net), "input->one", **ARMS[arm])  # type: ignore[arg-type]
    order = torch.argsort(y, stable=True) if "sorted" in arm else torch.arange(len(y))
    right = 0
    for part in order.split(size):
        output = adapted(x[part].expand(STEPS, *x[part].shape))
        right += int(output.sum(0).argmax(1).eq(y[part]).sum())
    return right / len(y)


def run(data: Split, args: argparse.Namespace, seed: int) -> list[dict[str, float | int | str]]:
    """Train a network and score every arm on every corruption."""
    net, start = network(data.train.x.shape[-1], args.channels, seed), time.perf_counter()
    optimizer = torch.optim.Adam(net.parameters(), 5e-3)
    train = data.train.batches(args.batch_size, seed=seed, encoder=direct(STEPS))
    ns.fit(net, train, rule=ns.SLTT(), optimizer=optimizer, epochs=args.epochs, seed=seed)
    net.eval()
    print(f"seed {seed}: trained in {time.perf_counter() - start:.0f} s", flush=True)
    found: list[dict[str, float | int | str]] = []
    for kind in ("clean", "noise", "contrast"):
        x = corrupted(data.test.x, kind, seed)
        for arm in ARMS:
            accuracy = score(net, arm, x, data.test.y, args.test_batch)
            print(f"seed {seed}: {kind:9} {arm:13} {accuracy:.2%}", flush=True)
            found.append({"seed": seed, "corruption": kind, "arm": arm, "test_accuracy": accuracy})
    return found


def main() -> None:
    """Train and adapt with every seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", help="folder of MNIST's idx files; NEUROSIM_DATA if omitted")
    parser.add_argument("--images", type=int, default=10000, help="number of training images")
    parser.add_argument("--test-images", type=int, default=5000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--test-batch", type=int, default=100, help="images per batch of adaptation")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument(
        "--quick", action="store_true", help="600 images, two epochs, one seed, as a check that it runs"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/adaptation/result.json"))
    args = parser.parse_args()
    if args.quick:
        args.images, args.epochs, args.batch_size, args.seeds = min(args.images, 600), 2, 32, args.seeds[:1]
    data = digits() if args.quick and args.data_root is None else mnist(args.data_root)
    data = dataclasses.replace(
        data, train=data.train.subset(slice(args.images)), test=data.test.subset(slice(args.test_images))
    )
    results = [row for seed in args.seeds for row in run(data, args, seed)]
    with replaced(args.out) as part:
        part.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
