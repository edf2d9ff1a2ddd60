"""Dense products on the CPU, by the faster of the two libraries that torch brings along.

torch's own products go through MKL, which on processors of other makers than its own keeps to narrower instructions.
oneDNN, which torch uses for convolutions and compiled code, writes its machine code for the processor at hand:
on an AMD EPYC (family 26) it takes less than half of MKL's time. It knows single precision alone, and its rows do not
depend on how many there are, but where there is only one.
"""

from __future__ import annotations

import torch
from torch import Tensor


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
    if _is_for_onednn(x) and x.numel() and weight.numel():
        found: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return found
    return torch.nn.functional.linear(x, weight, bias)


def product(a: Tensor, b: Tensor) -> Tensor:
    """Return ``a @ b`` of two matrices, without a way back for gradients."""
    return linear(a, b.T)


def _is_for_onednn(x: Tensor) -> bool:
    return _HAS_ONEDNN and x.dtype is torch.float32 and x.device.type == "cpu" and torch._C._get_mkldnn_enabled()


# An operator of torch's compiler, not of its public interface; `linear` of torch does the same where it is missing.
_HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
