"""Sparse synapses: only the connections that exist are stored."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from neurosim.errors import InputError, ShapeError
from neurosim.kernels.sparse.cpu import FanOut, fan_out
from neurosim.kernels.sparse.operator import event_sparse
from neurosim.synapses.linear import uniform_weight
from neurosim.synapses.lowering import Lowered, SparseRows
from neurosim.synapses.synapse import Synapse, count, event_driven


class Sparse(Synapse):
    """Synapses listed one by one: ``i[post] += weight * z[pre]``.

    Parameters
    ----------
    n_in, n_out : int
        Number of neurons before and after.
    connections : Tensor [2, n] of int64
        Row 0 the neuron after (post), row 1 the neuron before (pre); each pair at most once.
    weight : Tensor [n], optional
        Drawn as for a linear layer of the mean number of inputs if left out.

    Attributes
    ----------
    weight : Parameter [n]
    connections : Tensor [2, n]
        Sorted by post, then pre.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> synapse = ns.Sparse(3, 2, torch.tensor([[0, 1], [2, 0]]), torch.tensor([0.5, -1.0]))
    >>> synapse(torch.tensor([[[1.0, 1.0, 1.0]]])).tolist()
    [[[0.5, -1.0]]]
    """

    connections: Tensor
    _starts: Tensor
    _after: Tensor
    _order: Tensor
    _back: Tensor

    def __init__(self, n_in: int, n_out: int, connections: Tensor, weight: Tensor | None = None) -> None:
        super().__init__()
        self.n_in, self.n_out = count("Sparse", "n_in", n_in), count("Sparse", "n_out", n_out)
        if not isinstance(connections, Tensor):
            raise ShapeError(f"Sparse: connections must be a tensor [2, n] of int64; got {type(connections).__name__}.")
        if connections.dim() != 2 or connections.shape[0] != 2 or connections.dtype != torch.int64:
            raise ShapeError(
                f"Sparse: connections must be [2, n] of int64; got {list(connections.shape)} of {connections.dtype}."
            )
        for row, (name, size) in enumerate((("post", n_out), ("pre", n_in))):
            outside = connections[row][(connections[row] < 0) | (connections[row] >= size)]
            if outside.numel():
                raise InputError(f"Sparse: {name} neuron {outside[0].item()} is outside 0..{size - 1}.")
        if weight is not None and weight.shape != connections.shape[1:]:
            raise ShapeError(f"Sparse: weight must be [{connections.shape[1]}]; got {list(weight.shape)}.")
        if weight is not None and not weight.is_floating_point():
            raise InputError(f"Sparse: weight must be in floating point; got {weight.dtype}. Use weight.float().")
        flat = connections[0] * n_in + connections[1]
        flat, order = torch.sort(flat)
        twice = flat[1:][flat[1:] == flat[:-1]]
        if twice.numel():
            post, pre = divmod(int(twice[0]), n_in)
            raise InputError(f"Sparse: connection {pre} -> {post} is listed twice; add the two weights up.")
        self.register_buffer("connections", connections[:, order].contiguous())
        start = (
            uniform_weight((flat.numel(),), -(-flat.numel() // n_out))
            if weight is None
            else nn.Parameter(weight[order].clone())
        )
        self.weight = start
        for name, value in self._listed().items():
            self.register_buffer(name, value, persistent=False)

    def _listed(self) -> dict[str, Tensor]:
        """Return the connections by the neuron before, as the kernels read them."""
        lists = fan_out(self.connections, self.n_in, self.n_out)
        return {f"_{name}": value for name, value in lists._asdict().items() if isinstance(value, Tensor)}

    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        for name, value in self._listed().items():
            setattr(self, name, value)

    @classmethod
    def random(cls, n_in: int, n_out: int, density: float, *, generator: torch.Generator | None = None) -> Sparse:
        """Connect each pair with probability `density`.

        Parameters
        ----------
        n_in, n_out : int
            Number of neurons before and after.
        density : float
            In (0, 1].
        generator : torch.Generator, optional
            Source of chance.
        """
        if not 0 < density <= 1:
            raise InputError(f"Sparse: density must be in (0, 1]; got {density!r}.")
        return cls(n_in, n_out, (torch.rand(n_out, n_in, generator=generator) < density).nonzero().T.contiguous())

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return ``(n_out,)``."""
        if tuple(shape) != (self.n_in,):
            raise self.refuse(shape, f"{self.n_in}")
        return (self.n_out,)

    def apply_step(self, x: Tensor) -> Tensor:
        """Return ``x`` [n, n_in] times the sparse weights."""
        return self.apply_spikes(x, None, None)

    def apply_spikes(self, x: Tensor, packed_bits: Tensor | None, mask: Tensor | None) -> Tensor:
        """Return the same, told which inputs are spikes and where their gradient is needed."""
        if event_driven(x, self.weight):
            lists = FanOut(self._starts, self._after, self._order, self._back, self.n_out)
            return event_sparse(x, self.weight, lists, packed_bits=packed_bits, mask=mask)
        matrix = torch.sparse_coo_tensor(
            self.connections, self.weight, (self.n_out, self.n_in), is_coalesced=True, check_invariants=False
        )
        return torch.sparse.mm(matrix, x.T).T

    def _lowered(self, shape: tuple[int, ...]) -> Lowered:
        return SparseRows(self.n_out, self.n_in, self.connections[0], self.connections[1], self.weight)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"{self.n_in}, {self.n_out}, {self.weight.numel()} connections"
