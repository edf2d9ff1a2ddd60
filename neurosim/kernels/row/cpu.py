"""A row of layers on the CPU: the kernels of its layers in one call forward and in one or few calls backward.

The kernels are those that run the layers one by one, with the same arguments, so that the bits are the same. What is
prepared once for equal sizes is everything but the addresses. A row is event-driven throughout: where a layer's input
is not, the kernels stop, and the layers run one by one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from neurosim.compiler.llvm.call_list import Place
from neurosim.kernels.common import matmul, policy
from neurosim.kernels.common.bits import words
from neurosim.kernels.common.buffers import buffer_pool
from neurosim.kernels.linear.policy import MASK_CROSSOVER, SHORT, is_masked
from neurosim.kernels.recurrent.policy import few_near_threshold
from neurosim.kernels.row.arguments import Input, LayerTensors, Outputs, Row
from neurosim.kernels.row.cpu_backward import Backward, Variant, is_inside
from neurosim.kernels.row.cpu_forward import Forward
from neurosim.kernels.row.cpu_layout import TOTALS

_LEAST_ROOM = 1 << 10  # events


class Grads(NamedTuple):
    """The gradients of a row's outputs, None where there are none, and what is needed beside those of parameters.

    Attributes
    ----------
    out : Tensor [T, B, N] or None
    states : sequence of sequence of (Tensor [B, N] or None)
        Of the final states of each layer.
    last : sequence of (Tensor [B, N] or None)
        Of the last output of each layer with a loop.
    needs_state, needs_z0 : sequence of bool
        Of each layer, whether the gradients of the initial state and of the output before the first step are needed.
    """

    out: Tensor | None
    states: Sequence[Sequence[Tensor | None]]
    last: Sequence[Tensor | None]
    needs_state: Sequence[bool]
    needs_z0: Sequence[bool]

    @property
    def top(self) -> int:
        """Number of the last layer of which a result has a gradient; no gradient reaches those behind it."""
        if self.out is not None:
            return len(self.states) - 1
        of_layers = enumerate(zip(self.states, self.last, strict=True))
        return max(n for n, (state, last) in of_layers if any(g is not None for g in (*state, last)))


class Found(NamedTuple):
    """Gradients of the input, or None, and of the tensors of each layer from number `first` on, by name."""

    x: Tensor | None
    first: int
    layers: Sequence[dict[str, Tensor]]


class Prepared:
    """The kernels of a row of layers, prepared for calls.

    Parameters
    ----------
    row : Row

    Attributes
    ----------
    row : Row
    blocked : int
        Calls for which the row is not tried again.
    """

    def __init__(self, row: Row) -> None:
        self.row, self.blocked = row, 0
        self._forward = Forward(row)
        self._saved_bytes, self._scratch_bytes = self._forward.saved.size, self._forward.scratch.size
        self._rows, self._dtype = self._forward.rows, self._forward.dtype
        self._backward: dict[tuple[Variant, ...], Backward] = {}

    def forward(self, given: Input, layers: Sequence[LayerTensors]) -> Outputs | int:
        """Run the row; return the status of the kernels where they stopped."""
        row, last = self.row, self.row.layers[-1]
        out = buffer_pool.empty((row.steps, row.batch, last.width), self._dtype)
        saved, scratch = (buffer_pool.empty((n,), torch.uint8) for n in (self._saved_bytes, self._scratch_bytes))
        bits_given = given.x if given.packed_bits is None else given.packed_bits
        states = [[s.clone() for s in each.state] for each in layers]
        planes = [self._plane() if self._forward.loops else scratch for _ in range(2)]
        tensors = [saved, scratch, given.x, bits_given, given.x, out, *planes]
        for each, state in zip(layers, states, strict=True):
            tensors += each._replace(state=state).flat()
        lasts = [None if each.z0 is None else torch.empty_like(each.z0) for each in layers]
        tensors += [z for z in lasts if z is not None]
        status = self._forward.calls.run([t.data_ptr() for t in tensors])
        if status:
            return status
        packed_bits, mask = self._bits_of_last(saved)
        return Outputs(out, packed_bits, mask, states, lasts, saved)

    def totals(self, saved: Tensor) -> list[int]:
        """Return the numbers of events that the kernels counted; see `TOTALS`."""
        found: list[int] = self._view(
            saved, self._forward.totals, (TOTALS * len(self.row.layers),), torch.int64
        ).tolist()
        return found

    def _plane(self) -> Tensor:
        return buffer_pool.empty((self._rows * self._forward.widest,), self._dtype)

    def _view(self, array: Tensor, place: Place, shape: Sequence[int], dtype: torch.dtype | None = None) -> Tensor:
        dtype = dtype or self._dtype
        end = place.offset + math.prod(shape) * dtype.itemsize
        return array[place.offset : end].view(dtype).view(tuple(shape))

    def _bits_of_last(self, saved: Tensor) -> tuple[Tensor | None, Tensor | None]:
        kept, layer = self._forward.kept[-1], self.row.layers[-1]
        if not self._forward.plan_of(layer).program.is_spiking:
            return None, None
        assert kept.sent is not None
        shape = (self._rows, words(layer.width))
        packed_bits = self._view(saved, kept.sent, shape, torch.int64)
        mask = None if kept.mask is None else self._view(saved, kept.mask, shape, torch.int64)
        return packed_bits, mask

    def backward(self, given: Input, layers: Sequence[LayerTensors], saved: Tensor, grads: Grads) -> Found:
        """Return the gradients of the input and of the layers' tensors."""
        row = self.row
        variants = tuple(self._variants(given, saved, grads))
        if variants not in self._backward:
            self._backward[variants] = Backward(self._forward, variants)
        prepared = self._backward[variants]
        first, names = prepared.first, prepared.names
        found = [self._results(layers[first + n], first + n, v, grads) for n, v in enumerate(variants)]
        scratch = buffer_pool.empty((prepared.scratch.size,), torch.uint8)
        own = {name: t for each in found for name, t in each.items()}
        own["g_x"] = own["g"] = scratch
        of_last = (f"last{first + n}" for n, variant in enumerate(variants) if variant.has_last)
        own.update({name: _there(grads.last[int(name[4:])]).contiguous() for name in of_last})
        if row.needs_x and is_inside(row, variants[0], 0):
            own["g_x"] = buffer_pool.empty((row.steps, row.batch, row.layers[0].n_in), self._dtype)
        mask = given.x if given.mask is None else given.mask
        bits_given = given.x if given.packed_bits is None else given.packed_bits
        planes = [self._plane() for _ in range(2)]
        tensors = [saved, scratch, saved, bits_given, mask, self._g_out(grads), *planes]
        for each in layers:
            tensors += each.flat()
        tensors += [own[name] for name in names]
        addresses = [t.data_ptr() for t in tensors]
        place_of_g = len(addresses) - len(names) + names.index("g")
        g_x = own["g_x"]
        for segment in prepared.segments:
            segment.calls.run(addresses)
            if segment.g is None:
                continue
            n = segment.layer
            g = planes[0][: self._rows * row.layers[n].width].view(self._rows, -1)
            of_input = matmul.product(g, layers[n].weight).view(row.steps, row.batch, row.layers[n].n_in)
            if n:
                own["g"] = of_input  # held until its readers have run
                addresses[place_of_g] = of_input.data_ptr()
            else:
                g_x = of_input
        return Found(g_x if row.needs_x else None, first, found)

    def _g_out(self, grads: Grads) -> Tensor:
        top = grads.top
        g_out, g_last = grads.out, grads.last[top]
        if g_out is None:
            g_out = torch.zeros((self.row.steps, self.row.batch, self.row.layers[top].width), dtype=self._dtype)
        if g_last is not None:
            g_out = torch.cat((g_out[:-1], (g_out[-1] + g_last)[None]))
        return g_out.contiguous()

    def _variants(self, given: Input, saved: Tensor, grads: Grads) -> list[Variant]:
        """Return what each layer through which a gradient passes chooses."""
        totals, found = self.totals(saved), []
        top = grads.top
        for number, layer in enumerate(self.row.layers[: top + 1]):
            if not layer.train:
                continue
            events, _, of_loop = totals[TOTALS * number : TOTALS * (number + 1)]
            plan, kept, few, masked = self._forward.plan_of(layer), self._forward.kept[number], False, False
            if layer.has_loop:
                shape = (self.row.steps, self.row.batch, layer.width)
                stored = [self._view(saved, place, shape) for place in plan.saved_among(kept.stored)]
                few = few_near_threshold(plan, stored, layer.backward_numbers)
            if number and self._forward.kept[number - 1].mask is not None and layer.width >= SHORT:
                in_mask = totals[TOTALS * (number - 1) + 1]
                masked = policy.choose(in_mask < MASK_CROSSOVER * self._rows * layer.n_in)
            elif not number and self.row.needs_x:
                masked = is_masked(given.mask, layer.width, layer.n_in)
            has_last = grads.last[number] is not None and number < top
            own_state = grads.needs_state[number] or any(g is not None for g in grads.states[number])
            found.append(
                Variant(_room(events), _room(of_loop), few, masked, own_state, grads.needs_z0[number], has_last)
            )
        return found

    def _results(self, layer: LayerTensors, number: int, variant: Variant, grads: Grads) -> dict[str, Tensor]:
        """Return tensors for the gradients of a layer's tensors."""
        shape = (self.row.batch, self.row.layers[number].width)
        found = {f"weight{number}": buffer_pool.empty_like(layer.weight)}
        if layer.bias is not None:
            found[f"bias{number}"] = torch.empty_like(layer.bias)
        if variant.own_state:
            for k, g in enumerate(grads.states[number]):
                zeros = torch.zeros(shape, dtype=self._dtype)
                found[f"s{k}.{number}"] = zeros if g is None else g.contiguous().clone()
        for k, c in enumerate(layer.coefficients):
            found[f"c{k}.{number}"] = torch.zeros_like(c)
        if layer.loop is not None:
            found[f"loop{number}"] = buffer_pool.empty_like(layer.loop)
            if variant.own_z0:
                found[f"z0{number}"] = torch.empty(shape, dtype=self._dtype)
        return found


def _there(g: Tensor | None) -> Tensor:
    assert g is not None
    return g


def _room(events: int) -> int:
    """Return a power of two that is as many or more."""
    return max(1 << max(events - 1, 0).bit_length(), _LEAST_ROOM)


@functools.lru_cache(maxsize=256)
def prepare(row: Row) -> Prepared:
    """Return the kernels of a row, prepared once for each."""
    return Prepared(row)
