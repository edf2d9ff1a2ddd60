"""A network of integers as C99: one header and one source, event-driven over spikes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurosim.compiler.integers.ranges import Range
from neurosim.hardware.c.arrays import Arrays
from neurosim.hardware.c.expressions import StepInC, computed_type, constant_type, literal, rounded_down, stored_type
from neurosim.hardware.c.projections import ProjectionInC
from neurosim.hardware.c.texts import HEADER, KEYWORDS, SOURCE
from neurosim.hardware.identifiers import identifiers
from neurosim.hardware.integers import Accumulator, IntegerNetwork, IntegerPopulation


@dataclass(frozen=True)
class CProgram:
    """A network as C99.

    Attributes
    ----------
    name : str
        Prefix of all names that the header declares.
    header, source : str
        Text of the two files.
    constant_bytes : int
        Bytes of constants: weights, delays and numbers of neurons. They lie in flash; the code adds to them.
    state_bytes : int
        Bytes of variables: states, accumulators and positions. They lie in RAM; the stack adds to them.
    neuron_operations : int
        Integer operations of the neurons in one step, loads and stores aside.
    input_type, output_type : str
        Element types of the two arrays of the step.
    """

    name: str
    header: str
    source: str
    constant_bytes: int
    state_bytes: int
    neuron_operations: int
    input_type: str
    output_type: str


def c_program(integers: IntegerNetwork, name: str = "network") -> CProgram:
    """Return the program of a network of integers.

    Parameters
    ----------
    integers : IntegerNetwork
    name : str
        Prefix of all names that the header declares; it is made an identifier.
    """
    return _Writer(integers, identifiers([name], set(), KEYWORDS)[name]).program()


class _Writer:
    def __init__(self, integers: IntegerNetwork, name: str) -> None:
        self._net, self._name = integers, name
        self._arrays = Arrays()
        self._ids = identifiers([*integers.inputs, *integers.populations], set())
        self._sums: dict[int, str] = {}
        self._senders: set[str] = set()
        self._functions: list[str] = []
        self._resets: list[str] = []
        self._advances: list[str] = []

    def program(self) -> CProgram:
        """Return the program."""
        net = self._net
        for population in net.populations.values():
            self._variables(population)
        for name in net.inputs:
            self._sender(name, net.input_range)
        for name, population in net.populations.items():
            self._sender(name, population.step.output_range)
        for population in net.populations.values():
            self._update(population)
        # C widens unsigned types of 8 and 16 bits to a signed one by itself, but not one of 32 bits.
        input_type = (constant_type if net.input_range.high < 1 << 16 else stored_type)(net.input_range)
        output_type = computed_type(net.populations[net.output].step.output_range)
        self._step(input_type, output_type)
        source = SOURCE.format(
            name=self._name,
            arrays="\n".join((*self._arrays.constants, *self._arrays.variables)),
            functions="\n\n".join(self._functions),
            trace=f"{self._name.upper()}_TRACE",
        )
        return CProgram(
            name=self._name,
            header=self._header(input_type, output_type),
            source=source,
            constant_bytes=self._arrays.constant_bytes,
            state_bytes=self._arrays.state_bytes,
            neuron_operations=sum(p.neurons * p.step.operations for p in net.populations.values()),
            input_type=input_type,
            output_type=output_type,
        )

    def _variables(self, population: IntegerPopulation) -> None:
        """Declare the accumulators and states of a population, and what resets them."""
        n, own = population.neurons, self._ids[population.name]
        for accumulator in _all(population):
            name = f"sum{len(self._sums)}_{own}"
            self._sums[id(accumulator)] = name
            self._arrays.variable(stored_type(accumulator.range), name, accumulator.depth, n)
            self._resets.append(f"for (uint32_t j = 0; j < {accumulator.depth * n}u; ++j) {{ {name}[j] = 0; }}")
            if accumulator.depth > 1:
                position = constant_type(Range(0, accumulator.depth))
                self._arrays.variable(position, f"{name}_now")
                self._resets.append(f"{name}_now = 0;")
                following = f"{name}_now + 1u < {accumulator.depth}u ? {name}_now + 1u : 0u"
                self._advances.append(f"{name}_now = ({position})({following});")
        for state in population.read_states:
            self._arrays.variable(stored_type(population.step.state_ranges[state]), f"{own}_{state}", n)
            start = literal(population.step.start[state])
            self._resets.append(f"for (uint32_t j = 0; j < {n}u; ++j) {{ {own}_{state}[j] = {start}; }}")
        for name, table in population.tables.items():
            self._arrays.constant(f"{own}_{name}_of", table)

    def _sender(self, source: str, sent: Range) -> None:
        """Add the function that brings a spike to the accumulators of all targets."""
        outgoing = self._net.outgoing(source)
        if not outgoing:
            return
        self._senders.add(source)
        is_spike = Range(0, 1).holds(sent)
        lines = []
        numbers = {name: number for number, name in enumerate(self._net.projections)}
        for accumulator, projection in outgoing:
            neurons = self._net.populations[projection.target].neurons
            synapses = ProjectionInC(numbers[projection.name], projection, neurons, self._arrays)
            kind, wide = stored_type(accumulator.range), computed_type(accumulator.range)
            lines += synapses.lines(accumulator, self._sums[id(accumulator)], kind, wide, "" if is_spike else "z")
        size = "" if is_spike else f", {computed_type(sent)} z"
        body = "\n".join(f"    {line}" for line in lines)
        self._functions.append(f"static void send_{self._ids[source]}(uint32_t j{size})\n{{\n{body}\n}}")

    def _sent(self, source: str, value: str, sent: Range) -> list[str]:
        """Return the lines that send the output of neuron ``j`` if it is not 0."""
        if source not in self._senders:
            return []
        size = "" if Range(0, 1).holds(sent) else f", {value}"
        return [f"if ({value} != 0) {{ send_{self._ids[source]}(j{size}); }}"]

    def _update(self, population: IntegerPopulation) -> None:
        """Add the function that computes one step of a population."""
        step, own = population.step, self._ids[population.name]
        lines = [line for port in population.accumulators for line in self._current(population, port)]
        leaves = {("input", port): f"i_{port}" for port in population.accumulators}
        for node in step.order:
            if node.op == "table":
                leaves["table", str(node.payload)] = f"{own}_{node.payload}_of[j]"
            elif node.op == "state":
                leaves["state", str(node.payload)] = f"{own}_{node.payload}[j]"
        body = StepInC(step, leaves)
        lines += body.lines
        for state in population.read_states:
            kind = stored_type(step.state_ranges[state])
            lines.append(f"{own}_{state}[j] = ({kind}){body.value(step.states[state])};")
        output = body.value(step.output)
        traced = (output, *(body.value(node) for node in step.states.values()))
        lines += [f"TRACE({value});" for value in traced]
        lines += self._sent(population.name, output, step.output_range)
        is_output = population.name == self._net.output
        if is_output:
            lines.append(f"out[j] = ({computed_type(step.output_range)}){output};")
        argument = f"{computed_type(step.output_range)} *out" if is_output else "void"
        text = "\n".join(f"        {line}" for line in lines)
        self._functions.append(
            f"static void update_{own}({argument})\n{{\n    for (uint32_t j = 0; j < {population.neurons}u; ++j) {{\n"
            f"{text}\n    }}\n}}"
        )

    def _current(self, population: IntegerPopulation, port: str) -> list[str]:
        """Return the lines that read the current of neuron ``j`` and clear what it was the sum of."""
        lines, terms = [], []
        low = high = 0
        for accumulator in population.accumulators[port]:
            name = self._sums[id(accumulator)]
            place = f"{name}_now * {population.neurons}u + j" if accumulator.depth > 1 else "j"
            scaled = Range(accumulator.range.low * accumulator.unit, accumulator.range.high * accumulator.unit)
            wide = computed_type(scaled)
            value = f"({wide}){name}[{place}]" + (f" * {accumulator.unit}" if accumulator.unit != 1 else "")
            lines.append(f"const {wide} s{name[3:]} = {value};")
            term = f"s{name[3:]}"
            if accumulator.exponent:
                term = rounded_down(term, -accumulator.exponent, scaled)
            terms.append(term)
            lines.append(f"{name}[{place}] = 0;")
            low, high = low + accumulator.current.low, high + accumulator.current.high
        if ("input", port) not in {(node.op, node.payload) for node in population.step.order}:
            return [line for line in lines if not line.startswith("const")]
        kind = computed_type(Range(low, high))
        total = " + ".join(f"({kind}){term}" for term in terms)
        return [*lines, f"const {kind} i_{port} = {total};"]

    def _step(self, input_type: str, output_type: str) -> None:
        """Add the functions of the header."""
        resets = "\n".join(f"    {line}" for line in self._resets)
        self._functions.append(f"void {self._name}_reset(void)\n{{\n{resets}\n}}")
        lines, first = [], 0
        for name, shape in self._net.inputs.items():
            n = _size(shape)
            if name in self._senders:
                at = f"in[{first}u + j]" if first else "in[j]"
                (sent,) = self._sent(name, at, self._net.input_range)
                lines.append(f"for (uint32_t j = 0; j < {n}u; ++j) {{ {sent} }}")
            first += n
        for name in self._net.populations:
            lines.append(f"update_{self._ids[name]}({'out' if name == self._net.output else ''});")
        lines += self._advances
        body = "\n".join(f"    {line}" for line in lines)
        self._functions.append(f"void {self._name}_step(const {input_type} *in, {output_type} *out)\n{{\n{body}\n}}")

    def _header(self, input_type: str, output_type: str) -> str:
        net = self._net
        first, places = 0, []
        for name, shape in net.inputs.items():
            if len(net.inputs) > 1:
                places.append(f"#define {self._name.upper()}_INPUT_{self._ids[name].upper()} {first}u")
            first += _size(shape)
        output = net.populations[net.output]
        low, high = net.input_range
        scale = np.asarray(output.step.scale)
        unit = "0 or 1" if output.step.is_spiking else "integers"
        if (scale != 1.0).any():
            unit = f"the membrane is this times {scale.flat[0]!r}" if scale.size == 1 else "membranes in own units"
        return HEADER.format(
            name=self._name,
            upper=self._name.upper(),
            inputs=first,
            outputs=output.neurons,
            places="".join(f"{line}\n" for line in places),
            input_type=input_type,
            output_type=output_type,
            low=low,
            high=high,
            unit=unit,
            constants=self._arrays.constant_bytes,
            variables=self._arrays.state_bytes,
        )


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for n in shape:
        size *= n
    return size


def _all(population: IntegerPopulation) -> list[Accumulator]:
    return [each for accumulators in population.accumulators.values() for each in accumulators]
