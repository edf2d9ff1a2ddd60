"""Train spiking layers on MNIST by forward-forward, each on its own goodness, and for comparison by BPTT.

    python examples/forward_forward.py --data-root FOLDER_WITH_THE_IDX_FILES

Each image is presented for some steps with a class in its first ten pixels, once with the right class and once with a
wrong one. Two layers of spiking neurons learn to be active on the former and quiet on the latter; no gradient passes
between them. At test time every class is tried; the one with the highest goodness wins. BPTT trains the same neurons
and a readout on the same images, without a class in them. Accuracies on the test images and times are written to
``runs/forward_forward/result.json``. With ``--quick`` and no data it uses the digits of scikit-learn.
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
    """Train one network and return the result."""
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
    parser.add_argument("--data-root", help="folder of MNIST's idx files; NEUROSIM_DATA if omitted")
    parser.add_argument("--images", type=int, default=60000, help="number of training images")
    parser.add_argument("--test-images", type=int, default=10000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--hidden", type=int, default=300)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=5e-3, help="learning rate of forward-forward")
    parser.add_argument("--threshold", type=float, default=10.0, help="goodness that separates right from wrong")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--quick", action="store_true", help="600 images, six epochs, as a check that it runs")
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
