"""Run a network over data or from its sources: batched, in chunks, with recordings and progress."""

from __future__ import annotations

import contextlib
import copy
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from neurosim.circuit.engine import engine_on, is_circuit, obstacle, recordable, recorded_edge
from neurosim.circuit.ranked import RankedEngine
from neurosim.circuit.rule_checks import checked_rules
from neurosim.circuit.rules import Rule, Rules
from neurosim.circuit.run import CircuitRun
from neurosim.errors import InputError, ShapeError
from neurosim.files.interrupt import deferred_interrupt
from neurosim.network.activity import warn_of
from neurosim.network.graph import NetworkState
from neurosim.network.network import Network
from neurosim.network.population import Population
from neurosim.network.ranks import Ranks
from neurosim.network.source import Source
from neurosim.recording.events import Events
from neurosim.recording.identity import digest_of
from neurosim.recording.recording import Recording
from neurosim.recording.segments import Segments
from neurosim.recording.trace import Sampling, Trace
from neurosim.units import steps_of

_CHUNK_BYTES = 64 << 20
_STEPS_OF_CIRCUIT = 2000  # at a time, so that an interruption is noticed
_LONG_RUN = 50_000_000  # neuron-steps; from here on a progress bar is shown by default


def simulate(
    net: Network,
    x: Any = None,
    *,
    steps: int | None = None,
    seconds: float | None = None,
    batch: int | None = None,
    seed: int | Mapping[str, int] | None = None,
    trials: Sequence[int] | None = None,
    record: Sequence[str | Trace] | None = None,
    state: NetworkState | None = None,
    path: str | os.PathLike[str] | None = None,
    checkpoint: float = 60.0,
    resume: bool = False,
    progress: bool | None = None,
    device: torch.device | str | None = None,
    chunk: int | None = None,
    engine: Literal["circuit", "layered"] | None = None,
    plasticity: Mapping[str, Rule | Sequence[Rule]] | None = None,
    ranks: bool = False,
) -> Recording:
    """Run `net` without gradient and record what it does.

    Parameters
    ----------
    net : Network
        The network; it is not changed.
    x : Tensor, array or HDF5 dataset [T, B, ...], Events, or mapping of input name to such
        Data of the `Input` nodes; left out for a network without one. Only one chunk of it is read at a time.
    steps, batch : int, optional
        T and B of a network without `Input`: T or `seconds` is needed, B is 1 if left out.
    seconds : float, optional
        Duration instead of `steps`, s, an integer number of steps.
    seed : int, or mapping of str to int, optional
        Seed of start values and sources, in ``0 ... 2^63 - 1``, or ``dict(start=..., noise=...)``; 0 if left out. The
        same seed gives the same numbers.
    trials : sequence of int, optional
        Number of the trial that each sample is; ``0 ... B - 1`` if left out. A trial draws the same
        numbers in any batch.
    record : sequence of str or Trace, optional
        ``"node"`` for the output of a node (events if it spikes, else a trace), ``"node.variable"`` for a trace
        of a state or local variable of its core (``"u"`` is the membrane before reset), ``"edge.weight"`` for the
        weights of a plastic edge after each step; a `Trace` of few synapses or with ``every=`` costs less. All
        populations' outputs if left out.
    state : NetworkState, optional
        State to continue from, e.g. ``recording.state``. It carries the seed and the trials of the sources.
    path : path-like, optional
        Write the recording to this HDF5 file while the run proceeds and keep none of it in memory. The file appears
        when the run is complete. Until then segments of it, with the state after each, lie in the folder
        ``<path>.parts``; what is in them survives the end of the process.
    checkpoint : float
        Wall time of a segment, s.
    resume : bool
        Continue the run to `path` that ended early, if there is one: the result is that of a run without a break.
    progress : bool, optional
        Whether to show a progress bar; on long runs if left out.
    device : torch.device or str, optional
        Where to run (a copy of the network, if it lies elsewhere); where the network lies if left out.
    chunk : int, optional
        Steps computed at a time. Chosen from the size if left out. The result depends on it as far as a matrix
        product depends on its number of rows: in the last bit of a current, if at all.
    engine : {"circuit", "layered"}, optional
        ``"circuit"`` runs event by event, many steps in one call; it needs populations of spiking cores joined by
        sparse or one-to-one synapses (on CUDA by `Drawn`). ``"layered"`` runs the network as a call of it does. Both
        give the same bits (docs/circuits.md has the one limit). If left out, the engine of circuits runs what it can
        run if there are sparse synapses among the populations.
    plasticity : mapping of str to a rule, optional
        Rule of each plastic edge, by the name of the edge, whose synapses are `Sparse`, `DelayedSparse` or `Drawn`.
        `PairSTDP`, `TripletSTDP`, `InhibitorySTDP` and `RewardModulated` around one of them change the weights when
        spikes meet, `HomeostaticScaling` and `Rewiring` at intervals; an edge may have one of each, in a tuple. Each
        trial has weights of its own, and those of the network stay as they are. They are in
        ``recording.state.plastic[edge].weight`` [B, n], in the order of ``net[edge][0].weight``, after all changes of
        the run. A spike delivers the weight after all changes of the steps before its arrival. `TsodyksMarkram` changes
        the amplitude of each spike. `HomeostaticThreshold` takes the name of a population. The engine of circuits runs
        such a network.
    ranks : bool
        Divide the neurons among the ranks of a program started by torchrun (docs/scaling.md); all of them call
        `simulate` with the same arguments and return the same recording. For the engine of circuits on the CPU, without
        `path` and `plasticity`. The result has the same bits for any number of ranks.

    Returns
    -------
    Recording

    Raises
    ------
    InputError
        When `x` holds NaN or infinity (with the step), `record` names what is not there, arguments contradict each
        other, or the engine of circuits is chosen and cannot run the network (with the reason).
    UnitError
        When `seconds` is not an integer number of steps, with the two nearest.
    ShapeError
        When `x` does not fit.
    FileError
        When `path` cannot be written, or there is the beginning of a run to it and `resume` is not given, or of another
        run.
    KeyboardInterrupt
        After Ctrl-C, once the steps under way are done. What was recorded is its attribute ``recording``, or in
        ``<path>.parts``.

    Warns
    -----
    ActivityWarning
        When a recorded population sends no spike, or fires at more than 90 % of the steps, in a run from the start.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> net = ns.Sequential(ns.Linear(3, 2), ns.LIF(dt=1e-3), names=["out"])
    >>> x = torch.rand(100, 4, 3)
    >>> first = ns.simulate(net, x[:60], record=["out", "out.v"])
    >>> rest = ns.simulate(net, x[60:], state=first.state)
    >>> first.traces["out.v"].shape, rest.T
    ((60, 4, 2), 40)
    """
    if not isinstance(net, Network):
        got = getattr(net, "__name__", type(net).__name__)
        raise InputError(f"simulate needs a network, such as ns.Sequential(...) or ns.Network(...); got {got}.")
    if state is not None:
        _check_state(state, seed, trials)
    given = dict(x) if isinstance(x, Mapping) else x
    if seconds is not None:
        if steps is not None:
            raise InputError(f"steps={steps!r} and seconds={seconds!r} both give the length of the run; leave one out.")
        steps = steps_of("simulate", "seconds", seconds, net.dt)
    T, B = _size_of_run(net, given, steps, batch, state, trials)
    rules = checked_rules(net, plasticity)
    wanted = _recorded(net, record, T, rules)
    where = _checked_device(device) if device is not None else net.like().device
    kind = _engine(net, list(wanted), where, engine, rules)
    together = _checked_ranks(kind, where, path, rules) if ranks else None
    width = sum(math.prod(net.shape(n)) for n in net.nodes)
    if chunk is None:
        chunk = (
            _chunk_of_circuit(net, wanted, B, rules) if kind == "circuit" else _CHUNK_BYTES // (4 * max(B * width, 1))
        )
        chunk = max(1, min(T, chunk))
    elif isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1:
        raise InputError(f"chunk must be an integer number of steps from 1; got {chunk!r}.")
    run = net if where == net.like().device else copy.deepcopy(net).to(where)
    bar = T * B * width >= _LONG_RUN if progress is None else progress
    now = _first_state(run, given, B, seed, trials, where) if state is None else state.to(where)
    if together is not None:
        bar = bar and together.is_first
        digests = {"network": digest_of(run, now), "data": digest_of(given), "record": digest_of(wanted)}
        together.check_same("the run", digests | {"size": f"T={T}, B={B}, chunk={chunk}"})
    with contextlib.ExitStack() as stack:
        keep: _InMemory | _OnDisk = _InMemory(net.dt, B, wanted)
        if path is not None:
            about = {"network": digest_of(run, now, rules), "data": digest_of(given), "T": T, "B": B}
            about["record"] = digest_of(wanted)
            segments = Segments(path, net.dt, B, about, every=checkpoint, resume=resume)
            keep = _OnDisk(stack.enter_context(segments), wanted)
            now = now if segments.state is None else segments.state.to(where)
        with torch.no_grad(), _bar(T, bar) as ticks, deferred_interrupt() as is_interrupted:
            advancing: _Layered | _Circuit
            if kind == "circuit":
                advancing = _Circuit(run, _start(run, given, B, now, where, rules), wanted, keep.done, rules, together)
            else:
                advancing = _Layered(run, now, wanted, B, keep.done)
            ticks.update(keep.done)
            while keep.done < max(T, 1):
                start, stop = keep.done, min(keep.done + chunk, T)
                data = None if given is None else _chunk(given, start, stop, net, where)
                for name, values in advancing.advance(data, stop - start).items():
                    keep.add(name, values, net)
                keep.advance(stop - start, advancing)
                ticks.update(stop - start)
                if not T:
                    break
                if is_interrupted() and stop < T:
                    raise keep.interrupted(T, advancing.state())
            recording = keep.finish(advancing.state())
            if is_interrupted():  # in the last steps: the program shall end too
                raise _with_recording(
                    KeyboardInterrupt(f"in the last of {T} steps; the recording is complete."), recording
                )
    recording.engine = kind
    if state is None:  # a continued run may be a few steps
        counts = {name: len(spikes) for name, spikes in recording.spikes.items() if name in net.populations()}
        sizes = {name: T * B * math.prod(net.shape(name)) for name in counts}
        rates = {name: count / sizes[name] for name, count in counts.items() if sizes[name]}
        warn_of(rates, f"the {T} steps of this run", stacklevel=2)
    return recording


