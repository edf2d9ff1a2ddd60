"""Precision of single-precision products on CUDA: full, unless torch is told to allow TensorFloat-32.

torch has two settings for it: one of matrix products, off by default, and one of cuDNN's convolutions, on by default.
Here the first decides for both.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

_FULL = ("none", "ieee")  # names of full precision


def allows_tf32() -> bool:
    """Return whether torch is told to allow TensorFloat-32, with 11 bits of precision, in single-precision products.

    By ``torch.set_float32_matmul_precision("high")`` or ``"medium"``, or by the settings of
    ``torch.backends.cuda.matmul``.
    """
    matmul: Any = torch.backends.cuda.matmul
    name = getattr(matmul, "fp32_precision", None)  # from torch 2.9 on
    return bool(matmul.allow_tf32) if name is None else name not in _FULL


class _Convolutions:
    """cuDNN's setting for convolutions, full precision while a block is open in any thread."""

    def __init__(self) -> None:
        self._lock, self._open = threading.Lock(), 0
        self._restore: Callable[[], None] | None = None

    def _full(self) -> Callable[[], None] | None:
        """Set full precision; return what restores the setting, or None if it was full."""
        cudnn: Any = torch.backends.cudnn
        try:
            is_full = not cudnn.allow_tf32
        except RuntimeError:  # set for convolutions alone, as is possible from torch 2.9 on
            before, is_full = cudnn.conv.fp32_precision, cudnn.conv.fp32_precision in _FULL
            if not is_full:
                cudnn.conv.fp32_precision = "ieee"
            return None if is_full else functools.partial(setattr, cudnn.conv, "fp32_precision", before)
        if not is_full:
            cudnn.allow_tf32 = False
        return None if is_full else functools.partial(setattr, cudnn, "allow_tf32", True)

    def open(self) -> None:
        with self._lock:
            if not self._open:
                self._restore = self._full()
            self._open += 1

    def close(self) -> None:
        with self._lock:
            self._open -= 1
            if not self._open and self._restore is not None:
                self._restore()


_convolutions = _Convolutions()


@contextmanager
def same_for_convolutions() -> Iterator[None]:
    """Run convolutions in full precision inside the block, unless TensorFloat-32 is allowed for matrix products."""
    if allows_tf32():
        yield
        return
    _convolutions.open()
    try:
        yield
    finally:
        _convolutions.close()
