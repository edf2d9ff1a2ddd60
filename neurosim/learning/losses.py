"""Losses as frozen values: called with output [T, B, C] and classes [B] they return a scalar tensor.

`per_step` is True for a loss that is a mean over steps, which `SLTT` needs. `prediction` returns the class of an
output.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from neurosim.errors import InputError, ShapeError, UnitError
from neurosim.language import seconds
from neurosim.units import check_dt


class Loss(ABC):
    """What training minimises.

    A user's loss derives from this class, sets `per_step` to True if (and only if) it is the mean over steps of a
    quantity of one step, and may use targets of any shape.
    """

    per_step: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss of output [T, B, C] against classes [B], a scalar; mean over the batch."""

    @abstractmethod
    def prediction(self, output: Tensor) -> Tensor:
        """Return the class of each sample, int64 [B], from output [T, B, C]. Ties go to the lowest class."""

    def check_target(self, target: Tensor, classes: int) -> None:  # noqa: B027 (most targets need no check)
        """Raise for a target that does not fit `classes` outputs; `fit` calls it before the batch leaves the CPU."""


class _ClassLoss(Loss):
    """A loss for classes 0 to C - 1."""

    def prediction(self, output: Tensor) -> Tensor:
        """Return the class of the largest sum over time, [B]."""
        return _check_output(output).sum(0).argmax(1)

    def check_target(self, target: Tensor, classes: int) -> None:
        """Raise `InputError` for classes outside 0 to `classes` - 1."""
        low, high = (int(end) for end in target.aminmax())
        if low < 0 or high >= classes:
            raise InputError(
                f"the target holds class {low if low < 0 else high}; the output has {classes} classes, "
                f"0 to {classes - 1}. Check the labels, or use one output neuron for each class."
            )

    def _check(self, output: Tensor, target: Tensor) -> None:
        _check_output(output)
        batch, classes = output.shape[1:]
        if target.shape != (batch,):
            raise ShapeError(f"the target is {list(target.shape)}; one class per sample is needed: [{batch}].")
        if target.dtype != torch.int64:
            raise InputError(f"the target is {target.dtype}; classes are int64: target.long().")
        # On an accelerator this check would wait for the device at every call; there `fit` checks before the move.
        if target.device.type == "cpu":
            self.check_target(target, classes)


@dataclass(frozen=True)
class CrossEntropy(_ClassLoss):
    r"""Cross-entropy at every step: :math:`L = \frac1T \sum_t \mathrm{CE}(o[t], y)`.

    For membrane potentials of a non-spiking output or spikes. A mean over steps: usable with SLTT.
    Predicts the class of the largest sum over time.

    Examples
    --------
    >>> import torch
    >>> CrossEntropy()(torch.zeros(5, 3, 10), torch.tensor([0, 4, 9]))  # ln 10
    tensor(2.3026)
    """

    per_step: ClassVar[bool] = True

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the mean over steps and batch of the cross-entropy; see `Loss`."""
        self._check(output, target)
        return _cross_entropy_per_step(output, target)


@dataclass(frozen=True)
class CrossEntropyMSE(_ClassLoss):
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

    References
    ----------
    Meng et al., ICCV 2023, arXiv:2302.14311, and the authors' program.
    """

    weight: float = 0.05
    one_hot: bool = False
    per_step: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the weight."""
        if not 0 <= self.weight <= 1:
            raise InputError(f"CrossEntropyMSE(weight={self.weight}): weight must be between 0 and 1.")

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the mixed loss, mean over steps and batch; see `Loss`."""
        self._check(output, target)
        desired = F.one_hot(target, output.shape[2]).to(output.dtype) if self.one_hot else output.new_ones(())
        squared = (output - desired).square().mean()
        return (1 - self.weight) * _cross_entropy_per_step(output, target) + self.weight * squared