def _recorded(
    net: Network, record: Sequence[str | Trace] | None, steps: int, rules: Mapping[str, Rules]
) -> dict[str, Sampling | None]:
    """Return the names of what is recorded, and which values of the variables of a `Trace`."""
    if isinstance(record, (str, Trace)):
        what = f"the text {record!r}" if isinstance(record, str) else repr(record)
        raise InputError(f"record must be a sequence of names; got {what}. Write record=[{record!r}].")
    wanted: dict[str, Sampling | None] = {}
    for each in list(net.populations()) if record is None else record:
        name = each.variable if isinstance(each, Trace) else each
        edge = _recorded_edge(net, name, rules)
        if not isinstance(each, Trace):
            wanted.setdefault(each, None)
            continue
        if edge is not None:
            size = net[edge[0]][0].weight.numel()
            wanted[name] = each.sampling(size, steps, net.dt, of_synapses=True)
            continue
        node, _, variable = each.variable.partition(".")
        if node not in net.populations() or not variable:
            raise InputError(
                f'Trace: variable must be "node.variable" of one of {list(net.populations())}; got {each.variable!r}.'
            )
        if each.variable in wanted:
            raise InputError(f"{each.variable!r} is recorded twice; one Trace may name several neurons.")
        wanted[each.variable] = each.sampling(math.prod(net.shape(node)), steps, net.dt)
    return wanted


