"""Normalisation of each step of each sample by its own mean and variance."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurosim.errors import InputError
from neurosim.synapses.lowering import Lowered, Opaque
from neurosim.synapses.synapse import Synapse, count

_OPAQUE = Opaque("divides by the deviation of each step")


def _positive(name: str, eps: float) -> float:
    if not eps > 0:
        raise InputError(f"{name}: eps must be above 0; got {eps!r}.")
    return float(eps)


class GroupNorm(Synapse):
    r"""Normalisation over groups of channels, in each step of each sample: ``[T, B, C, ...] -> [T, B, C, ...]``.

    .. math:: \hat i = \gamma\, \frac{i - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

    with the mean and variance over the channels of a group and all positions. Steps and samples do not depend on each
    other, and training and evaluation are the same, unlike in `BatchNorm`. It folds into no weights: exporters refuse
    it; for a chip use `BatchNorm`, which folds.

    Parameters
    ----------
    groups, channels : int
        Number of groups, which divides the number of channels.
    eps : float
        Added to the variance.

    Attributes
    ----------
    weight, bias : Parameter [channels]
        Start at 1 and 0.

    References
    ----------
    Wu and He, "Group normalization", ECCV 2018.
    """

    def __init__(self, groups: int, channels: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        self.groups, self.channels = count("GroupNorm", "groups", groups), count("GroupNorm", "channels", channels)
        if self.channels % self.groups:
            raise InputError(f"GroupNorm: groups must divide channels={channels}; got {groups}.")
        self.eps = _positive("GroupNorm", eps)
        self.weight, self.bias = nn.Parameter(torch.ones(self.channels)), nn.Parameter(torch.zeros(self.channels))

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return `shape`."""
        if not shape or shape[0] != self.channels:
            raise self.refuse(shape, f"{self.channels}, ...")
        return tuple(shape)

    def apply_step(self, x: Tensor) -> Tensor:
        """Return ``x`` [n, C, ...] normalised."""
        return functional.group_norm(x, self.groups, self.weight, self.bias, self.eps)

    def _lowered(self, shape: tuple[int, ...]) -> Lowered:
        return _OPAQUE

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"{self.groups}, {self.channels}, eps={self.eps:g}"


class LayerNorm(Synapse):
    """Normalisation over all currents of each step of each sample: ``[T, B, *shape] -> [T, B, *shape]``.

    As `GroupNorm`, with a weight and a bias for each neuron.

    Parameters
    ----------
    shape : int or tuple of int
        Of one step's current.
    eps : float
        Added to the variance.

    Attributes
    ----------
    weight, bias : Parameter [*shape]
        Start at 1 and 0.

    References
    ----------
    Ba, Kiros and Hinton, "Layer normalization", arXiv:1607.06450 (2016).
    """

    def __init__(self, shape: int | tuple[int, ...], *, eps: float = 1e-5) -> None:
        super().__init__()
        sizes = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
        if not sizes:
            raise InputError(f"LayerNorm: shape must hold integers; got {shape!r}.")
        self.shape = tuple(count("LayerNorm", "shape", size) for size in sizes)
        self.eps = _positive("LayerNorm", eps)
        self.weight, self.bias = nn.Parameter(torch.ones(self.shape)), nn.Parameter(torch.zeros(self.shape))

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return `shape`."""
        if tuple(shape) != self.shape:
            raise self.refuse(shape, ", ".join(map(str, self.shape)))
        return self.shape

    def apply_step(self, x: Tensor) -> Tensor:
        """Return ``x`` [n, *shape] normalised."""
        return functional.layer_norm(x, self.shape, self.weight, self.bias, self.eps)

    def _lowered(self, shape: tuple[int, ...]) -> Lowered:
        return _OPAQUE

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"{self.shape}, eps={self.eps:g}"
