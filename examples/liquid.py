"""Let an astrocyte set the depression of all synapses in a liquid, and see whether activity comes to branch by one.

    python examples/liquid.py --out runs/liquid/result.json

A liquid of 80 excitatory and 20 inhibitory LIF neurons, sparsely and randomly joined, receives 40 Poisson spike trains.
All its synapses follow a pair rule. With ``astrocyte`` the depression is as strong as the level of a `LiquidAstrocyte`,
with ``fixed`` it is as strong as the potentiation throughout. Both start from a liquid that is driven weakly and from
one driven strongly. Printed are the branching factor and the mean rate on spike trains not learned from, before and
after. The size, the neurons and the rate of learning are this program's; its astrocyte's weight is about that of the
authors for their sizes, carried on to a hundred neurons.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

import neurosim as ns
from neurosim.files import replaced
from neurosim.learning import AstrocyteModulated, LiquidAstrocyte, Plasticity, branching_factor
from neurosim.synapses.plastic import PairSTDP

DT = 1e-3
EXCITATORY, INHIBITORY, INPUTS = 80, 20, 40
STARTS = {"weak": 0.2, "strong": 1.0}  # mean weight of a synapse from the input
PIECE = 10  # steps between two changes of the weights


def liquid(drive: float, generator: torch.Generator) -> tuple[ns.Network, dict[str, Tensor]]:
    """Draw a liquid; return it and for each edge which synapses there are."""

    def neurons() -> ns.Neuron:
        # With this r a weight is the height of the potential's step.
        return ns.LIF(tau_mem=20e-3, r=1 / (1 - math.exp(-DT / 20e-3)), dt=DT)

    net = ns.Network(
        {"input": ns.Input(INPUTS), "exc": neurons(), "inh": neurons()},
        [
            ns.Edge("input", "exc", ns.Linear(INPUTS, EXCITATORY)),
            ns.Edge("exc", "exc", ns.Linear(EXCITATORY, EXCITATORY)),
            ns.Edge("exc", "inh", ns.Linear(EXCITATORY, INHIBITORY), delay=DT),
            ns.Edge("inh", "exc", ns.Linear(INHIBITORY, EXCITATORY), delay=DT),
            ns.Edge("inh", "inh", ns.Linear(INHIBITORY, INHIBITORY)),
        ],
        output="exc",
    )
    there = {}
    for edge in net.edges:
        weight = weight_of(edge)
        mask = (torch.rand(weight.shape, generator=generator) < 0.2).float()
        if edge.source == edge.target:
            mask.fill_diagonal_(0)
        mean = drive if edge.source == "input" else -0.4 if edge.source == "inh" else 0.1
        with torch.no_grad():
            weight.copy_(2 * mean * torch.rand(weight.shape, generator=generator) * mask)
        there[edge.name] = mask
    return net, there


def weight_of(edge: Any) -> Tensor:
    """Return the weights of an edge, which is one map."""
    (synapse,) = edge.synapses
    assert isinstance(synapse, ns.Linear)
    return synapse.weight


@torch.no_grad()
def measured(net: ns.Network, there: dict[str, Tensor], x: Tensor) -> tuple[float, float]:
    """Return the branching factor of the liquid under input `x`, and its mean rate in Hz."""
    _, _, seen = net.recorded(x, None, ("exc", "inh"))
    connected = torch.cat(
        (
            torch.cat((there["exc->exc"], there["inh->exc"]), 1),
            torch.cat((there["exc->inh"], there["inh->inh"]), 1),
        )
    )
    spikes = torch.cat((seen["exc"], seen["inh"]), -1)
    return branching_factor(spikes, connected), float(spikes.mean()) / DT


def learn(start: str, kind: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """Let one liquid learn; return what was measured before and after."""
    generator = torch.Generator().manual_seed(seed)
    net, there = liquid(STARTS[start], generator)

    def trains(seconds: float) -> Tensor:
        return (torch.rand(round(seconds / DT), 1, INPUTS, generator=generator) < args.rate * DT).float()

    test = trains(args.test_seconds)
    before = measured(net, there, test)
    astrocyte = LiquidAstrocyte(
        ("exc", "inh"), ("input",), weight=args.weight if kind == "astrocyte" else 0.0, rest=args.eta
    )

    def rule(inhibitory: bool) -> AstrocyteModulated:
        pair = PairSTDP(
            w_min=-3.0 if inhibitory else 0.0,
            w_max=0.0 if inhibitory else 3.0,
            a_plus=0.1 * args.eta,
            a_minus=0.1,
            tau_plus=10e-3,
            tau_minus=10e-3,
            coincident=False,
        )
        return AstrocyteModulated(pair, astrocyte, inhibitory)

    plasticity = Plasticity(net, {edge.name: rule(edge.source == "inh") for edge in net.edges}, chunk=PIECE)
    state, began = None, time.perf_counter()
    for x in tqdm(trains(args.seconds).split(PIECE), unit="piece", desc=f"{start} {kind} {seed}", leave=False):
        _, state = plasticity.run(x, state)
        with torch.no_grad():  # a synapse that is not there does not grow
            for edge in net.edges:
                weight_of(edge).mul_(there[edge.name])
    after = measured(net, there, test)
    print(
        f"driven {start}, {kind}, seed {seed}: branching factor {before[0]:.2f} to {after[0]:.2f}, "
        f"{before[1]:.1f} to {after[1]:.1f} Hz, {time.perf_counter() - began:.0f} s",
        flush=True,
    )
    return {"start": start, "kind": kind, "seed": seed, "before": before, "after": after}


def main() -> None:
    """Let all liquids learn and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--seconds", type=float, default=10.0, help="to learn from, of the liquid's time")
    parser.add_argument("--test-seconds", type=float, default=4.0)
    parser.add_argument("--rate", type=float, default=10.0, help="of each input, Hz")
    parser.add_argument("--eta", type=float, default=0.1, help="rate of potentiation, and of depression at rest")
    parser.add_argument("--weight", type=float, default=0.1, help="of the astrocyte")
    parser.add_argument("--quick", action="store_true", help="one seed, short runs")
    parser.add_argument("--out", type=Path, default=Path("runs/liquid/result.json"))
    args = parser.parse_args()
    if args.quick:
        args.seeds, args.seconds, args.test_seconds = args.seeds[:1], 1.5, 1.0
    torch.set_num_threads(1)
    rows = [
        learn(start, kind, seed, args) for start in STARTS for kind in ("astrocyte", "fixed") for seed in args.seeds
    ]
    for start in STARTS:
        for kind in ("astrocyte", "fixed"):
            each = [row["after"][0] for row in rows if (row["start"], row["kind"]) == (start, kind)]
            shown = " ".join(f"{value:.2f}" for value in each)
            print(f"driven {start}, {kind}: mean branching factor {sum(each) / len(each):.2f} ({shown})")
    settings = {name: value for name, value in vars(args).items() if name != "out"}
    with replaced(args.out) as part:
        part.write_text(json.dumps({"settings": settings, "runs": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
