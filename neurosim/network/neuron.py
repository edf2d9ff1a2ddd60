"""A core as a layer: parameters, explicit state, one call over time."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from neurosim import cores, language
from neurosim.compiler.counts import OperationCount, operations
from neurosim.compiler.plan import Plan, find, known
from neurosim.compiler.program import Program, record
from neurosim.errors import InputError, ShapeError
from neurosim.kernels.common.autograd import can_call_directly, under_transform
from neurosim.kernels.common.availability import DTYPES, fused
from neurosim.kernels.common.integer_checks import check_currents, check_product
from neurosim.kernels.common.layer_output import LayerOutput, recorded_values
from neurosim.kernels.common.under_compile import constant_in_graph
from neurosim.kernels.neurons import reference
from neurosim.language import Core, Parameter, Reset, Surrogate, atan
from neurosim.language.definition import RESET_AMOUNT
from neurosim.language.reset import ResetMode
from neurosim.network.parameters import CoreParameters
from neurosim.network.population import State


class Neuron(CoreParameters):
    """A population of neurons of one core.

    Parameters
    ----------
    core : Core
        The neuron model.
    dt : float
        Length of a step, s, in (0, 0.1).
    size : int or tuple of int, optional
        Shape of the population. Needed only to learn a parameter for each neuron that is given as one number.
    spike : Surrogate
        Spike with the derivative used in training.
    reset : {"value", "subtract", None}
        After a spike the membrane is set to ``v_reset``, lowered by ``v_th``, or left.
    reset_amount : float or Tensor, optional
        What ``reset="subtract"`` takes off instead of ``v_th``. It is a parameter of the layer as those of its core
        are: it may be learned, and a tensor gives each neuron its own.
    detach_reset : bool
        Whether the gradient through the reset is cut.
    learn : iterable of str
        Parameters that are trained: one value for each neuron where `size` or a tensor gives the shape, else one
        for all. A time constant is kept as its logarithm, so that it stays positive.
    **parameters : float or Tensor
        Values of the core's parameters in SI units; a tensor gives each neuron its own and must broadcast
        against the population.

    Raises
    ------
    UnitError
        For a value out of range, with a question where it smells of milliseconds.
    InputError
        For an unknown name or choice.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> layer = ns.LIF(tau_mem=10e-3, dt=1e-3)
    >>> z, state = layer(torch.full((50, 1, 3), 1.5))    # [T, B, N]
    >>> z.sum(0), state.v.shape
    (tensor([[4., 4., 4.]]), torch.Size([1, 3]))
    >>> ns.LIF(tau_mem=20, dt=1e-3)
    Traceback (most recent call last):
        ...
    neurosim.errors.UnitError: lif: tau_mem must be a finite number in (0, 1) s; got 20. Did you pass milliseconds? ...
    """

    def __init__(
        self,
        core: Core,
        *,
        dt: float,
        size: int | Sequence[int] | None = None,
        spike: Surrogate | None = None,
        reset: ResetMode = "value",
        reset_amount: float | Tensor | None = None,
        detach_reset: bool = True,
        learn: Iterable[str] = (),
        **parameters: float | Tensor,
    ) -> None:
        declared = dict(core.parameters)
        spike = atan() if spike is None else spike
        if not isinstance(spike, Surrogate):
            raise InputError(f"{core.name}: spike must be a surrogate such as atan(2.0); got {spike!r}.")
        if reset not in ("value", "subtract", None):
            raise InputError(f'{core.name}: reset must be "value", "subtract" or None; got {reset!r}.')
        if reset_amount is not None:
            if reset != "subtract" or "reset" not in core.wants:
                raise InputError(
                    f'{core.name}: reset_amount is what reset="subtract" subtracts; this layer has reset={reset!r}'
                    + ("" if "reset" in core.wants else " and its core does not reset")
                    + ". Leave reset_amount out."
                )
            declared[RESET_AMOUNT] = Parameter(1.0)
            parameters[RESET_AMOUNT] = reset_amount
        super().__init__(core, dt, size, declared, parameters, learn)
        self.spike = spike
        self.reset: ResetMode = reset
        self.detach_reset = detach_reset
        self._recorded: dict[Any, Any] = {}

    @property
    def is_spiking(self) -> bool:
        """Whether the output is spikes (else it is a membrane)."""
        return "spike" in self.core.wants

    def operations(self) -> OperationCount:
        """Return the arithmetic of one neuron's update, counted on the step function."""
        return operations(self._program())

    def _program(self) -> Program:
        # Surrogates may share a name; the derivative itself tells them apart.
        choice = (self.spike.derivative, self.spike.primitive, Reset(self.reset, self.detach_reset))
        if choice not in self._recorded:
            own = self.takes_own_amount
            self._recorded[choice] = record(self.core, self.spike, choice[-1], self._varying_names, own_amount=own)
        program: Program = self._recorded[choice]
        return program

    @constant_in_graph
    def _prepared(
        self, train: bool, through_time: bool, names: tuple[str, ...]
    ) -> tuple[str, list[float], list[float]]:
        """Return the key of the plan and the plain numbers that its two kernels take."""
        spike = (self.spike.derivative, self.spike.primitive)
        choice = (*spike, self.reset, self.detach_reset, self.dt, train, through_time, names)
        if choice not in self._recorded:
            plan = Plan(self._program(), train, through_time, names)
            numbers = self._shared_coefficients()
            backward = plan.host_values(plan.backward_uniforms, numbers) if train else []
            self._recorded[choice] = (known(plan), plan.host_values(plan.forward_uniforms, numbers), backward)
        prepared: tuple[str, list[float], list[float]] = self._recorded[choice]
        return prepared

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is derived from the core."""
        return {**self.__dict__, "_recorded": {}}

    def initial_state(self, i: Tensor) -> Any:
        """Return the state before the first step for an input like `i` [T, B, ...]."""
        shape, dtype = i.shape[1:], i.dtype if i.dtype in DTYPES else torch.float32
        return self.core.state_type(*(i.new_full(shape, v, dtype=dtype) for v in self.core.state.values()))

    def run(
        self, i: Tensor, state: State | None = None, record: Sequence[str] = (), *, through_time: bool = True
    ) -> LayerOutput:
        """Run as `forward` does, and record values at every step.

        Parameters
        ----------
        i, state, through_time
            As in `forward`.
        record : sequence of str
            State variables (after the step) or local variables of the step function such as ``"u"``, the
            membrane before reset. They are recorded without gradient.

        Returns
        -------
        LayerOutput
            With a mask where the surrogate has compact support and its argument is stored for the backward pass.
        """
        self._check_names(record)
        is_fused = isinstance(i, Tensor) and fused(i.device)
        # The CUDA kernels read and write half precision themselves, and compute in single.
        half = is_fused and i.device.type == "cuda"
        i, state, dtype = self._checked(i, state, half)
        check_currents(self.core, i, dtype)
        if not is_fused:
            return self._stepped(i, state, tuple(record), through_time, dtype)
        from neurosim.kernels.neurons import call

        per_neuron = self._coefficients(i)
        train = self._trains((i, *state, *per_neuron))
        key, forward, backward = self._prepared(train, through_time, tuple(record))
        out, *rest = call.run(key, (i,), state, per_neuron, forward, backward)
        after, stored = self.core.state_type(*rest[: len(state)]), rest[len(state) :]
        limited = train and self.spike.support < math.inf and can_call_directly((i,)) and not under_transform()
        mask = call.active(key, stored) if limited and i.device.type == "cpu" else None
        return LayerOutput(out.to(dtype), after, recorded_values(find(key), stored), None, mask)

    def run_linear(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        state: State | None = None,
        record: Sequence[str] = (),
        *,
        through_time: bool = True,
        chunk: int = 0,
        packed_bits: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> LayerOutput:
        """Run the neurons on the current ``x W^T + b`` in one pass that does not store the current.

        Parameters
        ----------
        x : Tensor [T, B, n]
            Spikes, or any other input; float32 or float64.
        weight : Tensor [N, n]
        bias : Tensor [N], optional
        state, record, through_time
            As in `run`.
        chunk : int
            Steps of a chunk. The state is kept where each chunk begins, and the backward pass computes the steps of a
            chunk again. With 0 the values of each step are kept.
        packed_bits, mask : Tensor [T B, ceil(n / 64)] of int64, optional
            Bits of x, and where its gradient is needed: those of the `LayerOutput` that x comes from.

        Returns
        -------
        LayerOutput
            With packed bits if the neurons spike.
        """
        from neurosim.kernels.linear import operator, single_step

        self._check_names(record)
        like, state, _ = self._checked(x.new_empty(1).expand(*x.shape[:2], weight.shape[0]), state)
        check_product(self.core, x if packed_bits is None else None, weight, bias)
        per_neuron = self._coefficients(like)
        train = self._trains((x, weight, bias, *state, *per_neuron))
        key, forward, backward = self._prepared(train, through_time, tuple(record))
        arguments = (key, x, weight, bias, state, per_neuron, forward, backward)
        if single_step.serves(x, weight, bias, *state, *per_neuron):
            result = single_step.run(*arguments)
        else:
            result = operator.run(*arguments, chunk if train and not record else 0, packed_bits, mask)
        return result._replace(state=self.core.state_type(*result.state))

    def run_recurrent(
        self,
        i: Tensor,
        weight: Tensor,
        z: Tensor,
        state: State | None = None,
        record: Sequence[str] = (),
        *,
        through_time: bool = True,
        chunk: int = 0,
    ) -> LayerOutput:
        """Run as `run` does, with synapses among the neurons themselves that act one step late.

        Parameters
        ----------
        i : Tensor [T, B, N]
            Current from outside.
        weight : Tensor [H, n, n]
            Synapses inside each of H blocks of n neurons, ``H n = N``; a row belongs to a postsynaptic neuron.
        z : Tensor [B, N]
            Output before the first step.
        state, record, through_time
            As in `run`; without `through_time` no gradient passes the synapses either.
        chunk : int
            As in `run_linear`, where that is possible and nothing is recorded.

        Returns
        -------
        LayerOutput
            With the last output, and with packed bits if the neurons spike and the blocks fill words of 64.
        """
        from neurosim.kernels.recurrent import operator

        self._check_names(record)
        i, state, dtype = self._checked(i, state)
        per_neuron, weight, z = self._coefficients(i), weight.to(i.dtype), z.to(i.dtype)
        check_product(self.core, None, weight, None, i)
        train = self._trains((i, weight, z, *state, *per_neuron))
        key, forward, backward = self._prepared(train, through_time, tuple(record))
        chunk = 0 if record else chunk
        out, last, *rest = operator.run(key, i, weight, z, state, per_neuron, forward, backward, chunk)
        after, stored = self.core.state_type(*rest[: len(state)]), rest[len(state) :]
        packed_bits = operator.bits_of(key, weight, stored)
        return LayerOutput(out.to(dtype), after, recorded_values(find(key), stored), packed_bits, None, last.to(dtype))

    def run_reference(
        self, i: Tensor, state: State | None = None, record: Sequence[str] = (), *, through_time: bool = True
    ) -> LayerOutput:
        """Run the step function itself, step by step with plain autograd: the definition.

        Parameters
        ----------
        i, state, through_time
            As in `forward`.
        record : sequence of str
            State variables.
        """
        self._check_names(record)
        i, state, dtype = self._checked(i, state)
        check_currents(self.core, i, dtype)
        return self._stepped(i, state, tuple(record), through_time, dtype)

    def _stepped(
        self, i: Tensor, state: State, record: tuple[str, ...], through_time: bool, dtype: torch.dtype
    ) -> LayerOutput:
        local = [name for name in record if name not in self.core.state]
        if local:
            raise InputError(f"{self.core.name}: the reference records state only; {local} need the fused kernel.")
        varying = {name: value.to(i.dtype) for name, value in self._varying_coefficients().items()}
        arguments: dict[str, Any] = {**self._shared_coefficients(), **varying}
        reset = Reset(self.reset, self.detach_reset, arguments.pop(RESET_AMOUNT, None))
        choices = {"spike": self.spike, "reset": reset}
        arguments.update({name: choice for name, choice in choices.items() if name in self.core.wants})
        traces: dict[str, list[Tensor]] = {name: [] for name in record}
        out, after = reference.run(self.core, (i,), state, arguments, through_time=through_time, watch=traces)
        recorded = {name: torch.stack(trace).detach() for name, trace in traces.items()}
        return LayerOutput(out.to(dtype), self.core.state_type(*after), recorded)

    def _coefficients(self, i: Tensor) -> list[Tensor]:
        """Return the tensor coefficients for currents like `i` [T, B, ...]."""
        real = i.dtype if i.dtype in DTYPES else torch.float32
        return [t.to(real).expand(i.shape[1:]) for t in self._varying_coefficients().values()]

    @staticmethod
    def _trains(tensors: Iterable[Tensor | None]) -> bool:
        return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)

    def _check_names(self, names: Sequence[str]) -> None:
        if not names:
            return
        program = self._program()
        known_names = [
            *program.state,
            *(n for n, e in program.named.items() if not e.is_boolean and n not in program.state),
        ]
        wrong = [name for name in names if name not in known_names]
        if wrong:
            raise InputError(f"{self.core.name}: cannot record {wrong}; this core has {known_names}.")

    def _checked(self, i: Tensor, state: State | None, half: bool = False) -> tuple[Tensor, State, torch.dtype]:
        self._check_current(i)
        self._check_parameters(i)
        name = self.core.name
        dtype = i.dtype
        real = dtype if dtype in DTYPES else torch.float32
        if not half:
            i = i.to(real)
        if state is None:
            return i, self.initial_state(i), dtype
        if len(state) != len(self.core.state):
            raise ShapeError(f"{name}: state must hold {list(self.core.state)}; got {len(state)} tensor(s).")
        for variable, value in zip(self.core.state, state, strict=True):
            if value.shape != i.shape[1:]:
                raise ShapeError(
                    f"{name}: state.{variable} must be {list(i.shape[1:])} as i[0] is; got {list(value.shape)}."
                )
            self._check_device(f"state.{variable}", value, i)
        return i, tuple(value.to(real) for value in state), dtype

    def extra_repr(self) -> str:
        """Return what distinguishes this layer, in the words used to make it."""
        parts = [self.core.name, *self._parameter_texts()]
        parts.append(f"dt={self.dt:g}")
        if self.is_spiking:
            parts += [f"spike={self.spike}", f"reset={self.reset!r}", f"detach_reset={self.detach_reset}"]
        return ", ".join(parts)


class LayerMaker(Protocol):
    """A function that builds layers of one core; made by `layer`."""

    core: Core

    def __call__(self, *, dt: float, **choices: Any) -> Neuron:
        """Return a layer; `choices` are those of `Neuron`."""


def layer(core: Core) -> LayerMaker:
    """Make the function that builds a layer of `core`, as `LIF` does of the core ``lif``.

    Parameters
    ----------
    core : Core
        A core, for instance the user's own.

    Returns
    -------
    callable
        ``make(*, dt, size=None, spike=atan(), reset="value", reset_amount=None, detach_reset=True, learn=(),
        **parameters) -> Neuron``.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> @ns.core(state=("v",))
    ... def counter(i, v):
    ...     return v + i, v + i
    >>> ns.layer(counter)(dt=1e-3)(torch.ones(3, 1, 1))[0].flatten()
    tensor([1., 2., 3.])
    """

    def make(*, dt: float, **choices: Any) -> Neuron:
        return Neuron(core, dt=dt, **choices)

    make.__doc__ = _docstring(core)
    keyword = inspect.Parameter.KEYWORD_ONLY
    general = [p for p in inspect.signature(Neuron.__init__).parameters.values() if p.kind is keyword]
    own = [
        inspect.Parameter(n, keyword, default=p.default, annotation="float | Tensor")
        for n, p in core.parameters.items()
    ]
    make.__signature__ = inspect.Signature([*general[:1], *own, *general[1:]], return_annotation=Neuron)  # type: ignore[attr-defined]
    make.__qualname__ = make.__name__ = core.name
    made = cast(LayerMaker, make)
    made.core = core
    return made


def _docstring(core: Core) -> str:
    lines = [
        (core.__doc__ or core.name).strip(),
        "",
        "Parameters",
        "----------",
        "dt : float",
        "    Length of a step, s.",
    ]
    for name, parameter in core.parameters.items():
        lines += [f"{name} : float or Tensor, default {parameter.default:g}", f"    {_describe(parameter)}"]
    lines += [
        "size, spike, reset, reset_amount, detach_reset, learn",
        "    As in `Neuron`.",
        "",
        "Returns",
        "-------",
        "Neuron",
    ]
    return "\n    ".join([*lines, f"    State: {', '.join(core.state)}.", ""])


def _describe(parameter: language.Parameter) -> str:
    if parameter.whole:
        return f"A whole number from {parameter.low:.0f} to {parameter.high:.0f}."
    if parameter.unit == "1":
        return "A plain number, in units of the membrane."
    return f"In {parameter.unit}, in ({parameter.low:g}, {parameter.high:g})."


IF = layer(cores.integrate_and_fire)
LI = layer(cores.leaky_integrator)
LIF = layer(cores.lif)
CubaLIF = layer(cores.cubalif)
ALIF = layer(cores.alif)
