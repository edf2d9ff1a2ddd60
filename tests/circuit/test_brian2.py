"""COBA beside Brian2 on the same matrix: the raster in double precision, statistics in single precision.

`benchmarks/peers/golden_brian2.py` wrote the data.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

import neurosim as ns
from benchmarks.peers import wiring
from benchmarks.peers.measures import measures
from neurosim.language.functions import exp, where
from tests.circuit import brette

AFTER, STEPS = 2000, 8000


@ns.core(
    inputs=("ge", "gi"),
    parameters=dict(p_exc=0.9, p_inh=0.9, dt_c=0.5, g_l=10.0, e_l=-60.0, e_e=0.0, e_i=-80.0, v_th=-50.0, t_ref=49.0),
    state=("v", "s_exc", "s_inh", "wait"),
)
def coba(
    ge: Any,
    gi: Any,
    v: Any,
    s_exc: Any,
    s_inh: Any,
    wait: Any,
    *,
    p_exc: Any,
    p_inh: Any,
    dt_c: Any,
    g_l: Any,
    e_l: Any,
    e_e: Any,
    e_i: Any,
    v_th: Any,
    t_ref: Any,
    spike: Any,
    reset: Any,
) -> tuple[Any, ...]:
    """Advance by exponential Euler: the conductances of the step before are constant during a step.

    Brian2 integrates a neuron again in the step in which its refractory time of 50 steps ends, so 49 steps are frozen.
    """
    g = g_l + s_exc + s_inh
    rest = (g_l * e_l + s_exc * e_e + s_inh * e_i) / g
    u = where(wait > 0.0, v, rest + (v - rest) * exp(-dt_c * g))
    z = spike(where(wait > 0.0, -1.0, u - v_th))
    left = where(wait > 0.0, wait - 1.0, wait)
    return z, reset(u, z, to=e_l, by=v_th), s_exc * p_exc + ge, s_inh * p_inh + gi, where(reset.gate(z), t_ref, left)


def raster() -> tuple[np.ndarray, np.ndarray]:
    """Return the spikes from the first start, in the default precision."""
    n = brette.N
    start = dict(
        v=wiring.normal(n, -65.0, 5.0, 0),
        s_exc=wiring.normal(n, 40.0, 15.0, 1).clip(0.0),
        s_inh=wiring.normal(n, 200.0, 120.0, 2).clip(0.0),
    )
    cell = dict(p_exc=math.exp(-0.1 / 5.0), p_inh=math.exp(-0.1 / 10.0), dt_c=0.1 / 200.0)
    net = brette.network(coba, cell, ports=("ge", "gi"), weights=(6.0, 67.0))
    return brette.raster(net, start, STEPS)


def statistics(root: Path) -> list[dict[str, Any]]:
    return json.loads((root / "tests" / "data" / "brian2_coba.json").read_text(encoding="utf-8"))["rows"]


def test_coba_gives_the_raster_of_brian2_in_double_precision(root: Path) -> None:
    with np.load(root / "tests" / "data" / "brian2_coba.npz") as stored:
        expected = np.stack([stored["step"], stored["neuron"]])
    with brette.double_precision():
        step, neuron = raster()
    begin = step < 2000
    np.testing.assert_array_equal(np.stack([step[begin], neuron[begin]]), expected)
    assert wiring.fingerprint(step, neuron) == statistics(root)[0]["raster"]


def test_coba_in_single_precision_lies_inside_the_spread_of_brian2(root: Path) -> None:
    rows = [row for row in statistics(root) if row["spikes"]]
    assert len(rows) > 10
    step, neuron = raster()
    after = step >= AFTER
    found = measures(step[after] - AFTER, neuron[after], brette.N, STEPS - AFTER, brette.DT)
    for name in ("rate", "sd_rates", "cv"):
        values = [row[name] for row in rows]
        assert min(values) <= found[name] <= max(values), (name, found[name])
