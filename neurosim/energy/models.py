"""Energy models: from operation counts and the numbers of a target to joules, by layer and component.

A model computes the joules **of the whole run** from the counts and a target, as ``{layer: {component: joules}}``, and
may compute those of one pass of the equal dense network. It declares the keys of a target's file that it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from neurosim.energy.operations import NodeOperations, Operations, SynapseOperations
from neurosim.energy.traffic import Traffic
from neurosim.errors import FileError
from neurosim.hardware.targets import Target, check_keys

Joules = dict[str, dict[str, float]]
HOPS = ("hop_east_west", "hop_north_south")


def per_operation(operations: Operations, target: Target) -> Joules:
    """Price synaptic operations, neuron updates, spikes and messages, as published for neuromorphic chips."""
    price = _prices(target)
    result = _empty(operations)
    for item in operations.synapses:
        _add(result, item.layer, "synapses", item.effective * price["synaptic_operation"])
    for node in operations.nodes:
        for component, key, count in (
            ("neurons", "neuron_update", node.updates),
            ("spikes", "spike", node.spikes),
            ("messages", "message", node.messages),
        ):
            if key in price:
                _add(result, node.name, component, count * price[key])
    return result


def transport(traffic: Traffic, target: Target) -> Joules:
    """Price the messages of a placed network, one for each core that a spike goes to, and their hops between tiles."""
    message, east_west, north_south = (target.energy[key].number for key in ("message", *HOPS))
    result: Joules = {}
    for name, (x, y) in traffic.hops.items():
        _add(result, name, "messages", traffic.messages[name] * message)
        _add(result, name, "hops", x * east_west + y * north_south)
    return result


def arithmetic(operations: Operations, target: Target) -> Joules:
    """Price additions and multiplications only: the 4.6 / 0.9 pJ convention, and the arithmetic of the neurons.

    An event in {-1, 0, 1} costs an accumulate, a graded one a multiply-accumulate. The convention of the literature has
    only the component ``synapses``.
    """
    price = _prices(target)
    result = _empty(operations)
    for item in operations.synapses:
        each = price["multiply_accumulate"] if item.multiplies else price["accumulate"]
        _add(result, item.layer, "synapses", item.effective * each)
        if item.biases:
            _add(result, item.layer, "bias", item.bias_additions * price["add"])
    for node in operations.nodes:
        update = node.additions * price["add"] + node.multiplications * price["multiply"]
        _add(result, node.name, "neurons", node.updates * update)
    return result


def arithmetic_ann(operations: Operations, target: Target) -> float:
    """One pass of the equal dense network: a multiply-accumulate per connection, an addition per bias."""
    price = _prices(target)
    total = 0.0
    for item in operations.synapses:
        total += item.connections * (price["multiply_accumulate"] if item.weights else price["accumulate"])
        total += (item.outputs if item.biases else 0) * price["add"]
    return total


def dense(operations: Operations, target: Target) -> Joules:
    """Price a processor that ignores sparsity: every connection and every neuron at every step is one MAC."""
    price = _prices(target)["multiply_accumulate"]
    result = _empty(operations)
    for item in operations.synapses:
        _add(result, item.layer, "synapses", item.dense * price)
    for node in operations.nodes:
        _add(result, node.name, "neurons", node.updates * price)
    return result


def dense_ann(operations: Operations, target: Target) -> float:
    """One dense pass: every connection and every neuron once."""
    price = _prices(target)["multiply_accumulate"]
    connections = sum(item.connections for item in operations.synapses)
    return (connections + sum(node.neurons for node in operations.nodes)) * price


def memory(operations: Operations, target: Target) -> Joules:
    """Price arithmetic, addressing and every access to on-chip memory.

    The equations of Lemaire et al. 2022 (arXiv:2210.13107) with the corrections of their code, qualia_plugin_snn
    2.6.0. Where they estimate the synapses that events reach (``theta_in Co K^2``, ``theta_in ceil(K/s)^2 Co``), the
    exact number is used, which includes the borders and strides of a convolution; for fully connected layers both are
    equal. The addressing of a fully connected layer uses the number of events, as in the equation; that code uses their
    rate. The addition of a bias is priced only where there is one. A layer with graded input is computed densely at
    every step. A neuron with several state variables reads and writes each of them at every step.
    """
    memories = _Memory(target)
    result = _empty(operations)
    for item in operations.synapses:
        _memory_of_synapses(result, item, memories)
    for node in operations.nodes:
        _memory_of_node(result, node, memories)
    return result


def memory_ann(operations: Operations, target: Target) -> float:
    """One pass of the equal dense network under the same memory model (its FNN equations)."""
    memories = _Memory(target)
    scratch: Joules = {item.layer: {} for item in operations.synapses}
    for item in operations.synapses:
        _dense_pass(scratch, item, memories, passes=1)
        _add(scratch, item.layer, "event memory", item.outputs * memories.access(item.outputs))
        if item.biases:
            _bias(scratch, item, memories, passes=1)
    return sum(sum(parts.values()) for parts in scratch.values())


class _Memory:
    """Prices of the memory model."""

    def __init__(self, target: Target) -> None:
        price = _prices(target)
        self.add = price["add"]
        self.multiply_add = price["add"] + price["multiply"]
        self.fixed = price["memory_access"]
        self.per_bit = price["memory_access_per_bit"]
        self.word_bits = target.parameters["word_bits"].number
        self.queue = self.access(target.parameters["queue_words"].number)

    def access(self, words: float) -> float:
        """Energy of one read or write of a memory that holds `words` words, J."""
        return self.fixed + self.per_bit * words * self.word_bits


def _memory_of_synapses(result: Joules, item: SynapseOperations, memories: _Memory) -> None:
    if item.multiplies:
        _dense_pass(result, item, memories, passes=item.passes)
    else:
        _add(result, item.layer, "event memory", item.events * memories.queue)
        _add(result, item.layer, "synapses", item.addressed * memories.add)
        if item.weights:
            _add(result, item.layer, "weight memory", item.addressed * memories.access(item.weights))
            _add(result, item.layer, "membrane memory", 2 * item.addressed * memories.access(item.outputs))
            if item.kernel:
                addressing = item.events * (2 * memories.multiply_add + item.kernel * memories.add)
            else:
                addressing = item.addressed * memories.add
            _add(result, item.layer, "addressing", addressing)
    if item.biases:
        _bias(result, item, memories, passes=item.passes)


def _bias(result: Joules, item: SynapseOperations, memories: _Memory, *, passes: int) -> None:
    _add(result, item.layer, "bias", passes * item.outputs * (memories.add + memories.access(item.biases)))


def _dense_pass(result: Joules, item: SynapseOperations, memories: _Memory, *, passes: int) -> None:
    if not item.weights:
        _add(result, item.layer, "synapses", passes * item.connections * memories.add)
        return
    reads = item.connections if item.kernel else item.inputs
    _add(result, item.layer, "event memory", passes * reads * memories.access(item.inputs))
    _add(result, item.layer, "weight memory", passes * item.connections * memories.access(item.weights))
    _add(result, item.layer, "synapses", passes * item.connections * memories.multiply_add)
    addresses = item.inputs + item.outputs + item.output_shape[0] * item.kernel if item.kernel else item.connections
    _add(result, item.layer, "addressing", passes * addresses * memories.add)


def _memory_of_node(result: Joules, node: NodeOperations, memories: _Memory) -> None:
    access = memories.access(node.neurons * node.states)
    _add(result, node.name, "membrane memory", 2 * node.updates * node.states * access)
    leak = node.updates * memories.multiply_add if node.multiplications else 0.0
    _add(result, node.name, "neurons", leak + node.resets * memories.add)
    _add(result, node.name, "event memory", node.spikes * memories.queue)


def _prices(target: Target) -> dict[str, float]:
    return {key: quantity.number for key, quantity in target.energy.items()}


def _empty(operations: Operations) -> Joules:
    return {name: {} for name in operations.layers}


def _add(result: Joules, layer: str, component: str, joules: float) -> None:
    parts = result.setdefault(layer, {})
    parts[component] = parts.get(component, 0.0) + joules


@dataclass(frozen=True)
class EnergyModel:
    """A way to price counted operations, with the keys of a target's file that it reads.

    Attributes
    ----------
    price : callable
        From counts and target to joules of the run.
    ann : callable or None
        From counts and target to joules of one pass of the equal dense network.
    needs, uses : frozenset of str
        Keys of the section ``energy`` that it needs, and that it can use or the report keeps.
    parameters : frozenset of str
        Keys of the section ``parameters`` that it needs.
    """

    price: Callable[[Operations, Target], Joules]
    ann: Callable[[Operations, Target], float] | None
    needs: frozenset[str]
    uses: frozenset[str] = frozenset()
    parameters: frozenset[str] = frozenset()


MODELS: Mapping[str, EnergyModel] = MappingProxyType(
    {
        "per_operation": EnergyModel(
            per_operation,
            None,
            frozenset({"synaptic_operation"}),
            frozenset({"neuron_update", "neuron_update_inactive", "spike", "message", *HOPS}),
        ),
        "arithmetic": EnergyModel(
            arithmetic, arithmetic_ann, frozenset({"accumulate", "multiply_accumulate", "add", "multiply"})
        ),
        "memory": EnergyModel(
            memory,
            memory_ann,
            frozenset({"add", "multiply", "memory_access", "memory_access_per_bit"}),
            parameters=frozenset({"word_bits", "queue_words"}),
        ),
        "dense": EnergyModel(dense, dense_ann, frozenset({"multiply_accumulate"})),
    }
)


def model_of(target: Target) -> EnergyModel:
    """Return the energy model of a target whose energies are public.

    Raises
    ------
    FileError
        When the file names no such model, or lacks or misspells a key that the model reads.
    """
    model = MODELS.get(target.model or "")
    if model is None:
        raise FileError(f"{target.path}: key 'model' is {target.model!r}. Allowed: {', '.join(MODELS)}.")
    check_keys(target.path, "energy", target.energy, needed=model.needs, optional=model.uses)
    check_keys(target.path, "parameters", target.parameters, needed=model.parameters)
    return model
