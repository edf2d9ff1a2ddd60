"""From import to the end of the first training step in a fresh process, and a step with another batch size."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.fresh import measured
from benchmarks.libraries import CONTENDERS, UnavailableError, build
from benchmarks.nets import feedforward
from benchmarks.options import Options

NAME = "cold-start"
SECONDS = ("import_and_build_s", "first_step_s", "second_size_s")


def measure(options: Options) -> dict[str, Any]:
    """Return seconds and compilations by contender, medians of several processes."""
    quick = options.quick
    small: dict[str, Any] = {"steps": 10, "sizes": (70, 32, 32, 20)} if quick else {}
    runs = 1 if quick else 3
    omitted = {"neurosim, triangle": "as neurosim"}
    if quick:
        omitted |= {name: "not in a quick run" for name in CONTENDERS if name not in ("neurosim", "plain loop")}
    contenders = {}
    layers = feedforward(steps=1, batch=1).layers
    for name in CONTENDERS:
        if name in omitted:
            continue
        try:
            build(name, layers)
        except UnavailableError as error:
            omitted[name] = str(error)
            continue
        first, second = {"batch": 8 if quick else 64, **small}, {"batch": 5 if quick else 37, **small}
        found = [measured("cold", contender=name, options=first, second=second) for _ in range(runs)]
        contenders[name] = {
            **{key: statistics.median(each[key] for each in found) for key in SECONDS},
            "compiled_first": found[0]["compiled_first"],
            "compiled_second": found[0]["compiled_second"],
        }
    return {
        "work": feedforward(**{"batch": 8 if quick else 64, **small}).work,
        "second_batch": 5 if quick else 37,
        "runs": runs,
        "contenders": contenders,
        "omitted": omitted,
    }


def table(result: dict[str, Any]) -> str:
    """Return the result as text."""
    lines = [f"Import to the end of the first training step, {result['work']}; then batch {result['second_batch']}"]
    lines.append(f"{'':20}{'imported':>12}{'first step':>12}{'second size':>14}{'compiled':>10}{'then':>6}")
    for name, each in result["contenders"].items():
        taken = f"{each['import_and_build_s']:10.2f} s{each['first_step_s']:10.2f} s{each['second_size_s']:12.3f} s"
        first, second = each["compiled_first"], each["compiled_second"]
        lines.append(f"{name:20}{taken}" + ("" if first is None else f"{first:10}{second:6}"))
    lines += [f"{name} omitted: {why}" for name, why in result["omitted"].items()]
    return "\n".join(lines)
