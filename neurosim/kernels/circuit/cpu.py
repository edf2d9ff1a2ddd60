"""A circuit on the CPU: machine code for each task, and one call for many steps."""

from __future__ import annotations

import ctypes
import functools
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurosim.compiler.llvm.jit import CompiledKernel, address_of
from neurosim.compiler.llvm.threads import together
from neurosim.kernels.circuit import cpu_code, plastic_code
from neurosim.kernels.circuit.pace import Pace
from neurosim.kernels.circuit.plastic import PairRule
from neurosim.kernels.circuit.tasks import (
    MAGNITUDE,
    PAD,
    Delivery,
    PlasticDelivery,
    PoissonInput,
    Population,
    PostSpikes,
    Reward,
    ShortTermDelivery,
    SpikeLog,
    Task,
)
from neurosim.kernels.drawing import memory
from neurosim.kernels.neurons.cpu import REAL

_INDEX = {torch.uint16: "i16", torch.int32: "i32"}
_WORD = (1 << 32) - 1


def run(parts: Sequence[Sequence[Task]], steps: int, window: int = 1, pace: Pace | None = None) -> None:
    """Run the tasks of a trial at each of `steps` steps.

    Parameters
    ----------
    parts : sequence of sequence of Task
        Tasks of each part of the neurons, in order. A part reads what another one wrote `window` steps ago or earlier.
    steps : int
    window : int
        Steps that a part runs without waiting for the others.
    pace : Pace, optional
        Which decides whether each part has a thread of its own; if it is left out one thread runs all. The result is
        the same.
    """
    in_one = [_joined(parts)]
    done = 0
    if pace is None:
        while done < steps:
            done = _run(in_one, done, steps, window)
        return
    compile_all(parts)
    while done < steps:
        threads, number = pace.next()
        before, start = done, time.perf_counter()
        done = _run(parts if threads else in_one, done, min(done + number, steps), window)
        pace.took(threads, done - before, time.perf_counter() - start)


def run_part(tasks: Sequence[Task], begin: int, end: int, window: int) -> None:
    """Run the tasks of one part in the steps from `begin` up to `end`, which lie in one window; others run elsewhere.

    Parameters
    ----------
    tasks : sequence of Task
    begin, end : int
        Steps of the call, `window` at most.
    window : int
        As in `run`; the spikes of the other parts before `begin` are in the logs.
    """
    done = begin
    while done < end:
        done = _run([tasks], done, end, window)


def _joined(parts: Sequence[Sequence[Task]]) -> list[Task]:
    """Return the tasks of all parts for one thread, with rows that were divided among the parts whole again."""
    tasks: list[Task] = []
    places: dict[tuple[int, int], int] = {}
    for part in parts:
        for task in part:
            if isinstance(task, Delivery):
                rows = id(task.log), id(task.post)
                if rows in places:
                    first = tasks[places[rows]]
                    assert isinstance(first, Delivery)
                    tasks[places[rows]] = first._replace(last=task.last)
                    continue
                places[rows] = len(tasks)
            tasks.append(task)
    return tasks


def _run(members: Sequence[Sequence[Task]], begin: int, end: int, window: int) -> int:
    """Run steps from `begin` on until a log is full, and return the first that was not run."""
    for tasks in members:
        for task in tasks:
            if isinstance(task, Population):
                task.log.make_room(task.part, task.log.history + begin, _neurons(task) * window)
    all_tasks = [task for tasks in members for task in tasks]
    if any(isinstance(task, PostSpikes) and task.targets.is_full(window) for task in all_tasks):
        flush(all_tasks, begin)
    stop, counter, done = np.zeros(2, np.int64), np.zeros(1, np.int64), np.zeros(len(members), np.int64)
    done[:] = begin
    work, kept = [], []
    driver = cpu_code.drive()
    for number, tasks in enumerate(members):
        prepared = [_prepared(task, stop, begin, window) for task in tasks]
        table = np.array([[kernel.task, ctypes.addressof(block)] for kernel, block in prepared], np.int64)
        kept.append((prepared, table))
        arrays = (table.ctypes.data, stop.ctypes.data, done[number:].ctypes.data, counter.ctypes.data)
        work.append(
            functools.partial(driver.call, *arrays, len(prepared), len(members), begin, end, window),
        )
    together(work)
    return int(done[0])


def compile_all(parts: Sequence[Sequence[Task]]) -> None:
    """Compile the code of all tasks, so that threads which run them at the same time do not."""
    cpu_code.drive()
    for tasks in parts:
        for task in tasks:
            _prepared(task, np.zeros(2, np.int64), 0, 1)


