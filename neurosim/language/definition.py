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
from neurosim.units import decay_of, prefix_question, turn_of

CHOICES = ("spike", "reset")
NOISE = "normal"  # a standard normal number of each step and neuron
RESET_AMOUNT = "reset_amount"  # a coefficient of layers whose reset subtracts its own amount
_LAYER_ARGUMENTS = (*CHOICES, RESET_AMOUNT, "self", "core", "dt", "size", "detach_reset", "learn", "init", NOISE)
# Coefficients of one parameter each, by prefix: alpha_x is computed from tau_x.
_COMPUTED: dict[str, tuple[str, Callable[..., Any]]] = {
    "alpha": ("tau", decay_of),
    "cos": ("f", lambda f, dt: turn_of(f, dt)[0]),
    "sin": ("f", lambda f, dt: turn_of(f, dt)[1]),
}


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
        Bounds: exclusive; for an integer both are inclusive, and for a number of steps the lower one is.
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
        return ((value >= self.low) if self.in_steps else (value > self.low)) & (value < self.high)

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
        outside = number and math.isfinite(value) and (abs(value) >= self.high or 0.0 < value <= self.low)
        question = prefix_question(value, self.unit) if outside else ""
        hint = f" {question}" if question else ""
        raise UnitError(f"{owner}: {name} must be {self._allowed}{unit}; got {value!r}.{hint}")

    @property
    def is_learnable(self) -> bool:
        """Whether the value can be learned: integers and numbers of steps cannot."""
        return not (self.integer or self.in_steps)

    @property
    def _allowed(self) -> str:
        if self.integer:
            return f"an integer from {self.low:.0f} to {self.high:.0f}"
        opening = "[" if self.in_steps else "("
        if self.low == -math.inf:
            return "a finite number"
        return f"a finite number in {opening}{self.low:g}, {self.high:g})"


