"""SI units: factors such as `ms`, decays and time constants, exact propagators of a membrane, checks of times.

A quantity is a plain number in its SI unit. The factors make that readable, and are checked by nothing; the range that
a parameter of a core declares is.

>>> from neurosim.units import ms, pA
>>> 20 * ms, 16.2 * pA
(0.02, 1.62e-11)
"""

from neurosim.units.decays import (
    decay_of,
    euler_time_constant,
    just_below,
    resistance,
    time_constant,
    turn_of,
    unit_gain,
)
from neurosim.units.factors import (
    GOhm,
    Hz,
    MOhm,
    V,
    kHz,
    kOhm,
    mA,
    mm,
    mS,
    ms,
    mV,
    nA,
    nF,
    nS,
    pA,
    pF,
    pS,
    s,
    uA,
    uF,
    um,
    uS,
    us,
    uV,
)
from neurosim.units.propagators import alpha_response, constant_response, exponential_response
from neurosim.units.times import (
    check_dt,
    delay_obstacle,
    longest_delay,
    milliseconds_question,
    prefix_question,
    steps_obstacle,
    steps_of,
)

__all__ = [
    "GOhm",
    "Hz",
    "MOhm",
    "V",
    "alpha_response",
    "check_dt",
    "constant_response",
    "decay_of",
    "delay_obstacle",
    "euler_time_constant",
    "exponential_response",
    "just_below",
    "kHz",
    "kOhm",
    "longest_delay",
    "mA",
    "mS",
    "mV",
    "milliseconds_question",
    "mm",
    "ms",
    "nA",
    "nF",
    "nS",
    "pA",
    "pF",
    "pS",
    "prefix_question",
    "resistance",
    "s",
    "steps_obstacle",
    "steps_of",
    "time_constant",
    "turn_of",
    "uA",
    "uF",
    "uS",
    "uV",
    "um",
    "unit_gain",
    "us",
]
