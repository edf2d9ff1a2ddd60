"""Train convolutional networks with BPTT, SLTT and SLTT-K by the recipe of the SLTT paper, scaled down to MNIST.

    python examples/sltt_conv.py --data-root FOLDER_WITH_THE_IDX_FILES

Two kinds of network: with batch normalisation of each step's currents, and without normalisation of currents but with
standardised weights. From the paper: neurons (tau = 1.1 steps, soft reset, triangle surrogate), 6 steps, the loss (0.95
cross-entropy and 0.05 squared error at every step), SGD with momentum 0.9 from 0.1 down a cosine, batches of 128; BPTT
also differentiates the reset. Different here: two small convolutions and a few epochs on part of MNIST. Each run prints
the accuracy on the test images, the time per epoch and the most bytes that autograd held for one batch. Everything is
written to ``runs/sltt_conv/result.json`` after every run, and ``--resume`` skips the runs in it. With ``--quick`` and
no data it uses the digits of scikit-learn.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import neurosim as ns
from neurosim.datasets import Split, digits, direct, mnist
from neurosim.files.atomic import replaced
from neurosim.learning import CrossEntropyMSE
from neurosim.network import fold
from neurosim.synapses import BatchNorm, Standardised

DT, STEPS, LEAK = 1e-3, 6, 1 - 1 / 1.1
LOSS = CrossEntropyMSE(weight=0.05)


def network(kind: str, side: int, channels: int, seed: int) -> ns.Network:
    """Return the untrained network; `kind` is "batch-norm" or "norm-free"."""
    torch.manual_seed(seed)

    def neurons() -> ns.Neuron:
        # u[t] = leak u[t-1] + I[t]: the input is not divided by tau.
        return ns.LIF(
            tau_mem=-DT / math.log(LEAK),
            r=1 / (1 - LEAK),
            dt=DT,
            spike=ns.triangle(),
            reset="subtract",
            detach_reset=False,
        )

    def conv(c_in: int, c_out: int) -> tuple[ns.Conv2d | Standardised | BatchNorm, ...]:
        weights = ns.Conv2d(c_in, c_out, 3, padding=1, bias=kind == "norm-free")
        return (weights, BatchNorm(c_out)) if kind == "batch-norm" else (Standardised(weights, scale=2.74),)

    return ns.Sequential(
        ns.Input((1, side, side)),
        *conv(1, channels),
        neurons(),
        ns.AvgPool2d(2),
        *conv(channels, 2 * channels),
        neurons(),
        ns.AvgPool2d(2),
        ns.Flatten(),
        ns.Linear(2 * channels * (side // 4) ** 2, 10, bias=True),
        ns.LI(tau_mem=2e-5, dt=DT),  # no memory: the current itself
        names=("one", "two", "output"),
    )


class Held:
    """Bytes that autograd holds for the backward pass: current and maximum."""

    now = peak = 0

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        Held.now += tensor.nbytes
        Held.peak = max(Held.peak, Held.now)

    def __del__(self) -> None:
        Held.now -= self.tensor.nbytes


def memory(net: ns.Network, rule: ns.Rule, x: Tensor, y: Tensor) -> int:
    """Return the most bytes held for the gradients of one batch."""
    Held.peak = Held.now
    with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.tensor):
        rule.gradients(net, x, y, LOSS)
    net.zero_grad()
    return Held.peak - Held.now


def run(kind: str, rule: ns.Rule, data: Split, args: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Train one network and return the result."""
    net = network(kind, data.train.x.shape[-1], args.channels, seed)
    train = data.train.batches(args.batch_size, seed=seed, encoder=direct(STEPS))
    test = data.test.batches(500, encoder=direct(STEPS), shuffle=False)
    held = memory(net, rule, *next(iter(train)))
    net = network(kind, data.train.x.shape[-1], args.channels, seed)  # with initial running statistics
    optimizer = torch.optim.SGD(net.parameters(), args.learning_rate, momentum=0.9, weight_decay=5e-5)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs)
    history = ns.fit(
        net, train, rule=rule, loss=LOSS, optimizer=optimizer, scheduler=schedule, epochs=args.epochs, seed=seed
    )
    accuracy = ns.evaluate(net, test, LOSS)["accuracy"]
    folded = ns.evaluate(fold(net), test, LOSS)["accuracy"]
    seconds = sum(history["seconds"]) / args.epochs
    print(
        f"{kind:10} {rule!r:24} seed {seed}: {accuracy:.2%} ({folded:.2%} folded), {seconds:.1f} s per epoch, "
        f"{held / 1e6:.1f} MB held",
        flush=True,
    )
    return {
        "network": kind,
        "rule": repr(rule),
        "seed": seed,
        "test_accuracy": accuracy,
        "folded_accuracy": folded,
        "seconds_an_epoch": round(seconds, 2),
        "bytes_held": held,
    }


def images(args: argparse.Namespace) -> Split:
    """Return MNIST, or for a quick run without data the small digits."""
    data = digits() if args.quick and args.data_root is None else mnist(args.data_root)
    return dataclasses.replace(
        data,
        train=data.train.subset(slice(args.images)),
        test=data.test.subset(slice(args.test_images)),
    )


def main() -> None:
    """Train each kind of network with each rule."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", help="folder of MNIST's idx files; NEUROSIM_DATA if omitted")
    parser.add_argument("--images", type=int, default=10000, help="number of training images")
    parser.add_argument("--test-images", type=int, default=10000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument(
        "--channels", type=int, default=12, help="channels of the first convolution; the second has twice as many"
    )
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--quick", action="store_true", help="600 images, two epochs, as a check that it runs")
    parser.add_argument("--resume", action="store_true", help="continue after the runs in the result file")
    parser.add_argument("--out", type=Path, default=Path("runs/sltt_conv/result.json"))
    args = parser.parse_args()
    if args.quick:
        args.images, args.epochs, args.batch_size = min(args.images, 600), 2, 32
    data = images(args)
    results = json.loads(args.out.read_text()) if args.resume and args.out.exists() else []
    done = {(each["network"], each["rule"], each["seed"]) for each in results}
    for seed in args.seeds:
        for kind in ("batch-norm", "norm-free"):
            for rule in (ns.BPTT(), ns.SLTT(chunk=1), ns.SLTT(k=2, chunk=1)):
                if (kind, repr(rule), seed) in done:
                    continue
                results.append(run(kind, rule, data, args, seed))
                with replaced(args.out) as part:
                    part.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
