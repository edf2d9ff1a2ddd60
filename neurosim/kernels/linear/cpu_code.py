"""A dense product and the neurons behind it in one pass over time, at the cost of the spikes.

The neurons are walked in tiles of as many as fit the vector registers. For a tile and a sample the time loop runs with
the state in registers: each spike of a step adds one row of the weights to the current, the step of the core follows,
and neither current nor state is written. Backward the same loop runs from the last step to the first for some samples:
the adjoint of the core gives the gradients of their currents, and for each neuron before the synapse those of its
spikes are added up. A tile belongs to one thread, so that nothing is added up in an order that depends on how many
there are.
"""

from __future__ import annotations

import dataclasses
import functools

from neurosim.compiler.llvm.ir import IRBuilder
from neurosim.compiler.llvm.jit import CompiledKernel
from neurosim.compiler.plan import Plan, find
from neurosim.compiler.printer import Kernel, backward_kernel, forward_kernel
from neurosim.language.expression import Expression


@dataclasses.dataclass(frozen=True)
class Shape:
    """What the machine code of a layer is made for.

    Parameters
    ----------
    key : str
        Key of the plan.
    real : {"float", "double"}
    lanes : int
        Neurons in a tile.
    ragged : bool
        Whether the last tile has fewer.
    graded : bool
        Whether spikes have values other than 1.
    biased : bool
        Whether a constant current is added.
    borders : bool
        Whether the state at the border of each chunk is kept in place of the values of each step.
    streamed : bool
        Whether a call can ask for output and kept values to go past the caches: rows begin and end at their lines.
    bits_only : bool
        Whether the output is written as bits alone.
    """

    key: str
    real: str
    lanes: int
    ragged: bool
    graded: bool
    biased: bool
    borders: bool
    streamed: bool = False
    bits_only: bool = False

    @property
    def plan(self) -> Plan:
        """The plan."""
        return find(self.key)

    @property
    def spike(self) -> Expression | None:
        """The spike that the layer sends, if it sends one."""
        return self.plan.program.output if self.plan.program.is_spiking else None

    @property
    def limited(self) -> bool:
        """Whether the surrogate is zero far from threshold, which is then written down."""
        return self.plan.train and self.plan.program.is_limited


_AHEAD = "2"  # steps for which the backward pass asks for its arrays in advance


