"""The gradient of a product's input, only where a mask asks for it."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from neurosim.kernels.assembly import Assembly
from neurosim.kernels.machine import Machine
from neurosim.kernels.spikes import REAL


def masked_product(g: Tensor, weight: Tensor, starts: Tensor, index: Tensor) -> Tensor:
    """Return ``g @ weight`` at the places that are listed, and 0 elsewhere.

    Parameters
    ----------
    g : Tensor [R, N]
        Rows on the left.
    weight : Tensor [N, n]
        Matrix on the right.
    starts, index : Tensor [R + 1], [count] of int32
        Columns wanted in each row, as `spikes.events` lists them.
    """
    rows, width = g.shape
    columns = weight.T.contiguous()
    out = torch.zeros((rows, weight.shape[1]), dtype=g.dtype)
    arrays = (starts, index, g.contiguous(), columns, out)
    _machine(REAL[g.dtype]).shared(rows, arrays, width, out.shape[1], grain=64)
    return out


@functools.cache
def _machine(real: str) -> Machine:
    code = Assembly(real, 32 if real == "float" else 16)
    starts, index, g, columns, out = map(code.pointer, ("starts", "index", "g", "columns", "out"))
    first, last, width, sources = map(code.number, ("first", "last", "width", "sources"))
    whole = code.whole("sub", width, code.whole("urem", width, str(code.lanes)))
    rest = code.first_lanes(code.whole("sub", width, whole))
    some_left = code.fresh(f"icmp slt i64 {whole}, {width}")
    total = code.variable()
    with code.loop(first, last) as r:
        row = code.at(g, code.whole("mul", r, width))
        result = code.at(out, code.whole("mul", r, sources))
        events = code.index(starts, r), code.index(starts, code.whole("add", r, "1"))
        with code.loop(*events) as event:
            j = code.index(index, event)
            column = code.at(columns, code.whole("mul", j, width))
            code.set(total, code.literal(0.0))
            with code.loop("0", whole, str(code.lanes)) as k:
                code.set(total, code.multiply_add(code.load(row, k), code.load(column, k), code.get(total)))
            with code.when(some_left):
                last_part = code.load(row, whole, rest), code.load(column, whole, rest)
                code.set(total, code.multiply_add(*last_part, code.get(total)))
            code.write(real, code.total(code.get(total)), result, j)
    return code.compile()
