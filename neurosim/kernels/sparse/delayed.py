"""Spikes delivered one by one, each to every neuron after it when its delay there is over.

Connections are listed by the neuron before, then by delay, then by the neuron after. A spike that is s steps old when
a run begins has some of its list behind it; the rest is one piece of the list, as it stands in order of delay. So each
connection is gone through once for a spike, however a run is cut into calls.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
from torch import Tensor

from neurosim.compiler.llvm.ir import IRBuilder
from neurosim.compiler.llvm.jit import CompiledKernel
from neurosim.kernels.common.bits import REAL, Packed, events

_WORTH_A_THREAD = 1 << 15  # connections


class DelayLists(NamedTuple):
    """Connections in the order in which spikes go through them.

    Attributes
    ----------
    starts : Tensor [n_in (memory + 1) + 1] of int32
        Those of neuron j with delay d stand from ``starts[j (memory + 1) + d]`` up to before the next start.
    after : Tensor [n] of int32
        The neuron after.
    delay : Tensor [n] of int32
        In steps.
    weight : Tensor [n]
    memory : int
        Largest delay for which there is room, steps.
    n_out : int
        Neurons after.
    """

    starts: Tensor
    after: Tensor
    delay: Tensor
    weight: Tensor
    memory: int
    n_out: int


def delay_lists(weight: Tensor, delay: Tensor, memory: int) -> DelayLists:
    """Return all-to-all connections as lists.

    Parameters
    ----------
    weight : Tensor [n_out, n_in]
    delay : Tensor [n_out, n_in] of int64
        Steps, each in 0 ... `memory`.
    memory : int
        Largest delay there may be.
    """
    n_out, n_in = weight.shape
    place = (torch.arange(n_in, device=delay.device) * (memory + 1) + delay).T.flatten()  # by neuron before
    order = torch.sort(place, stable=True).indices
    starts = torch.zeros(n_in * (memory + 1) + 1, dtype=torch.int32, device=delay.device)
    starts[1:] = torch.bincount(place, minlength=n_in * (memory + 1)).cumsum(0)
    after = torch.arange(n_out, device=delay.device).repeat(n_in)
    return DelayLists(
        starts, after[order].int(), delay.T.flatten()[order].int(), weight.T.flatten()[order], memory, n_out
    )


def deliver(packed: Packed, batch: int, lists: DelayLists) -> Tensor:
    """Return the currents that spikes cause.

    Parameters
    ----------
    packed : Packed
        The spikes of ``memory + T`` steps, a row for each step and sample; the first `memory` steps were before this
        run.
    batch : int
        Samples in a step, from 1.
    lists : DelayLists
        In float32 or float64.

    Returns
    -------
    Tensor [T, B, n_out]
        Of each neuron the sum over spikes in order of their step, then of their neuron, from 0 on.
    """
    steps = packed.bits.shape[0] // batch - lists.memory
    out = lists.weight.new_zeros((steps, batch, lists.n_out))
    if not packed.count:
        return out
    arrays = (lists.starts, lists.after, lists.delay, lists.weight, *events(packed.bits, packed.count), out)
    work = packed.count * lists.n_out // batch  # of a sample
    grain = _WORTH_A_THREAD // max(work, 1) + 1
    _machine(REAL[out.dtype]).run_parallel(batch, arrays, batch, steps, lists.memory, lists.n_out, grain=grain)
    return out


@functools.cache
def _machine(real: str) -> CompiledKernel:
    """Return the code that goes through the list of each spike.

    Arguments: starts, after, delay, weight, starts and index of the events, out; first and last sample, samples,
    steps, memory, neurons after.
    """
    code = IRBuilder(real)
    starts, after, delay, weight = map(code.pointer_argument, ("starts", "after", "delay", "weight"))
    spikes = code.pointer_argument("events"), code.pointer_argument("index")
    out = code.pointer_argument("out")
    first, last, batch, steps, memory, n_out = map(
        code.integer_argument, ("first", "last", "batch", "steps", "memory", "n_out")
    )
    step = code.integer("mul", batch, n_out)  # currents of a step
    end = code.integer("add", memory, steps)
    with code.loop(first, last) as sample, code.loop("0", end) as s:
        least = code.integer("sub", memory, code.minimum(memory, s))
        most = code.minimum(memory, code.integer("sub", code.integer("sub", end, s), "1"))
        # Where a delay of 0 would lead: before this run for a spike from before it.
        here = code.integer("mul", code.integer("sub", s, memory), step)
        here = code.integer("add", here, code.integer("mul", sample, n_out))
        row = code.integer("add", code.integer("mul", s, batch), sample)
        with code.loop_over_list(*spikes, row) as j:
            own = code.integer("mul", j, code.integer("add", memory, "1"))
            from_here = code.load_index(starts, code.integer("add", own, least))
            to_here = code.load_index(starts, code.integer("add", code.integer("add", own, most), "1"))
            with code.loop(from_here, to_here) as k:
                later = code.integer("mul", code.load_index(delay, k), step)
                place = code.integer("add", code.integer("add", here, later), code.load_index(after, k))
                code.store(code.add(code.load(out, place), code.load(weight, k)), out, place)
    return code.compile()
