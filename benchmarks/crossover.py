"""Event-driven and dense products over the rate: where their times are equal.

Forward and backward in float32 of a linear layer without neurons, the gradient of the input computed densely; then that
gradient alone, restricted to a mask. ``--plot FILE`` plots the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import neurosim as ns
from benchmarks.options import Options
from benchmarks.timing import ImplausibleError, interleaved
from neurosim.kernels.common import matmul as dense
from neurosim.kernels.common.bits import pack
from neurosim.kernels.common.policy import Product, forced
from neurosim.kernels.linear.masked_product import masked_product

NAME = "crossover"
RATES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6)
ROWS = 6400


def _linear(x: Tensor, n_out: int) -> dict[str, Callable[[], Tensor]]:
    synapse = ns.Linear(x.shape[-1], n_out)
    g = torch.randn(*x.shape[:2], n_out)

    def step(product: Product) -> Callable[[], Tensor]:
        def run() -> Tensor:
            with forced(product):
                return torch.autograd.grad(synapse(x), synapse.weight, g)[0]

        return run

    return {"event-driven": step("events"), "dense": step("dense")}


def _masked(mask: Tensor, n_out: int) -> dict[str, Callable[[], Tensor]]:
    mask = mask.flatten(0, 1)
    weight, g = torch.randn(n_out, mask.shape[-1]), torch.randn(mask.shape[0], n_out)
    bits = pack(mask).bits
    return {
        "event-driven": lambda: masked_product(g, weight, bits) * 1.0,
        "dense": lambda: dense.product(g, weight),
    }


def _ratios(
    ways: Callable[[Tensor, int], dict[str, Callable[[], Tensor]]], n_in: int, n_out: int, rows: int, rounds: int
) -> list[dict[str, float]]:
    found = []
    for rate in RATES:
        x = (torch.rand(rows // 64, 64, n_in) < rate).float()
        both = ways(x, n_out)
        a, b = (way() for way in both.values())
        reached = a != 0 if ways is _masked else torch.ones_like(a, dtype=torch.bool)
        if not torch.allclose(a[reached], b[reached], rtol=1e-3, atol=1e-2):
            raise ImplausibleError(f"the two methods differ for {n_in} to {n_out} at a rate of {rate}.")
        times = interleaved(both, rounds, calls=2)
        found.append({"rate": rate, **{name: each.median for name, each in times.items()}})
    return found


def crossing(points: list[dict[str, float]]) -> float | None:
    """Return the rate of equal times, interpolated linearly between two points; None if there is none."""
    last = None
    for point in points:
        here = math.log(point["rate"]), math.log(point["event-driven"] / point["dense"])
        if here[1] >= 0:
            if last is None:
                return None
            share = -last[1] / (here[1] - last[1])
            return math.exp(last[0] + share * (here[0] - last[0]))
        last = here
    return None


def measure(options: Options) -> dict[str, Any]:
    """Return the times of both methods by work and rate, and the rate at which they cross."""
    torch.manual_seed(0)
    rows, rounds = (128, 1) if options.quick else (ROWS, 3)
    sizes = [(70, 32), (40, 20)] if options.quick else [(700, 256), (256, 256), (256, 20), (512, 512), (1024, 1024)]
    work = {f"linear {n} to {m}": _ratios(_linear, n, m, rows, rounds) for n, m in sizes}
    n, m = sizes[1]
    work[f"input gradient, {n} from {m}"] = _ratios(_masked, n, m, rows, rounds)
    result = {"rows": rows, "work": work, "crossing": {name: crossing(points) for name, points in work.items()}}
    if options.plot is not None:
        draw(result, options.plot)
    return result


def draw(result: dict[str, Any], path: Path) -> None:
    """Plot the time of the event-driven method over that of the dense one against the rate."""
    from matplotlib.figure import Figure

    from neurosim.files.atomic import replaced

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for name, points in result["work"].items():
        style = "--" if name.startswith("input") else "-"
        ratios = [point["event-driven"] / point["dense"] for point in points]
        axes.plot([100 * point["rate"] for point in points], ratios, style, marker=".", label=name)
    axes.axhline(1.0, color="0.3", linewidth=0.8)
    axes.set(xscale="log", yscale="log", xlabel="nonzero inputs, or requested gradients (%)")
    axes.set_ylabel("time of event-driven / time of dense")
    axes.legend(fontsize="small")
    with replaced(path) as part:
        kind = path.suffix.lstrip(".") or "svg"
        figure.savefig(part, format=kind, metadata={"Date": None} if kind == "svg" else None)


def table(result: dict[str, Any]) -> str:
    """Return the result as text."""
    lines = [f"Time of the event-driven method over that of the dense one, {result['rows']} rows, forward and backward"]
    lines.append(f"{'rate':32}" + "".join(f"{100 * rate:7.1f} %" for rate in RATES) + f"{'equal at':>12}")
    for name, points in result["work"].items():
        ratios = "".join(f"{point['event-driven'] / point['dense']:9.2f}" for point in points)
        rate = result["crossing"][name]
        lines.append(f"{name:32}{ratios}" + (f"{100 * rate:10.1f} %" if rate else f"{'-':>12}"))
    return "\n".join(lines)
