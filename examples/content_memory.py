"""Store contents in a spiking memory after CA3, recall them by cue and by part, and measure how many it holds.

    python examples/content_memory.py

The first picture shows the spikes at the output while three contents are learned and recalled and one is learned again.
Then memories with random contents, one for each cue, learn one cue after the other; the share of cues whose content is
recalled exactly, and of neurons of contents that recall exactly the cues that store them, is printed and drawn against
the time from one operation to the next and against the number of cues.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import matplotlib
import numpy as np

from neurosim.models import ContentMemory

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def exact(cues: int, contents: int, active: int, spacing: int, seed: int) -> tuple[float, float]:
    """Return the shares of cues and of neurons of contents that are recalled exactly."""
    rng = np.random.default_rng(seed)
    stored = [sorted(rng.choice(contents, active, replace=False).tolist()) for _ in range(cues)]
    memory = ContentMemory(cues, contents)
    inputs = {spacing * cue + hold: ((cue,), tuple(stored[cue])) for cue in range(cues) for hold in range(3)}
    memory.play(inputs, spacing * cues + 10)
    by_cue = [memory.contents_of(cue) == tuple(stored[cue]) for cue in range(cues)]
    used = sorted({k for content in stored for k in content})
    by_content = [memory.cues_with([k]) == tuple(c for c in range(cues) if k in stored[c]) for k in used]
    return float(np.mean(by_cue)), float(np.mean(by_content))


def raster(path: Path) -> None:
    """Draw the output while contents are learned and recalled."""
    memory = ContentMemory(5, 10)
    contents = {0: (0, (0, 1, 8, 9)), 10: (4, (1, 5, 6)), 20: (3, (4, 5, 6)), 60: (3, (1, 3, 4, 8))}
    inputs: dict[int, tuple[tuple[int, ...], tuple[int, ...]]] = {
        start + hold: ((cue,), content) for start, (cue, content) in contents.items() for hold in range(3)
    }
    inputs |= {30: ((0,), ()), 40: ((), (6,)), 50: ((), (0, 4)), 70: ((3,), ()), 80: ((), (6,))}
    sent = memory.play(inputs, 90)
    figure, axes = plt.subplots(2, 1, figsize=(6.5, 3.6), sharex=True, height_ratios=[10, 5], layout="constrained")
    for ax, out, which, name in zip(axes, (sent.contents, sent.cues), (1, 0), ("content", "cue"), strict=True):
        for t, given in inputs.items():
            ax.plot([t] * len(given[which]), given[which], "|", color="0.6", markersize=9)
        for t, numbers in out.items():
            ax.plot([t] * len(numbers), numbers, "o", color="C0" if which else "C1", markersize=4)
        ax.set(ylabel=name, ylim=(-0.6, (9 if which else 4) + 0.6))
    texts = {0: "learn", 10: "learn", 20: "learn", 30: "by cue", 40: "by content", 50: "by content", 60: "learn again"}
    for start, text in {**texts, 70: "by cue", 80: "by content"}.items():
        axes[0].text(start, 10.0, text, fontsize=7)
    axes[1].set(xlabel="time, ms (bars: input, dots: output)")
    figure.savefig(path)
    plt.close(figure)


def main() -> None:
    """Draw the spikes, and measure the capacity."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--quick", action="store_true", help="one seed, two spacings, two sizes")
    parser.add_argument("--out", type=Path, default=Path("runs/content_memory"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    seeds = args.seeds[:1] if args.quick else args.seeds
    spacings, sizes = ((6, 8), (5, 10)) if args.quick else ((4, 5, 6, 7, 8, 9, 10, 14), (5, 10, 20, 40, 80))
    raster(args.out / "spikes.svg")
    figure, axes = plt.subplots(1, 2, figsize=(7.0, 3.0), sharey=True, layout="constrained")
    start = time.perf_counter()
    for ax, name, values in zip(axes, ("time from learning to learning, ms", "cues"), (spacings, sizes), strict=True):
        rows = []
        for value in values:
            cues, spacing = (10, value) if ax is axes[0] else (value, 10)
            found = np.mean([exact(cues, 2 * cues, max(2, cues // 4), spacing, seed) for seed in seeds], 0)
            rows.append(found)
            print(f"{cues} cues, {spacing} ms apart: {found[0]:.0%} of cues, {found[1]:.0%} of neurons recall exactly")
        for column, label in enumerate(("by cue", "by content")):
            ax.plot(values, 100 * np.array(rows)[:, column], marker="o", label=label)
        ax.set(xlabel=name, ylim=(-5, 105))
    axes[0].set(ylabel="recalled exactly, %")
    axes[0].legend()
    figure.savefig(args.out / "capacity.svg")
    plt.close(figure)
    print(f"{time.perf_counter() - start:.0f} s; wrote {args.out / 'spikes.svg'} and {args.out / 'capacity.svg'}")


if __name__ == "__main__":
    main()
