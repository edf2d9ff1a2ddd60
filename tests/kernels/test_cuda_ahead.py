"""Event-driven and recurrent kernels compiled for a GPU that need not be there, and what the machine code holds."""

from __future__ import annotations

import importlib.util
import json
from typing import Any

import pytest
import torch

import neurosim as ns
from neurosim.compiler.plan import Plan, known
from neurosim.compiler.program import record
from neurosim.cores import alif, cubalif, lif
from neurosim.kernels.recurrent.cuda_code import shared_bytes
from neurosim.language import Core, Reset
from tests.ahead import POINTER, compiled_ahead, printed_apart

pytest.importorskip("triton")


def recurrent(neuron: Core, real: str, weight: str, n: int, backwards: bool, capability: int = 90) -> dict[str, Any]:
    from neurosim.kernels.neurons import cuda
    from neurosim.kernels.recurrent import cuda as cuda_recurrent

    plan = Plan(record(neuron, ns.atan(2.0), Reset(), neuron.coefficients[:1]), True)
    function = cuda_recurrent.compiled(known(plan), real, weight, backwards, False)
    dtype: torch.dtype = getattr(torch, real)
    kinds = dict.fromkeys(function.arg_names, POINTER[cuda.arithmetic(dtype)])
    kinds |= dict.fromkeys(("steps", "batch", "heads", "n"), "i32") | {"weight": POINTER[getattr(torch, weight)]}
    kinds |= dict.fromkeys(("ptr_i", "ptr_out", "ptr_g_i", "ptr_g_out", "ptr_fed", "after_fed"), POINTER[dtype])
    kinds |= {f"ptr_kept{n}": POINTER[cuda.stored_in(node, dtype)] for n, node in enumerate(plan.saved)}
    multiples = ["n"] if n % 16 == 0 else []
    sizes = cuda_recurrent.constants(n), cuda_recurrent.options(n)
    return compiled_ahead(function, kinds, *sizes, multiples, capability)


def events(name: str, real: str, capability: int = 90, **constants: Any) -> dict[str, Any]:
    import triton.language as tl

    from neurosim.kernels.linear import cuda_events

    function = getattr(cuda_events, name)
    kinds = dict.fromkeys(function.arg_names, "i32")
    kinds |= dict.fromkeys(("x", "table", "bias", "out"), POINTER[getattr(torch, real)])
    kinds |= dict.fromkeys(("bits", "across"), "*i64")
    sums = "float64" if real == "float64" else "float32"
    known_constants = {"ROWS": cuda_events.ROWS, "REAL": getattr(tl, sums), "COLUMNS": 256, **constants}
    wanted = {k: v for k, v in known_constants.items() if k in function.arg_names}
    return compiled_ahead(function, kinds, wanted, cuda_events.OPTIONS, ["n", "n_in", "n_out"], capability)


def on_amd(backwards: bool) -> int:
    """Compile a core for AMD's MI300; return the bytes of the machine code."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from neurosim.kernels.neurons import cuda

    plan = Plan(record(lif, ns.atan(2.0), Reset(), ()), True)
    function, constants = cuda.compiled(known(plan), "float32", backwards, False), cuda.tiling(1000, torch.float32)
    kinds = dict.fromkeys(function.arg_names, "*fp32") | {"steps": "i32", "width": "i32"}
    source = ASTSource(function, {**kinds, **dict.fromkeys(constants, "constexpr")}, constants, {})
    made = triton.compile(source, target=GPUTarget("hip", "gfx942", 64), options=dict(cuda.OPTIONS))
    return len(made.asm["hsaco"])


def all_ahead() -> dict[str, Any]:
    recurrent_ones = {
        f"{neuron.name} {real} {weight} {n} {back}": recurrent(neuron, real, weight, n, back)
        for neuron, real, weight, n in (
            (lif, "bfloat16", "bfloat16", 256),
            (cubalif, "float16", "float16", 200),
            (alif, "float32", "float32", 128),
            (lif, "float64", "float64", 17),
        )
        for back in (False, True)
    }
    event_ones = {"_transpose": events("_transpose", "float32")}
    for real in ("float32", "bfloat16"):
        event_ones[f"_pack {real}"] = events("_pack", real, ROWS=16)
        event_ones[f"_unpack {real}"] = events("_unpack", real, ROWS=16)
        for given in (False, True):
            event_ones[f"_gather {real} {given}"] = events("_gather", real, VALUES=given, BIAS=given)
    has_amd = importlib.util.find_spec("triton.backends.amd") is not None
    amd = [on_amd(back) for back in (False, True)] if has_amd else []
    return {"recurrent": recurrent_ones, "events": event_ones, "amd": amd}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Compile in a process of its own."""
    pytest.importorskip("triton.backends.nvidia")
    found: dict[str, Any] = printed_apart(tmp_path_factory.mktemp("ahead"), __file__)
    return found


def test_recurrent_kernels(found: dict[str, Any]) -> None:
    assert len(found["recurrent"]) == 8
    for name, kernel in found["recurrent"].items():
        assert kernel["machine"] > 1000, name
        assert kernel["tensor cores"] > 0, f"{name}: the matrix does not go through the tensor cores"
        assert kernel["contracted"] == 0, f"{name}: a product and a sum of the core became one rounding"
        assert kernel["short"] == 0 and kernel["long"] > 0, f"{name}: an index of 32 bits"
        _, _, weight, n, _ = name.split()
        assert kernel["shared"] <= shared_bytes(int(n), weight), f"{name}: more than the launcher expects"
        assert not {"steps", "batch"} & set(kernel["specialised"]), f"{name}: another size would be compiled again"
        assert set(kernel["divisions"]) <= {"rn"}, f"{name}: an inexact division"
    whole = found["recurrent"]["lif bfloat16 bfloat16 256 False"]
    assert whole["shared"] > 256 * 256 * 2, "the matrix is not kept on the multiprocessor"


def test_event_driven_kernels(found: dict[str, Any]) -> None:
    assert len(found["events"]) == 9
    for name, kernel in found["events"].items():
        assert kernel["machine"] > 1000, name
        assert kernel["atomics"] == 0, f"{name}: sums in no fixed order"
        assert kernel["contracted"] == 0, f"{name}: a product and a sum became one rounding"
        assert kernel["long"] > 0, f"{name}: an index of 32 bits"
        assert not {"rows", "words"} & set(kernel["specialised"]), f"{name}: another size would be compiled again"


def test_the_kernels_of_neurons_compile_for_amd(found: dict[str, Any]) -> None:
    if not found["amd"]:
        pytest.skip("this Triton has no backend for AMD")
    assert len(found["amd"]) == 2 and min(found["amd"]) > 1000


if __name__ == "__main__":
    print(json.dumps(all_ahead()))
