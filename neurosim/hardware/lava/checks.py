"""What Lava can and cannot hold of a network, by node and edge."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from neurosim import cores
from neurosim.files.problems import Problems
from neurosim.hardware.lava.edges import Projection, refusal
from neurosim.hardware.lava.latency import Cycle, Hop, latencies
from neurosim.hardware.lava.populations import KNOWN, PROCESSES, READ_OUT, number
from neurosim.network.graph import Connection
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.network.population import Population
from neurosim.quantities import value_range
from neurosim.synapses.lowering import Convolution, Dense, Reshape, Scaling, SparseRows
from neurosim.synapses.synapse import lowered_chain

SUMMARY = "Lava cannot hold this network"

_LEVELS = (
    ("v_reset", lambda value, core: value != 0, "Lava's neurons reset to 0; use v_reset=0.0"),
    (
        "v_th",
        lambda value, core: value < 0 if core is not cores.resonate_and_fire_izhikevich else value <= 0,
        "below 0 it would fire on Lava before the data arrive; use a threshold from 0",
    ),
    ("v_low", lambda value, core: value > 0, "above 0 it would fire on Lava before the data arrive; use one up to 0"),
)


def check_population(name: str, neuron: Population, problems: Problems) -> None:
    """Add what no floating-point process of Lava holds of a population."""
    where = f"node {name!r}"
    if not isinstance(neuron, Neuron):
        kind = type(neuron).__name__
        problems.add(where, f"is a {kind}, for which Lava has no process; use {KNOWN} and train again")
        return
    if type(neuron) is not Neuron:
        problems.add(
            where, f"is a {type(neuron).__name__}, whose step may differ from its core's; use ns.LIF and the like"
        )
    if neuron.core not in PROCESSES:
        problems.add(where, f"its core is {neuron.core.name!r}, for which Lava has no process; use {KNOWN}")
        return
    if "reset" in neuron.core.wants and neuron.reset != "value":
        amount = value_range(number(neuron.value("reset_amount"))) if neuron.takes_own_amount else ""
        own = f" with reset_amount={amount}" if amount else ""
        problems.add(where, f'reset={neuron.reset!r}{own}; Lava has only the reset to a value; use reset="value"')
    for field_name, wrong, why in _LEVELS:
        if field_name in neuron.core.parameters:
            value = number(neuron.value(field_name))
            if np.any(wrong(value, neuron.core)):
                problems.add(where, f"{field_name}={value_range(value)}; {why}")
    process = PROCESSES[neuron.core]
    for argument, parameter in process.single:
        values = process.arguments(neuron)[argument]
        if np.any(values != values.flat[0]):
            shown = value_range(number(neuron.value(parameter)))
            problems.add(
                where, f"{parameter}={shown}; {process.process} has one for a population: give all its neurons the same"
            )


def check_edge(net: Network, edge: Connection, problems: Problems) -> bool:
    """Add what Lava cannot hold of an edge; return whether its synapses can be composed."""
    where = f"edge {edge.name!r}"
    source = net.nodes[edge.source]
    if isinstance(source, Neuron) and source.core in READ_OUT:
        problems.add(
            where, f"sends the membrane of {edge.source!r}; on Lava a membrane is only read out: use LIF there"
        )
    good, delayed, others = True, [], []
    for synapse, value in zip(edge.synapses, lowered_chain(edge.synapses, net.shape(edge.source)), strict=True):
        kind, why = type(synapse).__name__, refusal(value)
        if why is not None:
            problems.add(where, f"holds {kind}, {why}")
            good = False
            continue
        others += [] if isinstance(value, Reshape) else [kind]
        if isinstance(value, (Dense, SparseRows)) and value.delay is not None:
            delayed.append(kind)
        if isinstance(value, (Dense, SparseRows, Convolution, Scaling)):
            for name, values in (("weight", value.weight), ("bias", value.bias)):
                if values is not None and not torch.isfinite(values).all():
                    problems.add(where, f"{kind}.{name} holds NaN or infinity; train again or load another state")
    if delayed and len(others) > 1:
        problems.add(
            where,
            f"holds {delayed[0]} beside other synapses ({', '.join(others)}); together they have no single delay for "
            "each connection: give them edges of their own, or see RoundedDelays.by_delay",
        )
        good = False
    return good


def check_connected(net: Network, problems: Problems) -> None:
    """Add it where a network consists of parts without an edge between them."""
    group = {name: name for name in (*net.inputs, *net.populations())}
    for edge in net.edges:
        one, other = group[edge.source], group[edge.target]
        group = {name: one if member == other else member for name, member in group.items()}
    parts = sorted({tuple(n for n in net.populations() if group[n] == member) for member in group.values()} - {()})
    if len(parts) > 1:
        shown = " and ".join(str(list(part)) for part in parts)
        problems.add("network", f"has parts that share no edge: {shown}; export each as a network of its own")


def hop_of(projection: Projection) -> Hop:
    """Return the times of an edge."""
    edge = projection.edge
    return Hop(edge.name, edge.source, edge.target, projection.shortest)


def find_latency(net: Network, projections: Sequence[Projection], problems: Problems) -> dict[str, int]:
    """Return the Lava step at which data arrive, for each node; nothing where a cycle is too fast."""
    try:
        return latencies(net.inputs, list(net.populations()), [hop_of(projection) for projection in projections])
    except Cycle as cycle:
        path = " -> ".join([cycle.hops[0].source, *(hop.target for hop in cycle.hops)])
        steps, needed = sum(hop.delay for hop in cycle.hops), len(cycle.hops)
        problems.add(
            f"cycle {path}",
            f"its delays are {steps} step(s) in all, but its {needed} connections take {needed} steps on Lava; give "
            f"its edges delays of at least {needed} steps ({needed * net.dt:g} s) in all",
        )
        return {}
