"""Arithmetic in double precision on one number, or on several in lanes, written once for both."""

from __future__ import annotations

from neurosim.compiler.llvm.ir import IRBuilder

_BYTES = {"i16": 2, "i32": 4, "i64": 8, "float": 4, "double": 8}


class Arithmetic:
    """Writes instructions on numbers of one kind: double, or a vector of them.

    Parameters
    ----------
    code : IRBuilder
        Receives the instructions.
    lanes : int
        Numbers in a vector; 1: none are vectors.
    """

    def __init__(self, code: IRBuilder, lanes: int = 1) -> None:
        self.code, self.lanes = code, lanes
        self.kind, self.integers, self.truths = (self.of_lanes(kind) for kind in ("double", "i64", "i1"))

    def of_lanes(self, kind: str) -> str:
        """Return the type of as many values of `kind` as there are lanes."""
        return kind if self.lanes == 1 else f"<{self.lanes} x {kind}>"

    def splat(self, value: str, kind: str = "double") -> str:
        """Return a number in all lanes."""
        if self.lanes == 1:
            return value
        vector = self.of_lanes(kind)
        first = self.code.fresh(f"insertelement {vector} poison, {kind} {value}, i64 0")
        return self.code.fresh(f"shufflevector {vector} {first}, {vector} poison, <{self.lanes} x i32> zeroinitializer")

    def constant(self, value: float) -> str:
        """Return a constant."""
        text = self.code.literal(value)
        return text if self.lanes == 1 else f"splat (double {text})"

    def of(self, op: str, a: str, b: str) -> str:
        """Return `op` (fadd, fsub, fmul, fdiv) of two numbers."""
        return self.code.fresh(f"{op} {self.kind} {a}, {b}")

    def integer(self, op: str, a: str, b: str) -> str:
        """Return `op` (add, mul, and, lshr ...) of two integers."""
        return self.code.fresh(f"{op} {self.integers} {a}, {b}")

    def compared_integers(self, op: str, a: str, b: str) -> str:
        """Return whether a comparison (slt, eq ...) of two integers holds."""
        return self.code.fresh(f"icmp {op} {self.integers} {a}, {b}")

    def extreme(self, which: str, a: str, b: str) -> str:
        """Return the smaller (smin) or the larger (smax) of two integers."""
        suffix = "i64" if self.lanes == 1 else f"v{self.lanes}i64"
        operands = [(self.integers, a), (self.integers, b)]
        return self.code.fresh(self.code.intrinsic(which, self.integers, operands, suffix))

    def power(self, a: str, b: str) -> str:
        """Return `a` to the power of `b`, of one number."""
        return self.code.fresh(self.code.intrinsic("pow", "double", [("double", a), ("double", b)]))

    def compared(self, op: str, a: str, b: str) -> str:
        """Return whether a comparison (oeq, olt, ogt ...) holds."""
        return self.code.fresh(f"fcmp {op} {self.kind} {a}, {b}")

    def both(self, a: str, b: str) -> str:
        """Return whether two conditions hold."""
        return self.code.fresh(f"and {self.truths} {a}, {b}")

    def chosen(self, condition: str, a: str, b: str, kind: str = "double") -> str:
        """Return `a` where a condition holds, else `b`."""
        of_lanes = self.of_lanes(kind)
        return self.code.fresh(f"select {self.truths} {condition}, {of_lanes} {a}, {of_lanes} {b}")

    def truncated(self, value: str) -> str:
        """Return the integer part of a number."""
        return self.code.fresh(f"fptosi {self.kind} {value} to {self.integers}")

    def rounded(self, value: str) -> str:
        """Return the nearest number of single precision."""
        single = self.of_lanes("float")
        short = self.code.fresh(f"fptrunc {self.kind} {value} to {single}")
        return self.code.fresh(f"fpext {single} {short} to {self.kind}")

    def row(self, kind: str, base: str, index: str, where: str) -> str:
        """Return neighbours in an array, from element `index` on; 0 `where` a condition does not hold."""
        vector = self.of_lanes(kind)
        given = [
            ("ptr", self.code.address(base, index, kind)), ("i32", str(_BYTES[kind])), (self.truths, where),
            (vector, "zeroinitializer"),
        ]  # fmt: skip
        return self.code.fresh(self.code.intrinsic("masked.load", vector, given, f"{self._suffix(kind)}.p0"))

    def set_row(self, kind: str, value: str, base: str, index: str, where: str) -> None:
        """Set neighbours in an array, from element `index` on, `where` a condition holds."""
        given = [
            (self.of_lanes(kind), value), ("ptr", self.code.address(base, index, kind)), ("i32", str(_BYTES[kind])),
            (self.truths, where),
        ]  # fmt: skip
        self.code.lines.append("  " + self.code.intrinsic("masked.store", "void", given, f"{self._suffix(kind)}.p0"))

    def _suffix(self, kind: str) -> str:
        return f"v{self.lanes}{ {'double': 'f64', 'float': 'f32'}.get(kind, kind) }"

    def element(self, base: str, index: str, kind: str = "double", where: str = "") -> str:
        """Return elements of an array; in lanes those `where` a condition does not hold are 0."""
        if self.lanes == 1:
            return self.code.load_scalar(kind, base, index)
        vector, places = self.of_lanes(kind), self._places(kind, base, index)
        given = [places, ("i32", str(_BYTES[kind])), (self.truths, where), (vector, "zeroinitializer")]
        suffix = f"{self._suffix(kind)}.v{self.lanes}p0"
        return self.code.fresh(self.code.intrinsic("masked.gather", vector, given, suffix))

    def set_element(self, kind: str, value: str, base: str, index: str, where: str) -> None:
        """Set elements of an array, in lanes, `where` a condition holds; no two are the same."""
        given = [
            (self.of_lanes(kind), value), self._places(kind, base, index), ("i32", str(_BYTES[kind])),
            (self.truths, where),
        ]  # fmt: skip
        suffix = f"{self._suffix(kind)}.v{self.lanes}p0"
        self.code.lines.append("  " + self.code.intrinsic("masked.scatter", "void", given, suffix))

    def _places(self, kind: str, base: str, index: str) -> tuple[str, str]:
        places = self.code.fresh(f"getelementptr inbounds {kind}, ptr {base}, {self.integers} {index}")
        return self.of_lanes("ptr"), places

    def bits(self, condition: str) -> str:
        """Return the lanes in which a condition holds as the bits of an integer."""
        bits = self.code.fresh(f"bitcast {self.truths} {condition} to i{self.lanes}")
        return self.code.fresh(f"zext i{self.lanes} {bits} to i64")

    def compressed(self, values: str, where: str) -> str:
        """Return the integers `where` a condition holds, in the first lanes."""
        given = [(self.integers, values), (self.truths, where), (self.integers, "poison")]
        suffix = self._suffix("i64")
        return self.code.fresh(self.code.intrinsic("experimental.vector.compress", self.integers, given, suffix))
