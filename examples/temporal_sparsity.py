"""Train a small convolutional network with sparse communication: delta activation layers on N-MNIST clips.

    python examples/temporal_sparsity.py --data-root FOLDER_WITH_N-MNIST

Recordings of an event camera are converted to 16 frames, each a leaky count of the events so far. A network with delta
activation layers is trained without a loss on activity, then fine-tuned with several weights of it. On test clips the
program counts the changes sent per neuron and frame, and compares them with the nonzero activations of the same network
(what a layer without memory would send), with those of its twin with plain ReLU, and with sigma-delta neurons with the
same weights. The negative control has frames without order: each frame comes from another recording of the digit. (That
makes the digit easier to classify, since many recordings are combined: compare the communication, not the accuracy.)

The folder contains ``nmnist_small_bs2.tar.xz``, ``train1K.txt`` and ``test100.txt`` of the small N-MNIST in SLAYER's
repository. With ``--quick`` and no folder, digits of scikit-learn drift over a dark frame instead.
"""

from __future__ import annotations

import argparse
import functools
import time
from pathlib import Path

import numpy as np
import torch
from results import Results
from torch import Tensor

import neurosim as ns
from neurosim import cores
from neurosim.datasets import digits, nmnist_events
from neurosim.files.archives import tar_members
from neurosim.models import DeltaActivation, WithActivity, activity, send_changes
from neurosim.network.population import Population

FRAMES = 16
ORDERS = IN_ORDER, WITHOUT_ORDER = "in order", "without order"
DT = 20e-3
ARCHIVE = "nmnist_small_bs2.tar.xz"


def nmnist_clips(folder: Path) -> tuple[Tensor, Tensor]:
    """Return clips [n, T, 2, 34, 34] and classes [n]: leaky counts of the events."""
    wanted = [folder / name for name in (ARCHIVE, "train1K.txt", "test100.txt")]
    missing = [str(path) for path in wanted if not path.is_file()]
    if missing:
        raise SystemExit(f"{', '.join(missing)} not found. Give the folder with the small N-MNIST as --data-root.")
    table = [np.loadtxt(path, dtype=int, comments="#") for path in wanted[1:]]
    label = {int(sample): int(digit) for sample, digit in np.concatenate(table)}
    clips, classes = [], []
    for name, content in tar_members(wanted[0], lambda name: name.endswith(".bs2")):
        number = int(Path(name).stem)
        if number not in label:
            continue
        microseconds, place = nmnist_events(name, content)
        frame = microseconds // round(DT * 1e6)
        clip = np.zeros((FRAMES, 2 * 34 * 34), np.float32)
        inside = frame < FRAMES
        np.add.at(clip, (frame[inside], place[inside]), 1.0)
        clips.append(clip.reshape(FRAMES, 2, 34, 34))
        classes.append(label[number])
    return faded(torch.from_numpy(np.stack(clips))), torch.tensor(classes)


def drifting_digits(seed: int) -> tuple[Tensor, Tensor]:
    """Return clips of drifting digits; channel 0 holds pixels that became brighter, channel 1 darker."""
    data, draw = digits().train, torch.Generator().manual_seed(seed)
    x, y = data.x[:200, 0], data.y[:200]
    clips = torch.zeros(len(x), FRAMES, 2, 34, 34)
    start, speed = torch.randint(4, 14, (len(x), 2), generator=draw), torch.randn(len(x), 2, generator=draw) * 0.5
    large = torch.nn.functional.interpolate(x[:, None], scale_factor=2)[:, 0]
    before = torch.zeros(len(x), 34, 34)
    for t in range(FRAMES):
        now = torch.zeros_like(before)
        for n, (row, column) in enumerate((start + (speed * t).round().long()).clamp(0, 18).tolist()):
            now[n, row : row + 16, column : column + 16] = large[n]
        clips[:, t, 0], clips[:, t, 1] = (now - before > 0.2).float(), (before - now > 0.2).float()
        before = now
    return faded(clips), y


