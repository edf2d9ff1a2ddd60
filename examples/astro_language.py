"""Predict the next character of Shakespeare with spikes, with and without astrocytes that slowly gate synapses.

    python examples/astro_language.py --data-root FOLDER_WITH_input.txt

Two layers of recurrent LIF neurons read one character per step, and a readout predicts the next one. After each layer a
`GainAstrocyte` multiplies its spikes by the gain of their domain. Three networks with the same initial weights are
trained on the same windows of text:

``none``: gamma = 0, the gain is 1, no astrocyte.
``gain``: gamma and the time constants are learned; the latter start between 10 and 300 characters.
``fast``: as ``gain``, but with a trace as fast as the slowest membranes, 3 characters: the effect of the gain without
slow memory.

``gain`` has two more parameters per astrocyte than ``none``, 64 in addition to 66,000 weights. The state continues from
window to window, in training and in testing. The program prints the cross-entropy on the last tenth of the text, in
bits per character. Every run writes a checkpoint from which the same command continues. ``--quick`` reads generated
sentences and needs no file.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from tqdm.auto import tqdm

import neurosim as ns
from neurosim.datasets.text import Text, read_text
from neurosim.files.atomic import replaced
from neurosim.models import GainAstrocyte

DT = 1e-3  # one character per step
KINDS = ("none", "gain", "fast")
MEMBRANES = (0.5e-3, 3e-3)  # time constants of the neurons, from the fastest to the slowest


def spread(low: float, high: float, number: int) -> Tensor:
    """Return numbers from `low` to `high` in a geometric sequence."""
    return torch.logspace(math.log10(low), math.log10(high), number)


def network(kind: str, characters: int, args: argparse.Namespace) -> ns.Network:
    """Return the network of one kind; the same seed gives every kind the same weights."""
    n = args.neurons

    def astrocytes() -> GainAstrocyte:
        slow = spread(10e-3, 300e-3, args.domains)
        if kind == "none":
            return GainAstrocyte(args.domains, dt=DT, gamma=0.0)
        learn = ("gamma", "tau_ca") if kind == "gain" else ("gamma",)
        tau = slow if kind == "gain" else MEMBRANES[1]
        return GainAstrocyte(args.domains, dt=DT, tau_ca=tau, gamma=args.gamma, learn=learn)

    def neurons() -> ns.Recurrent:
        tau = spread(*MEMBRANES, n)[torch.randperm(n)]
        # With this r a weight is the amplitude of the postsynaptic potential.
        lif = ns.LIF(tau_mem=tau, r=1 / (1 - torch.exp(-DT / tau)), dt=DT, reset="subtract")
        loop = ns.Linear(n, n)
        with torch.no_grad():  # with the initial weights, gradients would grow from step to step
            loop.weight.mul_(0.5)
        return ns.Recurrent(lif, loop)

    read, between = ns.Linear(characters, n), ns.Linear(n, n)
    with torch.no_grad():  # large enough that both layers fire from the start
        read.weight.mul_(12.0)
        between.weight.mul_(4.0)
    return ns.Sequential(
        read,
        neurons(),
        ns.Flatten(),
        astrocytes(),
        between,
        neurons(),
        ns.Flatten(),
        astrocytes(),
        ns.Linear(n, characters, bias=True),
        ns.LI(tau_mem=1e-3, r=5.0, dt=DT),
        names=("first", "astro1", "second", "astro2", "next"),
    )


def one_hot(codes: Tensor, characters: int) -> Tensor:
    """Return the characters in one-hot coding [T, B, characters]."""
    return functional.one_hot(codes, characters).float()


def endless(text: Text, args: argparse.Namespace, start: int) -> Iterator[tuple[bool, Tensor, Tensor]]:
    """Yield windows endlessly, starting at window `start`, each with whether it is the first of the text."""
    per_round = (len(text.codes) - 1) // args.batch_size // args.steps
    while True:
        for index, (x, y) in enumerate(text.windows(args.batch_size, args.steps)):
            if index >= start % per_round:
                yield index == 0, x, y
        start = 0


@torch.no_grad()
def bits(net: ns.Network, text: Text, args: argparse.Namespace) -> float:
    """Return the cross-entropy of the next character, in bits."""
    total, count, state = 0.0, 0, None
    for x, y in text.windows(args.batch_size, args.steps):
        out, state = net(one_hot(x, len(text.alphabet)), state)
        total += float(functional.cross_entropy(out.flatten(0, 1), y.flatten(), reduction="sum"))
        count += y.numel()
    return total / count / math.log(2)


def train(kind: str, seed: int, data: tuple[Text, Text], args: argparse.Namespace) -> dict[str, Any]:
    """Train one network, or continue from its checkpoint; return the result."""
    learned_from, tested_on = data
    torch.manual_seed(seed)
    net = network(kind, len(learned_from.alphabet), args)
    path = args.out.parent / f"{kind}_{seed}.pt"
    own = {name for name, _ in net.named_parameters() if "calcium" in name}
    groups = [[p for name, p in net.named_parameters() if (name in own) == fast] for fast in (False, True)]
    optimizer = torch.optim.Adam(
        [{"params": groups[0], "lr": args.lr}, {"params": groups[1], "lr": args.astro_lr}][: 1 + bool(groups[1])]
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.windows)
    settings = {name: value for name, value in vars(args).items() if name not in ("data_root", "out", "seeds", "kinds")}
    done, spent, state = 0, 0.0, None
    if path.exists():
        kept = ns.load_checkpoint(path, net)
        if kept.notes["settings"] != settings:
            raise SystemExit(
                f"{path} is the checkpoint of another run: {kept.notes['settings']}. Remove it or choose another --out."
            )
        assert kept.training is not None
        optimizer.load_state_dict(kept.training["optimizer"])
        schedule.load_state_dict(kept.training["schedule"])
        done, spent = kept.notes["done"], kept.notes["seconds"]
        state = ns.NetworkState(
            {name: type(s)(*kept.training["nodes"][name]) for name, s in start_of(net, args).nodes.items()},
            kept.training["in_flight"],
        )

    def save() -> None:
        assert state is not None
        training = {
            "optimizer": optimizer.state_dict(),
            "schedule": schedule.state_dict(),
            "nodes": {name: list(s) for name, s in state.nodes.items()},
            "in_flight": state.in_flight,
        }
        notes = {"settings": settings, "done": done, "seconds": spent + time.perf_counter() - began}
        ns.save_checkpoint(path, net, training=training, notes=notes)

    began = time.perf_counter()
    with tqdm(total=args.windows, initial=done, unit="window", desc=f"{kind} {seed}") as bar:
        windows = endless(learned_from, args, done)
        while done < args.windows:
            fresh, x, y = next(windows)
            out, state = net(one_hot(x, len(learned_from.alphabet)), None if fresh else state)
            loss = functional.cross_entropy(out.flatten(0, 1), y.flatten())
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            state, done = state.detach(), done + 1
            bar.update()
            if done % args.save_every == 0 or done == args.windows:
                bar.set_postfix(bits=f"{float(loss.detach()) / math.log(2):.3f}")
                save()
    seconds = spent + time.perf_counter() - began
    reached = bits(net, tested_on, args)
    astro = [node.calcium for node in net.nodes.values() if isinstance(node, GainAstrocyte)]
    result = {
        "kind": kind,
        "seed": seed,
        "bits": reached,
        "seconds": seconds,
        "parameters": sum(p.numel() for p in net.parameters()),
        "tau_ca": [torch.as_tensor(n.value("tau_ca")).tolist() for n in astro],
        "gamma": [torch.as_tensor(n.value("gamma")).tolist() for n in astro],
    }
    print(f"{kind}, seed {seed}: {reached:.4f} bits per character, {result['parameters']} parameters, {seconds:.0f} s")
    return result


def start_of(net: ns.Network, args: argparse.Namespace) -> ns.NetworkState:
    """Return the state before the first window."""
    return net.initial_state(torch.zeros(1, args.batch_size, *net.shape("input")))


def sentences(number: int) -> Text:
    """Generate sentences in which the last word agrees with a much earlier one."""
    rng = random.Random(0)
    parts = []
    for _ in range(number):
        who, verb = rng.choice([("the king", "reigns"), ("a queen", "rules"), ("my fool", "jests")])
        places = [f"{rng.choice(['of', 'in', 'by'])} {rng.choice(['rome', 'troy', 'york'])}" for _ in range(2)]
        parts.append(f"{who} {' '.join(places)} {verb}.\n")
    return Text.of("".join(parts))


def main() -> None:
    """Train all networks, print the comparison and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", type=Path, help="the text file, or a folder with input.txt")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--neurons", type=int, default=128, help="neurons per layer")
    parser.add_argument("--domains", type=int, default=16, help="astrocytes per layer")
    parser.add_argument("--gamma", type=float, default=4.0, help="initial largest gain minus 1")
    parser.add_argument("--windows", type=int, default=2500, help="number of training windows")
    parser.add_argument("--steps", type=int, default=50, help="characters per window")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument(
        "--astro-lr", type=float, default=1e-2, help="learning rate of gamma and of the logarithm of tau_ca"
    )
    parser.add_argument("--save-every", type=int, default=500, help="windows between checkpoints")
    parser.add_argument("--quick", action="store_true", help="short runs on generated sentences")
    parser.add_argument("--out", type=Path, default=Path("runs/astro_language/result.json"))
    args = parser.parse_args()
    if args.quick:
        args.neurons, args.windows, args.steps, args.batch_size, args.save_every = 64, 150, 50, 16, 75
        text = sentences(2000)
    elif args.data_root is None:
        parser.error("give the text as --data-root, or --quick, which needs no data.")
    else:
        text = read_text(args.data_root)
    data = text.split(0.9)
    print(f"{len(text.codes)} characters of {len(text.alphabet)} kinds; one thread, PyTorch {torch.__version__}")
    torch.set_num_threads(1)
    runs = [train(kind, seed, data, args) for seed in args.seeds for kind in args.kinds]
    for kind in args.kinds:
        found = torch.tensor([run["bits"] for run in runs if run["kind"] == kind])
        each = " ".join(f"{value:.4f}" for value in found.tolist())
        print(f"{kind}: {float(found.mean()):.4f} bits per character on the test part ({each})", flush=True)
    settings = {name: value for name, value in vars(args).items() if name not in ("data_root", "out")}
    with replaced(args.out) as part:
        part.write_text(json.dumps({"settings": settings, "runs": runs}, indent=2) + "\n")


if __name__ == "__main__":
    main()
