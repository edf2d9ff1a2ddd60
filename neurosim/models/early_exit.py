"""Dynamic Confidence: let each sample stop as soon as the network is sure enough of it.

Li, Jones & Furber, "Unleashing the potential of spiking neural networks with dynamic confidence", ICCV 2023,
arXiv:2303.10276. With the outputs added up over time, ``O[t] = sum of o[s], s <= t`` (the authors' program adds, it
does not average), the confidence at step t is ``c[t] = max softmax(O[t] / alpha)``, and a sample stops at the first t
with ``c[t] > threshold``, or at T. The authors' program fixes ``alpha = 30`` and ``threshold = 0.6`` and draws its
validation samples from the test set; here `calibrate` finds both on samples that are neither trained on nor tested on.
How the paper itself calibrates is not followed: `alpha` is the temperature of least negative log-likelihood, one for
all steps or one for each.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from neurosim.errors import InputError, ShapeError
from neurosim.learning.rules.base import check_steps
from neurosim.network.graph import NetworkState
from neurosim.network.network import Network

Score = Literal["probability", "margin", "entropy"]
SCORES = ("probability", "margin", "entropy")


class OperatingPoint(NamedTuple):
    """What one threshold gives on labelled samples.

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


@dataclass(frozen=True)
class EarlyExit:
    """When to stop.

    Parameters
    ----------
    alpha : float or tuple of float
        Temperature by which summed outputs are divided, above 0: one for all steps, or one for each of T steps.
    threshold : float
        A sample stops where its confidence is above this.
    score : {"probability", "margin", "entropy"}
        Confidence as the largest probability (dynamic confidence), the distance between the two largest, or one minus
        the entropy as a share of ln C.

    Raises
    ------
    InputError
        For a temperature not above 0, a threshold that is no number, or another score; where outputs have another
        number of steps than there are temperatures.

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
        each = self.alpha if isinstance(self.alpha, tuple) else (self.alpha,)
        if not each or not all(isinstance(a, (int, float)) and math.isfinite(a) and a > 0 for a in each):
            raise InputError(
                f"EarlyExit(alpha={self.alpha!r}): the temperature is a finite number above 0, or one for each step."
            )
        if not isinstance(self.threshold, (int, float)) or math.isnan(self.threshold):
            raise InputError(f"EarlyExit(threshold={self.threshold!r}): the threshold is a number.")
        if self.score not in SCORES:
            raise InputError(f"EarlyExit(score={self.score!r}): the score is one of {SCORES}.")

    def at(self, step: int) -> EarlyExit:
        """Return the same for one step, from 0: with the temperature of that step."""
        if not isinstance(self.alpha, tuple):
            return self
        if not 0 <= step < len(self.alpha):
            raise InputError(f"EarlyExit has a temperature for each of {len(self.alpha)} steps, none for step {step}.")
        return dataclasses.replace(self, alpha=self.alpha[step])

    def probability(self, summed: Tensor) -> Tensor:
        """Return the probability of each class [..., C] for outputs added up over time; see `confidence`."""
        if not isinstance(self.alpha, tuple):
            return torch.softmax(summed / self.alpha, -1)
        if summed.dim() != 3 or len(summed) != len(self.alpha):
            raise InputError(
                f"EarlyExit has a temperature for each of {len(self.alpha)} steps; the outputs are "
                f"{list(summed.shape)}, where [{len(self.alpha)}, B, C] is needed. For a single step use at(step)."
            )
        return torch.softmax(summed / summed.new_tensor(self.alpha)[:, None, None], -1)

    def confidence(self, summed: Tensor) -> Tensor:
        """Return the confidence [...] of outputs added up over time [..., C].

        With a temperature for each step, of [T, B, C].
        """
        probability = self.probability(summed)
        if self.score == "probability":
            return probability.amax(-1)
        if self.score == "margin":
            first, second = probability.topk(2, -1).values.unbind(-1)
            return first - second
        return 1.0 + torch.xlogy(probability, probability).sum(-1) / math.log(summed.shape[-1])

    def steps(self, outputs: Tensor) -> Tensor:
        """Return after how many steps each sample stops.

        Parameters
        ----------
        outputs : Tensor [T, B, C]
            The network's output at each step, not added up.

        Returns
        -------
        Tensor [B] of int64
            1 to T.
        """
        return _first(self.confidence(_summed(outputs)) > self.threshold)

    def predict(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the class of each sample at its exit and the step of the exit, both int64 [B]."""
        steps = self.steps(outputs)
        return _classes(outputs).gather(0, steps[None] - 1)[0], steps


