"""Learn permuted MNIST task after task with and without HLOP, and measure forgetting.

    python examples/hlop.py --data-root FOLDER_WITH_THE_IDX_FILES

Each task has the same digits with another permutation of pixels; the network and its one readout do not receive the
task. A 784-800-800-10 network without biases learns them in sequence, one epoch each, by plain SGD: once with HLOP and
once without, from the same weights and on the same batches. The settings are those of the authors' program for permuted
MNIST (6 steps, membranes that decay by half per step, soft reset, batches of 64, learning rate 0.1, 80, 200 and 100
lateral neurons and then 70 more of each per task, 20 fewer after every third task). The accuracies on all tasks so far
after each task, ACC and BWT are printed and written to ``runs/hlop/result.json``. The state of each run after its last
task is saved beside it: an interrupted run continues from there.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import math
import time
from pathlib import Path

import torch
from results import Results
from torch import Tensor

import neurosim as ns
from neurosim.datasets import Labelled, digits, direct, mnist
from neurosim.files.atomic import replaced
from neurosim.learning import HLOP, LateralBanks, average_accuracy, backward_transfer
from neurosim.synapses.lateral import RoundedResponses

DT = 1e-3
RULES = {"bptt": ns.BPTT(), "sltt": ns.SLTT(), "ottt": ns.OTTT()}


def network(inputs: int, hidden: int, seed: int) -> ns.Network:
    """Return the untrained network: membranes that decay by half per step, a readout without memory."""
    torch.manual_seed(seed)

    def lif() -> ns.Neuron:
        return ns.LIF(tau_mem=DT / math.log(2), r=2.0, dt=DT, reset="subtract", spike=ns.sigmoid(4.0))

    return ns.Sequential(
        ns.Linear(inputs, hidden),
        lif(),
        ns.Linear(hidden, hidden),
        lif(),
        ns.Linear(hidden, 10),
        ns.LI(tau_mem=DT / 40, dt=DT),
        names=("first", "second", "output"),
    )


def tasks(pixels: int, number: int, seed: int) -> list[Tensor]:
    """Return the permutation of pixels of each task; that of the first is the identity."""
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(pixels, generator=generator) for _ in range(number)]
    return [torch.arange(pixels), *orders[1:]]


def permuted(data: Labelled, order: Tensor) -> Labelled:
    """Return the images with the permutation of a task."""
    return dataclasses.replace(data, x=data.x[:, order])


def rows_of(task: int, args: argparse.Namespace) -> list[int]:
    """Return the number of lateral neurons per layer for a task."""
    if not task:
        return args.first_rows
    return [max(rows - args.fewer * (task // 3), 0) for rows in args.more_rows]


def learn(train: Labelled, test: Labelled, method: str, seed: int, args: argparse.Namespace) -> dict[str, object]:
    """Learn all tasks in sequence; return the accuracies on all so far after each."""
    pixels = train.x.shape[1]
    orders = tasks(pixels, args.tasks, seed)
    net = network(pixels, args.hidden, seed)
    rule = RULES[args.rule]
    loss = ns.MeanMembrane() if args.rule == "bptt" else ns.CrossEntropy()
    first, *others = (edge.name for edge in net.edges)
    rates = {first: args.input_rate} | dict.fromkeys(others, args.rate)
    spiking = RoundedResponses(steps=args.spiking) if args.spiking else None
    banks = LateralBanks(net, rate=rates, spiking=spiking)
    table: list[list[float]] = []
    seconds = 0.0
    kept = args.out.with_name(f"{args.out.stem}-{method}-{seed}.pt")
    if kept.exists():
        saved = torch.load(kept, weights_only=True)
        if saved["settings"] == args.settings:
            net.load_state_dict(saved["net"])
            banks.load_state_dict(saved["banks"])
            table, seconds = saved["table"], saved["seconds"]
            print(f"{method}, seed {seed}: from {kept}, after task {len(table)}", flush=True)
    for task in range(len(table), len(orders)):
        start = time.perf_counter()
        if method == "HLOP":
            torch.manual_seed(1_000 * seed + task)
            banks.begin_task(rows_of(task, args))
        ns.fit(
            net,
            permuted(train, orders[task]).batches(
                args.batch_size, seed=1_000 * seed + task, encoder=direct(args.steps)
            ),
            rule=HLOP(rule, banks) if method == "HLOP" else rule,
            loss=loss,
            optimizer=torch.optim.SGD(net.parameters(), lr=args.learning_rate),
            epochs=args.epochs,
            seed=seed,
        )
        shown = (permuted(test, order) for order in orders[: task + 1])
        batches = (part.batches(500, encoder=direct(args.steps), shuffle=False) for part in shown)
        table.append([ns.evaluate(net, each, loss=loss)["accuracy"] for each in batches])
        seconds += time.perf_counter() - start
        percent = " ".join(f"{100 * value:5.1f}" for value in table[-1])
        print(f"{method}, seed {seed}, after task {task + 1}: {percent} %", flush=True)
        reached = {"settings": args.settings, "net": net.state_dict(), "banks": banks.state_dict()}
        with replaced(kept) as part:
            torch.save(reached | {"table": table, "seconds": seconds}, part)
    matrix = [row + [math.nan] * (len(orders) - len(row)) for row in table]
    scores = {"acc": average_accuracy(matrix), "bwt": backward_transfer(matrix)}
    print(f"{method}, seed {seed}: ACC {scores['acc']:.2%}, BWT {scores['bwt']:+.2%}, {seconds:.0f} s", flush=True)
    kept.unlink()
    return {**scores, "accuracies": table, "seconds": round(seconds, 1)}


def main() -> None:
    """Learn with and without HLOP and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", help="folder of MNIST's idx files; NEUROSIM_DATA if omitted")
    parser.add_argument("--tasks", type=int, default=10, help="number of tasks, at least 2")
    parser.add_argument("--train-samples", type=int, help="per task; all if omitted")
    parser.add_argument("--test-samples", type=int, help="per task; all if omitted")
    parser.add_argument("--epochs", type=int, default=1, help="of each task")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--hidden", type=int, default=800)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--rule", choices=RULES, default="bptt")
    parser.add_argument("--first-rows", type=int, nargs=3, default=[80, 200, 100], help="lateral neurons, first task")
    parser.add_argument(
        "--more-rows", type=int, nargs=3, default=[70, 70, 70], help="additional lateral neurons per later task"
    )
    parser.add_argument("--fewer", type=int, default=20, help="decrease of --more-rows every third task")
    parser.add_argument(
        "--input-rate", type=float, default=0.001, help="learning rate of the lateral neurons at the input"
    )
    parser.add_argument("--rate", type=float, default=0.01, help="learning rate of the other lateral neurons")
    parser.add_argument(
        "--spiking", type=int, default=0, metavar="N", help="spiking lateral neurons with at most N spikes"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--methods", nargs="+", choices=["HLOP", "baseline"], default=["HLOP", "baseline"])
    parser.add_argument("--quick", action="store_true", help="3 tasks on the digits of scikit-learn")
    parser.add_argument("--out", type=Path, default=Path("runs/hlop/result.json"))
    args = parser.parse_args()
    if args.tasks < 2:
        parser.error("--tasks must be 2 or more")
    if args.quick:
        args.tasks, args.hidden, args.epochs, args.batch_size, args.steps = 3, 100, 5, 32, 4
        args.first_rows, args.more_rows, args.fewer, args.input_rate = [20, 30, 20], [15, 20, 15], 0, 0.01
    split = (digits() if args.quick else mnist(args.data_root)).flat()
    train = split.train.subset(slice(args.train_samples))
    mean, std = train.x.mean(), train.x.std()
    train, test = (
        dataclasses.replace(part, x=(part.x - mean) / std)
        for part in (train, split.test.subset(slice(args.test_samples)))
    )
    apart = ("data_root", "out", "seeds", "methods")
    args.settings = {name: value for name, value in vars(args).items() if name not in apart}
    results = Results(args.out, args.settings)
    for seed in args.seeds:
        for method in args.methods:
            results.once({"method": method, "seed": seed}, functools.partial(learn, train, test, method, seed, args))


if __name__ == "__main__":
    main()
