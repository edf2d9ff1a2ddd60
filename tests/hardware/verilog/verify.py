"""Hold Verilog designs against the simulator at length: ``make verify-hardware``.

    python -m tests.hardware.verilog.verify

Networks with every kind of connection and core, and the shipped digits network over 20 test samples, are simulated and
compared in every output and state; the digits network is synthesised, placed and routed on an iCE40 UP5K. What is not
installed is left out by name.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from neurosim.files.atomic import replaced
from neurosim.hardware.verilog import place_fpga, tools, verify_verilog
from tests.hardware.c.verify import digits_network
from tests.hardware.integers.cases import NETWORKS, data


def main() -> int:
    """Compare all, print and write what was found; return 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/verify-hardware/verilog.json"))
    args = parser.parse_args()
    simulators = [name for name, programs in tools.SIMULATORS.items() if not tools.missing(programs)]
    if not simulators:
        print("Verilog is not compared: iverilog is not installed.")
        return 0
    found: dict[str, Any] = {}
    good = True
    digits, x = digits_network()
    for name, make in NETWORKS.items():
        net = make()
        result = verify_verilog(net, data(net))
        good &= result.agrees
        found[name] = json.loads(result.to_json())
        print(f"{name}: {result.summary()}", flush=True)
    result = verify_verilog(digits, x, simulator=simulators[-1], loaded=True, timeout=3600.0)
    good &= result.agrees
    found["digits 64-256-10"] = json.loads(result.to_json())
    print(result.summary(), flush=True)
    if tools.missing(["yosys", "nextpnr-ice40"]):
        print("Nothing is placed: yosys or nextpnr-ice40 is not installed.")
    else:
        placed = place_fpga(digits, "ice40up5k", x)
        found["digits on an iCE40 UP5K"] = placed.to_dict()
        print(placed.table())
    with replaced(args.out) as part:
        part.write_text(json.dumps(found, indent=2) + "\n")
    return int(not good)


if __name__ == "__main__":
    raise SystemExit(main())
