"""Kernels of circuits compiled for GPUs that need not be there, and what the machine code holds."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

import neurosim as ns
from neurosim.compiler.plan import Plan, known
from neurosim.compiler.program import record
from neurosim.cores import hodgkin_huxley, lif_cond, lif_exp
from neurosim.language import Core, Reset
from tests.ahead import POINTER, compiled_ahead, printed_apart

pytest.importorskip("triton")


def neurons(core: Core, real: str, capability: int) -> dict[str, Any]:
    """Neurons whose first port has integers and two Poisson trains, the second values over time, and all else."""
    from neurosim.kernels.circuit.cuda import BLOCK
    from neurosim.kernels.circuit.cuda_code import Shape, Term, update
    from neurosim.kernels.neurons.cuda import OPTIONS

    terms = (
        (Term("integer", 2), Term("drive", 1)),
        (Term("dense"),),
        *((Term("integer"),) for _ in list(core.inputs)[2:]),
    )
    shape = Shape(terms[: len(core.inputs)], True, ("v",))
    function = update(known(Plan(record(core, ns.atan(2.0), Reset(), ("v_th",)), False)), real, shape, False)
    kinds = dict.fromkeys(function.arg_names, "i32")
    for name in function.arg_names:
        if name in ("clock", "events") or name.startswith(("drive", "numbers0", "rates", "plan_")):
            kinds[name] = "*i64"
        elif name in ("ids", "counts") or name.startswith(("total", "limits", "which_")):
            kinds[name] = "*i32"
        elif name == "numbers" or name.startswith(("ptr_", "trace_", "values")):
            kinds[name] = POINTER[getattr(torch, real)]
    return compiled_ahead(function, kinds, {"BLOCK": BLOCK}, OPTIONS, capability=capability)


def other(name: str, capability: int, warps: int, post: str = "*i32", **constants: Any) -> dict[str, Any]:
    from neurosim.kernels.circuit import cuda_code
    from neurosim.kernels.neurons.cuda import OPTIONS

    function = getattr(cuda_code, name)
    kinds = dict.fromkeys(function.arg_names, "i32") | dict.fromkeys(("clock", "delays", "starts", "rings"), "*i64")
    kinds |= dict.fromkeys(("ids", "counts", "weight", "total"), "*i32") | {"post": post}
    return compiled_ahead(function, kinds, constants, {**OPTIONS, "num_warps": warps}, capability=capability)


def all_ahead() -> dict[str, Any]:
    from neurosim.kernels.circuit.cuda import BITS_BLOCK

    found = {
        "lif_exp float32 80": neurons(lif_exp, "float32", 80),
        "lif_cond float32 90": neurons(lif_cond, "float32", 90),
        "lif_exp float64 90": neurons(lif_exp, "float64", 90),
        "hodgkin_huxley float32 90": neurons(hodgkin_huxley, "float32", 90),
        "narrow 80": other("deliver", 80, 4, "*i16", KIND="narrow", BLOCK=1024),
        "wide 90": other("deliver", 90, 4, KIND="wide", BLOCK=256),
        "bits 80": other("deliver_bits", 80, 4, BLOCK=BITS_BLOCK),
        "tick 90": other("tick", 90, 1, BLOCK=128),
    }
    for capability in (80, 90):
        found[f"packed {capability}"] = other("deliver", capability, 1, KIND="packed", BLOCK=64)
    return found


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Compile in a process of its own."""
    pytest.importorskip("triton.backends.nvidia")
    found: dict[str, Any] = printed_apart(tmp_path_factory.mktemp("ahead"), __file__)
    return found


def test_all_kernels(found: dict[str, Any]) -> None:
    assert len(found) == 10
    for name, kernel in found.items():
        assert kernel["machine"] > 1000, name
        assert kernel["spilled"] <= 32, f"{name}: a thread keeps more in memory than addresses for after the window"
        assert kernel["registers"] <= 128, f"{name}: fewer than 512 threads on a multiprocessor"
        assert kernel["contracted"] == 0, f"{name}: a product and a sum became one rounding"
        assert kernel["short"] == 0 and kernel["long"] > 0, f"{name}: an index of 32 bits"
        assert set(kernel["divisions"]) <= {"rn"}, f"{name}: an inexact division"
        sizes = {"samples", "window", "count", "slots", "ring", "width", "numbers"}
        assert not sizes & set(kernel["specialised"]), f"{name}: another size would be compiled again"


def test_atomics_are_of_integers(found: dict[str, Any]) -> None:
    assert found["tick 90"]["atomics"] == 0
    assert found["lif_exp float64 90"]["atomics"] == 2, "one for the ring, one for the recording"
    assert found["packed 90"]["atomics"] == 2, "two synapses of a thread"
    for name, kernel in found.items():
        assert kernel["atomics of reals"] == 0, f"{name}: a sum in no fixed order"


def test_double_precision_alone_takes_functions_of_the_device(found: dict[str, Any]) -> None:
    for name, kernel in found.items():
        assert kernel["approximations"] == 0, f"{name}: exp of the device is not that of the CPU"


if __name__ == "__main__":
    print(json.dumps(all_ahead()))
