"""Pooling over one axis, and the mean over a grid of windows that cover an image."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from neurosim.synapses.lowering import Lowered, Opaque
from neurosim.synapses.synapse import Synapse, count, pair


class _Pool1d(Synapse):
    def __init__(self, kernel: int, *, stride: int | None = None) -> None:
        super().__init__()
        name = self._get_name()
        self.kernel = count(name, "kernel", kernel)
        self.stride = self.kernel if stride is None else count(name, "stride", stride)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return ``(C, L')``; positions that do not fill a window are left out."""
        if len(shape) != 2 or shape[1] < self.kernel:
            raise self.refuse(shape, f"C, L >= {self.kernel}")
        return (shape[0], (shape[1] - self.kernel) // self.stride + 1)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"kernel={self.kernel}, stride={self.stride}"


class AvgPool1d(_Pool1d):
    """Mean over windows: ``[T, B, C, L] -> [T, B, C, L']``; spikes become fractions.

    Parameters
    ----------
    kernel : int
        Window.
    stride : int, optional
        Step between windows; the window itself if left out.
    """

    def apply_step(self, x: Tensor) -> Tensor:
        """Return the mean over each window of ``x`` [n, C, L]."""
        return functional.avg_pool1d(x, self.kernel, self.stride)


class SumPool1d(_Pool1d):
    """Sum over windows: ``[T, B, C, L] -> [T, B, C, L']``.

    Parameters
    ----------
    kernel : int
        Window.
    stride : int, optional
        Step between windows; the window itself if left out.
    """

    def apply_step(self, x: Tensor) -> Tensor:
        """Return the sum over each window of ``x`` [n, C, L]."""
        windows = functional.avg_pool2d(x.unsqueeze(2), (1, self.kernel), (1, self.stride), divisor_override=1)
        return windows.squeeze(2)


class MaxPool1d(_Pool1d):
    """Logical or over windows of spikes: ``[T, B, C, L] -> [T, B, C, L']``.

    Parameters
    ----------
    kernel : int
        Window.
    stride : int, optional
        Step between windows; the window itself if left out.
    """

    def apply_step(self, x: Tensor) -> Tensor:
        """Return the maximum over each window of ``x`` [n, C, L]."""
        return functional.max_pool1d(x, self.kernel, self.stride)

    def _lowered(self, shape: tuple[int, ...]) -> Lowered:
        return Opaque("takes maxima")


class AdaptiveAvgPool2d(Synapse):
    """Means over a grid of windows that cover an image of any size: ``[T, B, C, H, W] -> [T, B, C, *places]``.

    Parameters
    ----------
    places : int or (int, int)
        Rows and columns of the grid, as ``output_size`` of ``torch.nn.AdaptiveAvgPool2d``; 1 is the mean over the
        image.

    Examples
    --------
    >>> import torch
    >>> from neurosim.synapses import AdaptiveAvgPool2d
    >>> AdaptiveAvgPool2d(1)(torch.ones(1, 1, 3, 7, 5)).shape
    torch.Size([1, 1, 3, 1, 1])
    """

    def __init__(self, places: int | tuple[int, int]) -> None:
        super().__init__()
        self.places = pair("AdaptiveAvgPool2d", "places", places, 2)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return ``(C, *places)``."""
        if len(shape) != 3:
            raise self.refuse(shape, "C, H, W")
        return (shape[0], *self.places)

    def apply_step(self, x: Tensor) -> Tensor:
        """Return the mean over each window of ``x`` [n, C, H, W]."""
        return functional.adaptive_avg_pool2d(x, (self.places[0], self.places[1]))

    def extra_repr(self) -> str:
        """Return the places."""
        return f"places={self.places}"
