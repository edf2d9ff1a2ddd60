"""Hold integer networks against lava-nc and against recordings, at length: ``make verify-hardware``.

    python -m tests.hardware.loihi.verify --neuron-steps 5000000 --data-root FOLDER

Random networks are compared value by value with the fixed-point models of lava-nc stepped without its runtime, a few of
them with Lava's runtime as well, and, where the folder is given, with the recordings in its ``loihi/``.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from neurosim.files.atomic import replaced
from tests.hardware.lava import fixed_point as lava_fixed
from tests.hardware.loihi import recordings as loihi_recordings
from tests.hardware.loihi.cases import differing, draw, ours

SIZES, STEPS = (7, 40, 128), 200


def random_networks(neuron_steps: int, seed: int) -> dict[str, Any]:
    """Compare until so many neuron-steps are done; return counts."""
    found = dict.fromkeys(("networks", "neuron_steps", "spikes", "clipped", "wrapped", "differing"), 0)
    start = time.perf_counter()
    with (
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), lava_fixed.forget_start_method) as pool,
        tqdm(total=neuron_steps, unit="neuron-step", unit_scale=True, mininterval=5) as bar,
    ):
        while found["neuron_steps"] < neuron_steps:
            generator = np.random.default_rng([seed, found["networks"]])
            case = draw(generator, STEPS, int(generator.choice(SIZES)))
            theirs = pool.submit(lava_fixed.step_models, case)
            mine = ours(case)
            found["differing"] += differing(case, mine, theirs.result())
            for values in mine.values():
                found["spikes"] += int(values["s"].sum())
                found["clipped"] += int((np.abs(values["v"]) == 2**23 - 1).sum())
                # Beyond 24 bits after wrapping once: the sum was more than a turn outside.
                found["wrapped"] += int((np.abs(values["u"]) > 2**23).sum())
            found["networks"] += 1
            found["neuron_steps"] += case.neuron_steps
            bar.update(case.neuron_steps)
    return {**found, "seed": seed, "seconds": round(time.perf_counter() - start, 1)}


def under_runtime(networks: int, seed: int) -> dict[str, int]:
    """Compare some networks with Lava's runtime, each in a process group of its own."""
    found = {"networks": networks, "neuron_steps": 0, "differing": 0}
    for number in range(networks):
        case = draw(np.random.default_rng([seed, number]), 60, 12)
        found["differing"] += differing(case, ours(case), lava_fixed.run_lava(case))
        found["neuron_steps"] += case.neuron_steps
    return found


def recordings(folder: Path) -> dict[str, Any]:
    """Compare with the recordings."""
    whole = loihi_recordings.ntidigits(folder)
    spikes, apart = loihi_recordings.chip(folder)
    return {
        "ntidigits": vars(whole),
        "chip": {**vars(spikes), "voltages_differing": apart.shape[1], "of_those_at_spikes": int(apart[1].sum())},
    }


def main() -> int:
    """Compare all, print and write what was found; return 1 if anything differs that should not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--neuron-steps", type=int, default=5_000_000)
    parser.add_argument("--runtime-networks", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data-root", default=os.environ.get("NEUROSIM_DATA"), help="NEUROSIM_DATA if left out")
    parser.add_argument("--out", type=Path, default=Path("runs/verify-hardware/loihi.json"))
    args = parser.parse_args()
    found: dict[str, Any] = {
        "random networks": random_networks(args.neuron_steps, args.seed),
        "under Lava's runtime": under_runtime(args.runtime_networks, args.seed),
    }
    folder = Path(args.data_root) / "loihi" if args.data_root else None
    if folder is not None and folder.is_dir():
        found["recordings"] = recordings(folder)
    else:
        print("The recordings were left out: give --data-root or NEUROSIM_DATA, a folder that holds loihi/.")
    print(json.dumps(found, indent=2))
    with replaced(args.out) as part:
        part.write_text(json.dumps(found, indent=2) + "\n")
    return int(any(each["differing"] for part in found.values() for each in _counts(part)))


def _counts(part: dict[str, Any]) -> list[dict[str, Any]]:
    return [part] if "differing" in part else list(part.values())


if __name__ == "__main__":
    raise SystemExit(main())
