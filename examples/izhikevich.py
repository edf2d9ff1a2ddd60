"""A custom core: the Izhikevich neuron in ten lines, and everything derived from it.

    python examples/izhikevich.py

Prints the equations in LaTeX and the operations per update, compares the fused kernel with the definition, trains the
input gain by gradient descent through the fused kernel, and plots four firing patterns of Izhikevich 2003
(doi:10.1109/TNN.2003.820440) to ``runs/izhikevich/patterns.png``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import neurosim as ns
from neurosim.report import save_figure, traces

MS = 1e3  # the model's equations have time in ms; dt is in s


@ns.core(parameters=dict(a=0.02, b=0.2, c=-65.0, d=8.0, gain=1.0, v_peak=30.0), state=dict(v=-65.0, w=-13.0))
def izhikevich(i, v, w, *, a, b, c, d, gain, v_peak, dt, spike, reset):
    """Step ``dv/dt = 0.04 v^2 + 5 v + 140 - w + i``, ``dw/dt = a (b v - w)`` by forward Euler (Izhikevich 2003)."""
    u = v + MS * dt * (0.04 * v * v + 5.0 * v + 140.0 - w + gain * i)
    z = spike(u - v_peak)
    recovery = w + MS * dt * a * (b * v - w)
    return z, reset(u, z, to=c, by=0.0), recovery + reset.gate(z) * d


Izhikevich = ns.layer(izhikevich)
DT = 0.25e-3
PATTERNS = {
    "regular spiking": dict(a=0.02, b=0.2, c=-65.0, d=8.0),
    "intrinsically bursting": dict(a=0.02, b=0.2, c=-55.0, d=4.0),
    "chattering": dict(a=0.02, b=0.2, c=-50.0, d=2.0),
    "fast spiking": dict(a=0.1, b=0.2, c=-65.0, d=2.0),
}


def patterns(steps: int) -> ns.Recording:
    """Return a recording of one neuron of each kind with a constant current of 10 from 50 ms on."""
    each = {name: torch.tensor([float(p[name]) for p in PATTERNS.values()]) for name in "abcd"}
    net = ns.Network(
        nodes={"input": ns.Input(len(PATTERNS)), "neurons": Izhikevich(**each, dt=DT)},
        edges=[ns.Edge("input", "neurons", ns.Sparse(4, 4, torch.arange(4).repeat(2, 1), torch.ones(4)))],
    )
    current = torch.full((steps, 1, len(PATTERNS)), 10.0)
    current[: round(50e-3 / DT)] = 0.0
    return ns.simulate(net, current, record=("neurons", "neurons.v"))


def gain_of(layer: ns.Neuron) -> float:
    """Return the current gain as a number."""
    return torch.as_tensor(layer.value("gain")).item()


def learn_gain(epochs: int) -> tuple[float, float, float]:
    """Train the gain until the neuron fires 10 spikes in 400 ms; return first and last gain and the last count."""
    layer = Izhikevich(gain=0.6, learn=("gain",), spike=ns.fast_sigmoid(0.2), dt=DT)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.02)
    current = torch.full((round(0.4 / DT), 1, 1), 10.0)
    first = gain_of(layer)
    for _ in range(epochs):
        spikes, _ = layer(current)
        optimizer.zero_grad()
        ((spikes.sum() - 10.0) ** 2).backward()
        torch.nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
        optimizer.step()
    return first, gain_of(layer), layer(current)[0].sum().item()


def main() -> None:
    """Show what is derived from a custom core."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="shorter run")
    parser.add_argument("--out", type=Path, default=Path("runs/izhikevich/patterns.png"))
    args = parser.parse_args()
    print(ns.latex(izhikevich))
    layer = Izhikevich(dt=DT)
    print(layer.operations())
    current = 10.0 + 5.0 * torch.randn(400, 8, 16)
    same = torch.equal(layer(current)[0], layer.run_reference(current).out)
    print(f"fused kernel and definition give the same spikes: {same}")
    recording = patterns(800 if args.quick else 2000)
    for name, count in zip(PATTERNS, recording.spikes["neurons"].count()[0], strict=True):
        print(f"{name}: {count} spikes in {recording.T * DT:.2f} s")
    save_figure(traces(recording, "neurons.v", neurons=range(4), title=", ".join(PATTERNS)), args.out)
    first, last, count = learn_gain(5 if args.quick else 60)
    print(f"gain learned from {first:.2f} to {last:.2f}: {count:.0f} spikes in 400 ms, target 10")
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