def faded(clips: Tensor) -> Tensor:
    """Return leaky sums of the frames, scaled to about 1."""
    held = torch.zeros_like(clips[:, 0])
    for t in range(clips.shape[1]):
        held = 0.8 * held + clips[:, t]
        clips[:, t] = held
    return clips / clips[clips > 0].mean() / 2


def without_order(clips: Tensor, classes: Tensor, seed: int) -> Tensor:
    """Return clips whose frames each come from a random clip of the same class."""
    draw = torch.Generator().manual_seed(seed)
    mixed = torch.empty_like(clips)
    for digit in classes.unique():
        members = (classes == digit).nonzero().flatten()
        for t in range(clips.shape[1]):
            drawn = members[torch.randint(len(members), (len(members),), generator=draw)]
            mixed[members, t] = clips[drawn, torch.randint(clips.shape[1], (len(members),), generator=draw)]
    return mixed


def network(seed: int, rate: float, threshold: float | None) -> ns.Network:
    """Return the network; without a threshold its activation is plain ReLU."""
    torch.manual_seed(seed)
    return ns.Sequential(
        ns.Input((2, 34, 34)),
        ns.Conv2d(2, 8, 5, stride=2),
        DeltaActivation((8, 15, 15), dt=DT, threshold=threshold, rate=rate, fan_out=16 * 9 // 4),
        ns.Conv2d(8, 16, 3, stride=2),
        DeltaActivation((16, 7, 7), dt=DT, threshold=threshold, rate=rate, fan_out=10),
        ns.Flatten(),
        ns.Linear(784, 10),
        DeltaActivation(10, dt=DT, threshold=None, rectify=False),
        names=("one", "two", "out"),
    )


class Clips:
    """Batches of clips, time first, in a random order per epoch."""

    def __init__(self, x: Tensor, y: Tensor, seed: int) -> None:
        self.x, self.y, self.seed, self.epoch = x, y, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.y) // 50)

    def __iter__(self):
        order = torch.randperm(len(self.y), generator=torch.Generator().manual_seed(1000 * self.seed + self.epoch))
        for part in order.split(50):
            yield self.x[part].transpose(0, 1), self.y[part]


def train(net: ns.Network, clips: Clips, epochs: int) -> None:
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    has_threshold = any(isinstance(node, DeltaActivation) and node.theta is not None for node in net.nodes.values())
    rule = WithActivity() if has_threshold else ns.BPTT()
    ns.fit(net, clips, loss=ns.MeanMembrane(), rule=rule, optimizer=optimizer, epochs=epochs)


def measure(net: ns.Network, x: Tensor, y: Tensor) -> dict[str, float]:
    """Return accuracy and messages of hidden layers, per neuron and frame after the first, weighted by fan-out."""
    with torch.no_grad():
        out, state = net(x.transpose(0, 1))
    layers = [(name, node) for name, node in net.nodes.items() if isinstance(node, DeltaActivation)][:-1]
    seen = [(layer.fan_out, activity(state.nodes[name])) for name, layer in layers]
    outputs = sum(fan * sent.outputs for fan, sent in seen)
    return {
        "accuracy": float((out.mean(0).argmax(1) == y).double().mean()),
        "changes": sum(fan * sent.events for fan, sent in seen) / outputs,
        "nonzero": sum(fan * sent.nonzero for fan, sent in seen) / outputs,
    }


def sigma_delta(net: ns.Network, v_th: float, x: Tensor, y: Tensor) -> dict[str, float]:
    """Copy the weights of a plain network to sigma-delta neurons and measure the same."""
    layers = [node for node in net.nodes.values() if isinstance(node, DeltaActivation)]
    make = ns.layer(cores.sigma_delta)
    bias = [layer.bias.detach() for layer in layers]
    nodes: dict[str, ns.Input | Population] = {
        "input": ns.Input((2, 34, 34)),
        "one": make(dt=DT, v_th=v_th, bias=bias[0]),
        "two": make(dt=DT, v_th=v_th, bias=bias[1]),
        "out": ns.layer(cores.sigma)(dt=DT),
    }
    chain = ns.Network(nodes, [ns.Edge(edge.source, edge.target, edge.synapses) for edge in net.edges])
    frames = x.transpose(0, 1)
    with torch.no_grad():
        # The neurons accumulate their input: the first layer receives the changes of the frames.
        changes = frames.diff(dim=0, prepend=torch.zeros_like(frames[:1]))
        out, _, sent, *_ = chain.run(changes, None, ("one", "two"))
    counts = [(layers[k].fan_out, sent[name][1:]) for k, name in enumerate(("one", "two"))]
    whole = sum(fan * z.numel() for fan, z in counts)
    return {
        "v_th": v_th,
        "accuracy": float(((out + bias[2]).mean(0).argmax(1) == y).double().mean()),
        "changes": sum(fan * int(torch.count_nonzero(z)) for fan, z in counts) / whole,
    }


