"""Machine code for a plan on the CPU: the time loop and the arithmetic as LLVM IR, compiled in memory.

A kernel walks the neurons in blocks that fit the first-level cache; inside a block it walks the time, and inside
a step the neurons, which LLVM turns into vector instructions. Products and sums are not contracted, so that the
same operations in the same order give the same bits as torch.
"""

from __future__ import annotations

import ctypes
import functools
import struct
from collections.abc import Sequence
from typing import Any

from neurosim.kernels.plan import find
from neurosim.kernels.printer import Body, Kernel, backward_kernel, forward_kernel

BLOCK = 2048
_COMPARE = {"gt": "ogt", "ge": "oge", "lt": "olt", "le": "ole", "eq": "oeq", "ne": "une"}
_ARITHMETIC = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
_INTRINSIC = {
    "exp": "exp",
    "log": "log",
    "sqrt": "sqrt",
    "tanh": "tanh",
    "abs": "fabs",
    "max": "maximum",
    "min": "minimum",
}


class _Instructions(Body):
    """One neuron's step in LLVM IR."""

    prefix = "%x"

    def __init__(self, real: str) -> None:
        super().__init__()
        self.real = real

    def literal(self, value: float) -> str:
        rounded = value if self.real == "double" else ctypes.c_float(value).value
        return f"0x{struct.unpack('<Q', struct.pack('<d', rounded))[0]:016X}"

    def compare(self, op: str, a: str, b: str) -> str:
        return f"fcmp {_COMPARE[op]} {self.real} {a}, {b}"

    def choice(self, condition: str, a: str, b: str) -> str:
        return f"select i1 {condition}, {self.real} {a}, {self.real} {b}"

    def operation(self, op: str, operands: Sequence[str]) -> str:
        real = self.real
        if op == "neg":
            return f"fneg {real} {operands[0]}"
        if op in _ARITHMETIC:
            return f"{_ARITHMETIC[op]} {real} {', '.join(operands)}"
        if op == "exp" and real == "float":
            return f"call float @exp_single(float {operands[0]})"
        kind = "f32" if real == "float" else "f64"
        return f"call {real} @llvm.{_INTRINSIC[op]}.{kind}({', '.join(f'{real} {x}' for x in operands)})"

    def load(self, array: str, index: str) -> str:
        return self.fresh(f"load {self.real}, ptr {self._address(array, index)}, align {self._align}")

    def store(self, value: str, array: str, index: str) -> None:
        address = self._address(array, index)
        self.lines.append(f"  store {self.real} {value}, ptr {address}, align {self._align}")

    def _address(self, array: str, index: str) -> str:
        return self.fresh(f"getelementptr inbounds {self.real}, ptr %array.{array}, i64 {index}")

    @property
    def _align(self) -> int:
        return 4 if self.real == "float" else 8


def source(kernel: Kernel, real: str) -> str:
    """Return LLVM IR of `kernel` as the function ``kernel``, for `real` "float" or "double"."""
    body = _Instructions(real)
    carried = {**kernel.carried, **kernel.sums}
    for name, node in kernel.reads.items():
        body.bind(node, body.load(name, "%at"))
    for name, node in {**{name: before for name, (before, _) in carried.items()}, **kernel.coefficients}.items():
        body.bind(node, body.load(name, "%j"))
    for number, node in enumerate(kernel.uniforms):
        body.bind(node, f"%u{number}")
    body.emit(kernel.order())
    for name, node in kernel.writes.items():
        body.store(body.value(node), name, "%at")
    for name, (_, after) in carried.items():
        body.store(body.value(after), name, "%j")
    return _function(kernel, body, real)


def _function(kernel: Kernel, body: Body, real: str) -> str:
    arrays = [f"ptr noalias %array.{name}" for name in kernel.arrays]
    numbers = [f"{real} %u{n}" for n in range(len(kernel.uniforms))]
    arguments = ", ".join((*arrays, "i64 %first", "i64 %last", "i64 %steps", "i64 %width", *numbers))
    time = "  %t = sub nsw i64 %final, %s" if kernel.backwards else "  %t = add nsw i64 0, %s"
    lines = "\n".join(body.lines)
    return f"""
define void @kernel({arguments}) {{
entry:
  %final = sub nsw i64 %steps, 1
  br label %block
block:
  %b = phi i64 [ %first, %entry ], [ %b.next, %time ]
  %more = icmp slt i64 %b, %last
  br i1 %more, label %block.body, label %exit
block.body:
  %b.next = add nsw i64 %b, {BLOCK}
  %whole = icmp slt i64 %b.next, %last
  %stop = select i1 %whole, i64 %b.next, i64 %last
  br label %time
time:
  %s = phi i64 [ 0, %block.body ], [ %s.next, %time.end ]
  %unfinished = icmp slt i64 %s, %steps
  br i1 %unfinished, label %time.body, label %block
time.body:
{time}
  %row = mul nsw i64 %t, %width
  br label %lane
lane:
  %j = phi i64 [ %b, %time.body ], [ %j.next, %lane ]
  %at = add nsw i64 %row, %j
{lines}
  %j.next = add nsw i64 %j, 1
  %done = icmp eq i64 %j.next, %stop
  br i1 %done, label %time.end, label %lane
time.end:
  %s.next = add nsw i64 %s, 1
  br label %time
exit:
  ret void
}}
{_EXP_SINGLE if "@exp_single" in lines else ""}
{_declarations(lines)}
"""


