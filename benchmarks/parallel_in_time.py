"""Methods for the layers of `neurosim.parallel`: scans against the loop, a filter over time, a threshold.

Forward and backward in float32, including the gradient of the input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import neurosim as ns
from benchmarks.options import Options
from benchmarks.timing import ImplausibleError, interleaved
from neurosim.parallel import SlidingPSN
from neurosim.parallel.window import filtered

NAME = "parallel-in-time"
DT, BLOCK = 1e-3, 16


def blocked_scan(x: Tensor, start: Tensor, alpha: float, block: int = BLOCK) -> Tensor:
    """Return ``v[t] = alpha v[t-1] + x[t]`` [T, M] from v[-1] = `start` [M], by triangular matrix products.

    Each block of steps is multiplied by the triangular matrix of powers of alpha; the ends of the blocks are a shorter
    scan of the same kind.
    """
    steps, width = x.shape
    rows = min(block, steps)
    step = torch.arange(rows, dtype=torch.float64, device=x.device)
    powers = torch.tril(alpha ** (step[:, None] - step).clamp(min=0)).to(x.dtype)
    carried = (alpha ** (step + 1)).to(x.dtype)[:, None]
    if steps <= block:
        return torch.addmm(carried * start, powers, x)
    padded = F.pad(x, (0, 0, 0, -steps % block)).view(-1, block, width)
    own = powers @ padded
    ends = blocked_scan(own[:, -1], start, alpha**block, block)
    before = torch.cat((start[None], ends[:-1]))
    return (own + carried * before[:, None]).reshape(-1, width)[:steps]


def doubling_scan(x: Tensor, start: Tensor, alpha: float) -> Tensor:
    """Return the same in about log2(T) passes over everything (Hillis & Steele 1986)."""
    v, reach = torch.cat((start[None], x)), 1
    while reach < v.shape[0]:
        v = torch.cat((v[:reach], v[reach:] + alpha**reach * v[:-reach]))
        reach *= 2
    return v[1:]


def shifted_sums(line: Tensor, weight: Tensor, offset: Tensor) -> Tensor:
    """Return the result of `filtered`, as one shifted multiply-add per tap."""
    taps = weight.flip(0)
    steps = line.shape[0] - len(taps) + 1
    out = offset + taps[0] * line[:steps]
    for n in range(1, len(taps)):
        out = out + taps[n] * line[n : n + steps]
    return out


def convolved(line: Tensor, weight: Tensor, offset: Tensor) -> Tensor:
    """Return the result of `filtered`, by torch's convolution along time."""
    return F.conv2d(line[None, None], weight.flip(0)[None, None, :, None])[0, 0] + offset


def _timed(
    ways: Mapping[str, Callable[[], Tensor]], leaves: list[Tensor], rounds: int, agree: float
) -> dict[str, dict[str, float | int]]:
    """Time each method forward and backward, after checking that they agree."""
    first = next(iter(ways.values()))().detach()
    for name, way in ways.items():
        off = float((way().detach() - first).abs().max())
        if off > agree:
            raise ImplausibleError(f"{name} differs from {next(iter(ways))} by {off:g}.")
    g = torch.randn_like(first)

    def work(way: Callable[[], Tensor]) -> Callable[[], object]:
        return lambda: torch.autograd.grad(way(), leaves, g)

    return {
        name: t.as_json() for name, t in interleaved({n: work(w) for n, w in ways.items()}, rounds, calls=1).items()
    }


def _membranes(steps: int, width: int, rounds: int) -> dict[str, Any]:
    x = torch.randn(steps, 1, width, requires_grad=True)
    # The membrane of ResetFreeLeaky, before its threshold.
    layer, start = ns.LI(dt=DT), torch.zeros(width)
    alpha = float(layer.decay("tau_mem"))
    ways = {
        "fused loop": lambda: layer(x)[0][:, 0],
        "blocked scan": lambda: blocked_scan((1.0 - alpha) * x[:, 0], start, alpha),
        "doubling scan": lambda: doubling_scan((1.0 - alpha) * x[:, 0], start, alpha),
    }
    return _timed(ways, [x], rounds, 1e-4)


def _filters(steps: int, width: int, order: int, rounds: int) -> dict[str, Any]:
    layer = SlidingPSN(order, dt=DT)
    line = torch.randn(steps + order - 1, width, requires_grad=True)
    given = (line, layer.weight, -layer.v_th)
    ways = {
        "blocks": lambda: filtered(*given),
        "shifted sums": lambda: shifted_sums(*given),
        "convolution": lambda: convolved(*given),
    }
    return _timed(ways, [line, layer.weight], rounds, 1e-4)


def _thresholds(steps: int, width: int, rounds: int) -> dict[str, Any]:
    distance = torch.randn(steps, 1, width, requires_grad=True)
    fire, spike = SlidingPSN(1, dt=DT).fire, ns.atan()
    return _timed({"fused": lambda: fire(distance)[0], "eager": lambda: spike(distance)}, [distance], rounds, 0.0)


def measure(options: Options) -> dict[str, Any]:
    """Return the times of each method, by work."""
    torch.manual_seed(0)
    rounds = 2 if options.quick else 15
    sizes = [(40, 32), (70, 3)] if options.quick else [(100, 16384), (1000, 1024), (10000, 64), (100000, 1)]
    orders = (3,) if options.quick else (2, 8, 32)
    work = {f"leaky membrane [{t}, {m}]": _membranes(t, m, rounds) for t, m in sizes}
    for t, m in sizes[:2]:
        work |= {f"filter of order {k} [{t}, {m}]": _filters(t, m, k, rounds) for k in orders}
        work[f"threshold [{t}, {m}]"] = _thresholds(t, m, rounds)
    return {"work": work}


def table(result: dict[str, Any]) -> str:
    """Return the result as text."""
    lines = ["Layers without a reset: forward and backward, median (fastest)"]
    for work, ways in result["work"].items():
        lines.append(work)
        first = next(iter(ways.values()))["median_s"]
        for name, t in ways.items():
            times = f"{t['median_s'] * 1e3:9.2f} ms ({t['fastest_s'] * 1e3:.2f})"
            lines.append(f"  {name:14}{times:24}{t['median_s'] / first:6.2f} x")
    return "\n".join(lines)
