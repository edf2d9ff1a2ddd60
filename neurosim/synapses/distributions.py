"""Distributions of weights, delays and initial values."""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from neurosim.errors import InputError

Outside = Literal["clipped", "redrawn"]

REACH = 7.5  # standard deviations beyond which a normal number never lies among 2^32
_LARGEST_LOGARITHM = 709.0  # of a number in double precision
_RAREST = 1e-3  # share inside the bounds below which redrawing is refused


class Distribution(abc.ABC):
    """A distribution of one number for each synapse.

    Numbers are drawn from integers alone: a weight is a multiple of the unit of its projection, a delay an integer
    number of steps, and the limits of each are computed from `below`.
    """

    @abc.abstractmethod
    def below(self, numbers: np.ndarray) -> np.ndarray:
        """Return the probability that what is drawn is below each of `numbers`; both float64."""

    @property
    @abc.abstractmethod
    def lowest(self) -> float:
        """Lower bound of what is drawn; infinite if there is none."""

    @property
    @abc.abstractmethod
    def highest(self) -> float:
        """Upper bound of what is drawn; infinite if there is none."""

    @property
    def support(self) -> tuple[float, float]:
        """Finite bounds beyond which nothing is drawn with a probability of 2^-33 or more."""
        return self.lowest, self.highest


@dataclass(frozen=True)
class Constant(Distribution):
    """The same number for all.

    Parameters
    ----------
    value : float
    """

    value: float

    def __post_init__(self) -> None:
        _check_finite(self, value=self.value)

    @property
    def lowest(self) -> float:
        """The value."""
        return float(self.value)

    @property
    def highest(self) -> float:
        """The value."""
        return float(self.value)

    def below(self, numbers: np.ndarray) -> np.ndarray:
        """Return 1 above the value, else 0."""
        return (numbers > self.value).astype(np.float64)