def _declarations(lines: str) -> str:
    wanted = []
    for name in (*_INTRINSIC.values(), "rint"):
        for kind, real in (("f32", "float"), ("f64", "double")):
            if f"@llvm.{name}.{kind}" in lines or (name == "rint" and kind == "f32" and "@exp_single" in lines):
                operands = f"{real}, {real}" if name in ("maximum", "minimum") else real
                wanted.append(f"declare {real} @llvm.{name}.{kind}({operands})")
    return "\n".join(wanted)


# exp in single precision that vectorises: x = n ln 2 + r with ln 2 in two parts, then 1 + r + r^2 q(r), q fitted at
# Chebyshev nodes on |r| < ln 2 / 2 (largest relative error 1.1e-8, a sixth of half a unit in the last place), then 2^n
# by exponent bits. Clamped to the range of normal numbers.
_EXP_QUOTIENT = (0.0013933652487826168, 0.00836318154467452, 0.0416664648953551, 0.166665769672476, 0.5000000013470305)


def _exp_single_ir() -> str:
    def f(value: float) -> str:
        return _Instructions("float").literal(value)

    steps = [f"%p0 = fadd float {f(0.0)}, {f(_EXP_QUOTIENT[0])}"]
    for n, c in enumerate(_EXP_QUOTIENT[1:]):
        steps += [f"%m{n} = fmul float %p{n}, %r", f"%p{n + 1} = fadd float %m{n}, {f(c)}"]
    polynomial = "\n  ".join(steps)
    return f"""
define internal float @exp_single(float %x) alwaysinline {{
  %low = fcmp olt float %x, {f(-87.3)}
  %x1 = select i1 %low, float {f(-87.3)}, float %x
  %high = fcmp ogt float %x1, {f(88.3)}
  %x2 = select i1 %high, float {f(88.3)}, float %x1
  %scaled = fmul float %x2, {f(1.4426950408889634)}
  %n = call float @llvm.rint.f32(float %scaled)
  %coarse = fmul float %n, {f(0.693359375)}
  %fine = fmul float %n, {f(0.6931471805599453 - 0.693359375)}
  %r0 = fsub float %x2, %coarse
  %r = fsub float %r0, %fine
  {polynomial}
  %square = fmul float %r, %r
  %tail = fmul float %p4, %square
  %near = fadd float %tail, %r
  %y = fadd float %near, {f(1.0)}
  %whole = fptosi float %n to i32
  %biased = add i32 %whole, 127
  %shifted = shl i32 %biased, 23
  %power = bitcast i32 %shifted to float
  %result = fmul float %y, %power
  ret float %result
}}
"""


_EXP_SINGLE = _exp_single_ir()


def _machine() -> Any:
    """Return a description of this processor; each engine takes one into its possession."""
    import llvmlite.binding as binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(),
        features=binding.get_host_cpu_features().flatten(),
        opt=3,
        codemodel="jitdefault",
        jit=True,
    )


class Compiled:
    """Machine code with its argument types; call it with addresses and numbers."""

    def __init__(self, kernel: Kernel, real: str) -> None:
        import llvmlite.binding as binding

        machine = _machine()
        module = binding.parse_assembly(source(kernel, real))
        module.verify()
        options = binding.create_pipeline_tuning_options(speed_level=3)
        options.loop_vectorization = True
        builder = binding.create_pass_builder(machine, options)
        builder.getModulePassManager().run(module, builder)
        self._engine = binding.create_mcjit_compiler(module, machine)
        self._engine.finalize_object()
        pointers = [ctypes.c_void_p] * len(kernel.arrays)
        number = ctypes.c_float if real == "float" else ctypes.c_double
        types = [*pointers, *[ctypes.c_int64] * 4, *[number] * len(kernel.uniforms)]
        self.call = ctypes.CFUNCTYPE(None, *types)(self._engine.get_function_address("kernel"))


@functools.cache
def compiled(key: str, real: str, backwards: bool) -> Compiled:
    """Return the machine code of the plan of this key, compiled at its first use in a process."""
    plan = find(key)
    return Compiled(backward_kernel(plan) if backwards else forward_kernel(plan), real)
