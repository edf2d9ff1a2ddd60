"""Hold C programs against the simulator at length: ``make verify-hardware``.

    python -m tests.hardware.c.verify --neuron-steps 5000000 --data-root FOLDER

Random networks, a recurrent network with delays and the shipped digits network are compiled and compared in every
output and state, on this machine and, where it is installed, on an emulated Cortex-M4. With the folder of the data the
networks 784-128-10 for MNIST and the convolutional one for N-MNIST are trained briefly and compared too.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import itertools
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import neurosim as ns
from neurosim.datasets import digits, rate
from neurosim.files.atomic import replaced
from neurosim.hardware.c import MACHINES, report_c, verify_c
from neurosim.hardware.loihi import loihi_neurons
from neurosim.hardware.quantise import quantise
from neurosim.models import pretrained
from neurosim.synapses import RoundedDelays
from tests.hardware.integers.cases import DT, integers, linear
from tests.hardware.loihi.cases import draw, network

ROOT = Path(__file__).resolve().parents[3]
SIZES, STEPS, SAMPLES = (7, 40, 128), 400, 20
TRAINED = dict(mnist=60, nmnist=30)  # batches


def random_networks(neuron_steps: int, seed: int, machine: str = "gcc") -> dict[str, Any]:
    """Compare until so many neuron-steps are done; return counts."""
    found = dict.fromkeys(("networks", "neuron_steps", "outputs_not_0", "differing"), 0)
    start = time.perf_counter()
    while found["neuron_steps"] < neuron_steps:
        generator = np.random.default_rng([seed, found["networks"]])
        case = draw(generator, STEPS, int(generator.choice(SIZES)))
        x = {name: torch.from_numpy(values).unsqueeze(1) for name, values in case.inputs.items()}
        result = verify_c(network(case), x, machine=machine)
        found["networks"] += 1
        found["neuron_steps"] += result.compared
        found["outputs_not_0"] += result.sent
        found["differing"] += result.total
    return {**found, "machine": machine, "seed": seed, "seconds": round(time.perf_counter() - start, 1)}


def recurrent(seed: int = 0) -> tuple[ns.Network, Tensor]:
    """Return 700-256-20 neurons, recurrent, with delays up to 62 steps and a skip connection, and spikes."""
    delay = torch.randint(0, 63, (256, 700), generator=torch.Generator().manual_seed(seed))
    nodes = {
        "in": ns.Input(700),
        "hidden": loihi_neurons(dt=DT, du=1500, dv=200, v_th=400, size=256),
        "out": loihi_neurons(dt=DT, dv=150, v_th=400, size=20),
    }
    edges = [
        ns.Edge("in", "hidden", RoundedDelays(integers((256, 700), -60, 80, seed, 2), delay, dt=DT)),
        ns.Edge("hidden", "hidden", linear(256, 256, -90, 40, seed)),
        ns.Edge("hidden", "out", linear(256, 20, -60, 80, seed), delay=3 * DT),
        ns.Edge("in", "out", linear(700, 20, -20, 20, seed)),
    ]
    x = (torch.rand(100, SAMPLES, 700, generator=torch.Generator().manual_seed(seed)) < 0.02).double()
    return ns.Network(nodes, edges).double(), x


def trained(task: str, root: Path) -> tuple[ns.Network, Tensor]:
    """Return a network of ``examples/quantise.py`` in integers after some batches, and test samples."""
    spec = importlib.util.spec_from_file_location("quantise_example", ROOT / "examples" / "quantise.py")
    assert spec is not None and spec.loader is not None
    example: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    torch.manual_seed(0)
    chosen = example.images(False, str(root), 0) if task == "mnist" else example.recordings(root / "nmnist", 0)
    batches = list(itertools.islice(iter(chosen.train), TRAINED[task]))
    ns.fit(
        chosen.net,
        batches,
        rule=ns.BPTT(),
        loss=example.LOSS,
        optimizer=torch.optim.Adam(chosen.net.parameters(), lr=chosen.lr),
        epochs=1,
        seed=0,
    )
    x, _ = next(iter(chosen.test))
    return quantise(chosen.net, chosen.samples, bits=8).net, x[:, :SAMPLES]


def digits_network() -> tuple[ns.Network, Tensor]:
    """Return the shipped digits network in integers, and test samples as spikes."""
    data = digits().flat()
    encoder = rate(25, max_rate=1000.0, dt=1e-3)
    samples, _ = next(iter(data.train.batches(256, seed=0, encoder=encoder)))
    x, _ = next(iter(data.test.batches(SAMPLES, seed=0, encoder=encoder, shuffle=False)))
    return quantise(pretrained("digits"), samples, bits=8).net, x


def networks(root: Path | None) -> Iterator[tuple[str, ns.Network, Tensor]]:
    """Yield names, networks in integers and data."""
    yield "digits 64-256-10", *digits_network()
    yield "recurrent, delays up to 62 steps, 700-256-20", *recurrent()
    if root is not None and (root / "mnist").is_dir():
        yield "MNIST 784-128-10", *trained("mnist", root / "mnist")
    if root is not None and (root / "nmnist").is_dir():
        yield "N-MNIST, convolutional", *trained("nmnist", root)


def main() -> int:
    """Compare all, print and write what was found; return 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--neuron-steps", type=int, default=5_000_000)
    parser.add_argument("--arm-neuron-steps", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data-root", default=os.environ.get("NEUROSIM_DATA"), help="NEUROSIM_DATA if left out")
    parser.add_argument("--out", type=Path, default=Path("runs/verify-hardware/c.json"))
    args = parser.parse_args()
    machines = [name for name in ("gcc", "cortex-m4") if not MACHINES[name].missing]
    if not machines:
        print("C is not compared: gcc is not installed.")
        return 0
    number = {"gcc": args.neuron_steps, "cortex-m4": args.arm_neuron_steps}
    found: dict[str, Any] = {f"random, {name}": random_networks(number[name], args.seed, name) for name in machines}
    for name, net, x in networks(Path(args.data_root) if args.data_root else None):
        found[name] = {"report": dataclasses.asdict(report_c(net, x, clocked=True))}
        for machine in machines:
            result = verify_c(net, x if machine == "gcc" else x[:, :2], machine=machine)
            counts = {"neuron_steps": result.compared, "outputs_not_0": result.sent, "differing": result.total}
            found[name][machine] = counts
        print(json.dumps({name: found[name]}), flush=True)
    print(json.dumps(found, indent=2))
    with replaced(args.out) as part:
        part.write_text(json.dumps(found, indent=2) + "\n")
    return int(any(_differing(found)))


def _differing(found: Any) -> Iterator[int]:
    """Yield every number of values that differ."""
    if isinstance(found, dict):
        for key, value in found.items():
            if key == "differing":
                yield value
            else:
                yield from _differing(value)


if __name__ == "__main__":
    raise SystemExit(main())
