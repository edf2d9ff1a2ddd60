"""A network of integers as a Verilog core: neurons in turn over block RAM, a row of synapses for each spike."""

from __future__ import annotations

import dataclasses

import numpy as np

from neurosim.compiler.integers.ranges import Range
from neurosim.hardware.identifiers import identifiers
from neurosim.hardware.integers import Accumulator, IntegerNetwork, IntegerPopulation
from neurosim.hardware.verilog.expressions import StepInVerilog, address_width, literal, sum_of, width_of
from neurosim.hardware.verilog.rows import rows_of
from neurosim.hardware.verilog.texts import CORE, KEYWORDS, LISTED_PHASES, PLACE_READS


@dataclasses.dataclass(frozen=True)
class VerilogCore:
    """A network as Verilog.

    Attributes
    ----------
    name : str
        Of the top module.
    source : str
        Text of the core.
    memories : dict of str to numpy.ndarray
        Contents of the memory images, as words without a sign.
    widths : dict of str to int
        Bits of a word of each image.
    inputs, outputs : int
        Neurons of all inputs, and of the output.
    input_width, output_width : int
        Bits of the value of an event, with its sign; 1 for spikes.
    weight_width : int
        Bits of a stored weight.
    loaded : bool
        Whether the weights are written through the load port before the first step.
    longest_step : int
        Clock cycles of a step in which everything spikes, at most.
    depths : tuple of int
        Cycles in which the values of an update settle, by population in order of computation.
    """

    name: str
    source: str
    memories: dict[str, np.ndarray]
    widths: dict[str, int]
    inputs: int
    outputs: int
    input_width: int
    output_width: int
    weight_width: int
    loaded: bool
    longest_step: int
    depths: tuple[int, ...]


def core_of(integers: IntegerNetwork, name: str = "network", *, loaded: bool = False) -> VerilogCore:
    """Return the core of a network.

    Parameters
    ----------
    integers : IntegerNetwork
    name : str
        Of the top module; it is made an identifier.
    loaded : bool
        Whether the weights are loaded through a port, for memories that a configuration cannot fill, such as the large
        ones of an iCE40 UP5K.
    """
    return _Writer(integers, identifiers([name], set(), KEYWORDS)[name], loaded).core()


