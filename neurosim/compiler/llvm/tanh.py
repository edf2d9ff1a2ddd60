"""The hyperbolic tangent of a vector, in arithmetic that LLVM vectorises."""

from __future__ import annotations

from neurosim.compiler.llvm.ir import IRBuilder

_TERMS = {"float": 7, "double": 13}  # of the series of exp on |r| < ln 2 / 2: what is left out is below half a unit
_LN2 = {"float": (0.693359375, -2.12194440054690583e-4), "double": (0.6931471803691238, 1.9082149292705877e-10)}
_MAGIC = {"float": 1.5 * 2**23, "double": 1.5 * 2**52}  # adding it rounds, and leaves the number in the lowest bits


def tanh(code: IRBuilder, x: str) -> str:
    """Return tanh of a lane: ``-e / (e + 2)`` with ``e = exp(-2 |x|) - 1``, exact to a few units in the last place.

    The exponential less one is ``2^n p + (2^n - 1)`` with ``p = exp(r) - 1`` by its series, ``r = -2 |x| - n ln 2``.
    """
    lane, f, real = code.lane, code.literal, code.real
    kind = f"<{code.lanes} x i{32 if real == 'float' else 64}>"

    def integer(value: int) -> str:
        return f"splat ({kind.rpartition(' x ')[2][:-1]} {value})"

    size = code.fresh(code.operation("abs", [x]))
    down = code.fresh(f"fmul {lane} {size}, {f(-2.0)}")
    y = code.fresh(code.operation("max", [down, f(-80.0)]))
    marked = code.multiply_add(y, f(1.4426950408889634), f(_MAGIC[real]))
    n = code.fresh(f"fsub {lane} {marked}, {f(_MAGIC[real])}")
    r = y
    for part in _LN2[real]:
        r = code.multiply_add(n, f(-part), r)
    factors = [1.0]
    for k in range(2, _TERMS[real] + 1):
        factors.append(factors[-1] / k)
    series = f(factors[-1])
    for factor in reversed(factors[:-1]):
        series = code.multiply_add(series, r, f(factor))
    p = code.fresh(f"fmul {lane} {series}, {r}")
    bits = code.fresh(f"bitcast {lane} {marked} to {kind}")
    biased = code.fresh(f"add {kind} {bits}, {integer(127 if real == 'float' else 1023)}")
    shifted = code.fresh(f"shl {kind} {biased}, {integer(23 if real == 'float' else 52)}")
    power = code.fresh(f"bitcast {kind} {shifted} to {lane}")
    rest = code.fresh(f"fsub {lane} {power}, {f(1.0)}")
    e = code.multiply_add(power, p, rest)
    below = code.fresh(f"fadd {lane} {e}, {f(2.0)}")
    ratio = code.fresh(f"fdiv {lane} {e}, {below}")
    return code.fresh(code.intrinsic("copysign", lane, [(lane, ratio), (lane, x)]))
