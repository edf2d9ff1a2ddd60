"""Machine code for a plan on the CPU: the time loop and the arithmetic of the neurons alone.

A kernel walks the neurons in blocks that fit the first-level cache; inside a block it walks the time, and inside
a step the neurons, which LLVM turns into vector instructions.
"""

from __future__ import annotations

import functools

from neurosim.compiler.llvm.ir import LINE, IRBuilder
from neurosim.compiler.llvm.jit import CompiledKernel
from neurosim.compiler.plan import find
from neurosim.compiler.printer import Kernel, backward_kernel, forward_kernel

BLOCK = 2048


def neurons(kernel: Kernel, real: str, streamed: bool = False) -> IRBuilder:
    """Return the code of `kernel` for `real` "float" or "double".

    With `streamed` the results go past the caches: rows must then begin and end at cache lines.
    """
    code = IRBuilder(real, (LINE if real == "float" else LINE // 2) // 4 if streamed else 1)
    arrays = {name: code.pointer_argument(f"array.{name}") for name in kernel.arrays}
    first, last, steps, width = map(code.integer_argument, ("first", "last", "steps", "width"))
    for number, node in enumerate(kernel.uniforms):
        code.bind(node, code.real_argument(f"u{number}"))
    walk = code.loop_backwards if kernel.backwards else code.loop
    with code.loop(first, last, str(BLOCK)) as block:
        stop = code.minimum(code.integer("add nsw", block, str(BLOCK)), last)
        with walk("0", steps) as t:
            row = code.integer("mul nsw", t, width)
            with code.loop(block, stop, str(code.lanes)) as j:
                _step(code, kernel, arrays, code.integer("add nsw", row, j), j, streamed)
    if streamed:
        code.fence()
    return code


def _step(code: IRBuilder, kernel: Kernel, arrays: dict[str, str], at: str, j: str, streamed: bool) -> None:
    """Write one step of neuron `j`, whose values over time stand at `at`."""
    carried = {**kernel.carried, **kernel.sums}
    for name, node in kernel.reads.items():
        code.bind(node, code.load(arrays[name], at))
    for name, (before, _) in carried.items():
        code.bind(before, code.load(arrays[name], j))
    for name, node in kernel.coefficients.items():
        code.bind(node, code.load(arrays[name], j))
    code.emit(kernel.order())
    for name, node in kernel.writes.items():
        read_again = name != "out" and not kernel.backwards
        put = code.stream if streamed and not read_again else code.store
        put(code.value(node), arrays[name], at)
    after = {name: code.value(node) for name, (_, node) in carried.items()}
    for name, value in after.items():
        code.store(value, arrays[name], j)


@functools.cache
def compiled(key: str, real: str, backwards: bool, streamed: bool = False) -> CompiledKernel:
    """Return the machine code of the plan of this key, compiled at its first use in a process."""
    plan = find(key)
    return neurons(backward_kernel(plan) if backwards else forward_kernel(plan), real, streamed).compile()
