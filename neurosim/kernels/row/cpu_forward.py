"""The kernels of a row of layers, forward."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from neurosim.compiler.llvm.call_list import OWN_STATUS, CallList, Place
from neurosim.compiler.llvm.ir import LINE
from neurosim.compiler.llvm.threads import number_of_threads
from neurosim.kernels.common import bits
from neurosim.kernels.common.bits import words
from neurosim.kernels.linear import cpu as linear
from neurosim.kernels.linear import product
from neurosim.kernels.linear.cpu_code import Shape, compiled_forward
from neurosim.kernels.neurons.cpu import STREAM
from neurosim.kernels.recurrent import cpu as recurrent
from neurosim.kernels.recurrent.cpu_code_forward import compiled_forward as compiled_loop_forward
from neurosim.kernels.row.arguments import Layer, Row
from neurosim.kernels.row.cpu_code import checking, copying
from neurosim.kernels.row.cpu_layout import BITS, NO_LIMIT, OTHER, OUT, PLANE, Arena, Events, Kept, Layout, X


class Forward(Layout):
    """The kernels of a row of layers, forward, in one list.

    Parameters
    ----------
    row : Row

    Attributes
    ----------
    calls : CallList
    kept : list of Kept
        Of each layer.
    loops : int
        Number of layers with a loop; arrays for their last outputs follow those of the layers.
    """

    def __init__(self, row: Row) -> None:
        super().__init__(row)
        self.kept: list[Kept] = []
        self.loops = 0
        self.calls = self._forward_list()

    def _forward_list(self) -> CallList:
        calls, row = CallList(), self.row
        sent = Place(BITS)
        for number, layer in enumerate(row.layers):
            if number == 0 and not row.has_bits:
                sent = self._pack(calls, Place(X), row.layers[0].n_in, self.rows, self.saved)
            events = self._list_events(calls, sent, layer, number)
            kept = self._loop_forward if layer.has_loop else self._layer_forward
            self.kept.append(kept(calls, events, layer, number))
            sent = self.kept[-1].sent or sent
        calls.finish()
        return calls

    def _pack(self, calls: CallList, x: Place, n: int, rows: int, arena: Arena, to: Place | None = None) -> Place:
        """Pack rows of spikes, and stop where they are other values."""
        to = to or arena.place(8 * rows * words(n))
        found = self.scratch.place(16 * rows)
        calls.add(bits.packing(self.row.real), rows, (x, to, found), n, grain=bits.rows_per_thread(n))
        calls.add(checking(), 1, (found, OWN_STATUS), rows)
        return to

    def _list_events(self, calls: CallList, held: Place, layer: Layer, number: int) -> Events:
        arena = self.saved if layer.train else self.scratch
        limit = self.limit(self.rows * layer.n_in)
        starts = self.count(calls, held, words(layer.n_in), arena, self.total(number, 0), limit)
        index = arena.place(4 * limit)
        self.list_bits(calls, held, starts, words(layer.n_in), index)
        return Events(held, starts, index)

    def _product(
        self,
        calls: CallList,
        events: Events,
        layer: Layer,
        number: int,
        shape: Shape,
        sizes: tuple[int, int],
        results: Sequence[Place],
        others: Sequence[Place] = (),
        numbers: Sequence[float] = (),
    ) -> None:
        """Add the kernel of a linear layer, with the weights laid out before."""
        (steps, batch), width = sizes, layer.width
        row_bytes = width * self.size
        streamed = bool(results) and not shape.ragged and row_bytes % LINE == 0
        past = streamed and self.rows * row_bytes >= STREAM
        shape = dataclasses.replace(shape, streamed=streamed)
        weight = self.tiled(calls, self.array(number, "weight"), width, layer.n_in, shape.lanes)
        bias = [self.array(number, "bias")] if layer.is_biased else []
        arrays = [events.starts, events.listed, weight, *bias, *results, *others]
        total = -(-width // shape.lanes) * batch
        calls.add(
            compiled_forward(shape),
            total,
            arrays,
            *(steps, batch, width, layer.n_in, 0, int(past)),
            *numbers,
            grain=linear.grain_of(steps),
        )

    def _layer_forward(self, calls: CallList, events: Events, layer: Layer, number: int) -> Kept:
        row, plan, width = self.row, self.plan_of(layer), layer.width
        shape = linear.shape_of(layer.plan_key, row.real, width, layer.is_biased)
        bits_only = not self.is_last(number)
        shape = dataclasses.replace(shape, bits_only=bits_only)
        stored = [self.saved.place(self.rows * width * self.size) for _ in plan.stored]
        line = 8 * words(width) * self.rows
        sent = self.saved.place(line) if plan.program.is_spiking else None
        mask = self.saved.place(line) if linear.has_mask(plan) else None
        written = -(-width // shape.lanes) * shape.lanes
        of_bits = [place for place in (sent, mask) if place is not None]
        for place in of_bits:
            if written < 64 * words(width):
                self.clear(calls, place, line)
        results = [*([] if bits_only else [Place(OUT)]), *stored]
        others = [*self.several(number, "s"), *self.several(number, "c"), *of_bits]
        sizes = (row.steps, row.batch)
        self._product(calls, events, layer, number, shape, sizes, results, others, layer.forward_numbers)
        if mask is not None and not self.is_last(number):
            self.count(calls, mask, words(width), self.scratch, self.total(number, 1), NO_LIMIT)
        return Kept(events, stored, mask, sent, None)

    def _loop_forward(self, calls: CallList, events: Events, layer: Layer, number: int) -> Kept:
        row, plan, n = self.row, self.plan_of(layer), layer.width
        steps, batch = row.steps, row.batch
        drive = Place(PLANE)
        shape = linear.shape_of(product.plan_key(layer.train), row.real, n, layer.is_biased)
        self._product(calls, events, layer, number, shape, (1, self.rows), [drive])
        loop = recurrent.shape_of(layer.plan_key, row.real, n)
        panels = self.tiled(calls, self.array(number, "loop"), n, n, loop.lanes)
        line = 8 * batch * words(n)
        held = self.saved.place((steps + 1) * line)
        padded = -(-n // loop.lanes) * loop.lanes
        if padded < 64 * words(n):
            self.clear(calls, held, (steps + 1) * line)
        z0 = self.array(number, "z0")
        self._pack(calls, z0, n, batch, self.saved, held)
        out = Place(OUT) if self.is_last(number) else Place(OTHER)
        stored = [self.saved.place(self.rows * n * self.size) for _ in plan.stored]
        samples = recurrent.samples_of_unit(batch, 1, loop)
        nbytes = (samples * padded * self.size, 4 * (samples + 1) * (padded + 1))
        room = [-(-size // LINE) * LINE for size in nbytes]
        own = [self.scratch.place(size * number_of_threads()) for size in room]
        arrays = [drive, out, *stored, *self.several(number, "s"), *self.several(number, "c")]
        arrays += [z0, panels, held, *own]
        numbers = (steps, batch, 1, n, samples, *layer.forward_numbers, *room)
        calls.add(compiled_loop_forward(loop), -(-batch // samples), arrays, *numbers)
        starts = None
        if layer.train:
            limit = self.limit(self.rows * n)
            starts = self.count(calls, held, words(n), self.saved, self.total(number, 2), limit)
        end = Place(out.array, (steps - 1) * batch * n * self.size)
        lines = -(-batch * n * self.size // LINE)
        calls.add(copying(row.real), lines, (end, Place(self.count_of_arrays + self.loops)), batch * n, grain=1 << 12)
        self.loops += 1
        return Kept(events, stored, None, Place(held.array, held.offset + line), starts)
