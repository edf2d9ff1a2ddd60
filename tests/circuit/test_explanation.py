"""What `Network.explain` says of the engine of circuits is what the engine does."""

from __future__ import annotations

import pytest
import torch

import neurosim as ns
from neurosim import cores
from neurosim.circuit import Bernoulli, Constant, FixedInDegree, Normal, OneToOne, Poisson, Uniform
from neurosim.circuit.engine import Engine
from neurosim.errors import InputError
from neurosim.network.neuron import Neuron
from neurosim.plasticity import PairSTDP, TsodyksMarkram
from neurosim.synapses import DelayedSparse, Identity, Scale, Sparse

DT = 1e-4


def circuit(n=400, drive=None, dtype=torch.float32):
    cell = {name: Neuron(cores.refractory_lif, dt=DT, size=n, t_ref=1e-3) for name in ("a", "b")}
    positive = Normal(2.0, 0.3, low=0.0, outside="redrawn")
    edges = [
        ns.Edge("noise", "a", drive or Scale(9.0)),
        ns.Edge("a", "a", ns.Drawn(Bernoulli(0.2), weight=1.0, delay=2e-3), name="bits"),
        ns.Edge("a", "b", ns.Drawn(FixedInDegree(8), weight=1.0), delay=5e-4, name="constant"),
        ns.Edge("b", "a", ns.Drawn(FixedInDegree(60), weight=1.0), delay=5e-4, name="dense"),
        ns.Edge("a", "b", ns.Drawn(FixedInDegree(30), weight=positive, delay=Uniform(1e-3, 3e-3)), name="packed"),
        ns.Edge("b", "b", ns.Drawn(FixedInDegree(9), weight=Normal(0.0, 1.0), delay=1e-3), name="wide"),
        ns.Edge(
            "b", "a", Sparse.drawn(n, n, FixedInDegree(5), weight=Constant(1.0), seed=1), delay=1e-3, name="sparse"
        ),
        ns.Edge(
            "a",
            "a",
            DelayedSparse.drawn(n, n, FixedInDegree(5), weight=Constant(1.0), seed=1, delay=Uniform(1e-3, 2e-3), dt=DT),
            name="delayed",
        ),
        ns.Edge("b", "b", Identity(), delay=7e-4, name="self"),
    ]
    return ns.Network({"noise": Poisson(900.0, n), **cell}, edges).to(dtype)


def sizes(engine):
    """Return the bytes of the rows of an engine."""
    tensors = {}
    for route in engine.wiring.routes:
        for each in (route.post, route.weight, *route.first, *route.last):
            if isinstance(each, torch.Tensor):
                storage = each.untyped_storage()
                tensors[storage.data_ptr()] = storage.nbytes()
    return sum(tensors.values())


def test_formats_sizes_and_delays_are_those_of_the_engine():
    net = circuit()
    found = net.explain().circuit
    assert found.applies and found.chosen and found.reason == ""
    formats = {edge.name: edge.format for edge in found.edges}
    assert formats == {
        "noise->a": "in the loop",
        "bits": "bits",
        "constant": "constant",
        "dense": "bits and repeats",
        "packed": "packed",
        "wide": "wide",
        "sparse": "real",
        "delayed": "real",
        "self": "one to one",
    }
    by_name = {edge.name: edge for edge in found.edges}
    assert by_name["packed"].synapses == 12_000 and by_name["packed"].delays == pytest.approx((1e-3, 3e-3))
    assert by_name["constant"].delays == pytest.approx((5e-4, 5e-4))
    engine = Engine(net, net.initial_state(batch=1, seed=0), ["a"])
    kinds = {route.kind for route in engine.wiring.routes}
    assert kinds == {"bits", "constant", "packed", "wide", "real"}
    assert found.nbytes == pytest.approx(sizes(engine), rel=0.04)
    assert found.window == engine.wiring.window == 5 and found.dt == DT


def test_nothing_is_drawn(monkeypatch):
    import neurosim.circuit.wiring as wiring

    monkeypatch.setattr(wiring, "row_tables", None)
    net = circuit()
    net.explain()
    assert not any(getattr(synapse, "_made", None) for edge in net.edges for synapse in edge.synapses)


