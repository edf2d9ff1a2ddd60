"""Two astrocytes: Loihi's, which converts seconds of spikes to bursts, and oscillating calcium.

    python examples/astrocytes.py --out astrocytes.png

First, 20 inputs at several rates drive the slow-inward-current astrocyte for a minute, in the chip's integers and in
floating point. The program prints the spikes of its receiver and of IP3, their ratio, and the spikes of a burst. One
neuron with too weak a drive to fire often receives the bursts, and another one does not.

Then calcium of the Li-Rinzel astrocyte at several levels of IP3: the program prints amplitude and period. Calcium is
constant at low and at high IP3, and oscillates in between. The plot shows both.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

import neurosim as ns
from neurosim.cores import li_rinzel
from neurosim.models import SlowInwardCurrent
from neurosim.report import save_figure
from neurosim.report.plots.style import colour, new_figure, tidy

INPUTS = 20
LEVELS = (0.16, 0.25, 0.35, 0.40, 0.45, 0.50, 0.60)  # IP3, uM


def poisson(hertz: float, seconds: float, seed: int) -> np.ndarray:
    """Draw spikes of the inputs [T, 1, 20] at steps of 1 ms."""
    return (np.random.default_rng(seed).random((round(seconds * 1000), 1, INPUTS)) < hertz * 1e-3).astype(np.float32)


def circuit(arithmetic: Literal["float", "loihi"]) -> ns.Network:
    """Return the astrocyte, and in floating point two neurons, one of which receives its bursts."""
    astro = SlowInwardCurrent(arithmetic=arithmetic)
    nodes: dict[str, Any] = {"input": ns.Input(INPUTS), **astro.nodes()}
    edges = [astro.input_edge("input", INPUTS), *astro.edges()]
    if arithmetic == "float":
        nodes["neuron"] = ns.LIF(tau_mem=20e-3, dt=astro.dt)
        drive, burst = ns.Linear(INPUTS, 2), astro.output_edge("neuron", 2, weight=10.0)
        with torch.no_grad():
            drive.weight.fill_(0.9)
            next(burst.synapses[0].parameters())[1] = 0.0
        edges += [ns.Edge("input", "neuron", drive), burst]
    return ns.Network(nodes, edges)


def count(seconds: float, seed: int) -> None:
    """Print the table of rates."""
    for arithmetic in ("loihi", "float"):
        net = circuit(arithmetic)
        print(f"astrocyte on Loihi, arithmetic {arithmetic}, {seconds:g} s: rate per input, spikes")
        for hertz in (10, 20, 40, 80):
            found = ns.simulate(net, poisson(hertz, seconds, seed)).spikes
            receiver, ip3, burst = (found[f"astro_{name}"].step for name in ("receiver", "ip3", "burst"))
            each = f"{len(receiver) / len(ip3):.0f} per IP3 spike" if len(ip3) else "-"
            inside = f", {(burst < ip3[1]).sum()} in the first burst" if len(ip3) > 1 else ""
            print(f"  {hertz} Hz: receiver {len(receiver)}, IP3 {len(ip3)} ({each}){inside}")


def follow(seconds: float, seed: int) -> ns.Recording:
    """Run the circuit at 20 Hz, print the neurons' rates around the bursts and return the recording."""
    names = ["astro_receiver", "astro_ip3", "astro_burst", "neuron", "astro_sic"]
    recording = ns.simulate(circuit("float"), poisson(20.0, seconds, seed), record=names)
    ip3, neuron = recording.spikes["astro_ip3"].step, recording.spikes["neuron"]
    inside = np.zeros(recording.T, dtype=bool)
    for step in ip3:
        inside[step : step + 500] = True
    for number, name in enumerate(("with", "without")):
        fired = neuron.step[neuron.neuron == number]
        within = inside[fired].sum() / inside.sum() * 1000
        outside = (~inside[fired]).sum() / (~inside).sum() * 1000
        print(
            f"neuron {name} astrocyte: {within:.1f} Hz in the half second after an IP3 spike, "
            f"{outside:.1f} Hz otherwise"
        )
    return recording


def calcium(seconds: float, dt: float) -> Tensor:
    """Print amplitude and period per level of IP3 in the last three tenths; return calcium [T, levels] in uM."""
    ip3 = torch.tensor(LEVELS, dtype=torch.float64) * 1e-3  # mol/m^3
    layer = ns.layer(li_rinzel)(dt=dt, ip3_rest=ip3)
    silence = torch.zeros(round(seconds / dt), 1, len(LEVELS), dtype=torch.float64)
    seen = layer.run(silence, layer.initial_state(silence)._replace(ip3=ip3[None].clone()), ("ca",)).recorded
    ca = seen["ca"][:, 0] * 1e3
    late = ca[-round(0.3 * len(ca)) :]
    print(f"Li-Rinzel calcium, {seconds:g} s in steps of {dt * 1e3:g} ms")
    for number, level in enumerate(LEVELS):
        trace = late[:, number]
        swing, above = float(trace.max() - trace.min()), trace > trace.mean()
        rises = (above[1:] & ~above[:-1]).nonzero().flatten() * dt
        if swing > 0.02 and len(rises) > 1:
            print(f"  IP3 {level:.2f} uM: oscillates by {swing:.3f} uM every {float(rises.diff().mean()):.1f} s")
        else:
            print(f"  IP3 {level:.2f} uM: constant at {float(trace.mean()):.3f} uM")
    return ca


def main() -> None:
    """Run both, print and plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="duration of the astrocyte on Loihi")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="shorter runs")
    parser.add_argument("--out", type=Path, default=Path("runs/astrocytes/astrocytes.png"))
    args = parser.parse_args()
    began = time.perf_counter()
    count(15.0 if args.quick else args.seconds, args.seed)
    recording = follow(20.0, args.seed)
    dt = 2e-3
    ca = calcium(100.0 if args.quick else 200.0, dt)
    figure = new_figure(7.0, 4.2)
    current, rows, trace = (tidy(axes) for axes in figure.subplots(3, 1, height_ratios=(1, 0.8, 1.2)))
    every = 20  # steps between plotted points
    shown = recording.traces["astro_sic"][::every, 0, 0]
    current.plot(np.arange(len(shown)) * every * 1e-3, shown, color=colour(0), linewidth=1)
    current.set(ylabel="slow inward\ncurrent", xlim=(0, 20))
    neuron = recording.spikes["neuron"]
    lines = [recording.spikes["astro_ip3"].step, *(neuron.step[neuron.neuron == number] for number in (0, 1))]
    rows.eventplot([line * 1e-3 for line in lines], colors=[colour(k) for k in range(3)], linewidths=0.8)
    rows.set(yticks=[0, 1, 2], yticklabels=["IP3", "with", "without"], xlim=(0, 20), xlabel="time (s)")
    for number, level in enumerate(LEVELS):
        if level in (0.16, 0.40, 0.60):
            line = ca[:: 5 * every, number]
            seconds = np.arange(len(line)) * 5 * every * dt
            trace.plot(seconds, line, color=colour(number), linewidth=1, label=f"IP3 {level:.2f} µM")
    trace.set(ylabel="calcium (µM)", xlabel="time (s)", xlim=(0, 100))
    trace.legend(frameon=False, fontsize=8, loc="upper right", ncols=3)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, args.out)
    print(f"{args.out}, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
