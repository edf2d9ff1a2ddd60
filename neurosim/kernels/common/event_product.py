"""What event-driven products share: their results, and the input that the backward pass keeps, as bits if it can be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neurosim.kernels.common.bits import words
from neurosim.kernels.common.operator import Operator


class ProductOutputs(NamedTuple):
    """Results of an event-driven product; the last two are for the backward pass alone.

    Attributes
    ----------
    out : Tensor
    input_bits : Tensor [R, ceil(n / 64)] of int64
        Where the input, R rows of n values, is not zero.
    values : Tensor or None
        The input if it has values other than 0 and 1; None, or from an operator a tensor of no elements, if not.
    """

    out: Tensor
    input_bits: Tensor
    values: Tensor | None


def input_bits_of(call: Any, outputs: ProductOutputs) -> Tensor:
    """Return the packed bits of the input: those of the call, if it has them."""
    packed_bits: Tensor | None = getattr(call, "packed_bits", None)
    return outputs.input_bits if packed_bits is None else packed_bits


def graded_values(values: Tensor | None, shape: Sequence[int]) -> Tensor | None:
    """Return the kept values of an input as a tensor of `shape`, None if the input is binary."""
    return None if values is None or not values.numel() else values.view(*shape)


def fake_outputs(call: Any, x: Tensor, out: Sequence[int], rows: int, n: int) -> ProductOutputs:
    """Return outputs of the right shapes for a compiler, given the shapes of result and input."""
    bits = (rows, words(n)) if getattr(call, "packed_bits", None) is None else (0,)
    values = x.new_empty(torch.library.get_ctx().new_dynamic_size())
    return ProductOutputs(x.new_empty(out), x.new_empty(bits, dtype=torch.int64), values)


def product_operator(name: str, call: Any, saved: Any, **functions: Any) -> Operator[Any, ProductOutputs, Any]:
    """Return the operator of an event-driven product on the CPU; see `Operator`."""
    return Operator(
        name,
        call,
        ProductOutputs,
        saved,
        results=("out",),
        private=("input_bits", "values"),
        unshared=_unshared,
        devices=("cpu",),
        **functions,
    )


def _unshared(call: Any, outputs: ProductOutputs) -> ProductOutputs:
    bits = outputs.input_bits
    if bits is getattr(call, "packed_bits", None):
        bits = bits.new_empty(0)
    values = outputs.out.new_empty(0) if outputs.values is None else outputs.values.flatten().clone()
    return ProductOutputs(outputs.out.contiguous(), bits, values)
