"""Long lists of operations through a memory of a few tokens, whose backward pass replays one segment after the other.

    python examples/replay_memory.py

Expressions of ListOps with 1,800 to 2,000 tokens run through `ReplayMemory` in segments of 200. First the bytes that
autograd holds are printed, with replay and with full backpropagation, and how far their gradients differ. Then
networks are trained, with the factors of the simulated astrocyte and with factors of 1: on a digit of the first segment
that is named after the last of 2, 4 or 8 segments, and on ListOps. Two baselines are printed beside the latter: the
commonest value, and the commonest value of the outermost operation. Sizes and tasks are this project's, far below
those of the paper of the mechanism.
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
from torch.nn import functional

from neurosim.datasets import LISTOPS_TOKENS, listops
from neurosim.models import AstrocyteCell, ReplayMemory, retention_factors


class Held:
    """A tensor that autograd keeps; its bytes count while it is kept, once for each storage."""

    known: set[int]
    now: dict[int, list[int]]
    most: int

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, storage = tensor, tensor.untyped_storage()
        self.place = storage.data_ptr()
        if self.place not in Held.known:
            Held.now.setdefault(self.place, []).append(storage.nbytes())
            Held.most = max(Held.most, sum(sizes[0] for sizes in Held.now.values() if sizes))

    def __del__(self) -> None:
        if Held.now.get(self.place):
            Held.now[self.place].pop()


def replaying(memory: ReplayMemory, replay: bool) -> ReplayMemory:
    """Return `memory` with or without replay."""
    memory.replay = replay
    return memory


def most_held(memory: ReplayMemory, x: Tensor) -> int:
    """Return the largest number of bytes that autograd holds at a time, without parameters and input."""
    Held.known = {t.untyped_storage().data_ptr() for t in (x, *memory.parameters())}
    Held.now, Held.most = {}, 0
    with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.tensor):
        memory(x).sum().backward()
    return Held.most


def gradients(memory: ReplayMemory, x: Tensor) -> Tensor:
    """Return all gradients of a weighted sum of the memory, one after the other."""
    out = memory(x)
    weights = torch.arange(out.numel(), dtype=out.dtype).cos().view_as(out)
    found = torch.autograd.grad((out * weights).sum(), list(memory.parameters()))
    return torch.cat([g.flatten() for g in found])


def network(args: argparse.Namespace, retention: str) -> tuple[ReplayMemory, nn.Module]:
    """Return the memory, and the read-out from the mean of its tokens."""
    cell = AstrocyteCell(args.n, args.hidden, tokens=len(LISTOPS_TOKENS), depth=args.depth)
    factors = retention_factors if retention == "astrocyte" else None
    memory = ReplayMemory(cell, memory=args.memory, n=args.n, segment=args.segment, retention=factors)
    return memory, nn.Sequential(nn.LayerNorm(args.n), nn.Linear(args.n, 10))


def recall(number: int, length: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return sequences of tokens 0 ... 4 whose first token, 5 ... 14, gives the label."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(5, (number, length), generator=generator)
    y = torch.randint(10, (number,), generator=generator)
    x[:, 0] = 5 + y
    return x, y


def drawn(args: argparse.Namespace, number: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return sequences and labels of the task."""
    if args.task == "recall":
        return recall(number, args.tokens, seed)
    data = listops(number, args.tokens, seed=seed)
    return data.x, data.y


