"""Peak memory of a training step against the number of steps, with its time; each point in a separate process.

The network of `train-step` at 5 % input, cross-entropy at every step, which SLTT needs. The peak is that of the whole
process during one step, minus its memory after the network and the input were created and a step of T = 2 had run.
"""

from __future__ import annotations

from typing import Any

from benchmarks.fresh import RULES, peak, peaks
from benchmarks.libraries import UnavailableError, build
from benchmarks.nets import feedforward
from benchmarks.options import Options

NAME = "memory"
PEERS = ("SpikingJelly", "snnTorch")


def measure(options: Options) -> dict[str, Any]:
    """Return peak and seconds by contender and number of steps, medians of several processes."""
    lengths, calls = ([4, 8], 1) if options.quick else ([100, 250, 500, 1000], 5)
    lengths = list(options.chosen(lengths))
    small: dict[str, Any] = {"batch": 4, "sizes": (70, 32, 32, 20)} if options.quick else {}
    omitted: dict[str, str] = {}
    # A process per point takes seconds; one is enough to check that everything runs.
    point = peak if options.quick else peaks
    points: dict[str, dict[str, Any]] = {}
    for name in (*RULES, *PEERS):
        if name in PEERS:
            try:
                build(name, feedforward(steps=1, batch=1).layers)
            except UnavailableError as error:
                omitted[name] = str(error)
                continue
        points[name] = {
            str(steps): point(
                contender=name,
                task="feedforward",
                options={"steps": steps, "per_step": True, **small},
                calls=calls,
            )
            for steps in lengths
        }
    longest, first = str(lengths[-1]), str(lengths[0])
    return {
        "work": feedforward(**{"steps": lengths[0], **small}).work.replace(f"T = {lengths[0]}", "T as below"),
        "contenders": points,
        "longest_over_shortest": {
            name: each[longest]["peak_bytes"] / max(each[first]["peak_bytes"], 1) for name, each in points.items()
        },
        "omitted": omitted,
    }


def table(result: dict[str, Any]) -> str:
    """Return the result as text."""
    points = result["contenders"]
    lengths = list(next(iter(points.values())))
    lines = [f"Peak memory of a training step and its time, {result['work']}"]
    lines.append(f"{'':26}" + "".join(f"{'T = ' + t:>24}" for t in lengths) + f"{'last/first':>12}")
    for name, found in points.items():
        each = "".join(f"{found[t]['peak_bytes'] / 1e6:10.1f} MB{1e3 * found[t]['median_s']:8.1f} ms" for t in lengths)
        lines.append(f"{name:26}{each}{result['longest_over_shortest'][name]:12.2f}")
    lines += [f"{name} omitted: {why}" for name, why in result["omitted"].items()]
    return "\n".join(lines)
