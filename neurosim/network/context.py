"""The values of one run of a network: outputs so far, states, spikes in flight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from neurosim.errors import InputError
from neurosim.kernels.common.layer_output import LayerOutput
from neurosim.network.component import Component
from neurosim.network.graph import Connection, NetworkState
from neurosim.network.in_flight import delayed, shifted
from neurosim.network.neuron import Neuron
from neurosim.network.population import Inputs, Population, State
from neurosim.synapses.traced import Traces


class RunContext:
    """The values of one run of a network, which strategies read and extend.

    Parameters
    ----------
    nodes : ModuleDict
        The nodes by name.
    inputs : mapping of str to Tensor [T, B, ...]
        Data of each input node.
    start : NetworkState
        State before the first step.
    steps, samples : int
        T and B.
    record : mapping of str to tuple of str
        Variables to record of each node.
    through_time, recompute, traces
        As in `Network.forward`.
    gradient : bool
        As in `Network.run`.

    Attributes
    ----------
    steps, samples : int
        T and B.
    device : torch.device
    outputs : dict of str to LayerOutput
        Of each node that has run and that a later one reads, or that the run returns.
    states : dict of str to NamedTuple of Tensor [B, ...]
        State of each population; after the last step once it has run.
    in_flight, in_flight_after : dict of str to Tensor [D, B, ...]
        Last outputs before the first step, and after the last, of each node with delayed edges. The second is complete
        once all components have run.
    finished : set of str
        Nodes that need not run any more. A strategy that runs further components adds their nodes.
    components : tuple of Component
        Those of the run, in order.
    keep : set of str
        Nodes whose output is needed after the run.
    rates : dict of str to float
        Share of values that are not zero at the source of an edge, where a strategy has counted them and the output is
        not there; written for `Network.explain`.
    row : tuple of Component and list, optional
        A component, and the layers of the row that begins with it, as `FusedRow` has found them.
    """

    def __init__(
        self,
        nodes: nn.ModuleDict,
        inputs: Mapping[str, Tensor],
        start: NetworkState,
        steps: int,
        samples: int,
        record: Mapping[str, tuple[str, ...]],
        *,
        through_time: bool,
        recompute: bool,
        traces: Traces | None,
        gradient: bool = False,
    ) -> None:
        some = [*inputs.values(), *(value for state in start.nodes.values() for value in state)]
        self.nodes, self.record, self.traces = nodes, record, traces
        self.through_time, self.recompute, self.gradient = through_time, recompute, gradient
        self.steps, self.samples = steps, samples
        self.device = some[0].device if some else torch.device("cpu")
        self.outputs = {name: LayerOutput(x, (), {}) for name, x in inputs.items()}
        self.finished = set(inputs)
        self.states: dict[str, State] = dict(start.nodes)
        self.in_flight = dict(start.in_flight)
        self.in_flight_after: dict[str, Tensor] = {}
        if not through_time:
            self.in_flight = {name: line.detach() for name, line in self.in_flight.items()}
        self.components: tuple[Component, ...] = ()
        self.keep: set[str] = set()
        self.rates: dict[str, float] = {}
        self.row: tuple[Component, list[Any]] | None = None
        self._recorded: dict[str, list[Tensor]] = {}

    @property
    def saves_memory(self) -> bool:
        """Whether the backward pass is to compute again what this run does not keep."""
        return self.recompute and torch.is_grad_enabled()

    def population(self, name: str) -> Population:
        """Return a node that is a population."""
        node = self.nodes[name]
        assert isinstance(node, Population)
        return node

    def store(self, name: str, result: LayerOutput) -> None:
        """Take over output, state and recorded values of a population for these steps."""
        self.outputs[name], self.states[name] = result, result.state
        for variable, trace in result.recorded.items():
            self._recorded.setdefault(f"{name}.{variable}", []).append(trace)

    def run_neurons(self, name: str, currents: dict[str, Tensor]) -> LayerOutput:
        """Run a population on the current [t, B, ...] into each port, over any number of steps."""
        node, variables = self.population(name), self.record.get(name, ())
        i = as_input(node, currents)
        if node.must_be_called:
            result = self._called(name, node, i, variables)
        elif variables and self.gradient:
            result = self._with_gradient(name, node, i, variables)
        else:
            result = node.run(i, self.states[name], variables, through_time=self.through_time)
        self.store(name, result)
        return result

    def _called(self, name: str, node: Population, i: Inputs, variables: tuple[str, ...]) -> LayerOutput:
        """Call a population as a module, so that its hooks run."""
        if variables:
            raise InputError(
                f"cannot record {name}.{variables[0]}: {name!r} has a hook or a forward of its own, which gives no "
                "variables. Record the output of the node, or remove the hook."
            )
        result = node(i, self.states[name], through_time=self.through_time)
        if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], Tensor)):
            raise InputError(
                f"{name!r}: a hook or a forward of its own returned {type(result).__name__}; (output, state) is needed."
            )
        return LayerOutput(result[0], result[1], {})

    def _with_gradient(self, name: str, node: Population, i: Inputs, variables: tuple[str, ...]) -> LayerOutput:
        """Run a population step by step, so that its recorded states have their gradient."""
        if not isinstance(node, Neuron):
            raise InputError(
                f"cannot record {name}.{variables[0]} with its gradient: {name!r} has no core. Record its output."
            )
        return node.run_reference(i, self.states[name], variables, through_time=self.through_time, gradient=True)

    def recorded(self, name: str) -> Tensor:
        """Return what was recorded under ``"node"`` or ``"node.variable"``."""
        if "." not in name:
            out = self.outputs[name].out
            return out if self.gradient else out.detach()
        if name not in self._recorded:
            raise InputError(f"the strategy that ran {name.partition('.')[0]!r} did not record {name!r}.")
        return torch.cat(self._recorded[name])

    def release(self, component: Component, keep: set[str]) -> None:
        """Free outputs that no later component reads, except those of the nodes in `keep`.

        What is in flight from such a node after the last step is kept first, unless a strategy has done so.
        """
        for name in component.last_read:
            if name in self.in_flight and name not in self.in_flight_after:
                z = self.outputs[name].out
                self.in_flight_after[name] = shifted(self.in_flight[name], z if self.through_time else z.detach())
            if name not in keep:
                self.outputs.pop(name, None)

    def arriving(self, edge: Connection) -> Tensor:
        """Return the spikes [delay_span + T, B, ...] that reach the synapses of an edge from another component."""
        z = self.outputs[edge.source].out
        line = self.in_flight.get(edge.source)
        reach = 0 if line is None else edge.reach
        if line is None or not reach:
            return z
        if edge.delay_steps and not self.through_time:
            z = z.detach()
        return delayed(line, z, reach, edge.delay_span + self.steps)

    def bits_and_mask(self, edge: Connection) -> tuple[Tensor | None, Tensor | None]:
        """Return packed bits and gradient mask of what an edge carries; None for both if the edge is delayed."""
        result = self.outputs.get(edge.source)
        is_delayed = edge.source in self.in_flight and edge.reach > 0
        return (None, None) if result is None or is_delayed else (result.packed_bits, result.mask)

    def current(self, edge: Connection, z: Tensor) -> Tensor:
        """Return the current that spikes `z` cause through an edge; its weights learn from `traces`, if given."""
        if self.traces is None:
            return edge(z, *self.bits_and_mask(edge), through_time=self.through_time)
        decay = self._trace_decay(edge)
        for number, synapse in enumerate(edge.synapses):
            z = self.traces.through(f"{edge.name}/{number}", synapse, z, decay)
        return z

    def _trace_decay(self, edge: Connection) -> float:
        if edge.memory:
            raise InputError(
                f"edge {edge.name!r}: weights cannot learn from traces where synapses have their own delays; use "
                "another rule, such as BPTT."
            )
        target = self.nodes[edge.target]
        decay = None
        if isinstance(target, Neuron) and "tau_mem" in target.core.parameters and len(target.ports) == 1:
            decay = target.decay("tau_mem")
        if not isinstance(decay, float):
            raise InputError(
                f"edge {edge.name!r}: traces decay as the membranes of {edge.target!r} do, which need one input port "
                "and one shared tau_mem; use LIF, CubaLIF, ALIF or LI with one number for it, or another rule."
            )
        return decay

    def outer_currents(self, component: Component, name: str) -> dict[str, Tensor]:
        """Return the current [T, B, ...] into each port of a node from other components."""
        currents: dict[str, Tensor] = {}
        for edge in component.outer:
            if edge.target == name:
                add_current(currents, edge.port, self.current(edge, self.arriving(edge)))
        driven = currents.keys() - {self.population(name).noise_port}
        if not driven and not any(edge.target == name for edge in component.inner):
            return {**self._no_currents(name), **currents}
        return currents

    def _no_currents(self, name: str) -> dict[str, Tensor]:
        """Return the current into the ports of a population that nothing drives: 0 where a port must be fed."""
        node, values = self.population(name), self.states[name]
        assert node.size is not None  # else its shape could not be computed
        shape = (self.steps, self.samples, *node.size)
        zeros = values[0].new_zeros(shape) if values else torch.zeros(shape, device=self.device)
        ports = node.ports
        fed = [port for port, value in ports.items() if value is None] or [next(iter(ports))]
        return {port: zeros + (ports[port] or 0.0) for port in fed}


def add_current(currents: dict[str, Tensor], port: str, current: Tensor) -> None:
    """Add a current to the sum of a port."""
    currents[port] = current if port not in currents else currents[port] + current


def as_input(node: Population, currents: dict[str, Tensor]) -> Inputs:
    """Return the current into each port as `Population.run` takes it: a tensor if there is one port."""
    return currents if len(node.ports) > 1 else currents[next(iter(node.ports))]
