"""Numbers as people read them."""

from __future__ import annotations

import math
from typing import Any

_PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "\u00b5"), (1e-9, "n"), (1e-12, "p"), (1e-15, "f"))


def scale_for(value: float, unit: str) -> tuple[float, str]:
    """Choose the prefix that makes `value` between 1 and 1000.

    Parameters
    ----------
    value : float
        A magnitude in the bare unit; 0 keeps the bare unit.
    unit : str
        The bare unit, such as ``"J"`` or ``"s"``.

    Returns
    -------
    tuple of float and str
        What to divide by, and the unit with its prefix.

    Examples
    --------
    >>> scale_for(3.2e-9, "J")
    (1e-09, 'nJ')
    """
    magnitude = abs(value)
    if magnitude == 0 or not math.isfinite(magnitude):
        return 1.0, unit
    for scale, prefix in _PREFIXES:
        # Four digits round 999.95 up to 1000: the next prefix reads better from there on.
        if magnitude >= scale * 0.99995:
            return scale, prefix + unit
    return _PREFIXES[-1][0], _PREFIXES[-1][1] + unit


def quantity(value: float, unit: str, digits: int = 3) -> str:
    """Write a value with its unit and a fitting prefix.

    Examples
    --------
    >>> quantity(3.2096e-9, "J")
    '3.21 nJ'
    >>> quantity(0.0, "J")
    '0 J'
    """
    scale, name = scale_for(value, unit)
    return f"{significant(value / scale, digits)} {name}"


def bytes_text(count: float) -> str:
    """Write a number of bytes with three digits and a fitting decimal prefix.

    Examples
    --------
    >>> bytes_text(640), bytes_text(262_408), bytes_text(1.2305e9)
    ('640 B', '262 kB', '1.23 GB')
    """
    for scale, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= 0.9995 * scale:
            return f"{significant(count / scale)} {prefix}B"
    return f"{count:.0f} B"


def significant(value: float, digits: int = 3) -> str:
    """Write a number with so many significant digits and no exponent below a million.

    Examples
    --------
    >>> significant(0.012345), significant(1234.5), significant(2.0)
    ('0.0123', '1234', '2')
    """
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    if abs(value) >= 1e6 or abs(value) < 1e-4:
        return f"{value:.{digits - 1}e}"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def value_range(values: Any) -> str:
    """Write one number, or the smallest and the largest of several.

    Parameters
    ----------
    values : float, Tensor or numpy.ndarray
        At least one number.

    Examples
    --------
    >>> import numpy as np
    >>> value_range(-0.5), value_range(np.array([0.25, 0.0, 0.1])), value_range(np.array(131071))
    ('-0.5', '0 to 0.25', '131071')
    """
    several = hasattr(values, "min")
    low, high = (values.min().item(), values.max().item()) if several else (values, values)
    return _plain(low) if low == high else f"{_plain(low)} to {_plain(high)}"


def _plain(value: float) -> str:
    """Write an integer with all its digits, any other number with six."""
    return f"{value:.0f}" if math.isfinite(value) and value == int(value) and abs(value) < 2**53 else f"{value:g}"