class Calibration(NamedTuple):
    """What `calibrate` found.

    Attributes
    ----------
    exit : EarlyExit
        Temperature and threshold chosen.
    chosen : OperatingPoint
        What they give on the samples they were chosen on.
    front : tuple of OperatingPoint
        Points that no other beats in both steps and accuracy, by rising steps.
    error_before, error_after : float
        Expected calibration error over all steps at alpha = 1 and at the chosen one, 0 to 1.
    """

    exit: EarlyExit
    chosen: OperatingPoint
    front: tuple[OperatingPoint, ...]
    error_before: float
    error_after: float


def temperature(outputs: Tensor, target: Tensor) -> float:
    """Return the temperature of least negative log-likelihood over all steps.

    ``alpha = argmin sum over t of NLL(softmax(O[t] / alpha), y)``. The sum is convex in 1 / alpha; a golden-section
    search over ``1e-4 <= alpha <= 1e4`` finds it. Outputs that are right at every step have no minimum and end at 1e-4.

    Parameters
    ----------
    outputs : Tensor [T, B, C]
        Outputs at each step of samples held out from training.
    target : Tensor [B] of int64
    """
    return float(_likeliest(_summed(outputs).flatten(0, 1)[None], _checked(outputs, target).repeat(len(outputs))))


def temperature_of_each_step(outputs: Tensor, target: Tensor) -> tuple[float, ...]:
    """Return the temperature of least negative log-likelihood at each step by itself; see `temperature`.

    Evidence that grows with time in another way than its noise has no one temperature that is right at all steps.
    """
    found: list[float] = _likeliest(_summed(outputs), _checked(outputs, target)).tolist()
    return tuple(found)


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
    """Return the expected calibration error: mean distance of confidence and accuracy over bins of equal width.

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
        raise ShapeError(f"calibration_error: probability and right must have one shape and not be empty; got {got}.")
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
    labels, classes = _checked(outputs, target), _classes(outputs)
    confidence = EarlyExit(alpha, 0.0, score).confidence(_summed(outputs))
    points = []
    for threshold in thresholds:
        steps = _first(confidence > threshold)
        right = classes.gather(0, steps[None] - 1)[0] == labels
        points.append(OperatingPoint(threshold, float(right.double().mean()), float(steps.double().mean())))
    return tuple(points)


def front_of(points: Sequence[OperatingPoint]) -> tuple[OperatingPoint, ...]:
    """Return the points that no other beats in both steps and accuracy (the Pareto front), by rising steps."""
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

    The temperature is that of `temperature`, or `temperature_of_each_step`. Thresholds are tried at quantiles of the
    confidences that occurred; of the points on the front, the one of fewest steps whose accuracy is at least that at T
    less `tolerance` is taken.

    Parameters
    ----------
    outputs : Tensor [T, B, C]
        Outputs at each step of samples that are neither trained on nor tested on.
    target : Tensor [B] of int64
    tolerance : float
        Accuracy that may be lost, 0 to 1.
    score
        As in `EarlyExit`.
    candidates : int
        Number of thresholds tried, at least 2.
    temperatures : {"one", "each"}
        One temperature for all steps, or one for each.

    Raises
    ------
    InputError, ShapeError
        When outputs and classes do not belong together, or a number is out of range.
    """
    if not 0.0 <= tolerance <= 1.0:
        raise InputError(f"calibrate(tolerance={tolerance!r}): the accuracy that may be lost is in 0 to 1.")
    if candidates < 2:
        raise InputError(f"calibrate(candidates={candidates!r}): at least 2 thresholds must be tried.")
    if score not in SCORES:
        raise InputError(f"calibrate(score={score!r}): the score is one of {SCORES}.")
    if temperatures not in ("one", "each"):
        raise InputError(f'calibrate(temperatures={temperatures!r}): "one" for all steps, or one for "each".')
    labels, classes, summed = _checked(outputs, target), _classes(outputs), _summed(outputs)
    find: Callable[[Tensor, Tensor], float | tuple[float, ...]] = (
        temperature if temperatures == "one" else temperature_of_each_step
    )
    alpha = find(outputs, target)
    seen = EarlyExit(alpha, 0.0, score).confidence(summed).flatten().sort().values
    place = torch.linspace(0, len(seen) - 1, candidates).round().long()
    points = operating_points(outputs, target, alpha, [*seen[place].unique().tolist(), 1.0], score)
    front = front_of(points)
    full = float((classes[-1] == labels).double().mean())
    chosen = next(point for point in front if point.accuracy >= full - tolerance)
    errors = [
        calibration_error(EarlyExit(a).probability(summed).amax(-1), classes == labels.expand_as(classes))
        for a in (1.0, alpha)
    ]
    return Calibration(EarlyExit(alpha, chosen.threshold, score), chosen, front, *errors)


