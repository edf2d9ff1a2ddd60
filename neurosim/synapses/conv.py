"""Convolutional synapses: the same weights at every position."""

from __future__ import annotations

import abc

from torch import Tensor

from neurosim.errors import InputError
from neurosim.kernels.conv import dense
from neurosim.kernels.conv.operator import Settings, event_conv
from neurosim.synapses.linear import uniform_weight
from neurosim.synapses.lowering import Convolution, Lowered
from neurosim.synapses.synapse import Synapse, count, event_driven, pair


class _Conv(Synapse):
    """Cross-correlation over one to three axes, as torch defines it."""

    axes: int

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int | tuple[int, ...],
        *,
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] = 0,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        bias: bool = False,
    ) -> None:
        super().__init__()
        name, axes = self._get_name(), self.axes
        self.c_in, self.c_out = count(name, "c_in", c_in), count(name, "c_out", c_out)
        self.groups = count(name, "groups", groups)
        if c_in % groups or c_out % groups:
            raise InputError(f"{name}: groups must divide c_in={c_in} and c_out={c_out}; got {groups}.")
        self.kernel = pair(name, "kernel", kernel, axes)
        self.stride = pair(name, "stride", stride, axes)
        self.padding = pair(name, "padding", padding, axes, low=0)
        self.dilation = pair(name, "dilation", dilation, axes)
        fan_in = c_in // groups
        for k in self.kernel:
            fan_in *= k
        self.weight = uniform_weight((c_out, c_in // groups, *self.kernel), fan_in)
        self.bias = uniform_weight((c_out,), fan_in) if bias else None
        self.note_drawn_weights()

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return ``(c_out, *places)``."""
        names = ("L", "HW", "DHW")[self.axes - 1]
        if len(shape) != 1 + self.axes or shape[0] != self.c_in:
            raise self.refuse(shape, f"{self.c_in}, {', '.join(names)}")
        places = tuple(
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, p, d, k, s in zip(shape[1:], self.padding, self.dilation, self.kernel, self.stride, strict=True)
        )
        if min(places) < 1:
            raise self.refuse(shape, f"{self.c_in}, at least the kernel {list(self.kernel)} after padding")
        return (self.c_out, *places)

    def apply_step(self, x: Tensor) -> Tensor:
        """Return the cross-correlation of ``x`` [n, c_in, *places] with the weights."""
        return self.apply_spikes(x, None, None)

    def apply_spikes(self, x: Tensor, packed_bits: Tensor | None, mask: Tensor | None) -> Tensor:
        """Like `apply_step`, with the packed bits and the gradient mask of `forward`."""
        return self.product(x, self.weight, packed_bits, mask)

    def _lowered(self, shape: tuple[int, ...]) -> Lowered:
        return Convolution(self.weight, self.stride, self.padding, self.dilation, self.groups, self.bias)

    @abc.abstractmethod
    def product(
        self, x: Tensor, weight: Tensor, packed_bits: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Return the currents of ``x`` with these weights, of the shape and type of the synapse's own."""

    def extra_repr(self) -> str:
        """Return the sizes."""
        return (
            f"{self.c_in}, {self.c_out}, kernel={self.kernel}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, groups={self.groups}, bias={self.bias is not None}"
        )


class Conv1d(_Conv):
    """Convolution over one axis: ``[T, B, c_in, L] -> [T, B, c_out, L']``.

    Parameters
    ----------
    c_in, c_out : int
        Number of input and of output channels.
    kernel : int
        Length of the kernel.
    stride, padding, dilation, groups : int
        As in ``torch.nn.Conv1d``; padding is with zeros.
    bias : bool
        Whether each channel gets a constant current too.

    Attributes
    ----------
    weight : Parameter [c_out, c_in / groups, kernel]
    bias : Parameter [c_out] or None
    """

    axes = 1

    def product(
        self, x: Tensor, weight: Tensor, packed_bits: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Return the cross-correlation of ``x`` [n, c_in, L] with `weight`, plus the bias."""
        if event_driven(x, weight):
            settings = Settings((1, *self.stride), (0, *self.padding), (1, *self.dilation), self.groups)
            flat, kernel = x.unsqueeze(2), weight.unsqueeze(2)
            return event_conv(flat, kernel, self.bias, settings, packed_bits=packed_bits, mask=mask).squeeze(2)
        return dense.convolve(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Conv2d(_Conv):
    """Convolution over two axes: ``[T, B, c_in, H, W] -> [T, B, c_out, H', W']``.

    Parameters
    ----------
    c_in, c_out : int
        Number of input and of output channels.
    kernel : int or (int, int)
        Height and width of the kernel.
    stride, padding, dilation : int or (int, int)
        As in ``torch.nn.Conv2d``; padding is with zeros.
    groups : int
        Number of groups of channels; groups are not connected.
    bias : bool
        Whether each channel gets a constant current too.

    Attributes
    ----------
    weight : Parameter [c_out, c_in / groups, kh, kw]
    bias : Parameter [c_out] or None
    """

    axes = 2

    def product(
        self, x: Tensor, weight: Tensor, packed_bits: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Return the cross-correlation of ``x`` [n, c_in, H, W] with `weight`, plus the bias."""
        if event_driven(x, weight):
            settings = Settings(self.stride, self.padding, self.dilation, self.groups)
            return event_conv(x, weight, self.bias, settings, packed_bits=packed_bits, mask=mask)
        return dense.convolve(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Conv3d(_Conv):
    """Convolution over three axes: ``[T, B, c_in, D, H, W] -> [T, B, c_out, D', H', W']``.

    Computed by torch's dense product. Exporters see it as the matrix of one step.

    Parameters
    ----------
    c_in, c_out : int
        Number of input and of output channels.
    kernel : int or (int, int, int)
        Depth, height and width of the kernel.
    stride, padding, dilation : int or (int, int, int)
        As in ``torch.nn.Conv3d``; padding is with zeros.
    groups : int
        Number of groups of channels; groups are not connected.
    bias : bool
        Whether each channel gets a constant current too.

    Attributes
    ----------
    weight : Parameter [c_out, c_in / groups, kd, kh, kw]
    bias : Parameter [c_out] or None
    """

    axes = 3

    def product(
        self, x: Tensor, weight: Tensor, packed_bits: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Return the cross-correlation of ``x`` [n, c_in, D, H, W] with `weight`, plus the bias."""
        return dense.convolve(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def _lowered(self, shape: tuple[int, ...]) -> Lowered:
        return self._found(shape)
