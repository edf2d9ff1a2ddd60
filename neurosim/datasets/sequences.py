"""Tasks that are computed or made from others: pixels one after the other, delayed match, trains of spikes to learn."""

from __future__ import annotations

import os

import numpy as np
import torch

from neurosim.datasets.cards import Card, card
from neurosim.datasets.checks import checked_integer
from neurosim.datasets.events.files.reading import read_events
from neurosim.datasets.images import mnist
from neurosim.datasets.labelled import Labelled
from neurosim.datasets.nmnist_files import last_tenth
from neurosim.datasets.parity import parity
from neurosim.datasets.parts import Parts
from neurosim.datasets.places import located
from neurosim.datasets.series import Series
from neurosim.datasets.text import Text, read_text
from neurosim.errors import InputError


def pixel_by_pixel(data: Labelled, *, permute: int | None = None) -> Labelled:
    """Return images as sequences of their pixels, one a step.

    Parameters
    ----------
    data : Labelled
        Images, not timed.
    permute : int, optional
        Seed of one order of the pixels for all images, ``numpy.random.RandomState(permute).permutation``; row by row if
        left out.

    Returns
    -------
    Labelled
        `x` [n, pixels, 1], timed.

    Examples
    --------
    >>> from neurosim.datasets import digits, pixel_by_pixel
    >>> pixel_by_pixel(digits().test, permute=0).x.shape
    torch.Size([360, 64, 1])
    """
    if data.timed:
        raise InputError("pixel_by_pixel: the data runs over time already.")
    x = data.x.flatten(1)
    if permute is not None:
        draw = np.random.RandomState(checked_integer("permute", permute, least=0))
        x = x[:, torch.from_numpy(draw.permutation(x.shape[1]))]
    return Labelled(x[..., None], data.y, data.classes, timed=True)


def sequential_mnist(root: str | os.PathLike[str] | None = None) -> Parts[Labelled]:
    """Load MNIST pixel by pixel: 784 steps of one value (Le, Jaitly and Hinton 2015, arXiv:1504.00941)."""
    return load_pixels(card("sequential_mnist"), root)


def permuted_mnist(root: str | os.PathLike[str] | None = None) -> Parts[Labelled]:
    """Load MNIST pixel by pixel, in one random order of seed 0 (Le, Jaitly and Hinton 2015, arXiv:1504.00941)."""
    return load_pixels(card("permuted_mnist"), root)


def load_pixels(card: Card, root: str | os.PathLike[str] | None = None) -> Parts[Labelled]:
    """Load MNIST pixel by pixel, permuted where the card is of this name."""
    data, permute = mnist(root), 0 if card.name == "permuted_mnist" else None
    parts = {name: pixel_by_pixel(part, permute=permute) for name, part in (("train", data.train), ("test", data.test))}
    return Parts(parts, card, last_tenth(data.train.y))


def delayed_match(
    number: int,
    *,
    channels: int = 10,
    cues: int = 2,
    cue: int = 10,
    delay: int = 50,
    rate: float = 0.2,
    noise: float = 0.01,
    seed: int = 0,
) -> Labelled:
    """Make trials of delayed match to sample: a cue, a delay, a second cue, and the class is whether they match.

    Cue k drives the channels of group k with spikes of probability `rate` a step; all channels have spikes of
    probability `noise` in all steps. Half the trials match, of every first cue as many as of the others on average.

    Parameters
    ----------
    number : int
        Trials.
    channels : int
        Channels of each cue.
    cues : int
        Different cues, from 2.
    cue, delay : int
        Steps of a cue (both cues alike), and steps between them; the delay may be 0.
    rate, noise : float
        Probabilities, 0 to 1.
    seed : int
        Not negative.

    Returns
    -------
    Labelled
        `x` float32 [number, 2 cue + delay, cues channels] of 0/1, `y` 1 where the cues match; timed.

    Raises
    ------
    InputError
        For sizes and probabilities out of range.

    References
    ----------
    Konorski 1959, "A new method of physiological investigation of recent memory in animals"; Bellec et al. 2018,
    arXiv:1803.09574, for spiking networks.

    Examples
    --------
    >>> from neurosim.datasets import delayed_match
    >>> data = delayed_match(4, channels=3, seed=1)
    >>> tuple(data.x.shape), data.classes
    ((4, 70, 6), ('differs', 'matches'))
    """
    for name, value, least in (("number", number, 1), ("channels", channels, 1), ("cues", cues, 2), ("cue", cue, 1)):
        checked_integer(name, value, least=least)
    checked_integer("delay", delay, least=0)
    for name, share in (("rate", rate), ("noise", noise)):
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
            raise InputError(f"delayed_match: {name} = {share!r}, but it must be a probability from 0 to 1.")
    generator = torch.Generator().manual_seed(checked_integer("seed", seed, least=0))
    first = torch.randint(cues, (number,), generator=generator)
    y = torch.randint(2, (number,), generator=generator)
    other = torch.randint(1, cues, (number,), generator=generator)
    second = torch.where(y == 1, first, (first + other) % cues)
    chance = torch.full((number, 2 * cue + delay, cues, channels), float(noise))
    rows = torch.arange(number)
    chance[rows, :cue, first] = float(rate)
    chance[rows, cue + delay :, second] = float(rate)
    spikes = torch.rand(chance.shape, generator=generator) < chance
    return Labelled(spikes.flatten(2).float(), y, ("differs", "matches"), timed=True)


