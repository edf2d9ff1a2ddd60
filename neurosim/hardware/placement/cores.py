"""What a core offers, and what a part of a population takes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from neurosim.hardware.placement.circuit import Circuit, Layer
from neurosim.hardware.placement.links import Link
from neurosim.hardware.placement.storage import Storage, in_bits
from neurosim.hardware.targets import Target

Kind = Literal["auto", "dense", "sparse", "shared"]
KINDS: tuple[Kind, ...] = ("auto", "dense", "sparse", "shared")

# The limits of a core, in the words of a report. Memory is in bits.
LIMITS: Mapping[str, str] = MappingProxyType(
    {
        "neurons_per_core": "neurons",
        "synapse_memory_per_core": "synapse memory",
        "memory_per_core": "memory",
        "input_axons_per_core": "input axons",
        "output_axons_per_core": "output axons",
        "synapses_per_core": "synapses",
        "compartment_configurations_per_core": "neuron settings",
        "threshold_configurations_per_core": "threshold settings",
    }
)


@dataclass(frozen=True)
class Precision:
    """How synapses are kept.

    Attributes
    ----------
    weight_bits : int
    tag_bits : int
        For on-chip learning; 0 without.
    delay_bits : int or None
        Of every synapse; None for as many as the longest delay of a link needs.
    kind : str
        One of `KINDS`.
    """

    weight_bits: int
    tag_bits: int
    delay_bits: int | None
    kind: Kind

    def of(self, link: Link) -> int:
        """Return the bits of one synapse of a link, the name of its neuron aside."""
        delay = link.delay.bit_length() if self.delay_bits is None else self.delay_bits
        return self.weight_bits + self.tag_bits + delay


@dataclass(frozen=True, eq=False)
class Use:
    """What a part of a population takes of a core.

    Attributes
    ----------
    amounts : mapping of str to int
        By limit; memory in bits. Limits that the chip does not state are there too.
    kinds : mapping of str to str
        How each link is stored, by its name.
    """

    amounts: Mapping[str, int]
    kinds: Mapping[str, str]


class Core:
    """A core of a chip.

    Attributes
    ----------
    limits : dict of str to int
        What the chip states, by the keys of `LIMITS`; memory in bits.
    storage : Storage
    """

    def __init__(self, target: Target) -> None:
        self.storage = Storage.of(target)
        self.limits = {key: in_bits(target.limits[key]) for key in LIMITS if key in target.limits}

    def exceeded(self, use: Use) -> list[str]:
        """Return the limits that `use` is above."""
        return [key for key, limit in self.limits.items() if use.amounts[key] > limit]


class Load:
    """A population as a load on cores: asks what any stretch of its neurons takes.

    Parameters
    ----------
    core : Core
    circuit : Circuit
    layer : Layer
    precision : Precision
    order : numpy.ndarray [neurons] of int64
        The neurons in the order in which they go to cores.
    """

    def __init__(self, core: Core, circuit: Circuit, layer: Layer, precision: Precision, order: np.ndarray) -> None:
        self.layer, self.order = layer, order
        self._core, self._links, self._precision = core, circuit.into(layer.name), precision
        self._held: dict[tuple[int, int], Use] = {}
        self._targets: np.ndarray | None = None

    def reaches(self, targets: np.ndarray) -> None:
        """Take note of how many cores each neuron sends its spikes to."""
        self._targets = np.concatenate(([0], np.cumsum(targets[self.order])))
        self._held.clear()

    def use(self, start: int, stop: int) -> Use:
        """Return what the neurons ``order[start:stop]`` take."""
        if (start, stop) not in self._held:
            self._held[start, stop] = self._counted(start, stop)
        return self._held[start, stop]

    def exceeded(self, start: int, stop: int) -> list[str]:
        """Return the limits of a core that they are above."""
        return self._core.exceeded(self.use(start, stop))

    def _counted(self, start: int, stop: int) -> Use:
        neurons = self.order[start:stop]
        n, storage = len(neurons), self._core.storage
        bits = axons = synapses = 0
        kinds = {}
        for link in self._links:
            counts = link.reach.onto(neurons)
            axons += int((counts > 0).sum())
            synapses += int(counts.sum())
            kinds[link.name], taken = cheapest(storage, link, neurons, counts, self._precision)
            bits += taken
        memory = bits + n * storage.neuron
        amounts = {
            "neurons_per_core": n,
            "synapse_memory_per_core": bits,
            "memory_per_core": memory,
            "input_axons_per_core": axons,
            "output_axons_per_core": 0 if self._targets is None else int(self._targets[stop] - self._targets[start]),
            "synapses_per_core": synapses,
            "compartment_configurations_per_core": _different(self.layer.decays, neurons),
            "threshold_configurations_per_core": _different(self.layer.thresholds, neurons),
        }
        return Use(MappingProxyType(amounts), MappingProxyType(kinds))


def cheapest(
    storage: Storage, link: Link, neurons: np.ndarray, counts: np.ndarray, precision: Precision
) -> tuple[str, int]:
    """Return how a link is best stored on a core, and in how many bits.

    Dense lists hold a weight for every neuron of the core, sparse ones the existing synapses with the name of their
    neuron; shared ones are sparse and kept once for all input axons that differ in place alone.
    """
    each, index = storage.synapse or precision.of(link), storage.index(len(neurons))
    sparse = each if storage.synapse else each + index
    ways: dict[str, int] = {}
    if precision.kind in ("auto", "dense"):
        ways["dense"] = storage.bits(np.array([len(neurons)]), each) * int((counts > 0).sum())
    if precision.kind in ("auto", "sparse", "shared"):
        ways["sparse"] = storage.bits(counts, sparse)
    if precision.kind in ("auto", "shared") and storage.shared:
        lists = link.reach.shared(neurons)
        if lists is not None:
            ways["shared"] = storage.bits(lists, sparse)
    kind = min(ways, key=ways.__getitem__)
    return kind, ways[kind]


def _different(settings: np.ndarray | None, neurons: np.ndarray) -> int:
    return 1 if settings is None else len(np.unique(settings[neurons]))
