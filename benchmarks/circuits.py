"""Circuits in neurosim beside other simulators: statistics, times, memory, and the share of the machine's limits.

Each simulator runs in a process of its own and waits while another one runs. Runs are made in turns, in a new order
each round; times are medians, per second of biological time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import random
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.circuit_floors import Limits, limits
from benchmarks.options import Options
from benchmarks.peers.environments import FOLDER, python_of
from benchmarks.peers.measures import measures
from benchmarks.peers.process import Peer, PeerError
from benchmarks.peers.specs import SPECS, Spec, spec

NAME = "circuits"
ROUNDS = 3
SEED = 1


@dataclasses.dataclass(frozen=True)
class Contender:
    """A simulator and its number of threads; `environment` is None for the present interpreter.

    `most` is the largest number of synapses that it is given.
    """

    module: str
    environment: str | None
    threads: int = 1
    most: float = float("inf")
    omits: tuple[str, ...] = ()


CONTENDERS = {
    "neurosim": Contender("benchmarks.peers.in_neurosim", None),
    "NEST": Contender("benchmarks.peers.in_nest", "nest", most=1e8, omits=("izhikevich",)),
    "Brian2 C++": Contender("benchmarks.peers.in_brian2", "brian2", most=1e8),
    "Sparx": Contender(
        "benchmarks.peers.in_sparx",
        "sparxml",
        most=1e8,
        omits=tuple(name for name in SPECS if name not in ("brunel", "cuba", "coba")),
    ),
    "brainevent": Contender(
        "benchmarks.peers.in_brainevent",
        "brainevent",
        omits=tuple(name for name in SPECS if name != "cuba"),
    ),
}


def measure(options: Options) -> dict[str, Any]:
    """Run the circuits in every simulator that is installed."""
    found = limits(megabytes=64 if options.quick else 256)
    cases = [_case(name, options, found) for name in options.chosen(tuple(SPECS))]
    return {"limits": dataclasses.asdict(found), "cases": cases}


def _case(name: str, options: Options, found: Limits) -> dict[str, Any]:
    circuit = spec(name, options.quick, options.scale)
    contenders, omitted = _contenders(circuit, options.peers or FOLDER)
    with contextlib.ExitStack() as stack:
        peers: dict[str, Peer] = {}
        for label, (python, contender) in contenders.items():
            what = {
                "network": name, "quick": options.quick, "scale": options.scale, "threads": contender.threads,
                "seed": SEED,
            }  # fmt: skip
            try:
                peers[label] = Peer(python, contender.module, what)
            except PeerError as error:
                omitted[label] = (str(error).strip().splitlines() or ["it ended without a message"])[-1]
                continue
            stack.callback(peers[label].close)
        times = _in_turns(peers, 2 if options.quick else ROUNDS)
        results = {label: _result(peer, times[label], circuit, found) for label, peer in peers.items()}
        busy = _beside_busy_loops(circuit, options) if options.busy else None
    return {
        "circuit": name, "source": circuit.source, "neurons": circuit.neurons, "synapses": circuit.total_synapses,
        "seconds": circuit.seconds, "contenders": results, "omitted": omitted, "busy": busy,
    }  # fmt: skip


def _contenders(circuit: Spec, folder: Path) -> tuple[dict[str, tuple[Path, Contender]], dict[str, str]]:
    found, omitted = {}, {}
    for label, contender in CONTENDERS.items():
        python = Path(sys.executable) if contender.environment is None else python_of(contender.environment, folder)
        if circuit.name in contender.omits:
            omitted[label] = "has no such circuit"
        elif circuit.total_synapses > contender.most:
            omitted[label] = f"{circuit.total_synapses:.3g} synapses are more than it is given, {contender.most:.0e}"
        elif python is None:
            omitted[label] = f"not installed in {folder.name}: make bench-peers"
        else:
            found[label] = python, contender
    return found, omitted


def _in_turns(peers: Mapping[str, Peer], rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Run each circuit once a round, in a new order; a first round, in the order given, is not counted."""
    times: dict[str, list[dict[str, Any]]] = {label: [] for label in peers}
    order, shuffle = list(peers), random.Random(0).shuffle
    for _ in range(rounds + 1):
        for label in order:
            times[label].append(peers[label].run())
        shuffle(order)
    return times


