"""How a component of a network is run: an ordered tuple of strategies, of which the first that applies runs it.

To add one, for instance an engine for circuits, derive from `Strategy` and place a value in ``net.strategies``, ahead
of those that it is preferred to.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable, Sequence
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from neurosim.errors import InputError
from neurosim.kernels.common.availability import fused
from neurosim.kernels.common.layer_output import LayerOutput
from neurosim.network.component import Component
from neurosim.network.context import RunContext, add_current, as_input
from neurosim.network.graph import Connection
from neurosim.network.in_flight import delayed, shifted
from neurosim.network.neuron import Neuron
from neurosim.network.population import Inputs, Population, has_hooks
from neurosim.network.recompute import Segment, chunk_length, recomputed
from neurosim.synapses import BatchNorm, BlockLinear, Dropout, Flatten, Linear, Synapse
from neurosim.synapses.dropout import shared_masks
from neurosim.synapses.shift import Shift


class Strategy(abc.ABC):
    """A way to run a component of a network over the steps of one call.

    Attributes
    ----------
    name : str
        In the table of `Network.explain`.
    """

    name: ClassVar[str]

    @abc.abstractmethod
    def concerns(self, context: RunContext, component: Component) -> bool:
        """Return whether the strategy is meant for such a component in such a run."""

    def obstacle(self, context: RunContext, component: Component) -> str | None:
        """Return why the strategy cannot run a component that it concerns, or None if it can."""
        return None

    @final
    def applies(self, context: RunContext, component: Component) -> bool:
        """Return whether the strategy can run a component."""
        return self.concerns(context, component) and self.obstacle(context, component) is None

    @abc.abstractmethod
    def run(self, context: RunContext, component: Component) -> None:
        """Run a component over all steps.

        The result for each of its nodes goes to `RunContext.store`, with the variables that `RunContext.record` names.
        What is in flight from a node after the last step follows from its output; a strategy that already has it may
        place it in `RunContext.in_flight_after`. A strategy that runs later components too adds their nodes to
        `RunContext.finished`.
        """

    def __repr__(self) -> str:
        return f"<strategy {self.name}>"


class FusedLinear(Strategy):
    """Product and neurons in one call that does not store the current.

    For a population of one core that one edge drives, whose last synapse is `Linear`, with or without a left shift
    after it.
    """

    name = "fused linear"

    def concerns(self, context: RunContext, component: Component) -> bool:
        """Return whether the population is on no cycle and no weights learn from traces."""
        return not component.is_cycle and context.traces is None

    def obstacle(self, context: RunContext, component: Component) -> str | None:
        """Return why product and neurons cannot be one call."""
        if len(component.outer) != 1:
            return "several edges drive it" if component.outer else "no edge drives it"
        if not isinstance(context.nodes[component.nodes[0]], Neuron):
            return "its population has no core"
        reason = call_obstacle(context, component.nodes[0])
        if reason is not None:
            return reason
        edge = component.outer[0]
        leading, linear, _ = split_linear(edge.synapses)
        if not isinstance(linear, Linear):
            return "its last synapse is not Linear"
        if not is_plain(linear):
            return "a subclass or a hook changes its product"
        if context.steps == 0:
            return "the run has no steps"
        if not linear.takes_events(context.outputs[edge.source].out):
            return "no kernel takes its input on this device, in this precision or under autocast"
        if context.saves_memory and any(type(synapse) is not Flatten for synapse in leading):
            return "recompute=True keeps less without the synapses before Linear"
        return None

    def run(self, context: RunContext, component: Component) -> None:
        """Run the population in one call."""
        (name,), (edge,) = component.nodes, component.outer
        leading, linear, factor = split_linear(edge.synapses)
        node = context.nodes[name]
        assert isinstance(node, Neuron) and isinstance(linear, Linear)
        x, (packed_bits, mask) = context.arriving(edge), context.bits_and_mask(edge)
        if leading:
            x, packed_bits, mask = edge.carry(leading, x, packed_bits, mask, through_time=context.through_time)
        linear.output_shape(tuple(x.shape[2:]))
        result = node.run_linear(
            x,
            linear.weight if factor == 1.0 else linear.weight * factor,
            linear.bias if factor == 1.0 or linear.bias is None else linear.bias * factor,
            context.states[name],
            context.record.get(name, ()),
            through_time=context.through_time,
            chunk=chunk_length(context.steps) if context.recompute else 0,
            packed_bits=packed_bits,
            mask=mask,
            port=edge.port if len(node.ports) > 1 else None,
        )
        context.store(name, result)


class Recomputed(Strategy):
    """Synapses, then neurons; the backward pass computes currents and states again, chunk by chunk."""

    name = "recomputed"

    def concerns(self, context: RunContext, component: Component) -> bool:
        """Return whether memory is to be saved on a population that is on no cycle."""
        return not component.is_cycle and context.saves_memory and context.traces is None

    def obstacle(self, context: RunContext, component: Component) -> str | None:
        """Return why the population cannot be computed again."""
        return recompute_obstacle(context, component)

    def run(self, context: RunContext, component: Component) -> None:
        """Run the population chunk by chunk."""
        (name,), edges = component.nodes, component.outer
        node, start = context.population(name), context.states[name]
        # The graph of the output keeps `segment`, so that `segment` must not keep `context`, which has the output.
        kind, through_time = type(start), context.through_time

        def segment(xs: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
            i = as_input(node, sum_currents(edges, xs))
            return node(i, kind(*state), through_time=through_time)

        out, after = run_recomputed(context, edges, segment, start, (node,))
        context.store(name, LayerOutput(out, kind(*after), {}))


class RecomputedLoop(Strategy):
    """A population with one loop of one step; the backward pass computes its current from outside again.

    That is done for all steps at once, since the gradients of the synapses from outside then have the same bits as if
    all were kept. The neurons' own values are computed again chunk by chunk.
    """

    name = "recomputed loop"

    def concerns(self, context: RunContext, component: Component) -> bool:
        """Return whether memory is to be saved on a cycle."""
        return component.is_cycle and context.saves_memory and context.traces is None

    def obstacle(self, context: RunContext, component: Component) -> str | None:
        """Return why the loop cannot be computed again."""
        reason = loop_obstacle(context, component)
        if reason is None and len(component.outer) == 0:
            reason = "no edge from outside drives it"
        return reason or recompute_obstacle(context, component)

    def run(self, context: RunContext, component: Component) -> None:
        """Run the population, with its current from outside computed again in the backward pass."""
        (name,), (loop,), edges = component.nodes, component.inner, component.outer
        node, start = context.nodes[name], context.states[name]
        assert isinstance(node, Neuron)
        # As in `Recomputed.run`, `segment` must not keep `context`.
        kind, through_time, chunk = type(start), context.through_time, chunk_length(context.steps)

        def segment(xs: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
            z, *before = state
            i, weight = with_loop(node, sum_currents(edges, xs), loop, z, len(xs[0]))
            result = node.run_recurrent(
                i, weight, z, kind(*before), through_time=through_time, chunk=chunk, port=loop.port
            )
            assert result.last is not None
            return result.out, (result.last, *result.state)

        begin = (context.in_flight[name][-1], *start)
        out, (last, *after) = run_recomputed(context, edges, segment, begin, (*loop.synapses, node), context.steps)
        context.store(name, LayerOutput(out, kind(*after), {}))
        keep_last(context, name, last)


class FusedLoop(Strategy):
    """A population with one loop of one step over all steps in one call."""

    name = "fused loop"

    def concerns(self, context: RunContext, component: Component) -> bool:
        """Return whether the component is a cycle and no weights learn from traces."""
        return component.is_cycle and context.traces is None

    def obstacle(self, context: RunContext, component: Component) -> str | None:
        """Return why the loop cannot be one call."""
        return loop_obstacle(context, component)

    def run(self, context: RunContext, component: Component) -> None:
        """Run the population in one call."""
        (name,), (loop,) = component.nodes, component.inner
        node = context.nodes[name]
        assert isinstance(node, Neuron)
        z = context.in_flight[name][-1]
        i, weight = with_loop(node, context.outer_currents(component, name), loop, z, context.steps)
        variables = context.record.get(name, ())
        result = node.run_recurrent(
            i, weight, z, context.states[name], variables, through_time=context.through_time, port=loop.port
        )
        assert result.last is not None
        keep_last(context, name, result.last)
        context.store(name, result)


class LayerByLayer(Strategy):
    """Synapses over all steps, then the population over all steps."""

    name = "layer by layer"

    def concerns(self, context: RunContext, component: Component) -> bool:
        """Return whether the population is on no cycle."""
        return not component.is_cycle

    def run(self, context: RunContext, component: Component) -> None:
        """Run synapses, then the population."""
        (name,) = component.nodes
        context.run_neurons(name, context.outer_currents(component, name))


class Stepwise(Strategy):
    """The populations of a cycle together, as many steps at once as its shortest delay allows."""

    name = "stepwise"

    def concerns(self, context: RunContext, component: Component) -> bool:
        """Return whether the component is a cycle."""
        return component.is_cycle

    def run(self, context: RunContext, component: Component) -> None:
        """Run the cycle chunk by chunk."""
        inner = component.inner
        check_steps_at_once(inner, "a network without that loop")
        check_late(component)
        outer = {name: context.outer_currents(component, name) for name in component.nodes}
        edges = {name: [edge for edge in inner if edge.target == name] for name in component.nodes}
        delays, spans = {edge: edge.min_delay for edge in inner}, {edge: edge.delay_span for edge in inner}
        reaches = {edge: delay + spans[edge] for edge, delay in delays.items()}
        longest: dict[str, int] = {}
        for edge, reach in reaches.items():
            longest[edge.source] = max(reach, longest.get(edge.source, 0))
        lines = {name: context.in_flight[name][-reach:] for name, reach in longest.items() if reach}
        chunk = min(delay for delay in delays.values() if delay)
        outputs: dict[str, list[Tensor]] = {name: [] for name in component.nodes}
        with shared_masks():
            # A run of no steps makes one empty chunk, so that every output and trace has its shape.
            for start in range(0, max(context.steps, 1), chunk):
                length = min(chunk, context.steps - start)
                for name in component.nodes:
                    currents = {port: current[start : start + length] for port, current in outer[name].items()}
                    for edge in edges[name]:
                        # A line alone serves an edge whose shortest delay is as long as a chunk.
                        z = None if delays[edge] else outputs[edge.source][-1]
                        if z is None or spans[edge]:
                            z = delayed(lines[edge.source], z, reaches[edge], spans[edge] + length)
                        add_current(currents, edge.port, context.current(edge, z))
                    outputs[name].append(context.run_neurons(name, currents).out)
                for name, line in lines.items():
                    z = outputs[name][-1]
                    lines[name] = shifted(line, z if context.through_time else z.detach())
        for name, parts in outputs.items():
            # Bits and mask are those of the last chunk alone.
            context.outputs[name] = LayerOutput(torch.cat(parts), context.states[name], {})
        whole = {name: line for name, line in lines.items() if len(line) == len(context.in_flight[name])}
        context.in_flight_after.update(whole)


# Whose result does not change if a call is split into chunks of steps.
_STEP_BY_STEP = (Synapse.forward, BatchNorm.forward, Dropout.forward)


def recompute_obstacle(context: RunContext, component: Component) -> str | None:
    """Return why the backward pass cannot compute a population and its synapses again, or None if it can."""
    (name,) = component.nodes
    if not component.outer:
        return "no edge drives it"
    if not context.steps or not context.samples:
        return "the run has no steps or no samples"
    if name in context.record:
        return "its variables are recorded"
    if not isinstance(context.nodes[name], Neuron):
        return "its population has no core"
    reason = call_obstacle(context, name)
    if reason is not None:
        return reason
    if any(edge.memory for edge in component.outer):
        return "its synapses have their own delays"
    synapses = [synapse for edge in component.outer for synapse in edge.synapses]
    if any(type(each).forward not in _STEP_BY_STEP or "forward" in vars(each) for each in synapses):
        return "a synapse has its own forward, which may combine the steps of a call"
    return None


def call_obstacle(context: RunContext, name: str) -> str | None:
    """Return why a population has to be called by itself, or None if a strategy may run its core with its synapses."""
    if context.population(name).must_be_called:
        return "a hook or a replaced forward of the population must run"
    if context.gradient and name in context.record:
        return "its variables are recorded with their gradient"
    return None


def loop_obstacle(context: RunContext, component: Component) -> str | None:
    """Return why a cycle is not one population with one all-to-all loop of one step, or None if it is."""
    loop = component.inner[0]
    if len(component.inner) > 1:
        return "the cycle has several edges"
    if loop.delay_steps != 1:
        return "the delay of the loop is not one step"
    if len(loop.synapses) > 1:
        return "the loop has several synapses"
    node = context.nodes[component.nodes[0]]
    if type(node) is not Neuron:
        return "the population is not a plain layer of a core"
    reason = call_obstacle(context, component.nodes[0])
    if reason is not None:
        return reason
    if not is_plain(loop.synapses[0]):
        return "the synapse of the loop is not a plain Linear or BlockLinear"
    if not fused(context.device):
        return "no fused kernel runs on this device"
    return None


_METHODS = frozenset({"apply_step", "apply_spikes", "product"})  # which a program may set on a synapse itself


def is_plain(synapse: Synapse) -> bool:
    """Return whether a synapse is a product with a matrix that no subclass, hook or method of its own changes."""
    kind = type(synapse)
    own = kind.apply_step in (Linear.apply_step, BlockLinear.apply_step) and kind.forward is Synapse.forward
    return own and not has_hooks(synapse) and _METHODS.isdisjoint(vars(synapse))


def keep_last(context: RunContext, name: str, last: Tensor) -> None:
    """Keep the last output [B, N] of a population as what is in flight, if no edge from it reaches further back."""
    if context.in_flight[name].shape[0] == 1:
        context.in_flight_after[name] = (last if context.through_time else last.detach())[None]


def split_linear(synapses: tuple[Synapse, ...]) -> tuple[tuple[Synapse, ...], Synapse, float]:
    """Return the synapses before the last, the last, and the power of two by which a left shift multiplies it."""
    *leading, last = synapses
    if type(last) is Shift and last.exponent >= 0 and leading and not has_hooks(last):
        return tuple(leading[:-1]), leading[-1], 2.0**last.exponent
    return tuple(leading), last, 1.0


def sum_currents(edges: Sequence[Connection], xs: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return the current into each port that spikes `xs`, one tensor for each edge, cause together."""
    currents: dict[str, Tensor] = {}
    for edge, x in zip(edges, xs, strict=True):
        add_current(currents, edge.port, edge(x))
    return currents