def flush(tasks: Sequence[Task], until: int) -> None:
    """Compute the changes of all plastic weights in the steps before `until`, and drop the spikes that made them.

    Parameters
    ----------
    tasks : sequence of Task
        All those of a trial.
    until : int
        Step of the call.
    """
    for task in tasks:
        if isinstance(task, PlasticDelivery):
            kinds = REAL[task.weight.dtype], _INDEX[task.post.dtype], *_kind(task.rule)
            kernel = plastic_code.flush(*kinds, task.rule.fade is not None)
            numbers = task.targets.room, *_numbers_of(task.rule)
            kernel.run_parallel(len(task.sources), _plastic_arrays(task), until, *numbers, grain=1 << 10)
    for task in tasks:
        if isinstance(task, PostSpikes):
            task.targets.compact()


def split(first: Tensor, last: Tensor, post: Tensor, weight: Any, limit: int, *, packed: bool) -> Tensor:
    """Move the synapses with a slot below `limit` to the front of their source and delay, in place.

    Synapses whose slots ascend stay in order.

    Parameters
    ----------
    first, last : Tensor of int64
        Where the synapses of a source and a delay begin and end.
    post : Tensor
        As in `Delivery`.
    weight : int or Tensor of int32
        The latter is moved along.
    limit : int
    packed : bool
        Whether `post` holds magnitudes too.

    Returns
    -------
    Tensor of int64
        The first synapse of each source and delay that is not below.
    """
    found = torch.empty_like(first)
    weights = [weight] if isinstance(weight, Tensor) else []
    kernel = cpu_code.split(_INDEX[post.dtype], bool(weights))
    arrays = [first, last, post, *weights, found]
    kernel.run_parallel(len(first), arrays, limit, MAGNITUDE if packed else 0, grain=1 << 12)
    return found


