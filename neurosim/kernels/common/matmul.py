"""Dense products on the CPU, by the faster of the two libraries that torch has.

torch's own products go through MKL, which restricts itself to narrower instructions on processors of other makers.
oneDNN, which torch uses for convolutions and compiled code, generates code for the processor present: on an AMD EPYC
(family 26) it takes less than half of MKL's time. It has single precision only. Its rows do not depend on how many
there are, unless there is only one. It keeps 0.6 MB of code for each number of rows that it meets, so that numbers of
rows are limited here: after `_DIRECT` of them a product is computed in pieces of few sizes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from neurosim.kernels.common.buffers import buffer_pool

_LARGE = 16 << 20  # bytes of a result from which fresh memory costs more than a copy into memory that is kept
_PART = 4 << 20  # bytes of such a result that are computed at a time
_DIRECT = 128  # shapes of products that are computed in one piece
_ROWS = 4096  # of a piece, at most; a sum over that many rows does not depend on the number of threads
_SIGNIFICANT = 6  # bits of the number of rows of a piece: there are 63 sizes below 64, and 32 for each power of two

_seen: set[tuple[int, int, int]] = set()  # rows, inputs and outputs of products that were computed in one piece


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``x W^T + b`` without a way back for gradients.

    Parameters
    ----------
    x : Tensor [..., n]
    weight : Tensor [N, n]
        Of any layout: a transposed matrix is read as it lies.
    bias : Tensor [N], optional

    Returns
    -------
    Tensor [..., N]
    """
    if not (_is_for_onednn(x) and x.numel() and weight.numel()):
        if not torch.is_autocast_enabled(x.device.type):
            return torch.nn.functional.linear(x, weight, bias)
        with torch.autocast(x.device.type, enabled=False):
            return torch.nn.functional.linear(x, weight, bias)
    width, rows = weight.shape[0], x.numel() // x.shape[-1]
    shape = (rows, x.shape[-1], width)
    if shape not in _seen:
        if len(_seen) >= _DIRECT:
            return _in_pieces(x, weight, bias)
        _seen.add(shape)
    if rows * width * x.element_size() < _LARGE:
        return _by_onednn(x, weight, bias)
    # oneDNN writes to fresh memory only, and brings the weight into its own order for every part.
    step = max(_PART, weight.numel() * weight.element_size()) // (width * x.element_size()) + 2
    step += rows % step == 1  # a row alone would be summed in another order
    out, x = buffer_pool.empty((*x.shape[:-1], width), x.dtype), x.reshape(rows, -1)
    for first in range(0, rows, step):
        out.view(rows, width)[first : first + step] = _by_onednn(x[first : first + step], weight, bias)
    return out


def pieces(rows: int) -> list[tuple[int, int]]:
    """Return the first and last row of each piece of a product of so many rows, of few different sizes."""
    found, first = [], 0
    while first < rows:
        size = min(rows - first, _ROWS)
        unit = 1 << max(size.bit_length() - _SIGNIFICANT, 0)
        found.append((first, first + size // unit * unit))
        first = found[-1][1]
    return found


def _in_pieces(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    width, flat = weight.shape[0], x.reshape(-1, x.shape[-1])
    out = buffer_pool.empty((*x.shape[:-1], width), x.dtype)
    rows_out = out.view(-1, width)
    for first, last in pieces(len(flat)):
        if last - first == 1 and first:
            first -= 1  # a row alone would be summed in another order
        rows_out[first:last] = _by_onednn(flat[first:last], weight, bias)
    return out


def _by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    found: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return found


def product(a: Tensor, b: Tensor) -> Tensor:
    """Return ``a @ b`` of two matrices, without a way back for gradients."""
    return linear(a, b.T)


def sum_of_outer_products(post: Tensor, pre: Tensor) -> Tensor:
    """Return the sum over rows of outer products, a weight gradient.

    The sums of pieces of rows are added in order. oneDNN would divide a sum over more rows among threads, and its
    rounding would depend on their number.

    Parameters
    ----------
    post, pre : Tensor [R, i], [R, j]

    Returns
    -------
    Tensor [i, j]
    """
    total = post.new_zeros((post.shape[1], pre.shape[1]))
    for number, (first, last) in enumerate(pieces(len(post))):
        part = _sum_of_piece(post[first:last], pre[first:last])
        total = total.add_(part) if number else part
    return total


def _sum_of_piece(post: Tensor, pre: Tensor) -> Tensor:
    if _is_for_onednn(post) and post.shape[1] and pre.shape[1]:
        return _by_onednn(post.T, pre.T, None)
    return product(post.T, pre)


def _is_for_onednn(x: Tensor) -> bool:
    return _HAS_ONEDNN and x.dtype is torch.float32 and x.device.type == "cpu" and torch._C._get_mkldnn_enabled()


# An operator of torch's compiler, not of its public interface; `linear` of torch does the same where it is missing.
_HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
