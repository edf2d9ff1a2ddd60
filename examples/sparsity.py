"""Accuracy against density, and what a sparse network saves on a chip.

    python examples/sparsity.py
    python examples/sparsity.py --data-root FOLDER_WITH_THE_IDX_FILES_OF_MNIST

A network of two layers is trained on images (64-128-10 on the digits of scikit-learn, 784-256-10 on MNIST), three seeds
each, dense and in three sparse ways: `magnitude`, gradual pruning by a cubic schedule (Zhu & Gupta 2017); `dynamic`,
sparse from the start with weights that are dropped and grow by their gradient (Evci et al. 2020); `neurons`, the most
active hidden neurons of the dense network, trained for a third of the epochs more. The settings are ours and the same
for all; nothing is selected on the test set. What remains is placed on Loihi with 8-bit weights: memory of synapses as
a share of one core's, and the energy of the synaptic events of the test images, estimated from published figures.
"""

from __future__ import annotations

import argparse
import functools
from pathlib import Path
from typing import Any

import numpy as np
import torch
from results import Results

import neurosim as ns
from neurosim.datasets import digits, mnist, rate
from neurosim.energy import count_operations, count_traffic, energy
from neurosim.hardware.placement import place
from neurosim.learning.sparsity import (
    CubicSparsity,
    DynamicSparsity,
    MagnitudePruning,
    mean_rates,
    most_active,
    sparsified,
    without_neurons,
)

CHIP = "loihi1"
KINDS = ("magnitude", "dynamic", "neurons")
LOSS = ns.RateCrossEntropy()
STEPS = 25


def network(n_in: int, hidden: int) -> ns.Network:
    """Return the untrained network."""
    neurons: dict[str, Any] = dict(tau_mem=10e-3, r=10.0, dt=1e-3, spike=ns.atan(2.0))
    return ns.Sequential(
        ns.Linear(n_in, hidden), ns.LIF(**neurons), ns.Linear(hidden, 10), ns.LIF(**neurons), names=("hidden", "output")
    )


def train(net: ns.Network, batches: Any, epochs: int, seed: int, sparsity: Any = None) -> None:
    """Train a network, pruned after each step by `sparsity`."""
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    options: dict[str, Any] = dict(loss=LOSS, optimizer=optimizer, scheduler=schedule, epochs=epochs, seed=seed)
    ns.fit(net, batches, on_batch=sparsity, progress=False, **options)


def trial(data: Any, kind: str, density: float, seed: int, epochs: int) -> dict[str, Any]:
    """Train one network; return its accuracy, its synapses, and what they take on the chip."""
    encoder = rate(STEPS, max_rate=500.0, dt=1e-3)
    batches = data.train.batches(64 if len(data.train) < 10_000 else 256, seed=seed, encoder=encoder)
    torch.manual_seed(seed)
    n_in = data.train.x.shape[1]
    net, steps = network(n_in, 128 if n_in < 100 else 256), epochs * len(batches)
    sparsity: Any = None
    if kind == "magnitude":
        sparsity = MagnitudePruning(net, CubicSparsity(1.0 - density, begin=0, end=3 * steps // 4), every=10)
    elif kind == "dynamic":
        sparsity = DynamicSparsity(net, density, every=20, until=3 * steps // 4, spread="erdos_renyi", seed=seed)
    train(net, batches, epochs, seed, sparsity)
    if sparsity is not None:
        sparsity.finish()
    if kind == "neurons":
        net = without_neurons(net, most_active(mean_rates(net, batches), 1.0 - density))
        train(net, batches, max(epochs // 3, 1), seed)
    net = sparsified(net, below=0.5)
    test = data.test.batches(500, shuffle=False, encoder=encoder)
    found = {"accuracy": ns.evaluate(net, test, loss=LOSS)["accuracy"]}
    placement = place(net, CHIP, weight_bits=8)
    x = next(iter(test))[0]
    column = energy(count_operations(net, x), CHIP, [count_traffic(net, x, placement)])[CHIP]
    weights: list[Any] = [edge.synapses[0].weight for edge in net.edges]
    return found | {
        "synapses": sum(int(torch.count_nonzero(weight)) for weight in weights),
        "neurons": sum(one.neurons for one in placement.populations),
        "core_memory": sum(one.as_one_core.get("synapse_memory_per_core", 0.0) for one in placement.populations),
        "joules": column.total,
    }


def main() -> None:
    """Train all networks and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data-root", type=Path, help="folder with the files of MNIST; else the digits of scikit-learn"
    )
    parser.add_argument("--densities", type=float, nargs="+", default=[0.5, 0.2, 0.1, 0.05])
    parser.add_argument("--epochs", type=int, help="30 for the digits, 8 for MNIST")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--quick", action="store_true", help="one density, one seed, two epochs")
    parser.add_argument("--out", type=Path, default=Path("runs/sparsity/result.json"))
    args = parser.parse_args()
    data = (digits() if args.data_root is None else mnist(args.data_root)).flat()
    epochs = args.epochs or (2 if args.quick else 30 if args.data_root is None else 8)
    seeds, densities = (args.seeds[:1], args.densities[1:2]) if args.quick else (args.seeds, args.densities)
    results = Results(args.out, {"data": "digits" if args.data_root is None else "mnist", "epochs": epochs})
    cases = [("dense", 1.0), *((kind, density) for density in densities for kind in KINDS)]
    print(f"{'':22}{'accuracy':>16}{'synapses':>10}{'neurons':>9}{'of a core':>11}{'uJ an image':>13}")
    for kind, density in cases:
        rows = [
            results.once(
                {"kind": kind, "density": density, "seed": seed},
                functools.partial(trial, data, kind, density, seed, epochs),
            )
            for seed in seeds
        ]
        mean = {name: float(np.mean([row[name] for row in rows])) for name in rows[0] if name not in ("kind", "seed")}
        spread = float(np.std([row["accuracy"] for row in rows]))
        print(
            f"{kind:12}{density:10.0%}{mean['accuracy']:10.2%} ±{spread:5.2%}{mean['synapses']:10,.0f}"
            f"{mean['neurons']:9.0f}{mean['core_memory']:11.1%}{1e6 * mean['joules']:13.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
