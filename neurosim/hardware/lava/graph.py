"""Builds the connected lava-nc processes of a graph, for the worker and for the `build` of an export.

Only processes of lava-nc are used: to find the models of a process, Lava executes every Python file in the folder that
defines the process. This file needs only numpy and lava-nc.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import description, shim

GRADED_BITS = 24

# Folders of the neuron processes in lava-nc: ``lava.proc.<folder>.process``, with the models in the same folder.
PLACES = {
    **dict.fromkeys(("LIF", "LIFReset", "LIFRefractory", "TernaryLIF"), "lif"),
    "ATRLIF": "atrlif",
    "RF": "rf",
    "RF_IZ": "rf_iz",
    **dict.fromkeys(("Delta", "Sigma", "SigmaDelta"), "sdn"),
    **dict.fromkeys(("GradedVec", "GradedReluVec"), "graded"),
}
# Processes that send values other than 0 and 1.
GRADED_PROCESSES = frozenset(("TernaryLIF", "Delta", "Sigma", "SigmaDelta", "GradedVec", "GradedReluVec"))


@dataclass(frozen=True)
class Processes:
    """The connected lava-nc processes of one sample, by name.

    Attributes
    ----------
    sources, neurons, connections, biases, sinks : dict of str to lava process
        Ring buffers that send; neuron populations; ``Dense``, ``Sparse``, ``Conv`` and the like by edge; ``Dense`` for
        a bias as a current; ring buffers that receive, by population.
    monitors : dict of (str, str) to lava ``Monitor``
        By population and variable.
    latency : dict of str to int
        For each population, the Lava step that is the network's step 0.
    steps : int
        Steps after which the input has reached the last population.
    helpers : tuple of lava process
        Processes of learning with a reward: traces of postsynaptic spikes, constants, the reward.
    model : str
        Which of Lava's process models run.
    """

    sources: dict[str, Any]
    neurons: dict[str, Any]
    connections: dict[str, Any]
    biases: dict[str, Any]
    sinks: dict[str, Any]
    latency: dict[str, int]
    steps: int
    monitors: dict[tuple[str, str], Any] = field(default_factory=dict)
    helpers: tuple[Any, ...] = ()
    model: str = "floating_pt"

    def run(self) -> None:
        """Run `steps` steps in this interpreter. `stop()` must follow."""
        from lava.magma.core.run_conditions import RunSteps
        from lava.magma.core.run_configs import Loihi2SimCfg

        first = next(iter(self.neurons.values()))
        first.run(condition=RunSteps(num_steps=self.steps), run_cfg=Loihi2SimCfg(select_tag=self.model))

    def stop(self) -> None:
        """End the processes. They cannot run again: build new ones."""
        next(iter(self.neurons.values())).stop()

    def sent(self, name: str) -> np.ndarray:
        """Return the output of a population, [T, *Lava shape] on the network's steps; between `run` and `stop`.

        uint8 for spikes of 0 and 1, float64 for graded ones.
        """
        first = self.latency[name]
        steps = self.steps - max(self.latency.values())
        received = np.moveaxis(self.sinks[name].data.get(), -1, 0)[first : first + steps]
        graded = type(self.neurons[name]).__name__ in GRADED_PROCESSES
        return received.astype(np.float64) if graded else (received != 0).astype(np.uint8)

    def trace(self, name: str, variable: str) -> np.ndarray:
        """Return a monitored variable, float64 [Lava steps, *Lava shape], all steps; between `run` and `stop`."""
        (by_variable,) = self.monitors[name, variable].get_data().values()
        (values,) = by_variable.values()
        return np.asarray(values, dtype=np.float64)


def prepare(graph: description.LavaGraph) -> None:
    """Import and repair what is needed to build, compile and run `graph`.

    Raises
    ------
    ImportError
        If lava-nc, or one of networkx, asteval and scipy, is not installed.
    """
    shim.install()
    used = sorted({PLACES[population.process] for population in graph.populations})
    used += ["sparse"] if graph.sparse else []
    for name in (*(f"{place}.models" for place in used), "dense.models", "io.source", "io.sink", "monitor.models"):
        importlib.import_module(f"lava.proc.{name}")
    for name in ("compiler.compiler", "core.run_configs", "runtime.runtime"):
        importlib.import_module(f"lava.magma.{name}")
    if graph.conv:
        shim.mend_conv()
    if any(item.rate is not None for item in graph.learning):
        importlib.import_module("lava.proc.sdn.models")


def build(
    graph: description.LavaGraph,
    data: Mapping[str, np.ndarray],
    record: Sequence[str] = (),
    monitor: Sequence[tuple[str, str]] = (),
    reward: Mapping[str, np.ndarray] | None = None,
) -> Processes:
    """Build and connect the processes for one sample, after `prepare`.

    Parameters
    ----------
    graph : Graph
    data : mapping of str to numpy.ndarray
        The data [T, *Lava shape] of each source. Values 0 and 1 are sent as spikes, others as graded values.
    record : sequence of str
        Populations with a sink for their spikes.
    monitor : sequence of (str, str)
        Populations and variables (such as "v") to monitor; or edges that learn, and "weights".
    reward : mapping of str to numpy.ndarray [Lava steps], optional
        The reward at each step of Lava, for each edge that learns with one.
    """
    from lava.proc.dense.process import Dense
    from lava.proc.io.sink import RingBuffer as Sink
    from lava.proc.io.source import RingBuffer as Ring
    from lava.proc.monitor.process import Monitor

    steps = graph.latency + len(next(iter(data.values())))
    kind = int if graph.model == "fixed_pt" else float
    sources = {s.name: Ring(data=_columns(data[s.name], steps).astype(kind)) for s in graph.sources}
    neurons = {p.name: _neurons(p) for p in graph.populations}
    outputs = {name: process.s_out for name, process in (*sources.items(), *neurons.items())}
    graded = {name: GRADED_BITS for name, values in data.items() if not _is_binary(values)}
    graded |= {p.name: GRADED_BITS for p in graph.populations if p.process in GRADED_PROCESSES}
    shapes = {s.name: s.shape for s in graph.sources} | {p.name: p.shape for p in graph.populations}

    connections: dict[str, Any] = {}
    flat: list[description.DenseProcess | description.SparseProcess] = [*graph.dense, *graph.sparse]
    for item in flat:
        bits = graded.get(item.source, 0)
        options = _options(item, bits, graph.model)
        process = _sparse(item, options) if isinstance(item, description.SparseProcess) else _dense(item, options)
        connections[item.name] = process
        _flat(outputs[item.source]).connect(process.s_in)
        _shaped(process.a_out, shapes[item.target]).connect(_input(neurons[item.target]))
    for conv in graph.conv:
        process = connections[conv.name] = _conv(conv, shapes[conv.source], graded.get(conv.source, 0))
        _image(outputs[conv.source]).connect(process.s_in)
        _from_image(process.a_out, shapes[conv.target]).connect(_input(neurons[conv.target]))
    helpers: list[Any] = []
    for learning in graph.learning:
        bits = graded.get(learning.source, 0)
        process = connections[learning.name] = _learning(learning, bits)
        _flat(outputs[learning.source]).connect(process.s_in)
        _shaped(process.a_out, shapes[learning.target]).connect(_input(neurons[learning.target]))
        back = _flat(neurons[learning.target].s_out)
        back.connect(process.s_in_bap)
        if learning.rate is not None:
            given = np.zeros(steps) if reward is None else reward[learning.name]
            helpers += _modulated(learning, process, back, given)
    latency = {p.name: p.latency for p in graph.populations}
    biases = {bias.name: Dense(weights=bias.weight[:, None]) for bias in graph.bias_currents}
    for bias in graph.bias_currents:
        process, first = biases[bias.name], latency[bias.target] - 1
        Ring(data=_constant_from(first, first + 1 if bias.once else steps, steps)).s_out.connect(process.s_in)
        process.a_out.reshape(shapes[bias.target]).connect(_input(neurons[bias.target]))

    sinks = {name: Sink(shape=shapes[name], buffer=steps) for name in record}
    for name, sink in sinks.items():
        neurons[name].s_out.connect(sink.a_in)
    monitors = {pair: Monitor() for pair in monitor}
    for (name, variable), process in monitors.items():
        observed = connections[name] if variable == "weights" else neurons[name]
        process.probe(getattr(observed, variable), steps)
    return Processes(
        sources, neurons, connections, biases, sinks, latency, steps, monitors, tuple(helpers), graph.model
    )


def _neurons(population: description.PopulationProcess) -> Any:
    module = importlib.import_module(f"lava.proc.{PLACES[population.process]}.process")
    arguments = {key: value if value.ndim else value.item() for key, value in population.arguments.items()}
    named = {"name": population.name} if population.process in ("LIF", "LIFReset") else {}
    return getattr(module, population.process)(shape=population.shape, **arguments, **named)


def _input(process: Any) -> Any:
    """Return the input port of the current; of an oscillator that of its real part."""
    return process.a_in if hasattr(process, "a_in") else process.a_real_in


def _options(item: description.DenseProcess | description.SparseProcess, bits: int, model: str) -> dict[str, Any]:
    options: dict[str, Any] = {"num_message_bits": bits, "name": item.name}
    if model == "fixed_pt":
        from lava.utils.weightutils import SignMode

        signs = SignMode[item.signs.upper()]
        options |= {"weight_exp": item.exponent, "num_weight_bits": item.bits, "sign_mode": signs}
    return options


def _dense(item: description.DenseProcess, options: dict[str, Any]) -> Any:
    from lava.proc.dense.process import DelayDense, Dense

    if item.delay.any():
        delays = item.delay.astype(int) if item.delay.ndim else int(item.delay)
        return DelayDense(weights=item.weight, delays=delays, **options)
    return Dense(weights=item.weight, **options)


def _sparse(item: description.SparseProcess, options: dict[str, Any]) -> Any:
    from lava.proc.sparse.process import DelaySparse, Sparse
    from scipy.sparse import csr_matrix

    places = (item.post, item.pre)
    weights = csr_matrix((item.weight, places), shape=item.shape)
    if item.delay.any():
        steps = np.broadcast_to(item.delay, item.weight.shape)
        late = steps > 0  # Lava takes missing elements for no delay
        delays = csr_matrix((steps[late].astype(int), (item.post[late], item.pre[late])), shape=item.shape)
        return DelaySparse(weights=weights, delays=delays, **options)
    return Sparse(weights=weights, **options)


def _learning(item: description.LearningProcess, bits: int) -> Any:
    """Return synapses that learn; the tag of a three-factor rule is in units of `a_minus`: its y1 has no impulse."""
    from lava.magma.core.learning.learning_rule import Loihi2FLearningRule, Loihi3FLearningRule
    from lava.proc.dense.process import LearningDense

    pairs = f"{'-1 * ' if item.a_plus < 0 else ''}y0 * x1 {{}} x0 * y1"
    taus = {"x1_tau": item.tau_plus, "y1_tau": item.tau_minus}
    if item.rate is None:
        impulses = {"x1_impulse": abs(item.a_plus), "y1_impulse": abs(item.a_minus)}
        rule = Loihi2FLearningRule(dw=pairs.format("+" if item.a_minus < 0 else "-"), **impulses, **taus)
    else:
        change = pairs.format("-")
        waiting = "u0 * t * y2 - u0 * t * y3 * y2"
        fresh = change.replace("x1", "x1 * y2").replace("y1", "y1 * y2")
        rule = Loihi3FLearningRule(
            dw=f"{waiting} + {fresh}",
            dt=f"{change} - u0 * t * y3",
            x1_impulse=abs(item.a_plus / item.a_minus),
            x1_tau=item.tau_plus,
        )
        rule.y1_tau = rule.y2_tau = rule.y3_tau = np.inf  # inputs are read without decay
    return LearningDense(weights=item.weight, learning_rule=rule, num_message_bits=bits, name=item.name)


def _modulated(item: description.LearningProcess, process: Any, back: Any, reward: np.ndarray) -> list[Any]:
    """Connect the inputs of a three-factor rule: the postsynaptic trace, the reward, the decay of the eligibility.

    The trace is a sum with a loop that subtracts its decay one step later.
    """
    from lava.proc.dense.process import Dense
    from lava.proc.io.source import RingBuffer as Ring
    from lava.proc.sdn.process import Sigma

    assert item.rate is not None
    after = len(item.weight)
    trace = Sigma(shape=(after,))
    loop = Dense(weights=np.expm1(-1.0 / item.tau_minus) * np.eye(after), num_message_bits=GRADED_BITS)
    back.connect(trace.a_in)
    trace.s_out.connect(loop.s_in)
    loop.a_out.connect(trace.a_in)
    trace.s_out.connect(process.s_in_y1)
    rewards = Ring(data=np.tile(item.rate * item.a_minus * reward, (after, 1)))
    rewards.s_out.connect(process.s_in_y2)
    lost = Ring(data=np.full((after, len(reward)), 1.0 - item.decay))
    lost.s_out.connect(process.s_in_y3)
    return [trace, loop, rewards, lost]


def _conv(item: description.ConvProcess, shape: tuple[int, ...], bits: int) -> Any:
    from lava.proc.conv.process import Conv

    return Conv(
        weight=item.weight,
        input_shape=_image_shape(shape),
        stride=item.stride,
        padding=item.padding,
        dilation=item.dilation,
        groups=item.groups,
        num_message_bits=bits,
        name=item.name,
    )


def _flat(port: Any) -> Any:
    """Flatten a port in the network's order: channels, height, width."""
    if len(port.shape) == 1:
        return port
    return port.transpose([2, 1, 0]).flatten() if len(port.shape) == 3 else port.flatten()


