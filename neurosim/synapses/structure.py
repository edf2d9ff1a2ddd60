"""Which neurons sparse synapses join, as buffers of a module: stored once, in 2 or 4 bytes a synapse and 8 a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neurosim.errors import InputError, ShapeError
from neurosim.kernels.sparse.rows import MOST_NEURONS, Rows, index_type
from neurosim.synapses.synapse import Synapse


class SparseStructure(Synapse):
    """What all sparse synapses share: rows of synapses as buffers, and the weights in the same order.

    Attributes
    ----------
    weight : Parameter [n]
        Weight of each synapse.
    starts : Tensor [n_in + 1] of int64
        The synapses of presynaptic neuron j are those from ``starts[j]`` up to, but without, ``starts[j + 1]``.
    post_bytes : Tensor [2 n] or [4 n] of uint8
        The postsynaptic neurons, of 16 bits each where `n_out` is at most 65,536, else of 32. Kept as bytes because
        ``torch.distributed`` sends no 16-bit integers.
    """

    n_in: int
    n_out: int
    weight: nn.Parameter
    starts: Tensor
    post_bytes: Tensor

    def _hold(self, rows: Rows) -> None:
        """Register the buffers."""
        self.register_buffer("starts", rows.starts)
        post = rows.post.contiguous()
        if post.stride(-1) != 1:  # a single element counts as contiguous with any stride, but cannot be viewed as bytes
            post = post.clone(memory_format=torch.contiguous_format)
        self.register_buffer("post_bytes", post.view(torch.uint8))

    def _check_rows(self, rows: Rows) -> None:
        """Refuse rows that lead outside of the populations."""
        name = type(self).__name__
        if (rows.n_in, rows.n_out) != (self.n_in, self.n_out):
            raise ShapeError(
                f"{name}: rows must be of {self.n_in} to {self.n_out} neurons; got {rows.n_in} to {rows.n_out}."
            )
        if rows.post.dtype is not index_type(self.n_out):
            raise InputError(f"{name}: post of the rows must be {index_type(self.n_out)}; got {rows.post.dtype}.")
        problem = self._problem(dict(self.named_buffers()))
        if problem:
            raise InputError(f"{name}: {problem}")

    @property
    def rows(self) -> Rows:
        """The synapses as kernels read them; a view."""
        return Rows(self.starts, self.post_bytes.view(index_type(self.n_out)), self.n_out)

    @property
    def connections(self) -> Tensor:
        """Postsynaptic and presynaptic neuron of each synapse [2, n], int64; computed at each call."""
        rows = self.rows
        return torch.stack((rows.post.long(), rows.pre))

    @property
    def in_degrees(self) -> Tensor:
        """Number of synapses of each postsynaptic neuron [n_out], int64."""
        return torch.bincount(self.rows.post.int(), minlength=self.n_out)

    @property
    def out_degrees(self) -> Tensor:
        """Number of synapses of each presynaptic neuron [n_in], int64."""
        return self.starts.diff()

    def to_scipy(self) -> Any:
        """Return the weights as a sparse matrix of SciPy, as copies, in the order of `weight`.

        Returns
        -------
        scipy.sparse.csc_array [n_out, n_in]
            Several synapses of a pair are several entries; SciPy adds them up where it computes.

        Examples
        --------
        >>> import torch, neurosim as ns
        >>> synapse = ns.Sparse(3, 2, torch.tensor([[0, 1], [2, 0]]), torch.tensor([0.5, -1.0]))
        >>> synapse.to_scipy().toarray().tolist()
        [[0.0, 0.0, 0.5], [-1.0, 0.0, 0.0]]
        """
        import scipy.sparse

        weight, rows = self.weight.detach().cpu(), self.rows
        wide = np.int32 if max(weight.numel(), self.n_out, self.n_in) < 1 << 31 else np.int64
        parts = weight.numpy().copy(), rows.post.cpu().numpy().astype(wide), rows.starts.cpu().numpy().astype(wide)
        return scipy.sparse.csc_array(parts, shape=(self.n_out, self.n_in))

    @property
    def nbytes(self) -> int:
        """Bytes of memory of weights and structure."""
        return self.weight.nbytes + sum(buffer.nbytes for buffer in self.buffers())

    @property
    def bytes_per_synapse(self) -> float:
        """Bytes of memory for each synapse, those of the starts of rows included."""
        return self.nbytes / max(self.weight.numel(), 1)

    @property
    def multapses(self) -> int:
        """Number of synapses beyond the first of their pair of neurons."""
        rows = self.rows
        pairs = torch.sort(rows.pre * self.n_out + rows.post.long()).values
        return int((pairs[1:] == pairs[:-1]).sum())

    def dense(self) -> Tensor:
        """Return the weights as a matrix [n_out, n_in], in which the synapses of one pair are added up."""
        post, pre = self.connections
        flat = self.weight.new_zeros(self.n_out * self.n_in).index_add(0, post * self.n_in + pre, self.weight)
        return flat.view(self.n_out, self.n_in)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return ``(n_out,)``."""
        if tuple(shape) != (self.n_in,):
            raise self.refuse(shape, f"{self.n_in}")
        return (self.n_out,)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        tensors = {name: state_dict[prefix + name] for name, _ in self.named_buffers() if prefix + name in state_dict}
        problem = self._problem(tensors)
        if problem:  # before anything is copied: kernels do not look at indices again
            arguments[-1].append(f"{prefix.rstrip('.')}: {problem}")
            return
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    def _problem(self, tensors: Mapping[str, Tensor]) -> str | None:
        """Return what is wrong with buffers of a state_dict; torch reports missing ones and wrong sizes."""
        starts, post = tensors.get("starts"), tensors.get("post_bytes")
        if starts is None or post is None or starts.shape != self.starts.shape or post.shape != self.post_bytes.shape:
            return None
        if starts.dtype != torch.int64 or post.dtype != torch.uint8:
            return f"starts must be int64 and post_bytes uint8; got {starts.dtype} and {post.dtype}."
        synapses = self.rows.post.numel()
        if int(starts[0]) != 0 or int(starts[-1]) != synapses or bool((starts.diff() < 0).any()):
            return f"starts must ascend from 0 to {synapses}."
        largest = largest_index(post, self.n_out)
        return f"post must be below {self.n_out}; got {largest}." if largest >= self.n_out else None


