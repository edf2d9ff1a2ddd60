"""Weights that stay 0 in training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from neurosim.errors import InputError
from neurosim.learning.training.progress import Progress
from neurosim.synapses import Conv1d, Conv2d, Linear
from neurosim.synapses.synapse import Synapse

_KEPT, _STEPS = "kept", "sparsity_steps"


class Sparsity(ABC):
    """Base of what is given to `fit` as ``on_batch``: after each step of the optimizer, pruned weights are 0 again.

    Which weights are kept, and the number of steps, are buffers of the network, so that a checkpoint holds them and a
    resumed run goes on; `finish` removes them. Moments of an optimizer go on for pruned weights.

    Parameters
    ----------
    net : Network
        Whose `Linear`, `Conv1d` and `Conv2d` are pruned; biases are not.
    skip : sequence of str
        Names of synapses as in ``net.named_modules()`` that stay dense.

    Raises
    ------
    InputError
        When the network has none of these synapses, a name is none of theirs, or another object prunes them.
    """

    def __init__(self, net: nn.Module, skip: Sequence[str] = ()) -> None:
        kind = type(self).__name__
        found = {name: m for name, m in net.named_modules() if type(m) in (Linear, Conv1d, Conv2d)}
        unknown = [name for name in skip if name not in found]
        if unknown:
            raise InputError(f"{kind}: no synapse {unknown[0]!r} to skip; there are {list(found)}.")
        self.net = net
        self.synapses: dict[str, Synapse] = {name: m for name, m in found.items() if name not in skip}
        if not self.synapses:
            raise InputError(f"{kind}: no Linear, Conv1d or Conv2d to prune.")
        for name, synapse in self.synapses.items():
            if not isinstance(synapse._parameters.get("weight"), nn.Parameter):
                raise InputError(f"{kind}: the weight of {name!r} is computed, not a parameter; prune before that.")
            if hasattr(synapse, _KEPT):
                raise InputError(f"{kind}: {name!r} is pruned already; call finish() of the other first.")
        for synapse in self.synapses.values():
            synapse.register_buffer(_KEPT, torch.ones_like(synapse.weight, dtype=torch.bool))  # type: ignore[arg-type]
        net.register_buffer(_STEPS, torch.zeros((), dtype=torch.int64))

    @abstractmethod
    def update(self, step: int) -> None:
        """Choose which weights are kept after a step; the first one is 1."""

    @torch.no_grad()
    def __call__(self, progress: Progress | None = None) -> None:
        """Count a step of the optimizer, and set what is pruned to 0."""
        steps: Tensor = getattr(self.net, _STEPS)
        steps += 1
        self.update(int(steps))
        self.apply()

    @torch.no_grad()
    def apply(self) -> None:
        """Set pruned weights to 0."""
        for synapse in self.synapses.values():
            self.weight(synapse).mul_(self.kept(synapse))

    def finish(self) -> None:
        """Remove the buffers; weights that are 0 are free again."""
        for synapse in self.synapses.values():
            del synapse._buffers[_KEPT]
        del self.net._buffers[_STEPS]

    def densities(self) -> dict[str, float]:
        """Return the share of the weights that are kept, by synapse."""
        return {name: float(self.kept(synapse).double().mean()) for name, synapse in self.synapses.items()}

    @property
    def density(self) -> float:
        """Share of all weights that are kept."""
        kept = [self.kept(synapse) for synapse in self.synapses.values()]
        return sum(int(k.sum()) for k in kept) / sum(k.numel() for k in kept)

    @staticmethod
    def weight(synapse: Synapse) -> Tensor:
        """Return the weights of a synapse."""
        weight: Tensor = synapse.weight  # type: ignore[assignment]
        return weight

    @staticmethod
    def kept(synapse: Synapse) -> Tensor:
        """Return which of its weights are kept."""
        kept: Tensor = synapse.kept  # type: ignore[assignment]
        return kept


def keep_largest(size: Tensor, number: int) -> Tensor:
    """Return where the `number` largest values of a tensor are; of equal ones, the first."""
    kept = torch.zeros(size.numel(), dtype=torch.bool, device=size.device)
    kept[size.flatten().sort(descending=True, stable=True).indices[:number]] = True
    return kept.view_as(size)
