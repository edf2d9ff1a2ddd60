"""A linear layer and its neurons on CUDA: a product on the tensor cores, or gathered rows, then the fused core.

Which product is quicker depends on the rate of the spikes. To know it the host must wait for the device, so it is
asked for only where the product takes much longer than the wait, where gathering could win at all, and never inside
a capture of a CUDA graph. The packed bits of the output are what the next layer keeps for its backward pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from neurosim.kernels.common import decisions
from neurosim.kernels.linear import cuda_events
from neurosim.kernels.linear.cpu import Gradients, Layer, Result, chunks, has_active, has_bits
from neurosim.kernels.neurons import cuda

# Multiplications from which a dense product takes some 0.2 ms in strict single precision; waiting takes a tenth of it.
WORTH_ASKING = 6e9
_HARDLY_ANY = 0.001  # a rate below which hardly any layer works


def forward(layer: Layer, x: Tensor, input_bits: Tensor | None, state: Sequence[Tensor]) -> Result:
    """Run the layer over ``x`` [T, B, n]; `input_bits` are its packed bits if known, every value then being 0 or 1.

    Without them `x` is not known to be spikes, and the result says so: finding out would have the host wait.
    """
    plan, (steps, batch, _) = layer.plan, x.shape
    x = x.contiguous()
    bits = cuda_events.pack(x.flatten(0, 1))[0] if input_bits is None else input_bits
    product = _Product(layer.weight, bits, input_bits is None)
    outs, borders, kept = [], [list[Tensor]() for _ in state], list[Tensor]()
    for first, last in _parts(layer, steps):
        for border, value in zip(borders, state, strict=True):
            border.append(value)
        current = product.forward(x[first:last], bits[first * batch : last * batch], layer.bias)
        out, *rest = cuda.forward(plan, [current], state, layer.per_neuron, layer.forward_uniforms)
        state, kept = rest[: len(state)], rest[len(state) :]
        outs.append(out)
    out = outs[0] if len(outs) == 1 else torch.cat(outs)
    if layer.chunk:
        kept = [torch.stack(border) for border in borders]
    rows, words = steps * batch, -(-out.shape[-1] // cuda_events.WORD)
    sent = cuda_events.pack(out.flatten(0, 1))[0] if has_bits(plan) else bits.new_empty(0, words)
    # Not looked at: everything may need a gradient.
    active = bits.new_full((rows if has_active(plan) else 0, words), -1)
    return Result(out, list(state), bits, input_bits is not None, sent, active, kept)


def backward(
    layer: Layer,
    x: Tensor | None,
    input_bits: Tensor,
    sources: int,
    mask: Tensor | None,
    needed: bool,
    g_out: Tensor,
    g_states: Sequence[Tensor],
    kept: Sequence[Tensor],
    listed: tuple[Tensor, Tensor] | None = None,
) -> Gradients:
    """Return the gradients; the arguments are those of ``neurosim.kernels.linear.cpu``."""
    plan, (steps, batch, _) = layer.plan, g_out.shape
    product = _Product(layer.weight, input_bits, x is not None)
    g_states, saved, parts = list(g_states), list(kept), list(_parts(layer, steps))
    shares = [torch.zeros_like(p) for p in layer.per_neuron]
    inward, g_weight, g_bias = list[Tensor](), torch.zeros_like(layer.weight), None
    for number, (first, last) in reversed(list(enumerate(parts))):
        rows = slice(first * batch, last * batch)
        if x is None:
            x_part = cuda_events.unpack(input_bits[rows], sources, g_out.dtype).unflatten(0, (last - first, batch))
        else:
            x_part = x[first:last]
        if layer.chunk:
            before = [border[number] for border in kept]
            current = product.forward(x_part, input_bits[rows], layer.bias)
            again = cuda.forward(plan, [current], before, layer.per_neuron, layer.forward_uniforms)
            saved = [again[1 + len(before) + plan.position(node)] for node in plan.saved]
        g_i, *rest = cuda.backward(plan, g_out[first:last], g_states, saved, layer.per_neuron, layer.backward_uniforms)
        g_states = rest[: len(g_states)]
        shares = [a + b for a, b in zip(shares, rest[len(g_states) :], strict=True)]
        g_rows = g_i.flatten(0, 1)
        g_weight += product.weight_gradient(x_part, input_bits[rows], g_rows)
        if layer.bias is not None:
            g_bias = g_rows.sum(0) + (0.0 if g_bias is None else g_bias)
        if needed:
            inward.append(product.input_gradient(g_rows, None if mask is None else mask[rows]))
    g_x = torch.cat(inward[::-1]).unflatten(0, (steps, batch)) if needed else None
    return Gradients(g_x, g_weight, g_bias, g_states, shares)


def _parts(layer: Layer, steps: int) -> Iterator[tuple[int, int]]:
    """Yield where each chunk begins and ends; a layer without chunks is one, of no steps too."""
    yield from chunks(steps, layer.chunk) if layer.chunk else [(0, steps)]


class _Product:
    """A weight [N, n] with inputs whose bits are at hand, event-driven or dense.

    Parameters
    ----------
    weight : Tensor [N, n]
    bits : Tensor [R, ceil(n / 64)]
        Of all inputs.
    graded : bool
        Whether the inputs may be other than 0 and 1.
    """

    def __init__(self, weight: Tensor, bits: Tensor, graded: bool) -> None:
        self.weight, self.graded = weight, graded
        self.sparse = _pays(bits, weight)
        if decisions.observers:
            kernel = "event-driven" if self.sparse else "dense"
            reason = "the measured rate is low enough" if self.sparse else "the product is small or the rate too high"
            decisions.note("linear", "cuda", kernel, reason)

    def forward(self, x: Tensor, bits: Tensor, bias: Tensor | None) -> Tensor:
        """Return the current [t, B, N] for ``x`` [t, B, n]."""
        if not self.sparse:
            return torch.nn.functional.linear(x, self.weight, bias)
        values = x.flatten(0, 1) if self.graded else None
        return cuda_events.gather(bits, values, self.weight.T, bias).unflatten(0, x.shape[:2])

    def weight_gradient(self, x: Tensor, bits: Tensor, g: Tensor) -> Tensor:
        """Return the share [N, n] of these inputs."""
        if not self.sparse:
            return g.T @ x.flatten(0, 1)
        values = x.flatten(0, 1) if self.graded else None
        return cuda_events.scatter(bits, values, g, x.shape[-1]).T

    def input_gradient(self, g: Tensor, mask: Tensor | None) -> Tensor:
        """Return [R, n]; zero where not `mask`, if that is worth it."""
        if mask is not None and _pays(mask, self.weight):
            return cuda_events.masked_input_gradient(g, self.weight.T, mask)
        return g @ self.weight


def _pays(bits: Tensor, weight: Tensor) -> bool:
    """Return whether it pays to go by these bits rather than densely; may wait for the device to count them."""
    rows, (n_out, n_in) = bits.shape[0], weight.shape
    if rows * n_in * n_out < WORTH_ASKING or (weight.is_cuda and torch.cuda.is_current_stream_capturing()):
        return False
    if not cuda_events.pays(rows, n_in, n_out, _HARDLY_ANY, weight.dtype):
        return False
    rate = cuda_events.count(bits).item() / (rows * n_in)
    return cuda_events.pays(rows, n_in, n_out, rate, weight.dtype)
