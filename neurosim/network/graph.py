"""The parts of a network: where data enters, synapses between populations, the state of all."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple, cast

from torch import Tensor, nn

from neurosim.errors import InputError
from neurosim.network.population import State
from neurosim.synapses import Synapse
from neurosim.synapses.delayed import Delayed


class Input(nn.Module):
    """Where data enters a network.

    Parameters
    ----------
    shape : int or sequence of int
        Shape of one step of one sample, without T and B.
    """

    def __init__(self, shape: int | Sequence[int]) -> None:
        super().__init__()
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        if not self.shape or any(not isinstance(n, int) or n < 1 for n in self.shape):
            raise InputError(f"Input: shape must hold whole numbers from 1; got {shape!r}.")

    def extra_repr(self) -> str:
        """Return the shape."""
        return str(self.shape)


@dataclasses.dataclass(frozen=True, eq=False)
class Edge:
    """Synapses from one population to another.

    Parameters
    ----------
    source, target : str
        Names of nodes.
    synapse : Synapse or sequence of Synapse
        Maps applied one after the other (convolution, pooling, flattening ...).
    delay : float, optional
        Time from spike to current in s, a whole number of steps. Left out: none, or one step for a loop from a
        node to itself. Any other cycle must have a delay somewhere. Delays of the synapses come on top; where the
        shortest of them is a step or more, a loop may have a delay of 0 here.
    name : str, optional
        ``"source->target"`` if left out, ``"source->target:port"`` if the target has several input ports.
    port : str, optional
        Input port of the target that the current feeds; needed if the target has several. Currents into one port add
        up.
    """

    source: str
    target: str
    synapse: Synapse | Sequence[Synapse]
    delay: float | None = None
    name: str = ""
    port: str = ""

    @property
    def synapses(self) -> tuple[Synapse, ...]:
        """The maps in order."""
        return tuple(self.synapse) if isinstance(self.synapse, (tuple, list)) else (cast(Synapse, self.synapse),)


@dataclasses.dataclass(frozen=True, eq=False)
class Connection:
    """An edge as the network holds it: named, with its delay on the grid.

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
        """Steps of spikes before those of a call that the synapses need."""
        return sum(synapse.memory for synapse in self.synapses)

    @property
    def min_delay(self) -> int:
        """Steps from a spike to the first current that it causes: the delay of the edge and that of its synapses."""
        return self.delay_steps + sum(synapse.min_delay for synapse in self.synapses)

    @property
    def delay_span(self) -> int:
        """Steps from the shortest delay of the synapses to the longest."""
        return sum(synapse.memory - synapse.min_delay for synapse in self.synapses)

    def __call__(
        self, z: Tensor, bits: Tensor | None = None, active: Tensor | None = None, through_time: bool = True
    ) -> Tensor:
        """Return the current that spikes `z` [delay_span + T, B, ...] cause `min_delay` steps later; see `carry`."""
        return self.carry(self.synapses, z, bits, active, through_time)[0]

    def carry(
        self,
        synapses: tuple[Synapse, ...],
        z: Tensor,
        bits: Tensor | None = None,
        active: Tensor | None = None,
        through_time: bool = True,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Take spikes `z` through some of the maps, each of which is told what is known, and return both.

        Parameters
        ----------
        synapses : tuple of Synapse
            The first maps of this edge, or all.
        z : Tensor [delay_span + T, B, ...]
        bits, active : Tensor [T B, ceil(n / 64)] of int64, optional
            As in `Synapse.forward`.
        through_time : bool
            Whether gradients pass from a step to earlier ones.
        """
        if any(isinstance(synapse, Delayed) for synapse in synapses):  # also where its longest delay is none
            for synapse in synapses:
                z = synapse.over(z, through_time=through_time) if isinstance(synapse, Delayed) else synapse(z)
            return z, None, None
        for synapse in synapses:
            shape = tuple(z.shape[2:])
            told = (bits is not None or active is not None) and type(synapse).forward is Synapse.forward
            z = synapse(z, bits, active) if told else synapse(z)
            hooked = synapse._forward_hooks or synapse._forward_pre_hooks or synapse._backward_hooks
            bits, active = synapse.passed_on(shape, bits, active) if told and not hooked else (None, None)
        return z, bits, active


class NetworkState(NamedTuple):
    """State of a network.

    Attributes
    ----------
    nodes : dict of str to NamedTuple of Tensor [B, ...]
        State of each population.
    edges : dict of str to Tensor [delay steps + memory, B, ...]
        Spikes under way on each edge with a delay, or with synapses that have delays of their own; the oldest first.
    """

    nodes: dict[str, State]
    edges: dict[str, Tensor]

    def detach(self) -> NetworkState:
        """Return the same state without gradient history."""
        nodes = {k: type(s)(*(v.detach() for v in s)) for k, s in self.nodes.items()}
        return NetworkState(nodes, {k: v.detach() for k, v in self.edges.items()})
