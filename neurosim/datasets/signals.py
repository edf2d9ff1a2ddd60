"""From signals over time to spikes and back: sigma-delta modulation and Ben's spiker."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from neurosim.datasets.checks import check_counts, checked_integer, checked_numbers, checked_signal
from neurosim.datasets.encoders import Encoder
from neurosim.errors import InputError, ShapeError


@dataclass(frozen=True)
class sigma_delta_modulation(Encoder):
    """Encode a signal by the running sum of its values: a spike for each `threshold` by which the sum has changed.

    The sum of the spikes, times `threshold`, stays within one threshold of the sum of the signal, so that the mean over
    a window of W steps, times `threshold`, is within ``2 threshold / W`` of the signal's. With one spike a step (the
    default) this holds for signals of at most `threshold` in size; the sum lags behind larger ones.

    The gradient goes straight through: that of on minus off, times `threshold`, is that of the signal.

    Parameters
    ----------
    threshold : float
        Positive, in units of the signal.
    graded : bool
        Whether a step can carry more than one spike.

    Raises
    ------
    InputError
        When the threshold is not positive and finite, or a value of the signal is not finite.

    References
    ----------
    Inose, Yasuda and Murakami 1962, "A telemetering system by code modulation: delta-sigma modulation".

    Examples
    --------
    >>> z = sigma_delta_modulation(1.0)(torch.full((6, 1), 0.5))
    >>> z[:, 0].T.tolist()  # on, off
    [[0.0, 1.0, 0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]
    """

    timed_input: ClassVar[bool] = True

    threshold: float
    graded: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        checked_numbers(threshold=self.threshold)
        if not 0 < self.threshold < math.inf:
            raise InputError(f"threshold = {self.threshold!r}, but it must be positive and finite.")

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Encode a signal [T, B, ...] as spikes [T, B, 2, ...]: on at index 0, off at index 1. No generator is used."""
        signal = checked_signal("sigma_delta_modulation", x)
        with torch.no_grad():
            level = torch.zeros(x.shape[1:], dtype=torch.float64, device=x.device)
            total, net = torch.zeros_like(level), torch.zeros_like(signal)
            for step, value in enumerate(signal.double()):
                total += value
                change = torch.trunc(total / self.threshold - level)  # counted in thresholds, so that nothing drifts
                if not self.graded:
                    change = change.clamp(-1, 1)
                level += change
                net[step] = change
            check_counts("sigma_delta_modulation", net.abs(), self.threshold)
        if x.requires_grad:
            net = net + (signal - signal.detach()) / self.threshold
        return _parts(net)

    def decode(self, spikes: Tensor, window: int) -> Tensor:
        """Return the mean of the signal over the last `window` steps at each step (fewer at the beginning).

        Parameters
        ----------
        spikes : torch.Tensor
            [T, B, 2, ...], as encoded.
        window : int
            W, from 1.

        Returns
        -------
        torch.Tensor
            float32 [T, B, ...].
        """
        if spikes.ndim < 3 or spikes.shape[2] != 2:
            raise ShapeError(f"spikes have shape {tuple(spikes.shape)}; expected [T, B, 2, ...].")
        window = checked_integer("window", window)
        total = (spikes[:, :, 0].double() - spikes[:, :, 1].double()).cumsum(0)
        before = torch.cat([torch.zeros_like(total[:window]), total[:-window]])[: len(total)]
        number = torch.arange(1, len(total) + 1, device=total.device).clamp(max=window)
        return (self.threshold * (total - before) / number.reshape(-1, *[1] * (total.ndim - 1))).float()


def _parts(net: Tensor) -> Tensor:
    """Return on and off spikes whose difference has the gradient of `net`, half of it each."""
    value = net.detach()
    parts = torch.stack([value.clamp(min=0), value.clamp(max=0).abs()], 2)
    if net.requires_grad:
        passes = (net - value) / 2
        parts = parts + torch.stack([passes, -passes], 2)
    return parts


@dataclass(frozen=True)
class bens_spiker(Encoder):
    """Encode a signal so that a filter of the spikes is the signal again.

    At each step, a spike is set if taking the filter away from the signal ahead makes the sum of its absolute values
    smaller by more than `threshold` of the filter's own sum; the filter is then taken away. `decode` filters the
    spikes. What is left of the signal is the error.

    Parameters
    ----------
    taps : sequence of float
        Impulse response of the filter, positive at its peak. Its sum is the constant signal that a spike at every
        step stands for; larger and negative values cannot be encoded.
    threshold : float
        Share of the sum of the absolute taps, from 0 to below 1. Small ones set too many spikes.

    Raises
    ------
    InputError
        For taps or a threshold out of range, or values that are not finite.

    References
    ----------
    Schrauwen and Van Campenhout 2003, "BSA, a fast and accurate spike train encoding scheme",
    doi:10.1109/IJCNN.2003.1224019.

    Examples
    --------
    >>> code = bens_spiker((0.25, 0.5, 0.25))
    >>> x = code.decode(torch.tensor([0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0])[:, None])
    >>> code(x)[:, 0].tolist()
    [0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0]
    """

    timed_input: ClassVar[bool] = True

    taps: Sequence[float]
    threshold: float = 0.955

    def __post_init__(self) -> None:
        given = np.asarray(self.taps)
        if given.ndim != 1 or given.dtype.kind not in "fiu":
            raise InputError(f"taps = {self.taps!r}, but they must be a list of numbers.")
        object.__setattr__(self, "taps", tuple(map(float, given)))
        if not self.taps or not all(math.isfinite(tap) for tap in self.taps) or max(self.taps) <= 0:
            raise InputError(f"taps = {self.taps!r}, but they must be finite, with a positive one.")
        checked_numbers(threshold=self.threshold)
        if not 0 <= self.threshold < 1:
            raise InputError(f"threshold = {self.threshold!r}, but it must be at least 0 and below 1.")

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Encode a signal [T, B, ...] as 0/1 spikes [T, B, ...]; the last taps - 1 steps have none. No generator."""
        rest = checked_signal("bens_spiker", x).detach().double().clone()
        taps = torch.tensor(self.taps, dtype=torch.float64, device=x.device).reshape(-1, *[1] * (x.ndim - 1))
        spikes = torch.zeros(x.shape, device=x.device)
        least = self.threshold * float(taps.abs().sum())
        for step in range(len(x) - len(self.taps) + 1):
            ahead = rest[step : step + len(self.taps)]
            gain = ahead.abs().sum(0) - (ahead - taps).abs().sum(0)
            fires = gain > least
            spikes[step] = fires.float()
            ahead -= taps * fires
        return spikes

    def decode(self, spikes: Tensor) -> Tensor:
        """Return the filtered spikes, float32 [T, B, ...]."""
        made = torch.zeros(spikes.shape, dtype=torch.float64, device=spikes.device)
        for delay, tap in enumerate(self.taps[: len(spikes)]):
            made[delay:] += tap * spikes[: len(spikes) - delay].double()
        return made.float()
