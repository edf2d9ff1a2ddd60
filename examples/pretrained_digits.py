"""Train the digits network that the library ships, and write its weights.

    python examples/pretrained_digits.py digits.pt

The file that is shipped as `pretrained/digits.pt` was written with seed 0 and one thread; its card beside it has the
digest and the accuracy.
"""

import argparse
import hashlib
from pathlib import Path

import torch

import neurosim as ns
from neurosim.datasets import digits, rate
from neurosim.models import digits_network

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("file", help="Checkpoint to write.")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--epochs", type=int, default=30)
args = parser.parse_args()

torch.set_num_threads(1)
torch.manual_seed(args.seed)
data, encoder = digits().flat(), rate(25, max_rate=1000.0, dt=1e-3)
net = digits_network()
optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs)
train = data.train.batches(64, encoder=encoder, seed=args.seed)
ns.fit(net, train, loss=ns.MeanMembrane(), optimizer=optimizer, scheduler=decay, epochs=args.epochs, progress=False)
ns.save_checkpoint(args.file, net)
for seed in (0, 1, 2):
    test = data.test.batches(360, encoder=encoder, seed=seed, shuffle=False)
    print(f"{ns.evaluate(net, test)['accuracy']:.2%} of {len(data.test)} test images, spikes of seed {seed}")
print(f"sha256 {hashlib.sha256(Path(args.file).read_bytes()).hexdigest()}")
