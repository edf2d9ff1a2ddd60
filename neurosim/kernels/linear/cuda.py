"""A linear layer and its neurons on CUDA: a product on the matrix units, or gathered rows, then the fused core.

Which product is faster depends on the rate of the spikes. To read it the host must wait for the device. It does so only
without gradients, where the product takes much longer than the wait and gathering could be faster at all, and never
inside a capture of a CUDA graph: a training step does not wait. Every launch counts: spikes are packed into bits only
where that saves much memory, or all memory that can be saved (with chunks).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neurosim.compiler.plan import Plan, find
from neurosim.kernels.common import decisions
from neurosim.kernels.common.bits import words
from neurosim.kernels.common.operator import Gradients, Needs
from neurosim.kernels.linear import cuda_events
from neurosim.kernels.linear.arguments import Call, Outputs, Saved, chunks, neurons_call, neurons_saved
from neurosim.kernels.linear.cpu import has_packed_bits
from neurosim.kernels.linear.policy import is_event_driven_on_cuda, packs_on_cuda
from neurosim.kernels.neurons import cuda as neurons


def forward(call: Call) -> Outputs:
    """Run the layer.

    Without packed bits the input is not known to be spikes, and the outputs say so: to find out the host would wait.
    There is no mask: distances to threshold are not compared, and everything may need a gradient.
    """
    plan, (steps, batch, _) = find(call.plan_key), call.x.shape
    x, width = call.x.contiguous(), call.weight.shape[0]
    product = _Product(call.weight, x.flatten(0, 1), call.packed_bits, may_wait=not plan.train)
    state: Sequence[Tensor] = call.state
    outs, checkpoints = [], [list[Tensor]() for _ in state]
    stored: Sequence[Tensor] = ()
    for first, last in _parts(call.chunk, steps):
        for checkpoint, value in zip(checkpoints, state, strict=True):
            checkpoint.append(value)
        current = product.forward(first * batch, last * batch, call.bias).unflatten(0, (last - first, batch))
        out, state, stored = neurons.forward(neurons_call(call, current, state))
        outs.append(out)
    out = outs[0] if len(outs) == 1 else torch.cat(outs)
    if call.chunk:
        stored = [torch.stack(checkpoint) for checkpoint in checkpoints]
    if packs(plan, call.chunk, steps * batch * width):
        packed_bits = cuda_events.pack(out.flatten(0, 1))
    else:
        packed_bits = out.new_empty((0, words(width)), dtype=torch.int64)
    none = out.new_empty((0, words(width)), dtype=torch.int64)
    unpacked = out.new_empty((0, words(x.shape[-1])), dtype=torch.int64)
    return Outputs(out, packed_bits, none, list(state), stored, unpacked, call.packed_bits is not None)


def packs(plan: Plan, chunk: int, values: int) -> bool:
    """Return whether the bits of an output of so many values are computed, which the next layer keeps instead."""
    return has_packed_bits(plan) and (chunk > 0 or packs_on_cuda(values))


def backward(saved: Saved, needs: Needs, grads: Sequence[Tensor]) -> Gradients:
    """Return the gradients of input, weight, bias, initial states and coefficients."""
    plan, (g_out, *g_states), (needs_x, needs_weight, *_) = find(saved.plan_key), grads, needs
    steps, batch, _ = g_out.shape
    is_binary = saved.x is None
    rows = cuda_events.unpack(saved.input_bits, saved.n_in, g_out.dtype) if saved.x is None else saved.x.flatten(0, 1)
    product = _Product(saved.weight, rows, saved.input_bits if is_binary else None, may_wait=False)
    values, parts = list(saved.stored), _parts(saved.chunk, steps)
    g_x, totals = list[Tensor](), list[Tensor | None]()
    for number, (first, last) in reversed(list(enumerate(parts))):
        begin, end = first * batch, last * batch
        if saved.chunk:
            state = [checkpoint[number] for checkpoint in saved.stored]
            current = product.forward(begin, end, saved.bias).unflatten(0, (last - first, batch))
            again = neurons.forward(neurons_call(saved, current, state))
            values = plan.saved_among(again.stored)
        found = neurons.backward(neurons_saved(saved, values), [g_out[first:last], *g_states])
        g_states = list(found.state)
        g_rows = found.inputs[0].flatten(0, 1)
        share = [
            product.weight_gradient(begin, end, g_rows) if needs_weight else None,
            None if saved.bias is None else g_rows.sum(0),
            *found.coefficients,
        ]
        totals = [_sum(a, b) for a, b in zip(totals, share, strict=True)] if totals else share
        if needs_x:
            g_x.append(g_rows @ saved.weight)
    whole = None
    if needs_x:
        whole = (g_x[0] if len(g_x) == 1 else torch.cat(g_x[::-1])).unflatten(0, (steps, batch))
    g_weight, g_bias, *g_coefficients = totals
    return [whole, g_weight, g_bias, *g_states, *g_coefficients]


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return None if a is None or b is None else a + b


def _parts(chunk: int, steps: int) -> list[tuple[int, int]]:
    """Return where each chunk begins and ends; without chunks, and of no steps, there is one."""
    return (chunks(steps, chunk) if chunk else []) or [(0, steps)]


class _Product:
    """A weight [N, n] and inputs [R, n], event-driven or dense.

    Parameters
    ----------
    weight : Tensor [N, n]
    x : Tensor [R, n]
    bits : Tensor [R, ceil(n / 64)] or None
        Of the inputs, which are then 0 or 1; None if that is not known.
    may_wait : bool
        Whether the host may wait for the device to count the inputs that are not zero.
    """

    def __init__(self, weight: Tensor, x: Tensor, bits: Tensor | None, may_wait: bool) -> None:
        self.weight, self.x, self.is_binary = weight, x, bits is not None
        self._bits = bits
        self.is_event_driven = is_event_driven_on_cuda(x.shape[0], weight, self.bits if may_wait else None)
        if decisions.observers:
            kernel = "event-driven" if self.is_event_driven else "dense"
            low, high = "the measured rate is low enough", "the product is small, the rate too high, or not measured"
            decisions.note("linear", "cuda", kernel, low if self.is_event_driven else high)

    def bits(self) -> Tensor:
        """Return the bits of the inputs, packed when they are first needed."""
        if self._bits is None:
            self._bits = cuda_events.pack(self.x)
        return self._bits

    def forward(self, first: int, last: int, bias: Tensor | None) -> Tensor:
        """Return the current [last - first, N] of these rows."""
        x = self.x[first:last]
        if not self.is_event_driven:
            return torch.nn.functional.linear(x, self.weight, bias)
        return cuda_events.gather(self.bits()[first:last], None if self.is_binary else x, self.weight.T, bias)

    def weight_gradient(self, first: int, last: int, g: Tensor) -> Tensor:
        """Return the gradient [N, n] from these rows."""
        x = self.x[first:last]
        if not self.is_event_driven:
            return g.T @ x
        return cuda_events.scatter(self.bits()[first:last], None if self.is_binary else x, g, x.shape[-1]).T
