"""The parts of a network: where data enters, synapses between populations, the state of all."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple, cast

from torch import Tensor, nn

from neurosim.errors import InputError
from neurosim.population import State
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
        node to itself. Any other cycle must have a delay somewhere.
    name : str, optional
        ``"source->target"`` if left out.
    """

    source: str
    target: str
    synapse: Synapse | Sequence[Synapse]
    delay: float | None = None
    name: str = ""

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
    """

    name: str
    source: str
    target: str
    synapses: tuple[Synapse, ...]
    delay_steps: int
    delay: float

    @property
    def memory(self) -> int:
        """Steps of spikes before those of a call that the synapses need."""
        return sum(synapse.memory for synapse in self.synapses)

    def __call__(
        self, z: Tensor, bits: Tensor | None = None, active: Tensor | None = None, through_time: bool = True
    ) -> Tensor:
        """Return the current that spikes `z` [memory + T, B, ...] cause, delay aside.

        The first map is told what is known.
        """
        if any(isinstance(synapse, Delayed) for synapse in self.synapses):  # also where its longest delay is none
            for synapse in self.synapses:
                z = synapse.over(z, through_time=through_time) if isinstance(synapse, Delayed) else synapse(z)
            return z
        first, *others = self.synapses
        told = (bits is not None or active is not None) and type(first).forward is Synapse.forward
        z = first(z, bits, active) if told else first(z)
        for synapse in others:
            z = synapse(z)
        return z


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
