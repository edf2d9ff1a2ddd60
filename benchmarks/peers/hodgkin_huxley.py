"""What drives the Hodgkin-Huxley neuron that is compared with Brian2: step, current, times and weights of input."""

from __future__ import annotations

DT_MS, MS = 0.01, 100.0
CURRENT_NA = 0.2
EXCITATORY_MS, INHIBITORY_MS = (20.0, 21.0, 50.0, 50.5, 51.0), (40.0, 75.0)
WEIGHTS_NS = (6.0, 67.0)
REST = dict(m=0.0097324, h=0.9975611, n=0.0270745)
