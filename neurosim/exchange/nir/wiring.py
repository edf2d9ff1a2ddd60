"""From the edges of a NIR graph to chains between populations, with relays where edges join or split."""

from __future__ import annotations

import dataclasses

import numpy as np

from neurosim.errors import InputError
from neurosim.exchange.nir.graph import JOINT, Flat, Node

NEURONS = ("I", "IF", "LI", "LIF", "CubaLI", "CubaLIF", "Threshold")
RELAY = "relay"
# A cycle of only these, without delay, is an equation to be solved.
STATELESS = ("Threshold", RELAY)


@dataclasses.dataclass(frozen=True)
class Chain:
    """The path from one population or input to the next: the synapse nodes on it, in order."""

    source: str
    target: str
    nodes: tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Wiring:
    """A graph as populations and chains.

    Attributes
    ----------
    nodes : dict of str to Node
        All nodes, relays included.
    inputs, populations : list of str
        In the order of the graph.
    outputs : dict of str to str
        Population of each output node.
    chains : list of Chain
    """

    nodes: dict[str, Node]
    inputs: list[str]
    populations: list[str]
    outputs: dict[str, str]
    chains: list[Chain]


def uniform(values: np.ndarray) -> bool:
    """Return whether all `values` are equal."""
    return values.size > 0 and bool(np.all(values == values.flat[0]))


def wire(flat: Flat) -> Wiring:
    """Return the chains of a graph.

    Raises
    ------
    InputError
        For nodes without a path from an input or to an output, and for cycles without neuron or delay.
    """
    return _Wirer(flat).wiring()


