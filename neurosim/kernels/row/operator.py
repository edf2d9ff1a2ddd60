"""A row of layers as one function of autograd, in plain eager code on the CPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from neurosim.kernels.common.autograd import forbid_double_backward
from neurosim.kernels.row.arguments import Input, LayerTensors, Outputs
from neurosim.kernels.row.cpu import Found, Grads, Prepared

__all__ = ["run"]


def run(prepared: Prepared, given: Input, layers: Sequence[LayerTensors]) -> Outputs | int:
    """Run a row of layers; return the status of the kernels where they stopped."""
    with torch.no_grad():
        outputs = prepared.forward(given, layers)
    if isinstance(outputs, int) or not any(layer.train for layer in prepared.row.layers):
        return outputs
    tensors = [t for each in layers for t in each.flat()]
    found = iter(_Row.apply(prepared, given, outputs, given.x, *tensors))
    out = next(found)
    states = [[next(found) for _ in each] for each in outputs.states]
    last = [None if each is None else next(found) for each in outputs.last]
    return outputs._replace(out=out, states=states, last=last)


class _Row(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, prepared: Prepared, given: Input, outputs: Outputs, x: Tensor, *tensors: Tensor) -> Any:
        ctx.prepared = prepared
        ctx.has = (given.packed_bits is not None, given.mask is not None)
        extra = [t for t in given[1:] if t is not None]
        layers = _layers(prepared, iter(tensors))
        # Neither the input is kept, of which there are bits, nor the states before the first step.
        kept = [t for each in layers for t in each._replace(state=(), z0=None).flat()]
        of_layers = zip(prepared.row.layers, outputs.states, outputs.last, strict=True)
        constant = [[*state, last] for layer, state, last in of_layers if not layer.train]
        ctx.mark_non_differentiable(*(t for each in constant for t in each if t is not None))
        ctx.save_for_backward(outputs.saved, *extra, *kept)
        ctx.set_materialize_grads(False)
        states = [s for each in outputs.states for s in each]
        return (outputs.out, *states, *(z for z in outputs.last if z is not None))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        prepared: Prepared = ctx.prepared
        saved, *tensors = ctx.saved_tensors
        packed_bits = tensors.pop(0) if ctx.has[0] else None
        mask = tensors.pop(0) if ctx.has[1] else None
        layers = list(_layers(prepared, iter(tensors), saved))
        needs = ctx.needs_input_grad[4:]
        with torch.no_grad():
            of_outputs = _grads(iter(grads), layers, iter(needs))
            found = prepared.backward(Input(saved, packed_bits, mask), layers, saved, of_outputs)
        gradients = list(_flat(prepared, found))
        if torch.is_grad_enabled():
            gradients = forbid_double_backward(gradients)
        return None, None, None, *gradients


def _layers(prepared: Prepared, tensors: Iterator[Tensor], instead: Tensor | None = None) -> Iterator[LayerTensors]:
    """Return the tensors of each layer; undoes `LayerTensors.flat`.

    With `instead`, which stands for them, the states and outputs before the first step are not among `tensors`.
    """
    for layer in prepared.row.layers:
        weight, bias = next(tensors), next(tensors) if layer.is_biased else None
        state = [next(tensors) if instead is None else instead for _ in range(layer.states)]
        coefficients = [next(tensors) for _ in range(layer.coefficients)]
        loop = next(tensors) if layer.has_loop else None
        z0 = None if loop is None else next(tensors) if instead is None else instead
        yield LayerTensors(weight, bias, state, coefficients, loop, z0)


def _grads(grads: Iterator[Tensor | None], layers: Sequence[LayerTensors], needs: Iterator[bool]) -> Grads:
    out = next(grads)
    states = [[next(grads) for _ in each.state] for each in layers]
    last = [next(grads) if each.loop is not None else None for each in layers]
    needs_state, needs_z0 = [], []
    for each in layers:
        flags = LayerTensors(*(_like(part, needs) for part in each))
        needs_state.append(any(flags.state))
        needs_z0.append(bool(flags.z0))
    return Grads(out, states, last, needs_state, needs_z0)


def _like(part: Any, needs: Iterator[bool]) -> Any:
    """Return for each tensor of a part whether its gradient is needed."""
    if part is None:
        return None
    return next(needs) if isinstance(part, Tensor) else [next(needs) for _ in part]


def _flat(prepared: Prepared, found: Found) -> Iterator[Tensor | None]:
    """Return the gradients of x and of all tensors of the layers, in the order of `LayerTensors.flat`."""
    yield found.x
    gradients = dict(enumerate(found.layers, found.first))
    for number, layer in enumerate(prepared.row.layers):
        of_layer = gradients.get(number, {})
        yield of_layer.get(f"weight{number}")
        if layer.is_biased:
            yield of_layer.get(f"bias{number}")
        for k in range(layer.states):
            yield of_layer.get(f"s{k}.{number}")
        for k in range(layer.coefficients):
            yield of_layer.get(f"c{k}.{number}")
        if layer.has_loop:
            yield of_layer.get(f"loop{number}")
            yield of_layer.get(f"z0{number}")
