"""Weights that learn from decaying traces of their presynaptic spikes, forward in time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from neurosim.errors import InputError
from neurosim.synapses.synapse import Synapse


class Traces:
    """Traces ``a[t] = decay a[t-1] + s[t]`` of the inputs of synapses with weights, carried from call to call.

    In a run with traces the gradient of such weights is ``sum_t delta[t] a[t]^T`` instead of ``sum_t delta[t] s[t]^T``;
    that of a bias is ``sum_t delta[t]``, and the gradient of the input is unchanged. The traces are not stored: the
    gradient is filtered backward in time instead, which gives the same sum, and the input remains binary.
    """

    def __init__(self) -> None:
        self._traces: dict[str, Tensor] = {}

    def through(self, name: str, synapse: Synapse, x: Tensor, decay: float) -> Tensor:
        """Return the current of ``x`` [t, B, ...], with weights that learn from the trace `name`."""
        weights = [p for n, p in synapse.named_parameters() if n != "bias"]
        if not weights or not synapse.traced:
            return synapse(x)
        carry = self._traces.get(name)
        if carry is None:
            carry = torch.zeros_like(x[0])
        elif carry.shape != x[0].shape:
            raise InputError(
                f"the trace of {name!r} is {list(carry.shape)}, one step of its input {list(x[0].shape)}; "
                "start another batch with new Traces()."
            )
        if x.shape[0]:
            steps = torch.arange(x.shape[0] - 1, -1, -1, dtype=x.dtype, device=x.device)
            fresh = ((decay**steps) @ x.detach().flatten(1)).view_as(carry)
            self._traces[name] = carry * decay ** x.shape[0] + fresh
        if not torch.is_grad_enabled():
            return synapse(x)
        bias = [p for n, p in synapse.named_parameters() if n == "bias"]
        current: Tensor = _Traced.apply(synapse, decay, x, carry, len(weights), *weights, *bias)
        return current


class _Traced(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, synapse: Synapse, decay: float, x: Tensor, carry: Tensor, weights: int, *held: Tensor
    ) -> Tensor:
        with torch.enable_grad():
            inside = x.detach().requires_grad_()
            current = synapse(inside)
        ctx.synapse, ctx.decay, ctx.weights = synapse, decay, weights
        ctx.graph = (inside, current)
        ctx.save_for_backward(carry, *held)
        return current.detach()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        carry, *held = ctx.saved_tensors
        weights, bias = held[: ctx.weights], held[ctx.weights :]
        inside, current = ctx.graph
        del ctx.graph
        # sum_t g[t] a[t]^T = sum_s e[s] s[s]^T, e[s] = g[s] + decay e[s + 1]; the earlier trace adds its term.
        filtered = g.clone()
        for t in range(g.shape[0] - 2, -1, -1):
            filtered[t].add_(filtered[t + 1], alpha=ctx.decay)
        g_x, *g_bias = torch.autograd.grad(current, [inside, *bias], g, retain_graph=True)
        g_weights = torch.autograd.grad(current, weights, filtered)
        if carry.any():
            with torch.enable_grad():
                before = ctx.synapse(carry.unsqueeze(0))
            older = torch.autograd.grad(before, weights, ctx.decay * filtered[:1])
            g_weights = tuple(a + b for a, b in zip(g_weights, older, strict=True))
        return None, None, g_x, None, None, *g_weights, *g_bias