def to_bits(starts: Tensor, post: Tensor, slots: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return rows of synapses as bits, and those synapses whose pair is there already as rows.

    Parameters
    ----------
    starts : Tensor [sources + 1] of int64
    post : Tensor [n] of uint16 or int32
        Slots; they are moved.
    slots : int

    Returns
    -------
    words : Tensor [sources, ceil(slots / 64)] of int64
    starts, post : Tensor
        Of the repeats.
    """
    sources, width = len(starts) - 1, -(-slots // PAD)
    words = torch.from_numpy(memory.zeros((sources, width), np.int64))
    repeats = torch.zeros(sources, dtype=torch.int64)
    cpu_code.to_bits(_INDEX[post.dtype]).run_parallel(sources, [starts, post, words, repeats], width, grain=64)
    counts = repeats.numpy()
    begins = np.concatenate(([0], counts.cumsum()))
    places = np.arange(begins[-1]) + (starts.numpy()[:-1] - begins[:-1]).repeat(counts)
    return words, torch.from_numpy(begins), torch.from_numpy(post.numpy()[places])


def _neurons(task: Population) -> int:
    return task.log.bounds[task.part + 1] - task.log.bounds[task.part]


def _prepared(task: Task, stop: np.ndarray, begin: int, window: int) -> tuple[CompiledKernel, Any]:
    """Return the code of a task and its arguments in memory."""
    if isinstance(task, Population):
        return _population(task, stop, begin, window)
    if isinstance(task, Delivery):
        return _bits(task) if task.kind == "bits" else _rows(task)
    if isinstance(task, PlasticDelivery):
        return _plastic(task)
    if isinstance(task, PostSpikes):
        return _post_spikes(task, stop, begin, window)
    if isinstance(task, Reward):
        return _reward(task)
    if isinstance(task, ShortTermDelivery):
        return _short_term(task)
    if isinstance(task, PoissonInput):
        return _poisson(task)
    kernel = cpu_code.sample(REAL[task.values.dtype])
    numbers = (task.neurons.numel(), task.out.stride(0), task.begin, task.end, task.every, task.row)
    return kernel, kernel.block(task.values, task.neurons, task.out, *numbers)


def _population(task: Population, stop: np.ndarray, begin: int, window: int) -> tuple[CompiledKernel, Any]:
    kinds = tuple(tuple(term.kind for term in port) for port in task.inputs)
    kernel = cpu_code.update(task.plan_key, REAL[task.state[0].dtype], kinds, task.resting is not None)
    terms = [term for port in task.inputs for term in port]
    log, part, count = task.log, task.part, _neurons(task)
    arrays = [*(term.values for term in terms), *task.state, *task.coefficients, log.ids[part], log.ends[part], stop]
    arrays += [] if task.resting is None else [task.resting]
    units = [term.unit for term in terms if term.kind == "integer"]
    sizes = (count, log.bounds[part], log.bounds[-1], log.history, len(log.ids[part]), count * window, begin, window)
    return kernel, kernel.block(*arrays, *sizes, *units, *task.numbers)


def _lists(log: SpikeLog) -> np.ndarray:
    """Return the addresses of the lists of a log."""
    return np.array([address_of(each) for each in (*log.ids, *log.ends)], np.int64)


def _rows(task: Delivery) -> tuple[CompiledKernel, Any]:
    real = REAL.get(task.total.dtype, "float")
    assert task.kind != "bits"
    kernel = cpu_code.deliver(task.kind, _INDEX[task.post.dtype], real)
    weights, constant = ([task.weight], []) if isinstance(task.weight, Tensor) else ([], [task.weight])
    lists = _lists(task.log)
    arrays = [lists, task.first, task.last, task.delays, task.post, *weights, task.total]
    block = kernel.block(*arrays, task.log.parts, task.delays.numel(), task.log.history, *constant)
    return kernel, _keeping(block, lists)


def _bits(task: Delivery) -> tuple[CompiledKernel, Any]:
    kernel, lists = cpu_code.deliver_bits(), _lists(task.log)
    words = (int(task.first), int(task.last), task.post.shape[1])
    numbers = (task.log.parts, *words, int(task.delays), task.log.history, task.weight)
    return kernel, _keeping(kernel.block(lists, task.post, task.total, *numbers), lists)


def _plastic(task: PlasticDelivery) -> tuple[CompiledKernel, Any]:
    rule, log, lists = task.rule, task.log, _lists(task.log)
    dependence, coincident = _kind(rule)
    kernel = plastic_code.deliver(
        REAL[task.weight.dtype],
        _INDEX[task.post.dtype],
        dependence,
        rule.nearest,
        coincident,
        rule.triplets is not None,
        rule.fade is not None,
    )
    sizes = log.parts, task.delays.numel(), log.history, task.targets.room
    arrays = [lists, *_plastic_arrays(task), task.delays, task.total]
    three = rule.triplets
    if three is None:
        return kernel, _keeping(kernel.block(*arrays, *sizes, *_numbers_of(rule), rule.a_minus), lists)
    arrays += three.pre
    numbers = (*_numbers_of(rule), three.pre.longest, rule.a_minus, three.minus)
    return kernel, _keeping(kernel.block(*arrays, *sizes, *numbers), lists)


def _short_term(task: ShortTermDelivery) -> tuple[CompiledKernel, Any]:
    log, lists = task.log, _lists(task.log)
    kernel = plastic_code.deliver_short_term(REAL[task.weight.dtype], _INDEX[task.post.dtype])
    rows = task.delays, task.first, task.last, task.post, task.weight, task.sources
    sizes = log.parts, task.delays.numel(), log.history, task.facil.longest, task.rec.longest
    return kernel, _keeping(kernel.block(lists, *rows, *task.facil, *task.rec, task.total, *sizes, task.u), lists)


def _kind(rule: PairRule) -> tuple[plastic_code.Dependence, bool]:
    """Return how changes depend on the weight, and whether spikes in the same step are a pair."""
    return "additive" if rule.mu == 0 else "multiplicative" if rule.mu == 1 else "power", rule.coincident


def _numbers_of(rule: PairRule) -> tuple[float, ...]:
    fade = () if rule.fade is None else (rule.fade.longest,)
    return rule.plus.longest, rule.minus.longest, *fade, rule.w_min, rule.w_max, rule.mu, rule.alpha


def _plastic_arrays(task: PlasticDelivery) -> list[Tensor]:
    rows = task.first, task.last, task.post, task.weight, task.sources
    eligible = [] if task.eligible is None or task.rule.fade is None else [task.eligible, *task.rule.fade]
    return [*rows, *task.targets[:-1], *task.rule.plus, *task.rule.minus, *eligible]


def _reward(task: Reward) -> tuple[CompiledKernel, Any]:
    rows = task.rows
    kernel = plastic_code.reward(REAL[rows.weight.dtype], _INDEX[rows.post.dtype], *_kind(rows.rule))
    numbers = len(rows.sources), rows.targets.room, *_numbers_of(rows.rule)
    return kernel, kernel.block(*_plastic_arrays(rows), task.surprise, *numbers)


def _post_spikes(task: PostSpikes, stop: np.ndarray, begin: int, window: int) -> tuple[CompiledKernel, Any]:
    rule, log = task.rule, task.log
    three = rule.triplets
    kernel = plastic_code.post_spikes(rule.nearest, three is not None)
    arrays = [log.ids[task.part], log.ends[task.part], *task.targets, *rule.minus, stop]
    sizes = log.history - task.delay, task.targets.room, rule.minus.longest
    if three is None:
        return kernel, kernel.block(*arrays, *sizes, begin, window, rule.a_plus)
    arrays += three.post
    return kernel, kernel.block(*arrays, *sizes, three.post.longest, begin, window, rule.a_plus, three.plus)


def _poisson(task: PoissonInput) -> tuple[CompiledKernel, Any]:
    kernel = cpu_code.poisson("" if task.total.dtype == torch.int32 else REAL[task.total.dtype])
    arrays = task.limits, task.counts, task.rows, task.total
    numbers = (task.limits.shape[1], *task.blocks, task.seed & _WORD, task.seed >> 32, task.stream)
    return kernel, kernel.block(*arrays, *numbers, task.trial, task.first, task.weight)


def _keeping(block: Any, *arrays: np.ndarray) -> Any:
    """Return a block that keeps arrays it refers to."""
    block.arrays = arrays
    return block
