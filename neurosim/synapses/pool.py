"""Pooling over two axes and flattening: synapses without weights."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional

from neurosim.errors import InputError
from neurosim.kernels.common.autograd import can_call_directly, under_transform
from neurosim.synapses.lowering import Lowered, Opaque, Pooling, Reshape
from neurosim.synapses.synapse import Synapse, pair


class _Pool2d(Synapse):
    def __init__(self, kernel: int | tuple[int, int], *, stride: int | tuple[int, int] | None = None) -> None:
        super().__init__()
        name = self._get_name()
        self.kernel = pair(name, "kernel", kernel, 2)
        self.stride = self.kernel if stride is None else pair(name, "stride", stride, 2)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return ``(C, H', W')``; positions that do not fill a window are left out."""
        if len(shape) != 3 or shape[1] < self.kernel[0] or shape[2] < self.kernel[1]:
            raise self.refuse(shape, f"C, H >= {self.kernel[0]}, W >= {self.kernel[1]}")
        channels, *places = shape
        return (channels, *((n - k) // s + 1 for n, k, s in zip(places, self.kernel, self.stride, strict=True)))

    def passed_on(
        self, shape: tuple[int, ...], packed_bits: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return bits for a maximum, and a mask that is set where any position of a window is in the mask."""
        kind = type(self)
        if kind not in (AvgPool2d, SumPool2d, MaxPool2d):  # a subclass may compute something else
            return None, None
        return self._pooled(shape, packed_bits if kind is MaxPool2d else None), self._pooled(shape, mask)

    def _pooled(self, shape: tuple[int, ...], packed_bits: Tensor | None) -> Tensor | None:
        if (
            packed_bits is None
            or packed_bits.device.type != "cpu"
            or not can_call_directly((packed_bits,))
            or under_transform()
        ):
            return None
        from neurosim.kernels.conv.pooled_bits import pooled_bits

        channels, height, width = shape
        return pooled_bits(packed_bits, (channels, height, width), self.kernel, self.stride)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"kernel={self.kernel}, stride={self.stride}"


class AvgPool2d(_Pool2d):
    """Mean over windows: ``[T, B, C, H, W] -> [T, B, C, H', W']``; spikes become fractions.

    Parameters
    ----------
    kernel : int or (int, int)
        Window.
    stride : int or (int, int), optional
        Step between windows; the window itself if left out.
    """

    def apply_step(self, x: Tensor) -> Tensor:
        """Return the mean over each window of ``x`` [n, C, H, W]."""
        return functional.avg_pool2d(x, self.kernel, self.stride)

    def _lowered(self, shape: tuple[int, ...]) -> Lowered:
        return Pooling("mean", self.kernel, self.stride)


class SumPool2d(_Pool2d):
    """Sum over windows: ``[T, B, C, H, W] -> [T, B, C, H', W']``; NIR's ``SumPool2d``.

    Parameters
    ----------
    kernel : int or (int, int)
        Window.
    stride : int or (int, int), optional
        Step between windows; the window itself if left out.
    """

    def apply_step(self, x: Tensor) -> Tensor:
        """Return the sum over each window of ``x`` [n, C, H, W]."""
        return functional.avg_pool2d(x, self.kernel, self.stride, divisor_override=1)

    def _lowered(self, shape: tuple[int, ...]) -> Lowered:
        return Pooling("sum", self.kernel, self.stride)


class MaxPool2d(_Pool2d):
    """Logical or over windows of spikes: ``[T, B, C, H, W] -> [T, B, C, H', W']``.

    Parameters
    ----------
    kernel : int or (int, int)
        Window.
    stride : int or (int, int), optional
        Step between windows; the window itself if left out.
    padding : int or (int, int)
        Places added on each side, at most half a window, which are in no maximum.
    """

    def __init__(
        self,
        kernel: int | tuple[int, int],
        *,
        stride: int | tuple[int, int] | None = None,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__(kernel, stride=stride)
        self.padding = pair("MaxPool2d", "padding", padding, 2, low=0)
        if any(2 * p > k for p, k in zip(self.padding, self.kernel, strict=True)):
            raise InputError(f"MaxPool2d: padding must be at most half of kernel={self.kernel}; got {self.padding}.")

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return ``(C, H', W')``; positions that do not fill a window are left out."""
        if len(shape) != 3:
            raise self.refuse(shape, "C, H, W")
        return super().output_shape((shape[0], *(n + 2 * p for n, p in zip(shape[1:], self.padding, strict=True))))

    def passed_on(
        self, shape: tuple[int, ...], packed_bits: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return bits for a maximum, and a mask that is set where any position of a window is in the mask."""
        return (None, None) if any(self.padding) else super().passed_on(shape, packed_bits, mask)

    def apply_step(self, x: Tensor) -> Tensor:
        """Return the maximum over each window of ``x`` [n, C, H, W]."""
        return functional.max_pool2d(x, self.kernel, self.stride, self.padding)

    def _lowered(self, shape: tuple[int, ...]) -> Lowered:
        if any(self.padding):
            return Opaque("takes maxima of windows beyond the border")
        return Pooling("max", self.kernel, self.stride)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"{super().extra_repr()}, padding={self.padding}" if any(self.padding) else super().extra_repr()


class Flatten(Synapse):
    """All axes of a population into one: ``[T, B, C, H, W] -> [T, B, C H W]``."""

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return ``(number of neurons,)``."""
        return (math.prod(shape),)

    def passed_on(
        self, shape: tuple[int, ...], packed_bits: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return the same: the order of the bits does not depend on the shape."""
        return (packed_bits, mask) if type(self) is Flatten else (None, None)

    def apply_step(self, x: Tensor) -> Tensor:
        """Return ``x`` [n, ...] as [n, N]."""
        return x.flatten(1)

    def _lowered(self, shape: tuple[int, ...]) -> Lowered:
        return Reshape(self.output_shape(shape))
