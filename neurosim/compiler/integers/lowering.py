"""From a recorded step in floating point to integer arithmetic, exactly or not at all.

A core of integers writes shifts as products with powers of two and rounds with `trunc` and `floor`. Each value is
followed as an integer times a power of two, so that every step of the integer program has the same value. A positive
factor that is no such number, as in the argument of a surrogate, is kept beside the value: it decides no comparison
with 0.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from neurosim.compiler.integers.nodes import Graph, Node
from neurosim.compiler.program import Program
from neurosim.errors import InputError
from neurosim.language.expression import BOOLEAN, LEAVES, Expression, topological

MOST_FRACTION = 40  # bits after the point of a number that is used exactly
MOST_DIGITS = 2**31  # numerator of such a number
LARGEST = 2**53  # integers up to here are exact in double precision

Number = float | np.ndarray

ON_NUMBERS: dict[str, Any] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "neg": np.negative,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
    "abs": np.abs,
    "trunc": np.trunc,
    "floor": np.floor,
    "max": np.maximum,
    "min": np.minimum,
    "gt": np.greater,
    "ge": np.greater_equal,
    "lt": np.less,
    "le": np.less_equal,
    "eq": np.equal,
    "select": np.where,
    "detach": lambda a: a,
    "spike": lambda a: np.greater(a, 0.0).astype(float),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Scaled:
    """The value ``node 2^-exponent factor``; the factor is above 0."""

    node: Node
    exponent: int = 0
    factor: Number = 1.0

    @property
    def is_exact(self) -> bool:
        """Whether there is no factor."""
        return isinstance(self.factor, float) and self.factor == 1.0


@dataclasses.dataclass(frozen=True, eq=False)
class Lowered:
    """A step as integers.

    Attributes
    ----------
    name : str
        Of the core.
    graph : Graph
    inputs : tuple of str
    output : Node
    scale : float or numpy.ndarray
        The output of the core is `output` times this: 1 but for a membrane in units of its own.
    is_spiking : bool
        Whether the output is 0 or 1 by a threshold.
    states : mapping of str to Node
        New value of each state.
    tables : mapping of str to numpy.ndarray
        Numbers that each neuron has, int64, of shapes that broadcast against the population.
    """

    name: str
    graph: Graph
    inputs: tuple[str, ...]
    output: Node
    scale: Number
    is_spiking: bool
    states: Mapping[str, Node]
    tables: Mapping[str, np.ndarray]


def lower(program: Program, values: Mapping[str, Number]) -> Lowered:
    """Return the step of a core of integers as integer arithmetic.

    Parameters
    ----------
    program : Program
    values : mapping of str to float or numpy.ndarray
        Coefficients by name.

    Raises
    ------
    InputError
        When a value of the step is no integer, naming it.
    """
    return _Lowering(program, values).result()


class _Lowering:
    def __init__(self, program: Program, values: Mapping[str, Number]) -> None:
        self._program, self._given = program, {**program.numbers, **values}
        self._graph = Graph()
        self._tables: dict[str, np.ndarray] = {}
        self._of: dict[int, Number | Scaled | Node] = {}

    def result(self) -> Lowered:
        program = self._program
        for expression in topological([program.output, *program.state.values()]):
            self._of[id(expression)] = self._value(expression)
        output = self._number(program.output)
        states = {name: self._whole(new, name) for name, new in program.state.items()}
        scale = output.factor * 2.0**-output.exponent
        return Lowered(
            program.name, self._graph, program.inputs, output.node, scale, program.is_spiking, states, self._tables
        )

    def _whole(self, expression: Expression, name: str) -> Node:
        value = self._number(expression)
        if value.exponent or not value.is_exact:
            raise self._refused(f"the state {name!r} is {expression!r} after a step")
        return value.node

    def _value(self, expression: Expression) -> Number | Scaled | Node:
        op = expression.op
        if op == "constant":
            return float(expression.payload)
        if op == "parameter":
            return self._given[expression.payload]
        if op in LEAVES:
            return Scaled(self._graph.make(op, payload=expression.payload))
        operands = [self._of[id(each)] for each in expression.args]
        if all(isinstance(each, (float, np.ndarray)) for each in operands):
            found = ON_NUMBERS[op](*operands)
            return found if isinstance(found, np.ndarray) and found.ndim else float(found)
        if op == "detach":
            return operands[0]
        if op == "spike":
            return self._compared("gt", self._number(expression.args[0]), 0.0, expression)
        if op in BOOLEAN:
            a, b = (self._maybe_number(each) for each in expression.args)
            return self._compared(op, a, b, expression)
        if op == "select":
            return self._chosen(expression)
        if op == "floor" and expression.args[0].op == "div":
            return self._divided(expression.args[0])
        if op == "mul":
            return self._product(expression)
        if op == "div":
            return self._quotient(expression)
        return self._arithmetic(expression)

    def _arithmetic(self, expression: Expression) -> Scaled:
        op = expression.op
        values = [self._exact(each) for each in expression.args]
        if op in ("trunc", "floor"):
            (value,) = values
            kind = "quotient" if op == "trunc" else "floor"
            node = value.node
            return Scaled(self._graph.make(kind, node, payload=value.exponent) if value.exponent else node)
        if op in ("neg", "abs"):
            return Scaled(self._graph.make(op, values[0].node), values[0].exponent)
        if op not in ("add", "sub", "max", "min"):
            raise self._refused(f"it computes {expression!r}, a function that is no integer")
        a, b, exponent = self._aligned(*values)
        return Scaled(self._difference(a, b) if op == "sub" else self._graph.make(op, a, b), exponent)

    def _difference(self, a: Node, b: Node) -> Node:
        """Return ``a - b``, as a remainder where b is a rounded down to a multiple of a power of two."""
        if b.op == "mul" and b.args[0].op == "quotient" and b.args[0].args[0] is a:
            exponent = int(b.args[0].payload or 0)
            if b.args[1].op == "constant" and b.args[1].payload == 1 << exponent:
                return self._graph.make("remainder", a, payload=exponent)
        return self._graph.make("sub", a, b)

    def _aligned(self, a: Scaled, b: Scaled) -> tuple[Node, Node, int]:
        exponent = max(a.exponent, b.exponent)
        return (
            self._graph.scaled(a.node, exponent - a.exponent),
            self._graph.scaled(b.node, exponent - b.exponent),
            exponent,
        )

    def _compared(self, op: str, a: Scaled | Number, b: Scaled | Number, expression: Expression) -> Node:
        for one, other, turned in ((a, b, False), (b, a, True)):
            if isinstance(one, Scaled) and not one.is_exact:
                if isinstance(other, Scaled) or np.any(other):
                    raise self._refused(f"it compares {expression!r}, which are no integers")
                operands = (one.node, self._graph.constant(0))
                return self._comparison(op, *(reversed(operands) if turned else operands))
        first, second, _ = self._aligned(self._as_scaled(a, expression), self._as_scaled(b, expression))
        return self._comparison(op, first, second)

    def _comparison(self, op: str, a: Node, b: Node) -> Node:
        """Return the comparison; that of a difference with 0 compares its operands, which reach less far."""
        if b.op == "constant" and b.payload == 0 and a.op == "sub":
            a, b = a.args
        return self._graph.make(op, a, b)

    def _chosen(self, expression: Expression) -> Scaled:
        condition = self._of[id(expression.args[0])]
        if not isinstance(condition, Node):
            number = self._as_scaled(condition, expression)
            condition = self._graph.make("gt", number.node, self._graph.constant(0))
        a, b = (self._number(each) for each in expression.args[1:])
        if not (a.is_exact and b.is_exact):
            raise self._refused(f"it chooses {expression!r}, which are no integers")
        first, second, exponent = self._aligned(a, b)
        return Scaled(self._graph.make("select", condition, first, second), exponent)

    def _product(self, expression: Expression) -> Scaled:
        a, b = (self._maybe_number(each) for each in expression.args)
        if isinstance(a, Scaled) and isinstance(b, Scaled):
            if not (a.is_exact and b.is_exact):
                raise self._refused(f"it computes {expression!r}, which is no integer")
            return Scaled(self._graph.make("mul", a.node, b.node), a.exponent + b.exponent)
        value, number = (a, b) if isinstance(a, Scaled) else (b, a)
        assert isinstance(value, Scaled) and not isinstance(number, Scaled)
        return self._times(value, number, expression)

    def _quotient(self, expression: Expression) -> Scaled:
        a, b = (self._maybe_number(each) for each in expression.args)
        if isinstance(a, Scaled) and not isinstance(b, Scaled) and np.all(np.asarray(b) != 0):
            return self._times(a, np.divide(1.0, b) if isinstance(b, np.ndarray) else 1.0 / b, expression)
        raise self._refused(f"it divides: {expression!r}")

    def _divided(self, division: Expression) -> Scaled:
        """Return the floor of a quotient of integers: exact in floating point too, up to 53 bits."""
        value, by = (self._maybe_number(each) for each in division.args)
        exact = None if isinstance(by, Scaled) else _as_integers(by)
        if exact is None or exact[1] or (exact[0] <= 0).any() or not isinstance(value, Scaled):
            raise self._refused(f"it divides: {division!r}")
        number = self._exact(division.args[0])
        divisor = self._graph.scaled(self._constant_or_table(exact[0], division.args[1]), number.exponent)
        return Scaled(self._graph.make("over", number.node, divisor))

    def _times(self, value: Scaled, number: Number, expression: Expression) -> Scaled:
        """Return the value times a number: exactly, or with the number as a factor beside it."""
        exact = _as_integers(number)
        if exact is None:
            if np.any(np.asarray(number) <= 0.0):
                raise self._refused(f"it computes {expression!r}, which is no integer")
            return dataclasses.replace(value, factor=value.factor * number)
        integers, exponent = exact
        exponent += value.exponent
        if integers.ndim == 0 and int(integers) > 0:
            cancelled = min((int(integers) & -int(integers)).bit_length() - 1, exponent)
            integers, exponent = integers >> cancelled, exponent - cancelled
        factor = self._constant_or_table(integers, expression)
        one = factor.op == "constant" and factor.payload == 1
        return Scaled(value.node if one else self._graph.make("mul", value.node, factor), exponent, value.factor)

    def _exact(self, expression: Expression) -> Scaled:
        value = self._number(expression)
        if not value.is_exact:
            raise self._refused(f"it computes with {expression!r}, which is no integer")
        return value

    def _number(self, expression: Expression) -> Scaled:
        return self._as_scaled(self._maybe_number(expression), expression)

    def _maybe_number(self, expression: Expression) -> Scaled | Number:
        """Return a value that is a number; a comparison counts 1 or 0."""
        value = self._of[id(expression)]
        if isinstance(value, Node):
            return Scaled(self._graph.make("select", value, self._graph.constant(1), self._graph.constant(0)))
        return value

    def _as_scaled(self, value: Scaled | Number | Node, expression: Expression) -> Scaled:
        if isinstance(value, Scaled):
            return value
        exact = None if isinstance(value, Node) else _as_integers(value)
        if exact is None:
            raise self._refused(f"it takes {expression!r}, which is {value!r} and no integer")
        integers, exponent = exact
        return Scaled(self._constant_or_table(integers, expression), exponent)

    def _constant_or_table(self, integers: np.ndarray, expression: Expression) -> Node:
        if integers.size and (integers == integers.flat[0]).all():
            return self._graph.constant(int(integers.flat[0]))
        for name, known in self._tables.items():
            if known.shape == integers.shape and np.array_equal(known, integers):
                return self._graph.table(name)
        leaves = [leaf.payload for leaf in topological([expression]) if leaf.op == "parameter"]
        stem = next((each for each in leaves if np.ndim(self._given[each])), "number")
        name = stem if stem not in self._tables else f"{stem}_{len(self._tables)}"
        self._tables[name] = integers
        return self._graph.table(name)

    def _refused(self, what: str) -> InputError:
        return InputError(
            f"core {self._program.name}: {what}. Integer arithmetic needs integers in every step: use a core of "
            "integers such as loihi, or quantise the network."
        )


def _as_integers(number: Number) -> tuple[np.ndarray, int] | None:
    """Return integers and the exponent for which the numbers are integers times ``2^-exponent``; None for others."""
    values = np.asarray(number, dtype=np.float64)
    if not np.isfinite(values).all():
        return None
    exponent = 0
    for value in np.unique(values):
        _, denominator = float(value).as_integer_ratio()
        exponent = max(exponent, denominator.bit_length() - 1)
    if exponent > MOST_FRACTION:
        return None
    scaled = values * math.ldexp(1.0, exponent)
    if np.abs(scaled).max(initial=0.0) >= (MOST_DIGITS if exponent else LARGEST):
        return None
    return scaled.astype(np.int64), exponent
