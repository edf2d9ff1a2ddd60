"""Tables of rows by compiled code: synapses are drawn into their table, without a copy of all of them elsewhere."""

from __future__ import annotations

import numpy as np
import torch

from neurosim.compiler.llvm.threads import spread
from neurosim.kernels.drawing.arguments import DELAYS, WEIGHTS
from neurosim.kernels.drawing.cpu import CHUNK, GRAIN, LevelDrawer, Structure, address
from neurosim.kernels.drawing.cpu_code import sort_machine
from neurosim.kernels.drawing.memory import zeros
from neurosim.kernels.drawing.plan import NARROW, PACKED_BITS, Part, Plan, RowTable


def draw_table(plan: Plan) -> RowTable:
    """Return a table with its synapses."""
    drawings = [part.projection.drawn.drawing for part in plan.parts]
    structures = [Structure(drawing.pairs, drawing.key) for drawing in drawings]
    width = plan.slots[1] - plan.slots[0]
    if plan.kind == "bits":
        words = zeros((plan.n_in, -(-width // 64)), np.int64)
        for part, structure in zip(plan.parts, structures, strict=True):
            structure.mark(words, part.slots[0] - plan.slots[0])
        return RowTable("bits", plan.n_in, plan.slots, plan.delays, None, torch.from_numpy(words), plan.factor)
    fill = _Fill(plan, structures)
    fill.place()
    if not fill.is_complete:
        spread(fill.rows, plan.n_in, int(GRAIN / max(fill.synapses / plan.n_in, 1)) + 1)
    return fill.table()


class _Fill:
    """A list of synapses in the making."""

    def __init__(self, plan: Plan, structures: list[Structure]) -> None:
        self.plan, self.structures = plan, structures
        counts = np.stack([structure.counts for structure in structures])
        self.starts = np.concatenate(([0], np.cumsum(counts.sum(0))))  # of rows
        self.begins = np.cumsum(counts, axis=0) - counts + self.starts[:-1]  # of the parts in rows
        self.synapses = int(self.starts[-1])
        groups = len(plan.delays)
        self.group_starts = np.empty(plan.n_in * groups + 1, np.int64)
        self.group_starts[-1] = self.synapses
        is_narrow = plan.kind == "constant" and plan.slots[1] - plan.slots[0] <= NARROW
        self.post = zeros((self.synapses,), np.uint16 if is_narrow else np.int32)
        self.weights = zeros((self.synapses if plan.kind == "wide" else 0,), np.int32)
        # What is not drawn by row waits in its rows; slots that are narrow wait elsewhere if rows are to be sorted.
        needs_sorting = plan.kind != "constant" or groups > 1
        self.is_complete = not needs_sorting and not any(structure.is_by_row for structure in structures)
        waits = needs_sorting and is_narrow and not all(structure.is_by_row for structure in structures)
        self.waiting = zeros((self.synapses,), np.int32) if waits else self.post
        self.weight_drawers = [None if plan.kind == "constant" else self._weights(part) for part in plan.parts]
        self.delay_drawers = [None if groups == 1 else self._delays(part) for part in plan.parts]

    def _weights(self, part: Part) -> LevelDrawer | np.ndarray:
        drawing = part.projection.drawn.drawing
        if drawing.listed_weight is not None:
            return ((drawing.listed_weight.astype(np.int64) << part.shift) // self.plan.factor).astype(np.int32)
        levels = np.arange(drawing.weight.first, drawing.weight.last + 1, dtype=np.int64)
        return LevelDrawer(drawing.weight, drawing.key, WEIGHTS, (levels << part.shift) // self.plan.factor)

    def _delays(self, part: Part) -> LevelDrawer | np.ndarray:
        drawing, added = part.projection.drawn.drawing, part.projection.delay_steps
        if drawing.listed_delay is not None:
            return np.searchsorted(self.plan.delays, drawing.listed_delay + added).astype(np.int32)
        levels = np.arange(drawing.delay.first, drawing.delay.last + 1) + added
        return LevelDrawer(drawing.delay, drawing.key, DELAYS, np.searchsorted(self.plan.delays, levels))

    def place(self) -> None:
        """Set the slots of rules that are not drawn by row."""
        for part, structure, begins in zip(self.plan.parts, self.structures, self.begins, strict=True):
            if not structure.is_by_row:
                structure.place(self.waiting, begins, part.slots[0] - self.plan.slots[0])

    def rows(self, first: int, last: int) -> None:
        """Draw the rows `first` up to before `last`, some at a time."""
        groups = len(self.plan.delays)
        cursors = np.empty(groups, np.int64)
        while first < last:
            limit = self.starts[first] + CHUNK
            end = min(max(int(np.searchsorted(self.starts, limit, side="right")) - 1, first + 1), last)
            base, size = int(self.starts[first]), int(self.starts[end] - self.starts[first])
            slot = np.empty(size, np.int32)
            weight = np.empty(size if self.plan.kind in ("packed", "wide") else 0, np.int32)
            group = np.empty(size if groups > 1 else 0, np.int32)
            if not all(structure.is_by_row for structure in self.structures):
                slot[:] = self.waiting[base : base + size]
            for number, structure in enumerate(self.structures):
                begins, counts = self.begins[number], structure.counts
                if structure.is_by_row:
                    offset = self.plan.parts[number].slots[0] - self.plan.slots[0]
                    structure.draw_rows(slot, begins, base, first, end, offset)
                for out, drawer in ((weight, self.weight_drawers[number]), (group, self.delay_drawers[number])):
                    if isinstance(drawer, LevelDrawer):
                        drawer(out, begins, counts, base, first, end)
                    elif drawer is not None:
                        _copy_listed(out, drawer, begins, counts, base, first, end)
            kind = self.plan.kind if self.plan.kind in ("packed", "wide") else f"i{8 * self.post.itemsize}"
            arrays = (self.starts, slot, weight, group, self.group_starts, self.post, self.weights, cursors)
            call = sort_machine(kind, groups > 1, PACKED_BITS).call
            call(*map(address, arrays), first, end, base, groups)
            first = end

    def table(self) -> RowTable:
        """Return the table."""
        plan = self.plan
        if self.is_complete:
            self.group_starts[:] = self.starts
        weight = torch.from_numpy(self.weights) if plan.kind == "wide" else plan.factor
        post = torch.from_numpy(self.post)
        return RowTable(
            plan.kind, plan.n_in, plan.slots, plan.delays, torch.from_numpy(self.group_starts), post, weight
        )


def _copy_listed(
    out: np.ndarray, listed: np.ndarray, begins: np.ndarray, counts: np.ndarray, base: int, first: int, last: int
) -> None:
    """Copy values of rows of one part, in the order of the list, to where they belong in `out`."""
    starts = np.concatenate(([0], np.cumsum(counts)))
    own = slice(starts[first], starts[last])
    places = np.arange(starts[first], starts[last]) + np.repeat(
        begins[first:last] - base - starts[first:last], counts[first:last]
    )
    out[places] = listed[own]
