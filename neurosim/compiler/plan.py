"""What a kernel computes and the order of its arguments; the same for every device."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from neurosim.compiler.adjoint import Adjoint, adjoint
from neurosim.compiler.program import Level, Levels, Program
from neurosim.compiler.saving import values_to_keep
from neurosim.errors import InputError
from neurosim.language.expression import Expression, topological

Value = TypeVar("Value")

_HOST: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "neg": lambda a: -a,
    "exp": math.exp,
    "log": math.log,
    "sqrt": math.sqrt,
    "tanh": math.tanh,
    "abs": abs,
    "trunc": lambda a: float(math.trunc(a)),
    "floor": lambda a: float(math.floor(a)),
    "max": max,
    "min": min,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "eq": lambda a, b: a == b,
    "select": lambda c, a, b: a if c else b,
    "detach": lambda a: a,
    "spike": lambda a: float(a > 0.0),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """A program with the values to store at every step.

    Parameters
    ----------
    program : Program
        The step.
    train : bool
        Whether the values that the backward pass needs are stored.
    through_time : bool
        Whether gradients pass from a step to the one before; if not, each step is on its own (SLTT).
    recorded : tuple of str
        Names of states or local variables to store for the user.
    """

    program: Program
    train: bool = False
    through_time: bool = True
    recorded: tuple[str, ...] = ()

    @functools.cached_property
    def level(self) -> Levels:
        """How often each value changes."""
        return Levels(self.program.per_neuron, self.program.per_trial)

    @functools.cached_property
    def adjoint(self) -> Adjoint:
        """The adjoint of the step; without `through_time` the state before the step gets no gradient."""
        full = adjoint(self.program)
        if self.through_time:
            return full
        zero = self.program.trace.lift(0.0)
        return dataclasses.replace(full, state=dict.fromkeys(full.state, zero))

    @functools.cached_property
    def backward_outputs(self) -> tuple[Expression, ...]:
        """Gradients of inputs, gradients of states, then each tensor coefficient's share."""
        gradients = (self.adjoint.inputs, self.adjoint.state, self.adjoint.per_neuron)
        return tuple(node for group in gradients for node in group.values())

    @functools.cached_property
    def saved(self) -> tuple[Expression, ...]:
        """Values stored at every step for the backward pass."""
        if not self.train:
            return ()
        forward = {id(n) for n in topological([self.program.output, *self.program.state.values()])}
        backward = topological(self.backward_outputs)
        used = {id(arg) for n in backward if id(n) not in forward for arg in n.args}
        used |= {id(out) for out in self.backward_outputs}
        return values_to_keep([n for n in backward if id(n) in forward and id(n) in used], self.level)

    @functools.cached_property
    def stored(self) -> tuple[Expression, ...]:
        """Every value stored at every step: for the user, then for the backward pass."""
        return tuple(dict.fromkeys((*(self._named(name) for name in self.recorded), *self.saved)))

    def _named(self, name: str) -> Expression:
        return self.program.state[name] if name in self.program.state else self.program.named[name]

    def position(self, node: Expression) -> int:
        """Return the position of `node` among the stored values."""
        return self.stored.index(node)

    @functools.cached_property
    def _saved_positions(self) -> tuple[int, ...]:
        return tuple(self.position(node) for node in self.saved)

    def saved_among(self, stored: Sequence[Value]) -> list[Value]:
        """Return those of the stored values that the backward pass reads."""
        return [stored[position] for position in self._saved_positions]

    def recording(self, name: str) -> int:
        """Return the position of the value called `name` among the stored values."""
        return self.position(self._named(name))

    @functools.cached_property
    def recorded_positions(self) -> tuple[tuple[str, int], ...]:
        """Names of the values to record, and where each lies among the stored values."""
        return tuple((name, self.recording(name)) for name in self.recorded)

    @functools.cached_property
    def forward_uniforms(self) -> tuple[Expression, ...]:
        """Numbers that the forward kernel takes, computed before the run in double precision.

        The last is the support of the surrogate if that is limited and the plan trains.
        """
        found = self._frontier(self._forward_outputs, (), "host")
        return self._with_support(found) if self.train else found

    @functools.cached_property
    def backward_uniforms(self) -> tuple[Expression, ...]:
        """Numbers that the backward kernel takes; the last is the support of the surrogate if that is limited."""
        return self._with_support(self._frontier(self.backward_outputs, self.saved, "host"))

    def _with_support(self, numbers: tuple[Expression, ...]) -> tuple[Expression, ...]:
        if not self.program.is_limited:
            return numbers
        support = self.program.support
        return (*(node for node in numbers if node is not support), support)

    @functools.cached_property
    def per_trial(self) -> tuple[Expression, ...]:
        """Numbers of each trial that both kernels take, computed before the run in double precision as the others."""
        forward = self._frontier(self._forward_outputs, (), "trial")
        backward = self._frontier(self.backward_outputs, self.saved, "trial") if self.train else ()
        return tuple(dict.fromkeys((*forward, *backward)))

    @property
    def _forward_outputs(self) -> tuple[Expression, ...]:
        return (self.program.output, *self.program.state.values(), *self.stored)

    def _frontier(
        self, outputs: Sequence[Expression], given: Sequence[Expression], level: Level
    ) -> tuple[Expression, ...]:
        """Return the values of `level` that a kernel uses, apart from literal constants."""
        found: dict[Expression, None] = {}
        for node in needed_from(outputs, given):
            in_kernel = self.level(node) in ("neuron", "step")
            operands = node.args if in_kernel else (node,) if node in outputs else ()
            found.update(dict.fromkeys(a for a in operands if self.level(a) == level and a.op != "constant"))
        return tuple(found)

    def host_values(self, uniforms: Sequence[Expression], numbers: Mapping[str, float]) -> list[float]:
        """Return the values of `uniforms`, computed in double precision from the coefficients that are numbers.

        Numbers of the surrogate are those that the step was recorded with if they are left out.
        """
        numbers = {**self.program.numbers, **numbers}
        value: dict[int, Any] = {}
        for node in topological(uniforms):
            if node.op == "constant":
                value[id(node)] = node.payload
            elif node.op == "parameter":
                value[id(node)] = numbers[node.payload]
            else:
                operands = [value[id(arg)] for arg in node.args]
                try:
                    value[id(node)] = _HOST[node.op](*operands)
                except (ArithmeticError, ValueError) as error:
                    raise self._no_value(node, operands, numbers) from error
        return [float(value[id(node)]) for node in uniforms]

    def _no_value(self, node: Expression, operands: Sequence[float], numbers: Mapping[str, float]) -> InputError:
        names = [leaf.payload for leaf in topological([node]) if leaf.op == "parameter"]
        values = ", ".join(f"{name} = {numbers[name]:g}" for name in dict.fromkeys(names))
        called = f"{node.op}({', '.join(f'{x:g}' for x in operands)})"
        return InputError(
            f"core {self.program.name}: the step computes {node!r}, which is {called} for {values or 'its constants'} "
            "and not a number; choose other values, or guard it with maximum, minimum or where."
        )

    @functools.cached_property
    def key(self) -> str:
        """Name of the plan, the same for equal plans in every process."""
        outputs = [*self._forward_outputs, *(self.backward_outputs if self.train else ())]
        order = topological(outputs)
        number = {id(node): n for n, node in enumerate(order)}
        lines = [
            f"{n.op} {[number[id(a)] for a in n.args]} {n.payload if n.op != 'spike' else ''}"
            f" {n.op == 'parameter' and n.payload in self.program.per_neuron}"
            for n in order
        ]
        ends = [number[id(n)] for n in outputs]
        program = self.program
        arrays = f"{program.inputs} {list(program.state)} {program.per_neuron} {program.per_trial} {self.recorded}"
        arrays += f" {self.train and program.is_limited}"
        text = "\n".join((*lines, str(ends), f"{arrays} {self.train} {self.through_time}"))
        return f"{self.program.name}_{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def needed_from(outputs: Sequence[Expression], given: Sequence[Expression]) -> list[Expression]:
    """Return what `outputs` depend on, operands first, down to `given`, which is included."""
    stop = {id(node) for node in given}
    return topological(outputs, stop)


_PLANS: dict[str, Plan] = {}
_one_at_a_time = threading.Lock()


def known(plan: Plan) -> str:
    """Register `plan` under its key, and return the key."""
    # Computing the key makes expressions; two threads at once would each hold half of them.
    with _one_at_a_time:
        _PLANS.setdefault(plan.key, plan)
        return plan.key


def find(key: str) -> Plan:
    """Return the plan of this key."""
    return _PLANS[key]
