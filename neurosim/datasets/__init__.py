"""Labelled data for training: cards, readers, batches that resume bit for bit, spike encoders."""

from __future__ import annotations

from neurosim.datasets.adding import Adding
from neurosim.datasets.auditory import cochlea
from neurosim.datasets.cameras import asl_dvs, cifar10_dvs, dvs_gesture, ncaltech101, poker_dvs
from neurosim.datasets.cards import Card, CardFile, card
from neurosim.datasets.circles import yin_yang, yin_yang_points
from neurosim.datasets.codes import burst, phase, population
from neurosim.datasets.decoders import class_by_count, class_by_first_spike, class_by_membrane, class_by_vote
from neurosim.datasets.delay_equation import mackey_glass, mackey_glass_series
from neurosim.datasets.encoders import Encoder, delta_modulation, direct, latency, rate
from neurosim.datasets.fetching import Unverified, fetch
from neurosim.datasets.hair_cells import HairCells
from neurosim.datasets.heartbeats import qtdb
from neurosim.datasets.idx import read_idx
from neurosim.datasets.images import fashion_mnist, load_idx, mnist
from neurosim.datasets.labelled import Batches, Labelled, Split
from neurosim.datasets.labelled_files import LabelledFiles
from neurosim.datasets.loading import dataset_names, load
from neurosim.datasets.nmnist_files import nmnist, nmnist_events, nmnist_small
from neurosim.datasets.operations import LISTOPS_TOKENS, listops
from neurosim.datasets.parts import Parts, split_off
from neurosim.datasets.scikit import digits
from neurosim.datasets.sequences import (
    delayed_match,
    oxford,
    permuted_mnist,
    pixel_by_pixel,
    sequential_mnist,
    tiny_text,
)
from neurosim.datasets.series import Series
from neurosim.datasets.shd_grids import read_shd
from neurosim.datasets.signals import bens_spiker, sigma_delta_modulation
from neurosim.datasets.smartwatch import exercises
from neurosim.datasets.speech_words import speech_commands
from neurosim.datasets.spoken import Word, heard, read_words, spoken_digits
from neurosim.datasets.spoken_events import shd, shd_adding, ssc
from neurosim.datasets.text import Text, read_text
from neurosim.datasets.tidigits import ntidigits
from neurosim.datasets.touch import braille
from neurosim.datasets.vowels import japanese_vowels, read_ts
from neurosim.datasets.wearables import wisdm

__all__ = [
    "LISTOPS_TOKENS",
    "Adding",
    "Batches",
    "Card",
    "CardFile",
    "Encoder",
    "HairCells",
    "Labelled",
    "LabelledFiles",
    "Parts",
    "Series",
    "Split",
    "Text",
    "Unverified",
    "Word",
    "asl_dvs",
    "bens_spiker",
    "braille",
    "burst",
    "card",
    "cifar10_dvs",
    "class_by_count",
    "class_by_first_spike",
    "class_by_membrane",
    "class_by_vote",
    "cochlea",
    "dataset_names",
    "delayed_match",
    "delta_modulation",
    "digits",
    "direct",
    "dvs_gesture",
    "exercises",
    "fashion_mnist",
    "fetch",
    "heard",
    "japanese_vowels",
    "latency",
    "listops",
    "load",
    "load_idx",
    "mackey_glass",
    "mackey_glass_series",
    "mnist",
    "ncaltech101",
    "nmnist",
    "nmnist_events",
    "nmnist_small",
    "ntidigits",
    "oxford",
    "permuted_mnist",
    "phase",
    "pixel_by_pixel",
    "poker_dvs",
    "population",
    "qtdb",
    "rate",
    "read_idx",
    "read_shd",
    "read_text",
    "read_ts",
    "read_words",
    "sequential_mnist",
    "shd",
    "shd_adding",
    "sigma_delta_modulation",
    "speech_commands",
    "split_off",
    "spoken_digits",
    "ssc",
    "tiny_text",
    "wisdm",
    "yin_yang",
    "yin_yang_points",
]
