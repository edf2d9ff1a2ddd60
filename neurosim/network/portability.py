"""What other programs and chips do not hold of a network: several inputs of a neuron, values for each trial."""

from __future__ import annotations

from neurosim.files.problems import Problems
from neurosim.network.network import Network
from neurosim.network.parameters import CoreParameters

Found = list[tuple[str, str]]


def values_per_trial(net: Network) -> Found:
    """Return where parameters have a value for each trial of a batch, and what to change."""
    found = []
    for name, node in net.populations().items():
        if not isinstance(node, CoreParameters):
            continue
        for parameter in node.per_trial_parameters(net.shape(name)):
            shape = node.tensor(parameter).shape
            what = f"{parameter} of shape {list(shape)} has a value for each trial of a batch"
            found.append((f"node {name!r}", f"{what}; make the layer with the values of one trial"))
    return found


def several_ports(net: Network) -> Found:
    """Return which populations have several input ports, and what to change."""
    found = []
    for name, node in net.populations().items():
        if len(node.ports) > 1:
            what = f"its core {node.kind!r} has the input ports {list(node.ports)}, a neuron there has one input"
            found.append((f"node {name!r}", f"{what}; use a neuron driven by one current, such as CubaLIF"))
    return found


def refuse_unportable(net: Network, problems: Problems) -> None:
    """Raise the error of `problems` if the target holds one input and one set of values for a neuron, the network more.

    Raises
    ------
    ExportError
        With node, ports or parameter, and what to change.
    """
    for where, what in (*several_ports(net), *values_per_trial(net)):
        problems.add(where, what)
    problems.raise_if_any()
