"""A circuit on the CPU: machine code for each task, and one call for many steps."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from neurosim.compiler.llvm.jit import CompiledKernel
from neurosim.kernels.circuit import cpu_code
from neurosim.kernels.circuit.tasks import PAD, Delivery, PoissonInput, Population, Task, padded
from neurosim.kernels.neurons.cpu import REAL

_INDEX = {torch.uint16: "i16", torch.int32: "i32"}
_WORD = (1 << 32) - 1


def run(tasks: Sequence[Task], steps: int) -> None:
    """Run the tasks of a trial in their order at each of `steps` steps.

    The logs of populations are opened for as many steps, with room for all neurons of a step; they grow when they are
    full.
    """
    stop, done = torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)
    populations = [task for task in tasks if isinstance(task, Population)]
    driver = cpu_code.drive()
    while int(done) < steps:
        for task in populations:
            row = task.log.history + int(done)
            if int(task.log.ends[row]) + task.neurons > len(task.log.ids):
                task.log.grow(len(task.log.ids) + task.neurons)
        stop.zero_()
        prepared = [_prepared(task, stop) for task in tasks]
        table = torch.tensor([[kernel.task, ctypes.addressof(block)] for kernel, block in prepared], dtype=torch.int64)
        driver.call(table.data_ptr(), stop.data_ptr(), done.data_ptr(), len(prepared), int(done), steps)


def compile_all(tasks: Sequence[Task]) -> None:
    """Compile the code of all tasks, so that threads which run them at the same time do not."""
    cpu_code.drive()
    for task in tasks:
        _prepared(task, torch.zeros(1, dtype=torch.int64))


def _prepared(task: Task, stop: Tensor) -> tuple[CompiledKernel, Any]:
    """Return the code of a task and its arguments in memory."""
    if isinstance(task, Population):
        return _population(task, stop)
    if isinstance(task, Delivery):
        return _bits(task) if task.kind == "bits" else _rows(task)
    if isinstance(task, PoissonInput):
        return _poisson(task)
    kernel = cpu_code.sample(REAL[task.values.dtype])
    numbers = (task.neurons.numel(), task.begin, task.end, task.every, task.row)
    return kernel, kernel.block(task.values, task.neurons, task.out, *numbers)


def _population(task: Population, stop: Tensor) -> tuple[CompiledKernel, Any]:
    kinds = tuple(tuple(term.kind for term in port) for port in task.inputs)
    kernel = cpu_code.update(task.plan_key, REAL[task.state[0].dtype], kinds)
    terms = [term for port in task.inputs for term in port]
    arrays = [*(term.values for term in terms), *task.state, *task.coefficients, task.log.ids, task.log.ends, stop]
    units = [term.unit for term in terms if term.kind == "integer"]
    room = task.log.ids.numel()
    return kernel, kernel.block(*arrays, task.neurons, task.log.history, room, *units, *task.numbers)


def _rows(task: Delivery) -> tuple[CompiledKernel, Any]:
    real = REAL.get(task.total.dtype, "float")
    kernel = cpu_code.deliver(task.kind, _INDEX[task.post.dtype], real)
    weights, constant = ([task.weight], []) if isinstance(task.weight, Tensor) else ([], [task.weight])
    arrays = [task.log.ids, task.log.ends, task.starts, task.delays, task.post, *weights, task.total]
    return kernel, kernel.block(*arrays, task.delays.numel(), task.log.history, *constant)


def _bits(task: Delivery) -> tuple[CompiledKernel, Any]:
    kernel = cpu_code.deliver_bits()
    numbers = (task.post.shape[1], int(task.delays), task.log.history, task.weight)
    return kernel, kernel.block(task.log.ids, task.log.ends, task.post, task.total, *numbers)


def _poisson(task: PoissonInput) -> tuple[CompiledKernel, Any]:
    kernel = cpu_code.poisson("" if task.total.dtype == torch.int32 else REAL[task.total.dtype])
    numbers = (task.limits.numel(), padded(task.neurons) // PAD, task.seed & _WORD, task.seed >> 32, task.stream)
    return kernel, kernel.block(task.limits, task.total, *numbers, task.trial, task.first, task.weight)
