"""What the engines of all devices have in common: sources, currents from outside, which values are kept."""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from neurosim.circuit.sources import Poisson, PoissonLaws
from neurosim.circuit.wiring import Wiring
from neurosim.errors import ShapeError
from neurosim.network.graph import NetworkState
from neurosim.network.in_flight import delayed, shifted
from neurosim.network.network import Network
from neurosim.network.source import SourceState
from neurosim.recording.trace import Sampling


class CircuitRun(abc.ABC):
    """A run of a network by an engine of circuits: it holds the state and advances it.

    Parameters
    ----------
    net : Network
    state : NetworkState
        State before the first step.
    record : mapping of str to Sampling or None, or sequence of str
        Nodes, and state variables ``"node.variable"`` with which values of them are kept; all where it is None.
    first : int
        Steps of the run before this one, from which those of a `Sampling` count.
    """

    wiring: Wiring

    def __init__(
        self, net: Network, state: NetworkState, record: Mapping[str, Sampling | None] | Sequence[str], first: int
    ) -> None:
        self.net, self.record = net, dict(record) if isinstance(record, Mapping) else dict.fromkeys(record)
        self.steps = first
        name = next(iter(net.populations()))
        self.real, self.samples = state.nodes[name][0].dtype, state.nodes[name][0].shape[0]
        if not self.samples:
            raise ShapeError('the engine of circuits needs a batch of 1 or more; got 0. engine="layered" takes it.')
        for name, node in net.neurons().items():
            wanted = (self.samples, *net.shape(name))
            for variable, values in zip(node.core.state, state.nodes[name], strict=True):
                if values.shape != wanted:
                    raise ShapeError(f"state of {name!r}: {variable} must be {list(wanted)}; got {list(values.shape)}.")
        self.sources = {name: SourceState(*state.nodes[name]) for name in net.sources}

    def _wire(self, wiring: Wiring, state: NetworkState) -> None:
        """Take the edges, and what is in flight to those from outside."""
        self.wiring = wiring
        outside = {*(edge.source for edge in wiring.outside), *self.record, *wiring.histories}
        self.dense_sources = outside.intersection(self.net.sources)
        names = {edge.source for edge in wiring.outside}
        self.in_flight = {name: line for name, line in state.in_flight.items() if name in names}

    @abc.abstractmethod
    def advance(self, steps: int, inputs: Mapping[str, Tensor] | None = None) -> dict[str, Any]:
        """Run `steps` steps.

        Parameters
        ----------
        steps : int
        inputs : mapping of str to Tensor [steps, B, ...], optional
            Data of each `Input` node.

        Returns
        -------
        dict
            By name in `record`: `Events`, or a Tensor [steps, B, *shape].

        Raises
        ------
        InputError
            When a state variable is no longer finite, naming population, neuron and step.
        """

    @abc.abstractmethod
    def state(self) -> NetworkState:
        """Return the state after the steps so far."""

    def _samplings(self, steps: int) -> dict[str, Sampling]:
        """Return which values of each recorded variable the next steps keep, counted from their beginning."""
        found = {}
        for name, sampling in self.record.items():
            node, _, variable = name.partition(".")
            if variable and node in self.net.nodes:
                whole = Sampling(np.arange(math.prod(self.net.shape(node))), 0, self.steps + steps, 1)
                found[name] = (sampling or whole).shifted(self.steps, steps)
        return found

    def _drawn(self, steps: int) -> dict[str, Tensor]:
        """Return the outputs of sources in the next steps, and count these."""
        values = {}
        for name, at in self.sources.items():
            self.sources[name] = at._replace(step=at.step + steps)
            if name not in self.dense_sources:
                continue
            source = self.net.nodes[name]
            stream = self.net._streams[name]
            values[name] = source.values(at, steps, stream=stream, dt=self.net.dt, dtype=self.real)  # type: ignore[operator]
        return values

    def _laws(self, before: Mapping[str, SourceState], steps: int) -> dict[str, list[PoissonLaws]]:
        """Return the laws of the Poisson trains that are drawn in the loop, of each trial in the next steps."""
        found = {}
        for name in dict.fromkeys(drive.source for drive in self.wiring.drives):
            source = self.net.nodes[name]
            assert isinstance(source, Poisson)
            found[name] = source.laws(before[name], steps, self.net.dt)
        return found

    def _currents(self, values: Mapping[str, Tensor], steps: int) -> dict[str, Tensor]:
        """Return the currents of edges from outside [steps, B, neurons]."""
        found = {}
        values = {name: z.to(self.real) for name, z in values.items()}
        for edge in self.wiring.outside:
            z = values[edge.source]
            if edge.reach:
                z = delayed(self.in_flight[edge.source], z, edge.reach, edge.delay_span + steps)
            found[edge.name] = edge(z).flatten(2)
        for name, line in self.in_flight.items():
            self.in_flight[name] = shifted(line, values[name])
        return found