def trial(args: argparse.Namespace, retention: str, seed: int) -> dict[str, Any]:
    """Train on sequences that are drawn once each; return the accuracy on others."""
    torch.manual_seed(seed)
    memory, read = network(args, retention)
    optimizer = torch.optim.AdamW([*memory.parameters(), *read.parameters()], lr=args.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.rate, total_steps=args.steps, pct_start=0.25)
    start = time.process_time()
    for step in range(args.steps):
        x, y = drawn(args, args.batch, 1 + seed * args.steps + step)
        loss = functional.cross_entropy(read(memory(x).mean(1)), y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(memory.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    seconds = time.process_time() - start
    test, labels = drawn(args, args.test, 0)
    with torch.no_grad():
        guesses = torch.cat([read(memory(x).mean(1)).argmax(1) for x in test.split(100)])
    accuracy = float((guesses == labels).double().mean())
    return {"accuracy": accuracy, "loss": float(loss.detach()), "seconds": round(seconds)}


def main() -> None:
    """Print what is held, and the accuracies over all seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=2000)
    parser.add_argument("--segment", type=int, default=200)
    parser.add_argument("--n", type=int, default=32, help="values of a token")
    parser.add_argument("--hidden", type=int, default=32, help="hidden neurons of the attention")
    parser.add_argument("--depth", type=int, default=1, help="layers")
    parser.add_argument("--memory", type=int, default=8, help="memory tokens")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=1e-2, help="largest learning rate")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--test", type=int, default=2000, help="expressions of the test")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--recall-steps", type=int, default=600, help="steps of the first task")
    parser.add_argument("--segments", type=int, nargs="+", default=[2, 4, 8], help="of the first task")
    parser.add_argument("--retention", nargs="+", default=["astrocyte", "none"], choices=["astrocyte", "none"])
    parser.add_argument("--quick", action="store_true", help="400 tokens, one seed, eight steps")
    parser.add_argument("--out", type=Path, default=Path("runs/replay/result.json"))
    args = parser.parse_args()
    if args.quick:
        args.segments, args.recall_steps = [2], 10
        args.tokens, args.segment, args.steps, args.batch, args.test, args.seeds = 400, 50, 8, 4, 50, args.seeds[:1]
    settings = {
        name: value for name, value in vars(args).items() if name not in ("seeds", "retention", "segments", "out")
    }
    results = Results(args.out, settings)
    torch.set_num_threads(1)
    print_held(args)
    steps = {"steps": args.recall_steps}
    for segments in args.segments:
        small = {"task": "recall", "tokens": 10 * segments, "segment": 10, "memory": 4, "batch": 64, "rate": 3e-3}
        train(argparse.Namespace(**(vars(args) | small | steps)), results)
    test = listops(args.test, args.tokens, seed=0)
    root = test.x[:, 0]
    by_root = sum(int(test.y[root == token].bincount().max()) for token in root.unique())
    commonest = int(test.y.bincount().max()) / args.test
    print(f"listops: commonest value {commonest:.3f}, that of the outermost operation {by_root / args.test:.3f}")
    train(argparse.Namespace(**vars(args), task="listops"), results)


def print_held(args: argparse.Namespace) -> None:
    """Print the bytes held and the difference of the gradients, with and without replay."""
    memory, _ = network(args, "astrocyte")
    whole = listops(1, args.tokens).x
    number = args.tokens // args.segment
    for segments in sorted({1, max(number // 2, 1), number}):
        x = whole[:, : segments * args.segment].clone()
        held = [most_held(replaying(memory, replay), x) for replay in (True, False)]
        print(f"{x.shape[1]} tokens: {held[0] / 1e3:.1f} kB held with replay, {held[1] / 1e3:.1f} kB without")
    memory.double()
    replayed, full = (gradients(replaying(memory, replay), x) for replay in (True, False))
    print(
        f"gradients differ by {float((replayed - full).abs().max()):.1g}; the largest is {float(full.abs().max()):.1g}"
    )


def train(args: argparse.Namespace, results: Results) -> None:
    """Train on a task with and without the factors, over all seeds."""
    for retention in args.retention:
        for seed in args.seeds:
            case = {"task": args.task, "tokens": args.tokens, "retention": retention, "seed": seed}
            row = results.once(case, functools.partial(trial, args, retention, seed))
            print(
                f"{args.task} of {args.tokens} tokens, retention {retention}, seed {seed}: "
                f"test {row['accuracy']:.3f} in {row['seconds']} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
