"""Spikes and the smooth functions that replace their derivative in training.

A spike is ``z = 1 where x > 0`` (strictly), x being the distance to threshold. Its derivative is zero almost
everywhere, so training uses a surrogate ``g(x)`` instead (Neftci, Mostafa & Zenke 2019,
doi:10.1109/MSP.2019.2931595). The same name means different functions in different libraries: compare the formulas.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Hashable
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from neurosim.errors import InputError
from neurosim.language.expression import Expression, Trace
from neurosim.language.functions import absolute, exp, logistic, maximum, where


@dataclasses.dataclass(frozen=True)
class Surrogate:
    """A spike with a chosen derivative; call it on the distance to threshold.

    Parameters
    ----------
    name : str
        The expression that makes it, with function and width.
    derivative : callable
        ``g(x)``, written with the functions of `neurosim.language.functions`. The floats among the keywords of a
        `functools.partial`, such as a slope, are arguments of the compiled kernels: another value compiles nothing.
    support : float
        ``g(x)`` is zero for ``|x| >= support``; infinite if it has no end.
    primitive : callable, optional
        A smooth function used *instead of* the step in the forward pass as well (see `smooth`).

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> x = torch.tensor([-1.0, 0.0, 0.5], requires_grad=True)
    >>> z = ns.triangle()(x)
    >>> z.tolist()
    [0.0, 0.0, 1.0]
    >>> z.sum().backward(); x.grad.tolist()
    [0.0, 1.0, 0.5]
    """

    name: str
    derivative: Callable[[Any], Any] = dataclasses.field(compare=False)
    support: float = math.inf
    primitive: Callable[[Any], Any] | None = dataclasses.field(default=None, compare=False)

    def __call__(self, x: Any) -> Any:
        """Return 1 where ``x > 0``, else 0, with this surrogate's derivative."""
        if self.primitive is not None:
            return self.primitive(x)
        if isinstance(x, Expression):
            return x.trace.spike(x, self)
        if not isinstance(x, Tensor):
            return float(x > 0)
        return _Spike.apply(x, self.derivative)

    def __repr__(self) -> str:
        return self.name

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields alone: what is derived from them is not pickled."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @cached_property
    def numbers(self) -> dict[str, float]:
        """Numbers that are arguments of the compiled kernels, such as ``{"slope": 2.0}``."""
        found = {}
        for function in (self.derivative, self.primitive):
            if isinstance(function, partial):
                found.update({name: value for name, value in function.keywords.items() if isinstance(value, float)})
        return found if self._takes_symbols(found) else {}

    def _takes_symbols(self, numbers: dict[str, float]) -> bool:
        """Whether the functions can be recorded with symbols for these numbers: a function may branch on them."""
        trace = Trace()
        with_symbols = self._replaced({name: trace.leaf("parameter", name) for name in numbers})
        try:
            for function in (with_symbols.derivative, with_symbols.primitive):
                if function is not None:
                    function(trace.leaf("input", "x"))
        except (InputError, TypeError, ValueError, ArithmeticError):
            return False
        return True

    def _replaced(self, values: dict[str, Any]) -> Surrogate:
        """Return this surrogate with other values for some of the keywords of its functions."""

        def new(function: Any) -> Any:
            if not isinstance(function, partial):
                return function
            keywords = {name: values.get(name, value) for name, value in function.keywords.items()}
            return partial(function.func, *function.args, **keywords)

        return dataclasses.replace(self, derivative=new(self.derivative), primitive=new(self.primitive))

    def with_symbols(self, symbol: Callable[[str], Any]) -> Surrogate:
        """Return this surrogate with ``symbol(name)`` in place of each of its `numbers`."""
        return self._replaced({name: symbol(name) for name in self.numbers})

    @cached_property
    def form(self) -> Hashable:
        """What two surrogates share that differ in their `numbers` alone."""
        limited = self.support < math.inf
        form = (*map(self._form_of, (self.derivative, self.primitive)), limited)
        try:
            hash(form)
        except TypeError:  # a keyword such as a list
            return (self.derivative, self.primitive, limited)
        return form

    def _form_of(self, function: Any) -> Hashable:
        if not isinstance(function, partial) or not self.numbers:
            return function
        other = {name: value for name, value in function.keywords.items() if name not in self.numbers}
        return (function.func, function.args, tuple(function.keywords), tuple(other.items()))


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, derivative: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.save_for_backward(x)
        ctx.derivative = derivative
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return g * ctx.derivative(x), None


def _positive(function: str, **values: float) -> None:
    for name, value in values.items():
        if not (isinstance(value, (int, float)) and math.isfinite(value) and value > 0):
            raise InputError(f"{function}: {name} must be a finite number above 0; got {value!r}.")


def _floats(**values: float) -> dict[str, float]:
    return {name: float(value) for name, value in values.items()}


def _atan(x: Any, slope: float) -> Any:
    return (slope / 2.0) / (1.0 + (math.pi / 2.0 * slope * x) ** 2)


def atan(slope: float = 2.0) -> Surrogate:
    """Return the arctan surrogate ``g = (a/2) / (1 + (pi/2 a x)^2)``, a = `slope`; mass 1 (Fang et al. 2021)."""
    _positive("atan", slope=slope)
    return Surrogate(f"atan(slope={slope!r})", partial(_atan, **_floats(slope=slope)))


def _fast_sigmoid(x: Any, slope: float) -> Any:
    return 1.0 / (1.0 + slope * absolute(x)) ** 2


