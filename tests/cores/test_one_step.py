"""One spike through one step: delta, exponential and conductance synapses beside NEST and Brian2.

`benchmarks/peers/one_step_nest.py` and `one_step_brian2.py` wrote the data; `docs/one_step.md` is the page.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim import cores
from neurosim.units import ms, mV, nS, pA, pF

STEPS = 30
LEVELS = dict(e_l=-60 * mV, v_th=-50 * mV, v_reset=-60 * mV, t_ref=5 * ms)
CASES: dict[str, tuple[Any, str, float, str | None, float, dict[str, float]]] = {
    # core, port, weight, variable of the synapse and its unit, parameters
    "delta": (cores.lif_delta, "dv", 1 * mV, None, 1.0, dict(tau_mem=20 * ms, c_m=200 * pF)),
    "exponential": (
        cores.lif_exp,
        "i_exc",
        16.2 * pA,
        "j_exc",
        pA,
        dict(tau_mem=20 * ms, tau_exc=5 * ms, c_m=200 * pF),
    ),
    "alpha": (cores.lif_alpha, "i_exc", 16.2 * pA, "j_exc", pA, dict(tau_mem=20 * ms, tau_exc=5 * ms, c_m=200 * pF)),
    "conductance": (cores.lif_cond, "ge", 6 * nS, "g_exc", nS, {}),
}
IN_BRIAN2 = ("delta", "exponential", "conductance")


def rows(root: Path, peer: str) -> list[dict[str, Any]]:
    return json.loads((root / "tests" / "data" / f"{peer}_one_step.json").read_text(encoding="utf-8"))["rows"]


def one(synapse: str, dt: float, delay: float) -> tuple[list[float], np.ndarray, np.ndarray]:
    """Return the times of the spike (s), and v - e_l (mV) and the synapse after each step of the target."""
    core, port, weight, variable, unit, cell = CASES[synapse]
    make = ns.layer(core)
    net = ns.Network(
        nodes={
            "none": ns.Input(1),
            "pre": make(dt=dt, size=1, **cell, **LEVELS),
            "post": make(dt=dt, **cell, **LEVELS),
        },
        edges=[
            ns.Edge("none", "pre", ns.Linear(1, 1, bias=False), port=port),
            ns.Edge("pre", "post", ns.Linear(1, 1, bias=False), port=port, delay=delay),
        ],
    ).double()
    with torch.no_grad():
        for name, value in (("none->pre", 0.0), ("pre->post", weight)):
            net.synapses[f"{name}:{port}"][0].weight.fill_(value)
    x = torch.zeros(STEPS, 1, 1, dtype=torch.float64)
    state = net.initial_state(x)
    for node, v in (("pre", LEVELS["v_th"] + 1 * mV), ("post", LEVELS["e_l"])):
        state.nodes[node] = state.nodes[node]._replace(v=torch.full((1, 1), v, dtype=torch.float64))
    record = ["pre", "post.v", *([f"post.{variable}"] if variable else [])]
    run = ns.simulate(net, x, state=state, record=record)
    v = (run.traces["post.v"].flatten() - LEVELS["e_l"]) / mV
    traced = run.traces[f"post.{variable}"].flatten() / unit if variable else np.zeros(STEPS)
    return [float(t) for t in run.spikes["pre"].time], v, traced


def beside_nest(root: Path, synapse: str) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
    """Yield v after each step and the row of NEST; the stamp and the variable of the synapse are compared."""
    found = [row for row in rows(root, "nest") if row["synapse_model"] == synapse]
    assert len(found) == 4
    for row in found:
        times, v, traced = one(synapse, row["dt"] * ms, row["delay"] * ms)
        # NEST stamps a spike, and what it records, with the end of the step.
        assert times[0] + row["dt"] * ms == pytest.approx(row["stamp"] * ms)
        if "synapse" in row:
            np.testing.assert_allclose(traced, row["synapse"], rtol=1e-6, atol=1e-10)
        yield v, row


@pytest.mark.parametrize("synapse", ["delta", "exponential", "alpha"])
def test_the_membrane_after_a_spike_is_that_of_nest(root, synapse):
    for v, row in beside_nest(root, synapse):
        np.testing.assert_allclose(v, row["v"], rtol=1e-10, atol=1e-10)


def test_the_membrane_after_a_conductance_moves_in_the_steps_of_nest(root):
    for v, row in beside_nest(root, "conductance"):
        assert np.array_equal(v > 1e-9, np.array(row["v"]) > 1e-9)
        np.testing.assert_allclose(
            v, row["v"], rtol=0.03
        )  # NEST takes Runge-Kutta, exponential Euler is of first order


@pytest.mark.parametrize("synapse", IN_BRIAN2)
def test_the_membrane_after_a_spike_is_that_of_brian2(root, synapse):
    # Brian2 takes a delay of 0, which here is an edge without delay.
    found = [row for row in rows(root, "brian2") if row["synapse_model"] == synapse]
    assert len(found) == 6
    for row in found:
        times, v, traced = one(synapse, row["dt"] * ms, row["delay"] * ms)
        assert times[0] == pytest.approx(row["time"] * ms)
        np.testing.assert_allclose(v, row["v_end"], rtol=1e-10, atol=1e-10)
        if "synapse_end" in row:
            np.testing.assert_allclose(traced, row["synapse_end"], rtol=1e-10, atol=1e-10)


def first(values: np.ndarray) -> int:
    """Return the first step after which a value is not 0."""
    return int(np.flatnonzero(np.abs(values) > 1e-9)[0])


def table(root: Path) -> list[str]:
    """Return the rows of the table on the page: steps of 0.1 ms, a delay of 1 ms."""
    lines = []
    for synapse in IN_BRIAN2:
        of = {
            peer: next(
                row
                for row in rows(root, peer)
                if (row["synapse_model"], row["dt"], row["delay"]) == (synapse, 0.1, 1.0)
            )
            for peer in ("nest", "brian2")
        }
        times, v, traced = one(synapse, 0.1 * ms, 1 * ms)
        nest, brian = np.array(of["nest"]["v"]), np.array(of["brian2"]["v_end"])
        lines.append(
            f"| {synapse} | stamp of the spike of step 0 | {times[0] / ms:.1f} ms | {of['nest']['stamp']:.1f} ms "
            f"| {of['brian2']['time']:.1f} ms |"
        )
        if synapse != "delta":
            arrivals = (traced, np.array(of["nest"]["synapse"]), np.array(of["brian2"]["synapse_end"]))
            cells = " | ".join(f"{first(each)}" for each in arrivals)
            lines.append(f"| | input is added to the {_ADDED[synapse]} in step | {cells} |")
        cells = " | ".join(f"{first(each)}" for each in (v, nest, brian))
        lines.append(f"| | v moves first in step | {cells} |")
        cells = " | ".join(f"{each[first(each)]:.4f} mV" for each in (v, nest, brian))
        lines.append(f"| | by | {cells} |")
    return lines


_ADDED = {"exponential": "current", "conductance": "conductance"}


def test_r13_the_page_shows_what_runs_gave(root: Path) -> None:
    page = (root / "docs" / "one_step.md").read_text(encoding="utf-8")
    found = [line for line in page.splitlines() if line.startswith("| ") and "---" not in line]
    versions = {
        peer: json.loads((root / "tests" / "data" / f"{peer}_one_step.json").read_text(encoding="utf-8"))[peer]
        for peer in ("nest", "brian2")
    }
    head = f"| synapse | | neurosim | NEST {versions['nest']} | Brian2 {versions['brian2']} |"
    rows_of_page = found[found.index(head) + 1 :][: len(table(root))]
    assert rows_of_page == table(root)
