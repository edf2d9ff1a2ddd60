"""Classify events as points in space and time: moving bars, and N-MNIST recordings, with a spiking network of points.

    python examples/spike_point.py --data-root FOLDER
    python examples/spike_point.py

Without data bars move across a small sensor in four directions, and the network is trained with the times of the events
and with times that were shuffled: without time all directions look alike. The folder is that of the short
set of N-MNIST, 1,000 recordings to train and 100 to test; see docs/event_data.md. Points are drawn anew in each epoch.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from results import Results
from torch import Tensor, nn

from neurosim.datasets import nmnist_small
from neurosim.datasets.events import SensorEvents, event_points
from neurosim.models import SpikePoint, grouped_points, point_spikes

Draw = Callable[[int], Tensor]  # from a seed to clouds [B, N, 3]


def bars(number: int, seed: int) -> tuple[SensorEvents, Tensor]:
    """Return the events of bars that move right, left, down or up across 16 x 16 pixels, with noise."""
    rng = np.random.default_rng(seed)
    parts = []
    for sample in range(number):
        t, along, across = rng.uniform(0, 1, 200), rng.integers(0, 16, 200), rng.normal(0, 0.7, 200)
        place = np.clip(np.rint(15 * t + across), 0, 15).astype(int)
        place = 15 - place if sample % 2 else place
        x, y = (place, along) if sample % 4 < 2 else (along, place)
        extra = rng.integers(0, 16, (2, 20))
        when = np.concatenate((np.rint(5000 * t), rng.integers(0, 5000, 20))).astype(np.int64)
        order = np.argsort(when, kind="stable")
        columns = (np.concatenate((x, extra[0]))[order], np.concatenate((y, extra[1]))[order])
        parts.append(SensorEvents(when[order], *columns, shape=(16, 16)))
    return SensorEvents.joined(parts), torch.arange(number) % 4


def spikes(cloud: Tensor, steps: int, groups: int, neighbours: int) -> tuple[Tensor, Tensor]:
    """Return the spikes of the groups of clouds."""
    return point_spikes(grouped_points(cloud, groups, neighbours), steps)


def trial(
    train: tuple[Draw, Tensor], test: tuple[Draw, Tensor], classes: int, seed: int, args: argparse.Namespace
) -> dict[str, Any]:
    """Train a network; return its accuracy on test clouds that are drawn once."""
    torch.manual_seed(seed)
    coded = functools.partial(spikes, steps=args.steps, groups=args.groups, neighbours=args.neighbours)
    net = SpikePoint(classes)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs)
    start = time.perf_counter()
    for epoch in range(args.epochs):
        clouds = train[0](1000 * seed + epoch + 1)
        net.train()
        for rows in torch.randperm(len(clouds)).split(args.batch_size):
            if len(rows) < 2:
                continue
            optimizer.zero_grad()
            target = nn.functional.one_hot(train[1][rows], classes).float()
            nn.functional.mse_loss(net(*coded(clouds[rows])), target).backward()
            optimizer.step()
        schedule.step()
    seconds = time.perf_counter() - start
    net.eval()
    with torch.no_grad():
        scores = torch.cat([net(*coded(part)) for part in test[0](0).split(50)])
    found = float((scores.argmax(1) == test[1]).float().mean())
    return {
        "accuracy": found, "seconds": round(seconds, 1), "parameters": sum(p.numel() for p in net.parameters()),
    }  # fmt: skip


def main() -> None:
    """Train on bars, or on recordings where there are some."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, help="folder of the short set of N-MNIST")
    parser.add_argument("--points", type=int, default=256)
    parser.add_argument("--groups", type=int, default=64)
    parser.add_argument("--neighbours", type=int, default=16)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=25)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--quick", action="store_true", help="few bars, one seed, six epochs")
    parser.add_argument("--out", type=Path, default=Path("runs/spike_point/result.json"))
    args = parser.parse_args()
    if args.quick:
        args.points, args.groups, args.neighbours, args.steps, args.epochs, args.seeds = 64, 24, 8, 4, 6, [0]
    settings = {name: value for name, value in vars(args).items() if name not in ("data_root", "out", "seeds")}
    results = Results(args.out, settings)

    def run(name: str, train: tuple[Draw, Tensor], test: tuple[Draw, Tensor], classes: int) -> None:
        rows = [
            results.once({"name": name, "seed": seed}, functools.partial(trial, train, test, classes, seed, args))
            for seed in args.seeds
        ]
        shown = " / ".join(f"{100 * row['accuracy']:.1f}" for row in rows)
        print(f"{name}: {shown} %, {rows[0]['parameters']:,} parameters, {rows[0]['seconds']} s a seed", flush=True)

    if args.data_root:
        parts = nmnist_small(args.data_root)

        def drawn(part: Any) -> Draw:
            return lambda seed: event_points(part.events, args.points, seed=seed)

        run(
            "N-MNIST", (drawn(parts["train"]), parts["train"].y), (drawn(parts["test"]), parts["test"].y),
            len(parts["train"].classes),
        )  # fmt: skip
        return
    for name, shuffled in (("bars", False), ("bars, times shuffled", True)):
        sets = []
        for number, seed in ((200 if args.quick else 400, 1), (100, 2)):
            events, y = bars(number, seed)

            def clouds(seed: int, events: SensorEvents = events, shuffled: bool = shuffled) -> Tensor:
                cloud = event_points(events, args.points, seed=seed)
                if shuffled:
                    order = torch.rand(cloud.shape[:2], generator=torch.Generator().manual_seed(seed)).argsort(1)
                    cloud[..., 2] = cloud[..., 2].gather(1, order)
                return cloud

            sets.append((clouds, y))
        run(name, sets[0], sets[1], 4)


if __name__ == "__main__":
    main()
