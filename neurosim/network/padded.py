"""Runs of padded samples: the output and the state of each sample as if it ran alone."""

from __future__ import annotations

import torch
from torch import Tensor

from neurosim.errors import InputError, ShapeError
from neurosim.network.graph import NetworkState
from neurosim.network.network import Network


def run_padded(
    net: Network, x: Tensor, lengths: Tensor, state: NetworkState | None = None
) -> tuple[Tensor, NetworkState]:
    """Run samples of different lengths; each stops at its last valid step.

    A call of the network serves all samples up to the next end of one, so that as many calls are made as there are
    different lengths. Samples that have ended are computed no more.

    Parameters
    ----------
    net : Network
        With one input and no sources.
    x : Tensor [T, B, ...]
        Padded samples; values after the end of a sample are not read.
    lengths : Tensor [B] of int64
        Number of valid steps of each sample, 1 to T.
    state : NetworkState, optional
        State to start from.

    Returns
    -------
    output : Tensor [T, B, ...]
        0 after the end of a sample.
    state : NetworkState
        Of each sample after its last valid step.

    Raises
    ------
    InputError, ShapeError
        When network or lengths do not fit.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> from neurosim.network import run_padded
    >>> net = ns.Sequential(ns.Linear(4, 2), ns.LI(dt=1e-3), names=["out"])
    >>> x = torch.rand(9, 3, 4)
    >>> v, state = run_padded(net, x, torch.tensor([9, 4, 6]))
    >>> alone, expected = net(x[:4, 1:2])
    >>> torch.allclose(state.nodes["out"].v[1], expected.nodes["out"].v[0]), v[4:, 1].abs().sum()
    (True, tensor(0., grad_fn=<SumBackward0>))
    """
    if len(net.inputs) != 1 or net.sources:
        raise InputError(f"run_padded needs a network with one input and no sources; got {list(net.nodes)}.")
    if not isinstance(lengths, Tensor) or lengths.is_floating_point() or lengths.dtype == torch.bool:
        raise InputError("lengths must be an integer tensor [B].")
    if lengths.shape != x.shape[1:2]:
        raise ShapeError(f"lengths is {list(lengths.shape)}; one for each of the {x.shape[1]} samples is needed.")
    ends = lengths.unique().tolist()
    if not ends or ends[0] < 1 or ends[-1] > len(x):
        raise InputError(f"lengths must be from 1 to T = {len(x)}; got {ends}.")
    running = torch.arange(x.shape[1], device=x.device)
    lengths = lengths.to(x.device)
    now = net.initial_state(x) if state is None else state
    outputs: list[Tensor] = []
    ended: list[tuple[Tensor, NetworkState]] = []
    start = 0
    for end in ends:
        out, now = net(x[start:end].index_select(1, running), now)
        padded = out.new_zeros((end - start, x.shape[1], *out.shape[2:]))
        outputs.append(padded.index_copy(1, running, out))
        goes_on = lengths[running] > end
        ended.append((running[~goes_on], now.select(~goes_on)))
        running, now, start = running[goes_on], now.select(goes_on), end
    outputs.append(outputs[0].new_zeros((len(x) - start, *outputs[0].shape[1:])))
    order = torch.cat([samples for samples, _ in ended]).argsort()
    nodes = {
        name: type(first)(*(torch.cat(parts)[order] for parts in zip(*(s.nodes[name] for _, s in ended), strict=True)))
        for name, first in ended[0][1].nodes.items()
    }
    lines = {name: torch.cat([s.in_flight[name] for _, s in ended], 1)[:, order] for name in ended[0][1].in_flight}
    return torch.cat(outputs), NetworkState(nodes, lines)
