"""Losses for classes, as frozen values: called with output [T, B, C] and classes they return a scalar tensor."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from neurosim.errors import InputError, ShapeError, UnitError
from neurosim.language import seconds
from neurosim.learning.losses.base import (
    Loss,
    Steps,
    check_all_steps,
    check_output,
    columns,
    number_of_steps,
    shares,
    steps_before_first_spike,
    valid_steps,
)
from neurosim.units import check_dt


@dataclass(frozen=True, repr=False)
class ClassLoss(Loss):
    """A loss for classes 0 to C - 1.

    Parameters
    ----------
    population : int
        Number of output neurons of each class: the output has ``C * population`` neurons, those of a class follow each
        other, and their outputs are added.
    """

    population: int = field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        """Check the number."""
        if not isinstance(self.population, int) or isinstance(self.population, bool) or self.population < 1:
            raise InputError(
                f"{type(self).__name__}(population={self.population!r}): a number of neurons for each class, from 1."
            )

    def classes(self, output: Tensor) -> Tensor:
        """Return the output of each class [T, B, C], of output [T, B, C * population]."""
        self._number(check_output(output).shape[2])
        return output if self.population == 1 else output.unflatten(2, (-1, self.population)).sum(3)

    def _number(self, neurons: int) -> int:
        """Return the number of classes of so many output neurons."""
        if neurons % self.population:
            raise ShapeError(
                f"{self!r}: the output has {neurons} neurons, which are not {self.population} for each class."
            )
        return neurons // self.population

    def prediction(self, output: Tensor) -> Tensor:
        """Return the class of the largest sum over time, [B]."""
        return self.classes(output).sum(0).argmax(1)

    def predicted(self, output: Tensor, target: Tensor, steps: Steps) -> Tensor:
        """Return the class of the largest sum over the valid steps, [B]."""
        return self.prediction(valid_steps(check_output(output), steps.mask))

    def is_over_time(self, output: Tensor, target: Tensor) -> bool:
        """Whether the target holds a class for each step, [B, T]."""
        return self.per_step and target.dim() == 2

    def check_target(self, target: Tensor, classes: int) -> None:
        """Raise `InputError` for classes outside 0 to C - 1, with ``C * population`` = `classes`."""
        classes = self._number(classes)
        skipped = self.ignored(target)
        if skipped is not None:
            target = target[~skipped]
            if not target.numel():
                raise InputError(f"{self!r}: every target of the batch has the ignored class.")
        low, high = (int(end) for end in target.aminmax())
        if low < 0 or high >= classes:
            raise InputError(
                f"the target holds class {low if low < 0 else high}; the output has {classes} classes, "
                f"0 to {classes - 1}. Check the labels, or use one output neuron for each class."
            )

    def _check(self, output: Tensor, target: Tensor, steps: Steps) -> None:
        """Check output [t, B, C] and target [B], or [B, T] for a loss that is a mean over steps."""
        check_output(output)
        batch, classes = output.shape[1:]
        fits = target.shape == (batch,) or (self.per_step and target.shape == (batch, steps.total))
        if not fits:
            over_time = f", or one for each step: [{batch}, {steps.total}]" if self.per_step else ""
            raise ShapeError(
                f"the target is {list(target.shape)}; one class per sample is needed: [{batch}]{over_time}."
            )
        if target.dtype != torch.int64:
            raise InputError(f"the target is {target.dtype}; classes are int64: target.long().")
        # On an accelerator this check would wait for the device at every call; there `fit` checks before the move.
        if target.device.type == "cpu":
            self.check_target(target, classes)

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss of all steps, mean over the batch; see `Loss`."""
        return self._over(output, target, Steps(0, len(output)))

    def over(self, output: Tensor, target: Tensor, steps: Steps) -> Tensor:
        """Return the loss of some steps; see `Loss.over`."""
        return self._over(output, target, steps)

    @abstractmethod
    def _over(self, output: Tensor, target: Tensor, steps: Steps) -> Tensor:
        """Return the loss of some steps; see `Loss.over`."""


