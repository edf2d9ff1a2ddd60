"""Read digits that are seen and heard from liquids of resistive memory, whose weights are random and never trained.

    python examples/resistive_liquid.py --sounds FOLDER --images FOLDER
    python examples/resistive_liquid.py --quick

The folders are those of the spoken digits (FSDD) and of the short set of N-MNIST; see docs/event_data.md. Each liquid
has 200 neurons; a linear readout is trained on their numbers of spikes, for a fixed number of steps, and tested once.
The cells are read for training and again for the test, with other noise. Then a readout shared by both senses learns
pairs of an image and a sound of the same digit, 0 to 7; digits 8 and 9 are never learned, and their images are matched
with sounds (chance: one half). Without data two patterns and their reversals in time replace the digits.
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
from results import Results
from torch import Tensor, nn

from neurosim.datasets import heard, nmnist_small, spoken_digits
from neurosim.models import ResistiveCells, ResistiveLiquid, SharedReadout

matplotlib.use("Agg")
import matplotlib.pyplot as plt

NOISES: tuple[float, ...] = (0.0, 0.02, 0.05, 0.1, 0.2)
STUCK: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2)
LIQUIDS: dict[str, dict[str, Any]] = {  # of the paper's program, but for the sounds' threshold and scale
    "images": dict(dt=6e-3, decay=0.9, v_th=5.0, scale=0.3),
    "sounds": dict(dt=10e-3, decay=0.97, v_th=5.3, scale=0.3),
}
Set = tuple[Tensor, Tensor, Tensor, Tensor]  # training and test input [B, T, n] and digits


def images(root: Path) -> Set:
    """Return the events of the first polarity in the middle 16 x 16 pixels, 50 steps of 6 ms."""
    parts = nmnist_small(root)
    found = []
    for name in ("train", "test"):
        part = parts[name]
        x = part.events.between(0.0, 0.3).binned(6e-3, 50)[:, :, 0, 9:25, 9:25]
        found += [x.flatten(2).movedim(1, 0).clamp(max=1.0), part.y]
    return found[0], found[1], found[2], found[3]


def sounds(root: Path) -> Set:
    """Return spoken digits as spikes of 64 channels."""
    parts = spoken_digits(root)
    made = [heard(parts[name], duration=0.5, channels=64, dt=10e-3) for name in ("train", "test")]
    return made[0].x, made[0].y, made[1].x, made[1].y


def patterns(seed: int) -> Set:
    """Return noisy copies of two random patterns and of their reversals."""
    generator = torch.Generator().manual_seed(seed)
    pattern = torch.rand(2, 50, 64, generator=generator) < 0.2
    both = torch.cat((pattern, pattern.flip(1)))
    found = []
    for number in (200, 100):
        y = torch.arange(number) % 4
        kept = torch.rand(number, 50, 64, generator=generator) < 0.9
        found += [(both[y] & kept).float(), y]
    return found[0], found[1], found[2], found[3]


def features(data: Set, kind: str, cells: ResistiveCells, seed: int, neurons: int) -> list[Tensor]:
    """Return the counts of the liquid for training and test, standardised by those for training."""
    liquid = ResistiveLiquid(data[0].shape[2], neurons, cells, seed=seed, **LIQUIDS[kind])
    counts = [liquid(data[place].movedim(1, 0), read=number) for number, place in enumerate((0, 2))]
    mean, deviation = counts[0].mean(0), counts[0].std(0).clamp(min=0.1)
    return [(each - mean) / deviation for each in counts]


def read_out(train: Tensor, y: Tensor, test: Tensor, target: Tensor, seed: int) -> float:
    """Train a linear readout for 300 steps and return its test accuracy."""
    torch.manual_seed(seed)
    readout = nn.Linear(train.shape[1], int(y.max()) + 1)
    optimizer = torch.optim.Adam(readout.parameters(), lr=1e-2, weight_decay=1e-3)
    for _ in range(300):
        optimizer.zero_grad()
        nn.functional.cross_entropy(readout(train), y).backward()
        optimizer.step()
    with torch.no_grad():
        return float((readout(test).argmax(1) == target).float().mean())


def trial(kind: str, data: Set, cells: ResistiveCells, seed: int, neurons: int) -> dict[str, Any]:
    """Return the accuracy with one liquid, and with a readout of the summed input."""
    start = time.perf_counter()
    train, test = features(data, kind, cells, seed, neurons)
    found = read_out(train, data[1], test, data[3], seed)
    plain = [data[place].sum(1) for place in (0, 2)]
    mean, deviation = plain[0].mean(0), plain[0].std(0).clamp(min=0.1)
    summed = read_out((plain[0] - mean) / deviation, data[1], (plain[1] - mean) / deviation, data[3], seed)
    print(f"{kind}, {cells}, seed {seed}: {found:.1%}; summed input {summed:.1%}")
    return {"accuracy": found, "summed": summed, "seconds": round(time.perf_counter() - start, 1)}


def shared(sets: dict[str, Set], seed: int, neurons: int, unseen: tuple[int, ...]) -> dict[str, Any]:
    """Train the shared readout on pairs of digits that are seen; return accuracies on those and on the others."""
    cells, generator = ResistiveCells(), torch.Generator().manual_seed(seed)
    kinds = ("images", "sounds")
    made = {kind: features(sets[kind], kind, cells, seed, neurons) for kind in kinds}
    digits = sorted(set(sets["images"][1].tolist()) - set(unseen))
    torch.manual_seed(seed)
    readout = SharedReadout((neurons, neurons), dim=64, temperature=0.1)
    optimizer = torch.optim.Adam(readout.parameters(), lr=1e-3, weight_decay=1e-3)

    def drawn(kind: str, digit: int) -> Tensor:
        rows = (sets[kind][1] == digit).nonzero()[:, 0]
        return made[kind][0][rows[torch.randint(len(rows), (), generator=generator)]]

    for _ in range(1500):
        pairs = [torch.stack([drawn(kind, digit) for digit in digits]) for kind in kinds]
        optimizer.zero_grad()
        readout.loss(*pairs).backward()
        optimizer.step()

    def accuracy(some: list[int]) -> float:
        # An image belongs to the digit whose sounds, of the training part, lie nearest on average.
        with torch.no_grad():
            anchors = torch.stack([readout(made["sounds"][0][sets["sounds"][1] == d], 1).mean(0) for d in some])
            chosen = torch.isin(sets["images"][3], torch.tensor(some))
            found = (readout(made["images"][1][chosen], 0) @ anchors.T).argmax(1)
            return float((torch.tensor(some)[found] == sets["images"][3][chosen]).float().mean())

    result = {"learned": accuracy(digits), "unseen": accuracy(list(unseen))}
    print(
        f"shared readout, seed {seed}: {result['learned']:.1%} of images of learned digits (chance "
        f"{1 / len(digits):.0%}), {result['unseen']:.1%} of digits never learned (chance {1 / len(unseen):.0%})"
    )
    return result


def drawn(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw accuracy against read noise and against the share of stuck cells."""
    figure, axes = plt.subplots(1, 2, figsize=(7.0, 3.0), sharey=True, layout="constrained")
    for ax, name, label in zip(axes, ("read_noise", "stuck"), ("read noise", "share of stuck cells"), strict=True):
        for kind in dict.fromkeys(row["kind"] for row in rows):
            values = sorted({row[name] for row in rows if row["kind"] == kind and row["varied"] in (name, "")})
            means, spread = [], []
            for value in values:
                found = [
                    100 * row["accuracy"]
                    for row in rows
                    if row["kind"] == kind and row[name] == value and row["varied"] in (name, "")
                ]
                means.append(sum(found) / len(found))
                spread.append(max(found) - min(found))
            ax.errorbar(values, means, [s / 2 for s in spread], marker="o", capsize=2, label=kind)
        ax.set(xlabel=label)
    axes[0].set(ylabel="test accuracy, %", ylim=(0, 100))
    axes[0].legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)


