"""A placed network on SANA-FE's model of Loihi, beside ours: what both counted, and how much differs."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurosim.cores import loihi
from neurosim.energy import count_operations, count_traffic, energy
from neurosim.energy.times import time_of
from neurosim.energy.traffic import chip_steps
from neurosim.hardware.placement import Placement
from neurosim.hardware.placement.mesh import Mesh
from neurosim.network import Network

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "peers" / "in_sanafe.py"
CHIP, INPUT = "loihi1_board", "input"


@dataclasses.dataclass(frozen=True)
class Compared:
    """One sample on both sides; energies in J, times in s.

    Attributes
    ----------
    compared, differing : int
        Neuron-steps, and how many of them fire on one side only.
    counts : dict of str to (int, int)
        What we and SANA-FE counted.
    energies : dict of str to (float, float)
        Joules by part.
    least, most : float
        Our bounds.
    simple, detailed : float
        The times of its two models.
    """

    compared: int
    differing: int
    counts: dict[str, tuple[int, int]]
    energies: dict[str, tuple[float, float]]
    least: float
    most: float
    simple: float
    detailed: float


def job_of(net: Network, x: Tensor, placement: Placement, *, always: bool) -> dict[str, Any]:
    """Describe a network of Loihi's neurons and one sample [T, inputs]; inputs take the core behind the last one.

    The current of a neuron acts for one step (`du` is 4095); the current of SANA-FE that decays is not an integer.
    """
    assert all(neuron.core is loihi and int(neuron.value("du")) == 4095 for neuron in net.neurons().values())
    mesh = Mesh.of(placement.target)

    def at(core: int) -> list[int]:
        column, row = mesh.tile(np.array(core))
        return [int(column), int(row), core % mesh.cores_per_tile]

    lag = chip_steps(net)
    groups: dict[str, Any] = {
        INPUT: {"places": [at(placement.cores)] * x.shape[1], "spikes": x.T.int().tolist()},
    }
    for name, neuron in net.neurons().items():
        places: list[Any] = [None] * placement[name].neurons
        for part in placement[name].parts:
            for k in part.neurons:
                places[k] = at(part.core)
        groups[name] = {
            "places": places,
            # Its potential is counted in units of 64 of the voltage, and truncated to 1/64 after the leak.
            "neuron": {
                "threshold": int(neuron.value("v_th")),
                "leak_decay": 1.0 - int(neuron.value("dv")) / 4096.0,
                "bias": int(neuron.value("bias")) / 64.0,
                "reset_mode": "hard",
                "reset": 0.0,
                "force_update": always,
            },
        }
    edges = []
    for edge in net.edges:
        shape = net.shape(edge.source)
        sent = torch.eye(math.prod(shape)).reshape(1, -1, *shape)
        with torch.no_grad():
            for synapse in edge.synapses:
                sent = synapse(sent)
        weight = sent.flatten(2)[0].double()
        synapses = [[i, j, float(weight[i, j])] for i, j in weight.nonzero().tolist()]
        edges.append({"source": edge.source, "target": edge.target, "synapses": synapses})
    steps = len(x) + max(lag.values())
    models = ["simple", "detailed"]
    return {"groups": groups, "edges": edges, "steps": steps, "inputs": x.shape[1], "timing_models": models}


def on_sanafe(job: dict[str, Any], python: Path) -> dict[str, Any]:
    """Run a job in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        asked, found = Path(name) / "job.json", Path(name) / "result.json"
        asked.write_text(json.dumps(job))
        command = [str(python), "-I", str(SCRIPT), str(asked), str(found)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return dict(json.loads(found.read_text()))


def compare(net: Network, x: Tensor, placement: Placement, python: Path, *, always: bool = True) -> Compared:
    """Compare one sample x [T, 1, inputs] of a network of Loihi's neurons."""
    traffic, operations = count_traffic(net, x, placement), count_operations(net, x)
    results = on_sanafe(job_of(net, x[:, 0].flatten(1), placement, always=always), python)
    theirs = results["simple"]
    assert theirs["messages"] and theirs["spikes"] == results["detailed"]["spikes"]
    ours = our_spikes(net, x)
    fired = {tuple(spike) for spike in theirs["spikes"] if spike[1] != INPUT}
    target = placement.target
    parts = energy(operations, target, [traffic])[target.name].components()
    price = target.energy
    outside = [m for m in theirs["messages"] if m[1] == INPUT]
    inside = [m for m in theirs["messages"] if m[1] != INPUT]
    # The energy report counts the steps of the data, and the spikes that arrive in them.
    late = traffic.steps - traffic.data_steps
    in_flight = int(traffic.events.sum()) - operations.accumulates
    updates = int(traffic.updates.sum())
    hop = [price[key].number for key in ("hop_east_west", "hop_north_south")]
    # Inputs are outside the chip here, and neurons of a core there.
    networked = sum(price["message"].number + float(hops_of(placement, m) @ hop) for m in outside)
    times = time_of(traffic)
    return Compared(
        compared=sum(placement.sizes.values()) * traffic.steps,
        differing=len(ours ^ fired),
        counts={
            "synaptic events": (int(traffic.events.sum()), sum(m[4] for m in theirs["messages"])),
            "messages": (int(traffic.sent.sum()), len(inside)),
            "messages received": (int(traffic.received.sum()), len(theirs["messages"])),
            "hops": (sum(map(sum, traffic.hops.values())), sum(m[5] for m in inside)),
            "neuron updates": (updates * traffic.steps, sum(theirs["updated"]) - int(x.sum())),
        },
        energies={
            "synapse": (
                parts["synapses"] + in_flight * price["synaptic_operation"].number,
                theirs["energy"]["synapse"],
            ),
            "soma": (
                parts["neurons"] + parts["spikes"] + late * updates * price["neuron_update"].number,
                theirs["energy"]["soma"],
            ),
            "network": (parts["messages"] + parts["hops"], theirs["energy"]["network"] - networked),
        },
        least=times.least,
        most=times.most,
        simple=sum(theirs["times"]),
        detailed=sum(results["detailed"]["times"]),
    )


def our_spikes(net: Network, x: Tensor) -> set[tuple[int, str, int]]:
    """Return (step of the chip, population, neuron) of each spike."""
    lag = chip_steps(net)
    with torch.no_grad():
        recorded = net.run(x, record=list(net.neurons())).recorded
    return {
        (int(step) + lag[name], name, int(k))
        for name, z in recorded.items()
        for step, k in z[:, 0].flatten(1).nonzero()
    }


def hops_of(placement: Placement, message: list[Any]) -> np.ndarray:
    """Return the tiles east or west and north or south that a message of SANA-FE passed."""
    rows = 4
    (x, y), (to_x, to_y) = (divmod(core // Mesh.of(placement.target).cores_per_tile, rows) for core in message[2:4])
    assert abs(x - to_x) + abs(y - to_y) == message[5]
    return np.array([abs(x - to_x), abs(y - to_y)])
