"""A convolution of spikes as an operation: ``neurosim::event_conv``."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from neurosim.kernels.common.event_product import ProductOutputs, fake_outputs, input_bits_of, product_operator
from neurosim.kernels.common.operator import Needs
from neurosim.kernels.conv import cpu, reference
from neurosim.kernels.conv.arguments import Call, Saved, Settings

__all__ = ["Settings", "event_conv", "run_conv"]


def event_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    settings: Settings,
    *,
    packed_bits: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Return the convolution of ``x`` with ``weight``; see `reference.convolve`.

    The cost of the product and of the gradient of the weights grows with the number of spikes, unless there are so many
    that torch's own products take less time. The backward pass keeps the bits of ``x``, and ``x`` itself only if it has
    values other than 0 and 1. On other devices than the CPU torch's own convolution runs.

    Parameters
    ----------
    x, weight, bias, packed_bits, mask
        As in `arguments.Call`.
    settings : Settings

    Returns
    -------
    Tensor [R, c_out, H', W']
    """
    if x.device.type != "cpu":
        return reference.convolve(x, weight, bias, settings)
    return run_conv(Call(x, weight, bias, *settings, packed_bits, mask)).out


def _save(call: Call, outputs: ProductOutputs) -> Saved:
    return Saved(
        size=call.x.shape[1:],
        input_bits=input_bits_of(call, outputs),
        values=outputs.values,
        weight=call.weight,
        stride=call.stride,
        padding=call.padding,
        dilation=call.dilation,
        groups=call.groups,
        mask=call.mask,
    )


def _fake(call: Call) -> ProductOutputs:
    x, weight = call.x, call.weight
    along = zip(x.shape[2:], weight.shape[2:], call.stride, call.padding, call.dilation, strict=True)
    places = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in along]
    return fake_outputs(call, x, (x.shape[0], weight.shape[0], *places), x.shape[0], math.prod(x.shape[1:]))


def _fake_gradients(saved: Saved, needs: Needs, grads: Sequence[Tensor]) -> list[Tensor]:
    shapes = ((grads[0].shape[0], *saved.size), saved.weight.shape, saved.weight.shape[:1])
    return [grads[0].new_empty(shape) for shape in shapes]


run_conv = product_operator(
    "event_conv",
    Call,
    Saved,
    forward=cpu.forward,
    save=_save,
    backward=cpu.backward,
    inputs=("x", "weight", "bias"),
    fake=_fake,
    fake_gradients=_fake_gradients,
)
