"""A linear product of its own, event-driven where its input is sparse: a layer whose neurons pass the current on."""

from __future__ import annotations

from torch import Tensor

from neurosim.compiler.plan import Plan, find, known
from neurosim.compiler.program import record
from neurosim.cores import relay
from neurosim.kernels.common.under_compile import constant_in_graph
from neurosim.kernels.linear import cpu as layer
from neurosim.kernels.linear import operator as layer_operator
from neurosim.kernels.linear.cpu import Layer
from neurosim.language import Reset, atan


@constant_in_graph
def _passing(train: bool) -> str:
    if train not in _KEYS:
        _KEYS[train] = known(Plan(record(relay, atan(), Reset()), train))
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
        As in `layer_operator.run`.
    """
    train = any(t is not None and t.requires_grad for t in (x, weight, bias))
    key, rows = _passing(train), x.unsqueeze(0)
    return layer_operator.run(key, rows, weight, bias, (), (), [], [], 0, packed_bits, mask).out.squeeze(0)


def weight_gradient(g: Tensor, packed_bits: Tensor, sources: int, x: Tensor | None = None) -> Tensor:
    """Return the gradient [N, n] of the weight of a product, given that of its result.

    Parameters
    ----------
    g : Tensor [T, B, N]
        Gradient of the result.
    packed_bits : Tensor [T B, ceil(n / 64)] of int64
        Bits of the input.
    sources : int
        n.
    x : Tensor [T, B, n], optional
        The input; left out where it is spikes.
    """
    weight = g.new_empty(()).expand(g.shape[-1], sources)  # its size is known by it; its values are not read
    made = Layer(find(_passing(True)), weight, None, (), (), (), 0)
    return layer.backward(made, x, packed_bits, sources, None, False, g, (), ()).weight
