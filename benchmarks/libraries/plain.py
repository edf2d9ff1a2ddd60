"""A loop written by hand in PyTorch, and the same with its step compiled."""

from __future__ import annotations

import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.libraries import UnavailableError
from benchmarks.libraries.chain import Chain, loop_weight, stepwise
from benchmarks.nets import Layer

Step = Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]]


class Spike(torch.autograd.Function):
    """1 where x > 0; its derivative is that of the arctan surrogate of slope 2."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return g / (1.0 + (math.pi * x) ** 2)


def lif_step(current: Tensor, v: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    u = alpha * v + current
    z = Spike.apply(u - 1.0)
    return z, u * (1.0 - z.detach())


class Neurons(nn.Module):
    def __init__(self, layer: Layer, step: Step) -> None:
        super().__init__()
        self.alpha, self.step = layer.alpha, step
        self.recurrent = loop_weight(layer, layer.gain)

    def forward(self, i: Tensor) -> Tensor:
        return stepwise(lambda current, v: self.step(current, v, self.alpha), self.recurrent, i)


class Compiled(Chain):
    """The chain with a compiled step; `ready` compiles for an input and returns the time."""

    compile_s = 0.0

    def ready(self, x: Tensor) -> None:
        start = time.perf_counter()
        self(self.prepare(x)).sum().backward()
        self.compile_s = time.perf_counter() - start
        self.zero_grad()


def network(layers: Sequence[Layer], compiled: bool = False) -> Chain:
    if not compiled:
        return Chain(layers, lambda layer: Neurons(layer, lif_step), folded=True)
    _check_compiler()
    # One graph for every width, with and without gradients; those of an earlier network would be counted too.
    torch._dynamo.reset()
    torch._dynamo.config.recompile_limit = 64
    step = torch.compile(lif_step, fullgraph=True, dynamic=False)
    return Compiled(layers, lambda layer: Neurons(layer, step), folded=True)


def _check_compiler() -> None:
    wanted = os.environ.get("CXX") or ("cl" if sys.platform == "win32" else "g++")
    if not any(shutil.which(each) for each in (wanted, "g++", "clang++", "cl")):
        raise UnavailableError("no C++ compiler: torch.compile needs one on a CPU")
