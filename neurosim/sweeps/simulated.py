"""Trials that are runs of a network: what fits on the axis of the batch runs as one batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from neurosim.circuit.sources import Current, Noise, Poisson
from neurosim.errors import InputError
from neurosim.network.altered import altered
from neurosim.network.graph import NetworkState
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.network.source import Source
from neurosim.recording.recording import Recording
from neurosim.simulation import simulate
from neurosim.sweeps.outcome import Outcome, values_of
from neurosim.sweeps.trials import Trial, Value
from neurosim.sweeps.work import Task, name_of, text_of

_OPTIONS = ("steps", "seconds", "record", "engine", "plasticity", "chunk")


def mean_rates(run: Recording) -> dict[str, dict[str, float]]:
    """Return the mean rate of each recorded population, Hz."""
    return {"rate": run.rates()}


class NetworkTask(Task):
    """Trials that are runs of a network, or of those that a function makes.

    A parameter ``"population.parameter"`` of a core has a value for each sample of a batch, as has the seed. A
    parameter ``"source.rate"``, ``"source.waveform"`` or ``"source.std"``, and those of the function, are the same for
    a batch.

    Parameters
    ----------
    what : Network or callable
        The latter takes the parameters without a dot.
    measure : callable
        Takes the recording of one trial, B = 1.
    batch : int
        Most samples of a batch.
    options : mapping
        Arguments of `simulate`.
    first : mapping of str to bool, int, float or str
        The parameters of the first trial, for which the names are checked.
    """

    def __init__(
        self,
        what: Network | Callable[..., Network],
        measure: Callable[[Recording], Any],
        batch: int,
        options: Mapping[str, Any],
        first: Mapping[str, Value],
        *,
        seeds: bool,
    ) -> None:
        self.what, self.measure, self.batch, self.options = what, measure, batch, dict(options)
        net = self._network(first)
        self.on_batch = tuple(name for name in first if "." in name and _is_of_core(net, name))
        if seeds and not net.is_random:
            raise InputError("sweep: the network draws no numbers, so that all seeds give one result; leave out seeds.")
        self._check(net)

    def _check(self, net: Network) -> None:
        if net.inputs:
            raise InputError(
                f"sweep: the network has the inputs {list(net.inputs)}; give their data as a source, such as "
                "SpikeTrain, or sweep a function that runs it."
            )

    def check_values(self, values: Mapping[str, Sequence[Value]]) -> None:
        """Refuse values of parameters of cores that are out of range, if one network is swept."""
        if not isinstance(self.what, Network):
            return
        for name in self.on_batch:
            node, _, parameter = name.rpartition(".")
            neurons = self.what.nodes[node]
            assert isinstance(neurons, Neuron)
            for value in values[name]:
                neurons.declared[parameter].check(f"sweep: {node}", parameter, value)  # type: ignore[arg-type]

    def _network(self, parameters: Mapping[str, Value]) -> Network:
        """Return the network of a trial, without the values of its batch."""
        if isinstance(self.what, Network):
            plain = [name for name in parameters if "." not in name]
            if plain:
                raise InputError(
                    f'sweep: a network has no parameter {plain[0]!r}; give "node.parameter", such as '
                    f'"{next(iter(self.what.populations()))}.tau_mem", or sweep a function that makes the network.'
                )
            net = self.what
        else:
            made = self.what(**{name: value for name, value in parameters.items() if "." not in name})
            if not isinstance(made, Network):
                raise InputError(
                    f"sweep: with steps or seconds {name_of(self.what)} must return a network, which is then run; it "
                    f"returned {type(made).__name__}. Leave them out to sweep the function itself."
                )
            net = made
        nodes: dict[str, Any] = {}
        for name, value in parameters.items():
            if "." not in name:
                continue
            node, _, parameter = name.rpartition(".")
            if not _is_of_core(net, name):
                nodes[node] = _source(net, node, parameter, value)
        return altered(net, nodes) if nodes else net

    def units(self, trials: Sequence[Trial]) -> list[list[Trial]]:
        """Return trials that differ in what a batch may differ in together, `batch` at most."""
        groups: dict[Any, list[Trial]] = {}
        for trial in trials:
            key = tuple((n, v) for n, v in trial.parameters.items() if n not in self.on_batch)
            groups.setdefault(key, []).append(trial)
        return [group[at : at + self.batch] for group in groups.values() for at in range(0, len(group), self.batch)]

    def run(self, unit: Sequence[Trial]) -> list[Outcome]:
        """Run a batch; if it fails, each trial alone, so that each has its own error."""
        start = time.perf_counter()
        try:
            recordings = self._recordings(unit)
        except (Exception, SystemExit) as error:
            if len(unit) > 1:
                return [outcome for trial in unit for outcome in self.run([trial])]
            return [Outcome(unit[0].number, {}, text_of(error), time.perf_counter() - start)]
        each = (time.perf_counter() - start) / len(unit)
        return [self._measured(*pair, each) for pair in zip(unit, recordings, strict=True)]

    def _measured(self, trial: Trial, recording: Recording, seconds: float) -> Outcome:
        start = time.perf_counter()
        try:
            values, error = values_of(self.measure(recording), trial.parameters), ""
        except (Exception, SystemExit) as failure:
            values, error = {}, text_of(failure)
        return Outcome(trial.number, values, error, seconds + time.perf_counter() - start)

    def _recordings(self, unit: Sequence[Trial]) -> list[Recording]:
        net = self._network(unit[0].parameters)
        values: dict[str, dict[str, Any]] = {}
        for name in self.on_batch:
            node, _, parameter = name.rpartition(".")
            column = [trial.parameters[name] for trial in unit]
            values.setdefault(node, {})[parameter] = _on_batch(column, len(net.shape(node)))
        nodes = {name: _neurons(net, name).with_values(**each) for name, each in values.items()}
        net = altered(net, nodes) if nodes else net
        seeds = [0 if trial.seed is None and net.is_random else trial.seed for trial in unit]
        states = [net.initial_state(batch=1, seed=seed) for seed in seeds]
        run = simulate(net, state=_stacked(states), progress=False, **self.options)
        return [_sample(run, b) for b in range(len(unit))]


def _on_batch(column: Sequence[Value], axes: int) -> Any:
    """Return the values of a batch as a parameter takes them; one number if all are equal."""
    if len(set(column)) == 1:
        return column[0]
    return torch.tensor(column, dtype=torch.float64).reshape(-1, *[1] * axes)


def _neurons(net: Network, name: str) -> Neuron:
    node = net.nodes[name]
    assert isinstance(node, Neuron)
    return node


def _is_of_core(net: Network, name: str) -> bool:
    """Whether ``"node.parameter"`` is a parameter of a core; a parameter of a source is none.

    Raises
    ------
    InputError
        When the network has no such parameter.
    """
    node, _, parameter = name.rpartition(".")
    if node not in net.nodes:
        raise InputError(
            f"sweep: {name!r}: the network has no node {node!r}; it has {list(net.nodes)}. Weights and delays are "
            "parameters of a function that makes the network."
        )
    part = net.nodes[node]
    if isinstance(part, Neuron):
        if parameter not in part.declared:
            raise InputError(f"sweep: {node!r} has no parameter {parameter!r}; it has {list(part.declared)}.")
        if parameter in part.learned:
            raise InputError(f"sweep: {parameter!r} of {node!r} is learned, and has no value that can be set.")
        return True
    if isinstance(part, Source):
        return False
    raise InputError(f"sweep: {name!r}: {type(part).__name__} has no parameters.")


def _source(net: Network, name: str, parameter: str, value: Any) -> Source:
    """Return a source with another value."""
    node: Any = net.nodes[name]
    known: dict[Any, str] = {Poisson: "rate", Current: "waveform", Noise: "std"}
    own = known.get(type(node))
    if own is None or own != parameter:
        has = f"it has {own!r}" if own else "a Poisson has a rate, a Current a waveform, a Noise its std"
        raise InputError(f"sweep: {name!r} has no parameter {parameter!r} to sweep; {has}.")
    if isinstance(node, Noise):
        return Noise(value, node.shape)
    waveform = node.rate if isinstance(node, Poisson) else node.waveform
    if waveform.values is None or waveform.values.size > 1 or waveform.times is not None:
        raise InputError(
            f"sweep: {parameter!r} of {name!r} is not one number; sweep a function that makes the network."
        )
    start, stop = waveform.start, waveform.stop
    if isinstance(node, Poisson):
        return Poisson(value, node.shape, binary=node.binary, start=start, stop=stop)
    return Current(value, node.shape, start=start, stop=stop)


def _stacked(states: Sequence[NetworkState]) -> NetworkState:
    """Return states of one sample each as one of a batch."""
    if len(states) == 1:
        return states[0]
    nodes = {}
    for name, first in states[0].nodes.items():
        columns = zip(*(state.nodes[name] for state in states), strict=True)
        nodes[name] = type(first)(*(torch.cat(column) for column in columns))
    lines = {name: torch.cat([state.in_flight[name] for state in states], 1) for name in states[0].in_flight}
    return NetworkState(nodes, lines)


def _sample(run: Recording, b: int) -> Recording:
    """Return the recording of one sample."""
    if run.B == 1:
        return run
    spikes = {name: events.samples([b]) for name, events in run.spikes.items()}
    traces = {name: values[:, b : b + 1] for name, values in run.traces.items()}
    state = run.state.select(b)
    found = Recording(spikes, traces, dt=run.dt, T=run.T, B=1, state=state, samplings=run.samplings)
    found.engine = run.engine
    return found


def checked_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments of `simulate` without those that are None.

    Raises
    ------
    InputError
        For one that a sweep does not take.
    """
    unknown = [name for name in options if name not in _OPTIONS]
    if unknown:
        raise InputError(f"sweep: no argument {unknown[0]!r}; those of simulate are {', '.join(_OPTIONS)}.")
    return {name: value for name, value in options.items() if value is not None}
