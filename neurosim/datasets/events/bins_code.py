"""Machine code that adds events to the cells of a grid."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from neurosim.compiler.llvm.ir import IRBuilder
from neurosim.compiler.llvm.jit import CompiledKernel
from neurosim.datasets.events.columns import Columns, Grid
from neurosim.errors import InputError

# The type of a cell in LLVM, and the largest number that it holds; None where a sum of events cannot leave it.
CELLS: dict[torch.dtype, tuple[str, int | None]] = {
    torch.uint8: ("i8", 2**8 - 1),
    torch.int16: ("i16", 2**15 - 1),
    torch.int32: ("i32", None),
    torch.float32: ("float", None),
}


def fill(kind: str, out: Tensor, events: Columns, sample: int, grid: Grid) -> None:
    """Add events to the zeros `out` [T, B, polarities, H, W]; `kind` is counts, binary or signed."""
    number = len(events.t)
    if number >= 2**31 and out.dtype == torch.int32:
        raise InputError(f"binned: sample {sample} has {number:,} events; at most {2**31 - 1:,} can be counted.")
    full = np.zeros(1, np.int64)
    polarities, height, width = grid.volume
    size = height * width * (1 if kind == "signed" else polarities)
    arrays = (out, events.t, events.x, events.y, events.p, full)
    addresses = [a.data_ptr() if isinstance(a, Tensor) else a.ctypes.data for a in arrays]
    _kernel(kind, out.dtype).call(*addresses, number, grid.width, grid.B, sample, size, height, width)
    if full[0]:
        raise InputError(
            f"binned: a cell of sample {sample} holds more events than {out.dtype} counts. Give dtype=torch.int32."
        )


@functools.cache
def _kernel(kind: str, dtype: torch.dtype) -> CompiledKernel:
    """Return the code: for each event, the cell of its step, sample, polarity, row and column is changed."""
    cell, most = CELLS[dtype]
    code = IRBuilder("float")
    out, t, x, y, p, full = map(code.pointer_argument, ("out", "t", "x", "y", "p", "full"))
    names = ("number", "step", "samples", "sample", "size", "height", "width")
    number, step, samples, sample, size, height, width = map(code.integer_argument, names)
    with code.loop("0", number) as event:
        when = code.fresh(f"udiv i64 {code.load_scalar('i64', t, event)}, {step}")
        column, row = (code.fresh(f"zext i16 {code.load_scalar('i16', a, event)} to i64") for a in (x, y))
        polarity = code.fresh(f"zext i8 {code.load_scalar('i8', p, event)} to i64")
        place = code.integer("add", code.integer("mul", when, samples), sample)
        place = code.integer("mul", place, size)
        line = row if kind == "signed" else code.integer("add", code.integer("mul", polarity, height), row)
        place = code.integer("add", place, code.integer("add", code.integer("mul", line, width), column))
        one = "1.0" if cell == "float" else "1"
        if kind == "binary":
            code.store_scalar(cell, one, out, place)
        else:
            _add(code, kind, (cell, most), (out, place, polarity, full))
    return code.compile()


def _add(code: IRBuilder, kind: str, about: tuple[str, int | None], where: tuple[str, str, str, str]) -> None:
    """Add an event to a cell; one that would leave the range of the cell sets a mark."""
    (cell, most), (out, place, polarity, full) = about, where
    one = "1.0" if cell == "float" else "1"
    before, change = code.load_scalar(cell, out, place), one
    is_on = code.fresh(f"icmp ne i64 {polarity}, 0")
    if kind == "signed":
        change = code.fresh(f"select i1 {is_on}, {cell} {one}, {cell} -{one}")
    after = code.fresh(f"{'fadd' if cell == 'float' else 'add'} {cell} {before}, {change}")
    if most is not None:
        is_off = code.fresh(f"xor i1 {is_on}, true")
        for limit, moves_on in ((most, "true"),) if kind == "counts" else ((most, is_on), (-most - 1, is_off)):
            bits = limit - 2 ** int(cell[1:]) if limit >= 2 ** (int(cell[1:]) - 1) else limit
            is_full = code.fresh(f"icmp eq {cell} {before}, {bits}")
            with code.branch_if(code.fresh(f"and i1 {is_full}, {moves_on}")):
                code.store_scalar("i64", "1", full)
    code.store_scalar(cell, after, out, place)
