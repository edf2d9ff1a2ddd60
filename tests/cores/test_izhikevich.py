"""Izhikevich's model against the published program, line by line."""

from __future__ import annotations

import numpy as np
import torch

import neurosim as ns
from neurosim.cores import izhikevich

PATTERNS = {
    "regular spiking": (0.02, 0.2, -65.0, 8.0),
    "chattering": (0.02, 0.2, -50.0, 2.0),
    "fast spiking": (0.1, 0.2, -65.0, 2.0),
}


def program(i: np.ndarray, a, b, c, d) -> tuple[list[tuple[int, int]], np.ndarray]:
    """Return (step, neuron) of spikes and v, as net.m of the paper's figure 3 computes them, without synapses."""
    v = np.full(i.shape[1], -65.0)
    u = b * v
    spikes, voltages = [], []
    for t, thalamic in enumerate(i):
        fired = np.flatnonzero(v >= 30)
        spikes += [(t, int(n)) for n in fired]
        v[fired] = c[fired]
        u[fired] += d[fired]
        v = v + 0.5 * (0.04 * v * v + 5 * v + 140 - u + thalamic)
        v = v + 0.5 * (0.04 * v * v + 5 * v + 140 - u + thalamic)
        u = u + a * (b * v - u)
        voltages.append(v.copy())
    return spikes, np.array(voltages)


def test_spikes_are_those_of_the_published_program():
    i = np.random.default_rng(0).normal(4.0, 5.0, (1000, 30))
    a, b, c, d = (np.array([list(PATTERNS.values())[n % 3][k] for n in range(30)]) for k in range(4))
    expected, _ = program(i, a, b, c, d)
    parameters = {name: torch.from_numpy(value) for name, value in zip("abcd", (a, b, c, d), strict=True)}
    layer = ns.layer(izhikevich)(dt=1e-3, **parameters)
    start = layer.initial_state(torch.zeros(1, 1, 30, dtype=torch.float64))._replace(
        u=torch.from_numpy(b * -65.0)[None]
    )
    z = layer(torch.from_numpy(i)[:, None], start)[0]
    # The program sees a spike where the next step begins.
    found = [(step + 1, neuron) for step, _, neuron in z.nonzero().tolist() if step + 1 < 1000]
    assert found == expected and len(expected) > 200


def test_the_patterns_are_those_of_the_paper():
    counts = {}
    for name, (a, b, c, d) in PATTERNS.items():
        z = ns.layer(izhikevich)(dt=1e-3, a=a, b=b, c=c, d=d)(torch.full((1000, 1, 1), 10.0, dtype=torch.float64))[0]
        intervals = z.flatten().nonzero().flatten()[5:].diff().double()
        counts[name] = (float(z.sum()), float(intervals.std() / intervals.mean()))
    assert counts["regular spiking"][1] < 0.15 and counts["fast spiking"][1] < 0.3 and counts["chattering"][1] > 0.5
    assert counts["fast spiking"][0] > 2 * counts["regular spiking"][0]
