"""Train a 784-128-10 spiking network on MNIST with SLTT, OTTT and BPTT, 50 steps per digit.

    python examples/mnist.py --data-root FOLDER_WITH_THE_IDX_FILES

All rules use the same network, the same batches and the same loss (cross-entropy at every step on the membrane of a
leaky readout). SLTT and OTTT keep the graph of a few steps at a time, BPTT that of all 50. Accuracies on the 10,000
test images and times are printed and written to ``runs/mnist/result.json``.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

import neurosim as ns
from neurosim.datasets import direct, mnist
from neurosim.files.atomic import replaced

STEPS = 50
DT = 1e-3


def network(seed: int) -> ns.Network:
    """Return the untrained network."""
    torch.manual_seed(seed)
    neurons = dict(tau_mem=5e-3, r=5.0, dt=DT)
    return ns.Sequential(
        ns.Linear(784, 128),
        ns.LIF(**neurons, spike=ns.triangle()),
        ns.Linear(128, 10),
        ns.LI(**neurons),
        names=("hidden", "output"),
    )


def train(rule: ns.Rule, args: argparse.Namespace) -> dict[str, float | str]:
    """Train with one rule and return its accuracy and time."""
    data = mnist(args.data_root).flat()
    train_set = data.train.subset(slice(2000)) if args.quick else data.train
    test_set = data.test.subset(slice(1000)) if args.quick else data.test
    epochs = 1 if args.quick else args.epochs
    net = network(args.seed)
    optimizer = torch.optim.Adam(net.parameters(), lr=args.learning_rate)
    start = time.perf_counter()
    ns.fit(
        net,
        train_set.batches(args.batch_size, seed=args.seed, encoder=direct(STEPS)),
        rule=rule,
        loss=ns.CrossEntropy(),
        optimizer=optimizer,
        scheduler=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs),
        epochs=epochs,
        seed=args.seed,
    )
    seconds = time.perf_counter() - start
    scores = ns.evaluate(net, test_set.batches(500, encoder=direct(STEPS), shuffle=False), loss=ns.CrossEntropy())
    print(
        f"{rule}: {scores['accuracy']:.2%} on {len(test_set)} test images, {epochs} epochs in {seconds:.0f} s",
        flush=True,
    )
    return {"rule": repr(rule), "test_accuracy": scores["accuracy"], "seconds": round(seconds, 1), "epochs": epochs}


def main() -> None:
    """Train with each rule and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", help="folder of MNIST's idx files; NEUROSIM_DATA if omitted")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--learning-rate", type=float, default=4e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="2,000 images, one epoch, as a check that it runs")
    parser.add_argument("--out", type=Path, default=Path("runs/mnist/result.json"))
    args = parser.parse_args()
    results = [train(rule, args) for rule in (ns.SLTT(), ns.OTTT(), ns.BPTT())]
    with replaced(args.out) as part:
        part.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
