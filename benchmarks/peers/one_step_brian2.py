"""One spike through Brian2, as brian2_one_step.json: ``PYTHON_OF_BRIAN2 -m benchmarks.peers.one_step_brian2 FOLDER``.

A neuron that starts above its threshold sends one spike in the first step to a neuron at rest. The file holds, for each
model of a synapse and each step size, the time of the spike and V and the current or conductance of the target as a
monitor sees them at the start (the default) and at the end of every step. Times are in ms, V in mV above rest,
currents in pA, conductances in nS.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import brian2 as b
import numpy as np

STEPS = 30
CASES = {
    "delta": ("dv/dt = -v/(20*ms) : 1 (unless refractory)", "v_post += 1.0", 1.0, None, "exact"),
    "exponential": (
        "dv/dt = (-v + s*0.1)/(20*ms) : 1 (unless refractory)\nds/dt = -s/(5*ms) : 1", "s_post += 16.2", 16.2, "s",
        "exact",
    ),
    "conductance": (
        "dv/dt = (-v + g*(60.0 - v)/10.0)/(20*ms) : 1 (unless refractory)\ndg/dt = -g/(5*ms) : 1", "g_post += 6.0", 6.0,
        "g", "exponential_euler",
    ),
}  # fmt: skip


def one(equations: str, on_pre: str, variable: str | None, method: str, dt: float, delay: float) -> dict[str, Any]:
    """Return time of the spike and traces."""
    b.start_scope()
    b.defaultclock.dt = dt * b.ms
    pair = b.NeuronGroup(2, equations, threshold="v > 10.0", reset="v = 0.0", refractory=5 * b.ms, method=method)
    pair.v = [11.0, 0.0]
    synapses = b.Synapses(pair, pair, on_pre=on_pre, delay=delay * b.ms)
    synapses.connect(i=0, j=1)
    spikes = b.SpikeMonitor(pair)
    names = ["v", *([variable] if variable else [])]
    meters = {when: b.StateMonitor(pair, names, record=[1], when=when) for when in ("start", "end")}
    b.Network(pair, synapses, spikes, *meters.values()).run(STEPS * dt * b.ms)
    found = {"time": float(spikes.t[0] / b.ms), "times": np.round(meters["start"].t / b.ms, 6).tolist()}
    for when, meter in meters.items():
        found[f"v_{when}"] = np.asarray(meter.v[0]).tolist()
        if variable:
            found[f"synapse_{when}"] = np.asarray(getattr(meter, variable)[0]).tolist()
    return found


def main(folder: str) -> None:
    """Run all cases and write them."""
    b.prefs.codegen.target = "numpy"
    rows = []
    for name, (equations, on_pre, weight, variable, method) in CASES.items():
        for dt in (0.1, 0.25):
            for delay in (0.0, dt, 1.0):
                found = one(equations, on_pre, variable, method, dt, delay)
                rows.append(
                    {"synapse_model": name, "method": method, "dt": dt, "delay": delay, "weight": weight, **found}
                )
    text = json.dumps({"brian2": b.__version__, "rows": rows})
    (Path(folder) / "brian2_one_step.json").write_text(text.replace('{"synapse_model"', '\n{"synapse_model"') + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
