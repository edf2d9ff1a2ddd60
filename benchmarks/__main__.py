"""Run benchmarks, print their tables and write their results.

``python -m benchmarks`` runs all, ``python -m benchmarks NAME ...`` some.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from benchmarks import (
    circuits,
    cold_start,
    conv_step,
    crossover,
    elm,
    lif_layer,
    lif_neurons,
    machine,
    memory,
    models,
    parallel_in_time,
    recurrent_step,
    rules,
    shd_step,
    small_steps,
    train_step,
)
from benchmarks.fresh import FreshError
from benchmarks.options import Options
from benchmarks.timing import ImplausibleError
from neurosim.errors import NeurosimError
from neurosim.files.atomic import replaced

BENCHMARKS = {
    each.NAME: each
    for each in (
        train_step,
        lif_layer,
        conv_step,
        recurrent_step,
        shd_step,
        small_steps,
        memory,
        cold_start,
        crossover,
        lif_neurons,
        rules,
        parallel_in_time,
        elm,
        models,
        circuits,
    )
}


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmarks given on the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure neurosim.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"one of {', '.join(BENCHMARKS)}; all if omitted")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to this file")
    parser.add_argument("--quick", action="store_true", help="small sizes, to check that everything runs")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder with N-MNIST recordings, for conv-step")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="plot the result of crossover to this file")
    parser.add_argument("--case", type=int, metavar="N", help="run only the case with this number (rate, size), from 1")
    parser.add_argument("--no-peaks", action="store_true", help="omit the memory of the contenders: half the time")
    parser.add_argument("--peers", type=Path, metavar="DIR", help="environments of circuit simulators, for circuits")
    parser.add_argument("--busy", action="store_true", help="circuits: also one and two threads beside two busy loops")
    parser.add_argument("--scale", type=float, metavar="S", help="circuits: part of the microcircuit's neurons, to 1")
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    os.environ.setdefault("NEUROSIM_REQUIRE_KERNELS", "1")  # never the slow reference instead of a kernel
    facts = machine.facts()
    results: dict[str, object] = {"machine": facts, "quick": chosen.quick}
    print(", ".join(f"{key} {value}" for key, value in facts.items()), "\n")
    for name in chosen.names or BENCHMARKS:
        try:
            options = Options(
                chosen.quick,
                chosen.data,
                chosen.plot,
                chosen.case,
                not chosen.no_peaks,
                chosen.peers,
                chosen.busy,
                chosen.scale,
            )
            results[name] = BENCHMARKS[name].measure(options)
        except (ImplausibleError, FreshError) as error:
            print(f"{name} is wrong: {error}", file=sys.stderr)
            return 1
        except NeurosimError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 2
        print(BENCHMARKS[name].table(results[name]), "\n", flush=True)
        if chosen.json:
            # After each benchmark, so that an interrupted run keeps its results.
            with replaced(chosen.json) as part:
                part.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
