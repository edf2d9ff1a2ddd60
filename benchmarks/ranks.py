"""Time a circuit over ranks: strong scaling (one size) or weak scaling (a size for each rank).

python benchmarks/ranks.py                              one process
torchrun --nproc-per-node 2 benchmarks/ranks.py         strong
torchrun --nproc-per-node 2 benchmarks/ranks.py --weak
"""

from __future__ import annotations

import argparse
import resource
import time
from typing import Any

import torch

import neurosim as ns
from neurosim import cores
from neurosim.circuit import FixedInDegree, OneToOne, Poisson, Uniform
from neurosim.circuit.ranked import RankedEngine
from neurosim.network.ranks import Ranks

DT, DELAY, FAN_IN = 0.1e-3, 1.5e-3, 1000


def circuit(neurons: int) -> ns.Network:
    """Return Brunel's network of excitatory and inhibitory neurons, which fires asynchronously and irregularly."""
    cell: Any = dict(tau_mem=20e-3, t_ref=2e-3, e_l=0.0, v_th=20e-3, v_reset=10e-3, init=dict(v=Uniform(0.0, 20e-3)))
    sizes = {"E": neurons * 4 // 5, "I": neurons // 5}
    nodes: dict[str, Any] = {f"to {name}": Poisson(20_000.0, size) for name, size in sizes.items()}
    nodes |= {name: ns.layer(cores.lif_delta)(size=size, **cell) for name, size in sizes.items()}
    edges = [ns.Edge(f"to {name}", name, ns.Drawn(OneToOne(), weight=0.1e-3), port="dv") for name in sizes]
    for name, fan_in, weight in (("E", FAN_IN * 4 // 5, 0.1e-3), ("I", FAN_IN // 5, -0.5e-3)):
        edges.append(ns.Edge(name, ("E", "I"), ns.Drawn(FixedInDegree(fan_in), weight=weight), port="dv", delay=DELAY))
    return ns.Network(nodes, edges, dt=DT, seed=1)


def main() -> None:
    """Run, and print one line on rank 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--neurons", type=int, default=20_000, help="in all; with --weak of each rank")
    parser.add_argument("--seconds", type=float, default=1.0, help="of the circuit, after 0.1 s to warm up")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--weak", action="store_true")
    given = parser.parse_args()
    ranks = Ranks.here(torch.device("cpu"))
    torch.set_num_threads(1)
    neurons = given.neurons * (ranks.size if given.weak else 1)
    start = time.perf_counter()
    recording = ns.simulate(circuit(neurons), seconds=0.1, ranks=True, progress=False, seed=1)
    build = time.perf_counter() - start
    net = circuit(neurons)
    engine = RankedEngine(net, net.initial_state(batch=1, seed=1), ["E", "I"], ranks)
    steps, taken, busy = round(given.seconds / DT), [], []
    engine.advance(1000)
    for _ in range(given.repeats):
        ranks.objects(None)
        start, before = time.perf_counter(), time.thread_time()
        engine.advance(steps)
        taken.append(time.perf_counter() - start)
        busy.append(time.thread_time() - before)
    most = max(ranks.objects(min(busy)))
    if ranks.is_first:
        rate = sum(len(s) for s in recording.spikes.values()) / neurons / 0.1
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"{ranks.size} ranks, {neurons:,} neurons, {rate:.1f} Hz: {min(taken):.2f} s for {given.seconds:g} s, "
            f"{most:.2f} s of processor time on the busiest rank; first run with its rows {build:.1f} s; "
            f"peak {peak:.2f} GiB"
        )


if __name__ == "__main__":
    main()
