"""From values to spikes by phase, burst and population, and back."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from neurosim.datasets.checks import checked_integer, checked_numbers, checked_values
from neurosim.datasets.encoders import Encoder
from neurosim.errors import InputError, ShapeError


@dataclass(frozen=True)
class phase(Encoder):
    """Encode a value in [0, 1] by its binary digits: the spike of phase k weighs ``2 ** -(k + 1)``.

    A period has a step for each digit; periods repeat. The value is rounded to the nearest multiple of ``2 ** -bits``
    below 1, so that `decode` is off by at most half of that, or by all of it next to 1.

    Parameters
    ----------
    bits : int
        Steps of a period, 1 to 24.
    periods : int
        Number of periods, at least 1.

    Raises
    ------
    InputError
        For parameters out of range, or when a value is NaN, below 0 or above 1.

    References
    ----------
    Kim, Kim, Huh, Lee and Choi 2018, "Deep neural networks with weighted spikes", doi:10.1016/j.neucom.2018.05.087.

    Examples
    --------
    >>> phase(3)(torch.tensor([[0.625]]))[:, 0, 0].tolist()
    [1.0, 0.0, 1.0]
    """

    bits: int
    periods: int = 1

    def __post_init__(self) -> None:
        if checked_integer("bits", self.bits) > 24:
            raise InputError(f"bits = {self.bits}, but float32 holds 24.")
        checked_integer("periods", self.periods)

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Encode [B, ...] in [0, 1] as 0/1 spikes [T, B, ...]. The generator is not used."""
        value = checked_values(x, unit_range=True).double()
        code = torch.round(value * 2**self.bits).clamp(max=2**self.bits - 1).to(torch.int64)
        shifts = torch.arange(self.bits - 1, -1, -1, device=x.device).reshape(-1, *[1] * x.ndim)
        return (code >> shifts & 1).float().repeat(self.periods, *[1] * x.ndim)

    def decode(self, spikes: Tensor) -> Tensor:
        """Return the values [B, ...] of spikes [T, B, ...], the mean over all periods."""
        if len(spikes) != self.bits * self.periods:
            raise ShapeError(f"spikes have {len(spikes)} steps; {self.periods} periods of {self.bits} are expected.")
        weight = 2.0 ** -(torch.arange(len(spikes), device=spikes.device) % self.bits + 1).double()
        return (torch.einsum("t,t...->...", weight, spikes.double()) / self.periods).float()


