"""One training step of a contender: gradients to zero, forward, loss, backward; and the products alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.nets import Layer, Linear, Task

Step = Callable[[], None]


def training_step(net: Any, task: Task) -> Step:
    """Return the step of a network made by `libraries.build`."""
    x = net.prepare(task.x).clone().requires_grad_(task.input_gradient)
    parameters = list(net.parameters())

    def run() -> None:
        x.grad = None
        for each in parameters:
            each.grad = None
        task.loss(net(x)).backward()

    return run


def products(task: Task, spikes: Sequence[Tensor]) -> Step:
    """Return the dense products of a step without its neurons, for the same spikes: the floor of dense libraries.

    ``z W^T`` forward; ``g^T z``, and ``g W`` where an input gradient is needed, backward. A recurrent product is
    computed step by step in both directions, its weight gradient in one product.
    """
    generator = torch.Generator().manual_seed(1)
    steps: list[Step] = []
    for number, (layer, x, z) in enumerate(zip(task.layers, (task.x, *spikes), spikes, strict=False)):
        g = torch.randn(z.shape, generator=generator)
        wants_input = number > 0 or task.input_gradient
        if all(isinstance(each, Linear) for each in layer.synapses):
            (weight,) = (each.weight for each in layer.synapses if isinstance(each, Linear))
            steps.append(_linear(weight, x.flatten(0, 1), g.flatten(0, 1), wants_input))
        else:
            steps.append(_synapses(layer, x.flatten(0, 1), g.flatten(0, 1), wants_input))
        if layer.recurrent is not None:
            steps.append(_loop(layer.recurrent, z, g))

    def run() -> None:
        for each in steps:
            each()

    return run


def _linear(weight: Tensor, x: Tensor, g: Tensor, wants_input: bool) -> Step:
    def run() -> None:
        torch.mm(x, weight.T)
        torch.mm(g.T, x)
        if wants_input:
            torch.mm(g, weight)

    return run


def _synapses(layer: Layer, x: Tensor, g: Tensor, wants_input: bool) -> Step:
    synapses = nn.Sequential(*(each.module() for each in layer.synapses))
    x = x.clone().requires_grad_(wants_input)
    wanted = [*synapses.parameters(), *([x] if wants_input else [])]

    def run() -> None:
        torch.autograd.grad(synapses(x), wanted, g)

    return run


def _loop(weight: Tensor, z: Tensor, g: Tensor) -> Step:
    def run() -> None:
        for each in z:
            torch.mm(each, weight.T)
        for each in g:
            torch.mm(each, weight)
        torch.mm(g[1:].flatten(0, 1).T, z[:-1].flatten(0, 1))

    return run
