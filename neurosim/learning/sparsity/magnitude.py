"""Gradual pruning of the smallest weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import nn

from neurosim.errors import InputError
from neurosim.learning.sparsity.masks import Sparsity, keep_largest
from neurosim.synapses.synapse import count


class MagnitudePruning(Sparsity):
    """Prune the weights with the smallest magnitude, more of them as training goes on.

    Give it to `fit` as ``on_batch``. A pruned weight is 0 and stays pruned.

    Parameters
    ----------
    net : Network
    sparsity : callable
        Share of pruned weights after a number of steps, such as `CubicSparsity`.
    every : int
        Steps between two prunings.
    scope : {"layer", "network"}
        Whether each layer is pruned by this share, or all weights together, by their magnitude.
    skip : sequence of str
        As in `Sparsity`.

    References
    ----------
    Zhu & Gupta 2017, arXiv:1710.01878.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> from neurosim.learning.sparsity import CubicSparsity, MagnitudePruning
    >>> net = ns.Sequential(ns.Linear(20, 30), ns.LIF(dt=1e-3), ns.Linear(30, 2), ns.LI(dt=1e-3))
    >>> pruning = MagnitudePruning(net, CubicSparsity(0.9, begin=2, end=8))
    >>> batches = [(torch.rand(10, 4, 20), torch.tensor([0, 1, 0, 1]))] * 5
    >>> history = ns.fit(net, batches, epochs=2, loss=ns.MeanMembrane(), on_batch=pruning, progress=False)
    >>> pruning.density
    0.1
    >>> pruning.finish()
    """

    def __init__(
        self,
        net: nn.Module,
        sparsity: Callable[[int], float],
        *,
        every: int = 1,
        scope: Literal["layer", "network"] = "layer",
        skip: Sequence[str] = (),
    ) -> None:
        if not callable(sparsity):
            raise InputError(f"MagnitudePruning: sparsity={sparsity!r}: such as CubicSparsity(0.9, begin=0, end=1000).")
        if scope not in ("layer", "network"):
            raise InputError(f'MagnitudePruning: scope={scope!r}: "layer" or "network".')
        self.every = count("MagnitudePruning", "every", every)
        self.sparsity, self.scope = sparsity, scope
        super().__init__(net, skip)

    def update(self, step: int) -> None:
        """Prune further where it is due; of equal weights the first are kept."""
        if step % self.every:
            return
        share = self.sparsity(step)
        # A pruned weight moved in this step: only those that were kept count.
        sizes = [torch.where(self.kept(s), self.weight(s).detach().abs(), -1.0) for s in self.synapses.values()]
        if self.scope == "network":
            joined = torch.cat([size.flatten() for size in sizes])
            parts = keep_largest(joined, joined.numel() - round(share * joined.numel())).split(
                [s.numel() for s in sizes]
            )
        else:
            parts = tuple(keep_largest(size, size.numel() - round(share * size.numel())) for size in sizes)
        for synapse, part in zip(self.synapses.values(), parts, strict=True):
            kept = self.kept(synapse)
            kept &= part.view_as(kept)
