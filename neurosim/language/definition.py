"""A spiking core: one pure step function with declared parameters and state."""

from __future__ import annotations

import collections
import dataclasses
import inspect
import math
import numbers
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from neurosim.errors import InputError, UnitError
from neurosim.language.trial import check_step
from neurosim.units import milliseconds_question

CHOICES = ("spike", "reset")
RESET_AMOUNT = "reset_amount"  # a coefficient of layers whose reset subtracts its own amount
_LAYER_ARGUMENTS = (*CHOICES, RESET_AMOUNT, "self", "core", "dt", "size", "detach_reset", "learn")
_PARAMETER_KIND = {"alpha": "tau", "cos": "f", "sin": "f"}


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A declared parameter: default, unit and range.

    Parameters
    ----------
    default : float
        Value if the user gives none.
    unit : str
        SI unit, or "1" for a plain number in units of the threshold.
    low, high : float
        Bounds: exclusive, but for an integer inclusive.
    integer : bool
        Whether the value must be an integer, which cannot be learned.
    in_steps : bool
        Whether the value must be an integer number of steps of the layer, which cannot be learned.
    """

    default: float
    unit: str = "1"
    low: float = -math.inf
    high: float = math.inf
    integer: bool = False
    in_steps: bool = False

    def holds(self, value: Any) -> Any:
        """Return whether a number, or each element of a tensor, is in the range."""
        if self.integer:
            return (value >= self.low) & (value <= self.high) & (value % 1 == 0)
        return (value > self.low) & (value < self.high)

    def check(self, owner: str, name: str, value: float) -> float:
        """Return `value` as float if it is in range.

        Raises
        ------
        UnitError
            When it is not. The message for a time that may be in milliseconds asks for that.
        """
        number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        if number and math.isfinite(value) and self.holds(value):
            return float(value)
        unit = "" if self.unit == "1" else f" {self.unit}"
        hint = ""
        if self.unit == "s" and number and value >= self.high and math.isfinite(value):
            hint = f" {milliseconds_question(value)}"
        raise UnitError(f"{owner}: {name} must be {self._allowed}{unit}; got {value!r}.{hint}")

    @property
    def is_learnable(self) -> bool:
        """Whether the value can be learned: integers and numbers of steps cannot."""
        return not (self.integer or self.in_steps)

    @property
    def _allowed(self) -> str:
        if self.integer:
            return f"an integer from {self.low:.0f} to {self.high:.0f}"
        return f"a finite number in ({self.low:g}, {self.high:g})" if self.low > -math.inf else "a finite number"


def seconds(default: float, high: float = 1.0, *, in_steps: bool = False) -> Parameter:
    """Declare a time in seconds, in (0, `high`), with `in_steps` an integer number of steps of the layer.

    The step may use the decay ``alpha_x = exp(-dt/tau_x)`` of a time constant ``tau_x``. The bound catches values in
    milliseconds: membranes and synapses are faster than a second.
    """
    return Parameter(default, unit="s", low=0.0, high=high, in_steps=in_steps)


def integer(default: int, low: int, high: int) -> Parameter:
    """Declare an integer from `low` to `high`, such as the content of a register of a chip."""
    return Parameter(float(default), low=float(low), high=float(high), integer=True)


def hertz(default: float, high: float = 1e4) -> Parameter:
    """Declare a frequency in Hz, in (0, `high`).

    The step may use ``cos_x = cos(2 pi f_x dt)`` and ``sin_x = sin(2 pi f_x dt)`` of a frequency ``f_x``.
    """
    return Parameter(default, unit="Hz", low=0.0, high=high)


def parameter_of(coefficient: str) -> str:
    """Return the parameter that a coefficient is computed from: ``tau_x`` for ``alpha_x``, ``f_x`` for ``cos_x``.

    Any other coefficient is a parameter itself.
    """
    kind, _, rest = coefficient.partition("_")
    return f"{_PARAMETER_KIND[kind]}_{rest}" if kind in _PARAMETER_KIND else coefficient


@dataclasses.dataclass(frozen=True, eq=False)
class Core:
    """A neuron model written as one time step.

    The decorator `core` makes it. A call runs the step function itself, on tensors or on numbers.

    Attributes
    ----------
    name : str
        Name of the step function.
    step : callable
        ``step(*inputs, *state, **keywords) -> (output, *new state)``.
    parameters : mapping of str to Parameter
        Declared parameters with defaults, units and ranges.
    inputs : mapping of str to float or None
        Input ports, in the order of the step's arguments: the value that a port has where nothing feeds it, or None
        for a port that must be fed.
    state : mapping of str to float
        State variables and their initial values.
    wants : tuple of str
        Keyword-only arguments of the step: parameters, decays ``alpha_x``, turns ``cos_x`` and ``sin_x``, ``dt``,
        ``spike``, ``reset``.
    integers_up_to : float or None
        For a core of integers, the largest current for which single precision is exact; double precision is exact up
        to 2**29 times as much. None for a core of real numbers.
    state_type : type
        NamedTuple that holds the state, one field for each variable.
    """

    name: str
    step: Callable[..., tuple[Any, ...]]
    parameters: Mapping[str, Parameter]
    inputs: Mapping[str, float | None]
    state: Mapping[str, float]
    wants: tuple[str, ...]
    integers_up_to: float | None = None
    state_type: Any = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Not a subclass of the named tuple: torch.compile cannot construct a subclass.
        named_tuple: Any = collections.namedtuple
        state_type = named_tuple(f"{self.name}_state", tuple(self.state))
        state_type.__reduce__ = lambda values: (_state, (self, *values))
        object.__setattr__(self, "state_type", state_type)

    def __call__(self, /, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Run one step."""
        return self.step(*args, **kwargs)

    @property
    def coefficients(self) -> tuple[str, ...]:
        """Names of the numbers that the step takes: parameters, values computed from them, and dt."""
        return tuple(name for name in self.wants if name not in CHOICES)

    def __repr__(self) -> str:
        return f"<core {self.name}({', '.join((*self.inputs, *self.state))})>"

    def __deepcopy__(self, memo: Any) -> Core:
        """Return the core itself: a core is copied as a function is."""
        return self

    def __reduce__(self) -> Any:
        """Pickle by name: a core is an object of its module, as a function is."""
        import importlib

        home = importlib.import_module(self.step.__module__)
        if getattr(home, self.name, None) is not self:
            place = f"at the top level of module {self.step.__module__!r}"
            raise InputError(f"core {self.name!r} cannot be pickled: it must be defined {place}.")
        return (_by_name, (self.step.__module__, self.name))