@dataclass(frozen=True, repr=False)
class EntropyLoss(ClassLoss):
    """A cross-entropy for classes 0 to C - 1, with the choices of `torch.nn.CrossEntropyLoss`.

    Parameters
    ----------
    class_weights : sequence of float or Tensor [C], optional
        Weight of each class; the mean over the batch is divided by the sum of the weights of its targets.
    label_smoothing : float
        Share of the target that is spread evenly over all classes, 0 to 1.
    ignore_index : int, optional
        Class of targets that are not counted, in the loss and in metrics; such as -100.
    population : int
        As in `ClassLoss`.
    """

    class_weights: tuple[float, ...] | None = field(default=None, kw_only=True)
    label_smoothing: float = field(default=0.0, kw_only=True)
    ignore_index: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Check the choices."""
        super().__post_init__()
        kind = type(self).__name__
        if self.class_weights is not None:
            values = self.class_weights
            try:
                weights = tuple(float(v) for v in (values.tolist() if isinstance(values, Tensor) else values))
            except (TypeError, ValueError):
                raise InputError(f"{kind}(class_weights={values!r}): one number for each class, from 0.") from None
            if not weights or not all(math.isfinite(w) and w >= 0 for w in weights) or not any(weights):
                raise InputError(f"{kind}(class_weights={weights}): finite numbers from 0, one above 0.")
            object.__setattr__(self, "class_weights", weights)
        if isinstance(self.label_smoothing, bool) or not 0 <= self.label_smoothing <= 1:
            raise InputError(f"{kind}(label_smoothing={self.label_smoothing!r}): label_smoothing is from 0 to 1.")
        if self.ignore_index is not None and (
            not isinstance(self.ignore_index, int) or isinstance(self.ignore_index, bool)
        ):
            raise InputError(f"{kind}(ignore_index={self.ignore_index!r}): an integer such as -100, or None.")

    def ignored(self, target: Tensor) -> Tensor | None:
        """Return where the target is `ignore_index`."""
        return None if self.ignore_index is None else target == self.ignore_index

    def entropy(self, logits: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
        """Return torch's cross-entropy of logits [n, C] and classes [n], with the choices of this loss."""
        choices: dict[str, Any] = {"reduction": reduction}
        if self.class_weights is not None:
            if len(self.class_weights) != logits.shape[1]:
                raise InputError(
                    f"{self!r}: {len(self.class_weights)} class weights do not fit the {logits.shape[1]} classes of "
                    "the output."
                )
            choices["weight"] = logits.new_tensor(self.class_weights)
        if self.ignore_index is not None:
            choices["ignore_index"] = self.ignore_index
        return F.cross_entropy(logits, target, label_smoothing=self.label_smoothing, **choices)

    def entropy_per_step(self, output: Tensor, target: Tensor, steps: Steps) -> Tensor:
        """Return the mean over steps of the cross-entropy of the classes [t, B, C]; see `Loss.over`."""
        length, batch = output.shape[:2]
        if steps.mask is None and target.dim() == 1:
            return self.entropy(output.flatten(0, 1), target.expand(length, -1).reshape(-1))
        labels = steps.of(columns(target).expand(batch, steps.total), length).T.reshape(-1)
        values = self.entropy(output.flatten(0, 1), labels, "none").view(length, batch)
        return self.mean(values, target, steps, weighted=True)

    def mean(self, values: Tensor, target: Tensor, steps: Steps, *, weighted: bool = False) -> Tensor:
        """Return the mean of values [t, B] over steps and samples that are counted; see `Loss.over`.

        Parameters
        ----------
        values : Tensor [t, B]
        target, steps
            Of the run.
        weighted : bool
            Whether the values have the weights of their classes.
        """
        skipped, weights = self.ignored(target), None
        counted = None if skipped is None else ~skipped
        if weighted and self.class_weights is not None:
            labels = target if skipped is None else target.masked_fill(skipped, 0)
            weights = values.new_tensor(self.class_weights)[labels]
        share = shares(values, steps, counted, weights)
        return (values * steps.of(share, len(values)).T).sum() * (steps.total / len(values))


class _StepLoss(EntropyLoss):
    """A cross-entropy that is a mean over steps; targets are classes [B], or one for each step, [B, T]."""

    per_step: ClassVar[bool] = True

    def predicted(self, output: Tensor, target: Tensor, steps: Steps) -> Tensor:
        """Return the class of the largest sum over the valid steps, [B]; for targets [B, T] that of each step."""
        if target.dim() == 2:
            return self.classes(output).argmax(2).T
        return super().predicted(output, target, steps)


