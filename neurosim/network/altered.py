"""A network with other nodes in the place of some, which shares all else with the one it comes from."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from torch import nn

from neurosim.errors import NetworkError
from neurosim.network.network import Network
from neurosim.network.parts import Parts


def altered(net: Network, nodes: Mapping[str, nn.Module]) -> Network:
    """Return a network with other populations or sources of the same shapes and ports.

    Synapses, and the nodes that are not named, are those of `net` itself.

    Parameters
    ----------
    net : Network
    nodes : mapping of str to Population or Source
        Made with the dt of the network or without one.

    Raises
    ------
    NetworkError
        For a name that the network has not, or a node that does not fit in its place.
    """
    unknown = [name for name in nodes if name not in net.nodes]
    if unknown:
        raise NetworkError(f"no node {unknown[0]!r}; this network has {list(net.nodes)}.")
    other = copy.copy(net)
    object.__setattr__(other, "_modules", dict(net._modules))
    populations = {name: node for name, node in nodes.items() if name in net.populations()}
    parts = Parts({name: node if name in populations else nodes.get(name, node) for name, node in net.nodes.items()})
    parts.shapes = net.nodes.shapes
    for name, node in populations.items():
        parts[name] = node
    other.nodes = parts
    for name, node in nodes.items():
        if name in net.sources:
            node.check(net.dt)  # type: ignore[operator]
    return other
