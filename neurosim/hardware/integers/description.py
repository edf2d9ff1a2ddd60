"""A network of integers read from a `Network`: populations with their steps, projections, accumulators."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence, Set
from types import MappingProxyType

import numpy as np
from torch import Tensor

from neurosim.compiler.integers import IntegerStep, Lowered, integer_step, lower
from neurosim.compiler.integers.ranges import Range
from neurosim.errors import InputError
from neurosim.files.problems import Problems
from neurosim.hardware.integers.projection import Projection, projection_of
from neurosim.language.definition import RESET_AMOUNT
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.network.portability import sources, start_values, values_per_trial

_ANY = Range(-(1 << 40), 1 << 40)  # of currents whose size is not known yet
_LOOPED = 1 << 16  # largest output that may come back to its own population


@dataclasses.dataclass(frozen=True, eq=False)
class Accumulator:
    """Sums of stored weights that arrive at a port of a population, for each step until the longest delay.

    Attributes
    ----------
    target, port : str
    projections : tuple of Projection
        That add to it.
    unit : int
        What the sum is multiplied by to be a current.
    exponent : int
        0, or below: the product times two to this is rounded down.
    depth : int
        Steps that it holds: 1 + the longest delay.
    range : Range
        Of the sum at any time.
    """

    target: str
    port: str
    projections: tuple[Projection, ...]
    unit: int
    exponent: int
    depth: int
    range: Range

    def multiplier(self, projection: Projection) -> int:
        """Return what a stored weight of `projection` is multiplied by as it is added."""
        return (projection.factor << max(projection.exponent, 0)) // self.unit

    @property
    def current(self) -> Range:
        """Range of the current."""
        ends = [(each * self.unit) >> -self.exponent for each in self.range]
        return Range(*ends)


@dataclasses.dataclass(frozen=True, eq=False)
class IntegerPopulation:
    """A population: its shape, its step, and the accumulators of its ports.

    Attributes
    ----------
    name : str
    shape : tuple of int
    step : IntegerStep
    tables : mapping of str to numpy.ndarray
        Numbers of each neuron, [neurons].
    accumulators : mapping of str to tuple of Accumulator
        By port; the current of a port is the sum of its accumulators'.
    """

    name: str
    shape: tuple[int, ...]
    step: IntegerStep
    tables: Mapping[str, np.ndarray]
    accumulators: Mapping[str, tuple[Accumulator, ...]]

    @property
    def neurons(self) -> int:
        """How many neurons there are."""
        return math.prod(self.shape)

    @property
    def read_states(self) -> tuple[str, ...]:
        """States that the next step reads; the others are results only."""
        read = {node.payload for node in self.step.order if node.op == "state"}
        return tuple(name for name in self.step.states if name in read)


@dataclasses.dataclass(frozen=True, eq=False)
class IntegerNetwork:
    """A network of integers.

    Attributes
    ----------
    inputs : mapping of str to tuple of int
        Shape of each input.
    input_range : Range
        Values that an input may have; 0 and 1 are spikes.
    populations : mapping of str to IntegerPopulation
        In order of computation.
    projections : mapping of str to Projection
    output : str
        The population whose output is that of the network.
    """

    inputs: Mapping[str, tuple[int, ...]]
    input_range: Range
    populations: Mapping[str, IntegerPopulation]
    projections: Mapping[str, Projection]
    output: str

    def outgoing(self, source: str) -> list[tuple[Accumulator, Projection]]:
        """Return the projections of a node, each with the accumulator it adds to."""
        return [
            (accumulator, projection)
            for population in self.populations.values()
            for accumulators in population.accumulators.values()
            for accumulator in accumulators
            for projection in accumulator.projections
            if projection.source == source
        ]

    @property
    def neurons(self) -> int:
        """Neurons of all populations."""
        return sum(population.neurons for population in self.populations.values())


def integer_network(net: Network, *, target: str, input_range: tuple[int, int] = (0, 1)) -> IntegerNetwork:
    """Read a network of integers.

    Parameters
    ----------
    net : Network
        Of cores of integers (`Core.integers_up_to`), with integer weights.
    target : str
        What it is read for, the subject of the error's first line: ``"C"``.
    input_range : (int, int)
        Least and largest value of an input.

    Raises
    ------
    ExportError
        With all that is not integer arithmetic: node or edge, value, what to change.
    InputError
        For a wrong range.
    """
    if not _is_range(input_range):
        raise InputError(f"input_range must be two integers of 32 bits around 0, such as (0, 1); got {input_range!r}.")
    low, high = input_range
    problems = Problems(f"{target} cannot hold this network in integers")
    for where, what in (*sources(net), *values_per_trial(net), *start_values(net)):
        problems.add(where, what)
    projections = [projection_of(edge, net.shape(edge.source), problems) for edge in net.edges]
    _check_cores(net, problems)
    problems.raise_if_any()
    neurons = net.neurons()
    known = [each for each in projections if each is not None]
    outputs = {name: Range(low, high) for name in net.inputs}
    populations: dict[str, IntegerPopulation] = {}
    for name, neuron in neurons.items():
        try:
            lowered = lower(neuron._program(), _coefficients(neuron))
            incoming = [each for each in known if each.target == name]
            for source in {each.source for each in incoming} - outputs.keys():
                outputs[source] = _looped_output(neurons[source], {p.port for p in known if p.target == source})
            populations[name] = _population(name, neuron, net.shape(name), lowered, incoming, outputs)
            outputs[name] = populations[name].step.output_range
        except InputError as error:
            problems.add(f"node {name!r}", str(error))
            continue
        if not _is_one(lowered.scale) and any(each.source == name for each in known):
            problems.add(f"node {name!r}", "sends its membrane in units of its own; only its integers can be sent")
    problems.raise_if_any()
    return IntegerNetwork(
        MappingProxyType({name: net.shape(name) for name in net.inputs}),
        Range(low, high),
        MappingProxyType(populations),
        MappingProxyType({each.name: each for each in known}),
        net.output,
    )


def computes_in_integers(net: Network) -> bool:
    """Whether all populations are of cores of integers; the weights are not looked at."""
    cores = (getattr(node, "core", None) for node in net.populations().values())
    return all(core is not None and core.integers_up_to is not None for core in cores)


def _check_cores(net: Network, problems: Problems) -> None:
    for name, node in net.populations().items():
        if not isinstance(node, Neuron) or node.core.integers_up_to is None:
            problems.add(
                f"node {name!r}",
                f"its model is {node.kind!r}, which does not compute in integers; quantise the network, or make it "
                "with a core of integers such as loihi_neurons(...)",
            )


def _coefficients(neuron: Neuron) -> dict[str, float | np.ndarray]:
    """Return the coefficients of the step, in double precision."""
    names = (*neuron.core.coefficients, *([RESET_AMOUNT] if neuron.takes_own_amount else ()))
    values = {name: neuron.coefficient(name) for name in names}
    return {
        name: value.detach().double().cpu().numpy() if isinstance(value, Tensor) else float(value)
        for name, value in values.items()
    }


def _looped_output(neuron: Neuron, fed: Set[str]) -> Range:
    """Return the range of an output that is not computed yet, whatever the currents into the ports `fed` are."""
    if neuron.is_spiking and neuron._program().is_spiking:
        return Range(0, 1)
    lowered = lower(neuron._program(), _coefficients(neuron))
    currents = {port: _ANY if port in fed else _rest(value) for port, value in neuron.ports.items()}
    found = integer_step(lowered, currents, _start(neuron)).output_range
    if found.size > _LOOPED:
        raise InputError(
            f"core {neuron.core.name}: its output has no bound below {_LOOPED}, and it reaches itself on a loop; use "
            "neurons that spike there."
        )
    return found


def _rest(value: float | None) -> Range:
    """Return the value of a port that nothing feeds."""
    return Range(int(value or 0), int(value or 0))


def _start(neuron: Neuron) -> dict[str, int]:
    return {name: int(value) for name, value in neuron.core.state.items()}


def _population(
    name: str,
    neuron: Neuron,
    shape: tuple[int, ...],
    lowered: Lowered,
    incoming: Sequence[Projection],
    outputs: Mapping[str, Range],
) -> IntegerPopulation:
    neurons = math.prod(shape)
    accumulators: dict[str, tuple[Accumulator, ...]] = {}
    currents = {}
    for port, default in neuron.ports.items():
        fed = [each for each in incoming if each.port == port]
        accumulators[port] = tuple(_accumulators(name, port, fed, outputs, neurons))
        ranges = [each.current for each in accumulators[port]]
        total = Range(sum(r.low for r in ranges), sum(r.high for r in ranges))
        currents[port] = total if ranges else _rest(default)
    step = integer_step(lowered, currents, _start(neuron))
    tables = {key: np.broadcast_to(table, shape).reshape(-1) for key, table in step.tables.items()}
    return IntegerPopulation(name, shape, step, tables, accumulators)


def _accumulators(
    target: str, port: str, fed: Sequence[Projection], outputs: Mapping[str, Range], neurons: int
) -> list[Accumulator]:
    """Return one accumulator for all projections that add exactly, and one for each whose sum is rounded."""
    exact = [each for each in fed if each.exponent >= 0]
    groups = [*([exact] if exact else []), *([each] for each in fed if each.exponent < 0)]
    found = []
    for group in groups:
        unit = math.gcd(*(each.factor << max(each.exponent, 0) for each in group))
        low, high = np.zeros(neurons, np.int64), np.zeros(neurons, np.int64)
        for each in group:
            multiplier = (each.factor << max(each.exponent, 0)) // unit
            down, up = each.bounds(outputs[each.source], neurons)
            low, high = low + down * multiplier, high + up * multiplier
        found.append(
            Accumulator(
                target,
                port,
                tuple(group),
                unit,
                min(group[0].exponent, 0),
                1 + max(each.longest_delay for each in group),
                Range(int(low.min(initial=0)), int(high.max(initial=0))),
            )
        )
    return found


def _is_range(given: object) -> bool:
    """Whether this is a range of 32 bits around 0."""
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        return False
    if not all(isinstance(each, int) and not isinstance(each, bool) and abs(each) < 2**31 for each in given):
        return False
    return bool(given[0] <= 0 < given[1])


def _is_one(scale: float | np.ndarray) -> bool:
    return bool(np.all(np.asarray(scale) == 1.0))
