"""The adjoint of one step, derived from its expressions: cotangents of outputs in, cotangents of inputs out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from neurosim.compiler.program import Program
from neurosim.language.expression import Expression, Trace, topological


@dataclasses.dataclass(frozen=True, eq=False)
class Adjoint:
    """Gradients of one step; the leaves ``cotangent`` are ``g_out`` and ``g_<state>``.

    Attributes
    ----------
    inputs : mapping of str to Expression
        Gradient with respect to each input port.
    state : mapping of str to Expression
        With respect to the state before the step.
    per_neuron : mapping of str to Expression
        With respect to each tensor coefficient, this step's share.
    """

    inputs: Mapping[str, Expression]
    state: Mapping[str, Expression]
    per_neuron: Mapping[str, Expression]


def adjoint(program: Program) -> Adjoint:
    """Derive the adjoint of `program` by reverse accumulation."""
    trace = program.trace
    # In the order in which the step made them: autograd adds cotangents from the last to the first.
    order = sorted(topological([program.output, *program.state.values()]), key=lambda node: node.number)
    wanted = _reaching(order, program.per_neuron)
    cotangent: dict[int, Expression] = {}

    def accumulate(node: Expression, value: Expression) -> None:
        if id(node) in wanted:
            cotangent[id(node)] = _add(cotangent[id(node)], value) if id(node) in cotangent else value

    accumulate(program.output, trace.leaf("cotangent", "g_out"))
    for name, new in program.state.items():
        accumulate(new, trace.leaf("cotangent", f"g_{name}"))
    for node in reversed(order):
        if id(node) in cotangent and node.op in _RULES:
            _RULES[node.op](node, cotangent[id(node)], accumulate)

    def of(kind: str, name: str) -> Expression:
        return cotangent.get(id(trace.leaf(kind, name)), trace.lift(0.0))

    return Adjoint(
        {name: of("input", name) for name in program.inputs},
        {name: of("state", name) for name in program.state},
        {name: of("parameter", name) for name in program.per_neuron},
    )


def _reaching(order: list[Expression], per_neuron: tuple[str, ...]) -> set[int]:
    """Return the values that depend on an input, a state or a tensor coefficient, which have gradients."""
    reaching: set[int] = set()
    for node in order:
        leaf = node.op in ("input", "state") or (node.op == "parameter" and node.payload in per_neuron)
        if leaf or (node.op != "detach" and not node.is_boolean and any(id(arg) in reaching for arg in node.args)):
            reaching.add(id(node))
    return reaching


Accumulate = Callable[[Expression, Expression], None]


def _zero(trace: Trace) -> Expression:
    return trace.lift(0.0)


def _add(a: Expression, b: Expression) -> Expression:
    if a.op == "constant" and a.payload == 0.0:
        return b
    return a if b.op == "constant" and b.payload == 0.0 else a + b


def _mul(node: Expression, g: Expression, accumulate: Accumulate) -> None:
    a, b = node.args
    accumulate(a, g * b)
    accumulate(b, g * a)


def _div(node: Expression, g: Expression, accumulate: Accumulate) -> None:
    a, b = node.args
    accumulate(a, g / b)
    reciprocal = a.op == "constant" and a.payload == 1.0
    accumulate(b, -g * (node * node if reciprocal else node / b))


def _sub(node: Expression, g: Expression, accumulate: Accumulate) -> None:
    accumulate(node.args[0], g)
    accumulate(node.args[1], -g)


def _sum(node: Expression, g: Expression, accumulate: Accumulate) -> None:
    accumulate(node.args[0], g)
    accumulate(node.args[1], g)


def _abs(node: Expression, g: Expression, accumulate: Accumulate) -> None:
    (a,) = node.args
    zero = _zero(g.trace)
    accumulate(a, g.trace.select(a > 0.0, g, g.trace.select(a < 0.0, -g, zero)))


def _extreme(node: Expression, g: Expression, accumulate: Accumulate) -> None:
    trace, zero = g.trace, _zero(g.trace)
    a, b = node.args
    equal = trace.make("eq", a, b)
    a_wins, b_wins = (a > b, b > a) if node.op == "max" else (a < b, b < a)
    half = 0.5 * g
    accumulate(a, trace.select(equal, half, trace.select(a_wins, g, zero)))
    accumulate(b, trace.select(equal, half, trace.select(b_wins, g, zero)))


def _select(node: Expression, g: Expression, accumulate: Accumulate) -> None:
    condition, a, b = node.args
    zero = _zero(g.trace)
    accumulate(a, g.trace.select(condition, g, zero))
    accumulate(b, g.trace.select(condition, zero, g))
    if condition.is_binary:
        accumulate(condition, g * (a - b))


_RULES: dict[str, Callable[[Expression, Expression, Accumulate], None]] = {
    "add": _sum,
    "sub": _sub,
    "mul": _mul,
    "div": _div,
    "neg": lambda n, g, acc: acc(n.args[0], -g),
    "exp": lambda n, g, acc: acc(n.args[0], g * n),
    "log": lambda n, g, acc: acc(n.args[0], g / n.args[0]),
    "sqrt": lambda n, g, acc: acc(n.args[0], 0.5 * g / n),
    "tanh": lambda n, g, acc: acc(n.args[0], g * (1.0 - n * n)),
    "abs": _abs,
    "trunc": lambda n, g, acc: acc(n.args[0], g),
    "floor": lambda n, g, acc: acc(n.args[0], g),
    "max": _extreme,
    "min": _extreme,
    "select": _select,
    "spike": lambda n, g, acc: acc(n.args[0], g * n.payload.derivative(n.args[0])),
}