def _shaped(port: Any, shape: tuple[int, ...]) -> Any:
    """Reshape a flat port in the network's order to a population."""
    if len(shape) == 1:
        return port
    return port.reshape(shape[::-1]).transpose([2, 1, 0]) if len(shape) == 3 else port.reshape(shape)


def _image_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return (W, H, C); a row of channels (C, L) is an image of height 1."""
    return shape if len(shape) == 3 else (shape[1], 1, shape[0])


def _image(port: Any) -> Any:
    if len(port.shape) == 3:
        return port
    return port.transpose([1, 0]).reshape(_image_shape(port.shape))


def _from_image(port: Any, shape: tuple[int, ...]) -> Any:
    if len(shape) == 3:
        return port
    if len(shape) == 1:
        return _flat(port)
    return port.reshape((shape[1], shape[0])).transpose([1, 0])


def _columns(data: np.ndarray, steps: int) -> np.ndarray:
    """Move time to the last axis and append zeros, because a ring buffer would start again."""
    columns = np.zeros((*data.shape[1:], steps))
    columns[..., : len(data)] = np.moveaxis(data, 0, -1)
    return columns


def _constant_from(first: int, end: int, steps: int) -> np.ndarray:
    columns = np.zeros((1, steps))
    columns[:, first:end] = 1.0
    return columns


def _is_binary(values: np.ndarray) -> bool:
    return bool(np.isin(values, (0, 1)).all())
