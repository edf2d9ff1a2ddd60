"""Standard normal numbers in machine code: those of `kernels.common.normal` of random words, bit for bit."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from neurosim.compiler.llvm.ir import IRBuilder
from neurosim.compiler.llvm.jit import CompiledKernel
from neurosim.kernels.common import normal
from neurosim.kernels.common.philox import WORD
from neurosim.kernels.common.philox_code import interleaved, words_of

_LOW = WORD - 1
_PAD = 64


@torch.library.custom_op("neurosim::normal_numbers", mutates_args=(), device_types="cpu")
def normal_numbers(
    stream: int, seed: Tensor, trial: Tensor, step: Tensor, steps: int, neurons: int, std: float
) -> Tensor:
    """Return normal numbers [steps, B, neurons] of float64, on the CPU; see `philox.random_blocks`."""
    samples, width = len(seed), -(-neurons // _PAD) * _PAD
    out = torch.empty((samples, steps, width), dtype=torch.float64)
    for b, (key, number, first) in enumerate(zip(seed.tolist(), trial.tolist(), step.tolist(), strict=True)):
        numbers = (width // _PAD, key & _LOW, key >> 32, stream, number, first, std)
        _kernel().run_parallel(steps, [out[b]], *numbers, grain=max(1 << 14 // max(width, 1), 1))
    return out[..., :neurons].transpose(0, 1).contiguous()


@normal_numbers.register_fake
def _(stream: int, seed: Tensor, trial: Tensor, step: Tensor, steps: int, neurons: int, std: float) -> Tensor:
    return torch.empty((steps, len(seed), neurons), dtype=torch.float64, device=seed.device)


@functools.cache
def _kernel() -> CompiledKernel:
    """Return the code. Arguments: out [steps, 64 blocks]; first and last step, blocks, seed, stream, trial ..., std."""
    code = IRBuilder("double", 16)
    out = code.pointer_argument("out")
    names = ("first", "last", "blocks", "low", "high", "stream", "trial", "origin")
    first, last, blocks, low, high, stream, trial, start = map(code.integer_argument, names)
    std = code.real_argument("std")
    with code.loop(first, last) as row:
        draw = words_of(code, (code.integer("add nsw", start, row), trial, stream), (low, high))
        with code.loop("0", blocks) as block:
            base = code.integer("mul nsw", code.integer("add nsw", code.integer("mul nsw", row, blocks), block), "64")
            for part, words in enumerate(interleaved(code, draw(block))):
                value = code.fresh(f"uitofp <16 x i32> {words} to {code.lane}")
                share = _times(code, code.add(value, code.literal(0.5)), code.literal(1.0 / WORD))
                number = _times(code, _quantile(code, share), std)
                code.store(number, out, code.integer("add nsw", base, str(16 * part)))
    return code.compile()


def _quantile(code: IRBuilder, share: str) -> str:
    """Return `normal.normal_quantile` of shares from 2^-33 on, which need no approximation for the far tail."""
    one = code.literal(1.0)
    centred = _minus(code, share, code.literal(0.5))
    square = _minus(code, code.literal(0.180625), _times(code, centred, centred))
    middle = _times(code, centred, _ratio(code, normal.MIDDLE, square))
    tail = code.fresh(code.operation("min", [share, _minus(code, one, share)]))
    minus_log = code.fresh(code.operation("neg", [_logarithm(code, tail)]))
    near = _minus(code, code.fresh(code.operation("sqrt", [minus_log])), code.literal(1.6))
    size = _ratio(code, normal.TAIL, near)
    is_low = code.fresh(code.compare("lt", share, code.literal(0.5)))
    outer = code.fresh(code.choice(is_low, code.fresh(code.operation("neg", [size])), size))
    distance = code.fresh(code.operation("abs", [centred]))
    is_tail = code.fresh(code.compare("gt", distance, code.literal(normal.MIDDLE_REACH)))
    return code.fresh(code.choice(is_tail, outer, middle))


def _logarithm(code: IRBuilder, x: str) -> str:
    kind = f"<{code.lanes} x i64>"
    bits = code.fresh(f"bitcast {code.lane} {x} to {kind}")
    fraction = code.fresh(f"and {kind} {bits}, splat (i64 {normal.FRACTION})")
    halved = code.fresh(f"or {kind} {fraction}, splat (i64 {normal.HALF})")
    mantissa = code.fresh(f"bitcast {kind} {halved} to {code.lane}")
    shifted = code.fresh(f"lshr {kind} {bits}, splat (i64 52)")
    whole = code.fresh(f"sub {kind} {shifted}, splat (i64 1022)")
    power = code.fresh(f"sitofp {kind} {whole} to {code.lane}")
    is_low = code.fresh(code.compare("lt", mantissa, code.literal(normal.ROOT_HALF)))
    mantissa = code.fresh(code.choice(is_low, _times(code, mantissa, code.literal(2.0)), mantissa))
    power = code.fresh(code.choice(is_low, _minus(code, power, code.literal(1.0)), power))
    s = _over(code, _minus(code, mantissa, code.literal(1.0)), code.add(mantissa, code.literal(1.0)))
    series = _times(code, s, _polynomial(code, normal.ODD, _times(code, s, s)))
    return code.add(_times(code, power, code.literal(normal.LN2)), series)


def _ratio(code: IRBuilder, pair: tuple[Sequence[float], Sequence[float]], x: str) -> str:
    return _over(code, *(_polynomial(code, each, x) for each in pair))


def _polynomial(code: IRBuilder, coefficients: Sequence[float], x: str) -> str:
    value = code.literal(coefficients[0])
    for coefficient in coefficients[1:]:
        value = code.add(_times(code, value, x), code.literal(coefficient))
    return value


def _times(code: IRBuilder, a: str, b: str) -> str:
    return code.fresh(f"fmul {code.lane} {a}, {b}")


def _minus(code: IRBuilder, a: str, b: str) -> str:
    return code.fresh(f"fsub {code.lane} {a}, {b}")


def _over(code: IRBuilder, a: str, b: str) -> str:
    return code.fresh(f"fdiv {code.lane} {a}, {b}")
