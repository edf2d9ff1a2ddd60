"""The steps that connections take on a chip, as delays in the simulator."""

from __future__ import annotations

import copy

from neurosim.network.graph import Connection, Edge
from neurosim.network.network import Network
from neurosim.synapses import Identity


def connection_steps(net: Network) -> Network:
    """Return the network with one step of delay for each connection, as on a chip.

    On a chip a spike reaches the next population one step later, and in the simulator in the same step. A population at
    depth k therefore runs k steps behind the data, but its bias acts from the first step on. With these delays the
    simulator computes the spikes of the chip at the steps of the chip.

    Parameters
    ----------
    net : Network
        It is not changed.

    Returns
    -------
    Network
        Of copies, with the same names. Each edge has one step more of delay, except a loop from a population to itself,
        whose delay contains that step, and an `Identity` behind an input: it joins the input layer of a ``.net`` file
        to neurons of that layer.

    Examples
    --------
    >>> import neurosim as ns
    >>> from neurosim.hardware.loihi import loihi_neurons
    >>> from neurosim.hardware.netx import connection_steps
    >>> net = ns.Sequential(ns.Linear(4, 2), loihi_neurons(dt=1e-3, bias_mant=64), names=["out"])
    >>> [edge.delay_steps for edge in connection_steps(net).edges]
    [1]
    """
    edges = [
        Edge(
            edge.source,
            edge.target,
            [copy.deepcopy(synapse) for synapse in edge.synapses],
            (edge.delay_steps + takes_step(net, edge)) * net.dt,
            edge.name,
            edge.port,
        )
        for edge in net.edges
    ]
    nodes = {name: copy.deepcopy(node) for name, node in net.nodes.items()}
    return Network(nodes, edges, output=net.output, seed=net.seed).train(net.training)  # type: ignore[arg-type]


def takes_step(net: Network, edge: Connection) -> bool:
    """Return whether the connection of an edge takes a step that its delay does not contain."""
    is_input_layer = edge.source in net.inputs and all(type(synapse) is Identity for synapse in edge.synapses)
    return edge.source != edge.target and not is_input_layer
