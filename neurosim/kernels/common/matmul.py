"""Dense products on the CPU, by the faster of the two libraries that torch brings along.

torch's own products go through MKL, which on processors of other makers than its own keeps to narrower instructions.
oneDNN, which torch uses for convolutions and compiled code, writes its machine code for the processor at hand:
on an AMD EPYC (family 26) it takes less than half of MKL's time. It knows single precision alone, and its rows do not
depend on how many there are, but where there is only one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from neurosim.kernels.common.buffers import buffer_pool

_LARGE = 16 << 20  # bytes of a result from which fresh memory costs more than a copy into memory that waits
_PART = 4 << 20  # bytes of such a result that are worked out at a time


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
    if rows * width * x.element_size() < _LARGE:
        return _by_onednn(x, weight, bias)
    # oneDNN writes to fresh memory only, and brings the weight into its own order for every part.
    step = max(_PART, weight.numel() * weight.element_size()) // (width * x.element_size()) + 2
    step += rows % step == 1  # a row alone would be summed in another order
    out, x = buffer_pool.empty((*x.shape[:-1], width), x.dtype), x.reshape(rows, -1)
    for first in range(0, rows, step):
        out.view(rows, width)[first : first + step] = _by_onednn(x[first : first + step], weight, bias)
    return out


def _by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    found: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return found


def product(a: Tensor, b: Tensor) -> Tensor:
    """Return ``a @ b`` of two matrices, without a way back for gradients."""
    return linear(a, b.T)


def _is_for_onednn(x: Tensor) -> bool:
    return _HAS_ONEDNN and x.dtype is torch.float32 and x.device.type == "cpu" and torch._C._get_mkldnn_enabled()


# An operator of torch's compiler, not of its public interface; `linear` of torch does the same where it is missing.
_HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
