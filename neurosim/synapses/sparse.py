"""Sparse synapses: only the synapses that exist are stored, in 6 to 8 bytes each."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from neurosim.errors import InputError
from neurosim.kernels.common.autograd import under_transform
from neurosim.kernels.common.availability import warn_of_missing
from neurosim.kernels.drawing.arguments import Drawing
from neurosim.kernels.sparse import chunked, reference
from neurosim.kernels.sparse.operator import event_sparse
from neurosim.kernels.sparse.rows import Rows, sorted_rows
from neurosim.synapses.connectivity import Bernoulli, ConnectionRule
from neurosim.synapses.distributions import Constant, Distribution
from neurosim.synapses.drawing import BITS, drawing_of, drawn_rows, exact_weight, key_of, pairs_between
from neurosim.synapses.linear import uniform_weight
from neurosim.synapses.lowering import Lowered, SparseRows
from neurosim.synapses.structure import SparseStructure, check_connections, check_weight
from neurosim.synapses.synapse import count, event_driven


class Sparse(SparseStructure):
    """Synapses listed one by one: ``i[post] += weight * z[pre]``.

    Parameters
    ----------
    n_in, n_out : int
        Number of presynaptic and of postsynaptic neurons, up to 2^31.
    connections : Tensor [2, n] of int64, or Rows
        Row 0 the postsynaptic neuron of each synapse, row 1 the presynaptic neuron. A pair may be listed several times
        (multapses); each synapse counts, with its own weight. A neuron may be connected to itself (autapses). Rows of
        `neurosim.kernels.sparse.rows` are taken as they are.
    weight : Tensor [n], optional
        Drawn as for a linear layer with the mean number of inputs if left out.

    Attributes
    ----------
    weight : Parameter [n]
        Sorted by presynaptic neuron, then by postsynaptic neuron; synapses of one pair in the order given.
    starts, post_bytes : Tensor
        Which neurons the synapses join: rows of synapses by presynaptic neuron, see `rows`.

    Raises
    ------
    ShapeError, InputError
        When `connections` and `weight` do not fit.

    Notes
    -----
    A synapse takes 4 bytes for its weight in single precision and 2 for its postsynaptic neuron, 4 where there are more
    than 65,536 of these; a presynaptic neuron takes 8. A training step needs the gradient of the weights beside
    that, and nothing else. `bytes_per_synapse` gives the total.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> synapse = ns.Sparse(3, 2, torch.tensor([[0, 1], [2, 0]]), torch.tensor([0.5, -1.0]))
    >>> synapse(torch.tensor([[[1.0, 1.0, 1.0]]])).tolist()
    [[[0.5, -1.0]]]
    >>> synapse.connections.tolist(), synapse.weight.tolist()
    ([[1, 0], [0, 2]], [-1.0, 0.5])
    """

    def __init__(self, n_in: int, n_out: int, connections: Tensor | Rows, weight: Tensor | None = None) -> None:
        super().__init__()
        self.n_in, self.n_out = count("Sparse", "n_in", n_in), count("Sparse", "n_out", n_out)
        order = None
        if isinstance(connections, Rows):
            rows = connections
        else:
            post, pre = check_connections("Sparse", connections, n_in, n_out)
            rows, order = sorted_rows(pre, post, n_in, n_out)
        self._hold(rows)
        if order is None:
            self._check_rows(rows)
        synapses = rows.post.numel()
        if weight is None:
            self.weight = uniform_weight((synapses,), -(-synapses // n_out))
            self.note_drawn_weights()
        else:
            weight = check_weight("Sparse", weight, synapses).detach()
            self.weight = nn.Parameter(weight.clone() if order is None else weight[order])

    @classmethod
    def random(cls, n_in: int, n_out: int, density: float, *, generator: torch.Generator | None = None) -> Sparse:
        """Connect each pair with the same probability, independently; see `drawn` for other rules.

        Parameters
        ----------
        n_in, n_out : int
            Number of presynaptic and of postsynaptic neurons.
        density : float
            Probability, in (0, 1].
        generator : torch.Generator, optional
            Source of the seed; torch's own if left out.
        """
        if not 0 < density <= 1:
            raise InputError(f"Sparse: density must be in (0, 1]; got {density!r}.")
        seed = int(torch.randint(1 << 62, (), generator=generator))
        return cls.drawn(n_in, n_out, Bernoulli(density), seed=seed)

    @classmethod
    def drawn(
        cls, n_in: int, n_out: int, rule: ConnectionRule, *, weight: Distribution | None = None, seed: int
    ) -> Sparse:
        """Draw synapses by a rule, in time and memory that grow with their number.

        Parameters
        ----------
        n_in, n_out : int
            Number of presynaptic and of postsynaptic neurons.
        rule : ConnectionRule
            One of `neurosim.synapses.connectivity`, such as ``FixedInDegree(100)``.
        weight : Distribution, optional
            One of `neurosim.synapses.distributions`, drawn on a grid of 15 bits (see `Drawn`); a `Constant` is taken as
            it is. That of a linear layer with the expected number of inputs if left out.
        seed : int
            From 0. The same seed gives the same synapses, and for any distribution of weights the same structure.

        Examples
        --------
        >>> import neurosim as ns
        >>> from neurosim.synapses.connectivity import FixedInDegree
        >>> from neurosim.synapses.distributions import Normal
        >>> weight = Normal(0.5, 0.1, low=0.0, outside="redrawn")
        >>> synapse = ns.Sparse.drawn(1000, 500, FixedInDegree(20), weight=weight, seed=1)
        >>> synapse.weight.numel(), synapse.connections[0].bincount().tolist() == [20] * 500
        (10000, True)
        """
        n_in, n_out = count("Sparse", "n_in", n_in), count("Sparse", "n_out", n_out)
        pairs = pairs_between(rule, n_in, n_out)
        drawing = drawing_of(rule, pairs, weight, Constant(0.0), BITS, key_of(seed, ""), 1e-3)
        synapse = cls.of_drawing(drawing, exact_weight(rule, weight))
        if weight is None:
            synapse.note_drawn_weights()
        return synapse

    @classmethod
    def of_drawing(cls, drawing: Drawing, exact: float | np.ndarray | None = None) -> Sparse:
        """Return the synapses that a rule draws; `exact`: weights that are not rounded to the grid."""
        drawn = drawn_rows(drawing, exact)
        return cls(drawing.pairs.n_in, drawing.pairs.n_out, drawn.rows, drawn.weight)

    def merged(self) -> Sparse:
        """Return the same synapses with those of one pair made one, whose weight is their sum."""
        post, pre = self.connections
        pairs, place = torch.unique(pre * self.n_out + post, return_inverse=True)
        weight = torch.zeros_like(self.weight[: pairs.numel()]).index_add(0, place, self.weight.detach())
        pre = torch.div(pairs, self.n_out, rounding_mode="floor")
        return Sparse(self.n_in, self.n_out, torch.stack((pairs - pre * self.n_out, pre)), weight)

    def apply_step(self, x: Tensor) -> Tensor:
        """Return ``x`` [n, n_in] times the sparse weights."""
        return self.apply_spikes(x, None, None)

    def apply_spikes(self, x: Tensor, packed_bits: Tensor | None, mask: Tensor | None) -> Tensor:
        """Like `apply_step`, with the packed bits and the gradient mask of `forward`."""
        rows = self.rows
        if event_driven(x, self.weight):
            return event_sparse(x, self.weight, rows, packed_bits=packed_bits, mask=mask)
        if under_transform():
            return reference.multiply(x, self.weight, rows)
        if x.device.type != "cpu":
            warn_of_missing("sparse synapses", x.device)
        return chunked.multiply(x, self.weight, rows)

    def _lowered(self, shape: tuple[int, ...]) -> Lowered:
        post, pre = self.connections
        return SparseRows(self.n_out, self.n_in, post, pre, self.weight)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"{self.n_in}, {self.n_out}, {self.weight.numel()} synapses"
