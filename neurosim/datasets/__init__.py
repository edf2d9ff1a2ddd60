"""Labelled data for training: cards, readers, batches that resume bit for bit, spike encoders."""

from __future__ import annotations

from neurosim.datasets.adding import Adding
from neurosim.datasets.auditory import cochlea
from neurosim.datasets.cards import Card, CardFile, card
from neurosim.datasets.encoders import Encoder, delta_modulation, direct, latency, rate
from neurosim.datasets.idx import read_idx
from neurosim.datasets.images import fashion_mnist, load_idx, mnist
from neurosim.datasets.labelled import Batches, Labelled, Split
from neurosim.datasets.loading import dataset_names, load
from neurosim.datasets.nmnist import nmnist_events
from neurosim.datasets.scikit import digits
from neurosim.datasets.shd import read_shd
from neurosim.datasets.spoken import Word, heard, read_words
from neurosim.datasets.text import Text, read_text

__all__ = [
    "Adding",
    "Batches",
    "Card",
    "CardFile",
    "Encoder",
    "Labelled",
    "Split",
    "Text",
    "Word",
    "card",
    "cochlea",
    "dataset_names",
    "delta_modulation",
    "digits",
    "direct",
    "fashion_mnist",
    "heard",
    "latency",
    "load",
    "load_idx",
    "mnist",
    "nmnist_events",
    "rate",
    "read_idx",
    "read_shd",
    "read_text",
    "read_words",
]
