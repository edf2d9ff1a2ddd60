"""Use fewer time steps on MNIST: stop each digit when sure (Dynamic Confidence), or train down to one step (IIR).

    python examples/early_exit.py --data-root FOLDER_WITH_THE_IDX_FILES

``confidence``: an ANN with quantised activations (QCFS) is converted to a network of IF neurons; temperature and
threshold are selected on held-out training images, with one temperature for all steps and with one per step. The
program prints and plots the accuracy of early exit on test images, compared with stopping every digit after the same
number of steps, with all T steps, and with the bound of an agent that knows the answer.

``one-step``: a deep ANN is converted to a spiking network trained at 5, 3, 2 and 1 steps, each stage from the previous
one. It is compared with the same ANN trained directly at one step for the same number of epochs, and with a network
trained at one step from initial weights for the number of epochs of both. Each result is written to
``runs/early_exit/result.json`` when it is available; an interrupted run continues after it.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import time
from pathlib import Path

import torch
from results import Results
from torch import Tensor, nn

import neurosim as ns
from neurosim.datasets import Labelled, digits, direct, mnist
from neurosim.energy.fanout import fan_out
from neurosim.models import EarlyExit, calibrate, run_until_confident
from neurosim.models.exit_calibration import calibration_error, fixed_steps, operating_points, optimal_stop
from neurosim.models.iir import hidden, output, set_thresholds
from neurosim.models.iir_stages import reduce_steps
from neurosim.report import exit_curve, save_figure
from neurosim.synapses import absorb_batch_norm

DT = 1e-3
LEVELS = 8
THRESHOLDS = [1.0 - 10 ** (-0.05 * k) for k in range(100)]  # of the curve, denser near 1


class Quantised(nn.Module):
    """QCFS (Bu et al. 2022, arXiv:2303.04347): clip and floor to LEVELS steps of a trained range."""

    def __init__(self) -> None:
        super().__init__()
        self.range = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: Tensor) -> Tensor:
        scaled = (x / self.range).clamp(0, 1) * LEVELS + 0.5
        floored = scaled + (scaled.floor() - scaled).detach()
        return (floored / LEVELS).clamp(0, 1) * self.range


def ann(sizes: list[int], train: Labelled, epochs: int, seed: int, norm: bool) -> nn.Sequential:
    """Train a fully connected ANN: quantised activations, or batch normalisation and ReLU."""
    torch.manual_seed(seed)
    parts: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise(sizes[:-1]):
        parts += [nn.Linear(n_in, n_out), *([nn.BatchNorm1d(n_out), nn.ReLU()] if norm else [Quantised()])]
    net = nn.Sequential(*parts, nn.Linear(sizes[-2], sizes[-1]))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for epoch in range(epochs):
        for x, y in train.batches(64, seed=seed, epoch=epoch):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
        print(f"  ANN epoch {epoch + 1}/{epochs}", end="\r", flush=True)
    print()
    return net.eval()


def to_if(net: nn.Sequential) -> ns.Network:
    """Return IF neurons that fire at the rate of the quantised activations: threshold = range, weights scaled by it."""
    parts: list[ns.Neuron | ns.Linear] = []
    scale = 1.0
    for part in net:
        if isinstance(part, nn.Linear):
            synapse = ns.Linear(part.in_features, part.out_features, bias=True)
            assert synapse.bias is not None
            with torch.no_grad():
                synapse.weight.copy_(part.weight * scale)
                synapse.bias.copy_(part.bias)
            parts.append(synapse)
        elif isinstance(part, Quantised):
            scale = float(part.range.detach())
            parts.append(ns.IF(dt=DT, v_th=scale, reset="subtract"))
    return ns.Sequential(*parts, output(DT), names=(*(f"hidden{k}" for k in range(1, len(parts) // 2 + 1)), "output"))


def half_full(net: ns.Network, x: Tensor) -> ns.NetworkState:
    """Return the state of conversion: membranes at half their threshold."""
    start = net.initial_state({"input": x})
    for name, neuron in net.neurons().items():
        if neuron.is_spiking:
            start.nodes[name] = neuron.core.state_type(
                torch.zeros_like(start.nodes[name][0]) + neuron.value("v_th") / 2
            )
    return start


def confidence(train: Labelled, held_out: Labelled, test: Labelled, args: argparse.Namespace, seed: int) -> dict:
    """Convert, calibrate and stop early."""
    start = time.perf_counter()
    width, epochs = (64, 10) if args.quick else (300, args.ann_epochs)
    net = to_if(ann([train.x.shape[1], width, width, 10], train, epochs, seed, norm=False))
    counted = {e.source: fan_out(e.synapses[0], net.shape(e.source)) for e in net.edges}
    fan = {name: found.effective for name, found in counted.items() if found is not None}

    def full(data: Labelled) -> tuple[Tensor, Tensor, float, float]:
        outputs, spikes, operations = [], 0.0, 0.0
        for x in data.x.split(500):
            x = x.expand(args.steps, -1, -1)
            with torch.no_grad():
                out, _, values, *_ = net.run(x, half_full(net, x), tuple(fan.keys() - {"input"}))
            outputs.append(out)
            spikes += float(sum(z.sum() for z in values.values()))
            operations += float(sum((z.sum((0, 1)) * fan[name]).sum() for name, z in values.items()))
        return torch.cat(outputs, 1), data.y, spikes / len(data), operations / len(data)

    seen, known, _, _ = full(held_out)
    outputs, y, spikes, operations = full(test)
    fixed, bound = fixed_steps(outputs, y), optimal_stop(outputs, y)
    right = outputs.cumsum(0).argmax(2) == y
    found, curves = {}, {}
    for temperatures in ("one", "each"):
        chosen = calibrate(seen, known, tolerance=args.tolerance, temperatures=temperatures)
        stopped = stop_early(net, test, chosen.exit, fan, args.steps)
        curves[f"temperature: {temperatures}"] = operating_points(outputs, y, chosen.exit.alpha, THRESHOLDS)
        sure = chosen.exit.probability(outputs.cumsum(0)).amax(-1)
        low = min(int(stopped["mean_steps"]), args.steps - 1)
        between = float(fixed[low - 1] + (stopped["mean_steps"] - low) * (fixed[low] - fixed[low - 1]))
        found[temperatures] = {
            "alpha": chosen.exit.alpha,
            "threshold": round(chosen.exit.threshold, 4),
            "calibration_error_held_out_before_after": [round(chosen.error_before, 4), round(chosen.error_after, 4)],
            "calibration_error_in_test": round(calibration_error(sure, right), 4),
            **stopped,
            "accuracy_of_all_stopped_after_as_many_steps": between,
        }
        print(
            f"seed {seed}, temperature for {temperatures}: {stopped['accuracy']:.2%} at {stopped['mean_steps']:.2f} "
            f"steps (the same steps for all: {between:.2%}; T = {args.steps}: {fixed[-1]:.2%}; bound {bound[0]:.2%} "
            f"at {bound[1]:.2f}); spikes per image {stopped['spikes_per_image']:.0f} of {spikes:.0f}; calibration "
            f"error on the test set {found[temperatures]['calibration_error_in_test']:.3f}",
            flush=True,
        )
    picture = args.out.with_name(f"{args.out.stem}-confidence-{seed}.svg")
    save_figure(exit_curve(curves, fixed.tolist(), bound, title=f"Stopping when sure, seed {seed}"), picture)
    return {
        **found,
        f"accuracy_at_{args.steps}": float(fixed[-1]),
        "bound_accuracy": bound[0],
        "bound_mean_steps": bound[1],
        f"spikes_per_image_at_{args.steps}": spikes,
        f"synaptic_operations_per_image_at_{args.steps}": operations,
        "seconds": round(time.perf_counter() - start, 1),
    }


def stop_early(net: ns.Network, test: Labelled, when: EarlyExit, fan: dict[str, Tensor], steps: int) -> dict:
    """Run the test images, each until the network is sure; return accuracy and cost per image."""
    right, taken, spikes, operations = 0, 0, 0.0, 0.0
    for x, label in zip(test.x.split(500), test.y.split(500), strict=True):
        x = x.expand(steps, -1, -1)
        stopped = run_until_confident(net, x, when, half_full(net, x))
        right, taken = right + int((stopped.predicted == label).sum()), taken + int(stopped.steps.sum())
        for name in fan.keys() - {"input"}:
            spikes += float(stopped.events[name].sum())
            operations += float((stopped.events[name].sum(0) * fan[name]).sum())
    number = len(test)
    return {
        "accuracy": right / number,
        "mean_steps": taken / number,
        "spikes_per_image": spikes / number,
        "synaptic_operations_per_image": operations / number,
    }


def one_step(train: Labelled, test: Labelled, args: argparse.Namespace, seed: int) -> dict:
    """Train at a decreasing number of steps, and directly at one step."""
    start = time.perf_counter()
    layers, width, epochs = (4, 64, 1) if args.quick else (args.layers, 128, args.epochs)
    sizes, ann_epochs = [train.x.shape[1], *[width] * layers, 10], 3 if args.quick else 10
    plain = ann(sizes, train, ann_epochs, seed, norm=True)

    def converted(plain: nn.Sequential) -> ns.Network:
        linear = [part for part in plain if isinstance(part, nn.Linear)]
        norms = [part for part in plain if isinstance(part, nn.BatchNorm1d)]
        parts: list[ns.Neuron | ns.Linear] = []
        for number, layer in enumerate(linear):
            synapse = ns.Linear(layer.in_features, layer.out_features, bias=True)
            last = number == len(norms)
            moved = (layer.weight, layer.bias) if last else absorb_batch_norm(layer.weight, layer.bias, norms[number])
            assert synapse.bias is not None
            with torch.no_grad():
                synapse.weight.copy_(moved[0])
                synapse.bias.copy_(moved[1])
            parts += [synapse, output(DT) if last else hidden(DT)]
        net = ns.Sequential(*parts)
        set_thresholds(net, train.x[:512].expand(5, -1, -1))
        return net

    def stages(net: ns.Network, steps: tuple[int, ...], each: int) -> list[dict]:
        done = []
        for stage in reduce_steps(
            net,
            lambda t: train.batches(64, seed=seed, encoder=direct(t)),
            lambda t: test.batches(500, encoder=direct(t), shuffle=False),
            stages=steps,
            epochs=each,
            optimizer=lambda parameters: torch.optim.Adam(parameters, lr=args.learning_rate, amsgrad=True),
            seed=seed,
        ):
            print(f"seed {seed}: T = {stage.steps}: {stage.before:.2%} -> {stage.after:.2%}", flush=True)
            done.append({"steps": stage.steps, "before": stage.before, "after": stage.after})
        return done

    with torch.no_grad():
        before = float((plain(test.x).argmax(1) == test.y).double().mean())
    by_stages = stages(converted(plain), (5, 3, 2, 1), epochs)
    print(f"seed {seed}: one step directly, {4 * epochs} epochs", flush=True)
    at_once = stages(converted(plain), (1,), 4 * epochs)
    print(f"seed {seed}: one step from initial weights, {ann_epochs + 4 * epochs} epochs", flush=True)
    untrained = ann(sizes, train, 0, seed, norm=True)
    from_scratch = stages(converted(untrained), (1,), ann_epochs + 4 * epochs)
    taken = round(time.perf_counter() - start, 1)
    return {"ann": before, "by_stages": by_stages, "at_once": at_once, "from_scratch": from_scratch, "seconds": taken}


def data(args: argparse.Namespace, part: str) -> tuple[Labelled, Labelled, Labelled]:
    """Return training, held-out and test images as vectors."""
    if args.quick:
        split = digits().flat()
        return split.train.subset(slice(1100)), split.train.subset(slice(1100, None)), split.test
    split = mnist(args.data_root)
    if part == "one-step":  # 14 x 14, as the network is deep and not wide
        pool = lambda d: Labelled(nn.functional.avg_pool2d(d.x, 2).flatten(1), d.y, d.classes)  # noqa: E731
        return pool(split.train.subset(slice(8000))), pool(split.train.subset(slice(8000, 8001))), pool(split.test)
    flat = split.flat()
    return flat.train.subset(slice(6000)), flat.train.subset(slice(6000, 7500)), flat.test


def main() -> None:
    """Run the selected parts and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="?", choices=["confidence", "one-step"], help="both if omitted")
    parser.add_argument("--data-root", help="folder of MNIST's idx files; NEUROSIM_DATA if omitted")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=32, help="T of the converted network")
    parser.add_argument("--tolerance", type=float, default=0.0, help="accepted loss of accuracy on held-out images")
    parser.add_argument("--ann-epochs", type=int, default=15)
    parser.add_argument("--layers", type=int, default=11, help="hidden layers of the network trained at one step")
    parser.add_argument("--epochs", type=int, default=5, help="epochs per stage, of four")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument(
        "--quick", action="store_true", help="1,437 digits of scikit-learn, one seed, as a check that it runs"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/early_exit/result.json"))
    args = parser.parse_args()
    apart = ("part", "data_root", "out", "seeds")
    results = Results(args.out, {name: value for name, value in vars(args).items() if name not in apart})
    for name in [args.part] if args.part else ["confidence", "one-step"]:
        train, held_out, test = data(args, name)
        print(f"{name}: {len(train)} images to train on, {len(test)} to test on", flush=True)
        for seed in range(1 if args.quick else args.seeds):
            study = (
                functools.partial(confidence, train, held_out, test)
                if name == "confidence"
                else functools.partial(one_step, train, test)
            )
            results.once({"part": name, "seed": seed}, functools.partial(study, args, seed))


if __name__ == "__main__":
    main()
