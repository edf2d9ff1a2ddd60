"""Long memory by long time constants or by the network: N-parity with two curricula.

    python examples/timescales.py --seconds 270

A recurrent network with a learned time constant for each unit gives the parity of the last N bits, N = 2, 3, ...; N
advances when 98 % of a validation batch are right. `single`: one read-out, which is new for each N; `multi`: a read-out
is added for each N, and the losses of all are summed. Optimizer, sizes of sequences and the condition are those of
Khajehabdollahi et al. (arXiv:2309.12927) with fewer units and smaller batches. At the end the time constants of units
alone and in the network are printed: the latter from the autocorrelation under random bits.
"""

from __future__ import annotations

import argparse
import functools
import time
from pathlib import Path
from typing import Any

import torch
from results import Results
from torch.nn import functional

from neurosim.models import TimescaleNetwork, parity_of_last


def bits(depth: int, batch: int) -> torch.Tensor:
    """Return random bits [T, B, 1] of a length for a depth."""
    length = int(torch.randint(depth + 2, depth + 3 + 3 * depth, ()))
    return torch.randint(0, 2, (length, batch, 1)).float()


def trial(curriculum: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """Train one network for some time; return the depth that it solved and its time constants."""
    torch.manual_seed(seed)
    net = TimescaleNetwork(1, args.units)
    depth, solved, steps, start = net.add_head(2), 1, 0, time.process_time()

    def optimizer() -> torch.optim.Optimizer:
        return torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.1, nesterov=True)

    step = optimizer()
    while time.process_time() - start < args.seconds and depth <= args.deepest:
        x = bits(depth, args.batch)
        loss = sum(functional.cross_entropy(out, parity_of_last(x, k)) for k, out in net(x).items())
        step.zero_grad()
        loss.backward()  # type: ignore[union-attr]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 2.0)
        step.step()
        steps += 1
        if steps % 25:
            continue
        with torch.no_grad():
            x = bits(depth, 4 * args.batch)
            right = [(out.argmax(1) == parity_of_last(x, k)).double().mean() for k, out in net(x).items()]
        if min(right) > 0.98:
            solved = depth
            if curriculum == "single":
                net.remove_head(depth)
            depth = net.add_head(depth + 1)
            step = optimizer()
    noise = torch.randint(0, 2, (400, 4, 1)).float()
    alone, within = net.unit_times(), net.network_times(noise, skip=100)
    within = within[within.isfinite()]
    return {
        "solved": solved,
        "steps": steps,
        "alone": round(float(alone.mean()), 3),
        "network": round(float(within.mean()), 3) if len(within) else None,
    }


def main() -> None:
    """Train both curricula over all seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=100)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=270.0, help="CPU time of a network")
    parser.add_argument("--deepest", type=int, default=40)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--quick", action="store_true", help="one seed, two seconds")
    parser.add_argument("--out", type=Path, default=Path("runs/timescales/result.json"))
    args = parser.parse_args()
    if args.quick:
        args.seeds, args.seconds, args.units, args.deepest = args.seeds[:1], 2.0, 40, 3
    settings = {name: value for name, value in vars(args).items() if name not in ("seeds", "out")}
    results = Results(args.out, settings)
    torch.set_num_threads(1)
    for seed in args.seeds:
        for curriculum in ("single", "multi"):
            case = {"curriculum": curriculum, "seed": seed}
            row = results.once(case, functools.partial(trial, curriculum, seed, args))
            print(
                f"seed {seed}, {curriculum}: parity of {row['solved']} bits in {row['steps']} steps; time constants "
                f"{row['alone']} alone, {row['network']} in the network",
                flush=True,
            )


if __name__ == "__main__":
    main()
