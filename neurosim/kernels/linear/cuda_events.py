"""Products whose cost follows the spikes, on CUDA: rows of a matrix added up for the set bits of packed spikes.

Spikes are packed as in the CPU kernels: bit ``j % 64`` of word ``j // 64`` is set where ``x[r, j] != 0``. A program
adds rows for a few rows of bits at once, so that the loads of several weight rows are on their way together. Every
sum is made by one program in one order: no atomics, and the same bits in every run.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from neurosim.kernels.neurons.cuda import REAL, arithmetic

WORD = 64
PACKED = 16  # rows that a program packs
ROWS = 4  # rows of bits that a program walks at once
COLUMNS = 256  # of the matrix, at most, in one program
_ENOUGH = 1024  # programs that keep a large device busy; fewer, and the words are shared out over several


def pack(x: Tensor, bits: Tensor | None = None) -> Tensor:
    """Pack what is not zero into bits; nothing waits for the device.

    Parameters
    ----------
    x : Tensor [R, n]
        Spikes, or values that are mostly zero; NaN counts as not zero.
    bits : Tensor [R, ceil(n / 64)] of int64, contiguous, optional
        Receives the result.

    Returns
    -------
    Tensor [R, ceil(n / 64)] of int64
    """
    x = x.contiguous()
    rows, n = x.shape
    if bits is None:
        bits = torch.empty(rows, -(-n // WORD), dtype=torch.int64, device=x.device)
    if bits.numel():
        with torch.cuda.device_of(x):
            grid = (-(-rows // PACKED), bits.shape[1])
            _pack[grid](x, bits, rows, n, bits.shape[1], ROWS=PACKED, REAL=_real(x), **OPTIONS)
    return bits


def unpack(bits: Tensor, n: int, dtype: torch.dtype) -> Tensor:
    """Return [R, n] of `dtype`: 1 where the bit is set, else 0."""
    rows, words = bits.shape
    x = torch.empty(rows, n, dtype=dtype, device=bits.device)
    if x.numel():
        with torch.cuda.device_of(bits):
            _unpack[(-(-rows // PACKED), words)](bits.contiguous(), x, rows, n, words, ROWS=PACKED, **OPTIONS)
    return x


def count(bits: Tensor) -> Tensor:
    """Return how many bits are set, as an int64 on the device; nothing waits for it."""
    pairs = bits - ((bits >> 1) & 0x5555555555555555)
    fours = (pairs & 0x3333333333333333) + ((pairs >> 2) & 0x3333333333333333)
    eights = (fours + (fours >> 4)) & 0x0F0F0F0F0F0F0F0F
    return ((eights * 0x0101010101010101) >> 56).sum()


def gather(bits: Tensor, x: Tensor | None, weight_t: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``x @ weight_t + bias`` for packed `x`.

    Parameters
    ----------
    bits : Tensor [R, ceil(n_in / 64)]
        From `pack`.
    x : Tensor [R, n_in] or None
        The values; None where all are 1.
    weight_t : Tensor [n_in, n_out]
        The weight, transposed: what one spike adds is contiguous.
    bias : Tensor [n_out], optional
        Start of every sum.

    Returns
    -------
    Tensor [R, n_out]
        In the precision of `weight_t`; half precision is summed in single.
    """
    values = None if x is None else x.contiguous()
    return _sums(bits, values, weight_t, bits.shape[0], bias, across=False)


