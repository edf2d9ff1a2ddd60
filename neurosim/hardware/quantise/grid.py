"""Rounding to what the chip holds, as parametrisations of weights and biases: training sees straight through it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neurosim.hardware.loihi.neurons import EXPONENTS, MANTISSA
from neurosim.hardware.loihi.weights import SignMode, weight_range, weight_step


class WeightGrid(nn.Module):
    """Weights in units of the membrane onto the whole numbers that a synapse holds.

    Rounded to the nearest; gradients pass straight through, and stop where a weight is beyond the range.

    Parameters
    ----------
    scale : float
        Steps of 1 that a weight of 1 becomes.
    bits : int
        1 ... 8.
    mode : SignMode
    """

    def __init__(self, scale: float, bits: int, mode: SignMode) -> None:
        super().__init__()
        self.scale, self.bits, self.mode = scale, bits, mode
        self._step = float(weight_step(bits, mode))
        low, high = weight_range(bits, mode)
        self._low, self._high = low / self._step, high / self._step

    def forward(self, weight: Tensor) -> Tensor:
        """Return the whole weights."""
        inside = (weight * (self.scale / self._step)).clamp(self._low, self._high)
        return _straight(inside, inside.round()) * self._step

    def extra_repr(self) -> str:
        """Return what the grid is."""
        return f"scale={self.scale:.4g}, bits={self.bits}, {self.mode.value}"


class BiasGrid(nn.Module):
    """Biases in units of the membrane onto mantissas times powers of two.

    Parameters
    ----------
    unit : float
        Voltage of the chip that a membrane of 1 is.
    """

    def __init__(self, unit: float) -> None:
        super().__init__()
        self.unit = unit

    def forward(self, bias: Tensor) -> Tensor:
        """Return the whole biases."""
        return _straight(bias * self.unit, held_bias(bias.detach() * self.unit))

    def extra_repr(self) -> str:
        """Return what the grid is."""
        return f"unit={self.unit:.4g}"


def held_bias(bias: Tensor) -> Tensor:
    """Return the biases, whole numbers, that the chip holds nearest to these; beyond its range the last one."""
    found = torch.zeros_like(bias)
    open_ = torch.ones_like(bias, dtype=torch.bool)
    for exponent in EXPONENTS:
        mantissa = torch.round(bias * 2.0**-exponent)
        if exponent == EXPONENTS[-1]:
            mantissa = mantissa.clamp(*MANTISSA)
        fits = open_ & (mantissa >= MANTISSA[0]) & (mantissa <= MANTISSA[1])
        found = torch.where(fits, mantissa * 2.0**exponent, found)
        open_ = open_ & ~fits
    return found


def _straight(value: Tensor, rounded: Tensor) -> Tensor:
    """Return exactly `rounded`, with the gradient of `value`."""
    out: Tensor = _Straight.apply(value, rounded)
    return out


class _Straight(torch.autograd.Function):
    @staticmethod
    def forward(_, value: Tensor, rounded: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        return rounded.clone()

    @staticmethod
    def backward(_, g: Tensor) -> tuple[Tensor, None]:  # type: ignore[no-untyped-def]
        return g, None
