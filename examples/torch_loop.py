"""Train a spiking network in a plain PyTorch loop: optimizer, scheduler, clipping and loss of torch.

    python examples/torch_loop.py

Nothing of `ns.fit` is used. The network is a module like any other: it takes ``[T, B, ...]`` and returns its output and
state. The hidden population is regularised through its recorded spikes, which keep their gradient.
"""

from __future__ import annotations

import argparse

import torch
from torch import nn

import neurosim as ns
from neurosim.datasets import digits, rate

DT = 1e-3


def network() -> ns.Network:
    """Return the network; `nn.Linear` and `ns.Linear` may be mixed."""
    neurons = ns.LIF(tau_mem=5e-3, r=5.0, dt=DT, spike=ns.triangle())
    return ns.Sequential(
        nn.Linear(64, 128, bias=False), neurons, nn.Linear(128, 10), ns.LI(dt=DT), names=["hidden", "out"]
    )


def main() -> None:
    """Train and print the accuracy on the test digits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument(
        "--penalty", type=float, default=0.01, help="weight of the mean number of hidden spikes per step"
    )
    args = parser.parse_args()
    torch.manual_seed(0)
    data = digits().flat()
    train = data.train.batches(64, encoder=rate(20, max_rate=500.0, dt=DT))
    test = data.test.batches(360, encoder=rate(20, max_rate=500.0, dt=DT), shuffle=False)
    net, loss = network(), nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(net.parameters(), lr=5e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs)
    for epoch in range(args.epochs):
        train.set_epoch(epoch)
        net.train()
        for x, y in train:
            optimizer.zero_grad()
            result = net.run(x, record=["hidden"], gradient=True)
            value = loss(result.out.mean(0), y) + args.penalty * result.recorded["hidden"].mean()
            value.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
        scheduler.step()
        net.eval()
        right = samples = 0
        with torch.no_grad():
            for x, y in test:
                out, _ = net(x)
                right += int((out.mean(0).argmax(1) == y).sum())
                samples += len(y)
        print(f"epoch {epoch + 1}: test accuracy {right / samples:.3f}")


if __name__ == "__main__":
    main()
