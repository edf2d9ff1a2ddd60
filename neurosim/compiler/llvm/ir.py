"""A builder of LLVM IR as text: a core's arithmetic on vectors of lanes, loops as with-blocks, masked memory.

A code generator declares the arguments of a kernel, writes its loops and loads, lets `Body` print the step of a core,
and passes the text to `CompiledKernel`. Products and sums are contracted by `multiply_add` alone, so that the same
operations in the same order give the same bits as torch.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from neurosim.compiler import exponential
from neurosim.compiler.llvm.jit import CompiledKernel
from neurosim.compiler.printer import Body

_COMPARE = {"gt": "ogt", "ge": "oge", "lt": "olt", "le": "ole", "eq": "oeq", "ne": "une"}
_ARITHMETIC = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
_INTRINSIC = {
    "exp": "exp",
    "log": "log",
    "sqrt": "sqrt",
    "tanh": "tanh",
    "abs": "fabs",
    "trunc": "trunc",
    "floor": "floor",
    "max": "maximum",
    "min": "minimum",
}

LINE = 64  # bytes of a line of the caches
_NOW = ("i64", "%now")


class IRBuilder(Body):
    """One function, ``kernel``, in the making.

    Values of a core are of type `lane`: one number of type `real`, or a vector of `lanes` of them. Indices are of type
    i64 and written as text, so that ``"0"`` is one too.

    Parameters
    ----------
    real : {"float", "double"}
        Precision.
    lanes : int
        Numbers in a vector; 1 leaves it to LLVM to make vectors of a loop.
    """

    prefix = "%x"

    def __init__(self, real: str, lanes: int = 1) -> None:
        super().__init__()
        self.real, self.lanes = real, lanes
        self._arguments: list[tuple[str, str]] = []
        self._scratch: list[int] = []  # places of arguments
        self._entry: list[str] = []
        self._declared: dict[str, None] = {}
        self._blocks = 0

    # What a function is called with.

    def pointer_argument(self, name: str) -> str:
        """Add an argument that is the address of an array that no other argument points to; return its name in the IR.

        That name is numbered, so that no name of a user's core is one of the builder's own.
        """
        readable = f".{name}" if name.isascii() else ""
        argument = f"%p{len(self._arguments)}{readable}"
        self._arguments.append(("ptr", f"noalias {argument}"))
        return argument

    def scratch_argument(self, name: str) -> str:
        """Add a pointer argument to memory that one thread writes; in a `CallList` each thread has its own."""
        self._scratch.append(len(self._arguments))
        return self.pointer_argument(name)

    def integer_argument(self, name: str) -> str:
        """Add an integer argument."""
        self._arguments.append(("i64", f"%{name}"))
        return f"%{name}"

    def real_argument(self, name: str) -> str:
        """Add a number in floating point, and return it as a lane."""
        self._arguments.append((self.real, f"%{name}"))
        return self.splat(f"%{name}")

    # Types.

    @property
    def lane(self) -> str:
        """Type of a core's value."""
        return self.real if self.lanes == 1 else f"<{self.lanes} x {self.real}>"

    @property
    def truths(self) -> str:
        """Type of a comparison."""
        return "i1" if self.lanes == 1 else f"<{self.lanes} x i1>"

    @property
    def bytes(self) -> int:
        """Bytes of a number."""
        return 4 if self.real == "float" else 8

    # The words of `Body`.

    def literal(self, value: float) -> str:
        """Return `value` rounded to the precision, in all lanes."""
        rounded = value if self.real == "double" else ctypes.c_float(value).value
        text = f"0x{struct.unpack('<Q', struct.pack('<d', rounded))[0]:016X}"
        return text if self.lanes == 1 else f"splat ({self.real} {text})"

    def compare(self, op: str, a: str, b: str) -> str:
        """Return the comparison `op`."""
        return f"fcmp {_COMPARE[op]} {self.lane} {a}, {b}"

    def choice(self, condition: str, a: str, b: str) -> str:
        """Return `a` where `condition` holds, else `b`."""
        return f"select {self.truths} {condition}, {self.lane} {a}, {self.lane} {b}"

    def operation(self, op: str, operands: Sequence[str]) -> str:
        """Return arithmetic or a function of numbers."""
        if op == "neg":
            return f"fneg {self.lane} {operands[0]}"
        if op in _ARITHMETIC:
            return f"{_ARITHMETIC[op]} {self.lane} {', '.join(operands)}"
        if op == "exp" and self.real == "float":
            self._declared[_exp_single(self)] = None
            return f"call {self.lane} @exp_single({self.lane} {operands[0]})"
        return self.intrinsic(_INTRINSIC[op], self.lane, [(self.lane, x) for x in operands])

    def declare(self, text: str) -> None:
        """Add a declaration or a function to the module."""
        self._declared[text] = None

    # Arithmetic beside the core's.

    def intrinsic(self, name: str, result: str, operands: Sequence[tuple[str, str]], kind: str | None = None) -> str:
        """Return a call of LLVM's function `name`; an operand is its type and its value."""
        called = f"@llvm.{name}.{kind or self._kind}"
        self._declared[f"declare {result} {called}({', '.join(each for each, _ in operands)})"] = None
        return f"call {result} {called}({', '.join(f'{each} {value}' for each, value in operands)})"

    @property
    def _kind(self) -> str:
        width = "f32" if self.real == "float" else "f64"
        return width if self.lanes == 1 else f"v{self.lanes}{width}"

    def splat(self, scalar: str) -> str:
        """Return a number in all lanes."""
        if self.lanes == 1:
            return scalar
        first = self.fresh(f"insertelement {self.lane} poison, {self.real} {scalar}, i64 0")
        return self.fresh(
            f"shufflevector {self.lane} {first}, {self.lane} poison, <{self.lanes} x i32> zeroinitializer"
        )

    def add(self, a: str, b: str) -> str:
        """Return the sum of two lanes."""
        return self.fresh(f"fadd {self.lane} {a}, {b}")

    def multiply_add(self, a: str, b: str, c: str) -> str:
        """Return ``a b + c`` rounded once: for matrix products, never for a core."""
        return self.fresh(self.intrinsic("fma", self.lane, [(self.lane, x) for x in (a, b, c)]))

    def lane_sum(self, value: str) -> str:
        """Return the sum over all lanes, in any order."""
        call = self.intrinsic("vector.reduce.fadd", self.real, [(self.real, "0.0"), (self.lane, value)])
        return self.fresh(call.replace("call", "call reassoc", 1))

    def lane_sums(self, values: Sequence[str]) -> list[str]:
        """Return the sum over all lanes of each of `values`, a power of two of them: cheaper than one by one."""
        lines, size = list(values), self.lanes  # each line holds the parts of its values one behind the other
        while len(lines) > 1:
            lower = [part + k for part in range(0, self.lanes, size) for k in range(size // 2)]
            lower += [self.lanes + n for n in lower]
            upper = [n + size // 2 for n in lower]
            pairs = zip(lines[::2], lines[1::2], strict=True)
            lines = [self.add(self._shuffled(*pair, lower), self._shuffled(*pair, upper)) for pair in pairs]
            size //= 2
        (line,) = lines
        part = size
        while part > 1:
            part //= 2
            line = self.add(line, self._shuffled(line, line, [(n + part) % self.lanes for n in range(self.lanes)]))
        return [self.fresh(f"extractelement {self.lane} {line}, i64 {n * size}") for n in range(len(values))]

    def integer(self, op: str, a: str, b: str) -> str:
        """Return `op` (add, sub, mul, shl, lshr, and, or ...) of two integers."""
        return self.fresh(f"{op} i64 {a}, {b}")

    def minimum(self, a: str, b: str) -> str:
        """Return the smaller of two integers."""
        return self.fresh(self.intrinsic("smin", "i64", [("i64", a), ("i64", b)], "i64"))

    def selected_lanes(self, truth: str, base: str) -> str:
        """Return the numbers ``base + n`` of the lanes n where `truth` holds, the first ones first, as i32."""
        kind = f"<{self.lanes} x i32>"
        first = self.fresh(f"insertelement {kind} poison, i32 {self.fresh(f'trunc i64 {base} to i32')}, i64 0")
        all_lanes = self.fresh(f"shufflevector {kind} {first}, {kind} poison, {kind} zeroinitializer")
        lanes = ", ".join(f"i32 {n}" for n in range(self.lanes))
        numbers = self.fresh(f"add {kind} {all_lanes}, <{lanes}>")
        given = [(kind, numbers), (self.truths, truth), (kind, "poison")]
        return self.fresh(self.intrinsic("experimental.vector.compress", kind, given, f"v{self.lanes}i32"))

    def store_first(self, numbers: str, count: str, base: str, index: str) -> None:
        """Set `count` elements of an array of i32 from element `index` on."""
        kind = f"<{self.lanes} x i32>"
        address = self.address(base, index, "i32")
        given = [(kind, numbers), ("ptr", address), ("i32", "4"), (self.truths, self.first_lanes(count))]
        self.lines.append("  " + self.intrinsic("masked.store", "void", given, f"v{self.lanes}i32.p0"))

    def bits_of_mask(self, truth: str) -> str:
        """Return a comparison as an integer of as many bits as there are lanes."""
        return self.fresh(f"bitcast {self.truths} {truth} to i{self.lanes}")

    def popcount(self, bits: str) -> str:
        """Return how many bits of an integer are set."""
        return self.fresh(self.intrinsic("ctpop", "i64", [("i64", bits)], "i64"))

    def lowest_set_bit(self, bits: str) -> str:
        """Return the place of the lowest bit set in an integer that is not 0."""
        return self.fresh(self.intrinsic("cttz", "i64", [("i64", bits), ("i1", "true")], "i64"))

    # Memory.

    def address(self, base: str, index: str, kind: str | None = None) -> str:
        """Return the address of element `index` of an array of `kind`, numbers if left out."""
        return self.fresh(f"getelementptr inbounds {kind or self.real}, ptr {base}, i64 {index}")

    def load_scalar(self, kind: str, base: str, index: str = "0") -> str:
        """Return element `index` of an array of `kind`."""
        return self.fresh(f"load {kind}, ptr {self.address(base, index, kind)}, align {_align(kind)}")

    def store_scalar(self, kind: str, value: str, base: str, index: str = "0") -> None:
        """Set element `index` of an array of `kind`."""
        self.lines.append(f"  store {kind} {value}, ptr {self.address(base, index, kind)}, align {_align(kind)}")

    def load_index(self, base: str, index: str) -> str:
        """Return element `index` of an array of i32 as an index."""
        return self.fresh(f"zext nneg i32 {self.load_scalar('i32', base, index)} to i64")

    def load(self, base: str, index: str, mask: str | None = None) -> str:
        """Return the lanes from element `index` on; where `mask` does not hold, 0 without a look at memory."""
        address = self.address(base, index)
        if mask is None:
            return self.fresh(f"load {self.lane}, ptr {address}, align {self.bytes}")
        given = [("ptr", address), ("i32", str(self.bytes)), (self.truths, mask), (self.lane, "zeroinitializer")]
        return self.fresh(self.intrinsic("masked.load", self.lane, given, f"{self._kind}.p0"))

    def store(self, value: str, base: str, index: str, mask: str | None = None) -> None:
        """Set the lanes from element `index` on, where `mask` holds."""
        address = self.address(base, index)
        if mask is None:
            self.lines.append(f"  store {self.lane} {value}, ptr {address}, align {self.bytes}")
            return
        given = [(self.lane, value), ("ptr", address), ("i32", str(self.bytes)), (self.truths, mask)]
        self.lines.append("  " + self.intrinsic("masked.store", "void", given, f"{self._kind}.p0"))

    def stream(self, value: str, base: str, index: str) -> None:
        """Set the lanes from element `index` on past the caches; the address must be a multiple of their size."""
        self._declared["!0 = !{i32 1}"] = None
        self.lines.append(
            f"  store {self.lane} {value}, ptr {self.address(base, index)}, align {LINE}, !nontemporal !0"
        )

    def prefetch(self, base: str, index: str) -> None:
        """Ask for the lanes from element `index` on, which may lie outside the array, before they are needed."""
        for first in range(0, self.lanes * self.bytes, LINE):
            address = self.fresh(f"getelementptr i8, ptr {self.address(base, index)}, i64 {first}")
            given = [("ptr", address), ("i32", "0"), ("i32", "3"), ("i32", "1")]
            self.lines.append("  " + self.intrinsic("prefetch", "void", given, "p0"))

    def fence(self) -> None:
        """Let all threads see what was streamed."""
        self.lines.append("  fence seq_cst")

    def first_lanes(self, count: str) -> str:
        """Return the mask of the first `count` lanes, all of them where `count` is larger."""
        held = self.minimum(count, str(self.lanes))
        narrow = self.fresh(f"trunc i64 {held} to i32")
        one = f"<{self.lanes} x i32>"
        first = self.fresh(f"insertelement {one} poison, i32 {narrow}, i64 0")
        wide = self.fresh(f"shufflevector {one} {first}, {one} poison, {one} zeroinitializer")
        lanes = ", ".join(f"i32 {n}" for n in range(self.lanes))
        return self.fresh(f"icmp slt {one} <{lanes}>, {wide}")

    def transposed(self, square: Sequence[str]) -> list[str]:
        """Return the columns of as many lanes as these have numbers."""
        lines, half = list(square), self.lanes // 2
        while half:
            lower = [n if not n & half else self.lanes + n - half for n in range(self.lanes)]
            upper = [n + half if not n & half else self.lanes + n for n in range(self.lanes)]
            for n in range(self.lanes):
                if not n & half:
                    pair = lines[n], lines[n + half]
                    lines[n], lines[n + half] = self._shuffled(*pair, lower), self._shuffled(*pair, upper)
            half //= 2
        return lines

    def _shuffled(self, a: str, b: str, order: Sequence[int]) -> str:
        places = ", ".join(f"i32 {n}" for n in order)
        return self.fresh(f"shufflevector {self.lane} {a}, {self.lane} {b}, <{self.lanes} x i32> <{places}>")

    def variable(self, kind: str | None = None, count: int = 1) -> str:
        """Return the address of room for `count` values of `kind`, a lane if left out; LLVM keeps it in registers."""
        name = f"%room{len(self._entry)}"
        self._entry.append(f"  {name} = alloca {kind or self.lane}, i64 {count}, align 64")
        return name

    def load_variable(self, variable: str, kind: str | None = None) -> str:
        """Return what `variable` holds."""
        return self.fresh(f"load {kind or self.lane}, ptr {variable}, align {64 if kind is None else _align(kind)}")

    def store_variable(self, variable: str, value: str, kind: str | None = None) -> None:
        """Let `variable` hold `value`."""
        self.lines.append(
            f"  store {kind or self.lane} {value}, ptr {variable}, align {64 if kind is None else _align(kind)}"
        )

    # Flow.

    @contextmanager
    def loop(self, start: str, stop: str, step: str = "1") -> Iterator[str]:
        """Repeat what is written inside for an index from `start` up to before `stop`."""
        n = self.number()
        self.lines += [
            f"  br label %enter{n}",
            f"enter{n}:",
            f"  br label %head{n}",
            f"head{n}:",
            f"  %i{n} = phi i64 [ {start}, %enter{n} ], [ %i{n}.next, %latch{n} ]",
            f"  %more{n} = icmp slt i64 %i{n}, {stop}",
            f"  br i1 %more{n}, label %body{n}, label %exit{n}",
            f"body{n}:",
        ]
        yield f"%i{n}"
        self.lines += [
            f"  br label %latch{n}",
            f"latch{n}:",
            f"  %i{n}.next = add nsw i64 %i{n}, {step}",
            f"  br label %head{n}",
            f"exit{n}:",
        ]

    @contextmanager
    def loop_while(self, start: str, stop: str) -> Iterator[tuple[str, Callable[[str], None]]]:
        """Like `loop`; the function that it gives ends the loop after an iteration where a condition, an i1, holds."""
        over = self.variable("i1")
        self.store_variable(over, "false", "i1")

        def end(condition: str) -> None:
            self.store_variable(over, condition, "i1")

        n = self.number()
        self.lines += [
            f"  br label %enter{n}",
            f"enter{n}:",
            f"  br label %head{n}",
            f"head{n}:",
            f"  %i{n} = phi i64 [ {start}, %enter{n} ], [ %i{n}.next, %latch{n} ]",
            f"  %over{n} = load i1, ptr {over}, align 1",
            f"  %within{n} = icmp slt i64 %i{n}, {stop}",
            f"  %more{n} = select i1 %over{n}, i1 false, i1 %within{n}",
            f"  br i1 %more{n}, label %body{n}, label %exit{n}",
            f"body{n}:",
        ]
        yield f"%i{n}", end
        self.lines += [
            f"  br label %latch{n}",
            f"latch{n}:",
            f"  %i{n}.next = add nsw i64 %i{n}, 1",
            f"  br label %head{n}",
            f"exit{n}:",
        ]

    @contextmanager
    def loop_backwards(self, start: str, stop: str) -> Iterator[str]:
        """Repeat what is written inside for an index from before `stop` down to `start`."""
        last = self.integer("sub", stop, "1")
        with self.loop("0", self.integer("sub", stop, start)) as step:
            yield self.integer("sub", last, step)

    @contextmanager
    def loop_over_list(self, starts: str, index: str, row: str) -> Iterator[str]:
        """Repeat what is written inside for each of the ``index`` [count] of i32 that `starts` says are of `row`."""
        stop = self.load_index(starts, self.integer("add", row, "1"))
        with self.loop(self.load_index(starts, row), stop) as place:
            yield self.load_index(index, place)

    @contextmanager
    def branch_if(self, condition: str) -> Iterator[None]:
        """Do what is written inside if `condition`, an i1, holds."""
        n = self.number()
        self.lines += [f"  br i1 {condition}, label %then{n}, label %after{n}", f"then{n}:"]
        yield
        self.lines += [f"  br label %after{n}", f"after{n}:"]

    def number(self) -> int:
        """Return a number that no block of instructions has yet."""
        self._blocks += 1
        return self._blocks

    # Functions beside `kernel`.

    def define(self, function: str) -> None:
        """Add a function, as text, that `call` may name; the same text counts once."""
        self._declared[function] = None

    def call(self, function: str, *arguments: tuple[str, str]) -> None:
        """Call a function without a result; an argument is its type and its value."""
        self.lines.append(f"  call void @{function}({', '.join(f'{kind} {value}' for kind, value in arguments)})")

    # The end.

    def source(self) -> str:
        """Return the module."""
        arguments = ", ".join(f"{kind} {name}" for kind, name in self._arguments)
        lines = "\n".join((*self._entry, "  br label %start", "start:", *self.lines))
        kernel = f"define void @kernel({arguments}) {{\nentry:\n{lines}\n  ret void\n}}\n"
        entries = (self._team() if self._is_shared else "", "" if self._now is None else self._task())
        return "\n".join((kernel, *entries, *self._declared))

    @property
    def _is_shared(self) -> bool:
        """Whether the first two numbers say which pieces of the work to do."""
        names = [name for kind, name in self._arguments if kind == "i64"]
        return names[:2] == ["%first", "%last"]

    @property
    def _now(self) -> int | None:
        """Place among the arguments of the number of the step of a circuit; None if the function is no task of one."""
        return self._arguments.index(_NOW) if _NOW in self._arguments else None

    def _task(self) -> str:
        """Return a function of the arguments of ``kernel`` in an array of eight bytes each, and of the step."""
        slots, values = [], []
        for number, (kind, name) in enumerate(self._arguments):
            if (kind, name) == _NOW:
                values.append("i64 %now")
                continue
            slots.append(f"  %a{number}.at = getelementptr i64, ptr %work, i64 {number}")
            slots.append(f"  %a{number} = load {kind}, ptr %a{number}.at")
            values.append(f"{kind} %a{number}")
        loads = "\n".join(slots)
        return f"""
define void @task(ptr %work, i64 %now) {{
{loads}
  call void @kernel({", ".join(values)})
  ret void
}}
"""

    def _team(self) -> str:
        """Return the functions ``part``, which does some pieces of the work, and ``team``, which does a thread's share.

        Their argument is an array of eight bytes each: OpenMP's functions for the thread's number and for that of
        threads, the pieces in all and in a share, then the arguments of ``kernel``, then for each scratch argument the
        bytes from the memory of a thread to that of the next. ``part`` is also given the number of the thread, and the
        first and the last piece.
        """
        loads, values = [], []
        for number, (kind, name) in enumerate(self._arguments, start=4):
            if name in ("%first", "%last"):
                values.append(f"i64 {name}")
                continue
            loads.append(f"  %a{number}.at = getelementptr i64, ptr %work, i64 {number}")
            loads.append(f"  %a{number} = load {kind}, ptr %a{number}.at")
            if number - 4 in self._scratch:
                stride = 4 + len(self._arguments) + self._scratch.index(number - 4)
                loads.append(f"  %s{number}.at = getelementptr i64, ptr %work, i64 {stride}")
                loads.append(f"  %s{number} = load i64, ptr %s{number}.at")
                loads.append(f"  %m{number} = mul i64 %me, %s{number}")
                loads.append(f"  %b{number} = getelementptr i8, ptr %a{number}, i64 %m{number}")
            values.append(f"{kind} %{'b' if number - 4 in self._scratch else 'a'}{number}")
        lines = "\n".join(loads)
        return f"""
define void @part(ptr %work, i64 %me, i64 %first, i64 %last) {{
{lines}
  call void @kernel({", ".join(values)})
  ret void
}}

define void @team(ptr %work) {{
entry:
  %number = load ptr, ptr %work
  %size.at = getelementptr i64, ptr %work, i64 1
  %size = load ptr, ptr %size.at
  %total.at = getelementptr i64, ptr %work, i64 2
  %total = load i64, ptr %total.at
  %share.at = getelementptr i64, ptr %work, i64 3
  %share = load i64, ptr %share.at
  %me.narrow = call i32 %number()
  %me = zext i32 %me.narrow to i64
  %all.narrow = call i32 %size()
  %all = zext i32 %all.narrow to i64
  %begin = mul i64 %me, %share
  %step = mul i64 %all, %share
  br label %head
head:
  %first = phi i64 [ %begin, %entry ], [ %next, %body ]
  %more = icmp slt i64 %first, %total
  br i1 %more, label %body, label %exit
body:
  %end = add i64 %first, %share
  %whole = icmp slt i64 %end, %total
  %last = select i1 %whole, i64 %end, i64 %total
  call void @part(ptr %work, i64 %me, i64 %first, i64 %last)
  %next = add i64 %first, %step
  br label %head
exit:
  ret void
}}
"""

    def compile(self) -> CompiledKernel:
        """Return the machine code."""
        kinds = [kind for kind, _ in self._arguments]
        return CompiledKernel(self.source(), kinds, self._is_shared, self._now, len(self._scratch))


def _align(kind: str) -> int:
    scalar = kind.rpartition(" x ")[2].rstrip(">") if kind.startswith("<") else kind
    return {"float": 4, "double": 8, "ptr": 8}.get(scalar) or max(int(scalar[1:]) // 8, 1)


def _exp_single(words: IRBuilder) -> str:
    lane, f = words.lane, words.literal
    whole = "i32" if words.lanes == 1 else f"<{words.lanes} x i32>"
    low, high = map(f, exponential.RANGE)

    def integer(value: int) -> str:
        return str(value) if words.lanes == 1 else f"splat (i32 {value})"

    steps = [f"%p0 = fadd {lane} {f(0.0)}, {f(exponential.QUOTIENT[0])}"]
    for n, c in enumerate(exponential.QUOTIENT[1:]):
        steps += [f"%m{n} = fmul {lane} %p{n}, %r", f"%p{n + 1} = fadd {lane} %m{n}, {f(c)}"]
    polynomial = "\n  ".join(steps)
    rounder, bias, shift = f(exponential.ROUNDER), integer(exponential.BIAS), integer(exponential.FRACTION_BITS)
    return f"""
define internal {lane} @exp_single({lane} %x) alwaysinline {{
  %below = fcmp olt {lane} %x, {low}
  %x1 = select {words.truths} %below, {lane} {low}, {lane} %x
  %above = fcmp ogt {lane} %x1, {high}
  %x2 = select {words.truths} %above, {lane} {high}, {lane} %x1
  %scaled = fmul {lane} %x2, {f(exponential.PER_LN_2)}
  %raised = fadd {lane} %scaled, {rounder}
  %n = fsub {lane} %raised, {rounder}
  %coarse = fmul {lane} %n, {f(exponential.COARSE_LN_2)}
  %fine = fmul {lane} %n, {f(exponential.FINE_LN_2)}
  %r0 = fsub {lane} %x2, %coarse
  %r = fsub {lane} %r0, %fine
  {polynomial}
  %square = fmul {lane} %r, %r
  %tail = fmul {lane} %p4, %square
  %near = fadd {lane} %tail, %r
  %y = fadd {lane} %near, {f(1.0)}
  %bits = bitcast {lane} %raised to {whole}
  %exponent = sub {whole} %bits, {integer(exponential.ROUNDER_BITS)}
  %half = ashr {whole} %exponent, {integer(1)}
  %rest = sub {whole} %exponent, %half
  %half.biased = add {whole} %half, {bias}
  %rest.biased = add {whole} %rest, {bias}
  %half.shifted = shl {whole} %half.biased, {shift}
  %rest.shifted = shl {whole} %rest.biased, {shift}
  %half.power = bitcast {whole} %half.shifted to {lane}
  %rest.power = bitcast {whole} %rest.shifted to {lane}
  %first = fmul {lane} %y, %half.power
  %result = fmul {lane} %first, %rest.power
  ret {lane} %result
}}
"""
