"""DECOLLE: every layer learns online from a loss of its own, read through fixed random weights."""

from __future__ import annotations

import functools
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neurosim.cores import decolle
from neurosim.errors import InputError
from neurosim.learning.losses import Loss
from neurosim.learning.rules.base import Backward, Forward, Rule, check_number, check_steps
from neurosim.learning.rules.eligibility import accumulate, arriving
from neurosim.network.graph import Connection, NetworkState
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron, layer
from neurosim.synapses import Linear, MaxPool2d

DecolleLIF = layer(decolle)


class LocalReadouts(nn.Module):
    r"""A network with a fixed random readout of every population; called as one, it gives the last one's.

    .. math:: y_l[t] = G_l\, \sigma(U_l[t]) \quad \text{or} \quad y_l[t] = G_l\, S_l[t]

    Parameters
    ----------
    net : Network
        Of `DecolleLIF` populations with one input, its output among them.
    classes : int
        Outputs of each readout.
    variant : {"membrane", "spikes"}
        What is read: the sigmoid of the membrane, as in the authors' program, or the spikes, as in the paper.
    scale : float
        The entries are uniform in ``+-scale / sqrt(neurons)``.
    generator : torch.Generator, optional
        Where they come from.

    Raises
    ------
    InputError
        When the network is not as said.
    """

    def __init__(
        self,
        net: Network,
        classes: int,
        *,
        variant: Literal["membrane", "spikes"] = "membrane",
        scale: float = 0.5,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if variant not in ("membrane", "spikes"):
            raise InputError(f'LocalReadouts: variant must be "membrane" or "spikes"; got {variant!r}.')
        _check(net)
        self.net, self.variant = net, variant
        like = next(net.parameters())
        for name in net.populations():
            size = math.prod(net.shape(name))
            drawn = (2 * torch.rand(classes, size, generator=generator) - 1).to(like)
            self.register_buffer(_buffer(name), drawn * (scale / math.sqrt(size)))

    def read(self, name: str, u: Tensor, z: Tensor, lead: int = 2) -> Tensor:
        """Return what the readout of a population gives for membranes and spikes [t, B, ...]; [B, ...] with lead 1."""
        seen = torch.sigmoid(u) if self.variant == "membrane" else z
        return F.linear(seen.flatten(lead), getattr(self, _buffer(name)))

    def forward(self, x: Tensor, state: NetworkState | None = None, **choices: Any) -> tuple[Tensor, NetworkState]:
        """Return the readout of the output population [T, B, classes] and the state; no gradient."""
        name = self.net.output
        with torch.no_grad():
            z, after, values = self.net.recorded(x, state, (f"{name}.u",), **choices)
            return self.read(name, values[f"{name}.u"], z), after


@dataclass(frozen=True)
class DECOLLE(Rule):
    r"""Deep continuous local learning: the gradients of a loss at every layer and step, within the layer and step.

    .. math:: \nabla W_l = \sum_t \left( \sigma'(U_l[t]) \odot G_l^\top \nabla_{y_l} \ell(y_l[t]) \right)
              P_{l}[t]^\top

    with P the twice filtered spikes before the weights. No gradient passes from layer to layer or from step to step,
    none goes into the readouts, the network is a `LocalReadouts`. Maps before the neurons must be linear, since traces
    take the place of spikes in front of them: all but max pooling.

    Parameters
    ----------
    burn_in : int
        First steps that are run without learning (100 of 500 in the authors' DVS program).
    regularisation : float
        Weight of ``mean relu(U + 0.01)`` and of ``relu(0.1 - mean sigmoid(U))`` of each layer, which keep membranes
        from running away and layers from silence (the mean is over a chunk); 3e-3 in the authors' program, not
        part of the value returned.
    chunk : int
        Steps per call of the network. A longer chunk is faster, holds more memory and gives the same gradient. With 1
        the network is not called: each step is worked out from the traces before the weights.
    update : callable, optional
        Called whenever a chunk's gradients are there. The authors change the weights at every step: ``chunk=1`` with an
        update that steps the optimizer and clears the gradients, in a loop of your own; each membrane is then that of
        the newest weights, as theirs. In longer chunks what the filters after the weights hold was made with earlier
        ones. Left out, the gradients of all steps are summed for one step of the optimizer, as `fit` makes it.

    Raises
    ------
    InputError
        When a number is out of range; in `gradients`, when the network or the loss is not as said, or no step is left
        after the burn-in.

    References
    ----------
    Kaiser, Mostafa and Neftci, "Synaptic plasticity dynamics for deep continuous local learning (DECOLLE)", Frontiers
    in Neuroscience 14, 2020, doi:10.3389/fnins.2020.00424.
    """

    burn_in: int = 0
    regularisation: float = 0.0
    chunk: int = 32
    update: Callable[[], Any] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_number("DECOLLE", "chunk", self.chunk)
        if not isinstance(self.burn_in, int) or self.burn_in < 0:
            raise InputError(f"DECOLLE(burn_in={self.burn_in!r}): a whole number of steps, from 0 up.")
        if not (math.isfinite(self.regularisation) and self.regularisation >= 0):
            raise InputError(f"DECOLLE(regularisation={self.regularisation}): a finite number from 0 up.")

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
        """Run chunk by chunk; the value is the sum over layers of the mean over steps. See `Rule.gradients`."""
        steps = check_steps(x)
        if not isinstance(net, LocalReadouts):
            raise InputError(f"DECOLLE needs LocalReadouts(net, classes); got {type(net).__name__}.")
        if not getattr(loss, "per_step", False):
            raise InputError(f"DECOLLE needs a loss that is a mean over steps, such as CrossEntropy(); got {loss!r}.")
        if self.burn_in >= steps:
            raise InputError(f"DECOLLE(burn_in={self.burn_in}) leaves none of T = {steps} steps. Lower burn_in.")
        run = self._step_by_step if self.chunk == 1 else self._chunks
        return run(net, x, target, loss, backward)

    def _chunks(
        self, net: LocalReadouts, x: Tensor, target: Tensor, loss: Loss, backward: Backward
    ) -> tuple[Tensor, Tensor]:
        """Run the network chunk by chunk, and its traces beside it."""
        inner, names, steps = net.net, list(net.net.populations()), len(x)
        traces = {edge.name: _Filtered(inner, edge) for edge in inner.edges}
        recorded = [*names, *(f"{name}.u" for name in names)]
        state: NetworkState | None = None
        total, outputs = torch.zeros((), device=x.device), []
        start = 0
        while start < steps:
            stop = min(start + self.chunk, steps) if start >= self.burn_in else min(start + self.chunk, self.burn_in)
            with torch.no_grad():
                z, after, values = inner.recorded(x[start:stop], state, recorded)
                sent = {inner.inputs[0]: x[start:stop], **{name: values[name] for name in names}}
                for edge in inner.edges:
                    traces[edge.name].run(arriving(edge, sent, state))
            outputs.append(net.read(inner.output, values[f"{inner.output}.u"], z))
            if start >= self.burn_in:
                share = (stop - start) / (steps - self.burn_in)
                value, penalty = self._local(net, names, traces, values, target, loss)
                backward((value + penalty) * share)
                total = total + value.detach() * share
                if self.update is not None:
                    self.update()
            state, start = after, stop
        return total, torch.cat(outputs)

    def _step_by_step(
        self, net: LocalReadouts, x: Tensor, target: Tensor, loss: Loss, backward: Backward
    ) -> tuple[Tensor, Tensor]:
        """Run each step from the traces before the weights, as the authors do, without a call of the network."""
        inner, share = net.net, 1.0 / (len(x) - self.burn_in)
        layers = [_Layer(inner, name, x) for name in inner.populations()]
        last = [each.name for each in layers].index(inner.output)
        values: list[Tensor] = []
        outputs: list[Tensor] = []
        # The mean over layers that a mean over steps is of their outputs stacked, and what is wanted is their sum.
        share *= len(layers)
        for t, step in enumerate(x):
            learns, sent = t >= self.burn_in, {inner.inputs[0]: step}
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
                value = loss(torch.stack(read), target)
                values.append(value.detach())
                if self.regularisation:
                    penalties = [self._penalty(each.u) for each in layers]
                    value = value + functools.reduce(torch.add, penalties) / len(layers)
                backward(value * share)
            with torch.no_grad():
                for each in layers:
                    each.learn()
            if self.update is not None:
                self.update()
        return torch.stack(values).sum() * share, torch.stack(outputs)

    def _local(
        self,
        net: LocalReadouts,
        names: list[str],
        traces: dict[str, _Filtered],
        values: dict[str, Tensor],
        target: Tensor,
        loss: Loss,
    ) -> tuple[Tensor, Tensor]:
        """Return the layers' losses of a chunk, and their regularisation."""
        value, penalty = torch.zeros(()), torch.zeros(())
        for name in names:
            node = net.net.nodes[name]
            assert isinstance(node, Neuron)
            driven = sum(traces[edge.name].current() for edge in net.net.edges if edge.target == name)
            assert isinstance(driven, Tensor)  # a node without edges is refused when the network is made
            # The membrane's value is that of the run; its gradient that of the traces through the weights.
            u = values[f"{name}.u"] + (driven - driven.detach())
            y = net.read(name, u, node.spike(u - node.value("v_th")))
            value = value.to(y) + loss(y, target)
            if self.regularisation:
                penalty = penalty.to(y) + self._penalty(u)
        return value, penalty.to(value)

    def _penalty(self, u: Tensor) -> Tensor:
        return self.regularisation * (F.relu(u + 0.01).mean() + F.relu(0.1 - torch.sigmoid(u).mean()))


def _leak(held: Tensor, arrived: Tensor, decay: float | Tensor) -> None:
    """Do what `leaky_integrator` does with r = 1, in place: the traces of a step are large and read once."""
    held.lerp_(arrived, 1.0 - decay)


class _Filtered:
    """The trace P of what reaches an edge: q then p, the one a step behind the other."""

    def __init__(self, net: Network, edge: Connection) -> None:
        node = net.neurons()[edge.target]
        self.edge = edge
        self.biased = any(getattr(synapse, "bias", None) is not None for synapse in edge.synapses)
        # A map of its own weights alone needs no more than their product; a trace is dense, whatever it is of.
        (self.plain, *others) = edge.synapses
        self.is_plain = not others and type(self.plain) is Linear
        self.decays = [float(node.decay(name)) for name in ("tau_syn", "tau_mem")]
        self.q: Tensor | None = None
        self.p: Tensor | None = None
        self.found: Tensor
        self.ones = [0.0, 0.0]  # q and p of a constant 1: what acts of a bias

    def run(self, spikes: Tensor) -> None:
        """Filter the spikes [t, B, ...] of a chunk."""
        self.found = torch.empty_like(spikes)
        constants = []
        for t, s in enumerate(spikes):
            self.found[t] = self.step(s)
            constants.append(self.ones[1])
        self.constant = spikes.new_tensor(constants).view(-1, *[1] * (spikes.dim() - 1))

    def step(self, s: Tensor) -> Tensor:
        """Filter the spikes [B, ...] of one step; what is returned holds until the next one."""
        fast, slow = self.decays
        if self.q is None or self.p is None:
            self.q, self.p = torch.zeros_like(s), torch.zeros_like(s)
        _leak(self.p, self.q, slow)
        _leak(self.q, s, fast)
        if not self.biased:
            return self.p
        one_q, one_p = self.ones
        self.ones = [1.0 + fast * (one_q - 1.0), one_q + slow * (one_p - one_q)]
        return self.p

    def current(self) -> Tensor:
        """Return what the traces of the chunk cause [t, B, ...]; a bias is filtered as they are."""
        driven = self.edge(self.found)
        if self.biased:
            driven = driven + self._less(self.found[:1, :1]) * (1.0 - self.constant).view(-1, *[1] * (driven.dim() - 1))
        return driven

    def onto(self, u: Tensor) -> Tensor:
        """Return `u` [B, ...] and what the trace of the step causes."""
        assert self.p is not None
        if self.is_plain:
            assert isinstance(self.plain, Linear)
            driven = torch.addmm(u, self.p, self.plain.weight.T)
            return driven if self.plain.bias is None else driven + self.ones[1] * self.plain.bias
        driven = self.edge(self.p.unsqueeze(0))[0]
        if self.biased:
            driven = driven + self._less(self.p[:1].unsqueeze(0))[0] * (1.0 - self.ones[1])
        return u + driven

    def add(self, g: Tensor) -> None:
        """Add what the gradient of the membrane [B, N] says to that of a plain map's own weights."""
        assert isinstance(self.plain, Linear) and self.p is not None
        weight, bias = self.plain.weight, self.plain.bias
        if weight.requires_grad:
            weight.grad = g.T @ self.p if weight.grad is None else weight.grad.addmm_(g.T, self.p)
        if bias is not None and bias.requires_grad:
            accumulate(bias, self.ones[1] * g.sum(0))

    def _less(self, like: Tensor) -> Tensor:
        """Return the current of no spikes, with its sign turned."""
        return -self.edge(torch.zeros_like(like))


class _Layer:
    """One population in the run step by step."""

    def __init__(self, net: Network, name: str, like: Tensor) -> None:
        node, batch = net.neurons()[name], like.shape[1]
        self.name, self.spike = name, node.spike
        self.decay, self.threshold = node.decay("tau_ref"), node.value("v_th")
        self.taken_off = -node.value("v_ref")
        self.edges = [edge for edge in net.edges if edge.target == name]
        self.filters = [_Filtered(net, edge) for edge in self.edges]
        # Of products alone the gradient is known: no graph is needed before the membrane.
        self.is_plain = all(trace.is_plain for trace in self.filters)
        self.u: Tensor
        self.under_way = {
            edge.name: deque(like.new_zeros((edge.delay_steps, batch, *net.shape(edge.source))))
            for edge in self.edges
            if edge.delay_steps
        }
        self.ref = like.new_zeros((batch, *net.shape(name)))

    def step(self, sent: dict[str, Tensor], *, learns: bool) -> Tensor:
        """Take a step, to be called without gradients; return the spikes, and keep the membrane as `u`."""
        u = self.ref
        with torch.set_grad_enabled(learns and not self.is_plain):
            for edge, trace in zip(self.edges, self.filters, strict=True):
                trace.step(self.under_way[edge.name].popleft() if edge.delay_steps else sent[edge.source])
                u = trace.onto(u)
        self.u = u.requires_grad_() if self.is_plain and learns else u
        z = (u > self.threshold).to(u)
        # A sum keeps nothing of its parts for the way back: the trace may change in place.
        _leak(self.ref, z * self.taken_off, self.decay)
        return z

    def surrogate(self) -> Tensor:
        """Return the spikes of the step with the surrogate's gradient."""
        return self.spike(self.u - self.threshold)

    def learn(self) -> None:
        """Hand the gradient of the membrane on to the weights, where no graph has done so."""
        if not self.is_plain or self.u.grad is None:
            return
        for trace in self.filters:
            trace.add(self.u.grad)

    def send(self, sent: dict[str, Tensor]) -> None:
        """Put what was sent in the step on its way along the edges with a delay."""
        for edge in self.edges:
            if edge.delay_steps:
                self.under_way[edge.name].append(sent[edge.source])


def _buffer(name: str) -> str:
    return f"readout_{name}"


def _check(net: Network) -> None:
    if not isinstance(net, Network) or len(net.inputs) != 1:
        got = list(net.inputs) if isinstance(net, Network) else type(net).__name__
        raise InputError(f"LocalReadouts needs a Network with one input; got {got}.")
    for name, node in net.neurons().items():
        if node.core.name != "decolle":
            raise InputError(f"LocalReadouts: {name!r} must be DecolleLIF; it is {node.core.name}.")
        each = [p for p in ("tau_syn", "tau_mem") if isinstance(node.value(p), Tensor)]
        if each:
            raise InputError(f"LocalReadouts: {name!r} must have plain numbers for {each}, which are tensors.")
    for edge in net.edges:
        for synapse in edge.synapses:
            if isinstance(synapse, MaxPool2d) or not synapse.traced:
                kind, instead = type(synapse).__name__, "use AvgPool2d" if isinstance(synapse, MaxPool2d) else "fold it"
                raise InputError(f"LocalReadouts: edge {edge.name!r} has {kind}, which is not linear; {instead}.")
