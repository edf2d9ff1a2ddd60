"""Networks for deployment: normalisation becomes part of the weights before it."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch

from neurosim.errors import ExportError, InputError
from neurosim.network.graph import Edge
from neurosim.network.network import Network
from neurosim.synapses import Synapse
from neurosim.synapses.building import synapses_of
from neurosim.synapses.lowering import Convolution, Dense, Lowered, Opaque, Scaling, SparseRows, Weighted


def fold(net: Network) -> Network:
    r"""Return the same network in plain weights and biases, as it computes in evaluation.

    Batch normalisation right behind weights becomes part of them,

    .. math:: W' = \frac{\gamma}{\sqrt{\sigma^2 + \epsilon}} W, \quad
              b' = \frac{\gamma}{\sqrt{\sigma^2 + \epsilon}} (b - \mu) + \beta

    with the running statistics, and standardised weights become plain ones. Both are computed in double precision and
    rounded once.

    Parameters
    ----------
    net : Network
        It is not changed.

    Returns
    -------
    Network
        Of copies, with the same names.

    Raises
    ------
    ExportError
        When batch normalisation is not right behind weights: names the edge.

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
        synapses = _folded(edge.name, edge.synapses, net.shape(edge.source), net.dt)
        edges.append(Edge(edge.source, edge.target, synapses, edge.delay, edge.name, edge.port))
    return Network(nodes, edges, output=net.output, seed=net.seed).train(net.training)  # type: ignore[arg-type]


def _folded(name: str, synapses: Sequence[Synapse], shape: tuple[int, ...], dt: float) -> list[Synapse]:
    plain: list[tuple[Synapse, tuple[int, ...]]] = []  # each with the shape of its input
    for synapse in synapses:
        value = _to_fold(synapse, shape)
        if isinstance(value, Scaling):
            before = plain.pop() if plain else None
            weighted = before[0].lowered(before[1]) if before else None
            if before is None or not isinstance(weighted, (Dense, SparseRows, Convolution)):
                behind = type(before[0]).__name__ if before else "the spikes"
                raise ExportError(
                    f"edge {name!r}: {type(synapse).__name__} is behind {behind}, but only weights right before it can "
                    "take it in. Put it right behind Linear, Conv1d or Conv2d, before any pooling, and train again."
                )
            plain += _plain(name, _scaled(weighted, value, shape), *before, dt)
        elif isinstance(value, (Dense, SparseRows, Convolution)):
            plain += _plain(name, value, synapse, shape, dt)
        elif isinstance(value, Opaque):
            raise ExportError(f"edge {name!r}: {type(synapse).__name__} {value.reason}; it cannot be folded.")
        else:
            plain.append((copy.deepcopy(synapse), shape))
        shape = synapse.output_shape(shape)
    return [synapse for synapse, _ in plain]


def _to_fold(synapse: Synapse, shape: tuple[int, ...]) -> Lowered | None:
    """Return what becomes weights: normalisation, and weights that hooks compute, as pruning does."""
    if synapse.folds:
        return copy.deepcopy(synapse).eval().lowered(shape)
    if synapse._forward_hooks or synapse._forward_pre_hooks:
        value = synapse.lowered(shape)
        return value if isinstance(value, (Dense, SparseRows, Convolution)) else None
    return None


def _scaled(value: Weighted, scaling: Scaling, shape: tuple[int, ...]) -> Weighted:
    factor = value.row_factors(scaling.weight, shape)
    plus = None if scaling.bias is None else value.row_factors(scaling.bias.expand(shape), shape)
    assert factor is not None and (plus is None) == (scaling.bias is None)  # one for each channel
    return value.times(factor, plus)


def _plain(
    name: str, value: Weighted, like: Synapse, shape: tuple[int, ...], dt: float
) -> list[tuple[Synapse, tuple[int, ...]]]:
    """Return synapses that compute `value` in the precision of `like`, each with the shape of its input."""
    numbers = (t for t in (*like.parameters(), *like.buffers()) if t.is_floating_point())
    first = next(numbers, None)
    try:
        synapses = synapses_of(value, shape, dt=dt)
    except InputError as error:
        raise ExportError(f"edge {name!r}: {error}") from error
    plain = []
    for synapse in synapses:
        plain.append((synapse.to(torch.get_default_dtype() if first is None else first.dtype), shape))
        shape = synapse.output_shape(shape)
    return plain