def fast_sigmoid(slope: float = 25.0) -> Surrogate:
    """Return the fast-sigmoid surrogate ``g = 1 / (1 + k |x|)^2``, k = `slope`; peak 1 (Zenke & Ganguli 2018)."""
    _positive("fast_sigmoid", slope=slope)
    return Surrogate(f"fast_sigmoid(slope={slope!r})", partial(_fast_sigmoid, **_floats(slope=slope)))


def _sigmoid(x: Any, slope: float) -> Any:
    decayed = exp(-slope * absolute(x))
    return slope * decayed / (1.0 + decayed) ** 2


def sigmoid(slope: float = 4.0) -> Surrogate:
    """Return the sigmoid surrogate ``g = a s (1 - s)``, ``s = 1/(1 + exp(-a x))``, a = `slope`; mass 1."""
    _positive("sigmoid", slope=slope)
    return Surrogate(f"sigmoid(slope={slope!r})", partial(_sigmoid, **_floats(slope=slope)))


def _triangle(x: Any, width: float, height: float) -> Any:
    return height * maximum(1.0 - absolute(x) * (1.0 / width), 0.0)


def triangle(width: float = 1.0, height: float | None = None) -> Surrogate:
    """Return the triangle ``g = h max(0, 1 - |x|/w)``, w = `width`, h = `height` (1/w if left out: mass 1).

    ``triangle(1.0, 0.3)`` is that of Bellec et al. 2018 for a threshold of 1.
    """
    _positive("triangle", width=width)
    height = 1.0 / width if height is None else height
    _positive("triangle", height=height)
    return Surrogate(
        f"triangle(width={width!r}, height={height!r})",
        partial(_triangle, **_floats(width=width, height=height)),
        support=width,
    )


def _rectangle(x: Any, width: float) -> Any:
    return where(absolute(x) < width / 2.0, 1.0 / width, 0.0 * x)


def rectangle(width: float = 1.0) -> Surrogate:
    """Return the rectangle ``g = 1/w where |x| < w/2``, w = `width`; mass 1 (Wu et al. 2018)."""
    _positive("rectangle", width=width)
    return Surrogate(f"rectangle(width={width!r})", partial(_rectangle, **_floats(width=width)), support=width / 2.0)


def _exponential(x: Any, height: float, width: float) -> Any:
    return height * exp(absolute(x) * (-1.0 / width))


def exponential(tau_grad: float = 1.0, scale_grad: float = 1.0, v_th: float = 1.0) -> Surrogate:
    """Return SLAYER's surrogate ``g = s/(2000 tau v_th) exp(-|x| / (100 tau v_th))`` (Shrestha & Orchard 2018).

    The form is that of lava-dl's integer-scaled kernels, hence the large width at the defaults (mass 0.1);
    for a threshold of 1 and a width of w take ``tau_grad = w / 100`` and ``scale_grad`` to taste.
    """
    _positive("exponential", tau_grad=tau_grad, scale_grad=scale_grad, v_th=v_th)
    width = 100.0 * tau_grad * v_th
    return Surrogate(
        f"exponential(tau_grad={tau_grad!r}, scale_grad={scale_grad!r}, v_th={v_th!r})",
        partial(_exponential, **_floats(height=scale_grad * 0.1 / (2.0 * width), width=width)),
    )


def _normal(x: Any, mean: float, deviation: float) -> Any:
    centred = (x - mean) * (1.0 / deviation)
    return (1.0 / (deviation * math.sqrt(2.0 * math.pi))) * exp(-0.5 * centred**2)


def _multi_gaussian(x: Any, sigma: float, h: float, s: float, gamma: float) -> Any:
    flanks = h * _normal(x, sigma, s * sigma) + h * _normal(x, -sigma, s * sigma)
    return gamma * ((1.0 + h) * _normal(x, 0.0, sigma) - flanks)


def multi_gaussian(sigma: float = 0.5, h: float = 0.15, s: float = 6.0, gamma: float = 0.5) -> Surrogate:
    """Return the multi-Gaussian surrogate; N(x; m, d) is the normal density of mean m and deviation d.

    ``g = gamma [(1 + h) N(x; 0, sigma) - h N(x; sigma, s sigma) - h N(x; -sigma, s sigma)]``. Slightly
    negative in the tails (Yin, Corradi & Bohté 2021, doi:10.1038/s42256-021-00397-w).
    """
    _positive("multi_gaussian", sigma=sigma, h=h, s=s, gamma=gamma)
    return Surrogate(
        f"multi_gaussian(sigma={sigma!r}, h={h!r}, s={s!r}, gamma={gamma!r})",
        partial(_multi_gaussian, **_floats(sigma=sigma, h=h, s=s, gamma=gamma)),
    )


def _one(x: Any) -> Any:
    return 1.0 + 0.0 * x


def straight_through() -> Surrogate:
    """Return the straight-through estimator ``g = 1`` (Bengio, Léonard & Courville 2013)."""
    return Surrogate("straight_through()", _one)


def _scaled_logistic(x: Any, slope: float) -> Any:
    return logistic(slope * x)


def smooth(slope: float = 4.0) -> Surrogate:
    """Return the smooth twin: the sigmoid itself in the forward pass, so that its derivative is exact.

    Not a spike: for checking gradients against finite differences.
    """
    _positive("smooth", slope=slope)
    return Surrogate(
        f"smooth(slope={slope!r})",
        partial(_sigmoid, **_floats(slope=slope)),
        primitive=partial(_scaled_logistic, **_floats(slope=slope)),
    )
