"""Running a step function on symbols, with errors that name the core and say what a step may do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from neurosim.errors import InputError, NeurosimError
from neurosim.language.expression import USE, Expression, Trace
from neurosim.language.reset import Reset
from neurosim.language.surrogate import atan


def step_values(
    owner: str,
    state: Sequence[str],
    trace: Trace,
    arguments: Sequence[Expression],
    given: Mapping[str, Any],
    step: Callable[..., Any],
) -> tuple[Expression, ...]:
    """Return the output and the new state of a step as expressions.

    Parameters
    ----------
    owner : str
        Name of the core.
    state : sequence of str
        Its state variables.
    trace : Trace
        The trace of the arguments.
    arguments : sequence of Expression
        Inputs and state.
    given : mapping
        Keyword arguments of the step.
    step : callable
        Called with both.

    Raises
    ------
    InputError
        When the step does what cannot be compiled, or returns what is not an output and a state.
    """
    try:
        with trace.recording():
            returned = step(*arguments, **given)
    except NeurosimError as error:
        raise InputError(f"core {owner}: {error}") from error
    except (TypeError, ValueError, ArithmeticError) as error:
        what = f"{type(error).__name__}: {str(error).rstrip('.')}"
        raise InputError(f"core {owner}: the step fails on symbols with {what}. {USE}") from error
    if not isinstance(returned, tuple) or len(returned) != 1 + len(state):
        raise InputError(f"core {owner}: the step must return the output and {len(state)} new state value(s).")
    names = ("the output", *state)
    for name, value in zip(names, returned, strict=True):
        if isinstance(value, Expression) and value.is_boolean:
            raise InputError(f"core {owner}: {name} is a comparison, not a number; return where(condition, 1.0, 0.0).")
    try:
        return tuple(trace.lift(value) for value in returned)
    except InputError as error:
        raise InputError(f"core {owner}: {error}") from error


def check_step(
    owner: str, inputs: Sequence[str], state: Sequence[str], wants: Sequence[str], step: Callable[..., Any]
) -> None:
    """Run a step twice on symbols, and refuse it if it cannot be compiled or depends on more than its arguments.

    A step that uses a name which its module does not have yet is not checked: its first run does that.

    Parameters
    ----------
    owner : str
        Name of the core.
    inputs, state, wants : sequence of str
        Arguments of the step, the last by keyword.
    step : callable
    """
    trace = Trace()
    leaves = [*(trace.leaf("input", name) for name in inputs), *(trace.leaf("state", name) for name in state)]
    choices = {"spike": atan(), "reset": Reset()}
    given = {name: choices[name] if name in choices else trace.leaf("parameter", name) for name in wants}
    try:
        first, second = (step_values(owner, state, trace, leaves, given, step) for _ in range(2))
    except NameError:
        return
    # Equal expressions of one trace are one object.
    changed = [name for name, a, b in zip(("the output", *state), first, second, strict=True) if a is not b]
    if changed:
        raise InputError(
            f"core {owner}: {changed[0]} differs between two calls of the step with the same arguments; a step "
            "must depend on its arguments alone. A random number comes from a source of the network or an input port."
        )
