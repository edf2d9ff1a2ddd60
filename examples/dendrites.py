"""Active dendrites: error rates of segments, and how gating by context protects earlier tasks.

    python examples/dendrites.py --data-root FOLDER_WITH_THE_IDX_FILES

First, the exact probability that a segment matches a random pattern, compared with the measured fraction, and the
probability that it misses its own pattern in noise. Then five tasks in sequence, each MNIST with another permutation of
pixels: the same network with and without dendrites that receive the task's context. The task is known in training and
test by its context, the task's mean training image with mean 0 and standard deviation ``--strength``. Contexts of two
tasks are nearly orthogonal, and the stronger they are, the fewer neurons two tasks initially share. The fraction of
winners and the strength are selected separately with and without dendrites, on three tasks of another seed and on
training images that are used nowhere else; ``--winners`` and ``--strength`` set them explicitly. Results are written to
``runs/dendrites/result.json`` one by one; an interrupted run continues from there.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import time
from pathlib import Path

import torch
from results import Results
from torch import Tensor, nn

from neurosim.datasets import Labelled, digits, mnist
from neurosim.models.dendrites import ActiveDendrites, Segments, false_match, missed_match

WINNERS, STRENGTHS = (0.1, 0.2, 0.4, 0.7, 1.0), (5.0, 10.0, 20.0, 40.0)
HELD_OUT, CHOICE_SEED, CHOICE_TASKS = 2000, 1000, 3
SETTINGS = [(200, 10, 8, 2), (200, 20, 10, 3), (1024, 20, 10, 2), (2048, 40, 20, 10)]


def patterns(count: int, cells: int, active: int, draw: torch.Generator) -> Tensor:
    """Draw patterns of exactly `active` cells."""
    chosen = torch.rand(count, cells, generator=draw).topk(active, 1).indices
    return torch.zeros(count, cells).scatter(1, chosen, 1.0)


def matches(draws: int, seed: int) -> list[dict]:
    """Compare exact probabilities with segments on random patterns."""
    draw, rows = torch.Generator().manual_seed(seed), []
    print(
        "cells active synapses threshold: false matches exact, measured; missed with half the pattern replaced, exact"
    )
    for cells, active, synapses, threshold in SETTINGS:
        segments = Segments.sampled(patterns(1, cells, active, draw), synapses, threshold=threshold, generator=draw)
        hits = done = 0
        while done < draws:
            now = min(5000, draws - done)
            hits, done = hits + int(segments(patterns(now, cells, active, draw)).sum()), done + now
        exact = false_match(cells, active, synapses, threshold)
        missed = missed_match(active, min(synapses, active), threshold, active // 2)
        print(f"{cells} {active} {synapses} {threshold}: {exact:.4e}, {hits / draws:.4e}; {missed:.3e}", flush=True)
        rows.append({"setting": [cells, active, synapses, threshold], "exact": exact, "measured": hits / draws})
    return rows


class Tasks(nn.Module):
    """Two layers of gated neurons and a readout shared by all tasks."""

    def __init__(self, n_in: int, width: int, tasks: int, winners: float, gated: bool) -> None:
        super().__init__()
        choice = dict(context=n_in, segments=tasks, winners=max(1, round(winners * width)))
        self.one = ActiveDendrites(n_in, width, **choice)
        self.two = ActiveDendrites(width, width, **choice)
        self.out = nn.Linear(width, 10)
        self.gated = gated

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        gate = context if self.gated else None
        return self.out(self.two(self.one(x, gate), gate))


def sequence(train: Labelled, test: Labelled, args: argparse.Namespace, seed: int, gated: bool) -> dict[str, object]:
    """Learn the tasks in order; return the accuracies on all tasks so far after each, and the final mean."""
    print(f"seed {seed}, dendrites {'on' if gated else 'off'}:", flush=True)
    start = time.perf_counter()
    draw = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(train.x.shape[1], generator=draw) for _ in range(args.tasks)]
    mean = train.x.mean(0)
    contexts = [args.strength * ((mean - mean.mean()) / mean.std())[order][None] for order in orders]
    centre, spread = train.x.mean(), train.x.std()
    train, test = (dataclasses.replace(part, x=(part.x - centre) / spread) for part in (train, test))
    torch.manual_seed(seed)
    net = Tasks(train.x.shape[1], args.width, args.tasks, args.winners, gated)
    table: list[list[float]] = []
    for task, order in enumerate(orders):
        optimizer = torch.optim.Adam(net.parameters(), lr=args.learning_rate, fused=True)
        for epoch in range(args.epochs):
            for x, y in train.batches(64, seed=seed, epoch=epoch):
                optimizer.zero_grad()
                nn.functional.cross_entropy(net(x[:, order], contexts[task]), y).backward()
                optimizer.step()
        with torch.no_grad():
            hits = [net(test.x[:, orders[k]], contexts[k]).argmax(1) == test.y for k in range(task + 1)]
        table.append([float(hit.double().mean()) for hit in hits])
        print(f"  task {task + 1}: " + " ".join(f"{a:.1%}" for a in table[-1]), flush=True)
    mean, seconds = sum(table[-1]) / args.tasks, time.perf_counter() - start
    print(f"  mean after all tasks {mean:.2%}, {seconds:.0f} s", flush=True)
    return {"mean": mean, "accuracies": table, "seconds": round(seconds, 1)}


def chosen(train: Labelled, held_out: Labelled, args: argparse.Namespace, results: Results, gated: bool) -> dict:
    """Return the fraction of winners and the strength with the best accuracy on held-out training images."""
    given = vars(args)
    winners = WINNERS if args.winners is None else (args.winners,)
    strengths = (STRENGTHS if args.strength is None else (args.strength,)) if gated else (0.0,)
    grid = [{"winners": share, "strength": strength} for share in winners for strength in strengths]
    if len(grid) == 1:
        return grid[0]
    found = []
    for setting in grid:
        tried = argparse.Namespace(**given | setting | {"tasks": CHOICE_TASKS})
        part = {"part": "choice", "gated": gated, **setting}
        run = functools.partial(sequence, train, held_out, tried, CHOICE_SEED, gated)
        found.append((results.once(part, run)["mean"], setting))
    best = max(found, key=lambda each: each[0])
    print(f"selected with dendrites {'on' if gated else 'off'}: {best[1]}, {best[0]:.2%} held out", flush=True)
    return best[1]


def main() -> None:
    """Run both parts and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", help="folder of MNIST's idx files; NEUROSIM_DATA if omitted")
    parser.add_argument("--draws", type=int, default=1_000_000, help="random patterns per setting")
    parser.add_argument("--tasks", type=int, default=5)
    parser.add_argument("--width", type=int, default=512, help="neurons in each of two layers")
    parser.add_argument("--winners", type=float, help="fraction of neurons that stay active; selected if omitted")
    parser.add_argument("--strength", type=float, help="standard deviation of a context; selected if omitted")
    parser.add_argument("--images", type=int, default=10_000, help="training images per task")
    parser.add_argument("--epochs", type=int, default=3, help="epochs per task")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--quick", action="store_true", help="digits of scikit-learn, two tasks, as a check that it runs"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/dendrites/result.json"))
    args = parser.parse_args()
    if args.quick:
        args.draws, args.tasks, args.width, args.seeds, args.epochs = 20_000, 2, 128, 1, 10
        args.learning_rate = 5e-3
        args.winners, args.strength = args.winners or 0.1, args.strength or 5.0
    data = (digits() if args.quick else mnist(args.data_root)).flat()
    apart = ("data_root", "out", "seeds")
    results = Results(args.out, {name: value for name, value in vars(args).items() if name not in apart})
    results.once({"part": "matches"}, lambda: {"rows": matches(args.draws, 0)})
    train = data.train.subset(slice(args.images))
    held_out = data.train.subset(slice(args.images, args.images + HELD_OUT))
    if None in (args.winners, args.strength) and len(held_out.y) < HELD_OUT:
        parser.error(
            f"--images {args.images} leaves {len(held_out.y)} of {len(data.train.y)} training images to select "
            f"--winners and --strength on; {HELD_OUT} are needed. Use fewer images, or give both."
        )
    for gated in (True, False):
        setting = chosen(train, held_out, args, results, gated)
        for seed in range(args.seeds):
            part = {"part": "tasks", "seed": seed, "gated": gated, **setting}
            own = argparse.Namespace(**vars(args) | setting)
            results.once(part, functools.partial(sequence, train, data.test, own, seed, gated))


if __name__ == "__main__":
    main()
