"""Quantise a trained network for Loihi: accuracy in integers against the bits of the weights.

    python examples/quantise.py --quick
    python examples/quantise.py --task mnist --data-root FOLDER_WITH_THE_IDX_FILES
    python examples/quantise.py --task nmnist --data-root FOLDER_WITH_THE_RECORDINGS

A network is trained in floating point, then run in the chip's integers with weights of 8, 6, 4 and 3 bits, and trained
further for a few epochs with weights of 4 and 3 bits. ``--quick`` does so on the digits of scikit-learn. For N-MNIST
the folder contains ``nmnist_small_bs2.tar.xz``, ``train1K.txt`` and ``test100.txt``: 1000 training and 100 test
recordings, as in SLAYER's repository. Training in floating point writes checkpoints below ``--out`` and continues from
them. The results are ``result.json`` and ``bits.png``. ``--lava 20`` also runs the 8-bit network on 20 samples as
Lava's fixed-point processes and compares every spike, current and voltage.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import neurosim as ns
from neurosim.datasets import Labelled, digits, mnist, nmnist_events, rate
from neurosim.files.archives import tar_members
from neurosim.files.atomic import replaced
from neurosim.hardware.lava import verify
from neurosim.hardware.quantise import accuracy_against_bits, quantise
from neurosim.report import bits_curve, save_figure

LOSS = ns.RateCrossEntropy()
Batches = Iterable[tuple[Tensor, Tensor]]


class Task:
    """A network, training batches, test batches, and samples to select scales with."""

    def __init__(self, net: ns.Network, train: Batches, test: Batches, samples: Tensor, epochs: int, lr: float) -> None:
        self.net, self.train, self.test, self.samples, self.epochs, self.lr = net, train, test, samples, epochs, lr


def images(quick: bool, root: str | None, seed: int) -> Task:
    """Return 784-128-10 (64-32-10 on the digits) LIF neurons with rate-coded pixels."""
    data = (digits() if quick else mnist(root)).flat()
    encoder = rate(25, max_rate=500.0, dt=1e-3)
    neurons: dict[str, Any] = dict(tau_mem=10e-3, r=10.0, dt=1e-3, spike=ns.atan(2.0))
    n_in, hidden = (64, 32) if quick else (784, 128)
    net = ns.Sequential(
        ns.Linear(n_in, hidden, bias=True),
        ns.LIF(**neurons),
        ns.Linear(hidden, 10, bias=True),
        ns.LIF(**neurons),
        names=("hidden", "output"),
    )
    train = data.train.batches(64 if quick else 256, seed=seed, encoder=encoder)
    samples, _ = next(iter(data.train.batches(200, seed=seed, encoder=encoder)))
    test = data.test.batches(500, encoder=encoder, shuffle=False)
    return Task(net, train, test, samples, 6, 3e-3)


def recordings(root: Path, seed: int) -> Task:
    """Return the convolutional network of the NIR paper's N-MNIST task, IF neurons, 60 steps of 5 ms."""
    dt, steps, shape = 5e-3, 60, (2, 34, 34)
    files = tar_members(root / "nmnist_small_bs2.tar.xz", lambda name: name.endswith(".bs2"))
    events = {int(Path(name).stem): nmnist_events(name, content) for name, content in files}

    def part(name: str) -> Labelled:
        lines = (root / name).read_text().splitlines()
        pairs = (line.split() for line in lines if line and not line.startswith("#"))
        labels = {int(number): int(label) for number, label in pairs}
        grids = []
        for number in labels:
            microseconds, place = events[number]
            seconds = microseconds * 1e-6
            inside = seconds < steps * dt
            spikes = ns.Events(time=seconds[inside], neuron=place[inside], duration=steps * dt, shape=shape)
            grids.append(spikes.binned(dt, steps).to_grid(binary=True)[:, 0])
        return Labelled(torch.stack(grids), torch.tensor(list(labels.values())), tuple(map(str, range(10))), timed=True)

    train, test = part("train1K.txt"), part("test100.txt")
    neurons: dict[str, Any] = dict(dt=dt, spike=ns.atan(2.0))
    net = ns.Sequential(
        ns.Input(shape),
        *(ns.Conv2d(2, 16, 5, stride=2, padding=1), ns.IF(**neurons)),
        *(ns.Conv2d(16, 16, 3, padding=1), ns.IF(**neurons)),
        *(ns.SumPool2d(2), ns.Conv2d(16, 8, 3, padding=1), ns.IF(**neurons)),
        *(ns.SumPool2d(2), ns.Flatten(), ns.Linear(128, 256), ns.IF(**neurons)),
        *(ns.Linear(256, 10), ns.IF(**neurons)),
        names=("conv1", "conv2", "conv3", "hidden", "output"),
    )
    with torch.no_grad():  # so that spikes reach the output from the first training step on
        for weight in net.parameters():
            weight.mul_(3.0 if weight.dim() == 4 else 2.0)
    samples, _ = next(iter(train.batches(32, seed=seed)))
    return Task(net, train.batches(32, seed=seed), test.batches(100, shuffle=False), samples, 12, 2e-3)


