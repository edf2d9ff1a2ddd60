"""What a network asks of a chip: populations, their settings, and the links between them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from neurosim.hardware.placement.links import Link, reach_of
from neurosim.network.folding import fold
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.synapses import MaxPool2d

_DECAY = 4096  # steps of a decay on Loihi; settings that fall on the same one are one group


@dataclass(frozen=True, eq=False)
class Layer:
    """A population as a placement sees it.

    Attributes
    ----------
    name : str
    shape : tuple of int
    decays, thresholds : numpy.ndarray [neurons] of int64, or None
        A number for each neuron, equal where neurons can share a configuration; None where all share one.
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
class Circuit:
    """Everything that is to be placed.

    Attributes
    ----------
    inputs : dict of str to int
        Sources outside the chip, with their sizes: they take input axons and no core.
    layers : tuple of Layer
        In order of computation.
    links : tuple of Link
    unheld : tuple of str
        What no chip holds as synapses, a sentence each, with what to do.
    """

    inputs: dict[str, int]
    layers: tuple[Layer, ...]
    links: tuple[Link, ...]
    unheld: tuple[str, ...] = ()

    def into(self, layer: str) -> tuple[Link, ...]:
        """Return the links into a population."""
        return tuple(link for link in self.links if link.target == layer)

    def out_of(self, layer: str) -> tuple[Link, ...]:
        """Return the links out of a population."""
        return tuple(link for link in self.links if link.source == layer)

    @classmethod
    def of(cls, net: Network) -> Circuit:
        """Read a network; batch normalisation belongs to the weights before it."""
        net = fold(net)
        layers = tuple(
            Layer(name, net.shape(name), *_settings(node, net.shape(name)) if isinstance(node, Neuron) else ())
            for name, node in net.populations().items()
        )
        links, unheld = [], []
        for edge in net.edges:
            # A loop of one step is the step that every connection takes on a chip.
            delay = edge.delay_steps + edge.memory - (edge.source == edge.target)
            links.append(
                Link(edge.name, edge.source, edge.target, reach_of(edge.synapses, net.shape(edge.source)), delay)
            )
            if any(isinstance(one, MaxPool2d) for one in edge.synapses):
                unheld.append(
                    f"{edge.name}: MaxPool2d is an or over windows, which synapses cannot form; pool by SumPool2d "
                    "or a stride. It is counted as a sum."
                )
        return cls({name: math.prod(net.shape(name)) for name in net.inputs}, layers, tuple(links), tuple(unheld))


def _settings(node: Neuron, shape: tuple[int, ...]) -> tuple[np.ndarray | None, np.ndarray | None]:
    def spread(value: object) -> np.ndarray | None:
        if not isinstance(value, torch.Tensor):
            return None
        return np.broadcast_to(value.detach().double().cpu().numpy(), shape).ravel()

    # Time constants as the decays they give, Loihi's own decays as they are.
    shares = {name: node.decay(name) for name in node.core.parameters if name.startswith("tau_")}
    steps = [spread(share) for share in shares.values()]
    steps = [None if share is None else np.round((1 - share) * _DECAY) for share in steps]
    steps += [spread(node.value(name)) for name in ("du", "dv") if name in node.core.parameters]
    differing = [values for values in steps if values is not None]
    decays = np.unique(np.stack(differing, 1), axis=0, return_inverse=True)[1].ravel() if differing else None
    threshold = spread(node.value("v_th")) if "v_th" in node.core.parameters else None
    return decays, None if threshold is None else np.unique(threshold, return_inverse=True)[1].ravel()
