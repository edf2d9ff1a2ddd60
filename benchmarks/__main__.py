"""Run benchmarks, print their tables and keep their figures.

``python -m benchmarks`` runs all; name some to run those only.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from benchmarks import lif_layer, machine, sltt_memory
from benchmarks.timing import ImplausibleError
from neurosim.files import replaced

BENCHMARKS = {each.NAME: each for each in (lif_layer, sltt_memory)}


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure neurosim.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"one of {', '.join(BENCHMARKS)}; all if left out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    parser.add_argument("--quick", action="store_true", help="small sizes: to see that all runs, not to measure")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    os.environ.setdefault("NEUROSIM_REQUIRE_KERNELS", "1")  # never the slow reference in place of a kernel
    results: dict[str, object] = {"machine": machine.facts()}
    print(", ".join(f"{key} {value}" for key, value in machine.facts().items()), "\n")
    for name in options.names or BENCHMARKS:
        try:
            results[name] = BENCHMARKS[name].measure(options.quick)
        except ImplausibleError as error:
            print(f"{name} is wrong: {error}", file=sys.stderr)
            return 1
        print(BENCHMARKS[name].table(results[name]), "\n")
    if options.json:
        with replaced(options.json) as part:
            part.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
