"""Integer networks as plain data: drawn at random, as a network of ours, and as fixed-point models of lava-nc.

On both sides every connection takes a step, as on the chip, so that step t of one is step t of the other.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch

import neurosim as ns
from neurosim.hardware.loihi import chip_weight, loihi_neurons
from neurosim.synapses import RoundedDelays, Synapse
from neurosim.synapses.shift import Shift

DT = 1e-3


@dataclasses.dataclass(frozen=True)
class Neurons:
    """A population: its shape, [N] or [C, H, W], and the contents of its registers."""

    shape: tuple[int, ...]
    du: int
    dv: int
    v_th: int
    bias_mant: np.ndarray
    bias_exp: np.ndarray


@dataclasses.dataclass(frozen=True)
class Link:
    """A connection: ``kind`` is dense, sparse, delayed or conv; ``weight`` holds numbers that the chip may not hold."""

    kind: str
    source: str
    target: str
    weight: np.ndarray
    exponent: int = 0
    bits: int = 8
    delay: np.ndarray | None = None
    conv: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Case:
    """Inputs [T, *shape] of 0 and 1 by name, populations by name, links."""

    inputs: dict[str, np.ndarray]
    neurons: dict[str, Neurons]
    links: tuple[Link, ...]

    @property
    def steps(self) -> int:
        return len(next(iter(self.inputs.values())))

    @property
    def neuron_steps(self) -> int:
        return self.steps * sum(int(np.prod(n.shape)) for n in self.neurons.values())


def network(case: Case) -> ns.Network:
    """Return the case as an integer network of ours."""
    nodes: dict[str, Any] = {name: ns.Input(x.shape[1:]) for name, x in case.inputs.items()}
    for name, n in case.neurons.items():
        bias = dict(bias_mant=torch.from_numpy(n.bias_mant), bias_exp=torch.from_numpy(n.bias_exp))
        nodes[name] = loihi_neurons(dt=DT, du=n.du, dv=n.dv, v_th=n.v_th, size=n.shape, **bias)
    shapes = {name: node.shape if isinstance(node, ns.Input) else node.size for name, node in nodes.items()}
    edges = [
        ns.Edge(link.source, link.target, _synapses(link, shapes), delay=DT, name=f"edge{k}")
        for k, link in enumerate(case.links)
    ]
    return ns.Network(nodes, edges).double()


def _synapses(link: Link, shapes: dict[str, Any]) -> list[Synapse]:
    raw = torch.from_numpy(link.weight).double()
    weight = raw.trunc() if link.kind == "conv" else chip_weight(raw, link.bits)
    chain: list[Synapse] = []
    if link.kind != "conv" and len(shapes[link.source]) == 3:
        chain.append(ns.Flatten())
    if link.kind == "dense":
        chain.append(ns.Linear(weight.shape[1], weight.shape[0]).double())
    elif link.kind == "sparse":
        where = weight.nonzero().T.contiguous()
        chain.append(ns.Sparse(weight.shape[1], weight.shape[0], where, weight[where[0], where[1]]))
    elif link.kind == "delayed":
        chain.append(RoundedDelays(weight, torch.from_numpy(link.delay), dt=DT))
    else:
        c_out, per_group, *kernel = weight.shape
        groups = link.conv["groups"]
        chain.append(ns.Conv2d(per_group * groups, c_out, tuple(kernel), **link.conv).double())
    if link.kind in ("dense", "conv"):
        with torch.no_grad():
            chain[-1].weight.copy_(weight)
    return chain + ([Shift(link.exponent)] if link.exponent else [])


def ours(case: Case) -> dict[str, dict[str, np.ndarray]]:
    """Return spikes, current and voltage of each population, [T, *shape], by our simulator."""
    names = [f"{name}{part}" for name in case.neurons for part in ("", ".u", ".v")]
    x = {name: torch.from_numpy(values).double().unsqueeze(1) for name, values in case.inputs.items()}
    found = network(case).run(x, None, names).recorded
    return {
        name: {part: found[f"{name}{dot}"][:, 0].numpy() for part, dot in (("s", ""), ("u", ".u"), ("v", ".v"))}
        for name in case.neurons
    }


def differing(case: Case, one: dict[str, dict[str, np.ndarray]], other: dict[str, dict[str, np.ndarray]]) -> int:
    """Count the values in which two runs differ."""
    assert set(one) == set(other) == set(case.neurons)
    return sum(int((one[name][part] != other[name][part]).sum()) for name in one for part in ("s", "u", "v"))


def draw(rng: np.random.Generator, steps: int, size: int) -> Case:
    """Draw a network of two or three populations and all kinds of links, some loud enough to wrap and to clip."""
    channels, side = int(rng.integers(1, 4)), int(rng.integers(3, 7))
    image = (channels, side, side)
    inputs = {
        "in": (rng.random((steps, size)) < rng.uniform(0.02, 0.5)).astype(np.int64),
        "picture": (rng.random((steps, *image)) < rng.uniform(0.02, 0.5)).astype(np.int64),
    }
    links, neurons = [], {}
    conv, shape = _draw_conv(rng, image)
    neurons["image"] = _draw_neurons(rng, shape)
    links.append(conv)
    flat = int(np.prod(shape))
    neurons["a"], neurons["b"] = _draw_neurons(rng, (size,)), _draw_neurons(rng, (size + 3,))
    links += [
        _draw_link(rng, "in", "a", size, size),
        _draw_link(rng, "image", "a", flat, size),
        _draw_link(rng, "a", "b", size, size + 3),
        _draw_link(rng, "b", "b", size + 3, size + 3),
    ]
    if rng.random() < 0.5:
        links.append(_draw_link(rng, "b", "a", size + 3, size))
    return Case(inputs, neurons, tuple(links))


def _draw_neurons(rng: np.random.Generator, shape: tuple[int, ...]) -> Neurons:
    loud = rng.random() < 0.3
    return Neurons(
        shape,
        du=int(rng.choice([-1, 0, 1, 40, 500, 2048, 4095])),
        dv=int(rng.choice([0, 1, 40, 500, 2048, 4096])),
        v_th=int(131071 if rng.random() < 0.2 else rng.integers(0, 1 << int(rng.integers(1, 16)))),
        bias_mant=rng.integers(-4096, 4096, shape) if loud else rng.integers(-30, 30, shape),
        bias_exp=rng.integers(-4, 8, shape) if loud else rng.integers(-2, 3, shape),
    )


def _draw_weight(rng: np.random.Generator, shape: tuple[int, ...], largest: int) -> np.ndarray:
    low, high = ((-largest, largest), (0, largest), (-largest, 0))[int(rng.integers(3))]
    return rng.uniform(low, high, shape)


def _draw_link(rng: np.random.Generator, source: str, target: str, n_in: int, n_out: int) -> Link:
    kind = ("dense", "sparse", "delayed")[int(rng.integers(3))]
    weight = _draw_weight(rng, (n_out, n_in), int(rng.choice([4, 60, 400])))
    if kind == "sparse":
        weight = weight * (rng.random(weight.shape) < 0.3)
        weight.flat[0] = weight.flat[0] or 2.0
    exponent = int(rng.integers(0, 8)) if kind == "delayed" else int(rng.integers(-7, 8))
    delay = rng.integers(0, int(rng.choice([1, 5, 64])), (n_out, n_in)) if kind == "delayed" else None
    return Link(kind, source, target, weight, exponent, int(rng.integers(1, 9)), delay)


def _draw_conv(rng: np.random.Generator, image: tuple[int, int, int]) -> tuple[Link, tuple[int, ...]]:
    channels, side, _ = image
    groups = int(rng.choice([1, channels]))
    kernel = tuple(int(k) for k in rng.integers(1, 4, 2))
    stride, padding = (tuple(int(k) for k in rng.integers(low, 3, 2)) for low in (1, 0))
    c_out = groups * int(rng.integers(1, 3))
    weight = np.trunc(_draw_weight(rng, (c_out, channels // groups, *kernel), 254))
    settings = dict(stride=stride, padding=padding, dilation=(1, 1), groups=groups)
    places = tuple((side + 2 * p - k) // s + 1 for k, s, p in zip(kernel, stride, padding, strict=True))
    return Link("conv", "picture", "image", weight, conv=settings), (c_out, *places)
