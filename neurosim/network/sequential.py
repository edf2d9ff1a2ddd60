"""Networks whose populations form one chain."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

from neurosim.errors import NetworkError
from neurosim.network.graph import Edge, Input
from neurosim.network.network import Network
from neurosim.network.population import Population
from neurosim.network.torch_parts import as_synapse
from neurosim.synapses import Synapse


@dataclasses.dataclass(frozen=True, eq=False)
class Recurrent:
    """Neurons with synapses among themselves, for use in `Sequential`.

    Parameters
    ----------
    neuron : Population
        The neurons.
    synapse : Synapse
        From the population to itself.
    delay : float, optional
        In s; one step if left out.
    """

    neuron: Population
    synapse: Synapse
    delay: float | None = None


Part = Input | Synapse | Population | Recurrent | nn.Module


def Sequential(*parts: Part, names: Sequence[str] | None = None, dt: float | None = None) -> Network:
    """Build a network whose populations form a chain.

    Parameters
    ----------
    *parts : Input, Synapse, Population, Recurrent, module of torch.nn, or a chain of these
        In order. Synapses between two populations are applied one after the other. The first part may be an
        `Input`; it is needed unless the first synapse has an attribute `n_in`, as `Linear` and `Sparse` do.
        `nn.Linear`, `nn.Conv1d`, `nn.Conv2d`, `nn.Flatten`, `nn.Identity`, `nn.BatchNorm1d`, `nn.BatchNorm2d`,
        `nn.AvgPool2d` and `nn.MaxPool2d` become synapses that compute the same at every step, with their parameters;
        other modules are refused with what to use instead. An `nn.Sequential`, and a network that is a chain, stand for
        their parts.
    names : sequence of str, optional
        One for each population of neurons; the core's name and a number if left out.
    dt : float, optional
        Length of a step, s, for parts that were made without; see `Network`.

    Returns
    -------
    Network
        With nodes ``"input"`` and `names`. ``net[0]`` is its first part, ``net["lif1"]`` the node of a name.

    Examples
    --------
    >>> import neurosim as ns
    >>> net = ns.Sequential(ns.Linear(64, 32), ns.LIF(), ns.Linear(32, 10), ns.LIF(), dt=1e-3)
    >>> list(net.nodes), [edge.name for edge in net.edges]
    (['input', 'lif1', 'lif2'], ['input->lif1', 'lif1->lif2'])
    """
    rest = _flat(parts)
    if rest and isinstance(rest[0], Input):
        nodes: dict[str, Input | Population] = {"input": rest.pop(0)}
    elif rest and isinstance(rest[0], Synapse) and isinstance(n_in := getattr(rest[0], "n_in", None), int):
        nodes = {"input": Input(n_in)}
    else:
        first = type(rest[0]).__name__ if rest else "nothing"
        raise NetworkError(
            f"Sequential must start with Input(shape) or a synapse with n_in; got {first}. Put Input((C, H, W)) first."
        )
    edges: list[Edge] = []
    between: list[Synapse] = []
    before = "input"
    given = list(names) if names is not None else None
    populations = sum(isinstance(p, (Population, Recurrent)) for p in rest)
    if given is not None and len(given) != populations:
        raise NetworkError(f"names must give one name for each of the {populations} populations; got {given}.")
    for part in rest:
        if isinstance(part, Synapse):
            between.append(part)
            continue
        neuron = part.neuron if isinstance(part, Recurrent) else part
        if not isinstance(neuron, Population):
            raise NetworkError(f"Recurrent needs neurons such as ns.LIF(dt=1e-3); got {type(neuron).__name__}.")
        if not between:
            raise NetworkError(f"no synapse before {neuron.kind}; put Linear, Conv2d, ... between populations.")
        name = given.pop(0) if given is not None else f"{neuron.kind}{len(nodes)}"
        if name in nodes:
            raise NetworkError(f"names must differ; {name!r} is used twice.")
        nodes[name] = neuron
        edges.append(Edge(before, name, tuple(between)))
        if isinstance(part, Recurrent):
            edges.append(Edge(name, name, part.synapse, part.delay))
        between, before = [], name
    if between:
        kinds = ", ".join(type(s).__name__ for s in between)
        raise NetworkError(f"Sequential must end with neurons; {kinds} is last. Add LI(dt=...) to read out currents.")
    return Network(nodes, edges, dt=dt)


def _flat(parts: Iterable[Any], place: str = "part ") -> list[Any]:
    """Return parts without nesting, with synapses for modules of torch.nn."""
    found: list[Any] = []
    for number, part in enumerate(parts):
        here = f"{place}{number}"
        if type(part) is nn.Sequential:
            found += _flat(part, f"{here}.")
        elif isinstance(part, Network):
            found += _chain(part, here, is_first=not found)
        elif isinstance(part, (Input, Synapse, Population, Recurrent)):
            found.append(part)
        elif isinstance(part, nn.Module):
            found.append(as_synapse(part, here))
        else:
            example = "such as ns.Linear(64, 10) or ns.LIF(dt=1e-3)"
            got = f"the class {part.__name__}" if inspect.isclass(part) else type(part).__name__
            raise NetworkError(f"{here} must be a synapse or neurons, {example}; got {got}.")
    return found


def _chain(net: Network, place: str, *, is_first: bool) -> list[Any]:
    """Return the parts of a network that is a chain; its Input only at the start."""
    found: list[Any] = [net.nodes[net.inputs[0]]] if is_first and net.inputs else []
    before, populations = net.inputs[0] if len(net.inputs) == 1 else "", net.populations()
    edges = list(net.edges)
    for name, neuron in populations.items():
        into = [edge for edge in edges if edge.target == name]
        forward = [edge for edge in into if edge.source == before]
        loops = [edge for edge in into if edge.source == name]
        plain = len(forward) == 1 and len(loops) <= 1 and len(into) == len(forward) + len(loops)
        if not plain or forward[0].delay_steps or any(len(loop.synapses) > 1 for loop in loops):
            raise NetworkError(f"{place} is a network that is no chain of populations; join its nodes with ns.Network.")
        found += forward[0].synapses
        found += [Recurrent(neuron, loops[0].synapses[0], loops[0].delay) if loops else neuron]
        before = name
    if net.sources or before != net.output:
        raise NetworkError(f"{place} is a network that is no chain of populations; join its nodes with ns.Network.")
    return found
