"""Thresholds of a population that change at intervals in the engine of circuits."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from neurosim.errors import InputError, ShapeError
from neurosim.kernels.circuit.tasks import SpikeLog
from neurosim.network.neuron import Neuron
from neurosim.plasticity.homeostasis import HomeostaticThreshold
from neurosim.units import steps_of


class ThresholdState(NamedTuple):
    """State of the thresholds of a population that follow its rates.

    Attributes
    ----------
    threshold : Tensor [B, N]
    rates : Tensor [B, N]
        Average rates, Hz; -1 before the first interval has ended.
    counts : Tensor [B, N] of int64
        Spikes in the present interval.
    step : Tensor [B] of int64
        Steps with the rule so far.
    """

    threshold: Tensor
    rates: Tensor
    counts: Tensor
    step: Tensor


class Thresholds:
    """The thresholds of one population in one trial.

    Parameters
    ----------
    name : str
        Of the population.
    node : Neuron
    rule : HomeostaticThreshold
    shape : tuple of int
        Of the population.
    like : Tensor
        Of the precision of the run.
    state : ThresholdState, optional
        To continue from.
    sample : int
        Of the state.
    """

    def __init__(
        self,
        name: str,
        node: Neuron,
        rule: HomeostaticThreshold,
        shape: tuple[int, ...],
        like: Tensor,
        state: Any,
        sample: int,
    ) -> None:
        self.target, self.node, self.rule, self.shape = name, node, rule, shape
        self.length, self.size = steps_of("HomeostaticThreshold", "every", rule.every, node.dt), math.prod(shape)
        if state is None:
            value = torch.as_tensor(node.value("v_th"), dtype=like.dtype).detach()
            if value.dim() == len(shape) + 1:  # of each trial
                value = value[sample if len(value) > 1 else 0]
            self.threshold = value.expand(shape).reshape(-1).clone()
            self.rates, self.step = like.new_full((self.size,), -1.0), 0
            self.counts = torch.zeros(self.size, dtype=torch.int64)
            return
        if getattr(state, "_fields", None) != ThresholdState._fields:
            raise InputError(
                f"state of {name!r} was made with another rule; {list(ThresholdState._fields)} are needed."
            )
        if state.threshold.shape[1:] != (self.size,):
            raise ShapeError(
                f"state of {name!r}: threshold must be [B, {self.size}]; got {list(state.threshold.shape)}."
            )
        self.threshold, self.rates = (values[sample].to(like.dtype) for values in (state.threshold, state.rates))
        self.counts, self.step = state.counts[sample].clone(), int(state.step[sample])

    @property
    def due(self) -> int:
        """Steps until the next change."""
        return self.length - self.step % self.length

    @functools.cached_property
    def layer(self) -> Neuron:
        """A copy of the population with these thresholds."""
        return self.node.with_values(v_th=self.threshold.reshape(self.shape).clone())

    def shift(self, steps: int) -> None:
        """Count steps."""
        self.step += steps

    def observe(self, log: SpikeLog) -> None:
        """Count the spikes of a call."""
        self.counts += torch.from_numpy(np.bincount(log.spikes()[1], minlength=self.size))

    def end_intervals(self) -> None:
        """Change the thresholds, at the end of an interval."""
        self.rates = self.rule.rates(self.rates, self.counts.to(self.rates.dtype), self.length, self.node.dt)
        self.threshold = self.rule.threshold(self.threshold, self.rates)
        self.layer.tensor("v_th").copy_(self.threshold.reshape(self.shape))
        self.counts = torch.zeros_like(self.counts)

    def state(self) -> ThresholdState:
        """Return the state of this trial, without the samples' axis."""
        return ThresholdState(self.threshold, self.rates, self.counts.clone(), torch.tensor(self.step))
