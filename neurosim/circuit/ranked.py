"""A circuit over ranks: each has the neurons of one part and their incoming synapses; spikes are exchanged."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurosim.circuit.engine import Engine
from neurosim.circuit.wiring import Route, wired
from neurosim.errors import InputError
from neurosim.kernels.circuit import cpu
from neurosim.kernels.circuit.tasks import PAD, Task
from neurosim.network.graph import NetworkState
from neurosim.network.network import Network
from neurosim.network.ranks import Ranks
from neurosim.recording.trace import Sampling

_BLOCK = 1 << 20  # synapses that are copied at a time


class RankedEngine(Engine):
    """A run of a network by the engine on the CPUs of several ranks, which all have the results.

    A rank updates the neurons of its part, and keeps the synapses onto them; random numbers come from counters, so that
    all ranks draw the same rows and nothing of them is sent. After each shortest delay the ranks exchange their spikes.
    The results are those of `Engine`, bit for bit.

    Parameters
    ----------
    net, state, record, first
        As in `Engine`; the same on all ranks.
    ranks : Ranks

    Raises
    ------
    InputError
        When an edge among populations has no delay, so that spikes would be exchanged within a step.
    """

    def __init__(
        self,
        net: Network,
        state: NetworkState,
        record: Mapping[str, Sampling | None] | Sequence[str],
        ranks: Ranks,
        *,
        first: int = 0,
    ) -> None:
        self.ranks, self._room = ranks, 64
        prompt = [e for e in net.edges if e.source in net.populations() and not e.min_delay]
        if prompt and ranks.size > 1:
            raise InputError(
                f"edge {prompt[0].name!r} has no delay, so that ranks would exchange spikes within a step. Give it a "
                "delay of one step or more, or run without ranks."
            )
        super().__init__(net, state, record, first=first, parts=ranks.size)
        self._logs = [trial.logs[name] for trial in self.trials for name in self.wiring.division.bounds]

    def _wired(self, parts: int, plasticity: Mapping[str, Any]) -> Any:
        return wired(self.net, self.real, parts, plasticity, keep=lambda route: own_rows(route, self.ranks.rank))

    def _run(self, tasks: Sequence[list[list[Task]]], steps: int) -> None:
        window, done = self.wiring.window, 0
        while done < steps:
            end = min(done + window, steps)
            for trial in tasks:
                cpu.run_part(trial[self.ranks.rank], done, end, window)
            if self.ranks.size > 1:
                self._exchange(done, end)
            done = end

    def _exchange(self, begin: int, end: int) -> None:
        """Add the spikes of the other ranks in steps `begin` to `end`."""
        rank, logs = self.ranks.rank, self._logs
        rows = [(log.history + begin, log.history + end) for log in logs]
        ends = [log.ends[rank][a : b + 1] for log, (a, b) in zip(logs, rows, strict=True)]
        counts = np.stack([np.diff(each) for each in ends]).astype(np.int32)
        ids = np.concatenate([log.ids[rank][e[0] : e[-1]] for log, e in zip(logs, ends, strict=True)])
        all_counts, all_ids = self._messages(counts, ids.astype(np.int32, copy=False))
        for other, (own_counts, own_ids) in enumerate(zip(all_counts, all_ids, strict=True)):
            if other == rank:
                continue
            place = 0
            for log, (a, b), row in zip(logs, rows, own_counts, strict=True):
                number, start = int(row.sum()), int(log.ends[other][a])
                log.make_room(other, a, number)
                log.ids[other][start : start + number] = own_ids[place : place + number]
                log.ends[other][a + 1 : b + 1] = start + row.cumsum(dtype=np.int64)
                place += number

    def _messages(self, counts: np.ndarray, ids: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return the counts and the spikes of each rank; one message, and a second if a rank has more than fit."""
        size, room = counts.size, self._room
        sent = np.zeros(size + room, np.int32)
        sent[:size], sent[size : size + len(ids)] = counts.ravel(), ids[:room]
        rows = [each.numpy() for each in self.ranks.rows(torch.from_numpy(sent))]
        all_counts = [row[:size].reshape(counts.shape) for row in rows]
        all_ids = [row[size:] for row in rows]
        most = max(int(each.sum()) for each in all_counts)
        if most > room:
            rest = np.zeros(most - room, np.int32)
            rest[: max(len(ids) - room, 0)] = ids[room:]
            rests = self.ranks.rows(torch.from_numpy(rest))
            all_ids = [np.concatenate((held, more.numpy())) for held, more in zip(all_ids, rests, strict=True)]
        self._room = max(most + most // 4, room - room // 8)  # of all ranks, since all have the counts of all
        return all_counts, all_ids

    def _recorded(self, name: str, steps: int, values: Mapping[str, Tensor]) -> Any:
        node, _, variable = name.partition(".")
        if variable and self.ranks.size > 1:
            sampling, bounds = self.record[name], self.wiring.division.bounds[node]
            for trial in self.trials:
                neurons = np.arange(bounds[-1]) if sampling is None else sampling.neurons
                owner = torch.from_numpy(np.searchsorted(bounds, neurons, side="right") - 1)
                trial.samples[name] = self._of_owners(trial.samples[name], owner)
        return super()._recorded(name, steps, values)

    def _of_owners(self, values: Tensor, owner: Tensor) -> Tensor:
        """Return values [..., n] whose columns are those of the rank that owns each."""
        found = values.clone()
        for rank, each in enumerate(self.ranks.rows(values)):
            found[..., owner == rank] = each[..., owner == rank]
        return found

    def _not_finite(self) -> str | None:
        return next((each for each in self.ranks.objects(super()._not_finite()) if each is not None), None)

    def _first_not_finite(self, *_: Any) -> str | None:
        return self._not_finite()  # without the step: the ranks do not go back

    def state(self) -> NetworkState:
        """Return the state after the steps so far; all ranks call it."""
        if self.ranks.size > 1:
            for trial in self.trials:
                for name, bounds in self.wiring.division.bounds.items():
                    for k, values in enumerate(trial.states[name]):
                        owner = torch.from_numpy(np.searchsorted(bounds, np.arange(len(values)), side="right") - 1)
                        values.copy_(self._of_owners(values, owner.clamp_max(self.ranks.size - 1)))
                        trial.states[name][k] = values
        return super().state()


def own_rows(route: Route, part: int) -> Route:
    """Return the synapses of a route onto the targets of one part; the other parts have none."""
    first, last = route.first[part], route.last[part]
    if route.kind == "bits":
        begin, end = int(first), int(last)
        none, words = torch.zeros(1, dtype=torch.int64), torch.tensor([end - begin])
        post, weight, offset = route.post[:, begin:end].contiguous(), route.weight, route.offset + PAD * begin
        firsts, lasts = [none] * len(route.first), [none] * len(route.last)
        lasts[part] = words
        return route._replace(first=firsts, last=lasts, post=post, weight=weight, offset=offset)
    counts = last - first
    ends = counts.cumsum(0)
    none = torch.zeros_like(first)
    firsts, lasts = [none] * len(route.first), [none] * len(route.last)
    firsts[part], lasts[part] = ends - counts, ends
    held = [route.post.numpy(), *([route.weight.numpy()] if isinstance(route.weight, Tensor) else [])]
    post, *weights = (torch.from_numpy(each) for each in _gathered(held, first.numpy(), counts.numpy()))
    return route._replace(first=firsts, last=lasts, post=post, weight=weights[0] if weights else route.weight)


def _gathered(values: Sequence[np.ndarray], first: np.ndarray, counts: np.ndarray) -> list[np.ndarray]:
    """Return `counts` values from each `first` on, one row after the other, in blocks that take little memory."""
    ends = np.concatenate(([0], counts.cumsum()))
    found = [np.empty(ends[-1], each.dtype) for each in values]
    cuts = np.unique(np.searchsorted(ends, np.arange(0, ends[-1] + _BLOCK, _BLOCK)).clip(0, len(counts)))
    for a, b in itertools.pairwise(cuts.tolist()):
        begin, end = ends[a], ends[b]
        places = np.arange(end - begin) + (first[a:b] - (ends[a:b] - begin)).repeat(counts[a:b])
        for each, out in zip(values, found, strict=True):
            out[begin:end] = each[places]
    return found
