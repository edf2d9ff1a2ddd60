"""The table of what CUDA kernels and training steps cost: registers, spills, shared memory; launches and waits.

``python -m tests.cuda_table --write`` compiles every kernel for every chip and writes ``tests/cuda_table.json``.
Without ``--write`` it says what has grown. ``tests/test_cuda_table.py`` compiles a few of them and compares.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_suffix(".json")
CHIPS = (80, 90, 100, 120)
# Compiled in every run of the tests, for the first two chips.
FEW = ("lif float32 1000 backward", "alif bfloat16 1000 forward", "loop lif float32 128 backward", "gather float32")
FEW_CHIPS = CHIPS[:2]


def kernels() -> dict[str, Callable[..., dict[str, Any]]]:
    """Return for each kernel of the benchmarks the function that compiles it for a chip."""
    from neurosim.cores import alif, cubalif, lif, lif_cond, lif_exp
    from neurosim.kernels.circuit.cuda import BITS_BLOCK
    from neurosim.kernels.neurons.cuda import WIDE
    from tests.kernels.circuit.test_cuda_ahead import neurons, other
    from tests.kernels.neurons.test_cuda import ahead_of_time
    from tests.kernels.test_cuda_ahead import events, recurrent

    found: dict[str, Callable[..., dict[str, Any]]] = {}
    loops = ((lif, "float32", 64), (lif, "float32", 128), (alif, "float32", 128), (lif, "bfloat16", 256))
    for back, way in ((False, "forward"), (True, "backward")):
        for core in (lif, cubalif, alif):
            for real in ("float32", "bfloat16"):
                for width in (1000, WIDE) if core is lif else (1000,):
                    found[f"{core.name} {real} {width} {way}"] = partial(ahead_of_time, core, real, back, width=width)
        for core, real, n in loops:
            found[f"loop {core.name} {real} {n} {way}"] = partial(recurrent, core, real, real, n, back)
    for real in ("float32", "bfloat16"):
        found[f"gather {real}"] = partial(events, "_gather", real, VALUES=False, BIAS=False)
        found[f"pack {real}"] = partial(events, "_pack", real, ROWS=16)
        found[f"unpack {real}"] = partial(events, "_unpack", real, ROWS=16)
    found["transpose"] = partial(events, "_transpose", "float32")
    found["circuit lif_exp float32"] = partial(neurons, lif_exp, "float32")
    found["circuit lif_cond float32"] = partial(neurons, lif_cond, "float32")
    found["circuit packed"] = partial(other, "deliver", warps=1, KIND="packed", BLOCK=64)
    found["circuit bits"] = partial(other, "deliver_bits", warps=4, BLOCK=BITS_BLOCK)
    found["circuit clock"] = partial(other, "tick", warps=1, BLOCK=128)
    return found


def compiled(names: Iterable[str], chips: Iterable[int]) -> dict[str, dict[str, dict[str, int]]]:
    """Return registers, spilled bytes and shared bytes by chip and kernel."""
    every, table = kernels(), dict[str, dict[str, dict[str, int]]]()
    for chip in chips:
        rows = table.setdefault(f"sm_{chip}", {})
        for name in names:
            made = every[name](capability=chip)
            rows[name] = {key: made[key] for key in ("registers", "spilled", "shared")}
    return table


def steps() -> dict[str, dict[str, int]]:
    """Return launches and waits of a training step by benchmark."""
    import pytest

    from tests.launches import STEPS, counted_step

    found = {}
    for name in STEPS:
        with pytest.MonkeyPatch.context() as patch:
            counted = counted_step(patch, name)
        found[name] = {"launches": counted.total, "waits": sum(counted.waits.values())}
    return found


def grown(now: dict[str, Any], kept: dict[str, Any], prefix: str = "") -> list[str]:
    """Return what is larger in `now` than in `kept`, or not there, as text."""
    found = []
    for name, value in now.items():
        place = f"{prefix}{name}"
        if name not in kept:
            found.append(f"{place}: not in the table")
        elif isinstance(value, dict):
            found += grown(value, kept[name], f"{place}, ")
        elif value > kept[name]:
            found.append(f"{place}: {kept[name]} before, {value} now")
    return found


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.cuda_table", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the table")
    write = parser.parse_args().write
    os.environ["TRITON_INTERPRET"] = "0"
    now = {"triton": importlib.metadata.version("triton"), "kernels": compiled(kernels(), CHIPS), "steps": steps()}
    if write:
        from neurosim.files.atomic import replaced

        with replaced(PATH) as part:
            part.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
        return 0
    kept = json.loads(PATH.read_text(encoding="utf-8"))
    found = grown({name: now[name] for name in ("kernels", "steps")}, kept)
    print("\n".join(found) or "nothing has grown")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
