"""A training step of an ELM neuron: its machine code against the definition as a loop of torch's own operations.

Both run forward and backward in float32, parameters and input included, and agree in output and gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.options import Options
from benchmarks.timing import ImplausibleError, interleaved
from neurosim.models import ELM

NAME = "elm"
OURS, LOOP = "neurosim", "plain loop"
# Sizes of: the adding task on 64 channels of a cochlea; the authors' SHD recipe; a Branch-ELM for cortical recordings.
ADDING = dict(n_in=64, n_out=19, dt=10e-3, steps=100)
SHD = dict(n_in=700, n_out=20, dt=10e-3, steps=100)
CORTEX = dict(n_in=1278, n_out=2, dt=1e-3, steps=500, branches=45, synapses=100)
CASES = (
    ADDING | dict(d_m=20, batch=8),
    ADDING | dict(d_m=40, batch=32),
    ADDING | dict(d_m=50, batch=32),
    ADDING | dict(d_m=100, batch=8),
    ADDING | dict(d_m=100, batch=32),
    ADDING | dict(d_m=100, batch=128),
    SHD | dict(d_m=100, batch=8),
    CORTEX | dict(d_m=20, batch=8),
    CORTEX | dict(d_m=100, batch=8),
)
QUICK = (
    ADDING | dict(d_m=7, batch=3, steps=10),
    CORTEX | dict(d_m=4, batch=2, n_in=24, branches=4, synapses=8, steps=10),
)


def one(case: dict[str, Any], rounds: int, calls: int) -> dict[str, Any]:
    """Time both ways at one size, once they are known to agree."""
    sizes = dict(case)
    steps, batch = sizes.pop("steps"), sizes.pop("batch")
    torch.manual_seed(0)
    neuron = ELM(**sizes)
    x = (torch.rand(steps, batch, neuron.n_in) < 0.1).float()
    share = torch.randn(steps, batch, 1, neuron.n_out)

    def step(run: Callable[[Tensor], Any]) -> list[Tensor]:
        y, _ = run(x)
        return [y.detach(), *torch.autograd.grad((y * share).sum(), list(neuron.parameters()))]

    ways = {OURS: neuron.forward, LOOP: neuron.reference}
    for fused, loop in zip(step(ways[OURS]), step(ways[LOOP]), strict=True):
        off = float((fused - loop).norm() / loop.norm().clamp(min=1e-6))
        if off > 1e-3:
            raise ImplausibleError(f"the machine code of the ELM neuron is off by {off:g} at {case}.")
    times = interleaved({name: lambda run=run: step(run) for name, run in ways.items()}, rounds, calls)  # type: ignore[misc]
    return {
        "case": case,
        "contenders": {name: found.as_json() for name, found in times.items()},
        "times_as_fast": times[LOOP].median / times[OURS].median,
    }


def measure(options: Options) -> dict[str, Any]:
    """Return the times at each size."""
    if options.quick:
        return {"cases": [one(case, 2, 1) for case in QUICK]}
    return {"cases": [one(case, 3, 2) for case in CASES]}


def table(result: dict[str, Any]) -> str:
    """Return the result as text."""
    lines = ["A training step of one ELM neuron, median ms"]
    lines.append(f"{'inputs':>8}{'steps':>7}{'d_m':>5}{'batch':>7}{OURS:>12}{LOOP:>12}{'times as fast':>15}")
    for found in result["cases"]:
        case = found["case"]
        fused, loop = (1e3 * found["contenders"][name]["median_s"] for name in (OURS, LOOP))
        lines.append(
            f"{case['n_in']:8}{case['steps']:7}{case['d_m']:5}{case['batch']:7}{fused:12.2f}{loop:12.2f}"
            f"{found['times_as_fast']:15.1f}"
        )
    return "\n".join(lines)