def study(x: Tensor, y: Tensor, args: argparse.Namespace, seed: int, name: str) -> dict:
    """Train, fine-tune and measure on clips of one of ORDERS."""
    cut = len(y) * 3 // 4
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    x, y = x[order], y[order]
    parts = [(x[:cut], y[:cut]), (x[cut:], y[cut:])]
    if name == WITHOUT_ORDER:  # each part separately: no test frame is used for training
        parts = [(without_order(clips, classes, seed), classes) for clips, classes in parts]
    clips, test = Clips(*parts[0], seed), parts[1]
    plain = network(seed, 0.0, None)
    train(plain, clips, args.epochs)
    found: dict = {"relu": measure(plain, *test), "delta": [], "sigma_delta": []}
    print(f"{name}, seed {seed}: ReLU {found['relu']['accuracy']:.1%}, nonzero {found['relu']['nonzero']:.1%}")
    for rate in args.rates:
        net = network(seed, rate, 0.1)
        net.load_state_dict(plain.state_dict(), strict=False)
        train(net, clips, args.fine_tune)
        values = measure(net, *test)
        send_changes(net)
        changes = measure(net, *test)
        assert changes["accuracy"] == values["accuracy"], "a network of changes is that of values"
        found["delta"].append({"rate": rate, **changes})
        print(
            f"  rate {rate:g}: {changes['accuracy']:.1%}, changes {changes['changes']:.1%}, nonzero "
            f"{changes['nonzero']:.1%}: {changes['nonzero'] / max(changes['changes'], 1e-9):.2f} times fewer",
            flush=True,
        )
    for v_th in (0.05, 0.1, 0.2):
        found["sigma_delta"].append(sigma_delta(plain, v_th, *test))
        print(
            "  sigma-delta neurons, v_th {v_th:g}: {accuracy:.1%}, changes {changes:.1%}".format(
                **found["sigma_delta"][-1]
            )
        )
    return found


def main() -> None:
    """Measure ordered clips and the control without order."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", type=Path, help="folder of the small N-MNIST; needed without --quick")
    parser.add_argument("--epochs", type=int, default=12, help="epochs of the network with ReLU")
    parser.add_argument("--fine-tune", type=int, default=6, help="epochs with delta layers, starting from its weights")
    parser.add_argument(
        "--rates", type=float, nargs="+", default=[0.0, 0.01, 0.1, 0.5], help="weights of the loss on activity"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="few clips and epochs, as a check that it runs")
    parser.add_argument("--out", type=Path, default=Path("runs/temporal_sparsity/result.json"))
    args = parser.parse_args()
    if args.data_root is None and not args.quick:
        parser.error("--data-root is needed: the folder of the small N-MNIST. --quick runs on drifting digits.")
    start = time.perf_counter()
    x, y = drifting_digits(0) if args.data_root is None else nmnist_clips(args.data_root)
    if args.quick:
        x, y, args.seeds, args.epochs, args.fine_tune, args.rates = x[:200], y[:200], 1, 4, 2, [0.0, 0.1]
    print(f"{len(y)} clips of {FRAMES} frames, ready after {time.perf_counter() - start:.0f} s", flush=True)
    apart = ("data_root", "out", "seeds")
    results = Results(args.out, {name: value for name, value in vars(args).items() if name not in apart})
    for seed in range(args.seeds):
        for name in ORDERS:
            results.once({"clips": name, "seed": seed}, functools.partial(study, x, y, args, seed, name))
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
