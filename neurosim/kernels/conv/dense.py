"""Dense convolutions by torch, in the precision of matrix products: ``neurosim::dense_conv`` on CUDA.

cuDNN looks at torch's settings of the moment, in the backward pass again, so that both passes are one operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from neurosim.kernels.common.float32 import same_for_convolutions
from neurosim.kernels.common.operator import Needs, Operator

__all__ = ["Call", "convolve", "run_dense"]


class Call(NamedTuple):
    """Arguments of a convolution over one to three axes, as ``torch.convolution`` takes them.

    Attributes
    ----------
    x : Tensor [R, c_in, *places]
    weight : Tensor [c_out, c_in / groups, *kernel]
        Of a transposed convolution [c_in, c_out / groups, *kernel].
    bias : Tensor [c_out] or None
    stride, padding, dilation : sequence of int
        One for each axis.
    transposed : bool
    output_padding : sequence of int
    groups : int
    """

    x: Tensor
    weight: Tensor
    bias: Tensor | None
    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]
    transposed: bool
    output_padding: Sequence[int]
    groups: int


class Outputs(NamedTuple):
    """The convolution, Tensor [R, c_out, *places']."""

    out: Tensor


class Saved(NamedTuple):
    """What the backward pass reads: the call, with the size of the bias in place of its values."""

    x: Tensor
    weight: Tensor
    bias_size: Sequence[int]
    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]
    transposed: bool
    output_padding: Sequence[int]
    groups: int


def convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int = 1,
    *,
    output_padding: Sequence[int] | None = None,
) -> Tensor:
    """Return a convolution; on CUDA in full single precision unless TensorFloat-32 is allowed for matrix products.

    Parameters
    ----------
    x, weight, bias, stride, padding, dilation, groups
        As in `Call`.
    output_padding : sequence of int, optional
        Makes it a transposed convolution.

    Returns
    -------
    Tensor [R, c_out, *places']
    """
    transposed = output_padding is not None
    call = Call(x, weight, bias, stride, padding, dilation, transposed, output_padding or (0,) * len(stride), groups)
    if x.device.type != "cuda":
        return _by_torch(call)
    if torch.is_autocast_enabled("cuda"):
        half = torch.get_autocast_dtype("cuda")
        call = call._replace(x=x.to(half), weight=weight.to(half), bias=None if bias is None else bias.to(half))
    return run_dense(call).out


def _by_torch(call: Call) -> Tensor:
    x, weight, bias, stride, padding, dilation, transposed, output_padding, groups = call
    if transposed:
        return _TRANSPOSED[len(stride) - 1](x, weight, bias, stride, padding, output_padding, groups, dilation)
    return _PLAIN[len(stride) - 1](x, weight, bias, stride, padding, dilation, groups)


_PLAIN: Any = (functional.conv1d, functional.conv2d, functional.conv3d)
_TRANSPOSED: Any = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)


def _forward(call: Call) -> Outputs:
    with same_for_convolutions():
        return Outputs(torch.convolution(*call))


def _save(call: Call, outputs: Outputs) -> Saved:
    bias_size = () if call.bias is None else tuple(call.bias.shape)
    return Saved(call.x, call.weight, bias_size, *call[3:])


def _backward(saved: Saved, needs: Needs, grads: Sequence[Tensor]) -> Sequence[Tensor | None]:
    x, weight, bias_size, *settings = saved
    mask = [bool(need) for need in needs]
    with same_for_convolutions():
        found: Sequence[Tensor | None] = torch.ops.aten.convolution_backward(
            grads[0], x, weight, list(bias_size) or None, *settings, mask
        )
    return found


def _fake(call: Call) -> Outputs:
    return Outputs(torch.convolution(*call))


def _fake_gradients(saved: Saved, needs: Needs, grads: Sequence[Tensor]) -> list[Tensor]:
    shapes = (saved.x.shape, saved.weight.shape, saved.bias_size)
    return [grads[0].new_empty(shape) for shape in shapes]


run_dense = Operator(
    "dense_conv",
    Call,
    Outputs,
    Saved,
    forward=_forward,
    save=_save,
    backward=_backward,
    inputs=("x", "weight", "bias"),
    results=("out",),
    fake=_fake,
    fake_gradients=_fake_gradients,
    autocast=(),
)
