"""Checks of the numbers of a rule."""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Collection
from typing import Any

from neurosim.errors import InputError


def check_numbers(rule: Any, infinite: Collection[str] = ()) -> None:
    """Refuse fields of type float that are not finite numbers; those called tau have a range of their own.

    Parameters
    ----------
    rule : dataclass
    infinite : collection of str
        Fields that may be infinite.

    Raises
    ------
    InputError
    """
    for field in dataclasses.fields(rule):
        if field.type not in ("float", float) or field.name.startswith("tau"):
            continue
        value = getattr(rule, field.name)
        is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        if not is_number or math.isnan(value) or (math.isinf(value) and field.name not in infinite):
            kind = "a number" if field.name in infinite else "a finite number"
            raise InputError(f"{type(rule).__name__}: {field.name} must be {kind}; got {value!r}.")
