"""Train on handwritten digits with e-prop, FPTT, DECOLLE and EventProp, and for comparison with BPTT.

    python examples/online_rules.py --data-root FOLDER_WITH_THE_IDX_FILES

Three tasks on the same images. *rows*: a recurrent ALIF network receives one row after the other and predicts at every
step; BPTT, e-prop with symmetric, random and learned feedback, and FPTT train the same network from the same weights,
and BPTT and FPTT also one of liquid neurons. *local*: two layers receive the whole image for some steps, each with a
fixed readout (DECOLLE). *latency*: every pixel is one spike, earlier if brighter, and EventProp learns from spike
times, compared with BPTT with a surrogate on the same network. With ``--quick`` and no data it uses the digits of
scikit-learn. Accuracies on the test images and times are written to ``runs/online_rules/result.json``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor
from tqdm.auto import tqdm

import neurosim as ns
from neurosim.datasets import Split, digits, direct, latency, mnist
from neurosim.files.atomic import replaced
from neurosim.learning import DECOLLE, DecolleLIF, LocalReadouts
from neurosim.learning.rules.eprop import EProp, Feedback
from neurosim.learning.rules.eventprop import CubaLI, EventProp
from neurosim.learning.rules.fptt import FPTT
from neurosim.models import LiquidNeurons

DT = 1e-3
Scores = dict[str, float | str]


class Rows:
    """Batches of images as sequences of rows, each presented for `hold` steps: [rows * hold, B, columns]."""

    def __init__(self, x: Tensor, y: Tensor, size: int, hold: int, seed: int | None) -> None:
        self.x, self.y, self.size, self.hold, self.seed = x.squeeze(1), y, size, hold, seed

    def __len__(self) -> int:
        return -(-len(self.y) // self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.arange(len(self.y)) if self.seed is None else torch.randperm(len(self.y))
        for part in order.split(self.size):
            yield self.x[part].transpose(0, 1).repeat_interleave(self.hold, 0), self.y[part]


def recurrent(columns: int, hidden: int, seed: int, liquid: bool = False) -> ns.Network:
    """Return a network of neurons with adapting thresholds and a leaky readout.

    Half of the neurons do not adapt; liquid ones compute their decay at every step.
    """
    torch.manual_seed(seed)
    beta = torch.where(torch.arange(hidden) < hidden // 2, 0.0, 0.3)
    pool = (
        LiquidNeurons(hidden, dt=DT)
        if liquid
        else ns.ALIF(tau_mem=10e-3, tau_adapt=60e-3, beta=beta, r=8.0, dt=DT, spike=ns.triangle(1.0, 0.3))
    )
    return ns.Sequential(
        ns.Linear(columns, hidden),
        ns.Recurrent(pool, ns.Linear(hidden, hidden)),
        ns.Linear(hidden, 10),
        ns.LI(tau_mem=15e-3, r=10.0, dt=DT),
        names=("pool", "output"),
    )


def rows(data: Split, args: argparse.Namespace) -> list[Scores]:
    """Train a recurrent network on rows, with each rule."""
    columns = data.train.x.shape[-1]
    test = Rows(data.test.x, data.test.y, 500, args.hold, None)
    found = []

    def by(name: str, rule: Callable[[ns.Network], ns.Rule] | None, liquid: bool = False) -> None:
        net = recurrent(columns, args.hidden, args.seed, liquid)
        train = Rows(data.train.x, data.train.y, args.batch_size, args.hold, args.seed)
        start = time.perf_counter()
        if rule is None:
            fptt(net, train, args)
        else:
            how = rule(net)
            optimizer = torch.optim.AdamW(net.parameters(), args.learning_rate, weight_decay=args.weight_decay)
            ns.fit(net, train, rule=how, optimizer=optimizer, epochs=args.epochs, clip=1.0, seed=args.seed)
        found.append(scored("rows", name, net, test, ns.CrossEntropy(), time.perf_counter() - start))

    def fed(adaptive: bool) -> Callable[[ns.Network], ns.Rule]:
        def rule(net: ns.Network) -> ns.Rule:
            feedback = Feedback(net, adaptive=adaptive, generator=torch.Generator().manual_seed(args.seed))
            net.add_module("feedback", feedback)
            return EProp(feedback=feedback)

        return rule

    by("BPTT", lambda net: ns.BPTT())
    by("e-prop, symmetric feedback", lambda net: EProp())
    by("e-prop, random feedback", fed(False))
    by("e-prop, learning feedback", fed(True))
    by("FPTT", None)
    by("BPTT, liquid neurons", lambda net: ns.BPTT(), liquid=True)
    by("FPTT, liquid neurons", None, liquid=True)
    return found


def fptt(net: ns.Network, train: Rows, args: argparse.Namespace) -> None:
    """Train with FPTT, which steps the optimizer itself, ten times per sequence."""
    torch.manual_seed(args.seed)
    steps = train.x.shape[1] * args.hold
    trainer = FPTT(torch.optim.Adamax(net.parameters(), 3e-3), chunk=-(-steps // 10))
    for _ in range(args.epochs):
        for x, y in tqdm(train, desc="FPTT", unit="batch"):
            trainer.sequence(net, x, y, ns.CrossEntropy())
        trainer.end_epoch()


def local(data: Split, args: argparse.Namespace) -> list[Scores]:
    """Train two layers, each on its own loss."""
    flat = data.flat()
    torch.manual_seed(args.seed)
    inputs = flat.train.x.shape[1]
    spike = ns.fast_sigmoid(10.0)
    net = LocalReadouts(
        ns.Sequential(
            ns.Linear(inputs, 150), DecolleLIF(dt=DT, spike=spike), ns.Linear(150, 100), DecolleLIF(dt=DT, spike=spike)
        ),
        10,
        scale=2.0,
        generator=torch.Generator().manual_seed(args.seed),
    )
    encoder = direct(30)
    train = flat.train.batches(args.batch_size, seed=args.seed, encoder=encoder)
    optimizer = torch.optim.Adamax(net.parameters(), args.local_rate, betas=(0.0, 0.95))

    def update() -> None:
        optimizer.step()
        optimizer.zero_grad()

    # The weights change every two steps, which `fit` does not do.
    rule = DECOLLE(burn_in=10, regularisation=3e-3, chunk=2, update=update)
    start = time.perf_counter()
    for epoch in range(args.epochs):
        train.set_epoch(epoch)
        for x, y in tqdm(train, desc="DECOLLE", unit="batch"):
            rule.gradients(net, x, y, ns.CrossEntropy())
    seconds = time.perf_counter() - start
    test = flat.test.batches(500, encoder=encoder, shuffle=False)
    return [scored("local", "DECOLLE", net, test, ns.CrossEntropy(), seconds)]


def timed(data: Split, args: argparse.Namespace) -> list[Scores]:
    """Train one hidden layer on spike times."""
    flat = data.flat()
    encoder = latency(30)
    inputs = flat.train.x.shape[1]
    found = []
    for name, rule in (("EventProp", EventProp(chunk=64)), ("BPTT", ns.BPTT())):
        torch.manual_seed(args.seed)
        net = ns.Sequential(
            ns.Linear(inputs, args.hidden), ns.CubaLIF(dt=DT), ns.Linear(args.hidden, 10), CubaLI(dt=DT)
        )
        first, second = net.parameters()
        # Silent neurons get no gradient: start with weights that make nearly all fire.
        torch.nn.init.normal_(first, 8.0 / inputs**0.75, 14.0 / inputs**0.75)
        torch.nn.init.normal_(second, 0.0, 2.0 / args.hidden**0.5)
        start = time.perf_counter()
        ns.fit(
            net,
            flat.train.batches(args.batch_size, seed=args.seed, encoder=encoder),
            rule=rule,
            loss=ns.MaxMembrane(),
            optimizer=torch.optim.Adam(net.parameters(), args.learning_rate),
            epochs=args.epochs,
            clip=1.0,
            seed=args.seed,
        )
        seconds = time.perf_counter() - start
        test = flat.test.batches(500, encoder=encoder, shuffle=False)
        found.append(scored("latency", name, net, test, ns.MaxMembrane(), seconds))
    return found


def scored(task: str, rule: str, net: torch.nn.Module, test: object, loss: ns.Loss, seconds: float) -> Scores:
    """Return and print the accuracy on the test images."""
    accuracy = ns.evaluate(net, test, loss)["accuracy"]  # type: ignore[arg-type]
    print(f"{task:8} {rule:28} {accuracy:7.2%} {seconds:7.1f} s", flush=True)
    return {"task": task, "rule": rule, "test_accuracy": accuracy, "seconds": round(seconds, 1)}


def images(args: argparse.Namespace) -> Split:
    """Return MNIST, or for a quick run without data the small digits."""
    if args.quick and args.data_root is None:
        data = digits()
        return dataclasses.replace(data, train=data.train.subset(slice(args.images)))
    data = mnist(args.data_root)
    return dataclasses.replace(data, train=data.train.subset(slice(args.images)))


def main() -> None:
    """Train with every rule and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", help="folder of MNIST's idx files; NEUROSIM_DATA if omitted")
    parser.add_argument("--task", choices=["rows", "local", "latency"], nargs="*", default=["rows", "local", "latency"])
    parser.add_argument("--images", type=int, default=60000, help="number of training images")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--hidden", type=int, default=100)
    parser.add_argument("--hold", type=int, default=1, help="steps per row")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=5e-3)
    parser.add_argument("--weight-decay", type=float, default=1e-2, help="aligns learned feedback and readout")
    parser.add_argument("--local-rate", type=float, default=1e-2, help="learning rate of DECOLLE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="600 images, two epochs, as a check that it runs")
    parser.add_argument("--out", type=Path, default=Path("runs/online_rules/result.json"))
    args = parser.parse_args()
    if args.quick:
        args.images, args.epochs, args.batch_size = min(args.images, 600), 2, 32
    data, run = images(args), {"rows": rows, "local": local, "latency": timed}
    results = [scores for task in args.task for scores in run[task](data, args)]
    with replaced(args.out) as part:
        part.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
