"""Running a network over data: batched, chunk by chunk, with recordings and progress."""

from __future__ import annotations

import contextlib
import copy
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurosim.errors import InputError, ShapeError
from neurosim.files.atomic import replaced
from neurosim.network.graph import NetworkState
from neurosim.network.network import Network
from neurosim.recording.events import Events
from neurosim.recording.recording import Recording
from neurosim.recording.writer import Writer

_CHUNK_BYTES = 64 << 20
_LONG_RUN = 50_000_000  # neuron-steps; from here on a progress bar is shown unless told otherwise


def simulate(
    net: Network,
    x: Any,
    *,
    record: Sequence[str] | None = None,
    state: NetworkState | None = None,
    path: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    device: torch.device | str | None = None,
    chunk: int | None = None,
) -> Recording:
    """Run `net` over `x` without gradient and record what it does.

    Parameters
    ----------
    net : Network
        The network; it is not changed.
    x : Tensor, array or HDF5 dataset [T, B, ...], or mapping of input name to such
        Input. It is read chunk by chunk.
    record : sequence of str, optional
        ``"node"`` for the output of a node (events if it spikes, else a trace), ``"node.variable"`` for a trace
        of a state or local variable of its core (``"u"`` is the membrane before reset). All populations' outputs
        if left out.
    state : NetworkState, optional
        State to continue from, e.g. ``recording.state``.
    path : path-like, optional
        Write the recording to this HDF5 file as the run goes on and keep none of it in memory. The file appears
        when the run is complete.
    progress : bool, optional
        Whether to show a progress bar; on long runs if left out.
    device : torch.device or str, optional
        Where to run (a copy of the network, if it lies elsewhere); where the network lies if left out.
    chunk : int, optional
        Steps of a chunk, which one call computes. Chosen from the size if left out. The result depends on it as far
        as a dense product depends on its number of rows: in the last bit of a current, if at all.

    Returns
    -------
    Recording

    Raises
    ------
    InputError
        When `x` holds NaN or infinity (with the step), or `record` names what is not there.
    ShapeError
        When `x` does not fit.
    FileError
        When `path` cannot be written.

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
    given = dict(x) if isinstance(x, Mapping) else x
    steps, batch = _steps_and_batch(given)
    if isinstance(record, str):
        raise InputError(f"record must be a sequence of names; got the text {record!r}. Write record=[{record!r}].")
    names = list(net.populations()) if record is None else list(dict.fromkeys(record))
    width = sum(math.prod(net.shape(n)) for n in net.nodes)
    if chunk is None:
        chunk = max(1, min(steps, _CHUNK_BYTES // (4 * max(batch * width, 1))))
    elif not isinstance(chunk, int) or chunk < 1:
        raise InputError(f"chunk must be an integer number of steps from 1; got {chunk!r}.")
    where = torch.device(device) if device is not None else _place(net)
    run = net if where == _place(net) else copy.deepcopy(net).to(where)
    bar = steps * batch * width >= _LONG_RUN if progress is None else progress
    with contextlib.ExitStack() as stack:
        keep: _InMemory | _OnDisk
        if path is None:
            keep = _InMemory(net.dt)
        else:
            part = stack.enter_context(replaced(path))
            keep = _OnDisk(stack.enter_context(Writer(part, net.dt)), net.dt)
        now = None if state is None else _moved(state, where)
        with torch.no_grad(), _bar(steps, bar) as ticks:
            for start in range(0, max(steps, 1), chunk):
                data = _steps_of(given, start, min(start + chunk, steps), net, where)
                _, now, values, *_ = run.run(data, now, names)
                for name in names:
                    keep.add(name, values[name], start, _spiking(net, name))
                ticks.update(min(chunk, steps - start))
        assert now is not None
        if isinstance(keep, _InMemory):
            return keep.finish(steps, batch, now)
        keep.writer.finish(steps, batch, now)
    return Recording.load(path)  # type: ignore[arg-type]


class _InMemory:
    def __init__(self, dt: float) -> None:
        self.dt = dt
        self.events: dict[str, list[Events]] = {}
        self.pieces: dict[str, list[np.ndarray]] = {}

    def add(self, name: str, values: Tensor, start: int, spiking: bool) -> None:
        if spiking:
            self.events.setdefault(name, []).append(Events.from_grid(values, self.dt, binary=True).numpy())
        else:
            self.pieces.setdefault(name, []).append(values.cpu().numpy())

    def finish(self, steps: int, batch: int, state: NetworkState) -> Recording:
        spikes = {name: Events.joined(parts) for name, parts in self.events.items()}
        traces = {name: np.concatenate(parts) for name, parts in self.pieces.items()}
        return Recording(spikes, traces, dt=self.dt, T=steps, B=batch, state=state)


class _OnDisk:
    def __init__(self, writer: Writer, dt: float) -> None:
        self.writer, self.dt = writer, dt

    def add(self, name: str, values: Tensor, start: int, spiking: bool) -> None:
        if spiking:
            self.writer.spikes(name, Events.from_grid(values, self.dt, binary=True).numpy(), offset=start)
        else:
            self.writer.trace(name, values.cpu().numpy())


def _spiking(net: Network, name: str) -> bool:
    population = net.populations().get(name)
    return population is not None and population.is_spiking


def _place(net: Network) -> torch.device:
    first = next(net.parameters(), None)
    return torch.device("cpu") if first is None else first.device


def _real(net: Network) -> torch.dtype:
    first = next((p for p in net.parameters() if p.is_floating_point()), None)
    return torch.get_default_dtype() if first is None else first.dtype


def _moved(state: NetworkState, where: torch.device) -> NetworkState:
    nodes = {k: type(s)(*(v.to(where) for v in s)) for k, s in state.nodes.items()}
    return NetworkState(nodes, {k: v.to(where) for k, v in state.edges.items()})


def _steps_and_batch(x: Any) -> tuple[int, int]:
    """Return T and B of `x`, which is one array, or several by name that share them."""
    several = x if isinstance(x, dict) else {"": x}
    leads = {}
    for name, data in several.items():
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


def _steps_of(x: Any, start: int, stop: int, net: Network, where: torch.device) -> Any:
    """Return steps `start` to `stop` of `x` as `net` takes them."""
    if isinstance(x, dict):
        return {name: _finite(data[start:stop], start, _called(name), net, where) for name, data in x.items()}
    return _finite(x[start:stop], start, "x", net, where)


def _finite(piece: Any, start: int, called: str, net: Network, where: torch.device) -> Tensor:
    data = torch.as_tensor(piece if isinstance(piece, Tensor) else np.asarray(piece)).to(where, _real(net))
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
