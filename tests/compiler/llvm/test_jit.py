"""Machine code lives as long as what calls it."""

from __future__ import annotations

import gc
import weakref

from neurosim.compiler.llvm.jit import CompiledKernel

SOURCE = """
define void @kernel(ptr %out, i64 %value) {
  store i64 %value, ptr %out
  ret void
}
"""


def test_a_call_keeps_its_machine_code():
    # A cache that two threads fill at once drops one kernel while its call runs.
    kernel = CompiledKernel(SOURCE, ("ptr", "i64"))
    engine, call = weakref.ref(kernel._engine), kernel.call
    del kernel
    gc.collect()
    assert engine() is not None
    del call
    gc.collect()
    assert engine() is None
