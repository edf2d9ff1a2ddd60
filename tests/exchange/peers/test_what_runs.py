"""What a module computes is converted, not what its class or its attributes say; otherwise it is refused by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import neurosim as ns
from neurosim.exchange.peers import ConversionError, from_norse, from_snntorch, from_spikingjelly

snn = pytest.importorskip("snntorch")
norse = pytest.importorskip("norse.torch")
neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
from spikingjelly.activation_based import functional as sj_functional  # noqa: E402
from spikingjelly.activation_based import layer as sj  # noqa: E402
from spikingjelly.activation_based import surrogate  # noqa: E402

DT, STEPS, BATCH = 1e-3, 60, 3
CONVERTERS = {
    "snnTorch": (lambda parts, **more: from_snntorch(parts, dt=DT, **more), lambda: snn.Leaky(0.9)),
    "Norse": (lambda parts, **more: from_norse(parts, **more), lambda: norse.LIFBoxCell()),
    "SpikingJelly": (lambda parts, **more: from_spikingjelly(parts, dt=DT, **more), lambda: neuron.LIFNode()),
}
each = pytest.mark.parametrize("library", CONVERTERS)


class Positive(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight * (self.weight > 0), self.bias)


class Residual(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


class Doubled(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).softmax(1)


class Renamed(nn.Sequential):
    def parts(self) -> int:
        return len(self)


def hooked(module: Any) -> Any:
    module.register_forward_hook(lambda module, x, y: y)
    return module


@each
def test_a_layer_or_container_with_a_forward_of_its_own_is_refused(library: str) -> None:
    convert, neurons = CONVERTERS[library]
    with pytest.raises(ConversionError, match=r"layer '0' \(Positive\): its class Positive has a method 'forward'"):
        convert([Positive(4, 4), neurons()])
    with pytest.raises(ConversionError, match=r"layer '1' \(Doubled\): at 'softmax' its forward method calls softmax"):
        convert([nn.Linear(4, 4), Doubled(nn.Linear(4, 4)), neurons()])
    convert(Renamed(nn.Linear(4, 4), neurons()))


@each
def test_a_container_with_a_forward_of_its_own_is_read(library: str) -> None:
    convert, neurons = CONVERTERS[library]
    inner = nn.Linear(4, 4)
    net = convert([nn.Linear(4, 4), Residual(inner), neurons()]).double()
    x = torch.randn(10, 2, 4, dtype=torch.float64)
    with torch.no_grad():
        sent = net.run(x, record=("relay1",)).recorded["relay1"]
        summed = sum(edge(sent) for edge in net.edges if edge.source == "relay1")
        torch.testing.assert_close(summed, Residual(inner.double())(sent))
    assert [node.core.name for node in net.neurons().values()] == ["relay", "lif"]


@each
@pytest.mark.parametrize("place", ["layer", "container", "neurons"])
def test_hooks_are_refused(library: str, place: str) -> None:
    convert, neurons = CONVERTERS[library]
    row = nn.Sequential(nn.Linear(4, 4), neurons())
    hooked({"layer": row[0], "container": row, "neurons": row[1]}[place])
    with pytest.raises(ConversionError, match="has the forward hook <lambda>"):
        convert(row)


@each
def test_neurons_of_a_subclass(library: str) -> None:
    convert, neurons = CONVERTERS[library]
    kind = type(neurons())
    plain = type("Plain", (kind,), {"title": lambda self: "plain"})
    own = type("Own", (kind,), {"forward": lambda self, *values: kind.forward(self, *values)})
    arguments = (0.9,) if library == "snnTorch" else ()
    assert convert([nn.Linear(4, 3), plain(*arguments)]).shape("lif1") == (3,)
    with pytest.raises(ConversionError, match=r"layer '1' \(Own\): its class Own has a method 'forward' of its own"):
        convert([nn.Linear(4, 3), own(*arguments)])
    changed = neurons()
    changed.forward = lambda *values: kind.forward(changed, *values)
    with pytest.raises(ConversionError, match=r"its method 'forward' was assigned on this object"):
        convert([nn.Linear(4, 3), changed])


@each
def test_a_stateless_layer_that_stands_twice_is_converted_twice(library: str) -> None:
    convert, neurons = CONVERTERS[library]
    pool, mix = nn.AvgPool2d(2, stride=1), nn.Conv2d(2, 2, 1)
    row = nn.Sequential(pool, mix, pool, mix, neurons())
    net = convert(row, input_shape=(2, 5, 5))
    assert [type(s).__name__ for s in net.edges[0].synapses] == ["AvgPool2d", "Conv2d"] * 2
    with torch.no_grad():
        x = torch.randn(1, 2, 2, 5, 5)
        current = x
        for synapse in net.edges[0].synapses:
            current = synapse(current)
        torch.testing.assert_close(current[0], mix(pool(mix(pool(x[0])))))


def test_neurons_that_keep_a_state_for_two_places_are_refused() -> None:
    for convert, shared in (
        (from_snntorch, snn.Leaky(0.9, init_hidden=True)),
        (from_spikingjelly, neuron.LIFNode()),
        (from_spikingjelly, sj.ElementWiseRecurrentContainer(neuron.IFNode(), torch.add)),
    ):
        for row in (
            [nn.Linear(4, 4), shared, nn.Linear(4, 4), shared],
            nn.Sequential(nn.Linear(4, 4), shared, nn.Linear(4, 4), shared),
        ):
            with pytest.raises(ConversionError, match=r"layer '3' .* is the same object as layer '1'"):
                convert(row, dt=DT)
    inner = neuron.IFNode()
    loop = sj.ElementWiseRecurrentContainer(inner, torch.add)
    with pytest.raises(ConversionError, match=r"layer '1' \(ElementWise.*: is the same object as layer '0'"):
        from_spikingjelly([inner, loop], dt=DT, input_shape=4)


def test_neurons_whose_state_the_caller_holds_are_two_populations() -> None:
    shared = norse.LIFBoxCell()
    row = norse.SequentialState(nn.Linear(6, 6), shared, nn.Linear(6, 6), shared).double()
    with torch.no_grad():
        for k in (0, 2):
            row[k].weight.mul_(30)
    x, state, theirs = (torch.rand(STEPS, BATCH, 6) < 0.5).double(), None, []
    with torch.no_grad():
        for i in x:
            z, state = row(i, state)
            theirs.append(z)
        ours, _ = from_norse(row)(x)
    assert torch.equal(ours, torch.stack(theirs)) and ours.sum() > 50
    leaky = snn.Leaky(0.9)
    assert len(from_snntorch([nn.Linear(4, 4), leaky, nn.Linear(4, 4), leaky], dt=DT).neurons()) == 2


def test_surrogates_that_do_not_spike_are_refused() -> None:
    smooth = neuron.IFNode(surrogate_function=surrogate.Sigmoid(spiking=False))
    with pytest.raises(ConversionError, match=r"layer '0' \(IFNode\): its spike function is not a step"):
        from_spikingjelly([smooth], dt=DT, input_shape=3)
    for function in (torch.sigmoid, lambda x: torch.bernoulli(torch.sigmoid(x)), lambda x: (x >= 0).float()):
        with pytest.raises(ConversionError, match=r"layer '0' \(Leaky\): its spike function is not a step"):
            from_snntorch([snn.Leaky(0.9, spike_grad=function)], dt=DT, input_shape=3)
    with pytest.raises(ConversionError, match="its spike function is not a step"):
        from_spikingjelly([neuron.PSN(4, surrogate.Sigmoid(spiking=False))], dt=DT, input_shape=3)


def test_a_reset_that_was_set_later_is_refused() -> None:
    layer = snn.Leaky(0.9)
    layer.reset_mechanism = "zero"  # type: ignore[assignment]
    with pytest.raises(ConversionError, match="reset_mechanism='zero' was set on a finished layer, whose step still"):
        from_snntorch([layer], dt=DT, input_shape=3)
    layer = snn.Synaptic(0.5, 0.9)
    layer.load_state_dict(snn.Synaptic(0.5, 0.9, reset_mechanism="none").state_dict())
    with pytest.raises(ConversionError, match="reset_mechanism='subtract', but its state_dict says 'none'"):
        from_snntorch([layer], dt=DT, input_shape=3)


def test_attributes_of_spikingjelly_that_change_the_run() -> None:
    layer = neuron.IFNode()
    layer.set_reset_value("v", 0.5)
    with pytest.raises(ConversionError, match=r"starts at v=0.5, which a neuron of neurosim cannot"):
        from_spikingjelly([layer], dt=DT, input_shape=3)
    with pytest.raises(
        ConversionError, match=r"layer '1' \(IFNode\): step_mode='m', where the layers around it run one"
    ):
        from_spikingjelly([neuron.IFNode(), neuron.IFNode(step_mode="m")], dt=DT, input_shape=3)
    with pytest.raises(
        ConversionError, match=r"layer '1' \(Linear\): step_mode='s', where the layers around it run all"
    ):
        from_spikingjelly([neuron.IFNode(step_mode="m"), sj.Linear(3, 3)], dt=DT, input_shape=3)
    with pytest.raises(ConversionError, match=r"layer '1' \(AvgPool2d\): takes the axes \[B, ...\]"):
        from_spikingjelly([neuron.IFNode(step_mode="m"), nn.AvgPool2d(2)], dt=DT, input_shape=(1, 4, 4))
    flat = sj.SeqToANNContainer(nn.Conv2d(1, 1, 3), neuron.IFNode())
    with pytest.raises(ConversionError, match=r"layer '0.1' \(IFNode\): has a state, but its container makes time"):
        from_spikingjelly([flat], dt=DT, input_shape=(1, 4, 4))
    with pytest.raises(ConversionError, match=r"layer '0' \(WSLinear\): .*'forward' of its own"):
        from_spikingjelly([sj.WSLinear(4, 3), neuron.IFNode()], dt=DT, input_shape=4)
    with pytest.raises(ConversionError, match="v_leak"):
        from_norse([norse.LICell(norse.LIParameters(v_leak=torch.tensor(0.5)))], input_shape=3)


def test_functions_of_norse_that_are_not_those_of_the_class() -> None:
    cell = norse.LIFBoxCell()
    cell.activation = norse.LIFCell().activation
    with pytest.raises(ConversionError, match="activation is lif_feed_forward_step, not that of LIFBoxCell"):
        from_norse([cell], input_shape=3)
    cell = norse.LIFCell()
    cell.state_fallback = lambda x: None
    with pytest.raises(ConversionError, match="state_fallback is <lambda>, not that of LIFCell"):
        from_norse([cell], input_shape=3)

    def reset_value(z: Tensor, v: Tensor, v_reset: Tensor, v_th: Tensor) -> Tensor:
        return v - z

    with pytest.raises(ConversionError, match="reset_method=reset_value; only reset_value and reset_subtract"):
        from_norse([norse.LIFBoxCell(norse.LIFBoxParameters(reset_method=reset_value))], input_shape=3)
    with pytest.raises(ConversionError, match=r"runs one step and layer '1' .* all steps"):
        from_norse([norse.LIFCell(), norse.LIF()], input_shape=3)


def test_multi_step_mode_is_the_same_network() -> None:
    def row(mode: str) -> nn.Sequential:
        torch.manual_seed(3)
        inner = [nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)]
        parts = [sj.SeqToANNContainer(*inner) if mode == "m" else nn.Sequential(*inner), neuron.IFNode()]
        parts += [sj.MaxPool2d(2), nn.Flatten(2 if mode == "m" else 1), nn.Linear(18, 5), neuron.LIFNode(v_reset=None)]
        net = nn.Sequential(*parts).double().eval()
        for module in net:
            if hasattr(module, "step_mode"):
                module.step_mode = mode  # type: ignore[assignment]
        with torch.no_grad():
            inner[0].weight.mul_(3), net[4].weight.mul_(5)
        return net

    x = (torch.rand(STEPS, BATCH, 1, 8, 8) < 0.5).double()
    many = row("m")
    with torch.no_grad():
        theirs = many(x)
        nets = [from_spikingjelly(net, dt=DT, input_shape=(1, 8, 8)) for net in (many, row("s"))]
        for net in nets:
            assert torch.equal(net(x)[0], theirs) and theirs.sum() > 20
    sj_functional.reset_net(many)


@pytest.mark.parametrize("mechanism", ["zero", "subtract"])
def test_thresholds_below_zero_with_a_reset_are_refused(mechanism: str) -> None:
    for make in (
        lambda: snn.Leaky(0.9, threshold=-0.5, reset_mechanism=mechanism),
        lambda: snn.Leaky(0.9, threshold=torch.tensor([0.5, -0.1, 1.0]), reset_mechanism=mechanism),
        lambda: snn.Synaptic(0.5, 0.9, threshold=-0.5, reset_mechanism=mechanism, reset_delay=mechanism != "zero"),
        lambda: snn.RLeaky(0.9, threshold=-0.5, linear_features=3, reset_mechanism=mechanism),
        lambda: snn.Lapicque(0.9, threshold=-0.5, reset_mechanism=mechanism),
    ):
        with pytest.raises(ConversionError, match="a threshold below 0 with a reset: snnTorch resets neurons at rest"):
            from_snntorch([make()], dt=DT, input_shape=3)


def test_slow_decays_say_which_dt_holds_them() -> None:
    layer = snn.Leaky(beta=0.9995)
    with pytest.raises(ConversionError, match=r"a time constant of 1.99\d+ s, .* give a smaller dt, below 0.0005 s"):
        from_snntorch([layer], dt=1e-3, input_shape=3)
    assert from_snntorch([layer], dt=4e-4, input_shape=3).nodes["lif1"].decay("tau_mem") == layer.beta.double().item()
    slow = norse.LSNNCell(dt=0.001)
    with pytest.raises(ConversionError, match="give a smaller dt"):
        from_norse([slow], input_shape=3)


@each
def test_parameters_that_are_learned(library: str) -> None:
    convert, neurons = CONVERTERS[library]
    net = convert([nn.Linear(4, 3), neurons()], learn=("tau_mem", "v_th"))
    names = {name.split(".")[-1] for name, _ in net.named_parameters()}
    assert names == {"weight", "bias", "log_tau_mem", "v_th"}
    plain = convert([nn.Linear(4, 3), neurons()]).nodes["lif1"]
    torch.testing.assert_close(net.nodes["lif1"].value("tau_mem").item(), plain.value("tau_mem"), rtol=1e-6, atol=0)
    with pytest.raises(ns.NeurosimError, match="learn must be a sequence of names"):
        convert([nn.Linear(4, 3), neurons()], learn="tau_mem")
    with pytest.raises(ConversionError, match=r"learn: no neurons have the parameters \['beta'\]; they have \["):
        convert([nn.Linear(4, 3), neurons()], learn=("tau_mem", "beta"))
