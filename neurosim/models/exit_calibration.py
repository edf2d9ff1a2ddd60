"""Temperature and threshold of an early exit, chosen on held-out samples.

The authors' program of Dynamic Confidence uses validation samples from the test set; `calibrate` needs samples that are
neither trained nor tested on. The calibration of the paper is not followed: the temperature is that of least negative
log-likelihood, one for all steps or one for each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from neurosim.errors import InputError, ShapeError
from neurosim.models.early_exit import (
    SCORES,
    EarlyExit,
    Score,
    checked_target,
    classes_over_time,
    first_step,
    summed_over_time,
)


class OperatingPoint(NamedTuple):
    """Accuracy and steps of one threshold on labelled samples.

    Attributes
    ----------
    threshold : float
        Stop above this confidence.
    accuracy : float
        0 to 1.
    steps : float
        Mean number of steps until the exit, 1 to T.
    """

    threshold: float
    accuracy: float
    steps: float


class Calibration(NamedTuple):
    """Result of `calibrate`.

    Attributes
    ----------
    exit : EarlyExit
        Temperature and threshold chosen.
    chosen : OperatingPoint
        Accuracy and steps on the samples used for the choice.
    front : tuple of OperatingPoint
        Pareto front of steps and accuracy, by increasing steps.
    error_before, error_after : float
        Expected calibration error over all steps at alpha = 1 and at the chosen one, 0 to 1.
    """

    exit: EarlyExit
    chosen: OperatingPoint
    front: tuple[OperatingPoint, ...]
    error_before: float
    error_after: float


def temperature(outputs: Tensor, target: Tensor) -> float:
    """Return the temperature with the least negative log-likelihood over all steps.

    ``alpha = argmin sum over t of NLL(softmax(O[t] / alpha), y)``. The sum is convex in 1 / alpha; a golden-section
    search over ``1e-4 <= alpha <= 1e4`` minimises it. Outputs that are right at every step have no minimum; the result
    is then 1e-4.

    Parameters
    ----------
    outputs : Tensor [T, B, C]
        Outputs at each step of samples held out from training.
    target : Tensor [B] of int64
    """
    labels = checked_target(outputs, target).repeat(len(outputs))
    return float(_likeliest(summed_over_time(outputs).flatten(0, 1)[None], labels))


def temperature_of_each_step(outputs: Tensor, target: Tensor) -> tuple[float, ...]:
    """Return the temperature with the least negative log-likelihood of each step; see `temperature`.

    If signal and noise of the outputs grow differently with time, no single temperature is right at all steps.
    """
    temperatures: list[float] = _likeliest(summed_over_time(outputs), checked_target(outputs, target)).tolist()
    return tuple(temperatures)


def _likeliest(summed: Tensor, labels: Tensor) -> Tensor:
    """Return the temperature of each group of `summed` [groups, n, C] with `labels` [n], float64 [groups]."""
    summed = summed.double()

    def loss(log_alpha: Tensor) -> Tensor:
        scaled = summed / log_alpha.exp()[:, None, None]
        return functional.cross_entropy(scaled.movedim(2, 1), labels.expand(len(summed), -1), reduction="none").mean(1)

    low, high = (torch.full((len(summed),), math.log(end), dtype=torch.float64) for end in (1e-4, 1e4))
    ratio = (math.sqrt(5.0) - 1.0) / 2.0
    while float((high - low).max()) > 1e-5:
        inner, outer = high - ratio * (high - low), low + ratio * (high - low)
        falls = loss(inner) < loss(outer)
        low, high = torch.where(falls, low, inner), torch.where(falls, outer, high)
    return (0.5 * (low + high)).exp()


def calibration_error(probability: Tensor, right: Tensor, bins: int = 15) -> float:
    """Return the expected calibration error: mean difference of confidence and accuracy over bins of equal width.

    Parameters
    ----------
    probability : Tensor
        Confidence of each prediction, 0 to 1.
    right : Tensor of bool
        Whether it was right, of the same shape.
    bins : int
        At least 1.

    References
    ----------
    Guo et al., "On calibration of modern neural networks", ICML 2017, arXiv:1706.04599.
    """
    if probability.shape != right.shape or not probability.numel():
        got = f"{list(probability.shape)} and {list(right.shape)}"
        raise ShapeError(f"calibration_error: probability and right must have one shape, not empty; got {got}.")
    if bins < 1:
        raise InputError(f"calibration_error: bins must be at least 1; got {bins!r}.")
    place = (probability.flatten().double() * bins).ceil().long().clamp(1, bins) - 1
    gap = probability.flatten().double() - right.flatten().double()
    return float(torch.zeros(bins, dtype=torch.float64).index_add_(0, place, gap).abs().sum() / gap.numel())


def operating_points(
    outputs: Tensor,
    target: Tensor,
    alpha: float | tuple[float, ...],
    thresholds: Sequence[float],
    score: Score = "probability",
) -> tuple[OperatingPoint, ...]:
    """Return accuracy and mean steps at each threshold, in the order given."""
    labels, classes = checked_target(outputs, target), classes_over_time(outputs)
    confidence = EarlyExit(alpha, 0.0, score).confidence(summed_over_time(outputs))
    points = []
    for threshold in thresholds:
        steps = first_step(confidence > threshold)
        right = classes.gather(0, steps[None] - 1)[0] == labels
        points.append(OperatingPoint(threshold, float(right.double().mean()), float(steps.double().mean())))
    return tuple(points)


def front_of(points: Sequence[OperatingPoint]) -> tuple[OperatingPoint, ...]:
    """Return the Pareto front: the points that no other exceeds in accuracy with fewer steps, by increasing steps."""
    front: list[OperatingPoint] = []
    for point in sorted(points, key=lambda p: (p.steps, -p.accuracy)):
        if not front or point.accuracy > front[-1].accuracy:
            front.append(point)
    return tuple(front)


def calibrate(
    outputs: Tensor,
    target: Tensor,
    *,
    tolerance: float = 0.0,
    score: Score = "probability",
    candidates: int = 256,
    temperatures: Literal["one", "each"] = "one",
) -> Calibration:
    """Choose temperature and threshold on held-out samples.

    The temperature is that of `temperature`, or `temperature_of_each_step`. Candidate thresholds are
    quantiles of the confidences; the result is the point of the front with the fewest steps whose accuracy is at least
    that at T minus `tolerance`.

    Parameters
    ----------
    outputs : Tensor [T, B, C]
        Outputs at each step of samples that are neither trained on nor tested on.
    target : Tensor [B] of int64
    tolerance : float
        Largest loss of accuracy, 0 to 1.
    score
        As in `EarlyExit`.
    candidates : int
        Number of candidate thresholds, at least 2.
    temperatures : {"one", "each"}
        One temperature for all steps, or one for each.

    Raises
    ------
    InputError, ShapeError
        When outputs and classes do not fit, or a number is out of range.
    """
    if not 0.0 <= tolerance <= 1.0:
        raise InputError(f"calibrate(tolerance={tolerance!r}): the largest loss of accuracy must be in 0 to 1.")
    if candidates < 2:
        raise InputError(f"calibrate(candidates={candidates!r}): there must be at least 2 thresholds.")
    if score not in SCORES:
        raise InputError(f"calibrate(score={score!r}): the score is one of {SCORES}.")
    if temperatures not in ("one", "each"):
        raise InputError(f'calibrate(temperatures={temperatures!r}): "one" for all steps, or one for "each".')
    labels, classes, summed = checked_target(outputs, target), classes_over_time(outputs), summed_over_time(outputs)
    fit_temperature: Callable[[Tensor, Tensor], float | tuple[float, ...]] = (
        temperature if temperatures == "one" else temperature_of_each_step
    )
    alpha = fit_temperature(outputs, target)
    confidences = EarlyExit(alpha, 0.0, score).confidence(summed).flatten().sort().values
    place = torch.linspace(0, len(confidences) - 1, candidates).round().long()
    points = operating_points(outputs, target, alpha, [*confidences[place].unique().tolist(), 1.0], score)
    front = front_of(points)
    full = float((classes[-1] == labels).double().mean())
    chosen = next(point for point in front if point.accuracy >= full - tolerance)
    errors = [
        calibration_error(EarlyExit(a).probability(summed).amax(-1), classes == labels.expand_as(classes))
        for a in (1.0, alpha)
    ]
    return Calibration(EarlyExit(alpha, chosen.threshold, score), chosen, front, *errors)


def fixed_steps(outputs: Tensor, target: Tensor) -> Tensor:
    """Return the accuracy if every sample stops after the same number of steps, float64 [T]."""
    return (classes_over_time(outputs) == checked_target(outputs, target)).double().mean(1)


def optimal_stop(outputs: Tensor, target: Tensor) -> tuple[float, float]:
    """Return accuracy and mean steps of an agent that knows the answer: an upper bound.

    It stops at the first step with a right prediction, or at T.
    """
    right = classes_over_time(outputs) == checked_target(outputs, target)
    return float(right.any(0).double().mean()), float(first_step(right).double().mean())
