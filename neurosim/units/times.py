"""Checks of times in seconds: steps, delays, and the questions that values in other units cause."""

from __future__ import annotations

import math
import numbers

from neurosim.errors import UnitError


def milliseconds_question(value: float) -> str:
    """Return the question for a time in s that is so long that it may have been meant in ms."""
    return prefix_question(value, "s")


# Of each SI unit the one that people write in its place, and its factor.
_USUAL = {
    "s": ("milliseconds", "ms", 1e-3),
    "V": ("millivolts", "mV", 1e-3),
    "A": ("picoamperes", "pA", 1e-12),
    "S": ("nanosiemens", "nS", 1e-9),
    "F": ("picofarads", "pF", 1e-12),
    "Ohm": ("megaohms", "MOhm", 1e6),
}


def prefix_question(value: float, unit: str) -> str:
    """Return the question for a value that is too large for its SI unit and may have been meant in another; else "".

    Examples
    --------
    >>> from neurosim.units import prefix_question
    >>> prefix_question(-65.0, "V")
    'Did you pass millivolts? -65 mV is -0.065 V.'
    """
    if unit not in _USUAL:
        return ""
    name, symbol, factor = _USUAL[unit]
    return f"Did you pass {name}? {value:g} {symbol} is {value * factor:g} {unit}."


def longest_delay(dt: float) -> float:
    """Return the time in s that delays stay below: 0.1 s, or 100 steps of a long step `dt`."""
    return max(0.1, 100 * dt)


def grid_tolerance(steps: float, resolution: float = 2.0**-52) -> float:
    """Return how far a time may lie from the grid to be on it, in steps: a millionth, or what its type resolves.

    Parameters
    ----------
    steps : float
        The time in steps.
    resolution : float
        Relative distance of the numbers of the type that the time had: 2^-52, or 2^-23 in single precision.
    """
    return max(1e-6, 2.0 * resolution * abs(steps))


def steps_obstacle(name: str, time: float, dt: float, resolution: float = 2.0**-52) -> str | None:
    """Return why a time in s is not an integer number of steps from 0, as the end of an error; None if it is.

    It is within `grid_tolerance`; this is the rule of every time that must lie on the grid.

    Examples
    --------
    >>> from neurosim.units import steps_obstacle
    >>> steps_obstacle("delay", 0.3, 0.1)
    >>> steps_obstacle("delay", 1.5e-3, 1e-3)
    'delay must be an integer number of steps of 0.001 s; got 0.0015 s. The nearest are 0.001 s and 0.002 s.'
    """
    if isinstance(time, numbers.Real) and hasattr(time, "dtype"):
        time = float(str(time))  # a number of numpy in single precision stands for its shortest decimal
    steps = time / dt
    if math.isfinite(steps) and time >= 0 and abs(steps - round(steps)) <= grid_tolerance(steps, resolution):
        return None
    nearest = ""
    if math.isfinite(steps) and time >= 0:
        low = math.floor(steps)
        nearest = f" The nearest are {_digits(low * dt)} s and {_digits((low + 1) * dt)} s."
    return f"{name} must be an integer number of steps of {dt:g} s; got {time!r} s.{nearest}"


def steps_of(owner: str, name: str, time: object, dt: float) -> int:
    """Return a time in s as a number of steps.

    Raises
    ------
    UnitError
        When it is not an integer number of steps from 0, with the two nearest.

    Examples
    --------
    >>> from neurosim.units import steps_of
    >>> steps_of("simulate", "seconds", 1.5, 1e-4)
    15000
    """
    if isinstance(time, bool) or not isinstance(time, numbers.Real):
        raise UnitError(f"{owner}: {name} must be a number of s; got {time!r}.")
    time = float(time)
    obstacle = steps_obstacle(name, time, dt)
    if obstacle:
        raise UnitError(f"{owner}: {obstacle}")
    return round(time / dt)


def _digits(time: float) -> str:
    return f"{time:.12g}"


def delay_obstacle(delay: float, dt: float, name: str = "delay") -> str | None:
    """Return why a delay in s cannot be used, as the end of an error that begins with its owner; None if it can.

    It must be an integer number of steps, from 0 and below `longest_delay`.

    Examples
    --------
    >>> from neurosim.units import delay_obstacle
    >>> delay_obstacle(2e-3, 1e-3)
    >>> delay_obstacle(1.5, 1e-3)
    'delay must be in [0, 0.1) s; got 1.5. Did you pass milliseconds? 1.5 ms is 0.0015 s.'
    """
    obstacle = steps_obstacle(name, delay, dt)
    if obstacle is None and delay >= longest_delay(dt):
        return f"{name} must be in [0, {longest_delay(dt):g}) s; got {delay!r}. {milliseconds_question(delay)}"
    return obstacle


def check_dt(owner: str, dt: float) -> float:
    """Return `dt` if it can be a step in seconds."""
    if isinstance(dt, numbers.Real) and hasattr(dt, "dtype"):
        dt = float(str(dt))  # a number of numpy in single precision stands for its shortest decimal
    if isinstance(dt, (int, float)) and math.isfinite(dt) and 0 < dt < 0.1:
        return float(dt)
    large = isinstance(dt, (int, float)) and 0.1 <= dt < math.inf
    hint = f" {milliseconds_question(dt)}" if large else ""
    raise UnitError(f"{owner}: dt must be a number in (0, 0.1) s; got {dt!r}.{hint}")
