"""Lava's order of axes: images are (width, height, channels), and convolutions are true ones, with flipped kernels."""

from __future__ import annotations

import numpy as np

from neurosim.hardware.lava import description
from neurosim.synapses.lowering import Convolution


def lava_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return Lava's shape of a population: (W, H, C) for (C, H, W)."""
    return shape[::-1] if len(shape) == 3 else shape


def lava_layout(values: np.ndarray, dimensions: int) -> np.ndarray:
    """Convert the last `dimensions` axes of `values` between the network's order and Lava's; its own inverse."""
    if dimensions != 3:
        return values
    return values.transpose(*range(values.ndim - 3), -1, -2, -3)


def conv_process(ends: tuple[str, str, str], convolution: Convolution, weight: np.ndarray) -> description.ConvProcess:
    """Return a convolution over two axes with these weights [out, in, kh, kw] in Lava's layout.

    Parameters
    ----------
    ends : (str, str, str)
        Names of the edge, its source and its target.
    convolution : Convolution
        Stride, padding, dilation and groups.
    weight : numpy.ndarray
    """
    settings = (convolution.stride, convolution.padding, convolution.dilation)
    stride, padding, dilation = ((width, height) for height, width in settings)
    flipped = np.ascontiguousarray(weight[:, :, ::-1, ::-1].transpose(0, 3, 2, 1))
    return description.ConvProcess(*ends, flipped, stride, padding, dilation, convolution.groups)
