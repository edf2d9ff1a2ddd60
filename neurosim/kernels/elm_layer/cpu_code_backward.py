"""Machine code of the gradients of a recurrent layer of ELM neurons over time, but for those of weights."""

from __future__ import annotations

from neurosim.compiler.llvm.ir import IRBuilder
from neurosim.kernels.elm_layer.sample_lanes import SampleLoop, Sizes

_GIVEN = (
    "g_activity", "activity", "routes", "synapse", "values", "hidden", "slope", "squashed", "inward", "outward",
    "keep", "gain", "read", "mask",
)  # fmt: skip
_RESULTS = ("g_sources", "g_branches", "g_hidden", "g_squashed", "g_output", "g_branch", "g_memory", "g_slow")
_SHARES = ("share_keep", "share_gain")


def backward_code(sizes: Sizes) -> IRBuilder:
    """Return the backward kernel.

    Arguments: gradients of the activity [T, N, P]; activity [T, N, P]; routes and weights; memory [T + 1, N, d, P],
    hidden units and slope [T, N, h, P], tanh [T, N, d, P]; mask [N, P]; then the results: gradients of the sources
    [T + 1, R, P], zero before, of the branches [T, N, J, P], of the hidden units' sums [T, N, h, P], of the tanh's
    argument [T, N, d, P], of the output [T, N, P]; of branches [N, J, P], memory [N, d, P] and low-pass [N, P], those
    of the last step before and of the first after; shares in those of keep and gain [N, d, P], zero before; units,
    steps, neurons, inputs, width P; decays, and the factor inside the tanh.
    """
    return _Backward(sizes).code


