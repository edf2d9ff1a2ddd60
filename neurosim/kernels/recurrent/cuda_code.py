"""Triton source of a recurrent layer: one program runs a tile of the batch through all steps.

The program owns 16 rows of the batch and all neurons of one head. The matrix is read once, before the loop; at
each step the spikes of the step before go through it on the tensor cores and the core's own step follows. Backward
the same happens from the last step on: what is sent round is the gradient of the current, through the matrix the
other way. What the next step reads is asked for one step ahead.
"""

from __future__ import annotations

from neurosim.compiler.printer import Kernel
from neurosim.compiler.triton.source import HALF, Statements, arithmetic

ROWS = 16  # of the batch; the least that the tensor cores take
NARROWEST = 16  # neurons, likewise
# What the multiprocessor holds: the matrix lies in registers or in shared memory, single precision in two parts.
WIDEST = {"float16": 256, "bfloat16": 256, "float32": 128, "float64": 64}


def width(n: int) -> int:
    """Return the number of neurons of a head as a kernel has it: the next power of two, at least `NARROWEST`."""
    return max(1 << (n - 1).bit_length(), NARROWEST)


def shared_bytes(n: int, weight: str) -> int:
    """Return the shared memory that a program needs for heads of `n` neurons with a matrix of precision `weight`.

    The matrix and what is sent through it; single precision in two parts, half with a change of layout. Kernels
    compiled ahead of time for compute capability 8.0 to 12.0 need no more.
    """
    across = width(n)
    return 2 * across * (across + 2 * ROWS) if weight in HALF else 8 * across * (across + ROWS)


def source(kernel: Kernel, real: str, weight: str, interpreted: bool, port: int = 0) -> str:
    """Return a Python file that holds `kernel` with its recurrent edge as the function ``kernel``.

    Parameters
    ----------
    kernel : Kernel
        One step; its input is what is driven from outside and what comes round, backward so is its ``g_out``.
    real : {"float32", "float64", "float16", "bfloat16"}
        Precision of the arrays over time.
    weight : {"float32", "float64", "float16", "bfloat16"}
        Precision of the matrix, and of what is sent through it.
    interpreted : bool
        Whether Triton's interpreter will run it, on the CPU.
    port : int
        Position of the input port of the recurrent edge.

    Notes
    -----
    Arguments: the arrays in the order of ``kernel.arrays``, each [T, B, H * n] or [B, H * n]; for each carried one
    ``after_<name>``; ``numbers``; ``weight`` [H, n, n], row = post; ``ptr_fed`` [B, H * n]: forward the output before
    the first step, backward the gradient of the last output; backward ``after_fed`` [B, H * n], the gradient of
    the output before the first step; ``steps``, ``batch``, ``heads``, ``n``; and the constants ROWS and WIDTH, n
    rounded up to a power of two.
    """
    body = Statements(arithmetic(real), interpreted)
    driven, sent = ("g_out", kernel.inputs[port]) if kernel.backwards else (kernel.inputs[port], "out")
    for name, node in kernel.reads.items():
        body.bind(node, "driven" if name == driven else f"here_{name}")
    body.bind_what_stays(kernel)
    body.emit(kernel.order())
    for name, node in kernel.writes.items():
        body.store(name, node)
    # A core may do with a neuron that is not there what gives no number; it must not reach the others.
    body.lines.append(f"{body.indent}sent = tl.where(inside, {body.value(kernel.writes[sent])}, 0.0)")
    body.carry(kernel, "(ROWS, WIDTH)")
    return _file(kernel, body, real, driven, _through(weight, interpreted))


def _through(weight: str, interpreted: bool) -> str:
    """Return the product of ``sent`` with ``matrix``; single precision is kept by three products of its parts."""
    if weight not in HALF:
        return f'tl.dot(sent, matrix, input_precision="{"tf32x3" if weight == "float32" else "ieee"}")'
    if interpreted:  # it multiplies a bfloat16 by its bits
        return f"tl.dot(sent.to(tl.{weight}).to(tl.float32), matrix.to(tl.float32))"
    return f"tl.dot(sent.to(tl.{weight}), matrix)"


