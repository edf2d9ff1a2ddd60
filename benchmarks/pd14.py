"""The microcircuit of Potjans & Diesmann by the recipe of its public benchmark: ``python -m benchmarks.pd14``.

Speed: one run of 10 s without recording; the figure is wall time over biological time. Accuracy: runs from several
seeds; the distributions of rates, of coefficients of variation and of correlations in each population are compared by
the statistic of Kolmogorov and Smirnov: seeds with each other, or with reference data beside the seeds of these.
``--save FILE`` writes the distributions of a run, and ``--reference FILE`` reads them: ``--simulator NEST --save
nest.npz`` makes reference data. ``--parameters FILE`` compares the parameters and the mean rates with a published table
in JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.circuits import CONTENDERS
from benchmarks.peers.environments import FOLDER, python_of
from benchmarks.peers.measures import Array, cvs
from benchmarks.peers.process import Peer, PeerError
from benchmarks.peers.specs import PD_DRIVE, PD_PROBABILITIES, PD_RATES, PD_SIZES, Spec, pd14

MEASURES = ("rate", "cv", "correlation")
BIN_S, NEURONS = 2e-3, 200  # of correlations, as in the published comparison
AFTER_S = 0.5

Distributions = dict[str, Array]  # by "population measure"


def distributions(step: Array, neuron: Array, spec: Spec, steps: int, seed: int = 0) -> Distributions:
    """Return the rates, coefficients of variation and correlations of each population.

    Correlations are those of the numbers of spikes in bins of 2 ms, of all pairs among up to 200 neurons that send
    spikes, which `seed` chooses.
    """
    dt, found = spec.dt_ms * 1e-3, {}
    rng = np.random.default_rng(seed)
    width = round(BIN_S / dt)
    for name, first in spec.first.items():
        size = spec.sizes[name]
        own = (neuron >= first) & (neuron < first + size)
        when, who = step[own], neuron[own] - first
        counts = np.bincount(who, minlength=size)
        found[f"{name} rate"] = counts / (steps * dt)
        found[f"{name} cv"] = cvs(when, who, size)
        active = np.flatnonzero(counts)
        chosen = rng.permutation(active)[:NEURONS]
        row = np.full(size, -1)
        row[chosen] = np.arange(len(chosen))
        binned = np.zeros((len(chosen), -(-steps // width)))
        kept = row[who] >= 0
        np.add.at(binned, (row[who[kept]], when[kept] // width), 1.0)
        pairs = np.triu_indices(len(chosen), 1)
        found[f"{name} correlation"] = np.asarray(np.corrcoef(binned))[pairs] if len(chosen) > 1 else np.zeros(0)
    return found


def kolmogorov_smirnov(a: Array, b: Array) -> float:
    """Return the largest distance of two cumulative distributions; NaN if one is empty."""
    if not len(a) or not len(b):
        return float("nan")
    at = np.concatenate([a, b])
    below = (np.searchsorted(np.sort(each), at, side="right") / len(each) for each in (a, b))
    first, second = below
    return float(np.abs(first - second).max())


def compared(runs: list[Distributions], reference: list[Distributions] | None = None) -> dict[str, dict[str, float]]:
    """Return, by population and measure, the mean statistic over pairs of seeds.

    ``among_own`` is that of the runs, ``among_seeds`` that of the reference and ``to_reference`` that of both; NaN
    where there are no pairs, or no reference.
    """
    result = {}
    for key in runs[0]:
        own, others = [run[key] for run in runs], [run[key] for run in reference or ()]
        to = [kolmogorov_smirnov(a, b) for a in own for b in others]
        result[key] = {"among_own": _among(own), "to_reference": _mean(to), "among_seeds": _among(others)}
    return result


def _among(values: list[Array]) -> float:
    """Return the mean statistic of all pairs."""
    return _mean([kolmogorov_smirnov(a, b) for k, a in enumerate(values) for b in values[k + 1 :]])


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def save(path: Path, runs: list[Distributions]) -> None:
    """Write distributions, one set a seed."""
    arrays: dict[str, Any] = {f"{k} {name}": values for k, run in enumerate(runs) for name, values in run.items()}
    np.savez_compressed(path, **arrays)


def load(path: Path) -> list[Distributions]:
    """Read distributions."""
    runs: dict[int, Distributions] = {}
    with np.load(path) as stored:
        for name in stored.files:
            seed, _, key = name.partition(" ")
            runs.setdefault(int(seed), {})[key] = stored[name]
    return [runs[seed] for seed in sorted(runs)]


def check_parameters(published: Mapping[str, Any]) -> Array:
    """Return the published mean rates, after a comparison of the parameters.

    Raises
    ------
    ValueError
        When a parameter differs.
    """
    ours = {
        "populations": list(PD_SIZES),
        "full_num_neurons": list(PD_SIZES.values()),
        "conn_probs_target_by_source": [list(row) for row in PD_PROBABILITIES],
        "K_ext": list(PD_DRIVE.values()),
    }
    for name, value in ours.items():
        if published[name] != value:
            raise ValueError(f"{name} is {value}, and {published[name]} in the table.")
    return np.array(published["full_mean_rates_Hz_one_run"])


def main(arguments: list[str] | None = None) -> int:
    """Measure speed, accuracy or both."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pd14", description=main.__doc__)
    parser.add_argument("--simulator", choices=list(CONTENDERS), default="neurosim")
    parser.add_argument("--peers", type=Path, default=FOLDER, metavar="DIR", help="environments of other simulators")
    parser.add_argument("--scale", type=float, default=1.0, help="part of the neurons; in-degrees stay")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10.0, help="biological time of the run for speed; 0: none")
    parser.add_argument("--seeds", type=int, default=10, help="runs for accuracy; 0: none")
    parser.add_argument("--seed-seconds", type=float, default=10.0, help="biological time of each, from 0.5 s on")
    parser.add_argument("--reference", type=Path, metavar="FILE", help="distributions to compare with")
    parser.add_argument("--parameters", type=Path, metavar="FILE", help="published parameters and mean rates, JSON")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the distributions")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results")
    chosen = parser.parse_args(arguments)
    rates = np.array(list(PD_RATES.values()))
    if chosen.parameters:
        rates = check_parameters(json.loads(chosen.parameters.read_text(encoding="utf-8")))
    contender = CONTENDERS[chosen.simulator]
    python = Path(sys.executable) if contender.environment is None else python_of(contender.environment, chosen.peers)
    if python is None:
        print(f"{chosen.simulator} is not installed in {chosen.peers}: make bench-peers", file=sys.stderr)
        return 2
    what = {"network": "pd14", "quick": False, "scale": chosen.scale, "threads": chosen.threads}
    result: dict[str, Any] = {"simulator": chosen.simulator, "scale": chosen.scale, "threads": chosen.threads}
    try:
        if chosen.seconds:
            result["speed"] = _speed(python, contender.module, what, chosen.seconds)
            print("{version}: wall / biological time {factor:.3f}, build {build_s:.1f} s, {peak_GB:.2f} GB".format(
                **result["speed"]
            ))  # fmt: skip
        if chosen.seeds:
            runs = [
                _distributions(python, contender.module, what, seed, chosen.seed_seconds)
                for seed in range(1, chosen.seeds + 1)
            ]
            reference = load(chosen.reference) if chosen.reference else None
            result["accuracy"] = _accuracy(runs, reference, rates)
            print(_table(result["accuracy"]))
            if chosen.save:
                save(chosen.save, runs)
    except PeerError as error:
        print(f"{chosen.simulator} failed:\n{error}", file=sys.stderr)
        return 1
    if chosen.json:
        chosen.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


