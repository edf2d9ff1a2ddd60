"""Hold Xylo's integers against xylosim at length: ``python -m tests.hardware.xylo.verify --neuron-steps 5000000``.

Each random configuration runs in the plain definition and in the fused core, on the spikes of xylosim with their order
kept, and a second one, whose sums stay in 16 bits, as a network. Every spike and state is compared.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from neurosim.errors import NothingCompared
from neurosim.files.atomic import replaced
from neurosim.hardware.xylo import evolve, from_xylo, order_matters, run_xylosim, verify_xylo
from tests.hardware.xylo.cases import Seen, differing, draw, mild, spikes
from tests.hardware.xylo.replay import replay

STEPS, BATCH = 200, 16


def random_networks(neuron_steps: int, seed: int) -> dict[str, Any]:
    """Compare until so many neuron-steps are done; return counts."""
    seen, start = Seen(), time.perf_counter()
    counts = (
        "configurations",
        "definition",
        "fused",
        "fused_neuron_steps",
        "network",
        "network_neuron_steps",
        "ordered",
    )
    found = dict.fromkeys(counts, 0)
    with tqdm(total=neuron_steps, unit="neuron-step", unit_scale=True, mininterval=5) as bar:
        while seen.neuron_steps < neuron_steps:
            rng = np.random.default_rng([seed, found["configurations"]])
            forward = bool(rng.integers(2))
            chip = draw(
                rng, int(rng.integers(8, 90)), int(rng.integers(1, 17)), int(rng.integers(1, 9)), forward=forward
            )
            x = spikes(rng, chip, STEPS, BATCH)
            theirs = run_xylosim(chip, x)
            found["definition"] += differing(evolve(chip, x), theirs)
            if forward:
                found["fused"] += differing(replay(chip, x, theirs, torch.float32), theirs)
                found["fused_neuron_steps"] += theirs.hidden.size + theirs.output.size
            found["ordered"] += order_matters(chip, x, theirs)
            within = mild(rng, chip)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NothingCompared)
                result = verify_xylo(from_xylo(within, 1e-3), torch.from_numpy(x // 4))
            found["network"] += 0 if result.order_matters else result.differing
            found["network_neuron_steps"] += sum(node.compared for node in result.nodes)
            found["configurations"] += 1
            before = seen.neuron_steps
            seen.add(theirs)
            bar.update(seen.neuron_steps - before)
    return {**found, **dataclasses.asdict(seen), "seed": seed, "seconds": round(time.perf_counter() - start, 1)}


def main() -> None:
    """Run, print and exit with 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--neuron-steps", type=int, default=5_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if importlib.util.find_spec("xylosim") is None:
        print("xylosim is not installed; skipped. Install it with: pip install xylosim")
        return
    found = random_networks(given.neuron_steps, given.seed)
    text = json.dumps(found, indent=2) + "\n"
    print(text, end="")
    if given.json is not None:
        with replaced(given.json) as part:
            part.write_text(text, encoding="utf-8")
    if found["definition"] or found["fused"] or found["network"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
