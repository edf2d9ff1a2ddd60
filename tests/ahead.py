"""Triton kernels compiled for a GPU that need not be there, and what is found in the result."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch

POINTER = {
    torch.float32: "*fp32",
    torch.float64: "*fp64",
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.int64: "*i64",
    torch.int32: "*i32",
}


def compiled_ahead(
    function: Any,
    kinds: Mapping[str, str],
    constants: Mapping[str, Any],
    options: Mapping[str, Any],
    multiples: Iterable[str] = (),
) -> dict[str, Any]:
    """Compile for compute capability 9.0, down to the machine code of ptxas, and count what is in it.

    Parameters
    ----------
    function : triton.JITFunction
        The kernel.
    kinds : mapping
        Type of each argument, such as ``"*fp32"`` or ``"i32"``.
    constants, options : mapping
        Constants of the kernel, and what Triton is told.
    multiples : iterable of str
        Numbers known to be multiples of 16. Memory begins at such an address; the launcher sees both for itself.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    signature = {name: "constexpr" if name in constants else kinds[name] for name in function.arg_names}
    seen = [p for p in function.params if not (p.is_constexpr or p.do_not_specialize)]
    known = [(p.num,) for p in seen if signature[p.name][0] == "*" or p.name in multiples]
    source = ASTSource(function, signature, dict(constants), {at: [["tt.divisibility", 16]] for at in known})
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=dict(options))
    ptx, ttir = made.asm["ptx"], made.asm["ttir"]
    return {
        "contracted": len(re.findall(r"\bfma\.", ptx)),
        "ahead": len(re.findall(r"\bcp\.async\.c[ag]\.", ptx)),
        "widest": max(map(int, re.findall(r"\bcp\.async\.c[ag]\..*\], 0x(\d+),", ptx)), default=0),
        "divisions": sorted(set(re.findall(r"\bdiv\.(rn|approx|full)", ptx))),
        "tensor cores": len(re.findall(r"\bmma\.sync", ptx)),
        "atomics": len(re.findall(r"\b(?:atom|red)\.(?!async)", ptx)),
        "short": len(re.findall(r"tt\.addptr .*tensor<[\dx]+xi32>", ttir)),
        "long": len(re.findall(r"tt\.addptr .*tensor<[\dx]+xi64>", ttir)),
        "shared": made.metadata.shared,
        "machine": len(made.asm["cubin"]),
        "specialised": [p.name for p in seen],
    }
