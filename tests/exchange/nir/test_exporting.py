"""A network as a NIR graph: an independent reader of the equations gets its spikes, and reading it back its numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim import cores, language
from neurosim.errors import ExportError, InputError, NothingCompared
from neurosim.synapses import BatchNorm, DelayedLinear, Identity, RoundedDelays, Scale

nir = pytest.importorskip("nir")

from neurosim.exchange.nir import LossyExport, from_nir, to_nir, verify_nir, write_nir  # noqa: E402
from tests.exchange.nir.reference import Interpreter  # noqa: E402

DT, STEPS, N = 1e-3, 300, 24


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.no_grad():
        yield


GAINS = ("weights", "tau/dt", "network")


def each(low: float, high: float, n: int = N) -> torch.Tensor:
    return low + (high - low) * torch.rand(n, dtype=torch.float64)


def layer(core: language.Core, **choices: object) -> ns.Neuron:
    return ns.layer(core)(dt=DT, **choices)


def neurons() -> dict[str, ns.Neuron]:
    """Every neuron that NIR has, plain and with parameters for each neuron; driven by a current of 2 or so."""
    torch.manual_seed(1)
    return {
        "IF": ns.IF(dt=DT, r=0.3),
        "IF, each its own": ns.IF(dt=DT, r=each(0.2, 0.4), v_th=each(0.8, 1.2), v_reset=each(-0.5, 0.5)),
        "IF without reset": ns.IF(dt=DT, r=0.004, reset=None),
        "LIF": ns.LIF(dt=DT, r=4.0),
        "LIF of one step": ns.LIF(dt=DT, tau_mem=DT / 1000),
        "LIF, each its own": ns.LIF(
            dt=DT, tau_mem=each(2e-3, 50e-3), r=each(2.0, 4.0), v_th=each(0.5, 1.5), v_reset=each(-1.0, 0.4)
        ),
        "LIF without reset": ns.LIF(dt=DT, v_th=1.8, reset=None),
        "CubaLIF": ns.CubaLIF(dt=DT, r=0.4),
        "CubaLIF, each its own": ns.CubaLIF(
            dt=DT,
            tau_syn=each(2e-3, 20e-3),
            tau_mem=each(2e-3, 50e-3),
            r=each(0.2, 0.6),
            v_th=each(0.5, 1.5),
            v_reset=each(-1.0, 0.4),
        ),
        "CubaLIF without reset": ns.CubaLIF(dt=DT, r=0.3, v_th=2.4, reset=None),
        "CubaLIF at rest elsewhere": layer(cores.cubalif_resting, r=0.4, v_leak=each(-0.3, 0.3)),
        "threshold": layer(cores.threshold, v_th=each(1.5, 2.5)),
    }


def reads_out() -> dict[str, ns.Neuron]:
    return {
        "LI": ns.LI(dt=DT, tau_mem=each(2e-3, 50e-3), r=each(0.5, 2.0)),
        "I": layer(cores.integrator, r=0.25),
        "CubaLI": layer(cores.cuba_integrator, tau_syn=each(2e-3, 20e-3), r=2.0),
        "CubaLI at rest elsewhere": layer(cores.cuba_integrator_resting, v_leak=-0.7),
        "relay": layer(cores.relay),
    }


def net_of(neuron: ns.Neuron, bias: bool = True) -> ns.Network:
    torch.manual_seed(2)
    net = ns.Sequential(ns.Linear(20, N, bias=bias), neuron, names=("n",)).double()
    net.edges[0].synapses[0].weight.data.mul_(2.0)
    if bias:
        net.edges[0].synapses[0].bias.data.add_(2.0)
    return net


def drive(*shape: int) -> torch.Tensor:
    return (torch.rand(STEPS, 1, *shape, generator=torch.Generator().manual_seed(3)) < 0.4).double()


def by_interpreter(graph, x: torch.Tensor, name: str = "input") -> dict[str, np.ndarray]:
    return Interpreter(graph, DT).run({name: x[:, 0].numpy()})


@pytest.mark.parametrize("gain", GAINS)
@pytest.mark.parametrize("name", neurons())
def test_an_independent_reader_gets_every_spike(name, gain):
    net = net_of(neurons()[name])
    x = drive(20)
    z, _ = net(x)
    sent = by_interpreter(to_nir(net, gain=gain), x)["output"]
    assert z.sum() > 1000 and z.mean() < 0.95
    assert int((z[:, 0].numpy() != sent).sum()) == 0


@pytest.mark.parametrize("gain", GAINS)
@pytest.mark.parametrize("name", reads_out())
def test_an_independent_reader_gets_every_membrane(name, gain):
    torch.manual_seed(5)
    net = net_of(reads_out()[name])
    v, _ = net(drive(20))
    sent = by_interpreter(to_nir(net, gain=gain), drive(20))["output"]
    assert np.abs(sent).max() > 0.5
    np.testing.assert_allclose(v[:, 0].numpy(), sent, rtol=1e-9, atol=1e-12)


def test_a_comparison_without_a_spike_says_so():
    net = ns.Sequential(ns.Linear(3, 2), ns.LIF(dt=DT, r=20.0), names=["out"])
    with pytest.warns(NothingCompared, match="nothing was compared of out"):
        result = verify_nir(net, torch.zeros(10, 1, 3))
    assert result.agrees and result.silent == ("out",) and "0 spikes; that shows nothing" in str(result)
    net.synapses["input->out"][0].weight.data.fill_(1.0)
    assert verify_nir(net, torch.ones(10, 1, 3)).silent == ()


@pytest.mark.parametrize("discretisation", ["euler", "exponential"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", [*neurons(), *reads_out()])
def test_a_round_trip_keeps_every_number(name, dtype, discretisation, tmp_path):
    net = net_of({**neurons(), **reads_out()}[name], bias=False)
    net.synapses.to(dtype)
    x = drive(20).to(dtype) * 3
    check = verify_nir(net, x, gain="network", discretisation=discretisation, path=tmp_path / "net.nir")
    assert check.agrees, str(check)
    again = from_nir(tmp_path / "net.nir", dt=DT, discretisation=discretisation, dtype=dtype)
    assert torch.equal(next(iter(again.synapses.parameters())), net.edges[0].synapses[0].weight)
    ours, theirs = net.nodes["n"], dict(again.nodes.items()).get("n")
    for parameter in ours.core.parameters if theirs is not None else ():
        if parameter.startswith("tau_"):
            a, b = ours.decay(parameter), theirs.decay(parameter)
        elif parameter in theirs.core.parameters:
            a, b = ours.value(parameter), theirs.value(parameter)
        else:
            continue
        torch.testing.assert_close(torch.as_tensor(a).double(), torch.as_tensor(b).double(), rtol=4e-15, atol=2.3e-16)


def circuit() -> ns.Network:
    """Convolution, pooling, loops, delays of every kind, two ways into a population, a way around."""
    torch.manual_seed(4)
    delays = torch.randint(0, 5, (12, 10))
    return ns.Network(
        {
            "image": ns.Input((2, 9, 11)),
            "conv": ns.LIF(dt=DT, r=4.0, tau_mem=8e-3),
            "pool": ns.IF(dt=DT, r=0.5),
            "fc": ns.CubaLIF(dt=DT, r=3.0, v_reset=-0.2),
            "mid": ns.LIF(dt=DT, tau_mem=5e-3, r=5.0),
            "sum": ns.layer(cores.relay)(dt=DT),
            "out": ns.LI(dt=DT, r=2.0),
        },
        [
            ns.Edge("image", "conv", ns.Conv2d(2, 4, (3, 5), stride=(1, 2), padding=(1, 0), groups=2, bias=True)),
            ns.Edge("conv", "pool", ns.SumPool2d((2, 1), stride=2)),
            ns.Edge("pool", "fc", [ns.AvgPool2d((1, 2)), ns.Flatten(), ns.Linear(16, 10)]),
            ns.Edge("fc", "fc", ns.Linear(10, 10, bias=True)),
            ns.Edge("fc", "mid", RoundedDelays(torch.randn(12, 10), delays, torch.randn(12) * 0.2, dt=DT)),
            ns.Edge("mid", "mid", Scale(torch.randn(12)), delay=3e-3),
            ns.Edge("mid", "fc", ns.Linear(12, 10), delay=1e-3),
            ns.Edge("mid", "sum", [ns.BlockLinear(12, 12, 4), ns.Linear(12, 6)]),
            ns.Edge("fc", "sum", ns.Sparse.random(10, 6, 0.4), delay=2e-3),
            ns.Edge("sum", "out", Identity()),
            ns.Edge("pool", "out", [ns.Flatten(), ns.Linear(32, 6)]),
            ns.Edge("sum", "out", Scale(0.5), name="again"),
        ],
    ).double()


@pytest.mark.parametrize("gain", GAINS)
def test_a_circuit_of_everything(gain, tmp_path):
    net, x = circuit(), drive(2, 9, 11)
    names = ("conv", "pool", "fc", "mid")
    v, _, values, *_ = net.run(x, record=names)
    assert all(values[name].sum() > 150 for name in names)
    write_nir(net, tmp_path / "net.nir", gain=gain)
    sent = by_interpreter(nir.read(tmp_path / "net.nir", type_check=False), x, "image")
    for name in names:
        assert int((values[name][:, 0].numpy() != sent[name]).sum()) == 0, name
    np.testing.assert_allclose(v[:, 0].numpy(), sent["output"], rtol=1e-8, atol=1e-10)
    again = from_nir(tmp_path / "net.nir", dt=DT, dtype=torch.float64)
    back, _, values_back, *_ = again.run({"image": x}, record=names)
    for name in names:
        assert torch.equal(values[name], values_back[name]), name
    torch.testing.assert_close(v, back, rtol=1e-9, atol=1e-12)


def test_the_forms_of_a_gain():
    net = ns.Sequential(ns.Linear(3, 2), ns.LIF(dt=DT, tau_mem=10e-3, r=4.0), ns.Linear(2, 1), ns.CubaLIF(dt=DT, r=2.0))
    net = net.double()
    w = net.edges[0].synapses[0].weight.detach().numpy()
    a, b = net.nodes["lif1"].decay("tau_mem"), net.nodes["cubalif2"].decay("tau_mem")
    portable, folded, kept = (to_nir(net, gain=gain).nodes for gain in GAINS)
    assert (portable["lif1"].r == 1).all()
    np.testing.assert_allclose(portable["input_to_lif1"].weight, 4.0 * w)
    for nodes in (portable, folded):
        assert nodes["cubalif2"].r == pytest.approx(1 / (1 - b), rel=1e-12)
        assert nodes["cubalif2"].w_in == pytest.approx(nodes["cubalif2"].tau_syn / DT)
    np.testing.assert_allclose(folded["lif1"].r, 1 / (1 - a), rtol=1e-12)
    np.testing.assert_allclose(folded["input_to_lif1"].weight, 4.0 * (1 - a) * w)
    np.testing.assert_allclose(folded["lif1"].tau, DT / (1 - a), rtol=1e-15)
    assert (kept["lif1"].r == 4.0).all() and (kept["input_to_lif1"].weight == w).all()
    exponential = to_nir(net, discretisation="exponential").nodes
    assert (exponential["lif1"].tau == 10e-3).all()


def test_a_gain_of_each_neuron_behind_shared_kernels_gets_a_node():
    net = ns.Sequential(ns.Input((1, 4, 4)), ns.Conv2d(1, 2, 3), ns.LIF(dt=DT, r=torch.rand(2, 2, 2) + 3)).double()
    graph, x = to_nir(net), drive(1, 4, 4)
    assert sum(isinstance(node, nir.Scale) for node in graph.nodes.values()) == 1
    assert int((by_interpreter(graph, x)["output"] != net(x)[0][:, 0].numpy()).sum()) == 0
    per_channel = ns.Sequential(
        ns.Input((1, 4, 4)), ns.Conv2d(1, 2, 3, bias=True), ns.LIF(dt=DT, r=torch.tensor([3.0, 5.0]).view(2, 1, 1))
    ).double()
    graph = to_nir(per_channel)
    assert not any(isinstance(node, nir.Scale) for node in graph.nodes.values())
    assert int((by_interpreter(graph, x)["output"] != per_channel(x)[0][:, 0].numpy()).sum()) == 0


def test_normalisation_goes_into_the_weights():
    net = ns.Sequential(ns.Linear(20, N), BatchNorm(N), ns.LIF(dt=DT, r=60.0)).double().eval()
    net.edges[0].synapses[1].running_mean.copy_(each(-0.2, 0.2))
    net.edges[0].synapses[1].running_var.copy_(each(0.5, 2.0))
    x = drive(20)
    z = net(x)[0]
    assert z.sum() > 1000
    assert int((by_interpreter(to_nir(net), x)["output"] != z[:, 0].numpy()).sum()) == 0


def test_a_loop_without_memory_and_one_without_reset():
    for neuron in (layer(cores.threshold, v_th=1.0), ns.LIF(dt=DT, v_th=1.0, r=3.0, reset=None)):
        net = ns.Sequential(ns.Linear(20, N, bias=True), ns.Recurrent(neuron, ns.Linear(N, N)), names=("n",)).double()
        net.edges[0].synapses[0].weight.data.mul_(3.0)
        x, graph = drive(20), to_nir(net)
        z = net(x)[0]
        assert z.sum() > 500
        assert int((by_interpreter(graph, x)["output"] != z[:, 0].numpy()).sum()) == 0
        assert torch.equal(from_nir(graph, dt=DT, dtype=torch.float64)(x)[0], z)


REFUSED = {
    "subtract": (
        lambda: ns.Sequential(ns.Linear(3, 2), ns.LIF(dt=DT, reset="subtract", reset_amount=0.5)),
        r"node 'lif1': reset='subtract' of reset_amount=0.5; NIR has only a reset to v_reset; train with",
    ),
    "alif": (
        lambda: ns.Sequential(ns.Linear(3, 2), ns.ALIF(dt=DT)),
        r"node 'alif1': its core is 'alif', which NIR has no",
    ),
    "max": (
        lambda: ns.Sequential(ns.Input((1, 4, 4)), ns.MaxPool2d(2), ns.IF(dt=DT)),
        r"edge 'input->integrate_and_fire1': holds MaxPool2d; NIR has no primitive for it; use Linear",
    ),
    "unrounded": (
        lambda: ns.Sequential(ns.Linear(3, 3), ns.IF(dt=DT), DelayedLinear(3, 2, max_delay=5e-3, dt=DT), ns.IF(dt=DT)),
        r"holds DelayedLinear; its delays are not whole steps; round them with rounded\(\)",
    ),
    "parallel": (
        lambda: ns.Sequential(ns.Linear(3, 2), __import__("neurosim.parallel").parallel.SlidingPSN(2, dt=DT)),
        r"node '\w+': is a SlidingPSN, which NIR has no primitive for",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_nir_cannot_say_is_refused_by_name(name, tmp_path):
    make, message = REFUSED[name]
    with pytest.raises(ExportError, match=message):
        write_nir(make(), tmp_path / "net.nir")
    assert list(tmp_path.iterdir()) == []


def test_all_refusals_come_at_once():
    net = ns.Sequential(ns.Linear(3, 2), ns.LIF(dt=DT, reset="subtract"), ns.Linear(2, 2), ns.ALIF(dt=DT))
    with pytest.raises(ExportError, match=r"(?s)node 'lif1'.*allow_lossy=True writes a reset to 0\n.*node 'alif2'"):
        to_nir(net)


def test_lossy_on_request_names_what_is_lost():
    net = ns.Sequential(ns.Linear(3, 2), ns.LIF(dt=DT, reset="subtract"))
    with pytest.warns(LossyExport, match=r"node 'lif1': reset='subtract'; NIR has only .*; written as a reset to 0"):
        graph = to_nir(net, allow_lossy=True)
    assert (graph.nodes["lif1"].v_reset == 0).all() and "reset='subtract'" in graph.metadata["lost"]


def test_choices_are_checked():
    net = ns.Sequential(ns.Linear(3, 2), ns.LIF(dt=DT))
    for wrong in (dict(discretisation="exact"), dict(gain="r")):
        with pytest.raises(InputError, match=next(iter(wrong))):
            to_nir(net, **wrong)
    with pytest.raises(InputError, match="to_nir takes a Network; got Linear"):
        to_nir(ns.Linear(3, 2))


def test_a_network_is_left_as_it_was_and_a_loop_of_one_step_needs_no_delay_node():
    net = circuit()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    graph = to_nir(net)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    delays = {name for name, node in graph.nodes.items() if isinstance(node, nir.Delay)}
    assert "fc_to_fc_delay" not in delays and "mid_to_mid_delay" in delays
    assert graph.metadata["dt"] == DT and graph.metadata["discretisation"] == "euler"


def test_parameters_that_are_not_finite_are_named():
    net = ns.Sequential(ns.Linear(3, 2), ns.LIF(dt=DT))
    torch.nn.init.constant_(next(net.parameters()), float("nan"))
    for door in (to_nir, lambda net: verify_nir(net, torch.ones(2, 1, 3))):
        with pytest.raises(InputError, match=r"these parameters of the network do not: \['synapses\..*weight'\]"):
            door(net)
