"""The parts of a network: inputs, edges between populations, and its state."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from neurosim.errors import InputError
from neurosim.network.population import State, Uncalled, has_hooks
from neurosim.synapses import Synapse
from neurosim.synapses.delayed import Delayed


class Input(Uncalled):
    """A node whose output is data given to each call of the network.

    Parameters
    ----------
    shape : int or sequence of int
        Shape of one step of one sample, without T and B.
    """

    def __init__(self, shape: int | Sequence[int]) -> None:
        super().__init__()
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        if not self.shape or any(not isinstance(n, int) or n < 1 for n in self.shape):
            raise InputError(f"Input: shape must hold integers from 1; got {shape!r}.")

    def extra_repr(self) -> str:
        """Return the shape."""
        return str(self.shape)


@dataclasses.dataclass(frozen=True, eq=False)
class Edge:
    """Synapses from one population to another.

    Parameters
    ----------
    source : str
        Name of a node.
    target : str or tuple of str
        Name of a population, or the names of several, which stand for one edge each with a copy of the synapses.
        Synapses with parameters are then refused: copies of them would learn apart, or be one.
    synapse : Synapse or sequence of Synapse
        Applied one after the other (convolution, pooling, flattening ...).
    delay : float, optional
        Time from spike to current in s, an integer number of steps. Default: 0, or one step for a loop from a node
        to itself. Every other cycle needs a delay on one of its edges. Delays of the synapses add to it; if the
        shortest of them is a step or more, a loop may have a delay of 0 here.
    name : str, optional
        ``"source->target"`` if left out, ``"source->target:port"`` if the target has several input ports. Not with
        several targets.
    port : str, optional
        Input port of the target that the current feeds; needed if the target has several. Currents into one port add
        up.
    """

    source: str
    target: str | tuple[str, ...]
    synapse: Synapse | Sequence[Synapse]
    delay: float | None = None
    name: str = ""
    port: str = ""

    @property
    def synapses(self) -> tuple[Synapse, ...]:
        """The synapses in order."""
        return tuple(self.synapse) if isinstance(self.synapse, (tuple, list)) else (cast(Synapse, self.synapse),)


@dataclasses.dataclass(frozen=True, eq=False)
class Connection:
    """An edge of a network, with its name, its port and its delay in steps.

    Attributes
    ----------
    name, source, target : str
    synapses : tuple of Synapse
    delay_steps : int
    delay : float
        In s.
    port : str
        Input port of the target.
    """

    name: str
    source: str
    target: str
    synapses: tuple[Synapse, ...]
    delay_steps: int
    delay: float
    port: str

    @property
    def memory(self) -> int:
        """Number of steps before those of a call whose spikes the synapses need."""
        return sum(synapse.memory for synapse in self.synapses)

    @property
    def reach(self) -> int:
        """Number of steps before those of a call whose spikes the edge needs: its delay and those of its synapses."""
        return self.delay_steps + self.memory

    @property
    def min_delay(self) -> int:
        """Steps from a spike to the first current that it causes: delay of the edge plus that of its synapses."""
        return self.delay_steps + sum(synapse.min_delay for synapse in self.synapses)

    @property
    def delay_span(self) -> int:
        """Steps from the shortest delay of the synapses to the longest."""
        return sum(synapse.memory - synapse.min_delay for synapse in self.synapses)

    def __call__(
        self, z: Tensor, packed_bits: Tensor | None = None, mask: Tensor | None = None, through_time: bool = True
    ) -> Tensor:
        """Return the current that spikes `z` [delay_span + T, B, ...] cause `min_delay` steps later; see `carry`."""
        return self.carry(self.synapses, z, packed_bits, mask, through_time)[0]

    def carry(
        self,
        synapses: tuple[Synapse, ...],
        z: Tensor,
        packed_bits: Tensor | None = None,
        mask: Tensor | None = None,
        through_time: bool = True,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Apply some of the synapses to spikes `z`, passing packed bits and mask along.

        Parameters
        ----------
        synapses : tuple of Synapse
            The first synapses of this edge, or all.
        z : Tensor [delay_span + T, B, ...]
        packed_bits, mask : Tensor [T B, ceil(n / 64)] of int64, optional
            As in `Synapse.forward`.
        through_time : bool
            Whether gradients pass from a step to earlier ones.

        Returns
        -------
        current : Tensor [T, B, ...]
        packed_bits, mask : Tensor or None
            Those of the current, if known.
        """
        if any(isinstance(synapse, Delayed) for synapse in synapses):  # even if its longest delay is 0
            for synapse in synapses:
                z = synapse.over(z, through_time=through_time) if isinstance(synapse, Delayed) else synapse(z)
            return z, None, None
        for synapse in synapses:
            shape = tuple(z.shape[2:])
            is_known = packed_bits is not None or mask is not None
            passes_on = is_known and type(synapse).forward is Synapse.forward and "forward" not in vars(synapse)
            z = synapse(z, packed_bits, mask) if passes_on else synapse(z)
            passes_on = passes_on and not has_hooks(synapse)
            packed_bits, mask = synapse.passed_on(shape, packed_bits, mask) if passes_on else (None, None)
        return z, packed_bits, mask


class NetworkState(NamedTuple):
    """State of a network.

    Attributes
    ----------
    nodes : dict of str to NamedTuple of Tensor [B, ...]
        State of each population.
    in_flight : dict of str to Tensor [D, B, ...]
        Last outputs of each node with delayed edges, or with edges whose synapses have delays; the oldest first. D is
        the largest `Connection.reach` of these edges. All of them read this one tensor.
    plastic : dict of str to NamedTuple of Tensor [B, ...]
        Weights and traces of each edge whose weights changed in the run; see `neurosim.simulate`.
    """

    nodes: dict[str, State]
    in_flight: dict[str, Tensor]
    plastic: dict[str, State] = {}  # noqa: RUF012  # never changed

    def detach(self) -> NetworkState:
        """Return the same state without gradient history."""
        return self._mapped(lambda v: v.detach(), lambda v: v.detach())

    def to(
        self, device: torch.device | str | torch.dtype | None = None, dtype: torch.dtype | None = None
    ) -> NetworkState:
        """Return the state on another device, in another floating-point type, or both.

        Numbers of sources, which are integers, keep their type.
        """
        if isinstance(device, torch.dtype):
            device, dtype = None, device
        place = device

        def move(v: Tensor) -> Tensor:
            real = dtype if dtype is not None and v.is_floating_point() else v.dtype
            return v.to(v.device if place is None else place, real)

        return self._mapped(move, move)

    def select(self, samples: int | slice | Tensor | Sequence[int]) -> NetworkState:
        """Return the state of some samples of the batch, in this order.

        Parameters
        ----------
        samples : int, slice, sequence of int, or Tensor of int64 or bool
            A single number selects a batch of one.
        """
        index: Any = slice(samples, samples + 1 or None) if isinstance(samples, int) else samples
        index = torch.as_tensor(index) if isinstance(index, (list, tuple)) else index
        return self._mapped(lambda v: v[index], lambda v: v[:, index])

    def _mapped(self, of_node: Callable[[Tensor], Tensor], of_line: Callable[[Tensor], Tensor]) -> NetworkState:
        nodes, plastic = (
            {k: type(s)(*map(of_node, s)) for k, s in states.items()} for states in (self.nodes, self.plastic)
        )
        return NetworkState(nodes, {k: of_line(v) for k, v in self.in_flight.items()}, plastic)
