"""From real to integers: grids, scales, what is refused, exact cases, training on the grid."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import neurosim as ns
from neurosim.errors import ExportError, InputError, NothingCompared
from neurosim.hardware.loihi import SignMode, describe, sign_mode, split_bias, weight_range, weight_step
from neurosim.hardware.quantise import fixed, quantise
from neurosim.hardware.quantise.grid import BiasGrid, WeightGrid, chip_bias
from neurosim.hardware.quantise.search import mismatch
from neurosim.synapses import BatchNorm, RoundedDelays, Synapse

DT = 1e-3
NEURONS = dict(dt=DT, tau_mem=10e-3, r=15.0)


def test_a_scale_without_a_spike_to_choose_it_on_is_named() -> None:
    net = ns.Sequential(ns.Linear(20, 10), ns.LIF(dt=1e-3, r=1.0), names=["out"])
    with pytest.warns(NothingCompared, match="scales of out are chosen without evidence: no spike was sent on x"):
        quantise(net, torch.zeros(10, 2, 20))


def spikes(*shape: int, rate: float = 0.2, seed: int = 0) -> Tensor:
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < rate).float()


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


# The grids.


@pytest.mark.parametrize("bits", [8, 6, 4, 2])
@pytest.mark.parametrize("mode", SignMode)
def test_weights_go_to_the_nearest_that_is_held(bits: int, mode: SignMode) -> None:
    low, high = weight_range(bits, mode)
    grid = torch.arange(low, high + 1, weight_step(bits, mode)).double()
    weight = torch.linspace(-3, 3, 601, dtype=torch.float64).requires_grad_()
    held = WeightGrid(100.0, *weight_range(bits, mode), weight_step(bits, mode))(weight)
    nearest = (grid[None] - 100.0 * weight.detach()[:, None]).abs().min(1).values
    torch.testing.assert_close((held - 100.0 * weight).abs().detach(), nearest, rtol=0, atol=1e-9)
    (gradient,) = torch.autograd.grad(held.sum(), weight)
    inside = (100.0 * weight >= low) & (100.0 * weight <= high)
    torch.testing.assert_close(gradient, 100.0 * inside.double(), rtol=1e-12, atol=0)


def test_biases_go_to_the_nearest_that_is_held() -> None:
    bias = torch.cat((torch.linspace(-6e5, 6e5, 4001, dtype=torch.float64), torch.linspace(-5000, 5000, 4001).double()))
    held = chip_bias(bias)
    split_bias(held)
    step = torch.where(bias.abs() <= 4095, 1.0, 2.0 ** torch.ceil(torch.log2(bias.abs() / 4095)))
    inside = bias.abs() <= 4095 * 128
    assert ((held - bias).abs() <= step / 2 + 1e-9)[inside].all()
    assert held.min() == -4096 * 128 and held.max() == 4095 * 128
    bias.requires_grad_()
    assert torch.autograd.grad(BiasGrid(64.0)(bias).sum(), bias)[0].unique().tolist() == [64.0]


# Exact cases.


def test_what_is_whole_already_stays_as_it_is() -> None:
    """Even weights, IF neurons: the whole network is the real one, spike for spike and membrane for membrane."""
    net = ns.Sequential(ns.Linear(20, 12), ns.IF(dt=DT, v_th=60.0), ns.Linear(12, 4), ns.IF(dt=DT, v_th=9.0),
                        names=["a", "b"])  # fmt: skip
    for edge in net.edges:
        torch.nn.init.uniform_(edge.synapses[0].weight, -30, 30)
        with torch.no_grad():
            edge.synapses[0].weight.copy_(2 * edge.synapses[0].weight.round())
    x = spikes(60, 5, 20)
    made = quantise(net, x, scales={"a": 1.0, "b": 1.0})
    names = ["a", "b", "a.v", "b.v"]
    real, whole = net.run(x, None, names).recorded, made.net.run(x, None, names).recorded
    assert real["b"].sum() > 50
    for name in names:
        assert torch.equal(whole[name], real[name] * (64.0 if "." in name else 1.0)), name
    assert all(choice.mismatch == 0 for choice in made.choices.values())


def test_the_gradient_in_whole_numbers_is_that_in_real_ones() -> None:
    """With weights on the grid, the same spikes, so the same gradients: the rounding adds nothing of its own."""
    net = ns.Sequential(ns.Linear(20, 12, bias=True), ns.IF(dt=DT, v_th=1.0, spike=ns.atan(2.0)), ns.Linear(12, 4),
                        ns.IF(dt=DT, v_th=0.5, spike=ns.triangle(0.5)), names=["a", "b"])  # fmt: skip
    with torch.no_grad():
        for p in net.parameters():
            p.copy_((4 * p * 64).round() / 64)
    x, y = spikes(30, 6, 20), torch.tensor([0, 1, 2, 3, 0, 1])
    made = quantise(net, x, scales={"a": 128.0, "b": 128.0}, trained=True)
    gradients = []
    for each in (net, made.net):
        z, _ = each(x)
        loss = torch.nn.functional.cross_entropy(z.mean(0), y)
        gradients.append((z, torch.autograd.grad(loss, list(each.parameters()))))
    (real, wanted), (whole, found) = gradients
    assert real.sum() > 30 and torch.equal(real, whole)
    by_shape = {tuple(g.shape): g for g in wanted}
    for gradient in found:
        expected = by_shape[tuple(gradient.shape)]
        assert expected.abs().max() > 0
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-7)


# Networks of every kind.


def row() -> tuple[ns.Network, Tensor]:
    net = ns.Sequential(
        ns.Linear(20, 30, bias=True), ns.LIF(**NEURONS), ns.Linear(30, 10), ns.CubaLIF(**NEURONS, tau_syn=4e-3),
        ns.Linear(10, 4), ns.LI(**NEURONS), names=["a", "b", "out"],
    )  # fmt: skip
    return net, spikes(50, 8, 20)


def images() -> tuple[ns.Network, Tensor]:
    net = ns.Sequential(
        ns.Input((2, 9, 9)), ns.Conv2d(2, 4, 3, padding=1, bias=True), BatchNorm(4), ns.LIF(**NEURONS),
        ns.AvgPool2d(2), ns.Conv2d(4, 6, 2), ns.LIF(**NEURONS, v_th=0.3), ns.Flatten(), ns.Linear(54, 5),
        ns.IF(dt=DT, v_th=0.1), names=["a", "b", "out"],
    )  # fmt: skip
    return net.eval(), spikes(40, 4, 2, 9, 9)


def loops() -> tuple[ns.Network, Tensor]:
    weight, delay = torch.randn(8, 12) * 0.6, torch.randint(0, 9, (8, 12))
    net = ns.Network(
        {"in": ns.Input(20), "a": ns.LIF(**NEURONS), "b": ns.LIF(**NEURONS, v_th=torch.linspace(0.5, 2, 8))},
        [
            ns.Edge("in", "a", ns.Sparse.random(20, 12, 0.5)),
            ns.Edge("a", "a", ns.Linear(12, 12), name="loop"),
            ns.Edge("a", "b", RoundedDelays(weight, delay, dt=DT), name="delays"),
            ns.Edge("in", "b", ns.Linear(20, 8), delay=3e-3, name="skip"),
        ],
    )
    with torch.no_grad():
        net.edges[1].synapses[0].weight.mul_(9.0)
    return net, spikes(60, 5, 20)


@pytest.mark.parametrize("make", [row, images, loops])
def test_networks_of_every_kind(make) -> None:
    net, x = make()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = {bits: quantise(net, x, bits=bits) for bits in (8, 4)}
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    with torch.no_grad():
        real, _, values, *_ = net.run(x, None, ["a", "b"])
    assert values["a"].sum() > 300 and values["b"].sum() > 100
    for bits, made in found.items():
        description = describe(made.net, "loihi1")
        assert all(c.bits <= bits for c in description.edges.values())
        assert list(made.choices) == list(description.populations)
        assert all(0 <= choice.mismatch < (0.12, 0.6)[bits == 4] for choice in made.choices.values()), made.summary()
    eight, four = (max(choice.mismatch for choice in made.choices.values()) for made in found.values())
    assert eight < four
    whole = found[8].net(x)[0]
    if net.nodes[net.output].is_spiking:
        assert abs(float(whole.sum() / real.sum()) - 1) < 0.1
    else:
        assert float((whole - real).detach().square().mean().sqrt()) < 0.2 * float(real.detach().std())


@pytest.mark.parametrize("make", [row, images, loops])
def test_training_sees_what_the_chip_will_do(make) -> None:
    net, x = make()
    if any("tau_syn" in node.core.parameters for node in net.neurons().values()):
        net.edges[1].synapses[0].bias = None
    scales = dict.fromkeys(net.populations(), 400.0)
    whole, trained = (quantise(net, x, bits=5, scales=scales, trained=trained) for trained in (False, True))
    wanted = whole.net(x)[0]
    assert torch.equal(trained.net(x)[0].detach(), wanted)
    optimizer = torch.optim.SGD(trained.net.parameters(), lr=0.05)
    (trained.net(x)[0] - 0.5).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in trained.net.parameters())
    optimizer.step()
    moved = trained.net(x)[0].detach()
    made = fixed(trained.net)
    assert torch.equal(made(x)[0], moved) and not torch.equal(moved, wanted)
    assert torch.equal(trained.net(x)[0].detach(), moved), "the network on the grid is as it was"
    assert not any(p.requires_grad for p in made.parameters())
    assert all(c.bits <= 5 for c in describe(made).edges.values())
    wide = made.double()(x.double())[0].float()
    assert torch.equal(wide, moved) if made.nodes[made.output].is_spiking else torch.allclose(wide, moved, rtol=1e-6)


def test_the_scale_that_is_chosen_is_the_best_of_those_tried() -> None:
    net, x = row()
    made = quantise(net, x, bits=4)
    worse = quantise(net, x, bits=4, scales={"a": 0.5 * made.choices["a"].scale.scale})
    assert made.choices["a"].mismatch < worse.choices["a"].mismatch and made.choices["a"].tried > 10
    real = net.run(x, None, ["a"]).recorded["a"]
    whole = made.net.run(x, None, ["a"]).recorded["a"]
    either = ((real + whole) > 0).sum()
    assert made.choices["a"].mismatch == pytest.approx(float((real != whole).sum() / either))
    assert callable(mismatch) and "a" in made.summary()


def test_weights_of_one_sign_keep_their_bit() -> None:
    net = ns.Sequential(ns.Linear(20, 5), ns.LIF(**NEURONS), names=["out"])
    with torch.no_grad():
        net.edges[0].synapses[0].weight.abs_()
    made = quantise(net, spikes(30, 4, 20), bits=8)
    (connection,) = describe(made.net).edges.values()
    assert connection.sign_mode is SignMode.EXCITATORY and (connection.weight % 2).any()
    assert sign_mode(torch.from_numpy(connection.weight)) is SignMode.EXCITATORY


def test_edges_of_different_sizes_get_exponents() -> None:
    net = ns.Network(
        {"in": ns.Input(20), "out": ns.LIF(**NEURONS)},
        [ns.Edge("in", "out", ns.Linear(20, 6), name=name) for name in ("small", "large")],
    )
    with torch.no_grad():
        net.edges[0].synapses[0].weight.mul_(0.3)
        net.edges[1].synapses[0].weight.mul_(6.0)
    made = quantise(net, spikes(60, 6, 20), bits=6)
    exponents = made.choices["out"].scale.exponents
    assert exponents["large"] > exponents["small"] >= 0
    assert describe(made.net).edges["large"].exponent == exponents["large"]


# What is refused.


@pytest.mark.parametrize(
    ("neuron", "message"),
    [
        (lambda: ns.LIF(dt=DT, reset="subtract"), "reset='subtract'; the chip resets to 0"),
        (lambda: ns.LIF(dt=DT, v_reset=-0.5), "v_reset=-0.5; the chip resets to 0"),
        (lambda: ns.ALIF(dt=DT), "its model is 'alif'"),
        (lambda: ns.LIF(dt=DT, v_th=-1.0), "v_th=-1; the chip holds thresholds from 0"),
        (lambda: ns.CubaLIF(dt=DT), "passes through the synaptic current"),
    ],
)
def test_neurons_that_the_chip_does_not_have(neuron, message: str) -> None:
    net = ns.Sequential(ns.Linear(4, 3, bias=True), neuron(), names=["out"])
    with pytest.raises(ExportError, match=f"node 'out': .*{message}"):
        quantise(net, spikes(5, 1, 4))


class Squared(Synapse):
    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape

    def apply_step(self, x: Tensor) -> Tensor:
        return x.square()


def test_synapses_that_the_chip_does_not_have_are_listed_together() -> None:
    shared = ns.LIF(dt=DT, r=torch.rand(3, 4, 4) + 0.5)
    net = ns.Sequential(
        ns.Input((2, 6, 6)), ns.Conv2d(2, 3, 3), shared, ns.MaxPool2d(2), ns.Flatten(), ns.Linear(12, 3),
        ns.LIF(dt=DT), Squared(), ns.LIF(dt=DT), names=["a", "b", "c"],
    )  # fmt: skip
    with pytest.raises(ExportError) as caught:
        quantise(net, spikes(5, 1, 2, 6, 6))
    for part in ("edge 'input->a': the neurons after it differ in r", "edge 'a->b': holds MaxPool2d",
                 "edge 'b->c': ends with Squared, which is not linear"):  # fmt: skip
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (dict(x=torch.full((5, 1, 4), 0.5)), "x for 'input' must be spikes or integers.* got 0.5"),
        (dict(bits=9), "bits must be an integer from 1 to 8; got 9"),
        (dict(scales={"there": 2.0}), r"no population \['there'\]"),
        (dict(scales={"out": -2.0}), r"scales\['out'\] must be a finite number above 0; got -2.0"),
    ],
)
def test_arguments_are_looked_at(given: dict, message: str) -> None:
    net = ns.Sequential(ns.Linear(4, 3), ns.LIF(dt=DT), names=["out"])
    with pytest.raises(InputError, match=message):
        quantise(net, **{"x": spikes(5, 1, 4), **given})


def test_a_loop_whose_synapses_have_the_delay_keeps_it() -> None:
    # The edge's own delay is 0: the delays of the synapses break the loop.
    delayed = RoundedDelays(torch.randn(6, 6), torch.full((6, 6), 3), dt=1e-3)
    edges = [ns.Edge("x", "o", ns.Linear(4, 6)), ns.Edge("o", "o", delayed, delay=0.0)]
    net = ns.Network({"x": ns.Input(4), "o": ns.LIF(dt=1e-3, r=50.0, size=6)}, edges)
    quantised = quantise(net, (torch.rand(20, 2, 4) < 0.5).float(), bits=8).net
    assert [edge.min_delay for edge in quantised.edges] == [edge.min_delay for edge in net.edges] == [0, 3]
