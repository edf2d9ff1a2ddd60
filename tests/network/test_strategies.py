"""Which strategy runs a component, the reasons against the others, and strategies that a user adds."""

from __future__ import annotations

import pytest
import torch

import neurosim as ns
from neurosim.errors import InputError, NetworkError
from neurosim.kernels.common.layer_output import LayerOutput
from neurosim.network.component import components
from neurosim.network.context import RunContext
from neurosim.network.preference import STRATEGIES
from neurosim.network.strategies import Stepwise, Strategy
from neurosim.synapses import RoundedDelays
from neurosim.synapses.shift import Shift
from neurosim.synapses.traced import Traces

DT = 1e-3


def lif(**choices):
    return ns.LIF(dt=DT, **choices)


def chain(*synapses, neuron=None):
    return ns.Network(
        {"input": ns.Input(6), "out": neuron or lif()}, [ns.Edge("input", "out", synapses or ns.Linear(6, 4))]
    )


def loop(*edges):
    synapses = edges or [ns.Edge("out", "out", ns.Linear(4, 4))]
    nodes = {"input": ns.Input(6), "out": lif()}
    return ns.Network(nodes, [ns.Edge("input", "out", ns.Linear(6, 4)), *synapses])


class Asked:
    """Strategies that do what those of the library do, and say which were chosen and why others were not."""

    def __init__(self, net):
        self.chosen: list[tuple[tuple[str, ...], str]] = []
        self.reasons: dict[str, str | None] = {}
        net.strategies = [self._asked(strategy) for strategy in STRATEGIES]

    def _asked(self, strategy):
        asked = self

        class One(Strategy):
            name = strategy.name

            def concerns(self, context, component):
                return strategy.concerns(context, component)

            def obstacle(self, context, component):
                asked.reasons[self.name] = strategy.obstacle(context, component)
                return asked.reasons[self.name]

            def run(self, context, component):
                asked.chosen.append((component.nodes, self.name))
                strategy.run(context, component)

        return One()


class Doubled(ns.Linear):
    def forward(self, x):  # type: ignore[override]
        return 2.0 * super().forward(x)


CHOICES = {
    "one linear synapse": (chain, {}, "fused linear", None),
    "behind others": (lambda: chain(ns.Flatten(), ns.Linear(6, 4)), {}, "fused linear", None),
    "a left shift": (lambda: chain(ns.Linear(6, 4), Shift(2)), {}, "fused linear", None),
    "a right shift": (
        lambda: chain(ns.Linear(6, 4), Shift(-2)),
        {},
        "layer by layer",
        "its last synapse is not Linear",
    ),
    "sparse": (lambda: chain(ns.Sparse.random(6, 4, 0.9)), {}, "layer by layer", "its last synapse is not Linear"),
    "a subclass": (lambda: chain(Doubled(6, 4)), {}, "layer by layer", "a subclass or a hook changes its product"),
    "traces": (chain, dict(through_time=False, traces=Traces()), "layer by layer", None),
    "recompute": (chain, dict(recompute=True), "fused linear", None),
    "recompute behind others": (
        lambda: chain(ns.Linear(6, 5), ns.Linear(5, 4)),
        dict(recompute=True),
        "recomputed",
        "recompute=True keeps less without the synapses before Linear",
    ),
    "a loop": (loop, {}, "fused loop", None),
    "a loop with recompute": (loop, dict(recompute=True), "recomputed loop", None),
    "a late loop": (
        lambda: loop(ns.Edge("out", "out", ns.Linear(4, 4), delay=3 * DT)),
        {},
        "stepwise",
        "the delay of the loop is not one step",
    ),
    "two loops": (
        lambda: loop(*(ns.Edge("out", "out", ns.Linear(4, 4), name=name) for name in "ab")),
        {},
        "stepwise",
        "the cycle has several edges",
    ),
    "a sparse loop": (
        lambda: loop(ns.Edge("out", "out", ns.Sparse.random(4, 4, 0.9))),
        {},
        "stepwise",
        "the synapse of the loop is not a plain Linear or BlockLinear",
    ),
    "a loop of two synapses": (
        lambda: loop(ns.Edge("out", "out", (ns.Linear(4, 4), ns.Linear(4, 4)))),
        {},
        "stepwise",
        "the loop has several synapses",
    ),
    "a loop with traces": (loop, dict(through_time=False, traces=Traces()), "stepwise", None),
}


