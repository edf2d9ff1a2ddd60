"""Train one ELM neuron to add two spoken digits, and for comparison the same neuron with short memory.

    python examples/elm_adding.py --data-root FOLDER_WITH_fsdd_recordings_wav.tar.xz
    python examples/elm_adding.py --shd FOLDER_WITH_shd_train.h5_AND_shd_test.h5
    python examples/elm_adding.py --templates

Two recordings, drawn for every batch, are played in sequence; the class is the sum of their digits, 0 to 18
(SHD-Adding). Recordings of the Free Spoken Digit Dataset pass through a filter bank in place of a cochlea; takes 0 to 4
of every speaker and digit are the test set. The neuron has 19 outputs, and the last step decides. The recipe is that of
the authors' notebook (Adamax, cosine, cross-entropy at the last step) without its input dropout. ``--templates`` needs
no data: five random patterns of spikes, jittered, replace the words.

The comparison has time constants of at most ``--short``. Its accuracy is above chance: with a gain of 5 the perceptron
in the loop can hold a value without a long time constant.
"""

from __future__ import annotations

import argparse
import functools
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from results import Results
from torch.nn import functional
from tqdm import tqdm

from neurosim.datasets import Labelled, heard, read_shd, read_words
from neurosim.datasets.adding import Adding
from neurosim.models import ELM

ARCHIVE = "fsdd_recordings_wav.tar.xz"


@dataclass(frozen=True)
class Words:
    """Training and test words, the length of their steps, and the longest time constants of the two memories, s."""

    train: Labelled
    test: Labelled
    dt: float = 10e-3
    long: float = 0.5
    short: float = 30e-3


def fsdd(root: Path) -> Words:
    """Return training and test words of the Free Spoken Digit Dataset as spikes."""
    path = root / ARCHIVE if (root / ARCHIVE).is_file() else root
    print(f"reading {path} ...", flush=True)
    words = read_words(path)
    train, test = ([w for w in words if (w.take < 5) == part] for part in (False, True))
    return Words(heard(tqdm(train, desc="cochlea")), heard(test))


def shd(root: Path) -> Words:
    """Return the words of the Spiking Heidelberg Digits."""
    return Words(read_shd(root / "shd_train.h5"), read_shd(root / "shd_test.h5"))


def templates() -> Words:
    """Return jittered patterns of 1 ms steps."""
    return Words(jittered(5000, 1), jittered(1000, 2), dt=1e-3, long=0.15, short=3e-3)


def jittered(number: int, seed: int) -> Labelled:
    """Return jittered copies of five random patterns, 40 channels and 30 steps each."""
    pattern = torch.rand(5, 30, 40, generator=torch.Generator().manual_seed(0)) < 0.1
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(5, (number,), generator=generator)
    kept = torch.rand(number, 30, 40, generator=generator) > 0.2
    noise = torch.rand(number, 30, 40, generator=generator) < 0.02
    return Labelled((pattern[y] & kept | noise).float(), y, tuple("01234"), timed=True)


def accuracy(neuron: ELM, task: Adding) -> float:
    """Return the fraction of pairs whose sum is right at the last step."""
    with torch.no_grad():
        right = [(neuron(x)[0][-1, :, 0].argmax(1) == y).float().mean() for x, y in task]
    return float(torch.stack(right).mean())


def train(name: str, tau_max: float, words: Words, args: argparse.Namespace, seed: int) -> dict:
    """Train one neuron and return its result."""
    torch.manual_seed(seed)
    channels = words.train.x.shape[2]
    neuron = ELM(channels, Adding.classes, dt=words.dt, d_m=args.memory, variant=args.variant, tau_m_max=tau_max)
    task = Adding(words.train, args.batch_size, batches=args.batches, seed=seed)
    test = Adding(words.test, 100, batches=10, seed=1, fixed=True)
    optimizer = torch.optim.Adamax(neuron.parameters(), lr=args.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.batches)
    start = time.perf_counter()
    progress = tqdm(task, desc=f"{name}, seed {seed}", mininterval=1.0)
    for x, y in progress:
        out, _ = neuron(x)
        loss = functional.cross_entropy(out[-1, :, 0], y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        progress.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
    seconds = time.perf_counter() - start
    reached = accuracy(neuron, test)
    parameters = sum(p.numel() for p in neuron.parameters())
    print(
        f"{name}, seed {seed}: {reached:.1%} of 1,000 test pairs, {parameters:,} parameters, {args.batches} batches in "
        f"{seconds:.0f} s"
    )
    return {"tau_m_max": tau_max, "accuracy": reached, "seconds": round(seconds, 1)}


def main() -> None:
    """Train with long and with short memory and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--data-root", type=Path, help=f"folder of the wav files or of {ARCHIVE}")
    source.add_argument("--shd", type=Path, help="folder with shd_train.h5 and shd_test.h5")
    source.add_argument("--templates", action="store_true", help="random patterns instead of words")
    parser.add_argument("--batches", type=int, default=2000)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--memory", type=int, default=40, help="memory units")
    parser.add_argument("--variant", choices=["v1", "v2"], default="v1")
    parser.add_argument("--long", type=float, help="longest time constant of the memory, s")
    parser.add_argument("--short", type=float, help="the same for the comparison, s")
    parser.add_argument("--learning-rate", type=float, default=5e-3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--quick", action="store_true", help="200 batches; patterns if no data are given")
    parser.add_argument("--out", type=Path, default=Path("runs/elm_adding/result.json"))
    args = parser.parse_args()
    if args.data_root:
        words = fsdd(args.data_root)
    elif args.shd:
        words = shd(args.shd)
    elif args.templates or args.quick:
        words = templates()
    else:
        parser.error("give the recordings as --data-root or --shd, or --templates, which needs no data.")
    args.batches = 200 if args.quick else args.batches
    both = {"long memory": args.long or words.long, "short memory": args.short or words.short}
    apart = ("data_root", "shd", "out", "seeds")
    settings = {name: value for name, value in vars(args).items() if name not in apart} | {"shd": bool(args.shd)}
    results = Results(args.out, settings)
    for seed in args.seeds:
        for name, tau_max in both.items():
            results.once({"name": name, "seed": seed}, functools.partial(train, name, tau_max, words, args, seed))


if __name__ == "__main__":
    main()
