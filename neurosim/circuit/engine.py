"""The engine of circuits: a network without gradient, event by event, many steps in one call."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurosim.circuit.integers import unit_of
from neurosim.circuit.plastic import PlasticSynapses, synapses_of
from neurosim.circuit.rules import Rules
from neurosim.circuit.run import CircuitRun
from neurosim.circuit.short_term import ShortTermSynapses
from neurosim.circuit.sources import PoissonLaws
from neurosim.circuit.thresholds import Thresholds
from neurosim.circuit.wiring import (
    SPARSE,
    Drive,
    Feed,
    Route,
    Wiring,
    edge_obstacle,
    lines_of,
    spikes_before,
    wired,
)
from neurosim.compiler.llvm.threads import at_once, number_of_threads
from neurosim.errors import InputError
from neurosim.kernels.circuit import cpu
from neurosim.kernels.circuit.pace import Pace
from neurosim.kernels.circuit.tasks import (
    PAD,
    Delivery,
    PoissonInput,
    Population,
    Sample,
    SpikeLog,
    Task,
    Term,
    padded,
)
from neurosim.kernels.common import availability
from neurosim.network.graph import NetworkState
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.network.source import SourceState
from neurosim.recording.events import Events
from neurosim.recording.trace import Sampling

_DIVIDED = 20_000  # neurons from which several threads run one trial
_RESTING, _CALLS = 0.1, 16  # share of resting blocks below which all are computed, for so many calls
_ROOM = 1 << 14  # spikes that a log has room for at least, beside those of one step


def is_circuit(net: Network) -> bool:
    """Whether there are sparse synapses among the populations of a network."""
    populations = net.populations()
    return any(edge.source in populations and isinstance(edge.synapses[0], SPARSE) for edge in net.edges)


def obstacle(
    net: Network, record: Sequence[str], device: torch.device, plasticity: Mapping[str, Rules] = MappingProxyType({})
) -> str | None:
    """Return why the engine of a device cannot run a network, or None if it can."""
    if device.type not in ("cpu", "cuda"):
        return f"the engine runs on the CPU and on CUDA, the network on {device}"
    if device.type == "cuda" and (reason := availability.obstacle("cuda")) is not None:
        return reason
    if device.type == "cuda" and plasticity:
        return f"{next(iter(plasticity))!r} changes by a rule; plastic synapses and thresholds run on the CPU"
    for name, node in net.populations().items():
        if type(node) is not Neuron or node.must_be_called:
            return f"{name!r} is not a plain layer of a core, or has a hook"
        if not node._program().is_spiking:
            return f"the output of {name!r} is not a spike, 0 or 1"
        if not node.core.state:
            return f"{name!r} has no state"
        if node.core.integers_up_to is not None:
            return f"{name!r} computes in integers, whose currents are checked at each step"
        fed = {edge.port for edge in net.edges if edge.target == name}
        unfed = [port for port, value in node.ports.items() if value is None and port not in fed]
        if unfed or not fed:
            return f"no edge feeds {name!r}" + (f" at {unfed[0]!r}" if unfed else "")
    for name in record:
        if recorded_edge(name, plasticity) is not None:
            continue
        node_name, _, variable = name.partition(".")
        recorded = dict(net.nodes.items()).get(node_name)
        if variable and not (isinstance(recorded, Neuron) and variable in recorded.core.state):
            return f"{name!r} is not a state variable of a population"
    for edge in net.edges:
        reason = edge_obstacle(net, edge)
        if reason is None and device.type == "cuda" and edge.source in net.populations() and not unit_of(net, edge):
            reason = (
                "sums of real weights depend on their order; on CUDA synapses are Drawn, with weights on their grid"
            )
        if reason is not None:
            return f"edge {edge.name!r}: {reason}"
    return None


def parts_of(net: Network, samples: int) -> int:
    """Return how many parts the neurons of a network are divided into, each for one thread."""
    neurons = sum(math.prod(net.shape(name)) for name in net.populations())
    return number_of_threads() if samples == 1 and neurons >= _DIVIDED else 1


def engine_on(
    device: torch.device,
    net: Network,
    state: NetworkState,
    record: Mapping[str, Sampling | None],
    *,
    first: int,
    plasticity: Mapping[str, Rules],
) -> CircuitRun:
    """Return a run of a network without an `obstacle` on its device."""
    if device.type == "cpu":
        return Engine(net, state, record, first=first, plasticity=plasticity)
    from neurosim.circuit.cuda_engine import CudaEngine

    return CudaEngine(net, state, record, first=first)


class Engine(CircuitRun):
    """A run of a network by the engine on the CPU: it holds the state and advances it.

    The results are those of the layered strategies, bit for bit; docs/circuits.md has the one limit.

    Parameters
    ----------
    net : Network
        One that has no `obstacle`.
    state : NetworkState
        State before the first step.
    record : mapping of str to Sampling or None, or sequence of str
        Nodes, and state variables ``"node.variable"`` with which values of them are kept; all where it is None.
    first : int
        Steps of the run before this one, from which those of a `Sampling` count.
    parts : int, optional
        Parts that the neurons are divided into, each for one thread; chosen from the size and the number of threads if
        left out. The results do not depend on it.
    plasticity : mapping of str to Rules
        Of each plastic edge, as `rule_checks.checked_rules` returns them.
    """

    def __init__(
        self,
        net: Network,
        state: NetworkState,
        record: Mapping[str, Sampling | None] | Sequence[str],
        *,
        first: int = 0,
        parts: int | None = None,
        plasticity: Mapping[str, Rules] = MappingProxyType({}),
    ) -> None:
        super().__init__(net, state, record, first)
        self._wire(self._wired(parts_of(net, self.samples) if parts is None else parts, plasticity), state)
        self.pace = Pace() if self.wiring.division.parts > 1 else None
        self.trials = [_Trial(self.wiring, state, b) for b in range(self.samples)]
        edges = {name: recorded_edge(name, plasticity) for name in record}
        self.weights = {name: edge for name, edge in edges.items() if edge is not None}

    def _wired(self, parts: int, plasticity: Mapping[str, Rules]) -> Wiring:
        """Return the edges, their synapses drawn."""
        return wired(self.net, self.real, parts, plasticity)

    def advance(self, steps: int, inputs: Mapping[str, Tensor] | None = None) -> dict[str, Any]:
        """Run `steps` steps; see `CircuitRun.advance`."""
        pieces: list[dict[str, Any]] = []
        done = 0
        while not pieces or done < steps:
            size = self._stretch(steps - done)
            pieces.append(self._advance(size, {name: x[done : done + size] for name, x in (inputs or {}).items()}))
            done += size
        return pieces[0] if len(pieces) == 1 else {name: _joined([p[name] for p in pieces]) for name in self.record}

    def _stretch(self, most: int) -> int:
        """Return the steps, at most `most`, until weights are recorded, or change at the end of an interval."""
        ends = [s.due for trial in self.trials for s in trial.slow.values() if s.due is not None]
        for name in self.weights:
            sampling = self._sampling(name)
            following = sampling.begin + sampling.every * sampling.rows(self.steps)
            if following < sampling.end:
                ends.append(following + 1 - self.steps)
        return min([most, *ends])

    def _sampling(self, name: str) -> Sampling:
        """Return which values of a recorded variable of an edge are kept."""
        edge, _ = self.weights[name]
        given, size = self.record[name], len(self.trials[0].changing[edge].weight)
        return Sampling(np.arange(size), 0, sys.maxsize, 1) if given is None else given

    def _advance(self, steps: int, inputs: Mapping[str, Tensor]) -> dict[str, Any]:
        """Run steps after which alone weights are recorded, or change at the end of an interval."""
        ending = [[name for name, s in trial.slow.items() if s.due == steps] for trial in self.trials]
        before, kept = dict(self.sources), [trial.kept() for trial in self.trials]
        values = {**inputs, **self._drawn(steps)}
        currents = {name: self._with_lanes(current) for name, current in self._currents(values, steps).items()}
        laws = self._laws(before, steps)
        tasks = [
            trial.tasks(b, steps, values, currents, before, laws, self._samplings(steps))
            for b, trial in enumerate(self.trials)
        ]
        self._run(tasks, steps)
        for trial in self.trials:
            for resting in trial.resting.values():
                resting.observe()
            for synapses in trial.plastic.values():
                synapses.shift(steps)
            for thresholds in trial.thresholds.values():
                thresholds.shift(steps)
        if (wrong := self._not_finite()) is not None:
            if not any(trial.plastic or trial.thresholds for trial in self.trials):  # whose weights have changed
                wrong = self._first_not_finite(steps, kept, values, currents, before)
            raise InputError(
                f"{wrong} is no longer finite: a weight, an input or a parameter lets it grow without bound."
            )
        self.steps += steps
        for trial, names in zip(self.trials, ending, strict=True):
            trial.end_intervals(names)
        return {name: self._recorded(name, steps, values) for name in self.record}

    def _run(self, tasks: Sequence[list[list[Task]]], steps: int) -> None:
        """Run the tasks of all trials."""
        work = [functools.partial(cpu.run, each, steps, self.wiring.window, self.pace) for each in tasks]
        if number_of_threads() > 1 and len(work) > 1:
            cpu.compile_all(tasks[0])
            at_once(work)
        else:
            for each in work:
                each()

    def _with_lanes(self, current: Tensor) -> list[Tensor]:
        """Return a current [steps, B, neurons] of each trial, with room for a vector."""
        room = current.new_zeros((self.samples, current[:, 0].numel() + padded(1)))
        room[:, : current[:, 0].numel()] = current.transpose(0, 1).flatten(1)
        return list(room)

    def _recorded_weights(self, name: str, steps: int) -> Tensor:
        """Return the values of an edge that are kept of the last steps [0 or 1, B, n]."""
        (edge, variable), sampling = self.weights[name], self._sampling(name)
        synapses = torch.from_numpy(sampling.neurons)
        if sampling.rows(self.steps) > sampling.rows(self.steps - steps):
            return torch.stack([trial.values(edge, variable, synapses) for trial in self.trials])[None]
        like = self.trials[0].changing[edge].values(variable, synapses[:0])
        return like.new_empty(0, len(self.trials), len(synapses))

    def _recorded(self, name: str, steps: int, values: Mapping[str, Tensor]) -> Any:
        if name in self.weights:
            return self._recorded_weights(name, steps)
        node, _, variable = name.partition(".")
        shape = self.net.shape(node)
        if variable:
            traces = torch.stack([trial.samples[name] for trial in self.trials], 1)
            return traces.reshape(steps, self.samples, *shape) if self.record[name] is None else traces
        if name in values:
            return values[name]
        parts = [trial.logs[name].spikes() for trial in self.trials]
        step, neuron = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        batch = np.arange(len(parts)).repeat([len(each[0]) for each in parts])
        if len(parts) > 1:
            order = np.lexsort((neuron, batch, step))
            step, batch, neuron = step[order], batch[order], neuron[order]
        return Events.trusted(step, batch, neuron.astype(np.int64), T=steps, B=len(parts), shape=shape, dt=self.net.dt)

    def _not_finite(self) -> str | None:
        """Return which state variable of which neuron is not finite, or None if all are."""
        for b, trial in enumerate(self.trials):
            for name, node in self.net.neurons().items():
                for variable, values in zip(node.core.state, trial.states[name], strict=True):
                    wrong = ~torch.isfinite(values[: math.prod(self.net.shape(name))])
                    if bool(wrong.any()):
                        return f"{name}.{variable} of neuron {int(wrong.nonzero()[0])} in trial {b}"
        return None

    def _first_not_finite(
        self,
        steps: int,
        kept: Sequence[Any],
        values: Mapping[str, Tensor],
        currents: Mapping[str, Sequence[Tensor]],
        sources: Mapping[str, SourceState],
    ) -> str | None:
        """Run the last steps again, one by one, and return what is not finite first, and after which step."""
        for trial, before in zip(self.trials, kept, strict=True):
            trial.restore(before)
        for k in range(steps):
            now = {name: z[k : k + 1] for name, z in values.items()}
            width = {edge.name: math.prod(self.net.shape(edge.target)) for edge in self.wiring.outside}
            own = {name: [each[k * width[name] :] for each in rooms] for name, rooms in currents.items()}
            at = {name: each._replace(step=each.step + k) for name, each in sources.items()}
            laws = self._laws(at, 1)
            for b, trial in enumerate(self.trials):
                cpu.run(trial.tasks(b, 1, now, own, at, laws, {}), 1)
            wrong = self._not_finite()
            if wrong is not None:
                return f"{wrong}, after step {self.steps + k},"
        return None

    def state(self) -> NetworkState:
        """Return the state after the steps so far."""
        nodes: dict[str, Any] = dict(self.sources)
        for name, node in self.net.neurons().items():
            shape = self.net.shape(name)
            size = math.prod(shape)
            by_variable = zip(*(trial.states[name] for trial in self.trials), strict=True)
            stacked = (torch.stack([v[:size] for v in each]).reshape(-1, *shape) for each in by_variable)
            nodes[name] = node.core.state_type(*stacked)
        inner = lines_of(self.net, self.wiring.histories, [trial.logs for trial in self.trials], self.real)
        in_order = {name: nodes[name] for name in self.net.nodes if name in nodes}
        plastic: dict[str, Any] = {}
        for name in self.wiring.plasticity:
            states = [trial.plastic_state(name) for trial in self.trials]
            plastic[name] = type(states[0])(*map(torch.stack, zip(*states, strict=True)))
        return NetworkState(in_order, {**inner, **self.in_flight}, plastic)


class Resting:
    """Which blocks of a population rest, and whether it is worth to look.

    Parameters
    ----------
    slots : int
        Neurons, with room.
    """

    def __init__(self, slots: int) -> None:
        self._blocks = torch.zeros(slots // PAD, dtype=torch.uint8)
        self._wait = 0

    def of_part(self, first: int) -> Tensor | None:
        """Return the blocks from neuron `first` on; None if all blocks are to be computed in this call."""
        return None if self._wait else self._blocks[first // PAD :]

    def wake(self) -> None:
        """Compute all blocks in the next step, after a change of what the neurons are."""
        self._blocks.zero_()

    def observe(self) -> None:
        """Choose for the next call: where few blocks rest, some calls compute all."""
        if self._wait:
            self._wait -= 1
            if not self._wait:
                self._blocks.zero_()
        elif int(self._blocks.sum()) < _RESTING * len(self._blocks):
            self._wait = _CALLS


class _Trial:
    """One sample of the batch: states, spikes under way, accumulators."""

    def __init__(self, wiring: Wiring, state: NetworkState, b: int) -> None:
        net = wiring.net
        self.wiring, self.totals = wiring, wiring.totals()
        self.states: dict[str, list[Tensor]] = {}
        self.fixed: dict[str, tuple[str, list[Tensor], list[float]]] = {}
        self.samples: dict[str, Tensor] = {}
        self.thresholds: dict[str, Thresholds] = {}
        self._about: dict[str, tuple[tuple[str, ...], Tensor, int]] = {}
        for name, node in net.neurons().items():
            like = state.nodes[name][0].unsqueeze(0)
            fed = tuple(port for port in node.ports if port in wiring.feeds[name])
            self.states[name] = [_with_room(values[b]) for values in state.nodes[name]]
            self._about[name] = fed, like, b
            rule = wiring.plasticity[name].threshold if name in wiring.plasticity else None
            if rule is not None:
                shape = net.shape(name)
                own = Thresholds(name, node, rule, shape, state.nodes[name][0], state.plastic.get(name), b)
                self.thresholds[name] = own
            self._fix(name, node)
        is_dense = {n: any(f.kind == "dense" for feeds in wiring.feeds[n].values() for f in feeds) for n in self.states}
        self.resting = {n: Resting(len(self.states[n][0])) for n in self.states if self.states[n] and not is_dense[n]}
        self.logs = {}
        for name, steps in wiring.histories.items():
            bounds = wiring.division.bounds.get(name, (0, math.prod(net.shape(name))))
            plastic = [edge for edge in net.edges if edge.target == name and edge.name in wiring.plasticity]
            late = [wiring.plasticity[edge.name].late_steps(net.dt) for edge in plastic]
            before = spikes_before(state, name, max(steps, *late, 0), b, [edge.name for edge in plastic])
            self.logs[name] = SpikeLog(before, bounds)
        trial = next((int(SourceState(*state.nodes[name]).trial[b]) for name in net.sources), b)
        routes = {wiring.edge(route.key).name: route for route in wiring.routes if route.rules is not None}
        self.plastic = {
            name: synapses_of(wiring, route, state.plastic.get(name), b, trial) for name, route in routes.items()
        }
        self.changing = {name: each for name, each in self.plastic.items() if isinstance(each, PlasticSynapses)}
        self.slow: dict[str, PlasticSynapses | Thresholds] = {**self.changing, **self.thresholds}

    def end_intervals(self, names: Sequence[str]) -> None:
        """Count the spikes of the last call, and change weights and thresholds at the end of an interval."""
        for slow in self.slow.values():
            slow.observe(self.logs[slow.target])
        for name in names:
            if name in self.changing:
                self.flush(name)
            self.slow[name].end_intervals()
            if name in self.thresholds:
                self._fix(name, self.thresholds[name].node)
                if name in self.resting:
                    self.resting[name].wake()

    def _fix(self, name: str, node: Neuron) -> None:
        """Compute what the kernel of a population takes beside its state."""
        fed, like, b = self._about[name]
        node = self.thresholds[name].layer if name in self.thresholds else node
        _, key, coefficients, numbers, _ = node._arguments(fed, like, (), True, ())
        self.fixed[name] = key, [_with_room(values[b]) for values in coefficients], numbers

    def values(self, edge: str, variable: str, synapses: Tensor) -> Tensor:
        """Return what synapses of a plastic edge have after all changes of the steps so far."""
        self.flush(edge)
        return self.changing[edge].values(variable, synapses)

    def kept(self) -> Any:
        """Return what `restore` takes to go back to here."""
        logs = {name: (list(log.ids), list(log.ends)) for name, log in self.logs.items()}
        return {name: [each.clone() for each in states] for name, states in self.states.items()}, logs

    def restore(self, kept: Any) -> None:
        """Go back to where `kept` was taken."""
        states, logs = kept
        for name, variables in states.items():
            for held, value in zip(self.states[name], variables, strict=True):
                held.copy_(value)
        for name, (ids, ends) in logs.items():
            self.logs[name].ids, self.logs[name].ends = ids, ends
        self.resting.clear()

    def tasks(
        self,
        b: int,
        steps: int,
        outside: Mapping[str, Tensor],
        currents: Mapping[str, Sequence[Tensor]],
        sources: Mapping[str, SourceState],
        laws: Mapping[str, Sequence[PoissonLaws]],
        record: Mapping[str, Sampling],
    ) -> list[list[Task]]:
        """Return the tasks of the next steps, of each part, in order."""
        net = self.wiring.net
        for synapses in self.plastic.values():
            synapses.open(steps)
        for name, log in self.logs.items():
            size = math.prod(net.shape(name))
            log.open(steps, max(_ROOM, size * steps // 100) + size)
            if name in outside:
                log.put(outside[name][:, b].reshape(steps, size))
        parts = [self._of_part(p, b, currents, sources, laws) for p in range(self.wiring.division.parts)]
        for name, sampling in record.items():
            population, _, variable = name.partition(".")
            values = self.states[population][list(net.neurons()[population].core.state).index(variable)]
            self.samples[name] = values.new_empty((sampling.rows(steps), len(sampling.neurons)))
            self._sample(parts, population, values, sampling, self.samples[name])
        return parts

    def _of_part(
        self,
        p: int,
        b: int,
        currents: Mapping[str, Sequence[Tensor]],
        sources: Mapping[str, SourceState],
        laws: Mapping[str, Sequence[PoissonLaws]],
    ) -> list[Task]:
        wiring = self.wiring
        tasks: list[Task] = [self._delivery(route, p) for route in wiring.routes if route.target is None]
        for name, node in wiring.net.neurons().items():
            bounds = wiring.division.bounds[name]
            if bounds[p] == bounds[p + 1]:
                continue
            tasks += [self._delivery(route, p) for route in wiring.routes if route.target == name]
            drives = [drive for drive in wiring.drives if drive.target == name]
            tasks += [self._poisson(drive, p, b, sources[drive.source], laws[drive.source][b]) for drive in drives]
            feeds = wiring.feeds[name]
            inputs = [
                [self._term(feed, bounds[p], b, currents) for feed in feeds[port]]
                for port in node.ports
                if port in feeds
            ]
            key, coefficients, numbers = self.fixed[name]
            resting = self.resting[name].of_part(bounds[p]) if name in self.resting else None
            states, fixed = ([values[bounds[p] :] for values in group] for group in (self.states[name], coefficients))
            tasks.append(Population(key, p, inputs, states, fixed, numbers, self.logs[name], resting))
            own = (synapses for synapses in self.plastic.values() if synapses.target == name)
            for synapses in own:
                tasks += synapses.post_spikes(p, self.logs[name])
                tasks += synapses.rewards(self._plastic_delivery(synapses, p))
        return tasks

    def _sample(
        self, parts: list[list[Task]], population: str, values: Tensor, sampling: Sampling, out: Tensor
    ) -> None:
        """Add copies of a variable, those of each part of the neurons after its task."""
        bounds = self.wiring.division.bounds[population]
        owner = np.searchsorted(bounds, sampling.neurons, side="right") - 1
        for p, tasks in enumerate(parts):
            own = np.flatnonzero(owner == p)
            for block in np.split(own, np.flatnonzero(np.diff(own) > 1) + 1) if len(own) else []:
                neurons = torch.from_numpy(sampling.neurons[block].astype(np.int32))
                ends = sampling.begin, sampling.end, sampling.every
                tasks.append(Sample(values, neurons, *ends, 0, out[:, block[0] :]))

    def flush(self, name: str) -> None:
        """Compute all changes of the weights of a plastic edge in the steps so far."""
        synapses = self.plastic[name]
        deliveries = [self._plastic_delivery(synapses, p) for p in range(self.wiring.division.parts)]
        cpu.flush([*deliveries, *synapses.post_spikes(0, self.logs[synapses.target])], 0)

    def plastic_state(self, name: str) -> Any:
        """Return the state of a plastic edge, after all changes of its weights, or of thresholds that change."""
        if name in self.thresholds:
            return self.thresholds[name].state()
        self.flush(name)
        synapses = self.plastic[name]
        under_way = self.logs[synapses.target].under_way()
        return synapses.state([torch.from_numpy(each) for each in under_way[len(under_way) - synapses.delay :]])

    def _delivery(self, route: Route, p: int) -> Task:
        total = self.totals[route.key][route.offset :]
        if route.rules is not None:
            return self._plastic_delivery(self.plastic[self.wiring.edge(route.key).name], p)
        rows = route.delays, route.first[p], route.last[p], route.post, route.weight
        return Delivery(route.kind, self.logs[route.source], *rows, total)

    def _plastic_delivery(self, synapses: PlasticSynapses | ShortTermSynapses, p: int) -> Any:
        route = synapses.route
        return synapses.delivery(p, self.logs[route.source], self.totals[route.key][route.offset :])

    def _poisson(self, drive: Drive, p: int, b: int, source: SourceState, laws: PoissonLaws) -> PoissonInput:
        seed, trial, first = (int(values[b]) for values in source)
        stream = self.wiring.net._streams[drive.source]
        begin, end = self.wiring.division.bounds[drive.target][p : p + 2]
        total = self.totals[drive.feed.key][drive.feed.offset :]
        blocks = begin // PAD, padded(end) // PAD
        return PoissonInput(*laws, blocks, seed, stream, trial, first, drive.weight, total)

    def _term(self, feed: Feed, first: int, b: int, currents: Mapping[Any, Sequence[Tensor]]) -> Term:
        if feed.kind == "dense":
            return Term("dense", currents[feed.key][b][first:])
        return Term(feed.kind, self.totals[feed.key][feed.offset + first :], feed.unit)


def recorded_edge(name: str, plasticity: Mapping[str, Rules]) -> tuple[str, str] | None:
    """Return the plastic edge and the variable of its synapses that a recorded name stands for, or None."""
    edge, _, variable = name.rpartition(".")
    rules = plasticity.get(edge)
    if rules is None or not rules.changes_weights:
        return None
    return (edge, variable) if variable in recordable(rules) else None


def recordable(rules: Rules) -> list[str]:
    """Return what a run can record of the synapses of an edge with rules that change weights."""
    return ["weight", "post", "pre"] if rules.rewiring is not None else ["weight"]


def _joined(pieces: Sequence[Any]) -> Any:
    """Return what was recorded in pieces that follow each other as one."""
    return Events.joined(pieces) if isinstance(pieces[0], Events) else torch.cat(list(pieces))


def _with_room(values: Tensor) -> Tensor:
    """Return a copy of the values in a row, with zeros up to a multiple of the lanes."""
    held = values.new_zeros(padded(values.numel()))
    held[: values.numel()] = values.reshape(-1)
    return held