@pytest.mark.parametrize("name", CHOICES)
def test_the_first_strategy_that_applies_runs_it(name):
    make, how, chosen, reason = CHOICES[name]
    net = make()
    asked = Asked(net)
    net(torch.rand(9, 2, 6), **how)
    assert asked.chosen == [(("out",), chosen)]
    assert reason is None or reason in asked.reasons.values()
    assert asked.reasons[chosen] is None


def test_reasons_that_a_run_brings():
    net = chain()
    asked = Asked(net)
    net(torch.rand(0, 2, 6))
    assert asked.reasons["fused linear"] == "the run has no steps"
    handle = net.edges[0].synapses[0].register_forward_hook(lambda *_: None)
    net(torch.rand(3, 2, 6))
    assert asked.reasons["fused linear"] == "a subclass or a hook changes its product"
    handle.remove()
    net.bfloat16()(torch.rand(3, 2, 6).bfloat16())
    assert asked.reasons["fused linear"] == (
        "no kernel takes its input on this device, in this precision or under autocast"
    )


@pytest.mark.parametrize(
    ("make", "record", "reason"),
    [
        (lambda: chain(ns.Linear(6, 5), ns.Linear(5, 4)), ["out.v"], "its variables are recorded"),
        (
            lambda: chain(RoundedDelays(torch.rand(4, 6), torch.randint(1, 5, (4, 6)), dt=DT)),
            [],
            "its synapses have their own delays",
        ),
        (loop, ["out.v"], "its variables are recorded"),
    ],
)
def test_reasons_against_recomputing(make, record, reason):
    net = make()
    asked = Asked(net)
    net.run(torch.rand(9, 2, 6), None, record, recompute=True)
    assert reason in (asked.reasons.get("recomputed"), asked.reasons.get("recomputed loop"))


def test_a_loop_that_nothing_drives_from_outside_is_not_recomputed():
    net = ns.Network(
        {"input": ns.Input(6), "alone": lif(size=4), "out": lif()},
        [ns.Edge("alone", "alone", ns.Linear(4, 4)), ns.Edge("input", "out", ns.Linear(6, 4))],
    )
    asked = Asked(net)
    net(torch.rand(9, 2, 6), recompute=True)
    assert (("alone",), "fused loop") in asked.chosen
    assert asked.reasons["recomputed loop"] == "no edge from outside drives it"


def test_without_gradients_nothing_is_computed_again():
    net = loop()
    asked = Asked(net)
    with torch.no_grad():
        net(torch.rand(9, 2, 6), recompute=True)
    assert asked.chosen == [(("out",), "fused loop")]


class Reference(Strategy):
    """A user's own strategy: the reference of each population that is on no cycle."""

    name = "reference"

    def __init__(self):
        self.ran = []

    def concerns(self, context, component):
        return not component.is_cycle

    def run(self, context, component):
        (name,) = component.nodes
        self.ran.append(name)
        current = context.outer_currents(component, name)["i"]
        context.store(name, context.nodes[name].run_reference(current, context.states[name]))


def test_a_strategy_of_ones_own_goes_first():
    net, x = chain(), 30.0 * torch.rand(9, 2, 6)
    expected, after = net(x)
    own = Reference()
    net.strategies = (own, *STRATEGIES)
    z, state = net(x)
    assert own.ran == ["out"] and z.any()
    assert torch.equal(z, expected) and torch.equal(state.nodes["out"].v, after.nodes["out"].v)


