"""One spike through NEST: ``PYTHON_OF_NEST -m benchmarks.peers.one_step_nest FOLDER`` writes nest_one_step.json.

A neuron that starts above its threshold sends one spike in the first step to a neuron at rest. The file holds, for each
model of a synapse and each resolution, the stamp of the spike and V and the current or conductance of the target after
every step. Times are in ms, V in mV, currents in pA, conductances in nS.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import nest
import numpy as np

STEPS = 30
NEURON = dict(tau_m=20.0, C_m=200.0, E_L=-60.0, V_th=-50.0, V_reset=-60.0, t_ref=5.0)
CONDUCTANCE = dict(
    C_m=200.0, g_L=10.0, E_L=-60.0, V_th=-50.0, V_reset=-60.0, t_ref=5.0, E_ex=0.0, E_in=-80.0, tau_syn_ex=5.0,
    tau_syn_in=10.0,
)  # fmt: skip
CASES = {
    "delta": ("iaf_psc_delta", NEURON, 1.0, None),
    "exponential": ("iaf_psc_exp", {**NEURON, "tau_syn_ex": 5.0, "tau_syn_in": 10.0}, 16.2, "I_syn_ex"),
    "alpha": ("iaf_psc_alpha", {**NEURON, "tau_syn_ex": 5.0, "tau_syn_in": 10.0}, 16.2, "I_syn_ex"),
    "conductance": ("iaf_cond_exp", CONDUCTANCE, 6.0, "g_ex"),
}


def one(
    model: str, neuron: dict[str, float], weight: float, variable: str | None, dt: float, delay: float
) -> dict[str, Any]:
    """Return stamp and traces of one spike."""
    nest.ResetKernel()
    nest.SetKernelStatus({"resolution": dt})
    pre, post = nest.Create(model, params=neuron), nest.Create(model, params=neuron)
    pre.V_m = neuron["V_th"] + 1.0
    post.V_m = neuron["E_L"]
    nest.Connect(pre, post, syn_spec={"weight": weight, "delay": delay})
    spikes = nest.Create("spike_recorder")
    nest.Connect(pre, spikes)
    names = ["V_m", *([variable] if variable else [])]
    meter = nest.Create("multimeter", params={"interval": dt, "record_from": names})
    nest.Connect(meter, post)
    nest.Simulate(STEPS * dt + 5 * dt)
    events = meter.events
    return {
        "stamp": float(spikes.events["times"][0]),
        "times": np.round(events["times"][:STEPS], 6).tolist(),
        "v": (events["V_m"][:STEPS] - neuron["E_L"]).tolist(),
        **({"synapse": events[variable][:STEPS].tolist()} if variable else {}),
    }


def main(folder: str) -> None:
    """Run all cases and write them."""
    nest.set_verbosity("M_ERROR")
    rows = []
    for name, (model, neuron, weight, variable) in CASES.items():
        for dt in (0.1, 0.25):
            for delay in (dt, 1.0):
                found = one(model, neuron, weight, variable, dt, delay)
                rows.append(
                    {"synapse_model": name, "model": model, "dt": dt, "delay": delay, "weight": weight, **found}
                )
    text = json.dumps({"nest": nest.__version__, "rows": rows})
    (Path(folder) / "nest_one_step.json").write_text(text.replace('{"synapse_model"', '\n{"synapse_model"') + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
