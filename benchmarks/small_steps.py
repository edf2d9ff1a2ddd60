"""Small networks, batch 1: one step of a stream, a run, and a training step, beside the same in torch's operations."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import neurosim as ns
from benchmarks.nets import ALPHA, DT, TAU
from benchmarks.options import Options
from benchmarks.timing import ImplausibleError, interleaved

NAME = "small-steps"
_RATE = 0.1
_SCALE = 30.0  # of weights whose standard deviation is that over the square root of the fan-in, for some spikes


class Loop:
    """A chain of LIF layers in torch's operations, without gradients."""

    def __init__(self, weights: list[Tensor]) -> None:
        self.weights = weights
        self.v = [torch.zeros(1, len(weight)) for weight in weights]

    def step(self, z: Tensor) -> Tensor:
        """Take one step of z [1, n]."""
        for number, weight in enumerate(self.weights):
            u = ALPHA * self.v[number] + (1.0 - ALPHA) * F.linear(z, weight)
            fires = u > 1.0
            z, self.v[number] = fires.to(u.dtype), torch.where(fires, 0.0, u)
        return z


def measure(options: Options) -> dict[str, Any]:
    """Return the times of each case in seconds."""
    rounds, calls = (2, 2) if options.quick else (200, 8)
    cases = {}
    for sizes, steps in (((64, 256, 10), 1), ((64, 128, 10), 100)):
        net, loop, x = _made(sizes, max(steps, 20))
        if steps == 1:
            cases["a step of 64-256-10"] = _times(_streams(net, loop, x), rounds, calls)
        else:
            cases["a run of 64-128-10, T = 100"] = _times(_runs(net, loop, x), max(rounds // 10, 2), 2)
            cases["a training step of it"] = _times({"neurosim": _training(net, x)}, rounds, calls)
    return {"cases": cases}


def _made(sizes: tuple[int, ...], steps: int) -> tuple[ns.Network, Loop, Tensor]:
    generator = torch.Generator().manual_seed(0)
    parts: list[Any] = []
    for n_in, n in itertools.pairwise(sizes):
        synapse = ns.Linear(n_in, n)
        with torch.no_grad():
            synapse.weight.copy_(torch.randn(n, n_in, generator=generator) * (_SCALE / math.sqrt(n_in)))
        parts += [synapse, ns.LIF(tau_mem=TAU, dt=DT)]
    net = ns.Sequential(*parts)
    x = (torch.rand(steps, 1, sizes[0], generator=generator) < _RATE).float()
    loop = Loop([parameter.detach() for parameter in net.parameters()])
    with torch.no_grad():
        wanted = torch.stack([loop.step(each) for each in x])
        if not wanted.any() or (net(x)[0] == wanted).float().mean() < 0.99:
            raise ImplausibleError("neurosim and the loop do not send the same spikes.")
    return net, loop, x


def _streams(net: ns.Network, loop: Loop, x: Tensor) -> dict[str, Callable[[], object]]:
    with torch.no_grad():
        _, state = net(x[:1])
    held = [state]

    def ours() -> None:
        with torch.no_grad():
            _, held[0] = net(x[:1], held[0])

    def plain() -> None:
        with torch.no_grad():
            loop.step(x[0])

    return {"neurosim": ours, "plain loop": plain}


def _runs(net: ns.Network, loop: Loop, x: Tensor) -> dict[str, Callable[[], object]]:
    def ours() -> None:
        with torch.no_grad():
            net(x)

    def plain() -> None:
        with torch.no_grad():
            for each in x:
                loop.step(each)

    return {"neurosim": ours, "plain loop": plain}


def _training(net: ns.Network, x: Tensor) -> Callable[[], object]:
    parameters = list(net.parameters())

    def run() -> None:
        for parameter in parameters:
            parameter.grad = None
        net(x)[0].sum().backward()

    return run


def _times(runs: Mapping[str, Callable[[], object]], rounds: int, calls: int) -> dict[str, Any]:
    return {name: each.as_json() for name, each in interleaved(runs, rounds, calls).items()}


def table(result: Mapping[str, Any]) -> str:
    """Return the cases in ``result["cases"]`` as text."""
    lines = [f"{'batch 1':32}{'':14}{'median':>12}{'fastest':>12}"]
    for case, contenders in result["cases"].items():
        for name, each in contenders.items():
            lines.append(f"{case:32}{name:14}{1e6 * each['median_s']:9.1f} us{1e6 * each['fastest_s']:9.1f} us")
    return "\n".join(lines)