@dataclass(frozen=True, repr=False)
class CrossEntropy(_StepLoss):
    r"""Cross-entropy at every step: :math:`L = \frac1T \sum_t \mathrm{CE}(o[t], y)`.

    For membrane potentials of a non-spiking output or spikes. A mean over steps: usable with SLTT. The target is one
    class for each sample, [B], or one for each step, [B, T]. Predicts the class of the largest sum over time, or that
    of each step.

    Parameters
    ----------
    class_weights, label_smoothing, ignore_index, population
        As in `EntropyLoss`.

    Examples
    --------
    >>> import torch
    >>> CrossEntropy()(torch.zeros(5, 3, 10), torch.tensor([0, 4, 9]))  # ln 10
    tensor(2.3026)
    """

    def _over(self, output: Tensor, target: Tensor, steps: Steps) -> Tensor:
        """Return the mean over steps and batch of the cross-entropy; see `Loss.over`."""
        self._check(output, target, steps)
        return self.entropy_per_step(self.classes(output), target, steps)


@dataclass(frozen=True, repr=False)
class CrossEntropyMSE(_StepLoss):
    r"""Cross-entropy mixed with a squared error, at every step; the loss of the SLTT paper.

    .. math:: \ell[t] = (1 - a)\,\mathrm{CE}(o[t], y) + a\,\mathrm{MSE}(o[t], o^*), \quad L = \frac1T \sum_t \ell[t]

    A mean over steps: usable with SLTT. Predicts the class of the largest sum over time.

    Parameters
    ----------
    weight : float
        Weight `a` of the squared error, 0 to 1.
    one_hot : bool
        Whether the target :math:`o^*` is 1 for the right class and 0 for the others (the authors' choice for
        DVS-CIFAR10), or 1 for every class (their choice for other data).
    class_weights, label_smoothing, ignore_index, population
        As in `EntropyLoss`; class weights and smoothing are those of the cross-entropy.

    References
    ----------
    Meng et al., ICCV 2023, arXiv:2302.14311, and the authors' program.
    """

    weight: float = 0.05
    one_hot: bool = False

    def __post_init__(self) -> None:
        """Check the weight."""
        super().__post_init__()
        if not 0 <= self.weight <= 1:
            raise InputError(f"CrossEntropyMSE(weight={self.weight}): weight must be between 0 and 1.")

    def _over(self, output: Tensor, target: Tensor, steps: Steps) -> Tensor:
        """Return the mixed loss, mean over steps and batch; see `Loss.over`."""
        self._check(output, target, steps)
        output = self.classes(output)
        mixed = (1 - self.weight) * self.entropy_per_step(output, target, steps)
        if steps.mask is None and target.dim() == 1 and self.ignore_index is None:
            desired = F.one_hot(target, output.shape[2]).to(output.dtype) if self.one_hot else output.new_ones(())
            return mixed + self.weight * (output - desired).square().mean()
        desired = output.new_ones(())
        if self.one_hot:
            skipped = self.ignored(target)
            labels = target if skipped is None else target.masked_fill(skipped, 0)
            desired = F.one_hot(labels, output.shape[2]).to(output.dtype)
            desired = desired if target.dim() == 1 else steps.of(desired, len(output)).transpose(0, 1)
        return mixed + self.weight * self.mean((output - desired).square().mean(2), target, steps)


@dataclass(frozen=True, repr=False)
class MaxMembrane(EntropyLoss):
    r"""Cross-entropy of each output's largest potential: :math:`L = \mathrm{CE}(\max_t v[t], y)`.

    For non-spiking outputs (LI). The gradient reaches one step per sample and output: a network has to be right at one
    step, not at all.

    Parameters
    ----------
    class_weights, label_smoothing, ignore_index, population
        As in `EntropyLoss`.

    References
    ----------
    Cramer et al., "The Heidelberg spiking data sets for the systematic evaluation of spiking neural networks",
    IEEE TNNLS 33, 2022, doi:10.1109/TNNLS.2020.3044364.
    """

    def _over(self, output: Tensor, target: Tensor, steps: Steps) -> Tensor:
        """Return the cross-entropy of the maximum over time, mean over the batch; see `Loss.over`."""
        check_all_steps(self, output, steps)
        self._check(output, target, steps)
        return self.entropy(valid_steps(self.classes(output), steps.mask, -math.inf).max(0).values, target)

    def prediction(self, output: Tensor) -> Tensor:
        """Return the class of the largest potential, [B]."""
        return self.classes(output).amax(0).argmax(1)

    def predicted(self, output: Tensor, target: Tensor, steps: Steps) -> Tensor:
        """Return the class of the largest potential at the valid steps, [B]."""
        return valid_steps(self.classes(output), steps.mask, -math.inf).amax(0).argmax(1)


