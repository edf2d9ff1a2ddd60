"""Networks without some of their neurons, and without the synapses that are 0."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from neurosim.errors import ExportError, InputError, ShapeError
from neurosim.learning.sparsity.schedule import check_share
from neurosim.network.folding import fold
from neurosim.network.graph import Edge
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.synapses import Linear, Sparse, Synapse
from neurosim.synapses.building import synapses_of
from neurosim.synapses.lowering import Convolution, Dense, Pooling, Reshape, Scaling, SparseRows


@torch.no_grad()
def mean_rates(net: Network, batches: Iterable[Any]) -> dict[str, Tensor]:
    """Return how often each neuron of the hidden populations fires, in spikes per step, by population.

    Parameters
    ----------
    net : Network
    batches : iterable of (x, y) or of x [T, B, ...]
        Each neuron-step of all batches counts the same.

    Returns
    -------
    dict of str to Tensor [...]
        Of the shape of the population, in double precision. The output population is left out.

    Raises
    ------
    InputError
        When there is no batch.
    """
    names = [name for name in net.neurons() if name != net.output]
    sums: dict[str, Tensor] = {}
    steps, training = 0, net.training
    net.eval()
    try:
        for batch in batches:
            x = batch if isinstance(batch, Tensor) else batch[0]
            found = net.run(x, record=names)
            for name in names:
                total = (found.recorded[name] != 0).sum((0, 1), dtype=torch.float64)
                sums[name] = sums[name] + total if name in sums else total
            steps += x.shape[0] * x.shape[1]
    finally:
        net.train(training)
    if not steps:
        raise InputError("mean_rates: no batch.")
    return {name: total / steps for name, total in sums.items()}


def most_active(rates: Mapping[str, Tensor], share: float, *, least: float = 0.0) -> dict[str, Tensor]:
    """Return which neurons, or channels of an image, stay when a share of each population is pruned by its firing.

    Parameters
    ----------
    rates : mapping of str to Tensor
        As `mean_rates` returns. A channel counts with the mean of its neurons.
    share : float
        Share of the neurons or channels of each population that is pruned, in [0, 1); at least one stays.
    least : float
        Neurons or channels below this rate, in spikes per step, are pruned as well.

    Returns
    -------
    dict of str to Tensor [n] of bool
        For `without_neurons`.
    """
    check_share("most_active: share", share)
    found = {}
    for name, rate in rates.items():
        unit = rate.flatten(1).mean(1) if rate.dim() > 1 else rate
        number = max(len(unit) - round(share * len(unit)), 1)
        order = unit.sort(descending=True, stable=True).indices
        stays = torch.zeros(len(unit), dtype=torch.bool)
        stays[order[:number]] = True
        stays &= unit >= least
        stays[order[0]] = True
        found[name] = stays
    return found


def without_neurons(net: Network, stay: Mapping[str, Tensor]) -> Network:
    """Return the network without some neurons, or channels, and without their synapses.

    Normalisation is folded into weights first. With neurons that never fire and hold no other part in the network, the
    output is the same.

    Parameters
    ----------
    net : Network
        Of layers of a core; it is not changed.
    stay : mapping of str to Tensor [n] of bool
        By population, which neurons stay, or which channels of an image.

    Returns
    -------
    Network
        With the same names. Parameters that are learned start from their present values.

    Raises
    ------
    InputError
        For an unknown population, the output, or a population without neurons that stay.
    ExportError
        When an edge holds synapses that cannot be cut.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> from neurosim.learning.sparsity import mean_rates, most_active, without_neurons
    >>> net = ns.Sequential(ns.Linear(20, 30), ns.LIF(dt=1e-3), ns.Linear(30, 2), ns.LI(dt=1e-3))
    >>> smaller = without_neurons(net, most_active(mean_rates(net, [torch.rand(10, 4, 20)]), 0.5))
    >>> smaller.shape("lif1")
    (15,)
    """
    for name, keep in stay.items():
        _check(net, name, keep)
    plain = fold(net)
    nodes = {
        name: _fewer(node, stay[name], plain.shape(name)) if name in stay else copy.deepcopy(node)
        for name, node in plain.nodes.items()
    }
    edges = []
    for edge in plain.edges:
        synapses = list(edge.synapses)
        if edge.source in stay:
            synapses = _cut_columns(edge.name, synapses, stay[edge.source], plain.shape(edge.source), plain.dt)
        if edge.target in stay:
            source = plain.shape(edge.source)
            if edge.source in stay:
                source = (int(stay[edge.source].sum()), *source[1:])
            synapses = _cut_rows(edge.name, synapses, stay[edge.target], source, plain.dt)
        edges.append(Edge(edge.source, edge.target, synapses, edge.delay, edge.name, edge.port))
    return Network(nodes, edges, output=net.output, seed=net.seed).train(net.training)  # type: ignore[arg-type]


def sparsified(net: Network, *, below: float = 1.0) -> Network:
    """Return the network with its matrices as lists of the synapses that are not 0, which a chip stores one by one.

    Parameters
    ----------
    net : Network
        It is not changed.
    below : float
        A matrix is listed if the share of its weights that are not 0 is below this, in (0, 1].

    Returns
    -------
    Network
        With `Sparse` synapses in place of `Linear` ones without bias; others are copies.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> from neurosim.learning.sparsity import sparsified
    >>> net = ns.Sequential(ns.Linear(20, 30), ns.LIF(dt=1e-3))
    >>> _ = net.edges[0].synapses[0].weight.data.mul_(torch.rand(30, 20) < 0.1)
    >>> type(sparsified(net).edges[0].synapses[0]).__name__
    'Sparse'
    """
    if not 0.0 < below <= 1.0:
        raise InputError(f"sparsified: below must be in (0, 1]; got {below!r}.")
    edges = []
    for edge in net.edges:
        synapses = [_listed(synapse, below) for synapse in edge.synapses]
        edges.append(Edge(edge.source, edge.target, synapses, edge.delay, edge.name, edge.port))
    nodes = {name: copy.deepcopy(node) for name, node in net.nodes.items()}
    return Network(nodes, edges, output=net.output, seed=net.seed).train(net.training)  # type: ignore[arg-type]


def _listed(synapse: Synapse, below: float) -> Synapse:
    if type(synapse) is not Linear or synapse.bias is not None:
        return copy.deepcopy(synapse)
    weight = synapse.weight.detach()
    post, pre = weight.nonzero(as_tuple=True)
    if not len(post) or len(post) >= below * weight.numel():
        return copy.deepcopy(synapse)
    return Sparse(synapse.n_in, synapse.n_out, torch.stack((post, pre)), weight[post, pre])


def _check(net: Network, name: str, keep: Tensor) -> None:
    if name not in net.neurons():
        raise InputError(f"without_neurons: no population {name!r}; this network has {list(net.neurons())}.")
    if name == net.output:
        raise InputError(f"without_neurons: {name!r} is the output.")
    shape = net.shape(name)
    if not isinstance(keep, Tensor) or keep.dtype != torch.bool or keep.shape != shape[:1]:
        shown = f"{keep.dtype} {list(keep.shape)}" if isinstance(keep, Tensor) else repr(keep)
        raise ShapeError(f"without_neurons: {name!r} needs a tensor of bool [{shape[0]}]; got {shown}.")
    if not keep.any():
        raise InputError(f"without_neurons: no neuron of {name!r} stays.")


def _fewer(node: nn.Module, keep: Tensor, shape: tuple[int, ...]) -> Neuron:
    """Return a layer of the neurons that stay."""
    if type(node) is not Neuron or node.init is not None:
        raise ExportError(f"{type(node).__name__} cannot be cut: it is no plain layer of a core, or draws its start.")
    values: dict[str, Any] = {}
    for name in node.declared:
        value = node.value(name)
        if isinstance(value, Tensor):
            value = value.detach()
            own = value.dim() == len(shape) and value.shape[0] == len(keep)
            value = value[keep] if own else value.clone()
        values[name] = value
    amount = values.pop("reset_amount", None)
    return Neuron(
        node.core, dt=node.dt, size=None, spike=node.spike, reset=node.reset, reset_amount=amount,
        detach_reset=node.detach_reset, learn=node.learned, **values,
    )  # fmt: skip


def _cut_columns(name: str, synapses: list[Synapse], keep: Tensor, shape: tuple[int, ...], dt: float) -> list[Synapse]:
    """Return the synapses of an edge without the neurons of its source that do not stay."""
    cut: list[Synapse] = []
    channels = True  # whether the first axis is that of the source
    for place, synapse in enumerate(synapses):
        value = synapse.lowered(shape)
        if isinstance(value, Dense):
            columns = keep.repeat_interleave(value.weight.shape[1] // len(keep))
            value = dataclasses.replace(
                value, weight=value.weight[:, columns], delay=None if value.delay is None else value.delay[:, columns]
            )
            return [*cut, *_made(name, value, (int(columns.sum()),), dt), *synapses[place + 1 :]]
        if isinstance(value, SparseRows):
            columns = keep.repeat_interleave(value.n_in // len(keep))
            value = _without(value, columns, "pre")
            return [*cut, *_made(name, value, (value.n_in,), dt), *synapses[place + 1 :]]
        if isinstance(value, Convolution) and value.groups == 1 and channels:
            value = dataclasses.replace(value, weight=value.weight[:, keep])
            return [*cut, *_made(name, value, (int(keep.sum()), *shape[1:]), dt), *synapses[place + 1 :]]
        flat = isinstance(value, Reshape) and len(value.shape) == 1
        if not (isinstance(value, Pooling) or flat or (isinstance(value, Scaling) and value.weight.dim() == 0)):
            raise ExportError(f"edge {name!r}: {type(synapse).__name__} behind a pruned population cannot be cut.")
        channels = channels and not flat
        cut.append(copy.deepcopy(synapse))
        shape = synapse.output_shape(shape)
    raise ExportError(f"edge {name!r} has no weights to cut.")


def _cut_rows(name: str, synapses: list[Synapse], keep: Tensor, shape: tuple[int, ...], dt: float) -> list[Synapse]:
    """Return the synapses of an edge without the neurons of its target that do not stay."""
    shapes = [shape]
    for synapse in synapses:
        shapes.append(synapse.output_shape(shapes[-1]))
    for place in reversed(range(len(synapses))):
        value, synapse = synapses[place].lowered(shapes[place]), synapses[place]
        bias = getattr(value, "bias", None)
        if isinstance(value, (Dense, Convolution)) and (isinstance(value, Dense) or value.groups == 1):
            changes: dict[str, Any] = {"weight": value.weight[keep], "bias": None if bias is None else bias[keep]}
            if isinstance(value, Dense) and value.delay is not None:
                changes["delay"] = value.delay[keep]
            made = _made(name, dataclasses.replace(value, **changes), shapes[place], dt)
            return [*synapses[:place], *made, *synapses[place + 1 :]]
        if isinstance(value, SparseRows):
            made = _made(name, _without(value, keep, "post"), shapes[place], dt)
            return [*synapses[:place], *made, *synapses[place + 1 :]]
        if not isinstance(value, Pooling):
            raise ExportError(f"edge {name!r}: {type(synapse).__name__} before a pruned population cannot be cut.")
    raise ExportError(f"edge {name!r} has no weights to cut.")


def _without(value: SparseRows, keep: Tensor, side: str) -> SparseRows:
    """Return listed connections without those of neurons that do not stay, on one side."""
    ends = value.pre if side == "pre" else value.post
    number, stays = keep.cumsum(0) - 1, keep[ends]
    changes: dict[str, Any] = {
        "pre": value.pre[stays], "post": value.post[stays], "weight": value.weight[stays],
        "delay": None if value.delay is None else value.delay[stays],
    }  # fmt: skip
    changes[side] = number[changes[side]]
    changes["n_in" if side == "pre" else "n_out"] = int(keep.sum())
    if side == "post" and value.bias is not None:
        changes["bias"] = value.bias[keep]
    return dataclasses.replace(value, **changes)


def _made(name: str, value: Dense | SparseRows | Convolution, shape: tuple[int, ...], dt: float) -> list[Synapse]:
    try:
        return [synapse.to(value.weight.dtype) for synapse in synapses_of(value, shape, dt=dt)]
    except InputError as error:
        raise ExportError(f"edge {name!r}: {error}") from error
