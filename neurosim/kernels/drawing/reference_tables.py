"""Tables of rows by their definition, in NumPy."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from neurosim.kernels.drawing.plan import NARROW, PACKED_BITS, Part, Plan, RowTable
from neurosim.kernels.drawing.reference import Synapses, draw


def draw_table(plan: Plan) -> RowTable:
    """Return a table with its synapses."""
    drawn = [draw(part.projection.drawn.drawing) for part in plan.parts]
    pre, slot, weight, group = (
        np.concatenate(arrays)
        for arrays in zip(*(_columns(plan, *each) for each in zip(plan.parts, drawn, strict=True)), strict=True)
    )
    n_in, width = plan.n_in, plan.slots[1] - plan.slots[0]
    if plan.kind == "bits":
        words = np.zeros((n_in, -(-width // 64)), np.uint64)
        np.bitwise_or.at(words, (pre, slot >> 6), np.uint64(1) << (slot & 63).astype(np.uint64))
        return RowTable(
            "bits", n_in, plan.slots, plan.delays, None, torch.from_numpy(words.view(np.int64)), plan.factor
        )
    place = pre * len(plan.delays) + group
    order = np.argsort(place, kind="stable")
    starts = np.concatenate(([0], np.cumsum(np.bincount(place, minlength=n_in * len(plan.delays)))))
    slot, weight = slot[order], weight[order]
    factor: int | Tensor = plan.factor
    if plan.kind == "constant":
        post = slot.astype(np.uint16 if width <= NARROW else np.int32)
    elif plan.kind == "packed":
        post = (slot << PACKED_BITS | weight // plan.factor).astype(np.uint32).view(np.int32)
    else:
        post, factor = slot.astype(np.int32), torch.from_numpy(weight.astype(np.int32))
    return RowTable(plan.kind, n_in, plan.slots, plan.delays, torch.from_numpy(starts), torch.from_numpy(post), factor)


def _columns(plan: Plan, part: Part, drawn: Synapses) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return presynaptic neuron, slot beyond the first, weight in units of the port and number of the delay, int64."""
    count = len(drawn.post)
    pre = np.repeat(np.arange(plan.n_in), np.diff(drawn.starts))
    slot = drawn.post.astype(np.int64) + (part.slots[0] - plan.slots[0])
    weight = np.broadcast_to(np.asarray(drawn.weight, np.int64) << part.shift, count)
    delay = np.broadcast_to(np.asarray(drawn.delay, np.int64) + part.projection.delay_steps, count)
    return pre, slot, weight, np.searchsorted(np.asarray(plan.delays), delay)
