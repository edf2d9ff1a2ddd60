"""A graph as a plain script with a file of its numbers, for users of Lava or its chip without neurosim."""

from __future__ import annotations

import keyword
from collections.abc import Iterable

import numpy as np

from neurosim.hardware.identifiers import identifiers
from neurosim.hardware.lava import description
from neurosim.hardware.lava.graph import GRADED_BITS, GRADED_PROCESSES, PLACES

_OWN_NAMES = ("data", "steps", "source", "build", "run", "main", "message_bits", "np", "sys", "input")
SCRIPT, NUMBERS, INPUT = "network.py", "network.npz", "input.npz"


def script(graph: description.LavaGraph, read_out: Iterable[str]) -> tuple[str, dict[str, np.ndarray]]:
    """Return the text of the script and the arrays it reads.

    Parameters
    ----------
    graph : Graph
        What to build.
    read_out : iterable of str
        Populations of which the voltage is the output.
    """
    return _Writer(graph, set(read_out)).written()


class _Writer:
    def __init__(self, graph: description.LavaGraph, read_out: set[str]) -> None:
        self._graph, self._read_out = graph, read_out
        self._arrays: dict[str, np.ndarray] = {}
        self._shapes = {s.name: s.shape for s in graph.sources} | {p.name: p.shape for p in graph.populations}
        self._flat_ones: list[description.DenseProcess | description.SparseProcess] = [*graph.dense, *graph.sparse]
        connections = [*(item.name for item in self._flat_ones), *(item.name for item in graph.conv)]
        biases = [bias.name for bias in graph.bias_currents]
        taken = {*_OWN_NAMES, *(call.rstrip("(") for call in _HELPERS)}
        self._names = identifiers(self._shapes, taken, keyword.kwlist)
        self._parts = identifiers([*connections, *biases], taken, keyword.kwlist)
        self._lines: list[str] = []

    def written(self) -> tuple[str, dict[str, np.ndarray]]:
        for population in self._graph.populations:
            self._population(population)
        for flat in self._flat_ones:
            self._flat(flat)
        for conv in self._graph.conv:
            self._conv(conv)
        for bias in self._graph.bias_currents:
            self._bias(bias)
        text = _HEAD.format(
            imports="\n".join(sorted(self._imports())),
            model=self._graph.model,
            latency=_dictionary([f"{p.name!r}: {p.latency}" for p in self._graph.populations]),
            sources="\n".join(f"    {s.name:<12} [T, B, {_listed(s.shape)}]" for s in self._graph.sources),
            outputs="\n".join(f"    {self._described(p)}" for p in self._graph.populations),
            chip=_CHIP[self._graph.model],
        )
        body = "\n".join(f"    {line}" if line else "" for line in self._lines)
        populations = _dictionary(
            [f"{p.name!r}: {self._names[p.name]}" for p in self._graph.populations], indent="    "
        )
        read_out = "{" + ", ".join(map(repr, sorted(self._read_out))) + "}" if self._read_out else "set()"
        starts = "\n".join(f"    {self._names[s.name]} = source(data[{s.name!r}], steps)" for s in self._graph.sources)
        tail = _TAIL.replace("@POPULATIONS@", populations).replace("@READ_OUT@", read_out)
        helpers = "".join(
            f"\n\n{helper}" for call, helper in _HELPERS.items() if f" {call}" in body or f"={call}" in body
        )
        return text + helpers + _BUILD + starts + "\n" + body + tail, self._arrays

    def _imports(self) -> set[str]:
        used: dict[str, set[str]] = {"dense": {"Dense"}} if self._graph.bias_currents else {}
        for population in self._graph.populations:
            used.setdefault(PLACES[population.process], set()).add(population.process)
        for dense in self._graph.dense:
            used.setdefault("dense", set()).add("DelayDense" if dense.delay.any() else "Dense")
        for sparse in self._graph.sparse:
            used.setdefault("sparse", set()).add("DelaySparse" if sparse.delay.any() else "Sparse")
        if self._graph.conv:
            used["conv"] = {"Conv"}
        lines = {f"from lava.proc.{place}.process import {', '.join(sorted(names))}" for place, names in used.items()}
        if self._graph.sparse:
            lines.add("from scipy.sparse import csr_matrix")
        if self._graph.model == "fixed_pt" and (self._graph.dense or self._graph.sparse):
            lines.add("from lava.utils.weightutils import SignMode")
        return lines

    def _described(self, population: description.PopulationProcess) -> str:
        what = "voltage" if population.name in self._read_out else "spikes"
        if population.process in GRADED_PROCESSES:
            what = "graded spikes"
        return f"{population.name:<12} [T, B, {_listed(population.shape)}], {what}"

    def _value(self, key: str, value: np.ndarray) -> str:
        if value.ndim:
            self._arrays[key] = value
            return f"NUMBERS[{key!r}]"
        number = value.item()
        return "np.inf" if number == np.inf else repr(number)

    def _say(self, *lines: str) -> None:
        self._lines += lines

    def _population(self, population: description.PopulationProcess) -> None:
        given = [f"shape={population.shape}"]
        given += [f"{k}={self._value(f'{population.name}.{k}', v)}" for k, v in population.arguments.items()]
        self._say("", f"# {population.name}: data arrive at Lava's step {population.latency} (the first is 0).")
        self._say(*_call(self._names[population.name], population.process, given))

    def _bits(self, name: str) -> str:
        if any(name == source.name for source in self._graph.sources):
            return f"message_bits(data[{name!r}])"
        return str(GRADED_BITS if self._graph.population(name).process in GRADED_PROCESSES else 0)

    def _flat(self, item: description.DenseProcess | description.SparseProcess) -> None:
        name = self._parts[item.name]
        kind, weight = "Dense", self._value(f"{item.name}.weight", item.weight)
        delay = self._value(f"{item.name}.delay", item.delay)
        steps = "1 step" if not item.delay.any() else f"{int(item.delay.max()) + 1} steps at most"
        self._say("", f"# {item.source} to {item.target}, {steps}.")
        if isinstance(item, description.SparseProcess):
            kind = "Sparse"
            self._arrays[f"{item.name}.post"], self._arrays[f"{item.name}.pre"] = item.post, item.pre
            self._arrays[f"{item.name}.delay"] = item.delay
            weight, delay = f"listed({item.name!r}, {item.shape})", f"listed_delays({item.name!r}, {item.shape})"
        given = [f"weights={weight}"]
        if item.delay.any():
            kind = f"Delay{kind}"
            given.append(f"delays={delay}")
        given.append(f"num_message_bits={self._bits(item.source)}")
        if self._graph.model == "fixed_pt":
            given += [f"weight_exp={item.exponent}", f"num_weight_bits={item.bits}"]
            given.append(f"sign_mode=SignMode.{item.signs.upper()}")
        self._say(*_call(name, kind, given))
        self._say(f"{self._names[item.source]}.s_out{_to_flat(self._shapes[item.source])}.connect({name}.s_in)")
        out = f"{name}.a_out{_from_flat(self._shapes[item.target])}"
        self._say(f"{out}.connect({self._names[item.target]}.{self._port(item.target)})")

    def _conv(self, item: description.ConvProcess) -> None:
        name, source, target = self._parts[item.name], self._shapes[item.source], self._shapes[item.target]
        image = source if len(source) == 3 else (source[1], 1, source[0])
        weight = self._value(f"{item.name}.weight", item.weight)
        given = [f"weight={weight}", f"input_shape={image}", f"stride={item.stride}", f"padding={item.padding}"]
        given += [f"dilation={item.dilation}", f"groups={item.groups}", f"num_message_bits={self._bits(item.source)}"]
        self._say("", f"# {item.source} to {item.target}, 1 step; the kernel is flipped, because Lava convolves.")
        self._say(*_call(name, "Conv", given))
        into = "" if len(source) == 3 else f".transpose([1, 0]).reshape({image})"
        self._say(f"{self._names[item.source]}.s_out{into}.connect({name}.s_in)")
        if len(target) == 2:
            out = f".reshape({target[::-1]}).transpose([1, 0])"
        else:
            out = "" if len(target) == 3 else ".transpose([2, 1, 0]).flatten()"
        self._say(f"{name}.a_out{out}.connect({self._names[item.target]}.{self._port(item.target)})")

    def _bias(self, item: description.BiasCurrent) -> None:
        weight = self._value(f"{item.name}.bias_current", item.weight)
        first = self._graph.population(item.target).latency - 1
        name, end = self._parts[item.name], first + 1 if item.once else "steps"
        when = "at the first step only" if item.once else "at every step"
        self._say("", f"# A current into {item.target} {when}, from the step on at which data arrive.")
        self._say(f"{name} = Dense(weights={weight}[:, None])")
        self._say(f"ones_from({first}, {end}, steps).s_out.connect({name}.s_in)")
        port = f"{self._names[item.target]}.{self._port(item.target)}"
        self._say(f"{name}.a_out.reshape({self._shapes[item.target]}).connect({port})")

    def _port(self, name: str) -> str:
        return "a_real_in" if self._graph.population(name).process.startswith("RF") else "a_in"