class OneCall(Strategy):
    """A user's own strategy that runs all components when it is offered the first."""

    name = "one call"

    def concerns(self, context, component):
        return True

    def run(self, context, component):
        for name, node in context.nodes.items():
            if name not in context.finished:
                state = node.initial_state(torch.ones(1, 2, 4))
                context.store(name, LayerOutput(torch.full((context.steps, 2, 4), 7.0), state, {}))
                context.finished.add(name)


def test_a_strategy_may_run_the_whole_network():
    net = ns.Sequential(ns.Linear(6, 4), lif(), ns.Linear(4, 4), lif(), ns.Linear(4, 4), lif())
    ran = []

    class Once(OneCall):
        def run(self, context, component):
            ran.append(component.nodes)
            super().run(context, component)

    net.strategies = [Once()]
    z, _ = net(torch.rand(9, 2, 6))
    assert z.shape == (9, 2, 4) and (z == 7.0).all()
    assert ran == [("lif1",)]


@pytest.mark.parametrize(("make", "strategy"), [(loop, Reference()), (chain, Stepwise())])
def test_a_component_that_no_strategy_runs_is_named(make, strategy):
    net = make()
    net.strategies = [strategy]
    with pytest.raises(NetworkError, match=rf"no strategy runs out; net.strategies has \[{strategy}\]. Append"):
        net(torch.rand(9, 2, 6))


def test_a_variable_that_a_strategy_did_not_record_is_named():
    net = chain()
    net.strategies = [Reference()]
    with pytest.raises(InputError, match=r"the strategy that ran 'out' did not record 'out.v'"):
        net.run(torch.rand(9, 2, 6), record=["out.v"])


def test_components_know_their_edges_and_when_outputs_are_read_last():
    net = ns.Network(
        {"input": ns.Input(6), "a": lif(), "b": lif(), "out": lif()},
        [
            ns.Edge("input", "a", ns.Linear(6, 4)),
            ns.Edge("a", "b", ns.Linear(4, 4)),
            ns.Edge("b", "a", ns.Linear(4, 4), delay=DT),
            ns.Edge("a", "out", ns.Linear(4, 4)),
            ns.Edge("input", "out", ns.Linear(6, 4)),
        ],
    )
    data, cycle, last = net.components
    assert [part.nodes for part in net.components] == [("input",), ("a", "b"), ("out",)]
    assert [edge.name for edge in cycle.outer] == ["input->a"] and len(cycle.inner) == 2
    assert [edge.name for edge in last.outer] == ["a->out", "input->out"] and not last.inner
    assert [part.last_read for part in (data, cycle, last)] == [(), ("b",), ("input", "a", "out")]
    assert components([("input",)], [])[0].last_read == ("input",)


def test_a_copied_network_has_components_of_its_own_edges():
    import copy

    net = copy.deepcopy(loop())
    assert net.components[1].inner[0] is net.edges[1]
    assert net.edges[1].synapses[0] is net.synapses["out->out"][0]


def test_a_context_gives_no_bits_of_delayed_spikes():
    seen = []

    class Look(Strategy):
        name = "look"

        def concerns(self, context: RunContext, component):
            seen.extend((edge.name, context.bits_and_mask(edge)[0] is not None) for edge in component.outer)
            return False

        def run(self, context, component): ...

    edges = [ns.Edge("input", "a", ns.Linear(6, 4)), ns.Edge("a", "b", ns.Linear(4, 4), delay=DT)]
    net = ns.Network(
        {"input": ns.Input(6), "a": lif(), "b": lif()}, [*edges, ns.Edge("a", "b", ns.Linear(4, 4), name="now")]
    )
    net.strategies = (Look(), *STRATEGIES)
    net(torch.rand(9, 2, 6))
    assert seen == [("input->a", False), ("a->b", False), ("now", True)]
