"""The process of Lava for each core, and its arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from neurosim import cores
from neurosim.hardware.lava.graph import GRADED_PROCESSES
from neurosim.language import Core
from neurosim.network.neuron import Neuron

_ONE = np.ones(())


@dataclass(frozen=True)
class CoreProcess:
    """The process of Lava for a core.

    Attributes
    ----------
    process : str
        Class of lava-nc.
    arguments : callable
        From the neurons to the arguments of its constructor, thresholds included, in units of the membrane.
    gain : callable
        From the neurons to the factor of a current in the membrane.
    levels : tuple of str
        Arguments that are levels of the membrane, and so are divided by its scale.
    compared : str
        Local variable of the step that is compared with the threshold, or is sent.
    bias : bool
        Whether the process has a bias that is added to the membrane only, and at once.
    own_bias : bool
        Whether the core has a bias that it adds once.
    drive : callable or None
        From the neurons to the constant added to the membrane at every step: a resting potential.
    single : tuple of (str, str)
        Arguments with one value for a population, and the parameters that determine them.
    scalable : bool
        Whether the membrane may have a scale for each neuron.
    """

    process: str
    arguments: Callable[[Neuron], dict[str, np.ndarray]]
    gain: Callable[[Neuron], np.ndarray]
    levels: tuple[str, ...] = ()
    compared: str = "u"
    bias: bool = False
    own_bias: bool = False
    drive: Callable[[Neuron], np.ndarray] | None = None
    single: tuple[tuple[str, str], ...] = ()
    scalable: bool = True


def number(value: float | torch.Tensor) -> np.ndarray:
    """Return a value of neurons as float64."""
    if isinstance(value, torch.Tensor):
        return value.detach().double().cpu().numpy()
    return np.asarray(value, dtype=np.float64)


def steps_of_rest(neuron: Neuron) -> np.ndarray:
    """Return the refractory time in steps."""
    return np.rint(number(neuron.value("t_ref")) / neuron.dt)


def _leak(neuron: Neuron, name: str) -> np.ndarray:
    return _ONE - number(neuron.decay(name))


def _r(neuron: Neuron) -> np.ndarray:
    return number(neuron.value("r"))


def _leaky(neuron: Neuron) -> np.ndarray:
    return _leak(neuron, "tau_mem") * _r(neuron)


def _unit(neuron: Neuron) -> np.ndarray:
    return _ONE


def _membrane(tau_syn: bool, leaky: bool, fires: bool) -> Callable[[Neuron], dict[str, np.ndarray]]:
    def arguments(neuron: Neuron) -> dict[str, np.ndarray]:
        return {
            "du": _leak(neuron, "tau_syn") if tau_syn else _ONE,
            "dv": _leak(neuron, "tau_mem") if leaky else np.zeros(()),
            "vth": number(neuron.value("v_th")) if fires else np.asarray(np.inf),
        }

    return arguments


def _resting(neuron: Neuron) -> np.ndarray:
    return _leak(neuron, "tau_mem") * number(neuron.value("v_leak"))


def _refractory(neuron: Neuron) -> dict[str, np.ndarray]:
    return {**_membrane(False, True, True)(neuron), "refractory_period": steps_of_rest(neuron).astype(np.int64)}


def _ternary(neuron: Neuron) -> dict[str, np.ndarray]:
    plain = _membrane(False, True, False)(neuron)
    thresholds = {"vth_hi": number(neuron.value("v_th")), "vth_lo": number(neuron.value("v_low"))}
    return {"du": plain["du"], "dv": plain["dv"], **thresholds}


def _adaptive(neuron: Neuron) -> dict[str, np.ndarray]:
    theta = np.nextafter(number(neuron.value("v_th")), np.inf)  # Lava fires at the threshold, the core above it
    return {
        "delta_i": _leak(neuron, "tau_syn"),
        "delta_v": _leak(neuron, "tau_mem"),
        "delta_theta": _leak(neuron, "tau_adapt"),
        "delta_r": _leak(neuron, "tau_refr"),
        "theta_0": theta,
        "theta": theta,
        "theta_step": number(neuron.value("step")),
    }


def _resonating(neuron: Neuron) -> dict[str, np.ndarray]:
    return {
        "period": 1.0 / (number(neuron.value("f_osc")) * neuron.dt),
        "alpha": _leak(neuron, "tau_mem"),
        "vth": np.nextafter(number(neuron.value("v_th")), np.inf),
    }


def _changes(cumulative: bool) -> Callable[[Neuron], dict[str, np.ndarray]]:
    def arguments(neuron: Neuron) -> dict[str, np.ndarray]:
        return {"vth": number(neuron.value("v_th")), "cum_error": np.asarray(int(cumulative))}

    return arguments


PROCESSES: dict[Core, CoreProcess] = {
    cores.lif: CoreProcess("LIF", _membrane(False, True, True), _leaky, ("vth",), bias=True),
    cores.integrate_and_fire: CoreProcess("LIF", _membrane(False, False, True), _r, ("vth",), bias=True),
    cores.cubalif: CoreProcess("LIF", _membrane(True, True, True), _leaky, ("vth",)),
    cores.slow_lif: CoreProcess("LIF", _membrane(False, True, True), _leaky, ("vth",), bias=True),
    cores.cubalif_resting: CoreProcess("LIF", _membrane(True, True, True), _leaky, ("vth",), drive=_resting),
    cores.integrator: CoreProcess("LIF", _membrane(False, False, False), _r, bias=True),
    cores.cuba_integrator_resting: CoreProcess("LIF", _membrane(True, True, False), _leaky, drive=_resting),
    cores.leaky_integrator: CoreProcess("LIF", _membrane(False, True, False), _leaky, bias=True),
    cores.cuba_integrator: CoreProcess("LIF", _membrane(True, True, False), _leaky),
    cores.refractory_lif: CoreProcess(
        "LIFRefractory", _refractory, _leaky, ("vth",), bias=True, single=(("refractory_period", "t_ref"),)
    ),
    cores.ternary_lif: CoreProcess("TernaryLIF", _ternary, _leaky, ("vth_hi", "vth_lo"), bias=True),
    cores.atrlif: CoreProcess(
        "ATRLIF", _adaptive, _leaky, ("theta_0", "theta"), single=(("theta_step", "step"),), scalable=False
    ),
    cores.resonate_and_fire: CoreProcess("RF", _resonating, _r, ("vth",), compared="real"),
    cores.resonate_and_fire_izhikevich: CoreProcess(
        "RF_IZ", _resonating, _r, ("vth",), compared="imaginary", scalable=False
    ),
    cores.sigma: CoreProcess("Sigma", lambda neuron: {}, _unit, compared="held"),
    cores.delta: CoreProcess("Delta", _changes(False), _unit, compared="change", single=(("vth", "v_th"),)),
    cores.sigma_delta: CoreProcess(
        "SigmaDelta", _changes(False), _unit, compared="change", own_bias=True, single=(("vth", "v_th"),)
    ),
    cores.sigma_delta_cumulative: CoreProcess(
        "SigmaDelta", _changes(True), _unit, compared="change", own_bias=True, single=(("vth", "v_th"),)
    ),
}
KNOWN = "IF, LIF, CubaLIF, LI, or a core of Lava's own such as atrlif"
INTEGER_GRADED = {cores.graded: "GradedVec", cores.graded_relu: "GradedReluVec"}
GRADED = tuple(
    core
    for core, process in ({core: item.process for core, item in PROCESSES.items()} | INTEGER_GRADED).items()
    if process in GRADED_PROCESSES
)
READ_OUT = (
    cores.leaky_integrator,
    cores.integrator,
    cores.cuba_integrator,
    cores.cuba_integrator_resting,
    cores.loihi_integrator,
)
