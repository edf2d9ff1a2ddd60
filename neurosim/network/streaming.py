"""One step of a chain of layers without gradients, prepared once: for streaming inference.

A network that is called step by step spends its time between the kernels. Which strategy runs which layer, and with
which numbers, is found once here; each call checks that nothing has changed since.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from neurosim.compiler.llvm.jit import CompiledKernel
from neurosim.kernels.common import decisions, policy
from neurosim.kernels.common.autograd import under_transform
from neurosim.kernels.common.availability import fused
from neurosim.kernels.linear.policy import SMALL
from neurosim.network.component import Component
from neurosim.network.graph import Connection, Input, NetworkState
from neurosim.network.neuron import Neuron
from neurosim.network.parts import Parts
from neurosim.network.population import State
from neurosim.network.strategies import is_plain
from neurosim.synapses import Linear, Synapse

_MOST = 1 << 16  # neurons of all samples, for which one thread is used


class _Layer(NamedTuple):
    """A layer, and what it was prepared from."""

    name: str
    node: Neuron
    edge: Connection
    synapses: tuple[Synapse, ...]
    linear: Linear
    kernel: CompiledKernel
    numbers: tuple[float, ...]
    states: int
    choices: tuple[object, ...]


class StepPlan:
    """One step of a chain of `Linear` and plain neurons, in single precision on the CPU.

    Parameters
    ----------
    modules : dict of str to Module
        The nodes of the network, in which a node may be replaced.
    layers : sequence of _Layer

    Attributes
    ----------
    is_stale : bool
        Whether a part has been replaced or changed since.
    output : str
        Node whose output a run returns.
    """

    def __init__(self, modules: Mapping[str, nn.Module | None], layers: Sequence[_Layer]) -> None:
        self._modules, self._layers, self.is_stale = modules, layers, False
        self.output = layers[-1].name

    def run(self, x: Tensor, state: NetworkState) -> tuple[Tensor, NetworkState] | None:
        """Return output and state after the step, or None where the network has to be run in the general way.

        Parameters
        ----------
        x : Tensor [1, B, n]
        state : NetworkState
        """
        if state.in_flight or state.plastic or len(state.nodes) != len(self._layers):
            return None
        z, after = x[0], {}
        for layer in self._layers:
            if not self._holds(layer):
                self.is_stale = True
                return None
            before = state.nodes.get(layer.name)
            found = None if before is None else _step(layer, z, before)
            if found is None:
                return None
            z, after[layer.name] = found
        return z[None], NetworkState(after, {})

    def _holds(self, layer: _Layer) -> bool:
        """Return whether a layer is what it was."""
        node, linear = layer.node, layer.linear
        if self._modules[layer.name] is not node or layer.edge.synapses is not layer.synapses:
            return False
        return _choices(node) == layer.choices and not node.must_be_called and is_plain(linear)


def _step(layer: _Layer, z: Tensor, before: State) -> tuple[Tensor, State] | None:
    weight, bias = layer.linear.weight, layer.linear.bias
    if type(weight) is not nn.Parameter or weight.dtype is not torch.float32 or not weight.is_cpu:
        return None
    if bias is not None and not bias.is_cpu:
        return None
    batch, (width, n_in) = len(z), weight.shape
    total = batch * width
    if z.shape[1] != n_in or not 0 < total <= _MOST or total * n_in > SMALL:
        return None
    if len(before) != layer.states or not all(_fits(s, batch, width) for s in before):
        return None
    current = torch.mm(z, weight.T)
    if bias is not None:
        current.add_(bias)
    after = [s.contiguous().clone() for s in before]
    out = torch.empty_like(current)
    layer.kernel.call(
        current.data_ptr(), out.data_ptr(), *(s.data_ptr() for s in after), 0, total, 1, total, *layer.numbers
    )
    return out, layer.node.core.state_type(*after)


def run_step(
    nodes: Parts, components: Sequence[Component], output: str, x: object, state: object
) -> tuple[Tensor, NetworkState] | None:
    """Run a network for one step without gradients from a state, outside of a compiler.

    Parameters
    ----------
    nodes : Parts
    components : sequence of Component
        In order of computation.
    output : str
        Name of the output node.
    x, state
        As in `Network.forward`.

    Returns
    -------
    tuple of Tensor and NetworkState, or None
        Output and state; None where the network has to be run in the general way.
    """
    if type(x) is not Tensor or type(state) is not NetworkState or torch.is_grad_enabled():
        return None
    if x.dim() != 3 or len(x) != 1:
        return None
    if x.dtype is not torch.float32 or x.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        return None
    if decisions.observers or policy.is_forced() or policy.through_operators or under_transform():
        return None
    plan = _PLANS.get(nodes, _ABSENT)
    if plan is _ABSENT or (isinstance(plan, StepPlan) and (plan.is_stale or plan.output != output)):
        plan = _PLANS[nodes] = _prepared(nodes, components, output)
    return plan.run(x, state) if isinstance(plan, StepPlan) else None


def _prepared(nodes: Parts, components: Sequence[Component], output: str) -> StepPlan | None:
    """Return the prepared step of a network, or None if it is not such a chain."""
    from neurosim.kernels.neurons.cpu_code import compiled

    first, *others = components
    (before, *more), layers = first.nodes, []
    if more or not isinstance(nodes[before], Input) or not fused(torch.device("cpu")):
        return None
    for component in others:
        if len(component.nodes) != 1 or component.is_cycle or len(component.outer) != 1:
            return None
        (name,), (edge,) = component.nodes, component.outer
        node, linear = nodes[name], edge.synapses[0]
        is_plain = type(node) is Neuron and type(linear) is Linear and len(edge.synapses) == 1 and not edge.delay_steps
        if not is_plain or edge.source != before:
            return None
        assert isinstance(node, Neuron) and isinstance(linear, Linear)
        if not node.is_constant or len(node.ports) != 1 or node.core.integers_up_to is not None:
            return None
        key, numbers = node.constant_numbers()
        kernel = compiled(key, "float", False, False)
        layers.append(
            _Layer(
                name, node, edge, edge.synapses, linear, kernel, tuple(numbers), len(node.core.state), _choices(node)
            )
        )
        before = name
    return StepPlan(nodes._modules, layers) if before == output and layers else None


def _choices(node: Neuron) -> tuple[object, ...]:
    return node.spike, node.reset, node.detach_reset


def _fits(s: Tensor, batch: int, width: int) -> bool:
    return type(s) is Tensor and s.shape == (batch, width) and s.dtype is torch.float32 and s.device.type == "cpu"


_ABSENT: Final = object()
_PLANS: weakref.WeakKeyDictionary[Parts, StepPlan | None] = weakref.WeakKeyDictionary()
