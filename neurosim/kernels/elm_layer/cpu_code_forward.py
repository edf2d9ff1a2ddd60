"""Machine code of a recurrent layer of ELM neurons over time, forward."""

from __future__ import annotations

from neurosim.compiler.llvm.ir import IRBuilder
from neurosim.compiler.llvm.tanh import tanh
from neurosim.kernels.elm_layer.sample_lanes import SampleLoop, Sizes

_GIVEN = (
    "sources", "routes", "synapse", "inward", "offset", "outward", "middle", "keep", "gain", "read", "shift", "mask",
)  # fmt: skip
_RESULTS = ("branches", "values", "slow", "hidden", "slope", "squashed", "activity")


def forward_code(sizes: Sizes) -> IRBuilder:
    """Return the forward kernel.

    Arguments: sources [T + 1, R, P] whose inputs and whose first step are given; routes [N, J, S] of i32; the weights;
    mask [N, P]; branches [T + 1, N, J, P] and memory [T + 1, N, d, P] of which the first step is given, one step where
    `kept` is 0; low-pass [N, P], changed; hidden units and slope [T, N, h, P] and tanh [T, N, d, P], one step where
    `kept` is 0; activity [T, N, P]; units, steps, neurons, inputs, width P, kept; decays, and the factor inside the
    tanh.
    """
    return _Forward(sizes).code