def _speed(python: Path, module: str, what: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    # Transients are left out, as in the published recipe: the timed run is the second one.
    peer = Peer(python, module, {**what, "seed": 1, "seconds": seconds, "record": False})
    try:
        peer.run()
        times = peer.run()
    finally:
        peer.close()
    return {
        "version": peer.built["version"], "seconds": seconds, "factor": times["wall_s"] / seconds,
        "cpu_per_s": times["cpu_s"] / seconds, "build_s": peer.built["build"]["wall_s"],
        "peak_GB": times["peak_bytes"] / 1e9,
    }  # fmt: skip


def _distributions(python: Path, module: str, what: Mapping[str, Any], seed: int, seconds: float) -> Distributions:
    spec = pd14(scale=what["scale"])
    peer = Peer(python, module, {**what, "seed": seed, "seconds": AFTER_S + seconds, "after": 0.0})
    try:
        peer.run()
        step, neuron, answer = peer.spikes()
    finally:
        peer.close()
    after = round(AFTER_S * 1e3 / spec.dt_ms)
    steps = round(answer["seconds"] * 1e3 / spec.dt_ms) - after
    kept = step >= after
    return distributions(step[kept] - after, neuron[kept], spec, steps)


def _accuracy(runs: list[Distributions], reference: list[Distributions] | None, rates: Array) -> dict[str, Any]:
    found = {}
    for name, published in zip(PD_SIZES, rates, strict=True):
        means = [run[f"{name} rate"].mean() for run in runs]
        found[name] = {"rate": float(np.mean(means)), "sd": float(np.std(means)), "published": float(published)}
    return {"seeds": len(runs), "rates": found, "ks": compared(runs, reference), "has_reference": bool(reference)}


def _table(found: Mapping[str, Any]) -> str:
    lines = [f"{'':8}{'rate Hz':>10}{'SD':>8}{'published':>11}" + "".join(f"{'KS ' + m:>16}" for m in MEASURES)]
    for name, each in found["rates"].items():
        line = f"{name:8}{each['rate']:10.3f}{each['sd']:8.3f}{each['published']:11.3f}"
        for measure in MEASURES:
            ks = found["ks"][f"{name} {measure}"]
            if found["has_reference"]:
                line += f"{ks['to_reference']:9.3f}/{ks['among_seeds']:.3f} "
            else:
                line += f"{ks['among_own']:16.3f}"
        lines.append(line)
    if found["has_reference"]:
        lines.append("KS: mean over pairs of seeds, to the reference / among the seeds of the reference")
    else:
        lines.append("KS: mean over pairs of these seeds; --reference FILE compares with other data")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
