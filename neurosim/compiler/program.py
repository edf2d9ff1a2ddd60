"""A core with its spike and reset, recorded as expressions: the source of every kernel."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping
from typing import Any, Literal, get_args

from neurosim.errors import InputError
from neurosim.language import Core, Reset, Surrogate
from neurosim.language.definition import RESET_AMOUNT
from neurosim.language.expression import LEAVES, Expression, Trace, topological
from neurosim.language.local_variables import with_locals
from neurosim.language.trial import step_values

Level = Literal["host", "trial", "neuron", "step"]
_LEVELS: tuple[Level, ...] = get_args(Level)


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """One step as expressions.

    Attributes
    ----------
    name : str
        Name of the core.
    inputs : tuple of str
        Input ports that are fed, in the order of the core's.
    output : Expression
        Output of the neuron: spikes, or the membrane of a core that never fires.
    state : mapping of str to Expression
        New state by name.
    per_neuron : tuple of str
        Coefficients that arrive as tensors; the others are plain numbers.
    per_trial : tuple of str
        Coefficients among the plain numbers that differ from trial to trial of a batch.
    named : mapping of str to Expression
        Local variables of the step function, for recording and for reading.
    trace : Trace
        The trace of the expressions.
    surrogate : Surrogate
        That of the step, with symbols for its numbers.
    numbers : mapping of str to float
        Numbers of the surrogate that the step was recorded with; see `numbers_of`.
    """

    name: str
    inputs: tuple[str, ...]
    output: Expression
    state: Mapping[str, Expression]
    per_neuron: tuple[str, ...]
    per_trial: tuple[str, ...]
    named: Mapping[str, Expression]
    trace: Trace
    surrogate: Surrogate
    numbers: Mapping[str, float]

    @property
    def is_spiking(self) -> bool:
        """Whether the output is a spike."""
        return self.output.op == "spike"

    @property
    def is_limited(self) -> bool:
        """Whether the surrogate of the output is zero from some distance to threshold on."""
        return self.is_spiking and self.output.payload.support < math.inf

    @property
    def support(self) -> Expression:
        """That distance, a number that kernels take; the output must be limited."""
        return self.trace.leaf("parameter", _SUPPORT)

    def numbers_of(self, spike: Surrogate) -> dict[str, float]:
        """Return the values of the leaves that stand for the numbers of a surrogate of the recorded form."""
        numbers = {_leaf_name(name): value for name, value in spike.numbers.items()}
        if self.is_limited:
            own = self.output.payload is not self.surrogate  # a core may have a surrogate of its own
            numbers[_SUPPORT] = self.output.payload.support if own else spike.support
        return numbers


def _leaf_name(number: str) -> str:
    """Return the name of the leaf for a number of the surrogate, which no coefficient of a core can have."""
    return f"spike.{number}"


_SUPPORT = _leaf_name("support.of.derivative")


def record(
    core: Core,
    spike: Surrogate,
    reset: Reset,
    per_neuron: tuple[str, ...] = (),
    *,
    per_trial: tuple[str, ...] = (),
    own_amount: bool = False,
    fed: Collection[str] | None = None,
) -> Program:
    """Run the step function of `core` on symbols and record it.

    Parameters
    ----------
    core : Core
        The neuron model.
    spike : Surrogate
        Handed to the step as ``spike``.
    reset : Reset
        Handed to the step as ``reset``.
    per_neuron : tuple of str
        Names among ``core.coefficients``, or ``reset_amount``, that will be tensors.
    per_trial : tuple of str
        Other such names, that will be a plain number for each trial.
    own_amount : bool
        Whether the reset takes off a coefficient of the layer, ``reset_amount``.
    fed : collection of str, optional
        Input ports that are fed; the others are the constants that the core declares. All if left out.
    """
    trace = Trace(per_neuron)
    given: dict[str, Any] = {name: trace.leaf("parameter", name) for name in core.coefficients}
    surrogate = spike.with_symbols(lambda name: trace.leaf("parameter", _leaf_name(name)))
    if "spike" in core.wants:
        given["spike"] = surrogate
    if "reset" in core.wants:
        amount = trace.leaf("parameter", RESET_AMOUNT) if own_amount else None
        given["reset"] = dataclasses.replace(reset, amount=amount)
    inputs = tuple(name for name in core.inputs if fed is None or name in fed)
    arguments = [trace.leaf("input", name) if name in inputs else _rest(trace, core, name) for name in core.inputs]
    leaves = [*arguments, *(trace.leaf("state", name) for name in core.state)]
    local: dict[str, Any] = {}

    def call(*arguments: Expression, **keywords: Any) -> Any:
        return with_locals(core.step, lambda: core(*arguments, **keywords), local.update)

    output, *states = step_values(core.name, tuple(core.state), trace, leaves, given, call)
    named = {}
    for name, value in local.items():
        if isinstance(value, Expression) and value.op not in LEAVES and not name.startswith("_"):
            named[name] = value
            value.label = value.label or name
    after = dict(zip(core.state, states, strict=True))
    program = Program(core.name, inputs, output, after, per_neuron, per_trial, named, trace, surrogate, {})
    return dataclasses.replace(program, numbers=program.numbers_of(spike))


def _rest(trace: Trace, core: Core, port: str) -> Expression:
    """Return the constant that stands for a port that nothing feeds."""
    value = core.inputs[port]
    if value is None:
        raise InputError(f"core {core.name}: the input port {port!r} must be fed.")
    return trace.lift(value)


class Levels:
    """How often a value changes: never (host), from trial to trial, from neuron to neuron, or at every step."""

    def __init__(self, per_neuron: tuple[str, ...], per_trial: tuple[str, ...] = ()) -> None:
        self._parameters: dict[str, Level] = dict.fromkeys(per_trial, "trial")
        self._parameters.update(dict.fromkeys(per_neuron, "neuron"))
        self._known: dict[int, Level] = {}

    def __call__(self, node: Expression) -> Level:
        """Return the level of `node`."""
        if id(node) not in self._known:
            for each in topological([node], self._known):
                if id(each) not in self._known:
                    self._known[id(each)] = self._of(each)
        return self._known[id(node)]

    def _of(self, node: Expression) -> Level:
        if node.op == "constant":
            return "host"
        if node.op == "parameter":
            return self._parameters.get(node.payload, "host")
        if node.op in LEAVES:
            return "step"
        return max((self._known[id(arg)] for arg in node.args), key=_LEVELS.index)
