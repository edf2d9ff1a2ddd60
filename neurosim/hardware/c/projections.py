"""The synapses of one edge in C: what one spike adds to the accumulator of the target."""

from __future__ import annotations

import numpy as np

from neurosim.hardware.c.arrays import Arrays
from neurosim.hardware.integers import Accumulator, Projection
from neurosim.synapses.lowering import Convolution, Dense, Pooling, Reshape, SparseRows


class ProjectionInC:
    """The loops of an edge, and its arrays.

    Parameters
    ----------
    number : int
        In the names of its arrays.
    projection : Projection
    neurons : int
        Of the target.
    arrays : Arrays
        Its constants are added there.
    """

    def __init__(self, number: int, projection: Projection, neurons: int, arrays: Arrays) -> None:
        self._number, self._projection, self._neurons, self._arrays = number, projection, neurons, arrays
        self._has_delays = bool(projection.delay.any())

    def lines(self, accumulator: Accumulator, sums: str, kind: str, wide: str, value: str) -> list[str]:
        """Return the lines that add the weights of the spike of neuron ``j``.

        Parameters
        ----------
        accumulator : Accumulator
        sums : str
            Array of the accumulator, one row of neurons for each step.
        kind, wide : str
            Type of its elements, and the type they are computed in.
        value : str
            Size of the spike; empty for 1.
        """
        self._sums, self._kind, self._wide, self._value = sums, kind, wide, value
        self._depth, self._multiplier = accumulator.depth, accumulator.multiplier(self._projection)
        body = self._weights(self._projection.weighted_shape)
        shapes = [self._projection.shape]
        for stage in self._projection.before:
            shapes.append(_after(stage, shapes[-1]))
        for number in reversed(range(len(self._projection.before))):
            stage = self._projection.before[number]
            if isinstance(stage, Pooling):
                body = _windows(stage, shapes[number], shapes[number + 1], f"p{number + 1}", _index(number), body)
            else:
                body = [f"const uint32_t p{number + 1} = {_index(number)};", *body]
        row = [] if self._has_delays else self._row(f"{self._projection.delay_steps}u")
        comment = self._projection.name.replace("*/", "* /")
        return [f"{{ /* {comment} */", *_indented([*row, *body]), "}"]

    def _row(self, delay: str) -> list[str]:
        """Return the lines that set `row` to the sums of the step `delay` steps from now."""
        if self._depth == 1:
            return [f"{self._kind} *const row = {self._sums};"]
        return [
            f"uint32_t at = {self._sums}_now + {delay};",
            f"{self._kind} *row;",
            f"if (at >= {self._depth}u) {{ at -= {self._depth}u; }}",
            f"row = {self._sums} + at * {self._neurons}u;",
        ]

    def _added(self, place: str, weight: str) -> str:
        """Return the statement that adds a weight to an element of a row."""
        factors = [f"({self._wide}){weight}"]
        if self._value:
            factors.append(f"({self._wide}){self._value}")
        if self._multiplier != 1:
            factors.append(str(self._multiplier))
        return f"row[{place}] = ({self._kind})(row[{place}] + {' * '.join(factors)});"

    def _weights(self, shape: tuple[int, ...]) -> list[str]:
        projection, index = self._projection, _index(len(self._projection.before))
        value = projection.connectivity
        if isinstance(value, Dense):
            return self._dense(index)
        if isinstance(value, SparseRows):
            return self._sparse(index, value)
        if isinstance(value, Convolution):
            return self._convolution(index, value, shape)
        if projection.weight.ndim == 0:
            return [self._added(index, str(int(projection.weight)))]
        self._constant("w", np.broadcast_to(projection.weight, shape))
        return [self._added(index, f"w{self._number}[{index}]")]

    def _constant(self, stem: str, values: np.ndarray) -> str:
        return self._arrays.constant(f"{stem}{self._number}", values)

    def _dense(self, index: str) -> list[str]:
        weight = self._projection.weight.T  # a row for each neuron before
        n = weight.shape[1]
        kind = self._constant("w", weight)
        lines = [f"const {kind} *const w = w{self._number} + {index} * {n}u;"]
        if not self._has_delays:
            return [*lines, f"for (uint32_t k = 0; k < {n}u; ++k) {{", f"    {self._added('k', 'w[k]')}", "}"]
        delays = self._delays(np.broadcast_to(self._projection.delay.T, weight.shape))
        return [
            *lines,
            f"const {delays} *const d = d{self._number} + {index} * {n}u;",
            f"for (uint32_t k = 0; k < {n}u; ++k) {{",
            "    if (w[k] != 0) {",
            *_indented(_indented([*self._row("d[k]"), self._added("k", "w[k]")])),
            "    }",
            "}",
        ]

    def _delays(self, steps: np.ndarray) -> str:
        return self._constant("d", steps + self._projection.delay_steps)

    def _sparse(self, index: str, value: SparseRows) -> list[str]:
        order = np.lexsort((value.post.numpy(), value.pre.numpy()))
        self._constant("w", self._projection.weight[order])
        self._constant("post", value.post.numpy()[order])
        first = np.concatenate(([0], np.cumsum(np.bincount(value.pre.numpy(), minlength=value.n_in))))
        self._constant("first", first)
        n = self._number
        body = [f"const uint32_t k = post{n}[n];", self._added("k", f"w{n}[n]")]
        if self._has_delays:
            self._delays(np.broadcast_to(self._projection.delay, value.post.shape)[order])
            body = [*self._row(f"d{n}[n]"), *body]
        return [
            f"const uint32_t end = first{n}[{index} + 1u];",
            f"for (uint32_t n = first{n}[{index}]; n < end; ++n) {{",
            *_indented(body),
            "}",
        ]

    def _convolution(self, index: str, value: Convolution, shape: tuple[int, ...]) -> list[str]:
        weight = self._projection.weight
        stride, padding, dilation = (tuple(each) for each in (value.stride, value.padding, value.dilation))
        if len(shape) == 2:  # one axis: an image of one row
            shape, weight = (shape[0], 1, shape[1]), weight[:, :, None]
            stride, padding, dilation = (1, *stride), (0, *padding), (1, *dilation)
        c_out, per_group, *kernel = weight.shape
        size = shape[1:]
        places = [
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True)
        ]
        outputs = c_out // value.groups
        # A row of weights for each channel before and each place of the kernel: those of its group's channels after.
        grouped = weight.reshape(value.groups, outputs, per_group, *kernel).transpose(0, 2, 3, 4, 1)
        kind = self._constant("w", np.ascontiguousarray(grouped))
        plane, n = places[0] * places[1], self._number
        group = f"c / {per_group}u * {outputs * plane}u + " if value.groups > 1 else ""
        body = [
            f"const {kind} *const w = w{n} + ((c * {kernel[0]}u + k0) * {kernel[1]}u + k1) * {outputs}u;",
            f"const uint32_t place = {group}o0 * {places[1]}u + o1;",
            f"for (uint32_t k = 0; k < {outputs}u; ++k) {{",
            f"    {self._added(f'place + k * {plane}u', 'w[k]')}",
            "}",
        ]
        for axis in (1, 0):
            body = [
                f"for (uint32_t k{axis} = 0; k{axis} < {kernel[axis]}u; ++k{axis}) {{",
                *_indented(_kernel_place(axis, stride[axis], padding[axis], dilation[axis], places[axis])),
                *_indented(body),
                "}",
            ]
        return [*_coordinates(index, shape), *body]