@dataclass(frozen=True, repr=False)
class MeanMembrane(EntropyLoss):
    r"""Cross-entropy of each output's mean potential: :math:`L = \mathrm{CE}(\frac1T \sum_t v[t], y)`.

    For non-spiking outputs (LI). The mean is taken before the softmax; `CrossEntropy` takes it after.

    Parameters
    ----------
    class_weights, label_smoothing, ignore_index, population
        As in `EntropyLoss`.
    """

    def _over(self, output: Tensor, target: Tensor, steps: Steps) -> Tensor:
        """Return the cross-entropy of the mean over time, mean over the batch; see `Loss.over`."""
        check_all_steps(self, output, steps)
        self._check(output, target, steps)
        output = self.classes(output)
        if steps.mask is None:
            return self.entropy(output.mean(0), target)
        total = valid_steps(output, steps.mask).sum(0)
        return self.entropy(total / number_of_steps(output, steps.mask), target)


@dataclass(frozen=True, repr=False)
class RateCrossEntropy(EntropyLoss):
    r"""Cross-entropy of spike counts: :math:`L = \mathrm{CE}(\sum_t z[t], y)`.

    For spiking outputs: the right neuron should fire more often than the others; no rate is prescribed.

    Parameters
    ----------
    class_weights, label_smoothing, ignore_index, population
        As in `EntropyLoss`.
    """

    def _over(self, output: Tensor, target: Tensor, steps: Steps) -> Tensor:
        """Return the cross-entropy of the counts, mean over the batch; see `Loss.over`."""
        check_all_steps(self, output, steps)
        self._check(output, target, steps)
        return self.entropy(valid_steps(self.classes(output), steps.mask).sum(0), target)


@dataclass(frozen=True, repr=False)
class TargetRates(ClassLoss):
    r"""Squared distance of firing rates from prescribed ones.

    .. math:: L = \frac{1}{BC} \sum_{b,c} \Big(\frac1T \sum_t z[t, b, c] - \rho_{b,c}\Big)^2

    with :math:`\rho` the target probability of a spike per step: `correct` for the neuron of the right class,
    `incorrect` for the others. Rates in hertz are converted with `dt`, so the loss has no unit and does not depend on
    the unit of the rates. For spiking outputs.

    Parameters
    ----------
    correct, incorrect : float
        Target rates: per step (0 to 1) when `dt` is None, otherwise hertz (0 to 1/dt).
    dt : float, optional
        Step in seconds; if given, the rates are in hertz.
    population : int
        Number of output neurons of each class, as in `ClassLoss`; each of them has the rate of its class.

    Raises
    ------
    UnitError
        When a rate cannot be reached with at most one spike a step, or `dt` is not a step in seconds.

    Examples
    --------
    >>> import torch
    >>> spikes = torch.zeros(100, 1, 2)
    >>> spikes[::2, 0, 0] = 1
    >>> TargetRates(correct=500.0, incorrect=0.0, dt=1e-3)(spikes, torch.tensor([0]))
    tensor(0.)
    """

    correct: float = 0.8
    incorrect: float = 0.2
    dt: float | None = None

    def __post_init__(self) -> None:
        """Check the rates against the grid."""
        super().__post_init__()
        if self.dt is not None:
            check_dt("TargetRates", self.dt)
        limit, unit = (1.0, "share of steps") if self.dt is None else (1 / self.dt, "Hz")
        for name in ("correct", "incorrect"):
            rate = getattr(self, name)
            if not 0 <= rate <= limit * (1 + 1e-9):
                hint = " For rates in hertz give dt as well." if self.dt is None else ""
                raise UnitError(f"TargetRates({name}={rate}): {unit}, allowed are 0 to {limit:g}.{hint}")

    def _over(self, output: Tensor, target: Tensor, steps: Steps) -> Tensor:
        """Return the mean squared distance over batch and neurons; see `Loss.over`."""
        check_all_steps(self, output, steps)
        self._check(output, target, steps)
        per_step = 1.0 if self.dt is None else self.dt
        classes = self.classes(output).shape[2]
        right = F.one_hot(target, classes).to(output.dtype).repeat_interleave(self.population, 1)
        desired = right * (self.correct * per_step) + (1 - right) * (self.incorrect * per_step)
        if steps.mask is None:
            return (output.mean(0) - desired).square().mean()
        rates = valid_steps(output, steps.mask).sum(0) / number_of_steps(output, steps.mask)
        return (rates - desired).square().mean()