def _is(parameter: str, kind: str) -> bool:
    return parameter.startswith(f"{kind}_")


def _by_name(module: str, name: str) -> Core:
    import importlib

    core_of_module: Core = getattr(importlib.import_module(module), name)
    return core_of_module


def _state(core: Core, *values: Any) -> tuple[Any, ...]:
    state: tuple[Any, ...] = core.state_type(*values)
    return state


def core(
    *,
    parameters: Mapping[str, Parameter | float] | None = None,
    inputs: Iterable[str] | Mapping[str, float | None] = ("i",),
    state: Iterable[str] | Mapping[str, float] = ("v",),
    integers_up_to: float | None = None,
) -> Callable[[Callable[..., tuple[Any, ...]]], Core]:
    """Turn a step function into a core.

    Parameters
    ----------
    parameters : mapping of str to Parameter or float, optional
        Parameters that a user may set. A float is the default of a plain number without a range.
    inputs : iterable of str, or mapping of str to float or None
        Input ports in the order of the step's arguments. Each port is its own array over time; an edge of a network
        names the port that it feeds. A mapping gives the value of a port that nothing feeds, such as 0.0;
        a port without a value (None, or listed by name alone) must be fed.
    state : iterable of str, or mapping of str to float
        State variables in the order of the step's arguments; a mapping gives initial values (else 0).
    integers_up_to : float, optional
        For a step of integers, as in `Core`; its layers refuse currents that are not integers or are too large.

    Returns
    -------
    callable
        The decorator. The step function takes its inputs and then the state by position. By keyword it takes what it
        needs of: its parameters; ``alpha_x`` for each time constant ``tau_x`` (``exp(-dt/tau_x)``, computed in
        double precision), ``cos_x`` and ``sin_x`` for each frequency ``f_x``; ``dt`` (s); ``spike`` (the surrogate,
        called on the distance to threshold); ``reset`` (a `Reset`). It returns the output and the new state. It may
        use arithmetic, comparisons and the functions of `neurosim.language.functions`, but no branches.

    Raises
    ------
    InputError
        When the signature does not match the declaration.

    Examples
    --------
    >>> import neurosim as ns
    >>> @ns.core(parameters=dict(tau_mem=ns.seconds(10e-3), v_th=1.0), state=("v",))
    ... def leaky(i, v, *, alpha_mem, v_th, spike, reset):
    ...     u = alpha_mem * v + i
    ...     z = spike(u - v_th)
    ...     return z, reset(u, z, to=0.0, by=v_th)
    >>> leaky
    <core leaky(i, v)>

    A membrane with two conductances; the inhibitory one is 0 if nothing feeds it:

    >>> @ns.core(parameters=dict(e_inh=-0.5), inputs={"ge": None, "gi": 0.0}, state=("v",))
    ... def membrane(ge, gi, v, *, e_inh):
    ...     u = v + ge * (1.0 - v) + gi * (e_inh - v)
    ...     return u, u
    >>> membrane
    <core membrane(ge, gi, v)>
    """
    declared = {
        name: value if isinstance(value, Parameter) else Parameter(float(value))
        for name, value in (parameters or {}).items()
    }
    computed = [name for name in declared if name == "dt" or parameter_of(name) != name]
    if computed:
        raise InputError(
            f"a parameter cannot be called {computed}: the layer computes these; alpha_x comes from tau_x, cos_x and "
            "sin_x from f_x."
        )
    taken = [name for name in declared if name in _LAYER_ARGUMENTS]
    if taken:
        raise InputError(f"a parameter cannot be called {taken}: these are arguments of the layer; rename it.")
    initial = {k: float(v) for k, v in state.items()} if isinstance(state, Mapping) else dict.fromkeys(state, 0.0)
    ports = _ports(inputs)

    def decorate(step: Callable[..., tuple[Any, ...]]) -> Core:
        signature = inspect.signature(step).parameters.values()
        by_position = [p.name for p in signature if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        wants = tuple(p.name for p in signature if p.kind is p.KEYWORD_ONLY)
        if by_position != [*ports, *initial]:
            raise InputError(
                f"core {step.__name__}: the step must take the inputs {tuple(ports)} and then the state "
                f"{tuple(initial)} by position; it takes {tuple(by_position)}."
            )
        kinds = _PARAMETER_KIND.items()
        computed = [f"{kind}_{n.partition('_')[2]}" for kind, of in kinds for n in declared if _is(n, of)]
        offered = {*declared, *CHOICES, "dt", *computed}
        unknown = [name for name in wants if name not in offered]
        if unknown:
            raise InputError(
                f"core {step.__name__}: the step takes {unknown} by keyword; it may take {sorted(offered)}."
            )
        _check_state(step.__name__, initial)
        _check_arrays(step.__name__, ports, initial, [name for name in wants if name not in CHOICES])
        if not step.__name__.isidentifier():
            raise InputError(f"a core is called as its step function; {step.__name__} has no name. Write it with def.")
        decorated = Core(step.__name__, step, declared, ports, initial, wants, integers_up_to)
        object.__setattr__(decorated, "__doc__", step.__doc__)
        object.__setattr__(decorated, "__module__", step.__module__)
        check_step(step.__name__, tuple(ports), tuple(initial), wants, step)
        return decorated

    return decorate


def _ports(inputs: Iterable[str] | Mapping[str, float | None]) -> dict[str, float | None]:
    """Return the input ports with the value of each where nothing feeds it."""
    if isinstance(inputs, str):
        raise InputError(
            f"inputs must be a sequence or a mapping of names; got {inputs!r}. Write inputs=({inputs!r},)."
        )
    given = inputs if isinstance(inputs, Mapping) else dict.fromkeys(inputs)
    ports = {name: None if value is None else float(value) for name, value in given.items()}
    infinite = {name: value for name, value in ports.items() if value is not None and not math.isfinite(value)}
    if not ports or infinite:
        got = infinite or "none"
        raise InputError(f"inputs must name at least one port, each with a finite value or None; got {got}.")
    return ports


def _check_state(owner: str, state: Iterable[str]) -> None:
    """Refuse names that a field of a NamedTuple cannot have."""
    private = [name for name in state if name.startswith("_")]
    if private:
        raise InputError(f"core {owner}: a state variable cannot begin with an underscore; rename {private}.")


def _check_arrays(owner: str, inputs: Iterable[str], state: Iterable[str], coefficients: Iterable[str]) -> None:
    """Refuse names that would give two arrays of a kernel one name."""
    over_time = [*inputs, *state]
    forward = ["out", *over_time, *coefficients]
    backward = [*(f"g_{name}" for name in ("out", *over_time)), *coefficients, *(f"share_{c}" for c in coefficients)]
    numbered = [name for name in forward if re.fullmatch(r"(kept|trial)\d+|fed", name)]
    twice = [name for names in (forward, backward) for name in names if names.count(name) > 1]
    taken = sorted({*numbered, *twice})
    if taken:
        raise InputError(
            f"core {owner}: kernels use the names {taken} for their own arrays, such as 'out', 'kept0' and, for "
            "the gradient of x, 'g_x'; rename the input, state variable or parameter."
        )
