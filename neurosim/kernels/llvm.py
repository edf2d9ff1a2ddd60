"""Machine code for a plan on the CPU: the time loop and the arithmetic as LLVM IR, compiled in memory.

A kernel walks the neurons in blocks that fit the first-level cache; inside a block it walks the time, and inside
a step the neurons, which LLVM turns into vector instructions. Products and sums are not contracted, so that the
same operations in the same order give the same bits as torch.
"""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import struct
from collections.abc import Sequence
from typing import Any

from neurosim.cores.expression import Expression
from neurosim.kernels.plan import Plan, needed_from

BLOCK = 1024
_COMPARE = {"gt": "ogt", "ge": "oge", "lt": "olt", "le": "ole", "eq": "oeq"}
_ARITHMETIC = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
_INTRINSIC = {"exp": "exp", "log": "log", "sqrt": "sqrt", "tanh": "tanh", "abs": "fabs", "max": "maximum", "min": "minimum"}


@dataclasses.dataclass(frozen=True)
class Signature:
    """Arguments of a kernel, in order: arrays over time, arrays of one step, plain numbers."""

    over_time: tuple[str, ...]
    per_neuron: tuple[str, ...]
    uniforms: tuple[Expression, ...]


class _Body:
    """Instructions of one neuron's step."""

    def __init__(self, real: str) -> None:
        self.real = real
        self.lines: list[str] = []
        self._values: dict[int, str] = {}
        self._truths: dict[int, str] = {}
        self._count = 0

    def fresh(self, text: str) -> str:
        name = f"%x{self._count}"
        self._count += 1
        self.lines.append(f"  {name} = {text}")
        return name

    def literal(self, value: float) -> str:
        rounded = value if self.real == "double" else struct.unpack("f", struct.pack("f", value))[0]
        return f"0x{struct.unpack('<Q', struct.pack('<d', rounded))[0]:016X}"

    def bind(self, node: Expression, value: str) -> None:
        self._values[id(node)] = value

    def load(self, array: str, index: str) -> str:
        return self.fresh(f"load {self.real}, ptr {self._address(array, index)}, align {4 if self.real == 'float' else 8}")

    def store(self, value: str, array: str, index: str) -> None:
        address = self._address(array, index)
        self.lines.append(f"  store {self.real} {value}, ptr {address}, align {4 if self.real == 'float' else 8}")

    def _address(self, array: str, index: str) -> str:
        return self.fresh(f"getelementptr inbounds {self.real}, ptr %array.{array}, i64 {index}")

    def bound(self, node: Expression) -> bool:
        return id(node) in self._values

    def emit(self, order: Sequence[Expression]) -> None:
        for node in order:
            if id(node) not in self._values and id(node) not in self._truths:
                self._emit(node)

    def value(self, node: Expression) -> str:
        return self._values[id(node)]

    def truth(self, node: Expression) -> str:
        """Return `node` as i1: a comparison's own, a spike's, or whether the value is not zero."""
        if id(node) not in self._truths:
            self._truths[id(node)] = self.fresh(f"fcmp une {self.real} {self.value(node)}, {self.literal(0.0)}")
        return self._truths[id(node)]

    def _emit(self, node: Expression) -> None:
        op, real = node.op, self.real
        if op == "constant":
            self._values[id(node)] = self.literal(node.payload)
        elif op in _COMPARE:
            a, b = map(self.value, node.args)
            self._truths[id(node)] = self.fresh(f"fcmp {_COMPARE[op]} {real} {a}, {b}")
        elif op == "spike":
            above = self.fresh(f"fcmp ogt {real} {self.value(node.args[0])}, {self.literal(0.0)}")
            self._truths[id(node)] = above
            self._values[id(node)] = self.fresh(f"select i1 {above}, {real} {self.literal(1.0)}, {real} {self.literal(0.0)}")
        elif op == "detach":
            self._values[id(node)] = self.value(node.args[0])
            if id(node.args[0]) in self._truths:
                self._truths[id(node)] = self._truths[id(node.args[0])]
        elif op == "select":
            condition, a, b = node.args
            chosen = f"select i1 {self.truth(condition)}, {real} {self.value(a)}, {real} {self.value(b)}"
            self._values[id(node)] = self.fresh(chosen)
        elif op == "neg":
            self._values[id(node)] = self.fresh(f"fneg {real} {self.value(node.args[0])}")
        elif op in _ARITHMETIC:
            a, b = map(self.value, node.args)
            self._values[id(node)] = self.fresh(f"{_ARITHMETIC[op]} {real} {a}, {b}")
        elif op == "exp" and real == "float":
            self._values[id(node)] = self.fresh(f"call float @exp_single(float {self.value(node.args[0])})")
        else:
            kind = "f32" if real == "float" else "f64"
            operands = ", ".join(f"{real} {self.value(a)}" for a in node.args)
            self._values[id(node)] = self.fresh(f"call {real} @llvm.{_INTRINSIC[op]}.{kind}({operands})")


