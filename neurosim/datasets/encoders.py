"""From values to spikes: rate, latency, delta; and the value itself as a current."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from neurosim.datasets.checks import check_counts, checked_integer, checked_numbers, checked_signal, checked_values
from neurosim.errors import InputError, ShapeError
from neurosim.language.definition import seconds
from neurosim.units import check_dt


class Encoder(ABC):
    """A frozen value that turns a batch into spikes or currents over time when it is called.

    Attributes
    ----------
    timed_input : bool
        False: takes [B, ...]. True: takes signals that run over time already, [T, B, ...].
    """

    timed_input: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Encode a batch.

        Parameters
        ----------
        x : torch.Tensor
            Floating point, [B, ...] or [T, B, ...].
        generator : torch.Generator, optional
            Where random numbers come from, for encoders that draw any. They are drawn on its device, so one CPU
            generator gives the same spikes for data on every device. None: torch's global CPU generator.

        Returns
        -------
        torch.Tensor
            float32, time first.
        """


# The encoders are typed as values, `encoder=rate(...)`, and named accordingly.


@dataclass(frozen=True)
class rate(Encoder):
    """Encode a value in [0, 1] as the rate of a spike train: in each step a spike with probability ``x max_rate dt``.

    Parameters
    ----------
    steps : int
        T, at least 1.
    max_rate : float
        Hz, the rate of the value 1.0. ``max_rate * dt`` must not exceed 1: a step holds one spike at most.
    dt : float
        s, the time step.

    Raises
    ------
    InputError
        When the probability would exceed 1, or when a value is NaN, below 0 or above 1.
    UnitError
        When `dt` is not in (0, 0.1) s.

    Examples
    --------
    >>> z = rate(50, max_rate=1000.0, dt=1e-3)(torch.tensor([[0.0, 1.0]]))
    >>> tuple(z.shape), z.sum(0).tolist()
    ((50, 1, 2), [[0.0, 50.0]])
    """

    steps: int
    max_rate: float = field(kw_only=True)
    dt: float = field(kw_only=True)

    def __post_init__(self) -> None:
        checked_integer("steps", self.steps)
        check_dt("rate", self.dt)
        checked_numbers(max_rate=self.max_rate)
        if not 0 < self.max_rate < math.inf:
            raise InputError(f"max_rate = {self.max_rate!r} Hz, but it must be positive and finite.")
        if self.max_rate * self.dt > 1 + 1e-9:  # the margin: a dt that was computed may lie a rounding above
            raise InputError(
                f"max_rate = {self.max_rate:g} Hz at dt = {self.dt:g} s asks for a spike with probability "
                f"{self.max_rate * self.dt:g} in each step; at most 1 is possible. "
                f"Take max_rate <= {1 / self.dt:g} Hz or a shorter dt."
            )

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Encode [B, ...] in [0, 1] as 0/1 spikes [T, B, ...]."""
        probability = checked_values(x, unit_range=True) * (self.max_rate * self.dt)
        device = generator.device if generator is not None else torch.device("cpu")
        draws = torch.rand((self.steps, *x.shape), generator=generator, device=device).to(x.device)
        return draws.lt_(probability)  # in place: [T, B, ...] is the largest tensor here


@dataclass(frozen=True)
class latency(Encoder):
    """Encode a value in [0, 1] as the time of one single spike: the larger, the earlier.

    Without `tau` the law is linear: the value x spikes in step ``round((1 - x) (steps - 1))``; 1 in the first step,
    the smallest positive values in the last.

    With `tau` it is the first spike of a leaky membrane that the constant current x charges from 0: it crosses
    `threshold` at ``t = tau ln(x / (x - threshold))``, in step ``floor(t / dt)``; where that lies beyond the last
    step, there is no spike.

    A value at or below `threshold`, zero always among them, has no spike.

    Parameters
    ----------
    steps : int
        T, at least 1.
    tau : float, optional
        s, the time constant of the membrane.
    threshold : float
        From 0 to below 1; above 0 with `tau`.
    dt : float, optional
        s, the time step; needed with `tau`, without meaning otherwise.

    Raises
    ------
    InputError
        For parameters that do not fit together, or when a value is NaN, below 0 or above 1.
    UnitError
        When `dt` is not in (0, 0.1) s or `tau` not in (0, 1) s.

    Examples
    --------
    >>> latency(5)(torch.tensor([[0.0, 0.5, 1.0]]))[:, 0].T.tolist()
    [[0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0, 0.0]]
    """

    steps: int
    tau: float | None = field(default=None, kw_only=True)
    threshold: float = field(default=0.0, kw_only=True)
    dt: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        checked_integer("steps", self.steps)
        if (self.tau is None) != (self.dt is None):
            raise InputError(
                f"tau = {self.tau!r} and dt = {self.dt!r}: give both (seconds), or neither for the linear law."
            )
        if self.tau is not None and self.dt is not None:
            check_dt("latency", self.dt)
            seconds(self.tau).check("latency", "tau", self.tau)
        checked_numbers(threshold=self.threshold)
        if not 0 <= self.threshold < 1:
            raise InputError(f"threshold = {self.threshold!r}, but it must be at least 0 and below 1.")
        if self.tau is not None and self.threshold == 0:
            raise InputError("threshold = 0 with tau: the membrane would cross it at once. Give a threshold above 0.")

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Encode [B, ...] in [0, 1] as one spike or none [T, B, ...]. The generator is not used."""
        value = checked_values(x, unit_range=True).double()
        silent = value <= self.threshold
        if self.tau is not None and self.dt is not None:
            time = -self.tau * torch.log1p(-self.threshold / value.masked_fill(silent, 1.0))
            step = torch.floor(time / self.dt)
        else:
            step = torch.round((1 - value) * (self.steps - 1))
        fires = ~silent & (step < self.steps)
        where = step.masked_fill(~fires, 0).long()
        spikes = torch.zeros((self.steps, *x.shape), device=x.device)
        return spikes.scatter_(0, where[None], fires[None].to(spikes.dtype))


