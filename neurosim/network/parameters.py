"""Parameters of the neurons of one core: their values, how they are stored, and the coefficients of a step."""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from neurosim.errors import InputError, ShapeError, UnitError
from neurosim.kernels.common.autograd import under_transform
from neurosim.language import Core, Parameter
from neurosim.language.definition import RESET_AMOUNT
from neurosim.network.population import Population
from neurosim.units import decay_of, steps_obstacle, time_constant, turn_of
from neurosim.units.doubles import where_doubles_are

Value = float | Tensor
Layer = TypeVar("Layer", bound="CoreParameters")
_INSIDE = 1e-6  # relative distance of the value of a trained parameter from the ends of its range
_LATER = ("spike", "reset", "detach_reset")  # attributes of a layer that are set after its parameters


class CoreParameters(Population):
    """A population with the parameters of one core.

    A parameter is *shared* if it is one float for all neurons, else a tensor: a buffer, or a trained
    ``nn.Parameter``. A trained time constant is stored as ``log(tau / start)``, so that it stays positive and weight
    decay pulls it to its start. The value of a trained parameter stays in its declared range: beyond a bound it is the
    bound, and the gradient passes as if it were the stored value, so that training can bring it back.

    The step function takes *coefficients*, which are computed from the parameters: a parameter itself, the decay
    ``alpha_x`` of a time constant ``tau_x``, ``cos_x`` and ``sin_x`` of a frequency ``f_x``, those that the core
    derives from several parameters, and ``dt``.

    Parameters
    ----------
    core : Core
        The neuron model.
    dt : float, optional
        As in `Population`.
    size : int or sequence of int, optional
        Shape of the population.
    declared : mapping of str to Parameter
        The parameters that the population has: those of the core, and ``reset_amount`` if it resets by its own amount.
    values : mapping of str to float or Tensor
        Values in SI units; the declared default is used where there is none.
    learn : iterable of str
        Parameters that are trained.

    Raises
    ------
    InputError
        For an unknown name in `values` or `learn`, or an integer parameter in `learn`.
    UnitError
        For a value out of range.
    """

    def __init__(
        self,
        core: Core,
        dt: float | None,
        size: int | Sequence[int] | None,
        declared: Mapping[str, Parameter],
        values: Mapping[str, Value],
        learn: Iterable[str],
    ) -> None:
        super().__init__(core.name, dt, size)
        self.core = core
        self.declared = dict(declared)
        self.learned = _checked_names(core.name, learn)
        self._shared: dict[str, float] = {}
        self._starts: dict[str, str] = {}  # of each trained time constant, the buffer with its start
        self._bounds: dict[str, tuple[float, float]] = {}  # of trained parameters with a range
        self._stored_names: dict[str, str] = {}  # of each parameter that is a tensor, the attribute that stores it
        for kind, names in (("parameters", values), ("learn", self.learned)):
            unknown = [name for name in names if name not in self.declared]
            if unknown:
                hint = _hint(core, unknown, values, dt) if kind == "parameters" else ""
                raise InputError(f"{core.name}: unknown {kind} {unknown}; this core has {list(self.declared)}.{hint}")
        for name, parameter in self.declared.items():
            self._set(name, values.get(name, parameter.default))
        self._know_names()

    def _know_names(self) -> None:
        """Compute ranges, and which coefficients are one number for all neurons."""
        if self.has_dt:
            self._use_dt()
        names = (*self.core.coefficients, *((RESET_AMOUNT,) if self.takes_own_amount else ()))
        self._shared_names = tuple(name for name in names if self._is_shared(name))
        self._varying_names = tuple(name for name in names if not self._is_shared(name))
        self._fixed_names = tuple(name for name in self._varying_names if not self._is_learned(name))

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; the value of a parameter is checked, or refused if the layer has computed from it."""
        own = vars(self)
        # A parameter of a custom core may have the name of an attribute, which is not meant here.
        if name not in own and "_fixed_names" in own and name in self.declared:
            self._check_assignment(name, value)
        super().__setattr__(name, value)

    def _check_assignment(self, name: str, value: Any) -> None:
        """Raise unless `value` is a tensor for a parameter that is stored as a tensor of the same shape."""
        declared, owner = self.declared[name], self.core.name
        stored = self._stored_names.get(name)
        if stored is None:
            raise InputError(
                f"{owner}: {name} of this layer is the number {self._shared.get(name)!r} and cannot be set; make a new "
                f"layer with {name}={value!r}, or give a tensor when the layer is made, which can be set."
            )
        if stored != name:
            raise InputError(
                f"{owner}: {name} is stored as log({name} / start), being learned; set layer.{stored}.data.fill_(...)."
            )
        if not isinstance(value, Tensor):
            raise InputError(
                f"{owner}: {name} of this layer is a tensor; set it to one of shape {list(self.tensor(name).shape)}, "
                f"or layer.{name}.data.fill_({value!r})."
            )
        if value.shape != self.tensor(name).shape:
            raise ShapeError(
                f"{owner}: {name} has shape {list(self.tensor(name).shape)}; got {list(value.shape)}. Make a new layer."
            )
        outside = value[~(declared.holds(value) & torch.isfinite(value))]
        if outside.numel():
            declared.check(owner, name, outside.flatten()[0].item())
        if declared.in_steps and self.has_dt:
            self._check_steps(name, value)

    @property
    def takes_own_amount(self) -> bool:
        """Whether a reset by subtraction subtracts ``reset_amount`` instead of the threshold."""
        return RESET_AMOUNT in self.declared

    def value(self, name: str) -> Value:
        """Return the present value of a parameter: a float if it is shared, else a tensor.

        Parameters
        ----------
        name : str
            Name of the parameter, e.g. ``"tau_mem"`` (s).
        """
        if name in self._shared:
            return self._shared[name]
        if name not in self.declared:
            raise InputError(f"{self.core.name}: no parameter {name!r}; this core has {list(self.declared)}.")
        stored = self.tensor(name)
        is_time = name in self._starts
        value = getattr(self, self._starts[name]) * stored.exp() if is_time else stored
        if name not in self._bounds:
            return value
        held = value.detach().clamp(*self._bounds[name])
        change = stored - stored.detach()  # 0, with the gradient of what is stored
        return torch.where(held == value, value, held * (1.0 + change) if is_time else held + change)

    def with_values(self: Layer, **values: Value) -> Layer:
        """Return a copy of the layer with other values of some parameters, which are not learned.

        Parameters
        ----------
        **values : float or Tensor
            As when the layer is made: [N], or [B, 1] for each trial of a batch.

        Examples
        --------
        >>> import torch, neurosim as ns
        >>> layer = ns.LIF(dt=1e-3, tau_mem=20e-3)
        >>> layer.with_values(tau_mem=30e-3).value("tau_mem"), layer.value("tau_mem")
        (0.03, 0.02)
        """
        unknown = [name for name in values if name not in self.declared]
        if unknown:
            raise InputError(f"{self.core.name}: unknown parameters {unknown}; this core has {list(self.declared)}.")
        learned = [name for name in values if name in self.learned]
        if learned:
            raise InputError(f"{self.core.name}: {learned} are learned; make a new layer.")
        other = copy.deepcopy(self)
        for name, value in values.items():
            stored = other._stored_names.pop(name, None)
            if stored is not None:
                delattr(other, stored)
            other._shared.pop(name, None)
            other._set(name, value)
        other._know_names()
        return other

    def decay(self, name: str) -> Value:
        """Return ``exp(-dt / tau)`` of time constant `name`, computed in double precision."""
        return decay_of(self.value(name), self.dt)

    def turn(self, name: str) -> tuple[Value, Value]:
        """Return ``cos(2 pi f dt)`` and ``sin(2 pi f dt)`` of frequency `name`, computed in double precision."""
        return turn_of(self.value(name), self.dt)

    def coefficient(self, name: str) -> Value:
        """Return a coefficient of the step, e.g. ``"alpha_mem"``: a float if its parameter is shared, else a tensor."""
        return self._coefficient_of(name, {each: self.value(each) for each in self.core.parameters_of(name)})

    def _coefficient_of(self, name: str, values: Mapping[str, Value]) -> Value:
        """Return the coefficient `name` of the step, given the values of the parameters that it is computed from."""
        if name in self.core.derived:
            given = {k: where_doubles_are(v) if isinstance(v, Tensor) else v for k, v in values.items()}
            coefficient: Value = self.core.derived[name].compute(*given.values(), self.dt)
            moved = [v for k, v in values.items() if given[k] is not v and isinstance(v, Tensor)]
            return coefficient.to(moved[0]) if moved and isinstance(coefficient, Tensor) else coefficient
        return self.dt if name == "dt" else values[name]

    def _is_shared(self, coefficient: str) -> bool:
        return all(name in self._shared for name in self.core.parameters_of(coefficient))

    def _is_learned(self, coefficient: str) -> bool:
        return any(name in self.learned for name in self.core.parameters_of(coefficient))

    def tensors_of(self, coefficient: str) -> dict[str, Tensor]:
        """Return the stored tensors among the parameters that a coefficient is computed from."""
        names = self.core.parameters_of(coefficient)
        return {name: self.tensor(name) for name in names if name not in self._shared}

    def _shared_coefficients(self) -> dict[str, float]:
        return {name: self.coefficient(name) for name in self._shared_names}  # type: ignore[misc]

    def _varying_coefficients(self, per_trial: Collection[str] = ()) -> dict[str, Tensor]:
        """Return the coefficients that are tensors, but for those `per_trial`."""
        names = [name for name in self._varying_names if name not in per_trial] if per_trial else self._varying_names
        return {name: self.coefficient(name) for name in names}  # type: ignore[misc]

    def tensor(self, name: str) -> Tensor:
        """Return the stored tensor of a parameter that is not shared: ``log(tau / start)`` of a trained time."""
        stored: Tensor = getattr(self, self._stored_names[name])
        return stored

    def per_trial_parameters(self, population: tuple[int, ...]) -> tuple[str, ...]:
        """Return the parameters that have a value for each trial of a batch, given the shape of the population."""
        return tuple(name for name in self._stored_names if self.tensor(name).dim() > len(population))

    def _per_trial(self, i: Tensor) -> tuple[str, ...]:
        """Return the coefficients that are one number for each trial of a current like `i` [T, B, ...].

        These are computed from tensors [B, 1, ...] that are not trained. Under a compiler or a function transform there
        are none: the values of such a tensor are then not known.
        """
        if not self._fixed_names or torch.compiler.is_compiling() or under_transform():
            return ()

        def is_per_trial(t: Tensor) -> bool:
            return t.dim() == i.dim() - 1 and t.numel() == t.shape[0]

        return tuple(name for name in self._fixed_names if all(map(is_per_trial, self.tensors_of(name).values())))

    def _numbers_of_trials(self, per_trial: Sequence[str]) -> list[dict[str, float]]:
        """Return for each trial its plain numbers: of `per_trial` its own, then those that all share."""
        shared: dict[str, Any] = self._shared_coefficients()
        tensors = {key: t for name in per_trial for key, t in self.tensors_of(name).items()}
        trials = max(map(len, tensors.values()))
        values = {name: tensor.flatten().expand(trials).tolist() for name, tensor in tensors.items()}

        def number(name: str, b: int) -> float:
            return values[name][b] if name in values else self._shared[name]

        def own(b: int) -> dict[str, Any]:
            sources = ((name, self.core.parameters_of(name)) for name in per_trial)
            return {name: self._coefficient_of(name, {each: number(each, b) for each in of}) for name, of in sources}

        return [{**shared, **own(b)} for b in range(trials)]

    def _set(self, name: str, value: Value) -> None:
        """Check a value and store it as a float, a buffer or a trained parameter."""
        declared, owner = self.declared[name], self.core.name
        if isinstance(value, Tensor):
            outside = value[~(declared.holds(value) & torch.isfinite(value))]
            if outside.numel():
                declared.check(owner, name, outside.flatten()[0].item())
            dtype = value.dtype if value.is_floating_point() else torch.get_default_dtype()
            value = value.detach().clone().to(dtype)
        else:
            value = declared.check(owner, name, value)
        is_time = name in self.learned and declared.unit == "s"
        attribute = self._free_attribute(f"log_{name}" if is_time else name)
        if name in self.learned:
            if not declared.is_learnable:
                kind = "an integer" if declared.integer else "an integer number of steps"
                raise InputError(f"{owner}: {name} is {kind} and cannot be learned; leave it out of learn.")
            start = torch.as_tensor(value, dtype=None if isinstance(value, Tensor) else torch.get_default_dtype())
            if start.dim() == 0 and self.size is not None:
                start = start.expand(self.size).clone()
            self._stored_names[name] = attribute
            if is_time:
                self._starts[name] = self._free_attribute(f"{name}_start")
                self.register_buffer(self._starts[name], start.clone())
            self.register_parameter(attribute, nn.Parameter(torch.zeros_like(start) if is_time else start.clone()))
        elif isinstance(value, Tensor):
            self._stored_names[name] = attribute
            self.register_buffer(attribute, value)
        else:
            self._shared[name] = value

    def _use_dt(self) -> None:
        """Check times that must lie on the grid, and compute the ranges of trained parameters."""
        bounds = {}
        for name, declared in self.declared.items():
            stored = self._stored_names.get(name)
            if declared.in_steps:
                self._check_steps(name, self.tensor(name) if stored else self._shared[name])
            if name in self.learned and (declared.low > -math.inf or declared.high < math.inf):
                start = getattr(self, self._starts[name]) if name in self._starts else self.tensor(name)
                bounds[name] = self._bounds_of(declared, start)
        self._bounds = bounds

    def _check_steps(self, name: str, value: Value) -> None:
        """Raise unless times are integer numbers of steps."""
        resolution = torch.finfo(value.dtype).eps if isinstance(value, Tensor) else 2.0**-52
        for time in value.flatten().tolist() if isinstance(value, Tensor) else [value]:
            obstacle = steps_obstacle(name, time, self.dt, resolution)
            if obstacle:
                raise UnitError(f"{self.core.name}: {obstacle}")

    def _bounds_of(self, declared: Parameter, start: Tensor) -> tuple[float, float]:
        """Return the lowest and the highest value of a trained parameter, within its range, which has open ends."""
        low, high = (
            end if math.isinf(end) else end - sign * _INSIDE * abs(end)
            for end, sign in ((declared.low, -1.0), (declared.high, 1.0))
        )
        if not declared.low:  # a decay over 100 time constants is 0
            low = self.dt / 100.0 if declared.unit == "s" else _INSIDE
        values = where_doubles_are(start.detach()).double()
        return min(low, float(values.min())), max(high, float(values.max()))

    def _free_attribute(self, name: str) -> str:
        """Return an attribute for a parameter: of this name, unless the layer has another attribute of that name."""
        while hasattr(self, name) or name in _LATER:
            name += "_parameter"
        return name

    def _check_parameters(self, i: Tensor) -> None:
        """Check that the parameters that are tensors fit a current `i` [T, B, ...]."""
        for name in self._stored_names:
            stored = self.tensor(name)
            if not _broadcasts(stored.shape, i.shape[1:]):
                raise self._shape_error(name, stored.shape, i)
            self._check_device(name, stored, i)

    def _shape_error(self, name: str, shape: tuple[int, ...], i: Tensor) -> ShapeError:
        batch, *population = i.shape[1:]
        message = f"{self.core.name}: {name} of shape {list(shape)} does not fit neurons of shape {population}"
        if len(shape) == 1 + len(population) and _broadcasts(shape[1:], population):
            held = f"holds values for {shape[0]} trials, the input has a batch of {batch}"
            message = f"{self.core.name}: {name} of shape {list(shape)} {held}; give an input [T, {shape[0]}, ...]"
        return ShapeError(f"{message}.")

    def _parameter_texts(self) -> list[str]:
        """Return each parameter as ``"name=value"``, a tensor by its shape alone."""
        texts = []
        for name in self.declared:
            value = self.value(name)
            shown = f"tensor{list(value.shape)}" if isinstance(value, Tensor) else f"{value:g}"
            texts.append(f"{name}={shown}" + (" (learned)" if name in self.learned else ""))
        return texts


def _checked_names(owner: str, learn: Any) -> tuple[str, ...]:
    names = tuple(learn) if isinstance(learn, Iterable) and not isinstance(learn, (str, Tensor)) else None
    if names is None or not all(isinstance(name, str) for name in names):
        example = (learn,) if isinstance(learn, str) else ("tau_mem",)
        raise InputError(f"{owner}: learn is a tuple of names of parameters, such as learn={example!r}; got {learn!r}.")
    return names


def _hint(core: Core, unknown: Sequence[str], values: Mapping[str, Any], dt: Any) -> str:
    """Return what other libraries' names of parameters are here."""
    name = unknown[0]
    if name in ("beta", "alpha", "decay") and "tau_mem" in core.parameters:
        value, numbers = values[name], (int, float)
        hint = " A decay per step is a time constant here: tau_mem = -dt / ln(beta)"
        if isinstance(value, numbers) and isinstance(dt, numbers) and 0.0 < value < 1.0:
            hint += f", here tau_mem={time_constant(float(value), dt):.6g}"
        return f"{hint}. For snnTorch's membrane, whose input has no factor 1 - beta, set r = 1 / (1 - beta) too."
    other = {
        "threshold": "v_th",
        "v_threshold": "v_th",
        "tau": "tau_mem",
        "learn_beta": "learn",
        "surrogate_function": "spike",
    }
    other |= {"spike_grad": "spike", "reset_mechanism": "reset", "tau_m": "tau_mem", "v_rest": "v_reset"}
    known = name in other and (other[name] in core.parameters or other[name] in ("learn", "spike", "reset"))
    return f" It is called {other[name]} here." if known else ""


def _broadcasts(shape: Sequence[int], target: Sequence[int]) -> bool:
    if len(shape) > len(target):
        return False
    return all(a in (1, b) for a, b in zip(reversed(shape), reversed(target), strict=False))
