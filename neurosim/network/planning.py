"""The choices of the neurons of one core, and the plans of their kernels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neurosim.compiler.counts import OperationCount, operations
from neurosim.compiler.plan import Plan, find, known
from neurosim.compiler.program import Program, record
from neurosim.errors import InputError
from neurosim.kernels.common.availability import DTYPES
from neurosim.kernels.common.under_compile import constant_in_graph
from neurosim.language import Core, Parameter, Reset, Surrogate, atan
from neurosim.language.definition import NOISE, RESET_AMOUNT
from neurosim.language.reset import ResetMode
from neurosim.network.parameters import CoreParameters, Value

_CHOICES = ("spike", "reset", "detach_reset")


def check_choice(owner: str, name: str, value: Any) -> None:
    """Raise `InputError` for what is no surrogate, no reset mode, or neither True nor False."""
    if name == "spike" and not isinstance(value, Surrogate):
        raise InputError(f"{owner}: spike must be a surrogate such as atan(2.0); got {value!r}.")
    if name == "reset" and (value is not None and value not in ("value", "subtract")):
        raise InputError(f'{owner}: reset must be "value", "subtract" or None; got {value!r}.')
    if name == "detach_reset" and not isinstance(value, bool):
        raise InputError(f"{owner}: detach_reset must be True or False; got {value!r}.")


class KernelArguments(NamedTuple):
    """What the kernels of a run take beside its tensors.

    Attributes
    ----------
    train : bool
        Whether something that the run reads needs a gradient.
    key : str
        Key of the plan.
    coefficients : list of Tensor [B, ...]
        Coefficients of the step that are tensors, in the plan's order.
    forward_numbers, backward_numbers : list of float
        The others, as the two kernels of the plan take them.
    """

    train: bool
    key: str
    coefficients: list[Tensor]
    forward_numbers: list[float]
    backward_numbers: list[float]


class CorePlans(CoreParameters):
    """A population of one core with its surrogate and reset, and the plans of the kernels that run it.

    Parameters
    ----------
    core, dt, size, spike, reset, reset_amount, detach_reset, learn
        As in `Neuron`.
    values : mapping of str to float or Tensor
        Values of the core's parameters.
    """

    def __init__(
        self,
        core: Core,
        dt: float | None,
        size: int | Sequence[int] | None,
        spike: Surrogate | None,
        reset: ResetMode,
        reset_amount: Value | None,
        detach_reset: bool,
        learn: Iterable[str],
        values: Mapping[str, Value],
    ) -> None:
        declared = dict(core.parameters)
        spike = atan() if spike is None else spike
        check_choice(core.name, "spike", spike)
        check_choice(core.name, "reset", reset)
        if reset_amount is not None:
            if reset != "subtract" or "reset" not in core.wants:
                raise InputError(
                    f'{core.name}: reset_amount is what reset="subtract" subtracts; this layer has reset={reset!r}'
                    + ("" if "reset" in core.wants else " and its core does not reset")
                    + ". Leave reset_amount out."
                )
            declared[RESET_AMOUNT] = Parameter(1.0)
            values = {**values, RESET_AMOUNT: reset_amount}
        super().__init__(core, dt, size, declared, values, learn)
        self.spike = spike
        self.reset: ResetMode = reset
        self.detach_reset = detach_reset
        self._ports = tuple(core.inputs)
        self._plans: dict[Any, Any] = {}  # programs, plans and numbers that were computed before

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; surrogate and reset are checked."""
        if name in _CHOICES:
            check_choice(self.kind, name, value)
        super().__setattr__(name, value)

    @property
    def is_spiking(self) -> bool:
        """Whether the output is spikes (else it is a membrane)."""
        return "spike" in self.core.wants

    def operations(self) -> OperationCount:
        """Return the arithmetic of one neuron's update, counted on the step function."""
        return operations(self._program())

    @property
    def ports(self) -> Mapping[str, float | None]:
        """Input ports: the value of each where nothing feeds it, or None if it must be fed."""
        return self.core.inputs

    @property
    def noise_port(self) -> str | None:
        """Input port that a network feeds with normal numbers, if there is one."""
        return NOISE if self.core.is_noisy else None

    def _program(self, fed: tuple[str, ...] = (), per_trial: tuple[str, ...] = ()) -> Program:
        """Return the step with the choices of this layer, for the ports that are fed, by default all."""
        fed = fed or self._ports
        reset = Reset(self.reset, self.detach_reset)
        choice = (self.spike.form, reset, fed, per_trial)
        if choice not in self._plans:
            per_neuron = tuple(name for name in self._varying_names if name not in per_trial)
            own = self.takes_own_amount
            self._plans[choice] = record(
                self.core, self.spike, reset, per_neuron, per_trial=per_trial, own_amount=own, fed=fed
            )
        program: Program = self._plans[choice]
        return program

    @constant_in_graph
    def _prepared(
        self,
        train: bool,
        through_time: bool,
        names: tuple[str, ...],
        fed: tuple[str, ...] = (),
        per_trial: tuple[str, ...] = (),
        spike: str = "",
    ) -> tuple[str, list[float], list[float]]:
        """Return the key of the plan and the plain numbers that its two kernels take.

        `spike` is the name of the surrogate: a compiler that holds the result compares it.
        """
        form = self.spike.form
        choice = (form, self.reset, self.detach_reset, self.dt, train, through_time, names, fed, per_trial)
        plan, surrogate, prepared = self._plans.get(choice, (None, None, None))
        if surrogate is not self.spike:  # of a surrogate that differs in its numbers alone the plan is the same
            plan = plan or Plan(self._program(fed, per_trial), train, through_time, names)
            numbers = {**self._shared_coefficients(), **plan.program.numbers_of(self.spike)}
            backward = plan.host_values(plan.backward_uniforms, numbers) if train else []
            prepared = (known(plan), plan.host_values(plan.forward_uniforms, numbers), backward)
            self._plans[choice] = (plan, self.spike, prepared)
        found: tuple[str, list[float], list[float]] = prepared
        return found

    @property
    def is_constant(self) -> bool:
        """Whether every coefficient is one number for all neurons."""
        return not self._varying_names

    def constant_numbers(self) -> tuple[str, list[float]]:
        """Return the key of the plan without gradients, all ports being fed, and the numbers that its kernel takes."""
        key, numbers, _ = self._prepared(False, True, (), self._ports, (), self.spike.name)
        return key, numbers

    def _arguments(
        self,
        fed: tuple[str, ...],
        like: Tensor,
        others: Iterable[Tensor | None],
        through_time: bool,
        record: tuple[str, ...],
    ) -> KernelArguments:
        """Return what the kernels of a run take beside its tensors.

        Parameters
        ----------
        fed : tuple of str
            The ports that are fed.
        like : Tensor [T, B, ...]
            Of the shape of the input.
        others : iterable of Tensor
            Other tensors that the run reads.
        """
        real = like.dtype if like.dtype in DTYPES else torch.float32
        per_trial: tuple[str, ...] = ()
        per_neuron: list[Tensor] = []
        if self._varying_names:
            per_trial = self._per_trial(like)
            per_neuron = [t.to(real).expand(like.shape[1:]) for t in self._varying_coefficients(per_trial).values()]
        train = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (*others, *per_neuron))
        key, forward, backward = self._prepared(train, through_time, record, fed, per_trial, self.spike.name)
        if per_trial:
            numbers = self._prepared_trials(key, per_trial, real, like.device)
            per_neuron += [t.view(-1, *[1] * (like.dim() - 2)).expand(like.shape[1:]) for t in numbers]
        return KernelArguments(train, key, per_neuron, forward, backward)

    def _prepared_trials(
        self, key: str, per_trial: tuple[str, ...], real: torch.dtype, device: torch.device
    ) -> list[Tensor]:
        """Return the numbers [B] that the plan of `key` takes from each trial, computed again when a value changes."""
        values = [tensor for name in per_trial for tensor in self.tensors_of(name).values()]
        choice = (key, per_trial, real, device, self.dt)
        numbers, computed_from, surrogate = self._plans.get(choice, (None, (), None))
        # A comparison waits for the device, which cannot be captured in a graph.
        is_captured = device.type == "cuda" and torch.cuda.is_current_stream_capturing()
        same = surrogate is self.spike and (is_captured or all(map(torch.equal, computed_from, values)))
        if numbers is None or not same:
            plan = find(key)
            spike = plan.program.numbers_of(self.spike)
            trials = [plan.host_values(plan.per_trial, spike | each) for each in self._numbers_of_trials(per_trial)]
            with torch.inference_mode(False):  # the backward pass of a later run saves them
                table = torch.tensor(trials, dtype=torch.float64).view(len(trials), len(plan.per_trial))
                numbers = list(table.to(device, real).unbind(1))
            self._plans[choice] = (numbers, [value.clone() for value in values], self.spike)
        return numbers

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

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without what is derived from the core."""
        return {**self.__dict__, "_plans": {}}
