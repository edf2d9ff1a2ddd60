"""The compiled kernels of ELM neurons."""

from __future__ import annotations

import functools

from neurosim.compiler.llvm.jit import CompiledKernel
from neurosim.kernels.elm.cpu_code_backward import backward_code
from neurosim.kernels.elm.cpu_code_forward import forward_code
from neurosim.kernels.elm.cpu_code_outer import outer_code
from neurosim.kernels.elm.tiles import Sizes


@functools.cache
def compiled_forward(sizes: Sizes) -> CompiledKernel:
    """Return the forward kernel's machine code."""
    return forward_code(sizes).compile()


@functools.cache
def compiled_backward(sizes: Sizes) -> CompiledKernel:
    """Return the backward kernel's machine code."""
    return backward_code(sizes).compile()


@functools.cache
def compiled_outer(real: str, left: int, right: int) -> CompiledKernel:
    """Return the machine code of the weights' gradient."""
    return outer_code(real, left, right).compile()
