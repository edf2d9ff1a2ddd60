"""Statistics of Brian2 to be inside of: ``PYTHON_OF_BRIAN2 -m benchmarks.peers.golden_brian2 FOLDER``.

Benchmark 1 of Brette et al. (2007), J Comput Neurosci 23:349, with conductances, on the matrix of `wiring.pairwise`,
from several starts: the network is chaotic, so a long raster can only be compared by its statistics. Writes those to
brian2_coba.json, with a hash of each raster, and the first 200 ms from the first start to brian2_coba.npz. From some
starts the network falls silent; their CV and Fano factor are null.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from pathlib import Path

import brian2 as b
import numpy as np

from benchmarks.peers import wiring
from benchmarks.peers.measures import measures

N, N_EXC, P, DT_S = 4000, 3200, 0.02, 1e-4
MATRIX_SEED, STARTS = 2007, 16
AFTER_S, SECONDS, RASTER_S = 0.2, 0.8, 0.2
EQUATIONS = """
dv/dt = (g_l*(e_l - v) + ge*(e_e - v) + gi*(e_i - v))/c_m : volt (unless refractory)
dge/dt = -ge/(5*ms) : siemens
dgi/dt = -gi/(10*ms) : siemens
"""


def start(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return V in mV and both conductances in nS; a negative conductance is 0."""
    return (
        wiring.normal(N, -65.0, 5.0, 3 * seed),
        wiring.normal(N, 40.0, 15.0, 3 * seed + 1).clip(0.0),
        wiring.normal(N, 200.0, 120.0, 3 * seed + 2).clip(0.0),
    )


def main(folder: str) -> None:
    """Run the network from each start and write the statistics."""
    with tempfile.TemporaryDirectory() as place:
        b.set_device("cpp_standalone", directory=place, build_on_run=False)
        b.defaultclock.dt = DT_S * b.second
        pre, post = wiring.pairwise(N, N, P, MATRIX_SEED)
        constants = dict(
            g_l=10 * b.nS, c_m=200 * b.pF, e_l=-60 * b.mV, e_e=0 * b.mV, e_i=-80 * b.mV, w_e=6 * b.nS, w_i=67 * b.nS
        )
        group = b.NeuronGroup(
            N,
            EQUATIONS,
            threshold="v > -50*mV",
            reset="v = -60*mV",
            refractory=5 * b.ms,
            method="exponential_euler",
            namespace=constants,
        )
        parts = []
        for first, end, target, weight in ((0, N_EXC, "ge", "w_e"), (N_EXC, N, "gi", "w_i")):
            mine = (pre >= first) & (pre < end)
            part = b.Synapses(
                group, group, on_pre=f"{target}_post += {weight}", delay=DT_S * b.second, namespace=constants
            )
            part.connect(i=pre[mine], j=post[mine])
            parts.append(part)
        spikes = b.SpikeMonitor(group)
        net = b.Network(group, *parts, spikes)
        for name, values, unit in zip(("v", "ge", "gi"), start(0), (b.mV, b.nS, b.nS), strict=True):
            setattr(group, name, values * unit)
        net.run(SECONDS * b.second)
        b.device.build(directory=place, compile=True, run=False)
        rows = []
        for seed in range(STARTS):
            potential, excitation, inhibition = start(seed)
            given = {group.v: potential * b.mV, group.ge: excitation * b.nS, group.gi: inhibition * b.nS}
            b.device.run(run_args=given)
            step = np.rint(np.asarray(spikes.t / b.second) / DT_S).astype(np.int64)
            neuron = np.asarray(spikes.i)
            order = np.lexsort((neuron, step))
            step, neuron = step[order], neuron[order]
            if seed == 0:
                begin = step < round(RASTER_S / DT_S)
                saved = step[begin].astype(np.uint16), neuron[begin].astype(np.uint16)
            kept = step >= round(AFTER_S / DT_S)
            steps = round((SECONDS - AFTER_S) / DT_S)
            found = measures(step[kept] - round(AFTER_S / DT_S), neuron[kept], N, steps, DT_S)
            known = {"start": seed, "raster": wiring.fingerprint(step, neuron)}
            rows.append({**known, **{name: None if math.isnan(x) else x for name, x in found.items()}})
    result = {
        "brian2": b.__version__,
        "matrix": wiring.fingerprint(pre, post),
        "after_s": AFTER_S,
        "seconds": SECONDS,
        "rows": rows,
    }
    np.savez_compressed(
        Path(folder) / "brian2_coba.npz", step=saved[0], neuron=saved[1], brian2=np.array(b.__version__)
    )
    (Path(folder) / "brian2_coba.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