def _call(name: str, kind: str, given: list[str]) -> list[str]:
    line = f"{name} = {kind}({', '.join(given)})"
    if len(line) <= 112:
        return [line]
    return [f"{name} = {kind}(", *(f"    {part}," for part in given), ")"]


def _dictionary(entries: list[str], indent: str = "") -> str:
    line = "{" + ", ".join(entries) + "}"
    if len(line) <= 80:
        return line
    return "\n".join(["{", *(f"{indent}    {entry}," for entry in entries), f"{indent}}}"])


def _to_flat(shape: tuple[int, ...]) -> str:
    return "" if len(shape) == 1 else ".transpose([2, 1, 0]).flatten()" if len(shape) == 3 else ".flatten()"


def _from_flat(shape: tuple[int, ...]) -> str:
    if len(shape) == 1:
        return ""
    return f".reshape({shape[::-1]}).transpose([2, 1, 0])" if len(shape) == 3 else f".reshape({shape})"


def _listed(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))


_CHIP = {
    "floating_pt": (
        "These are floating-point models, which no chip runs: for a chip quantise the network first and write this\n"
        "script of the integer network."
    ),
    "fixed_pt": (
        "These are fixed-point models, which compute as the chip does. For the chip itself set TARGET to 'loihi2';\n"
        "that needs the extension of Lava for members of Intel's research community, and its adapters between\n"
        "host and chip, at the two places marked ADAPTER. This path is untested."
    ),
}

