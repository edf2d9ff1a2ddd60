"""A Hodgkin-Huxley neuron of Brian2: ``PYTHON_OF_BRIAN2 -m benchmarks.peers.hodgkin_huxley_brian2 FOLDER``.

The neuron of benchmark 3 of Brette et al. (2007), with the equations of Brian2's example COBAHH and the method
exponential_euler, under a constant current and conductances that grow at given times. The file brian2_hh.json holds the
spike times (ms) and v (mV) at the end of every tenth step of 0.01 ms.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import brian2 as b
import numpy as np

from benchmarks.peers.hodgkin_huxley import (
    CURRENT_NA,
    DT_MS,
    EXCITATORY_MS,
    INHIBITORY_MS,
    MS,
    REST,
    WEIGHTS_NS,
)

EQUATIONS = """
dv/dt = (gl*(El-v) + ge*(Ee-v) + gi*(Ei-v) - g_na*(m*m*m)*h*(v-ENa) - g_kd*(n*n*n*n)*(v-EK) + i_e)/Cm : volt
dm/dt = alpha_m*(1-m)-beta_m*m : 1
dn/dt = alpha_n*(1-n)-beta_n*n : 1
dh/dt = alpha_h*(1-h)-beta_h*h : 1
dge/dt = -ge*(1./taue) : siemens
dgi/dt = -gi*(1./taui) : siemens
alpha_m = 0.32*(mV**-1)*4*mV/exprel((13*mV-v+VT)/(4*mV))/ms : Hz
beta_m = 0.28*(mV**-1)*5*mV/exprel((v-VT-40*mV)/(5*mV))/ms : Hz
alpha_h = 0.128*exp((17*mV-v+VT)/(18*mV))/ms : Hz
beta_h = 4./(1+exp((40*mV-v+VT)/(5*mV)))/ms : Hz
alpha_n = 0.032*(mV**-1)*5*mV/exprel((15*mV-v+VT)/(5*mV))/ms : Hz
beta_n = .5*exp((10*mV-v+VT)/(40*mV))/ms : Hz
"""


def main(folder: str) -> None:
    """Run the neuron and write what it does."""
    b.prefs.codegen.target = "numpy"
    b.defaultclock.dt = DT_MS * b.ms
    given = dict(
        gl=10 * b.nS, El=-60 * b.mV, Ee=0 * b.mV, Ei=-80 * b.mV, g_na=20 * b.uS, g_kd=6 * b.uS, ENa=50 * b.mV,
        EK=-90 * b.mV, VT=-63 * b.mV, Cm=200 * b.pF, taue=5 * b.ms, taui=10 * b.ms, i_e=CURRENT_NA * b.nA,
    )  # fmt: skip
    neuron = b.NeuronGroup(
        1, EQUATIONS, threshold="v>-20*mV", refractory=3 * b.ms, method="exponential_euler", namespace=given
    )
    neuron.v = -65 * b.mV
    for name, value in REST.items():
        setattr(neuron, name, value)
    times = np.array([*EXCITATORY_MS, *INHIBITORY_MS])
    source = b.SpikeGeneratorGroup(2, [0] * len(EXCITATORY_MS) + [1] * len(INHIBITORY_MS), times * b.ms)
    excite = b.Synapses(source, neuron, on_pre=f"ge_post += {WEIGHTS_NS[0]}*nS")
    excite.connect(i=0, j=0)
    inhibit = b.Synapses(source, neuron, on_pre=f"gi_post += {WEIGHTS_NS[1]}*nS")
    inhibit.connect(i=1, j=0)
    spikes, meter = b.SpikeMonitor(neuron), b.StateMonitor(neuron, "v", record=[0], when="end")
    b.Network(neuron, source, excite, inhibit, spikes, meter).run(MS * b.ms)
    found = {
        "brian2": b.__version__,
        "spikes": np.round(np.asarray(spikes.t / b.ms), 6).tolist(),
        "v": np.asarray(meter.v[0] / b.mV)[::10].tolist(),
    }
    (Path(folder) / "brian2_hh.json").write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
