"""The arithmetic of one time step as a graph, recorded by running a step function on symbols."""

from __future__ import annotations

import contextlib
import numbers
import operator
from collections.abc import Callable, Container, Iterable, Iterator
from typing import Any, NoReturn, Protocol

import torch

from neurosim.errors import InputError

BOOLEAN = frozenset({"gt", "ge", "lt", "le", "eq"})
LEAVES = frozenset({"input", "state", "parameter", "cotangent", "constant"})
USE = (
    "A step function may use arithmetic, > >= < <= and these functions of neurosim.language: exp, log, sqrt, tanh, "
    "logistic, absolute, floor, trunc, maximum, minimum, where, detach."
)
# What stands for what a step function cannot use.
_INSTEAD = {
    "sigmoid": "logistic(x)",
    "relu": "maximum(x, 0.0)",
    "clamp": "minimum(maximum(x, low), high)",
    "clip": "minimum(maximum(x, low), high)",
    "floor": "floor(x) of neurosim.language, whose derivative is 1",
    "trunc": "trunc(x) of neurosim.language, whose derivative is 1",
    "round": "floor(x + 0.5)",
    "max": "maximum(a, b)",
    "min": "minimum(a, b)",
    "heaviside": "where(x > 0.0, 1.0, 0.0)",
    "pow": "x ** n with an integer n, or exp(p * log(x))",
}


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

    def __abs__(self) -> Expression:
        return self.trace.make("abs", self)

    def __bool__(self) -> bool:
        raise InputError(
            "a step function cannot branch on a neuron's value with `if`, `and`, `or`, `max` or `min`; write "
            "where(condition, a, b), maximum(a, b) or minimum(a, b)."
        )

    def __eq__(self, other: object) -> bool:
        if self.trace.is_recording:
            raise InputError(
                "a step function compares values with > >= < <=, not with == or !=: for integers write "
                "where(x >= k, where(x <= k, a, b), b)."
            )
        return self is other

    __hash__ = object.__hash__

    def __and__(self, *_: object) -> NoReturn:
        raise InputError(
            "a step function cannot join comparisons with & | ^ ~; write where(a, where(b, x, y), y) for x where both "
            "hold, where(a, x, where(b, x, y)) for x where one holds, where(a, y, x) for x where it does not hold."
        )

    __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = __invert__ = __and__

    def __float__(self, *_: object) -> NoReturn:
        raise InputError(
            f"a neuron's value is not a plain number: float(), int(), math.exp() and the like cannot take it. {USE}"
        )

    __int__ = __index__ = __complex__ = __round__ = __floor__ = __ceil__ = __trunc__ = __float__

    def __getitem__(self, *_: object) -> NoReturn:
        raise InputError("a step function computes one neuron: its values cannot be indexed or iterated over.")

    __len__ = __iter__ = __getitem__

    def __mod__(self, *_: object) -> NoReturn:
        raise InputError(
            "a step function has no %, //, @ and no number ** x; write x - n * floor(x / n) for a remainder, "
            "floor(x / n) for an integer quotient, exp(x * log(n)) for a power; a matrix is a synapse of the network."
        )

    __rmod__ = __floordiv__ = __rfloordiv__ = __divmod__ = __rdivmod__ = __matmul__ = __rmatmul__ = __rpow__ = __mod__

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise _unknown(f"x.{name}", name)

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], _: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Expression:
        """Return what a function of torch computes, if it computes the same on tensors, gradients included."""
        name = getattr(function, "__name__", str(function))
        trace = next(a.trace for a in args if isinstance(a, Expression))
        lifted = [trace.lift(a) for a in args if isinstance(a, (Expression, torch.Tensor, numbers.Real))]
        if function not in _OF_TORCH or kwargs or len(lifted) < len(args):
            raise _unknown(f"torch.{name}", name)
        if name == "where" and not lifted[0].is_boolean:
            raise InputError("torch.where needs a comparison; for a spike write where of neurosim.language.")
        needs_tensors = lifted if name in ("maximum", "minimum") else lifted[:1]
        plain = [each for each in needs_tensors if each.is_number]
        if name == "where" and all(each.is_number for each in lifted[1:]):
            plain = lifted[1:]
        if plain:
            raise InputError(
                f"torch.{name} does not take plain numbers, and {plain[0]!r} may be one; write the function of "
                f"neurosim.language of this name, which takes both. {USE}"
            )
        result: Expression = _OF_TORCH[function](trace, *lifted)
        return result

    def __array_ufunc__(self, function: Any, method: str, *args: Any, **kwargs: Any) -> Expression:
        """Return what an operator computes with a number of numpy; refuse numpy's functions."""
        name = function.__name__
        if method == "__call__" and name in _OPERATORS and not kwargs:
            first, second = (a if isinstance(a, Expression) else float(a) for a in args)
            result: Expression = _OPERATORS[name](first, second)
            return result
        raise _unknown(f"numpy.{name}", name)

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


