"""The computation of the contenders: layers of synapses and neurons as plain values, and tasks built from them.

Every weight is a multiple of 2**-12, so that sums over spikes are exact in float32 in any order: two libraries that
disagree about a spike do so because of their neurons, not of their matrix products. This module imports torch only.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DT = 1e-3
TAU = 20e-3
ALPHA = math.exp(-DT / TAU)
GRID = 2.0**-12
# N-MNIST has 4040 spikes per sample of 300 steps of 1 ms (the first 100 training samples).
NMNIST_SHAPE, NMNIST_STEPS, NMNIST_RATE = (2, 34, 34), 300, 0.0058


@dataclasses.dataclass(frozen=True, eq=False)
class Linear:
    weight: Tensor

    def module(self, gain: float = 1.0) -> nn.Module:
        n_out, n_in = self.weight.shape
        module = nn.Linear(n_in, n_out, bias=False)
        module.weight = nn.Parameter(self.weight * gain)
        return module

    def taps(self, x: Tensor) -> float:
        """Return the number of pairs of a nonzero input in ``x`` [n, ...] and one of its weights."""
        return float(x.count_nonzero()) * self.weight.shape[0]


@dataclasses.dataclass(frozen=True, eq=False)
class Conv:
    weight: Tensor
    stride: int
    padding: int

    def module(self, gain: float = 1.0) -> nn.Module:
        c_out, c_in, height, width = self.weight.shape
        module = nn.Conv2d(c_in, c_out, (height, width), self.stride, self.padding, bias=False)
        module.weight = nn.Parameter(self.weight * gain)
        return module

    def taps(self, x: Tensor) -> float:
        """Return the number of pairs of a nonzero input in ``x`` [n, ...] and one of its weights."""
        spikes = (x != 0).sum(1, keepdim=True, dtype=x.dtype)
        ones = torch.ones(1, 1, *self.weight.shape[2:])
        return F.conv2d(spikes, ones, None, self.stride, self.padding).double().sum().item() * self.weight.shape[0]


@dataclasses.dataclass(frozen=True)
class SumPool:
    kernel: int

    def module(self, gain: float = 1.0) -> nn.Module:
        return _SumPool(self.kernel)


@dataclasses.dataclass(frozen=True)
class Flatten:
    def module(self, gain: float = 1.0) -> nn.Module:
        return nn.Flatten()


class _SumPool(nn.Module):
    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, self.kernel, divisor_override=1)


Map = Linear | Conv | SumPool | Flatten


@dataclasses.dataclass(frozen=True, eq=False)
class Layer:
    """Synapses, then neurons ``u = alpha v + gain i``; spike where ``u > 1``; ``v = 0`` there, else ``u``.

    `alpha` 1 is a neuron without leak, with a gain of 1; all others have the gain ``1 - alpha``. `recurrent` is the
    weight from the layer to itself, one step late.
    """

    synapses: tuple[Map, ...]
    alpha: float = ALPHA
    recurrent: Tensor | None = None

    @property
    def gain(self) -> float:
        return 1.0 - self.alpha if self.alpha < 1.0 else 1.0


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """One training step: the network, its input [T, B, ...], classes [B] and the loss."""

    layers: tuple[Layer, ...]
    x: Tensor
    target: Tensor | None
    loss: Callable[[Tensor], Tensor]
    work: str
    input_gradient: bool = False


def _normal(generator: torch.Generator, scale: float, *shape: int) -> Tensor:
    """Return weights of standard deviation `scale` / sqrt(fan-in), on the grid."""
    fan_in = math.prod(shape[1:])
    weight = torch.randn(shape, generator=generator) * (scale / math.sqrt(fan_in))
    return (weight / GRID).round() * GRID


def _spikes(generator: torch.Generator, rate: float, *shape: int) -> Tensor:
    return (torch.rand(shape, generator=generator) < rate).float()


def _classes(batch: int, number: int) -> Tensor:
    return torch.arange(batch) % number


def cross_entropy_of_rates(target: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda z: F.cross_entropy(z.mean(0), target)


def cross_entropy_per_step(target: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda z: F.cross_entropy(z.flatten(0, 1), target.repeat(z.shape[0]))


# Chosen so that the hidden layers fire at 5 to 10 % at 5 % input.
_SCALES = (65.0, 45.0, 45.0)


def feedforward(
    rate: float = 0.05,
    steps: int = 100,
    batch: int = 64,
    sizes: Sequence[int] = (700, 256, 256, 20),
    per_step: bool = False,
) -> Task:
    """Return a chain of linear LIF layers with Bernoulli input spikes."""
    generator = torch.Generator().manual_seed(0)
    pairs = zip(sizes[1:], sizes, _SCALES, strict=False)
    layers = tuple(Layer((Linear(_normal(generator, scale, out, n_in)),)) for out, n_in, scale in pairs)
    target = _classes(batch, sizes[-1])
    loss = cross_entropy_per_step(target) if per_step else cross_entropy_of_rates(target)
    x = _spikes(generator, rate, steps, batch, sizes[0])
    work = f"{'-'.join(map(str, sizes))} LIF, T = {steps}, batch {batch}, input spikes at {rate:.0%}"
    return Task(layers, x, target, loss, work)


def recurrent(rate: float = 0.05, steps: int = 100, batch: int = 64, sizes: Sequence[int] = (700, 256, 20)) -> Task:
    """Return a recurrent LIF layer and a readout layer with Bernoulli input spikes."""
    generator = torch.Generator().manual_seed(0)
    n_in, hidden, out = sizes
    first = Layer((Linear(_normal(generator, 65.0, hidden, n_in)),), recurrent=_normal(generator, 4.0, hidden, hidden))
    last = Layer((Linear(_normal(generator, 45.0, out, hidden)),))
    target = _classes(batch, out)
    x = _spikes(generator, rate, steps, batch, n_in)
    work = f"{n_in}-{hidden}(recurrent)-{out} LIF, T = {steps}, batch {batch}, input spikes at {rate:.0%}"
    return Task((first, last), x, target, cross_entropy_of_rates(target), work)


def dense(width: int = 512, steps: int = 500, batch: int = 16) -> Task:
    """Return one LIF layer behind a square matrix with normally distributed input that requires a gradient."""
    generator = torch.Generator().manual_seed(0)
    layer = Layer((Linear(_normal(generator, 16.0, width, width)),))
    x = torch.randn((steps, batch, width), generator=generator)
    work = f"Linear({width}, {width}) and LIF, T = {steps}, batch {batch}, normal input, with the gradient of the input"
    return Task((layer,), x, None, torch.Tensor.sum, work, input_gradient=True)


def conv(steps: int = NMNIST_STEPS, batch: int = 16, data: str | None = None) -> Task:
    """Return the N-MNIST network of the NIR paper on recordings of the folder `data`, or on a stand-in.

    Pedersen et al., "Neuromorphic intermediate representation", Nature Communications 15, 2024,
    doi:10.1038/s41467-024-52259-9: three convolutions, two sum pools, two linear layers, all with IF neurons. Its lower
    bound on the membrane is omitted: no other library has one.
    """
    from benchmarks import nmnist

    generator = torch.Generator().manual_seed(0)
    synapses: tuple[tuple[Map, ...], ...] = (
        (Conv(_normal(generator, 5.0, 16, 2, 5, 5), stride=2, padding=1),),
        (Conv(_normal(generator, 3.5, 16, 16, 3, 3), stride=1, padding=1),),
        (SumPool(2), Conv(_normal(generator, 1.8, 8, 16, 3, 3), stride=1, padding=1)),
        (SumPool(2), Flatten(), Linear(_normal(generator, 1.5, 256, 128))),
        (Linear(_normal(generator, 2.0, 10, 256)),),
    )
    if data is None:
        x = _spikes(generator, NMNIST_RATE, steps, batch, *NMNIST_SHAPE)
        source = f"synthetic stand-in: Bernoulli spikes at the mean rate of N-MNIST, {NMNIST_RATE:.2%}"
    else:
        x, source = nmnist.batch(Path(data), steps, batch), "N-MNIST recordings"
    target = _classes(batch, 10)
    work = f"N-MNIST network of the NIR paper, IF, T = {steps}, batch {batch}; {source}"
    return Task(tuple(Layer(each, alpha=1.0) for each in synapses), x, target, cross_entropy_of_rates(target), work)


# Names by which a fresh process creates the same task.
TASKS: dict[str, Callable[..., Task]] = {
    "feedforward": feedforward,
    "recurrent": recurrent,
    "dense": dense,
    "conv": conv,
}
