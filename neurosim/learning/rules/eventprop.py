"""EventProp on a time grid: gradients of spike times, without a surrogate, in memory proportional to spikes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from neurosim.cores.cuba_integrator import cuba_integrator
from neurosim.errors import InputError
from neurosim.kernels.common.bits import positions
from neurosim.learning.losses.base import Loss
from neurosim.learning.rules.base import Backward, Forward, Rule, check_number, check_steps
from neurosim.learning.rules.eligibility import accumulate, as_network, linear
from neurosim.network.graph import Connection, NetworkState
from neurosim.network.layers import layer
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.network.portability import refuse_sources, refuse_start_values

CubaLI = layer(cuba_integrator)


@dataclass(frozen=True)
class EventProp(Rule):
    r"""EventProp: the gradient through the times of the spikes.

    Backward in time, the derivatives :math:`\mu` of the loss by membrane v and current j pass the transposed step; at a
    spike of neuron n

    .. math:: \mu_{v,n} \leftarrow \mu_{v,n} + \frac{(\vartheta - v_{reset}) \mu_{v,n} - \tau_m S}{r j_n - \vartheta},
              \quad S = \sum_k w_{kn} \left(\frac{\mu_{j,k}}{\tau_s} - \frac{r \mu_{v,k}}{\tau_m}\right)

    with the sum over postsynaptic neurons, at the step of arrival, and :math:`\nabla W = \sum_t \mu_j[t] s[t]^\top`.
    Only the state at spikes is needed: memory is proportional to the number of spikes (the output and its gradient
    excepted). The gradient of a silent neuron is 0: initialise weights so that neurons fire, or use `rate_weight`.

    This is the time-stepped form: spikes are on the grid, so the gradient is that of `exact_events` up to an error of
    order dt. It is not the gradient of the loss on the grid, which is constant between the jumps of its spikes. Where
    :math:`r j` is close to threshold (grazing) gradients are large: clip them.

    The network: `Linear` edges of any delay among one input and populations of `CubaLIF` with ``reset="value"`` and
    plain parameters; the output is `CubaLI` of this module, which never fires. Any loss can be used.

    Parameters
    ----------
    rate_weight : float
        At each spike ``rate_weight (n_j - spikes)`` is added to :math:`\mu_v`, with n_j the neuron's mean number of
        spikes in the batch: the neuron fires less where that is above `spikes`, and more where it is below (not if it
        is silent). Not part of the value returned.
    spikes : float
        Target number of spikes per run.
    floor : float
        The least denominator :math:`r j_n - \vartheta`.
    chunk : int
        Steps per call of the network; does not change the result.

    Raises
    ------
    InputError
        When a number is out of range; in `gradients`, when the network is not of this kind.

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
        """Run forward and keep spikes, then backward from spike to spike; see `Rule.gradients`."""
        network, steps = as_network("EventProp", net), check_steps(x)
        _check(network)
        tape, output = self._forward(network, x)
        y = output.requires_grad_()
        value = loss(y, target)
        backward(value)
        assert y.grad is not None
        with torch.no_grad():
            adjoint = _Adjoint(self, network, x, tape, y.grad)
            for stop in range(steps, 0, -self.chunk):
                adjoint.run(max(stop - self.chunk, 0), stop)
            adjoint.finish()
        return value.detach(), y.detach()

    def _forward(self, net: Network, x: Tensor) -> tuple[Tape, Tensor]:
        hidden = [name for name in net.populations() if name != net.output]
        recorded = [*hidden, *(f"{name}.j" for name in hidden)]
        tape, outputs = Tape(hidden, x), []
        state: NetworkState | None = None
        with torch.no_grad():
            for start in range(0, len(x), self.chunk):
                y, state, values, *_ = net.run(x[start : start + self.chunk], state, recorded)
                outputs.append(y)
                for name in hidden:
                    tape.keep(name, start, values[name], values[f"{name}.j"])
        return tape, torch.cat(outputs)


