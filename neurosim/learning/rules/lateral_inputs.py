"""Inputs of lateral neurons, collected while a rule runs the network."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurosim.learning.rules.lateral_banks import LateralBanks, Place
from neurosim.synapses import Conv1d, Conv2d, Synapse
from neurosim.synapses.lateral import LateralBank


class Observer:
    """Collects the inputs of the lateral neurons while a rule runs the network."""

    def __init__(self, banks: LateralBanks, traced: bool, project: bool) -> None:
        self.banks, self.traced, self.project = banks, traced, project
        self.collecting = True
        self.traces: dict[str, Tensor] = {}
        # Real lateral neurons learn from the second moment of all samples, whose size does not depend on T.
        self.moments: dict[str, tuple[Tensor, int]] = {}
        self.samples: dict[str, list[Tensor]] = {}

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Collect nothing from runs inside."""
        self.collecting = False
        try:
            yield
        finally:
            self.collecting = True

    def hook(
        self, place: Place, bank: LateralBank, synapse: nn.Module, inputs: tuple[Any, ...], current: Tensor
    ) -> Tensor | None:
        """Collect the input of a synapse; if inputs are projected, its weight gradient loses the explained part."""
        with torch.no_grad():
            x: Tensor = inputs[0].detach()
            if self.collecting:
                self._collect(place, bank, x)
            if not self.project or not place.synapse.weight.requires_grad:
                return None
            explained = bank.explained(_samples(place.synapse, x).to(bank.weight.dtype))
        return _WithoutExplained.apply(current, explained, place.synapse.weight)

    def _collect(self, place: Place, bank: LateralBank, x: Tensor) -> None:
        if bank.frozen == len(bank.weight):
            return
        self._add(place, bank, x)
        if self.traced and place.decay is not None:
            trace = self.traces.get(place.name)
            steps = []
            for step in x:
                trace = step.clone() if trace is None else place.decay * trace + step
                steps.append(trace)
            if trace is not None:
                self.traces[place.name] = trace
                self._add(place, bank, torch.stack(steps))

    def _add(self, place: Place, bank: LateralBank, x: Tensor) -> None:
        samples = _samples(place.synapse, x).flatten(0, 1).to(bank.weight.dtype)
        if bank.spiking is not None:
            self.samples.setdefault(place.name, []).append(samples)
            return
        total, number = self.moments.get(place.name, (samples.new_zeros(bank.inputs, bank.inputs), 0))
        self.moments[place.name] = (total.addmm_(samples.T, samples), number + len(samples))

    def learn(self) -> None:
        """Let each bank learn from all that was collected."""
        for place, bank in self.banks.each():
            if place.name in self.samples:
                bank.learn(torch.cat(self.samples[place.name]))
            elif place.name in self.moments:
                total, number = self.moments[place.name]
                if number:
                    bank.learn_moment(total / number)


@contextlib.contextmanager
def observed(banks: LateralBanks, traced: bool, project: bool) -> Iterator[Observer]:
    """Collect all inputs of the synapses that have a bank while the context is open.

    Parameters
    ----------
    banks : LateralBanks
    traced : bool
        Whether traces of the inputs are collected too, as OTTT needs.
    project : bool
        Whether the explained part of the inputs is subtracted from the weight gradients.
    """
    observer = Observer(banks, traced, project)
    with contextlib.ExitStack() as stack:
        for place, bank in banks.each():
            hook: Callable[..., Tensor | None] = functools.partial(observer.hook, place, bank)
            stack.callback(place.synapse.register_forward_hook(hook).remove)
        yield observer


class _WithoutExplained(torch.autograd.Function):
    """Pass the current; add ``- delta x^T`` for the explained inputs x to the gradient of the weights."""

    @staticmethod
    def forward(ctx: Any, current: Tensor, inputs: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(inputs)
        ctx.shape, ctx.dtype = weight.shape, weight.dtype
        return current.view_as(current)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        (inputs,) = ctx.saved_tensors
        # g [T, B, out, places...] against inputs [T B, places, n].
        delta = g.flatten(0, 1).flatten(2) if g.dim() > 3 else g.flatten(0, 1).unsqueeze(2)
        product = torch.einsum("rop,rpn->on", delta.to(inputs.dtype), inputs)
        return g, None, -product.view(ctx.shape).to(ctx.dtype)


def _samples(synapse: Synapse, x: Tensor) -> Tensor:
    """Return the inputs of a row of weights: inputs or patches of `x` [T, B, ...] as [T B, places, n]."""
    rows = x.flatten(0, 1)
    if isinstance(synapse, Conv1d):
        (kernel,), (stride,), (padding,), (dilation,) = (
            synapse.kernel,
            synapse.stride,
            synapse.padding,
            synapse.dilation,
        )
        rows = rows.unsqueeze(2)
        return functional.unfold(rows, (1, kernel), (1, dilation), (0, padding), (1, stride)).transpose(1, 2)
    if isinstance(synapse, Conv2d):
        return functional.unfold(rows, synapse.kernel, synapse.dilation, synapse.padding, synapse.stride).transpose(
            1, 2
        )
    return rows.unsqueeze(1)
