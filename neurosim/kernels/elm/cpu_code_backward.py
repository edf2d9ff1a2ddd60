"""Machine code of the gradients of the memory of ELM neurons over time, but for those of weights."""

from __future__ import annotations

from neurosim.compiler.llvm.ir import IRBuilder
from neurosim.kernels.elm.tiles import Sizes
from neurosim.kernels.elm.unit_loop import UnitLoop

_GIVEN = ("g_output", "g_last", "memory", "hidden", "slope", "squashed", "inward", "outward", "keep", "gain", "read")
_RESULTS = ("g_drive", "g_hidden", "g_squashed", "g_trace", "g_before")
_SHARES = ("share_offset", "share_middle", "share_keep", "share_gain")


def backward_code(sizes: Sizes) -> IRBuilder:
    """Return the backward kernel.

    Arguments: gradients of the outputs [T, B, N, o] and of the last memory [B, N, d]; memory [T + 1, B, N, d]; hidden
    units, slope (if smooth), tanh as the forward kernel stored them; matrix into the hidden units [N, h, d] and out of
    them [N, d, h], as there; decay and gain of the memory [N, d]; matrix to the outputs [N, o, d]; then the results:
    gradients of the drive and of the hidden units' sums [T, B, N, h], of the tanh's argument [T, B, N, d], of trace
    [B, N, h] and memory [B, N, d] before the first step, shares in those of offset [B, N, h], middle, keep and gain
    [B, N, d]; units, steps, batch, neurons, kept (1); the trace's decay, the factor inside the tanh.
    """
    return _Backward(sizes).code


class _Backward(UnitLoop):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes, (*_GIVEN, *_RESULTS, *_SHARES))
        code, h, d = self.code, sizes.hidden, sizes.memory
        self.trace, self.offset = self.buffer(h), self.buffer(h)
        self.memory, self.middle = self.buffer(d), self.buffer(d)
        self.kept_share, self.gained = self.buffer(d), self.buffer(d)
        self.zero, self.one = code.literal(0.0), code.literal(1.0)
        with code.loop(self.first, self.last) as unit:
            self.begin(unit)
            self._find_weights()
            self._start()
            with code.loop_backwards("0", self.steps) as t:
                self._find_values(t)
                self._step(t)
            self._store(self.trace, "g_trace", h, self.kappa)
            self._store(self.memory, "g_before", d)
            self._store(self.offset, "share_offset", h)
            self._store(self.middle, "share_middle", d)
            self._store(self.kept_share, "share_keep", d)
            self._store(self.gained, "share_gain", d)

    def _find_weights(self) -> None:
        h, d, (memories, hiddens) = self.sizes.hidden, self.sizes.memory, self.sizes.units
        self.inward, self.outward = self.of_neuron("inward", hiddens * d), self.of_neuron("outward", memories * h)
        self.keep, self.gain = self.of_neuron("keep", d), self.of_neuron("gain", d)
        self.read = self.of_neuron("read", self.sizes.outputs * d)

    def _start(self) -> None:
        code, h, d = self.code, self.sizes.hidden, self.sizes.memory
        for buffer in (self.trace, self.offset):
            self._clear(buffer, h)
        for buffer in (self.middle, self.kept_share, self.gained):
            self._clear(buffer, d)
        last = self.plane("g_last", d)
        self.each(d, lambda r, at, column: code.store(code.load(last, at), self.memory, self.in_buffer(r, d, column)))

    def _clear(self, buffer: str, width: int) -> None:
        store = self.code.store
        self.each(width, lambda r, _, column: store(self.zero, buffer, self.in_buffer(r, width, column)))

    def _store(self, buffer: str, name: str, width: int, factor: str | None = None) -> None:
        """Store a buffer, times `factor`, in an array [B, N, width]."""
        code, target = self.code, self.plane(name, width)

        def copy(r: str, at: str, column: str) -> None:
            value = code.load(buffer, self.in_buffer(r, width, column))
            code.store(code.fresh(f"fmul {code.lane} {factor}, {value}") if factor else value, target, at)

        self.each(width, copy)

    def _find_values(self, t: str) -> None:
        """Find the values of a step and the places of its gradients."""
        h, d = self.sizes.hidden, self.sizes.memory
        self.g_output, self.before = self.plane("g_output", self.sizes.outputs, t), self.plane("memory", d, t)
        self.squashed, self.hidden = self.plane("squashed", d, t), self.plane("hidden", h, t)
        self.slope = self.plane("slope", h, t) if self.sizes.smooth else ""
        self.g_drive, self.g_hidden = self.plane("g_drive", h, t), self.plane("g_hidden", h, t)
        self.g_squashed = self.plane("g_squashed", d, t)

    def _step(self, t: str) -> None:
        code, h, d, o = self.code, self.sizes.hidden, self.sizes.memory, self.sizes.outputs
        memories, hiddens = (self.sizes.units[0], d), (self.sizes.units[1], h)

        def g_memory(r: int, column: str) -> str:
            return code.load(self.memory, self.in_buffer(str(r), d, column))

        def store(r: int, column: str, total: str) -> None:
            code.store(total, self.memory, self.in_buffer(str(r), d, column))

        self.product(self.g_output, self.read, (o, o), d, g_memory, store)
        self.each(d, self._through_tanh)
        self.product(self.g_squashed, self.outward, memories, h, lambda *_: self.zero, self._through_activation)
        self.product(self.g_hidden, self.inward, hiddens, d, g_memory, self._through_decay)

    def _through_tanh(self, r: str, at: str, column: str) -> None:
        code = self.code
        place = self.in_buffer(r, self.sizes.memory, column)
        g, change = code.load(self.memory, place), code.load(self.squashed, at)
        code.store(code.multiply_add(g, change, code.load(self.gained, place)), self.gained, place)
        square = code.fresh(f"fmul {code.lane} {change}, {change}")
        flat = code.fresh(f"fsub {code.lane} {self.one}, {square}")
        bent = code.fresh(f"fmul {code.lane} {self.bend}, {code.load(self.gain, column)}")
        scaled = code.fresh(f"fmul {code.lane} {g}, {bent}")
        inner = code.fresh(f"fmul {code.lane} {scaled}, {flat}")
        code.store(code.add(inner, code.load(self.middle, place)), self.middle, place)
        code.store(inner, self.g_squashed, at)

    def _through_activation(self, r: int, column: str, total: str) -> None:
        code, h = self.code, self.sizes.hidden
        here = self.in_array(r, h, column)
        place = self.in_buffer(str(r), h, column)
        if self.sizes.smooth:
            g = code.fresh(f"fmul {code.lane} {total}, {code.load(self.slope, here)}")
        else:
            on = code.fresh(code.compare("gt", code.load(self.hidden, here), self.zero))
            g = code.fresh(code.choice(on, total, self.zero))
        code.store(g, self.g_hidden, here)
        code.store(code.add(g, code.load(self.offset, place)), self.offset, place)
        trace = code.multiply_add(self.kappa, code.load(self.trace, place), g)
        code.store(trace, self.trace, place)
        code.store(trace, self.g_drive, here)

    def _through_decay(self, r: int, column: str, total: str) -> None:
        code, d = self.code, self.sizes.memory
        place = self.in_buffer(str(r), d, column)
        before = code.load(self.before, self.in_array(r, d, column))
        code.store(code.multiply_add(total, before, code.load(self.kept_share, place)), self.kept_share, place)
        code.store(code.fresh(f"fmul {code.lane} {code.load(self.keep, column)}, {total}"), self.memory, place)
