"""A step in integers with the range of each value, simplified by what the ranges rule out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from neurosim.compiler.integers.lowering import Lowered, Number
from neurosim.compiler.integers.nodes import Graph, Node, ordered
from neurosim.compiler.integers.ranges import Range, Ranges
from neurosim.errors import InputError

WIDEST = 62  # bits of the largest value


@dataclasses.dataclass(frozen=True, eq=False)
class IntegerStep:
    """One step of a population as integer arithmetic.

    Attributes
    ----------
    name : str
        Of the core.
    inputs : tuple of str
        Input ports.
    output : Node
    scale : float or numpy.ndarray
        The output of the core is `output` times this.
    is_spiking : bool
        Whether the output is 0 or 1.
    states : mapping of str to Node
        New value of each state.
    start : mapping of str to int
        Value of each state before the first step.
    tables : mapping of str to numpy.ndarray
        Numbers that each neuron has, those that are used.
    ranges : mapping of int to Range
        By the id of each node of `order`; truth values have none.
    state_ranges : mapping of str to Range
        Before and after any step.
    """

    name: str
    inputs: tuple[str, ...]
    output: Node
    scale: Number
    is_spiking: bool
    states: Mapping[str, Node]
    start: Mapping[str, int]
    tables: Mapping[str, np.ndarray]
    ranges: Mapping[int, Range]
    state_ranges: Mapping[str, Range]

    @property
    def order(self) -> list[Node]:
        """All values of the step, operands first."""
        return ordered((self.output, *self.states.values()))

    @property
    def output_range(self) -> Range:
        """The range of the output."""
        return self.ranges[id(self.output)]

    @property
    def operations(self) -> int:
        """Integer operations of one neuron's step, loads and stores aside."""
        return sum(bool(node.args) for node in self.order)


def integer_step(lowered: Lowered, inputs: Mapping[str, Range], start: Mapping[str, int]) -> IntegerStep:
    """Return a step for inputs of these ranges.

    Parameters
    ----------
    lowered : Lowered
    inputs : mapping of str to Range
        Of each input port.
    start : mapping of str to int
        Values of the states before the first step.

    Raises
    ------
    InputError
        When a value could need more than 63 bits.
    """
    leaves = {("table", name): Range(int(table.min()), int(table.max())) for name, table in lowered.tables.items()}
    leaves |= {("input", name): each for name, each in inputs.items()}
    states = _state_ranges(lowered, leaves, start)
    ranges = Ranges(leaves | {("state", name): each for name, each in states.items()})
    simple = _Simplified(lowered.graph, ranges)
    output = simple(lowered.output)
    new = {name: simple(node) for name, node in lowered.states.items()}
    values = ordered((output, *new.values()))
    found = {id(node): ranges(node) for node in values if not node.is_boolean}
    for node in values:
        if not node.is_boolean and found[id(node)].size >= 1 << WIDEST:
            raise _too_wide(lowered.name, repr(node), found[id(node)])
    used = {node.payload for node in values if node.op == "table"}
    return IntegerStep(
        name=lowered.name,
        inputs=lowered.inputs,
        output=output,
        scale=lowered.scale,
        is_spiking=lowered.is_spiking,
        states=new,
        start={name: int(start[name]) for name in new},
        tables={name: table for name, table in lowered.tables.items() if name in used},
        ranges=found,
        state_ranges=states,
    )


def _state_ranges(
    lowered: Lowered, leaves: Mapping[tuple[str, str], Range], start: Mapping[str, int]
) -> dict[str, Range]:
    """Return ranges that hold each state at any step: they hold its start, and the step leads from them into them."""
    first = {name: Range(int(start[name]), int(start[name])) for name in lowered.states}
    states = dict(first)
    while True:
        after = _after(lowered, leaves, states)
        if all(states[name].holds(each) for name, each in after.items()):
            break
        for name, each in after.items():
            if not states[name].holds(each):
                states[name] = _widened(states[name], each)
                if states[name].size > 1 << WIDEST:
                    raise _too_wide(lowered.name, f"the state {name}", each)
    for _ in range(2):  # the widened bounds are powers of two: what the step makes of them may be less
        after = _after(lowered, leaves, states)
        states = {name: states[name].cut(first[name].joined(each)) for name, each in after.items()}
    return states


def _after(lowered: Lowered, leaves: Mapping[tuple[str, str], Range], states: Mapping[str, Range]) -> dict[str, Range]:
    ranges = Ranges({**leaves, **{("state", name): each for name, each in states.items()}})
    return {name: ranges(node) for name, node in lowered.states.items()}


def _widened(known: Range, found: Range) -> Range:
    low = known.low if known.low <= found.low else -(1 << (-found.low - 1).bit_length()) if found.low < 0 else 0
    high = known.high if known.high >= found.high else (1 << found.high.bit_length()) - 1 if found.high > 0 else 0
    return Range(low, high)


def _too_wide(core: str, what: str, found: Range) -> InputError:
    return InputError(
        f"core {core}: {what} could reach {found.size}, more than {WIDEST} bits hold; use smaller weights or inputs, "
        "or a core that clips its state."
    )


class _Simplified:
    """Nodes without what their ranges rule out."""

    def __init__(self, graph: Graph, ranges: Ranges) -> None:
        self._graph, self._ranges = graph, ranges
        self._of: dict[int, Node] = {}

    def __call__(self, node: Node) -> Node:
        """Return a node with the same value, computed from less."""
        if id(node) not in self._of:
            self._of[id(node)] = self._simplified(node)
        return self._of[id(node)]

    def _simplified(self, node: Node) -> Node:
        if not node.is_boolean:
            low, high = self._ranges(node)
            if low == high:
                return self._graph.constant(low)
        if not node.args:
            return node
        if node.op == "select":
            holds = self._ranges.decided(node.args[0])
            if holds is not None:
                return self(node.args[1] if holds else node.args[2])
        args = [self(each) for each in node.args]
        if node.op in ("max", "min"):
            first, second = self._ranges(args[0]), self._ranges(args[1])
            above, below = (0, 1) if node.op == "max" else (1, 0)
            if first.low >= second.high:
                return args[above]
            if second.low >= first.high:
                return args[below]
        if node.op == "mul" and _is(args[1], 1):
            return args[0]
        if node.op in ("add", "sub") and _is(args[1], 0):
            return args[0]
        if node.op == "add" and _is(args[0], 0):
            return args[1]
        if node.op == "quotient" and args[0].op == "mul" and _is(args[0].args[1], 1 << int(node.payload or 0)):
            return args[0].args[0]
        if node.op == "add" and _are_parts(*args):
            return args[1].args[0]
        if node.op == "remainder" and self._ranges(args[0]).size < 1 << int(node.payload or 0):
            return args[0]
        if node.op == "abs" and self._ranges(args[0]).low >= 0:
            return args[0]
        return self._graph.make(node.op, *args, payload=node.payload)


def _is(node: Node, value: int) -> bool:
    return node.op == "constant" and node.payload == value


def _are_parts(multiple: Node, remainder: Node) -> bool:
    """Whether the first is a value rounded toward zero to a multiple of a power of two, and the second the rest."""
    if multiple.op != "mul" or multiple.args[0].op != "quotient" or remainder.op != "remainder":
        return False
    quotient, factor = multiple.args
    same = quotient.payload == remainder.payload and quotient.args[0] is remainder.args[0]
    return same and _is(factor, 1 << int(quotient.payload or 0))
