"""COBA beside Brian2 on the same matrix: the raster in double precision, statistics in single precision.

`benchmarks/peers/golden_brian2.py` wrote the data.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import wiring
from benchmarks.peers.measures import measures
from neurosim.cores import lif_cond
from neurosim.units import ms, mV, nS
from tests.circuit import brette

AFTER, STEPS = 2000, 8000


def raster() -> tuple[np.ndarray, np.ndarray]:
    """Return the spikes from the first start, in the default precision.

    Brian2 integrates a neuron again in the step in which its refractory time of 50 steps ends, so 49 steps are frozen.
    """
    n = brette.N
    start = dict(
        v=wiring.normal(n, -65.0, 5.0, 0) * mV,
        g_exc=wiring.normal(n, 40.0, 15.0, 1).clip(0.0) * nS,
        g_inh=wiring.normal(n, 200.0, 120.0, 2).clip(0.0) * nS,
    )
    net = brette.network(lif_cond, dict(t_ref=4.9 * ms), ports=("ge", "gi"), weights=(6 * nS, 67 * nS))
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
