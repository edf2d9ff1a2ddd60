"""The kernels of a row of layers, backward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from neurosim.compiler.llvm.call_list import OWN_STATUS, CallList, Place
from neurosim.compiler.llvm.ir import LINE
from neurosim.compiler.llvm.threads import number_of_threads
from neurosim.kernels.common.bits import words
from neurosim.kernels.linear import by_source, dense_product, product, tiles
from neurosim.kernels.linear import cpu as linear
from neurosim.kernels.linear.cpu_code import compiled_backward
from neurosim.kernels.linear.dense_product import TERMS
from neurosim.kernels.linear.masked_product import ROWS, columns_of_block
from neurosim.kernels.linear.masked_product import multiplying as multiplying_masked
from neurosim.kernels.recurrent import cpu as recurrent
from neurosim.kernels.recurrent.cpu_code_backward import compiled_backward as compiled_loop_backward
from neurosim.kernels.row.arguments import Layer, Row
from neurosim.kernels.row.cpu_code import adding, summing, transposing
from neurosim.kernels.row.cpu_forward import Forward
from neurosim.kernels.row.cpu_layout import MASK, NO_LIMIT, OTHER, OUT, PLANE, Events, Layout


class Variant(NamedTuple):
    """What the backward pass chooses from the spikes of a call.

    Attributes
    ----------
    room : int
        Events of the input of a layer at most, a power of two.
    loop_room : int
        Events of the loop at most.
    few : bool
        Whether few neurons are near threshold; see `recurrent.policy`.
    is_masked : bool
        Whether the gradient of the input is computed where the mask asks for it alone.
    own_state, own_z0 : bool
        Whether gradients of the final states are given or those of the initial ones are needed, and that of the output
        before the first step.
    has_last : bool
        Whether a gradient of the last output of a layer with a loop is given, which is not the last layer.
    """

    room: int
    loop_room: int
    few: bool
    is_masked: bool
    own_state: bool
    own_z0: bool
    has_last: bool


class Segment(NamedTuple):
    """Kernels of the backward pass up to a dense product, which torch computes.

    Attributes
    ----------
    calls : CallList
    g : Place or None
        Where the left factor of the product stands.
    layer : int
        Its layer.
    """

    calls: CallList
    g: Place | None
    layer: int


class Backward(Layout):
    """The kernels of a row of layers, backward, in lists between dense products of many terms.

    Parameters
    ----------
    forward : Forward
    variants : sequence of Variant
        Of the layers through which a gradient passes: those that are trained, up to the last whose results are read.

    Attributes
    ----------
    first : int
        Number of the first of these layers.
    segments : list of Segment
    names : list of str
        Names of the arrays after those of the layers: ``"g"``, the gradient of an input that torch computed; ``"g_x"``,
        that of the input; those of the layers' tensors; those of last outputs.
    """

    def __init__(self, forward: Forward, variants: Sequence[Variant]) -> None:
        super().__init__(forward.row)
        self._kept = forward.kept
        self.first = sum(not layer.train for layer in self.row.layers)
        self.segments, self.names = self._segments(variants)

    def _segments(self, variants: Sequence[Variant]) -> tuple[list[Segment], list[str]]:
        """Return the kernels of the backward pass, and the names of the results."""
        row, first = self.row, self.first
        names: list[str] = ["g", "g_x"]
        count = self.count_of_arrays
        for n, variant in enumerate(variants):
            names += self._result_names(first + n, variant)
        places = {name: Place(count + k) for k, name in enumerate(names)}
        held, other = Place(PLANE), Place(OTHER)
        begin, segments, calls, g_out = self.scratch.at, [], CallList(), Place(OUT)
        for number in reversed(range(first, first + len(variants))):
            layer, variant = row.layers[number], variants[number - first]
            inward = number > first or row.needs_x
            self.scratch.at = begin
            way = self._loop_backward if layer.has_loop else self._layer_backward
            way(calls, layer, number, variant, g_out, held if inward or layer.has_loop else None, places)
            if not inward:
                continue
            if is_inside(self.row, variant, number):
                self.scratch.at = begin
                g_out = places["g_x"] if number == 0 else other
                self._input_gradient(calls, number, variant, held, g_out)
            else:
                calls.finish()
                segments.append(Segment(calls, held, number))
                calls, g_out = CallList(), places["g"]
            if number > first and variants[number - 1 - first].has_last:
                below = row.layers[number - 1]
                n = row.batch * below.width
                end = Place(g_out.array, g_out.offset + (row.steps - 1) * n * self.size)
                lines = -(-n * self.size // LINE)
                calls.add(adding(row.real), lines, (places[f"last{number - 1}"], end), n, grain=1 << 12)
        if calls.count:
            calls.finish()
            segments.append(Segment(calls, None, first))
        return segments, names

    def _result_names(self, number: int, variant: Variant) -> list[str]:
        layer = self.row.layers[number]
        names = [f"weight{number}", *([f"bias{number}"] if layer.is_biased else [])]
        names += [f"s{k}.{number}" for k in range(layer.states if variant.own_state else 0)]
        names += [f"c{k}.{number}" for k in range(layer.coefficients)]
        names += [f"loop{number}"] if layer.has_loop else []
        names += [f"last{number}"] if variant.has_last else []
        return names + ([f"z0{number}"] if layer.has_loop and variant.own_z0 else [])

    def _input_gradient(self, calls: CallList, number: int, variant: Variant, g: Place, to: Place) -> None:
        row, layer = self.row, self.row.layers[number]
        weight = self.array(number, "weight")
        if variant.is_masked:
            mask = Place(MASK) if number == 0 else self._kept[number - 1].mask
            assert mask is not None
            columns = self._transposed(calls, weight, layer)
            block = columns_of_block(layer.width, row.real)
            numbers = (self.rows, layer.width, layer.n_in)
            calls.add(multiplying_masked(row.real), -(-self.rows // ROWS), (mask, g, columns, to), *numbers, block)
            return
        panels = self.laid_out(calls, weight, layer.width, layer.n_in)
        numbers = (self.rows, layer.width, layer.n_in)
        grain = dense_product.grain_of(layer.width, layer.n_in)
        blocks = -(-self.rows // dense_product.BLOCK)
        calls.add(dense_product.multiplying(row.real), blocks, (g, panels, to), *numbers, grain=grain)

    def _transposed(self, calls: CallList, matrix: Place, layer: Layer) -> Place:
        """Return the weight [N, n] as [n, N]."""
        to = self.scratch.place(layer.width * layer.n_in * self.size)
        calls.add(transposing(self.row.real), layer.n_in, (matrix, to), layer.width, layer.n_in, grain=64)
        return to

    def _initial(
        self, calls: CallList, layer: Layer, number: int, variant: Variant, places: dict[str, Place]
    ) -> list[Place]:
        """Return where the gradients of the states stand, those of the final ones before the kernel has run."""
        if variant.own_state:
            return [places[f"s{k}.{number}"] for k in range(layer.states)]
        nbytes = self.row.batch * layer.width * self.size
        found = [self.scratch.place(nbytes) for _ in range(layer.states)]
        for place in found:
            self.clear(calls, place, nbytes)
        return found

    def _layer_backward(
        self,
        calls: CallList,
        layer: Layer,
        number: int,
        variant: Variant,
        g_out: Place,
        g_i: Place | None,
        places: dict[str, Place],
    ) -> None:
        kept, plan, row = self._kept[number], self.plan_of(layer), self.row
        bias = places[f"bias{number}"] if layer.is_biased else None
        states = self._initial(calls, layer, number, variant, places)
        coefficients = self.several(number, "c")
        sums = [places[f"c{k}.{number}"] for k in range(layer.coefficients)]
        self._gradients(
            calls,
            layer.plan_key,
            (row.steps, row.batch, layer.n_in, layer.width),
            kept.events,
            variant.room,
            places[f"weight{number}"],
            (self.array(number, "bias"), bias) if bias is not None else (),
            [g_out, *([] if g_i is None else [g_i])],
            [*plan.saved_among(kept.stored), *states, *coefficients, *sums],
            layer.backward_numbers,
        )

    def _loop_backward(
        self,
        calls: CallList,
        layer: Layer,
        number: int,
        variant: Variant,
        g_out: Place,
        g_drive: Place | None,
        places: dict[str, Place],
    ) -> None:
        kept, plan, row, n = self._kept[number], self.plan_of(layer), self.row, layer.width
        assert g_drive is not None and kept.sent is not None and kept.sent_starts is not None
        shape = recurrent.shape_of(layer.plan_key, row.real, n, 0, variant.few)
        padded = -(-n // shape.lanes) * shape.lanes
        weight = self.array(number, "loop")
        matrix = self.tiled(calls, weight, n, n, padded) if variant.few else self.laid_out(calls, weight, n, n)
        states = self._initial(calls, layer, number, variant, places)
        sums = [places[f"c{k}.{number}"] for k in range(layer.coefficients)]
        g_z0 = places[f"z0{number}"] if variant.own_z0 else self.scratch.place(row.batch * n * self.size)
        samples = recurrent.samples_of_unit(row.batch, 1, shape)
        room = [samples * padded * self.size, *([4 * (samples + 1) * (padded + 1)] if variant.few else [])]
        room = [-(-size // LINE) * LINE for size in room]
        own = [self.scratch.place(size * number_of_threads()) for size in room]
        arrays = [g_out, g_drive, *plan.saved_among(kept.stored), *states, *self.several(number, "c"), *sums]
        arrays += [g_z0, matrix, *own]
        numbers = (row.steps, row.batch, 1, n, samples, *layer.backward_numbers, *room)
        calls.add(compiled_loop_backward(shape), -(-row.batch // samples), arrays, *numbers)
        begin = self.scratch.at
        held = Place(kept.sent.array, kept.sent.offset - 8 * row.batch * words(n))
        index = self.scratch.place(4 * variant.loop_room)
        self.list_bits(calls, held, kept.sent_starts, words(n), index)
        of_loop = Events(held, kept.sent_starts, index)
        key, result = product.plan_key(True), places[f"loop{number}"]
        self._gradients(calls, key, (row.steps, row.batch, n, n), of_loop, variant.loop_room, result, (), [g_drive])
        self.scratch.at = begin
        bias = (self.array(number, "bias"), places[f"bias{number}"]) if layer.is_biased else ()
        sizes, result = (1, self.rows, layer.n_in, n), places[f"weight{number}"]
        self._gradients(calls, key, sizes, kept.events, variant.room, result, bias, [g_drive])

    def _gradients(
        self,
        calls: CallList,
        plan_key: str,
        sizes: tuple[int, int, int, int],
        events: Events,
        room: int,
        g_weight: Place,
        bias: Sequence[Place],
        currents_of: Sequence[Place],
        others: Sequence[Place] = (),
        numbers: Sequence[float] = (),
    ) -> None:
        """Add the backward kernels of a linear layer.

        Parameters
        ----------
        calls : CallList
        plan_key : str
        sizes : tuple of int
            T, B, n and N.
        events : Events
            Of the input.
        room : int
            Events at most.
        g_weight : Place
        bias : sequence of Place
            The bias and its gradient, or neither.
        currents_of : sequence of Place
            Gradient of the output, [that of the current, which is written].
        others : sequence of Place
            What the adjoint of the neurons reads and writes.
        numbers : sequence of float
        """
        (steps, batch, n_in, width), arena, real = sizes, self.scratch, self.row.real
        shape = linear.shape_of(plan_key, real, width, bool(bias))
        count = -(-width // shape.lanes)
        in_tiles = arena.place(count * n_in * shape.lanes * self.size)
        self.clear(calls, in_tiles, count * n_in * shape.lanes * self.size)
        group = by_source.group_size(steps, batch, n_in, 3 * room // 4)
        groups = -(-batch // group)
        begins, cursors = (arena.place(4 * (groups * n_in + 1)) for _ in range(2))
        total = arena.place(8)
        self.clear(calls, begins, 4 * (groups * n_in + 1))
        counts = Place(begins.array, begins.offset + 4)
        grain = max(by_source.PER_THREAD * groups // max(room, 1), 1)
        order = (steps, batch, n_in, group)
        calls.add(by_source.counting(), groups, (events.starts, events.listed, counts), *order, grain=grain)
        limits = (groups * n_in, NO_LIMIT)
        calls.add(summing(True), 1, (begins, total, OWN_STATUS, cursors), *limits)
        rows = arena.place(4 * room)
        calls.add(by_source.placing(None), groups, (events.starts, events.listed, cursors, rows), *order, grain=grain)
        currents = arena.place(count * group * steps * shape.lanes * self.size)
        arrays = [events.starts, events.listed, in_tiles, *bias[:1], in_tiles, *bias[1:], begins, rows, currents]
        calls.add(
            compiled_backward(shape, len(currents_of) > 1),
            count,
            [*arrays, *currents_of, *others],
            *(steps, batch, width, n_in, 0, group),
            *numbers,
            grain=linear.grain_of(steps * batch),
        )
        pieces = count * shape.lanes // tiles.SQUARE[real]
        grain = tiles.grain_of(n_in, real)
        calls.add(tiles.turning(real, False), pieces, (g_weight, in_tiles), width, n_in, shape.lanes, grain=grain)


def is_inside(row: Row, variant: Variant, number: int) -> bool:
    """Return whether the gradient of a layer's input is computed by kernels of the list."""
    return variant.is_masked or row.layers[number].width <= TERMS
