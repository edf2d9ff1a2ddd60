"""Which chips hold which networks: cores, the binding limit, remedies, and a map of each chip.

    python examples/placement.py --out chips

Three networks are placed on every chip with known limits: a small one for MNIST, a wide one of the same kind, and a
convolutional one for N-MNIST. Their weights are random: only the number of nonzero ones matters here.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import torch

import neurosim as ns
from neurosim.hardware.placement import place
from neurosim.report import chip_map, save_figure

CHIPS = ("loihi1", "loihi2", "truenorth", "spinnaker", "spinnaker2", "odin", "brainscales2")
SEED = 0


def dense(*sizes: int) -> ns.Network:
    parts: list = []
    for before, after in itertools.pairwise(sizes):
        parts += [ns.Linear(before, after), ns.LIF(dt=1e-3)]
    return ns.Sequential(*parts, names=[*(f"hidden{k}" for k in range(1, len(sizes) - 1)), "output"])


def convolutional() -> ns.Network:
    return ns.Sequential(
        ns.Input((2, 34, 34)),
        ns.Conv2d(2, 12, 5),
        ns.LIF(dt=1e-3),
        ns.SumPool2d(2),
        ns.Conv2d(12, 32, 5),
        ns.LIF(dt=1e-3),
        ns.SumPool2d(2),
        ns.Flatten(),
        ns.Linear(32 * 5 * 5, 10),
        ns.LIF(dt=1e-3),
        names=["conv1", "conv2", "output"],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder for a map of each placement")
    parser.add_argument("--quick", action="store_true", help="the small network on two chips")
    options = parser.parse_args()
    torch.manual_seed(SEED)
    start = time.perf_counter()
    networks = {
        "784-128-10": dense(784, 128, 10),
        "784-1024-1024-10": dense(784, 1024, 1024, 10),
        "N-MNIST convolutional": convolutional(),
    }
    if options.quick:
        networks = {"784-128-10": networks["784-128-10"]}
    chips = CHIPS[:2] if options.quick else CHIPS
    print(f"{'network':22} {'chip':13} {'bits':>4} {'cores':>11}  binding limit, or the first misfit")
    for name, net in networks.items():
        for chip in chips:
            placement = place(net, chip)
            fullest = max(placement.populations, key=lambda one: len(one.parts))
            text = f"{fullest.name}: {fullest.binds.replace('_per_core', '').replace('_', ' ')}"
            if placement.misfits:
                misfit = placement.misfits[0]
                text = f"no: {misfit.where}: {misfit.what}"
            cores = f"{placement.cores}/{placement.cores_per_chip}"
            print(f"{name:22} {chip:13} {placement.weight_bits:4} {cores:>11}  {text}", flush=True)
            if options.out is not None:
                save_figure(chip_map(placement), options.out / f"{name.replace(' ', '-')}-{chip}.svg")
    print(f"Seed {SEED}, {time.perf_counter() - start:.1f} s, torch {torch.__version__}.")


if __name__ == "__main__":
    main()