def _kernel_place(axis: int, stride: int, padding: int, dilation: int, places: int) -> list[str]:
    """Return the lines that compute the place after from that before and the place in the kernel, or leave it out."""
    reach, back = f"y{axis} + {padding}u", f"k{axis} * {dilation}u" if dilation > 1 else f"k{axis}"
    lines = [f"const uint32_t t{axis} = {reach} - {back};", f"const uint32_t o{axis} = t{axis} / {stride}u;"]
    outside = [f"{reach} < {back}", f"o{axis} >= {places}u", *([f"t{axis} % {stride}u != 0"] if stride > 1 else [])]
    return [*lines, f"if ({' || '.join(outside)}) {{ continue; }}"]


def _windows(
    pool: Pooling, shape: tuple[int, ...], after: tuple[int, ...], name: str, index: str, body: list[str]
) -> list[str]:
    """Return the loops over the windows that hold a place."""
    lines = [f"const uint32_t {name} = (c * {after[1]}u + o0) * {after[2]}u + o1;", *body]
    for axis in (1, 0):
        k, s = pool.kernel[axis], pool.stride[axis]
        start = f"y{axis} < {k}u ? 0u : (y{axis} - {k}u) / {s}u + 1u"
        within = f"o{axis} < {after[axis + 1]}u && o{axis} * {s}u <= y{axis}"
        lines = [
            f"for (uint32_t o{axis} = {start}; {within}; ++o{axis}) {{",
            *_indented(lines),
            "}",
        ]
    return ["{", *_indented([*_coordinates(index, shape), *lines]), "}"]


def _coordinates(index: str, shape: tuple[int, ...]) -> list[str]:
    _, height, width = shape
    return [
        f"const uint32_t c = {index} / {height * width}u;",
        f"const uint32_t y0 = {index} / {width}u % {height}u;",
        f"const uint32_t y1 = {index} % {width}u;",
    ]


def _index(stage: int) -> str:
    return f"p{stage}" if stage else "j"


def _after(stage: Reshape | Pooling, shape: tuple[int, ...]) -> tuple[int, ...]:
    if isinstance(stage, Reshape):
        return stage.shape
    places = ((n - k) // s + 1 for n, k, s in zip(shape[1:], stage.kernel, stage.stride, strict=True))
    return (shape[0], *places)


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]
