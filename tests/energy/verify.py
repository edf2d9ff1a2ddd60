"""Compare the digits network of ``neurosim demo``, quantised and placed, with SANA-FE on its model of Loihi.

``python -m tests.energy.verify``; ``make verify-hardware`` runs it. It needs ``make sanafe``.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.peers.environments import python_of
from neurosim.cli import deploy, runs
from neurosim.cli.settings import Settings
from neurosim.hardware.placement import place
from neurosim.quantities import quantity
from tests.energy.judge import CHIP, compare


def main() -> int:
    """Train, quantise to 8 bits, place, and compare samples; return how many spikes and counts differ."""
    parser = argparse.ArgumentParser(prog="python -m tests.energy.verify", description=main.__doc__)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--samples", type=int, default=20)
    chosen = parser.parse_args()
    python = python_of("sanafe")
    if python is None:
        print("sanafe is not installed: make sanafe")
        return 0
    with tempfile.TemporaryDirectory() as name:
        runs.train(Settings(epochs=chosen.epochs), Path(name) / "run", progress=False)
        run = runs.open_run(Path(name) / "run")
        net = deploy.quantised(run, 8)
        x, _ = runs.samples(run.settings, run.split, chosen.samples)
    placement = place(net, CHIP)
    one_by_one = x.split(1, dim=1)
    always, awake = ([compare(net, one, placement, python, always=a) for one in one_by_one] for a in (True, False))
    print(f"SANA-FE: {len(always)} samples on {placement.cores} cores; ours first, in all")
    print(f"spikes: {sum(f.differing for f in always)} of {sum(f.compared for f in always):,} neuron-steps differ")
    for key in always[0].counts:
        print(f"{key}: {sum(f.counts[key][0] for f in always):,} and {sum(f.counts[key][1] for f in always):,}")
    for key in always[0].energies:
        ours, theirs = (sum(f.energies[key][side] for f in always) for side in (0, 1))
        print(f"{key}: {quantity(ours, 'J', 5)} and {quantity(theirs, 'J', 5)}")
    for bound, model, name in (("least", "simple", "lower"), ("most", "detailed", "upper")):
        ours, theirs = (sum(getattr(f, key) for f in always) for key in (bound, model))
        print(f"{name} bound and {model} timing: {quantity(ours, 's', 5)} and {quantity(theirs, 's', 5)}")
    updates, soma = sum(f.counts["neuron updates"][1] for f in awake), sum(f.energies["soma"][1] for f in awake)
    print(f"without updates of neurons at rest: {updates:,} updates, soma {quantity(soma, 'J', 5)}")
    return sum(f.differing + sum(ours != theirs for ours, theirs in f.counts.values()) for f in always)


if __name__ == "__main__":
    raise SystemExit(bool(main()))
