"""Tables of rows before they are drawn: their format, and which projections share one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from torch import Tensor

from neurosim.errors import InputError
from neurosim.kernels.drawing.arguments import HasDrawing

PACKED_SLOTS, PACKED_BITS = 1 << 17, 15  # of a packed synapse
MOST_SLOTS = 1 << 31
NARROW = 1 << 16
DENSE = 0.04  # density from which a bit of each pair takes less memory and time than a list

TableKind = Literal["bits", "constant", "packed", "wide"]


class Projection(NamedTuple):
    """The synapses of one edge as the engine needs them.

    Attributes
    ----------
    drawn : Drawn
        Its rule, weights and delays, bound to sizes and seed.
    offset : int
        First accumulator slot of the target port.
    delay_steps : int
        Delay of the edge, added to those drawn.
    unit : float
        Unit of the target port: a power of two, at most that of the weights.
    """

    drawn: HasDrawing
    offset: int
    delay_steps: int
    unit: float


class RowTable(NamedTuple):
    """Synapses of one population by presynaptic neuron, then by delay.

    Attributes
    ----------
    kind : {"bits", "constant", "packed", "wide"}
    n_in : int
        Presynaptic neurons.
    slots : tuple of int
        First accumulator slot that the table reaches, and the one behind the last.
    delays : tuple of int
        The G delays that may occur, in steps, ascending.
    starts : Tensor [n_in G + 1] of int64, optional
        The synapses of neuron i with delay g are those from ``starts[i G + g]`` up to, but without, the next start.
        None for bits.
    post : Tensor
        Slots of the synapses, beyond the first. Bits: words [n_in, ceil(slots / 64)] of int64, bit j of word w stands
        for slot ``64 w + j``. Constant: [n] of uint16 where there are at most 65,536 slots, else of int32. Packed: [n]
        of int32 with the bits of ``slot << 15 | magnitude``. Wide: [n] of int32.
    weight : int or Tensor [n] of int32
        In units of the port. Constant and bits: that of all synapses. Packed: factor of the magnitude. Wide: that of
        each synapse.
    """

    kind: TableKind
    n_in: int
    slots: tuple[int, int]
    delays: tuple[int, ...]
    starts: Tensor | None
    post: Tensor
    weight: int | Tensor

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        tensors = (self.starts, self.post, self.weight)
        return sum(tensor.nbytes for tensor in tensors if isinstance(tensor, Tensor))


class Part(NamedTuple):
    """A projection in a table.

    Attributes
    ----------
    projection : Projection
    slots : tuple of int
        First accumulator slot that it reaches, and the one behind the last.
    shift : int
        A weight in units of the port is ``level << shift``.
    """

    projection: Projection
    slots: tuple[int, int]
    shift: int

    @property
    def weights(self) -> tuple[int, int]:
        """Least and largest weight, in units of the port."""
        levels = self.projection.drawn.drawing.weight
        return levels.first << self.shift, levels.last << self.shift

    @property
    def delays(self) -> tuple[int, int]:
        """Shortest and longest delay, steps."""
        levels, added = self.projection.drawn.drawing.delay, self.projection.delay_steps
        return levels.first + added, levels.last + added


class Plan(NamedTuple):
    """A table before its synapses are drawn.

    Attributes
    ----------
    kind : {"bits", "constant", "packed", "wide"}
    parts : tuple of Part
    slots : tuple of int
        As in `RowTable`.
    delays : tuple of int
        As in `RowTable`.
    factor : int
        Weight of a constant table, factor of the magnitudes of a packed one, 1 of a wide one.
    """

    kind: TableKind
    parts: tuple[Part, ...]
    slots: tuple[int, int]
    delays: tuple[int, ...]
    factor: int

    @property
    def n_in(self) -> int:
        """Presynaptic neurons."""
        return self.parts[0].projection.drawn.drawing.pairs.n_in

    @property
    def synapses(self) -> float:
        """Expected number of synapses."""
        return sum(part.projection.drawn.drawing.pairs.expected for part in self.parts)

    @property
    def nbytes(self) -> int:
        """Expected bytes of memory."""
        width = self.slots[1] - self.slots[0]
        if self.kind == "bits":
            return self.n_in * -(-width // 64) * 8
        each = {"constant": 2 if width <= NARROW else 4, "packed": 4, "wide": 8}[self.kind]
        return round(self.synapses * each) + (self.n_in * len(self.delays) + 1) * 8


def plan_tables(projections: Sequence[Projection]) -> list[Plan]:
    """Return the tables of `row_tables` before anything is drawn."""
    plans: list[Plan] = []
    sizes = {each.drawn.drawing.pairs.n_in for each in projections}
    if len(sizes) > 1:
        raise InputError(f"row_tables: all projections must leave one population; got {sorted(sizes)} neurons.")
    for part in sorted(map(_part, projections), key=lambda part: part.slots):
        plan = _alone(part)
        for place, other in enumerate(plans):
            if (merged := _merged(other, plan)) is not None:
                plans[place] = merged
                break
        else:
            plans.append(plan)
    return plans


def _part(projection: Projection) -> Part:
    drawing = projection.drawn.drawing
    ratio = drawing.unit / projection.unit
    shift = round(np.log2(ratio))
    if ratio != 2.0**shift or shift < 0:
        raise InputError(
            f"row_tables: the unit of the port must be a power of two of at most {drawing.unit!r}; got "
            f"{projection.unit!r}."
        )
    slots = projection.offset, projection.offset + drawing.pairs.n_out
    if slots[0] < 0 or slots[1] > MOST_SLOTS:
        raise InputError(f"row_tables: slots must lie in 0 ... 2^31; got {slots[0]} to {slots[1]}.")
    part = Part(projection, slots, shift)
    if max(map(abs, part.weights)) >= 1 << 31:
        raise InputError(
            f"row_tables: weights reach {max(map(abs, part.weights))} units of the port, which must be below 2^31; the "
            "weights of a port may differ by a factor of 2^16 at most."
        )
    return part


def _alone(part: Part) -> Plan:
    """Return the table of one projection."""
    drawing = part.projection.drawn.drawing
    pairs = drawing.pairs
    low, high = part.weights
    delays = tuple(range(part.delays[0], part.delays[1] + 1))
    is_constant = low == high and drawing.listed_weight is None
    density = pairs.expected / (pairs.n_in * pairs.n_out)
    if is_constant and len(delays) == 1 and pairs.is_distinct and density > DENSE:
        return Plan("bits", (part,), part.slots, delays, low)
    if is_constant:
        return Plan("constant", (part,), part.slots, delays, low)
    largest = max(abs(low), abs(high)) >> part.shift
    if low * high >= 0 and largest < 1 << PACKED_BITS and pairs.n_out <= PACKED_SLOTS:
        return Plan("packed", (part,), part.slots, delays, (1 if high > 0 else -1) << part.shift)
    return Plan("wide", (part,), part.slots, delays, 1)


def _merged(one: Plan, other: Plan) -> Plan | None:
    """Return one table of two, the first of which begins at the lower slot, or None if they cannot share one."""
    slots = one.slots[0], max(one.slots[1], other.slots[1])
    delays = tuple(sorted({*one.delays, *other.delays}))
    parts = (*one.parts, *other.parts)
    width = slots[1] - slots[0]
    if one.kind != other.kind:
        return None
    if one.kind == "bits":
        fits = one.factor == other.factor and one.delays == other.delays and one.slots[1] == other.slots[0]
        return Plan("bits", parts, slots, delays, one.factor) if fits else None
    if one.kind == "constant":
        was_narrow = max(plan.slots[1] - plan.slots[0] for plan in (one, other)) <= NARROW
        fits = one.factor == other.factor and one.delays == other.delays and (not was_narrow or width <= NARROW)
        return Plan("constant", parts, slots, delays, one.factor) if fits else None
    if one.kind == "packed":
        factor = min(abs(one.factor), abs(other.factor))
        largest = max(abs(weight) for part in parts for weight in part.weights)
        fits = (one.factor > 0) == (other.factor > 0) and largest // factor < 1 << PACKED_BITS and width <= PACKED_SLOTS
        return Plan("packed", parts, slots, delays, factor if one.factor > 0 else -factor) if fits else None
    return Plan("wide", parts, slots, delays, 1)