def scatter(bits: Tensor, x: Tensor | None, g: Tensor, n_in: int | None = None) -> Tensor:
    """Return ``x.T @ g``, the gradient of the transposed weight, for packed `x`.

    The bits are transposed, so that each input gathers the rows of `g` at which it spiked: no two programs add to
    the same place.

    Parameters
    ----------
    bits : Tensor [R, ceil(n_in / 64)]
        From `pack`.
    x : Tensor [R, n_in] or None
        The values; None where all are 1.
    g : Tensor [R, n_out]
        Gradient of the product.
    n_in : int, optional
        Needed where `x` is None and the number of inputs is no multiple of 64.

    Returns
    -------
    Tensor [n_in, n_out]
        In the precision of `g`; half precision is summed in single.
    """
    rows, words = bits.shape
    wide = x.shape[1] if x is not None else words * WORD if n_in is None else n_in
    across = torch.empty(words * WORD, -(-rows // WORD), dtype=torch.int64, device=bits.device)
    if across.numel():
        with torch.cuda.device_of(bits):
            _transpose[(across.shape[1], words)](bits.contiguous(), across, rows, words, across.shape[1], **OPTIONS)
    return _sums(across, None if x is None else x.contiguous(), g, wide, None, across=True)


def _sums(bits: Tensor, x: Tensor | None, table: Tensor, rows: int, bias: Tensor | None, across: bool) -> Tensor:
    """Return for each of the first `rows` of `bits` the sum of the rows of `table` whose bits are set.

    `x` weights them: x[row, bit], or if `across` x[bit, row].
    """
    bits, table = bits.contiguous(), table.contiguous()
    words, n_out = bits.shape[1], table.shape[1]
    columns = min(COLUMNS, max(triton.next_power_of_2(n_out), 16))
    grid = (-(-rows // ROWS), -(-n_out // columns))
    # From the shape alone, so that every device adds in the same order.
    parts = max(min(_ENOUGH // max(grid[0] * grid[1], 1), words), 1)
    share = -(-words // parts)
    real = arithmetic(table.dtype)
    out = torch.empty(parts, rows, n_out, dtype=table.dtype if parts == 1 else real, device=table.device)
    if out.numel():
        stride = (0, 0) if x is None else (1, x.shape[1]) if across else (x.shape[1], 1)
        with torch.cuda.device_of(table):
            _gather[(*grid, parts)](
                bits,
                table if x is None else x,
                table,
                table if bias is None else bias.contiguous(),
                out,
                rows,
                n_out,
                words,
                share,
                *stride,
                VALUES=x is not None,
                BIAS=bias is not None,
                ROWS=ROWS,
                COLUMNS=columns,
                REAL=_real(table),
                **OPTIONS,
            )
    return out[0] if parts == 1 else out.sum(0).to(table.dtype)


def _real(like: Tensor) -> Any:
    return getattr(tl, REAL[arithmetic(like.dtype)])


# Without fusion a product and a sum are two roundings, on the device as in the interpreter.
OPTIONS = {"enable_fp_fusion": False}
# Rows vary with the batch and the length of a run: nothing is compiled again for another number of them. The widths
# of a layer stay, and are worth knowing where they are multiples of 16.
_VARIES = ["rows", "words", "share"]


@triton.jit
def _most_set(words: tl.tensor) -> tl.tensor:
    """Return the largest number of set bits among `words`."""
    pairs = words - ((words >> 1) & 0x5555555555555555)
    fours = (pairs & 0x3333333333333333) + ((pairs >> 2) & 0x3333333333333333)
    bytes_ = (fours + (fours >> 4)) & 0x0F0F0F0F0F0F0F0F
    return tl.max((bytes_ * 0x0101010101010101) >> 56)


@triton.jit
def _place(low: tl.tensor) -> tl.tensor:
    """Return which bit is set in `low`, a power of two: the exponent of it as a float."""
    return ((low.to(tl.float32).to(tl.int32, bitcast=True) >> 23) & 255) - 127


@triton.jit(do_not_specialize=_VARIES)
def _pack(
    x: tl.tensor,
    bits: tl.tensor,
    rows: tl.tensor,
    n: tl.tensor,
    words: tl.tensor,
    ROWS: tl.constexpr,
    REAL: tl.constexpr,
) -> None:
    row = tl.cast(tl.program_id(0), tl.int64) * ROWS + tl.arange(0, ROWS)
    word = tl.program_id(1)
    bit = tl.arange(0, 64)
    inside = (row < rows)[:, None] & (word * 64 + bit < n)[None, :]
    value = tl.load(x + row[:, None] * n + word * 64 + bit[None, :], mask=inside, other=0.0).to(REAL)
    fires = value != 0.0
    tl.store(bits + row * words + word, tl.sum(fires.to(tl.int64) << bit[None, :].to(tl.int64), 1), mask=row < rows)


@triton.jit(do_not_specialize=_VARIES)
def _unpack(bits: tl.tensor, x: tl.tensor, rows: tl.tensor, n: tl.tensor, words: tl.tensor, ROWS: tl.constexpr) -> None:
    row = tl.cast(tl.program_id(0), tl.int64) * ROWS + tl.arange(0, ROWS)
    word = tl.program_id(1)
    bit = tl.arange(0, 64)
    inside = (row < rows)[:, None] & (word * 64 + bit < n)[None, :]
    packed = tl.load(bits + row * words + word, mask=row < rows, other=0)
    value = (packed[:, None] >> bit[None, :].to(tl.int64)) & 1
    tl.store(x + row[:, None] * n + word * 64 + bit[None, :], value.to(tl.float32), mask=inside)


@triton.jit(do_not_specialize=["rows", "words", "across_words"])
def _transpose(bits: tl.tensor, across: tl.tensor, rows: tl.tensor, words: tl.tensor, across_words: tl.tensor) -> None:
    """Turn a block of 64 rows and 64 bits."""
    block, word = tl.program_id(0), tl.program_id(1)
    bit = tl.arange(0, 64)
    row = tl.cast(block, tl.int64) * 64 + bit
    packed = tl.load(bits + row * words + word, mask=row < rows, other=0)
    shift = bit.to(tl.int64)
    square = ((packed[:, None] >> shift[None, :]) & 1) << shift[:, None]
    tl.store(across + (tl.cast(word, tl.int64) * 64 + bit) * across_words + block, tl.sum(square, 0))


@triton.jit(do_not_specialize=_VARIES)
def _gather(
    bits: tl.tensor,
    x: tl.tensor,
    table: tl.tensor,
    bias: tl.tensor,
    out: tl.tensor,
    rows: tl.tensor,
    n_out: tl.tensor,
    words: tl.tensor,
    share: tl.tensor,
    stride_row: tl.tensor,
    stride_bit: tl.tensor,
    VALUES: tl.constexpr,
    BIAS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    REAL: tl.constexpr,
) -> None:
    """Add up rows of `table`; the third axis of the grid shares out the words, each share with a sum of its own."""
    row = tl.cast(tl.program_id(0), tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    part = tl.program_id(2)
    total = tl.zeros((ROWS, COLUMNS), REAL)
    if BIAS:
        start = tl.load(bias + column, mask=column < tl.where(part == 0, n_out, 0), other=0.0).to(REAL)
        total += start[None, :]
    for word in tl.range(part * share, tl.minimum((part + 1) * share, words)):
        left = tl.load(bits + row * words + word, mask=row < rows, other=0)
        for _ in tl.range(0, _most_set(left).to(tl.int32)):
            low = left & -left
            left = left ^ low
            at = tl.cast(word, tl.int64) * 64 + _place(low)
            here = low != 0
            added = tl.load(
                table + at[:, None] * n_out + column[None, :], mask=here[:, None] & (column < n_out)[None, :], other=0.0
            ).to(REAL)
            if VALUES:
                value = tl.load(x + row * stride_row + at * stride_bit, mask=here, other=0.0).to(REAL)
                added = added * value[:, None]
            total += added
    place = (tl.cast(part, tl.int64) * rows + row)[:, None] * n_out + column[None, :]
    tl.store(out + place, total, mask=(row < rows)[:, None] & (column < n_out)[None, :])
