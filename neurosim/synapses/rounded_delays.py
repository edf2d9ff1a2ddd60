"""Synapses between all neurons with fixed delays of an integer number of steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from neurosim.errors import InputError, ShapeError
from neurosim.kernels.delayed.rows import DelayedRows, all_to_all
from neurosim.synapses.delay_taps import TapDelays, by_event, single_taps
from neurosim.synapses.delayed import FixedDelays
from neurosim.synapses.linear import Linear
from neurosim.synapses.lowering import Dense, Lowered


class RoundedDelays(FixedDelays, TapDelays):
    r"""All-to-all synapses with fixed delays: ``i[t, o] = sum_j w[o, j] z[t - d[o, j], j] + b[o]``.

    On the CPU a spike is delivered once to each postsynaptic neuron, after the delay of the synapse; the cost grows
    with the number of spikes. Currents are summed in order of the spikes' step, then of their neuron, so that splitting
    a run gives the same bits. Input other than 0 and 1 goes through a convolution. `DelayedLinear.rounded` returns such
    synapses. They have no parameters: they are for use, not for training. For a part of all pairs, and for weights that
    learn, see `DelayedSparse`.

    Parameters
    ----------
    weight : Tensor [n_out, n_in]
        In floating point.
    delay : Tensor [n_out, n_in] of int64
        Steps, from 0.
    bias : Tensor [n_out], optional
        Constant current.
    max_delay : float, optional
        Longest delay that the state has room for, s; the longest delay if left out.
    dt : float, optional
        Length of a step, s, in (0, 0.1); that of its network if left out.

    Attributes
    ----------
    weight, delay, bias
        As given, as buffers.
    memory : int
        Steps of spikes that the state holds.
    min_delay : int
        Shortest delay, steps. A cycle of a network runs that many steps at once.

    Raises
    ------
    ShapeError, InputError
        When the tensors do not fit each other, or a delay is below 0 or beyond `max_delay`.

    Examples
    --------
    >>> import torch
    >>> from neurosim.synapses import RoundedDelays
    >>> synapse = RoundedDelays(torch.tensor([[1.0], [2.0]]), torch.tensor([[0], [2]]), dt=1e-3)
    >>> spike = torch.tensor([1.0, 0.0]).view(2, 1, 1)
    >>> first, state = synapse(spike)
    >>> later, state = synapse(torch.zeros(2, 1, 1), state)
    >>> torch.cat((first, later))[:, 0].tolist()
    [[1.0, 0.0], [0.0, 0.0], [0.0, 2.0], [0.0, 0.0]]
    """

    _delay_buffer = "delay"
    weight: Tensor
    delay: Tensor
    bias: Tensor | None

    def __init__(
        self,
        weight: Tensor,
        delay: Tensor,
        bias: Tensor | None = None,
        *,
        max_delay: float | None = None,
        dt: float | None = None,
    ) -> None:
        if weight.dim() != 2 or delay.shape != weight.shape or not weight.is_floating_point():
            raise ShapeError(
                "RoundedDelays: weight must be [n_out, n_in] in floating point and delay of the same shape; got "
                f"{list(weight.shape)} of {weight.dtype} and {list(delay.shape)}."
            )
        if delay.dtype != torch.int64:
            raise InputError(f"RoundedDelays: delay must be in steps, of int64; got {delay.dtype}.")
        if bias is not None and bias.shape != weight.shape[:1]:
            raise ShapeError(f"RoundedDelays: bias must be [{weight.shape[0]}]; got {list(bias.shape)}.")
        super().__init__(weight.shape[1], weight.shape[0])
        self._listed: tuple[tuple[int, int], tuple[Tensor, DelayedRows]] | None = None
        self.register_buffer("weight", weight.detach().clone())
        self.register_buffer("delay", delay.clone())
        self.register_buffer("bias", None if bias is None else bias.detach().clone())
        self._make_by(dt, "_set_range", max_delay=max_delay)

    def _set_range(self, max_delay: float | None) -> None:
        """Set the longest and the shortest delay."""
        delay = self.delay
        longest = max(int(delay.max()), 0) if delay.numel() else 0
        self._set_memory(longest * self.dt if max_delay is None else max_delay)
        if (delay.numel() and int(delay.min()) < 0) or longest > self.memory:
            raise InputError(
                f"RoundedDelays: delays must lie in 0 to {self.memory} steps; got {int(delay.min())} to {longest}."
            )
        self._update_shortest()

    def _shortest_in(self, buffer: Tensor) -> int:
        return int(buffer.min()) if buffer.numel() else self.memory

    def kernel(self) -> Tensor:
        """Return the kernels [n_out, n_in, delay_span + 1], a single tap each."""
        return single_taps(self.weight, self.delay - self.min_delay, self.delay_span)

    def _by_event(self, line: Tensor) -> Tensor | None:
        learns = torch.is_grad_enabled() and line.requires_grad
        return None if learns else by_event(line, self.weight, self._synapses, share=1.0)

    def _lowered(self, shape: tuple[int, ...]) -> Lowered:
        return Dense(self.weight, self.bias, self.delay)

    def by_delay(self) -> list[tuple[float, Linear]]:
        """Return the same synapses as `Linear` synapses, one for each delay that occurs.

        As edges of a network with these delays they give the same currents, and export wherever delayed edges do::

            edges = [
                ns.Edge("a", "b", synapse, delay=delay, name=f"a->b after {delay:g} s")
                for delay, synapse in rounded.by_delay()
            ]

        The weights of other delays are 0 in each. The first has the bias.

        Returns
        -------
        list of (float, Linear)
            Delay in s, ascending, and the synapses.
        """
        parts: list[tuple[float, Linear]] = []
        for steps in self.delay.unique().tolist():
            bias = self.bias if not parts else None
            synapse = Linear(self.n_in, self.n_out, bias=bias is not None).to(self.weight)
            with torch.no_grad():
                synapse.weight.copy_(self.weight * (self.delay == steps))
                if synapse.bias is not None and bias is not None:
                    synapse.bias.copy_(bias)
            parts.append((steps * self.dt, synapse))
        return parts

    def _synapses(self) -> tuple[Tensor, DelayedRows]:
        version = self.weight._version, self.delay._version
        if self._listed is None or self._listed[0] != version:
            rows, order = all_to_all(self.delay - self.min_delay, self.delay_span)
            self._listed = version, (self.weight.T.flatten()[order], rows.with_bounds())
        return self._listed[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_listed": None}  # pickle cannot restore 16-bit integers

    def _apply(self, *arguments: Any, **named: Any) -> RoundedDelays:
        self._listed = None  # on another device or in another precision
        return super()._apply(*arguments, **named)
