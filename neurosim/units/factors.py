"""Units as plain factors: ``20 * ms`` is 0.02, a time in seconds."""

from __future__ import annotations

s = 1.0
ms = 1e-3
us = 1e-6

Hz = 1.0
kHz = 1e3

V = 1.0
mV = 1e-3
uV = 1e-6

mA = 1e-3
uA = 1e-6
nA = 1e-9
pA = 1e-12

mS = 1e-3
uS = 1e-6
nS = 1e-9
pS = 1e-12

uF = 1e-6
nF = 1e-9
pF = 1e-12

kOhm = 1e3
MOhm = 1e6
GOhm = 1e9

mm = 1e-3
um = 1e-6