@dataclass(frozen=True)
class MaxMembrane(_ClassLoss):
    r"""Cross-entropy of each output's largest potential: :math:`L = \mathrm{CE}(\max_t v[t], y)`.

    For non-spiking outputs (LI). The gradient reaches one step per sample and output: a network has to be right at one
    step, not at all.

    References
    ----------
    Cramer et al., "The Heidelberg spiking data sets for the systematic evaluation of spiking neural networks",
    IEEE TNNLS 33, 2022, doi:10.1109/TNNLS.2020.3044364.
    """

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the cross-entropy of the maximum over time, mean over the batch; see `Loss`."""
        self._check(output, target)
        return F.cross_entropy(output.max(0).values, target)

    def prediction(self, output: Tensor) -> Tensor:
        """Return the class of the largest potential, [B]."""
        return _check_output(output).amax(0).argmax(1)


@dataclass(frozen=True)
class MeanMembrane(_ClassLoss):
    r"""Cross-entropy of each output's mean potential: :math:`L = \mathrm{CE}(\frac1T \sum_t v[t], y)`.

    For non-spiking outputs (LI). The mean is taken before the softmax; `CrossEntropy` takes it after.
    """

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the cross-entropy of the mean over time, mean over the batch; see `Loss`."""
        self._check(output, target)
        return F.cross_entropy(output.mean(0), target)


@dataclass(frozen=True)
class RateCrossEntropy(_ClassLoss):
    r"""Cross-entropy of spike counts: :math:`L = \mathrm{CE}(\sum_t z[t], y)`.

    For spiking outputs: the right neuron should fire more often than the others; no rate is prescribed.
    """

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the cross-entropy of the counts, mean over the batch; see `Loss`."""
        self._check(output, target)
        return F.cross_entropy(output.sum(0), target)


@dataclass(frozen=True)
class TargetRates(_ClassLoss):
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
        if self.dt is not None:
            check_dt("TargetRates", self.dt)
        limit, unit = (1.0, "share of steps") if self.dt is None else (1 / self.dt, "Hz")
        for name in ("correct", "incorrect"):
            rate = getattr(self, name)
            if not 0 <= rate <= limit * (1 + 1e-9):
                hint = " For rates in hertz give dt as well." if self.dt is None else ""
                raise UnitError(f"TargetRates({name}={rate}): {unit}, allowed are 0 to {limit:g}.{hint}")

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the mean squared distance over batch and neurons; see `Loss`."""
        self._check(output, target)
        per_step = 1.0 if self.dt is None else self.dt
        right = F.one_hot(target, output.shape[2]).to(output.dtype)
        desired = right * (self.correct * per_step) + (1 - right) * (self.incorrect * per_step)
        return (output.mean(0) - desired).square().mean()


@dataclass(frozen=True)
class Latency(_ClassLoss):
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
        check_dt("Latency", self.dt)
        seconds(self.tau).check("Latency", "tau", self.tau)

    @staticmethod
    def first_spike(spikes: Tensor) -> Tensor:
        """Return the step of the first spike, [B, C], from spikes [T, B, C]; T where there is none. Differentiable."""
        _check_output(spikes)
        low, high = float(spikes.detach().min()), float(spikes.detach().max())
        if low < 0 or high > 1:
            raise InputError(
                f"Latency got output values from {low:g} to {high:g}; it needs spikes, 0 or 1. "
                "End the network with a spiking neuron, or use MaxMembrane() for membrane potentials."
            )
        return torch.cumprod(1 - spikes, 0).sum(0)

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the cross-entropy of the negative first-spike times, mean over the batch; see `Loss`."""
        self._check(output, target)
        return F.cross_entropy(self.first_spike(output) * (-self.dt / self.tau), target)

    def prediction(self, output: Tensor) -> Tensor:
        """Return the class that fires first, [B]."""
        return self.first_spike(output).argmin(1)


def _cross_entropy_per_step(output: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output.flatten(0, 1), target.expand(output.shape[0], -1).reshape(-1))


def _check_output(output: Tensor) -> Tensor:
    if output.ndim != 3 or 0 in output.shape:
        raise ShapeError(
            f"the output is {list(output.shape)}; losses take [T, B, C]: steps, batch, classes. "
            "End the network with one population that has one neuron for each class."
        )
    if not output.is_floating_point():
        raise InputError(f"the output is {output.dtype}; losses take floating-point values: output.float().")
    return output
