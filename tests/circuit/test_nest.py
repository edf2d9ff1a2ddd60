"""The raster of NEST, spike for spike: CUBA in double precision on the same matrix from the same start.

`benchmarks/peers/golden_nest.py` wrote the spikes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.peers import wiring
from neurosim.cores import lif_exp
from neurosim.units import ms, mV, pA, pF
from tests.circuit import brette

STEPS = 10_000


def spikes(weights: tuple[float, float] = (16.2 * pA, -90 * pA)) -> tuple[np.ndarray, np.ndarray]:
    """Return step and neuron of each spike, sorted by step, then neuron."""
    cell = dict(tau_mem=20 * ms, tau_exc=5 * ms, tau_inh=10 * ms, c_m=200 * pF, t_ref=5 * ms)
    levels = dict(e_l=-49 * mV, v_th=-50 * mV, v_reset=-60 * mV)
    with brette.double_precision():
        net = brette.network(lif_exp, cell | levels, ports=("i_exc", "i_inh"), weights=weights)
        return brette.raster(net, dict(v=wiring.uniform(brette.N, -60.0, -50.0, 23) * mV), STEPS)


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
