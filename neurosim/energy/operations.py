"""Operation counts of a run: synaptic operations, neuron updates, spikes. Totals are exact integers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from neurosim.errors import InputError


@dataclass(frozen=True)
class SynapseOperations:
    """Counts of one synapse module, summed over steps and samples.

    Attributes
    ----------
    name : str
        Name of the edge; followed by ``[k]`` where the edge has several modules.
    layer : str
        Target of the edge.
    kind : str
        Class of the module, such as ``"Conv2d"``.
    input_shape, output_shape : tuple of int
        Shapes without steps and samples.
    weights, biases : int
        Stored parameters; 0 for pooling.
    kernel : int
        Positions of a convolution's kernel; 0 for a full matrix.
    connections : int
        Existing (input, output) pairs: the multiplications of one dense pass, without padding.
    passes : int
        Steps times samples.
    events : int
        Nonzero inputs.
    addressed : int
        (event, connection) pairs, for any weight.
    effective : int
        (event, connection) pairs with a nonzero weight.
    graded : bool
        Whether any input of the run was outside {-1, 0, 1}.
    """

    name: str
    layer: str
    kind: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    weights: int
    biases: int
    kernel: int
    connections: int
    passes: int
    events: int
    addressed: int
    effective: int
    graded: bool

    @property
    def dense(self) -> int:
        """Operations of the same passes with every input an event and no weight zero."""
        return self.connections * self.passes

    @property
    def multiplies(self) -> bool:
        """Whether an operation needs a product: the input of weights was graded (the rule of NeuroBench, per run)."""
        return self.graded and self.weights > 0

    @property
    def outputs(self) -> int:
        """Number of output elements of one pass."""
        return math.prod(self.output_shape)

    @property
    def inputs(self) -> int:
        """Number of input elements of one pass."""
        return math.prod(self.input_shape)

    @property
    def bias_additions(self) -> int:
        """Additions of a bias; 0 without one."""
        return self.outputs * self.passes if self.biases else 0


@dataclass(frozen=True)
class NodeOperations:
    """Counts of the neurons of one node, summed over steps and samples.

    Attributes
    ----------
    name : str
        The node.
    kind : str
        Its core's name, such as ``"lif"``.
    neurons : int
        Number of neurons.
    passes : int
        Steps times samples.
    spikes : int
        Nonzero outputs; 0 for a node that does not spike.
    spiking : bool
        False for a leaky integrator, whose output is its membrane.
    resets : int
        Resets of the membrane: one for each spike of neurons with a reset.
    states : int
        State variables of one neuron.
    additions, multiplications : int
        Of one update of one neuron, from the core's traced expression.
    unpriced : int
        Divisions and functions of one update, which the arithmetic models do not price.
    out_edges : int
        Edges that start at the node.
    """

    name: str
    kind: str
    neurons: int
    passes: int
    spikes: int
    spiking: bool
    resets: int
    states: int
    additions: int
    multiplications: int
    unpriced: int
    out_edges: int

    @property
    def updates(self) -> int:
        """Neuron updates: every neuron, every step, every sample."""
        return self.neurons * self.passes

    @property
    def messages(self) -> int:
        """Spikes times the edges that carry them: the least number of deliveries."""
        return self.spikes * self.out_edges


@dataclass(frozen=True)
class Operations:
    """Everything that was counted in a run of `samples` samples of `steps` steps.

    Two counts of the same network over the same number of steps add up: ``a + b`` has the samples of both.

    Attributes
    ----------
    synapses : tuple of SynapseOperations
        One for each synapse module that computes, in the network's order.
    nodes : tuple of NodeOperations
        One for each node of neurons.
    steps, samples : int
        T and B.
    dt : float
        Length of a step, s.
    """

    synapses: tuple[SynapseOperations, ...]
    nodes: tuple[NodeOperations, ...]
    steps: int
    samples: int
    dt: float

    def __post_init__(self) -> None:
        if self.steps < 1 or self.samples < 1:
            raise InputError(f"a run needs at least one step and one sample, found {self.steps} and {self.samples}.")

    def __add__(self, other: Operations) -> Operations:
        """Join the counts of two sets of samples."""
        mine, theirs = self._parts(), other._parts()
        if mine != theirs:
            raise InputError(f"counts of different networks do not add: {mine} and {theirs}.")
        if self.steps != other.steps or self.dt != other.dt:
            raise InputError(
                f"counts over {self.steps} steps of {self.dt} s and {other.steps} steps of {other.dt} s do not add: "
                "the energy per inference would have no meaning. Count runs of equal length."
            )
        return Operations(
            synapses=tuple(_join(a, b) for a, b in zip(self.synapses, other.synapses, strict=True)),
            nodes=tuple(_join(a, b) for a, b in zip(self.nodes, other.nodes, strict=True)),
            steps=self.steps,
            samples=self.samples + other.samples,
            dt=self.dt,
        )

    def _parts(self) -> tuple[tuple[str, str], ...]:
        synapses = ((item.name, item.kind) for item in self.synapses)
        return (*synapses, *((node.name, node.kind) for node in self.nodes))

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the nodes of neurons, the layers of a report."""
        return tuple(node.name for node in self.nodes)

    @property
    def accumulates(self) -> int:
        """Effective synaptic operations that only add."""
        return sum(item.effective for item in self.synapses if not item.multiplies)

    @property
    def multiply_accumulates(self) -> int:
        """Effective synaptic operations that multiply and add."""
        return sum(item.effective for item in self.synapses if item.multiplies)

    @property
    def dense(self) -> int:
        """Synaptic operations of a dense run: every input an event and every weight nonzero."""
        return sum(item.dense for item in self.synapses)

    @property
    def spikes(self) -> int:
        """Spikes of all nodes, the input not counted."""
        return sum(node.spikes for node in self.nodes)

    @property
    def spikes_per_neuron(self) -> float:
        """Spikes per spiking neuron and inference, the ``T r`` of the literature."""
        neurons = sum(node.neurons for node in self.nodes if node.spiking)
        return self.spikes / (neurons * self.samples) if neurons else 0.0

    @property
    def events_per_connection(self) -> float:
        """Effective operations per connection and inference: ``T r`` weighted by the fan-out of the spikes."""
        connections = sum(item.connections for item in self.synapses)
        effective = self.accumulates + self.multiply_accumulates
        return effective / (connections * self.samples) if connections else 0.0

    def neurobench(self) -> dict[str, float]:
        """Return the synaptic operations as NeuroBench counts them, per inference.

        Returns
        -------
        dict of str to float
            ``effective_acs``, ``effective_macs`` and ``dense`` of the modules with weights (pooling is not counted).
            NeuroBench applies its rule of accumulates and multiply-accumulates per layer and call, this method per
            layer and run. Source: NeuroBench, arXiv:2304.04640.
        """
        weighted = [item for item in self.synapses if item.weights]
        return {
            "effective_acs": sum(i.effective for i in weighted if not i.multiplies) / self.samples,
            "effective_macs": sum(i.effective for i in weighted if i.multiplies) / self.samples,
            "dense": sum(i.dense for i in weighted) / self.samples,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return all counts as plain values, totals over the run; divide by ``samples`` for one inference."""
        return {
            "steps": self.steps,
            "samples": self.samples,
            "dt_s": self.dt,
            "spikes_per_neuron_per_inference": self.spikes_per_neuron,
            "events_per_connection_per_inference": self.events_per_connection,
            "neurobench_per_inference": self.neurobench(),
            "synapses": [
                {
                    **_plain(dataclasses.asdict(item)),
                    "dense": item.dense,
                    "bias_additions": item.bias_additions,
                    "operation": "MAC" if item.multiplies else "AC",
                }
                for item in self.synapses
            ],
            "nodes": [
                {**_plain(dataclasses.asdict(node)), "updates": node.updates, "messages": node.messages}
                for node in self.nodes
            ],
        }


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


_SUMMED = ("passes", "events", "addressed", "effective", "spikes", "resets")


def _join(a: Any, b: Any) -> Any:
    changes = {key: getattr(a, key) + getattr(b, key) for key in _SUMMED if hasattr(a, key)}
    if isinstance(a, SynapseOperations):
        changes["graded"] = a.graded or b.graded
    return dataclasses.replace(a, **changes)
