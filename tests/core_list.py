"""Every core, once. A core listed here has to pass all of `tests.battery`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import neurosim as ns
from neurosim import cores
from neurosim.language import Core
from neurosim.language.reset import ResetMode
from tests.user_cores import izhikevich


@dataclasses.dataclass(frozen=True)
class Model:
    """A core and how to drive it.

    Attributes
    ----------
    core : Core
    parameters : mapping
        Values to make the layer with, besides the defaults.
    current : float
        Size of a current that makes it fire now and then at dt = 1 ms.
    at : callable
        For a step dt, the constant input and further parameters that are the same physics as at any other step.
    steps_late : float
        By how many steps the mean interval between spikes may differ from that at a step of 0.1 ms.
    resets : tuple
        Resets with which its state stays finite.
    rounding : float
        By how much of the largest value kernel and reference may differ: a logarithm of the C library and one of torch
        are not the same in the last bit. 0 asks for the same bits.
    """

    core: Core
    current: float
    at: Callable[[float], tuple[float, Mapping[str, float]]]
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    steps_late: float = 1.0
    resets: tuple[ResetMode, ...] = ("value", "subtract", None)
    rounding: float = 0.0

    @property
    def name(self) -> str:
        return self.core.name

    @property
    def spiking(self) -> bool:
        return "spike" in self.core.wants

    def make(self, **choices: Any) -> ns.Neuron:
        """Make a layer at a step of 1 ms unless told otherwise."""
        return ns.layer(self.core)(**{"dt": 1e-3, **self.parameters, **choices})


def _same(current: float) -> Callable[[float], tuple[float, Mapping[str, float]]]:
    return lambda dt: (current, {})


MODELS = (
    # Input adds to v at once: as a rate, it is a charge for each step.
    Model(cores.integrate_and_fire, 0.4, lambda dt: (80.0 * dt, {})),
    Model(cores.leaky_integrator, 3.0, _same(1.5)),
    Model(cores.lif, 4.0, _same(1.5)),
    # Input adds to j at once; this much for each step holds j at 1.5.
    Model(cores.cubalif, 1.0, lambda dt: (1.5 * -math.expm1(-dt / 5e-3), {}), steps_late=1.5),
    Model(cores.alif, 4.0, _same(1.5), steps_late=1.5),
    # Small and slow: it takes 15 times as long to fill as the currents of a membrane.
    Model(cores.slow_lif, 50.0, _same(30.0), parameters=dict(tau_mem=0.4)),
    # Activity, which is never below -1.
    Model(cores.calcium_gain, 0.1, _same(0.5), parameters=dict(tau_ca=20e-3)),
    Model(cores.refractory_lif, 3.0, _same(1.5), steps_late=1.5),
    Model(cores.atrlif, 2.0, lambda dt: (1.5 * -math.expm1(-dt / 5e-3), {}), steps_late=3.0, resets=("value",)),
    Model(izhikevich, 40.0, _same(10.0), steps_late=6.0, resets=("value",)),
)
# Their kernels and references may part in the last bit, so tests that ask for the same bits leave them out.
ROUNDED = (
    # Fast enough for the short runs here. With so low a threshold the current flows at rest too.
    Model(
        cores.li_rinzel,
        0.01,
        _same(0.0),
        parameters=dict(tau_ip3=50e-3, ca_th=0.03e-3, binding=2e3, channel=60.0),
        rounding=4e-6,
    ),
)
BY_NAME = {model.name: model for model in MODELS}
