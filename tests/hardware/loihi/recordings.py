"""Recordings that others made of Loihi models and of a chip, and the same by our integer networks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import neurosim as ns
from neurosim.hardware.loihi import chip_weight, loihi_neurons
from neurosim.synapses import RoundedDelays, Synapse

DT = 1e-3


@dataclass(frozen=True)
class Compared:
    """How many bins were compared, how many differ, and how many spikes the recording holds."""

    bins: int
    differing: int
    spikes: int


def ntidigits(folder: Path) -> Compared:
    """Compare the output of the network of ``ntidigits.net``, lava-dl 0.6.0, with the recording beside it.

    64-256-256-242 neurons, delays of up to 62 steps for each neuron of the hidden layers. Each of the three connections
    takes a step on the chip, and the recorded output comes one step later than that.
    """
    import h5py

    nodes: dict[str, ns.Input | ns.Neuron] = {"layer1": ns.Input(64)}
    edges = []
    with h5py.File(folder / "ntidigits.net") as file:
        for k in (2, 3, 4):
            group = file[f"layer/{k}"]
            weight = chip_weight(torch.from_numpy(group["weight"][()]))
            neuron = {key: int(group["neuron"][key][()]) for key in ("iDecay", "vDecay", "vThMant")}
            nodes[f"layer{k}"] = loihi_neurons(
                dt=DT, du=neuron["iDecay"] - 1, dv=neuron["vDecay"], v_th=neuron["vThMant"]
            )
            synapse: Synapse = ns.Linear(weight.shape[1], weight.shape[0])
            if "delay" in group:  # of the neurons' axons, which is the same on the way to them
                delay = torch.from_numpy(group["delay"][()]).long()
                synapse = RoundedDelays(weight, delay[:, None].expand(weight.shape).contiguous(), dt=DT)
            else:
                with torch.no_grad():
                    synapse.weight.copy_(weight)
            edges.append(ns.Edge(f"layer{k - 1}", f"layer{k}", synapse, delay=DT))
    x = torch.from_numpy(np.load(folder / "input.npy").T.copy()).float()
    z, _ = ns.Network(nodes, edges)(x.unsqueeze(1))
    recorded = np.load(folder / "output.npy").T
    late = np.concatenate((np.zeros((1, recorded.shape[1])), z[:-1, 0].detach().numpy()))
    return Compared(recorded.size, int((late != recorded).sum()), int(recorded.sum()))


def chip(folder: Path) -> tuple[Compared, np.ndarray]:
    """Compare the neuron of ``lif_lava_loihi_fixed.csv`` (NIR paper, Loihi 2): spikes, and where voltages differ.

    The paper's program turns tau = 2.5 ms at a step of 0.1 ms, v_th = 0.1 into dv = 163, v_th = 25 and a weight of 10.

    Returns
    -------
    Compared
        Of the spikes.
    numpy.ndarray [4, n]
        Step, recorded spike, recorded voltage and our voltage of each step at which the voltages differ.
    """
    x, v, spikes = np.loadtxt(folder / "lif_lava_loihi_fixed.csv", delimiter=",").T
    current = torch.from_numpy(np.concatenate(([0.0], 10 * x[:-1]))).reshape(-1, 1, 1)
    z, _, values, *_ = loihi_neurons(dt=1e-4, du=4095, dv=163, v_th=25).run(current, None, ("v",))
    ours, fired = values["v"].flatten().numpy(), z.flatten().numpy()
    (apart,) = np.nonzero(ours != v)
    differing = int((fired != spikes).sum())
    return Compared(spikes.size, differing, int(spikes.sum())), np.stack((apart, spikes[apart], v[apart], ours[apart]))
