"""Whiten a correlated signal by adapting gains only, with enough interneurons and with one too few.

    python examples/whitening.py --out whitening.png

Two neurons receive a signal with covariance [[2, 0.9], [0.9, 0.8]]. Three interneurons in the directions of the
Mercedes star receive both and feed back to both, each with a gain that adapts until its input has variance 1: the
responses become white. With two of the three, each of these also reaches variance 1, but the responses stay correlated:
two gains cannot set the three parameters of a covariance. The plot shows the distance from white during adaptation, and
the final responses.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from torch import Tensor
from tqdm.auto import tqdm

from neurosim.models import FrameWhitening, mercedes_benz
from neurosim.report import save_figure
from neurosim.report.plots.style import colour, new_figure, tidy

COVARIANCE = torch.tensor([[2.0, 0.9], [0.9, 0.8]], dtype=torch.float64)


def signal(number: int, generator: torch.Generator) -> Tensor:
    """Draw samples of the signal."""
    return torch.randn(number, 2, generator=generator, dtype=torch.float64) @ torch.linalg.cholesky(COVARIANCE).T


def learn(interneurons: int, steps: int, seed: int) -> tuple[FrameWhitening, list[float]]:
    """Adapt the gains; return the circuit and its distance from white, |C_yy - I|, at every step."""
    circuit, generator = FrameWhitening(mercedes_benz()[:, :interneurons]), torch.Generator().manual_seed(seed)
    distances = []
    for _ in tqdm(range(steps), unit="batch", desc=f"{interneurons} interneurons"):
        distances.append(float((circuit.covariance(COVARIANCE) - torch.eye(2)).norm()))
        circuit.learn(signal(64, generator))
    return circuit, distances


def shown(values: Tensor) -> str:
    """Return numbers as text with two decimals."""
    return " ".join(f"{value:.2f}" for value in values.tolist())


def main() -> None:
    """Run both circuits, print their final state and plot them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20000, help="batches of 64 samples")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="fewer batches")
    parser.add_argument("--out", type=Path, default=Path("runs/whitening/whitening.png"))
    args = parser.parse_args()
    steps, began = 3000 if args.quick else args.steps, time.perf_counter()
    figure = new_figure(7.0, 2.6)
    curves, *clouds = (tidy(axes) for axes in figure.subplots(1, 3, width_ratios=(1.4, 1, 1)))
    for number, (interneurons, cloud) in enumerate(zip((3, 2), clouds, strict=True)):
        circuit, distances = learn(interneurons, steps, args.seed)
        covariance = circuit.covariance(COVARIANCE)
        inner = torch.einsum("nk,nm,mk->k", circuit.frame, covariance, circuit.frame)
        print(
            f"{interneurons} interneurons after {steps} batches: |C_yy - I| = {distances[-1]:.3f}, variances of the "
            f"interneurons {shown(inner)}, gains {shown(circuit.gains)} (closed form "
            f"{shown(circuit.optimal_gains(COVARIANCE))})"
        )
        places = range(0, steps, max(1, steps // 500))
        curves.plot(places, [distances[step] for step in places], color=colour(number), linewidth=1)
        y = circuit(signal(250, torch.Generator().manual_seed(args.seed + 1))).y
        cloud.scatter(y[:, 0], y[:, 1], s=3, color=colour(number), linewidths=0)
        cloud.set(xlim=(-4, 4), ylim=(-4, 4), aspect="equal", xlabel="$y_1$", ylabel="$y_2$")
    curves.set(xlabel="batch", ylabel="distance from white $|C_{yy} - I|$", yscale="log")
    curves.legend(["3 interneurons", "2 interneurons"], frameon=False, fontsize=8, loc="center right")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, args.out)
    print(f"{args.out}, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
