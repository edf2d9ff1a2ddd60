"""Train a small spike-driven transformer on digits, fold it, and count what its products cost.

    python examples/spikeformer.py --data-root FOLDER_WITH_THE_IDX_FILES
    python examples/spikeformer.py --quick

The network has the layers of Meta-SpikeFormer in five stages of one block each, for images of 28 x 28 pixels, which are
the input at each step. After training its convolutions are folded; the folded network gives the same classes, and every
product but those of the first convolution has spikes or integer counts on one side. Without data a quick run uses the
digits of scikit-learn.
"""

from __future__ import annotations

import argparse
import functools
import time
from pathlib import Path
from typing import Any

import torch
from results import Results
from torch import Tensor, nn

from neurosim.datasets import digits, mnist
from neurosim.models import SpikeFormer, fold_spikeformer, spikeformer_energy, spikeformer_products
from neurosim.quantities import quantity

Set = tuple[Tensor, Tensor, Tensor, Tensor]


def trial(data: Set, steps: int, seed: int, epochs: int, size: int, strides: tuple[int, ...]) -> dict[str, Any]:
    """Train a network; return its test accuracy, and what one image costs once it is folded."""
    x, y, test, target = data
    torch.manual_seed(seed)
    net = SpikeFormer((16, 32, 48, 64), 10, n_in=1, blocks=(1, 1, 1, 1, 1), strides=strides)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.01)
    batches = len(x) // size
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=epochs * batches)
    start = time.perf_counter()
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for rows in order[: size * batches].split(size):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(repeated(x[rows], steps)), y[rows], label_smoothing=0.1).backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    seconds = time.perf_counter() - start
    net.eval()
    folded = fold_spikeformer(net)
    with torch.no_grad():
        classes, again = (
            torch.cat([each(repeated(part, steps)).argmax(1) for part in test.split(250)]) for each in (net, folded)
        )
    products = spikeformer_products(folded, repeated(test[:100], steps))  # type: ignore[arg-type]
    energy = spikeformer_energy(products)
    found: dict[str, Any] = {
        "accuracy": float((classes == target).float().mean()),
        "same_classes": float((classes == again).float().mean()),
        "real": [name for name, each in products.items() if each["input"] == "real"],
        "energy_J": {name: value / 100 for name, value in energy.items()},
        "parameters": sum(p.numel() for p in net.parameters()),
        "seconds": round(seconds, 1),
    }
    print(
        f"T = {steps}, seed {seed}: {found['accuracy']:.2%}; folded, the same class for {found['same_classes']:.2%} of "
        f"the images; an image takes {quantity(found['energy_J']['counted'], 'J')} (45 nm), by the formula "
        f"{quantity(found['energy_J']['formula'], 'J')}; {found['parameters']:,} parameters, {seconds:.0f} s"
    )
    return found


def repeated(x: Tensor, steps: int) -> Tensor:
    """Return images [B, 1, H, W] as the input of each step."""
    return x.expand(steps, *x.shape)


def main() -> None:
    """Train with one step and with several."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, help="folder of MNIST's files")
    parser.add_argument("--images", type=int, default=12_000, help="of the training set")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--quick", action="store_true", help="digits of 8 x 8 pixels, one seed, two epochs")
    parser.add_argument("--out", type=Path, default=Path("runs/spikeformer/result.json"))
    args = parser.parse_args()
    if args.data_root is None and not args.quick:
        parser.error("give the folder of MNIST as --data-root, or --quick, which needs no data.")
    data, strides = (mnist(args.data_root), (1, 2, 2, 1, 1)) if args.data_root else (digits(), (1, 1, 2, 1, 1))
    if args.quick:
        args.epochs, args.steps, args.seeds, args.batch_size = 2, [1], [0], 32
    side = 28 if args.data_root else 8
    parts = [part.x.reshape(-1, 1, side, side).float() for part in (data.train, data.test)]
    images: Set = (parts[0][: args.images], data.train.y[: args.images], parts[1], data.test.y)
    results = Results(args.out, {"epochs": args.epochs, "images": len(images[0])})
    for steps in args.steps:
        for seed in args.seeds:
            run = functools.partial(trial, images, steps, seed, args.epochs, args.batch_size, strides)
            results.once({"steps": steps, "seed": seed}, run)


if __name__ == "__main__":
    main()
