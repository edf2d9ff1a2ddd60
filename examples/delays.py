"""Learn a delay per synapse (DCLS), and compare with other networks at equal numbers of parameters.

    python examples/delays.py --data-root FOLDER_WITH_fsdd_recordings_wav.tar.xz
    python examples/delays.py --task order

The digits are the Free Spoken Digit Dataset (CC BY-SA 4.0, github.com/Jakobovski/free-spoken-digit-dataset): its folder
``recordings`` of wav files, or a tar of it; recordings 0 to 4 of each speaker and digit are the test set. The input
spikes code the changes in level of forty mel-spaced bands every 10 ms. The order task needs no data: two spikes eight
steps apart at a random time; the class is which of the two comes first.

All networks receive the same batches and the same silence after each word: learned delays, fixed random delays, no
delays, no delays and slower membranes, learned delays in recurrent synapses (`recurrent`), and the neurons of
state-space models without delays (`silif`, `csilif`; Fabre et al. 2025, arXiv:2506.06374). Each has as many hidden
neurons as the learned parameters of the first allow. All are tested after the last epoch, with delays rounded to
integer steps; nothing is selected on the test set.

Network and recipe are those of Hammouamri et al. 2024 (arXiv:2306.17670), with one hidden layer by default: delayed
synapses, batch norm, LIF, dropout; Adam with a OneCycle learning rate for weights and a hundred times that rate, with
cosine decay, for delays; the Gaussians narrow over the first quarter of the epochs.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from results import Results
from torch import Tensor, nn
from torch.nn import functional

import neurosim as ns
from neurosim.datasets import Labelled, delta_modulation
from neurosim.datasets.spoken import DIGITS, read_words
from neurosim.learning import Loss
from neurosim.models import csilif_neurons, silif_neurons
from neurosim.synapses import DelayedLinear, Identity
from neurosim.synapses.delay_schedule import Variant
from neurosim.synapses.delay_training import delay_groups, keep_in_range, narrow
from neurosim.units import decay_of

DT = 10e-3
REACH = 24  # steps, the longest delay
KEEP = 0.005  # decay of the membrane over a step: practically no memory except the delays
KEEP_SLOW = decay_of(100e-3, DT)
WORD = 64  # steps
BANDS = 40
RATE = 8000  # Hz
KINDS = ["learned", "fixed", "none", "slow", "recurrent", "silif", "csilif"]


class Block(nn.Module):
    """Synapses, batch norm, LIF, and dropout that is the same at all steps."""

    def __init__(self, synapse: nn.Module, size: int, neurons: nn.Module, dropout: float) -> None:
        super().__init__()
        self.synapse = synapse
        self.norm = nn.BatchNorm1d(size)
        self.neurons = neurons
        self.dropout = dropout

    def forward(self, z: Tensor) -> Tensor:
        """Return the spikes [T, B, size]."""
        z, _ = self.neurons(self.norm(current(self.synapse, z).flatten(0, 1)).view(*z.shape[:2], -1))
        return z * functional.dropout(z.new_ones(1, *z.shape[1:]), self.dropout, self.training)


class Classifier(nn.Module):
    """Blocks and a readout that leaks but never fires."""

    def __init__(self, blocks: list[Block], readout: nn.Module, keep: float) -> None:
        super().__init__()
        self.blocks, self.readout = nn.ModuleList(blocks), readout
        self.output = ns.LI(**membrane(keep))

    def forward(self, x: Tensor, state: None = None) -> tuple[Tensor, None]:
        """Return the membranes [T, B, classes]; every call starts from the initial state."""
        for block in self.blocks:
            x = block(x)
        return self.output(current(self.readout, x))[0], None


def membrane(keep: float) -> dict[str, float]:
    """Return the settings of a membrane ``v[t] = keep v[t-1] + i[t]``."""
    return dict(tau_mem=-DT / math.log(keep), r=1.0 / (1.0 - keep), dt=DT)


def current(synapse: nn.Module, z: Tensor) -> Tensor:
    """Return the currents of synapses with or without delays."""
    return synapse(z)[0] if isinstance(synapse, DelayedLinear) else synapse(z)


def network(
    kind: str, sizes: list[int], *, dropout: float = 0.4, readout: str = "delayed", variant: Variant = "code"
) -> Classifier:
    """Return the untrained network of neurons `sizes`, input and classes included.

    `kind` is "learned", "fixed" or "none", for the delays, "slow": no delays and slower membranes, "recurrent": learned
    delays in recurrent synapses alone, or "silif" or "csilif": no delays and neurons of that kind.
    """
    keep = KEEP_SLOW if kind in ("slow", "silif", "csilif") else KEEP

    def synapse(n_in: int, n_out: int, delayed: bool) -> nn.Module:
        if delayed:
            synapse = DelayedLinear(n_in, n_out, REACH * DT, dt=DT, variant=variant)
            synapse.delay.requires_grad_(kind == "learned")
            return synapse
        plain = ns.Linear(n_in, n_out)
        nn.init.kaiming_uniform_(plain.weight, nonlinearity="relu")
        return plain

    delayed = kind in ("learned", "fixed")
    pairs = list(itertools.pairwise(sizes[:-1]))
    blocks = [Block(synapse(a, b, delayed), b, neurons(kind, b, keep, variant), dropout) for a, b in pairs]
    return Classifier(blocks, synapse(sizes[-2], sizes[-1], delayed and readout == "delayed"), keep)


def neurons(kind: str, size: int, keep: float, variant: Variant) -> nn.Module:
    """Return the hidden neurons of a kind of network."""
    if kind in ("silif", "csilif"):
        return (silif_neurons if kind == "silif" else csilif_neurons)(size, dt=DT)
    lif = ns.LIF(**membrane(keep), spike=ns.atan(5.0))
    if kind != "recurrent":
        return lif
    loop = DelayedLinear(size, size, REACH * DT, dt=DT, variant=variant)
    # A spike returns; the weights of the authors' start are those of a layer that is fed by many more spikes.
    nn.init.normal_(loop.weight, std=0.1 / math.sqrt(size))
    return ns.Sequential(ns.Input(size), Identity(), ns.Recurrent(lif, loop))


def learned(net: nn.Module) -> int:
    """Return the number of trained parameters."""
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


def as_large(kind: str, sizes: list[int], limit: int, **choices: Any) -> Classifier:
    """Return the network of `kind` with the largest hidden layers that have at most `limit` learned parameters."""

    def of(extra: int) -> Classifier:
        return network(kind, [sizes[0], *(n + extra for n in sizes[1:-1]), sizes[-1]], **choices)

    grown, extra = of(0), 0
    while learned(grown) > limit:
        extra -= 1
        grown = of(extra)
    while extra >= 0 and learned(larger := of(extra + 1)) <= limit:
        grown, extra = larger, extra + 1
    return grown


@dataclass(frozen=True)
class SummedSoftmax(Loss):
    """Cross-entropy on ``sum_t softmax(v[t])``, as in the authors' program: softmax is applied twice."""

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss of membranes [T, B, C] against classes [B]."""
        return functional.cross_entropy(output.softmax(2).sum(0), target)

    def prediction(self, output: Tensor) -> Tensor:
        """Return the class with the largest sum [B]."""
        return output.softmax(2).sum(0).argmax(1)


class Order:
    """Batches of the order task, new in each epoch."""

    def __init__(self, batches: int, seed: int, steps: int = 48) -> None:
        self.batches, self.seed, self.steps, self.epoch = batches, seed, steps, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(1_000_003 * self.seed + self.epoch)
        for _ in range(self.batches):
            y = torch.randint(0, 2, (64,), generator=generator)
            first = torch.randint(0, self.steps - 8 - REACH, (64,), generator=generator)
            x, sample = torch.zeros(self.steps, 64, 2), torch.arange(64)
            x[first, sample, y] = 1.0
            x[first + 8, sample, 1 - y] = 1.0
            yield x, y


def digits(root: Path) -> tuple[Labelled, Labelled]:
    """Return the recordings for training and for the test as spikes [n, WORD + REACH, 2 BANDS]."""
    places = (root / "fsdd_recordings_wav.tar.xz", root / "recordings", root)
    words = read_words(next(place for place in places if place.exists()))
    if {word.rate for word in words} != {RATE}:
        raise SystemExit(f"the recordings in {root} must have {RATE} samples per second.")
    x, y = spikes([word.wave for word in words]), torch.tensor([word.digit for word in words])
    test = torch.tensor([word.take < 5 for word in words])
    heard = Labelled(x, y, DIGITS, timed=True)
    return heard.subset(~test), heard.subset(test)


def spikes(waves: list[np.ndarray]) -> Tensor:
    """Return the changes of level in mel-spaced bands as spikes [n, WORD + REACH, 2 BANDS]; long words are cut."""
    hop, window = round(RATE * DT), 256
    sound = torch.zeros(len(waves), hop * (WORD - 1) + window)
    for row, samples in zip(sound, waves, strict=True):
        part = torch.from_numpy(samples[: len(row)])
        row[: len(part)] = part
    power = torch.stft(sound, window, hop, window=torch.hann_window(window), center=False, return_complex=True).abs()
    level = torch.log10(torch.einsum("nft,bf->tnb", power.square(), mel_bands(window)) + 1e-4)
    silence = torch.full_like(level[:1], -4.0)
    coded = delta_modulation(0.5)(torch.cat((silence, level)))[1:]
    return functional.pad(coded.flatten(2).movedim(1, 0), (0, 0, 0, REACH))


def mel_bands(window: int) -> Tensor:
    """Return triangular filters [BANDS, window // 2 + 1], spaced evenly in mel from 60 Hz up."""
    low, high = (2595 * math.log10(1 + f / 700) for f in (60.0, RATE / 2))
    edges = 700 * (10 ** (torch.linspace(low, high, BANDS + 2) / 2595) - 1)
    f = torch.linspace(0, RATE / 2, window // 2 + 1)
    up = (f - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    down = (edges[2:, None] - f) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(up, down).clamp(min=0.0)


def rates(optimizer: torch.optim.Optimizer, epochs: int) -> torch.optim.lr_scheduler.LambdaLR:
    """Return schedules: OneCycle for the rate of weights, cosine decay for that of delays."""
    weight = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    cycle = torch.optim.lr_scheduler.OneCycleLR(weight, 5.0, total_steps=epochs + 1, cycle_momentum=False)
    factors = [float(cycle.get_last_lr()[0])]
    for _ in range(epochs):
        weight.step()
        cycle.step()
        factors.append(float(cycle.get_last_lr()[0]))

    def of_delays(epoch: int) -> float:
        return 0.5 * (1.0 + math.cos(math.pi * epoch / epochs))

    def of_others(epoch: int) -> float:
        return factors[epoch]

    each: list[Callable[[int], float]] = [
        of_delays if group["name"] == "delays" else of_others for group in optimizer.param_groups
    ]
    return torch.optim.lr_scheduler.LambdaLR(optimizer, each)


def train(net: Classifier, batches: Any, loss: Loss, epochs: int, seed: int, order: bool) -> None:
    """Train a network; for the order task at a constant rate."""
    lr = 1e-2 if order else 1e-3
    delays = any(isinstance(m, DelayedLinear) and m.delay.requires_grad for m in net.modules())
    others = [{"name": "weights", "params": [p for p in net.parameters() if p.requires_grad], "lr": lr}]
    optimizer = torch.optim.Adam(delay_groups(net, lr=lr) if delays else others)
    keep_in_range(optimizer, net)
    narrow(net, 0, epochs)
    ns.fit(
        net,
        batches,
        rule=ns.BPTT(),
        loss=loss,
        optimizer=optimizer,
        scheduler=None if order else rates(optimizer, epochs),
        epochs=epochs,
        seed=seed,
        on_epoch=lambda row: narrow(net, row["epoch"], epochs),
    )


@dataclass(frozen=True)
class Task:
    """A task: training batches for a seed, test batches, and the network's sizes and options."""

    batches: Callable[[int], Any]
    test: Callable[[int], Any]
    loss: Loss
    sizes: list[int]
    choices: dict[str, Any]
    epochs: int


def task_of(args: argparse.Namespace) -> Task:
    """Return the task selected by the arguments."""
    if args.task == "order":
        choices = dict(variant=args.variant, dropout=0.0, readout="plain")
        sizes, epochs = [2, 16, 2], args.epochs or 40
        return Task(
            lambda seed: Order(20, seed),
            lambda seed: Order(20, seed + 1_000_000),
            ns.RateCrossEntropy(),
            *(sizes, choices, epochs),
        )
    train_set, test_set = digits(args.data_root)
    if args.quick:
        train_set, test_set = train_set.subset(slice(0, None, 10)), test_set.subset(slice(0, None, 5))
    return Task(
        lambda seed: train_set.batches(args.batch_size, seed=seed),
        lambda seed: test_set.batches(100, shuffle=False),
        SummedSoftmax(),
        [2 * BANDS, *args.hidden, 10],
        dict(variant=args.variant, dropout=args.dropout),
        args.epochs or (4 if args.quick else 50),
    )


def trial(task: Task, kind: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """Train and test one kind of network with one seed."""
    limit = learned(network("learned", task.sizes, **task.choices))
    torch.manual_seed(seed)
    net = as_large(kind, task.sizes, limit, **task.choices)
    start = time.perf_counter()
    train(net, task.batches(seed), task.loss, task.epochs, seed, args.task == "order")
    seconds = time.perf_counter() - start
    accuracy = ns.evaluate(net, task.test(seed), loss=task.loss)["accuracy"]
    hidden = [module.num_features for module in net.modules() if isinstance(module, nn.BatchNorm1d)]
    print(
        f"seed {seed}, {kind}: {accuracy:.2%} in the test, {learned(net)} parameters learned, hidden "
        f"{hidden}, {task.epochs} epochs in {seconds:.0f} s",
        flush=True,
    )
    return dict(accuracy=accuracy, parameters=learned(net), hidden=hidden, seconds=round(seconds, 1))


def main() -> None:
    """Compare the networks over all seeds and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", choices=("digits", "order"), default="digits")
    parser.add_argument("--data-root", type=Path, help="folder with the recordings, or with a tar of them")
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS, help="which networks")
    parser.add_argument("--hidden", type=int, nargs="+", default=[64], help="hidden neurons where delays are learned")
    parser.add_argument("--dropout", type=float, default=0.25)
    parser.add_argument("--epochs", type=int, help="50 for digits, 40 of 20 batches for order")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--variant", choices=("code", "paper"), default="code")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--quick", action="store_true", help="one seed; a tenth of the digits, or the order task")
    parser.add_argument("--out", type=Path, default=Path("runs/delays/result.json"))
    args = parser.parse_args()
    if args.quick and args.data_root is None and args.task == "digits":
        print("no --data-root: the order task instead of the digits")
        args.task = "order"
    if args.quick:
        args.seeds, args.kinds = args.seeds[:1], [kind for kind in args.kinds if kind in ("learned", "none")]
    if args.task == "digits" and (args.data_root is None or not args.data_root.is_dir()):
        parser.error(
            f"--data-root must be the folder of the Free Spoken Digit Dataset; got {args.data_root}. Get it from "
            "github.com/Jakobovski/free-spoken-digit-dataset, or run --task order, which needs no data."
        )
    apart = ("data_root", "kinds", "seeds", "out")
    results = Results(args.out, {name: value for name, value in vars(args).items() if name not in apart})
    task = task_of(args)
    for seed in args.seeds:
        for kind in args.kinds:
            results.once({"kind": kind, "seed": seed}, functools.partial(trial, task, kind, seed, args))
    for kind in args.kinds:
        scores = [row["accuracy"] for row in results.rows if row["kind"] == kind and row["seed"] in args.seeds]
        print(f"{kind}: mean {np.mean(scores):.2%}, standard deviation {np.std(scores):.2%}, {len(scores)} seeds")


if __name__ == "__main__":
    main()
