"""What each synapse of a population remembers of its past, so that learning needs no way back through time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neurosim.errors import InputError
from neurosim.network.graph import Connection, NetworkState
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.network.population import State
from neurosim.synapses import Linear


class Eligibility:
    r"""Derivatives of a population's state and output by its incoming weights, the spikes before them held fixed.

    With state :math:`h_j` of neuron j and its output :math:`z_j`, each synapse ji carries

    .. math:: \epsilon_{ji}[t] = \frac{\partial h_j[t]}{\partial h_j[t-1]} \epsilon_{ji}[t-1]
              + \frac{\partial h_j[t]}{\partial W_{ji}}, \quad e_{ji}[t] = \frac{d z_j[t]}{d W_{ji}}, \quad
              \bar e_{ji}[t] = \kappa\, \bar e_{ji}[t-1] + e_{ji}[t]

    which is the eligibility of e-prop for any core: the derivatives are those of its own step function. Inside a chunk
    of steps the sums over time are taken backward, as one product; from chunk to chunk :math:`\epsilon` and
    :math:`\bar e` are carried forward. The numbers are the same for every length of chunk.

    Parameters
    ----------
    owner : str
        Who asks, for messages.
    net : Network
    name : str
        The population.
    kappa : float, optional
        Decay of the filter; without it no filtered eligibility is kept.

    Raises
    ------
    InputError
        When the population has no core or several input ports, or an edge to it is anything but one
        `Linear`.
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
        self.maps = [linear(owner, edge) for edge in self.edges]
        self.gradient: Tensor | None = None
        self._held: list[Tensor] = []

    def arriving(self, outputs: dict[str, Tensor], state: NetworkState | None) -> list[Tensor]:
        """Return what reaches each edge in a chunk, from what its sources send and what was under way before."""
        return [arriving(edge, outputs, state) for edge in self.edges]

    def run(self, pres: Sequence[Tensor], state: State | None) -> Tensor:
        """Run the population over a chunk once more, ready for `learn`; return its output [t, B, N]."""
        with torch.no_grad():
            current = sum(edge(pre) for edge, pre in zip(self.edges[1:], pres[1:], strict=True))
            current = self.edges[0](pres[0]) + current
            start = self.node.initial_state(current) if state is None else state
        columns = []
        for linear_map, pre in zip(self.maps, pres, strict=True):
            columns.append(pre)
            if linear_map.bias is not None:
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
            What a change of each output is worth.
        slow : Tensor [B, N], optional
            What the filtered eligibility left by earlier chunks is worth.

        Returns
        -------
        gradient : Tensor [N, columns]
            Of all incoming weights side by side, in the order of the edges, each bias after its weights.
        current : Tensor [t, B, N]
            The same sum by the currents of the chunk.
        state : list of Tensor [B, N]
            The same sum by the state before the chunk.
        """
        current, *state = self._back(self._out, signal)
        gradient = current.flatten(0, 1).T @ self._pre.flatten(0, 1)
        if self._held:
            for worth, held in zip(state, self._held, strict=False):
                gradient = gradient + torch.einsum("bj,bji->ji", worth, held)
            if slow is not None:
                gradient = gradient + torch.einsum("bj,bji->ji", slow, self._held[-1])
        return gradient, current, state

    def add(self, gradient: Tensor) -> None:
        """Count a gradient as `learn` returns it towards the one that `finish` hands over."""
        self.gradient = gradient if self.gradient is None else self.gradient + gradient

    def advance(self) -> None:
        """Carry the eligibilities to the end of the chunk."""
        steps, found = len(self._pre), []
        for after in self._after:
            found.append(self._carried(self._back(after, torch.ones_like(after))))
        if self.kappa is not None:
            decay = self.kappa ** torch.arange(steps - 1, -1, -1, dtype=self._pre.dtype, device=self._pre.device)
            filtered = self._carried(self._back(self._out, decay.view(-1, 1, 1).expand_as(self._out)))
            if self._held:
                filtered = filtered + self.kappa**steps * self._held[-1]
            found.append(filtered)
        self._held = found

    def finish(self) -> None:
        """Add what was counted to `.grad` of weights and biases."""
        assert self.gradient is not None
        at = 0
        for linear_map in self.maps:
            parts = [(linear_map.weight, self.gradient[:, at : at + linear_map.n_in])]
            at += linear_map.n_in
            if linear_map.bias is not None:
                parts.append((linear_map.bias, self.gradient[:, at]))
                at += 1
            for parameter, part in parts:
                if parameter.requires_grad:
                    accumulate(parameter, part)

    def _back(self, value: Tensor, signal: Tensor) -> list[Tensor]:
        if not value.requires_grad:
            return [torch.zeros_like(leaf) for leaf in self._leaves]
        found = torch.autograd.grad(value, self._leaves, signal, retain_graph=True, allow_unused=True)
        return [torch.zeros_like(leaf) if g is None else g for g, leaf in zip(found, self._leaves, strict=True)]

    def _carried(self, worth: list[Tensor]) -> Tensor:
        current, *state = worth
        total = torch.bmm(current.permute(1, 2, 0), self._pre.transpose(0, 1))
        for factor, held in zip(state, self._held, strict=False):
            total.addcmul_(factor.unsqueeze(2), held)
        return total


def linear(owner: str, edge: Connection) -> Linear:
    """Return the one all-to-all map of an edge."""
    (synapse, *others) = edge.synapses
    if others or not isinstance(synapse, Linear):
        kinds = ", ".join(type(s).__name__ for s in edge.synapses)
        raise InputError(f"{owner}: edge {edge.name!r} is {kinds}; one Linear is needed. Use BPTT() for this network.")
    return synapse


def arriving(edge: Connection, outputs: dict[str, Tensor], state: NetworkState | None) -> Tensor:
    """Return what reaches an edge's synapses in a chunk; `state` is the one before it."""
    sent = outputs[edge.source]
    if not edge.delay_steps:
        return sent
    under_way = sent.new_zeros((edge.delay_steps, *sent.shape[1:])) if state is None else state.edges[edge.name]
    return torch.cat((under_way, sent))[: len(sent)]


def accumulate(parameter: Tensor, gradient: Tensor) -> None:
    """Add a gradient to `.grad`."""
    gradient = gradient.detach().to(parameter.dtype)
    parameter.grad = gradient.clone() if parameter.grad is None else parameter.grad + gradient


def whole(owner: str, net: object) -> Network:
    """Return the network itself, which local rules look into."""
    if not isinstance(net, Network):
        raise InputError(f"{owner} needs the Network itself and full precision; got {type(net).__name__}.")
    return net