class _Wirer:
    def __init__(self, flat: Flat) -> None:
        self.nodes = dict(flat.nodes)
        self.before: dict[str, list[str]] = {name: [] for name in self.nodes}
        self.after: dict[str, list[str]] = {name: [] for name in self.nodes}
        for source, target in flat.edges:
            self.after[source].append(target)
            self.before[target].append(source)
        for name, node in self.nodes.items():
            meets = len(self.before[name]) > 1 or len(self.after[name]) > 1
            if meets and node.kind == "Scale" and bool(np.all(node.numbers("scale") == 1)):
                self.nodes[name] = Node(JOINT, {})  # this is how a relay is written

    def kind(self, name: str) -> str:
        return self.nodes[name].kind

    def is_synapse(self, name: str) -> bool:
        return self.kind(name) not in ("Input", "Output", RELAY, *NEURONS)

    def wiring(self) -> Wiring:
        self.splice_joints()
        self.open_ends()
        for name in [n for n in self.nodes if self.is_synapse(n)]:
            self.isolate(name)
        outputs = {name: self.output(name) for name in list(self.nodes) if self.kind(name) == "Output"}
        inputs = [name for name in self.nodes if self.kind(name) == "Input"]
        populations = [name for name in self.nodes if self.kind(name) in (RELAY, *NEURONS)]
        for name in inputs:
            if self.before[name]:
                raise InputError(f"node {name!r} is an Input and takes no edge; one starts at {self.before[name]}.")
        chains = [self.chain(source, name) for name in populations for source in self.before[name]]
        used = {name for chain in chains for name in chain.nodes}
        lost = [name for name in self.nodes if self.is_synapse(name) and name not in used]
        if lost:
            raise InputError(f"the nodes {lost[:8]} form a cycle without any neuron, which has no solution.")
        return Wiring(self.nodes, inputs, populations, outputs, chains)

    def splice_joints(self) -> None:
        """Connect the edges into an input or output of a subgraph with the edges out of it."""
        for name in [n for n in self.nodes if self.kind(n) == JOINT]:
            ins, outs = self.before[name], self.after[name]
            if not ins or not outs:
                raise InputError(
                    f"node {name!r} {'has no outgoing edge' if ins else 'has no incoming edge'}; connect or remove it."
                )
            if name in ins or (len(ins) > 1 and len(outs) > 1):
                self.nodes[name] = Node(RELAY, {})
                continue
            for source in ins:
                self.after[source] = [t for old in self.after[source] for t in (outs if old == name else [old])]
            for target in outs:
                self.before[target] = [s for old in self.before[target] for s in (ins if old == name else [old])]
            del self.nodes[name], self.before[name], self.after[name]

    def open_ends(self) -> None:
        """Add inputs to nodes without incoming edges, and outputs to nodes without outgoing ones if none exist."""
        for name in [n for n in self.nodes if not self.before[n] and self.kind(n) != "Input"]:
            shape = self.entry_shape(name)
            if shape is None:
                raise InputError(
                    f"the node {name!r} has no incoming edge, and its shape is not known; add an Input node."
                )
            self.insert(name, f"input_{name}", Node("Input", {"shape": np.array(shape)}), [], [name])
        if not any(node.kind == "Output" for node in self.nodes.values()):
            for name in [n for n in self.nodes if not self.after[n]]:
                self.insert(name, f"output_{name}", Node("Output", {}), [name], [])
        ends = [n for n in self.nodes if not self.after[n] and (self.is_synapse(n) or self.kind(n) == "Input")]
        if ends:
            raise InputError(f"the node {ends[0]!r} has no outgoing edge; connect it to an Output or remove it.")
        if not any(node.kind == "Output" for node in self.nodes.values()):
            raise InputError(
                "the graph has no Output, and no node without outgoing edge could be one; add an Output node."
            )

    def entry_shape(self, name: str) -> tuple[int, ...] | None:
        node = self.nodes[name]
        first = {"Threshold": "threshold", "Scale": "scale", "Delay": "delay"}.get(node.kind, "r")
        if node.kind in ("Linear", "Affine"):
            return (int(node.numbers("weight").shape[-1]),)
        if first in node.fields and node.numbers(first).ndim:
            return tuple(node.numbers(first).shape)
        return None

    def insert(self, beside: str, name: str, node: Node, before: list[str], after: list[str]) -> None:
        """Add a node with edges from `before` and to `after`."""
        while name in self.nodes:
            name += "_"
        self.nodes[name] = node
        self.before[name], self.after[name] = before, after
        for source in before:
            self.after[source].append(name)
        for target in after:
            self.before[target].append(name)

    def isolate(self, name: str) -> None:
        """Add relays around a synapse node, so that it has one edge in and one out, and where a delay needs them."""
        into, out_of = len(self.before[name]) > 1, len(self.after[name]) > 1
        if self.kind(name) == "Delay":
            each = not uniform(self.nodes[name].numbers("delay"))
            # The bias before a delay arrives late as well.
            into = into or self.has_bias(name) or (each and self.is_synapse(self.before[name][0]))
            out_of = out_of or (each and not self.leads_to_matrix(name))
        if into:
            relay = self.relay(f"{name}.in", self.before[name], [name])
            for source in set(self.before[relay]):
                self.after[source] = [relay if target == name else target for target in self.after[source]]
            self.before[name] = [relay]
        if out_of:
            relay = self.relay(f"{name}.out", [name], self.after[name])
            for target in set(self.after[relay]):
                self.before[target] = [relay if source == name else source for source in self.before[target]]
            self.after[name] = [relay]

    def has_bias(self, name: str) -> bool:
        """Whether a synapse node on the single path into `name` adds a constant."""
        visited = {name}
        while (
            len(self.before[name]) == 1
            and self.is_synapse(self.before[name][0])
            and self.before[name][0] not in visited
        ):
            (name,) = self.before[name]
            visited.add(name)
            if "bias" in self.nodes[name].fields and bool(np.any(self.nodes[name].numbers("bias"))):
                return True
        return False

    def leads_to_matrix(self, name: str) -> bool:
        """Whether the next node is a matrix with no other incoming edge."""
        after = self.after[name]
        return len(after) == 1 and self.kind(after[0]) in ("Linear", "Affine") and len(self.before[after[0]]) == 1

    def relay(self, name: str, before: list[str], after: list[str]) -> str:
        while name in self.nodes:
            name += "_"
        self.nodes[name] = Node(RELAY, {})
        self.before[name], self.after[name] = list(before), list(after)
        return name

    def output(self, name: str) -> str:
        """Return the population of an output node; the node becomes a relay where there is none."""
        before = self.before[name]
        if self.after[name]:
            raise InputError(f"node {name!r} is an Output and has no outgoing edges; one ends at {self.after[name]}.")
        if len(before) == 1 and self.kind(before[0]) in (RELAY, *NEURONS):
            self.after[before[0]].remove(name)
            self.before[name] = []
            return before[0]
        self.nodes[name] = Node(RELAY, {})
        return name

    def chain(self, source: str, target: str) -> Chain:
        nodes: list[str] = []
        while self.is_synapse(source):
            nodes.append(source)
            (source,) = self.before[source]
        return Chain(source, target, tuple(reversed(nodes)))