class _Layer:
    """What the two directions share: arguments, places in arrays, the current of a step."""

    def __init__(self, shape: Shape) -> None:
        self.shape, self.code = shape, IRBuilder(shape.real, shape.lanes)
        code = self.code
        self.starts, self.index = code.pointer_argument("starts"), code.pointer_argument("index")
        self.x = code.pointer_argument("x") if shape.graded else ""
        self.weight = code.pointer_argument("weight")
        self.bias = code.pointer_argument("bias") if shape.biased else ""
        self.past = self.not_past = ""  # whether a call sends its results past the caches: an argument

    def numbers(self, kernel: Kernel, *others: str) -> None:
        """Add the arguments that are numbers."""
        code = self.code
        names = ("first", "last", "steps", "batch", "width", "sources", "chunk")
        self.first, self.last, self.steps, self.batch, self.width, self.sources, self.chunk = map(
            code.integer_argument, names
        )
        self.others = tuple(map(code.integer_argument, others))
        for number, node in enumerate(kernel.uniforms):
            code.bind(node, code.real_argument(f"u{number}"))

    def begin_tile(self, tile: str) -> None:
        """Work out where the tile lies."""
        code, lanes = self.code, str(self.shape.lanes)
        self.tile = tile
        self.column = code.integer("mul", tile, lanes)
        self.mask = code.first_lanes(code.integer("sub", self.width, self.column)) if self.shape.ragged else None
        block = code.integer("mul", tile, code.integer("mul", self.sources, lanes))
        self.rows = code.address(self.weight, block)
        self.start = code.load(self.bias, self.column, self.mask) if self.shape.biased else code.literal(0.0)

    def row(self, t: str, b: str) -> str:
        """Return the number of the row of step `t` and sample `b`."""
        return self.code.integer("add", self.code.integer("mul", t, self.batch), b)

    def place(self, row: str) -> str:
        """Return where the tile's values of `row` stand in an array [rows, width]."""
        return self.code.integer("add", self.code.integer("mul", row, self.width), self.column)

    def each_event(self, row: str) -> tuple[str, str]:
        """Return the bounds of the events of `row`."""
        code = self.code
        return code.load_index(self.starts, row), code.load_index(self.starts, code.integer("add", row, "1"))

    def source(self, event: str) -> tuple[str, str]:
        """Return the neuron that an event comes from and where its row of a tile of weights begins."""
        j = self.code.load_index(self.index, event)
        return j, self.code.integer("mul", j, str(self.shape.lanes))

    def value(self, row: str, j: str) -> str:
        """Return the value of the spike of neuron `j` in `row`, in all lanes."""
        at = self.code.integer("add", self.code.integer("mul", row, self.sources), j)
        return self.code.splat(self.code.load_scalar(self.shape.real, self.x, at))

    def current(self, row: str) -> str:
        """Return the current that the spikes of `row` bring to the tile."""
        code = self.code
        total = self._total
        code.store_variable(total, self.start)
        with code.loop(*self.each_event(row)) as event:
            j, at = self.source(event)
            weights = code.load(self.rows, at)
            if self.shape.graded:
                weights = code.fresh(f"fmul {code.lane} {weights}, {self.value(row, j)}")
            code.store_variable(total, code.add(code.load_variable(total), weights))
        return code.load_variable(total)

    @functools.cached_property
    def _total(self) -> str:
        return self.code.variable()

    def put(self, value: str, array: str, at: str) -> None:
        """Write a result of a step."""
        if not self.shape.streamed:
            self.code.store(value, array, at, self.mask)
            return
        with self.code.branch_if(self.past):
            self.code.stream(value, array, at)
        with self.code.branch_if(self.not_past):
            self.code.store(value, array, at)

    def step(self, kernel: Kernel, i: str, state: dict[str, str], arrays: dict[str, str], at: str) -> dict[str, str]:
        """Write a forward step: from the current and the variables of the state to what is written and new."""
        code = self.code
        code.bind(kernel.reads[kernel.inputs[0]], i)
        for name, (before, _) in kernel.carried.items():
            code.bind(before, code.load_variable(state[name]))
        code.emit(kernel.order())
        after = {name: code.value(node) for name, (_, node) in kernel.carried.items()}
        for name, node in kernel.writes.items():
            if name in arrays:
                self.put(code.value(node), arrays[name], at)
        for name, new in after.items():
            code.store_variable(state[name], new)
        return after


