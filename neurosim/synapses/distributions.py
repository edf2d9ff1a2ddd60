"""Distributions of weights and delays."""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from neurosim.errors import InputError

Outside = Literal["clipped", "redrawn"]

_BLOCK = 1 << 20  # numbers drawn at once
_RAREST = 1e-3  # share inside the bounds below which redrawing is refused


class Distribution(abc.ABC):
    """A distribution of one number for each synapse."""

    @abc.abstractmethod
    def draw(self, count: int, chance: np.random.Generator) -> np.ndarray:
        """Return `count` numbers, float64."""

    @property
    @abc.abstractmethod
    def lowest(self) -> float:
        """Lower bound of what is drawn."""

    def drawn(self, count: int, chance: np.random.Generator, dtype: np.dtype) -> np.ndarray:
        """Return `count` numbers in a floating-point or integer type, in memory of that type."""
        numbers = np.empty(count, dtype)
        for first in range(0, count, _BLOCK):
            part = numbers[first : first + _BLOCK]
            part[:] = self.draw(len(part), chance)
        return numbers


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
        return self.value

    def draw(self, count: int, chance: np.random.Generator) -> np.ndarray:
        """Return the value `count` times."""
        return np.full(count, float(self.value))


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
        return self.low

    def draw(self, count: int, chance: np.random.Generator) -> np.ndarray:
        """Return `count` numbers from [low, high)."""
        return chance.uniform(self.low, self.high, count)


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
        inside = self._inside()
        if self.outside == "redrawn" and inside < _RAREST:
            raise InputError(
                f"{name}: a share of {inside:.1e} lies between low={self.low!r} and high={self.high!r}, too small to "
                "draw again until all do; move the bounds, or use outside='clipped'."
            )

    @abc.abstractmethod
    def _inside(self) -> float:
        """Return the probability of a number within the bounds before they act."""

    @abc.abstractmethod
    def _unbounded(self, count: int, chance: np.random.Generator) -> np.ndarray:
        """Return `count` numbers before the bounds act."""

    @property
    def lowest(self) -> float:
        """The lower bound."""
        return self.low

    def draw(self, count: int, chance: np.random.Generator) -> np.ndarray:
        """Return `count` numbers within the bounds."""
        numbers = self._unbounded(count, chance)
        if self.outside == "clipped":
            return np.clip(numbers, self.low, self.high, out=numbers)
        if self.outside == "redrawn":
            while (beyond := np.flatnonzero((numbers < self.low) | (numbers > self.high))).size:
                numbers[beyond] = self._unbounded(beyond.size, chance)
        return numbers


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
    >>> weights = Normal(0.5, 0.2, low=0.0, outside="redrawn").draw(1000, np.random.default_rng(0))
    >>> bool(weights.min() >= 0)
    True
    """

    mean: float
    std: float

    def __post_init__(self) -> None:
        _check_finite(self, mean=self.mean, std=self.std)
        if self.std < 0:
            raise InputError(f"Normal: std must be at least 0; got {self.std!r}.")
        super().__post_init__()

    def _inside(self) -> float:
        return _normal_share(self.low, self.high, self.mean, self.std)

    def _unbounded(self, count: int, chance: np.random.Generator) -> np.ndarray:
        return chance.normal(self.mean, self.std, count)


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

    def _inside(self) -> float:
        low, high = (math.log(bound) if bound > 0 else -math.inf for bound in (self.low, self.high))
        return _normal_share(low, high, self.mu, self.sigma)

    def _unbounded(self, count: int, chance: np.random.Generator) -> np.ndarray:
        return chance.lognormal(self.mu, self.sigma, count)


def _normal_share(low: float, high: float, mean: float, std: float) -> float:
    """Return the probability that a normal number lies between two bounds."""
    if not std:
        return float(low <= mean <= high)
    below = [math.erf((bound - mean) / (std * math.sqrt(2.0))) for bound in (low, high)]
    return 0.5 * (below[1] - below[0])


def _check_finite(owner: Distribution, **values: float) -> None:
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise InputError(f"{type(owner).__name__}: {name} must be a finite number; got {value!r}.")
