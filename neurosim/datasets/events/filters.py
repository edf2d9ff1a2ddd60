"""Which events of a sensor are kept: refractory time, background activity, hot pixels."""

from __future__ import annotations

import functools

import numpy as np

from neurosim.compiler.llvm.ir import IRBuilder
from neurosim.compiler.llvm.jit import CompiledKernel

_NEVER = -(2**62)


def after_refractory(t: np.ndarray, cell: np.ndarray, cells: int, period: int) -> np.ndarray:
    """Return whether each event comes `period` or more after the last one that was kept at its address.

    Parameters
    ----------
    t : int64 [n]
        Sorted.
    cell : int64 [n]
        Address, below `cells`.
    cells, period : int
    """
    keep = np.zeros(len(t), dtype=np.bool_)
    latest = np.full(cells, _NEVER, dtype=np.int64)
    _refractory().call(*(a.ctypes.data for a in (t, cell, latest, keep)), len(t), period)
    return keep


def has_neighbour(
    t: np.ndarray, x: np.ndarray, y: np.ndarray, sides: tuple[int, int], period: int, radius: int
) -> np.ndarray:
    """Return whether a pixel next to each event's had an event at most `period` before it.

    Parameters
    ----------
    t : int64 [n]
        Sorted.
    x, y : uint16 [n]
    sides : (int, int)
        H, W.
    period : int
    radius : int
        The neighbours are those at most `radius` columns and rows away; the event's own pixel is none.
    """
    keep = np.zeros(len(t), dtype=np.bool_)
    height, width = (side + 2 * radius for side in sides)
    latest = np.full(height * width, _NEVER, dtype=np.int64)
    _neighbours(radius).call(*(a.ctypes.data for a in (t, x, y, latest, keep)), len(t), period, width)
    return keep


@functools.cache
def _refractory() -> CompiledKernel:
    code = IRBuilder("float")
    t, cell, latest, keep = map(code.pointer_argument, ("t", "cell", "latest", "keep"))
    number, period = map(code.integer_argument, ("number", "period"))
    with code.loop("0", number) as event:
        now, place = code.load_scalar("i64", t, event), code.load_scalar("i64", cell, event)
        since = code.integer("sub", now, code.load_scalar("i64", latest, place))
        with code.branch_if(code.fresh(f"icmp sge i64 {since}, {period}")):
            code.store_scalar("i8", "1", keep, event)
            code.store_scalar("i64", now, latest, place)
    return code.compile()


@functools.cache
def _neighbours(radius: int) -> CompiledKernel:
    code = IRBuilder("float")
    t, x, y, latest, keep = map(code.pointer_argument, ("t", "x", "y", "latest", "keep"))
    number, period, width = map(code.integer_argument, ("number", "period", "width"))
    with code.loop("0", number) as event:
        now = code.load_scalar("i64", t, event)
        column, row = (code.fresh(f"zext i16 {code.load_scalar('i16', a, event)} to i64") for a in (x, y))
        middle = code.integer("add", code.integer("mul", code.integer("add", row, str(radius)), width), column)
        middle = code.integer("add", middle, str(radius))
        newest = str(_NEVER)
        for rows in range(-radius, radius + 1):
            line = code.integer("add", middle, code.integer("mul", width, str(rows)))
            for columns in range(-radius, radius + 1):
                if rows or columns:
                    seen = code.load_scalar("i64", latest, code.integer("add", line, str(columns)))
                    call = code.intrinsic("smax", "i64", [("i64", newest), ("i64", seen)], "i64")
                    newest = code.fresh(call)
        code.store_scalar("i64", now, latest, middle)
        recent = code.fresh(f"icmp sle i64 {code.integer('sub', now, newest)}, {period}")
        code.store_scalar("i8", code.fresh(f"zext i1 {recent} to i8"), keep, event)
    return code.compile()
