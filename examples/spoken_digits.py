"""Recognise spoken digits with recurrent adaptive neurons behind a model of the cochlea.

    python examples/spoken_digits.py FOLDER/fsdd_recordings_wav.tar.xz

The archive, or a folder of its files, holds the recordings of the Free Spoken Digit Dataset (Jackson et al.,
github.com/Jakobovski/free-spoken-digit-dataset, CC BY-SA 4.0): 6 speakers, 3000 recordings. Takes 0 to 4 of each
speaker are tested, as in the dataset's own split.
"""

import argparse

import torch

import neurosim as ns
from neurosim.datasets import heard, read_words
from neurosim.models import adaptive_speech

DT = 10e-3
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("recordings", help="Tar archive or folder of wav files.")
parser.add_argument("--epochs", type=int, default=20)
args = parser.parse_args()

words = read_words(args.recordings)
data = heard(words, duration=0.5, channels=64, dt=DT)
tested = torch.tensor([word.take < 5 for word in words])
train, test = data.subset(~tested), data.subset(tested)

torch.manual_seed(0)
net = adaptive_speech(channels=64, classes=10, dt=DT)
optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs)
options = dict(optimizer=optimizer, scheduler=decay, epochs=args.epochs, clip=1.0)
ns.fit(net, train.batches(64), loss=ns.MeanMembrane(), **options)
print(f"{ns.evaluate(net, test.batches(100, shuffle=False))['accuracy']:.1%} of {len(test)} recordings")
