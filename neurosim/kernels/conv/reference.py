"""The definition of a convolution of spikes: torch's own."""

from __future__ import annotations

from torch import Tensor

from neurosim.kernels.conv import dense
from neurosim.kernels.conv.arguments import Settings


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, settings: Settings) -> Tensor:
    """Return the convolution of ``x`` [R, c_in, H, W]; see `arguments.Call`."""
    return dense.convolve(x, weight, bias, *settings)