def fixed_steps(outputs: Tensor, target: Tensor) -> Tensor:
    """Return the accuracy when every sample is stopped after the same number of steps, float64 [T]."""
    return (_classes(outputs) == _checked(outputs, target)).double().mean(1)


def optimal_stop(outputs: Tensor, target: Tensor) -> tuple[float, float]:
    """Return accuracy and mean steps of an agent that knows the answer: a bound, not something to be had.

    It stops at the first step whose prediction is right. A sample that is right at no step takes all T.
    """
    right = _classes(outputs) == _checked(outputs, target)
    return float(right.any(0).double().mean()), float(_first(right).double().mean())


class Stopped(NamedTuple):
    """One run with early exit.

    Attributes
    ----------
    predicted : Tensor [B] of int64
        Class at the exit.
    steps : Tensor [B] of int64
        Steps that the sample was run for, 1 to T.
    events : dict of str to Tensor [B, *shape of the node] of int64
        For each node, inputs included, how often each of its outputs was not zero until the sample's exit. Summed
        against the fan-out of each neuron it gives the synaptic operations.
    """

    predicted: Tensor
    steps: Tensor
    events: dict[str, Tensor]


def run_until_sure(net: Network, x: Tensor, when: EarlyExit, state: NetworkState | None = None) -> Stopped:
    """Run a network step by step and take each sample out of the batch when it is sure enough.

    A sample that has stopped is computed no further, so steps, events and time are those really spent.

    Parameters
    ----------
    net : Network
        With one input; its output at each step is added up. Run in the mode (train or eval) it is in.
    x : Tensor [T, B, ...]
    when : EarlyExit
    state : NetworkState, optional
        Where to start; the initial state by default.

    Raises
    ------
    ShapeError
        When x has no step or no sample, or does not fit.
    """
    limit = check_steps(x)
    when.at(limit - 1)  # before anything runs: there must be a temperature for the last step too
    batch = x.shape[1]
    if batch == 0:
        raise ShapeError(f"run_until_sure: x is {list(x.shape)}; at least one sample is needed.")
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
            sure = when.at(step).confidence(summed) > when.threshold
            if step == limit - 1:
                sure = torch.ones_like(sure)
            stopping, stays = running[sure], ~sure
            predicted[stopping], steps[stopping] = summed[sure].argmax(1), step + 1
            running, summed = running[stays], summed[stays]
            if not len(running):
                break
            nodes = {name: type(held)(*(value[stays] for value in held)) for name, held in state.nodes.items()}
            state = NetworkState(nodes, {name: line[:, stays] for name, line in state.edges.items()})
    return Stopped(predicted, steps, events)


def _summed(outputs: Tensor) -> Tensor:
    if outputs.dim() != 3 or 0 in outputs.shape or outputs.shape[2] < 2:
        raise ShapeError(
            f"outputs are {list(outputs.shape)}; [T, B, C] is needed: steps, samples, and at least two classes."
        )
    return outputs.cumsum(0)


def _classes(outputs: Tensor) -> Tensor:
    return _summed(outputs).argmax(2)


def _checked(outputs: Tensor, target: Tensor) -> Tensor:
    if outputs.dim() != 3 or target.shape != outputs.shape[1:2]:
        raise ShapeError(
            f"target is {list(target.shape)} for outputs {list(outputs.shape)}; [B] for [T, B, C] is needed."
        )
    if target.dtype != torch.int64:
        raise InputError(f"the target is {target.dtype}; classes are int64: target.long().")
    return target


def _first(holds: Tensor) -> Tensor:
    """Return the first step, from 1, at which a condition [T, B] holds; T where it never does."""
    return ((holds.long().cumsum(0) == 0).sum(0) + 1).clamp(max=len(holds))
