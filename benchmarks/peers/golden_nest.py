"""Spikes of NEST to test against: ``PYTHON_OF_NEST -m benchmarks.peers.golden_nest FOLDER`` writes two files.

Brette et al. (2007), J Comput Neurosci 23:349, 4,000 neurons, E_L -49 mV, delay 0.1 ms, no stimulus. Matrix and start
are those of ``wiring.py``.

- nest_cuba.npz: benchmark 2, exponential currents of 16.2 pA and -90 pA, steps of 0.1 ms;
- nest_jumps.npz: benchmark 4, jumps of 0.25 mV and -2.25 mV, exact times. NEST 3.11 computes membranes with expm1, so
  its times may differ in the last digits.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import nest
import numpy as np

from benchmarks.peers import wiring

N, N_EXC, P, DT_MS = 4000, 3200, 0.02, 0.1
MATRIX_SEED, START_SEED = 2007, 23
NEURON = dict(tau_m=20.0, C_m=200.0, E_L=-49.0, V_th=-50.0, V_reset=-60.0, t_ref=5.0, I_e=0.0)


def run(
    model: str, weights: tuple[float, float], ms: float, **parameters: float
) -> tuple[wiring.Array, wiring.Array, dict[str, Any]]:
    """Run a network; return times in ms and neurons of its spikes, sorted, and what a file says about the network."""
    nest.ResetKernel()
    nest.set_verbosity("M_WARNING")
    nest.SetKernelStatus({"resolution": DT_MS, "local_num_threads": 1})
    pre, post = wiring.pairwise(N, N, P, MATRIX_SEED)
    neurons = nest.Create(model, N, params=NEURON | parameters)
    neurons.V_m = list(wiring.uniform(N, -60.0, -50.0, START_SEED))
    weight = np.where(pre < N_EXC, *weights)
    delay = np.full(len(pre), DT_MS)
    nest.Connect(pre + 1, post + 1, "one_to_one", {"weight": weight, "delay": delay})
    recorder = nest.Create("spike_recorder")
    nest.Connect(neurons, recorder)
    nest.Simulate(ms)
    times, neuron = recorder.events["times"], recorder.events["senders"] - 1
    order = np.lexsort((neuron, times))
    print(f"NEST {nest.__version__}, {model}: {len(pre)} synapses, {len(times)} spikes in {ms:g} ms")
    about = dict(
        nest=np.array(nest.__version__),
        matrix=np.array(wiring.fingerprint(pre, post)),
        synapses=np.array(len(pre)),
    )
    return times[order], neuron[order].astype(np.uint16), about


def main(folder: str) -> None:
    """Run the networks and write their spikes."""
    times, neuron, about = run("iaf_psc_exp", (16.2, -90.0), 1000.0, tau_syn_ex=5.0, tau_syn_in=10.0)
    # NEST stamps a spike with the end of its step.
    step = (np.rint(times / DT_MS).astype(np.int64) - 1).astype(np.uint16)
    np.savez_compressed(Path(folder) / "nest_cuba.npz", step=step, neuron=neuron, **about)
    times, neuron, about = run("iaf_psc_delta_ps", (0.25, -2.25), 300.0)
    np.savez_compressed(Path(folder) / "nest_jumps.npz", time_ms=times, neuron=neuron, **about)


if __name__ == "__main__":
    main(sys.argv[1])