class _Writer:
    def __init__(self, integers: IntegerNetwork, name: str, loaded: bool) -> None:
        self._net, self._name, self._loaded = integers, name, loaded
        self._rows = rows_of(integers)
        self._sums: dict[int, int] = {}
        self._memories: dict[str, np.ndarray] = {}
        self._widths: dict[str, int] = {}
        self._declared: list[str] = []
        self._always: list[str] = []

    def core(self) -> VerilogCore:
        """Return the core."""
        net = self._net
        populations = list(net.populations.values())
        for population in populations:
            for accumulators in population.accumulators.values():
                for accumulator in accumulators:
                    self._sums[id(accumulator)] = len(self._sums)
        weight_width = self._synapses()
        steps = [self._population(number, population) for number, population in enumerate(populations)]
        self._accumulators()
        output = net.populations[net.output]
        text = CORE.format(**self._fields(weight_width, steps, output))
        return VerilogCore(
            name=self._name,
            source=text,
            memories=self._memories,
            widths=self._widths,
            inputs=sum(int(np.prod(shape)) for shape in net.inputs.values()),
            outputs=output.neurons,
            input_width=_value_width(net.input_range),
            output_width=_value_width(output.step.output_range),
            weight_width=weight_width,
            loaded=self._loaded,
            longest_step=self._longest_step(steps),
            depths=tuple(step.depth + 1 for step in steps),
        )

    def _longest_step(self, steps: list[StepInVerilog]) -> int:
        updates = sum(
            p.neurons * (step.depth + 8) for p, step in zip(self._net.populations.values(), steps, strict=True)
        )
        sources = sum(int(np.prod(each.projection.shape)) for each in self._rows)
        return updates + sum(each.weight.size for each in self._rows) + 16 * (sources + 1)

    def _image(self, name: str, values: np.ndarray, width: int) -> str:
        """Add a memory image; return the statement that reads it."""
        self._memories[name] = np.asarray(values, np.int64) & ((1 << width) - 1)
        self._widths[name] = width
        return f'initial $readmemh("{self._name}_{name}.mem", {name});'

    def _synapses(self) -> int:
        """Declare the memories of weights, places and first addresses; return the bits of a weight."""
        weight = np.concatenate([each.weight for each in self._rows]) if self._rows else np.zeros(1, np.int64)
        weight = weight if weight.size else np.zeros(1, np.int64)
        width = width_of(Range(int(weight.min()), int(weight.max())))
        statement = self._image("weights", weight, width)
        self._declared.append(f"reg [{width - 1}:0] weights [0:{weight.size - 1}];")
        if not self._loaded:
            self._declared.append(statement)
        listed = [each for each in self._rows if each.place is not None]
        if listed:
            place = np.concatenate([each.place for each in listed if each.place is not None])
            place = place if place.size else np.zeros(1, np.int64)
            bits = address_width(int(place.max(initial=0)))
            self._declared += [f"reg [{bits - 1}:0] places [0:{place.size - 1}];", self._image("places", place, bits)]
            first = np.concatenate([each.first for each in listed if each.first is not None])
            bits = address_width(int(first.max(initial=0)))
            self._declared += [f"reg [{bits - 1}:0] firsts [0:{first.size - 1}];", self._image("firsts", first, bits)]
        return width

    def _population(self, number: int, population: IntegerPopulation) -> StepInVerilog:
        """Declare the memories and the registers of a population."""
        step, n = population.step, population.neurons
        leaves: dict[tuple[str, str], tuple[str, int]] = {}
        for port, accumulators in population.accumulators.items():
            leaves["input", port] = self._current(number, port, accumulators)
        for state in population.read_states:
            width = width_of(step.state_ranges[state])
            memory, read = f"p{number}_{state}", f"p{number}_{state}_q"
            self._declared += [
                f"reg signed [{width - 1}:0] {memory} [0:{n - 1}];",
                f"reg signed [{width - 1}:0] {read};",
                f"wire signed [{width - 1}:0] {memory}_new;",
            ]
            self._always += [
                f"{read} <= {memory}[neuron];",
                f"if (clearing ? sweep < {n} : writing && population == {number}) "
                f"{memory}[clearing ? sweep : neuron] <= clearing ? {literal(step.start[state])} : {memory}_new;",
            ]
            leaves["state", state] = read, 0
        for name, table in population.tables.items():
            width = width_of(Range(int(table.min()), int(table.max())))
            memory = f"p{number}_{name}_of"
            self._declared += [
                f"reg signed [{width - 1}:0] {memory} [0:{n - 1}];",
                f"reg signed [{width - 1}:0] {memory}_q;",
                self._image(memory, table, width),
            ]
            self._always.append(f"{memory}_q <= {memory}[neuron];")
            leaves["table", name] = f"{memory}_q", 0
        body = StepInVerilog(step, f"p{number}_x", leaves)
        self._declared += body.declarations
        self._always += body.assignments
        self._declared += [
            f"assign p{number}_{state}_new = {body.value(step.states[state])};" for state in population.read_states
        ]
        return body

    def _current(self, number: int, port: str, accumulators: tuple[Accumulator, ...]) -> tuple[str, int]:
        """Declare the registers of a current; return the last and its depth."""
        names = []
        for accumulator in accumulators:
            k = self._sums[id(accumulator)]
            scaled = Range(accumulator.range.low * accumulator.unit, accumulator.range.high * accumulator.unit)
            name, width = f"sum{k}_scaled", width_of(scaled)
            self._declared.append(f"reg signed [{width - 1}:0] {name};")
            self._always.append(f"{name} <= sum{k}_q * {literal(accumulator.unit)};")
            if accumulator.exponent:
                current, bits = f"sum{k}_current", width_of(accumulator.current)
                self._declared.append(f"reg signed [{bits - 1}:0] {current};")
                self._always.append(f"{current} <= {name} >>> {-accumulator.exponent};")
                name = current
            names.append(name)
        if not names:
            return literal(0), 0
        total = Range(sum(a.current.low for a in accumulators), sum(a.current.high for a in accumulators))
        name = f"p{number}_i_{port}"
        self._declared.append(f"reg signed [{width_of(total) - 1}:0] {name};")
        self._always.append(f"{name} <= {sum_of(names)};")
        return name, 3

    def _accumulators(self) -> None:
        """Declare the memories of sums: read by updates and by rows, written by rows and cleared by updates."""
        for population_number, population in enumerate(self._net.populations.values()):
            for accumulators in population.accumulators.values():
                for accumulator in accumulators:
                    self._accumulator(population_number, population.neurons, accumulator)

    def _accumulator(self, population: int, neurons: int, accumulator: Accumulator) -> None:
        k, size = self._sums[id(accumulator)], accumulator.depth * neurons
        width, bits = width_of(accumulator.range), address_width(size)
        self._declared += [
            f"reg signed [{width - 1}:0] sum{k} [0:{size - 1}];",
            f"reg signed [{width - 1}:0] sum{k}_q;",
            f"reg [{bits - 1}:0] sum{k}_now;  // where the sums of this step lie",
            f"wire [{bits - 1}:0] sum{k}_own = sum{k}_now + neuron;",
            f"wire sum{k}_adds = row_writes && row_target == {k};",
        ]
        self._always += [
            f"sum{k}_q <= sum{k}[in_row ? row_read : sum{k}_own];",
            f"if (clearing ? sweep < {size} : sum{k}_adds || (writing && population == {population})) "
            f"sum{k}[clearing ? sweep : sum{k}_adds ? row_place : sum{k}_own] <= "
            f"sum{k}_adds ? sum{k}_q + row_weight : {width}'sd0;",
            f"if (clearing) sum{k}_now <= 0;",
            f"else if (step_ends) sum{k}_now <= sum{k}_now + {neurons} >= {size} ? 0 : sum{k}_now + {neurons};",
        ]

    def _fields(self, weight_width: int, steps: list[StepInVerilog], output: IntegerPopulation) -> dict[str, object]:
        """Return what the template of the core takes."""
        net = self._net
        populations = list(net.populations.values())
        numbers = {name: number for number, name in enumerate(net.populations)}
        sizes = [a.depth * p.neurons for p in populations for each in p.accumulators.values() for a in each]
        largest = max(*sizes, *(p.neurons for p in populations), 1)
        neurons = max(p.neurons for p in populations)
        inputs = sum(int(np.prod(shape)) for shape in net.inputs.values())
        input_width, output_width = _value_width(net.input_range), _value_width(output.step.output_range)
        value_width = max(input_width, *(_value_width(p.step.output_range) for p in populations))
        weight_count = int(self._memories["weights"].size)
        row_weight = self._row_weight_width()
        has_places = "places" in self._memories
        return {
            "name": self._name,
            "memories": "\n".join(f"    {line}" for line in self._declared),
            "updates": "\n".join(f"        {line}" for line in self._always),
            "input_bits": address_width(inputs - 1),
            "output_bits": address_width(output.neurons - 1),
            "input_top": input_width - 1,
            "output_top": output_width - 1,
            "value_top": value_width - 1,
            "weight_top": weight_width - 1,
            "weight_bits": address_width(weight_count),
            "neuron_bits": address_width(max(neurons, inputs)),
            "sweep_bits": address_width(largest),
            "sweep_last": largest - 1,
            "population_bits": address_width(len(populations)),
            "row_bits": address_width(len(self._rows)),
            "target_bits": address_width(max(len(self._sums), 1)),
            "row_weight_top": row_weight - 1,
            "wait_bits": address_width(max(max(step.depth, 3) for step in steps) + 2),
            "place_reads": PLACE_READS if has_places else "",
            "places_text": "is_listed ? places_q : place_1" if has_places else "place_1",
            "listed_phases": LISTED_PHASES if has_places else "",
            "times_value": " * row_value" if value_width > 1 else "",
            "input_value": "in_value" if input_width > 1 else "1",
            "place_declared": self._place_declared(),
            "sizes": "\n".join(f"            {k}: neurons = {p.neurons};" for k, p in enumerate(populations)),
            "depths": "\n".join(f"            {k}: depth = {step.depth + 1};" for k, step in enumerate(steps)),
            "outputs": "\n".join(
                f"            {k}: value = {step.value(p.step.output)};"
                for k, (step, p) in enumerate(zip(steps, populations, strict=True))
            ),
            "output_population": numbers[net.output],
            "last_population": len(populations) - 1,
            "first_rows": self._first_rows(),
            "input_first_rows": self._input_first_rows(),
            "rows": self._row_cases(),
            "traces": self._traces(steps),
        }

    def _place_declared(self) -> str:
        if "places" not in self._memories:
            return ""
        places, firsts = self._widths["places"], self._widths["firsts"]
        return (
            f"    reg [{places - 1}:0] places_q;\n"
            f"    reg [{firsts - 1}:0] firsts_q;\n"
            f"    reg [{address_width(self._memories['firsts'].size) - 1}:0] first_at;\n"
        )

    def _row_weight_width(self) -> int:
        """Return the bits of a weight times its factor and the value of its spike."""
        factors = (width_of(Range(0, each.accumulator.multiplier(each.projection))) for each in self._rows)
        return max(2, *(width_of(Range(*each.accumulator.range)) for each in self._rows), *factors)

    def _first_rows(self) -> str:
        """Return for each population the number of its first projection and that after its last."""
        lines = []
        for number, name in enumerate(self._net.populations):
            mine = [k for k, each in enumerate(self._rows) if each.projection.source == name]
            first, last = (mine[0], mine[-1] + 1) if mine else (0, 0)
            lines.append(f"            {number}: begin first_row = {first}; last_row = {last}; end")
        return "\n".join(lines)

    def _input_first_rows(self) -> str:
        lines, first = [], 0
        for name, shape in self._net.inputs.items():
            n = int(np.prod(shape))
            mine = [k for k, each in enumerate(self._rows) if each.projection.source == name]
            begin, end = (mine[0], mine[-1] + 1) if mine else (0, 0)
            lines.append(
                f"                    if (in_index >= {first} && in_index < {first + n}) begin row <= {begin}; "
                f"row_end <= {end}; source <= in_index - {first}; end"
            )
            first += n
        return "\n".join(lines)

    def _row_cases(self) -> str:
        """Return for each projection what the walk along a row takes."""
        lines = []
        base = listed = firsts = 0
        for number, each in enumerate(self._rows):
            k = self._sums[id(each.accumulator)]
            neurons = self._net.populations[each.accumulator.target].neurons
            size = each.accumulator.depth * neurons
            fields = [
                f"row_target = {k}",
                f"now = sum{k}_now",
                f"size = {size}",
                f"factor = {literal(each.accumulator.multiplier(each.projection))}",
                f"base = {base}",
            ]
            if each.place is None:
                fields += [
                    f"length = {each.length}",
                    f"start = {each.projection.delay_steps * neurons}",
                    "is_listed = 0",
                ]
            else:
                fields += [f"offset = {base - listed}", f"firsts_base = {firsts}", "is_listed = 1"]
                listed += each.weight.size
                assert each.first is not None
                firsts += each.first.size
            base += each.weight.size
            lines.append(f"            {number}: begin {' '.join(f'{field};' for field in fields)} end")
        return "\n".join(lines)

    def _traces(self, steps: list[StepInVerilog]) -> str:
        lines = []
        for k, (body, population) in enumerate(zip(steps, self._net.populations.values(), strict=True)):
            values = [population.step.output, *population.step.states.values()]
            names = ", ".join(f"$signed({body.value(node)})" for node in values)
            form = " ".join(["%0d"] * len(values))
            lines.append(f'        if (writing && population == {k}) $fdisplay(trace, "{form}", {names});')
        return "\n".join(lines)


def _value_width(held: Range) -> int:
    """Return the bits of an event's value; 1 where it is 0 or 1."""
    return 1 if Range(0, 1).holds(held) else width_of(held)
