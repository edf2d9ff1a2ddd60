"""Plastic rows of synapses: the numbers of a rule, the decay of traces, and the spikes of the targets.

A row of synapses is that of one source and one delay. It is walked when a spike arrives, not in between: the changes of
its weights in the steps before are then computed one by one, in the order of time. What they need is kept: for each row
the last arrival and its trace, for each target the spikes since the last flush of all rows. So a weight has the same
bits whenever its row is walked. Times are steps, held as numbers in double precision.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

BLOCK = 1024  # ages in the fine table of a decay
LONG_AGO = -float(1 << 40)  # step of the last spike of a neuron that never fired
KEPT = 4  # last spikes of a target that are held side by side
ROOM = 32  # spikes of a target that are kept beside those of one window
TIME, WALKED, X, X_BEFORE, DOWN, ONE_DOWN, X_SLOW = range(7)  # columns of `PlasticDelivery.sources`
Y, Y_BEFORE, UP, Y_SLOW = range(1, 5)  # of a target; the first one is TIME, the last one no part of a record


class Decay(NamedTuple):
    """``exp(-age / tau)`` for ages in steps: the product of two entries of tables, 0 where it underflows.

    Attributes
    ----------
    fine : Tensor [BLOCK]
        For ages below `BLOCK`.
    coarse : Tensor [n]
        For multiples of `BLOCK`; the last entry is 0.
    """

    fine: Tensor
    coarse: Tensor

    @classmethod
    def of(cls, tau: float, dt: float) -> Decay:
        """Return the decay with a time constant `tau` at steps of `dt`, both in s; 0 at any age if `tau` is 0."""
        if not tau:
            return cls(torch.zeros(BLOCK, dtype=torch.float64), torch.zeros(1, dtype=torch.float64))
        rate = dt / tau
        number = math.ceil(746 / (BLOCK * rate)) + 1
        fine = np.exp(-rate * np.arange(BLOCK))
        coarse = np.exp(-rate * BLOCK * np.arange(number, dtype=np.float64))
        coarse[-1] = 0.0
        return cls(torch.from_numpy(fine), torch.from_numpy(coarse))

    @property
    def longest(self) -> int:
        """Age from which on the decay is 0."""
        return BLOCK * len(self.coarse) - 1

    def __call__(self, age: float) -> float:
        """Return the decay over an age in steps."""
        k = min(int(age), self.longest)
        return float(self.fine[k % BLOCK]) * float(self.coarse[k // BLOCK])


class Triplets(NamedTuple):
    """What a third spike adds to the factors of potentiation and of depression.

    Attributes
    ----------
    plus, minus : float
        Times the slow postsynaptic or presynaptic trace without the spike itself.
    post, pre : Decay
        Of the slow traces.
    """

    plus: float
    minus: float
    post: Decay
    pre: Decay


class PairRule(NamedTuple):
    """Numbers of a rule; see `neurosim.plasticity.PairSTDP`, `TripletSTDP` and `InhibitorySTDP`.

    Attributes
    ----------
    a_plus, a_minus, w_min, w_max, mu : float
        Those of `InhibitorySTDP` are its step, minus its step, its bounds and 0.
    nearest, coincident : bool
    plus, minus : Decay
        Of the presynaptic and the postsynaptic trace.
    triplets : Triplets, optional
        None: pairs alone count.
    alpha : float
        Subtracted from the postsynaptic trace at each presynaptic spike.
    fade : Decay, optional
        Of the eligibility: changes accumulate in it, and rewards change the weights. None: the weights change at once.
    """

    a_plus: float
    a_minus: float
    w_min: float
    w_max: float
    mu: float
    nearest: bool
    coincident: bool
    plus: Decay
    minus: Decay
    triplets: Triplets | None = None
    alpha: float = 0.0
    fade: Decay | None = None


class Targets(NamedTuple):
    """Spikes of the targets of plastic rows, at the step in which they arrive at the synapses.

    Each is a record of its step, the trace with it and before it, and the factor of the potentiation.

    Attributes
    ----------
    latest : Tensor [n, KEPT, 4] of float64
        Last spikes of each target since the last flush, the last one first: a line of a cache holds two.
    recent : Tensor [n, room, 4] of float64
        First the last spike at the last flush, then the spikes after it.
    counts : Tensor [n] of int64
        Records in `recent`, at least 1.
    slow : Tensor [n] of float64
        Slow trace with the last spike.
    """

    latest: Tensor
    recent: Tensor
    counts: Tensor
    slow: Tensor

    @classmethod
    def of(cls, last: Tensor, room: int) -> Targets:
        """Return the targets with their last spikes and slow traces [n, 5], and room for so many records of each."""
        records = last[:, None, :Y_SLOW]
        recent = last.new_zeros(len(last), room, Y_SLOW)
        recent[:, :1] = records
        return cls(
            records.repeat(1, KEPT, 1), recent, torch.ones(len(last), dtype=torch.int64), last[:, Y_SLOW].clone()
        )

    @property
    def last(self) -> Tensor:
        """Last spike and slow trace of each target [n, 5], a copy."""
        return torch.cat((self.latest[:, 0], self.slow[:, None]), 1)

    @property
    def room(self) -> int:
        """Records that are kept of each target."""
        return self.recent.shape[1]

    def is_full(self, window: int) -> bool:
        """Whether the spikes of a window may not fit."""
        return int(self.counts.max()) + window > self.room

    def compact(self) -> None:
        """Drop all records but the last, after a flush of all rows."""
        self.recent[:, 0] = self.latest[:, 0]
        self.latest[:, 1:] = self.latest[:, :1]
        self.counts.fill_(1)

    def shift(self, steps: int) -> None:
        """Count steps from `steps` later on."""
        for times in (self.latest[:, :, TIME], self.recent[:, :, TIME]):
            times.sub_(steps).clamp_(min=LONG_AGO)
