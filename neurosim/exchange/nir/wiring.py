"""From the edges of a NIR graph to chains between populations: where currents meet or part, a relay is put."""

from __future__ import annotations

import dataclasses

import numpy as np

from neurosim.errors import InputError
from neurosim.exchange.nir.graph import JOINT, Flat, Node

NEURONS = ("I", "IF", "LI", "LIF", "CubaLI", "CubaLIF", "Threshold")
RELAY = "relay"
# Of these a cycle without delay would have to be solved as an equation.
STATELESS = ("Threshold", RELAY)


@dataclasses.dataclass(frozen=True)
class Chain:
    """The way from one population or input to the next: the maps in between, in order."""

    source: str
    target: str
    maps: tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Wiring:
    """A graph as populations and chains.

    Attributes
    ----------
    nodes : dict of str to Node
        All nodes, relays among them.
    inputs, populations : list of str
        In the order of the graph.
    outputs : dict of str to str
        For each output node the population whose output it is.
    chains : list of Chain
    """

    nodes: dict[str, Node]
    inputs: list[str]
    populations: list[str]
    outputs: dict[str, str]
    chains: list[Chain]


def uniform(values: np.ndarray) -> bool:
    """Return whether all of `values` are the same."""
    return values.size > 0 and bool(np.all(values == values.flat[0]))


def wire(flat: Flat) -> Wiring:
    """Find the chains of a graph.

    Raises
    ------
    InputError
        For nodes that no input reaches or that lead nowhere, and for cycles without any neuron or delay.
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
                self.nodes[name] = Node(JOINT, {})  # as which a relay is written

    def kind(self, name: str) -> str:
        return self.nodes[name].kind

    def is_map(self, name: str) -> bool:
        return self.kind(name) not in ("Input", "Output", RELAY, *NEURONS)

    def wiring(self) -> Wiring:
        self.splice_joints()
        self.open_ends()
        for name in [n for n in self.nodes if self.is_map(n)]:
            self.set_apart(name)
        outputs = {name: self.output(name) for name in list(self.nodes) if self.kind(name) == "Output"}
        inputs = [name for name in self.nodes if self.kind(name) == "Input"]
        populations = [name for name in self.nodes if self.kind(name) in (RELAY, *NEURONS)]
        for name in inputs:
            if self.before[name]:
                raise InputError(f"node {name!r} is an Input and takes no edge; one comes from {self.before[name]}.")
        chains = [self.chain(source, name) for name in populations for source in self.before[name]]
        met = {name for chain in chains for name in chain.maps}
        lost = [name for name in self.nodes if self.is_map(name) and name not in met]
        if lost:
            raise InputError(f"the nodes {lost[:8]} form a cycle without any neuron: what they send has no solution.")
        return Wiring(self.nodes, inputs, populations, outputs, chains)

    def splice_joints(self) -> None:
        """Connect what comes into the input or output of an inner graph with what goes out of it."""
        for name in [n for n in self.nodes if self.kind(n) == JOINT]:
            ins, outs = self.before[name], self.after[name]
            if not ins or not outs:
                raise InputError(
                    f"node {name!r} {'leads nowhere' if ins else 'gets no input'}; connect it or take it out."
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
        """Put inputs before what nothing reaches, and outputs behind what leads nowhere if there are none."""
        for name in [n for n in self.nodes if not self.before[n] and self.kind(n) != "Input"]:
            shape = self.entry_shape(name)
            if shape is None:
                raise InputError(f"nothing reaches the node {name!r}, and its shape is not known; add an Input node.")
            self.insert(name, f"input_{name}", Node("Input", {"shape": np.array(shape)}), [], [name])
        if not any(node.kind == "Output" for node in self.nodes.values()):
            for name in [n for n in self.nodes if not self.after[n]]:
                self.insert(name, f"output_{name}", Node("Output", {}), [name], [])
        ends = [n for n in self.nodes if not self.after[n] and (self.is_map(n) or self.kind(n) == "Input")]
        if ends:
            raise InputError(f"the node {ends[0]!r} leads nowhere; connect it to an Output or take it out.")
        if not any(node.kind == "Output" for node in self.nodes.values()):
            raise InputError(
                "the graph has no Output, and no node that leads nowhere could be one; add an Output node."
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

    def set_apart(self, name: str) -> None:
        """Put relays around a map so that it has one way in and one way out, and where a delay needs them."""
        into, out_of = len(self.before[name]) > 1, len(self.after[name]) > 1
        if self.kind(name) == "Delay":
            each = not uniform(self.nodes[name].numbers("delay"))
            # What a bias before the delay adds arrives late as well.
            into = into or self.has_bias(name) or (each and self.is_map(self.before[name][0]))
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
        """Whether a map on the one way into `name` adds a constant."""
        met = {name}
        while len(self.before[name]) == 1 and self.is_map(self.before[name][0]) and self.before[name][0] not in met:
            (name,) = self.before[name]
            met.add(name)
            if "bias" in self.nodes[name].fields and bool(np.any(self.nodes[name].numbers("bias"))):
                return True
        return False

    def leads_to_matrix(self, name: str) -> bool:
        """Whether a matrix that nothing else reaches comes next."""
        after = self.after[name]
        return len(after) == 1 and self.kind(after[0]) in ("Linear", "Affine") and len(self.before[after[0]]) == 1

    def relay(self, name: str, before: list[str], after: list[str]) -> str:
        while name in self.nodes:
            name += "_"
        self.nodes[name] = Node(RELAY, {})
        self.before[name], self.after[name] = list(before), list(after)
        return name

    def output(self, name: str) -> str:
        """Return the population that an output node reads; a relay takes its place where there is none such."""
        before = self.before[name]
        if self.after[name]:
            raise InputError(f"node {name!r} is an Output and sends nothing; an edge leads to {self.after[name]}.")
        if len(before) == 1 and self.kind(before[0]) in (RELAY, *NEURONS):
            self.after[before[0]].remove(name)
            self.before[name] = []
            return before[0]
        self.nodes[name] = Node(RELAY, {})
        return name

    def chain(self, source: str, target: str) -> Chain:
        maps: list[str] = []
        while self.is_map(source):
            maps.append(source)
            (source,) = self.before[source]
        return Chain(source, target, tuple(reversed(maps)))
