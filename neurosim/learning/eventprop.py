"""EventProp on a time grid: gradients of spike times, with no surrogate, from memory for spikes and not for steps."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

from neurosim.cores.cuba_integrator import cuba_integrator
from neurosim.errors import InputError
from neurosim.graph import Connection, NetworkState
from neurosim.learning.eligibility import accumulate, linear, whole
from neurosim.learning.losses import Loss
from neurosim.learning.rules import Backward, Forward, Rule, check_number, check_steps
from neurosim.network import Network
from neurosim.neurons import Neuron, layer

CubaLI = layer(cuba_integrator)


@dataclass(frozen=True)
class EventProp(Rule):
    r"""EventProp: the gradient through the times of the spikes that were fired, and through nothing else.

    Backward in time the derivatives :math:`\mu` of the loss by membrane v and current j flow through the transposed
    step; at a spike of neuron n

    .. math:: \mu_{v,n} \leftarrow \mu_{v,n} + \frac{(\vartheta - v_{reset}) \mu_{v,n} - \tau_m S}{r j_n - \vartheta},
              \quad S = \sum_k w_{kn} \left(\frac{\mu_{j,k}}{\tau_s} - \frac{r \mu_{v,k}}{\tau_m}\right)

    with the sum over the neurons it reaches, at the step of arrival, and :math:`\nabla W = \sum_t \mu_j[t] s[t]^\top`.
    Between spikes only the state at spikes is needed: what is kept grows with the number of spikes (the output and its
    gradient aside). A silent neuron gets no gradient: begin with weights that make neurons fire, or give `rate_weight`.

    This is the time-stepped form: spikes stand on the grid, so that the gradient is that of `exact_events` up to an
    error of order dt, and not that of the loss on the grid, which is constant between the jumps of its spikes. Where
    :math:`r j` is close to threshold (grazing) gradients are large: clip them.

    The network: `Linear` edges of any delay among one input and populations of `CubaLIF` with ``reset="value"`` and
    plain parameters; the output is `CubaLI` of this module, which never fires, and any loss may look at it.

    Parameters
    ----------
    rate_weight : float
        At each spike ``rate_weight (n_j - spikes)`` is added to :math:`\mu_v`, with n_j the neuron's mean number of
        spikes in the batch: it fires less where that is above `spikes`, and more where it is below (a neuron without a
        spike still gets nothing). Not part of the value returned.
    spikes : float
        The wanted number of spikes a run.
    floor : float
        The least denominator :math:`r j_n - \vartheta`.
    chunk : int
        Steps per call of the network; no influence on the result.

    Raises
    ------
    InputError
        When a number is out of range; in `gradients`, when the network is not as said.

    References
    ----------
    Wunderlich and Pehle, "Event-based backpropagation can compute exact gradients for spiking neural networks",
    Scientific Reports 11, 2021, doi:10.1038/s41598-021-91786-z; time stepping after Nowotny, Turner and Knight, "Loss
    shaping enhances exact gradient learning with Eventprop in spiking neural networks", arXiv:2212.01232.
    """

    rate_weight: float = 0.0
    spikes: float = 0.0
    floor: float = 1e-3
    chunk: int = 64

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_number("EventProp", "chunk", self.chunk)
        for name, value in (("rate_weight", self.rate_weight), ("spikes", self.spikes), ("floor", self.floor)):
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"EventProp({name}={value}): a finite number from 0 up.")

    def gradients(
        self,
        net: Forward,
        x: Tensor,
        target: Tensor,
        loss: Loss,
        generator: torch.Generator | None = None,
        *,
        backward: Backward = torch.Tensor.backward,
    ) -> tuple[Tensor, Tensor]:
        """Run forward keeping spikes, then back from spike to spike; see `Rule.gradients`."""
        network, steps = whole("EventProp", net), check_steps(x)
        _check(network)
        tape, output = self._forward(network, x)
        y = output.requires_grad_()
        value = loss(y, target)
        backward(value)
        assert y.grad is not None
        with torch.no_grad():
            way = _Back(self, network, x, tape, y.grad)
            for stop in range(steps, 0, -self.chunk):
                way.through(max(stop - self.chunk, 0), stop)
            way.finish()
        return value.detach(), y.detach()

    def _forward(self, net: Network, x: Tensor) -> tuple[Tape, Tensor]:
        hidden = [name for name in net.populations() if name != net.output]
        recorded = [*hidden, *(f"{name}.j" for name in hidden)]
        tape, outputs = Tape(hidden, x), []
        state: NetworkState | None = None
        with torch.no_grad():
            for start in range(0, len(x), self.chunk):
                y, state, values = net.recorded(x[start : start + self.chunk], state, recorded)
                outputs.append(y)
                for name in hidden:
                    tape.keep(name, start, values[name], values[f"{name}.j"])
        return tape, torch.cat(outputs)


class Tape:
    """The spikes of a run and the current of each neuron that fired, and nothing else."""

    def __init__(self, names: list[str], x: Tensor) -> None:
        self.steps, self.trials = x.shape[:2]
        self.like = x
        self.held: dict[str, list[tuple[int, Tensor, Tensor, torch.Size]]] = {name: [] for name in names}

    def keep(self, name: str, start: int, z: Tensor, j: Tensor) -> None:
        """Take the spikes of a chunk [t, B, N] that begins at `start`, and the currents at them."""
        places = z.flatten().nonzero().squeeze(1)
        self.held[name].append((start, places, j.flatten()[places], z.shape))

    def chunk(self, name: str, start: int, stop: int, size: int) -> tuple[Tensor, Tensor]:
        """Return spikes and currents of the steps from `start` (which may be negative) to `stop`, 0 elsewhere."""
        z = self.like.new_zeros((stop - start, self.trials, size))
        current = torch.zeros_like(z)
        for first, places, values, shape in self.held[name]:
            if first < stop and first + shape[0] > start:
                each = shape[1] * shape[2]
                moved = places + (first - start) * each
                inside = (moved >= 0) & (moved < z.numel())
                z.view(-1)[moved[inside]] = 1.0
                current.view(-1)[moved[inside]] = values[inside]
        return z, current

    def counts(self, name: str, size: int) -> Tensor:
        """Return the mean number of spikes of each neuron [N]."""
        found = self.like.new_zeros(size)
        for _, places, _, _ in self.held[name]:
            found += torch.bincount(places % size, minlength=size)
        return found / self.trials

    @property
    def bytes(self) -> int:
        """Memory of what is kept."""
        return sum(t.nbytes for parts in self.held.values() for _, *tensors, _ in parts for t in tensors)


class _Back:
    """The way back through a run."""

    def __init__(self, rule: EventProp, net: Network, x: Tensor, tape: Tape, g_y: Tensor) -> None:
        self.rule, self.net, self.x, self.tape, self.g_y = rule, net, x, tape, g_y
        self.names = list(reversed(net.populations()))
        self.names.sort(key=lambda name: name != net.output)
        self.size = {name: net.shape(name)[0] for name in self.names}
        self.numbers = {name: _numbers(net.neurons()[name]) for name in self.names}
        fresh = {name: x.new_zeros((x.shape[1], self.size[name])) for name in self.names}
        self.mu_v, self.mu_j = dict(fresh), dict(fresh)
        place = {name: n for n, name in enumerate(self.names)}
        # Populations that come later in the list have not been gone through when a step's turn comes to one before.
        self.leaving = {
            name: [
                (e.target, e.delay_steps - (place[e.target] >= place[name]), linear("EventProp", e).weight)
                for e in net.edges
                if e.source == name
            ]
            for name in self.names
        }
        reach = max((edge.delay_steps for edge in net.edges), default=0)
        # What a later arrival of a unit weight is worth, of the last steps gone through, the earliest first.
        self.later = {name: deque([value] * (reach + 1), reach + 1) for name, value in fresh.items()}
        self.gradient: dict[str, Tensor] = {}
        self.bias: dict[str, Tensor] = {}
        hidden = [name for name in self.names if name != net.output]
        self.counts = {name: tape.counts(name, self.size[name]) for name in hidden} if rule.rate_weight else {}

    def through(self, start: int, stop: int) -> None:
        """Go back over the steps from `stop` to `start`."""
        fired = {n: self.tape.chunk(n, start, stop, self.size[n]) for n in self.names if n != self.net.output}
        found = {n: self.x.new_empty((stop - start, self.x.shape[1], size)) for n, size in self.size.items()}
        for t in range(stop - start - 1, -1, -1):
            for name in self.names:
                at_spike = None
                if name in fired:
                    at_spike = (fired[name][0][t], fired[name][1][t])
                self._step(name, at_spike, self.g_y[start + t])
                found[name][t] = self.mu_j[name]
        for edge in self.net.edges:
            # Without a delay what arrived is what was just gone through.
            sent = None if edge.delay_steps or edge.source not in fired else fired[edge.source][0]
            self._count(edge, found[edge.target], start, stop, sent)

    def _step(self, name: str, at_spike: tuple[Tensor, Tensor] | None, g_y: Tensor) -> None:
        alpha_mem, alpha_syn, tau_mem, tau_syn, r, v_th, v_reset = self.numbers[name]
        mu = alpha_mem * self.mu_v[name]
        if at_spike is None:
            mu = mu + g_y
        else:
            z, j = at_spike
            worth: Tensor | float = 0.0
            for target, ago, weight in self.leaving[name]:
                worth = worth + self.later[target][ago] @ weight
            jump = ((v_th - v_reset) * mu - tau_mem * worth) / (r * j - v_th).clamp_min(self.rule.floor)
            if name in self.counts:
                jump = jump + self.rule.rate_weight * (self.counts[name] - self.rule.spikes)
            mu = mu + z * jump
        mu_j = alpha_syn * self.mu_j[name] + (1.0 - alpha_mem) * r * mu
        self.mu_v[name], self.mu_j[name] = mu, mu_j
        self.later[name].appendleft(mu_j / tau_syn - (r / tau_mem) * mu)

    def _count(self, edge: Connection, mu_j: Tensor, start: int, stop: int, sent: Tensor | None) -> None:
        first, last = start - edge.delay_steps, stop - edge.delay_steps
        if sent is not None:
            pre = sent
        elif edge.source in self.size:
            pre, _ = self.tape.chunk(edge.source, first, last, self.size[edge.source])
        else:
            pre = self.x[max(first, 0) : max(last, 0)]
            pre = torch.cat((pre.new_zeros((stop - start - len(pre), *pre.shape[1:])), pre))
        part = mu_j.flatten(0, 1).T @ pre.flatten(0, 1)
        self.gradient[edge.name] = self.gradient[edge.name] + part if edge.name in self.gradient else part
        if linear("EventProp", edge).bias is None:
            return
        constant = mu_j.sum((0, 1))
        self.bias[edge.name] = self.bias[edge.name] + constant if edge.name in self.bias else constant

    def finish(self) -> None:
        """Add what was found to `.grad`."""
        for edge in self.net.edges:
            synapse = linear("EventProp", edge)
            if synapse.weight.requires_grad:
                accumulate(synapse.weight, self.gradient[edge.name])
            if synapse.bias is not None and synapse.bias.requires_grad:
                accumulate(synapse.bias, self.bias[edge.name])


def _numbers(node: Neuron) -> tuple[float, ...]:
    spiking = node.is_spiking
    names = ("tau_mem", "tau_syn", "r", "v_th", "v_reset") if spiking else ("tau_mem", "tau_syn", "r")
    values = [float(node.value(name)) for name in names]
    alphas = [float(node.decay(name)) for name in ("tau_mem", "tau_syn")]
    return (*alphas, *values) if spiking else (*alphas, *values, math.inf, 0.0)


def _check(net: Network) -> None:
    if len(net.inputs) != 1:
        raise InputError(f"EventProp needs a network with one input; this one has {list(net.inputs)}.")
    for name, node in net.neurons().items():
        wanted, what = ("cuba_integrator", "CubaLI") if name == net.output else ("cubalif", "CubaLIF")
        if node.core.name != wanted:
            raise InputError(f"EventProp: {name!r} must be {what}; it is {node.core.name}.")
        if name != net.output and node.reset != "value":
            raise InputError(f'EventProp: {name!r} must have reset="value"; it has {node.reset!r}.')
        each = [p for p in node.core.parameters if isinstance(node.value(p), Tensor)]
        if each:
            raise InputError(f"EventProp: {name!r} must have plain numbers for {each}, which are tensors.")
    for edge in net.edges:
        linear("EventProp", edge)
        if edge.source == net.output:
            raise InputError(f"EventProp: edge {edge.name!r} leads away from the output, which must be read only.")
