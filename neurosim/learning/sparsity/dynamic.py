"""Sparse from start to end: the smallest weights are dropped, and as many grow elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from neurosim.errors import InputError
from neurosim.learning.sparsity.masks import Sparsity, keep_largest
from neurosim.learning.sparsity.schedule import check_share
from neurosim.synapses.synapse import count


class DynamicSparsity(Sparsity):
    r"""Train with a constant number of weights that move; give it to `fit` as ``on_batch``.

    Every `every` steps, up to step `until`, a share of the kept weights of each layer, those with the smallest
    magnitude, is dropped, and as many pruned ones grow, from 0: those with the largest gradient of the last step
    (RigL), or random ones (SET). The share falls as a cosine, :math:`\frac{f}{2}(1 + \cos(\pi t / t_{end}))`.

    Parameters
    ----------
    net : Network
    density : float
        Share of weights that are kept, in (0, 1).
    every, until : int
        Steps between two changes, and the last step of changes.
    drop : float
        Share f of the first change, in [0, 1).
    grow : {"gradient", "random"}
        Which weights grow.
    spread : {"uniform", "erdos_renyi"}
        Whether every layer has the same density, or one in proportion to ``(n_in + n_out) / (n_in n_out)``, of a
        convolution with its kernel, at most 1.
    skip : sequence of str
        As in `Sparsity`.
    seed : int
        Of the first weights and of random growth.

    References
    ----------
    Mocanu et al. 2018, doi:10.1038/s41467-018-04316-3 (SET); Evci et al. 2020, arXiv:1911.11134 (RigL).

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> from neurosim.learning.sparsity import DynamicSparsity
    >>> net = ns.Sequential(ns.Linear(20, 30), ns.LIF(dt=1e-3), ns.Linear(30, 2), ns.LI(dt=1e-3))
    >>> sparse = DynamicSparsity(net, 0.2, every=2, until=8)
    >>> int((net.edges[0].synapses[0].weight != 0).sum())
    120
    """

    def __init__(
        self,
        net: nn.Module,
        density: float,
        *,
        every: int,
        until: int,
        drop: float = 0.3,
        grow: Literal["gradient", "random"] = "gradient",
        spread: Literal["uniform", "erdos_renyi"] = "uniform",
        skip: Sequence[str] = (),
        seed: int = 0,
    ) -> None:
        if not check_share("DynamicSparsity: density", density):
            raise InputError("DynamicSparsity: density=0 keeps no weight.")
        self.every, self.until = count("DynamicSparsity", "every", every), count("DynamicSparsity", "until", until)
        self.drop = check_share("DynamicSparsity: drop", drop)
        if grow not in ("gradient", "random"):
            raise InputError(f'DynamicSparsity: grow={grow!r}: "gradient" or "random".')
        if spread not in ("uniform", "erdos_renyi"):
            raise InputError(f'DynamicSparsity: spread={spread!r}: "uniform" or "erdos_renyi".')
        self.grow, self.seed = grow, count("DynamicSparsity", "seed", seed, 0)
        super().__init__(net, skip)
        numbers = self._numbers(density, spread)
        for place, (synapse, number) in enumerate(zip(self.synapses.values(), numbers, strict=True)):
            self.kept(synapse).copy_(keep_largest(self._drawn(synapse, 0, place), number))
        self.apply()

    def _numbers(self, density: float, spread: str) -> list[int]:
        """Return how many weights each layer keeps; the sum is `density` of all unless every layer is full."""
        shapes = [self.weight(synapse).shape for synapse in self.synapses.values()]
        sizes = [shape.numel() for shape in shapes]
        if spread == "uniform":
            return [max(round(density * size), 1) for size in sizes]
        shares = [sum(shape) / shape.numel() for shape in shapes]
        full: set[int] = set()
        while True:
            left = density * sum(sizes) - sum(sizes[k] for k in full)
            free = sum(shares[k] * sizes[k] for k in range(len(sizes)) if k not in full)
            scale = left / free if free else 0.0
            above = {k for k in range(len(sizes)) if k not in full and scale * shares[k] > 1.0}
            if not above:
                break
            full |= above
        return [size if k in full else max(round(scale * shares[k] * size), 1) for k, size in enumerate(sizes)]

    def update(self, step: int) -> None:
        """Drop and grow where it is due."""
        if step % self.every or step > self.until:
            return
        share = 0.5 * self.drop * (1.0 + math.cos(math.pi * step / self.until))
        for place, synapse in enumerate(self.synapses.values()):
            kept, weight = self.kept(synapse), self.weight(synapse)
            number = int(kept.sum())
            changed = min(int(share * number), kept.numel() - number)
            stays = keep_largest(torch.where(kept, weight.detach().abs(), -1.0), number - changed)
            score = self._drawn(synapse, step, place) if self.grow == "random" else self._gradient(synapse)
            grown = keep_largest(torch.where(stays, -1.0, score), changed)
            # A weight that was dropped and grows at once starts again from 0.
            weight.masked_fill_(grown, 0.0)
            kept.copy_(stays | grown)

    def _gradient(self, synapse: nn.Module) -> Tensor:
        gradient = self.weight(synapse).grad  # type: ignore[arg-type]
        if gradient is None:
            raise InputError('DynamicSparsity: a weight has no gradient to grow by; use grow="random".')
        return gradient.abs()

    def _drawn(self, synapse: nn.Module, step: int, place: int) -> Tensor:
        """Return random numbers of a layer and a step, the same in a run that was resumed."""
        weight = self.weight(synapse)  # type: ignore[arg-type]
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + step) * 1009 + place)
        return torch.rand(weight.shape, generator=generator).to(weight.device)