@dataclass(frozen=True)
class burst(Encoder):
    """Encode a value in [0, 1] by a burst: the larger, the more spikes and the shorter their intervals.

    A value x has ``n = ceil(x most)`` spikes from step 0 on, ``ceil(longest - (longest - shortest) x)`` steps apart.
    `decode` counts them: it is at most ``1 / most`` above the value.

    Parameters
    ----------
    steps : int
        T.
    most : int
        Spikes of the value 1, at least 1.
    shortest, longest : int
        Steps between the spikes of the values 1 and (nearly) 0; ``1 <= shortest <= longest``.

    Raises
    ------
    InputError
        For parameters out of range, steps that do not hold every burst, or when a value is NaN, below 0 or above 1.

    References
    ----------
    Guo, Fouda, Eltawil and Salama 2021, "Neural coding in spiking neural networks: A comparative study for robust
    neuromorphic systems", doi:10.3389/fnins.2021.638474.

    Examples
    --------
    >>> burst(10, most=3, shortest=1, longest=4)(torch.tensor([[0.0, 0.5, 1.0]]))[:, 0].T.int().tolist()
    [[0, 0, 0, 0, 0, 0, 0, 0, 0, 0], [1, 0, 0, 1, 0, 0, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0, 0, 0, 0, 0]]
    """

    steps: int
    most: int = field(kw_only=True)
    shortest: int = field(kw_only=True)
    longest: int = field(kw_only=True)

    def __post_init__(self) -> None:
        checked_integer("steps", self.steps)
        checked_integer("most", self.most)
        checked_integer("longest", self.longest, least=checked_integer("shortest", self.shortest))
        spread = self.longest - self.shortest
        needed = 1 + max(n * math.ceil(self.longest - spread * n / self.most) for n in range(self.most))
        if needed > self.steps:
            raise InputError(f"steps = {self.steps}, but the longest burst takes {needed} steps.")

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Encode [B, ...] in [0, 1] as 0/1 spikes [T, B, ...]. The generator is not used."""
        value = checked_values(x, unit_range=True).double()
        number = torch.ceil(value * self.most)
        interval = torch.ceil(self.longest - (self.longest - self.shortest) * value)
        step = torch.arange(self.steps, dtype=torch.float64, device=x.device).reshape(-1, *[1] * x.ndim)
        return ((step % interval == 0) & (step < number * interval)).float()

    def decode(self, spikes: Tensor) -> Tensor:
        """Return the values [B, ...] of spikes [T, B, ...]."""
        if spikes.ndim < 1 or len(spikes) != self.steps:
            raise ShapeError(f"spikes have shape {tuple(spikes.shape)}; {self.steps} steps are expected.")
        return (spikes.double().sum(0) / self.most).float()


@dataclass(frozen=True)
class population(Encoder):
    """Encode a value by several neurons with Gaussian receptive fields; another encoder makes spikes of activations.

    Neuron i of n has its centre at ``low + (2 i - 1) / 2 (high - low) / (n - 2)`` for i from 0, and the standard
    deviation ``(high - low) / (beta (n - 2))``; its activation is 1 at the centre. `activation` is differentiable.

    Parameters
    ----------
    neurons : int
        n, at least 3.
    low, high : float
        Range of the values; others are allowed.
    encoder : Encoder
        Takes the activations, which lie in [0, 1], such as `rate` or `latency`.
    beta : float
        Positive; 1.5 in the publication.

    Raises
    ------
    InputError
        For parameters out of range, or values that are not finite.

    References
    ----------
    Bohte, La Poutré and Kok 2002, "Unsupervised clustering with spiking neurons by sparse temporal coding and
    multilayer RBF networks", doi:10.1109/72.991428.

    Examples
    --------
    >>> from neurosim.datasets import latency
    >>> code = population(4, low=0.0, high=1.0, encoder=latency(10))
    >>> code.centres
    (-0.25, 0.25, 0.75, 1.25)
    >>> code(torch.tensor([[0.25]]))[0, 0, 0].tolist()
    [0.0, 1.0, 0.0, 0.0]
    """

    neurons: int
    low: float = field(kw_only=True)
    high: float = field(kw_only=True)
    encoder: Encoder = field(kw_only=True)
    beta: float = field(default=1.5, kw_only=True)

    def __post_init__(self) -> None:
        checked_integer("neurons", self.neurons, least=3)
        checked_numbers(low=self.low, high=self.high, beta=self.beta)
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise InputError(f"low = {self.low!r} and high = {self.high!r}, but low must be below high, both finite.")
        if not 0 < self.beta < math.inf:
            raise InputError(f"beta = {self.beta!r}, but it must be positive and finite.")
        if not isinstance(self.encoder, Encoder):
            raise InputError(f"encoder = {self.encoder!r}; give an encoder of values such as rate or latency.")
        if self.encoder.timed_input:
            raise InputError(f"{self.encoder!r} takes signals over time; population needs an encoder of values.")

    @property
    def centres(self) -> tuple[float, ...]:
        """Centres of the receptive fields."""
        gap = (self.high - self.low) / (self.neurons - 2)
        return tuple(self.low + (2 * i - 1) / 2 * gap for i in range(self.neurons))

    def activation(self, x: Tensor) -> Tensor:
        """Return the activations [B, ..., n] of values [B, ...], in [0, 1]."""
        centre = torch.tensor(self.centres, device=x.device)
        deviation = (self.high - self.low) / (self.beta * (self.neurons - 2))
        return torch.exp(-0.5 * ((checked_values(x, unit_range=False)[..., None] - centre) / deviation) ** 2)

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Encode [B, ...] as [T, B, ..., n]."""
        return self.encoder(self.activation(x), generator)

    def decode(self, activation: Tensor) -> Tensor:
        """Return the values [B, ...]: the mean of the centres, weighted by activations or counts of spikes [B, ..., n].

        NaN where all of them are 0. Near `low` and `high` the mean lies too far inside: fields beyond are missing.
        """
        if activation.ndim < 1 or activation.shape[-1] != self.neurons:
            raise ShapeError(f"activations have shape {tuple(activation.shape)}; [B, ..., {self.neurons}] is expected.")
        centre = torch.tensor(self.centres, dtype=torch.float64, device=activation.device)
        weight = activation.double()
        return ((weight * centre).sum(-1) / weight.sum(-1)).float()
