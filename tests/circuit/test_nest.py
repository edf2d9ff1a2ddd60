"""The raster of NEST, spike for spike: CUBA in double precision on the same matrix from the same start.

`benchmarks/peers/golden_nest.py` wrote the spikes.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

import neurosim as ns
from benchmarks.peers import wiring
from neurosim.language.functions import where
from tests.circuit import brette

TAU_MEM, TAU_EXC, TAU_INH, C = 20.0, 5.0, 10.0, 200.0  # ms, pF
E_L, V_TH, V_RESET = -49.0, -50.0, -60.0
STEPS = 10_000


@ns.core(
    inputs=("i_exc", "i_inh"),
    parameters=dict(p11_exc=0.9, p11_inh=0.9, p22=0.9, p21_exc=0.1, p21_inh=0.1, v_th=1.0, v_reset=0.0, t_ref=50.0),
    state=("v", "s_exc", "s_inh", "wait"),
)
def exact_cuba(
    i_exc: Any,
    i_inh: Any,
    v: Any,
    s_exc: Any,
    s_inh: Any,
    wait: Any,
    *,
    p11_exc: Any,
    p11_inh: Any,
    p22: Any,
    p21_exc: Any,
    p21_inh: Any,
    v_th: Any,
    v_reset: Any,
    t_ref: Any,
    spike: Any,
    reset: Any,
) -> tuple[Any, ...]:
    """Advance in NEST's order: the membrane from the old currents, then the currents; V is measured from E_L."""
    u = where(wait > 0.0, v, v * p22 + s_exc * p21_exc + s_inh * p21_inh)
    z = spike(where(wait > 0.0, -1.0, u - v_th))
    left = where(wait > 0.0, wait - 1.0, wait)
    return (
        z,
        reset(u, z, to=v_reset, by=v_th),
        s_exc * p11_exc + i_exc,
        s_inh * p11_inh + i_inh,
        where(reset.gate(z), t_ref, left),
    )


def propagator(tau_syn: float, h: float = 0.1) -> float:
    """Return the effect of a current on the membrane after one step, in mV per pA."""
    beta = TAU_MEM * tau_syn / (TAU_MEM - tau_syn)
    return beta / C * math.exp(-h / TAU_MEM) * -math.expm1(-h / beta)


def spikes(weights: tuple[float, float] = (16.2, -90.0)) -> tuple[np.ndarray, np.ndarray]:
    """Return step and neuron of each spike, sorted by step, then neuron."""
    cell = dict(
        p11_exc=math.exp(-0.1 / TAU_EXC),
        p11_inh=math.exp(-0.1 / TAU_INH),
        p22=math.exp(-0.1 / TAU_MEM),
        p21_exc=propagator(TAU_EXC),
        p21_inh=propagator(TAU_INH),
        v_th=V_TH - E_L,
        v_reset=V_RESET - E_L,
    )
    with brette.double_precision():
        net = brette.network(exact_cuba, cell, ports=("i_exc", "i_inh"), weights=weights)
        return brette.raster(net, dict(v=wiring.uniform(brette.N, -60.0, -50.0, 23) - E_L), STEPS)


def golden(root: Path) -> dict[str, np.ndarray]:
    with np.load(root / "tests" / "data" / "nest_cuba.npz") as stored:
        return dict(stored)


def test_the_matrix_is_the_one_that_nest_ran(root: Path) -> None:
    pre, post = brette.matrix()
    stored = golden(root)
    assert wiring.fingerprint(pre, post) == str(stored["matrix"])
    assert len(pre) == int(stored["synapses"])


def test_cuba_gives_the_raster_of_nest(root: Path) -> None:
    stored = golden(root)
    first = stored["step"] < STEPS
    assert first.sum() == 21_346
    step, neuron = spikes()
    np.testing.assert_array_equal(step, stored["step"][first])
    np.testing.assert_array_equal(neuron, stored["neuron"][first])