@dataclass(frozen=True)
class delta_modulation(Encoder):
    """Encode a signal by its changes: a spike on one channel when it rose by `threshold`, on another when it fell.

    A level follows the signal, starting at its first value. In each step where the signal is at least `threshold`
    above the level, the on channel spikes and the level rises by `threshold`; below it, the off channel spikes and the
    level falls. `decode` gives the level back.

    With ``graded=True`` a step carries as many spikes as there are whole thresholds between signal and level, and the
    level is never a threshold or more away from the signal. With one spike a step (the default) the same holds for
    signals that change by no more than `threshold` in a step; the level lags behind faster ones.

    With `origin`, levels lie at ``origin + k threshold`` (level crossing); the first one is the nearest to the first
    value of the signal.

    Parameters
    ----------
    threshold : float
        Positive, in units of the signal.
    graded : bool
        Whether a step can carry more than one spike.
    origin : float, optional
        One of the levels, in units of the signal; the first value of each signal if left out.

    Raises
    ------
    InputError
        When the threshold is not positive and finite, the origin or a value of the signal is not finite.

    Examples
    --------
    >>> ramp = torch.tensor([0.0, 0.5, 1.0, 0.5])[:, None]
    >>> delta_modulation(0.5)(ramp)[:, 0].tolist()
    [[0.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    """

    timed_input: ClassVar[bool] = True

    threshold: float
    graded: bool = field(default=False, kw_only=True)
    origin: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        checked_numbers(threshold=self.threshold, origin=0.0 if self.origin is None else self.origin)
        if not 0 < self.threshold < math.inf:
            raise InputError(f"threshold = {self.threshold!r}, but it must be positive and finite.")
        if self.origin is not None and not math.isfinite(self.origin):
            raise InputError(f"origin = {self.origin!r}, but it must be finite.")

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Encode a signal [T, B, ...] as spikes [T, B, 2, ...]: on at index 0, off at index 1. No generator is used."""
        signal = checked_signal("delta_modulation", x)
        spikes = torch.zeros((*x.shape[:2], 2, *x.shape[2:]), device=x.device)
        # Counted in whole thresholds and in double precision: adding up the threshold itself would drift.
        level = torch.zeros(x.shape[1:], dtype=torch.float64, device=x.device)
        first = self._first_level(signal[0]) if len(signal) else level
        for step in range(1, len(signal)):
            change = torch.trunc((signal[step].double() - first) / self.threshold - level)
            if not self.graded:
                change = change.clamp(-1, 1)
            level += change
            spikes[step, :, 0] = change.clamp(min=0)
            spikes[step, :, 1] = (-change).clamp(min=0)
        if self.graded:
            check_counts("delta_modulation", spikes, self.threshold)
        return spikes

    def decode(self, spikes: Tensor, first: Tensor) -> Tensor:
        """Return the level that the spikes describe.

        Parameters
        ----------
        spikes : torch.Tensor
            [T, B, 2, ...], as encoded.
        first : torch.Tensor
            [B, ...], the first value of the signal.

        Returns
        -------
        torch.Tensor
            float32 [T, B, ...].

        Raises
        ------
        ShapeError
            When the shapes do not belong together.
        """
        if spikes.ndim < 3 or spikes.shape[2] != 2 or first.shape != spikes.shape[1:2] + spikes.shape[3:]:
            raise ShapeError(
                f"spikes have shape {tuple(spikes.shape)} and the first value {tuple(first.shape)}; "
                f"expected [T, B, 2, ...] and [B, ...]."
            )
        level = (spikes[:, :, 0].double() - spikes[:, :, 1].double()).cumsum(0)
        return (self._first_level(first) + self.threshold * level).float()

    def _first_level(self, first: Tensor) -> Tensor:
        value = first.double()
        if self.origin is None:
            return value
        return self.origin + self.threshold * torch.round((value - self.origin) / self.threshold)


@dataclass(frozen=True)
class direct(Encoder):
    """Give the value itself as a constant current, in every step.

    Any finite value is allowed (inputs are often standardised, so negative). The result is a view: nothing is copied,
    so do not write into it.

    Parameters
    ----------
    steps : int
        T, at least 1.

    Raises
    ------
    InputError
        When a value is not finite.

    Examples
    --------
    >>> tuple(direct(10)(torch.zeros(4, 64)).shape)
    (10, 4, 64)
    """

    steps: int

    def __post_init__(self) -> None:
        checked_integer("steps", self.steps)

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Repeat [B, ...] as [T, B, ...]. The generator is not used."""
        return checked_values(x, unit_range=False).expand(self.steps, *x.shape)
