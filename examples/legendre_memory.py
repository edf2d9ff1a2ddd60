"""A window of the past in a few numbers: the linear delay line, and L2MU, its spiking relative, on Braille letters.

    python examples/legendre_memory.py
    python examples/legendre_memory.py --data-root FOLDER

Without data the error of the linear memory is printed, for the matrix of the paper and for the transposed one of its
authors' program. The folder holds ``braille7_sigma_delta_unique1158.npz``, of the data of
github.com/neuromorphic-polito/L2MU-Braille (Apache-2.0): 1158 readings of 12 sensors, 7 letters, 256 steps of 5 ms; two
are counted as one. Sizes, first decays and thresholds are those of the authors' best run; epochs and learning rate are
ours. A variant is tested after its last epoch.
"""

from __future__ import annotations

import argparse
import functools
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from results import Results

import neurosim as ns
from neurosim.datasets import Labelled, braille
from neurosim.models import LegendreMemory, l2mu

BIN = 2  # steps of 5 ms that are counted as one


def error_of_past(order: int, theta: int, variant: Any) -> float:
    """Return the normalised error of a delay line at the end of its window, for input slower than a window."""
    t, rng = np.arange(20 * theta), np.random.default_rng(0)
    waves = [np.sin(2 * np.pi * f * t / theta + p) for f, p in rng.uniform((0.05, 0.0), (0.8, 6.0), (8, 2))]
    x = torch.from_numpy(sum(waves))[:, None]
    memory = LegendreMemory(order, float(theta), variant=variant).double()
    past, expected = memory.past(memory(x), 1.0)[5 * theta :, 0], x[4 * theta : -theta, 0]
    return float((past - expected).square().mean().sqrt() / expected.square().mean().sqrt())


def counted(part: Labelled) -> Labelled:
    """Return the readings with some steps counted as one."""
    x = part.x.unflatten(1, (-1, BIN)).sum(2)
    return Labelled(x, part.y, part.classes, timed=True)


def trial(parts: Any, variant: Any, seed: int, epochs: int) -> dict[str, Any]:
    """Train on the training part; return the accuracies on validation and test."""
    train, validation, test = (counted(parts[name]) for name in ("train", "validation", "test"))
    torch.manual_seed(seed)
    net = l2mu(12, len(train.classes), dt=5e-3 * BIN, variant=variant)
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=1.5e-3)
    start = time.perf_counter()
    ns.fit(
        net, train.batches(64, seed=seed), loss=ns.RateCrossEntropy(), optimizer=optimizer, epochs=epochs, seed=seed,
        clip=1.0, progress=False, wake=False,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    found = {
        name: ns.evaluate(net, part.batches(100, shuffle=False), loss=ns.RateCrossEntropy())["accuracy"]
        for name, part in (("validation", validation), ("test", test))
    }
    return {**found, "seconds": round(seconds, 1), "parameters": sum(p.numel() for p in net.parameters())}


def main() -> None:
    """Print the error of the delay line, and train L2MU where there is data."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, help="folder with the readings")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--quick", action="store_true", help="one seed, one epoch")
    parser.add_argument("--out", type=Path, default=Path("runs/legendre/result.json"))
    args = parser.parse_args()
    for order, theta in ((4, 50), (6, 100), (12, 100)):
        errors = [error_of_past(order, theta, variant) for variant in ("paper", "code")]
        print(f"order {order}, window {theta}: error {errors[0]:.4f}, with the transposed matrix {errors[1]:.2f}")
    if args.data_root is None:
        return
    seeds, epochs = (args.seeds[:1], 1) if args.quick else (args.seeds, args.epochs)
    results, parts = Results(args.out, {"epochs": epochs}), braille(args.data_root)
    for variant in ("paper", "code"):
        rows = [
            results.once({"variant": variant, "seed": seed}, functools.partial(trial, parts, variant, seed, epochs))
            for seed in seeds
        ]
        shown = " / ".join(f"{100 * row['test']:.1f}" for row in rows)
        about = f"{rows[0]['parameters']} parameters, {rows[0]['seconds']} s a seed"
        print(f"{variant}: {shown} % of the test readings, {about}")


if __name__ == "__main__":
    main()
