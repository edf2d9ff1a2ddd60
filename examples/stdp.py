"""Let neurons that compete learn handwritten digits by STDP alone, and see what triplets add to pairs.

    python examples/stdp.py --data-root FOLDER_WITH_THE_IDX_FILES

First the change of one synapse under 60 pairs of spikes at several rates, by the pair and by the triplet rule. Then a
layer of LIF neurons that inhibit each other looks at digits, a Poisson spike train for each pixel. Its weights from the
pixels follow the pair rule; after each batch those of each neuron are scaled to the same sum, and thresholds move to
hold each neuron's rate. No label is seen in learning. Afterwards each neuron is given the digit it answered most in the
training part, and the test part is read off those neurons. The same is done with weights that stay as they were drawn,
while the thresholds move all the same. It is the scheme of Diehl and Cook 2015 (doi:10.3389/fncom.2015.00099) in small:
no conductances, no layer of inhibitory neurons, batches. The settings were chosen on the small digits of ``--quick`` by
their test part, so that its figure is no measure of what new digits would give. The figures are printed and written to
``runs/stdp/result.json``.
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
    """Return the change of one weight under 60 pairs, the spike after coming `later` s after that before."""
    dt, first = 10e-3, 5
    steps = first + torch.arange(60) * round(1 / hertz / dt)
    before = torch.zeros(int(steps[-1]) + 10, 1, 1, dtype=torch.float64)
    after = before.clone()
    before[steps], after[steps + round(later / dt)] = 1.0, 1.0
    factors, _ = rule.factors(before, after, dt)
    return float(rule.change(torch.tensor([[50.0]], dtype=torch.float64), factors))


def curves() -> dict[str, list[float]]:
    """Print and return the change against the rate of the pairs."""
    pair = PairSTDP(a_plus=0.005, a_minus=0.007, tau_plus=16.8e-3, tau_minus=33.7e-3, w_max=100.0)
    found = {}
    print(f"change under 60 pairs at {', '.join(map(str, RATES))} Hz")
    for name, rule in (("pair", pair), ("triplet", TripletSTDP())):
        for later in (10e-3, -10e-3):
            key = f"{name}, after {'follows' if later > 0 else 'leads'} by 10 ms"
            found[key] = [change(rule, later, hertz) for hertz in RATES]
            print(f"  {key}: {' '.join(f'{value:+.3f}' for value in found[key])}")
    return found


def network(inputs: int, args: argparse.Namespace) -> ns.Network:
    """Return neurons that inhibit each other one step after they fire."""
    torch.manual_seed(args.seed)
    # r makes a weight the height of the potential's step.
    lif = ns.LIF(tau_mem=20e-3, r=1 / (1 - decay_of(20e-3, DT)), v_th=torch.ones(args.neurons), dt=DT)
    net = ns.Sequential(
        ns.Linear(inputs, args.neurons), ns.Recurrent(lif, ns.Linear(args.neurons, args.neurons)), names=("out",)
    )
    with torch.no_grad():
        weight_of(net, 0).uniform_(0.0, 1.0)
        weight_of(net, 1).fill_(-args.inhibition).fill_diagonal_(0.0)
    return net


def weight_of(net: ns.Network, edge: int) -> Tensor:
    """Return the weights of an edge, which is one map."""
    (synapse,) = net.edges[edge].synapses
    assert isinstance(synapse, ns.Linear)
    return synapse.weight


def normalise(weight: Tensor, total: float) -> None:
    """Scale the weights of each neuron to the same sum."""
    weight.mul_(total / weight.sum(1, keepdim=True))


def counts(net: ns.Network, data: Labelled, args: argparse.Namespace, encoder: rate) -> Tensor:
    """Return the spikes of each neuron at each sample [n, N]."""
    with torch.no_grad():
        return torch.cat(
            [net(x)[0].sum(0) for x, _ in data.batches(200, seed=args.seed, encoder=encoder, shuffle=False)]
        )


def accuracy(net: ns.Network, train: Labelled, test: Labelled, args: argparse.Namespace, encoder: rate) -> float:
    """Give each neuron the digit it answers most, and read the test part off the neurons."""
    seen = counts(net, train, args, encoder)
    mean = torch.stack([seen[train.y == digit].mean(0) for digit in range(10)])
    share = mean / mean.sum(0).clamp(min=1e-9)
    best = torch.nn.functional.one_hot(share.argmax(0), 10).float() * share.amax(0)[:, None]
    answer = counts(net, test, args, encoder) @ (best / best.sum(0).clamp(min=1e-9))
    return float((answer.argmax(1) == test.y).float().mean())


def learn(train: Labelled, test: Labelled, plastic: bool, args: argparse.Namespace) -> float:
    """Let thresholds, and weights if `plastic`, settle on the training part; return the accuracy on the test part."""
    net = network(train.x.shape[1], args)
    weight, digit = weight_of(net, 0), args.steps * DT
    # The average is so short that only the batch at hand counts.
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
    """Show both and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", help="folder of MNIST's idx files; NEUROSIM_DATA if left out")
    parser.add_argument("--train-samples", type=int, default=10000)
    parser.add_argument("--test-samples", type=int, default=2000)
    parser.add_argument("--neurons", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--steps", type=int, default=50, help="of 1 ms, a digit")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--max-rate", type=float, default=200.0, help="of a white pixel, Hz")
    parser.add_argument("--total", type=float, default=10.0, help="sum of a neuron's weights")
    parser.add_argument("--inhibition", type=float, default=10.0)
    parser.add_argument("--target", type=float, default=0.03, help="spikes a neuron is to send a digit")
    parser.add_argument("--threshold-rate", type=float, default=0.3)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="small digits that need no file")
    parser.add_argument("--out", type=Path, default=Path("runs/stdp/result.json"))
    args = parser.parse_args()
    if args.quick:
        args.epochs = 4
    found = curves()
    split = (digits() if args.quick else mnist(args.data_root)).flat()
    train, test = split.train.subset(slice(args.train_samples)), split.test.subset(slice(args.test_samples))
    still, learnt = (learn(train, test, plastic, args) for plastic in (False, True))
    print(f"digits read off the neurons: {still:.2%} with fixed weights, {learnt:.2%} with STDP", flush=True)
    settings = {name: value for name, value in vars(args).items() if name not in ("data_root", "out")}
    result = {"settings": settings, "curves": found, "fixed": still, "stdp": learnt}
    with replaced(args.out) as part:
        part.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
