"""``python -m tests.fuzz --number 100000 --seed 7``: read damaged files; `make fuzz` runs it."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.fuzz.campaign import memory_folder, run
from tests.fuzz.parsers import PARSERS


def main() -> int:
    """Run the campaigns given on the command line; return 1 where another error came out."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Read damaged files.")
    parser.add_argument("kinds", nargs="*", help=f"of {', '.join(PARSERS)}; all if omitted")
    parser.add_argument("--number", type=int, default=20_000, help="damaged files of each kind")
    parser.add_argument("--seed", type=int, default=1, help="another seed gives other files")
    parser.add_argument("--first", type=int, default=0, help="number of the first file, to repeat one")
    chosen = parser.parse_args()
    for kind in chosen.kinds:
        if kind not in PARSERS:
            parser.error(f"no parser {kind!r}; there are {', '.join(PARSERS)}")
    bad = False
    with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
        for kind in chosen.kinds or PARSERS:
            outcome = run(kind, chosen.number, chosen.seed, Path(folder) / kind, first=chosen.first)
            per_file = 1e3 * outcome.seconds / max(chosen.number, 1)
            print(f"{kind:12} {outcome.read} read, {outcome.refused} refused, {per_file:.2f} ms a file", flush=True)
            for fault, place in outcome.faults.items():
                print(f"  {fault} ({place})", flush=True)
            bad |= bool(outcome.faults)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
