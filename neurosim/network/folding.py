"""Networks for deployment: normalisation absorbed into the weights before it."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from torch import nn

from neurosim.errors import ExportError
from neurosim.network.graph import Edge
from neurosim.network.network import Network
from neurosim.synapses import BatchNorm, Conv1d, Conv2d, Linear, Standardised, Synapse


def fold(net: Network) -> Network:
    r"""Return the same network in plain weights and biases, as it acts in evaluation.

    Batch normalisation right behind weights becomes part of them,

    .. math:: W' = \frac{\gamma}{\sqrt{\sigma^2 + \epsilon}} W, \quad
              b' = \frac{\gamma}{\sqrt{\sigma^2 + \epsilon}} (b - \mu) + \beta

    with the running statistics, and standardised weights stay as they stand. Both are worked out in double precision
    and are exact but for rounding. The network given stays as it was.

    Parameters
    ----------
    net : Network

    Returns
    -------
    Network
        Of copies, with the same names.

    Raises
    ------
    ExportError
        When batch normalisation does not stand right behind Linear, Conv1d or Conv2d: names the edge.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> from neurosim.network import fold
    >>> from neurosim.synapses import BatchNorm
    >>> net = ns.Sequential(ns.Linear(6, 4), BatchNorm(4), ns.LIF(dt=1e-3)).eval()
    >>> plain = fold(net)
    >>> plain.edges[0].synapses
    (Linear(6, 4, bias=True),)
    >>> x = torch.rand(20, 3, 6)
    >>> torch.equal(plain(x)[0], net(x)[0])
    True
    """
    nodes = {name: copy.deepcopy(node) for name, node in net.nodes.items()}
    edges = []
    for edge in net.edges:
        synapses = _folded(edge.name, edge.synapses)
        edges.append(Edge(edge.source, edge.target, synapses, edge.delay if edge.delay_steps else None, edge.name))
    return Network(nodes, edges, output=net.output).train(net.training)  # type: ignore[arg-type]


def _folded(name: str, synapses: Sequence[Synapse]) -> list[Synapse]:
    found: list[Synapse] = []
    for synapse in synapses:
        if isinstance(synapse, Standardised):
            plain = copy.deepcopy(synapse.synapse)
            plain.weight = nn.Parameter(copy.deepcopy(synapse).double().effective().detach().to(plain.weight))
            found.append(plain)
        elif isinstance(synapse, BatchNorm):
            if not found or type(found[-1]) not in (Linear, Conv1d, Conv2d):
                before = type(found[-1]).__name__ if found else "the spikes"
                raise ExportError(
                    f"edge {name!r}: BatchNorm stands behind {before} and can be folded into Linear, Conv1d or Conv2d "
                    "alone. Put it right behind the weights, before any pooling, and train again."
                )
            _absorb(found[-1], synapse)  # type: ignore[arg-type]
        else:
            found.append(copy.deepcopy(synapse))
    return found


def _absorb(weights: Linear | Conv1d | Conv2d, norm: BatchNorm) -> None:
    scale, shift = norm.factors()
    kernel = weights.weight.detach().double()
    if weights.bias is not None:
        shift = shift + scale * weights.bias.detach().double()
    like = weights.weight
    weights.weight = nn.Parameter((kernel * scale.view(-1, *[1] * (kernel.dim() - 1))).to(like))
    weights.bias = nn.Parameter(shift.to(like))
