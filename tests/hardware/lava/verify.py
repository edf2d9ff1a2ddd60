"""Hold exported graphs against the simulator, on Lava's runtime and at length; part of ``make verify-hardware``.

    python -m tests.hardware.lava.verify --seeds 5 --data-root FOLDER

The networks of the tests are drawn anew from each seed: floating-point graphs are compared spike by spike, fixed-point
ones with every current and voltage as well, learning ones weight by weight. Where the folder holds ``mnist/``, a
784-128-10 network is trained, quantised to 8 bits and compared on 20 test images.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import neurosim as ns
from neurosim.datasets import mnist, rate
from neurosim.files.atomic import replaced
from neurosim.hardware.lava import Verification, verify, verify_learning
from neurosim.hardware.quantise import quantise
from tests.hardware.lava import test_export as test_lava_export
from tests.hardware.lava import test_integers as test_lava_integers
from tests.hardware.lava import test_learning as test_lava_learning
from tests.hardware.lava import test_neurons as test_lava_neurons

LIMIT = 600.0
DT, STEPS = 1e-3, 25
MAKERS: dict[str, Callable[[int], tuple[ns.Network, torch.Tensor]]] = {
    "row": test_lava_export.row,
    "web": test_lava_export.web,
    "images": test_lava_export.images,
    "every spiking neuron": test_lava_neurons.spiking,
    "sigma-delta": lambda seed: test_lava_neurons.changes(0.3, seed),
    "integer images": test_lava_integers.images,
    "integer web": test_lava_integers.webs,
}


def graphs(seeds: int) -> dict[str, dict[str, int]]:
    """Compare each kind of network for each seed; return counts."""
    found = {}
    for name, make in MAKERS.items():
        results = [verify(*make(seed), timeout=LIMIT) for seed in range(seeds)]
        found[name] = counts(results)
        print(f"{name}: {found[name]}", flush=True)
    return found


def counts(results: list[Verification]) -> dict[str, int]:
    """Add up what verifications counted."""
    found = {
        "neuron_steps": sum(r.spikes_compared for r in results),
        "spikes": sum(r.spikes for r in results),
        "differing": sum(r.spikes_differing for r in results),
    }
    states = [node for r in results for node in r.nodes if node.states_differing is not None]
    if states:
        found["states"] = sum(2 * node.compared for node in states)
        found["states_differing"] = sum(node.states_differing or 0 for node in states)
    return found


def learning(seeds: int) -> dict[str, Any]:
    """Compare the weights of edges that learn; return the largest difference and the largest way."""
    largest = moved = 0.0
    spikes = differing = compared = 0
    for seed in range(seeds):
        net, x = test_lava_learning.plastic(seed)
        rules = dict.fromkeys(("x->a", "a->a", "a->b"), test_lava_learning.RULE)
        result = verify_learning(net, rules, x, timeout=LIMIT)
        largest = max(largest, *(edge.largest for edge in result.edges))
        moved = max(moved, *(edge.moved for edge in result.edges))
        compared += sum(edge.compared for edge in result.edges)
        spikes, differing = spikes + result.spikes, differing + result.spikes_differing
    found = {"weights": compared, "largest": largest, "moved": moved, "spikes": spikes, "differing": differing}
    print(f"learning: {found}", flush=True)
    return found


def digits(root: str, images: int, epochs: int) -> dict[str, Any]:
    """Train 784-128-10 on MNIST, quantise to 8 bits, compare on test images; return counts and accuracies."""
    torch.manual_seed(0)
    data = mnist(root).flat()
    neurons = dict(tau_mem=5e-3, r=5.0, dt=DT)
    net = ns.Sequential(
        ns.Linear(784, 128),
        ns.LIF(**neurons, spike=ns.triangle()),
        ns.Linear(128, 10),
        ns.LI(**neurons),
        names=("hidden", "output"),
    )
    start = time.perf_counter()
    encoder = rate(STEPS, max_rate=500.0, dt=DT)
    batches = data.train.batches(256, seed=0, encoder=encoder)
    optimizer = torch.optim.Adam(net.parameters(), lr=4e-3)
    ns.fit(net, batches, rule=ns.SLTT(), loss=ns.CrossEntropy(), optimizer=optimizer, epochs=epochs, seed=0)
    trained = time.perf_counter() - start
    scores = ns.evaluate(net, data.test.batches(500, encoder=encoder, shuffle=False), loss=ns.CrossEntropy())
    x, _ = next(iter(data.train.batches(256, seed=1, encoder=encoder)))
    whole = quantise(net, x, bits=8).net
    after = ns.evaluate(whole, data.test.batches(500, encoder=encoder, shuffle=False), loss=ns.CrossEntropy())
    x, _ = next(iter(data.test.batches(images, encoder=encoder, shuffle=False)))
    result = verify(whole, x, together=True, timeout=LIMIT)
    print(result.summary(), flush=True)
    accuracies = {"accuracy": scores["accuracy"], "accuracy_8_bits": after["accuracy"]}
    return {**counts([result]), "images": images, **accuracies, "training_seconds": round(trained, 1)}


def main() -> int:
    """Compare all, print and write what was found; return 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--data-root", default=os.environ.get("NEUROSIM_DATA"), help="NEUROSIM_DATA if left out")
    parser.add_argument("--out", type=Path, default=Path("runs/verify-hardware/lava.json"))
    args = parser.parse_args()
    found: dict[str, Any] = {"graphs": graphs(args.seeds), "learning": learning(args.seeds)}
    if args.data_root and (Path(args.data_root) / "mnist").is_dir():
        found["mnist"] = digits(args.data_root, args.images, args.epochs)
    else:
        print("MNIST was left out: give --data-root or NEUROSIM_DATA, a folder that holds mnist/.")
    with replaced(args.out) as part:
        Path(part).write_text(json.dumps(found, indent=2) + "\n")
    parts = [*found["graphs"].values(), found["learning"], found.get("mnist", {})]
    return int(any(part.get("differing") or part.get("states_differing") for part in parts))


if __name__ == "__main__":
    raise SystemExit(main())
