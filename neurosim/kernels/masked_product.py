"""The gradient of a product's input, only where a mask asks for it."""

from __future__ import annotations

import functools

from torch import Tensor

from neurosim.kernels.assembly import Assembly
from neurosim.kernels.machine import Machine
from neurosim.kernels.memory import shelf
from neurosim.kernels.spikes import REAL

_TOGETHER = 4  # sums that share what is read of a row


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
    out = shelf.empty((rows, weight.shape[1]), g.dtype)
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
    totals = [code.variable() for _ in range(_TOGETHER)]

    def sums(events: list[str], row: str, result: str) -> None:
        """Write the products of the row with the columns of these events."""
        places = [code.index(index, event) for event in events]
        starts_at = [code.at(columns, code.whole("mul", j, width)) for j in places]

        def add(k: str, mask: str | None) -> None:
            left = code.load(row, k, mask)
            for total, column in zip(totals, starts_at, strict=False):
                code.set(total, code.multiply_add(left, code.load(column, k, mask), code.get(total)))

        for total in totals[: len(events)]:
            code.set(total, code.literal(0.0))
        with code.loop("0", whole, str(code.lanes)) as k:
            add(k, None)
        with code.when(some_left):
            add(whole, rest)
        for total, j in zip(totals, places, strict=False):
            code.write(real, code.total(code.get(total)), result, j)

    with code.loop(first, last) as r:
        row = code.at(g, code.whole("mul", r, width))
        result = code.at(out, code.whole("mul", r, sources))
        with code.loop("0", sources, str(code.lanes)) as j:
            code.store(code.literal(0.0), result, j, code.first_lanes(code.whole("sub", sources, j)))
        begin, end = code.index(starts, r), code.index(starts, code.whole("add", r, "1"))
        count = code.whole("sub", end, begin)
        single = code.whole("sub", end, code.whole("urem", count, str(_TOGETHER)))
        # A loaded part of the row serves several columns.
        with code.loop(begin, single, str(_TOGETHER)) as event:
            sums([code.whole("add", event, str(n)) for n in range(_TOGETHER)], row, result)
        with code.loop(single, end) as event:
            sums([event], row, result)
    return code.compile()