class _Backward(SampleLoop):
    def __init__(self, sizes: Sizes) -> None:
        numbers = ("steps", "neurons", "inputs", "width")
        super().__init__(sizes, (*_GIVEN, *_RESULTS, *_SHARES), numbers, ("kappa_s", "kappa_r", "bend"))
        code = self.code
        self.neurons, self.inputs = self.numbers["neurons"], self.numbers["inputs"]
        self.all_sources = self.plus(self.inputs, self.neurons)
        self.written, self.units = code.variable(count=sizes.memory), code.variable(count=sizes.hidden)
        self.zero, self.one = code.literal(0.0), code.literal(1.0)
        with code.loop(self.first, self.last) as unit:
            self.lane = self.times(unit, str(sizes.lanes))
            with code.loop_backwards("0", self.numbers["steps"]) as t, code.loop("0", self.neurons) as n:
                self._neuron(t, n)

    def _neuron(self, t: str, n: str) -> None:
        sizes = self.sizes
        self.t, self.n = t, n
        self.now = (("0", t), (self.neurons, n))
        j, d, h = str(sizes.branches), str(sizes.memory), str(sizes.hidden)
        self.memory = self.row("g_memory", ("0", n), (d, "0"))
        g_output = self._through_output()
        self._through_tanh(g_output, self.row("squashed", *self.now, (d, "0")))
        self._through_activation(self.row("hidden", *self.now, (h, "0")))
        self._through_decay(self.row("values", *self.now, (d, "0")))
        self._through_branches(self.row("g_branch", ("0", n), (j, "0")))

    def _of_neuron(self, name: str, count: int) -> str:
        return self.code.address(self.arrays[name], self.times(self.n, str(count)))

    def _through_output(self) -> str:
        """Return the gradient of the output, from those of the activity and of the recurrent input of the next step."""
        code, kappa = self.code, self.reals["kappa_r"]
        source = (self.all_sources, self.plus(self.inputs, self.n))
        later = code.load(self.row("g_sources", ("0", self.plus(self.t, "1")), source), "0")
        mask = code.load(self.row("mask", ("0", self.n)), "0")
        g = code.multiply_add(mask, later, code.load(self.row("g_activity", *self.now), "0"))
        on = code.fresh(code.compare("gt", code.load(self.row("activity", *self.now), "0"), self.zero))
        g = code.fresh(code.choice(on, g, self.zero))
        slow = self.row("g_slow", ("0", self.n))
        low = code.fresh(f"fsub {code.lane} {code.load(slow, '0')}, {g}")
        rest = code.fresh(f"fsub {code.lane} {self.one}, {kappa}")
        g_output = code.multiply_add(rest, low, g)
        code.store(code.fresh(f"fmul {code.lane} {kappa}, {low}"), slow, "0")
        code.store(g_output, self.row("g_output", *self.now), "0")
        return g_output

    def _through_tanh(self, g_output: str, squashed: str) -> None:
        code, d = self.code, self.sizes.memory
        read, gain = self._of_neuron("read", d), self._of_neuron("gain", d)
        target = self.row("g_squashed", *self.now, (str(d), "0"))
        share = self.row("share_gain", ("0", self.n), (str(d), "0"))
        with code.loop("0", str(d)) as m:
            g = code.multiply_add(self.number(read, m), g_output, self.vector(self.memory, m))
            self.put(g, self.memory, m)
            change = self.vector(squashed, m)
            self.put(code.multiply_add(g, change, self.vector(share, m)), share, m)
            square = code.fresh(f"fmul {code.lane} {change}, {change}")
            flat = code.fresh(f"fsub {code.lane} {self.one}, {square}")
            bent = code.fresh(f"fmul {code.lane} {self.reals['bend']}, {self.number(gain, m)}")
            scaled = code.fresh(f"fmul {code.lane} {g}, {bent}")
            inner = code.fresh(f"fmul {code.lane} {scaled}, {flat}")
            self.put(inner, target, m)
            self.hold(inner, self.written, m)

    def _through_activation(self, hidden: str) -> None:
        code, sizes = self.code, self.sizes
        weights = self._of_neuron("outward", sizes.memory * sizes.hidden)
        h = (str(sizes.hidden), "0")
        slope = self.row("slope", *self.now, h) if sizes.smooth else ""
        target = self.row("g_hidden", *self.now, h)

        def done(number: str, total: str) -> None:
            if sizes.smooth:
                g = code.fresh(f"fmul {code.lane} {total}, {self.vector(slope, number)}")
            else:
                on = code.fresh(code.compare("gt", self.vector(hidden, number), self.zero))
                g = code.fresh(code.choice(on, total, self.zero))
            self.put(g, target, number)
            self.hold(g, self.units, number)

        product = self.product(weights, ("1", str(sizes.hidden)), lambda k: self.held(self.written, k))
        self.sums(sizes.hidden, lambda _: self.zero, [(sizes.memory, product)], done)

    def _through_decay(self, before: str) -> None:
        code, sizes = self.code, self.sizes
        wide = sizes.branches + sizes.memory
        weights = code.address(self._of_neuron("inward", sizes.hidden * wide), str(sizes.branches))
        keep = self._of_neuron("keep", sizes.memory)
        share = self.row("share_keep", ("0", self.n), (str(sizes.memory), "0"))

        def done(number: str, total: str) -> None:
            self.put(code.multiply_add(total, self.vector(before, number), self.vector(share, number)), share, number)
            self.put(code.fresh(f"fmul {code.lane} {self.number(keep, number)}, {total}"), self.memory, number)

        product = self.product(weights, ("1", str(wide)), lambda k: self.held(self.units, k))
        self.sums(sizes.memory, lambda m: self.vector(self.memory, m), [(sizes.hidden, product)], done)

    def _through_branches(self, branch: str) -> None:
        code, sizes = self.code, self.sizes
        wide = sizes.branches + sizes.memory
        weights = self._of_neuron("inward", sizes.hidden * wide)
        synapse = self._of_neuron("synapse", sizes.branches * sizes.synapses)
        first = self.times(self.n, str(sizes.branches * sizes.synapses))
        target = self.row("g_branches", *self.now, (str(sizes.branches), "0"))
        sources = self.row("g_sources", ("0", self.t), (self.all_sources, "0"))

        def done(number: str, total: str) -> None:
            self.put(total, target, number)
            self.put(code.fresh(f"fmul {code.lane} {self.reals['kappa_s']}, {total}"), branch, number)
            with code.loop("0", str(sizes.synapses)) as s:
                place = self.plus(self.times(number, str(sizes.synapses)), s)
                route = code.load_index(self.arrays["routes"], self.plus(first, place))
                value = code.multiply_add(self.number(synapse, place), total, self.vector(sources, route))
                self.put(value, sources, route)

        product = self.product(weights, ("1", str(wide)), lambda k: self.held(self.units, k))
        self.sums(sizes.branches, lambda number: self.vector(branch, number), [(sizes.hidden, product)], done)
