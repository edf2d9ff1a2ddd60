"""A population of neurons of one core: explicit state, one call over time."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from neurosim.errors import InputError, ShapeError
from neurosim.kernels.common import availability, decisions
from neurosim.kernels.common.availability import DTYPES, fused
from neurosim.kernels.common.constants import start_value
from neurosim.kernels.common.integer_checks import check_currents, check_product
from neurosim.kernels.common.layer_output import LayerOutput, recorded_values
from neurosim.kernels.neurons import reference
from neurosim.language import Core, Reset, Surrogate
from neurosim.language.definition import RESET_AMOUNT
from neurosim.language.reset import ResetMode
from neurosim.network.planning import CorePlans, KernelArguments
from neurosim.network.population import Inputs, State
from neurosim.network.source import first_state
from neurosim.network.start_values import StartDraw, StartValues
from neurosim.synapses.distributions import Distribution


class Neuron(CorePlans):
    """A population of neurons of one core.

    Parameters
    ----------
    core : Core
        The neuron model.
    dt : float, optional
        Length of a step, s, in (0, 0.1); that of its network if left out. A layer without one cannot run.
    size : int or tuple of int, optional
        Shape of the population. Only needed to train a parameter for each neuron that starts from one number.
    spike : Surrogate
        Spike with the derivative used in training.
    reset : {"value", "subtract", None}
        After a spike the membrane is set to ``v_reset``, lowered by ``v_th``, or left.
    reset_amount : float or Tensor, optional
        Amount that ``reset="subtract"`` subtracts instead of ``v_th``. It is a parameter of the layer like those of
        its core: it may be trained, and may be a tensor.
    detach_reset : bool
        Whether the gradient through the reset is cut.
    learn : iterable of str
        Parameters that are trained: one value for each neuron if `size` or a tensor gives the shape, else one
        for all. A time constant is stored as ``log(tau / start)``. Values stay in their declared range; see
        `neurosim.network.parameters.CoreParameters`.
    init : mapping of str to float, Tensor or Distribution, optional
        Start values of state variables; those of the core for variables left out. A tensor is [*shape], or
        [B, *shape] with a value for each trial. Distributions, those of `neurosim.synapses.distributions`, are drawn
        from the start seed; see `Network.initial_state`.
    **parameters : float or Tensor
        Values of the core's parameters in SI units. A tensor must broadcast against the population or against
        [B, *population]*: one value for each neuron ([N]), each trial of a batch ([B, 1]) or both ([B, N]).

    Raises
    ------
    UnitError
        For a value out of range; a value that may be in milliseconds gets that question.
    InputError
        For an unknown name or choice.

    Notes
    -----
    A trial of a run with values for each trial has the bits of the run with its values alone: of [B, N] the values
    [N], of [B, 1] the number, unless it is trained.

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
        dt: float | None = None,
        size: int | Sequence[int] | None = None,
        spike: Surrogate | None = None,
        reset: ResetMode = "value",
        reset_amount: float | Tensor | None = None,
        detach_reset: bool = True,
        learn: Iterable[str] = (),
        init: Mapping[str, float | Tensor | Distribution] | None = None,
        **parameters: float | Tensor,
    ) -> None:
        super().__init__(core, dt, size, spike, reset, reset_amount, detach_reset, learn, parameters)
        self.init = StartValues(core.name, core.state, init, self.size) if init is not None else None

    def initial_state(self, i: Inputs, draw: StartDraw | None = None) -> Any:
        """Return the state before the first step for an input like `i` [T, B, ...].

        Parameters
        ----------
        i : Tensor [T, B, ...], or mapping of str to such
        draw : StartDraw, optional
            Seed and trial of each sample, for values that are drawn; a seed from torch's generator on the CPU if left
            out.
        """
        i = i if isinstance(i, Tensor) else next(iter(i.values()))
        shape, dtype = i.shape[1:], i.dtype if i.dtype in DTYPES else torch.float32
        if self.init is not None:
            if draw is None:
                at = first_state(shape[0], None if self.init.drawn else 0, None, torch.device("cpu"))
                draw = StartDraw(self.core.name, at.seed, at.trial)
            return self.core.state_type(*self.init.start(shape, dtype, i.device, draw))
        return self.core.state_type(*(start_value(i, shape, v, dtype) for v in self.core.state.values()))

    def run(
        self, i: Inputs, state: State | None = None, record: Sequence[str] = (), *, through_time: bool = True
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
        fed, inputs = self._by_port(i)
        device = inputs[0].device
        is_fused = fused(device)
        # The CUDA kernels read and write half precision themselves, and compute in single.
        half = is_fused and device.type == "cuda"
        inputs, state, dtype = self._checked(inputs, state, half)
        check_currents(self.core, fed, inputs, dtype)
        if decisions.observers:
            reason = availability.obstacle(device.type) or ""
            decisions.note("neurons", device.type, "fused" if is_fused else "reference", reason)
        if not is_fused:
            return self._stepped(fed, inputs, state, tuple(record), through_time, dtype)
        from neurosim.kernels.neurons.operator import Call, gradient_mask, run_core

        arguments = self._arguments(fed, inputs[0], (*inputs, *state), through_time, tuple(record))
        _, key, coefficients, forward, backward = arguments
        call = Call(key, inputs, state, coefficients, forward, backward)
        result = run_core(call)
        recorded, mask = recorded_values(key, result.stored), gradient_mask(call, result)
        return LayerOutput(result.out.to(dtype), self.core.state_type(*result.state), recorded, None, mask)

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
        port: str | None = None,
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
        port : str, optional
            Port that the current feeds, the only one that is fed; of a core with one port that one.

        Returns
        -------
        LayerOutput
            With packed bits if the neurons spike.
        """
        from neurosim.kernels.linear.operator import Call, run

        self._check_names(record)
        like = x.new_empty(1).expand(*x.shape[:2], weight.shape[0])
        fed, inputs = self._by_port(like if port is None else {port: like})
        _, state, _ = self._checked(inputs, state)
        check_product(self.core, x if packed_bits is None else None, weight, bias)
        arguments = self._arguments(fed, like, (x, weight, bias, *state), through_time, tuple(record))
        train, key, coefficients, forward, backward = arguments
        chunk = chunk if train and not record else 0
        result = run(Call(key, x, weight, bias, state, coefficients, forward, backward, chunk, packed_bits, mask))
        state = self.core.state_type(*result.state)
        return LayerOutput(result.out, state, result.recorded, result.packed_bits, result.mask)

    def row_arguments(
        self, like: Tensor, tensors: Iterable[Tensor | None], state: State | None, through_time: bool, port: str | None
    ) -> tuple[State, KernelArguments]:
        """Return the state, checked, and what the kernels of a row of layers take beside its tensors.

        Parameters
        ----------
        like : Tensor [T, B, N]
            Of the shape of the current.
        tensors : iterable of Tensor
            All other tensors that the neurons' output depends on.
        state, through_time, port
            As in `run_linear`.
        """
        fed, inputs = self._by_port(like if port is None else {port: like})
        _, state, _ = self._checked(inputs, state)
        return state, self._arguments(fed, like, (*tensors, *state), through_time, ())

    def run_recurrent(
        self,
        i: Inputs,
        weight: Tensor,
        z: Tensor,
        state: State | None = None,
        record: Sequence[str] = (),
        *,
        through_time: bool = True,
        chunk: int = 0,
        port: str | None = None,
    ) -> LayerOutput:
        """Run as `run` does, with synapses among the neurons themselves that act one step late.

        Parameters
        ----------
        i : Tensor [T, B, N], or mapping of str to such
            Current from outside, into each port that is fed if there are several.
        weight : Tensor [H, n, n]
            Synapses inside each of H blocks of n neurons, ``H n = N``; a row belongs to a postsynaptic neuron.
        z : Tensor [B, N]
            Output before the first step.
        state, record, through_time
            As in `run`; without `through_time` no gradient passes the synapses either.
        chunk : int
            As in `run_linear`, where that is possible and nothing is recorded.
        port : str, optional
            Port that the synapses feed, one of those in `i`; the only one if there is one.

        Returns
        -------
        LayerOutput
            With the last output, and with packed bits if the neurons spike and the blocks fill words of 64.
        """
        from neurosim.kernels.recurrent.operator import Call, run

        self._check_names(record)
        fed, inputs = self._by_port(i)
        half = inputs[0].device.type == "cuda"  # as in `run`
        inputs, state, dtype = self._checked(inputs, state, half)
        place = 0 if port is None else fed.index(port)
        drive, others = inputs[place], (*inputs[:place], *inputs[place + 1 :])
        weight, z = weight.to(drive.dtype), z.to(drive.dtype)
        check_product(self.core, None, weight, None, fed, inputs)
        arguments = self._arguments(fed, drive, (*inputs, weight, z, *state), through_time, tuple(record))
        _, key, coefficients, forward, backward = arguments
        chunk = 0 if record else chunk
        result = run(Call(key, drive, weight, z, state, coefficients, forward, backward, chunk, others, place))
        assert result.last is not None
        out, last, state = result.out.to(dtype), result.last.to(dtype), self.core.state_type(*result.state)
        return LayerOutput(out, state, result.recorded, result.packed_bits, None, last)

    def run_reference(
        self,
        i: Inputs,
        state: State | None = None,
        record: Sequence[str] = (),
        *,
        through_time: bool = True,
        gradient: bool = False,
    ) -> LayerOutput:
        """Run the step function itself, step by step with plain autograd: the definition.

        Parameters
        ----------
        i, state, through_time
            As in `forward`.
        record : sequence of str
            State variables.
        gradient : bool
            Whether recorded values have their gradient.
        """
        self._check_names(record)
        fed, inputs = self._by_port(i)
        inputs, state, dtype = self._checked(inputs, state)
        check_currents(self.core, fed, inputs, dtype)
        return self._stepped(fed, inputs, state, tuple(record), through_time, dtype, gradient)

    def _stepped(
        self,
        fed: tuple[str, ...],
        inputs: Sequence[Tensor],
        state: State,
        record: tuple[str, ...],
        through_time: bool,
        dtype: torch.dtype,
        gradient: bool = False,
    ) -> LayerOutput:
        known = (*self.core.state, *self.core.step.__code__.co_varnames)
        unknown = [name for name in record if name not in known]
        if unknown:
            raise InputError(f"{self.core.name}: no variable {unknown[0]!r} to record; there are {list(known)}.")
        like, by_port = inputs[0], dict(zip(fed, inputs, strict=True))
        per_trial = self._per_trial(like)
        per_neuron = {name: value.to(like.dtype) for name, value in self._varying_coefficients(per_trial).items()}
        if not per_trial:
            coefficients = {**self._shared_coefficients(), **per_neuron}
            result = self._step_by_step(by_port, state, coefficients, record, through_time, gradient)
            return result._replace(out=result.out.to(dtype))
        # A number of a trial is a plain number: each trial runs on its own.
        per_neuron = {name: value.expand(like.shape[1:]) for name, value in per_neuron.items()}
        results = []
        for b, numbers in zip(range(like.shape[1]), itertools.cycle(self._numbers_of_trials(per_trial)), strict=False):
            one = slice(b, b + 1)
            coefficients = {**numbers, **{name: value[one] for name, value in per_neuron.items()}}
            part = {port: x[:, one] for port, x in by_port.items()}
            results.append(
                self._step_by_step(part, [s[one] for s in state], coefficients, record, through_time, gradient)
            )
        out = torch.cat([result.out for result in results], 1).to(dtype)
        after = self.core.state_type(*map(torch.cat, zip(*(result.state for result in results), strict=True)))
        recorded = {name: torch.cat([result.recorded[name] for result in results], 1) for name in record}
        return LayerOutput(out, after, recorded)

    def _step_by_step(
        self,
        inputs: Mapping[str, Tensor],
        state: Sequence[Tensor],
        coefficients: dict[str, Any],
        record: tuple[str, ...],
        through_time: bool,
        gradient: bool,
    ) -> LayerOutput:
        reset = Reset(self.reset, self.detach_reset, coefficients.pop(RESET_AMOUNT, None))
        choices = {"spike": self.spike, "reset": reset}
        coefficients.update({name: choice for name, choice in choices.items() if name in self.core.wants})
        traces: dict[str, list[Tensor]] = {name: [] for name in record}
        # A port without a value is fed.
        each: list[Any] = [inputs.get(port, value) for port, value in self.core.inputs.items()]
        out, after = reference.run(self.core, each, state, coefficients, through_time=through_time, watch=traces)
        # A run of no steps has no trace.
        stacked = {name: torch.stack(trace) if trace else torch.empty_like(out) for name, trace in traces.items()}
        recorded = {name: trace if gradient else trace.detach() for name, trace in stacked.items()}
        return LayerOutput(out, self.core.state_type(*after), recorded)

    def _by_port(self, i: Inputs) -> tuple[tuple[str, ...], tuple[Tensor, ...]]:
        """Return the ports that are fed, in the order of the core's, and the input of each."""
        if len(self._ports) == 1:
            self._check_current(i)
            return self._ports, (i,)  # type: ignore[return-value]
        ports, name = self.core.inputs, self.core.name
        if not isinstance(i, Mapping):
            raise InputError(
                f"{name}: the input must be a mapping from the input ports {list(ports)} to tensors [T, B, ...]; got "
                f"{type(i).__name__}."
                + (" A network draws 'normal'; outside of one give the numbers." if self.noise_port else "")
            )
        unknown = [port for port in i if port not in ports]
        missing = [port for port, value in ports.items() if value is None and port not in i]
        if unknown or missing or not i:
            wrong = f"no port {unknown}" if unknown else f"{missing} must be fed" if missing else "no port is fed"
            raise InputError(f"{name}: {wrong}; this core has the input ports {list(ports)}.")
        inputs = {port: i[port] for port in ports if port in i}
        first, like = next(iter(inputs.items()))
        for port, x in inputs.items():
            self._check_current(x, port)
            if (x.shape, x.dtype, x.device) != (like.shape, like.dtype, like.device):
                shown = [f"{list(each.shape)} of {each.dtype} on {each.device}" for each in (like, x)]
                raise ShapeError(f"{name}: {first} and {port} must be alike; got {shown[0]} and {shown[1]}.")
        return tuple(inputs), tuple(inputs.values())

    def _checked(
        self, inputs: tuple[Tensor, ...], state: State | None, half: bool = False
    ) -> tuple[tuple[Tensor, ...], State, torch.dtype]:
        i, name = inputs[0], self.core.name
        self._check_parameters(i)
        dtype = i.dtype
        real = dtype if dtype in DTYPES else torch.float32
        if not half and dtype != real:
            inputs = tuple(x.to(real) for x in inputs)
        if state is None:
            return inputs, self.initial_state(i), dtype
        if len(state) != len(self.core.state):
            raise ShapeError(f"{name}: state must hold {list(self.core.state)}; got {len(state)} tensor(s).")
        for variable, value in zip(self.core.state, state, strict=True):
            if value.shape != i.shape[1:]:
                raise ShapeError(
                    f"{name}: state.{variable} must be {list(i.shape[1:])} as i[0] is; got {list(value.shape)}."
                )
            self._check_device(f"state.{variable}", value, i)
        return inputs, tuple(value.to(real) for value in state), dtype

    def extra_repr(self) -> str:
        """Return the core, the parameters and the choices of this layer."""
        parts = [self.core.name, *self._parameter_texts()]
        parts.append(self._dt_text())
        if self.is_spiking:
            parts += [f"spike={self.spike}", f"reset={self.reset!r}", f"detach_reset={self.detach_reset}"]
        return ", ".join(parts)
