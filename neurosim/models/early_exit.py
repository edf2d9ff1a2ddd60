"""Dynamic Confidence: each sample stops as soon as the network is confident enough of its class.

Li, Jones & Furber, "Unleashing the potential of spiking neural networks with dynamic confidence", ICCV 2023,
arXiv:2303.10276. With the outputs summed over time, ``O[t] = sum of o[s], s <= t`` (the authors' program sums, it does
not average), the confidence at step t is ``c[t] = max softmax(O[t] / alpha)``, and a sample stops at the first t with
``c[t] > threshold``, or at T. The authors' program fixes ``alpha = 30`` and ``threshold = 0.6``;
`neurosim.models.exit_calibration` computes both from held-out samples.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from neurosim.errors import InputError, ShapeError
from neurosim.learning.rules.base import check_steps
from neurosim.network.graph import NetworkState
from neurosim.network.network import Network

Score = Literal["probability", "margin", "entropy"]
SCORES = ("probability", "margin", "entropy")


@dataclass(frozen=True)
class EarlyExit:
    """Criterion for stopping.

    Parameters
    ----------
    alpha : float or tuple of float
        Temperature that divides summed outputs, above 0: one for all steps, or one for each of T steps.
    threshold : float
        A sample stops when its confidence is above this.
    score : {"probability", "margin", "entropy"}
        Confidence: the largest probability (dynamic confidence), the difference of the two largest, or one minus the
        entropy divided by ln C.

    Raises
    ------
    InputError
        For a temperature not above 0, a threshold that is not a number, or another score; when the number of steps of
        outputs is not that of the temperatures.

    Examples
    --------
    >>> import torch
    >>> outputs = torch.tensor([[[1.0, 0.0], [0.2, 0.0]], [[1.0, 0.0], [3.0, 0.0]]])  # [T, B, C]
    >>> EarlyExit(alpha=1.0, threshold=0.7).steps(outputs)
    tensor([1, 2])
    """

    alpha: float | tuple[float, ...] = 30.0
    threshold: float = 0.6
    score: Score = "probability"

    def __post_init__(self) -> None:
        """Check the numbers."""
        alphas = self.alpha if isinstance(self.alpha, tuple) else (self.alpha,)
        if not alphas or not all(isinstance(a, (int, float)) and math.isfinite(a) and a > 0 for a in alphas):
            raise InputError(
                f"EarlyExit(alpha={self.alpha!r}): the temperature is a finite number above 0, or one for each step."
            )
        if not isinstance(self.threshold, (int, float)) or math.isnan(self.threshold):
            raise InputError(f"EarlyExit(threshold={self.threshold!r}): the threshold is a number.")
        if self.score not in SCORES:
            raise InputError(f"EarlyExit(score={self.score!r}): the score is one of {SCORES}.")

    def at(self, step: int) -> EarlyExit:
        """Return the criterion of one step, counted from 0, with its temperature."""
        if not isinstance(self.alpha, tuple):
            return self
        if not 0 <= step < len(self.alpha):
            raise InputError(f"EarlyExit has a temperature for each of {len(self.alpha)} steps, none for step {step}.")
        return dataclasses.replace(self, alpha=self.alpha[step])

    def probability(self, summed: Tensor) -> Tensor:
        """Return the probability of each class [..., C] for outputs summed over time; see `confidence`."""
        if not isinstance(self.alpha, tuple):
            return torch.softmax(summed / self.alpha, -1)
        if summed.dim() != 3 or len(summed) != len(self.alpha):
            raise InputError(
                f"EarlyExit has a temperature for each of {len(self.alpha)} steps; the outputs are "
                f"{list(summed.shape)}, where [{len(self.alpha)}, B, C] is needed. For a single step use at(step)."
            )
        return torch.softmax(summed / summed.new_tensor(self.alpha)[:, None, None], -1)

    def confidence(self, summed: Tensor) -> Tensor:
        """Return the confidence [...] of outputs summed over time [..., C].

        With a temperature for each step they must be [T, B, C].
        """
        probability = self.probability(summed)
        if self.score == "probability":
            return probability.amax(-1)
        if self.score == "margin":
            first, second = probability.topk(2, -1).values.unbind(-1)
            return first - second
        return 1.0 + torch.xlogy(probability, probability).sum(-1) / math.log(summed.shape[-1])

    def steps(self, outputs: Tensor) -> Tensor:
        """Return the number of steps after which each sample stops.

        Parameters
        ----------
        outputs : Tensor [T, B, C]
            The network's output at each step, not summed.

        Returns
        -------
        Tensor [B] of int64
            1 to T.
        """
        return first_step(self.confidence(summed_over_time(outputs)) > self.threshold)

    def predict(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the class of each sample at its exit and the step of the exit, both int64 [B]."""
        steps = self.steps(outputs)
        return classes_over_time(outputs).gather(0, steps[None] - 1)[0], steps