class Tape:
    """The spikes of a run and the current of each neuron at its spikes."""

    def __init__(self, names: list[str], x: Tensor) -> None:
        self.steps, self.trials = x.shape[:2]
        self.like = x
        self.spikes: dict[str, list[tuple[int, Tensor, Tensor, torch.Size]]] = {name: [] for name in names}

    def keep(self, name: str, start: int, z: Tensor, j: Tensor) -> None:
        """Store the spikes of a chunk [t, B, N] that begins at step `start`, and the currents at them."""
        places = positions(z)
        self.spikes[name].append((start, places, j.flatten()[places], z.shape))

    def chunk(self, name: str, start: int, stop: int, size: int) -> tuple[Tensor, Tensor]:
        """Return spikes and currents of the steps from `start` (which may be negative) to `stop`, 0 elsewhere."""
        z = self.like.new_zeros((stop - start, self.trials, size))
        current = torch.zeros_like(z)
        for first, places, values, shape in self.spikes[name]:
            if first < stop and first + shape[0] > start:
                each = shape[1] * shape[2]
                # The positions ascend: those inside are contiguous.
                moved = places + (first - start) * each
                low, high = torch.searchsorted(moved, moved.new_tensor([0, z.numel()])).tolist()
                z.view(-1).index_fill_(0, moved[low:high], 1.0)
                current.view(-1).index_copy_(0, moved[low:high], values[low:high])
        return z, current

    def counts(self, name: str, size: int) -> Tensor:
        """Return the mean number of spikes of each neuron [N]."""
        found = self.like.new_zeros(size)
        for _, places, _, _ in self.spikes[name]:
            found += torch.bincount(places % size, minlength=size)
        return found / self.trials

    @property
    def bytes(self) -> int:
        """Memory of the stored spikes and currents."""
        return sum(t.nbytes for parts in self.spikes.values() for _, *tensors, _ in parts for t in tensors)


class _Plan(NamedTuple):
    """The update of mu_v of a population in a chunk.

    Attributes
    ----------
    share : Tensor [t, B, N]
        Summand of each step; `shares` are its steps.
    factors, couplings : sequence of Tensor [B, N]
        Factor of mu_v, and of the derivatives by the inputs of populations of the same cycle.
    inner : list of tuple
        Target, delay and weight of each edge within the cycle.
    """

    share: Tensor
    shares: Sequence[Tensor]
    factors: Sequence[Tensor]
    couplings: Sequence[Tensor]
    inner: list[tuple[str, int, Tensor]]


