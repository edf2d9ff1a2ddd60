"""A linear layer and its neurons on CUDA: a product on the tensor cores, or gathered rows, then the fused core.

Which product is faster depends on the rate of the spikes. To read it the host must wait for the device. It does so only
where the product takes much longer than the wait and gathering could be faster at all, and never inside a capture of a
CUDA graph. The packed bits of the output are what the next layer keeps for its backward pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from neurosim.compiler.plan import find
from neurosim.kernels.common import decisions
from neurosim.kernels.common.bits import words
from neurosim.kernels.common.operator import Gradients, Needs
from neurosim.kernels.linear import cuda_events
from neurosim.kernels.linear.arguments import Call, Outputs, Saved, chunks, neurons_call, neurons_saved
from neurosim.kernels.linear.cpu import has_mask, has_packed_bits
from neurosim.kernels.linear.policy import is_event_driven_on_cuda
from neurosim.kernels.neurons import cuda as neurons


def forward(call: Call) -> Outputs:
    """Run the layer.

    Without packed bits the input is not known to be spikes, and the outputs say so: to find out the host would wait.
    """
    plan, (steps, batch, _) = find(call.plan_key), call.x.shape
    x = call.x.contiguous()
    bits = cuda_events.pack(x.flatten(0, 1))[0] if call.packed_bits is None else call.packed_bits
    product = _Product(call.weight, bits, call.packed_bits is not None)
    state: Sequence[Tensor] = call.state
    outs, checkpoints = [], [list[Tensor]() for _ in state]
    stored: Sequence[Tensor] = ()
    for first, last in _parts(call.chunk, steps):
        for checkpoint, value in zip(checkpoints, state, strict=True):
            checkpoint.append(value)
        current = product.forward(x[first:last], bits[first * batch : last * batch], call.bias)
        out, state, stored = neurons.forward(neurons_call(call, current, state))
        outs.append(out)
    out = outs[0] if len(outs) == 1 else torch.cat(outs)
    if call.chunk:
        stored = [torch.stack(checkpoint) for checkpoint in checkpoints]
    width = words(out.shape[-1])
    packed_bits = cuda_events.pack(out.flatten(0, 1))[0] if has_packed_bits(plan) else bits.new_empty(0, width)
    # Distances to threshold are not compared: everything may need a gradient.
    mask = bits.new_full((steps * batch if has_mask(plan) else 0, width), -1)
    return Outputs(out, packed_bits, mask, list(state), stored, bits, call.packed_bits is not None)


def backward(saved: Saved, needs: Needs, grads: Sequence[Tensor]) -> Gradients:
    """Return the gradients of input, weight, bias, initial states and coefficients."""
    plan, (g_out, *g_states), needs_x = find(saved.plan_key), grads, needs[0]
    steps, batch, _ = g_out.shape
    product = _Product(saved.weight, saved.input_bits, saved.x is None)
    values, parts = list(saved.stored), list(_parts(saved.chunk, steps))
    g_coefficients = [torch.zeros_like(p) for p in saved.coefficients]
    g_x, g_weight, g_bias = list[Tensor](), torch.zeros_like(saved.weight), None
    for number, (first, last) in reversed(list(enumerate(parts))):
        rows = slice(first * batch, last * batch)
        bits = saved.input_bits[rows]
        if saved.x is None:
            x = cuda_events.unpack(bits, saved.n_in, g_out.dtype).unflatten(0, (last - first, batch))
        else:
            x = saved.x[first:last]
        if saved.chunk:
            state = [checkpoint[number] for checkpoint in saved.stored]
            current = product.forward(x, bits, saved.bias)
            again = neurons.forward(neurons_call(saved, current, state))
            values = plan.saved_among(again.stored)
        found = neurons.backward(neurons_saved(saved, values), [g_out[first:last], *g_states])
        g_states = list(found.state)
        g_coefficients = [a + b for a, b in zip(g_coefficients, found.coefficients, strict=True)]
        g_rows = found.inputs[0].flatten(0, 1)
        g_weight += product.weight_gradient(x, bits, g_rows)
        if saved.bias is not None:
            g_bias = g_rows.sum(0) + (0.0 if g_bias is None else g_bias)
        if needs_x:
            g_x.append(product.input_gradient(g_rows, None if saved.mask is None else saved.mask[rows]))
    whole = torch.cat(g_x[::-1]).unflatten(0, (steps, batch)) if needs_x else None
    return [whole, g_weight, g_bias, *g_states, *g_coefficients]


def _parts(chunk: int, steps: int) -> Iterator[tuple[int, int]]:
    """Yield where each chunk begins and ends; without chunks there is one, of no steps too."""
    yield from chunks(steps, chunk) if chunk else [(0, steps)]


class _Product:
    """A weight [N, n] and inputs with known bits, event-driven or dense.

    Parameters
    ----------
    weight : Tensor [N, n]
    bits : Tensor [R, ceil(n / 64)]
        Of all inputs.
    is_binary : bool
        Whether the inputs are known to be 0 or 1.
    """

    def __init__(self, weight: Tensor, bits: Tensor, is_binary: bool) -> None:
        self.weight, self.is_binary = weight, is_binary
        self.is_event_driven = is_event_driven_on_cuda(bits, weight)
        if decisions.observers:
            kernel = "event-driven" if self.is_event_driven else "dense"
            low, high = "the measured rate is low enough", "the product is small or the rate too high"
            decisions.note("linear", "cuda", kernel, low if self.is_event_driven else high)

    def forward(self, x: Tensor, bits: Tensor, bias: Tensor | None) -> Tensor:
        """Return the current [t, B, N] for ``x`` [t, B, n]."""
        if not self.is_event_driven:
            return torch.nn.functional.linear(x, self.weight, bias)
        values = None if self.is_binary else x.flatten(0, 1)
        return cuda_events.gather(bits, values, self.weight.T, bias).unflatten(0, x.shape[:2])

    def weight_gradient(self, x: Tensor, bits: Tensor, g: Tensor) -> Tensor:
        """Return the gradient [N, n] from these inputs."""
        if not self.is_event_driven:
            return g.T @ x.flatten(0, 1)
        values = None if self.is_binary else x.flatten(0, 1)
        return cuda_events.scatter(bits, values, g, x.shape[-1]).T

    def input_gradient(self, g: Tensor, mask: Tensor | None) -> Tensor:
        """Return the gradient [R, n]; 0 outside of `mask` if that is faster."""
        if mask is not None and is_event_driven_on_cuda(mask, self.weight):
            return cuda_events.masked_input_gradient(g, self.weight.T, mask)
        return g @ self.weight