_SEEDS = {"train": 0, "validation": 1, "test": 2}


def parity_parts() -> Parts[Labelled]:
    """Return the parity of ten bits in parts, as its card states."""
    about = card("parity")
    return Parts({name: parity(about.counts[name], 10, seed=seed) for name, seed in _SEEDS.items()}, about)


def delayed_match_parts() -> Parts[Labelled]:
    """Return delayed match to sample in parts, as its card states."""
    about = card("delayed_match")
    return Parts({name: delayed_match(about.counts[name], seed=seed) for name, seed in _SEEDS.items()}, about)


def oxford(root: str | os.PathLike[str] | None = None, *, verify: bool = True) -> Parts[Series]:
    """Load the Oxford trains: 200 trains of spikes, and 200 that make a picture, which a network has to give.

    Parameters
    ----------
    root : path-like, optional
        The data root, with ``input.bs1`` and ``output.bs1`` in ``oxford/`` or itself. Default: the environment variable
        ``NEUROSIM_DATA``.
    verify : bool
        Compare digests with the card.

    Returns
    -------
    Parts of Series
        "train", one sequence: `x` and `y` float32 [1900, 200], numbers of spikes in steps of 1 ms.

    Raises
    ------
    FileError
        When a file is missing, damaged or not the one of the card.

    References
    ----------
    Shrestha and Orchard 2018, "SLAYER: Spike layer error reassignment in time", arXiv:1810.08646.
    """
    return load_oxford(card("oxford"), root, verify=verify)


_OXFORD_STEPS = 1900


def load_oxford(card: Card, root: str | os.PathLike[str] | None = None, *, verify: bool = True) -> Parts[Series]:
    """Load trains that a card describes as two files of channels, the input and the target."""
    found = {file.holds: path for file, path in located(card, root, verify=verify).items()}
    grids = []
    for what in ("input", "target"):
        events = read_events(found[what], shape=card.shape, kind="bs1", repair=["sort"])
        grids.append(events.binned(1e-3, _OXFORD_STEPS)[:, 0])
    return Parts({"train": Series((grids[0],), (grids[1],), (), dt=1e-3)}, card)


def tiny_text(root: str | os.PathLike[str] | None = None) -> Parts[Text]:
    """Load the plays of Shakespeare as character codes: the first 90 %, the next 5 % and the last 5 %.

    Parameters
    ----------
    root : path-like, optional
        As for `read_text`. Default: the environment variable ``NEUROSIM_DATA``.

    Returns
    -------
    Parts of Text
        "train", "validation", "test", in one alphabet.
    """
    return load_text(card("tiny_text"), root)


def load_text(card: Card, root: str | os.PathLike[str] | None = None) -> Parts[Text]:
    """Load the text of a card."""
    ((_, path),) = located(card, root).items()
    text = read_text(path)
    train, rest = text.split(0.9)
    validation, test = rest.split(0.5)
    return Parts({"train": train, "validation": validation, "test": test}, card)