class _Adjoint:
    r"""The backward pass through a run, chunk by chunk, in each from the output to the inputs.

    A step is linear in :math:`\mu_v`: for a population without a cycle, factors and summands of all steps of a chunk
    are computed at once.
    """

    def __init__(self, rule: EventProp, net: Network, x: Tensor, tape: Tape, g_y: Tensor) -> None:
        self.rule, self.net, self.x, self.tape, self.g_y = rule, net, x, tape, g_y
        names = list(net.populations())
        self.size = {name: net.shape(name)[0] for name in names}
        self.numbers = {name: _numbers(net.neurons()[name]) for name in names}
        fresh = {name: x.new_zeros((x.shape[1], self.size[name])) for name in names}
        self.mu_v, self.mu_j = dict(fresh), dict(fresh)
        self.reach = max((edge.delay_steps for edge in net.edges), default=0)
        # Derivative of the loss by an input of unit weight, at the steps of a chunk and the first `reach` after it.
        self.by_input = {name: value.expand(self.reach, *value.shape) for name, value in fresh.items()}
        self.gradient: dict[str, Tensor] = {}
        self.bias: dict[str, Tensor] = {}
        hidden = [name for name in names if name != net.output]
        self.counts = {name: tape.counts(name, self.size[name]) for name in hidden} if rule.rate_weight else {}

    def run(self, start: int, stop: int) -> None:
        """Run backward over the steps from `stop` to `start`."""
        hidden = [name for name in self.size if name != self.net.output]
        fired = {name: self.tape.chunk(name, start, stop, self.size[name]) for name in hidden}
        mu_j: dict[str, Tensor] = {}
        for component in reversed(self.net.components):
            names = [name for name in reversed(component.nodes) if name in self.size]
            if names:
                mu_j.update(self._component(names, fired, start, stop))
        for edge in self.net.edges:
            # Without a delay the spikes of this chunk have arrived in it.
            sent = None if edge.delay_steps or edge.source not in fired else fired[edge.source][0]
            self._count(edge, mu_j[edge.target], start, stop, sent)

    def _component(
        self, names: list[str], fired: dict[str, tuple[Tensor, Tensor]], start: int, stop: int
    ) -> dict[str, Tensor]:
        """Run backward through the populations of a cycle, or one population; return mu_j of each [t, B, N]."""
        plans = {name: self._plan(name, names, fired.get(name), start, stop) for name in names}
        mu_v = {name: torch.empty_like(plan.share) for name, plan in plans.items()}
        mu_j = {name: torch.empty_like(plan.share) for name, plan in plans.items()}
        by_input = {name: [*torch.empty_like(plan.share), *self.by_input[name]] for name, plan in plans.items()}
        for t in range(stop - start - 1, -1, -1):
            for name, plan in plans.items():
                alpha_mem, alpha_syn, tau_mem, tau_syn, r, *_ = self.numbers[name]
                share = plan.shares[t]
                for target, ago, weight in plan.inner:
                    share = torch.addcmul(share, plan.couplings[t], by_input[target][t + ago] @ weight)
                now = torch.addcmul(share, plan.factors[t], self.mu_v[name], out=mu_v[name][t])
                current = torch.mul(self.mu_j[name], alpha_syn, out=mu_j[name][t])
                current.add_(now, alpha=(1.0 - alpha_mem) * r)
                self.mu_v[name], self.mu_j[name] = now, current
                if plan.inner:
                    torch.sub(current / tau_syn, now, alpha=r / tau_mem, out=by_input[name][t])
        for name in names:
            _, _, tau_mem, tau_syn, r, *_ = self.numbers[name]
            chunk = torch.sub(mu_j[name] / tau_syn, mu_v[name], alpha=r / tau_mem)
            self.by_input[name] = torch.cat((chunk, self.by_input[name][: self.reach]))
        return mu_j

    def _plan(
        self, name: str, component: list[str], fired: tuple[Tensor, Tensor] | None, start: int, stop: int
    ) -> _Plan:
        """Compute the update of mu_v of a population at each step of a chunk."""
        alpha_mem, _, tau_mem, _, r, v_th, v_reset = self.numbers[name]
        if fired is None:
            share = self.g_y[start:stop]
            factor = share.new_tensor(alpha_mem)
            return _Plan(share, share.unbind(), [factor] * len(share), [], [])
        z, j = fired
        # A spike times the inverse of its slope, 0 without a spike.
        slope = z / (r * j - v_th).clamp_min(self.rule.floor)
        coupling, factor = slope * -tau_mem, (slope * (v_th - v_reset)).add_(1.0).mul_(alpha_mem)
        share = torch.zeros_like(z)
        inner: list[tuple[str, int, Tensor]] = []
        for edge in (edge for edge in self.net.edges if edge.source == name):
            weight = linear("EventProp", edge).weight
            if edge.target in component:
                inner.append((edge.target, edge.delay_steps, weight))
            else:
                arrived = self.by_input[edge.target][edge.delay_steps : edge.delay_steps + len(z)]
                share.add_(arrived @ weight)
        share.mul_(coupling)
        if name in self.counts:
            share.add_(z * (self.counts[name] - self.rule.spikes), alpha=self.rule.rate_weight)
        return _Plan(share, share.unbind(), factor.unbind(), coupling.unbind(), inner)

    def _count(self, edge: Connection, mu_j: Tensor, start: int, stop: int, sent: Tensor | None) -> None:
        first, last = start - edge.delay_steps, stop - edge.delay_steps
        if sent is not None:
            pre = sent
        elif edge.source in self.size:
            pre, _ = self.tape.chunk(edge.source, first, last, self.size[edge.source])
        else:
            pre = self.x[max(first, 0) : max(last, 0)]
            if first < 0:
                pre = torch.cat((pre.new_zeros((stop - start - len(pre), *pre.shape[1:])), pre))
        part = linear("EventProp", edge).weight_gradient(pre, mu_j)
        self.gradient[edge.name] = self.gradient[edge.name] + part if edge.name in self.gradient else part
        if linear("EventProp", edge).bias is None:
            return
        constant = mu_j.sum((0, 1))
        self.bias[edge.name] = self.bias[edge.name] + constant if edge.name in self.bias else constant

    def finish(self) -> None:
        """Add the gradients to `.grad`."""
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
    refuse_sources(net, "EventProp")
    refuse_start_values(net, "EventProp")
    for name, node in net.neurons().items():
        core, layer_name = ("cuba_integrator", "CubaLI") if name == net.output else ("cubalif", "CubaLIF")
        if node.core.name != core:
            raise InputError(f"EventProp: {name!r} must be {layer_name}; it is {node.core.name}.")
        if name != net.output and node.reset != "value":
            raise InputError(f'EventProp: {name!r} must have reset="value"; it has {node.reset!r}.')
        tensors = [p for p in node.core.parameters if isinstance(node.value(p), Tensor)]
        if tensors:
            raise InputError(f"EventProp: {name!r} must have plain numbers for {tensors}, which are tensors.")
    for edge in net.edges:
        linear("EventProp", edge)
        if edge.source == net.output:
            raise InputError(f"EventProp: edge {edge.name!r} leaves the output, which must only be read.")
