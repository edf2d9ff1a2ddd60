"""The functions a step function may call. Each takes torch tensors, symbols and plain numbers."""

from __future__ import annotations

import contextlib
import contextvars
import math
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor

from neurosim.errors import InputError
from neurosim.language.expression import Expression

Value = TypeVar("Value", Expression, Tensor, float)

_TORCH: dict[str, Callable[[Tensor], Tensor]] = {
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "tanh": torch.tanh,
    "abs": torch.abs,
    "trunc": lambda x: _Rounded.apply(x, torch.trunc),
    "floor": lambda x: _Rounded.apply(x, torch.floor),
}
_PLAIN: dict[str, Callable[[float], float]] = {
    "exp": math.exp,
    "log": math.log,
    "sqrt": math.sqrt,
    "tanh": math.tanh,
    "abs": abs,
    "trunc": lambda x: float(math.trunc(x)),
    "floor": lambda x: float(math.floor(x)),
}


# Type of tensors that are made of plain numbers alone; torch's default type if None.
_number_type: contextvars.ContextVar[torch.dtype | None] = contextvars.ContextVar("number_type", default=None)


@contextlib.contextmanager
def numbers_of(dtype: torch.dtype) -> Iterator[None]:
    """Make a choice between two plain numbers a tensor of `dtype` inside this context."""
    token = _number_type.set(dtype)
    try:
        yield
    finally:
        _number_type.reset(token)


def _unary(op: str, x: Any) -> Any:
    if isinstance(x, Expression):
        return x.trace.make(op, x)
    return _TORCH[op](x) if isinstance(x, Tensor) else _PLAIN[op](x)


def exp(x: Value) -> Value:
    """Return the exponential of `x`."""
    return _unary("exp", x)


def log(x: Value) -> Value:
    """Return the natural logarithm of `x`."""
    return _unary("log", x)


def sqrt(x: Value) -> Value:
    """Return the square root of `x`."""
    return _unary("sqrt", x)


def tanh(x: Value) -> Value:
    """Return the hyperbolic tangent of `x`."""
    return _unary("tanh", x)


def absolute(x: Value) -> Value:
    """Return the absolute value of `x`."""
    return _unary("abs", x)


def trunc(x: Value) -> Value:
    """Return `x` rounded toward zero; its derivative is taken as 1, so that gradients pass straight through."""
    return _unary("trunc", x)


def floor(x: Value) -> Value:
    """Return the largest integer that is not above `x`; its derivative is taken as 1."""
    return _unary("floor", x)


def logistic(x: Value) -> Value:
    """Return ``1 / (1 + exp(-x))``, computed by tanh: it does not overflow, and its slope at 0 is exact."""
    return 0.5 + 0.5 * tanh(0.5 * x)


def maximum(a: Any, b: Any) -> Any:
    """Return the larger of `a` and `b`; where they are equal each gets half of the gradient."""
    return _extreme("max", torch.maximum, max, a, b)


def minimum(a: Any, b: Any) -> Any:
    """Return the smaller of `a` and `b`; where they are equal each gets half of the gradient."""
    return _extreme("min", torch.minimum, min, a, b)


def _extreme(op: str, on_tensors: Any, on_numbers: Any, a: Any, b: Any) -> Any:
    for x in (a, b):
        if isinstance(x, Expression):
            return x.trace.make(op, x.trace.lift(a), x.trace.lift(b))
        if isinstance(x, Tensor):
            return on_tensors(_like(a, x), _like(b, x))
    return on_numbers(a, b)


def where(condition: Any, a: Any, b: Any) -> Any:
    """Return `a` where `condition` holds and `b` elsewhere.

    Parameters
    ----------
    condition : bool, comparison or spike
        A comparison chooses and gets no gradient. A spike (0 or 1) chooses too and gets the gradient ``(a - b)``; a
        value between (the smooth version of a spike) gives the mean ``z a + (1 - z) b``.
    a, b : value
        The two choices.
    """
    for x in (condition, a, b):
        if isinstance(x, Expression):
            return _where_symbol(condition, a, b)
    if not isinstance(condition, Tensor):
        return a if condition else b
    like = next((x for x in (a, b) if isinstance(x, Tensor)), condition)
    if condition.dtype is torch.bool:
        if like is condition:
            like = condition.new_empty(0, dtype=_number_type.get() or torch.get_default_dtype())
        return torch.where(condition, _like(a, like), _like(b, like))
    return _Pick.apply(condition, _like(a, like), _like(b, like))


def detach(x: Value) -> Value:
    """Return `x` without its gradient."""
    if isinstance(x, Expression):
        return x.trace.make("detach", x)
    return x.detach() if isinstance(x, Tensor) else x


def _where_symbol(condition: Any, a: Any, b: Any) -> Expression:
    if not isinstance(condition, Expression):
        raise InputError(
            f"where() must be given a comparison or a spike; got the plain {condition!r}. "
            "Neurons' values compare with > >= < <=, not with == or !=; for a choice that does not depend on them use "
            "Python's `if`."
        )
    if condition.is_boolean or condition.is_binary:
        return condition.trace.select(condition, a, b)
    return condition * a + (1.0 - condition) * b


def _like(x: Any, tensor: Tensor) -> Tensor:
    return x if isinstance(x, Tensor) else torch.tensor(x, dtype=tensor.dtype, device=tensor.device)


class _Rounded(torch.autograd.Function):
    """Rounding whose gradient is that of the identity."""

    @staticmethod
    def forward(_: Any, x: Tensor, rounding: Callable[[Tensor], Tensor]) -> Tensor:
        return rounding(x)

    @staticmethod
    def backward(_: Any, g: Tensor) -> tuple[Tensor, None]:
        return g, None


class _Pick(torch.autograd.Function):
    """Choice by a value of 0 or 1 that gets a gradient."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(z, a, b)
        return torch.where(z == 1, a, torch.where(z == 0, b, z * a + (1 - z) * b))

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z, a, b = ctx.saved_tensors
        return (g * (a - b)).sum_to_size(z.shape), (g * z).sum_to_size(a.shape), (g * (1 - z)).sum_to_size(b.shape)
