"""Learn features of MNIST without labels by soft Hebbian learning, and compare a linear readout with random features.

    python examples/softhebb.py --data-root FOLDER_WITH_THE_IDX_FILES

Two single layers. *dense*: neurons that receive the whole image, normalised to mean 0 per pixel and to norm 1, with the
plain rule. *conv*: 5 x 5 kernels on standardised images, with the rule of the deep networks with anti-Hebbian losers,
its features raised to the power 0.7 and pooled. Each learns in one pass over the images, with a rate that decays to
zero (dense) or follows the norms (conv). Then ridge regression fits a linear readout to labelled images, on these
features and on those of the untrained layer with kernels and rows of norm 1. For each seed the program prints both
accuracies on the test images, the norms of winners and the time; everything is written to
``runs/softhebb/result.json``. With ``--quick`` and no data it uses the digits of scikit-learn.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from tqdm.auto import tqdm

from neurosim.datasets import Split, digits, mnist
from neurosim.files.atomic import replaced
from neurosim.plasticity import SoftHebb, SoftHebbConv


def dense(data: Split, args: argparse.Namespace, seed: int) -> tuple[SoftHebb, Tensor, Tensor]:
    """Return the untrained layer and a function that prepares its images."""
    train, test = data.train.x.flatten(1), data.test.x.flatten(1)
    mean = train.mean(0)
    generator = torch.Generator().manual_seed(seed)
    layer = SoftHebb(
        train.shape[1],
        args.neurons,
        inverse_temperature=12.0,
        rate=5.0,
        prior_rate=args.prior_rate,
        generator=generator,
    )
    return layer, functional.normalize(train - mean), functional.normalize(test - mean)


def conv(data: Split, args: argparse.Namespace, seed: int) -> tuple[SoftHebbConv, Tensor, Tensor]:
    """Return the same for kernels."""
    train, test = data.train.x, data.test.x
    mean, deviation = train.mean(), train.std()
    layer = SoftHebbConv(1, args.channels, 5, generator=torch.Generator().manual_seed(seed))
    return layer, (train - mean) / deviation, (test - mean) / deviation


def learn(layer: SoftHebb | SoftHebbConv, x: Tensor, size: int) -> None:
    """Learn in one pass over the images; unless the norms set the rate, it decays to zero."""
    batches, rate = x.split(size), layer.rate
    for k, batch in enumerate(tqdm(batches, desc=type(layer).__name__, unit="batch")):
        if not layer.power:
            layer.rate = rate * (1 - k / len(batches))
        layer.learn(batch)


def read(layer: SoftHebb | SoftHebbConv, x: Tensor) -> Tensor:
    """Return the features [n, values] of images."""
    if isinstance(layer, SoftHebb):
        return layer.features(x)
    found = [functional.max_pool2d(layer.features(part, power=0.7), 4, 2, 1).flatten(1) for part in x.split(500)]
    return torch.cat(found)


def readout(layer: SoftHebb | SoftHebbConv, x: Tensor, y: Tensor, test: Tensor, labels: Tensor) -> float:
    """Fit ten linear readouts by ridge regression and return the test accuracy."""
    a, b = read(layer, x), read(layer, test)
    mean, deviation = a.mean(0), a.std() + 1e-6
    a, b = (a - mean) / deviation, (b - mean) / deviation
    wanted = functional.one_hot(y, 10).to(a) - 0.1
    # The form of ridge regression with the smaller matrix.
    if a.shape[1] < len(a):
        gram = a.T @ a
        weights = torch.linalg.solve(gram + 0.1 * gram.diagonal().mean() * torch.eye(len(gram)), a.T @ wanted)
    else:
        gram = a @ a.T
        weights = a.T @ torch.linalg.solve(gram + 0.1 * gram.diagonal().mean() * torch.eye(len(gram)), wanted)
    return (b @ weights).argmax(1).eq(labels).float().mean().item()


def unit(layer: SoftHebb | SoftHebbConv) -> None:
    """Normalise the weights of each neuron to 1."""
    layer.weight.copy_(functional.normalize(layer.weight.flatten(1)).view_as(layer.weight))


def run(kind: str, data: Split, args: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Return the accuracies of one layer before and after learning."""
    layer, x, test = (dense if kind == "dense" else conv)(data, args, seed)
    given = x[: args.labels], data.train.y[: args.labels], test, data.test.y
    begun = {name: value.clone() for name, value in layer.state_dict().items()}
    unit(layer)
    random = readout(layer, *given)
    layer.load_state_dict(begun)
    start = time.perf_counter()
    learn(layer, x, args.batch_size if kind == "dense" else 10)
    seconds = time.perf_counter() - start
    norms = layer.weight.flatten(1).norm(dim=1)
    wins = torch.bincount(layer.response(x[:500])[0].argmax(1).flatten(), minlength=len(norms)) > 0
    unit(layer)
    learned = readout(layer, *given)
    low, high = norms[wins].min().item(), norms[wins].max().item()
    print(
        f"{kind:6} seed {seed}: learned {learned:.2%}, random {random:.2%}; {int(wins.sum())} of {len(norms)} win, "
        f"norms {low:.3f} to {high:.3f}; {seconds:.1f} s",
        flush=True,
    )
    return {
        "layer": kind,
        "seed": seed,
        "learned": learned,
        "random": random,
        "winners": int(wins.sum()),
        "norms_of_winners": [low, high],
        "seconds": round(seconds, 1),
    }


def main() -> None:
    """Learn with every seed and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", help="folder of MNIST's idx files; NEUROSIM_DATA if omitted")
    parser.add_argument("--layers", choices=["dense", "conv"], nargs="*", default=["dense", "conv"])
    parser.add_argument("--images", type=int, default=20000, help="images to learn from")
    parser.add_argument("--labels", type=int, default=5000, help="number of them with a label, for the readout")
    parser.add_argument("--neurons", type=int, default=400)
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument(
        "--prior-rate", type=float, default=0.0, help="learning rate of the biases of the dense layer; 0 for none"
    )
    parser.add_argument("--batch-size", type=int, default=100, help="batch size of the dense layer; 10 for the other")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--quick", action="store_true", help="600 images, one seed, as a check that it runs")
    parser.add_argument("--out", type=Path, default=Path("runs/softhebb/result.json"))
    args = parser.parse_args()
    if args.quick:
        args.images, args.labels, args.seeds = min(args.images, 600), 300, args.seeds[:1]
    data = digits() if args.quick and args.data_root is None else mnist(args.data_root)
    data = dataclasses.replace(data, train=data.train.subset(slice(args.images)))
    results = [run(kind, data, args, seed) for kind in args.layers for seed in args.seeds]
    with replaced(args.out) as part:
        part.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
