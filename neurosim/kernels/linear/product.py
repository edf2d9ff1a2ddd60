"""A linear product without neurons, event-driven where its input is sparse: a layer whose core returns its current."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from neurosim.compiler.plan import Plan, known
from neurosim.compiler.program import record
from neurosim.kernels.common.constants import on_accelerator
from neurosim.kernels.common.policy import is_forced
from neurosim.kernels.common.under_compile import constant_in_graph
from neurosim.kernels.linear import cpu
from neurosim.kernels.linear.arguments import Call, Saved
from neurosim.kernels.linear.operator import run_layer
from neurosim.kernels.linear.policy import is_worth_measuring
from neurosim.language import Reset, atan, core


@core(state=())
def _current(i):  # type: ignore[no-untyped-def]
    return (i,)


@constant_in_graph
def plan_key(train: bool) -> str:
    """Return the key of the plan of neurons whose output is their current."""
    if train not in _KEYS:
        _KEYS[train] = known(Plan(record(_current, atan(), Reset()), train))
    return _KEYS[train]


_KEYS: dict[bool, str] = {}


def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, packed_bits: Tensor | None = None, mask: Tensor | None = None
) -> Tensor:
    """Return ``x W^T + b``.

    Parameters
    ----------
    x : Tensor [R, n]
        Spikes, or any other input; float32 or float64.
    weight : Tensor [N, n]
    bias : Tensor [N], optional
    packed_bits, mask : Tensor [R, ceil(n / 64)] of int64, optional
        As in `arguments.Call`.
    """
    train = any(t is not None and t.requires_grad for t in (x, weight, bias))
    waits = not train or not torch.is_grad_enabled()
    if on_accelerator(x.device) and not is_forced() and not (waits and is_worth_measuring(x.shape[0], weight)):
        return functional.linear(x, weight, bias)
    call = Call(plan_key(train), x.unsqueeze(0), weight, bias, (), (), (), (), 0, packed_bits, mask)
    return run_layer(call).out.squeeze(0)


def weight_gradient(g: Tensor, input_bits: Tensor, n_in: int, x: Tensor | None = None) -> Tensor:
    """Return the gradient [N, n] of the weight of a product, given that of its result.

    Parameters
    ----------
    g : Tensor [T, B, N]
        Gradient of the result.
    input_bits : Tensor [T B, ceil(n / 64)] of int64
        Bits of the input.
    n_in : int
        n.
    x : Tensor [T, B, n], optional
        The input; left out where it is spikes.
    """
    weight = g.new_empty(()).expand(g.shape[-1], n_in)  # for its size; its values are not read
    saved = Saved(plan_key(True), x, input_bits, n_in, None, weight, None, (), (), (), 0, ())
    gradient = cpu.backward(saved, (False, True, False), [g])[1]
    assert gradient is not None
    return gradient