@dataclass(frozen=True)
class Uniform(Distribution):
    """Equally probable between two numbers.

    Parameters
    ----------
    low, high : float
        `low` is at most `high`.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_finite(self, low=self.low, high=self.high)
        if self.low > self.high:
            raise InputError(f"Uniform: low must be at most high; got {self.low!r} and {self.high!r}.")

    @property
    def lowest(self) -> float:
        """The lower number."""
        return float(self.low)

    @property
    def highest(self) -> float:
        """The higher number."""
        return float(self.high)

    def below(self, numbers: np.ndarray) -> np.ndarray:
        """Return the share of [low, high] below each number."""
        if self.low == self.high:
            return (numbers > self.low).astype(np.float64)
        return np.clip((numbers - self.low) / (self.high - self.low), 0.0, 1.0)


@dataclass(frozen=True)
class _Bounded(Distribution):
    """A distribution with bounds or without."""

    low: float = field(default=-math.inf, kw_only=True)
    high: float = field(default=math.inf, kw_only=True)
    outside: Outside | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        name = type(self).__name__
        if math.isnan(self.low) or math.isnan(self.high) or not self.low < self.high:
            raise InputError(f"{name}: low must be below high; got {self.low!r} and {self.high!r}.")
        if self.outside not in ("clipped", "redrawn", None):
            raise InputError(f"{name}: outside must be 'clipped' or 'redrawn'; got {self.outside!r}.")
        is_bounded = math.isfinite(self.low) or math.isfinite(self.high)
        if is_bounded != (self.outside is not None):
            raise InputError(
                f"{name}: bounds need outside='clipped' (numbers beyond become the bound) or outside='redrawn', and "
                f"outside needs a bound; got low={self.low!r}, high={self.high!r}, outside={self.outside!r}."
            )
        inside = self._inside
        if self.outside == "redrawn" and inside < _RAREST:
            raise InputError(
                f"{name}: a share of {inside:.1e} lies between low={self.low!r} and high={self.high!r}, too small to "
                "draw again until all do; move the bounds, or use outside='clipped'."
            )

    @abc.abstractmethod
    def _share(self, number: float) -> float:
        """Return the probability of a number below this one before the bounds act."""

    @abc.abstractmethod
    def _reach(self) -> tuple[float, float]:
        """Return finite bounds of what is drawn before the bounds act."""

    @property
    def _inside(self) -> float:
        """Probability of a number within the bounds before they act."""
        low, high = self._reach()
        if low == high:
            return float(self.low <= low <= self.high)
        return self._share(self.high) - self._share(self.low)

    @property
    def lowest(self) -> float:
        """The lower bound."""
        return self.low

    @property
    def highest(self) -> float:
        """The upper bound."""
        return self.high

    @property
    def support(self) -> tuple[float, float]:
        """Finite bounds beyond which nothing is drawn with a probability of 2^-33 or more."""
        low, high = self._reach()
        return min(max(self.low, low), self.high), max(min(self.high, high), self.low)

    def below(self, numbers: np.ndarray) -> np.ndarray:
        """Return the probability of a number below each of `numbers`, after the bounds act."""
        numbers = np.asarray(numbers, np.float64)
        low, high = self._reach()
        if low == high:  # no spread
            return (numbers > min(max(low, self.low), self.high)).astype(np.float64)
        shares = np.array([self._share(number) for number in numbers.ravel().tolist()]).reshape(numbers.shape)
        if self.outside == "redrawn":
            shares = (shares - self._share(self.low)) / self._inside
        return np.where(numbers <= self.low, 0.0, np.where(numbers > self.high, 1.0, np.clip(shares, 0.0, 1.0)))


@dataclass(frozen=True)
class Normal(_Bounded):
    """Normal distribution, with bounds or without.

    Parameters
    ----------
    mean, std : float
        Mean and standard deviation before the bounds act; `std` is at least 0.
    low, high : float
        Bounds.
    outside : {"clipped", "redrawn"}, optional
        What happens to numbers beyond the bounds: they become the bound, or are drawn again (the truncated normal
        distribution). Needed with bounds.

    Examples
    --------
    >>> import numpy as np
    >>> from neurosim.synapses.distributions import Normal
    >>> delay = Normal(0.75e-3, 0.375e-3, low=0.1e-3, outside="redrawn")
    >>> delay.below(np.array([0.05e-3, 0.75e-3])).round(3).tolist()
    [0.0, 0.478]
    """

    mean: float
    std: float

    def __post_init__(self) -> None:
        _check_finite(self, mean=self.mean, std=self.std)
        if self.std < 0:
            raise InputError(f"Normal: std must be at least 0; got {self.std!r}.")
        super().__post_init__()

    def _share(self, number: float) -> float:
        return 0.5 * math.erfc((self.mean - number) / (self.std * math.sqrt(2.0)))

    def _reach(self) -> tuple[float, float]:
        return self.mean - REACH * self.std, self.mean + REACH * self.std


@dataclass(frozen=True)
class LogNormal(_Bounded):
    """Lognormal distribution: numbers whose natural logarithm is normal, with bounds or without.

    Parameters
    ----------
    mu, sigma : float
        Mean and standard deviation of the logarithm; `sigma` is at least 0.
    low, high : float
        Bounds of the numbers.
    outside : {"clipped", "redrawn"}, optional
        As in `Normal`.
    """

    mu: float
    sigma: float

    def __post_init__(self) -> None:
        _check_finite(self, mu=self.mu, sigma=self.sigma)
        if self.sigma < 0:
            raise InputError(f"LogNormal: sigma must be at least 0; got {self.sigma!r}.")
        super().__post_init__()

    @property
    def lowest(self) -> float:
        """The lower bound, at least 0."""
        return max(self.low, 0.0)

    def _share(self, number: float) -> float:
        if number <= 0:
            return 0.0
        return 0.5 * math.erfc((self.mu - math.log(number)) / (self.sigma * math.sqrt(2.0)))

    def _reach(self) -> tuple[float, float]:
        low, high = (min(self.mu + side * REACH * self.sigma, _LARGEST_LOGARITHM) for side in (-1, 1))
        return math.exp(low), math.exp(high)


def _check_finite(owner: Distribution, **values: float) -> None:
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise InputError(f"{type(owner).__name__}: {name} must be a finite number; got {value!r}.")
