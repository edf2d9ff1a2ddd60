"""A causal filter over time by matrix products: blocks of steps times one band matrix."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# Steps in a block. A block costs BLOCK + k - 1 products for each step where k would do, but at the speed of a matrix
# product: of 16, 32 and 48, and against shifted sums and a convolution, 16 was fastest (see docs/parallel.md).
BLOCK = 16


def filtered(line: Tensor, weight: Tensor, offset: Tensor, through_time: bool = True) -> Tensor:
    """Return ``offset + sum_i weight[i] line[t + k - 1 - i]`` for every step t with k inputs.

    Parameters
    ----------
    line : Tensor [k - 1 + T, M]
        The k - 1 inputs before the first step, then those of the steps.
    weight : Tensor [k]
        Taps, that of the current step first.
    offset : Tensor []
        Added everywhere.
    through_time : bool
        If False, only the input of the current step gets a gradient; the taps get theirs in any case.

    Returns
    -------
    Tensor [T, M]
    """
    out: Tensor = _Filter.apply(line, weight, offset, through_time)
    return out


def _band(weight: Tensor, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the band matrix [rows, rows + k - 1] of one block, where its entries are, and which tap each is."""
    k = weight.shape[0]
    column = torch.arange(rows + k - 1, device=weight.device)
    tap = k - 1 + torch.arange(rows, device=weight.device)[:, None] - column
    inside = (tap >= 0) & (tap < k)
    return torch.where(inside, weight[tap.clamp(0, k - 1)], 0.0), inside, tap


class _Filter(torch.autograd.Function):
    @staticmethod
    def forward(line: Tensor, weight: Tensor, offset: Tensor, through_time: bool) -> Tensor:
        before = weight.shape[0] - 1
        steps = line.shape[0] - before
        out = line.new_empty(steps, line.shape[1])
        band, _, _ = _band(weight, min(BLOCK, steps))
        for start in range(0, steps, BLOCK):
            rows = min(BLOCK, steps - start)
            window = line[start : start + rows + before]
            out[start : start + rows] = torch.addmm(offset, band[:rows, : rows + before], window)
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        line, weight, _, ctx.through_time = inputs
        ctx.save_for_backward(line, weight)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        line, weight = ctx.saved_tensors
        before, steps = weight.shape[0] - 1, g.shape[0]
        band, inside, tap = _band(weight, min(BLOCK, steps))
        g_line, g_band = torch.zeros_like(line), torch.zeros_like(band)
        g_offset = torch.zeros_like(weight[0])
        for start in range(0, steps, BLOCK):
            rows = min(BLOCK, steps - start)
            part, window = g[start : start + rows], slice(start, start + rows + before)
            g_band[:rows, : rows + before].addmm_(part, line[window].T)
            g_offset += part.sum()
            if ctx.through_time:
                g_line[window].addmm_(band[:rows, : rows + before].T, part)
        if not ctx.through_time:
            g_line[before:] = weight[0] * g
        g_weight = torch.zeros_like(weight).index_add(0, tap[inside], g_band[inside])
        return g_line, g_weight, g_offset, None
