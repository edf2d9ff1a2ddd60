"""Read Braille letters from touch with recurrent adaptive neurons.

    python examples/braille.py FOLDER/braille7_sigma_delta_unique1158.npz

The file holds 1158 readings of 12 touch sensors coded as events, 7 letters, 256 steps of 5 ms: the data of
github.com/neuromorphic-polito/L2MU-Braille (Apache-2.0). Four steps are counted as one; a fifth of the readings, drawn
at random, is tested.
"""

import argparse

import numpy as np
import torch

import neurosim as ns
from neurosim.datasets import Labelled

DT, TAU, BIN = 20e-3, 100e-3, 4
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("file", help="The .npz file of readings.")
parser.add_argument("--epochs", type=int, default=40)
args = parser.parse_args()
with np.load(args.file) as stored:
    n, T, sensors = stored["shape"]
    bits = np.unpackbits(stored["x_packed"])[: n * T * sensors].reshape(n, T // BIN, BIN, sensors)
    x, y = torch.from_numpy(bits).sum(2).float(), torch.from_numpy(stored["label"]).long()
names, tested = tuple("ABCDEFG"), torch.randperm(n, generator=torch.Generator().manual_seed(0)) % 5 == 0
train, test = (Labelled(x[part], y[part], names, timed=True) for part in (~tested, tested))

torch.manual_seed(0)
gain = 1 / (1 - np.exp(-DT / TAU))  # of the current, as in v = alpha v + i
hidden = ns.ALIF(tau_mem=TAU, tau_adapt=0.5, beta=0.2, r=gain, dt=DT, spike=ns.fast_sigmoid(5.0))
layers = ns.Linear(sensors, 128), ns.Recurrent(hidden, ns.Linear(128, 128)), ns.Linear(128, 7)
net = ns.Sequential(*layers, ns.LI(tau_mem=0.5, r=20.0, dt=DT))
optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs)
options = dict(optimizer=optimizer, scheduler=decay, epochs=args.epochs, clip=1.0)
ns.fit(net, train.batches(32), loss=ns.MeanMembrane(), **options)
print(f"{ns.evaluate(net, test.batches(64, shuffle=False))['accuracy']:.1%} of {len(test)} readings")
