"""Integer values of one neuron's step: operations that every language with integers has."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

LEAVES = frozenset({"constant", "table", "input", "state"})
COMPARISONS = frozenset({"gt", "ge", "lt", "le", "eq"})


@dataclasses.dataclass(frozen=True, eq=False)
class Node:
    """One integer, or one truth value.

    Attributes
    ----------
    op : str
        ``constant``, ``table`` (a number of each neuron), ``input``, ``state``; ``add``, ``sub``, ``mul``, ``neg``,
        ``abs``, ``max``, ``min``; ``quotient`` and ``remainder`` of a division by a power of two that rounds toward
        zero, ``floor`` of the same division; ``over``, a division by an integer above 0 rounded down;
        ``select``; the comparisons.
    args : tuple of Node
    payload : int, str or None
        A constant's value, a leaf's name, or the exponent of the power of two.
    """

    op: str
    args: tuple[Node, ...] = ()
    payload: int | str | None = None

    @property
    def is_boolean(self) -> bool:
        """Whether it is a truth value."""
        return self.op in COMPARISONS

    def __repr__(self) -> str:
        if self.op in LEAVES:
            return str(self.payload)
        exponent = "" if self.payload is None else f", {self.payload}"
        return f"{self.op}({', '.join(map(repr, self.args))}{exponent})"


class Graph:
    """The nodes of a step; equal ones are one object."""

    def __init__(self) -> None:
        self._made: dict[tuple[object, ...], Node] = {}

    def make(self, op: str, *args: Node, payload: int | str | None = None) -> Node:
        """Return the node `op(*args)`, the existing one if there is one."""
        key = (op, tuple(map(id, args)), payload)
        return self._made.setdefault(key, Node(op, args, payload))

    def constant(self, value: int) -> Node:
        """Return a constant."""
        return self.make("constant", payload=value)

    def table(self, name: str) -> Node:
        """Return the number that each neuron has in the table `name`."""
        return self.make("table", payload=name)

    def scaled(self, node: Node, exponent: int) -> Node:
        """Return `node` times two to `exponent`, from 0."""
        if exponent == 0:
            return node
        if node.op == "constant":
            return self.constant(int(node.payload) << exponent)  # type: ignore[arg-type]
        return self.make("mul", node, self.constant(1 << exponent))


def ordered(outputs: Iterable[Node]) -> list[Node]:
    """Return all nodes that `outputs` depend on, operands first, each once."""
    order: dict[int, Node] = {}

    def visit(node: Node) -> None:
        if id(node) not in order:
            for operand in node.args:
                visit(operand)
            order[id(node)] = node

    for output in outputs:
        visit(output)
    return list(order.values())
