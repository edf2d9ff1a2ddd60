"""DECOLLE one step at a time, from the traces before the weights, as in the authors' program."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from neurosim.learning.losses.base import Loss, Masked, Steps
from neurosim.learning.rules.base import Backward
from neurosim.learning.rules.filtered_trace import FilteredTrace, leak
from neurosim.learning.rules.local_readouts import LocalReadouts
from neurosim.network.network import Network


def run_stepwise(
    net: LocalReadouts,
    x: Tensor,
    target: Tensor,
    loss: Loss,
    backward: Backward,
    *,
    burn_in: int,
    penalty: Callable[[Tensor], Tensor] | None,
    update: Callable[[], Any] | None,
) -> tuple[Tensor, Tensor]:
    """Run every step without a call of the network and add its gradients.

    Parameters
    ----------
    net, x, target, loss, backward
        As in `Rule.gradients`.
    burn_in, update
        As in `DECOLLE`.
    penalty : callable, optional
        Returns the regularisation of the membranes [B, ...] of a layer.

    Returns
    -------
    value : Tensor
        Sum over layers of the mean loss over steps.
    output : Tensor [T, B, classes]
    """
    inner = net.net
    layers = [_Layer(inner, name, x) for name in inner.populations()]
    last = [each.name for each in layers].index(inner.output)
    values: list[Tensor] = []
    outputs: list[Tensor] = []
    # The loss of the layers' stacked outputs is a mean over layers, as over steps; the sum is needed.
    share = len(layers) * (1.0 / (len(x) - burn_in))
    for t, step in enumerate(x):
        learns, sent = t >= burn_in, {inner.inputs[0]: step}
        with torch.no_grad():
            for each in layers:
                sent[each.name] = each.step(sent, learns=learns)
            for each in layers:
                each.send(sent)
        with torch.set_grad_enabled(learns):
            seen = [each.surrogate() if net.variant == "spikes" else each.u for each in layers]
            read = [net.read(each.name, value, value, lead=1) for each, value in zip(layers, seen, strict=True)]
            outputs.append(read[last].detach())
            if not learns:
                continue
            outputs_of_layers = torch.stack(read)
            if isinstance(loss, Masked) or loss.is_over_time(outputs_of_layers, target):
                parts = [loss.over(y[None], target, Steps(t, len(x))) for y in read]
                value = torch.stack(parts).mean()
            else:
                value = loss(outputs_of_layers, target)
            values.append(value.detach())
            if penalty is not None:
                value = value + functools.reduce(torch.add, [penalty(each.u) for each in layers]) / len(layers)
            backward(value * share)
        with torch.no_grad():
            for each in layers:
                each.learn()
        if update is not None:
            update()
    return torch.stack(values).sum() * share, torch.stack(outputs)


class _Layer:
    """One population, run step by step."""

    def __init__(self, net: Network, name: str, like: Tensor) -> None:
        node, batch = net.neurons()[name], like.shape[1]
        self.name, self.spike = name, node.spike
        self.decay, self.threshold = node.decay("tau_ref"), node.value("v_th")
        self.spike_effect = -node.value("v_ref")
        self.edges = [edge for edge in net.edges if edge.target == name]
        self.traces = [FilteredTrace(net, edge) for edge in self.edges]
        # The gradient of plain products is known: no graph is needed before the membrane.
        self.is_plain = all(trace.is_plain for trace in self.traces)
        self.u: Tensor
        self.delay_lines = {
            edge.name: deque(like.new_zeros((edge.delay_steps, batch, *net.shape(edge.source))))
            for edge in self.edges
            if edge.delay_steps
        }
        self.ref = like.new_zeros((batch, *net.shape(name)))

    def step(self, sent: dict[str, Tensor], *, learns: bool) -> Tensor:
        """Run one step, called without gradients; return the spikes and keep the membrane as `u`."""
        u = self.ref
        with torch.set_grad_enabled(learns and not self.is_plain):
            for edge, trace in zip(self.edges, self.traces, strict=True):
                trace.step(self.delay_lines[edge.name].popleft() if edge.delay_steps else sent[edge.source])
                u = trace.add_current(u)
        self.u = u.requires_grad_() if self.is_plain and learns else u
        z = (u > self.threshold).to(u)
        # A sum keeps none of its terms for the backward pass: the trace may change in place.
        leak(self.ref, z * self.spike_effect, self.decay)
        return z

    def surrogate(self) -> Tensor:
        """Return the spikes of the step with the surrogate's gradient."""
        return self.spike(self.u - self.threshold)

    def learn(self) -> None:
        """Add the weight gradients of plain edges; the graph has added those of other edges."""
        if not self.is_plain or self.u.grad is None:
            return
        for trace in self.traces:
            trace.add_gradient(self.u.grad)

    def send(self, sent: dict[str, Tensor]) -> None:
        """Put the spikes of the step into the delay lines."""
        for edge in self.edges:
            if edge.delay_steps:
                self.delay_lines[edge.name].append(sent[edge.source])
