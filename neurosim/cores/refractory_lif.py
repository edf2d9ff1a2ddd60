"""Leaky integrate-and-fire with a refractory time."""

from __future__ import annotations

from typing import Any

from neurosim.cores.leaky_integrator import leaky_integrator
from neurosim.language.definition import core, seconds
from neurosim.language.functions import floor, where


def steps_left(wait: Any, z: Any, t_ref: Any, dt: Any, reset: Any) -> Any:
    """Return the refractory steps after a step: those of `t_ref` after a spike, else one fewer than before."""
    return where(reset.gate(z), floor(t_ref / dt + 0.5), where(wait > 0.0, wait - 1.0, wait))


def fires(u: Any, wait: Any, v_th: Any, spike: Any) -> Any:
    """Return the spike of a membrane in volts; its surrogate is given the distance to threshold in units of 10 mV."""
    return spike(where(wait > 0.0, -1.0, 100.0 * (u - v_th)))


@core(
    parameters=dict(tau_mem=seconds(20e-3), t_ref=seconds(2e-3, in_steps=True), v_th=1.0, v_reset=0.0, r=1.0),
    state=("v", "wait"),
)
def refractory_lif(
    i: Any,
    v: Any,
    wait: Any,
    *,
    alpha_mem: Any,
    t_ref: Any,
    v_th: Any,
    v_reset: Any,
    r: Any,
    dt: Any,
    spike: Any,
    reset: Any,
) -> tuple[Any, ...]:
    """`lif` whose membrane is frozen for `t_ref` after a spike: input in that time is lost (Lava ``LIFRefractory``).

    `wait` is the remaining refractory time in steps, and `t_ref` an integer number of them. A refractory neuron does
    not fire, whatever its membrane. The float model of lava-nc 0.10 (BSD-3) without a synaptic current.
    """
    resting = wait > 0.0
    driven, _ = leaky_integrator(i, v, alpha_mem=alpha_mem, r=r)
    u = where(resting, v, driven)
    z = spike(where(resting, -1.0, u - v_th))
    return z, reset(u, z, to=v_reset, by=v_th), steps_left(wait, z, t_ref, dt, reset)
