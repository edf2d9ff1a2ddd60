"""Eligibility traces of the synapses of a population, carried forward in time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neurosim.errors import InputError
from neurosim.network.graph import Connection, NetworkState
from neurosim.network.in_flight import arriving
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.network.population import State
from neurosim.synapses import Linear


class Eligibility:
    r"""Derivatives of a population's state and output by its incoming weights, with presynaptic spikes constant.

    With state :math:`h_j` of neuron j and its output :math:`z_j`, each synapse ji carries

    .. math:: \epsilon_{ji}[t] = \frac{\partial h_j[t]}{\partial h_j[t-1]} \epsilon_{ji}[t-1]
              + \frac{\partial h_j[t]}{\partial W_{ji}}, \quad e_{ji}[t] = \frac{d z_j[t]}{d W_{ji}}, \quad
              \bar e_{ji}[t] = \kappa\, \bar e_{ji}[t-1] + e_{ji}[t]

    which is the eligibility of e-prop for any core: the derivatives are those of its step function. Within a chunk the
    sums over time are computed backward, as one product; :math:`\epsilon` and :math:`\bar e` are carried forward from
    chunk to chunk. The result is the same for every length of chunk.

    Parameters
    ----------
    owner : str
        Name of the rule, for messages.
    net : Network
    name : str
        The population.
    kappa : float, optional
        Decay of the filter; by default no filtered eligibility is computed.

    Raises
    ------
    InputError
        When the population has no core or several input ports, or an edge to it is not one `Linear`.
    """

    def __init__(self, owner: str, net: Network, name: str, kappa: float | None = None) -> None:
        node = net.nodes[name]
        if not isinstance(node, Neuron):
            raise InputError(f"{owner}: {name!r} is a {type(node).__name__}, which has no core; use LIF, ALIF, LI, ...")
        if len(node.ports) > 1:
            raise InputError(
                f"{owner}: {name!r} has the input ports {list(node.ports)}; eligibilities are those of one current. "
                "Use a core with one input, or BPTT."
            )
        self.node, self.kappa, self.inputs = node, kappa, tuple(net.inputs)
        self.edges = [edge for edge in net.edges if edge.target == name]
        self.synapses = [linear(owner, edge) for edge in self.edges]
        self.gradient: Tensor | None = None
        self._traces: list[Tensor] = []

    def arriving(self, outputs: dict[str, Tensor], state: NetworkState | None) -> list[Tensor]:
        """Return the spikes that arrive at each edge in a chunk; `state` is the one before the chunk."""
        return [arriving(edge, outputs[edge.source], state) for edge in self.edges]

    def run(self, pres: Sequence[Tensor], state: State | None) -> Tensor:
        """Run the population over a chunk with a graph, for `learn` and `advance`; return its output [t, B, N]."""
        with torch.no_grad():
            current = sum(edge(pre) for edge, pre in zip(self.edges[1:], pres[1:], strict=True))
            current = self.edges[0](pres[0]) + current
            start = self.node.initial_state(current) if state is None else state
        columns = []
        for synapse, pre in zip(self.synapses, pres, strict=True):
            columns.append(pre)
            if synapse.bias is not None:
                columns.append(pre.new_ones((*pre.shape[:2], 1)))
        self._pre = torch.cat(columns, 2).detach()
        self._leaves = [current.detach().requires_grad_(), *(v.detach().clone().requires_grad_() for v in start)]
        with torch.enable_grad():
            self._out, self._after = self.node(self._leaves[0], type(start)(*self._leaves[1:]))
        return self._out.detach()

    def learn(self, signal: Tensor, slow: Tensor | None = None) -> tuple[Tensor, Tensor, list[Tensor]]:
        r"""Return the sum over the chunk of ``signal`` times the eligibility e.

        Parameters
        ----------
        signal : Tensor [t, B, N]
            Derivative of the loss by each output.
        slow : Tensor [B, N], optional
            Factor of the filtered eligibility of earlier chunks.

        Returns
        -------
        gradient : Tensor [N, columns]
            Of all incoming weights in the order of the edges, each bias after its weights.
        current : Tensor [t, B, N]
            Derivative of the same sum by the currents of the chunk.
        state : list of Tensor [B, N]
            Derivative of the same sum by the state before the chunk.
        """
        current, *state = self._back(self._out, signal)
        gradient = current.flatten(0, 1).T @ self._pre.flatten(0, 1)
        if self._traces:
            for factor, trace in zip(state, self._traces, strict=False):
                gradient = gradient + torch.einsum("bj,bji->ji", factor, trace)
            if slow is not None:
                gradient = gradient + torch.einsum("bj,bji->ji", slow, self._traces[-1])
        return gradient, current, state

    def add(self, gradient: Tensor) -> None:
        """Add a gradient from `learn` to the sum that `finish` accumulates."""
        self.gradient = gradient if self.gradient is None else self.gradient + gradient

    def advance(self) -> None:
        """Carry the eligibilities forward to the end of the chunk."""
        steps, traces = len(self._pre), []
        for after in self._after:
            traces.append(self._carried(self._back(after, torch.ones_like(after))))
        if self.kappa is not None:
            decay = self.kappa ** torch.arange(steps - 1, -1, -1, dtype=self._pre.dtype, device=self._pre.device)
            filtered = self._carried(self._back(self._out, decay.view(-1, 1, 1).expand_as(self._out)))
            if self._traces:
                filtered = filtered + self.kappa**steps * self._traces[-1]
            traces.append(filtered)
        self._traces = traces

    def finish(self) -> None:
        """Add the summed gradient to `.grad` of weights and biases."""
        assert self.gradient is not None
        at = 0
        for synapse in self.synapses:
            parts = [(synapse.weight, self.gradient[:, at : at + synapse.n_in])]
            at += synapse.n_in
            if synapse.bias is not None:
                parts.append((synapse.bias, self.gradient[:, at]))
                at += 1
            for parameter, part in parts:
                if parameter.requires_grad:
                    accumulate(parameter, part)

    def _back(self, value: Tensor, signal: Tensor) -> list[Tensor]:
        if not value.requires_grad:
            return [torch.zeros_like(leaf) for leaf in self._leaves]
        found = torch.autograd.grad(value, self._leaves, signal, retain_graph=True, allow_unused=True)
        return [torch.zeros_like(leaf) if g is None else g for g, leaf in zip(found, self._leaves, strict=True)]

    def _carried(self, factors: list[Tensor]) -> Tensor:
        current, *state = factors
        total = torch.bmm(current.permute(1, 2, 0), self._pre.transpose(0, 1))
        for factor, trace in zip(state, self._traces, strict=False):
            total.addcmul_(factor.unsqueeze(2), trace)
        return total


def linear(owner: str, edge: Connection) -> Linear:
    """Return the single `Linear` of an edge."""
    (synapse, *others) = edge.synapses
    if others or not isinstance(synapse, Linear):
        kinds = ", ".join(type(s).__name__ for s in edge.synapses)
        raise InputError(f"{owner}: edge {edge.name!r} is {kinds}; one Linear is needed. Use BPTT() for this network.")
    return synapse


def accumulate(parameter: Tensor, gradient: Tensor) -> None:
    """Add a gradient to `.grad`."""
    gradient = gradient.detach().to(parameter.dtype)
    parameter.grad = gradient.clone() if parameter.grad is None else parameter.grad + gradient


def as_network(owner: str, net: object) -> Network:
    """Return `net` if it is a `Network`, whose populations and edges local rules read."""
    if not isinstance(net, Network):
        raise InputError(f"{owner} needs the Network itself and full precision; got {type(net).__name__}.")
    return net
