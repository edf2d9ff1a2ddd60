"""One neuron's step in Verilog: each operation has a register, and all settle after as many cycles as it is deep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from neurosim.compiler.integers import IntegerStep, Node
from neurosim.compiler.integers.ranges import Range

_COMPARE = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "eq": "=="}
_ARITHMETIC = {"add": "+", "sub": "-", "mul": "*"}


def width_of(held: Range) -> int:
    """Return the bits of a signed register that holds a range."""
    return max((-held.low - 1).bit_length() if held.low < 0 else 0, max(held.high, 0).bit_length()) + 1


def address_width(size: int) -> int:
    """Return the bits of an unsigned register that counts from 0 to `size`, which is included."""
    return max(size.bit_length(), 1)


def literal(value: int) -> str:
    """Return an integer as a signed number of Verilog."""
    width = width_of(Range(min(value, 0), max(value, 0)))
    return f"{width}'sd{value}" if value >= 0 else f"(-{width + 1}'sd{-value})"


class StepInVerilog:
    """The registers that compute a step.

    A register takes its value in every cycle. The inputs of a step are constant until it is written back, so that a
    value of depth d is right d cycles after them; no register needs an enable.

    Parameters
    ----------
    step : IntegerStep
    prefix : str
        Of all names.
    leaves : mapping of (str, str) to (str, int)
        Name and depth of each input, state and table, signed.
    """

    def __init__(self, step: IntegerStep, prefix: str, leaves: Mapping[tuple[str, str], tuple[str, int]]) -> None:
        self._step, self._prefix = step, prefix
        self._names: dict[int, str] = {}
        self._depths: dict[int, int] = {}
        self.declarations: list[str] = []
        self.assignments: list[str] = []
        for node in step.order:
            if node.op == "constant":
                self._names[id(node)], self._depths[id(node)] = literal(int(node.payload or 0)), 0
            elif not node.args:
                self._names[id(node)], self._depths[id(node)] = leaves[node.op, str(node.payload)]
            else:
                self._register(node)

    @property
    def depth(self) -> int:
        """Cycles after which all values are right."""
        return max(self._depths.values(), default=0)

    def value(self, node: Node) -> str:
        """Return the register, or the number, of a node."""
        return self._names[id(node)]

    def _register(self, node: Node) -> None:
        name = f"{self._prefix}{len(self.declarations)}"
        width = 1 if node.is_boolean else width_of(self._step.ranges[id(node)])
        kind = "reg" if node.is_boolean else f"reg signed [{width - 1}:0]"
        self.declarations.append(f"{kind} {name};")
        self.assignments.append(f"{name} <= {self._text(node)};")
        self._names[id(node)] = name
        self._depths[id(node)] = 1 + max(self._depths[id(each)] for each in node.args)

    def _text(self, node: Node) -> str:
        op, of = node.op, [self._names[id(each)] for each in node.args]
        exponent = int(node.payload or 0) if node.op in ("quotient", "remainder", "floor") else 0
        if node.is_boolean:
            return f"{of[0]} {_COMPARE[op]} {of[1]}"
        if op in _ARITHMETIC:
            return f"{of[0]} {_ARITHMETIC[op]} {of[1]}"
        if op == "over":
            above = f"{of[0]} / {of[1]}"
            is_above = self._step.ranges[id(node.args[0])].low >= 0
            return above if is_above else f"({of[0]} >= 0) ? {above} : -2'sd1 - (-2'sd1 - {of[0]}) / {of[1]}"
        if op == "neg":
            return f"-{of[0]}"
        if op == "abs":
            return f"({of[0]} < 0) ? -{of[0]} : {of[0]}"
        if op in ("max", "min"):
            return f"({of[0]} {'>' if op == 'max' else '<'} {of[1]}) ? {of[0]} : {of[1]}"
        if op == "select":
            return f"{of[0]} ? {of[1]} : {of[2]}"
        return self._divided(op, of[0], exponent, width_of(self._step.ranges[id(node.args[0])]))

    @staticmethod
    def _divided(op: str, value: str, exponent: int, width: int) -> str:
        if op == "floor":
            return f"{value} >>> {exponent}"
        if exponent >= width:  # no bit is left above the remainder
            return value if op == "remainder" else "1'sd0"
        sign, low = f"{value}[{width - 1}]", f"{value}[{exponent - 1}:0]"
        inexact = f"({sign} & (|{low}))"  # below 0 and no multiple: rounding down is one too low
        if op == "remainder":
            return f"$signed({{{inexact}, {low}}})"
        return f"$signed({value}[{width - 1}:{exponent}]) + $signed({{1'b0, {inexact}}})"


def sum_of(names: Sequence[str]) -> str:
    """Return a sum."""
    return " + ".join(names)