def _recorded_edge(net: Network, name: Any, rules: Mapping[str, Rules]) -> tuple[str, str] | None:
    """Return the plastic edge and the variable of its synapses that a recorded name stands for, or None."""
    if not isinstance(name, str):
        return None
    found, edge = recorded_edge(name, rules), name.rpartition(".")[0]
    if found is not None or edge in net.nodes or edge not in {each.name for each in net.edges}:
        return found
    if edge in rules and rules[edge].changes_weights:
        raise InputError(f"{name!r}: of the synapses of edge {edge!r} a run can record {recordable(rules[edge])}.")
    raise InputError(
        f"{name!r}: the weights of edge {edge!r} do not change in this run; they are those of net[{edge!r}]. Name a "
        "rule of the edge in plasticity= that changes them."
    )


def _first_state(
    net: Network, x: Any, batch: int, seed: Any, trials: Sequence[int] | None, where: torch.device
) -> NetworkState | None:
    """Return the state before the first step; None, the network's own choice, where there is nothing to draw."""
    if not net.is_random and seed is None and trials is None:
        return None
    data = None if x is None else _chunk(x, 0, 0, net, where)
    return net.initial_state(data, batch=batch, seed=0 if seed is None and net.is_random else seed, trials=trials)


class _Layered:
    """A run by the strategies of the network."""

    def __init__(
        self, net: Network, state: NetworkState | None, wanted: Mapping[str, Sampling | None], batch: int, done: int
    ) -> None:
        self.net, self.now, self.wanted, self.batch, self.done = net, state, wanted, batch, done

    def advance(self, data: Any, steps: int) -> dict[str, Any]:
        """Run the next steps, and return what is recorded."""
        own, batch = (None, None) if self.net.inputs else (steps, self.batch)
        result = self.net.run(data, self.now, list(self.wanted), steps=own, batch=batch)
        self.now, start = result.state, self.done
        self.done += steps
        return {
            name: result.recorded[name] if sampling is None else sampling.of(result.recorded[name], start)
            for name, sampling in self.wanted.items()
        }

    def state(self) -> NetworkState:
        """Return the state after the steps so far."""
        assert self.now is not None
        return self.now


