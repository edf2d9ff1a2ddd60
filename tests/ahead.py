"""Triton kernels compiled for a GPU that need not be there, and what is found in the result."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
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
    capability: int = 90,
) -> dict[str, Any]:
    """Compile for a compute capability (90 is 9.0), down to the machine code of ptxas, and count what is in it.

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
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=dict(options))
    ptx, ttir = made.asm["ptx"], made.asm["ttir"]
    return {
        "contracted": len(re.findall(r"\bfma\.", ptx)),
        "ahead": len(re.findall(r"\bcp\.async\.c[ag]\.", ptx)),
        "widest": max(map(int, re.findall(r"\bcp\.async\.c[ag]\..*\], 0x(\d+),", ptx)), default=0),
        "divisions": sorted(set(re.findall(r"\bdiv\.(rn|approx|full)", ptx))),
        "tensor cores": len(re.findall(r"\bmma\.sync", ptx)),
        "atomics": len(re.findall(r"\b(?:atom|red)\.(?!async)", ptx)),
        "atomics of reals": len(re.findall(r"\b(?:atom|red)\.[\w.:]*\.add\.(?:noftz\.)?[bf]\w*", ptx)),
        "approximations": len(re.findall(r"\b(?:ex2|lg2|tanh|rcp)\.approx", ptx)),
        "short": len(re.findall(r"tt\.addptr .*tensor<[\dx]+xi32>", ttir)),
        "long": len(re.findall(r"tt\.addptr .*tensor<[\dx]+xi64>", ttir)),
        "shared": made.metadata.shared,
        "machine": len(made.asm["cubin"]),
        **_resources(made.asm["cubin"]),
        "specialised": [p.name for p in seen],
    }


def _resources(cubin: bytes) -> dict[str, int]:
    """Return the registers of a thread, and the bytes that it keeps in memory for want of them."""
    import triton.backends.nvidia as backend

    tool = Path(backend.__file__).parent / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        text = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    used = {name: max(map(int, re.findall(rf"{name}:(\d+)", text))) for name in ("REG", "STACK", "LOCAL")}
    return {"registers": used["REG"], "spilled": used["STACK"] + used["LOCAL"]}


def printed_apart(folder: Path, *command: str) -> Any:
    """Return what Python prints last, as JSON, in a process where Triton compiles: in a test it may interpret.

    Parameters
    ----------
    folder : Path
        Of caches.
    *command : str
        Arguments of Python: a file, or ``-c`` and a program.
    """
    environment = {
        **os.environ,
        "TRITON_INTERPRET": "0",
        "TRITON_CACHE_DIR": str(folder / "triton"),
        "NEUROSIM_CACHE_DIR": str(folder / "neurosim"),
        "PYTHONPATH": str(Path(__file__).parent.parent),
    }
    done = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])