class Stopped(NamedTuple):
    """One run with early exit.

    Attributes
    ----------
    predicted : Tensor [B] of int64
        Class at the exit.
    steps : Tensor [B] of int64
        Number of steps of the sample, 1 to T.
    events : dict of str to Tensor [B, *shape of the node] of int64
        For each node, inputs included, the number of its outputs that were not 0 until the exit of the sample. Its
        product with the fan-out of each neuron is the number of synaptic operations.
    """

    predicted: Tensor
    steps: Tensor
    events: dict[str, Tensor]


def run_until_confident(net: Network, x: Tensor, when: EarlyExit, state: NetworkState | None = None) -> Stopped:
    """Run a network step by step and remove each sample from the batch when its confidence is high enough.

    A sample that has stopped is not computed any further: steps, events and time are those of the real run.

    Parameters
    ----------
    net : Network
        With one input; its outputs are summed over time. Run in its current mode (train or eval).
    x : Tensor [T, B, ...]
    when : EarlyExit
    state : NetworkState, optional
        State to start from; the initial state by default.

    Raises
    ------
    ShapeError
        When x has no step or no sample, or does not fit.
    """
    limit = check_steps(x)
    when.at(limit - 1)  # before anything runs: there must be a temperature for the last step too
    batch = x.shape[1]
    if batch == 0:
        raise ShapeError(f"run_until_confident: x is {list(x.shape)}; at least one sample is needed.")
    (source,), names = net.inputs, tuple(net.populations())
    running = torch.arange(batch, device=x.device)
    predicted, steps = torch.zeros_like(running), torch.zeros_like(running)
    events = {name: running.new_zeros((batch, *net.shape(name))) for name in (source, *names)}
    summed: Tensor | None = None
    with torch.no_grad():
        for step in range(limit):
            now = x[step : step + 1, running]
            out, state, values, *_ = net.run(now, state, names)
            summed = out[0].flatten(1) if summed is None else summed + out[0].flatten(1)
            for name, value in {**values, source: now}.items():
                events[name].index_add_(0, running, (value[0] != 0).long())
            stops = when.at(step).confidence(summed) > when.threshold
            if step == limit - 1:
                stops = torch.ones_like(stops)
            stopping, remaining = running[stops], ~stops
            predicted[stopping], steps[stopping] = summed[stops].argmax(1), step + 1
            running, summed = running[remaining], summed[remaining]
            if not len(running):
                break
            state = state.select(remaining)
    return Stopped(predicted, steps, events)


def summed_over_time(outputs: Tensor) -> Tensor:
    """Return the sum of outputs [T, B, C] up to each step, or raise `ShapeError`."""
    if outputs.dim() != 3 or 0 in outputs.shape or outputs.shape[2] < 2:
        raise ShapeError(
            f"outputs are {list(outputs.shape)}; [T, B, C] is needed: steps, samples, and at least two classes."
        )
    return outputs.cumsum(0)


def classes_over_time(outputs: Tensor) -> Tensor:
    """Return the class of the summed outputs at each step, int64 [T, B]."""
    return summed_over_time(outputs).argmax(2)


def checked_target(outputs: Tensor, target: Tensor) -> Tensor:
    """Return the classes [B] of outputs [T, B, C], or raise if they do not fit."""
    if outputs.dim() != 3 or target.shape != outputs.shape[1:2]:
        raise ShapeError(
            f"target is {list(target.shape)} for outputs {list(outputs.shape)}; [B] for [T, B, C] is needed."
        )
    if target.dtype != torch.int64:
        raise InputError(f"the target is {target.dtype}; classes are int64: target.long().")
    return target


def first_step(holds: Tensor) -> Tensor:
    """Return the first step, counted from 1, at which a condition [T, B] holds; T if it never does."""
    return ((holds.long().cumsum(0) == 0).sum(0) + 1).clamp(max=len(holds))
