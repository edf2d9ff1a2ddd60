"""Kernels in one call: in order, each thread its own memory, and stopped by a status."""

from __future__ import annotations

import os
import signal

import pytest
import torch

from neurosim.compiler.llvm import threads
from neurosim.compiler.llvm.call_list import OWN_STATUS, CallList, Place, is_possible
from neurosim.compiler.llvm.ir import IRBuilder

pytestmark = pytest.mark.skipif(not is_possible(), reason="torch's OpenMP library is not found")


def step(factor: str):
    """``a[i] = factor a[i] + i``, through memory of the thread."""
    code = IRBuilder("double")
    array, own = code.pointer_argument("array"), code.scratch_argument("own")
    first, last = map(code.integer_argument, ("first", "last"))
    with code.loop(first, last) as i:
        code.store(code.fresh(f"sitofp i64 {i} to double"), own, "0")
        scaled = code.fresh(f"fmul double {code.load(array, i)}, {code.literal(float(factor))}")
        code.store(code.add(scaled, code.load(own, "0")), array, i)
    return code.compile()


def stopping(value: int):
    code = IRBuilder("double")
    status = code.pointer_argument("status")
    first, last = map(code.integer_argument, ("first", "last"))
    with code.loop(first, last):
        code.store_scalar("i64", str(value), status)
    return code.compile()


@pytest.mark.parametrize("number", [1, 2, 8])
def test_calls_run_in_order_and_stop_at_a_status(monkeypatch, number):
    monkeypatch.setattr(threads, "forced", number)
    calls = CallList()
    for factor in ("2.0", "3.0"):
        calls.add(step(factor), 1000, (Place(0, 8), Place(1)), 64)
    for value in (0, 7):
        calls.add(stopping(value), 1, (OWN_STATUS,))
    calls.add(step("0.0"), 1000, (Place(0, 8), Place(1)), 64)
    assert calls.count == 5
    calls.finish()
    own = torch.zeros(8 * number, dtype=torch.float64)
    for _ in range(3):
        array = torch.ones(1001, dtype=torch.float64)
        assert calls.run([array.data_ptr(), own.data_ptr()]) == 7
        i = torch.arange(1000, dtype=torch.float64)
        assert array[0] == 1.0 and torch.equal(array[1:], 3.0 * (2.0 + i) + i)


def test_a_list_without_a_stop_runs_to_its_end():
    calls = CallList()
    calls.add(step("1.0"), 4, (Place(0), Place(1)), 64)
    calls.finish()
    array, own = torch.zeros(4, dtype=torch.float64), torch.zeros(8, dtype=torch.float64)
    assert calls.run([array.data_ptr(), own.data_ptr()]) == 0
    assert array.tolist() == [0.0, 1.0, 2.0, 3.0]


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_in_a_forked_child_one_thread_does_all(monkeypatch):
    monkeypatch.setattr(threads, "forced", 2)
    kernel, array, own = step("1.0"), torch.zeros(1000, dtype=torch.float64), torch.zeros(16, dtype=torch.float64)

    def laid_out():
        calls = CallList()
        calls.add(kernel, 1000, (Place(0), Place(1)), 64)
        calls.finish()
        return calls

    earlier = laid_out()
    child = os.fork()
    if not child:
        status = 1
        try:
            signal.alarm(60)
            for calls in (earlier, laid_out()):
                calls.run([array.data_ptr(), own.data_ptr()])
            status = 0 if array.tolist() == [2.0 * i for i in range(1000)] else 2
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
