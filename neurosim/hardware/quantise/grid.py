"""Rounding to the chip's integers, as parametrisations of weights and biases; gradients pass straight through."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from neurosim.hardware.loihi.neurons import EXPONENTS, MANTISSA


@dataclass(frozen=True)
class IntegerFormat:
    """The integers that a network may hold.

    Attributes
    ----------
    bits : int
        Of the weights, 1 ... 8.
    weight_exponents : bool
        Whether an edge whose weights exceed their range gets a weight exponent; otherwise they are clipped.
    bias_exponent : int or None
        Exponent of all biases, 0 ... 7; None for the smallest that holds each bias.
    """

    bits: int
    weight_exponents: bool = True
    bias_exponent: int | None = None


class WeightGrid(nn.Module):
    """Weights in units of the membrane, rounded to the integers of a synapse.

    Rounded to the nearest; gradients pass straight through, and are 0 where a weight exceeds the range.

    Parameters
    ----------
    scale : float
        Integer that a weight of 1 becomes.
    low, high : int
        Lowest and highest integer.
    step : int
        Distance between two integers.
    """

    def __init__(self, scale: float, low: int, high: int, step: int = 1) -> None:
        super().__init__()
        self.scale, self._step = scale, float(step)
        self._low, self._high = low / self._step, high / self._step

    def forward(self, weight: Tensor) -> Tensor:
        """Return the integer weights."""
        inside = (weight * (self.scale / self._step)).clamp(self._low, self._high)
        return _straight_through(inside, inside.round()) * self._step

    def extra_repr(self) -> str:
        """Return the settings."""
        low, high = self._low * self._step, self._high * self._step
        return f"scale={self.scale:.4g}, {low:.0f} to {high:.0f} by {self._step:.0f}"


class BiasGrid(nn.Module):
    """Biases in units of the membrane, rounded to mantissas times powers of two.

    Parameters
    ----------
    unit : float
        Voltage of the chip for a membrane of 1.
    exponent : int, optional
        As in `chip_bias`.
    """

    def __init__(self, unit: float, exponent: int | None = None) -> None:
        super().__init__()
        self.unit, self.exponent = unit, exponent

    def forward(self, bias: Tensor) -> Tensor:
        """Return the integer biases."""
        return _straight_through(bias * self.unit, chip_bias(bias.detach() * self.unit, self.exponent))

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"unit={self.unit:.4g}"


def chip_bias(bias: Tensor, exponent: int | None = None) -> Tensor:
    """Return the nearest biases of the chip, integers; beyond its range the last one.

    `exponent` is that of all biases; if left out, each has the smallest that holds it.
    """
    exponents = EXPONENTS if exponent is None else range(exponent, exponent + 1)
    nearest = torch.zeros_like(bias)
    open_ = torch.ones_like(bias, dtype=torch.bool)
    for each in exponents:
        mantissa = torch.round(bias * 2.0**-each)
        if each == exponents[-1]:
            mantissa = mantissa.clamp(*MANTISSA)
        fits = open_ & (mantissa >= MANTISSA[0]) & (mantissa <= MANTISSA[1])
        nearest = torch.where(fits, mantissa * 2.0**each, nearest)
        open_ = open_ & ~fits
    return nearest


def _straight_through(value: Tensor, rounded: Tensor) -> Tensor:
    """Return exactly `rounded`, with the gradient of `value`."""
    out: Tensor = _StraightThrough.apply(value, rounded)
    return out


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(_, value: Tensor, rounded: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        return rounded.clone()

    @staticmethod
    def backward(_, g: Tensor) -> tuple[Tensor, None]:  # type: ignore[no-untyped-def]
        return g, None