class _Forward(SampleLoop):
    def __init__(self, sizes: Sizes) -> None:
        numbers = ("steps", "neurons", "inputs", "width", "kept")
        super().__init__(sizes, (*_GIVEN, *_RESULTS), numbers, ("kappa_s", "kappa_r", "bend"))
        code = self.code
        self.neurons, self.inputs = self.numbers["neurons"], self.numbers["inputs"]
        self.all_sources = self.plus(self.inputs, self.neurons)
        self.fed = code.variable(count=sizes.branches)
        self.decayed, self.units = code.variable(count=sizes.memory), code.variable(count=sizes.hidden)
        with code.loop(self.first, self.last) as unit:
            self.lane = self.times(unit, str(sizes.lanes))
            with code.loop("0", self.numbers["steps"]) as t, code.loop("0", self.neurons) as n:
                self._neuron(t, n)

    def _neuron(self, t: str, n: str) -> None:
        sizes, kept = self.sizes, self.numbers["kept"]
        self.t, self.n = t, n
        before, after = self.times(t, kept), self.times(self.plus(t, "1"), kept)
        everyone = (self.neurons, n)
        j, d, h = str(sizes.branches), str(sizes.memory), str(sizes.hidden)
        self._branches(
            self.row("branches", ("0", before), everyone, (j, "0")),
            self.row("branches", ("0", after), everyone, (j, "0")),
        )
        self._decay(self.row("values", ("0", before), everyone, (d, "0")))
        self._hidden(
            self.row("hidden", ("0", before), everyone, (h, "0")),
            self.row("slope", ("0", before), everyone, (h, "0")) if sizes.smooth else "",
        )
        self._remember(
            self.row("values", ("0", after), everyone, (d, "0")),
            self.row("squashed", ("0", before), everyone, (d, "0")),
        )
        self._activate()

    def _of_neuron(self, name: str, count: int) -> str:
        return self.code.address(self.arrays[name], self.times(self.n, str(count)))

    def _branches(self, before: str, after: str) -> None:
        code, sizes = self.code, self.sizes
        weights = self._of_neuron("synapse", sizes.branches * sizes.synapses)
        first = self.times(self.n, str(sizes.branches * sizes.synapses))
        sources = self.row("sources", ("0", self.t), (self.all_sources, "0"))

        def add(s: str, numbers: list[str], totals: list[str]) -> None:
            for number, total in zip(numbers, totals, strict=True):
                place = self.plus(self.times(number, str(sizes.synapses)), s)
                route = code.load_index(self.arrays["routes"], self.plus(first, place))
                self.add_product(total, self.number(weights, place), self.vector(sources, route))

        def start(number: str) -> str:
            return code.fresh(f"fmul {code.lane} {self.reals['kappa_s']}, {self.vector(before, number)}")

        def done(number: str, total: str) -> None:
            self.put(total, after, number)
            self.hold(total, self.fed, number)

        self.sums(sizes.branches, start, [(sizes.synapses, add)], done)

    def _decay(self, before: str) -> None:
        code, keep = self.code, self._of_neuron("keep", self.sizes.memory)
        with code.loop("0", str(self.sizes.memory)) as m:
            decayed = code.fresh(f"fmul {code.lane} {self.number(keep, m)}, {self.vector(before, m)}")
            self.hold(decayed, self.decayed, m)

    def _hidden(self, hidden: str, slope: str) -> None:
        code, sizes = self.code, self.sizes
        wide = sizes.branches + sizes.memory
        weights, offset = self._of_neuron("inward", sizes.hidden * wide), self._of_neuron("offset", sizes.hidden)
        second = code.address(weights, str(sizes.branches))
        terms = [
            (sizes.branches, self.product(weights, (str(wide), "1"), lambda k: self.held(self.fed, k))),
            (sizes.memory, self.product(second, (str(wide), "1"), lambda k: self.held(self.decayed, k))),
        ]

        def done(number: str, total: str) -> None:
            if sizes.smooth:
                half = code.literal(0.5)
                raised = tanh(code, code.fresh(f"fmul {code.lane} {total}, {half}"))
                s = code.multiply_add(raised, half, half)
                value = code.fresh(f"fmul {code.lane} {total}, {s}")
                rest = code.fresh(f"fsub {code.lane} {code.literal(1.0)}, {s}")
                self.put(code.multiply_add(value, rest, s), slope, number)
            else:
                value = code.fresh(code.operation("max", [total, code.literal(0.0)]))
            self.put(value, hidden, number)
            self.hold(value, self.units, number)

        self.sums(sizes.hidden, lambda number: self.number(offset, number), terms, done)

    def _remember(self, after: str, squashed: str) -> None:
        code, sizes = self.code, self.sizes
        weights, middle = (
            self._of_neuron("outward", sizes.memory * sizes.hidden),
            self._of_neuron("middle", sizes.memory),
        )
        gain, read = self._of_neuron("gain", sizes.memory), self._of_neuron("read", sizes.memory)
        self.output = code.variable()
        code.store_variable(self.output, self.number(self.arrays["shift"], self.n))

        def done(number: str, total: str) -> None:
            change = tanh(code, code.fresh(f"fmul {code.lane} {self.reals['bend']}, {total}"))
            self.put(change, squashed, number)
            value = code.multiply_add(self.number(gain, number), change, self.held(self.decayed, number))
            self.put(value, after, number)
            self.add_product(self.output, self.number(read, number), value)

        product = self.product(weights, (str(sizes.hidden), "1"), lambda k: self.held(self.units, k))
        self.sums(sizes.memory, lambda number: self.number(middle, number), [(sizes.hidden, product)], done)

    def _activate(self) -> None:
        code = self.code
        slow, y = self.row("slow", ("0", self.n)), code.load_variable(self.output)
        kappa = self.reals["kappa_r"]
        rest = code.fresh(f"fsub {code.lane} {code.literal(1.0)}, {kappa}")
        share = code.fresh(f"fmul {code.lane} {rest}, {y}")
        low = code.multiply_add(kappa, code.load(slow, "0"), share)
        code.store(low, slow, "0")
        above = code.fresh(f"fsub {code.lane} {y}, {low}")
        activity = code.fresh(code.operation("max", [above, code.literal(0.0)]))
        code.store(activity, self.row("activity", ("0", self.t), (self.neurons, self.n)), "0")
        masked = code.fresh(f"fmul {code.lane} {activity}, {code.load(self.row('mask', ('0', self.n)), '0')}")
        place = (self.all_sources, self.plus(self.inputs, self.n))
        code.store(masked, self.row("sources", ("0", self.plus(self.t, "1")), place), "0")
