"""The engine of circuits on CUDA: all trials in one launch, a window of steps at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurosim.circuit.run import CircuitRun
from neurosim.circuit.sources import PoissonLaws
from neurosim.circuit.wiring import Drive, Feed, wired
from neurosim.errors import InputError
from neurosim.kernels.circuit.cuda import Circuit, Input, Kept, Laws, Neurons, Ring, Rows, Trains, window_of
from neurosim.network.graph import NetworkState
from neurosim.network.network import Network
from neurosim.recording.events import Events
from neurosim.recording.trace import Sampling


class CudaEngine(CircuitRun):
    """A run of a network by the engine on a CUDA device.

    Its spikes and states are those of `Engine`, bit for bit, where docs/semantics.md promises it: sums are of integers,
    random numbers come from counters, and the step of a core is computed by the same operations in the same order.

    Parameters
    ----------
    net : Network
        One that has no `obstacle` on its device.
    state, record, first
        As in `CircuitRun`.
    """

    def __init__(
        self,
        net: Network,
        state: NetworkState,
        record: Mapping[str, Sampling | None] | Sequence[str],
        *,
        first: int = 0,
    ) -> None:
        super().__init__(net, state, record, first)
        self._wire(wired(net, self.real), state)
        wiring, self._sizes = self.wiring, {name: math.prod(net.shape(name)) for name in net.nodes}
        self._bases: dict[str, int] = {}
        recorded = 0
        for name in self.record:
            if name in net.populations():
                self._bases[name] = recorded
                recorded += self._sizes[name]
        self._states: dict[str, list[Tensor]] = {}
        self._fixed: dict[str, tuple[str, list[Tensor], Sequence[float]]] = {}
        for name, node in net.neurons().items():
            like = state.nodes[name][0].unsqueeze(0)
            fed = tuple(port for port in node.ports if port in wiring.feeds[name])
            _, key, coefficients, numbers, _ = node._arguments(fed, like, (), True, ())
            rows = [values.flatten(1).clone(memory_format=torch.contiguous_format) for values in state.nodes[name]]
            self._states[name] = rows
            self._fixed[name] = key, [values.flatten(1).contiguous() for values in coefficients], numbers
        self.device = next(iter(self._states.values()))[0].device
        slots = sum(size for dtype, size in wiring.accumulators.values() if dtype == torch.int32)
        window = window_of(wiring.window, self.samples, slots)
        self.circuit = Circuit(self.device, self.samples, slots, window, recorded)
        self._rings: dict[str, Ring] = {}
        for name, history in wiring.histories.items():
            if name in self._states:
                self._rings[name] = self._ring(history, window, self._sizes[name])
            else:
                self._rings[name] = self._ring(history, 0, 0)
            if history and name in state.in_flight:
                line = state.in_flight[name][-history:].flatten(2)
                self._put(name, line, -len(line))
        self._rows = [
            Rows.of(each.kind, each.delays, _starts(each), each.post, each.weight, each.offset, self.device)
            for each in wiring.routes
        ]
        self._places = dict(self.sources)
        self._laws_held: dict[str, Laws] = {}
        self._dense: dict[str, Tensor] = {}
        self._kept: dict[str, Kept] = {}
        self._is_ready = False

    def _ring(self, history: int, span: int, width: int) -> Ring:
        return Ring(history, span, self.samples, width, self.device)

    def advance(self, steps: int, inputs: Mapping[str, Tensor] | None = None) -> dict[str, Any]:
        """Run `steps` steps; see `CircuitRun.advance`."""
        laws = self._laws(self.sources, steps)
        values = {**(inputs or {}), **self._drawn(steps)}
        samplings = self._samplings(steps)
        self._load(values, laws, steps, samplings)
        if not self._is_ready:
            self._launch()
        begin, before = self.circuit.now, self._snapshot()
        spikes = self.circuit.run(steps)
        if (wrong := self._not_finite()) is not None:
            raise InputError(
                f"{self._first_not_finite(begin, before, steps) or wrong} is no longer finite: a weight, an input or a "
                "parameter lets it grow without bound."
            )
        self.steps += steps
        return {name: self._recorded(name, steps, values, samplings, spikes) for name in self.record}

    def _load(
        self,
        values: Mapping[str, Tensor],
        laws: Mapping[str, Sequence[PoissonLaws]],
        steps: int,
        samplings: Mapping[str, Sampling],
    ) -> None:
        """Write what the next steps take from outside to where launches read it; some memory may have to be larger."""
        for name, trials in laws.items():
            new, held = Laws.of(trials), self._laws_held.get(name)
            if held is not None and held.limits.shape[1] != new.limits.shape[1]:
                held = None
            memory: Sequence[Tensor | None] = held or [None] * len(new)
            self._laws_held[name] = Laws(*(self._written(*pair) for pair in zip(memory, new, strict=True)))
        for name in self._rings:
            if name not in self._states:
                self._put(name, values[name].flatten(2), self.circuit.now)
        for name, current in self._currents(values, steps).items():
            self._dense[name] = self._written(self._dense.get(name), current)
        for name, sampling in samplings.items():
            population = name.partition(".")[0]
            neurons = np.unique(sampling.neurons)
            kept = self._kept.get(name)
            shape = sampling.rows(steps), self.samples, len(neurons)
            out = self._with_room(None if kept is None else kept.out, shape, self.real)
            if kept is None:
                which = torch.full((self._sizes[population],), -1, dtype=torch.int32)
                which[torch.from_numpy(neurons)] = torch.arange(len(neurons), dtype=torch.int32)
                kept = Kept(which.to(self.device), out, torch.zeros(4, dtype=torch.int64, device=self.device))
            kept.plan.copy_(torch.tensor([sampling.begin, sampling.end, sampling.every, len(neurons)]))
            self._kept[name] = kept._replace(out=out)

    def _with_room(self, held: Tensor | None, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Return memory of at least the length of `shape`: that which is `held` if it is long enough."""
        if held is None or len(held) < shape[0]:
            self._is_ready = False
            return torch.empty(tuple(shape), dtype=dtype, device=self.device)
        return held

    def _written(self, held: Tensor | None, values: Tensor) -> Tensor:
        """Return memory that begins with `values`: that which is `held` if it is long enough."""
        held = self._with_room(held, values.shape, values.dtype)
        held[: len(values)] = values
        return held

    def _put(self, name: str, grid: Tensor, first: int) -> None:
        """Write the spikes of a node [steps, B, neurons] to its ring, which grows if they have no room in it."""
        ring, now = self._rings[name], self.circuit.now
        most, span = Ring.most(grid), len(grid)
        if name not in self._states and (most > ring.ids.shape[2] or span > ring.ring - ring.history):
            width = 1 << max(most, ring.ids.shape[2], 1).bit_length()
            longer = self._ring(ring.history, max(span, ring.ring - ring.history), width)
            if ring.history:
                longer.put(ring.under_way(now, self._sizes[name]), now - ring.history)
            self._rings[name], ring, self._is_ready = longer, longer, False
        ring.put(grid, first)

    def _launch(self) -> None:
        """Make the launches of a window, in the order of the tasks of a step on the CPU."""
        circuit, rows = self.circuit, list(zip(self.wiring.routes, self._rows, strict=True))
        circuit.begin([self._rings[name] for name in self._states])
        is_prompt = any(route.target is not None for route in self.wiring.routes)
        for target in (None, *self._states):
            if is_prompt:  # deliveries to a population come after the neurons of those before it
                circuit.stage()
            for route, table in rows:
                if route.target == target:
                    circuit.deliver(self._rings[route.source], table)
            if target is None or is_prompt:
                circuit.stage()
            if target is not None:
                circuit.advance(self._neurons(target))
        circuit.end()
        self._is_ready = True

    def _neurons(self, name: str) -> Neurons:
        key, coefficients, numbers = self._fixed[name]
        feeds = self.wiring.feeds[name]
        ports = [feeds[port] for port in self.net.neurons()[name].ports if port in feeds]
        inputs = [[self._input(name, feed) for feed in port] for port in ports]
        named = {variable.partition(".")[0::2]: kept for variable, kept in self._kept.items()}
        kept = {variable: each for (node, variable), each in named.items() if node == name}
        base = self._bases.get(name)
        return Neurons(key, inputs, self._states[name], coefficients, numbers, self._rings[name], base, kept)

    def _input(self, name: str, feed: Feed) -> Input:
        if feed.kind == "dense":
            return Input("dense", values=self._dense[str(feed.key)])
        own = [drive for drive in self.wiring.drives if drive.target == name and drive.feed[:3] == feed[:3]]
        if feed.kind == "integer":
            return Input("integer", feed.unit, feed.offset, [self._trains(drive, int(drive.weight)) for drive in own])
        (drive,) = own
        return Input("drive", drive.weight, trains=[self._trains(drive, 0)])

    def _trains(self, drive: Drive, weight: int) -> Trains:
        stream, place = self.net._streams[drive.source], self._places[drive.source]
        return Trains.of(self._laws_held[drive.source], place, stream, weight)

    def _snapshot(self) -> list[tuple[Tensor, Tensor]]:
        """Return tensors that a run changes, and copies of them."""
        rings = [self._rings[name] for name in self._states]
        held = [*(each for states in self._states.values() for each in states)]
        held += [each for ring in rings for each in (ring.ids, ring.counts)]
        return [(each, each.clone()) for each in held]

    def _not_finite(self) -> str | None:
        """Return which state variable of which neuron is not finite, or None if all are."""
        for name, node in self.net.neurons().items():
            for variable, values in zip(node.core.state, self._states[name], strict=True):
                wrong = ~torch.isfinite(values)
                if bool(wrong.any()):
                    trial, neuron = wrong.nonzero()[0].tolist()
                    return f"{name}.{variable} of neuron {neuron} in trial {trial}"
        return None

    def _first_not_finite(self, begin: int, before: Sequence[tuple[Tensor, Tensor]], steps: int) -> str | None:
        """Run the last steps again, one by one, and return what is not finite first, and after which step."""
        for held, copy in before:
            held.copy_(copy)
        self.circuit.now = begin
        for k in range(steps):
            self.circuit.run(1, begin)
            wrong = self._not_finite()
            if wrong is not None:
                return f"{wrong}, after step {self.steps + k},"
        return None

    def _recorded(
        self, name: str, steps: int, values: Mapping[str, Tensor], samplings: Mapping[str, Sampling], spikes: np.ndarray
    ) -> Any:
        shape = self.net.shape(name.partition(".")[0])
        if name in samplings:
            sampling = samplings[name]
            columns = np.unique(sampling.neurons, return_inverse=True)[1]
            traces = self._kept[name].out[: sampling.rows(steps)][..., torch.from_numpy(columns).to(self.device)]
            return traces.reshape(steps, self.samples, *shape) if self.record[name] is None else traces
        if name in values:
            return values[name]
        line, place = np.divmod(spikes, self.circuit.recorded)
        neuron = place - self._bases[name]
        own = (neuron >= 0) & (neuron < self._sizes[name])
        step, batch = np.divmod(line[own], self.samples)
        return Events.trusted(step, batch, neuron[own], T=steps, B=self.samples, shape=shape, dt=self.net.dt)

    def state(self) -> NetworkState:
        """Return the state after the steps so far."""
        nodes: dict[str, Any] = dict(self.sources)
        for name, node in self.net.neurons().items():
            shape = (self.samples, *self.net.shape(name))
            nodes[name] = node.core.state_type(*(values.reshape(shape).clone() for values in self._states[name]))
        inner = {}
        for name, history in self.wiring.histories.items():
            if history:
                line = self._rings[name].under_way(self.circuit.now, self._sizes[name])
                inner[name] = line.to(self.real).reshape(history, self.samples, *self.net.shape(name))
        in_order = {name: nodes[name] for name in self.net.nodes if name in nodes}
        return NetworkState(in_order, {**inner, **self.in_flight}, {})


def _starts(route: Any) -> Tensor | None:
    """Return where the synapses of each source and delay begin, and the end; None for bits."""
    return None if route.kind == "bits" else torch.cat([route.first[0], route.last[0][-1:]])
