"""Machine code of the memory of ELM neurons over time, forward."""

from __future__ import annotations

from neurosim.compiler.llvm.ir import IRBuilder
from neurosim.compiler.llvm.tanh import tanh
from neurosim.kernels.elm.tiles import Sizes, padded
from neurosim.kernels.elm.unit_loop import UnitLoop

_GIVEN = ("drive", "trace", "memory", "inward", "offset", "outward", "middle", "keep", "gain", "read", "shift")


def forward_code(sizes: Sizes) -> IRBuilder:
    """Return the forward kernel.

    Arguments: drive [T, B, N, h], trace before the first step [B, N, h], memory [T + 1, B, N, d] of which the first
    step is given; matrix into the hidden units [N, d, h] and their offset [N, h]; matrix out of them [N, h, d] and its
    offset [N, d]; decay and gain of the memory [N, d]; matrix to the outputs [N, d, o padded] and its offset
    [N, o padded], all matrices without padding rows; hidden units [T, B, N, h], their slope (if smooth) and the tanh
    [T, B, N, d], of one step where `kept` is 0; outputs [T, B, N, o]; units, steps, batch, neurons, kept; the trace's
    decay, the factor inside the tanh.
    """
    return _Forward(sizes).code


class _Forward(UnitLoop):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes, (*_GIVEN, "hidden", "slope", "squashed", "output"))
        code, h, d = self.code, sizes.hidden, sizes.memory
        self.trace, self.decayed = self.buffer(h), self.buffer(d)
        with code.loop(self.first, self.last) as unit:
            self.begin(unit)
            self._find_weights()
            given = self.plane("trace", h)
            self.each(h, lambda r, at, c: code.store(code.load(given, at), self.trace, self.in_buffer(r, h, c)))
            with code.loop("0", self.steps) as t:
                self._find_values(t)
                self.each(d, self._decay)
                self._hidden_units()
                self._update()
                self._read_out(t)

    def _find_weights(self) -> None:
        h, d, wide = self.sizes.hidden, self.sizes.memory, padded(self.sizes.outputs, self.sizes.lanes)
        memories, hiddens = self.sizes.units
        self.inward, self.offset = self.of_neuron("inward", memories * h), self.of_neuron("offset", h)
        self.outward, self.middle = self.of_neuron("outward", hiddens * d), self.of_neuron("middle", d)
        self.keep, self.gain = self.of_neuron("keep", d), self.of_neuron("gain", d)
        self.read, self.shift = self.of_neuron("read", memories * wide), self.of_neuron("shift", wide)

    def _find_values(self, t: str) -> None:
        """Find the values of a step."""
        code, h, d = self.code, self.sizes.hidden, self.sizes.memory
        stored = code.integer("mul", t, self.kept)
        self.drive, self.before = self.plane("drive", h, t), self.plane("memory", d, t)
        self.after = self.plane("memory", d, code.integer("add", t, "1"))
        self.hidden, self.squashed = self.plane("hidden", h, stored), self.plane("squashed", d, stored)
        self.slope = self.plane("slope", h, stored) if self.sizes.smooth else ""

    def _decay(self, r: str, at: str, column: str) -> None:
        code = self.code
        decayed = code.fresh(f"fmul {code.lane} {code.load(self.keep, column)}, {code.load(self.before, at)}")
        code.store(decayed, self.decayed, self.in_buffer(r, self.sizes.memory, column))

    def _hidden_units(self) -> None:
        h, memories = self.sizes.hidden, (self.sizes.units[0], self.sizes.memory)
        self.product(self.decayed, self.inward, memories, h, self._current, self._activate, is_buffer=True)
        if self.sizes.smooth:
            self.each(h, self._silu)

    def _current(self, r: int, column: str) -> str:
        """Update the trace, and return the input of a hidden unit apart from that of the memory."""
        code, h = self.code, self.sizes.hidden
        place = self.in_buffer(str(r), h, column)
        here = self.in_array(r, h, column)
        trace = code.multiply_add(self.kappa, code.load(self.trace, place), code.load(self.drive, here))
        code.store(trace, self.trace, place)
        return code.add(trace, code.load(self.offset, column))

    def _activate(self, r: int, column: str, total: str) -> None:
        code = self.code
        here = self.in_array(r, self.sizes.hidden, column)
        if not self.sizes.smooth:
            total = code.fresh(code.operation("max", [total, code.literal(0.0)]))
        code.store(total, self.hidden, here)

    def _silu(self, _: str, at: str, column: str) -> None:
        code = self.code
        a = code.load(self.hidden, at)
        half = code.literal(0.5)
        raised = tanh(code, code.fresh(f"fmul {code.lane} {a}, {half}"))
        s = code.multiply_add(raised, half, half)
        value = code.fresh(f"fmul {code.lane} {a}, {s}")
        rest = code.fresh(f"fsub {code.lane} {code.literal(1.0)}, {s}")
        code.store(value, self.hidden, at)
        code.store(code.multiply_add(value, rest, s), self.slope, at)

    def _update(self) -> None:
        code, h, d = self.code, self.sizes.hidden, self.sizes.memory
        self.product(
            self.hidden,
            self.outward,
            (self.sizes.units[1], h),
            d,
            lambda _, column: code.load(self.middle, column),
            lambda r, column, total: code.store(total, self.squashed, self.in_array(r, d, column)),
        )
        self.each(d, self._remember)

    def _remember(self, r: str, at: str, column: str) -> None:
        code = self.code
        change = tanh(code, code.fresh(f"fmul {code.lane} {self.bend}, {code.load(self.squashed, at)}"))
        code.store(change, self.squashed, at)
        decayed = code.load(self.decayed, self.in_buffer(r, self.sizes.memory, column))
        code.store(code.multiply_add(code.load(self.gain, column), change, decayed), self.after, at)

    def _read_out(self, t: str) -> None:
        code, o = self.code, self.sizes.outputs
        wide, memories = padded(o, self.sizes.lanes), (self.sizes.units[0], self.sizes.memory)
        output = self.plane("output", o, t)

        def store(r: int, column: str, total: str) -> None:
            mask = None if wide == o else code.first_lanes(code.integer("sub", str(o), column))
            code.store(total, output, self.in_array(r, o, column), mask)

        self.product(self.after, self.read, memories, wide, lambda _, column: code.load(self.shift, column), store)