def with_loop(
    node: Neuron, currents: dict[str, Tensor], loop: Connection, z: Tensor, steps: int
) -> tuple[Inputs, Tensor]:
    """Return the input of a population with a loop, and the loop's weight [H, n, n].

    The input is the current [T, B, N] into each port from outside, into that of the loop plus the loop's bias, or 0 if
    there is none. `z` is the output [B, N] before the first step.
    """
    (synapse,) = loop.synapses
    assert isinstance(synapse, (Linear, BlockLinear))
    current = currents[loop.port] if loop.port in currents else z.new_zeros((steps, *z.shape))
    weight = synapse.weight if isinstance(synapse, BlockLinear) else synapse.weight[None]
    current = current if synapse.bias is None else current + synapse.bias
    return as_input(node, {**currents, loop.port: current}), weight


def run_recomputed(
    context: RunContext,
    edges: Sequence[Connection],
    segment: Segment,
    state: Sequence[Tensor],
    others: Iterable[nn.Module],
    chunk: int | None = None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run `segment`, which calls the synapses of `edges` and `others`, now and in the backward pass.

    See `recomputed`.
    """
    called = [*(synapse for edge in edges for synapse in edge.synapses), *others]
    weights = [parameter for module in called for parameter in module.parameters()]
    sources = (context.nodes[edge.source] for edge in edges)
    spikes = [isinstance(source, Population) and source.is_spiking for source in sources]
    xs = [context.arriving(edge) for edge in edges]
    draws = any(may_draw(each) for module in called for each in module.modules())
    return recomputed(segment, xs, state, weights, spikes, chunk, draws=draws)


def may_draw(module: nn.Module) -> bool:
    """Return whether a call may draw random numbers: that of a `Dropout`, of a class of a program, or of a hook."""
    is_own = type(module).__module__.startswith("neurosim.") and not isinstance(module, Dropout)
    return not is_own or bool(module._forward_hooks or module._forward_pre_hooks)


def check_steps_at_once(edges: Iterable[Connection], instead: str) -> None:
    """Refuse synapses whose steps depend on each other where not all steps are run at once."""
    for edge in edges:
        for synapse in edge.synapses:
            if synapse.mixes_steps:
                raise InputError(
                    f"edge {edge.name!r}: {synapse} takes its statistics over all steps of a call, which are not run "
                    f'at once here. Use over="step", or {instead}.'
                )


def check_late(component: Component) -> None:
    """Refuse a cycle whose synapses have lost the delay that it had when the network was made."""
    nodes = component.nodes
    for edge in component.inner:
        if not edge.min_delay and nodes.index(edge.source) >= nodes.index(edge.target):
            raise InputError(
                f"edge {edge.name!r}: the shortest delay of its synapses is now 0 steps, and the cycle "
                f"{' -> '.join(nodes)} has no other; load delays from 1 step, or give the edge a delay."
            )