class _Circuit:
    """A run by the engine of circuits."""

    def __init__(
        self,
        net: Network,
        state: NetworkState,
        wanted: Mapping[str, Sampling | None],
        done: int,
        rules: Mapping[str, Rules],
        ranks: Ranks | None,
    ) -> None:
        self.net = net
        self.run: CircuitRun
        if ranks is not None:
            self.run = RankedEngine(net, state, wanted, ranks, first=done)
            return
        self.run = engine_on(net.like().device, net, state, wanted, first=done, plasticity=rules)

    def advance(self, data: Any, steps: int) -> dict[str, Any]:
        """Run the next steps, and return what is recorded."""
        return self.run.advance(steps, self.net.checked_inputs(data))

    def state(self) -> NetworkState:
        """Return the state after the steps so far."""
        return self.run.state()


def _engine(
    net: Network, names: Sequence[str], where: torch.device, engine: str | None, rules: Mapping[str, Rules]
) -> str:
    """Return which engine runs the network."""
    if engine not in (None, "circuit", "layered"):
        raise InputError(f'engine must be "circuit", "layered" or None; got {engine!r}.')
    if rules and engine == "layered":
        raise InputError(
            'plasticity needs the engine of circuits; leave out engine="layered", or run the network by '
            "neurosim.plasticity.Plasticity(net, rules)."
        )
    if engine == "layered" or (engine is None and not rules and not is_circuit(net)):
        return "layered"
    reason = obstacle(net, names, where, rules)
    if reason is None:
        return "circuit"
    if rules:
        raise InputError(
            f"plasticity needs the engine of circuits, which cannot run this network: {reason}. Use "
            "neurosim.plasticity.Plasticity(net, rules)."
        )
    if engine == "circuit":
        raise InputError(f'the engine of circuits cannot run this network: {reason}. Use engine="layered".')
    return "layered"


def _checked_ranks(kind: str, where: torch.device, path: Any, rules: Mapping[str, Rules]) -> Ranks:
    """Return the ranks of this program, after a check that they can share the run."""
    reason = None
    if kind != "circuit":
        reason = "the layered engine runs it; the engine of circuits takes populations joined by sparse synapses"
    elif where.type != "cpu":
        reason = f"the network is on {where}; ranks run on the CPU"
    elif rules:
        reason = f"{next(iter(rules))!r} changes by a rule; plastic synapses and thresholds run in one process"
    elif path is not None:
        reason = "path is given; all ranks have the recording, and one of them can save it"
    if reason is not None:
        raise InputError(f"ranks=True cannot run this: {reason}.")
    return Ranks.here(where)


def _chunk_of_circuit(
    net: Network, wanted: Mapping[str, Sampling | None], batch: int, rules: Mapping[str, Rules]
) -> int:
    """Return how many steps of a circuit to compute at a time: what lies outside it, and traces, are dense."""
    dense, width = [*net.inputs, *net.sources], 0.0
    for name, sampling in wanted.items():
        edge = recorded_edge(name, rules)
        if edge is not None:
            width += len(net[edge[0]][0].weight) if sampling is None else len(sampling.neurons) / sampling.every
        elif "." in name and sampling is None:
            dense.append(name.partition(".")[0])
    width = batch * (width + sum(math.prod(net.shape(name)) for name in dense))
    return min(_STEPS_OF_CIRCUIT, int(_CHUNK_BYTES / (4 * max(width, 1))))


