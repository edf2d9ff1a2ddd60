"""Random configurations of a Xylo and inputs that saturate, send several spikes, and use aliases and biases."""

from __future__ import annotations

import dataclasses

import numpy as np

from neurosim.hardware.xylo.configuration import XyloConfiguration
from neurosim.hardware.xylo.reference import STATES, XyloRun


def draw(
    rng: np.random.Generator, hidden: int = 24, inputs: int = 8, outputs: int = 4, *, forward: bool = False
) -> XyloConfiguration:
    """Draw a chip: sizes given, everything else over its range or a part of it, so that all regimes occur.

    With `forward` aliases go to neurons of higher number only.
    """

    def weights(*shape: int) -> np.ndarray:
        size = rng.choice([4, 30, 128])
        sparse = rng.random(shape) < rng.choice([0.2, 0.6, 1.0])
        return (rng.integers(-size, size, shape) + rng.integers(0, 3)).clip(-128, 127) * sparse

    def thresholds(n: int) -> np.ndarray:
        return rng.integers(1, rng.choice([20, 500, 5000, 32767], n) + 1)

    def biases(n: int) -> np.ndarray:
        size = rng.choice([1, 50, 32769])
        return (
            rng.integers(-size + (size < 100), size, n).clip(-32768, 32767) if rng.random() < 0.7 else np.zeros(n, int)
        )

    aliases = np.full(hidden, -1)
    for number in rng.choice(hidden, rng.integers(0, hidden // 2 + 1), replace=False):
        aliases[number] = rng.integers(number + 1, hidden) if forward and number + 1 < hidden else rng.integers(hidden)
    if forward:
        aliases[-1] = -1
    return XyloConfiguration(
        weights_in=weights(inputs, hidden, 2),
        weights_rec=weights(hidden, hidden, 2),
        weights_out=weights(hidden, outputs),
        aliases=aliases,
        threshold=thresholds(hidden),
        threshold_out=thresholds(outputs),
        bias=biases(hidden),
        bias_out=biases(outputs),
        dash_mem=rng.integers(0, rng.choice([3, 8, 16]), hidden),
        dash_mem_out=rng.integers(0, rng.choice([3, 8, 16]), outputs),
        dash_syn=rng.integers(0, rng.choice([3, 8, 16]), (hidden, 2)),
        dash_syn_out=rng.integers(0, rng.choice([3, 8, 16]), outputs),
        shift_in=int(rng.integers(0, 8)),
        shift_rec=int(rng.integers(0, 8)),
        shift_out=int(rng.integers(0, 8)),
        name="drawn",
    )


def mild(rng: np.random.Generator, chip: XyloConfiguration) -> XyloConfiguration:
    """Return the chip without aliases and with weights so small that no sum of a step exceeds 16 bits."""
    return dataclasses.replace(
        chip,
        aliases=np.full(chip.hidden, -1),
        weights_in=chip.weights_in // 8 + (chip.weights_in > 0) * 3,
        weights_rec=chip.weights_rec // 16,
        weights_out=np.abs(chip.weights_out) // 8 + 1,
        threshold=rng.integers(5, 300, chip.hidden),
        threshold_out=rng.integers(5, 60, chip.outputs),
        dash_syn=chip.dash_syn.clip(1, 4),
        dash_syn_out=chip.dash_syn_out.clip(1, 4),
        bias=chip.bias.clip(-5, 20),
        bias_out=chip.bias_out.clip(-1, 2),
        dash_mem_out=chip.dash_mem_out.clip(2),
        shift_in=0,
        shift_rec=0,
        shift_out=int(rng.integers(0, 3)),
    )


def spikes(rng: np.random.Generator, chip: XyloConfiguration, steps: int, batch: int) -> np.ndarray:
    """Draw input of 0 ... 15 spikes, with silent stretches in which the states decay."""
    x = rng.integers(0, 16, (steps, batch, chip.inputs)) * (rng.random((steps, batch, chip.inputs)) < rng.random())
    x[steps // 2 : steps // 2 + steps // 4] = 0
    return x


def differing(ours: XyloRun, theirs: XyloRun) -> int:
    """Count the spikes and states of all neurons and steps that differ."""
    total = 0
    for name in STATES:
        a, b = getattr(ours, name), getattr(theirs, name)
        assert a.shape == b.shape, name
        total += int((a != b).sum())
    return total


@dataclasses.dataclass
class Seen:
    """How much of what matters occurred."""

    neuron_steps: int = 0
    spikes: int = 0
    several: int = 0
    full: int = 0
    large_currents: int = 0
    membranes_at_a_bound: int = 0

    def add(self, run: XyloRun) -> None:
        """Count a run."""
        self.neuron_steps += run.hidden.size + run.output.size
        self.spikes += int(run.hidden.sum() + run.output.sum())
        self.several += int((run.hidden > 1).sum())
        self.full += int((run.hidden == 31).sum())
        currents = (run.i_syn, run.i_syn2, run.i_syn_out)
        self.large_currents += sum(int((np.abs(each) > 16000).sum()) for each in currents)
        self.membranes_at_a_bound += sum(int(((v == -32768) | (v == 32767)).sum()) for v in (run.v, run.v_out))
