"""Circuits over ranks, in a process that may fork: `test_ranked` reads their results."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

import neurosim as ns
from neurosim import cores
from neurosim.circuit import Bernoulli, FixedInDegree, OneToOne, Poisson, Uniform
from neurosim.circuit.ranked import RankedEngine
from neurosim.network.ranks import Ranks
from neurosim.recording.trace import Trace
from tests.ranks import forked

warnings.simplefilter("ignore")


def circuit(seed: int = 1, *, delay: float = 0.5e-3) -> Any:
    """Return a network whose rows have all formats: bits, one weight, packed, real weights, delays of an interval."""
    cell = dict(tau_mem=20e-3, t_ref=2e-3, e_l=0.0, v_th=20e-3, v_reset=10e-3, init=dict(v=Uniform(0.0, 20e-3)))
    sizes = {"E": 512, "I": 130}
    nodes: Any = {f"to {n}": Poisson(8_000.0, size) for n, size in sizes.items()}
    nodes |= {n: ns.layer(cores.lif_delta)(size=size, **cell) for n, size in sizes.items()}
    edges = [ns.Edge(f"to {n}", n, ns.Drawn(OneToOne(), weight=0.3e-3), port="dv") for n in sizes]
    wide = ns.Drawn(FixedInDegree(20), weight=Uniform(0.1e-3, 0.4e-3), delay=Uniform(0.2e-3, 1.5e-3))
    edges += [
        ns.Edge("E", "E", wide, port="dv", delay=delay),
        ns.Edge("E", "I", ns.Drawn(FixedInDegree(20), weight=0.4e-3), port="dv", delay=delay),
        ns.Edge("I", "E", ns.Drawn(Bernoulli(0.2), weight=-0.05e-3), port="dv", delay=0.5e-3),
    ]
    torch.manual_seed(0)
    table = ns.Sparse.random(130, 130, density=0.1)
    edges.append(ns.Edge("I", "I", table, port="dv", delay=0.5e-3))
    return ns.Network(nodes, edges, dt=0.1e-3, seed=seed)


def simulated(**choices: Any) -> Any:
    """Return spikes, traces and state of a run in two pieces, as arrays."""
    net = choices.pop("net", None) or circuit()
    record = ["E", "I", "I.v", Trace("E.v", [3, 300, 511], every=1e-3)]
    common: Any = {"ranks": True, "progress": False, "record": record, **choices}
    first = ns.simulate(net, steps=203, batch=2, seed=4, **common)
    last = ns.simulate(net, steps=97, state=first.state, **common)
    found = []
    for each in (first, last):
        found += [(s.step, s.batch, s.neuron) for s in each.spikes.values()]
        found += list(each.traces.values())
    return found, [v for node in ("E", "I") for v in last.state.nodes[node]], last.state.in_flight


def exploding() -> Any:
    """Run a network one of whose neurons, on the last rank, grows without bound."""
    net = circuit()
    state = net.initial_state(batch=1, seed=0)
    state.nodes["I"].v[0, 129] = float("inf")
    return ns.simulate(net, steps=20, state=state, ranks=True, progress=False)


def kept(ranks: Ranks) -> Any:
    """Return for each route of a rank its format and the number of synapses it keeps."""
    net = circuit()
    engine = RankedEngine(net, net.initial_state(batch=1, seed=0), ["E"], ranks)
    return sorted((route.kind, route.source, route.post.numel()) for route in engine.wiring.routes)


def main(folder: Path) -> dict[str, Any]:
    """Run everything; results by name, one for each rank."""
    cpu = torch.device("cpu")
    return {
        "plain": [simulated(ranks=False)],
        "one": [simulated()],
        "two": forked(2, lambda rank: simulated()),
        "four": forked(4, lambda rank: simulated()),
        "no delay": forked(2, lambda rank: simulated(net=circuit(delay=0.0))),
        "other seeds": forked(2, lambda rank: simulated(net=circuit(seed=1 + rank))),
        "not finite": forked(2, lambda rank: exploding()),
        "synapses": forked(2, lambda rank: kept(Ranks.here(cpu))),
    }