def largest_index(stored: Tensor, count: int) -> int:
    """Return the largest of indices below `count` stored as bytes; a negative one counts as 2^32 more."""
    if not stored.numel():
        return 0
    unsigned = {torch.uint16: np.uint16, torch.int32: np.uint32}[index_type(count)]
    return int(stored.cpu().contiguous().numpy().view(unsigned).max())


def check_connections(owner: str, connections: object, n_in: int, n_out: int) -> Tensor:
    """Return `connections` if they are [2, n] of int64, row 0 in 0..n_out - 1 and row 1 in 0..n_in - 1.

    Raises
    ------
    ShapeError, InputError
        When they are not, or there are more neurons than an index can name.
    """
    for name, neurons in (("n_in", n_in), ("n_out", n_out)):
        if neurons > MOST_NEURONS:
            raise InputError(f"{owner}: {name} must be at most {MOST_NEURONS}; got {neurons}.")
    if not isinstance(connections, Tensor):
        raise ShapeError(f"{owner}: connections must be a tensor [2, n] of int64; got {type(connections).__name__}.")
    if connections.dim() != 2 or connections.shape[0] != 2 or connections.dtype != torch.int64:
        raise ShapeError(
            f"{owner}: connections must be [2, n] of int64; got {list(connections.shape)} of {connections.dtype}."
        )
    for row, (name, size) in enumerate((("post", n_out), ("pre", n_in))):
        outside = connections[row][(connections[row] < 0) | (connections[row] >= size)]
        if outside.numel():
            raise InputError(f"{owner}: {name} neuron {outside[0].item()} is outside 0..{size - 1}.")
    return connections


def check_weight(owner: str, weight: Tensor, count: int) -> Tensor:
    """Return `weight` if it is [count] in floating point.

    Raises
    ------
    ShapeError, InputError
        When it is not.
    """
    if weight.shape != (count,):
        raise ShapeError(f"{owner}: weight must be [{count}]; got {list(weight.shape)}.")
    if not weight.is_floating_point():
        raise InputError(f"{owner}: weight must be in floating point; got {weight.dtype}. Use weight.float().")
    return weight
