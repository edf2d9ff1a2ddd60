"""The neurons of a LIF layer on float32 [100, 64x256], forward and backward, against a loop and other libraries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import neurosim as ns
from benchmarks.libraries import UnavailableError, build
from benchmarks.nets import DT, TAU, Layer
from benchmarks.options import Options
from benchmarks.timing import ImplausibleError, interleaved

NAME = "lif-neurons"
# In any method, forward reads the current and writes the spikes; backward reads the gradient of the spikes, writes
# that of the current, and needs the membrane, for which it reads the current or an array of that size.
ARRAYS = 5
PEERS = ("SpikingJelly", "snnTorch", "Norse", "sinabs")


def measure(options: Options) -> dict[str, Any]:
    """Return times in s, agreement of spikes, and the floor set by memory."""
    steps, batch, width, rounds = (10, 4, 32, 2) if options.quick else (100, 64, 256, 10)
    torch.manual_seed(0)
    x = torch.rand(steps, batch, width) * 6.0
    g = torch.randn_like(x)
    lif = ns.LIF(tau_mem=TAU, dt=DT, spike=ns.atan(2.0))
    others, missing = _peers()
    layers: dict[str, Callable[[Tensor], Tensor]] = {
        "neurosim": lambda i: lif(i)[0],
        "eager loop": lambda i: lif.run_reference(i).out,
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
        "omitted": missing,
    }


def _peers() -> tuple[dict[str, Callable[[Tensor], Tensor]], dict[str, str]]:
    """Return the neurons of each peer, from currents to spikes, and why others are missing."""
    layers: dict[str, Callable[[Tensor], Tensor]] = {}
    missing = {}
    for name in PEERS:
        try:
            layers[name] = build(name, [Layer(synapses=())])
        except UnavailableError as error:
            missing[name] = str(error)
    return layers, missing


def _both_ways(layer: Callable[[Tensor], Tensor], x: Tensor, g: Tensor) -> Callable[[], None]:
    i = _prepared(layer, x).clone().requires_grad_()

    def run() -> None:
        i.grad = None
        layer(i).backward(g)

    return run


def _prepared(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return layer.prepare(x) if hasattr(layer, "prepare") else x


def _agreement(layers: dict[str, Callable[[Tensor], Tensor]], x: Tensor) -> dict[str, float]:
    """Return the fraction of neuron-steps at which each equals the eager loop; all must be nearly equal.

    Other libraries round in another order, and a spike that moves by a step also moves later ones.
    """
    with torch.no_grad():
        spikes = {name: layer(_prepared(layer, x)) for name, layer in layers.items()}
    wanted = spikes["eager loop"]
    if not 0.01 < wanted.mean() < 0.5:
        raise ImplausibleError(
            f"the layer fires at {wanted.mean():.3f} spikes per step, which is not realistic for a network."
        )
    shares = {name: (z == wanted).float().mean().item() for name, z in spikes.items()}
    for name, share in shares.items():
        if share < (1.0 if name == "neurosim" else 0.999):
            raise ImplausibleError(f"{name} agrees with the eager loop at only {share:.5f} of the neuron-steps.")
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
    lines += [f"{name:14}omitted: {why}" for name, why in result["omitted"].items()]
    return "\n".join(lines)
