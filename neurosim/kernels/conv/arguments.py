"""Arguments and results of a convolution of spikes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor


class Settings(NamedTuple):
    """Stride, padding, dilation and groups of a convolution, as in ``torch.nn.functional.conv2d``."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int


class Call(NamedTuple):
    """Arguments of a convolution.

    Attributes
    ----------
    x : Tensor [R, c_in, H, W]
        Spikes, float32 or float64; R counts steps and samples.
    weight : Tensor [c_out, c_in / groups, kh, kw]
        Of the same type.
    bias : Tensor [c_out] or None
    stride, padding, dilation, groups
        As in `Settings`.
    packed_bits : Tensor [R, ceil(c_in H W / 64)] of int64 or None
        Bits of x, every value of which is then 0 or 1; None if they are not known.
    mask : Tensor [R, ceil(c_in H W / 64)] of int64 or None
        Where the gradient of x is needed, a bit each; it is 0 elsewhere. None for everywhere.
    """

    x: Tensor
    weight: Tensor
    bias: Tensor | None
    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]
    groups: int
    packed_bits: Tensor | None = None
    mask: Tensor | None = None


class Saved(NamedTuple):
    """What the backward pass reads.

    Attributes
    ----------
    size : sequence of int
        c_in, H and W.
    input_bits, values
        As in `ProductOutputs`.
    weight, stride, padding, dilation, groups, mask
        As in `Call`.
    """

    size: Sequence[int]
    input_bits: Tensor
    values: Tensor | None
    weight: Tensor
    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]
    groups: int
    mask: Tensor | None


def settings_of(convolution: Call | Saved) -> Settings:
    """Return the settings of a convolution."""
    stride, padding, dilation = map(tuple, (convolution.stride, convolution.padding, convolution.dilation))
    return Settings(stride, padding, dilation, convolution.groups)
