"""Train one ELM neuron on the parity of the last N bits, with growing N, with long and with short memory.

    python examples/elm_parity.py

One bit, -1 or 1, arrives at every step of 10 ms; after the last one the class is whether an odd number of the last N
were 1, so N - 1 of them carry no information. Up to ten other bits, their number different in every batch, precede them
and must be forgotten: counting from the start does not help. A neuron continues from N to N + 1 as soon as it is right
on 98 % of new sequences, and stops when --batches are not enough. The program prints the largest solved N, for a neuron
with memory time constants of up to a second and for one whose memory decays within a step or two. Results are written
to ``runs/elm_parity/result.json`` one by one.
"""

from __future__ import annotations

import argparse
import functools
import time
from pathlib import Path

import torch
from results import Results
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from neurosim.datasets.parity import parity
from neurosim.models import ELM

DT = 10e-3
BEFORE = 10  # most bits before those that count
MEMORIES = {"long memory": 1.0, "short memory": 15e-3}


def batch(number: int, order: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return new sequences [T, number, 1] and their classes [number]."""
    before = int(torch.randint(BEFORE + 1, (), generator=torch.Generator().manual_seed(seed)))
    data = parity(number, order, steps=order + before, seed=seed)
    return data.x.transpose(0, 1), data.y


def right(neuron: ELM, order: int, seed: int) -> float:
    """Return the accuracy on 2,000 other sequences, in ten batches."""
    found = []
    with torch.no_grad():
        for number in range(10):
            x, y = batch(200, order, (seed * 1_000 + order) * 100_000 + 99_000 + number)
            found.append((neuron(x)[0][-1, :, 0].argmax(1) == y).float().mean())
    return float(torch.stack(found).mean())


def climb(tau_max: float, seed: int, args: argparse.Namespace) -> dict[str, object]:
    """Train one neuron at N = 2, 3, ... until it fails; return the accuracy at each N and the largest solved one."""
    torch.manual_seed(seed)
    neuron = ELM(1, 2, dt=DT, d_m=args.memory, tau_m_max=tau_max)
    start, solved, rows = time.perf_counter(), 1, []
    for order in range(2, args.orders + 1):
        optimizer = torch.optim.Adamax(neuron.parameters(), lr=args.learning_rate)
        accuracy, taken = 0.0, 0
        progress = tqdm(total=args.batches, desc=f"N = {order}", mininterval=1.0)
        while taken < args.batches and accuracy < 0.98:
            for _ in range(100):
                x, y = batch(args.batch_size, order, (seed * 1_000 + order) * 100_000 + taken)
                optimizer.zero_grad()
                functional.cross_entropy(neuron(x)[0][-1, :, 0], y).backward()
                optimizer.step()
                taken += 1
            accuracy = right(neuron, order, seed)
            progress.update(100)
            progress.set_postfix(accuracy=f"{accuracy:.1%}")
        progress.close()
        rows.append({"order": order, "accuracy": accuracy, "batches": taken})
        if accuracy < 0.98:
            break
        solved = order
    seconds = time.perf_counter() - start
    parameters = sum(p.numel() for p in neuron.parameters())
    print(
        f"seed {seed}, time constants up to {1e3 * tau_max:g} ms: parity of up to {solved} bits, {parameters:,} "
        f"parameters, {seconds:.0f} s",
        flush=True,
    )
    return {"tau_m_max": tau_max, "solved": solved, "orders": rows, "seconds": round(seconds, 1)}


def main() -> None:
    """Train with long and with short memory and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--orders", type=int, default=10, help="largest N")
    parser.add_argument("--batches", type=int, default=4000, help="most batches per N")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--memory", type=int, default=20, help="memory units")
    parser.add_argument("--learning-rate", type=float, default=5e-3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--quick", action="store_true", help="one seed, up to three bits")
    parser.add_argument("--out", type=Path, default=Path("runs/elm_parity/result.json"))
    args = parser.parse_args()
    if args.quick:
        args.orders, args.seeds = 3, args.seeds[:1]
    results = Results(args.out, {name: value for name, value in vars(args).items() if name not in ("out", "seeds")})
    for seed in args.seeds:
        for name, tau_max in MEMORIES.items():
            results.once({"name": name, "seed": seed}, functools.partial(climb, tau_max, seed, args))


if __name__ == "__main__":
    main()
