"""All-to-all synapses within blocks of neurons, none between blocks."""

from __future__ import annotations

import torch
from torch import Tensor

from neurosim.errors import InputError
from neurosim.synapses.linear import uniform_weight
from neurosim.synapses.lowering import Lowered, SparseRows
from neurosim.synapses.synapse import Synapse, count


class BlockLinear(Synapse):
    """Dense synapses block by block: ``i = diag(W_1, ..., W_H) z + b``.

    Block h of the presynaptic neurons, ``n_in / H`` in a row, connects to block h of the postsynaptic neurons only. As
    a loop it makes a layer of H independent heads, with a matrix H times smaller than a full one.

    Parameters
    ----------
    n_in, n_out : int
        Number of presynaptic and of postsynaptic neurons, multiples of `blocks`.
    blocks : int
        Number of blocks H.
    bias : bool
        Whether each neuron gets a constant current too.

    Attributes
    ----------
    weight : Parameter [blocks, n_out / blocks, n_in / blocks]
    bias : Parameter [n_out] or None

    Raises
    ------
    InputError
        When a number of neurons is not a multiple of `blocks`.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> from neurosim.synapses.block import BlockLinear
    >>> synapse = BlockLinear(6, 4, 2)
    >>> torch.block_diag(*synapse.weight).shape
    torch.Size([4, 6])
    >>> z = torch.ones(10, 3, 6)
    >>> torch.allclose(synapse(z), z @ torch.block_diag(*synapse.weight).T)
    True
    """

    def __init__(self, n_in: int, n_out: int, blocks: int, *, bias: bool = False) -> None:
        super().__init__()
        self.n_in, self.n_out = count("BlockLinear", "n_in", n_in), count("BlockLinear", "n_out", n_out)
        self.blocks = count("BlockLinear", "blocks", blocks)
        for name, neurons in (("n_in", n_in), ("n_out", n_out)):
            if neurons % blocks:
                raise InputError(f"BlockLinear: {name} must be a multiple of blocks = {blocks}; got {neurons}.")
        fan_in = n_in // blocks
        self.weight = uniform_weight((blocks, n_out // blocks, fan_in), fan_in)
        self.bias = uniform_weight((n_out,), fan_in) if bias else None
        self.note_drawn_weights()

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return ``(n_out,)``."""
        if tuple(shape) != (self.n_in,):
            raise self.refuse(shape, f"{self.n_in}")
        return (self.n_out,)

    def apply_step(self, x: Tensor) -> Tensor:
        """Return the product of each block with its part of ``x`` [n, n_in], and the bias."""
        parts = x.unflatten(1, (self.blocks, -1)).transpose(0, 1)
        current = torch.bmm(parts, self.weight.transpose(1, 2)).transpose(0, 1).flatten(1)
        return current if self.bias is None else current + self.bias

    def _lowered(self, shape: tuple[int, ...]) -> Lowered:
        blocks, rows, columns = self.weight.shape
        post = torch.arange(self.n_out).repeat_interleave(columns)
        pre = torch.arange(self.n_in).view(blocks, 1, columns).expand(blocks, rows, columns).flatten()
        return SparseRows(self.n_out, self.n_in, post, pre, self.weight.flatten(), self.bias)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"{self.n_in}, {self.n_out}, {self.blocks}, bias={self.bias is not None}"
