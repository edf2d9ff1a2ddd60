"""Triton source of a plan's kernels for CUDA: the time loop and the arithmetic as a Python file.

A program of 128 threads owns 128 neurons, one each: their state stays in registers while the loop walks the time,
and neighbouring threads read neighbouring neurons. Loads of the next steps are in flight while a step is
computed. Numbers are passed in a small tensor, since Triton takes a Python float as single precision.

Arrays over time may be in half precision: they are widened when read and rounded when written, and the arithmetic is
in single precision. A thread then owns two neurons if their number is even, since an asynchronous copy moves at least
four bytes. In a layer wide enough to fill the device a thread owns four, which share the overhead of a step.
"""

from __future__ import annotations

from collections.abc import Sequence

from neurosim.compiler import exponential
from neurosim.compiler.printer import Body, Kernel
from neurosim.language.expression import Expression

WARPS = 4
THREADS = 32 * WARPS
AHEAD = 8  # steps that are loaded in advance
_COMPARE = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "eq": "==", "ne": "!="}
_INFIX = {"add": "+", "sub": "-", "mul": "*"}
HALF = ("float16", "bfloat16")


def arithmetic(real: str) -> str:
    """Return the precision of the arithmetic for arrays of precision `real`."""
    return "float32" if real in HALF else real


class Statements(Body):
    """One neuron's step in Triton, for any shape of tile.

    Parameters
    ----------
    real : {"float32", "float64"}
        Precision of the arithmetic.
    interpreted : bool
        Whether Triton's interpreter will run it, on the CPU; it has none of the device's functions.
    """

    indent = "        "

    def __init__(self, real: str, interpreted: bool) -> None:
        super().__init__()
        self.real = real
        self.interpreted = interpreted
        self.literals: dict[str, str] = {}

    def literal(self, value: float) -> str:
        """Return the name of a number of this precision."""
        text = repr(value) if abs(value) < float("inf") else f'float("{value}")'
        return self.literals.setdefault(text, f"c{len(self.literals)}")

    def compare(self, op: str, a: str, b: str) -> str:
        """Return a comparison."""
        return f"{a} {_COMPARE[op]} {b}"

    def choice(self, condition: str, a: str, b: str) -> str:
        """Return a choice."""
        return f"tl.where({condition}, {a}, {b})"

    def operation(self, op: str, operands: Sequence[str]) -> str:
        """Return arithmetic that rounds as IEEE 754 says, or a function."""
        if op in _INFIX:
            return f" {_INFIX[op]} ".join(operands)
        if op == "neg":  # Triton's unary minus is 0 - x, which loses the sign of zero
            return f"{operands[0]} * {self.literal(-1.0)}"
        if op in ("max", "min"):
            return f"tl.{op}imum({', '.join(operands)}, propagate_nan=tl.PropagateNan.ALL)"
        if op == "div":  # in single precision Triton's own division and root are not those of IEEE 754
            return f"tl.div_rn({', '.join(operands)})" if self.real == "float32" else " / ".join(operands)
        (x,) = operands
        if op == "sqrt":
            return f"tl.sqrt_rn({x})" if self.real == "float32" else f"tl.sqrt({x})"
        if op == "abs":
            return f"tl.abs({x})"
        if op == "floor":
            return f"tl.floor({x})"
        if op == "trunc":
            return f"tl.where({x} < {self.literal(0.0)}, tl.ceil({x}), tl.floor({x}))"
        if op == "exp" and self.real == "float32":
            return self._exp(x)
        if not self.interpreted:
            return f"libdevice.{op}({x})"
        return f"tl.{op}({x})" if op != "tanh" else self._tanh(x)

    def _exp(self, x: str) -> str:
        """Return exp in single precision with the bits of the CPU; see `compiler.exponential`."""
        f, low, high = self.literal, *map(self.literal, exponential.RANGE)
        x = self.fresh(f"tl.where({x} < {low}, {low}, {x})")
        x = self.fresh(f"tl.where({x} > {high}, {high}, {x})")
        raised = self.fresh(f"{x} * {f(exponential.PER_LN_2)} + {f(exponential.ROUNDER)}")
        n = self.fresh(f"{raised} - {f(exponential.ROUNDER)}")
        r = self.fresh(f"{x} - {n} * {f(exponential.COARSE_LN_2)} - {n} * {f(exponential.FINE_LN_2)}")
        quotient = f(exponential.QUOTIENT[0])
        for c in exponential.QUOTIENT[1:]:
            quotient = self.fresh(f"{quotient} * {r} + {f(c)}")
        y = self.fresh(f"{quotient} * ({r} * {r}) + {r} + {f(1.0)}")
        power = self.fresh(f"{raised}.to(tl.int32, bitcast=True) - {exponential.ROUNDER_BITS}")
        half = self.fresh(f"{power} >> 1")
        for part in (half, f"{power} - {half}"):
            bits = f"({part} + {exponential.BIAS}) << {exponential.FRACTION_BITS}"
            y = self.fresh(f"{y} * ({bits}).to(tl.float32, bitcast=True)")
        return y

    def _tanh(self, x: str) -> str:
        """Return tanh computed by exp, for the interpreter, which has no tanh."""
        one = self.literal(1.0)
        decayed = self.fresh(f"tl.exp(tl.abs({x}) * {self.literal(-2.0)})")
        size = self.fresh(f"({one} - {decayed}) / ({one} + {decayed})")
        return f"tl.where({x} < {self.literal(0.0)}, {size} * {self.literal(-1.0)}, {size})"

    def load(self, node: Expression, array: str) -> None:
        """Read `node` from an array over time."""
        self.bind(node, self.fresh(f"tl.load(ptr_{array} + at, mask=inside).to(tl.{self.real})"))

    def store(self, array: str, node: Expression) -> None:
        """Write `node` to an array over time; the store rounds to the precision of the array."""
        self.lines.append(f"{self.indent}tl.store(ptr_{array} + at, {self.value(node)}, mask=inside)")

    def carry(self, kernel: Kernel, shape: str) -> None:
        """Compute the values that the next step starts from, as ``next_<name>``; `shape` is that of the tile."""
        for name, (_, after) in {**kernel.carried, **kernel.sums}.items():
            # A number that all neurons share is broadcast: a value that a loop carries keeps its shape.
            shared = kernel.plan.level(after) == "host"
            value = self.value(after)
            self.lines.append(f"{self.indent}next_{name} = {f'tl.broadcast_to({value}, {shape})' if shared else value}")

    def numbers(self, kernel: Kernel) -> list[str]:
        """Return the lines that define literals and plain numbers, for before the loop."""
        return [
            *(f"{name} = tl.full((), {text}, tl.{self.real})" for text, name in self.literals.items()),
            *(f"u{n} = tl.load(numbers + {n})" for n in range(len(kernel.uniforms))),
        ]

    def bind_what_stays(self, kernel: Kernel) -> None:
        """Bind the values that the loop carries and those that it only reads."""
        for name, (before, _) in {**kernel.carried, **kernel.sums}.items():
            self.bind(before, f"now_{name}")
        for name, node in kernel.coefficients.items():
            self.bind(node, f"coefficient_{name}")
        for number, node in enumerate(kernel.uniforms):
            self.bind(node, f"u{number}")


