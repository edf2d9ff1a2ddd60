"""Spikes of NEST to test against: ``PYTHON_OF_NEST -m benchmarks.peers.golden_nest FOLDER`` writes nest_cuba.npz.

Benchmark 2 of Brette et al. (2007), J Comput Neurosci 23:349: 4,000 neurons with exponential currents, 16.2 pA and
-90 pA, E_L -49 mV, delay 0.1 ms, no stimulus. Matrix and start are those of ``wiring.py``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nest
import numpy as np

from benchmarks.peers import wiring

N, N_EXC, P, DT_MS, MS = 4000, 3200, 0.02, 0.1, 1000.0
MATRIX_SEED, START_SEED = 2007, 23
NEURON = dict(
    tau_m=20.0, C_m=200.0, E_L=-49.0, V_th=-50.0, V_reset=-60.0, t_ref=5.0, tau_syn_ex=5.0, tau_syn_in=10.0, I_e=0.0
)
WEIGHTS_PA = (16.2, -90.0)


def main(folder: str) -> None:
    """Run the network and write its spikes."""
    nest.ResetKernel()
    nest.set_verbosity("M_WARNING")
    nest.SetKernelStatus({"resolution": DT_MS, "local_num_threads": 1})
    pre, post = wiring.pairwise(N, N, P, MATRIX_SEED)
    neurons = nest.Create("iaf_psc_exp", N, params=NEURON)
    neurons.V_m = list(wiring.uniform(N, -60.0, -50.0, START_SEED))
    weight = np.where(pre < N_EXC, *WEIGHTS_PA)
    delay = np.full(len(pre), DT_MS)
    nest.Connect(pre + 1, post + 1, "one_to_one", {"weight": weight, "delay": delay})
    recorder = nest.Create("spike_recorder")
    nest.Connect(neurons, recorder)
    nest.Simulate(MS)
    events = recorder.events
    # NEST stamps a spike with the end of its step.
    step = np.rint(events["times"] / DT_MS).astype(np.int64) - 1
    neuron = events["senders"] - 1
    order = np.lexsort((neuron, step))
    np.savez_compressed(
        Path(folder) / "nest_cuba.npz",
        step=step[order].astype(np.uint16),
        neuron=neuron[order].astype(np.uint16),
        nest=np.array(nest.__version__),
        matrix=np.array(wiring.fingerprint(pre, post)),
        synapses=np.array(len(pre)),
    )
    print(f"NEST {nest.__version__}: {len(pre)} synapses, {len(step)} spikes in {MS:g} ms")


if __name__ == "__main__":
    main(sys.argv[1])