def test_the_size_of_a_weight_shows_in_double_precision():
    single, double = (circuit(dtype=dtype).explain().circuit.edges for dtype in (torch.float32, torch.float64))
    by_name = {edge.name: edge.nbytes for edge in double}
    for edge in single:
        more = {"sparse": 4 * edge.synapses, "delayed": 4 * edge.synapses, "self": 4 * edge.synapses}
        assert by_name[edge.name] - edge.nbytes == more.get(edge.name, 0)


@pytest.mark.parametrize(
    ("drive", "found"),
    [(ns.Drawn(OneToOne(), weight=9.0), "in the loop"), (Scale(torch.full((400,), 9.0)), "outside the loop")],
)
def test_where_the_input_is_drawn(drive, found):
    assert circuit(drive=drive).explain().circuit.edges[0].format == found


def test_plastic_rules_are_named():
    rules = {"constant": PairSTDP(w_max=2.0), "packed": TsodyksMarkram(u=0.3)}
    found = circuit().explain(plasticity=rules)
    by_name = {edge.name: edge for edge in found.circuit.edges}
    assert by_name["constant"].rules.startswith("PairSTDP(") and by_name["packed"].rules.startswith("TsodyksMarkram(")
    assert by_name["constant"].format == "real" and by_name["wide"].rules == ""
    assert "TsodyksMarkram(" in str(found)
    with pytest.raises(InputError, match="plasticity: no edge 'x'"):
        circuit().explain(plasticity={"x": PairSTDP()})


def test_threads_and_parts():
    before = torch.get_num_threads()
    nodes = {"a": ns.LIF(dt=DT, size=16_000), "b": ns.LIF(dt=DT, size=8_000)}
    edges = [
        ns.Edge("a", ("a", "b"), ns.Drawn(FixedInDegree(2), weight=1.0), delay=1e-3),
        ns.Edge("b", "a", ns.Drawn(FixedInDegree(2), weight=1.0), delay=2e-3),
    ]
    net = ns.Network(nodes, edges)
    try:
        torch.set_num_threads(2)
        alone, batch = net.explain().circuit, net.explain(batch=3).circuit
        torch.set_num_threads(1)
        one = net.explain().circuit
    finally:
        torch.set_num_threads(before)
    assert [sum(part.values()) for part in alone.neurons] == pytest.approx([12_000, 12_000], abs=64)
    assert "2 threads if they are faster than one, with the neurons: a 1" in str(alone)
    assert len(batch.neurons) == 1 and "3 trials, shared out among up to 2 threads" in str(batch)
    assert len(one.neurons) == 1 and "\n1 thread\n" in str(one)


def test_why_the_engine_does_not_run_a_network():
    lif = ns.LIF(dt=DT)
    dense = ns.Network(
        {"x": ns.Input(3), "a": lif}, [ns.Edge("x", "a", ns.Linear(3, 3)), ns.Edge("a", "a", ns.Linear(3, 3))]
    )
    found = dense.explain()
    assert found.rows == () and not found.circuit.applies
    assert str(found) == (
        "simulate runs it layer by layer; not by the engine of circuits: edge 'a->a': Linear has no rows of synapses, "
        "or a hook"
    )
    plain = ns.Network({"x": ns.Input(3), "a": ns.LIF(dt=DT)}, [ns.Edge("x", "a", ns.Linear(3, 3))])
    circuit = plain.explain().circuit
    assert circuit.applies and not circuit.chosen
    assert 'simulate runs it layer by layer (no sparse synapses among the populations); engine="circuit"' in str(
        circuit
    )
    # A network that simulate runs layer by layer has the table alone.
    assert "simulate" not in str(plain.explain(torch.zeros(2, 1, 3)))


def test_what_is_recorded_decides_too():
    assert circuit().explain(record=["a.u"]).circuit.reason == "'a.u' is not a state variable of a population"


def test_a_circuit_that_is_run_has_both_tables():
    text = str(circuit().explain(steps=3))
    assert text.startswith("populations  strategy") and "\n\nsimulate runs it by the engine of circuits, " in text
