"""Let an astrocyte set the depression of all synapses in a liquid, and measure the branching factor.

    python examples/liquid.py --out runs/liquid/result.json
    python examples/liquid.py --task digits --data-root FOLDER_WITH_THE_IDX_FILES

*branching*: a liquid of 80 excitatory and 20 inhibitory LIF neurons with sparse random synapses receives 40 Poisson
spike trains. All its synapses follow a pair rule. With ``astrocyte`` the depression follows the level of a
`LiquidAstrocyte`; with ``fixed`` it is always as strong as the potentiation. Both start from a weakly and from a
strongly driven liquid. The program prints the branching factor and the mean rate before and after, on spike trains that
were not used for learning.

*digits*: a larger liquid receives images, one spike train per pixel, and learns from some of them in the same way. A
linear readout is then trained on the spike counts of its neurons, and compared with readouts of the untrained liquid
and of the input spikes. Without data a quick run uses the digits of scikit-learn.

Sizes, neurons and learning rate are those of this program; its astrocyte's weight is about that of the authors, scaled
to these sizes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from tqdm.auto import tqdm

import neurosim as ns
from neurosim.datasets import Labelled, digits, mnist
from neurosim.files.atomic import replaced
from neurosim.plasticity import AstrocyteModulated, LiquidAstrocyte, Plasticity, branching_factor
from neurosim.plasticity.stdp import PairSTDP
from neurosim.units import decay_of

DT = 1e-3
EXCITATORY, INHIBITORY, INPUTS = 80, 20, 40
Sizes = tuple[int, int, int]
SIZES: Sizes = (INPUTS, EXCITATORY, INHIBITORY)
STARTS = {"weak": 0.2, "strong": 1.0}  # mean weight of an input synapse
PIECE = 10  # steps between weight updates


def liquid(drive: float, generator: torch.Generator, sizes: Sizes = SIZES) -> tuple[ns.Network, dict[str, Tensor]]:
    """Draw a liquid; return it and the mask of existing synapses per edge.

    Synapses are weaker the more of them a neuron has.
    """
    inputs, exc, inh = sizes

    def neurons() -> ns.Neuron:
        # With this r a weight is the amplitude of the postsynaptic potential.
        return ns.LIF(tau_mem=20e-3, r=1 / (1 - decay_of(20e-3, DT)), dt=DT)

    count = {"input": inputs, "exc": exc, "inh": inh}
    means = {"input": drive * INPUTS / inputs, "exc": 0.1 * EXCITATORY / exc, "inh": -0.4 * INHIBITORY / inh}
    there, edges = {}, []
    for source, target in (("input", "exc"), ("exc", "exc"), ("exc", "inh"), ("inh", "exc"), ("inh", "inh")):
        n_out, n_in = count[target], count[source]
        mask = torch.rand(n_out, n_in, generator=generator) < 0.2
        if source == target:
            mask.fill_diagonal_(False)
        weight = 2 * means[source] * torch.rand(n_out, n_in, generator=generator)
        # Only the synapses that exist are stored, so that no rule makes others.
        synapse = ns.Sparse(n_in, n_out, mask.nonzero().T, weight[mask])
        edges.append(ns.Edge(source, target, synapse, delay=None if source in ("input", target) else DT))
        there[f"{source}->{target}"] = mask.float()
    return ns.Network({"input": ns.Input(inputs), "exc": neurons(), "inh": neurons()}, edges, output="exc"), there


@torch.no_grad()
def measured(net: ns.Network, there: dict[str, Tensor], x: Tensor) -> tuple[float, float]:
    """Return the branching factor of the liquid under input `x`, and its mean rate in Hz."""
    seen = net.run(x, None, ("exc", "inh")).recorded
    connected = torch.cat(
        (
            torch.cat((there["exc->exc"], there["inh->exc"]), 1),
            torch.cat((there["exc->inh"], there["inh->inh"]), 1),
        )
    )
    spikes = torch.cat((seen["exc"], seen["inh"]), -1)
    return branching_factor(spikes, connected), float(spikes.mean()) / DT


def taught(
    net: ns.Network,
    kind: str,
    weight: float,
    x: Tensor,
    args: argparse.Namespace,
    name: str,
) -> None:
    """Train all synapses of a liquid on `x` [T, 1, inputs]."""
    astrocyte = LiquidAstrocyte(
        ("exc", "inh"), ("input",), weight=weight if kind == "astrocyte" else 0.0, rest=args.eta
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
    state = None
    for piece in tqdm(x.split(PIECE), unit="piece", desc=name, leave=False):
        _, state = plasticity.run(piece, state)


def learn(start: str, kind: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """Train one liquid; return the measurements before and after."""
    generator = torch.Generator().manual_seed(seed)
    net, there = liquid(STARTS[start], generator)

    def trains(seconds: float) -> Tensor:
        return (torch.rand(round(seconds / DT), 1, INPUTS, generator=generator) < args.rate * DT).float()

    test = trains(args.test_seconds)
    before, began = measured(net, there, test), time.perf_counter()
    taught(net, kind, args.weight, trains(args.seconds), args, f"{start} {kind} {seed}")
    after = measured(net, there, test)
    print(
        f"driven {start}, {kind}, seed {seed}: branching factor {before[0]:.2f} to {after[0]:.2f}, "
        f"{before[1]:.1f} to {after[1]:.1f} Hz, {time.perf_counter() - began:.0f} s",
        flush=True,
    )
    return {"start": start, "kind": kind, "seed": seed, "before": before, "after": after}


def images(args: argparse.Namespace) -> tuple[Labelled, Labelled]:
    """Return training and test images as vectors of pixels in [0, 1]."""
    data = digits() if args.data_root is None and args.quick else mnist(args.data_root)
    parts = []
    for part, count in ((data.train, args.images), (data.test, args.test_images)):
        chosen = part.subset(slice(count))
        x = chosen.x if args.quick and args.data_root is None else functional.avg_pool2d(chosen.x, 2)
        parts.append(dataclasses.replace(chosen, x=x.flatten(1)))
    return parts[0], parts[1]


def trains_of(x: Tensor, args: argparse.Namespace, generator: torch.Generator) -> Tensor:
    """Return Poisson spikes [steps, n, pixels] for pixels `x` [n, pixels]."""
    return (torch.rand(args.steps, *x.shape, generator=generator) < x * (args.max_rate * DT)).float()


@torch.no_grad()
def counts(net: ns.Network, spikes: Tensor) -> Tensor:
    """Return the spike count of each neuron of the liquid per image [n, neurons]."""
    found = []
    for part in spikes.split(200, 1):
        seen = net.run(part, None, ("exc", "inh")).recorded
        found.append(torch.cat((seen["exc"], seen["inh"]), -1).sum(0))
    return torch.cat(found)


def read_off(train: Tensor, y: Tensor, test: Tensor, truth: Tensor) -> float:
    """Train a linear readout of `train` [n, values] and return its accuracy on `test`."""
    mean, deviation = train.mean(0), train.std(0).clamp(min=0.1)
    train, test = (train - mean) / deviation, (test - mean) / deviation
    torch.manual_seed(0)
    readout = torch.nn.Linear(train.shape[1], 10)
    optimizer = torch.optim.LBFGS(readout.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = functional.cross_entropy(readout(train), y) + 1e-3 * readout.weight.square().sum()
        value.backward()
        return value

    optimizer.step(closure)
    with torch.no_grad():
        return float((readout(test).argmax(1) == truth).double().mean())


def read(seed: int, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Read digits from liquids trained with and without the astrocyte, and from an untrained one."""
    train, test = images(args)
    rows = []
    for kind in ("untrained", "fixed", "astrocyte"):
        generator = torch.Generator().manual_seed(seed)
        sizes = (train.x.shape[1], *args.neurons)
        net, there = liquid(STARTS[args.start], generator, sizes)
        heard = trains_of(train.x[: args.taught], args, generator).transpose(0, 1).flatten(0, 1)[:, None]
        began = time.perf_counter()
        if kind != "untrained":
            weight = args.weight * (EXCITATORY + INHIBITORY) / sum(args.neurons)
            taught(net, kind, weight, heard, args, f"digits {kind} {seed}")
        branching, rate = measured(net, there, heard[: round(1 / DT)])
        # The same spikes for every liquid.
        chance = torch.Generator().manual_seed(seed + 1000)
        spikes = [trains_of(part.x, args, chance) for part in (train, test)]
        accuracy = read_off(counts(net, spikes[0]), train.y, counts(net, spikes[1]), test.y)
        if kind == "untrained":
            alone = read_off(spikes[0].sum(0), train.y, spikes[1].sum(0), test.y)
            rows.append({"seed": seed, "kind": "input alone", "accuracy": alone})
            print(f"seed {seed}, input alone: {alone:.2%}", flush=True)
        rows.append({"seed": seed, "kind": kind, "accuracy": accuracy, "branching": branching, "rate": rate})
        print(
            f"seed {seed}, {kind}: {accuracy:.2%}, branching factor {branching:.2f}, {rate:.1f} Hz, "
            f"{time.perf_counter() - began:.0f} s",
            flush=True,
        )
    return rows


