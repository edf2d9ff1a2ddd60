"""Synapses with delays: what all kinds of them share, above all the spikes under way as state."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from neurosim.errors import InputError, ShapeError
from neurosim.synapses.lowering import Lowered, Opaque
from neurosim.synapses.synapse import Synapse, count
from neurosim.synapses.time_step import OnGrid
from neurosim.units import delay_obstacle, longest_delay


class Delayed(OnGrid, Synapse):
    """Synapses whose current of a step depends on the spikes of earlier steps.

    Delays in s become steps when `dt` is known: in the constructor, or in that of the network. Weights and delays are
    made then.
    """

    bias: Tensor | nn.Parameter | None

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        name = self._get_name()
        self.n_in, self.n_out = count(name, "n_in", n_in), count(name, "n_out", n_out)
        self._make: tuple[str, dict[str, Any]] | None = None  # the method that makes weights and delays, its arguments

    def _make_by(self, dt: float | None, method: str, **arguments: Any) -> None:
        """Make weights and delays by a method of this name, now if `dt` is given, else when it is set."""
        self._make = method, arguments
        if dt is not None:
            self.set_dt(dt)

    def _use_dt(self) -> None:
        assert self._make is not None
        (method, arguments), self._make = self._make, None
        getattr(self, method)(**arguments)

    def _set_memory(self, max_delay: float | None, steps: int = 0) -> None:
        """Set `memory` to a longest delay in s, or to that number of steps if there is none."""
        self.memory = steps if max_delay is None else whole_steps(self._get_name(), max_delay, self.dt)

    @property
    def delay_span(self) -> int:
        """Steps from the shortest delay to the longest."""
        return self.memory - self.min_delay

    @property
    def max_delay(self) -> float:
        """Longest delay, s."""
        return self.memory * self.dt

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return ``(n_out,)``."""
        if tuple(shape) != (self.n_in,):
            raise self.refuse(shape, f"{self.n_in}")
        return (self.n_out,)

    def apply_step(self, x: Tensor) -> Tensor:
        """Return the currents of steps [n, n_in] that no spikes precede."""
        return self(x.unsqueeze(0))[0][0]

    def initial_state(self, x: Tensor) -> Tensor:
        """Return the state before the first step for spikes like `x` [T, B, n_in]: none under way."""
        return x.new_zeros((self.memory, x.shape[1], self.n_in))

    def _found(self, shape: tuple[int, ...], written: Callable[[tuple[int, ...]], Lowered] | None = None) -> Lowered:
        return Opaque("combines spikes of several steps by methods or hooks of its own")

    def _line(self, x: Tensor, state: Tensor | None) -> Tensor:
        """Return the spikes under way and those of `x` in one tensor [memory + T, B, n_in]."""
        if not self.has_dt:
            raise self.no_dt()
        name = self._get_name()
        if not isinstance(x, Tensor) or x.dim() != 3 or x.shape[2] != self.n_in:
            got = list(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise ShapeError(f"{name}: spikes must be [T, B, {self.n_in}]; got {got}. Time comes first.")
        if not x.is_floating_point():
            raise InputError(f"{name}: spikes must be in floating point; got {x.dtype}. Use x.float().")
        if state is None:
            state = self.initial_state(x)
        wanted = (self.memory, x.shape[1], self.n_in)
        if not isinstance(state, Tensor) or state.shape != wanted:
            got = list(state.shape) if isinstance(state, Tensor) else type(state).__name__
            raise ShapeError(
                f"{name}: state must be the spikes of the last {self.memory} steps, {list(wanted)}; got {got}. Was it "
                "made by another layer?"
            )
        return torch.cat((state, x))

    def forward(  # type: ignore[override]  # with a state, which synapses without memory lack
        self, x: Tensor, state: Tensor | None = None, *, through_time: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Return the currents and the spikes still under way.

        Parameters
        ----------
        x : Tensor [T, B, n_in]
            Spikes, or currents of an input.
        state : Tensor [memory, B, n_in], optional
            Spikes of the last `memory` steps before `x`, the oldest first; None means none. Splitting a run and
            carrying the state gives the same currents.
        through_time : bool
            If False, no gradient crosses from a step to an earlier one: `x` gets the gradient of delay 0 alone, and
            `state` none. Weights and delays get the gradients of all delays: a spike under way counts as input of
            the step in which it arrives.

        Returns
        -------
        i : Tensor [T, B, n_out]
            Currents.
        state : Tensor [memory, B, n_in]
            Spikes of the last `memory` steps.
        """
        line = self._line(x, state if through_time or state is None else state.detach())
        after = line[x.shape[0] :]
        late = self.min_delay
        current = self.over(line[:-late] if late else line, through_time=through_time)
        return current, after if through_time else after.detach()

    def over(self, line: Tensor, *, through_time: bool = True) -> Tensor:
        """Return the currents of T steps.

        Parameters
        ----------
        line : Tensor [delay_span + T, B, n_in]
            Spikes from `memory` steps before the first of these steps to `min_delay` steps before the last.
        through_time : bool
            As in `forward`.

        Returns
        -------
        Tensor [T, B, n_out]
        """
        current = self._currents(line, through_time)
        return current if self.bias is None else current + self.bias

    @abc.abstractmethod
    def _currents(self, line: Tensor, through_time: bool) -> Tensor:
        """Return the currents of `over` without the bias."""

    def extra_repr(self) -> str:
        """Return the sizes."""
        longest = f"max_delay={self.max_delay:g}, " if self.has_dt else ""
        return f"{self.n_in}, {self.n_out}, {longest}{self._dt_text()}"


class FixedDelays(Delayed):
    """Synapses whose delays are a buffer: fixed, and replaced by loading alone."""

    _delay_buffer: str  # name of the buffer on which the shortest delay depends
    _least: tuple[Tensor | None, int, int] = (None, 0, 0)

    @abc.abstractmethod
    def _shortest_in(self, buffer: Tensor) -> int:
        """Return the shortest delay in steps."""

    @property
    def min_delay(self) -> int:
        """Shortest delay of these synapses, steps; that of a synapse of weight 0 counts too."""
        if not torch.compiler.is_compiling():  # a graph is compiled for the delays of the last call or loading
            self._update_shortest()
        return self._least[2]

    def _update_shortest(self) -> None:
        """Compute the shortest delay again if the buffer is another one or has changed."""
        buffer = self._buffers[self._delay_buffer]  # faster than an attribute of a module
        known, version, _ = self._least
        if buffer is not None and (known is not buffer or version != buffer._version):
            self._least = buffer, buffer._version, self._shortest_in(buffer)

    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        self._update_shortest()


def in_steps(owner: str, delay: object, dt: float) -> Tensor:
    """Return delays in steps, int64, given in steps if of an integer type and else in s.

    Raises
    ------
    InputError
        When one is not an integer number of steps, or too long; see `neurosim.units.delay_obstacle`.
    """
    if not isinstance(delay, Tensor) or not (delay.is_floating_point() or delay.dtype == torch.int64):
        kind = delay.dtype if isinstance(delay, Tensor) else type(delay).__name__
        raise InputError(f"{owner}: delay must be a tensor of int64 in steps or of floating point in s; got {kind}.")
    if delay.dtype == torch.int64:
        return delay
    seconds = delay.detach().double()
    steps = (seconds / dt).round()
    tolerance = (2.0 * torch.finfo(delay.dtype).eps * steps.abs()).clamp_min(1e-6)  # see `units.grid_tolerance`
    off_grid = ~((seconds / dt - steps).abs() <= tolerance)
    wrong = delay[off_grid][:1] if off_grid.any() else delay[seconds >= longest_delay(dt)].flatten().sort().values[-1:]
    if wrong.numel():
        value = wrong.item()
        raise InputError(f"{owner}: {delay_obstacle(float(f'{value:.7g}'), dt) or delay_obstacle(value, dt)}")
    return steps.long()


def whole_steps(owner: str, delay: float, dt: float) -> int:
    """Return a longest delay of `delay` seconds in steps, if it is an integer number of them."""
    if not isinstance(delay, (int, float)):
        raise InputError(f"{owner}: max_delay must be a number of s; got {delay!r}.")
    obstacle = delay_obstacle(delay, dt, "max_delay")
    if obstacle:
        raise InputError(f"{owner}: {obstacle}")
    return round(delay / dt)
