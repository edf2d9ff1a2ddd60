"""The trace of an edge in DECOLLE: its input filtered twice, before the weights."""

from __future__ import annotations

import torch
from torch import Tensor

from neurosim.learning.rules.eligibility import accumulate
from neurosim.network.graph import Connection
from neurosim.network.network import Network
from neurosim.synapses import Dropout, Linear


def leak(trace: Tensor, x: Tensor, decay: float | Tensor) -> None:
    """Do what the core `leaky_integrator` does with r = 1, in place: traces are large and each step is read once."""
    trace.lerp_(x, 1.0 - decay)


class FilteredTrace:
    """The trace P of the input of an edge: q filters the spikes, p filters the q of the step before.

    Parameters
    ----------
    net : Network
        Of `DecolleLIF` populations.
    edge : Connection
        One of its edges; the time constants are those of its target.

    Attributes
    ----------
    is_plain : bool
        Whether the edge is one `Linear`, whose product with the trace needs no graph.
    """

    def __init__(self, net: Network, edge: Connection) -> None:
        node = net.neurons()[edge.target]
        self.edge = edge
        self.biased = any(getattr(synapse, "bias", None) is not None for synapse in edge.synapses)
        (self.plain, *others) = edge.synapses
        self.is_plain = not others and type(self.plain) is Linear
        self.draws = any(isinstance(synapse, Dropout) for synapse in edge.synapses)
        self.decays = [float(node.decay(name)) for name in ("tau_syn", "tau_mem")]
        self.q: Tensor | None = None
        self.p: Tensor | None = None
        self.chunk: Tensor
        self.ones = [0.0, 0.0]  # q and p of a constant 1: the filtered share of a bias

    def run(self, spikes: Tensor) -> None:
        """Filter the spikes [t, B, ...] of a chunk and keep the traces for `current`."""
        self.chunk = torch.empty_like(spikes)
        constants = []
        for t, s in enumerate(spikes):
            self.chunk[t] = self.step(s)
            constants.append(self.ones[1])
        self.constant = spikes.new_tensor(constants).view(-1, *[1] * (spikes.dim() - 1))

    def step(self, s: Tensor) -> Tensor:
        """Filter the spikes [B, ...] of one step; the result is overwritten by the next step."""
        fast, slow = self.decays
        if self.q is None or self.p is None:
            self.q, self.p = torch.zeros_like(s), torch.zeros_like(s)
        leak(self.p, self.q, slow)
        leak(self.q, s, fast)
        if not self.biased:
            return self.p
        one_q, one_p = self.ones
        self.ones = [1.0 + fast * (one_q - 1.0), one_q + slow * (one_p - one_q)]
        return self.p

    def current(self) -> Tensor:
        """Return the current of the chunk's traces [t, B, ...]; a bias is filtered as they are."""
        driven = self.edge(self.chunk)
        if self.biased:
            rest = self._current_at_rest(self.chunk[:1])
            driven = driven - rest * (1.0 - self.constant).view(-1, *[1] * (driven.dim() - 1))
        return driven

    def add_current(self, u: Tensor) -> Tensor:
        """Return `u` [B, ...] plus the current of the step's trace."""
        assert self.p is not None
        if self.is_plain:
            assert isinstance(self.plain, Linear)
            driven = torch.addmm(u, self.p, self.plain.weight.T)
            return driven if self.plain.bias is None else driven + self.ones[1] * self.plain.bias
        driven = self.edge(self.p.unsqueeze(0))[0]
        if self.biased:
            driven = driven - self._current_at_rest(self.p.unsqueeze(0))[0] * (1.0 - self.ones[1])
        return u + driven

    def add_gradient(self, g: Tensor) -> None:
        """Add the weight gradient of a plain edge, given the gradient [B, N] of its membranes."""
        assert isinstance(self.plain, Linear) and self.p is not None
        weight, bias = self.plain.weight, self.plain.bias
        if weight.requires_grad:
            weight.grad = g.T @ self.p if weight.grad is None else weight.grad.addmm_(g.T, self.p)
        if bias is not None and bias.requires_grad:
            accumulate(bias, self.ones[1] * g.sum(0))

    def _current_at_rest(self, like: Tensor) -> Tensor:
        """Return the current of silent inputs like `like` [1, B, ...], of one sample if all have the same."""
        return self.edge(torch.zeros_like(like if self.draws else like[:, :1]))