def main() -> None:
    """Run all and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sounds", type=Path, help="folder of the spoken digits")
    parser.add_argument("--images", type=Path, help="folder of the short set of N-MNIST")
    parser.add_argument("--neurons", type=int, default=200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--quick", action="store_true", help="patterns, one seed, one value of each kind of noise")
    parser.add_argument("--out", type=Path, default=Path("runs/resistive_liquid/result.json"))
    args = parser.parse_args()
    sets: dict[str, Set] = {}
    if args.images:
        sets["images"] = images(args.images)
    if args.sounds:
        sets["sounds"] = sounds(args.sounds)
    if not sets and not args.quick:
        parser.error("give the folders --sounds and --images, or --quick, which needs no data.")
    noises, stuck, seeds = NOISES, STUCK, args.seeds
    if args.quick:
        sets, noises, stuck, seeds = {k: patterns(n) for n, k in enumerate(LIQUIDS)}, (0.0, 0.1), (0.0, 0.2), [0]
    results, rows = Results(args.out, {"neurons": args.neurons, "quick": args.quick}), []
    varied: list[tuple[str, dict[str, float]]] = [("", {})]
    varied += [("read_noise", {"read_noise": noise}) for noise in noises if noise]
    varied += [("stuck", {"stuck": share}) for share in stuck if share]
    for kind, data in sets.items():
        for name, values in varied:
            for seed in seeds:
                key = {"kind": kind, "varied": name, "read_noise": 0.0, "stuck": 0.0, **values, "seed": seed}
                run = functools.partial(trial, kind, data, ResistiveCells(**values), seed, args.neurons)
                rows.append({**key, **results.once(key, run)})
    if len(sets) == 2:
        unseen = (3,) if args.quick else (8, 9)
        for seed in seeds:
            key = {"kind": "both", "seed": seed}
            results.once(key, functools.partial(shared, sets, seed, args.neurons, unseen))
    picture = Path(os.path.splitext(args.out)[0] + ".svg")
    drawn(rows, picture)
    print(f"wrote {picture}")


if __name__ == "__main__":
    main()
