"""Every core, once. A core listed here has to pass all of `tests.battery` but what it leaves out, with the reason."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import neurosim as ns
from neurosim import cores
from neurosim.language import Core
from neurosim.language.reset import ResetMode

Physics = tuple[float, Mapping[str, float]]


class OneTensor(ns.Neuron):
    """Neurons with several ports on one tensor: what is positive excites, what is negative inhibits."""

    ports = MappingProxyType({"i": None})  # type: ignore[assignment]

    def _by_port(self, i: Any) -> Any:
        excitatory, inhibitory = i.clamp(min=0.0), (-i).clamp(min=0.0)
        shares = {
            "ge": excitatory,
            "gi": inhibitory,
            "i_exc": excitatory,
            "i_inh": -inhibitory,
            "dv": i,
            "i": i if self.core.integers_up_to is not None else 0.125 * i,
        }
        if "dv" in self.core.inputs or "g_l" in self.core.parameters:
            del shares["i"]  # a voltage or a conductance in S, of which no share is a current in A
        return super()._by_port({port: shares[port] for port in self.core.inputs if port in shares})


@dataclasses.dataclass(frozen=True)
class Model:
    """A core and how to drive it.

    Attributes
    ----------
    core : Core
    current : float
        Size of a random current that makes it fire now and then at dt = 1 ms.
    at : callable
        For a step dt, the constant input and further parameters that are the same physics as at any other step.
    parameters : mapping
        Values to make the layer with, besides the defaults.
    steps_late : float
        By how many steps the mean interval between spikes may differ from that at a step of 0.1 ms.
    last_digits : float
        By what share the value of a core that does not fire may differ between steps dt.
    resets : tuple
        Resets with which its state stays finite.
    sends : tuple of float
        Values that a spiking core may send.
    rounding : float
        By how much of the largest value kernel and reference may differ: a logarithm or exponential of the C library
        and one of torch differ in the last bit. 0 asks for the same bits.
    without_gradient : mapping of str to str
        Parameters and states (as ``state.x``) that no gradient reaches, with the reason.
    nir : bool
        Whether NIR has a primitive for it.
    leaves_out : mapping of str to str
        Checks of `tests.battery` that it does not pass, by name, with the reason.
    """

    core: Core
    current: float
    at: Callable[[float], Physics]
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    steps_late: float = 1.0
    last_digits: float = 1e-5
    resets: tuple[ResetMode, ...] = ("value", "subtract", None)
    sends: tuple[float, ...] = (0.0, 1.0)
    rounding: float = 0.0
    without_gradient: Mapping[str, str] = dataclasses.field(default_factory=dict)
    nir: bool = False
    leaves_out: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if "reset" not in self.core.wants:
            object.__setattr__(self, "resets", ("value",))

    @property
    def name(self) -> str:
        return self.core.name

    @property
    def spiking(self) -> bool:
        return "spike" in self.core.wants

    @property
    def integer(self) -> bool:
        return self.core.integers_up_to is not None

    @property
    def learnable(self) -> tuple[str, ...]:
        return tuple(name for name, parameter in self.core.parameters.items() if parameter.is_learnable)

    def make(self, **choices: Any) -> ns.Neuron:
        """Make a layer that takes a tensor, at a step of 1 ms by default."""
        kind = ns.Neuron if len(self.core.inputs) == 1 else OneTensor
        return kind(self.core, **{"dt": 1e-3, **self.parameters, **choices})


def _constant(current: float) -> Callable[[float], Physics]:
    return lambda dt: (current, {})


def _charge(rate: float) -> Callable[[float], Physics]:
    """Input that adds to a membrane at once: as a rate, it is a charge for each step."""
    return lambda dt: (rate * dt, {})


def _held(current: float, tau: float = 5e-3) -> Callable[[float], Physics]:
    """Input that adds to a decaying current at once: this much for each step holds it at `current`."""
    return lambda dt: (current * -math.expm1(-dt / tau), {})


def _beta(dt: float) -> Physics:
    beta = math.exp(-dt / 20e-3)
    return 1.5 * (1.0 - beta), {"beta": beta}


def _iir(dt: float) -> Physics:
    leak = math.exp(-dt / 20e-3)
    return 1.5 * (1.0 - leak), {"leak": leak}


def _silif(dt: float) -> Physics:
    return 1.5, {"a": -0.2 * math.expm1(-dt / 200e-3), "b": 0.1}


def _decolle(dt: float) -> Physics:
    # A spike adds to its trace once: v_ref is scaled so that it adds the same at every step.
    return 2.0, {"v_ref": 1.0 / -math.expm1(-dt / 20e-3)}


def _registers(dt: float) -> dict[str, float]:
    """Return registers for a voltage that decays in 20 ms, by 21 / 4096 per 0.1 ms, and a current of one step."""
    return {"du": 4095, "dv": round(4096 * (1.0 - (1.0 - 21 / 4096) ** (dt / 1e-4)))}


def _loihi(dt: float) -> Physics:
    decay = _registers(dt)
    return round(1.5 * 1e5 * decay["dv"] / 4096), {**decay, "v_th": 100_000}


def _loihi_refractory(dt: float) -> Physics:
    current, parameters = _loihi(dt)
    return current, {**parameters, "refractory": round(3e-3 / dt) + 1}


def _loihi_joined(dt: float) -> Physics:
    current, parameters = _loihi(dt)
    return 64.0 * current, {name: value for name, value in parameters.items() if name != "du"}


def _conductance(dt: float) -> Physics:
    # A conductance that is held constant, and no current beside it.
    return _held(0.4)(dt)[0], {"r": 0.0}


def _alpha_shaped(held: float, tau: float = 5e-3) -> Callable[[float], Physics]:
    """Input whose currents, ``w (t / tau) exp(1 - t / tau)``, have the integral of `held` over a step."""
    return lambda dt: (held * dt / (math.e * tau), {})


def _voltage(held: float) -> Callable[[float], Physics]:
    """Input of this many V in a second."""
    return lambda dt: (held * 2.0 * dt, {})


NO_TIME = "the core has no time: what it sends in a step is the change of that step"
NO_MEMORY = "without state every input above the threshold gives a spike: there is no interval"
CHOICE = "the choice to send passes no gradient"

MODELS = (
    Model(cores.integrate_and_fire, 0.4, _charge(80.0), nir=True),
    Model(cores.integrator, 0.4, _charge(80.0), nir=True),
    Model(cores.leaky_integrator, 3.0, _constant(1.5), nir=True),
    Model(cores.lif, 4.0, _constant(1.5), nir=True),
    Model(cores.cubalif, 1.0, _held(1.5), steps_late=1.5, nir=True),
    Model(cores.cubalif_resting, 1.0, _held(1.2), parameters=dict(v_leak=0.3), steps_late=1.5, nir=True),
    # A synaptic current that builds up in steps of dt: first order in dt.
    Model(cores.cuba_integrator, 1.0, _held(1.5), last_digits=0.02, nir=True),
    Model(cores.cuba_integrator_resting, 1.0, _held(1.2), parameters=dict(v_leak=0.3), last_digits=0.02, nir=True),
    Model(cores.alif, 4.0, _constant(1.5), steps_late=1.5),
    Model(cores.conductance_lif, 0.15, _conductance, steps_late=1.5, rounding=4e-6),
    # Small and slow: it takes 15 times as long to fill as the currents of a membrane.
    Model(cores.slow_lif, 50.0, _constant(30.0), parameters=dict(tau_mem=0.4), nir=True),
    Model(cores.refractory_lif, 3.0, _constant(1.5), steps_late=1.5),
    Model(cores.atrlif, 2.0, _held(1.5), steps_late=3.0, resets=("value",)),
    Model(cores.ternary_lif, 4.0, _constant(1.5), parameters=dict(v_low=-0.3), sends=(-1.0, 0.0, 1.0)),
    Model(
        cores.reset_free_leaky,
        1.6,
        _constant(1.5),
        leaves_out={"dt_invariance": "it fires at every step above its threshold: the interval is one step"},
    ),
    Model(cores.decolle, 4.0, _decolle, parameters=dict(v_th=1.0, tau_ref=20e-3, v_ref=20.0)),
    Model(cores.beta_lif, 0.6, _beta, parameters=dict(beta=0.8)),
    Model(cores.iir_lif, 0.6, _iir, parameters=dict(leak=0.95)),
    Model(cores.lif_delta, 2e-3, _voltage(1.0), parameters=dict(i_e=50e-12), steps_late=2.0),
    Model(cores.lif_exp, 120e-12, _held(500e-12), parameters=dict(tau_exc=5e-3), steps_late=3.0),
    Model(cores.lif_alpha, 45e-12, _alpha_shaped(500e-12), parameters=dict(tau_exc=5e-3), steps_late=3.0),
    Model(cores.lif_cond, 1e-9, _held(5e-9), steps_late=2.0, rounding=4e-6),
    # The upswing amplifies the last bit of exp.
    Model(cores.adex, 6e-9, _held(20e-9), steps_late=4.0, rounding=0.05, resets=("value", "subtract")),
    Model(cores.izhikevich, 40.0, _constant(10.0), steps_late=9.0, resets=("value",)),
    Model(
        cores.hodgkin_huxley,
        6e-10,
        _held(20e-9),
        parameters=dict(dt=1e-4),
        rounding=3e-4,
        leaves_out={"dt_invariance": "an action potential takes 1 ms: steps of 0.5 ms and more do not resolve it"},
    ),
    Model(
        cores.resonate_and_fire,
        0.6,
        _charge(100.0),
        parameters=dict(f_osc=50.0),  # it fires once a turn at most
        leaves_out={"dt_invariance": "an oscillator turns at rest and settles under a constant current"},
    ),
    Model(
        cores.resonate_and_fire_izhikevich,
        0.2,
        _charge(100.0),
        leaves_out={"dt_invariance": "an oscillator turns at rest and settles under a constant current"},
    ),
    # A step of another length adds the same to w in a time.
    Model(cores.silif, 20.0, _silif),
    Model(
        cores.csilif,
        0.6,
        _charge(100.0),
        leaves_out={"dt_invariance": "an oscillator turns at rest and settles under a constant current"},
    ),
    Model(cores.calcium_gain, 0.1, _constant(0.5), parameters=dict(tau_ca=20e-3)),  # activity never falls below -1
    # Fast enough for the short runs here. With so low a threshold the current flows at rest too.
    Model(
        cores.li_rinzel,
        0.01,
        _constant(0.0),
        parameters=dict(tau_ip3=50e-3, ca_th=0.03e-3, binding=2e3, channel=60.0),
        last_digits=1e-3,
        rounding=4e-6,
    ),
    Model(cores.relay, 1.0, _constant(1.5), nir=True),
    Model(cores.threshold, 1.0, _constant(1.5), nir=True, leaves_out={"dt_invariance": NO_MEMORY}),
    Model(cores.sigma, 0.3, _charge(80.0)),
    Model(cores.delta, 0.3, _constant(1.5), without_gradient={"v_th": CHOICE}, leaves_out={"dt_invariance": NO_TIME}),
    Model(
        cores.sigma_delta, 0.3, _charge(80.0), without_gradient={"v_th": CHOICE}, leaves_out={"dt_invariance": NO_TIME}
    ),
    Model(
        cores.sigma_delta_cumulative,
        0.3,
        _charge(80.0),
        without_gradient={"v_th": CHOICE, "state.error": CHOICE},
        leaves_out={"dt_invariance": NO_TIME},
    ),
    Model(cores.graded, 3.0, _constant(2.0)),
    Model(cores.graded_relu, 3.0, _constant(2.0)),
    Model(cores.loihi, 60.0, _loihi, parameters=dict(du=3000, dv=200), resets=("value",)),
    Model(
        cores.loihi_refractory,
        60.0,
        _loihi_refractory,
        parameters=dict(du=3000, dv=200),
        resets=("value",),
        without_gradient={"state.wait": "it chooses whether the voltage is held at 0"},
    ),
    Model(
        cores.loihi_integrator,
        60.0,
        lambda dt: (_loihi(dt)[0], _registers(dt)),
        parameters=dict(du=3000, dv=200),
        last_digits=1e-3,
    ),
    Model(
        cores.xylo,
        600.0,
        _constant(400),
        parameters=dict(dash_mem=4, dash_syn=2, v_th=2000, most=2),
        resets=("value",),
        sends=(0.0, 1.0, 2.0),
        leaves_out={"dt_invariance": "its time constants are powers of two of the step"},
    ),
    Model(cores.loihi_joined, 4000.0, _loihi_joined, parameters=dict(dv=200), resets=("value",)),
)
BY_NAME = {model.name: model for model in MODELS}
# One of each kind of step, for tests of kernels that would take minutes over all.
SELECTED = tuple(
    BY_NAME[name]
    for name in (
        *("integrate_and_fire", "leaky_integrator", "lif", "cubalif", "alif", "slow_lif", "calcium_gain"),
        *("refractory_lif", "atrlif", "izhikevich"),
    )
)