def seconds(default: float, high: float = 1.0, *, in_steps: bool = False) -> Parameter:
    """Declare a time in seconds, in (0, `high`); with `in_steps` an integer number of steps of the layer, from 0.

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


def volts(default: float, low: float = -1.0, high: float = 1.0) -> Parameter:
    """Declare a voltage in volts, in (`low`, `high`). The bounds catch values in millivolts."""
    return Parameter(default, unit="V", low=low, high=high)


def amperes(default: float, low: float = -1e-3, high: float = 1e-3) -> Parameter:
    """Declare a current in amperes, in (`low`, `high`). The bounds catch values in nanoamperes and picoamperes."""
    return Parameter(default, unit="A", low=low, high=high)


def siemens(default: float, low: float = 0.0, high: float = 1e-3) -> Parameter:
    """Declare a conductance in siemens, in (`low`, `high`). The upper bound catches values in nanosiemens."""
    return Parameter(default, unit="S", low=low, high=high)


def farads(default: float, high: float = 1e-3) -> Parameter:
    """Declare a capacitance in farads, in (0, `high`). The bound catches values in picofarads."""
    return Parameter(default, unit="F", low=0.0, high=high)


def ohms(default: float, low: float = 1e3, high: float = 1e15) -> Parameter:
    """Declare a resistance in ohms, in (`low`, `high`). The lower bound catches values in megaohms."""
    return Parameter(default, unit="Ohm", low=low, high=high)


@dataclasses.dataclass(frozen=True, init=False)
class Derived:
    """A coefficient of a step that the layer computes from parameters and the step length, in double precision.

    Parameters
    ----------
    compute : callable
        ``compute(*values, dt)``. A value is a float, or a tensor for a parameter with a value for each neuron or trial;
        of floats the result is a float, else a tensor of float64, through which the gradient passes to a learned
        parameter. The functions of `neurosim.units` are written so.
    *parameters : str
        Names of the parameters whose values it takes.

    Examples
    --------
    The response of a membrane to a constant current, exact for any step:

    >>> import neurosim as ns
    >>> from neurosim.language import Derived
    >>> from neurosim.units import MOhm, constant_response, ms, pF
    >>> @ns.core(
    ...     parameters=dict(tau_mem=ns.seconds(20 * ms), c_m=ns.farads(200 * pF)),
    ...     derived=dict(gain=Derived(constant_response, "tau_mem", "c_m")),
    ... )
    ... def membrane(i, v, *, alpha_mem, gain):
    ...     u = alpha_mem * v + gain * i
    ...     return u, u
    >>> ns.layer(membrane)(dt=1 * ms).coefficient("gain") / MOhm
    4.877...
    """

    compute: Callable[..., Any]
    parameters: tuple[str, ...]

    def __init__(self, compute: Callable[..., Any], *parameters: str) -> None:
        object.__setattr__(self, "compute", compute)
        object.__setattr__(self, "parameters", parameters)


def _derived_by_name(coefficient: str) -> Derived | None:
    """Return how a coefficient with one of the prefixes of `_COMPUTED` is computed; None for another name."""
    prefix, _, rest = coefficient.partition("_")
    if not rest or prefix not in _COMPUTED:
        return None
    of, compute = _COMPUTED[prefix]
    return Derived(compute, f"{of}_{rest}")


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
        Keyword-only arguments of the step: parameters, decays ``alpha_x``, turns ``cos_x`` and ``sin_x``, derived
        coefficients, ``dt``, ``spike``, ``reset``.
    derived : mapping of str to Derived
        Coefficients of the step that a layer computes: those declared, and those of the names above.
    integers_up_to : float or None
        For a core of integers, the largest current for which single precision is exact; double precision is exact up
        to 2**29 times as much. None for a core of real numbers.
    is_noisy : bool
        Whether the step takes ``normal`` by keyword. It is then the last of `inputs`, which a network feeds.
    state_type : type
        NamedTuple that holds the state, one field for each variable.
    """

    name: str
    step: Callable[..., tuple[Any, ...]]
    parameters: Mapping[str, Parameter]
    inputs: Mapping[str, float | None]
    state: Mapping[str, float]
    wants: tuple[str, ...]
    derived: Mapping[str, Derived] = dataclasses.field(default_factory=dict)
    integers_up_to: float | None = None
    is_noisy: bool = False
    state_type: Any = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Not a subclass of the named tuple: torch.compile cannot construct a subclass.
        named_tuple: Any = collections.namedtuple
        state_type = named_tuple(f"{self.name}_state", tuple(self.state))
        state_type.__reduce__ = lambda values: (_state, (self, *values))
        object.__setattr__(self, "state_type", state_type)

    def __call__(self, /, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Run one step; of a noisy core the normal number comes by keyword, or as the last input."""
        if self.is_noisy and NOISE not in kwargs:
            at = len(self.inputs) - 1
            kwargs[NOISE] = args[at]
            args = (*args[:at], *args[at + 1 :])
        return self.step(*args, **kwargs)

    @property
    def coefficients(self) -> tuple[str, ...]:
        """Names of the numbers that the step takes: parameters, values computed from them, and dt."""
        return tuple(name for name in self.wants if name not in CHOICES)

    def parameters_of(self, coefficient: str) -> tuple[str, ...]:
        """Return the parameters that a coefficient is computed from: itself if it is one, none for ``dt``."""
        if coefficient in self.derived:
            return self.derived[coefficient].parameters
        return () if coefficient == "dt" else (coefficient,)

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
    derived: Mapping[str, Derived] | None = None,
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
    derived : mapping of str to Derived, optional
        Further coefficients that the layer computes from several parameters, such as the propagator of a membrane.
    integers_up_to : float, optional
        For a step of integers, as in `Core`; its layers refuse currents that are not integers or are too large.

    Returns
    -------
    callable
        The decorator. The step function takes its inputs and then the state by position. By keyword it takes what it
        needs of: its parameters; ``alpha_x`` for each time constant ``tau_x`` (``exp(-dt/tau_x)``, computed in
        double precision), ``cos_x`` and ``sin_x`` for each frequency ``f_x``; the `derived` ones; ``dt`` (s);
        ``spike`` (the surrogate, called on the distance to threshold); ``reset`` (a `Reset`); ``normal`` (a standard
        normal number of each step and neuron, drawn from the noise seed of the run). It returns the output
        and the new state. It may use arithmetic, comparisons and the functions of `neurosim.language.functions`, but
        no branches.

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

    A membrane that follows an Ornstein-Uhlenbeck process of standard deviation `sigma`, exactly:

    >>> from neurosim.language import sqrt
    >>> @ns.core(parameters=dict(tau_mem=ns.seconds(10e-3), sigma=1.0), state=("v",))
    ... def ornstein_uhlenbeck(i, v, *, alpha_mem, sigma, normal):
    ...     u = alpha_mem * v + (1.0 - alpha_mem) * i + sigma * sqrt(1.0 - alpha_mem * alpha_mem) * normal
    ...     return u, u

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
    computed = [name for name in declared if name == "dt" or _derived_by_name(name)]
    if computed:
        raise InputError(
            f"a parameter cannot be called {computed}: the layer computes these; alpha_x comes from tau_x, cos_x and "
            "sin_x from f_x."
        )
    own = _checked_derived(derived or {}, declared)
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
        by_name = [f"{prefix}_{name.partition('_')[2]}" for prefix in _COMPUTED for name in declared]
        found = {name: _derived_by_name(name) for name in by_name}
        coefficients = {name: of for name, of in found.items() if of and of.parameters[0] in declared} | own
        is_noisy = NOISE in wants
        arguments = {**ports, NOISE: None} if is_noisy else ports
        wants = tuple(name for name in wants if name != NOISE)
        offered = {*declared, *CHOICES, NOISE, "dt", *coefficients}
        unknown = [name for name in wants if name not in offered]
        if unknown:
            raise InputError(
                f"core {step.__name__}: the step takes {unknown} by keyword; it may take {sorted(offered)}."
            )
        _check_state(step.__name__, initial)
        _check_arrays(step.__name__, arguments, initial, [name for name in wants if name not in CHOICES])
        if not step.__name__.isidentifier():
            raise InputError(f"a core is called as its step function; {step.__name__} has no name. Write it with def.")
        used = {name: coefficients[name] for name in wants if name in coefficients}
        decorated = Core(step.__name__, step, declared, arguments, initial, wants, used, integers_up_to, is_noisy)
        object.__setattr__(decorated, "__doc__", step.__doc__)
        object.__setattr__(decorated, "__module__", step.__module__)
        check_step(step.__name__, tuple(arguments), tuple(initial), wants, decorated)
        return decorated

    return decorate


def _checked_derived(derived: Mapping[str, Derived], declared: Mapping[str, Parameter]) -> dict[str, Derived]:
    """Return the derived coefficients of a core if their names are free and their parameters are declared."""
    reserved = {*declared, *_LAYER_ARGUMENTS, "dt"}
    taken = [name for name in derived if name in reserved or _derived_by_name(name)]
    if taken:
        raise InputError(f"a derived coefficient cannot be called {taken}: the step gets these already; rename it.")
    for name, each in derived.items():
        unknown = [parameter for parameter in each.parameters if parameter not in declared]
        if unknown or not each.parameters:
            raise InputError(
                f"the derived coefficient {name!r} is computed from {list(each.parameters)}; it must be from one or "
                f"more of the declared parameters {list(declared)}."
            )
    return dict(derived)


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
