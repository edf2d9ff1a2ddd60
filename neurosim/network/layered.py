"""One call of a network: which populations run how, and what they hand to each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from neurosim.errors import InputError, ShapeError
from neurosim.kernels.common.availability import fused
from neurosim.kernels.common.layer_output import LayerOutput
from neurosim.network.graph import Connection, Input, NetworkState
from neurosim.network.neuron import Neuron
from neurosim.network.population import Inputs, Population, State
from neurosim.network.recompute import Work, chunk_length, recomputed
from neurosim.synapses import BlockLinear, Flatten, Linear, Synapse
from neurosim.synapses.shift import Shift
from neurosim.synapses.traced import Traces


class Wired(Protocol):
    """What a call needs of a network."""

    nodes: nn.ModuleDict
    edges: list[Connection]

    def initial_state(self, x: Mapping[str, Tensor]) -> NetworkState:
        """Return the state before the first step."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a population, without T and B."""


class Run:
    """One call of a network: what is known so far."""

    def __init__(
        self,
        net: Wired,
        inputs: dict[str, Tensor],
        state: NetworkState | None,
        record: dict[str, tuple[str, ...]],
        through_time: bool,
        recompute: bool,
        traces: Traces | None,
    ) -> None:
        self.net, self.through_time, self.recompute, self.record = net, through_time, recompute, record
        self.traces = traces
        self.waiting = Counter(edge.source for edge in net.edges)
        self.results: dict[str, LayerOutput] = {}
        self.outputs: dict[str, Tensor] = dict(inputs)
        self.values: dict[str, list[Tensor]] = {}
        self.steps = next(iter(inputs.values())).shape[0]
        if state is None:
            start = net.initial_state(inputs)
        else:
            _check_state(net, state, next(iter(inputs.values())).shape[1])
            start = state
        if not through_time or recompute:
            _check_unmixed(net.edges, "BPTT() over the whole run")
        self.nodes = dict(start.nodes)
        self.edges = {name: line if through_time else line.detach() for name, line in start.edges.items()}

    def value(self, name: str) -> Tensor:
        """Return what was recorded under `name`."""
        return torch.cat(self.values[name]) if "." in name else self.outputs[name].detach()

    def advance(self, component: tuple[str, ...]) -> None:
        """Run the populations of one component (one node, or the nodes of a cycle) over the whole time."""
        if isinstance(self.net.nodes[component[0]], Input):
            return
        inner = [e for e in self.net.edges if e.source in component and e.target in component]
        alone = self.traces is None and not inner
        if alone and (self._in_one_pass(component[0]) or self._with_less_memory(component[0])):
            return
        looped = (
            bool(inner)
            and self.traces is None
            and _is_plain_loop(inner, self.net.nodes[component[0]])
            and self._is_fused()
        )
        if looped and self._loop_with_less_memory(inner[0]):
            return
        drive = {name: self._outer_currents(name, component) for name in component}
        if not inner:
            (name,) = component
            self._neurons(name, drive[name])
        elif looped:
            self._in_one_call(inner[0], drive[component[0]].get(inner[0].port))
        else:
            self._cycle(component, inner, drive)

    def release(self, component: tuple[str, ...], keep: set[str]) -> None:
        """Let go of what no population will read any more."""
        read = [edge.source for edge in self.net.edges if edge.target in component]
        for name in read:
            self.waiting[name] -= 1
        for name in {*read, *component} - keep:
            if self.waiting[name] <= 0:
                self.outputs.pop(name, None)
                self.results.pop(name, None)

    def _in_one_pass(self, name: str) -> bool:
        """Run product and neurons together, where all that drives them is one linear map and at most a left shift."""
        node, edges = self.net.nodes[name], [e for e in self.net.edges if e.target == name]
        before, last, factor = _split(edges[0].synapses)
        if len(edges) > 1 or not isinstance(node, Neuron) or not isinstance(last, Linear) or not _is_plain(last):
            return False
        edge = edges[0]
        x = self.outputs[edge.source]
        mixing = [synapse for synapse in before if type(synapse) is not Flatten]
        # Maps before the last one would keep their inputs whole.
        if self.steps == 0 or not last.takes_events(x) or (mixing and self._saves_memory):
            return False
        x, (packed_bits, mask) = self._arriving(edge), self._known(edge)
        if before:
            x, packed_bits, mask = edge.carry(before, x, packed_bits, mask, through_time=self.through_time)
        last.output_shape(tuple(x.shape[2:]))
        result = node.run_linear(
            x,
            last.weight if factor == 1.0 else last.weight * factor,
            last.bias if factor == 1.0 or last.bias is None else last.bias * factor,
            self.nodes[name],
            self.record.get(name, ()),
            through_time=self.through_time,
            chunk=chunk_length(self.steps) if self.recompute else 0,
            packed_bits=packed_bits,
            mask=mask,
            port=edge.port if len(node.ports) > 1 else None,
        )
        self._keep(name, result)
        return True

    def _known(self, edge: Connection) -> tuple[Tensor | None, Tensor | None]:
        """Return bits and mask of what an edge carries, where they are at hand: of no other step than z itself."""
        result = self.results.get(edge.source)
        return (None, None) if result is None or edge.name in self.edges else (result.packed_bits, result.mask)

    @property
    def _saves_memory(self) -> bool:
        return self.recompute and torch.is_grad_enabled()

    def _with_less_memory(self, name: str) -> bool:
        """Run the neurons so that the backward pass works their currents and states out again."""
        node, edges = self.net.nodes[name], [e for e in self.net.edges if e.target == name]
        if not self._can_run_again(name, edges):
            return False
        assert isinstance(node, Neuron)
        start = self.nodes[name]

        def work(xs: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[Tensor, State]:
            i = _as_input(node, _currents(edges, xs))
            out, after = node(i, type(start)(*state), through_time=self.through_time)
            return out, tuple(after)

        out, after = self._again(edges, work, start, node.parameters())
        self.outputs[name], self.nodes[name] = out, type(start)(*after)
        return True

    def _loop_with_less_memory(self, loop: Connection) -> bool:
        """Run a population with one loop of one step so that the backward pass works out again what drives it.

        That is done for all steps at once, since its weights' gradients are then the same to the bit as where all is
        kept; the neurons' own values come back chunk by chunk.
        """
        name, (synapse,) = loop.source, loop.synapses
        node, edges = self.net.nodes[name], [e for e in self.net.edges if e.target == name and e is not loop]
        if not edges or not self._can_run_again(name, edges):
            return False
        assert isinstance(node, Neuron) and isinstance(synapse, (Linear, BlockLinear))
        start = self.nodes[name]

        def work(xs: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[Tensor, State]:
            sent, *before = state
            drive, weight = _with_loop(_currents(edges, xs)[loop.port], synapse)
            result = node.run_recurrent(
                drive,
                weight,
                sent,
                type(start)(*before),
                through_time=self.through_time,
                chunk=chunk_length(self.steps),
            )
            assert result.last is not None
            return result.out, (result.last, *result.state)

        parameters = [*synapse.parameters(), *node.parameters()]
        out, (last, *after) = self._again(edges, work, (self.edges[loop.name][0], *start), parameters, self.steps)
        self.outputs[name], self.nodes[name] = out, type(start)(*after)
        self.edges[loop.name] = (last if self.through_time else last.detach())[None]
        return True

    def _can_run_again(self, name: str, edges: Sequence[Connection]) -> bool:
        node = self.net.nodes[name]
        if not self._saves_memory or not self.steps or name in self.record or not isinstance(node, Neuron):
            return False
        return not any(edge.memory for edge in edges)

    def _again(
        self,
        edges: Sequence[Connection],
        work: Work,
        state: Sequence[Tensor],
        others: Iterable[Tensor],
        chunk: int | None = None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Do `work` on what arrives through `edges` so that the backward pass does it again."""
        weights = [p for edge in edges for s in edge.synapses for p in s.parameters()] + list(others)
        senders = (self.net.nodes[edge.source] for edge in edges)
        spikes = [isinstance(sender, Population) and sender.is_spiking for sender in senders]
        return recomputed(work, [self._arriving(edge) for edge in edges], state, weights, spikes, chunk)

    def _outer_currents(self, name: str, component: tuple[str, ...]) -> dict[str, Tensor]:
        """Return the current into each port from outside a component."""
        currents: dict[str, Tensor] = {}
        for edge in self.net.edges:
            if edge.target == name and edge.source not in component:
                _add(currents, edge.port, self._current(edge, self._arriving(edge)))
        return currents

    def _current(self, edge: Connection, z: Tensor) -> Tensor:
        """Return the current that spikes `z` cause, from weights that learn from traces where there are any."""
        if self.traces is None:
            return edge(z, *self._known(edge), through_time=self.through_time)
        if edge.memory:
            raise InputError(
                f"edge {edge.name!r}: weights cannot learn from traces where synapses have delays of their own; use "
                "another rule, such as BPTT."
            )
        target = self.net.nodes[edge.target]
        decay = None
        if isinstance(target, Neuron) and "tau_mem" in target.core.parameters and len(target.ports) == 1:
            decay = target.decay("tau_mem")
        if not isinstance(decay, float):
            raise InputError(
                f"edge {edge.name!r}: traces decay as the membranes of {edge.target!r} do, which need one input port "
                "and one shared tau_mem; use LIF, CubaLIF, ALIF or LI with a plain number for it, or another rule."
            )
        for number, synapse in enumerate(edge.synapses):
            z = self.traces.through(f"{edge.name}/{number}", synapse, z, decay)
        return z

    def _arriving(self, edge: Connection) -> Tensor:
        """Return the spikes that reach the synapses of an edge from outside a cycle, delayed as it says."""
        z = self.outputs[edge.source]
        if edge.name not in self.edges:
            return z
        if edge.delay_steps and not self.through_time:
            z = z.detach()
        line = torch.cat((self.edges[edge.name], z))
        left = line[self.steps :]
        self.edges[edge.name] = left if self.through_time else left.detach()
        return line[: edge.delay_span + self.steps]

    def _cycle(self, component: tuple[str, ...], inner: list[Connection], drive: dict[str, dict[str, Tensor]]) -> None:
        _check_unmixed(inner, "a network without that loop")
        _check_late(component, inner)
        stretch = min(edge.min_delay for edge in inner if edge.min_delay)
        pieces: dict[str, list[Tensor]] = {name: [] for name in component}
        # A run of no steps makes one empty stretch, so that every output and trace has its shape.
        for start in range(0, max(self.steps, 1), stretch):
            length = min(stretch, self.steps - start)
            for name in component:
                currents = {port: current[start : start + length] for port, current in drive[name].items()}
                for edge in (e for e in inner if e.target == name):
                    z = pieces[edge.source][-1] if not edge.min_delay else self.edges[edge.name]
                    if edge.memory and not edge.min_delay:
                        z = torch.cat((self.edges[edge.name], z))
                    z = z[: edge.delay_span + length]
                    _add(currents, edge.port, self._current(edge, z))
                pieces[name].append(self._neurons(name, currents))
            for edge in (e for e in inner if e.name in self.edges):
                sent = pieces[edge.source][-1]
                sent = sent if self.through_time else sent.detach()
                self.edges[edge.name] = torch.cat((self.edges[edge.name][length:], sent))
        for name in component:
            self.outputs[name] = torch.cat(pieces[name])
            self.results.pop(name, None)  # of the last stretch alone

    def _is_fused(self) -> bool:
        return fused(next(iter(self.outputs.values())).device)

    def _in_one_call(self, edge: Connection, drive: Tensor | None) -> None:
        """Run a population with one loop of one step over the whole time."""
        name, (synapse,) = edge.source, edge.synapses
        node = self.net.nodes[name]
        assert isinstance(node, Neuron) and isinstance(synapse, (Linear, BlockLinear))
        sent = self.edges[edge.name][0]
        if drive is None:
            drive = sent.new_zeros((self.steps, *sent.shape))
        drive, weight = _with_loop(drive, synapse)
        result = node.run_recurrent(
            drive, weight, sent, self.nodes[name], self.record.get(name, ()), through_time=self.through_time
        )
        assert result.last is not None
        self.edges[edge.name] = (result.last if self.through_time else result.last.detach())[None]
        self._keep(name, result)

    def _neurons(self, name: str, currents: dict[str, Tensor]) -> Tensor:
        node = self.net.nodes[name]
        assert isinstance(node, Population)
        i = _as_input(node, currents)
        result = node.run(i, self.nodes[name], self.record.get(name, ()), through_time=self.through_time)
        self._keep(name, result)
        return result.out

    def _keep(self, name: str, result: LayerOutput) -> None:
        self.results[name], self.outputs[name], self.nodes[name] = result, result.out, result.state
        for variable, trace in result.recorded.items():
            self.values.setdefault(f"{name}.{variable}", []).append(trace)


def _check_state(net: Wired, state: NetworkState, batch: int) -> None:
    """Refuse what cannot be the state of a network with `batch` samples; its nodes look at their own part."""
    if not isinstance(state, NetworkState):
        raise InputError(
            f"state must be the NetworkState that a network returned, or None; got {type(state).__name__}."
        )
    nodes = [name for name, node in net.nodes.items() if isinstance(node, Population)]
    under_way = {edge.name: (edge.delay_steps + edge.memory, edge.source) for edge in net.edges}
    lines = {name: (steps, batch, *net.shape(source)) for name, (steps, source) in under_way.items() if steps}
    for kind, held, wanted in (("nodes", state.nodes, nodes), ("edges", state.edges, lines)):
        if set(held) != set(wanted):
            raise ShapeError(
                f"state.{kind} must hold {sorted(wanted)}; got {sorted(held)}. Was it made by another network?"
            )
    for name, shape in lines.items():
        if state.edges[name].shape != shape:
            raise ShapeError(f"state.edges[{name!r}] must be {list(shape)}; got {list(state.edges[name].shape)}.")


def _check_late(component: tuple[str, ...], inner: Sequence[Connection]) -> None:
    """Refuse a cycle whose synapses have lost the delay that it had when the network was made."""
    for edge in inner:
        if not edge.min_delay and component.index(edge.source) >= component.index(edge.target):
            raise InputError(
                f"edge {edge.name!r}: the shortest delay of its synapses is now 0 steps, and the cycle "
                f"{' -> '.join(component)} has no other; load delays from 1 step, or give the edge a delay."
            )


def _check_unmixed(edges: Sequence[Connection], instead: str) -> None:
    """Refuse maps whose steps depend on each other where the steps are not run all at once."""
    for edge in edges:
        for synapse in edge.synapses:
            if synapse.mixes_steps:
                raise InputError(
                    f"edge {edge.name!r}: {synapse} takes its statistics over all steps of a call, which are not run "
                    f'at once here. Use over="step", or {instead}.'
                )


def _currents(edges: Sequence[Connection], xs: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return the current into each port that `xs` cause through `edges`."""
    currents: dict[str, Tensor] = {}
    for edge, x in zip(edges, xs, strict=True):
        _add(currents, edge.port, edge(x))
    return currents


def _add(currents: dict[str, Tensor], port: str, current: Tensor) -> None:
    currents[port] = current if port not in currents else currents[port] + current


def _as_input(node: Population, currents: dict[str, Tensor]) -> Inputs:
    """Return the current into each port as a population takes them."""
    (only, *others) = node.ports
    return currents if others else currents[only]


def _with_loop(drive: Tensor, synapse: Linear | BlockLinear) -> tuple[Tensor, Tensor]:
    """Return the current from outside with the constant one of a loop, and the loop's weight [H, n, n]."""
    weight = synapse.weight if isinstance(synapse, BlockLinear) else synapse.weight[None]
    return drive if synapse.bias is None else drive + synapse.bias, weight


def _split(synapses: tuple[Synapse, ...]) -> tuple[tuple[Synapse, ...], Synapse, float]:
    """Return the maps before the last one, the last one, and the power of two by which a left shift multiplies it."""
    *before, last = synapses
    if type(last) is Shift and last.exponent >= 0 and before and not _hooked(last):
        return tuple(before[:-1]), before[-1], 2.0**last.exponent
    return tuple(before), last, 1.0


def _hooked(synapse: Synapse) -> bool:
    """Whether somebody has put anything before or after a call."""
    return any(
        (synapse._forward_hooks, synapse._forward_pre_hooks, synapse._backward_hooks, synapse._backward_pre_hooks)
    )


def _is_plain(synapse: Synapse) -> bool:
    """Whether nobody has put anything between a linear map's call and its product."""
    kind = type(synapse)
    own = kind.apply_step in (Linear.apply_step, BlockLinear.apply_step) and kind.forward is Synapse.forward
    return own and not _hooked(synapse)


def _is_plain_loop(inner: list[Connection], node: nn.Module) -> bool:
    """Whether a cycle is one population of a core with one all-to-all loop of one step, which runs in one call."""
    if len(inner) > 1 or inner[0].delay_steps != 1 or len(inner[0].synapses) > 1:
        return False
    return type(node) is Neuron and len(node.ports) == 1 and _is_plain(inner[0].synapses[0])
