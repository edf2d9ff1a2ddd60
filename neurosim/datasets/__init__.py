"""Labelled data for training: cards, readers, batches that resume bit for bit, spike encoders."""

from __future__ import annotations

from neurosim.datasets.adding import Adding
from neurosim.datasets.auditory import cochlea
from neurosim.datasets.cards import Card, CardFile, card
from neurosim.datasets.codes import burst, phase, population
from neurosim.datasets.decoders import class_by_count, class_by_first_spike, class_by_membrane, class_by_vote
from neurosim.datasets.encoders import Encoder, delta_modulation, direct, latency, rate
from neurosim.datasets.hair_cells import HairCells
from neurosim.datasets.idx import read_idx
from neurosim.datasets.images import fashion_mnist, load_idx, mnist
from neurosim.datasets.labelled import Batches, Labelled, Split
from neurosim.datasets.loading import dataset_names, load
from neurosim.datasets.nmnist import nmnist_events
from neurosim.datasets.scikit import digits
from neurosim.datasets.shd import read_shd
from neurosim.datasets.signals import bens_spiker, sigma_delta_modulation
from neurosim.datasets.spoken import Word, heard, read_words
from neurosim.datasets.text import Text, read_text

__all__ = [
    "Adding",
    "Batches",
    "Card",
    "CardFile",
    "Encoder",
    "HairCells",
    "Labelled",
    "Split",
    "Text",
    "Word",
    "bens_spiker",
    "burst",
    "card",
    "class_by_count",
    "class_by_first_spike",
    "class_by_membrane",
    "class_by_vote",
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
    "phase",
    "population",
    "rate",
    "read_idx",
    "read_shd",
    "read_text",
    "read_words",
    "sigma_delta_modulation",
]
