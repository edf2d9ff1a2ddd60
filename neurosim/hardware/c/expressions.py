"""One neuron's step in C: every value a variable of 32 bits, or of 64 where its range needs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from neurosim.compiler.integers import IntegerStep, Node
from neurosim.compiler.integers.ranges import Range

_COMPARE = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "eq": "=="}
_ARITHMETIC = {"add": "+", "sub": "-", "mul": "*"}
_WIDTHS = (8, 16, 32, 64)


def stored_type(held: Range) -> str:
    """Return the narrowest signed type of C that holds a range."""
    for width in _WIDTHS:
        if -(1 << (width - 1)) <= held.low and held.high < 1 << (width - 1):
            return f"int{width}_t"
    raise AssertionError(held)


def constant_type(held: Range) -> str:
    """Return the narrowest type of C that holds a range, without a sign where nothing is below 0."""
    return next((f"uint{w}_t" for w in _WIDTHS if held.low >= 0 and held.high < 1 << w), None) or stored_type(held)


def bytes_of(kind: str) -> int:
    """Return the bytes of a type such as ``int16_t``."""
    return int(kind.strip("uint_")) // 8


def computed_type(held: Range) -> str:
    """Return the type that values of a range are computed in."""
    return "int64_t" if bytes_of(stored_type(held)) == 8 else "int32_t"


def literal(value: int) -> str:
    """Return an integer as C writes it."""
    if value < 0:
        return f"(-{literal(-value)})" if value > -(1 << 31) else f"(-{literal(-value - 1)} - 1)"
    return str(value) if value < 1 << 31 else f"INT64_C({value})"


class StepInC:
    """The lines that compute a step, and the variables that hold its values.

    Parameters
    ----------
    step : IntegerStep
    leaves : mapping of (str, str) to str
        Expressions of inputs, states and tables by operation and name, each of its computed type.
    """

    def __init__(self, step: IntegerStep, leaves: Mapping[tuple[str, str], str]) -> None:
        self._step, self._leaves = step, leaves
        self._names: dict[int, str] = {}
        self.lines: list[str] = []
        for node in step.order:
            if node.op == "constant":
                self._names[id(node)] = literal(int(node.payload or 0))
            elif not node.args:
                self._assign(node, self._type(node), f"({self._type(node)}){leaves[node.op, str(node.payload)]}")
            elif node.is_boolean:
                self._assign(node, "int", self._comparison(node))
            else:
                self._assign(node, self._type(node), self._expression(node))

    def value(self, node: Node) -> str:
        """Return the variable, or the number, of a node."""
        return self._names[id(node)]

    def type_of(self, node: Node) -> str:
        """Return the type of its variable."""
        return self._type(node)

    def _assign(self, node: Node, kind: str, text: str) -> None:
        name = f"x{len(self.lines)}"
        self.lines.append(f"const {kind} {name} = {text};")
        self._names[id(node)] = name

    def _type(self, node: Node) -> str:
        return computed_type(self._step.ranges[id(node)])

    def _widest(self, nodes: Sequence[Node]) -> str:
        return max((self._type(each) for each in nodes), key=bytes_of)

    def _operand(self, node: Node, kind: str) -> str:
        name = self.value(node)
        return name if node.op == "constant" or self._type(node) == kind else f"({kind}){name}"

    def _comparison(self, node: Node) -> str:
        kind = self._widest(node.args)
        a, b = (self._operand(each, kind) for each in node.args)
        return f"{a} {_COMPARE[node.op]} {b}"

    def _expression(self, node: Node) -> str:
        kind = self._type(node)
        operands = [each for each in node.args if not each.is_boolean]
        wide = self._widest([*operands, node])
        if node.op in ("quotient", "remainder", "floor") and int(node.payload or 0) > 30:
            wide = "int64_t"  # the divisor needs it
        text = self._text(node, [self._operand(each, wide) for each in operands], wide)
        return text if wide == kind else f"({kind})({text})"

    def _text(self, node: Node, of: Sequence[str], kind: str) -> str:
        op = node.op
        if op in _ARITHMETIC:
            return f"{of[0]} {_ARITHMETIC[op]} {of[1]}"
        if op == "neg":
            return f"-{of[0]}"
        if op == "abs":
            return f"{of[0]} < 0 ? -{of[0]} : {of[0]}"
        if op == "max":
            return f"{of[0]} > {of[1]} ? {of[0]} : {of[1]}"
        if op == "min":
            return f"{of[0]} < {of[1]} ? {of[0]} : {of[1]}"
        if op == "select":
            return f"{self.value(node.args[0])} ? {of[0]} : {of[1]}"
        if op == "over":
            return _divided_down(of[0], of[1], self._step.ranges[id(node.args[0])])
        divisor = literal(1 << int(node.payload or 0))
        if op == "quotient":
            return f"{of[0]} / {divisor}"
        if op == "remainder":
            return f"{of[0]} % {divisor}"
        return rounded_down(of[0], int(node.payload or 0), self._step.ranges[id(node.args[0])])


def rounded_down(value: str, exponent: int, held: Range) -> str:
    """Return a value over two to `exponent`, rounded down; a shift of a negative number is not defined in C."""
    return _divided_down(value, literal(1 << exponent), held)


def _divided_down(value: str, divisor: str, held: Range) -> str:
    if held.low >= 0:
        return f"{value} / {divisor}"
    return f"({value} >= 0 ? {value} / {divisor} : -1 - (-1 - {value}) / {divisor})"