def _start(
    net: Network,
    x: Any,
    batch: int,
    state: NetworkState | None,
    where: torch.device,
    rules: Mapping[str, Rules],
) -> NetworkState:
    """Return the state that a run by the engine of circuits begins with."""
    data = None if x is None else _chunk(x, 0, 0, net, where)
    plastic = {} if state is None else {name: state.plastic[name] for name in rules if name in state.plastic}
    if state is not None:  # the network refuses weights that no rule of this run changes
        state = state._replace(plastic={k: v for k, v in state.plastic.items() if k not in plastic})
    return net.start(data, state, None if net.inputs else batch)[1]._replace(plastic=plastic)


class _InMemory:
    """A recording in memory."""

    def __init__(self, dt: float, batch: int, wanted: Mapping[str, Sampling | None]) -> None:
        self.dt, self.batch, self.done = dt, batch, 0
        self.samplings = {name: sampling for name, sampling in wanted.items() if sampling is not None}
        self.events: dict[str, list[Events]] = {}
        self.pieces: dict[str, list[np.ndarray]] = {}

    def add(self, name: str, values: Events | Tensor, net: Network) -> None:
        """Keep what was recorded in the next steps."""
        events = _events(name, values, net)
        if events is not None:
            self.events.setdefault(name, []).append(events)
        else:
            self.pieces.setdefault(name, []).append(_array(values))

    def advance(self, steps: int, run: _Layered | _Circuit) -> None:
        """Count the steps."""
        self.done += steps

    def finish(self, state: NetworkState) -> Recording:
        """Return the recording."""
        spikes = {name: Events.joined(parts) for name, parts in self.events.items()}
        traces = {name: np.concatenate(parts) for name, parts in self.pieces.items()}
        return Recording(spikes, traces, dt=self.dt, T=self.done, B=self.batch, state=state, samplings=self.samplings)

    def interrupted(self, steps: int, state: NetworkState) -> KeyboardInterrupt:
        """Return the error of a run that ends early, with the recording."""
        error = KeyboardInterrupt(
            f"after {self.done} of {steps} steps. What was recorded is the attribute recording of this error; its "
            "state continues the run."
        )
        return _with_recording(error, self.finish(state))


def _with_recording(error: KeyboardInterrupt, recording: Recording) -> KeyboardInterrupt:
    """Return an error that carries what was recorded."""
    error.recording = recording  # type: ignore[attr-defined]
    return error


class _OnDisk:
    """A recording in segments on disk."""

    def __init__(self, segments: Segments, wanted: Mapping[str, Sampling | None]) -> None:
        self.segments, self.done = segments, segments.done
        self.samplings = {name: sampling for name, sampling in wanted.items() if sampling is not None}

    def add(self, name: str, values: Events | Tensor, net: Network) -> None:
        """Write what was recorded in the next steps."""
        events = _events(name, values, net)
        self.segments.add(name, _array(values) if events is None else events, self.samplings.get(name))

    def advance(self, steps: int, run: _Layered | _Circuit) -> None:
        """Count the steps, and end the segment if it is due."""
        self.done += steps
        self.segments.advance(steps)
        if self.segments.is_due:
            self.segments.close(run.state())

    def finish(self, state: NetworkState) -> Recording:
        """Return the recording, in one file."""
        self.segments.finish(state, self.samplings)
        return Recording.load(self.segments.path)

    def interrupted(self, steps: int, state: NetworkState) -> KeyboardInterrupt:
        """Return the error of a run that ends early; its segments are complete."""
        self.segments.close(state)
        return KeyboardInterrupt(
            f"after {self.done} of {steps} steps. They are in {self.segments.folder}; the same call with resume=True "
            "continues the run."
        )


def _array(values: Any) -> np.ndarray:
    array: np.ndarray = values.cpu().numpy()
    return array


