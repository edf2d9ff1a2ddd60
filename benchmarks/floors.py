"""The minimum time of a training step on this machine, from its operations and memory traffic."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.nets import Conv, Linear, Task
from benchmarks.timing import ImplausibleError, Times, seconds
from neurosim.kernels.common import matmul as dense

# The rates below are measured on a machine whose load may change.
MARGIN = 0.8


@dataclasses.dataclass(frozen=True)
class Machine:
    """The fastest product (operations per second, a multiply-add counting as two) and the fastest copy measured."""

    flops_per_s: float
    bytes_per_s: float

    def as_json(self) -> dict[str, float]:
        return {"product_flops_per_s": self.flops_per_s, "copy_bytes_per_s": self.bytes_per_s}


def machine(x: Tensor, calls: int = 20, width: int = 1024) -> Machine:
    """Return the fastest of `calls` square products by torch's two libraries, and of `calls` copies of `x`."""
    a, b, target = torch.rand(width, width), torch.rand(width, width), torch.empty_like(x)
    ways = (torch.mm, dense.product)
    product = min(seconds(lambda: way(a, b)) for way in ways for _ in range(calls))  # noqa: B023
    copy = min(seconds(lambda: target.copy_(x)) for _ in range(calls))
    return Machine(2.0 * width**3 / product, 2.0 * x.numel() * x.element_size() / copy)


@dataclasses.dataclass(frozen=True)
class Needs:
    """Operations and bytes of one step that every method needs.

    A spike costs one addition per weight in the forward pass and one in the weight gradient; an input that is not a
    spike also costs a multiplication. `input_flops` are those of the input gradients, dense unless the surrogate has
    compact support. The input is read once; spikes between layers are written and read as bits.
    """

    flops: float
    input_flops: float
    bytes: float

    def seconds(self, at: Machine, compact: bool) -> float:
        flops = self.flops + (0.0 if compact else self.input_flops)
        return max(flops / at.flops_per_s, self.bytes / at.bytes_per_s)

    def as_json(self) -> dict[str, float]:
        return dataclasses.asdict(self)


def needs(task: Task, spikes: Sequence[Tensor]) -> Needs:
    """Return the needs of a step of `task` with these spikes of its layers."""
    flops = input_flops = 0.0
    moved = float(task.x.numel() * task.x.element_size() * (2 if task.input_gradient else 1))
    for number, (layer, source, z) in enumerate(zip(task.layers, (task.x, *spikes), spikes, strict=False)):
        x = source.flatten(0, 1)
        for each in layer.synapses:
            if isinstance(each, (Linear, Conv)):
                spiking = bool(((x == 0) | (x == 1)).all())
                flops += 2 * each.taps(x) * (1 if spiking else 2)
                if number or task.input_gradient:
                    input_flops += 2 * each.taps(torch.ones_like(x))
            with torch.no_grad():
                x = each.module()(x)
        if layer.recurrent is not None:
            loop = Linear(layer.recurrent)
            flops += 2 * loop.taps(z[:-1].flatten(0, 1))
            input_flops += 2 * loop.taps(torch.ones_like(z[:-1]).flatten(0, 1))
        moved += 2 * z.numel() / 8
    return Needs(flops, input_flops, moved)


def check(name: str, times: Times, floor: float) -> None:
    """Raise an error when the fastest call took less than the floor."""
    if times.seconds[0] < MARGIN * floor:
        raise ImplausibleError(
            f"{name} took {times.seconds[0]:.2e} s; its spikes need at least {floor:.2e} s on this machine."
        )
