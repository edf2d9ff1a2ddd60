"""A LIF layer on [100, 64x256] float32, forward and backward, against the eager loop and other libraries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import neurosim as ns
from benchmarks import peers
from benchmarks.timing import ImplausibleError, interleaved

NAME = "lif-layer"
# Whatever the method: forward reads the current and writes the spikes; backward reads the gradient of the spikes,
# writes that of the current, and has to know the membrane, for which it reads the current or something as large.
ARRAYS = 5


def measure(quick: bool = False) -> dict[str, Any]:
    """Return times in s, spikes that agree, and the floor set by the memory."""
    steps, batch, width, rounds = (10, 4, 32, 2) if quick else (100, 64, 256, 10)
    dt, tau = 1e-3, 20e-3
    torch.manual_seed(0)
    x = torch.rand(steps, batch, width) * 6.0
    g = torch.randn_like(x)
    lif = ns.LIF(tau_mem=tau, dt=dt, spike=ns.atan(2.0))
    others, missing = peers.available(dt, tau)
    layers: dict[str, Callable[[Tensor], Tensor]] = {
        "neurosim": lambda i: lif(i)[0],
        "eager loop": lambda i: lif.reference(i)[0],
        **others,
    }
    agreement = _agreement(layers, x)
    target = torch.empty_like(x)
    copies = interleaved({"copy": lambda: target.copy_(x)}, rounds, calls=20)["copy"]
    times = interleaved({name: _both_ways(layer, x, g) for name, layer in layers.items()}, rounds)
    moved = ARRAYS * x.numel() * x.element_size()
    bandwidth = 2 * x.numel() * x.element_size() / copies.seconds[0]
    floor = moved / bandwidth
    for name, each in times.items():
        if each.seconds[0] < floor:
            raise ImplausibleError(
                f"{name} took {each.seconds[0]:.2e} s; moving {moved} bytes takes {floor:.2e} s at least."
            )
    ours = times["neurosim"].median
    return {
        "work": f"LIF layer, float32 [{steps}, {batch}x{width}], forward and backward",
        "floor": {"bytes": moved, "copy_bytes_per_s": bandwidth, "seconds": floor},
        "contenders": {
            name: {**each.as_json(), "times_ours": each.median / ours, "spikes_that_agree": agreement[name]}
            for name, each in times.items()
        },
        "not_installed": missing,
    }


def _both_ways(layer: Callable[[Tensor], Tensor], x: Tensor, g: Tensor) -> Callable[[], None]:
    i = x.clone().requires_grad_()

    def run() -> None:
        i.grad = None
        layer(i).backward(g)

    return run


def _agreement(layers: dict[str, Callable[[Tensor], Tensor]], x: Tensor) -> dict[str, float]:
    """Return the share of neuron-steps at which each does what the eager loop does; all must do nearly the same.

    Other libraries round in another order, and a spike moved by a step also moves what follows it.
    """
    with torch.no_grad():
        spikes = {name: layer(x) for name, layer in layers.items()}
    wanted = spikes["eager loop"]
    if not 0.01 < wanted.mean() < 0.5:
        raise ImplausibleError(
            f"the layer fires at {wanted.mean():.3f} spikes a step; the work is not that of a network."
        )
    shares = {name: (z == wanted).float().mean().item() for name, z in spikes.items()}
    for name, share in shares.items():
        if share < (1.0 if name == "neurosim" else 0.999):
            raise ImplausibleError(f"{name} agrees with the eager loop at {share:.5f} of the neuron-steps only.")
    return shares


def table(result: dict[str, Any]) -> str:
    """Return the result as text."""
    floor = result["floor"]
    lines = [result["work"], f"{'':14}{'median':>10}{'p10':>10}{'p90':>10}{'x ours':>8}{'spikes agree':>14}"]
    for name, each in result["contenders"].items():
        middle = "".join(f"{1e3 * each[key]:7.2f} ms" for key in ("median_s", "p10_s", "p90_s"))
        lines.append(f"{name:14}{middle}{each['times_ours']:8.1f}{each['spikes_that_agree']:14.5%}")
    lines.append(
        f"{'memory floor':14}{1e3 * floor['seconds']:7.2f} ms   ({floor['bytes'] / 1e6:.1f} MB at "
        f"{floor['copy_bytes_per_s'] / 1e9:.0f} GB/s, the fastest copy)"
    )
    lines += [f"{name:14}not installed: {why}" for name, why in result["not_installed"].items()]
    return "\n".join(lines)
