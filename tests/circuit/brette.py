"""The networks of Brette et al. (2007) on the matrix that NEST and Brian2 ran, from a given start."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

import neurosim as ns
from benchmarks.peers import wiring
from neurosim.circuit import Current
from neurosim.language import Core

N, N_EXC, DT = 4000, 3200, 1e-4
SIZES, FIRST = {"E": N_EXC, "I": N - N_EXC}, {"E": 0, "I": N_EXC}
Array = np.ndarray[Any, np.dtype[Any]]


@contextlib.contextmanager
def double_precision() -> Iterator[None]:
    """Make layers and synapses in double precision inside the block."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def matrix() -> tuple[Array, Array]:
    """Return source and target of each synapse."""
    return wiring.pairwise(N, N, 0.02, 2007)


def network(
    core: Core, cell: Mapping[str, float], *, ports: tuple[str, str], weights: tuple[float, float]
) -> ns.Network:
    """Return excitatory and inhibitory neurons of one core, joined by the matrix with a delay of one step."""
    pre, post = matrix()
    nodes: dict[str, Any] = {"none": Current(0.0, 1)}
    nodes |= {name: ns.layer(core)(size=size, dt=DT, **cell) for name, size in SIZES.items()}
    edges = [ns.Edge("none", "E", ns.Linear(1, N_EXC), port=ports[0])]
    for source, port, weight in zip("EI", ports, weights, strict=True):
        for target in SIZES:
            mine = _within(pre, source) & _within(post, target)
            pairs = torch.from_numpy(np.stack([post[mine] - FIRST[target], pre[mine] - FIRST[source]]))
            synapse = ns.Sparse(SIZES[source], SIZES[target], pairs, torch.full((int(mine.sum()),), weight))
            edges.append(ns.Edge(source, target, synapse, port=port, delay=DT))
    return ns.Network(nodes, edges)


def raster(net: ns.Network, start: Mapping[str, Array], steps: int) -> tuple[Array, Array]:
    """Return step and neuron of each spike of a run, sorted by step, then neuron."""
    state = net.initial_state(batch=1)
    for name in SIZES:
        part = slice(FIRST[name], FIRST[name] + SIZES[name])
        values = {
            variable: torch.from_numpy(each[None, part].copy()).to(torch.get_default_dtype())
            for variable, each in start.items()
        }
        state.nodes[name] = state.nodes[name]._replace(**values)
    run = ns.simulate(net, steps=steps, state=state, record=list(SIZES))
    step = np.concatenate([run.spikes[name].step for name in SIZES])
    neuron = np.concatenate([run.spikes[name].neuron + FIRST[name] for name in SIZES])
    order = np.lexsort((neuron, step))
    return step[order], neuron[order]


def _within(neuron: Array, population: str) -> Array:
    return (neuron >= FIRST[population]) & (neuron < FIRST[population] + SIZES[population])