def main() -> None:
    """Train all liquids and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", choices=["branching", "digits"], default="branching")
    parser.add_argument("--data-root", help="folder of MNIST's idx files; NEUROSIM_DATA if omitted")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--seconds", type=float, default=10.0, help="duration of training")
    parser.add_argument("--test-seconds", type=float, default=4.0)
    parser.add_argument("--rate", type=float, default=10.0, help="of each input, Hz")
    parser.add_argument("--eta", type=float, default=0.1, help="rate of potentiation, and of depression at rest")
    parser.add_argument("--weight", type=float, default=0.1, help="of the astrocyte")
    parser.add_argument("--neurons", type=int, nargs=2, default=[400, 100], help="of the liquid of digits")
    parser.add_argument("--start", choices=list(STARTS), default="weak", help="initial drive of that liquid")
    parser.add_argument("--images", type=int, default=4000, help="images to train the readout on")
    parser.add_argument("--test-images", type=int, default=2000)
    parser.add_argument("--taught", type=int, default=600, help="images to train the liquid on")
    parser.add_argument("--steps", type=int, default=50, help="steps of 1 ms per image")
    parser.add_argument("--max-rate", type=float, default=100.0, help="of a white pixel, Hz")
    parser.add_argument("--quick", action="store_true", help="one seed, short runs")
    parser.add_argument("--out", type=Path, default=Path("runs/liquid/result.json"))
    args = parser.parse_args()
    if args.quick:
        args.seeds, args.seconds, args.test_seconds = args.seeds[:1], 1.5, 1.0
        args.images, args.test_images, args.taught, args.neurons = 600, 200, 20, [80, 20]
    torch.set_num_threads(1)
    rows = branching(args) if args.task == "branching" else [row for seed in args.seeds for row in read(seed, args)]
    settings = {name: value for name, value in vars(args).items() if name != "out"}
    with replaced(args.out) as part:
        part.write_text(json.dumps({"settings": settings, "runs": rows}, indent=2) + "\n")


def branching(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Train every liquid with each rule."""
    rows = [
        learn(start, kind, seed, args) for start in STARTS for kind in ("astrocyte", "fixed") for seed in args.seeds
    ]
    for start in STARTS:
        for kind in ("astrocyte", "fixed"):
            each = [row["after"][0] for row in rows if (row["start"], row["kind"]) == (start, kind)]
            shown = " ".join(f"{value:.2f}" for value in each)
            print(f"driven {start}, {kind}: mean branching factor {sum(each) / len(each):.2f} ({shown})")
    return rows


if __name__ == "__main__":
    main()
