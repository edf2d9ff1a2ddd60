"""The limits of a core, and the resources that a part of a population uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from neurosim.hardware.placement.keys import LIMITS
from neurosim.hardware.placement.links import Link
from neurosim.hardware.placement.storage import Storage, in_bits
from neurosim.hardware.placement.workload import NeuronGroup, Workload
from neurosim.hardware.targets import Target

Kind = Literal["auto", "dense", "sparse", "shared"]
KINDS: tuple[Kind, ...] = ("auto", "dense", "sparse", "shared")


@dataclass(frozen=True)
class SynapseFormat:
    """How synapses are stored.

    Attributes
    ----------
    weight_bits : int
    tag_bits : int
        For on-chip learning; 0 without.
    delay_bits : int or None
        Of every synapse; None for the bits of the longest delay of its link.
    kind : str
        One of `KINDS`.
    """

    weight_bits: int
    tag_bits: int
    delay_bits: int | None
    kind: Kind

    def of(self, link: Link) -> int:
        """Return the bits of one synapse of a link, without the index of its neuron."""
        delay = link.delay.bit_length() if self.delay_bits is None else self.delay_bits
        return self.weight_bits + self.tag_bits + delay


@dataclass(frozen=True, eq=False)
class Use:
    """Resources of a core that a part of a population uses.

    Attributes
    ----------
    amounts : mapping of str to int
        By limit; memory in bits. Limits that the chip does not state are included.
    kinds : mapping of str to str
        How each link is stored, by its name.
    """

    amounts: Mapping[str, int]
    kinds: Mapping[str, str]


class CoreLimits:
    """The limits of a core of a chip.

    Attributes
    ----------
    limits : dict of str to int
        Those that the chip states, by the keys of `LIMITS`; memory in bits.
    storage : Storage
    """

    def __init__(self, target: Target) -> None:
        self.storage = Storage.of(target)
        self.limits = {key: in_bits(target.limits[key]) for key in LIMITS if key in target.limits}

    def exceeded(self, use: Use) -> list[str]:
        """Return the limits that `use` exceeds."""
        return [key for key, limit in self.limits.items() if use.amounts[key] > limit]


class Load:
    """A population as a load on cores: the resources of any range of its neurons.

    Parameters
    ----------
    core : CoreLimits
    workload : Workload
    group : NeuronGroup
    synapse_format : SynapseFormat
    order : numpy.ndarray [neurons] of int64
        The neurons in the order in which they are assigned to cores.
    """

    def __init__(
        self, core: CoreLimits, workload: Workload, group: NeuronGroup, synapse_format: SynapseFormat, order: np.ndarray
    ) -> None:
        self.group, self.order = group, order
        self._core, self._links, self._format = core, workload.into(group.name), synapse_format
        self._used: dict[tuple[int, int], Use] = {}
        self._targets: np.ndarray | None = None

    def reaches(self, targets: np.ndarray) -> None:
        """Set the number of cores that each neuron sends its spikes to."""
        self._targets = np.concatenate(([0], np.cumsum(targets[self.order])))
        self._used.clear()

    def use(self, start: int, stop: int) -> Use:
        """Return the resources of the neurons ``order[start:stop]``."""
        if (start, stop) not in self._used:
            self._used[start, stop] = self._counted(start, stop)
        return self._used[start, stop]

    def exceeded(self, start: int, stop: int) -> list[str]:
        """Return the limits of a core that they exceed."""
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
            kinds[link.name], taken = cheapest(storage, link, neurons, counts, self._format)
            bits += taken
        memory = bits + n * storage.neuron
        amounts = {
            "neurons_per_core": n,
            "synapse_memory_per_core": bits,
            "memory_per_core": memory,
            "input_axons_per_core": axons,
            "output_axons_per_core": 0 if self._targets is None else int(self._targets[stop] - self._targets[start]),
            "synapses_per_core": synapses,
            "compartment_configurations_per_core": _different(self.group.decays, neurons),
            "threshold_configurations_per_core": _different(self.group.thresholds, neurons),
        }
        return Use(MappingProxyType(amounts), MappingProxyType(kinds))


def cheapest(
    storage: Storage, link: Link, neurons: np.ndarray, counts: np.ndarray, synapse_format: SynapseFormat
) -> tuple[str, int]:
    """Return the storage of a link on a core that needs the fewest bits, and the bits.

    Dense lists hold a weight for every neuron of the core, sparse ones the existing synapses with the index of their
    neuron; shared ones are sparse and stored once for all input axons that differ only in place.
    """
    each, index = storage.synapse or synapse_format.of(link), storage.index(len(neurons))
    sparse = each if storage.synapse else each + index
    options: dict[str, int] = {}
    if synapse_format.kind in ("auto", "dense"):
        options["dense"] = storage.bits(np.array([len(neurons)]), each) * int((counts > 0).sum())
    if synapse_format.kind in ("auto", "sparse", "shared"):
        options["sparse"] = storage.bits(counts, sparse)
    if synapse_format.kind in ("auto", "shared") and storage.shared:
        lists = link.reach.shared(neurons)
        if lists is not None:
            options["shared"] = storage.bits(lists, sparse)
    kind = min(options, key=options.__getitem__)
    return kind, options[kind]


def _different(settings: np.ndarray | None, neurons: np.ndarray) -> int:
    return 1 if settings is None else len(np.unique(settings[neurons]))
