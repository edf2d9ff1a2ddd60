"""What other programs and chips do not hold: sources, several input ports, values for each trial, start values."""

from __future__ import annotations

from neurosim.errors import InputError
from neurosim.files.problems import Problems
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.network.parameters import CoreParameters

Found = list[tuple[str, str]]
_INSTEAD = "replace it by an Input and give its output as data, which simulate(..., record=[{name!r}]) returns"


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


def start_values(net: Network) -> Found:
    """Return which populations start from values of their own, and what to change."""
    what = "starts from the values of init=, where a neuron there starts from those of its core; leave init out"
    return [
        (f"node {name!r}", what)
        for name, node in net.populations().items()
        if isinstance(node, Neuron) and node.init is not None
    ]


def sources(net: Network) -> Found:
    """Return which nodes make their own input, and what to use instead."""
    return [(f"node {name!r}", "makes its own input; " + _INSTEAD.format(name=name)) for name in net.sources]


def refuse_sources(net: Network, what: str) -> None:
    """Raise an error if a network has sources, for what takes data alone.

    Raises
    ------
    InputError
        With the node, and what to use instead.
    """
    for where, found in sources(net):
        raise InputError(f"{what}: {where} {found}.")


def refuse_start_values(net: Network, what: str) -> None:
    """Raise an error if populations start from values of their own, for what starts from those of the core.

    Raises
    ------
    InputError
        With the node.
    """
    for where, found in start_values(net):
        raise InputError(f"{what}: {where} {found}.")


def refuse_unportable(net: Network, problems: Problems) -> None:
    """Raise the error of `problems` for all that targets do not hold.

    Targets get their input as data; a neuron there has one input and one set of values, and starts from those of its
    core.

    Raises
    ------
    ExportError
        With node, ports or parameter, and what to change.
    """
    for where, what in (*sources(net), *several_ports(net), *values_per_trial(net), *start_values(net)):
        problems.add(where, what)
    problems.raise_if_any()