def _unknown(what: str, name: str) -> InputError:
    instead = f" Write {_INSTEAD[name]}." if name in _INSTEAD else ""
    return InputError(f"a step function cannot use {what}.{instead} {USE}")


_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "sub": operator.sub,
    "multiply": operator.mul,
    "mul": operator.mul,
    "divide": operator.truediv,
    "true_divide": operator.truediv,
    "div": operator.truediv,
    "greater": operator.gt,
    "gt": operator.gt,
    "greater_equal": operator.ge,
    "ge": operator.ge,
    "less": operator.lt,
    "lt": operator.lt,
    "less_equal": operator.le,
    "le": operator.le,
}


def _of_torch() -> dict[Any, Callable[..., Expression]]:
    """Return functions of torch that compute, with their gradients, what an operation on symbols does."""
    table: dict[Any, Callable[..., Expression]] = {
        torch.where: lambda trace, condition, a, b: trace.select(condition, a, b)
    }

    def add(op: str, *functions: Any) -> None:
        table.update(dict.fromkeys(functions, lambda trace, *args: trace.make(op, *args)))

    for op in ("exp", "log", "sqrt", "tanh", "neg"):
        add(op, getattr(torch, op))
    add("neg", torch.negative)
    add("abs", torch.abs, torch.absolute)
    add("max", torch.maximum)
    add("min", torch.minimum)
    for name, compute in _OPERATORS.items():
        table[getattr(torch, name)] = lambda _, a, b, compute=compute: compute(a, b)
    return table


_OF_TORCH = _of_torch()


class Trace:
    """The expressions of one recording; equal ones are one object.

    Parameters
    ----------
    per_neuron : tuple of str
        Parameters that are tensors; the others are plain numbers.
    """

    def __init__(self, per_neuron: tuple[str, ...] = ()) -> None:
        self.per_neuron = per_neuron
        self.is_recording = False
        self._made: dict[tuple[Any, ...], Expression] = {}

    def make(self, op: str, *args: Expression, payload: Any = None) -> Expression:
        """Return the expression `op(*args)`, the existing one if there is one."""
        key = (op, tuple(id(arg) for arg in args), payload)
        if key not in self._made:
            self._made[key] = Expression(self, op, args, payload, len(self._made))
        return self._made[key]

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Run a step function on symbols inside this context: a comparison with == is then refused."""
        self.is_recording = True
        try:
            yield
        finally:
            self.is_recording = False

    def leaf(self, kind: str, name: str) -> Expression:
        """Return the leaf of this kind and name."""
        return self.make(kind, payload=name)

    def lift(self, value: Any) -> Expression:
        """Return `value` as an expression of this trace."""
        if isinstance(value, Expression):
            return value
        if isinstance(value, numbers.Real):
            return self.make("constant", payload=float(value))
        hint = " Write float(x) for a tensor of one number." if isinstance(value, torch.Tensor) else ""
        raise InputError(
            f"a step function may use numbers and its own arguments; got {type(value).__name__} {value!r}.{hint}"
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
