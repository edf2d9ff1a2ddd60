"""Reward: timing rules whose changes wait in an eligibility trace, and rewards over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neurosim.errors import InputError, ShapeError
from neurosim.language import seconds
from neurosim.plasticity.checks import check_numbers
from neurosim.plasticity.stdp import STDP
from neurosim.units import steps_of


@dataclass(frozen=True)
class Rewards:
    """Rewards at given times, and none between them.

    Parameters
    ----------
    times : sequence of float
        s from the beginning of the run, ascending, each an integer number of steps: a reward is given at the end of the
        step that begins then.
    values : sequence of float
        Of each reward.

    Raises
    ------
    ShapeError
        When there is not one value for each time.
    InputError
        When a number is not finite, or the times do not ascend.
    """

    times: Sequence[float]
    values: Sequence[float]

    def __post_init__(self) -> None:
        """Check the numbers."""
        try:
            times, values = (np.asarray(each, np.float64) for each in (self.times, self.values))
        except (TypeError, ValueError):
            raise InputError(
                f"Rewards: times and values must be sequences of numbers; got {self.times!r} and {self.values!r}."
            ) from None
        if times.ndim != 1 or times.shape != values.shape:
            raise ShapeError(f"Rewards: one value for each time is needed; got {times.shape} and {values.shape}.")
        if not np.isfinite(times).all() or not np.isfinite(values).all():
            raise InputError("Rewards: times and values must be finite.")
        if (times < 0).any() or (np.diff(times) <= 0).any():
            raise InputError(f"Rewards: times must ascend from 0; got {times.tolist()}.")

    def check(self, dt: float) -> None:
        """Check that each time is an integer number of steps of `dt`.

        Raises
        ------
        UnitError
            With the two nearest.
        InputError
            When two are the same step.
        """
        steps = [steps_of("Rewards", "times", float(time), dt) for time in self.times]
        for k, step in enumerate(steps[1:]):
            if step == steps[k]:
                raise InputError(f"Rewards: times {k} and {k + 1} are the same step of {dt:g} s, {self.times[k]!r} s.")

    def between(self, start: int, steps: int, dt: float) -> np.ndarray:
        """Return the reward of each of `steps` steps from `start` on [steps]; NaN where there is none."""
        found = np.full(steps, np.nan)
        at = np.rint(np.asarray(self.times, np.float64) / dt).astype(np.int64) - start
        inside = (at >= 0) & (at < steps)
        found[at[inside]] = np.asarray(self.values, np.float64)[inside]
        return found


@dataclass(frozen=True)
class RewardModulated:
    r"""A timing rule whose changes accumulate in an eligibility trace until a reward is given.

    .. math:: E \leftarrow E e^{-dt/\tau_e} + \mathrm{STDP}, \qquad
              \Delta w = \eta\, (R - \bar R)\, E, \qquad \bar R \leftarrow \bar R + \beta (R - \bar R)

    with E for each sample of the batch. :math:`\bar R` is the expected reward before R is given, initially 0; without
    it weights would drift with the mean of E.

    Parameters
    ----------
    rule : STDP
        `PairSTDP`, `TripletSTDP` or `InhibitorySTDP`.
    rate : float
        :math:`\eta`.
    tau : float
        Time constant of the eligibility :math:`\tau_e`, s, in (0, 100).
    expectation : float
        Rate :math:`\beta` in [0, 1] at which the expected reward follows the mean reward of a batch, in `simulate` that
        of each trial; with 0 it stays 0.
    reward : Rewards, array-like or callable, optional
        For `neurosim.simulate` alone: the reward over time, given at the end of a step, so that it acts on spikes that
        arrive in later steps. `Rewards` are given at their times. A number, an array [T] or [T, B], where an axis of
        length 1 stands for any length, or a callable from times [T] in s, the beginnings of the steps, to rewards [T]
        or [T, B] give one in every step. The time of a run that continues from a state goes on.

    References
    ----------
    Izhikevich, "Solving the distal reward problem through linkage of STDP and dopamine signaling", Cerebral Cortex 17,
    2007, doi:10.1093/cercor/bhl152. Frémaux, Gerstner, "Neuromodulated spike-timing-dependent plasticity, and theory
    of three-factor learning rules", Frontiers in Neural Circuits 9, 2016, doi:10.3389/fncir.2015.00085.
    """

    rule: STDP
    rate: float = 1.0
    tau: float = 0.5
    expectation: float = 0.1
    reward: Any = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Check the numbers."""
        seconds(0.5, high=100.0).check("RewardModulated", "tau", self.tau)
        check_numbers(self)
        if not isinstance(self.rule, STDP):
            raise InputError(
                f"RewardModulated: rule must be PairSTDP, TripletSTDP or InhibitorySTDP; got {self.rule!r}."
            )
        if not 0 <= self.expectation <= 1:
            raise InputError(f"RewardModulated: expectation must be in [0, 1]; got {self.expectation!r}.")

    def surprises(self, rewards: np.ndarray, expected: float) -> tuple[np.ndarray, float]:
        r"""Return :math:`\eta (R - \bar R)` of each step [T], 0 where there is no reward, and the expectation after.

        Parameters
        ----------
        rewards : ndarray [T]
            NaN where there is none.
        expected : float
            Expected reward before.
        """
        found = np.zeros(len(rewards))
        for step in np.flatnonzero(~np.isnan(rewards)):
            difference = float(rewards[step]) - expected
            found[step] = self.rate * difference
            expected += self.expectation * difference
        return found, expected