def source(kernel: Kernel, real: str, interpreted: bool) -> str:
    """Return a Python file that holds `kernel` as the function ``kernel``.

    Parameters
    ----------
    kernel : Kernel
        The kernel.
    real : {"float32", "float64", "float16", "bfloat16"}
        Precision of the arrays over time; `arithmetic` gives that of everything else.
    interpreted : bool
        Whether Triton's interpreter will run it, on the CPU; it has none of the device's functions.

    Notes
    -----
    Arguments: the arrays in the order of ``kernel.arrays``; for each carried one ``after_<name>``, which receives
    the last value; ``numbers``, the plain numbers; ``steps`` and ``width`` (T and M); and the constants BLOCK, AHEAD
    and EACH, a divisor of ``width``: the neurons of a thread.
    """
    body = Statements(arithmetic(real), interpreted)
    for name, node in kernel.reads.items():
        body.load(node, name)
    body.bind_what_stays(kernel)
    body.emit(kernel.order())
    for name, node in kernel.writes.items():
        body.store(name, node)
    body.carry(kernel, "(BLOCK,)")
    return _file(kernel, body, real)


def _file(kernel: Kernel, body: Statements, real: str) -> str:
    pointers = [*(f"ptr_{name}" for name in kernel.arrays), *(f"after_{name}" for name in kernel.carried), "numbers"]
    arguments = [*pointers, "steps", "width"]
    carried = [*kernel.carried, *kernel.sums]
    loads = [
        *(f"coefficient_{name} = tl.load(ptr_{name} + j, mask=inside)" for name in kernel.coefficients),
        *(f"now_{name} = tl.load(ptr_{name} + j, mask=inside)" for name in kernel.carried),
        *(f"now_{name} = tl.zeros((BLOCK,), tl.{body.real})" for name in kernel.sums),
    ]
    results = [
        *(f"tl.store(after_{name} + j, now_{name}, mask=inside)" for name in kernel.carried),
        *(f"tl.store(ptr_{name} + j, now_{name}, mask=inside)" for name in kernel.sums),
    ]
    start = "j + (tl.cast(steps, tl.int64) - 1) * row" if kernel.backwards else "j"
    before = "\n    ".join([*body.numbers(kernel), *loads, f"at = {start}"])
    inside = "\n".join([*body.lines, *(f"{body.indent}now_{name} = next_{name}" for name in carried)])
    direction = "backward" if kernel.backwards else "forward"
    return f'''"""{kernel.plan.program.name}, {direction}, {real}: written by neurosim."""

import triton
import triton.language as tl
from triton.language.extra import libdevice


# No size is specialised on: another batch or length runs the same machine code. Of an address it matters whether
# several neurons can be read from it at once.
@triton.jit(do_not_specialize=["numbers", "steps", "width"])
def kernel({", ".join(arguments)}, BLOCK: tl.constexpr, AHEAD: tl.constexpr, EACH: tl.constexpr):
    j = tl.cast(tl.program_id(0), tl.int64) * BLOCK + tl.arange(0, BLOCK)
    row = width // EACH * EACH
    inside = j < row
    {before}
    for _ in tl.range(0, steps, num_stages=AHEAD):
{inside}
        at {"-=" if kernel.backwards else "+="} row
    {(chr(10) + "    ").join(results) or "return"}
'''