_HEAD = '''"""A spiking network as processes of Lava, written by neurosim.

    python network.py [input.npz [output.npz]]

It needs Python 3.10, lava-nc 0.10.0 with its dependencies, and network.npz in the same folder, which holds the
weights. With numpy 2 lava-nc computes images wider than 127 wrongly; use numpy 1.26 for those.

input.npz holds data for each source, T steps and B samples, images as width, height, channels:

{sources}

output.npz receives the output of each population:

{outputs}

Step t of an output belongs to step t of the input: each connection takes one step on Lava, and the steps before the
data arrive (LATENCY) are left out.

{chip}
"""

import sys
from pathlib import Path

import numpy as np
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.io.sink import RingBuffer as Sink
from lava.proc.io.source import RingBuffer as Source
from lava.proc.monitor.process import Monitor
{imports}

TARGET = "simulation"  # or "loihi2"
MODEL = "{model}"  # which of Lava's process models run
# Step of Lava at which data reach each population.
LATENCY = {latency}
NUMBERS = np.load(Path(__file__).resolve().with_name("network.npz"), allow_pickle=False)
'''

_BUILD = '''

def configuration():
    """Return the configuration of the run."""
    if TARGET == "simulation":
        return Loihi2SimCfg(select_tag=MODEL)
    from lava.magma.core.run_configs import Loihi2HwCfg

    return Loihi2HwCfg(select_tag=MODEL)


def source(values, steps):
    """Return the ring buffer that sends one column per step, zeros after the data. ADAPTER: host to chip."""
    columns = np.zeros((*values.shape[1:], steps), int if MODEL == "fixed_pt" else float)
    columns[..., : len(values)] = np.moveaxis(values, 0, -1)
    return Source(data=columns)


def message_bits(values):
    """Return the bits of a message: 0 for spikes of 0 and 1, 24 for other numbers."""
    return 0 if np.isin(values, (0, 1)).all() else 24


def build(data, steps):
    """Build and connect all processes for one sample; data[name] is [T, ...]. Return the populations by name."""
'''

