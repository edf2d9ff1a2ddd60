"""Every row of SpikingJelly's in the table of conversions, beside the installed library."""

from __future__ import annotations

import operator

import pytest
import torch
from torch import nn

import neurosim as ns
from neurosim.exchange.peers import ConversionError, from_spikingjelly
from tests.exchange.peers.rows import N, close, dyadic, grid, noise, same

neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
from spikingjelly.activation_based import functional, layer  # noqa: E402

DT = 1e-3


def run(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    functional.reset_net(module)
    with torch.no_grad():
        return torch.stack([module(i) for i in x])


def check(module: nn.Module, x: torch.Tensor, at_least: int = 1000, **more) -> ns.Network:
    net = from_spikingjelly([module], dt=DT, dtype=x.dtype, input_shape=N, **more)
    same(net, x, run(module, x), at_least)
    return net


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("v_reset", [0.0, 0.25, None])
def test_if(v_reset, dtype):
    net = check(neuron.IFNode(v_reset=v_reset), grid(dtype=dtype))
    strict = ns.IF(dt=DT, v_reset=v_reset or 0.0) if v_reset is not None else ns.IF(dt=DT, reset="subtract")
    x = grid(dtype=dtype)
    assert int((strict(x)[0] != net(x)[0]).sum()) > 500, "the inputs do not meet the threshold"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("v_reset", [0.0, 0.25, None])
@pytest.mark.parametrize("decay_input", [True, False])
def test_lif(decay_input, v_reset, dtype):
    check(neuron.LIFNode(tau=2.0, decay_input=decay_input, v_reset=v_reset), grid(dtype=dtype))
    check(neuron.LIFNode(tau=4.0, decay_input=decay_input, v_reset=v_reset), grid(dtype=dtype) * 2)


def test_lif_of_odd_numbers_but_for_rounding():
    x = noise(scale=2.0)
    for tau, decay_input in ((1.1, False), (3.3, True), (3.3, False)):
        module = neuron.LIFNode(tau=tau, decay_input=decay_input, v_reset=-0.3)
        close(from_spikingjelly([module], dt=DT, dtype=x.dtype, input_shape=N), x, run(module, x), allowed=0)


def test_plif():
    module = neuron.ParametricLIFNode(init_tau=2.0, decay_input=False)
    check(module, grid(dtype=torch.float32))
    with torch.no_grad():
        module.w.add_(0.37)
    x = noise(dtype=torch.float32)
    close(from_spikingjelly([module], dt=DT, input_shape=N), x, run(module, x), allowed=2)


@pytest.mark.parametrize("v_reset", [0.0, None])
def test_linear_recurrent_container(v_reset):
    module = layer.LinearRecurrentContainer(neuron.LIFNode(tau=2.0, decay_input=False, v_reset=v_reset), N, N).double()
    dyadic(module, 1)
    check(module, grid(low=-8, high=9))


@pytest.mark.parametrize("function", [operator.add, torch.add])
def test_element_wise_recurrent_container(function):
    module = layer.ElementWiseRecurrentContainer(neuron.IFNode(v_threshold=2.0), function)
    check(module, grid())


@pytest.mark.parametrize("make", [lambda: neuron.NonSpikingIFNode(), lambda: neuron.NonSpikingLIFNode(tau=3.0)])
def test_membranes_that_never_fire(make):
    x = noise()
    with torch.no_grad():
        v, _ = from_spikingjelly([make()], dt=DT, dtype=x.dtype, input_shape=N)(x)
        torch.testing.assert_close(v, torch.stack(make()(x)), rtol=1e-12, atol=1e-12)
    with pytest.raises(ConversionError, match="decode='max-mem' makes one value of all steps"):
        from_spikingjelly([neuron.NonSpikingLIFNode(decode="max-mem")], dt=DT, input_shape=N)


@pytest.mark.parametrize("last", [True, False])
def test_delays(last):
    net = nn.Sequential(layer.Delay(2), neuron.IFNode(), layer.Delay(3), layer.Delay(1))
    net = net if last else net.append(neuron.LIFNode(decay_input=False))
    ours = from_spikingjelly(net, dt=DT, dtype=torch.float64, input_shape=N)
    x = grid()
    same(ours, x, run(net, x))
    assert [edge.delay_steps for edge in ours.edges] == [2, 3, 1]


@pytest.mark.parametrize("mode", ["s", "m"])
def test_layers_of_spikingjelly_are_those_of_torch(mode):
    net = nn.Sequential(
        layer.Conv2d(2, 4, 3, padding=1),
        layer.GroupNorm(2, 4),
        layer.AdaptiveAvgPool2d(4),
        layer.ConvTranspose2d(4, 2, 2, stride=2),
        layer.Upsample(scale_factor=2),
        layer.MaxPool2d(3, 2, 1),
        layer.Flatten(),
        layer.Linear(128, 5),
    )
    for module in net:
        module.step_mode = mode
    x = torch.randn(4, 2, 2, 8, 8)
    with torch.no_grad():
        theirs = net(x) if mode == "m" else torch.stack([net(i) for i in x])
        ours, _ = from_spikingjelly(net, dt=DT, input_shape=(2, 8, 8))(x)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_normalisation_over_time():
    net = nn.Sequential(layer.Conv2d(2, 4, 3), layer.ThresholdDependentBatchNorm2d(1.0, 0.5, 4), neuron.IFNode())
    functional.set_step_mode(net, "m")
    x = (torch.rand(60, 3, 2, 6, 6) < 0.5).float()
    with torch.no_grad():
        net(x)  # in training: the running statistics move
    functional.reset_net(net)
    with pytest.raises(ConversionError, match=r"layer '1' \(ThresholdDependentBatchNorm2d\): is in training"):
        from_spikingjelly(net, dt=DT, input_shape=(2, 6, 6))
    net.eval()
    ours = from_spikingjelly(net, dt=DT, input_shape=(2, 6, 6))
    norm = ours.edges[0].synapses[1]
    assert norm.over == "time"
    double = from_spikingjelly(net, dt=DT, input_shape=(2, 6, 6), dtype=torch.float64)
    assert double(x.double())[0].sum() > 100
    with torch.no_grad():
        theirs = net(x)
        assert torch.equal(ours(x)[0], theirs) and theirs.sum() > 100
        # In training too: the same currents, by the same statistics.
        net[1].train(), norm.train()
        current = net[0](x)
        torch.testing.assert_close(norm(current), net[1](current), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(norm.running_var, net[1].running_var)


def test_votes():
    net, x = nn.Sequential(neuron.IFNode(), layer.VotingLayer(5)), grid(dtype=torch.float32)
    ours = from_spikingjelly(net, dt=DT, input_shape=N)
    with torch.no_grad():
        torch.testing.assert_close(ours(x)[0], run(net, x))
    assert ours.shape(ours.output) == (6,) and not any(p.requires_grad for p in ours.parameters())


@pytest.mark.parametrize("kind", ["PSN", "MaskedPSN", "MaskedPSN, half", "SlidingPSN"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_neurons_that_run_all_steps_at_once(kind, dtype):
    steps = 40
    module = {
        "PSN": lambda: neuron.PSN(steps),
        "MaskedPSN": lambda: neuron.MaskedPSN(3, steps, lambda_init=1.0, step_mode="m"),
        "MaskedPSN, half": lambda: neuron.MaskedPSN(3, steps, lambda_init=0.5, step_mode="m"),
        "SlidingPSN": lambda: neuron.SlidingPSN(3, step_mode="m"),
    }[kind]().to(dtype)
    with torch.no_grad():
        module.weight.mul_(4)
        module.bias.fill_(-0.5)
        module.bias.add_(torch.rand_like(module.bias) / 8)
    x = noise(dtype=dtype)[:steps]
    net = from_spikingjelly([module], dt=DT, dtype=dtype, input_shape=N)
    with torch.no_grad():
        theirs = module(x)
    same(net, x, theirs, at_least=300)
    assert torch.equal(net.nodes[net.output].v_th < -module.bias.flatten(), torch.ones_like(module.bias.flatten()) > 0)


def test_a_whole_net():
    net = (
        nn.Sequential(
            layer.Conv2d(1, 4, 3, padding=1, bias=False),
            layer.BatchNorm2d(4),
            neuron.IFNode(),
            layer.MaxPool2d(2),
            layer.Flatten(),
            layer.Dropout(0.5),
            layer.Linear(64, 10),
            neuron.LIFNode(v_reset=None),
            nn.Linear(10, 5),
        )
        .double()
        .eval()
    )
    with torch.no_grad():
        net[1].running_mean.copy_(torch.randn(4) * 0.1)
        net[6].weight.mul_(5)
    x = (torch.rand(80, 2, 1, 8, 8) < 0.5).double()
    ours = from_spikingjelly(net, dt=DT, input_shape=(1, 8, 8))
    with torch.no_grad():
        sent, _, values, *_ = ours.run(x, record=("lif2",))
    assert values["lif2"].sum() > 100
    torch.testing.assert_close(sent, run(net, x), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: neuron.QIFNode(),
            r"layer '0' \(QIFNode\): of SpikingJelly's neurons only IFNode, LIFNode, Parametric",
        ),
        (
            lambda: layer.ElementWiseRecurrentContainer(neuron.IFNode(), lambda a, b: a * b),
            r"element_wise_function=<function .* only operator.add and torch.add are converted",
        ),
        (
            lambda: layer.LinearRecurrentContainer(
                nn.Sequential(neuron.IFNode(), nn.Linear(3, 3), neuron.IFNode()), 3, 3
            ),
            r"holds \['IFNode', 'Linear', 'IFNode'\]; a loop around one layer of neurons",
        ),
    ],
)
def test_refused_by_name(make, message):
    with pytest.raises(ConversionError, match=message):
        from_spikingjelly([make()], dt=DT, input_shape=3)
