"""Divide a fixed number of parameters between more neurons and more complex ones: ELM networks add two spoken digits.

    python examples/elm_network.py --data-root FOLDER_WITH_fsdd_recordings_wav.tar.xz
    python examples/elm_network.py --quick

A network is one recurrent layer of N ELM neurons and a linear readout, summed over time (SHD-Adding: the class is the
sum of two digits played in sequence, 0 to 18). Each neuron has k_c connections, drawn at random among inputs and
neurons, and d_m memory units, on which the number of its other parameters k_e depends. For each budget and each d_m the
largest N is taken whose network has no more parameters. Without data random patterns of spikes replace the words.
"""

from __future__ import annotations

import argparse
import functools
import os
import time
from pathlib import Path
from typing import Any

import matplotlib
import torch
from elm_adding import Words, fsdd, templates
from results import Results
from torch.nn import functional

from neurosim.datasets.adding import Adding
from neurosim.models import ELMNetwork

matplotlib.use("Agg")
import matplotlib.pyplot as plt

MEMORIES = (1, 2, 4, 8, 16, 32)
BRANCHES, SYNAPSES = 8, 8  # of a neuron, and of a branch: k_c = 64


def network(channels: int, neurons: int, memory: int, words: Words) -> ELMNetwork:
    """Return a network of one layer."""
    return ELMNetwork(
        channels, [neurons], Adding.classes, dt=words.dt, d_m=memory, branches=BRANCHES, synapses=SYNAPSES,
        tau_m_max=words.long, tau_r=50e-3,
    )  # fmt: skip


def neurons_within(budget: int, memory: int, channels: int, words: Words) -> int:
    """Return how many neurons a network with at most `budget` parameters has."""
    one, two = (sum(p.numel() for p in network(channels, n, memory, words).parameters()) for n in (1, 2))
    return (budget - one) // (two - one) + 1


def trial(budget: int, memory: int, seed: int, words: Words, batches: int, size: int) -> dict[str, Any]:
    """Train one network and return its test accuracy."""
    channels = words.train.x.shape[2]
    neurons = neurons_within(budget, memory, channels, words)
    torch.manual_seed(seed)
    net = network(channels, neurons, memory, words)
    optimizer = torch.optim.Adamax(net.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, batches)
    start = time.perf_counter()
    for x, y in Adding(words.train, size, batches=batches, seed=seed):
        optimizer.zero_grad()
        functional.cross_entropy(net(x)[0].sum(0), y).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    seconds = time.perf_counter() - start
    with torch.no_grad():
        test = Adding(words.test, 100, batches=10, seed=1, fixed=True)
        right = torch.stack([(net(x)[0].sum(0).argmax(1) == y).float().mean() for x, y in test])
    parameters = sum(p.numel() for p in net.parameters())
    found = {"neurons": neurons, "parameters": parameters, "accuracy": float(right.mean())}
    print(f"{budget:,} parameters, d_m {memory}, N {neurons}, seed {seed}: {found['accuracy']:.1%}, {seconds:.0f} s")
    return {**found, "seconds": round(seconds, 1)}


def drawn(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw accuracy against memory units, a line for each budget."""
    figure, ax = plt.subplots(figsize=(4.5, 3.2), layout="constrained")
    for budget in sorted({row["budget"] for row in rows}):
        memories = sorted({row["memory"] for row in rows if row["budget"] == budget})
        values = [
            torch.tensor([row["accuracy"] for row in rows if (row["budget"], row["memory"]) == (budget, m)])
            for m in memories
        ]
        means, spread = [100 * float(v.mean()) for v in values], [100 * float(v.std(correction=0)) for v in values]
        ax.errorbar(memories, means, spread, marker="o", capsize=2, label=f"{budget:,} parameters")
    ax.set(xlabel="memory units of a neuron", ylabel="test accuracy, %", xscale="log")
    ax.set_xticks(MEMORIES, [str(m) for m in MEMORIES])
    ax.minorticks_off()
    ax.set_ylim(0, 1.4 * ax.get_ylim()[1])
    ax.legend(loc="upper right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)


def main() -> None:
    """Train all networks, print each, and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, help="folder of the wav files or of their archive")
    parser.add_argument("--budgets", type=int, nargs="+", default=[2_000, 6_000, 18_000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--batches", type=int, default=1500)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--quick", action="store_true", help="one budget, two sizes, 20 batches of patterns")
    parser.add_argument("--out", type=Path, default=Path("runs/elm_network/result.json"))
    args = parser.parse_args()
    if args.data_root is None and not args.quick:
        parser.error("give the recordings as --data-root, or --quick, which needs no data.")
    words = templates() if args.data_root is None else fsdd(args.data_root)
    if args.quick:
        args.budgets, args.seeds, args.batches = [2_000], [0], 20
    memories = MEMORIES[1:3] if args.quick else MEMORIES
    results = Results(args.out, {"batches": args.batches, "size": args.batch_size, "quick": args.quick})
    rows = []
    for seed in args.seeds:
        for budget in args.budgets:
            for memory in memories:
                if neurons_within(budget, memory, words.train.x.shape[2], words) < 1:
                    continue
                key = {"budget": budget, "memory": memory, "seed": seed}
                run = functools.partial(trial, budget, memory, seed, words, args.batches, args.batch_size)
                rows.append({**key, **results.once(key, run)})
    picture = Path(os.path.splitext(args.out)[0] + ".svg")
    drawn(rows, picture)
    print(f"wrote {picture}")


if __name__ == "__main__":
    main()
