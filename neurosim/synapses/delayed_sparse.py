"""Sparse synapses with a delay each, in 8 to 12 bytes a synapse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neurosim.errors import InputError, ShapeError
from neurosim.kernels.common.autograd import under_transform
from neurosim.kernels.common.availability import warn_of_missing
from neurosim.kernels.delayed import chunked, reference
from neurosim.kernels.delayed.operator import delayed_sparse
from neurosim.kernels.delayed.rows import DelayedRows, delayed_rows, sort_by_delay
from neurosim.kernels.drawing.arguments import Drawing
from neurosim.kernels.sparse.rows import Rows, index_type
from neurosim.synapses.connectivity import ConnectionRule
from neurosim.synapses.delayed import FixedDelays, in_steps
from neurosim.synapses.distributions import Distribution
from neurosim.synapses.drawing import BITS, drawing_of, drawn_rows, exact_weight, key_of, pairs_between
from neurosim.synapses.linear import uniform_weight
from neurosim.synapses.lowering import Lowered, SparseRows
from neurosim.synapses.sparse import Sparse
from neurosim.synapses.structure import SparseStructure, check_connections, check_weight, largest_index
from neurosim.synapses.synapse import count, event_driven


class DelayedSparse(SparseStructure, FixedDelays):
    r"""Synapses listed one by one, each with a fixed delay: ``i[t, post] += weight * z[t - delay, pre]``.

    On the CPU a spike is delivered once to each of its synapses, after the delay of the synapse; the cost grows with
    the number of spikes. Currents are summed in order of the spikes' step, then of their neuron, so that splitting a
    run gives the same bits, and those of `RoundedDelays` for the same matrix. Weights learn; delays do not.

    Parameters
    ----------
    n_in, n_out : int
        Number of presynaptic and of postsynaptic neurons, up to 2^31.
    connections : Tensor [2, n] of int64
        Row 0 the postsynaptic neuron of each synapse, row 1 the presynaptic neuron. A pair may be listed several times
        (multapses); each synapse counts, with its own weight and delay.
    delay : Tensor [n]
        In steps if of int64, else in s, an integer number of steps each; from 0.
    weight : Tensor [n], optional
        Drawn as for a linear layer with the mean number of inputs if left out.
    max_delay : float, optional
        Longest delay that the state has room for, s; the longest delay if left out.
    dt : float, optional
        Length of a step, s, in (0, 0.1); that of its network if left out. Weights and delays are made when it is known.

    Attributes
    ----------
    weight : Parameter [n]
        Sorted by presynaptic neuron, then by delay, then by postsynaptic neuron.
    starts, post_bytes, delay_bytes, least_delay : Tensor
        Which neurons the synapses join, and after which delay; see `rows` and `delay`.
    memory : int
        Steps of spikes that the state holds.
    min_delay : int
        Shortest delay, steps. A cycle of a network runs that many steps at once.

    Raises
    ------
    ShapeError, InputError
        When the tensors do not fit each other, a delay is not on the grid, below 0 or beyond `max_delay`.

    Notes
    -----
    Where there are at most 65,536 postsynaptic neurons and steps of delay, a synapse takes 2 bytes for its neuron, 2
    for its delay and 4 for its weight in single precision; a presynaptic neuron takes 8. See `bytes_per_synapse`. Runs
    of fewer steps at once than the delays span keep in memory where each delay begins in each row of synapses, at most
    4 bytes a synapse more.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> from neurosim.synapses import DelayedSparse
    >>> pairs = torch.tensor([[0, 1], [0, 0]])
    >>> synapse = DelayedSparse(1, 2, pairs, torch.tensor([0, 2]), torch.tensor([1.0, 2.0]), dt=1e-3)
    >>> current, state = synapse(torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1))
    >>> current[:, 0].tolist()
    [[1.0, 0.0], [0.0, 0.0], [0.0, 2.0]]
    """

    _delay_buffer = "least_delay"
    bias: Tensor | nn.Parameter | None = None
    delay_bytes: Tensor
    least_delay: Tensor

    def __init__(
        self,
        n_in: int,
        n_out: int,
        connections: Tensor,
        delay: Tensor,
        weight: Tensor | None = None,
        *,
        max_delay: float | None = None,
        dt: float | None = None,
    ) -> None:
        name = type(self).__name__
        n_in, n_out = count(name, "n_in", n_in), count(name, "n_out", n_out)
        post, pre = check_connections(name, connections, n_in, n_out)
        super().__init__(n_in, n_out)
        self._make_by(dt, "_sort", post=post, pre=pre, delay=delay, weight=weight, max_delay=max_delay)

    def _sort(self, post: Tensor, pre: Tensor, delay: Tensor, weight: Tensor | None, max_delay: float | None) -> None:
        """Sort given synapses into rows."""
        name, n_in, n_out = type(self).__name__, self.n_in, self.n_out
        steps = in_steps(name, delay, self.dt)
        if steps.shape != pre.shape:
            raise ShapeError(f"{name}: delay must be [{pre.numel()}]; got {list(steps.shape)}.")
        shortest, longest = (int(steps.min()), int(steps.max())) if steps.numel() else (0, 0)
        self._set_memory(max_delay, max(longest, 0))
        if shortest < 0 or longest > self.memory:
            raise InputError(f"{name}: delays must lie in 0 to {self.memory} steps; got {shortest} to {longest}.")
        rows, order = delayed_rows(pre, post, steps - shortest, n_in, n_out, self.memory)
        if weight is None:
            start = uniform_weight((order.numel(),), -(-order.numel() // n_out)).detach()
        else:
            start = check_weight(name, weight, order.numel()).detach()[order]
        self._fill(rows, shortest, start)
        if weight is None:
            self.note_drawn_weights()

    @classmethod
    def drawn(
        cls,
        n_in: int,
        n_out: int,
        rule: ConnectionRule,
        *,
        delay: Distribution,
        weight: Distribution | None = None,
        seed: int,
        max_delay: float | None = None,
        dt: float | None = None,
    ) -> DelayedSparse:
        """Draw synapses by a rule, in time and memory that grow with their number.

        Parameters
        ----------
        n_in, n_out, rule, weight, seed
            As in `Sparse.drawn`; for the same seed they are the same.
        delay : Distribution
            In s, from 0. What is drawn is rounded to the nearest step; a `Constant` must be an integer number of steps.
        max_delay, dt : float
            As for the constructor.

        Examples
        --------
        >>> from neurosim.synapses import DelayedSparse
        >>> from neurosim.synapses.connectivity import FixedInDegree
        >>> from neurosim.synapses.distributions import Normal
        >>> delay = Normal(1.5e-3, 0.75e-3, low=0.1e-3, outside="redrawn")
        >>> synapse = DelayedSparse.drawn(1000, 500, FixedInDegree(20), delay=delay, seed=1, dt=0.1e-3)
        >>> synapse.min_delay
        1
        """
        made = cls.__new__(cls)
        FixedDelays.__init__(made, n_in, n_out)
        made._make_by(dt, "_draw", rule=rule, delay=delay, weight=weight, seed=seed, max_delay=max_delay)
        return made

    @classmethod
    def of_drawing(cls, drawing: Drawing, dt: float) -> DelayedSparse:
        """Return the synapses that a rule draws; the state has room for the longest delay that may be drawn."""
        made = cls.__new__(cls)
        FixedDelays.__init__(made, drawing.pairs.n_in, drawing.pairs.n_out)
        made._make_by(dt, "_take", drawing=drawing, max_delay=None, longest=drawing.delay.last)
        return made

    def _draw(
        self,
        rule: ConnectionRule,
        delay: Distribution,
        weight: Distribution | None,
        seed: int,
        max_delay: float | None,
    ) -> None:
        """Draw synapses by a rule."""
        pairs = pairs_between(rule, self.n_in, self.n_out)
        drawing = drawing_of(rule, pairs, weight, delay, BITS, key_of(seed, ""), self.dt)
        self._take(drawing, max_delay, exact=exact_weight(rule, weight))
        if weight is None:
            self.note_drawn_weights()

    def _take(
        self,
        drawing: Drawing,
        max_delay: float | None,
        longest: int | None = None,
        exact: float | np.ndarray | None = None,
    ) -> None:
        """Draw synapses; `exact`: weights that are not rounded to the grid."""
        undelayed, values, steps = drawn_rows(drawing, exact)
        if steps is None:
            steps = torch.full((values.numel(),), drawing.delay.first, dtype=torch.int32)
        shortest, last = (int(steps.min()), int(steps.max())) if steps.numel() else (0, 0)
        self._set_memory(max_delay, last if longest is None else longest)
        if last > self.memory:
            name = type(self).__name__
            raise InputError(f"{name}: delays up to {last} steps were drawn; max_delay is {self.memory} steps.")
        self._fill(sort_by_delay(undelayed, steps.sub_(shortest), values, self.memory), shortest, values)

    def _fill(self, rows: DelayedRows, shortest: int, weight: Tensor) -> None:
        """Register buffers and weights; delays of the rows are those beyond the shortest."""
        self._hold(Rows(rows.starts, rows.post, rows.n_out))
        self.register_buffer("delay_bytes", rows.delay.contiguous().view(torch.uint8))
        self.register_buffer("least_delay", torch.tensor(shortest))
        self._update_shortest()
        self.weight = nn.Parameter(weight)
        self._bounds: tuple[Tensor, int, int, Tensor | None] | None = None

    @property
    def delayed_rows(self) -> DelayedRows:
        """The synapses as kernels read them, with the delays beyond the shortest; a view."""
        starts, post, n_out = self.rows
        return DelayedRows(starts, post, self.delay_bytes.view(index_type(self.memory + 1)), n_out, self.delay_span)

    @property
    def delay(self) -> Tensor:
        """Delay of each synapse in steps [n], int64; computed at each call."""
        return self.delayed_rows.delay.long() + self.min_delay

    def by_delay(self) -> list[tuple[float, Sparse]]:
        """Return the same synapses as `Sparse` synapses, one for each delay that occurs; see `RoundedDelays.by_delay`.

        Returns
        -------
        list of (float, Sparse)
            Delay in s, ascending, and the synapses.
        """
        connections, delay, weight = self.connections, self.delay, self.weight.detach()
        return [
            (
                steps * self.dt,
                Sparse(self.n_in, self.n_out, connections[:, delay == steps], weight[delay == steps]),
            )
            for steps in delay.unique().tolist()
        ]

    def _currents(self, line: Tensor, through_time: bool) -> Tensor:
        rows = self._bounded_rows() if line.shape[0] < 2 * self.delay_span else self.delayed_rows
        current = self._product(line if through_time else line.detach(), rows)
        if not through_time and line.requires_grad and not self.min_delay:
            own = line[self.delay_span :]  # adds 0, and the gradient of the step itself
            current = current + self._without_delay()(own - own.detach())
        return current

    def _bounded_rows(self) -> DelayedRows:
        """Return the rows with bounds, which are kept until the delays change."""
        if torch.compiler.is_compiling() or self.delay_bytes.device.type != "cpu":
            return self.delayed_rows
        key = self.delay_bytes, self.delay_bytes._version, self.min_delay
        if self._bounds is None or self._bounds[0] is not key[0] or self._bounds[1:3] != key[1:]:
            self._bounds = *key, self.delayed_rows.with_bounds().bounds
        return self.delayed_rows._replace(bounds=self._bounds[3])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_bounds": None}

    def _product(self, line: Tensor, rows: DelayedRows) -> Tensor:
        if event_driven(line, self.weight):
            return delayed_sparse(line, self.weight, rows)
        if under_transform():
            return reference.multiply(line, self.weight, rows)
        if line.device.type != "cpu":
            warn_of_missing("sparse synapses with delays", line.device)
        return chunked.multiply(line, self.weight, rows)

    def _without_delay(self) -> Sparse:
        """Return the synapses of delay 0, with weights that do not learn."""
        is_prompt = self.delay == 0
        made = Sparse(self.n_in, self.n_out, self.connections[:, is_prompt], self.weight[is_prompt])
        return made.requires_grad_(False)

    def _shortest_in(self, buffer: Tensor) -> int:
        return int(buffer)

    def _problem(self, tensors: Mapping[str, Tensor]) -> str | None:
        problem = super()._problem(tensors)
        delay, least = tensors.get("delay_bytes"), tensors.get("least_delay")
        if problem or delay is None or least is None or delay.shape != self.delay_bytes.shape or least.dim():
            return problem
        if delay.dtype != torch.uint8 or least.dtype != torch.int64:
            return f"delay_bytes must be uint8 and least_delay int64; got {delay.dtype} and {least.dtype}."
        beyond, shortest = largest_index(delay, self.memory + 1), int(least)
        if shortest < 0 or shortest + beyond > self.memory:
            return f"delays must lie in 0 to {self.memory} steps; got {shortest} to {shortest + beyond}."
        return self._unsorted(tensors["starts"], delay)

    def _unsorted(self, starts: Tensor, delay: Tensor) -> str | None:
        """Return what is wrong if the delays of a row do not ascend, as the kernels rely on."""
        steps = delay.cpu().contiguous().view(index_type(self.memory + 1)).numpy()
        descends = steps[1:] < steps[:-1]
        begins = starts[1:-1].cpu().numpy()
        descends[begins[(begins > 0) & (begins < len(steps))] - 1] = False
        return "delays must ascend within the row of a presynaptic neuron." if descends.any() else None

    def _lowered(self, shape: tuple[int, ...]) -> Lowered:
        post, pre = self.connections
        order = torch.argsort(post, stable=True)
        return SparseRows(self.n_out, self.n_in, post[order], pre[order], self.weight[order], None, self.delay[order])

    def extra_repr(self) -> str:
        """Return the sizes."""
        if not self.has_dt:
            return super().extra_repr()
        sizes = f"{self.n_in}, {self.n_out}, {self.weight.numel()} synapses"
        return f"{sizes}, delays of {self.min_delay} to {self.memory} steps, dt={self.dt:g}"