_HELPERS = {
    "ones_from(": '''def ones_from(first, end, steps):
    """Return the source of a constant current."""
    columns = np.zeros((1, steps))
    columns[:, first:end] = 1.0
    return Source(data=columns)
''',
    "listed(": '''def listed(name, shape):
    """Return the sparse matrix of listed connections."""
    places = (NUMBERS[name + ".post"], NUMBERS[name + ".pre"])
    return csr_matrix((NUMBERS[name + ".weight"], places), shape=shape)
''',
    "listed_delays(": '''def listed_delays(name, shape):
    """Return the sparse matrix of their delays; missing elements have none."""
    post, pre = NUMBERS[name + ".post"], NUMBERS[name + ".pre"]
    delays = np.broadcast_to(NUMBERS[name + ".delay"], post.shape).astype(int)
    late = delays > 0
    return csr_matrix((delays[late], (post[late], pre[late])), shape=shape)
''',
}

_TAIL = '''
    return @POPULATIONS@


def run(data):
    """Run one sample; return the output of each population, [T, ...]."""
    length = len(next(iter(data.values())))
    steps = length + max(LATENCY.values())
    neurons = build(data, steps)
    read_out = @READ_OUT@
    sent = {name: process.s_out for name, process in neurons.items() if name not in read_out}
    sinks = {name: Sink(shape=port.shape, buffer=steps) for name, port in sent.items()}
    for name, sink in sinks.items():
        sent[name].connect(sink.a_in)  # ADAPTER: chip to host
    monitors = {name: Monitor() for name in read_out}  # on the chip a state probe
    for name, monitor in monitors.items():
        monitor.probe(neurons[name].v, steps)
    first = next(iter(neurons.values()))
    first.run(condition=RunSteps(num_steps=steps), run_cfg=configuration())
    seen = {name: np.moveaxis(sink.data.get(), -1, 0) for name, sink in sinks.items()}
    for name, monitor in monitors.items():
        (variables,) = monitor.get_data().values()
        (seen[name],) = variables.values()
    first.stop()  # stopped processes cannot run again: each sample builds new ones
    return {name: values[LATENCY[name] : LATENCY[name] + length] for name, values in seen.items()}


def main(given="input.npz", written="output.npz"):
    """Run all samples of a file and write their outputs."""
    with np.load(given, allow_pickle=False) as arrays:
        data = {name: arrays[name] for name in arrays.files}
    samples = next(iter(data.values())).shape[1]
    outputs = []
    for sample in range(samples):
        outputs.append(run({name: values[:, sample] for name, values in data.items()}))
        sent = ", ".join(f"{name} {int(np.count_nonzero(values))}" for name, values in outputs[-1].items())
        print(f"sample {sample}: {sent}", flush=True)
    np.savez(written, **{name: np.stack([output[name] for output in outputs], axis=1) for name in outputs[0]})


if __name__ == "__main__":
    main(*sys.argv[1:])
'''
