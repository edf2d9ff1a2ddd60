"""A training step of an ELM neuron: its machine code against the definition as a loop of torch operations.

Both run forward and backward in float32 and agree in output and gradients. The time of torch for the products of the
perceptron alone, each in one call for all steps, is measured too; no loop can do that. Where it is a tenth of the plain
loop or more, a factor of ten would mean to be faster than torch's products.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.options import Options
from benchmarks.timing import ImplausibleError, interleaved
from neurosim.models import ELM

NAME = "elm"
OURS, LOOP, PRODUCTS = "neurosim", "plain loop", "products only"
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
    """Time both methods at one size, after checking that they agree."""
    sizes = dict(case)
    steps, batch = sizes.pop("steps"), sizes.pop("batch")
    torch.manual_seed(0)
    neuron = ELM(**sizes)
    x = (torch.rand(steps, batch, neuron.n_in) < 0.1).float()
    share = torch.randn(steps, batch, 1, neuron.n_out)

    def step(run: Callable[[Tensor], Any]) -> list[Tensor]:
        y, *_ = run(x)
        return [y.detach(), *torch.autograd.grad((y * share).sum(), list(neuron.parameters()))]

    ways: dict[str, Callable[[Tensor], Any]] = {OURS: neuron.run, LOOP: neuron.run_reference}
    for fused, loop in zip(step(ways[OURS]), step(ways[LOOP]), strict=True):
        off = float((fused - loop).norm() / loop.norm().clamp(min=1e-6))
        if off > 1e-3:
            raise ImplausibleError(f"the machine code of the ELM neuron is off by {off:g} at {case}.")
    contenders: dict[str, Callable[[], object]] = {PRODUCTS: products(neuron, steps * batch)}
    contenders |= {name: functools.partial(step, run) for name, run in ways.items()}
    times = interleaved(contenders, rounds, calls)
    return {
        "case": case,
        "contenders": {name: found.as_json() for name, found in times.items()},
        "times_as_fast": times[LOOP].median / times[OURS].median,
        "loop_over_products": times[LOOP].median / times[PRODUCTS].median,
    }


def products(neuron: ELM, rows: int) -> Callable[[], object]:
    """Return the products of branches, memory and hidden units with their weights, forward and backward."""
    b, d, h = neuron.branches, neuron.d_m, neuron.d_mlp
    branch, memory, hidden = (torch.randn(rows, n) for n in (b, d, h))
    first, second, third = (torch.randn(sizes) for sizes in ((b, h), (d, h), (h, d)))

    def run() -> None:
        for x, weight, g in ((branch, first, hidden), (memory, second, hidden), (hidden, third, memory)):
            torch.mm(x, weight)
            torch.mm(x.T, g)
            if x is not branch:  # the input needs no gradient
                torch.mm(g, weight.T)

    return run


def measure(options: Options) -> dict[str, Any]:
    """Return the times at each size."""
    if options.quick:
        return {"cases": [one(case, 2, 1) for case in QUICK]}
    return {"cases": [one(case, 3, 8) for case in CASES]}


def table(result: dict[str, Any]) -> str:
    """Return the result as text."""
    lines = ["A training step of one ELM neuron, median ms"]
    head = f"{'inputs':>8}{'steps':>7}{'d_m':>5}{'batch':>7}{OURS:>12}{LOOP:>12}{PRODUCTS:>15}{'times as fast':>15}"
    lines.append(f"{head}{'loop/products':>15}")
    for found in result["cases"]:
        case = found["case"]
        ours, loop, least = (1e3 * found["contenders"][name]["median_s"] for name in (OURS, LOOP, PRODUCTS))
        lines.append(
            f"{case['n_in']:8}{case['steps']:7}{case['d_m']:5}{case['batch']:7}{ours:12.2f}{loop:12.2f}{least:15.2f}"
            f"{found['times_as_fast']:15.1f}{found['loop_over_products']:15.1f}"
        )
    return "\n".join(lines)
