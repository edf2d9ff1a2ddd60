"""Transposed convolution: the gradient of a convolution with respect to its input, used as synapses."""

from __future__ import annotations

from torch import Tensor

from neurosim.errors import InputError
from neurosim.kernels.conv import dense
from neurosim.synapses.linear import uniform_weight
from neurosim.synapses.synapse import Synapse, count, pair


class ConvTranspose2d(Synapse):
    """Transposed convolution over two axes: ``[T, B, c_in, H, W] -> [T, B, c_out, H', W']``.

    Each spike adds a kernel to the currents of a patch: with a stride the output is larger than the input, as a decoder
    needs. Computed by torch's dense product. Exporters see it as the matrix of one step.

    Parameters
    ----------
    c_in, c_out : int
        Number of input and of output channels.
    kernel : int or (int, int)
        Height and width of the kernel.
    stride, padding, output_padding : int or (int, int)
        As in ``torch.nn.ConvTranspose2d``; `output_padding` is less than `stride`.
    bias : bool
        Whether each channel gets a constant current too.

    Attributes
    ----------
    weight : Parameter [c_in, c_out, kh, kw]
    bias : Parameter [c_out] or None

    Examples
    --------
    >>> from neurosim.synapses import ConvTranspose2d
    >>> ConvTranspose2d(4, 2, 2, stride=2).output_shape((4, 8, 8))
    (2, 16, 16)
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int | tuple[int, int],
        *,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        output_padding: int | tuple[int, int] = 0,
        bias: bool = False,
    ) -> None:
        super().__init__()
        name = self._get_name()
        self.c_in, self.c_out = count(name, "c_in", c_in), count(name, "c_out", c_out)
        self.kernel = pair(name, "kernel", kernel, 2)
        self.stride = pair(name, "stride", stride, 2)
        self.padding = pair(name, "padding", padding, 2, low=0)
        self.output_padding = pair(name, "output_padding", output_padding, 2, low=0)
        if any(extra >= step for extra, step in zip(self.output_padding, self.stride, strict=True)):
            raise InputError(f"{name}: output_padding must be less than stride={self.stride}; got {output_padding!r}.")
        fan_in = self.c_in * self.kernel[0] * self.kernel[1]
        self.weight = uniform_weight((self.c_in, self.c_out, *self.kernel), fan_in)
        self.bias = uniform_weight((self.c_out,), fan_in) if bias else None
        self.note_drawn_weights()

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return ``(c_out, H', W')``."""
        if len(shape) != 3 or shape[0] != self.c_in:
            raise self.refuse(shape, f"{self.c_in}, H, W")
        sizes = zip(shape[1:], self.kernel, self.stride, self.padding, self.output_padding, strict=True)
        places = tuple((n - 1) * s - 2 * p + k + extra for n, k, s, p, extra in sizes)
        if min(places) < 1:
            raise self.refuse(shape, f"{self.c_in}, so many places that some are left after padding {self.padding}")
        return (self.c_out, *places)

    def apply_step(self, x: Tensor) -> Tensor:
        """Return the transposed convolution of ``x`` [n, c_in, H, W] with the weights, plus the bias."""
        settings = (self.stride, self.padding, (1, 1))
        return dense.convolve(x, self.weight, self.bias, *settings, output_padding=self.output_padding)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return (
            f"{self.c_in}, {self.c_out}, kernel={self.kernel}, stride={self.stride}, padding={self.padding}, "
            f"output_padding={self.output_padding}, bias={self.bias is not None}"
        )
