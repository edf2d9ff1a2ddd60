"""The smallest and the largest integer that each value of a step can be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from neurosim.compiler.integers.nodes import Node


class Range(NamedTuple):
    """Integers from `low` to `high`; none where `low` is above `high`."""

    low: int
    high: int

    def joined(self, other: Range) -> Range:
        """Return the smallest range that holds both."""
        return Range(min(self.low, other.low), max(self.high, other.high))

    def cut(self, other: Range) -> Range:
        """Return what both hold."""
        return Range(max(self.low, other.low), min(self.high, other.high))

    def holds(self, other: Range) -> bool:
        """Whether this range holds all of the other."""
        return self.low <= other.low and other.high <= self.high

    @property
    def is_empty(self) -> bool:
        """Whether it holds no integer."""
        return self.low > self.high

    @property
    def size(self) -> int:
        """The largest absolute value."""
        return max(abs(self.low), abs(self.high))


_NEVER = Range(1, 0)
_INVERSE = {"gt": "le", "le": "gt", "ge": "lt", "lt": "ge"}


def truncated(value: int, exponent: int) -> int:
    """Return ``value / 2^exponent`` rounded toward zero."""
    return value >> exponent if value >= 0 else -(-value >> exponent)


class Ranges:
    """Ranges of nodes by interval arithmetic; a branch of a choice is computed where its condition holds.

    Parameters
    ----------
    leaves : mapping of (str, str) to Range
        Of inputs, states and tables, by operation and name.
    known : mapping of int to Range
        Of nodes by id, from conditions that hold.
    """

    def __init__(self, leaves: Mapping[tuple[str, str], Range], known: Mapping[int, Range] | None = None) -> None:
        self._leaves = leaves
        self._known = dict(known or {})
        self._found: dict[int, tuple[Node, Range]] = {}

    def __call__(self, node: Node) -> Range:
        """Return the range of a node that is no truth value."""
        if id(node) not in self._found:
            found = self._of(node)
            if id(node) in self._known:
                found = found.cut(self._known[id(node)])
            self._found[id(node)] = (node, found)
        return self._found[id(node)][1]

    def decided(self, condition: Node) -> bool | None:
        """Return whether a comparison always or never holds; None where it depends."""
        if self._assuming(condition, True) is None:
            return False
        return True if self._assuming(condition, False) is None else None

    def _assuming(self, condition: Node, holds: bool) -> Ranges | None:
        """Return the ranges where a comparison holds, or does not; None where that cannot be."""
        a, b = condition.args
        one, other = self(a), self(b)
        op = condition.op
        if op == "eq":
            if not holds:
                return None if one.low == one.high == other.low == other.high else self
            one = other = one.cut(other)
        else:
            op = op if holds else _INVERSE[op]
            if op in ("lt", "le"):
                gap = int(op == "lt")
                one, other = one.cut(Range(one.low, other.high - gap)), other.cut(Range(one.low + gap, other.high))
            else:
                gap = int(op == "gt")
                one, other = one.cut(Range(other.low + gap, one.high)), other.cut(Range(other.low, one.high - gap))
        if one.is_empty or other.is_empty:
            return None
        return Ranges(self._leaves, {**self._known, id(a): one, id(b): other})

    def _of(self, node: Node) -> Range:
        op, exponent = node.op, node.payload
        if op == "constant":
            return Range(int(node.payload or 0), int(node.payload or 0))
        if op in ("input", "state", "table"):
            return self._leaves[op, str(node.payload)]
        if op == "select":
            parts = [
                ranges(branch)
                for holds, branch in zip((True, False), node.args[1:], strict=True)
                if (ranges := self._assuming(node.args[0], holds)) is not None
            ]
            parts = [part for part in parts if not part.is_empty]
            return parts[0].joined(parts[-1]) if parts else _NEVER
        of = [self(each) for each in node.args]
        if any(each.is_empty for each in of):
            return _NEVER
        a, b = of[0], of[-1]
        if op in ("quotient", "floor"):
            rounded = truncated if op == "quotient" else int.__rshift__
            return Range(rounded(a.low, int(exponent or 0)), rounded(a.high, int(exponent or 0)))
        if op == "remainder":
            most = (1 << int(exponent or 0)) - 1
            return Range(max(-most, a.low) if a.low < 0 else 0, min(most, a.high) if a.high > 0 else 0)
        if op == "add":
            return Range(a.low + b.low, a.high + b.high)
        if op == "sub":
            return self._wrapped(node, Range(a.low - b.high, a.high - b.low))
        if op == "mul":
            products = [x * y for x in a for y in b]
            return Range(min(products), max(products))
        if op == "over":
            ends = [x // y for x in a for y in b]
            return Range(min(ends), max(ends))
        if op == "neg":
            return Range(-a.high, -a.low)
        if op == "abs":
            return Range(0 if a.low <= 0 <= a.high else min(abs(a.low), abs(a.high)), a.size)
        chosen = max if op == "max" else min
        return Range(chosen(a.low, b.low), chosen(a.high, b.high))

    @staticmethod
    def _wrapped(node: Node, found: Range) -> Range:
        """Return the range of a difference; a value less the turns of its register lies in the register."""
        value, turns = node.args
        if turns.op == "mul" and turns.args[0].op == "floor" and turns.args[1].op == "constant":
            exponent, shifted = int(turns.args[0].payload or 0), turns.args[0].args[0]
            is_turn = turns.args[1].payload == 1 << exponent
            if is_turn and shifted.op == "add" and shifted.args[0] is value and shifted.args[1].op == "constant":
                half = int(shifted.args[1].payload or 0)
                return found.cut(Range(-half, (1 << exponent) - half - 1))
        return found
