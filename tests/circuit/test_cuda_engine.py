"""The engine of circuits on CUDA gives the bits of that on the CPU; without a GPU it runs in Triton's interpreter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("triton")

import neurosim as ns
from neurosim import cores
from neurosim.circuit import Current, Poisson, SpikeTrain
from neurosim.circuit.cuda_engine import CudaEngine
from neurosim.circuit.engine import Engine, obstacle
from neurosim.circuit.explanation import CircuitExplanation
from neurosim.circuit.rules import Rules
from neurosim.errors import InputError
from neurosim.kernels.circuit import cuda
from neurosim.kernels.common import availability
from neurosim.network.neuron import Neuron
from neurosim.recording.trace import Trace
from neurosim.synapses import Identity, Scale, Sparse
from neurosim.synapses.connectivity import Bernoulli, FixedInDegree, FixedTotal, OneToOne
from neurosim.synapses.distributions import Normal, Uniform
from tests.interpreter import strict

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
DT = 1e-4
NE, NI = 131, 30  # one of two programs and one of a part


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """As few programs and as little memory as there can be: the interpreter takes milliseconds for each program."""
    if DEVICE.type == "cpu":
        monkeypatch.setattr(cuda, "PROGRAMS", 1)
        monkeypatch.setattr(cuda, "ROOM", 1 << 10)


def network(weights="constant", core=cores.refractory_lif, unit=1.0, ports=("", ""), **values):
    """A network whose tables of rows are of one kind; `unit` scales all weights."""
    exc, inh, rule, delay = {
        "bits": (0.3, -0.6, Bernoulli(0.3), 2 * DT),
        "repeats": (0.3, -0.6, FixedInDegree(20), 3 * DT),
        "constant": (0.6, -1.2, FixedInDegree(1), 3 * DT),
        "packed": (
            Normal(0.3, 0.1, low=0.0, outside="redrawn"),
            Normal(-0.6, 0.1, high=0.0, outside="redrawn"),
            FixedInDegree(12),
            Uniform(2 * DT, 4 * DT),
        ),
        "wide": (Normal(0.3, 1.0), Normal(-0.6, 1.0), FixedTotal(300), Uniform(DT, 3 * DT)),
    }[weights]
    if core is cores.refractory_lif:
        values = dict(t_ref=10 * DT, r=40.0, init=dict(v=Uniform(0.3, 1.0))) | values

    def scaled(weight):
        if not isinstance(weight, Normal):
            return weight * unit
        low, high = (None if end is None else end * unit for end in (weight.low, weight.high))
        return Normal(weight.mean * unit, weight.std * unit, low=low, high=high, outside=weight.outside)

    ends = {name: Neuron(core, dt=DT, size=n, **values) for name, n in (("E", NE), ("I", NI))}
    return ns.Network(
        {"noise": Poisson(6000.0, NE), "other": Poisson(9000.0, NI), **ends},
        [
            ns.Edge("noise", "E", ns.Drawn(OneToOne(), weight=0.15 * unit), port=ports[0]),
            ns.Edge("other", "I", ns.Drawn(OneToOne(), weight=0.15 * unit), port=ports[0]),
            *(
                ns.Edge(source, target, ns.Drawn(rule, weight=scaled(weight), delay=delay), port=port)
                for source, weight, port in (("E", exc, ports[0]), ("I", inh, ports[1]))
                for target in ("E", "I")
            ),
        ],
    )


def both(net, record, steps, *, samples=1, seed=5, start=None, inputs=None, state=None):
    """Run a network by the engines of the CPU and of CUDA, in calls of `steps`, and compare all that they return."""
    with torch.no_grad():
        if state is None:
            data = None if inputs is None else {name: x[:0] for name, x in inputs.items()}
            state = net.initial_state(data, batch=samples, seed=seed)
        on_device = net.to(DEVICE) if DEVICE.type == "cuda" else net
        engines = Engine(net, state, record), CudaEngine(on_device, state.to(DEVICE), record)
        done, found = 0, []
        for number in steps:
            part = None if inputs is None else {name: x[done : done + number] for name, x in inputs.items()}
            found.append([engine.advance(number, part) for engine in engines])
            done += number
            for name in found[-1][0]:
                cpu, gpu = (each[name] for each in found[-1])
                assert type(cpu) is type(gpu)
                if isinstance(cpu, torch.Tensor):
                    assert torch.equal(cpu, gpu.cpu()), name
                else:
                    columns = [(getattr(cpu, c), getattr(gpu, c)) for c in ("step", "batch", "neuron")]
                    assert all(np.array_equal(*pair) for pair in columns), name
        cpu, gpu = (engine.state() for engine in engines)
    for kind in ("nodes", "in_flight"):
        wanted, own = getattr(cpu, kind), getattr(gpu, kind)
        assert set(wanted) == set(own)
        for name, values in wanted.items():
            pairs = [(values, own[name])] if isinstance(values, torch.Tensor) else zip(values, own[name], strict=True)
            assert all(torch.equal(a, b.cpu()) for a, b in pairs), name
    return found, engines[1]


@pytest.mark.parametrize("weights", ["bits", "repeats", "constant", "packed", "wide"])
def test_all_formats_of_rows(weights):
    found, engine = both(network(weights), ["E", "I"], (11, 4))
    assert sum(len(each[0]["E"]) for each in found) > 8
    assert sum(len(each[0]["I"]) for each in found) > 2
    kinds = {rows.kind for rows in engine._rows}
    assert kinds == {"bits": {"bits"}, "repeats": {"bits", "narrow"}, "constant": {"narrow"}}.get(weights, {weights})
    assert engine.circuit.window == {"bits": 2, "packed": 2, "wide": 1}.get(weights, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_exponential_currents_in_physical_units(dtype):
    start = dict(v=Uniform(-60e-3, -54e-3))
    net = network("packed", cores.lif_exp, 800e-12, ("i_exc", "i_inh"), init=start).to(dtype)
    found, _ = both(net, ["E", "E.v", "E.j_inh"], (12,))
    assert len(found[0][0]["E"]) > 10


def test_conductances_whose_exponential_is_one_for_all_devices():
    net = network("repeats", cores.lif_cond, 20e-9, ("ge", "ge"), init=dict(v=Uniform(-58e-3, -49e-3)))
    found, _ = both(net, ["E", "E.v"], (12,))
    assert len(found[0][0]["E"]) > 10


def test_trials_with_their_own_parameters_and_seeds():
    tau = torch.tensor([[10e-3], [20e-3], [40e-3]])
    net = network("packed", tau_mem=tau, v_th=torch.linspace(0.9, 1.1, NE)[:NI].mean().item())
    found, _ = both(net, ["I", "E", "E.v"], (8,), samples=3)
    assert set(found[0][0]["E"].batch.tolist()) == {0, 1, 2}


def test_a_run_continues_from_a_state_and_in_any_chunks():
    net = network("packed")
    first, _ = both(net, ["E"], (4, 1, 5))
    with torch.no_grad():
        engine = Engine(net, net.initial_state(batch=1, seed=5), ["E"])
        before = engine.advance(3)["E"]
        rest, _ = both(net, ["E"], (7,), state=engine.state())
    steps = np.concatenate([before.step, 3 + rest[0][1]["E"].step])
    assert np.array_equal(steps, np.concatenate([at + e[1]["E"].step for at, e in zip((0, 4, 5), first, strict=True)]))


def test_a_state_of_any_layout_and_a_call_of_no_steps():
    net = network()
    state = net.initial_state(batch=2, seed=5)
    turned = {
        name: type(each)(*(v.t().contiguous().t() for v in each)) for name, each in state.nodes.items() if name in "EI"
    }
    assert not turned["E"].v.is_contiguous()
    found, _ = both(net, ["E", "E.v", "noise"], (0, 3, 0), state=state._replace(nodes={**state.nodes, **turned}))
    assert [len(each[1]["E.v"]) for each in found] == [0, 3, 0]


def outside():
    """A network with all that comes from outside, and a population that gets spikes without delay."""
    torch.manual_seed(1)
    train = ns.Events(step=[0, 0, 3, 3, 3, 9], neuron=[1, 2, 1, 1, 4, 0], T=11, dt=DT, shape=5)
    return ns.Network(
        {
            "x": ns.Input(12),
            "drive": Current(lambda t: 1.0 + np.sin(4000 * t), 1),
            "noise": Poisson([0.0, 2000.0, 500.0], NI, times=[0.0, 2 * DT, 9 * DT]),
            "rare": Poisson(4000.0, 6),
            "given": SpikeTrain(train),
            "E": Neuron(cores.cubalif, dt=DT, size=NI, r=20.0, tau_mem=torch.linspace(2e-3, 9e-3, NI)),
            "I": ns.LIF(dt=DT, size=NI, r=30.0),
        },
        [
            ns.Edge("x", "E", ns.Linear(12, NI), delay=2 * DT),
            ns.Edge("drive", "E", ns.Linear(1, NI)),
            ns.Edge("noise", "E", Scale(0.7)),
            ns.Edge("noise", "I", Identity()),
            ns.Edge("rare", "E", ns.Drawn(Bernoulli(0.5), weight=1.5, delay=Uniform(0.0, 3 * DT))),
            ns.Edge("given", "I", ns.Drawn(Bernoulli(0.5), weight=3.0), delay=4 * DT),
            ns.Edge("E", "I", ns.Drawn(Bernoulli(0.3), weight=2.0)),
            ns.Edge("I", "E", ns.Drawn(Bernoulli(0.3), weight=-1.0, delay=DT)),
        ],
    )


def test_sources_inputs_and_edges_without_delay():
    net, x = outside(), (torch.rand(11, 2, 12) < 0.4).float()
    found, engine = both(net, ["E", "I", "I.v", "noise", "given"], (6, 1, 4), samples=2, inputs={"x": x})
    assert engine.circuit.window == 1
    assert {term.kind for port in engine._neurons("E").inputs for term in port} == {"integer", "dense", "drive"}
    assert sum(len(each[0]["E"]) for each in found) > 5
    assert sum(len(each[0]["I"]) for each in found) > 5
    at = engine.state()
    both(net, ["E", "I"], (3,), samples=2, inputs={"x": x[:3]}, state=at.to("cpu"))


def test_traces_of_some_neurons_at_some_times():
    net = network()
    trace = Trace("E.v", neurons=[130, 3, 130], every=4 * DT, start=2 * DT, stop=16 * DT)
    record = {"E": None, "E.v": trace.sampling(NE, 20, DT), "I.wait": None}
    found, _ = both(net, record, (7, 1, 12))
    assert [len(each[0]["E.v"]) for each in found] == [2, 0, 2]
    assert found[0][0]["E.v"].any()


def test_a_run_pauses_when_its_spikes_have_no_room(monkeypatch):
    monkeypatch.setattr(cuda, "ROOM", 1)
    net = ns.Network(
        {"drive": Current(1e4, NE), "E": ns.LIF(dt=DT, size=NE)},
        [
            ns.Edge("drive", "E", Identity()),
            ns.Edge("E", "E", ns.Drawn(FixedInDegree(2), weight=0.5, delay=2 * DT)),
        ],
    )
    pauses = []
    run = cuda.Circuit._windows
    monkeypatch.setattr(cuda.Circuit, "_windows", lambda self, number: (pauses.append(number), run(self, number))[1])
    found, engine = both(net, ["E"], (9,))
    assert len(found[0][1]["E"]) == 9 * NE
    assert engine.circuit.window == 3
    assert pauses == [3, 1]


@pytest.mark.skipif(DEVICE.type == "cuda", reason="a device has an order of its own")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of lanes outside of a mask
def test_the_order_of_programs_and_launches_does_not_matter(monkeypatch):
    monkeypatch.setattr(cuda, "PROGRAMS", 64)
    monkeypatch.setattr(cuda, "SPIKES_A_SHARE", 8)
    run = cuda._run
    monkeypatch.setattr(cuda, "_run", lambda stages: run([stage[::-1] for stage in stages]))
    with strict(monkeypatch) as launches:  # no order, lanes outside of a mask and new memory poisoned, no races
        found, engine = both(network("packed"), ["E", "I", "E.v"], (8,), samples=2)
    assert len(found[0][0]["E"]) > 8
    assert [len(stage) for stage in engine.circuit._stages] == [2, 2, 1]
    assert max(len(launch.order) for launch in launches) > 8


@pytest.mark.skipif(DEVICE.type == "cuda", reason="a device has an order of its own")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_there_are_no_races_of_bits_and_of_edges_without_delay(monkeypatch):
    with strict(monkeypatch):
        both(network("repeats"), ["E", "I"], (4,))
        both(outside(), ["E", "I"], (3,), inputs={"x": torch.ones(3, 1, 12)})


def test_launches_of_a_stage_are_branches_of_the_graph():
    order: list[Any] = []

    class Stream:
        def __init__(self, name):
            self.name = name

        def wait_stream(self, other):
            order.append((self.name, "waits for", other.name))

        def __enter__(self):
            order.append(("on", self.name))

        def __exit__(self, *_):
            pass

    main, branches = Stream("main"), [Stream("a"), Stream("b"), Stream("c")]
    cuda._fork([lambda: order.append("alone")], main, branches)
    assert order == ["alone"]
    order.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "stream", lambda stream: stream)
        cuda._fork([lambda k=k: order.append(k) for k in range(3)], main, branches[:2])
    assert order == [
        *(("a", "waits for", "main"), ("b", "waits for", "main")),
        *(("on", "a"), 0, ("on", "b"), 1, ("on", "a"), 2),
        *(("main", "waits for", "a"), ("main", "waits for", "b")),
    ]


def test_a_graph_of_several_windows_stops_where_the_run_does(monkeypatch):
    captures = []

    def captured(stages, device):
        captures.append(device)
        return lambda: [cuda._run(stages) for _ in range(cuda.WINDOWS)]

    monkeypatch.setattr(cuda, "_captured", captured)
    monkeypatch.setattr(cuda, "WINDOWS", 3)
    launch = CudaEngine._launch

    def as_on_a_gpu(self):
        launch(self)
        self.circuit.device = torch.device("cuda", 0)

    monkeypatch.setattr(CudaEngine, "_launch", as_on_a_gpu)
    both(network("bits"), ["E", "I", "E.v"], (9, 4))
    assert captures == [torch.device("cuda", 0)]


def test_a_capture_that_fails_is_said_and_the_run_goes_on(monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("no graph here")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: None)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: None)
    monkeypatch.setattr(torch.cuda, "graph", refuse)
    calls = []
    with pytest.warns(RuntimeWarning, match="without a CUDA graph, slowly: no graph here"):
        windows = cuda._captured([[lambda: calls.append(1)]], torch.device("cuda"))
    windows()
    assert len(calls) == cuda.WINDOWS


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of numbers that overflow in the interpreter
def test_a_state_that_is_not_finite_is_refused_by_name_and_step():
    spikes = ns.Events(step=[3, 13], neuron=[1, 20], T=20, dt=DT, shape=NI)
    grow = ns.LIF(dt=DT, size=NI, v_th=1e30, r=1e30, reset=None)
    net = ns.Network(
        {"x": SpikeTrain(spikes), "out": grow},
        [
            ns.Edge("x", "out", Scale(torch.tensor([1e20 if k == 20 else 1.0 for k in range(NI)]))),
            ns.Edge("out", "out", ns.Drawn(FixedInDegree(2), weight=1e-3, delay=2 * DT)),
        ],
    )
    with torch.no_grad():
        engine = CudaEngine(net.to(DEVICE), net.initial_state(batch=2, seed=0).to(DEVICE), ["out"])
        engine.advance(5)
        with pytest.raises(InputError, match=r"^out\.v of neuron 20 in trial 0, after step 13, is no longer finite"):
            engine.advance(15)


def test_what_runs_on_cuda_is_decided_by_name(monkeypatch):
    net, cuda_device = network(), torch.device("cuda")
    monkeypatch.setattr(availability, "obstacle", lambda device: None)
    assert obstacle(net, ["E.v"], cuda_device) is None
    rule = ns.plasticity.PairSTDP(w_max=1.0)
    reason = obstacle(net, [], cuda_device, {"E->E": Rules(rule)})
    assert reason == "'E->E' changes by a rule; plastic synapses and thresholds run on the CPU"
    assert "and on CUDA, the network on meta" in obstacle(net, [], torch.device("meta"))
    for synapse in (Sparse.drawn(NE, NE, FixedInDegree(3), weight=Normal(0.2, 0.1), seed=1), Identity()):
        real = ns.Network(
            {"noise": Poisson(900.0, NE), "E": ns.LIF(dt=DT, size=NE)},
            [ns.Edge("noise", "E", Scale(0.3)), ns.Edge("E", "E", synapse, delay=DT)],
        )
        assert obstacle(real, [], torch.device("cpu")) is None
        assert "edge 'E->E': sums of real weights depend on their order" in obstacle(real, [], cuda_device)
    own = CircuitExplanation(True, "", neurons=({"E": 3},), batch=4, device="cuda")
    assert "on CUDA, trials at once: 4" in str(own)
    monkeypatch.setattr(availability, "obstacle", lambda device: f"no {device} here")
    assert obstacle(net, [], cuda_device) == "no cuda here"
