"""Recognise spoken digits on a Xylo: 16 channels, trained, quantised, trained further in integers, placed, verified.

    python examples/xylo.py FOLDER/fsdd_recordings_wav.tar.xz --out xylo.json

The archive, or a folder of its files, holds the recordings of the Free Spoken Digit Dataset (Jackson et al.,
github.com/Jakobovski/free-spoken-digit-dataset, CC BY-SA 4.0): 6 speakers, 3000 recordings. Takes 0 to 4 of each
speaker are tested. The maker's simulator (`pip install xylosim`) judges the result where it is installed.
"""

import argparse
import importlib.util

import torch

import neurosim as ns
from neurosim.datasets import heard, read_words
from neurosim.hardware.quantise import fixed
from neurosim.hardware.xylo import dash_time_constant, quantise_xylo, to_xylo, verify_xylo

DT, CHANNELS, HIDDEN = 10e-3, 16, 128
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("recordings", help="Tar archive or folder of wav files.")
parser.add_argument("--epochs", type=int, default=24)
parser.add_argument("--further", type=int, default=20, help="Epochs of training in integers.")
parser.add_argument("--hidden", type=int, default=HIDDEN)
parser.add_argument("--out", default="xylo.json", help="The configuration document.")
args = parser.parse_args()

words = read_words(args.recordings)
data = heard(words, duration=0.5, channels=CHANNELS, dt=DT)
data.x.clamp_(max=15)  # an input of the chip sends at most 15 spikes in a step
tested = torch.tensor([word.take < 5 for word in words])
train, test = data.subset(~tested), data.subset(tested)


def neurons(dash_mem: int, dash_syn: int, r: float) -> ns.Neuron:
    """Make neurons whose decays are those of the chip."""
    taus = dict(tau_mem=dash_time_constant(dash_mem, DT), tau_syn=dash_time_constant(dash_syn, DT))
    return ns.CubaLIF(dt=DT, r=r, reset="subtract", spike=ns.atan(2.0), **taus)


def train_for(net: ns.Network, epochs: int, rate: float) -> None:
    """Train with a cosine schedule."""
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    # A neuron of the chip may send several spikes in a step, one of CubaLIF sends one: at low rates they agree.
    ns.fit(
        net,
        train.batches(64),
        loss=ns.RateCrossEntropy(),
        penalties=[ns.RatePenalty(1e-3, high=15.0)],
        optimizer=optimizer,
        scheduler=decay,
        epochs=epochs,
        clip=1.0,
    )


def accuracy(net: ns.Network) -> float:
    """Return the accuracy on the test part."""
    return ns.evaluate(net, test.batches(100, shuffle=False), loss=ns.RateCrossEntropy())["accuracy"]


torch.manual_seed(0)
net = ns.Sequential(
    ns.Linear(CHANNELS, args.hidden),
    neurons(3, 2, 4.0),
    ns.Linear(args.hidden, 10),
    neurons(3, 2, 4.0),
    names=("hidden", "out"),
)
train_for(net, args.epochs, 2e-3)
real = accuracy(net)
print(f"in floating point: {real:.1%} of {len(test)} recordings")

x = train.x[:300].transpose(0, 1)
quantised = quantise_xylo(net, x)
print(quantised.summary())
print(f"in integers: {accuracy(quantised.net):.1%}")
on_grid = quantise_xylo(net, x, trained=True).net
train_for(on_grid, args.further, 1e-3)
chip = fixed(on_grid)
print(f"trained further in integers: {accuracy(chip):.1%}")

export = to_xylo(chip, "spoken digits")
export.configuration.to_json(args.out)
print(f"wrote {args.out}: {export.configuration.inputs} inputs, {export.configuration.hidden} hidden neurons")
if importlib.util.find_spec("xylosim") is None:
    print("xylosim is not installed, so that nothing was verified: pip install xylosim")
else:
    print(verify_xylo(chip, test.x.transpose(0, 1)).summary())
