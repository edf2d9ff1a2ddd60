"""What a network needs of a chip: populations, their settings, and the links between them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from neurosim.files.problems import Problems
from neurosim.hardware.placement.links import Link, reach_of
from neurosim.network.folding import fold
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.network.portability import values_per_trial
from neurosim.synapses.lowering import Pooling
from neurosim.synapses.synapse import lowered_chain

_DECAY = 4096  # values of a decay on Loihi; settings with the same one are one group


@dataclass(frozen=True, eq=False)
class NeuronGroup:
    """A population to be placed.

    Attributes
    ----------
    name : str
    shape : tuple of int
    decays, thresholds : numpy.ndarray [neurons] of int64, or None
        A number for each neuron, equal for neurons that can share a configuration; None where all share one.
    """

    name: str
    shape: tuple[int, ...]
    decays: np.ndarray | None = None
    thresholds: np.ndarray | None = None

    @property
    def neurons(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)


@dataclass(frozen=True, eq=False)
class Workload:
    """Everything to be placed.

    Attributes
    ----------
    inputs : dict of str to int
        Sources outside the chip, with their sizes: they take input axons and no core.
    groups : tuple of NeuronGroup
        In order of computation.
    links : tuple of Link
    unheld : tuple of str
        Synapses that no chip holds, a sentence each, with the remedy.
    """

    inputs: dict[str, int]
    groups: tuple[NeuronGroup, ...]
    links: tuple[Link, ...]
    unheld: tuple[str, ...] = ()

    def into(self, group: str) -> tuple[Link, ...]:
        """Return the links into a population."""
        return tuple(link for link in self.links if link.target == group)

    def out_of(self, group: str) -> tuple[Link, ...]:
        """Return the links out of a population."""
        return tuple(link for link in self.links if link.source == group)

    @classmethod
    def of(cls, net: Network) -> Workload:
        """Return the workload of a network; normalisation is folded into the weights before it."""
        problems = Problems("a chip holds one network, not the trials of a batch")
        for where, what in values_per_trial(net):
            problems.add(where, what)
        problems.raise_if_any()
        net = fold(net)
        groups = tuple(
            NeuronGroup(name, net.shape(name), *_settings(node, net.shape(name)) if isinstance(node, Neuron) else ())
            for name, node in net.populations().items()
        )
        links, unheld = [], []
        # Every connection takes a step on a chip. That is the step of a loop, and of any edge if each one has it.
        have_step = all(edge.min_delay for edge in net.edges)
        for edge in net.edges:
            delay = edge.reach - (have_step or edge.source == edge.target)
            shape = net.shape(edge.source)
            links.append(Link(edge.name, edge.source, edge.target, reach_of(edge.synapses, shape), delay))
            if any(isinstance(v, Pooling) and v.kind == "max" for v in lowered_chain(edge.synapses, shape)):
                unheld.append(
                    f"{edge.name}: MaxPool2d is an or over windows, which synapses cannot compute; pool by SumPool2d "
                    "or a stride. It is counted as a sum."
                )
        outside = {name: math.prod(net.shape(name)) for name in (*net.inputs, *net.sources)}
        return cls(outside, groups, tuple(links), tuple(unheld))


def _settings(node: Neuron, shape: tuple[int, ...]) -> tuple[np.ndarray | None, np.ndarray | None]:
    def spread(value: object) -> np.ndarray | None:
        if not isinstance(value, torch.Tensor):
            return None
        return np.broadcast_to(value.detach().double().cpu().numpy(), shape).ravel()

    # Time constants as decays, Loihi's own decays unchanged.
    shares = {name: node.decay(name) for name in node.core.parameters if name.startswith("tau_")}
    steps = [spread(share) for share in shares.values()]
    steps = [None if share is None else np.round((1 - share) * _DECAY) for share in steps]
    steps += [spread(node.value(name)) for name in ("du", "dv") if name in node.core.parameters]
    differing = [values for values in steps if values is not None]
    decays = np.unique(np.stack(differing, 1), axis=0, return_inverse=True)[1].ravel() if differing else None
    threshold = spread(node.value("v_th")) if "v_th" in node.core.parameters else None
    return decays, None if threshold is None else np.unique(threshold, return_inverse=True)[1].ravel()
