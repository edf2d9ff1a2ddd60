"""One run on one GPU of at most eight minutes: parity and speed of the CUDA kernels, and a verdict for each operator.

``python -m benchmarks.gpu --out FOLDER`` writes ``results.json`` and ``index.html`` to FOLDER, again after each part.
Each part runs in a process of its own, which writes its records as they come: one that fails, hangs or takes the device
down costs the others nothing. Without a GPU, ``python -m benchmarks.gpu --dry`` runs every part once in Triton's
interpreter at tiny sizes, without times, and two more that fail on purpose.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

SECONDS = 480
_STARTING = 15.0  # s that the process of a part may take before it works


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit status: 0, 1 where something is wrong, 2 where nothing could run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description="Check and time the CUDA kernels.")
    parser.add_argument("--out", type=Path, metavar="FOLDER", default=Path("gpu-results"), help="where results go")
    parser.add_argument("--dry", action="store_true", help="tiny sizes in Triton's interpreter, without a GPU")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="limit of the whole run")
    parser.add_argument("--parts", nargs="+", metavar="PART", help="these alone")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.dry:
        os.environ["TRITON_INTERPRET"] = "1"  # read when a kernel is made
    if options.part is not None:
        return _work(options.part, options.out, options.dry)
    return _orchestrate(options)


def _orchestrate(options: argparse.Namespace) -> int:
    from benchmarks.gpu_page import page, summary
    from benchmarks.gpu_parts import ON_PURPOSE, PARTS
    from neurosim.errors import FileError
    from neurosim.files.atomic import replaced

    if not options.dry and not _has_gpu():
        print(
            "benchmarks.gpu: torch sees no CUDA device, so there is nothing to measure. To run the same kernels at "
            "tiny sizes in Triton's interpreter: python -m benchmarks.gpu --dry",
            file=sys.stderr,
        )
        return 2
    parts = {**PARTS, **(ON_PURPOSE if options.dry else {})}
    unknown = [name for name in options.parts or () if name not in parts]
    if unknown:
        print(f"benchmarks.gpu: no part {unknown}; there are {list(parts)}.", file=sys.stderr)
        return 2
    start, result = time.monotonic(), dict[str, Any](dry=options.dry, parts={})
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        for name in options.parts or parts:
            left = options.seconds - (time.monotonic() - start)
            limit = options.seconds if options.dry else parts[name][1] + _STARTING
            result["parts"][name] = _run(name, options, min(limit, left))
            result["seconds"] = time.monotonic() - start
            for file, text in (("results.json", json.dumps(result, indent=1)), ("index.html", page(result))):
                with replaced(options.out / file) as written:
                    written.write_text(text + "\n", encoding="utf-8")
            print(f"{result['seconds']:5.0f} s  {name}: {result['parts'][name]['status']}", flush=True)
    except (OSError, FileError) as error:
        print(f"benchmarks.gpu: {options.out} cannot be written: {error}", file=sys.stderr)
        return 2
    print(summary(result))
    wrong = [name for name, part in result["parts"].items() if part["status"] != "done" and name not in ON_PURPOSE]
    wrong += [name for name in ON_PURPOSE if name in result["parts"] and result["parts"][name]["status"] == "done"]
    disagree = [each for part in result["parts"].values() for each in part["records"] if each.get("holds") is False]
    if wrong or disagree:
        print(
            f"benchmarks.gpu: parts not done: {wrong}; comparisons that do not hold: {len(disagree)}", file=sys.stderr
        )
    return 1 if wrong or disagree else 0


def _run(name: str, options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """Run a part in a process of its own; return its records and how it ended."""
    records = options.out / f"{name}.jsonl"
    records.unlink(missing_ok=True)
    if seconds < _STARTING:
        return {"status": "left out: no time was left", "seconds": 0.0, "records": []}
    command = [sys.executable, "-m", "benchmarks.gpu", "--part", name, "--out", str(options.out)]
    command += ["--dry"] if options.dry else []
    start, error = time.monotonic(), ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
        status = "done" if done.returncode == 0 else f"failed with exit status {done.returncode}"
        error = "" if done.returncode == 0 else done.stderr[-4000:]
    except subprocess.TimeoutExpired:
        status = f"stopped after {seconds:.0f} s"
    taken = time.monotonic() - start
    return {"status": status, "seconds": taken, "error": error, "records": read(records)}


def read(path: Path) -> list[dict[str, Any]]:
    """Return the records of a part, without a last line that was not written to its end."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return found


def _work(name: str, folder: Path, dry: bool) -> int:
    """Run one part here, and write each record as it comes."""
    import torch

    from benchmarks.gpu_clock import Clock
    from benchmarks.gpu_parts import ON_PURPOSE, PARTS

    part, _ = {**PARTS, **ON_PURPOSE}[name]
    known = next(iter(read(folder / "rates.jsonl")), {})
    torch.manual_seed(0)
    with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as file:
        try:
            for record in part(Clock(torch.device("cpu" if dry else "cuda")), known, dry):
                file.write(json.dumps(record) + "\n")
                file.flush()
        except Exception:
            traceback.print_exc()
            return 1
    return 0


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


if __name__ == "__main__":
    raise SystemExit(main())