def fit(net: ns.Network, task: Task, epochs: int, lr: float, seed: int, folder: Path | None) -> None:
    """Train, continuing from the folder's checkpoint if there is one."""
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)
    ns.fit(
        net,
        task.train,
        rule=ns.BPTT(),
        loss=LOSS,
        optimizer=optimizer,
        scheduler=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs),
        epochs=epochs,
        checkpoint=folder,
        resume=folder is not None and (folder / "last.pt").is_file(),
        seed=seed,
    )


def on_lava(task: Task, samples: int) -> dict[str, Any]:
    """Run the 8-bit network on Lava's fixed-point models and return the comparison."""
    whole = quantise(task.net, task.samples, bits=8).net
    x, _ = next(iter(task.test))
    result = verify(whole, x[:, :samples], together=True, timeout=3600.0)
    print(result.summary())
    return json.loads(result.to_json())


def main() -> None:
    """Train, quantise, train further, write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", choices=("digits", "mnist", "nmnist"), default="mnist")
    parser.add_argument("--quick", action="store_true", help="scikit-learn's digits, which need no folder")
    parser.add_argument("--data-root", help="folder of the data; for MNIST's idx files NEUROSIM_DATA if omitted")
    parser.add_argument("--epochs", type=int, help="epochs of training in floating point")
    parser.add_argument(
        "--train-epochs", type=int, default=2, help="epochs of further training in integers; 0 for none"
    )
    parser.add_argument("--lava", type=int, default=0, metavar="N", help="test samples to run on Lava too")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="runs/quantise/TASK if omitted")
    args = parser.parse_args()
    name = "digits" if args.quick else args.task
    out: Path = args.out or Path("runs/quantise") / name
    torch.manual_seed(args.seed)
    if name == "nmnist":
        if args.data_root is None:
            parser.error("--task nmnist needs --data-root, the folder of nmnist_small_bs2.tar.xz")
        task = recordings(Path(args.data_root), args.seed)
    else:
        task = images(name == "digits", args.data_root, args.seed)
    start = time.perf_counter()
    fit(task.net, task, args.epochs or task.epochs, task.lr, args.seed, out / "real")
    trained = time.perf_counter() - start
    epochs = args.train_epochs
    report = accuracy_against_bits(
        task.net,
        task.samples,
        task.test,
        LOSS,
        bits=(8, 6, 4, 3),
        train=lambda net: fit(net, task, epochs, task.lr / 10, args.seed, None),
        train_bits=(4, 3) if epochs else (),
    )
    seconds = time.perf_counter() - start
    print(
        f"{name}, seed {args.seed}: {trained:.0f} s of training in floating point, {seconds - trained:.0f} s after that"
    )
    print(report.table())
    lava = on_lava(task, args.lava) if args.lava else None
    with replaced(out / "result.json") as part:
        found = {"task": name, "seed": args.seed, "seconds": round(seconds, 1), "results": report.to_json()}
        if lava:
            found["lava"] = lava
        part.write_text(json.dumps(found, indent=2) + "\n")
    save_figure(bits_curve(report, title=f"{name}: accuracy in integers"), out / "bits.png")


if __name__ == "__main__":
    main()
