"""Cut populations into ranges of neurons, one for each core, so that no core exceeds a limit."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from neurosim.hardware.placement.cores import CoreLimits, Load, SynapseFormat
from neurosim.hardware.placement.workload import NeuronGroup, Workload

ROUNDS = 30


class TooMany(Exception):
    """More parts than allowed."""


class TooLarge(Exception):
    """A single neuron exceeds a limit of a core."""

    def __init__(self, group: str, neuron: int, limits: list[str]) -> None:
        super().__init__(group, neuron, limits)
        self.group, self.neuron, self.limits = group, neuron, limits


@dataclass(frozen=True, eq=False)
class Cut:
    """How one population is cut.

    Attributes
    ----------
    load : Load
        The population, with the order of its neurons.
    borders : tuple of int
        From 0 to the number of neurons; the neurons between two of them are on one core.
    """

    load: Load
    borders: tuple[int, ...]

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """The parts, one for each core."""
        return list(itertools.pairwise(self.borders))


def partition(
    workload: Workload,
    core: CoreLimits,
    synapse_format: SynapseFormat,
    at_most: float = math.inf,
    like: Mapping[str, Cut] = MappingProxyType({}),
) -> tuple[dict[str, Cut], list[TooLarge]]:
    """Cut every population.

    The number of cores that a neuron sends to depends on how its targets are cut and limits how its own population may
    be cut, so populations are cut again until nothing changes. Populations in `like` use the order that was best there.

    Returns
    -------
    cuts : dict of str to Cut
        Without populations of which a single neuron is too large.
    refused : list of TooLarge

    Raises
    ------
    TooMany
        As soon as more than `at_most` cores are needed.
    """
    cuts: dict[str, Cut] = {}
    refused: list[TooLarge] = []
    for group in workload.groups:
        try:
            tried = [like[group.name].load.order] if group.name in like else orders(group.shape)
            cuts[group.name] = _best(core, workload, group, synapse_format, at_most, tried)
            at_most -= len(cuts[group.name].ranges)
        except TooLarge as error:
            refused.append(error)
    if "output_axons_per_core" not in core.limits:
        return cuts, refused
    for _ in range(ROUNDS):
        above = _above_output(workload, cuts)
        for name in above:
            load = cuts[name].load
            try:
                before = len(cuts[name].ranges)
                cuts[name] = Cut(load, _cut(load, before + at_most))
                at_most -= len(cuts[name].ranges) - before
            except TooLarge as error:
                refused.append(error)
                del cuts[name]
        if not above:
            return cuts, refused
    for name, limits in _above_output(workload, cuts).items():
        refused.append(TooLarge(name, int(cuts.pop(name).load.order[0]), limits))
    return cuts, refused


def _above_output(workload: Workload, cuts: dict[str, Cut]) -> dict[str, list[str]]:
    """Update the targets of every population; return those of which a core then exceeds a limit."""
    above = {}
    for name, cut in cuts.items():
        cut.load.reaches(targets(workload, cuts, name, cut.load.group.neurons))
        limits = {limit for part in cut.ranges for limit in cut.load.exceeded(*part)}
        if limits:
            above[name] = sorted(limits)
    return above


def targets(workload: Workload, cuts: dict[str, Cut], name: str, neurons: int) -> np.ndarray:
    """Count for each neuron of a population, or of an input, the cores that it sends spikes to, link by link."""
    counts = np.zeros(neurons, np.int64)
    for link in workload.out_of(name):
        if link.target in cuts:
            cut = cuts[link.target]
            for start, stop in cut.ranges:
                counts += link.reach.onto(cut.load.order[start:stop]) > 0
    return counts


def orders(shape: tuple[int, ...]) -> list[np.ndarray]:
    """Return the orders to try.

    For images the places follow a space-filling curve, or go row by row, with all channels of a place together, since
    neurons with the same inputs share input axons; the last order is that of the flattened population.
    """
    natural = np.arange(math.prod(shape))
    if len(shape) < 2 or shape[0] == 1 or math.prod(shape[1:]) == 1:
        return [natural]
    places = natural.reshape(shape[0], -1).T
    tried = [places.ravel(), natural]
    if len(shape) == 3:
        tried.insert(0, places[np.argsort(_morton(*shape[1:]), kind="stable")].ravel())
    return tried


def _morton(height: int, width: int) -> np.ndarray:
    """Return for each place a number with the bits of row and column interleaved (Morton order)."""
    y, x = np.divmod(np.arange(height * width), width)
    bits = range(max(height, width).bit_length())
    return np.sum([((y >> k & 1) << 2 * k + 1) | ((x >> k & 1) << 2 * k) for k in bits], axis=0)


def _best(
    core: CoreLimits,
    workload: Workload,
    group: NeuronGroup,
    synapse_format: SynapseFormat,
    at_most: float,
    tried: list[np.ndarray],
) -> Cut:
    best: Cut | None = None
    for order in tried:
        load = Load(core, workload, group, synapse_format, order)
        try:
            best = Cut(load, _cut(load, at_most if best is None else len(best.ranges) - 1))
        except TooMany:
            continue
    if best is None:
        raise TooMany
    return best


def _cut(load: Load, at_most: float) -> tuple[int, ...]:
    """Take as many neurons as fit, repeatedly; then make the parts equal if they still fit."""
    neurons = load.group.neurons
    borders = [0]
    size = neurons
    while borders[-1] < neurons:
        if len(borders) > at_most:
            raise TooMany
        size = _most(load, borders[-1], min(size, neurons - borders[-1]))
        borders.append(borders[-1] + size)
    parts = len(borders) - 1
    even = [round(k * neurons / parts) for k in range(parts + 1)]
    if not any(load.exceeded(a, b) for a, b in itertools.pairwise(even)):
        borders = even
    return tuple(borders)


def _most(load: Load, start: int, guess: int) -> int:
    """Return the largest number of neurons from `start` on that fit one core, searching near a guess first."""
    left = load.group.neurons - start
    fits = 0
    if not load.exceeded(start, start + guess):
        fits, step = guess, 1
        while fits < left and not load.exceeded(start, start + min(fits + step, left)):
            fits, step = min(fits + step, left), 2 * step
        above = min(fits + step, left + 1)
    else:
        above = guess
    while above - fits > 1:
        middle = (fits + above) // 2
        if load.exceeded(start, start + middle):
            above = middle
        else:
            fits = middle
    if not fits:
        raise TooLarge(load.group.name, int(load.order[start]), load.exceeded(start, start + 1))
    return fits