def forward_code(shape: Shape) -> IRBuilder:
    """Return the forward kernel.

    Arguments: starts, index, [x], weight, [bias], [out], kept values or borders, state, coefficients, [bits], [active];
    first and last unit (tile times batch plus sample), steps, batch, width, sources, chunk, whether results go past the
    caches, where they can; the plan's numbers.
    """
    kernel, layer = forward_kernel(shape.plan), _Layer(shape)
    code = layer.code
    over_time = [name for name in kernel.writes if not (shape.bits_only if name == "out" else shape.borders)]
    arrays = {name: code.pointer_argument(name) for name in over_time}
    borders = {name: code.pointer_argument(f"border.{name}") for name in kernel.carried} if shape.borders else {}
    held = {name: code.pointer_argument(f"state.{name}") for name in (*kernel.carried, *kernel.coefficients)}
    bits = code.pointer_argument("bits") if shape.spike is not None else ""
    active = code.pointer_argument("active") if shape.limited else ""
    layer.numbers(kernel, "past")
    (past,) = layer.others
    layer.past, layer.not_past = (code.fresh(f"icmp {op} i64 {past}, 0") for op in ("ne", "eq"))
    state = {name: code.variable() for name in kernel.carried}
    words = code.integer("mul", _words(code, layer.width), str(64 // shape.lanes))
    with code.loop(layer.first, layer.last) as unit:
        b = code.integer("srem", unit, layer.batch)
        layer.begin_tile(code.integer("sdiv", unit, layer.batch))
        here = layer.place(b)
        for name, variable in state.items():
            code.store_variable(variable, code.load(held[name], here, layer.mask))
        for name, node in kernel.coefficients.items():
            code.bind(node, code.load(held[name], here, layer.mask))
        with code.loop("0", layer.steps) as t, code.scope():
            row = layer.row(t, b)
            if shape.borders:
                at_border = code.fresh(f"icmp eq i64 {code.integer('srem', t, layer.chunk)}, 0")
                with code.branch_if(at_border):
                    place = layer.place(layer.row(code.integer("sdiv", t, layer.chunk), b))
                    for name, array in borders.items():
                        code.store(code.load_variable(state[name]), array, place, layer.mask)
            layer.step(kernel, layer.current(row), state, arrays, layer.place(row))
            word = code.integer("add", code.integer("mul", row, words), layer.tile)
            if shape.spike is not None:
                _write_bits(layer, code.truth(shape.spike), bits, word)
            if shape.spike is not None and active:
                distance = code.fresh(code.operation("abs", [code.value(shape.spike.args[0])]))
                near = code.fresh(code.compare("lt", distance, code.value(shape.plan.program.support)))
                _write_bits(layer, near, active, word)
        for name, variable in state.items():
            code.store(code.load_variable(variable), held[name], here, layer.mask)
    if shape.streamed:
        code.fence()
    return code


def _words(code: IRBuilder, width: str) -> str:
    return code.integer("lshr", code.integer("add", width, "63"), "6")


def _write_bits(layer: _Layer, truth: str, array: str, word: str) -> None:
    code = layer.code
    if layer.mask is not None:
        truth = code.fresh(f"and {code.truths} {truth}, {layer.mask}")
    code.store_scalar(f"i{code.lanes}", code.bits_of_mask(truth), array, word)


def backward_code(shape: Shape, inward: bool) -> IRBuilder:
    """Return the backward kernel; with `inward` the gradient of the current is written for the input's gradient.

    Arguments: starts, index, [x], weight, [bias], gradient of the weight, [that of the bias], the events `by_source`:
    starts, rows, [worth]; room for the gradients of the current of a group of samples; g_out, [g_i], then kept values,
    or borders and room for a chunk; g_state, coefficients, shares; first and last tile, steps, batch, width, sources,
    chunk, group; the numbers of the backward plan, and with borders those of the forward plan.
    """
    kernel, layer = backward_kernel(shape.plan), _Layer(shape)
    code = layer.code
    again = forward_kernel(shape.plan)
    g_weight = code.pointer_argument("g.weight")
    g_bias = code.pointer_argument("g.bias") if shape.biased else ""
    by_starts, by_rows = code.pointer_argument("by.starts"), code.pointer_argument("by.rows")
    worth = code.pointer_argument("by.worth") if shape.graded else ""
    currents = code.pointer_argument("currents")
    arrays = {"g_out": code.pointer_argument("g_out")}
    if inward:
        arrays["g_i"] = code.pointer_argument("g_i")
    saved = [name for name in kernel.reads if name != "g_out"]
    if shape.borders:
        borders = {name: code.pointer_argument(f"border.{name}") for name in again.carried}
        room = code.pointer_argument("room")
    else:
        arrays.update({name: code.pointer_argument(name) for name in saved})
    carried = {**kernel.carried, **kernel.sums}
    held = {
        name: code.pointer_argument(f"held.{name}") for name in (*kernel.carried, *kernel.coefficients, *kernel.sums)
    }
    layer.numbers(kernel, "group")
    (group,) = layer.others
    if shape.borders:
        for number, node in enumerate(again.uniforms):
            code.bind(node, code.real_argument(f"forward{number}"))
        state = {name: code.variable() for name in again.carried}
    variables = {name: code.variable() for name in carried}
    bias_sum, row_sum = code.variable(), code.variable()

    def step(t: str, b: str, room_at: dict[str, str] | None = None) -> None:
        row = layer.row(t, b)
        at = layer.place(row)
        code.bind(kernel.reads["g_out"], code.load(arrays["g_out"], at, layer.mask))
        ahead = layer.place(layer.row(code.integer("sub", t, _AHEAD), b))
        for name in ("g_out", *(() if shape.borders else saved)):
            code.prefetch(arrays[name], ahead)
        for name in saved:
            inside = code.load(room, room_at[name]) if room_at else code.load(arrays[name], at, layer.mask)
            code.bind(kernel.reads[name], inside)
        for name, (before, _) in carried.items():
            code.bind(before, code.load_variable(variables[name]))
        code.emit(kernel.order())
        g_i = code.value(kernel.writes[kernel.inputs[0]])
        after = {name: code.value(node) for name, (_, node) in carried.items()}
        for name, new in after.items():
            code.store_variable(variables[name], new)
        if inward:
            code.store(g_i, arrays["g_i"], at, layer.mask)
        if shape.biased:
            code.store_variable(bias_sum, code.add(code.load_variable(bias_sum), g_i))
        code.store(g_i, held_currents, code.integer("mul", t, str(shape.lanes)))

    def add_up(j: str, of_tile: str, first: str) -> None:
        """Add to the row of neuron `j` the gradients of the currents of its spikes in a group."""
        at = code.integer("add", first, j)
        place = code.integer("mul", j, str(shape.lanes))
        code.store_variable(row_sum, code.load(g_rows, place))
        with code.loop(
            code.load_index(by_starts, at), code.load_index(by_starts, code.integer("add", at, "1"))
        ) as event:
            share = code.load(of_tile, code.integer("mul", code.load_index(by_rows, event), str(shape.lanes)))
            if shape.graded:
                share = code.fresh(
                    f"fmul {code.lane} {share}, {code.splat(code.load_scalar(shape.real, worth, event))}"
                )
            code.store_variable(row_sum, code.add(code.load_variable(row_sum), share))
        code.store(code.load_variable(row_sum), g_rows, place)

    with code.loop(layer.first, layer.last) as tile:
        layer.begin_tile(tile)
        block = code.integer("mul", tile, code.integer("mul", layer.sources, str(shape.lanes)))
        g_rows = code.address(g_weight, block)
        code.store_variable(bias_sum, code.literal(0.0))
        rows = code.integer("mul", group, layer.steps)
        of_tile = code.address(currents, code.integer("mul", tile, code.integer("mul", rows, str(shape.lanes))))
        with code.loop("0", layer.batch, group) as top:
            with code.loop(top, code.minimum(code.integer("add", top, group), layer.batch)) as b:
                before = code.integer("mul", code.integer("sub", b, top), layer.steps)
                held_currents = code.address(of_tile, code.integer("mul", before, str(shape.lanes)))
                here = layer.place(b)
                for name, variable in variables.items():
                    code.store_variable(variable, code.load(held[name], here, layer.mask))
                for name, node in kernel.coefficients.items():
                    code.bind(node, code.load(held[name], here, layer.mask))
                if shape.borders:
                    chunks = code.integer(
                        "sdiv", code.integer("add", layer.steps, code.integer("sub", layer.chunk, "1")), layer.chunk
                    )
                    size = code.integer("mul", layer.chunk, str(shape.lanes))
                    base = code.integer("mul", tile, code.integer("mul", size, str(max(len(saved), 1))))
                    with code.loop_backwards("0", chunks) as c:
                        begin = code.integer("mul", c, layer.chunk)
                        end = code.minimum(code.integer("add", begin, layer.chunk), layer.steps)
                        border = layer.place(layer.row(c, b))
                        for name, variable in state.items():
                            code.store_variable(variable, code.load(borders[name], border, layer.mask))
                        with code.loop(begin, end) as t, code.scope():
                            layer.step(again, layer.current(layer.row(t, b)), state, {}, "")
                            for name, place in _in_room(code, saved, base, size, code.integer("sub", t, begin)).items():
                                code.store(code.value(kernel.reads[name]), room, place)
                        with code.loop_backwards(begin, end) as t, code.scope():
                            step(t, b, _in_room(code, saved, base, size, code.integer("sub", t, begin)))
                else:
                    with code.loop_backwards("0", layer.steps) as t, code.scope():
                        step(t, b)
                for name, variable in variables.items():
                    code.store(code.load_variable(variable), held[name], here, layer.mask)
            first = code.integer("mul", code.integer("sdiv", top, group), layer.sources)
            with code.loop("0", layer.sources) as j:
                add_up(j, of_tile, first)
        if shape.biased:
            code.store(code.load_variable(bias_sum), g_bias, layer.column, layer.mask)
    return code


def _in_room(code: IRBuilder, saved: list[str], base: str, size: str, step: str) -> dict[str, str]:
    """Return where each saved value of a step of the chunk stands."""
    at = code.integer("add", base, code.integer("mul", step, str(code.lanes)))
    return {name: code.integer("add", at, code.integer("mul", size, str(n))) for n, name in enumerate(saved)}


@functools.cache
def compiled_forward(shape: Shape) -> CompiledKernel:
    """Return the forward kernel's machine code."""
    return forward_code(shape).compile()


@functools.cache
def compiled_backward(shape: Shape, inward: bool) -> CompiledKernel:
    """Return the backward kernel's machine code."""
    return backward_code(shape, inward).compile()