def signatures(plan: Plan) -> tuple[Signature, Signature]:
    """Return the signatures of the forward and of the backward kernel."""
    states = tuple(plan.program.state)
    kept = tuple(f"kept{n}" for n in range(len(plan.stored)))
    forward = Signature(("i", "out", *kept), (*states, *plan.program.per_neuron), plan.forward_uniforms)
    saved = tuple(f"kept{n}" for n in range(len(plan.saved)))
    shares = tuple(f"share_{name}" for name in plan.program.per_neuron)
    cotangents = tuple(f"g_{name}" for name in states)
    backward = Signature(
        ("g_out", "g_i", *saved), (*cotangents, *plan.program.per_neuron, *shares), plan.backward_uniforms
    )
    return forward, backward


def forward_ir(plan: Plan, real: str) -> str:
    """Return LLVM IR of the forward kernel ``kernel``."""
    program, body = plan.program, _Body(real)
    signature, _ = signatures(plan)
    body.bind(program.trace.leaf("input", "i"), body.load("i", "%at"))
    for kind, names in (("state", program.state), ("parameter", program.per_neuron)):
        for name in names:
            body.bind(program.trace.leaf(kind, name), body.load(name, "%j"))
    _bind_uniforms(body, signature)
    new = list(program.state.values())
    body.emit(needed_from([program.output, *new, *plan.stored], signature.uniforms))
    body.store(body.value(program.output), "out", "%at")
    for number, node in enumerate(plan.stored):
        body.store(body.value(node), f"kept{number}", "%at")
    for name, node in program.state.items():
        body.store(body.value(node), name, "%j")
    return _function(signature, body, real, backwards=False)


def backward_ir(plan: Plan, real: str) -> str:
    """Return LLVM IR of the backward kernel ``kernel``."""
    program, body = plan.program, _Body(real)
    _, signature = signatures(plan)
    trace = program.trace
    for number, node in enumerate(plan.saved):
        body.bind(node, body.load(f"kept{number}", "%at"))
    body.bind(trace.leaf("cotangent", "g_out"), body.load("g_out", "%at"))
    for name in program.state:
        body.bind(trace.leaf("cotangent", f"g_{name}"), body.load(f"g_{name}", "%j"))
    for name in program.per_neuron:
        body.bind(trace.leaf("parameter", name), body.load(name, "%j"))
    _bind_uniforms(body, signature)
    body.emit(needed_from(plan.backward_outputs, (*plan.saved, *signature.uniforms)))
    body.store(body.value(plan.adjoint.input), "g_i", "%at")
    for name, node in plan.adjoint.state.items():
        body.store(body.value(node), f"g_{name}", "%j")
    for name, node in plan.adjoint.per_neuron.items():
        so_far = body.load(f"share_{name}", "%j")
        body.store(body.fresh(f"fadd {real} {so_far}, {body.value(node)}"), f"share_{name}", "%j")
    return _function(signature, body, real, backwards=True)


def _bind_uniforms(body: _Body, signature: Signature) -> None:
    for number, node in enumerate(signature.uniforms):
        body.bind(node, f"%u{number}")


def _function(signature: Signature, body: _Body, real: str, backwards: bool) -> str:
    arrays = [f"ptr noalias %array.{name}" for name in (*signature.over_time, *signature.per_neuron)]
    numbers = [f"{real} %u{n}" for n in range(len(signature.uniforms))]
    arguments = ", ".join((*arrays, "i64 %first", "i64 %last", "i64 %steps", "i64 %width", *numbers))
    time = "  %t = sub nsw i64 %final, %s" if backwards else "  %t = add nsw i64 0, %s"
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
        return _Body("float").literal(value)

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

    def __init__(self, ir: str, signature: Signature, real: str) -> None:
        import llvmlite.binding as binding

        machine = _machine()
        module = binding.parse_assembly(ir)
        module.verify()
        options = binding.create_pipeline_tuning_options(speed_level=3)
        options.loop_vectorization = True
        builder = binding.create_pass_builder(machine, options)
        builder.getModulePassManager().run(module, builder)
        self.signature = signature
        self._engine = binding.create_mcjit_compiler(module, machine)
        self._engine.finalize_object()
        pointers = [ctypes.c_void_p] * (len(signature.over_time) + len(signature.per_neuron))
        number = ctypes.c_float if real == "float" else ctypes.c_double
        types = [*pointers, *[ctypes.c_int64] * 4, *[number] * len(signature.uniforms)]
        self.call = ctypes.CFUNCTYPE(None, *types)(self._engine.get_function_address("kernel"))


@functools.cache
def compiled(key: str, real: str, backwards: bool) -> Compiled:
    """Return the machine code of the plan of this key, compiled at its first use in a process."""
    from neurosim.kernels.plan import find

    plan = find(key)
    forward, backward = signatures(plan)
    if backwards:
        return Compiled(backward_ir(plan, real), backward, real)
    return Compiled(forward_ir(plan, real), forward, real)
