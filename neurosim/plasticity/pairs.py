"""The pairs of neurons between which synapses exist, and sums of products over them: all pairs, or a list."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from neurosim.errors import InputError
from neurosim.synapses import Linear, Sparse, Synapse

VALUES_AT_ONCE = 2**22  # of the products of listed pairs


class Pairs(ABC):
    """The synapses of an edge, whose weights a rule changes by products of one value of each side."""

    @abstractmethod
    def summed(self, post: Tensor, pre: Tensor) -> Tensor:
        """Return the sum over steps and samples of ``post pre`` for each synapse, of the shape of the weights.

        Parameters
        ----------
        post : Tensor [T, B, n_out]
        pre : Tensor [T, B, n_in]
        """

    @abstractmethod
    def by_sample(self, post: Tensor, pre: Tensor) -> Tensor:
        """Return the sum over steps for each sample [B, *shape of the weights]."""

    @abstractmethod
    def by_post(self, values: Tensor) -> Tensor:
        """Return a value of each postsynaptic neuron [n_out] for each synapse; it broadcasts against the weights."""


class AllPairs(Pairs):
    """Each presynaptic neuron with each postsynaptic one; the weights are [n_out, n_in]."""

    def summed(self, post: Tensor, pre: Tensor) -> Tensor:
        """Return the sums as one product of matrices."""
        return post.flatten(0, 1).T @ pre.flatten(0, 1)

    def by_sample(self, post: Tensor, pre: Tensor) -> Tensor:
        """Return the sums as one product of matrices for each sample."""
        return torch.einsum("tbo,tbi->boi", post, pre)

    def by_post(self, values: Tensor) -> Tensor:
        """Return a column."""
        return values[:, None]


@dataclass(frozen=True, eq=False)
class ListedPairs(Pairs):
    """The pairs of a list; a pair that stands several times has several synapses.

    Attributes
    ----------
    post, pre : Tensor [n] of int64
    """

    post: Tensor
    pre: Tensor

    def summed(self, post: Tensor, pre: Tensor) -> Tensor:
        """Return the sums [n], computed a part of the list at a time."""
        return self._each(post.flatten(0, 1)[None], pre.flatten(0, 1)[None])[0]

    def by_sample(self, post: Tensor, pre: Tensor) -> Tensor:
        """Return the sums [B, n]."""
        return self._each(post.transpose(0, 1), pre.transpose(0, 1))

    def by_post(self, values: Tensor) -> Tensor:
        """Return the value of the postsynaptic neuron of each synapse [n]."""
        return values[self.post]

    def _each(self, post: Tensor, pre: Tensor) -> Tensor:
        """Return the sums over axis 1 of the products [samples, n] of values [samples, T, neurons]."""
        samples, steps, _ = post.shape
        size = max(1, VALUES_AT_ONCE // max(samples * steps, 1))
        parts = zip(self.post.split(size), self.pre.split(size), strict=True)
        sums = [(post[..., at_post] * pre[..., at_pre]).sum(1) for at_post, at_pre in parts]
        return torch.cat(sums, 1) if sums else post.new_zeros(samples, 0)


def pairs_of(where: str, synapses: tuple[Synapse, ...], *, grows: bool = True) -> tuple[Linear | Sparse, Pairs]:
    """Return the one synapse of a plastic edge and its pairs.

    Parameters
    ----------
    where : str
        The rule and the edge, for messages.
    synapses : tuple of Synapse
    grows : bool
        Whether the rule changes weights of 0.

    Raises
    ------
    InputError
        For other synapses than one `Linear` or `Sparse`, and for weights that hooks or parametrisations compute.

    Warns
    -----
    UserWarning
        When some weights of a `Linear` are exactly 0.
    """
    first = synapses[0]
    if len(synapses) != 1 or not isinstance(first, (Linear, Sparse)):
        kinds = ", ".join(type(synapse).__name__ for synapse in synapses)
        raise InputError(f"{where}: plastic synapses must be one Linear or Sparse; got {kinds}.")
    if "weight" not in first._parameters or not first.runs_as_written():
        raise InputError(
            f"{where}: the weights of {type(first).__name__} are computed by a hook, a parametrisation or a method of "
            "its own, so that a change of them would be lost; make a plain Linear or Sparse of them."
        )
    if isinstance(first, Sparse):
        post, pre = first.connections
        return first, ListedPairs(post, pre)
    if grows:
        warn_of_zeros(where, first.weight)
    return first, AllPairs()


def warn_of_zeros(where: str, weight: Tensor) -> None:
    """Warn where some weights are exactly 0, which a rule changes although they may stand for no synapse."""
    zeros = int((weight == 0).sum())
    if 0 < zeros < weight.numel():
        warnings.warn(
            f"{where}: {zeros:,} of {weight.numel():,} weights are exactly 0, and the rule changes them too. "
            "If they stand for synapses that do not exist, use Sparse(n_in, n_out, weight.nonzero().T, "
            "weight[weight != 0]), which has no others.",
            UserWarning,
            stacklevel=4,
        )
