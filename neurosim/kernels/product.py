"""A linear product of its own, event-driven where its input is sparse: a layer whose neurons pass the current on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from neurosim.cores import Reset, atan, core
from neurosim.kernels import dense, layer, layer_operator
from neurosim.kernels.compiling import constant_in_graph
from neurosim.kernels.layer import Layer
from neurosim.kernels.plan import Plan, find, known
from neurosim.kernels.program import record
from neurosim.kernels.spikes import pack
from neurosim.kernels.straight import once, plain, transformed


@core(state=())
def _current(i):  # type: ignore[no-untyped-def]
    return (i,)


@constant_in_graph
def _passing(train: bool) -> str:
    if train not in _KEYS:
        _KEYS[train] = known(Plan(record(_current, atan(), Reset()), train))
    return _KEYS[train]


_KEYS: dict[bool, str] = {}


def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, came: Tensor | None = None, wanted: Tensor | None = None
) -> Tensor:
    """Return ``x W^T + b``.

    Parameters
    ----------
    x : Tensor [R, n]
        Spikes, or any other input; float32 or float64.
    weight : Tensor [N, n]
    bias : Tensor [N], optional
    came, wanted : Tensor [R, ceil(n / 64)] of int64, optional
        As in `layer_operator.run`.
    """
    train = any(t is not None and t.requires_grad for t in (x, weight, bias))
    key, rows = _passing(train), x.unsqueeze(0)
    return layer_operator.run(key, rows, weight, bias, (), (), [], [], 0, came, wanted).out.squeeze(0)


def dense_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return ``x W^T + b`` of dense values with its gradients, by the faster library of `dense`.

    Parameters
    ----------
    x : Tensor [R, n]
    weight : Tensor [N, n]
    bias : Tensor [N], optional
    """
    if not plain((x, weight, bias)) or transformed():
        return functional.linear(x, weight, bias)
    found: Tensor = _DenseLinear.apply(x, weight, bias)
    return found


class _DenseLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return dense.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        needs = ctx.needs_input_grad
        with torch.no_grad():
            g_x = dense.product(g, weight) if needs[0] else None
            g_weight = dense.product(g.T, x) if needs[1] else None
            g_bias = g.sum(0) if needs[2] else None
        return tuple(once([g_x, g_weight, g_bias]))


def weight_gradient(g: Tensor, came: Tensor, sources: int) -> Tensor:
    """Return the gradient [N, n] of the weight of a product with spikes, given that of its result.

    Parameters
    ----------
    g : Tensor [T, B, N]
        Gradient of the result.
    came : Tensor [T B, ceil(n / 64)] of int64
        Bits of the spikes.
    sources : int
        n.
    """
    return _weight_gradient(g, None, came, sources)


def outer(g: Tensor, x: Tensor) -> Tensor:
    """Return the same for any input ``x`` [T, B, n]."""
    rows = x.contiguous().flatten(0, 1)
    packed = pack(rows)
    return _weight_gradient(g, None if packed.ones else x, packed.bits, x.shape[-1])


def _weight_gradient(g: Tensor, x: Tensor | None, came: Tensor, sources: int) -> Tensor:
    weight = g.new_empty(()).expand(g.shape[-1], sources)  # its size is known by it; its values are not read
    made = Layer(find(_passing(True)), weight, None, (), (), (), 0)
    return layer.backward(made, x, came, sources, None, False, g, (), ()).weight
