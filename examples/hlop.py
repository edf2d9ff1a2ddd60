"""Learn permuted MNIST task after task with HLOP, and without it, and see what is forgotten.

    python examples/hlop.py --data-root FOLDER_WITH_THE_IDX_FILES

Each task shows the same digits with their pixels in another order; the network and its one readout do not learn which
task it is. A 784-800-800-10 network without biases learns them one after the other, an epoch each, by plain SGD: once
with HLOP and once without, from the same weights and on the same batches. The settings are those of the authors'
program for permuted MNIST (6 steps, membranes that keep half a step, soft reset, batches of 64, rate 0.1, 80, 200 and
100 lateral neurons and then 70 more of each a task, 20 fewer after every third task). The accuracies on all tasks after
each, ACC and BWT are printed and written to ``runs/hlop/result.json``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import time
from pathlib import Path

import torch

import neurosim as ns
from neurosim.datasets import Labelled, digits, direct, mnist
from neurosim.files import replaced
from neurosim.learning.hlop import HLOP, LateralBanks, average_accuracy, backward_transfer
from neurosim.synapses.lateral import Quantised

DT = 1e-3
RULES = {"bptt": ns.BPTT(), "sltt": ns.SLTT(), "ottt": ns.OTTT()}


def network(inputs: int, hidden: int, seed: int) -> ns.Network:
    """Return the untrained network: membranes that keep half of what they hold each step, readout without memory."""
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


def tasks(train: Labelled, test: Labelled, number: int, seed: int) -> list[tuple[Labelled, Labelled]]:
    """Return the data of each task, its pixels in an order of its own; the first task keeps theirs."""
    generator = torch.Generator().manual_seed(seed)
    mean, std = train.x.mean(), train.x.std()
    made = []
    for task in range(number):
        order = torch.randperm(train.x.shape[1], generator=generator)
        order = order if task else torch.arange(len(order))
        first, second = (dataclasses.replace(part, x=(part.x[:, order] - mean) / std) for part in (train, test))
        made.append((first, second))
    return made


def rows_of(task: int, args: argparse.Namespace) -> list[int]:
    """Return how many lateral neurons each layer gets for a task."""
    if not task:
        return args.first_rows
    return [max(rows - args.fewer * (task // 3), 0) for rows in args.more_rows]


def learn(data: list[tuple[Labelled, Labelled]], protected: bool, args: argparse.Namespace) -> dict[str, object]:
    """Learn all tasks in turn; return the accuracies on each after each."""
    net = network(data[0][0].x.shape[1], args.hidden, args.seed)
    rule = RULES[args.rule]
    loss = ns.MeanMembrane() if args.rule == "bptt" else ns.CrossEntropy()
    first, *others = (edge.name for edge in net.edges)
    rates = {first: args.input_rate} | dict.fromkeys(others, args.rate)
    spiking = Quantised(steps=args.spiking) if args.spiking else None
    banks = LateralBanks(net, rate=rates, spiking=spiking)
    name, start, matrix = "HLOP" if protected else "baseline", time.perf_counter(), []
    for task, (train, _) in enumerate(data):
        if protected:
            banks.begin_task(rows_of(task, args))
        ns.fit(
            net,
            train.batches(args.batch_size, seed=args.seed + task, encoder=direct(args.steps)),
            rule=HLOP(rule, banks) if protected else rule,
            loss=loss,
            optimizer=torch.optim.SGD(net.parameters(), lr=args.learning_rate),
            epochs=args.epochs,
            seed=args.seed,
        )
        batches = (test.batches(500, encoder=direct(args.steps), shuffle=False) for _, test in data)
        matrix.append([ns.evaluate(net, part, loss=loss)["accuracy"] for part in batches])
        shown = " ".join(f"{100 * value:5.1f}" for value in matrix[-1][: task + 1])
        print(f"{name}, after task {task + 1}: {shown} %", flush=True)
    scores = {"acc": average_accuracy(matrix), "bwt": backward_transfer(matrix)}
    seconds = time.perf_counter() - start
    print(f"{name}: ACC {scores['acc']:.2%}, BWT {scores['bwt']:+.2%}, {seconds:.0f} s", flush=True)
    return {"method": name, **scores, "accuracies": matrix, "seconds": round(seconds, 1)}


def main() -> None:
    """Learn with and without HLOP and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", help="folder of MNIST's idx files; NEUROSIM_DATA if left out")
    parser.add_argument("--tasks", type=int, default=10, help="from 2")
    parser.add_argument("--train-samples", type=int, help="of each task; all if left out")
    parser.add_argument("--test-samples", type=int, help="of each task; all if left out")
    parser.add_argument("--epochs", type=int, default=1, help="of each task")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--hidden", type=int, default=800)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--rule", choices=RULES, default="bptt")
    parser.add_argument("--first-rows", type=int, nargs=3, default=[80, 200, 100], help="lateral neurons, first task")
    parser.add_argument("--more-rows", type=int, nargs=3, default=[70, 70, 70], help="more of them each later task")
    parser.add_argument("--fewer", type=int, default=20, help="by how many --more-rows falls every third task")
    parser.add_argument("--input-rate", type=float, default=0.001, help="of the lateral neurons at the input")
    parser.add_argument("--rate", type=float, default=0.01, help="of the other lateral neurons")
    parser.add_argument("--spiking", type=int, default=0, metavar="N", help="lateral neurons with at most N spikes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="3 tasks of small digits that need no file")
    parser.add_argument("--out", type=Path, default=Path("runs/hlop/result.json"))
    args = parser.parse_args()
    if args.tasks < 2:
        parser.error("--tasks must be 2 or more")
    if args.quick:
        args.tasks, args.hidden, args.epochs, args.batch_size, args.steps = 3, 100, 5, 32, 4
        args.first_rows, args.more_rows, args.fewer, args.input_rate = [20, 30, 20], [15, 20, 15], 0, 0.01
    split = (digits() if args.quick else mnist(args.data_root)).flat()
    train = split.train.subset(slice(args.train_samples))
    test = split.test.subset(slice(args.test_samples))
    data = tasks(train, test, args.tasks, args.seed)
    results = [learn(data, protected, args) for protected in (True, False)]
    settings = {name: value for name, value in vars(args).items() if name not in ("data_root", "out")}
    with replaced(args.out) as part:
        part.write_text(json.dumps({"settings": settings, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
