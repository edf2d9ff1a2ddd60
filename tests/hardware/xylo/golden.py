"""Record runs of xylosim as a plain file: ``python -m tests.hardware.xylo.golden`` writes ``golden.json``.

Each case is a configuration document, an input [T, B, inputs], and every spike and state of xylosim's run.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from neurosim.hardware.xylo.configuration import XyloConfiguration
from neurosim.hardware.xylo.reference import STATES, XyloRun
from neurosim.hardware.xylo.runner import run_xylosim
from tests.hardware.xylo.cases import draw, spikes

PATH = Path(__file__).with_name("golden.json")
SEEDS = (1, 3, 6, 7)


def cases(folder: Path) -> list[tuple[XyloConfiguration, np.ndarray, XyloRun]]:
    """Return configurations, inputs and recorded runs; the documents are written to `folder` to be read."""
    read = []
    for number, case in enumerate(json.loads(PATH.read_text(encoding="utf-8"))):
        path = folder / f"{number}.json"
        path.write_text(json.dumps(case["configuration"]), encoding="utf-8")
        run = XyloRun(**{name: np.asarray(values) for name, values in case["run"].items()})
        read.append((XyloConfiguration.read(path), np.asarray(case["input"]), run))
    return read


def main() -> None:
    """Write the file."""
    lines = []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        chip = draw(rng, 10, 4, 3, forward=True)
        x = spikes(rng, chip, 24, 2)
        run = run_xylosim(chip, x)
        case: dict[str, Any] = {"configuration": chip.document(), "input": x.tolist()}
        case["run"] = {name: getattr(run, name).tolist() for name in STATES}
        lines.append(json.dumps(case, separators=(",", ":")))
    PATH.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
