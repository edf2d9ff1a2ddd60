"""Networks whose populations form one chain."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from neurosim.errors import NetworkError
from neurosim.network.graph import Edge, Input
from neurosim.network.network import Network
from neurosim.network.population import Population
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


def Sequential(*parts: Input | Synapse | Population | Recurrent, names: Sequence[str] | None = None) -> Network:
    """Build a network whose populations form a chain.

    Parameters
    ----------
    *parts : Input, Synapse, Population or Recurrent
        In order. Synapses between two populations are applied one after the other. The first part may be an
        `Input`; it is needed unless the first synapse has an attribute `n_in`, as `Linear` and `Sparse` do.
    names : sequence of str, optional
        One for each population of neurons; the core's name and a number if left out.

    Returns
    -------
    Network
        With nodes ``"input"`` and `names`.

    Examples
    --------
    >>> import neurosim as ns
    >>> net = ns.Sequential(ns.Linear(64, 32), ns.LIF(dt=1e-3), ns.Linear(32, 10), ns.LIF(dt=1e-3))
    >>> list(net.nodes), [edge.name for edge in net.edges]
    (['input', 'lif1', 'lif2'], ['input->lif1', 'lif1->lif2'])
    """
    rest = list(parts)
    if rest and isinstance(rest[0], Input):
        nodes: dict[str, Input | Population] = {"input": rest.pop(0)}  # type: ignore[dict-item]
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
            raise NetworkError(f"Sequential takes Input, synapses, neurons and Recurrent; got {type(part).__name__}.")
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
    return Network(nodes, edges)