def _events(name: str, values: Events | Tensor, net: Network) -> Events | None:
    """Return the output of a node that spikes as events; None for traces."""
    if isinstance(values, Events):
        return values
    node = None if "." in name else net.nodes[name]
    if not isinstance(node, (Population, Source)) or not node.is_spiking:
        return None
    # A source may send several spikes in a step.
    return Events.from_grid(values, net.dt, binary=isinstance(node, Population)).numpy()


def _check_state(state: Any, seed: Any, trials: Sequence[int] | None) -> None:
    if not isinstance(state, NetworkState):
        kind = type(state).__name__
        raise InputError(f"state must be the NetworkState that a network returned, or None; got {kind}.")
    if seed is not None or trials is not None:
        raise InputError("state carries the seed and the trials of the sources; leave out seed= and trials=.")


def _size_of_run(
    net: Network,
    x: Any,
    steps: int | None,
    batch: int | None,
    state: NetworkState | None,
    trials: Sequence[int] | None,
) -> tuple[int, int]:
    """Return T and B of a run."""
    if x is None and not net.inputs:
        for name, value in (("steps", steps), ("batch", batch)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
                raise InputError(f"{name} must be an integer from 0; got {value!r}.")
        if steps is None:
            raise InputError("this network has no Input; give steps= or seconds=, the length of the run.")
        return steps, batch if batch is not None else len(trials) if trials is not None else _samples(net, state)
    if steps is not None or batch is not None:
        raise InputError(f"steps={steps} and batch={batch} are for networks without Input; here x gives T and B.")
    return _steps_and_batch(x)


def _samples(net: Network, state: NetworkState | None) -> int:
    """Return B of a network without `Input`: that of `state`, or 1. The network checks whether the state is its own."""
    return 1 if state is None else net.samples_of(state)


def _steps_and_batch(x: Any) -> tuple[int, int]:
    """Return T and B of `x`, which is one array, or several by name that share them."""
    several = x if isinstance(x, dict) else {"": x}
    leads = {}
    for name, data in several.items():
        if isinstance(data, Events):
            if data.T is None:
                raise InputError(f"{_called(name)} holds events at real times; use binned(dt, T) first.")
            leads[name] = (data.T, data.B)
            continue
        shape = getattr(data, "shape", None)
        if shape is None or len(shape) < 3:
            got = type(data).__name__ if shape is None else list(shape)
            raise ShapeError(f"{_called(name)} must be [T, B, ...]; got {got}. Time comes first, then the batch.")
        leads[name] = (int(shape[0]), int(shape[1]))
    if len(set(leads.values())) != 1:
        raise ShapeError(f"all inputs must share T and B; got {leads or 'no input at all'}.")
    return next(iter(leads.values()))


def _called(name: str) -> str:
    return f"x[{name!r}]" if name else "x"


def _chunk(x: Any, start: int, stop: int, net: Network, where: torch.device) -> Any:
    """Return steps `start` to `stop` of `x` as `net` takes them."""
    if isinstance(x, dict):
        return {name: _part(data, start, stop, _called(name), net, where) for name, data in x.items()}
    return _part(x, start, stop, "x", net, where)


def _part(data: Any, start: int, stop: int, called: str, net: Network, where: torch.device) -> Tensor:
    if not isinstance(data, Events):
        return _finite(data[start:stop], start, called, net, where)
    if data.dt is None or not math.isclose(data.dt, net.dt, rel_tol=1e-9):
        raise InputError(f"{called} lies on a grid of {data.dt:g} s, but the network has dt = {net.dt:g} s.")
    return data.between(start, stop).to_grid().to(where, net.like().dtype)


def _finite(piece: Any, start: int, called: str, net: Network, where: torch.device) -> Tensor:
    data = torch.as_tensor(piece if isinstance(piece, Tensor) else np.asarray(piece)).to(where, net.like().dtype)
    bad = ~torch.isfinite(data)
    if bad.any():
        step = start + int(bad.flatten(1).any(1).nonzero()[0])
        raise InputError(
            f"{called} holds NaN or infinity, first at step {step}; clean the data (torch.nan_to_num) and look where "
            "it came from."
        )
    return data


def _bar(steps: int, show: bool) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=steps, unit="step", disable=not show, desc="simulate", leave=False)


def _checked_device(device: torch.device | str) -> torch.device:
    try:
        return torch.device(device)
    except (RuntimeError, TypeError):
        raise InputError(f'device={device!r}: a device such as "cpu", "cuda" or torch.device("cuda", 1).') from None
