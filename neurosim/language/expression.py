"""The arithmetic of one time step as a graph, recorded by running a step function on symbols."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from typing import Any, Protocol

from neurosim.errors import InputError

BOOLEAN = frozenset({"gt", "ge", "lt", "le", "eq"})
LEAVES = frozenset({"input", "state", "parameter", "cotangent", "constant"})


class SpikeDerivative(Protocol):
    """The surrogate of a recorded spike; `Surrogate` is one."""

    @property
    def derivative(self) -> Any:
        """The derivative of the spike, a function of the distance to threshold."""

    @property
    def support(self) -> float:
        """Distance from which on the derivative is zero."""


class Expression:
    """One value in a recorded step: an operation on other values, or a leaf.

    Expressions are made by running a step function on symbols. The usual operators work; equal expressions of one
    `Trace` are the same object.

    Attributes
    ----------
    op : str
        Operation (``add``, ``mul``, ``spike`` ...) or kind of leaf (``input``, ``state``, ``parameter``,
        ``cotangent``, ``constant``).
    args : tuple of Expression
        Operands.
    payload : str, float, Surrogate or None
        Name of a leaf, value of a constant, surrogate of a spike.
    number : int
        Number of expressions that the trace made before this one.
    is_number : bool
        Whether this value is a plain number when the step function runs on tensors.
    label : str or None
        Name of the local variable that held this value in the step function.
    """

    __slots__ = ("args", "is_number", "label", "number", "op", "payload", "trace")

    def __init__(self, trace: Trace, op: str, args: tuple[Expression, ...], payload: Any, number: int) -> None:
        self.trace = trace
        self.op = op
        self.args = args
        self.payload = payload
        self.number = number
        leaf_number = op == "constant" or (op == "parameter" and payload not in trace.per_neuron)
        self.is_number: bool = leaf_number if op in LEAVES else all(arg.is_number for arg in args)
        self.label: str | None = None

    def _with(self, op: str, other: Expression | float, swapped: bool = False) -> Expression:
        rhs = self.trace.lift(other)
        return self.trace.make(op, rhs, self) if swapped else self.trace.make(op, self, rhs)

    def __add__(self, other: Expression | float) -> Expression:
        return self._with("add", other)

    def __radd__(self, other: float) -> Expression:
        return self._with("add", other, swapped=True)

    def __sub__(self, other: Expression | float) -> Expression:
        return self._with("sub", other)

    def __rsub__(self, other: float) -> Expression:
        return self._with("sub", other, swapped=True)

    def __mul__(self, other: Expression | float) -> Expression:
        return self._with("mul", other)

    def __rmul__(self, other: float) -> Expression:
        return self._with("mul", other, swapped=True)

    def __truediv__(self, other: Expression | float) -> Expression:
        return self.trace.divide(self, self.trace.lift(other))

    def __rtruediv__(self, other: float) -> Expression:
        return self.trace.divide(self.trace.lift(other), self)

    def __neg__(self) -> Expression:
        return self.trace.make("neg", self)

    def __pow__(self, exponent: int) -> Expression:
        if not isinstance(exponent, int) or exponent < 1:
            raise InputError(
                f"a power in a step function must be an integer from 1; got {exponent!r}. Write exp(p * log(x))."
            )
        result = self
        for _ in range(exponent - 1):
            result = result * self
        return result

    def __gt__(self, other: Expression | float) -> Expression:
        return self._with("gt", other)

    def __ge__(self, other: Expression | float) -> Expression:
        return self._with("ge", other)

    def __lt__(self, other: Expression | float) -> Expression:
        return self._with("lt", other)

    def __le__(self, other: Expression | float) -> Expression:
        return self._with("le", other)

    def __bool__(self) -> bool:
        raise InputError(
            "a step function cannot branch on a neuron's value with `if`, `and`, `or`; write where(condition, a, b)."
        )

    @property
    def is_boolean(self) -> bool:
        """Whether the value is true or false."""
        return self.op in BOOLEAN

    @property
    def is_binary(self) -> bool:
        """Whether the value is a hard spike: exactly 0 or 1."""
        return self.op == "spike" or (self.op == "detach" and self.args[0].is_binary)

    def __repr__(self) -> str:
        if self.op in LEAVES:
            return str(self.payload)
        return f"{self.op}({', '.join(map(repr, self.args))})"


class Trace:
    """The expressions of one recording; equal ones are one object.

    Parameters
    ----------
    per_neuron : tuple of str
        Parameters that are tensors; the others are plain numbers.
    """

    def __init__(self, per_neuron: tuple[str, ...] = ()) -> None:
        self.per_neuron = per_neuron
        self._made: dict[tuple[Any, ...], Expression] = {}

    def make(self, op: str, *args: Expression, payload: Any = None) -> Expression:
        """Return the expression `op(*args)`, the existing one if there is one."""
        key = (op, tuple(id(arg) for arg in args), payload)
        if key not in self._made:
            self._made[key] = Expression(self, op, args, payload, len(self._made))
        return self._made[key]

    def leaf(self, kind: str, name: str) -> Expression:
        """Return the leaf of this kind and name."""
        return self.make(kind, payload=name)

    def lift(self, value: Expression | float | int) -> Expression:
        """Return `value` as an expression of this trace."""
        if isinstance(value, Expression):
            return value
        if isinstance(value, (int, float)):
            return self.make("constant", payload=float(value))
        raise InputError(
            f"a step function may use numbers and its own arguments; got {type(value).__name__} {value!r}."
        )

    def divide(self, a: Expression, b: Expression) -> Expression:
        """Return ``a / b`` as torch computes it: a number over a tensor is the reciprocal times the number."""
        if not a.is_number or b.is_number:
            return self.make("div", a, b)
        reciprocal = self.make("div", self.lift(1.0), b)
        return reciprocal if a.op == "constant" and a.payload == 1.0 else reciprocal * a

    def spike(self, x: Expression, surrogate: SpikeDerivative) -> Expression:
        """Return the spike of `x` (1 where x > 0), whose derivative is `surrogate`."""
        return self.make("spike", x, payload=surrogate)

    def select(self, condition: Expression, a: Expression | float, b: Expression | float) -> Expression:
        """Return `a` where `condition` holds, else `b`."""
        return self.make("select", condition, self.lift(a), self.lift(b))


def topological(outputs: Iterable[Expression], given: Container[int] = ()) -> list[Expression]:
    """Return every expression that `outputs` depend on, operands first, each once.

    Parameters
    ----------
    outputs : iterable of Expression
        Values to compute.
    given : container of int
        ``id`` of each value that is available: returned, but not its operands.
    """
    order: list[Expression] = []
    seen: set[int] = set()

    def operands(node: Expression) -> Iterator[Expression]:
        return iter(() if id(node) in given else node.args)

    for output in outputs:
        stack: list[tuple[Expression, Iterator[Expression]]] = []
        if id(output) not in seen:
            seen.add(id(output))
            stack.append((output, operands(output)))
        while stack:
            node, rest = stack[-1]
            for operand in rest:
                if id(operand) not in seen:
                    seen.add(id(operand))
                    stack.append((operand, operands(operand)))
                    break
            else:
                order.append(node)
                stack.pop()
    return order
