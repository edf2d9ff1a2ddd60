"""Losses for targets that are numbers: membranes over time, spike counts, times of first spikes."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from neurosim.errors import InputError, ShapeError
from neurosim.language import seconds
from neurosim.learning.losses.base import (
    Loss,
    Steps,
    check_all_steps,
    check_float,
    shares,
    steps_before_first_spike,
    valid_steps,
)
from neurosim.units import check_dt


class Regression(Loss):
    """A mean squared error; targets are numbers, and `prediction` returns estimates in the form of the target."""

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss of all steps, mean over the batch; see `Loss`."""
        return self._over(output, target, Steps(0, len(output)))

    def over(self, output: Tensor, target: Tensor, steps: Steps) -> Tensor:
        """Return the loss of some steps; see `Loss.over`."""
        return self._over(output, target, steps)

    @abstractmethod
    def _over(self, output: Tensor, target: Tensor, steps: Steps) -> Tensor:
        """Return the loss of some steps; see `Loss.over`."""

    def is_over_time(self, output: Tensor, target: Tensor) -> bool:
        """Whether the target is [B, T, ...]: it then has as many dimensions as the output."""
        return self.per_step and target.dim() == output.dim()

    def _checked(self, output: Tensor, target: Tensor, steps: Steps) -> Tensor:
        """Return the target [B, ...] or [B, T, ...] in the type of the output [t, B, ...], if it fits."""
        check_float(output)
        batch, *shape = output.shape[1:]
        allowed = [[batch, *shape], [batch, steps.total, *shape]][: 1 + self.per_step]
        if list(target.shape) not in allowed:
            form = " or ".join(map(str, allowed))
            raise ShapeError(f"the target is {list(target.shape)}; {self!r} needs {form}, batch first.")
        if target.is_complex() or target.dtype == torch.bool:
            raise InputError(f"the target is {target.dtype}; {self!r} needs numbers: target.float().")
        return target.to(output.dtype)


@dataclass(frozen=True, repr=False)
class MembraneMSE(Regression):
    r"""Mean squared error of the output at every step: :math:`L = \frac1T \sum_t \mathrm{mean}\,(v[t] - y[t])^2`.

    For regression on membranes of a non-spiking output (LI). A mean over steps: usable with SLTT. The target is a value
    for each step, [B, T, C], or one for all steps, [B, C]. The prediction is the output itself, [B, T, C].

    Examples
    --------
    >>> import torch
    >>> from neurosim.learning import MembraneMSE
    >>> v, y = torch.zeros(5, 2, 1), torch.full((2, 5, 1), 3.0)    # [T, B, C] and [B, T, C]
    >>> MembraneMSE()(v, y)
    tensor(9.)
    """

    per_step: ClassVar[bool] = True

    def _over(self, output: Tensor, target: Tensor, steps: Steps) -> Tensor:
        """Return the mean squared error of some steps; see `Loss.over`."""
        target = self._checked(output, target, steps)
        over_time = self.is_over_time(output, target)
        squared = (output - (steps.of(target, len(output)).transpose(0, 1) if over_time else target)).square()
        if steps.mask is None:
            return squared.mean()
        values = squared.flatten(2).mean(2) if squared.dim() > 2 else squared
        return (values * steps.of(shares(values, steps), len(values)).T).sum() * (steps.total / len(values))

    def prediction(self, output: Tensor) -> Tensor:
        """Return the output, batch first, [B, T, C]."""
        return output.transpose(0, 1)

    def predicted(self, output: Tensor, target: Tensor, steps: Steps) -> Tensor:
        """Return the output, batch first, [B, T, C], also at steps that are not valid."""
        return self.prediction(output)


@dataclass(frozen=True, repr=False)
class CountMSE(Regression):
    r"""Mean squared error of spike counts: :math:`L = \mathrm{mean}\,(\sum_t z[t] - n)^2`, with the counts n [B, C].

    For spiking outputs. The prediction is the counts, [B, C].
    """

    def _over(self, output: Tensor, target: Tensor, steps: Steps) -> Tensor:
        """Return the mean squared error of the counts; see `Loss.over`."""
        check_all_steps(self, output, steps)
        target = self._checked(output, target, steps)
        return (valid_steps(output, steps.mask).sum(0) - target).square().mean()

    def prediction(self, output: Tensor) -> Tensor:
        """Return the counts, [B, C]."""
        return output.sum(0)

    def predicted(self, output: Tensor, target: Tensor, steps: Steps) -> Tensor:
        """Return the counts over the valid steps, [B, C]."""
        return valid_steps(output, steps.mask).sum(0)


@dataclass(frozen=True, repr=False)
class SpikeTimeMSE(Regression):
    r"""Mean squared error of first-spike times: :math:`L = \mathrm{mean}\,\big((f\,dt - y) / \tau\big)^2`.

    f is the number of steps before the first spike, T for a silent neuron, with the gradient that `Latency` describes;
    y [B, C] is in seconds. For spiking outputs. The prediction is the times in seconds, [B, C].

    Parameters
    ----------
    dt : float
        Step in seconds.
    tau : float
        Unit of the error in seconds.

    Examples
    --------
    >>> import torch
    >>> from neurosim.learning import SpikeTimeMSE
    >>> spikes = torch.zeros(10, 1, 1)
    >>> spikes[4] = 1
    >>> SpikeTimeMSE(dt=1e-3, tau=1e-3)(spikes, torch.tensor([[6e-3]]))
    tensor(4.0000)
    """

    dt: float
    tau: float = 5e-3

    def __post_init__(self) -> None:
        """Check both times."""
        check_dt("SpikeTimeMSE", self.dt)
        seconds(self.tau).check("SpikeTimeMSE", "tau", self.tau)

    def _over(self, output: Tensor, target: Tensor, steps: Steps) -> Tensor:
        """Return the mean squared error of the times; see `Loss.over`."""
        check_all_steps(self, output, steps)
        target = self._checked(output, target, steps)
        first = steps_before_first_spike("SpikeTimeMSE", output, steps.mask)
        return ((first * self.dt - target) / self.tau).square().mean()

    def prediction(self, output: Tensor) -> Tensor:
        """Return the times of the first spikes, s, [B, C]."""
        return steps_before_first_spike("SpikeTimeMSE", output) * self.dt

    def predicted(self, output: Tensor, target: Tensor, steps: Steps) -> Tensor:
        """Return the times of the first spikes at the valid steps, s, [B, C]."""
        return steps_before_first_spike("SpikeTimeMSE", output, steps.mask) * self.dt
