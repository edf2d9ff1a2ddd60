"""Run a configuration on xylosim. Started as a file by an interpreter that has xylosim and numpy.

    python -I worker.py FOLDER [SEARCH_PATH ...]

`FOLDER` has the document ``xylo.json`` and ``input.npy`` of [T, B, inputs]; the result is ``result.npz``.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


def main(arguments: list[str]) -> int:
    """Run each sample from rest and write spikes and states of all neurons."""
    folder = Path(arguments[0])
    sys.path.extend(path for path in arguments[1:] if path not in sys.path)
    simulator: Any = importlib.import_module("xylosim.v2")
    document = json.loads((folder / "xylo.json").read_text(encoding="utf-8"))
    x = np.load(folder / "input.npy", allow_pickle=False)
    synapses = {
        key: [[simulator.XyloSynapse(*synapse) for synapse in row] for row in document.pop(key)]
        for key in ("synapses_in", "synapses_rec", "synapses_out")
    }
    layer = simulator.XyloLayer(**synapses, **document)  # it refers to the synapses, which must live as long
    results: dict[str, list[np.ndarray]] = {}
    for sample in range(x.shape[1]):
        layer.reset_all()
        output = layer.evolve(x[:, sample].tolist())
        found = {
            "output": np.asarray(output),
            "hidden": np.asarray(layer.rec_recurrent_spikes),
            "i_syn": np.asarray(layer.rec_i_syn).T,
            "i_syn2": np.asarray(layer.rec_i_syn2).T,
            "v": np.asarray(layer.rec_v_mem).T,
            "i_syn_out": np.asarray(layer.rec_i_syn_out).T,
            "v_out": np.asarray(layer.rec_v_mem_out).T,
        }
        for name, values in found.items():
            results.setdefault(name, []).append(values.astype(np.int64))
    stacked: dict[str, Any] = {name: np.stack(values, axis=1) for name, values in results.items()}
    with open(folder / "result.npz", "wb") as stream:
        np.savez(stream, **stacked)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
