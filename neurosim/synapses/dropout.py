"""Dropout whose mask is shared by all steps of a call."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from neurosim.errors import InputError
from neurosim.synapses.lowering import Lowered, Opaque, Scaling
from neurosim.synapses.synapse import Synapse

Masks = dict[tuple[nn.Module, torch.Size], Tensor]

_shared: list[Masks] = []


@contextlib.contextmanager
def shared_masks(masks: Masks | None = None) -> Iterator[Masks]:
    """Context in which the calls of one `Dropout` for inputs of one shape share one mask.

    It serves runs that are split into chunks of steps.

    Parameters
    ----------
    masks : dict, optional
        Masks that were drawn before; by default those of the context around this one, or none.

    Yields
    ------
    dict
        The masks by `Dropout` and shape; those drawn inside are added.
    """
    if masks is None:
        masks = _shared[-1] if _shared else {}
    _shared.append(masks)
    try:
        yield masks
    finally:
        _shared.pop()


class Dropout(Synapse):
    """Dropout with one mask per sample and run: a dropped input is silent at every step.

    The remaining inputs are scaled by ``1 / (1 - p)``. In eval mode the input passes unchanged. A mask of its own at
    every step would not silence a neuron, since the membrane integrates over steps. A learning rule that runs a batch
    chunk by chunk uses one mask for all chunks; of calls that a program makes itself, each has its own mask.

    Parameters
    ----------
    p : float
        Probability that an input is dropped, in [0, 1). 0.2 in the program of IIR-SNN (arXiv:2110.05929).

    Raises
    ------
    InputError
        When p is out of range.

    Examples
    --------
    >>> import torch
    >>> from neurosim.synapses import Dropout
    >>> x = Dropout(0.5)(torch.ones(4, 1, 100))
    >>> bool((x == x[0]).all()), sorted(x.unique().tolist())
    (True, [0.0, 2.0])
    """

    def __init__(self, p: float = 0.2) -> None:
        super().__init__()
        if not isinstance(p, (int, float)) or not 0 <= p < 1:
            raise InputError(f"Dropout: p must be in [0, 1); got {p!r}.")
        self.p = float(p)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return `shape`."""
        return shape

    def apply_step(self, x: Tensor) -> Tensor:
        """Drop inputs of x [n, ...], with a mask for each row."""
        return nn.functional.dropout(x, self.p, self.training)

    def forward(self, x: Tensor, packed_bits: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Drop inputs of x [T, B, ...] with one mask for all steps."""
        if not self.training or not self.p:
            return super().forward(x)
        return x * self._mask(x[:1])

    def _mask(self, like: Tensor) -> Tensor:
        if not _shared:
            return super().forward(torch.ones_like(like))
        key, masks = (self, like.shape), _shared[-1]
        if key not in masks:
            masks[key] = super().forward(torch.ones_like(like))
        return masks[key]

    def _lowered(self, shape: tuple[int, ...]) -> Lowered:
        if self.training and self.p:
            return Opaque("drops inputs at random in training; call eval() on the network")
        return Scaling(torch.ones(()))

    def extra_repr(self) -> str:
        """Return the probability."""
        return f"{self.p:g}"
