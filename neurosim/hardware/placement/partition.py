"""Cut populations into stretches, one a core, so that no core is above any limit."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from neurosim.hardware.placement.circuit import Circuit, Layer
from neurosim.hardware.placement.cores import Core, Load, Precision

ROUNDS = 30


class TooMany(Exception):
    """More parts than are of use."""


class TooLarge(Exception):
    """A single neuron takes more than a core offers."""

    def __init__(self, layer: str, neuron: int, limits: list[str]) -> None:
        super().__init__(layer, neuron, limits)
        self.layer, self.neuron, self.limits = layer, neuron, limits


@dataclass(frozen=True, eq=False)
class Cut:
    """How one population is cut.

    Attributes
    ----------
    load : Load
        The population, with the order of its neurons.
    borders : tuple of int
        From 0 to the number of neurons; between two of them lies what goes on one core.
    """

    load: Load
    borders: tuple[int, ...]

    @property
    def stretches(self) -> list[tuple[int, int]]:
        """The parts, one a core."""
        return list(itertools.pairwise(self.borders))


def partition(
    circuit: Circuit,
    core: Core,
    precision: Precision,
    at_most: float = math.inf,
    like: Mapping[str, Cut] = MappingProxyType({}),
) -> tuple[dict[str, Cut], list[TooLarge]]:
    """Cut every population.

    How many cores a neuron sends to depends on how others are cut, and limits in turn how its own population may be
    cut, so populations are cut again until nothing changes. For populations of `like` the order that was best there is
    taken without trying others.

    Returns
    -------
    cuts : dict of str to Cut
        Without those populations of which one neuron alone is too large.
    refused : list of TooLarge

    Raises
    ------
    TooMany
        As soon as it takes more than `at_most` cores.
    """
    cuts: dict[str, Cut] = {}
    refused: list[TooLarge] = []
    for layer in circuit.layers:
        try:
            tried = [like[layer.name].load.order] if layer.name in like else orders(layer.shape)
            cuts[layer.name] = _best(core, circuit, layer, precision, at_most, tried)
            at_most -= len(cuts[layer.name].stretches)
        except TooLarge as error:
            refused.append(error)
    if "output_axons_per_core" not in core.limits:
        return cuts, refused
    for _ in range(ROUNDS):
        above = _above_output(circuit, cuts)
        for name in above:
            load = cuts[name].load
            try:
                before = len(cuts[name].stretches)
                cuts[name] = Cut(load, _cut(load, before + at_most))
                at_most -= len(cuts[name].stretches) - before
            except TooLarge as error:
                refused.append(error)
                del cuts[name]
        if not above:
            return cuts, refused
    for name, limits in _above_output(circuit, cuts).items():
        refused.append(TooLarge(name, int(cuts.pop(name).load.order[0]), limits))
    return cuts, refused


def _above_output(circuit: Circuit, cuts: dict[str, Cut]) -> dict[str, list[str]]:
    """Tell every population where its spikes go now; return those of which a core is above a limit by that."""
    above = {}
    for name, cut in cuts.items():
        cut.load.reaches(targets(circuit, cuts, name, cut.load.layer.neurons))
        limits = {limit for stretch in cut.stretches for limit in cut.load.exceeded(*stretch)}
        if limits:
            above[name] = sorted(limits)
    return above


def targets(circuit: Circuit, cuts: dict[str, Cut], name: str, neurons: int) -> np.ndarray:
    """Count for each neuron of a population, or of an input, the cores that it sends spikes to, link by link."""
    found = np.zeros(neurons, np.int64)
    for link in circuit.out_of(name):
        if link.target in cuts:
            cut = cuts[link.target]
            for start, stop in cut.stretches:
                found += link.reach.onto(cut.load.order[start:stop]) > 0
    return found


def orders(shape: tuple[int, ...]) -> list[np.ndarray]:
    """Return the orders to try.

    For images the places are taken in a curve that stays close to itself, or row by row, all channels of a place
    together, since neurons that hear the same others share input axons; last in the order in which they are stored.
    """
    natural = np.arange(math.prod(shape))
    if len(shape) < 2 or shape[0] == 1 or math.prod(shape[1:]) == 1:
        return [natural]
    places = natural.reshape(shape[0], -1).T
    found = [places.ravel(), natural]
    if len(shape) == 3:
        found.insert(0, places[np.argsort(_morton(*shape[1:]), kind="stable")].ravel())
    return found


def _morton(height: int, width: int) -> np.ndarray:
    """Return for each place a number whose bits are those of row and column in turn."""
    y, x = np.divmod(np.arange(height * width), width)
    bits = range(max(height, width).bit_length())
    return np.sum([((y >> k & 1) << 2 * k + 1) | ((x >> k & 1) << 2 * k) for k in bits], axis=0)


def _best(
    core: Core, circuit: Circuit, layer: Layer, precision: Precision, at_most: float, tried: list[np.ndarray]
) -> Cut:
    best: Cut | None = None
    for order in tried:
        load = Load(core, circuit, layer, precision, order)
        try:
            best = Cut(load, _cut(load, at_most if best is None else len(best.stretches) - 1))
        except TooMany:
            continue
    if best is None:
        raise TooMany
    return best


def _cut(load: Load, at_most: float) -> tuple[int, ...]:
    """Take as many neurons as fit, again and again; then even the parts out if they fit like that."""
    neurons = load.layer.neurons
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
    """Return the largest number of neurons from `start` on that fit one core, looking near a guess first."""
    left = load.layer.neurons - start
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
        raise TooLarge(load.layer.name, int(load.order[start]), load.exceeded(start, start + 1))
    return fits
