"""A row of layers in one call of compiled code."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from neurosim.compiler.llvm import threads
from neurosim.compiler.plan import find
from neurosim.kernels.common import decisions, policy
from neurosim.kernels.common.autograd import can_call_directly, under_transform
from neurosim.kernels.common.availability import DTYPES
from neurosim.kernels.common.layer_output import LayerOutput
from neurosim.network.component import Component
from neurosim.network.context import RunContext
from neurosim.network.graph import Connection
from neurosim.network.neuron import Neuron
from neurosim.network.strategies import (
    FusedLinear,
    FusedLoop,
    LayerByLayer,
    Stepwise,
    Strategy,
    is_plain,
    keep_last,
)
from neurosim.synapses import Linear

_PAUSE = 32  # calls for which a row that was not event-driven is not tried again
_MOST = 1 << 31  # values of an input or of a layer, whose events are numbered with 31 bits


class _Part(NamedTuple):
    """A layer of a row: a component whose population one edge of `Linear` drives, and perhaps a loop of one step."""

    component: Component
    name: str
    node: Neuron
    edge: Connection
    linear: Linear
    loop: Linear | None


class FusedRow(Strategy):
    """Two layers or more, one behind the other, in one call of compiled code, and their backward pass in few.

    For populations of a core, each driven by one edge of `Linear`, with or without a loop of one step. The spikes
    between the layers stay bits. Where an input is not event-driven, the layers run one by one; the results are the
    same bits.
    """

    name = "fused row"

    def concerns(self, context: RunContext, component: Component) -> bool:
        """Return whether a row of layers begins with the component, in plain eager code on the CPU."""
        if torch.compiler.is_compiling() or context.device.type != "cpu" or len(context.components) < 2:
            return False
        if context.traces is not None or context.recompute or context.gradient or context.record:
            return False
        if context.steps < 2 or not context.samples or (policy.is_forced() and not policy.choose(False)):
            return False
        return len(_row(context, component)) > 1

    def obstacle(self, context: RunContext, component: Component) -> str | None:
        """Return why the row cannot be one call."""
        from neurosim.compiler.llvm.call_list import is_possible

        if not is_possible():
            return "no threads of OpenMP are there"
        return None

    def run(self, context: RunContext, component: Component) -> None:
        """Run the row, or its first layer where the row is not event-driven."""
        if not _run(context, _row(context, component)):
            next(way for way in _SINGLE if way.applies(context, component)).run(context, component)


_SINGLE: tuple[Strategy, ...] = (FusedLinear(), FusedLoop(), LayerByLayer(), Stepwise())


def _row(context: RunContext, first: Component) -> list[_Part]:
    """Return the layers of the row that begins with a component; none if it cannot begin one."""
    if context.row is None or context.row[0] is not first:
        context.row = (first, _found(context, first))
    row: list[_Part] = context.row[1]
    return row


def _found(context: RunContext, first: Component) -> list[_Part]:
    row: list[_Part] = []
    components = iter(context.components)
    for component in components:
        if component is first:
            break
    dtype = None
    for component in (first, *components):
        part = _part(context, component)
        if part is None:
            break
        if row:
            before = row[-1]
            alone = before.name in component.last_read and before.name not in context.keep
            if part.edge.source != before.name or not alone or not before.node.is_spiking:
                break
        dtype = dtype or part.linear.weight.dtype
        if part.linear.weight.dtype != dtype or (part.loop is not None and part.loop.weight.dtype != dtype):
            break
        row.append(part)
    return row


def _part(context: RunContext, component: Component) -> _Part | None:
    """Return a component as a layer of a row, or None if it cannot be one."""
    if len(component.nodes) != 1 or len(component.outer) != 1 or len(component.inner) > 1:
        return None
    (name,), (edge,) = component.nodes, component.outer
    node = context.nodes[name]
    if type(node) is not Neuron or node.must_be_called or node.core.integers_up_to is not None:
        return None
    linear, loop = edge.synapses[0], None
    if len(edge.synapses) != 1 or type(linear) is not Linear or not is_plain(linear) or edge.delay_steps:
        return None
    if component.inner:
        (back,) = component.inner
        loop = back.synapses[0]
        is_row = len(back.synapses) == 1 and type(loop) is Linear and is_plain(loop) and loop.bias is None
        if not is_row or back.delay_steps != 1 or back.port != edge.port or not context.through_time:
            return None
        if not node.is_spiking or len(context.in_flight[name]) != 1:
            return None
    elif name in context.in_flight:
        return None
    assert loop is None or isinstance(loop, Linear)
    return _Part(component, name, node, edge, linear, loop)


def _run(context: RunContext, parts: list[_Part]) -> bool:
    """Run a row, and return whether that was possible."""
    from neurosim.kernels.row.arguments import Input, Layer, LayerTensors, Row
    from neurosim.kernels.row.cpu import prepare
    from neurosim.kernels.row.operator import run

    first = parts[0]
    x, (packed_bits, mask) = context.arriving(first.edge), context.bits_and_mask(first.edge)
    if not first.linear.takes_events(x) or x.dtype not in DTYPES or under_transform():
        return False
    steps, batch = x.shape[:2]
    widest = max(len(part.linear.weight) for part in parts)
    if torch.is_autocast_enabled("cpu") or max(x.numel(), steps * batch * widest) >= _MOST:
        return False
    seen: list[Tensor] = [x]
    layers: list[Layer] = []
    tensors: list[LayerTensors] = []
    for part in parts:
        weight, bias = part.linear.weight, part.linear.bias
        loop = None if part.loop is None else part.loop.weight
        z0 = None if loop is None else context.in_flight[part.name][-1]
        seen += [t for t in (weight, bias, loop, z0) if t is not None]
        like = x.new_empty(1).expand(steps, batch, len(weight))
        port = part.edge.port if len(part.node.ports) > 1 else None
        state, arguments = part.node.row_arguments(like, seen, context.states[part.name], context.through_time, port)
        if (loop is not None or part is not parts[-1]) and not find(arguments.key).program.is_spiking:
            return False  # a smooth function in place of the spike
        seen += [*state, *arguments.coefficients]
        layers.append(
            Layer(
                arguments.key,
                weight.shape[1],
                weight.shape[0],
                tuple(arguments.forward_numbers),
                tuple(arguments.backward_numbers),
                len(state),
                len(arguments.coefficients),
                arguments.train,
                bias is not None,
                loop is not None,
            )
        )
        tensors.append(LayerTensors(weight, bias, state, arguments.coefficients, loop, z0))
    if not can_call_directly(seen) or any(t.dtype != x.dtype or t.device != x.device for t in seen):
        return False
    numbers = (torch.get_num_threads(), threads.forced or 0)
    needs_x = torch.is_grad_enabled() and x.requires_grad
    real = "float" if x.dtype is torch.float32 else "double"
    row = Row(real, steps, batch, tuple(layers), packed_bits is not None, needs_x, numbers, policy.is_forced())
    prepared = prepare(row)
    if prepared.blocked:
        prepared.blocked -= 1
        return False
    given = Input(x.contiguous(), packed_bits, mask)
    outputs = run(prepared, given, [each.contiguous() for each in tensors])
    if isinstance(outputs, int):
        prepared.blocked = _PAUSE
        return False
    for part, after, last in zip(parts, outputs.states, outputs.last, strict=True):
        context.states[part.name] = part.node.core.state_type(*after)
        context.finished.add(part.name)
        if last is not None:
            keep_last(context, part.name, last)
    end = parts[-1]
    context.store(end.name, LayerOutput(outputs.out, context.states[end.name], {}, outputs.packed_bits, outputs.mask))
    if decisions.observers:
        _note(context, parts, prepared.totals(outputs.saved), steps * batch)
    return True


def _note(context: RunContext, parts: list[_Part], totals: list[int], rows: int) -> None:
    """Note what the kernels did, and the rates that they counted."""
    from neurosim.kernels.linear.policy import CROSSOVER
    from neurosim.kernels.row.cpu_layout import TOTALS

    for part, events in zip(parts, totals[::TOTALS], strict=True):
        inputs = rows * part.linear.n_in
        decisions.note_product("linear", "cpu", True, events, inputs, limit=CROSSOVER)
        context.rates[part.edge.name] = events / max(inputs, 1)
        if part.loop is not None:
            decisions.note("recurrent", "cpu", "fused")