@dataclass(frozen=True, repr=False)
class Latency(EntropyLoss):
    r"""Cross-entropy of first-spike times: the right neuron should fire before the others.

    .. math:: L = \mathrm{CE}(-f\,dt / \tau, y), \qquad f = \sum_{t=0}^{T-1} \prod_{s \le t} (1 - z[s])

    f is the step of the first spike, or T for a silent neuron. It is linear in each single z[s], so its derivative is
    exact for adding or removing a spike: :math:`\partial f / \partial z[s]` is the change of f if a spike is added at
    step s, or minus the change if the first spike is removed (the next spike is then the first). Later spikes have
    derivative 0. Silent neurons have a gradient too. The surrogate of the neuron continues the gradient from z.

    Parameters
    ----------
    dt : float
        Step in seconds.
    tau : float
        Temperature in seconds: neurons whose first spikes differ by much more than `tau` hardly compete.
    class_weights, label_smoothing, ignore_index
        As in `EntropyLoss`. A class has one output neuron.

    References
    ----------
    Softmax over first-spike times: Mostafa, "Supervised learning based on temporal coding in spiking neural networks",
    IEEE TNNLS 29, 2018, doi:10.1109/TNNLS.2017.2726060; Göltz et al., "Fast and energy-efficient neuromorphic deep
    learning with first-spike times", Nature Machine Intelligence 3, 2021, doi:10.1038/s42256-021-00388-x. f is the mean
    survival time of discrete survival analysis with z as hazard.

    Examples
    --------
    >>> import torch
    >>> spikes = torch.zeros(10, 1, 2)
    >>> spikes[4, 0, 0] = spikes[2, 0, 1] = 1
    >>> Latency.first_spike(spikes), Latency(dt=1e-3).prediction(spikes)
    (tensor([[4., 2.]]), tensor([1]))
    """

    dt: float
    tau: float = 5e-3

    def __post_init__(self) -> None:
        """Check both times."""
        super().__post_init__()
        if self.population != 1:
            raise InputError(
                f"Latency(population={self.population}): a class has the time of one neuron; leave population out, or "
                "use RateCrossEntropy(population=...)."
            )
        check_dt("Latency", self.dt)
        seconds(self.tau).check("Latency", "tau", self.tau)

    @staticmethod
    def first_spike(spikes: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the number of steps before the first spike, [B, C], from spikes [T, B, C]; T where there is none.

        It is differentiable. With a mask [B, T] only valid steps and their spikes are counted.
        """
        return steps_before_first_spike("Latency", check_output(spikes), mask)

    def _over(self, output: Tensor, target: Tensor, steps: Steps) -> Tensor:
        """Return the cross-entropy of the negative first-spike times, mean over the batch; see `Loss.over`."""
        check_all_steps(self, output, steps)
        self._check(output, target, steps)
        return self.entropy(self.first_spike(output, steps.mask) * (-self.dt / self.tau), target)

    def prediction(self, output: Tensor) -> Tensor:
        """Return the class that fires first, [B]."""
        return self.first_spike(output).argmin(1)

    def predicted(self, output: Tensor, target: Tensor, steps: Steps) -> Tensor:
        """Return the class that fires first at the valid steps, [B]."""
        return self.first_spike(output, steps.mask).argmin(1)
