"""A process of the arena: ``python -m neurosim.arena.worker TASK`` runs one set with one seed."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import torch

from neurosim.arena.measuring import run
from neurosim.arena.running import write_result
from neurosim.errors import FileError


def main(task: dict[str, Any]) -> None:
    """Run a task and write its result; a set whose files are missing is written as missing."""
    torch.set_num_threads(1)
    place = Path(task["folder"])
    same = place / f"{task['name']}-{task['seed']}"
    mark = same / "code"
    if same.exists() and (not mark.is_file() or mark.read_text(encoding="utf-8") != task["code"]):
        shutil.rmtree(same)  # checkpoints of other code
    same.mkdir(exist_ok=True)
    mark.write_text(task["code"], encoding="utf-8")
    start = time.perf_counter()
    common = {"name": task["name"], "seed": task["seed"], "code": task["code"]}
    try:
        found = run(task["name"], task["seed"], task["root"], place, quick=task["quick"])
    except FileError as error:
        found = {"missing": str(error)}
    write_result(place, {**found, **common, "seconds": time.perf_counter() - start})


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
