"""Initial weights with which populations fire (fluctuation-driven initialisation)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from neurosim.errors import InputError
from neurosim.network.graph import Connection, Edge, Input
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.synapses import Synapse
from neurosim.synapses.norm import repeating

_ROUNDS, _TOLERANCE = 8, 0.02
_NO_SPIKE = 1e30  # a threshold that no membrane reaches


@dataclass(frozen=True)
class Scaled:
    """What `fluctuation_driven` did for one population.

    Attributes
    ----------
    population : str
    factors : mapping of str to float
        By edge, the factor that its weights and biases were multiplied by.
    rate : float
        Spikes per neuron and step afterwards, 0 to 1.
    """

    population: str
    factors: Mapping[str, float]
    rate: float

    def __str__(self) -> str:
        """Return one line of text."""
        edges = ", ".join(f"{edge} times {factor:.3g}" for edge, factor in self.factors.items())
        return f"{self.population}: {edges}; {self.rate:.4f} spikes per neuron and step"


def fluctuation_driven(
    net: Network,
    x: Tensor | Mapping[str, Tensor],
    *,
    level: float = 1.0,
    recurrent: float = 0.1,
    populations: Iterable[str] | None = None,
) -> list[Scaled]:
    """Scale the weights of a network so that the input drives each population to its threshold.

    The populations are scaled in order. Of each, the weights are multiplied by the factor with which the root mean
    square of the membrane, measured on `x` without spikes and relative to rest, is `level` times the distance from rest
    to threshold. So decay, resistance, threshold, delays, pooling and the rate of the input are all accounted for.

    Parameters
    ----------
    net : Network
        Its weights are changed in place.
    x : Tensor [T, B, ...], or mapping of input name to such
        A batch like those the network will be given.
    level : float
        Root mean square of the membrane in thresholds, above 0: from 1/3 (few spikes) to 1.
    recurrent : float
        Part of the membrane's variance that comes from edges on a cycle, in [0, 1).
    populations : iterable of str, optional
        Those to scale. All that spike, have a membrane ``v`` and a threshold ``v_th``, and are fed at one port, if
        left out; read-outs keep their weights.

    Returns
    -------
    list of Scaled
        In the order of the network.

    Raises
    ------
    InputError
        When a population that is named cannot be scaled, or `x` does not move it.

    Notes
    -----
    The weights keep their distribution: only its width changes. The criterion is that of Rossbroich, Gygax and Zenke,
    "Fluctuation-driven initialization for spiking neural network training", Neuromorph. Comput. Eng. 2 (2022) 044016,
    with the variance measured instead of computed from an assumed rate; their xi is 1 / `level`. A membrane that is not
    linear in its current, and a loop, whose weights change its spikes, are scaled in at most eight rounds and may miss
    their level.
    `Synapse.initial_scale` keeps the factor: `neurosim.parameter_groups` multiplies the learning rate by it, as weights
    that are k times as large need steps k times as large.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> net = ns.Sequential(ns.Linear(64, 256), ns.LIF(dt=1e-3), ns.Linear(256, 10), ns.LIF(dt=1e-3))
    >>> x = (torch.rand(50, 8, 64) < 0.1).float()
    >>> bool(net(x)[0].any())
    False
    >>> [row.population for row in ns.init.fluctuation_driven(net, x)], bool(net(x)[0].any())
    (['lif1', 'lif2'], True)
    """
    if not level > 0:
        raise InputError(f"level={level}: the size of the membrane in thresholds, above 0; 1 by default.")
    if not 0 <= recurrent < 1:
        raise InputError(f"recurrent={recurrent}: the part of the variance from cycles, in [0, 1); 0.1 by default.")
    wanted = None if populations is None else list(populations)
    for name in wanted or ():
        if (reason := obstacle(net, name)) is not None:
            raise InputError(f"population {name!r} cannot be scaled: {reason}. Leave it out of populations.")
    names = [name for name in net.populations() if (wanted is None or name in wanted) and obstacle(net, name) is None]
    with torch.no_grad(), torch.random.fork_rng(devices=[]), repeating():
        return [_scale(net, x, name, level, recurrent, strict=wanted is not None) for name in names]


def obstacle(net: Network, name: str) -> str | None:
    """Return why `fluctuation_driven` cannot scale the weights into a population, or None if it can."""
    population = net.populations().get(name)
    if population is None:
        return f"the network has the populations {list(net.populations())}"
    if not isinstance(population, Neuron) or not population.is_spiking:
        return "it is no population of a core that spikes"
    if "v_th" not in population.declared or "v" not in population.core.state:
        return f"its core {population.core.name} has no membrane v and threshold v_th"
    if population.core.integers_up_to is not None:
        return f"its core {population.core.name} computes in integers"
    edges = _into(net, name)
    if len({edge.port for edge in edges}) > 1:
        return "several of its ports are fed"
    for edge in edges:
        if _scalable(edge) is None:
            return f"no synapse of edge {edge.name!r} has a parameter weight"
    return None


def scaled_synapses(net: Network, name: str) -> Iterator[Synapse]:
    """Yield the synapse of each edge into a population whose weights `fluctuation_driven` scales."""
    for edge in _into(net, name):
        synapse = _scalable(edge)
        if synapse is not None:
            yield synapse


def _into(net: Network, name: str) -> list[Connection]:
    return [edge for edge in net.edges if edge.target == name]


def _scalable(edge: Connection) -> Synapse | None:
    """Return the last synapse of an edge with weights: the output is proportional to them and to its biases."""
    return next(
        (one for one in reversed(edge.synapses) if isinstance(getattr(one, "weight", None), nn.Parameter)), None
    )


def _scale(net: Network, x: Any, name: str, level: float, recurrent: float, *, strict: bool) -> Scaled:
    cycle = next(part.nodes for part in net.components if name in part.nodes)
    loops = [edge for edge in _into(net, name) if edge.source in cycle]
    feeding = [edge for edge in _into(net, name) if edge.source not in cycle]
    if not feeding:  # a population that only others of its cycle feed
        loops, feeding = [], loops
    share = recurrent if loops else 0.0
    factors = _fit_to(net, x, name, feeding, level * (1 - share) ** 0.5, strict)
    if loops:
        factors |= _fit_to(net, x, name, loops, level * share**0.5, False)
    spikes = net.run(x, record=[name]).recorded[name]
    return Scaled(name, factors, float(spikes.mean()))


def _fit_to(net: Network, x: Any, name: str, edges: list[Connection], level: float, strict: bool) -> dict[str, float]:
    """Scale the weights of `edges` until they alone give the membrane of a population its level."""
    factors = dict.fromkeys((edge.name for edge in edges), 1.0)
    # More than one round is needed by a membrane that is not linear in its current, and by loops.
    for _ in range(_ROUNDS):
        present = _membrane(net, x, name, edges)
        if present == 0.0:
            if strict:
                raise InputError(
                    f"x does not move population {name!r}: nothing that feeds it is above 0. Give other x."
                )
            break
        factor = level / present
        if abs(factor - 1) < _TOLERANCE:
            break
        for edge in edges:
            synapse = _scalable(edge)
            assert synapse is not None
            multiply(synapse, factor)
            factors[edge.name] *= factor
    return factors


def multiply(synapse: Synapse, factor: float) -> None:
    """Multiply the weights and biases of a synapse, and note the factor."""
    for parameter in (synapse.weight, getattr(synapse, "bias", None)):
        if isinstance(parameter, nn.Parameter):
            parameter.mul_(factor)
    synapse.initial_scale *= factor


def _membrane(net: Network, x: Any, name: str, edges: list[Connection]) -> float:
    """Return the root mean square of a membrane relative to rest, in thresholds, driven by `edges` without spikes."""
    population = net.populations()[name]
    assert isinstance(population, Neuron)
    values: dict[str, Any] = {parameter: population.value(parameter) for parameter in population.declared}
    silent = Neuron(
        population.core,
        dt=population.dt,
        size=population.size,
        spike=population.spike,
        reset=population.reset,
        detach_reset=population.detach_reset,
        **{**values, "v_th": _NO_SPIKE},
    )
    sources = list(dict.fromkeys(edge.source for edge in edges))
    outputs = dict(net.run(x, record=[one for one in sources if one in net.populations()]).recorded)
    outputs |= {one: _input(net, x, one) for one in sources if one not in outputs}
    nodes = {f"from {one}": Input(net.shape(one)) for one in sources}
    alone = Network(
        {**nodes, name: silent.to(next(iter(outputs.values())))},
        [Edge(f"from {edge.source}", name, edge.synapses, edge.delay, edge.name, edge.port) for edge in edges],
        seed=net.seed,
    )
    record = alone.run({f"from {one}": outputs[one] for one in sources}, record=[f"{name}.v"]).recorded[f"{name}.v"]
    rest = values.get("v_rest", population.core.state["v"])
    distance = torch.as_tensor(values["v_th"]) - torch.as_tensor(rest)
    return float(((record - rest) / distance.to(record)).square().mean().sqrt())


def _input(net: Network, x: Any, name: str) -> Tensor:
    outputs, *_ = net._from_outside(x, None, None, None)
    return outputs[name]
