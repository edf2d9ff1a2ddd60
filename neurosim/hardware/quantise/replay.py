"""A population in integers on the spikes that reached it in floating point."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from neurosim.errors import InputError, NothingCompared
from neurosim.hardware.quantise.real import RealEdge
from neurosim.network.graph import Edge, Input
from neurosim.network.network import Network
from neurosim.network.population import Population
from neurosim.synapses import Synapse


def recorded_on(net: Network, x: Tensor | Mapping[str, Tensor], populations: Iterable[str]) -> dict[str, Tensor]:
    """Return data and the outputs of populations in floating point, by node.

    Raises
    ------
    InputError
        When x is empty or not integer.

    Warns
    -----
    NothingCompared
        When a population sends no spike.
    """
    inputs = dict(x) if isinstance(x, Mapping) else dict.fromkeys(net.inputs[:1], x)
    for name, values in inputs.items():
        if not isinstance(values, Tensor):
            continue  # refused by the network
        if not values.numel():
            raise InputError(f"x for {name!r} is empty, {list(values.shape)}; give a step and a sample at least.")
        wrong = values[values != values.double().trunc()]
        if wrong.numel():
            raise InputError(
                f"x for {name!r} must be spikes or integers, as on a chip; got {wrong[0].item()!r}. Encode it as "
                "spikes, or round it."
            )
    was_training = net.training
    net.eval()
    try:
        with torch.no_grad():
            outputs = net.run(inputs, None, list(populations)).recorded
    finally:
        net.train(was_training)
    silent = [name for name in populations if not outputs[name].any()]
    if silent:
        warnings.warn(
            f"scales of {', '.join(silent)} are chosen without evidence: no spike was sent on x. Give data at which "
            "they spike.",
            NothingCompared,
            stacklevel=3,
        )
    return {**inputs, **outputs}


def replayed(
    neurons: Population,
    chains: Sequence[tuple[RealEdge, Sequence[Synapse]]],
    recorded: Mapping[str, Tensor],
    port: str = "",
    record: Sequence[str] = (),
) -> tuple[Tensor, ...]:
    """Return the output of `neurons` on recorded spikes, and state variables [T, B, ...].

    Each edge has the given synapses; loops get their recorded spikes.
    """
    nodes: dict[str, Any] = {}
    into, x = [], {}
    for number, (edge, synapses) in enumerate(chains):
        source = f"from{number}"
        x[source] = recorded[edge.source].double()
        nodes[source] = Input(x[source].shape[2:])
        into.append(Edge(source, "neurons", synapses, edge.delay, edge.name, port))
    nodes["neurons"] = neurons
    with torch.no_grad():
        names = ["neurons", *(f"neurons.{variable}" for variable in record)]
        found = Network(nodes, into).double().run(x, None, names).recorded
    return tuple(found[name] for name in names)


def difference(z: Tensor, expected: Tensor, spikes: bool) -> float:
    """Return the difference of outputs.

    Of spikes: of the neuron-steps with a spike in either, the share that differs. Of membranes: the root mean square of
    the difference over that of `expected`.
    """
    if not spikes:
        return float((z - expected).square().mean().sqrt() / expected.square().mean().sqrt().clamp(min=1e-12))
    differing, either = (z != expected).sum(), ((z + expected) > 0).sum()
    return float(differing / either.clamp(min=1))