def _result(peer: Peer, times: list[dict[str, Any]], circuit: Spec, found: Limits) -> dict[str, Any]:
    step, neuron, answer = peer.spikes()
    after = round(circuit.after * 1e3 / circuit.dt_ms)
    steps = round(answer["seconds"] * 1e3 / circuit.dt_ms) - after
    kept = step >= after
    statistic = measures(step[kept] - after, neuron[kept], circuit.neurons, steps, circuit.dt_ms * 1e-3)
    seconds = steps * circuit.dt_ms * 1e-3
    events = sum(
        ((neuron[kept] >= at) & (neuron[kept] < at + circuit.sizes[name])).sum()
        * circuit.synapses[name] / circuit.sizes[name]
        for name, at in circuit.first.items()
    ) / seconds  # fmt: skip
    cpu, wall = (statistics.median(each[key] for each in times[1:]) / circuit.seconds for key in ("cpu_s", "wall_s"))
    row_bytes = answer["row_bytes"]
    rates = {
        name: float(((neuron[kept] >= at) & (neuron[kept] < at + circuit.sizes[name])).sum())
        / circuit.sizes[name] / seconds
        for name, at in circuit.first.items()
    }  # fmt: skip
    return {
        "version": peer.built["version"], **statistic, "rates": rates, "cpu_per_s": cpu, "wall_per_s": wall,
        "build_s": peer.built["build"]["cpu_s"], "first_result_s": times[0]["first_result"]["cpu_s"],
        "synapses": peer.built["synapses"], "peak_bytes": times[-1]["peak_bytes"],
        "bytes_per_synapse": peer.built["build_bytes"] / max(peer.built["synapses"], 1), "row_bytes": row_bytes,
        "events_per_s": float(events),
        "share_of_limit": None if row_bytes is None else found.seconds(float(events), row_bytes) / cpu,
    }  # fmt: skip


@contextlib.contextmanager
def _busy_loops(number: int) -> Iterator[None]:
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def _beside_busy_loops(circuit: Spec, options: Options) -> dict[str, Any]:
    """Return the wall time of neurosim per biological second on one and on two threads, beside two busy loops.

    Two trials are run, one for each thread.
    """
    what = {"network": circuit.name, "quick": options.quick, "scale": options.scale, "seed": SEED, "trials": 2}
    with contextlib.ExitStack() as stack:
        peers = {}
        for threads in (1, 2):
            name = f"{threads} threads"
            peers[name] = Peer(Path(sys.executable), CONTENDERS["neurosim"].module, {**what, "threads": threads})
            stack.callback(peers[name].close)
        with _busy_loops(2):
            times = _in_turns(peers, 2 if options.quick else 2 * ROUNDS)
    walls = {
        label: statistics.median(each["wall_s"] for each in runs[1:]) / circuit.seconds for label, runs in times.items()
    }
    return {**walls, "two_over_one": walls["2 threads"] / walls["1 threads"]}


def table(result: dict[str, Any]) -> str:
    """Return the result as text."""
    found = result["limits"]
    lines = [
        f"one thread of this machine reads {found['bytes_per_s'] / 1e9:.1f} GB/s and adds to an accumulator in "
        f"{1e9 * found['addition_s']:.2f} ns"
    ]
    for case in result["cases"]:
        lines += ["", *_lines(case)]
    return "\n".join(lines)


_HEAD = (
    f"{'':12}{'rate Hz':>9}{'CV':>7}{'Fano':>8}{'SD Hz':>7}{'CPU s':>9}{'wall s':>9}{'build':>8}{'first':>8}"
    f"{'MB':>7}{'B/event':>8}{'limit':>7}{'spikes':>9}"
)


def _lines(case: Mapping[str, Any]) -> list[str]:
    lines = [
        f"{case['circuit']}: {case['source']}, {case['neurons']:,} neurons, {case['synapses']:,.0f} synapses; CPU and "
        "wall per biological second",
        _HEAD,
    ]
    for label, each in case["contenders"].items():
        limit = "" if each["share_of_limit"] is None else f"{each['share_of_limit']:.0%}"
        row = "" if each["row_bytes"] is None else f"{each['row_bytes']:.2f}"
        lines.append(
            f"{label:12}{each['rate']:9.3f}{each['cv']:7.3f}{each['fano']:8.1f}{each['sd_rates']:7.2f}"
            f"{each['cpu_per_s']:9.4f}{each['wall_per_s']:9.4f}{each['build_s']:8.2f}{each['first_result_s']:8.2f}"
            f"{each['bytes_per_synapse'] * each['synapses'] / 1e6:7.0f}{row:>8}{limit:>7}{each['spikes']:9d}"
        )
    own = case["contenders"].get("neurosim")
    for label, each in case["contenders"].items():
        if own is not None and label != "neurosim":
            lines.append(f"neurosim takes 1/{each['cpu_per_s'] / own['cpu_per_s']:.1f} of the CPU time of {label}")
    if case["busy"]:
        walls = ", ".join(f"{label} {wall:.3f} s" for label, wall in case["busy"].items() if "threads" in label)
        lines.append(f"beside two busy loops, two trials: {walls}, ratio {case['busy']['two_over_one']:.2f}")
    return lines + [f"{label} omitted: {why}" for label, why in case["omitted"].items()]
