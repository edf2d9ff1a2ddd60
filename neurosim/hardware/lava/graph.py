"""Build the connected lava-nc processes of a graph: the one definition, used by the worker and by the export's `build`.

Only processes that come with lava-nc are used: Lava looks for a process's models by executing every Python file in the
folder where the process is defined. This file needs numpy and lava-nc.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import description, shim

GRADED_BITS = 24


@dataclass(frozen=True)
class Processes:
    """The connected lava-nc processes of one sample, by name.

    Attributes
    ----------
    sources, neurons, connections, biases, sinks : dict of str to lava process
        Ring buffers that send, ``LIF`` populations, ``Dense``, ``DelayDense`` and ``Conv`` by edge, ``Dense`` that
        carry a bias as a current by population, ring buffers that receive by population.
    monitors : dict of (str, str) to lava ``Monitor``
        Those asked for, by population and variable.
    latency : dict of str to int
        For each population, the Lava step that is the network's step 0.
    steps : int
        Steps to run so that the last population has seen the whole input.
    """

    sources: dict[str, Any]
    neurons: dict[str, Any]
    connections: dict[str, Any]
    biases: dict[str, Any]
    sinks: dict[str, Any]
    latency: dict[str, int]
    steps: int
    monitors: dict[tuple[str, str], Any] = field(default_factory=dict)

    def run(self) -> None:
        """Run `steps` steps of the floating-point models in this interpreter. `stop()` must follow."""
        from lava.magma.core.run_conditions import RunSteps
        from lava.magma.core.run_configs import Loihi2SimCfg

        first = next(iter(self.neurons.values()))
        first.run(condition=RunSteps(num_steps=self.steps), run_cfg=Loihi2SimCfg(select_tag="floating_pt"))

    def stop(self) -> None:
        """End the processes. They cannot be run again: build anew."""
        next(iter(self.neurons.values())).stop()

    def spikes(self, name: str) -> np.ndarray:
        """Return spikes, uint8 [T, *Lava shape], on the network's steps; to be called between `run` and `stop`."""
        first = self.latency[name]
        steps = self.steps - max(self.latency.values())
        received = np.moveaxis(self.sinks[name].data.get(), -1, 0)
        return (received[first : first + steps] != 0).astype(np.uint8)

    def trace(self, name: str, variable: str) -> np.ndarray:
        """Return what a monitor saw, float64 [Lava steps, *Lava shape], fill-in included; between `run` and `stop`."""
        (by_variable,) = self.monitors[name, variable].get_data().values()
        (values,) = by_variable.values()
        return np.asarray(values, dtype=np.float64)


def prepare(graph: description.Graph) -> None:
    """Import and mend what building, compiling and running `graph` needs.

    Raises
    ------
    ImportError
        If lava-nc, or one of networkx, asteval and scipy, is not installed.
    """
    shim.install()
    for name in ("lif.models", "dense.models", "io.source", "io.sink", "monitor.models"):
        importlib.import_module(f"lava.proc.{name}")
    for name in ("compiler.compiler", "core.run_configs", "runtime.runtime"):
        importlib.import_module(f"lava.magma.{name}")
    if graph.conv:
        shim.mend_conv()


def build(
    graph: description.Graph,
    data: Mapping[str, np.ndarray],
    record: Sequence[str] = (),
    monitor: Sequence[tuple[str, str]] = (),
) -> Processes:
    """Make and connect the processes for one sample; `prepare` must have run.

    Parameters
    ----------
    graph : Graph
        What to build.
    data : mapping of str to numpy.ndarray
        For each source the data [T, *Lava shape]. Sources of 0 and 1 are sent as spikes, others as graded values.
    record : sequence of str
        Populations whose spikes are received in sinks.
    monitor : sequence of (str, str)
        Populations and variables ("u" or "v") to monitor.
    """
    from lava.proc.dense.process import Dense
    from lava.proc.io.sink import RingBuffer as Sink
    from lava.proc.io.source import RingBuffer as Ring
    from lava.proc.lif.process import LIF
    from lava.proc.monitor.process import Monitor

    steps = graph.latency + len(next(iter(data.values())))
    sources = {s.name: Ring(data=_columns(data[s.name], steps)) for s in graph.sources}
    neurons = {
        p.name: LIF(
            shape=p.shape,
            name=p.name,
            du=_value(p.du),
            dv=_value(p.dv),
            vth=_value(p.vth),
            bias_mant=_value(p.bias),
            v=_value(p.v),
        )
        for p in graph.populations
    }
    outputs = {name: process.s_out for name, process in (*sources.items(), *neurons.items())}
    graded = {name: GRADED_BITS for name, values in data.items() if not _is_binary(values)}
    shapes = {s.name: s.shape for s in graph.sources} | {p.name: p.shape for p in graph.populations}

    connections: dict[str, Any] = {}
    for dense in graph.dense:
        process = connections[dense.name] = _dense(dense, graded.get(dense.source, 0))
        _flat(outputs[dense.source]).connect(process.s_in)
        process.a_out.connect(neurons[dense.target].a_in)
    for conv in graph.conv:
        process = connections[conv.name] = _conv(conv, shapes[conv.source], graded.get(conv.source, 0))
        outputs[conv.source].connect(process.s_in)
        images = process.a_out
        (images if len(shapes[conv.target]) == 3 else _flat(images)).connect(neurons[conv.target].a_in)
    latency = {p.name: p.latency for p in graph.populations}
    biases = {bias.target: Dense(weights=bias.weight[:, None]) for bias in graph.bias_currents}
    for name, process in biases.items():
        Ring(data=_constant_from(latency[name] - 1, steps)).s_out.connect(process.s_in)
        process.a_out.reshape(shapes[name]).connect(neurons[name].a_in)

    sinks = {name: Sink(shape=shapes[name], buffer=steps) for name in record}
    for name, sink in sinks.items():
        neurons[name].s_out.connect(sink.a_in)
    monitors = {pair: Monitor() for pair in monitor}
    for (name, variable), process in monitors.items():
        process.probe(getattr(neurons[name], variable), steps)
    return Processes(sources, neurons, connections, biases, sinks, latency, steps, monitors)


def _dense(item: description.Dense, bits: int) -> Any:
    from lava.proc.dense.process import DelayDense, Dense

    if item.delay:
        return DelayDense(weights=item.weight, delays=item.delay, num_message_bits=bits, name=item.name)
    return Dense(weights=item.weight, num_message_bits=bits, name=item.name)


def _conv(item: description.Conv, shape: tuple[int, ...], bits: int) -> Any:
    from lava.proc.conv.process import Conv

    return Conv(
        weight=item.weight,
        input_shape=shape,
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


def _value(array: np.ndarray) -> Any:
    return array if array.ndim else float(array)


def _columns(data: np.ndarray, steps: int) -> np.ndarray:
    """Put time last and add zeros: a ring buffer would begin again from the start."""
    columns = np.zeros((*data.shape[1:], steps))
    columns[..., : len(data)] = np.moveaxis(data, 0, -1)
    return columns


def _constant_from(first: int, steps: int) -> np.ndarray:
    columns = np.zeros((1, steps))
    columns[:, first:] = 1.0
    return columns


def _is_binary(values: np.ndarray) -> bool:
    return bool(np.isin(values, (0, 1)).all())
