"""Train spiking layers on MNIST by forward-forward, each on its own goodness, and by BPTT beside it.

    python examples/forward_forward.py --data-root FOLDER_WITH_THE_IDX_FILES

Each image is shown for some steps with its class in the first ten pixels, once with the right class and once with a
wrong one. Two layers of spiking neurons learn to be active on the first and quiet on the second; no gradient passes
from one to the other. A class is told by trying all ten. BPTT trains the same neurons and a readout on the same
images, without a class shown. Accuracies on the test images and times go to ``runs/forward_forward/result.json``.
With ``--quick`` and no data the digits are those that scikit-learn ships.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path

import torch

import neurosim as ns
from neurosim.datasets import Split, digits, direct, mnist
from neurosim.files.atomic import replaced
from neurosim.learning import ForwardForward, Goodness

DT = 1e-3


def neurons() -> ns.Neuron:
    """Return a layer of neurons."""
    return ns.LIF(tau_mem=5e-3, r=5.0, dt=DT, spike=ns.triangle())


def run(rule: ns.Rule, data: Split, args: argparse.Namespace, seed: int) -> dict[str, float | int | str]:
    """Train one network and return what came out."""
    torch.manual_seed(seed)
    inputs = data.train.x.shape[1]
    layers: list[ns.Linear | ns.Neuron] = [
        ns.Linear(inputs, args.hidden),
        neurons(),
        ns.Linear(args.hidden, args.hidden),
        neurons(),
    ]
    if isinstance(rule, ForwardForward):
        net: torch.nn.Module = Goodness(ns.Sequential(*layers), 10, strength=3.0)
        rate = args.learning_rate
    else:
        net = ns.Sequential(*layers, ns.Linear(args.hidden, 10), ns.LI(tau_mem=5e-3, r=5.0, dt=DT))
        rate = 2e-3
    encoder = direct(args.steps)
    optimizer = torch.optim.Adam(net.parameters(), rate)
    start = time.perf_counter()
    ns.fit(
        net,
        data.train.batches(args.batch_size, seed=seed, encoder=encoder),
        rule=rule,
        optimizer=optimizer,
        scheduler=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs),
        epochs=args.epochs,
        seed=seed,
    )
    seconds = time.perf_counter() - start
    accuracy = ns.evaluate(net, data.test.batches(500, encoder=encoder, shuffle=False))["accuracy"]
    print(f"{rule!r} seed {seed}: {accuracy:.2%} on {len(data.test)} test images, {seconds:.0f} s", flush=True)
    return {"rule": repr(rule), "seed": seed, "test_accuracy": accuracy, "seconds": round(seconds, 1)}


def main() -> None:
    """Train with both rules and every seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", help="folder of MNIST's idx files; NEUROSIM_DATA if left out")
    parser.add_argument("--images", type=int, default=60000, help="training images to use")
    parser.add_argument("--test-images", type=int, default=10000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--hidden", type=int, default=300)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=5e-3, help="of forward-forward")
    parser.add_argument("--threshold", type=float, default=10.0, help="goodness between right and wrong")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--quick", action="store_true", help="600 images, six epochs: to see that it runs")
    parser.add_argument("--out", type=Path, default=Path("runs/forward_forward/result.json"))
    args = parser.parse_args()
    if args.quick:
        args.images, args.epochs, args.hidden, args.batch_size = min(args.images, 600), 6, 100, 32
    data = (digits() if args.quick and args.data_root is None else mnist(args.data_root)).flat()
    data = dataclasses.replace(
        data, train=data.train.subset(slice(args.images)), test=data.test.subset(slice(args.test_images))
    )
    rules = (ForwardForward(threshold=args.threshold), ns.BPTT())
    results = [run(rule, data, args, seed) for seed in args.seeds for rule in rules]
    with replaced(args.out) as part:
        part.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
