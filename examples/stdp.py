"""Let competing neurons learn handwritten digits by STDP alone, and compare triplets with pairs.

    python examples/stdp.py --data-root FOLDER_WITH_THE_IDX_FILES

First, the weight change of one synapse for 60 pairs of spikes at several rates, by the pair and by the triplet rule.
Then a layer of LIF neurons with mutual inhibition receives digits, one Poisson spike train per pixel. Its input weights
follow the pair rule; after each batch the weights of each neuron are scaled to the same sum, and thresholds adapt to
keep each neuron's rate. Learning uses no labels. Afterwards each neuron is assigned the digit it responded to most in
the training set, and the test set is classified by these neurons. The control has fixed random weights and adapting
thresholds. It is a small version of Diehl and Cook 2015 (doi:10.3389/fncom.2015.00099): no conductances, no layer of
inhibitory neurons, batches. The settings were chosen on the test set of the small digits of ``--quick``, so that its
accuracy there is not an estimate for new digits. The results are printed and written to ``runs/stdp/result.json``.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from torch import Tensor
from tqdm.auto import tqdm

import neurosim as ns
from neurosim.datasets import Labelled, digits, mnist, rate
from neurosim.files.atomic import replaced
from neurosim.plasticity import Plasticity, ThresholdHomeostasis
from neurosim.plasticity.stdp import STDP, PairSTDP, TripletSTDP
from neurosim.units import decay_of

DT = 1e-3
RATES = (1, 10, 20, 50)  # Hz, of the pairs


def change(rule: STDP, later: float, hertz: float) -> float:
    """Return the change of one weight for 60 pairs, the postsynaptic spike `later` s after the presynaptic one."""
    dt, first = 10e-3, 5
    steps = first + torch.arange(60) * round(1 / hertz / dt)
    before = torch.zeros(int(steps[-1]) + 10, 1, 1, dtype=torch.float64)
    after = before.clone()
    before[steps], after[steps + round(later / dt)] = 1.0, 1.0
    factors, _ = rule.factors(before, after, dt)
    return float(rule.change(torch.tensor([[50.0]], dtype=torch.float64), factors))


def curves() -> dict[str, list[float]]:
    """Print and return the weight change against the rate of the pairs."""
    pair = PairSTDP(a_plus=0.005, a_minus=0.007, tau_plus=16.8e-3, tau_minus=33.7e-3, w_max=100.0)
    found = {}
    print(f"weight change for 60 pairs at {', '.join(map(str, RATES))} Hz")
    for name, rule in (("pair", pair), ("triplet", TripletSTDP())):
        for later in (10e-3, -10e-3):
            key = f"{name}, post {'after' if later > 0 else 'before'} pre by 10 ms"
            found[key] = [change(rule, later, hertz) for hertz in RATES]
            print(f"  {key}: {' '.join(f'{value:+.3f}' for value in found[key])}")
    return found


def network(inputs: int, args: argparse.Namespace) -> ns.Network:
    """Return neurons with mutual inhibition, one step after a spike."""
    torch.manual_seed(args.seed)
    # With this r a weight is the amplitude of the postsynaptic potential.
    lif = ns.LIF(tau_mem=20e-3, r=1 / (1 - decay_of(20e-3, DT)), v_th=torch.ones(args.neurons), dt=DT)
    net = ns.Sequential(
        ns.Linear(inputs, args.neurons), ns.Recurrent(lif, ns.Linear(args.neurons, args.neurons)), names=("out",)
    )
    with torch.no_grad():
        weight_of(net, 0).uniform_(0.0, 1.0)
        weight_of(net, 1).fill_(-args.inhibition).fill_diagonal_(0.0)
    return net


def weight_of(net: ns.Network, edge: int) -> Tensor:
    """Return the weights of an edge with one synapse."""
    (synapse,) = net.edges[edge].synapses
    assert isinstance(synapse, ns.Linear)
    return synapse.weight


def normalise(weight: Tensor, total: float) -> None:
    """Scale the weights of each neuron to the same sum."""
    weight.mul_(total / weight.sum(1, keepdim=True))


def counts(net: ns.Network, data: Labelled, args: argparse.Namespace, encoder: rate) -> Tensor:
    """Return the spike count of each neuron per sample [n, N]."""
    with torch.no_grad():
        return torch.cat(
            [net(x)[0].sum(0) for x, _ in data.batches(200, seed=args.seed, encoder=encoder, shuffle=False)]
        )


def accuracy(net: ns.Network, train: Labelled, test: Labelled, args: argparse.Namespace, encoder: rate) -> float:
    """Assign each neuron the digit it responds to most, and classify the test set by the neurons."""
    seen = counts(net, train, args, encoder)
    mean = torch.stack([seen[train.y == digit].mean(0) for digit in range(10)])
    share = mean / mean.sum(0).clamp(min=1e-9)
    best = torch.nn.functional.one_hot(share.argmax(0), 10).float() * share.amax(0)[:, None]
    answer = counts(net, test, args, encoder) @ (best / best.sum(0).clamp(min=1e-9))
    return float((answer.argmax(1) == test.y).float().mean())


def learn(train: Labelled, test: Labelled, plastic: bool, args: argparse.Namespace) -> float:
    """Adapt thresholds, and weights if `plastic`, on the training set; return the test accuracy."""
    net = network(train.x.shape[1], args)
    weight, digit = weight_of(net, 0), args.steps * DT
    # The average is short: practically the current batch alone.
    homeostasis = ThresholdHomeostasis(
        net, {"out": args.target / digit}, rate=args.threshold_rate * digit, tau=DT, lowest=0.1
    )
    encoder = rate(args.steps, max_rate=args.max_rate, dt=DT)
    normalise(weight.data, args.total)
    rule = PairSTDP(a_plus=args.learning_rate, a_minus=0.1 * args.learning_rate)
    plasticity = Plasticity(net, {"input->out": rule} if plastic else {}, chunk=args.steps)
    batches = train.batches(args.batch_size, seed=args.seed, encoder=encoder)
    name, start = "STDP" if plastic else "fixed weights", time.perf_counter()
    with tqdm(total=len(batches) * args.epochs, unit="batch", desc=name) as bar:
        for epoch in range(args.epochs):
            batches.set_epoch(epoch)
            for x, _ in batches:
                plasticity.forget()
                z, _ = plasticity.run(x)
                normalise(weight.data, args.total)
                homeostasis.learn({"out": z})
                bar.update()
    print(f"{name}: {args.epochs} epochs in {time.perf_counter() - start:.0f} s", flush=True)
    return accuracy(net, train, test, args, encoder)


def main() -> None:
    """Run both parts and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", help="folder of MNIST's idx files; NEUROSIM_DATA if omitted")
    parser.add_argument("--train-samples", type=int, default=10000)
    parser.add_argument("--test-samples", type=int, default=2000)
    parser.add_argument("--neurons", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--steps", type=int, default=50, help="steps of 1 ms per digit")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--max-rate", type=float, default=200.0, help="rate of a white pixel, Hz")
    parser.add_argument("--total", type=float, default=10.0, help="sum of a neuron's weights")
    parser.add_argument("--inhibition", type=float, default=10.0)
    parser.add_argument("--target", type=float, default=0.03, help="target of spikes per neuron and digit")
    parser.add_argument("--threshold-rate", type=float, default=0.3)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="the digits of scikit-learn")
    parser.add_argument("--out", type=Path, default=Path("runs/stdp/result.json"))
    args = parser.parse_args()
    if args.quick:
        args.epochs = 4
    found = curves()
    split = (digits() if args.quick else mnist(args.data_root)).flat()
    train, test = split.train.subset(slice(args.train_samples)), split.test.subset(slice(args.test_samples))
    still, learnt = (learn(train, test, plastic, args) for plastic in (False, True))
    print(f"accuracy: {still:.2%} with fixed weights, {learnt:.2%} with STDP", flush=True)
    settings = {name: value for name, value in vars(args).items() if name not in ("data_root", "out")}
    result = {"settings": settings, "curves": found, "fixed": still, "stdp": learnt}
    with replaced(args.out) as part:
        part.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