def _file(kernel: Kernel, body: Statements, real: str, driven: str, through: str) -> str:
    ends = [*kernel.carried, *(["fed"] if kernel.backwards else [])]
    arguments = [
        *(f"ptr_{name}" for name in kernel.arrays),
        *(f"after_{name}" for name in kernel.carried),
        *("numbers", "weight", "ptr_fed"),
        *(["after_fed"] if kernel.backwards else []),
        *("steps", "batch", "heads", "n"),
    ]
    carried = [*kernel.carried, *kernel.sums]
    before = [
        *body.numbers(kernel),
        *(f"coefficient_{name} = tl.load(ptr_{name} + j, mask=inside, other=0.0)" for name in kernel.coefficients),
        *(f"now_{name} = tl.load(ptr_{name} + j, mask=inside, other=0.0)" for name in kernel.carried),
        *(f"now_{name} = tl.zeros((ROWS, WIDTH), tl.{body.real})" for name in kernel.sums),
        f"at = {'j + (tl.cast(steps, tl.int64) - 1) * row' if kernel.backwards else 'j'}",
        "more = (b < tl.where(steps > 0, batch, 0))[:, None] & (k < n)[None, :]",
        *(f"ahead_{name} = tl.load(ptr_{name} + at, mask=more, other=0.0)" for name in kernel.reads),
        f"{'fed' if kernel.backwards else 'sent'} = tl.load(ptr_fed + j, mask=inside, other=0.0).to(tl.{body.real})",
    ]
    sign = "-" if kernel.backwards else "+"
    ahead = ["more = (b < tl.where(step + 1 < steps, batch, 0))[:, None] & (k < n)[None, :]"]
    ahead += [
        line
        for name in kernel.reads
        for line in (
            f"here_{name} = ahead_{name}.to(tl.{body.real})",
            f"ahead_{name} = tl.load(ptr_{name} + at {sign} row, mask=more, other=0.0)",
        )
    ]
    # Forward a step begins with what was sent one step before; backward it ends with what the step before will get.
    product = f"{body.indent}fed = {through}"
    steps = [
        *(f"{body.indent}{line}" for line in ahead),
        *([] if kernel.backwards else [product]),
        f"{body.indent}driven = here_{driven} + fed",
        *body.lines,
        *([product] if kernel.backwards else []),
        *(f"{body.indent}now_{name} = next_{name}" for name in carried),
        f"{body.indent}at {sign}= row",
    ]
    after = [
        *(f"tl.store(after_{name} + j, {'' if name == 'fed' else 'now_'}{name}, mask=inside)" for name in ends),
        *(f"tl.store(ptr_{name} + j, now_{name}, mask=inside)" for name in kernel.sums),
    ]
    # In the product a row is a neuron that sends. In memory it is the neuron after the synapse, which sends backward.
    after_synapse, before_synapse = ("k[:, None]", "k[None, :]")[:: 1 if kernel.backwards else -1]
    direction = "backward" if kernel.backwards else "forward"
    return f'''"""{kernel.plan.program.name} with a recurrent edge, {direction}, {real}: written by neurosim."""

import triton
import triton.language as tl
from triton.language.extra import libdevice


# Another batch or length runs the same machine code.
@triton.jit(do_not_specialize=["numbers", "steps", "batch"])
def kernel({", ".join(arguments)}, ROWS: tl.constexpr, WIDTH: tl.constexpr):
    b = tl.cast(tl.program_id(0), tl.int64) * ROWS + tl.arange(0, ROWS)
    head = tl.cast(tl.program_id(1), tl.int64)
    k = tl.arange(0, WIDTH)
    inside = (b < batch)[:, None] & (k < n)[None, :]
    j = (b * heads + head)[:, None] * n + k[None, :]
    row = tl.cast(batch, tl.int64) * heads * n
    places = (head * n + {after_synapse}) * n + {before_synapse}
    matrix = tl.load(weight + places, mask=(k < n)[:, None] & (k < n)[None, :], other=0.0)
    {(chr(10) + "    ").join(before)}
    for step in tl.range(0, steps):
{chr(10).join(steps)}
    {(chr(10) + "    ").join(after) or "return"}
'''
