"""A network built layer by layer: values between layers are sums of what populations send."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from neurosim import cores
from neurosim.errors import NeurosimError
from neurosim.exchange.peers.errors import ConversionError
from neurosim.network import Network, Recurrent
from neurosim.network.graph import Edge, Input
from neurosim.network.neuron import Neuron
from neurosim.network.population import Population
from neurosim.synapses import (
    AdaptiveAvgPool2d,
    AvgPool1d,
    AvgPool2d,
    Dropout,
    Flatten,
    Identity,
    MaxPool1d,
    MaxPool2d,
    SumPool2d,
    Synapse,
    Unflatten,
    Upsample,
)

_KEEP_SIGN = (
    AdaptiveAvgPool2d,
    AvgPool1d,
    AvgPool2d,
    Dropout,
    Flatten,
    Identity,
    MaxPool1d,
    MaxPool2d,
    SumPool2d,
    Unflatten,
    Upsample,
)


@dataclasses.dataclass(frozen=True, eq=False)
class Late:
    """Neurons behind others that they read one step late, with synapses back to those.

    Attributes
    ----------
    first : Population
        Reads the input.
    second : Population
        Reads `first` one step late; its spikes are the output.
    loop : Synapse, optional
        From `second` to `first`, one step late.
    """

    first: Population
    second: Population
    loop: Synapse | None = None


@dataclasses.dataclass(frozen=True)
class AfterDelay:
    """A value some steps late.

    Attributes
    ----------
    steps : int
    """

    steps: int


Part = Synapse | Population | Recurrent | Late | AfterDelay


@dataclasses.dataclass(frozen=True, eq=False)
class Term:
    """What one population sends through synapses, `late` steps later."""

    source: str
    synapses: tuple[Synapse, ...] = ()
    late: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Signal:
    """A value between two layers: a sum of terms.

    Attributes
    ----------
    terms : tuple of Term
    shape : tuple of int
        Of one step of one sample.
    non_negative : bool
        Whether it is known to be never below 0.
    """

    terms: tuple[Term, ...]
    shape: tuple[int, ...]
    non_negative: bool = False


class Assembly:
    """Nodes and edges of a network under construction.

    Parameters
    ----------
    dt : float
        Length of a step, s.
    """

    def __init__(self, dt: float) -> None:
        self.dt = dt
        self.nodes: dict[str, Input | Population] = {}
        self.edges: list[Edge] = []

    def input(self, shape: int | Sequence[int], name: str = "input") -> Signal:
        """Return the value of a new input."""
        node = self.nodes[name] = Input(shape)
        return Signal((Term(name),), node.shape)

    def after(self, where: str, signal: Signal, part: Part) -> Signal:
        """Return the value behind a part that reads `signal`."""
        try:
            if isinstance(part, Synapse):
                return self._through(signal, part)
            if isinstance(part, AfterDelay):
                (term,) = self.settled(signal).terms
                return dataclasses.replace(signal, terms=(dataclasses.replace(term, late=term.late + part.steps),))
            if isinstance(part, Late):
                first = self._neurons(signal, part.first)
                name = first.terms[0].source
                second = self._add(part.second)
                self.edges.append(Edge(name, second, Identity(), self.dt))
                if part.loop is not None:
                    self.edges.append(Edge(second, name, part.loop, self.dt))
                return Signal((Term(second),), signal.shape, part.second.is_spiking)
            neurons = part.neuron if isinstance(part, Recurrent) else part
            sent = self._neurons(signal, neurons)
            if isinstance(part, Recurrent):
                name = sent.terms[0].source
                part.synapse.output_shape(signal.shape)
                self.edges.append(Edge(name, name, part.synapse, part.delay))
            return sent
        except ConversionError:
            raise
        except NeurosimError as error:
            raise ConversionError(f"{where}: {error}") from error

    def sum(self, where: str, signals: Sequence[Signal]) -> Signal:
        """Return the sum of values of one shape."""
        shapes = [signal.shape for signal in signals]
        if len(set(shapes)) > 1:
            raise ConversionError(f"{where}: adds values of the shapes {[list(shape) for shape in shapes]}.")
        terms = tuple(term for signal in signals for term in signal.terms)
        return Signal(terms, shapes[0], all(signal.non_negative for signal in signals))

    def settled(self, signal: Signal) -> Signal:
        """Return a value that several layers read as the output of one node, so that it is computed once."""
        if len(signal.terms) == 1 and not signal.terms[0].synapses and not signal.terms[0].late:
            return signal
        return self._neurons(signal, Neuron(cores.relay, dt=self.dt), signal.non_negative)

    def network(self, signal: Signal) -> Network:
        """Return the network whose output is `signal`; a current is passed on by a relay."""
        term = signal.terms[0]
        if len(signal.terms) > 1 or term.synapses or term.late or not isinstance(self.nodes[term.source], Population):
            term = self._neurons(signal, Neuron(cores.relay, dt=self.dt)).terms[0]
        return Network(self.nodes, self.edges, output=term.source).eval()

    def _through(self, signal: Signal, synapse: Synapse) -> Signal:
        shape = synapse.output_shape(signal.shape)
        (term,) = (self.settled(signal) if len(signal.terms) > 1 else signal).terms
        kept = signal.non_negative and isinstance(synapse, _KEEP_SIGN)
        return Signal((dataclasses.replace(term, synapses=(*term.synapses, synapse)),), shape, kept)

    def _neurons(self, signal: Signal, neurons: Population, non_negative: bool | None = None) -> Signal:
        name = self._add(neurons)
        for term in signal.terms:
            parallel = sum(edge.source == term.source and edge.target == name for edge in self.edges)
            label = f"{term.source}->{name}:{parallel + 1}" if parallel else ""
            delay = term.late * self.dt if term.late else None
            self.edges.append(Edge(term.source, name, term.synapses or (Identity(),), delay, name=label))
        known = neurons.is_spiking if non_negative is None else non_negative
        return Signal((Term(name),), signal.shape, known)

    def _add(self, neurons: Population) -> str:
        if any(neurons is node for node in self.nodes.values()):
            raise ConversionError(f"{neurons.kind} is used twice.")
        name = f"{neurons.kind}{len(self.nodes)}"
        self.nodes[name] = neurons
        return name
