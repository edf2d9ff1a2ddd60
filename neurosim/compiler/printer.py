"""What a kernel reads, computes and writes, and the walk that prints it; a target language adds its syntax."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from neurosim.compiler.plan import Plan, needed_from
from neurosim.language.expression import BOOLEAN, Expression


@dataclasses.dataclass(frozen=True, eq=False)
class Kernel:
    """One direction of a plan: its arrays by name, and the values that they hold.

    Attributes
    ----------
    plan : Plan
        The plan.
    backwards : bool
        Whether time is walked from the last step to the first.
    arrays : tuple of str
        Names of all arrays in the order of the call.
    inputs : tuple of str
        The arrays over time of the input ports or, backwards, of their gradients, which are written.
    reads, writes : mapping of str to Expression
        Arrays over time, [T, M]: read and written at every step.
    carried : mapping of str to (Expression, Expression)
        Arrays of one step, [M]: the value before a step and the value after it.
    sums : mapping of str to (Expression, Expression)
        The same for sums over time, which start at zero.
    coefficients : mapping of str to Expression
        Arrays of one step that are only read.
    uniforms : tuple of Expression
        Plain numbers.
    """

    plan: Plan
    backwards: bool
    arrays: tuple[str, ...]
    inputs: tuple[str, ...]
    reads: Mapping[str, Expression]
    writes: Mapping[str, Expression]
    carried: Mapping[str, tuple[Expression, Expression]]
    sums: Mapping[str, tuple[Expression, Expression]]
    coefficients: Mapping[str, Expression]
    uniforms: tuple[Expression, ...]

    def order(self) -> list[Expression]:
        """Return the values to compute at a step, operands first."""
        carried = (before for before, _ in self.carried.values())
        given = (*self.reads.values(), *carried, *self.coefficients.values(), *self.uniforms)
        after = [after for _, after in (*self.carried.values(), *self.sums.values())]
        return needed_from([*self.writes.values(), *after], given)


def forward_kernel(plan: Plan) -> Kernel:
    """Return the forward kernel: inputs to output, stored values and final state."""
    program, trace = plan.program, plan.program.trace
    kept = {f"kept{number}": node for number, node in enumerate(plan.stored)}
    coefficients = _coefficients(plan)
    return Kernel(
        plan=plan,
        backwards=False,
        arrays=(*program.inputs, "out", *kept, *program.state, *coefficients),
        inputs=program.inputs,
        reads={name: trace.leaf("input", name) for name in program.inputs},
        writes={"out": program.output, **kept},
        carried={name: (trace.leaf("state", name), new) for name, new in program.state.items()},
        sums={},
        coefficients=coefficients,
        uniforms=plan.forward_uniforms,
    )


def backward_kernel(plan: Plan) -> Kernel:
    """Return the backward kernel: gradients of output and final state to those of inputs, state and coefficients."""
    trace = plan.program.trace
    saved = {f"kept{number}": node for number, node in enumerate(plan.saved)}
    coefficients = _coefficients(plan)
    carried = {f"g_{name}": (trace.leaf("cotangent", f"g_{name}"), g) for name, g in plan.adjoint.state.items()}
    inputs = {f"g_{name}": gradient for name, gradient in plan.adjoint.inputs.items()}
    sums = {}
    for name in coefficients:
        so_far, share = trace.leaf("cotangent", f"share_{name}"), plan.adjoint.per_neuron.get(name)
        sums[f"share_{name}"] = (so_far, so_far if share is None else so_far + share)
    return Kernel(
        plan=plan,
        backwards=True,
        arrays=("g_out", *inputs, *saved, *carried, *coefficients, *sums),
        inputs=tuple(inputs),
        reads={"g_out": trace.leaf("cotangent", "g_out"), **saved},
        writes=inputs,
        carried=carried,
        sums=sums,
        coefficients=coefficients,
        uniforms=plan.backward_uniforms,
    )


def _coefficients(plan: Plan) -> dict[str, Expression]:
    """Return the arrays of tensor coefficients, then those of the numbers of each trial, which have no gradient."""
    per_neuron = {name: plan.program.trace.leaf("parameter", name) for name in plan.program.per_neuron}
    return {**per_neuron, **{f"trial{number}": node for number, node in enumerate(plan.per_trial)}}


class Body(abc.ABC):
    """The lines of one neuron's step in one language.

    Numbers and truth values are stored separately: a comparison is a truth value, a spike is both.
    """

    prefix = "x"
    indent = "  "

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._values: dict[int, str] = {}
        self._truths: dict[int, str] = {}
        self._count = 0

    @abc.abstractmethod
    def literal(self, value: float) -> str:
        """Return a number rounded to the precision of the kernel."""

    @abc.abstractmethod
    def compare(self, op: str, a: str, b: str) -> str:
        """Return the comparison `op`, one of gt, ge, lt, le, eq, ne; only ne is true for NaN."""

    @abc.abstractmethod
    def choice(self, condition: str, a: str, b: str) -> str:
        """Return `a` where the truth value `condition` is true, else `b`."""

    @abc.abstractmethod
    def operation(self, op: str, operands: Sequence[str]) -> str:
        """Return arithmetic (add, sub, mul, div, neg, max, min) or a function (exp, log, tanh, abs, trunc ...)."""

    def fresh(self, text: str) -> str:
        """Add a line that assigns `text` to a new name, and return the name."""
        name = f"{self.prefix}{self._count}"
        self._count += 1
        self.lines.append(f"{self.indent}{name} = {text}")
        return name

    def bind(self, node: Expression, value: str) -> None:
        """Bind `node` to `value`."""
        self._values[id(node)] = value

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Drop at the end what is bound and computed inside: values of a loop exist in one iteration."""
        values, truths = self._values.copy(), self._truths.copy()
        yield
        self._values, self._truths = values, truths

    def emit(self, order: Sequence[Expression]) -> None:
        """Add the lines for the values of `order` that are not bound yet."""
        for node in order:
            if id(node) not in self._values and id(node) not in self._truths:
                self._emit(node)

    def value(self, node: Expression) -> str:
        """Return `node` as a number; a comparison counts 1 or 0."""
        if id(node) not in self._values:
            self._values[id(node)] = self._one_or_zero(self._truths[id(node)])
        return self._values[id(node)]

    def truth(self, node: Expression) -> str:
        """Return `node` as a truth value: that of a comparison or spike, else whether the value is not zero."""
        if id(node) not in self._truths:
            self._truths[id(node)] = self.fresh(self.compare("ne", self.value(node), self.literal(0.0)))
        return self._truths[id(node)]

    def _one_or_zero(self, truth: str) -> str:
        return self.fresh(self.choice(truth, self.literal(1.0), self.literal(0.0)))

    def _emit(self, node: Expression) -> None:
        if node.op == "constant":
            self._values[id(node)] = self.literal(node.payload)
        elif node.op == "select":
            condition, a, b = node.args
            self._values[id(node)] = self.fresh(self.choice(self.truth(condition), self.value(a), self.value(b)))
        elif node.op == "detach":
            self._values[id(node)] = self.value(node.args[0])
            if id(node.args[0]) in self._truths:
                self._truths[id(node)] = self._truths[id(node.args[0])]
        elif node.op == "spike":
            above = self.fresh(self.compare("gt", self.value(node.args[0]), self.literal(0.0)))
            self._truths[id(node)] = above
            self._values[id(node)] = self._one_or_zero(above)
        elif node.op in BOOLEAN:
            left, right = map(self.value, node.args)
            self._truths[id(node)] = self.fresh(self.compare(node.op, left, right))
        else:
            self._values[id(node)] = self.fresh(self.operation(node.op, [self.value(a) for a in node.args]))
