"""The exponential function in single precision: one sequence of roundings for LLVM and Triton, equal bit for bit.

``x = n ln 2 + r`` with ln 2 in two parts, then ``1 + r + r^2 q(r)``, q fitted at Chebyshev nodes on ``|r| < ln 2 / 2``
(largest relative error 1.1e-8, a sixth of half a unit in the last place), then 2^n by exponent bits, as two factors so
that n may lie outside the exponents of normal numbers: the second product alone rounds, to a subnormal number, 0 or
infinity. Arguments are clamped to those whose result is already 0 or infinity. n is rounded by a sum whose last bits
hold it, since the conversion of NaN to an integer is undefined. No product is contracted with a sum.
"""

from __future__ import annotations

import struct

QUOTIENT = (0.0013933652487826168, 0.00836318154467452, 0.0416664648953551, 0.166665769672476, 0.5000000013470305)
RANGE = (-104.0, 89.0)
ROUNDER = 1.5 * 2.0**23  # a number of this size has no bits after the point
ROUNDER_BITS: int = struct.unpack("<i", struct.pack("<f", ROUNDER))[0]
PER_LN_2 = 1.4426950408889634
COARSE_LN_2 = 0.693359375
FINE_LN_2 = 0.6931471805599453 - COARSE_LN_2
BIAS, FRACTION_BITS = 127, 23
