"""What a core is written in: declaration, functions, surrogates, resets."""

from __future__ import annotations

from neurosim.language.definition import Core, Parameter, core, hertz, integer, seconds
from neurosim.language.functions import (
    absolute,
    detach,
    exp,
    floor,
    log,
    logistic,
    maximum,
    minimum,
    sqrt,
    tanh,
    trunc,
    where,
)
from neurosim.language.reset import Reset
from neurosim.language.surrogate import (
    Surrogate,
    atan,
    exponential,
    fast_sigmoid,
    multi_gaussian,
    rectangle,
    sigmoid,
    smooth,
    straight_through,
    triangle,
)

__all__ = [
    "Core",
    "Parameter",
    "Reset",
    "Surrogate",
    "absolute",
    "atan",
    "core",
    "detach",
    "exp",
    "exponential",
    "fast_sigmoid",
    "floor",
    "hertz",
    "integer",
    "log",
    "logistic",
    "maximum",
    "minimum",
    "multi_gaussian",
    "rectangle",
    "seconds",
    "sigmoid",
    "smooth",
    "sqrt",
    "straight_through",
    "tanh",
    "triangle",
    "trunc",
    "where",
]
