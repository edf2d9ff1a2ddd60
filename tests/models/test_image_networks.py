"""Spiking ResNet and VGG: published sizes, the equations of their blocks written as plain loops, exports."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import neurosim as ns
from neurosim.energy import count_operations
from neurosim.errors import ExportError, InputError, ShapeError, UnitError
from neurosim.exchange.nir import from_nir, to_nir
from neurosim.hardware.quantise import quantise
from neurosim.models import resnet18, resnet34, vgg11, vgg16
from neurosim.network import fold
from neurosim.synapses import BatchNorm

WIDTH, DT, STEPS, SAMPLES = 1 / 16, 1e-3, 4, 3
BUILD = {
    "tdbn": lambda shape, **choices: resnet18(shape, 10, width=WIDTH, **choices),
    "sew": lambda shape, **choices: resnet18(shape, 10, width=WIDTH, variant="sew", **choices),
    "vgg": lambda shape, **choices: vgg11(shape, 10, width=WIDTH, **choices),
}


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def settled(net: ns.Network, x: Tensor) -> ns.Network:
    """Return the network in evaluation with the statistics of one batch, so that it fires."""
    for norm in (m for m in net.modules() if isinstance(m, BatchNorm)):
        norm.momentum = 1.0
    with torch.no_grad():
        net.train()(x)
    return net.eval()


@pytest.mark.parametrize(
    ("make", "published"),
    [(resnet18, 11_689_512), (resnet34, 21_797_672)],  # torchvision's resnet18 and resnet34
)
@pytest.mark.parametrize("variant", ["tdbn", "sew"])
def test_the_resnets_have_the_published_numbers_of_parameters(make, published: int, variant: str) -> None:
    assert parameters(make(variant=variant)) == published


def vgg_parameters(groups: list[list[int]], width: float) -> int:
    """Count by hand: weights and biases of convolutions, two values a channel of normalisation, three linear layers."""
    total, before = 0, 3
    for size in (round(size * width) for group in groups for size in group):
        total += 9 * before * size + size + 2 * size
        before = size
    hidden = round(4096 * width)
    return total + (49 * before + 1) * hidden + (hidden + 1) * hidden + (hidden + 1) * 1000


def test_the_vggs_have_the_published_numbers_of_parameters() -> None:
    eleven = [[64], [128], [256, 256], [512, 512], [512, 512]]
    sixteen = [[64, 64], [128, 128], [256] * 3, [512] * 3, [512] * 3]
    assert vgg_parameters(eleven, 1) == 132_868_840  # torchvision's vgg11_bn
    assert vgg_parameters(sixteen, 1) == 138_365_992  # torchvision's vgg16_bn
    assert parameters(vgg11(width=1 / 8)) == vgg_parameters(eleven, 1 / 8)
    assert parameters(vgg16(width=1 / 8)) == vgg_parameters(sixteen, 1 / 8)


@pytest.mark.parametrize("kind", BUILD)
@pytest.mark.parametrize("shape", [(1, 32, 32), (5, 96, 80)])
def test_shapes_of_both_stems(kind: str, shape: tuple[int, ...]) -> None:
    net = BUILD[kind](shape).eval()
    out, _ = net(torch.rand(2, 1, *shape))
    assert out.shape == (2, 1, 10)
    if kind != "vgg":
        small = shape[1] <= 64
        rows, columns = (shape[1], shape[2]) if small else (24, 20)
        assert net.shape("stem")[1:] == ((rows, columns) if small else (48, 40))
        sizes = [net.shape(f"stage{stage}_2") for stage in (1, 2, 3, 4)]
        assert sizes == [
            (round(64 * 2**k * WIDTH), math.ceil(rows / 2**k), math.ceil(columns / 2**k)) for k in range(4)
        ]


@pytest.mark.parametrize("kind", BUILD)
def test_gradients_reach_every_parameter(kind: str) -> None:
    torch.manual_seed(0)
    net = BUILD[kind]((2, 32, 32)).double()
    x = torch.rand(STEPS, SAMPLES, 2, 32, 32).double()
    out, _ = settled(net, x)(x)
    functional.cross_entropy(out.mean(0), torch.arange(SAMPLES)).backward()
    without = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not without
    assert all(p.grad.isfinite().all() for p in net.parameters())


def norm(i: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """Normalise currents [T, B, C, H, W] by the mean and variance of a channel over all but its axis."""
    axes = (0, 1, 3, 4)
    mean, var = i.mean(axes, keepdim=True), i.var(axes, correction=0, keepdim=True)
    return gamma.view(-1, 1, 1) * (i - mean) / (var + 1e-5).sqrt() + beta.view(-1, 1, 1)


def fire(i: Tensor, decay: float, v_th: float) -> Tensor:
    """Integrate, fire above the threshold and set the membrane to 0, step by step."""
    u, spikes = torch.zeros_like(i[0]), []
    for current in i:
        u = decay * u + current
        spikes.append((u > v_th).to(i))
        u = u * (1 - spikes[-1])
    return torch.stack(spikes)


def resnet_loop(net: ns.Network, x: Tensor, variant: str) -> dict[str, Tensor]:
    """Return what the populations of a ResNet-18 with the small stem send, from its weights and plain loops."""
    decay, v_th = (0.25, 0.5) if variant == "tdbn" else (1.0, 1.0)

    def current(source: str, target: str) -> Tensor:
        convolution, normalisation = net.synapses[f"{source}->{target}"]
        weight = convolution.weight
        stride, padding = convolution.stride, weight.shape[-1] // 2
        i = torch.stack([functional.conv2d(z, weight, stride=stride, padding=padding) for z in sent[source]])
        return norm(i, normalisation.weight, normalisation.bias)

    sent = {"input": x}
    sent["stem"] = fire(current("input", "stem"), decay, v_th)
    before = "stem"
    for node in (f"stage{stage}_{block}" for stage in (1, 2, 3, 4) for block in (1, 2)):
        first, second, shortcut = (f"{node}_{part}" for part in ("first", "second", "shortcut"))
        is_identity = sent[before].shape[2:] == net.shape(node)
        sent[first] = fire(current(before, first), decay, v_th)
        if variant == "tdbn":
            across = sent[before] if is_identity else current(before, node)
            sent[node] = fire(current(first, node) + across, decay, v_th)
        else:
            sent[second] = fire(current(first, second), decay, v_th)
            if not is_identity:
                sent[shortcut] = fire(current(before, shortcut), decay, v_th)
            sent[node] = sent[second] + (sent[before] if is_identity else sent[shortcut])
        before = node
    linear = net.synapses[f"{before}->out"][-1]
    sent["out"] = sent[before].mean((3, 4)) @ linear.weight.T + linear.bias
    return sent


@pytest.mark.parametrize("variant", ["tdbn", "sew"])
def test_a_resnet_computes_the_equations_of_its_blocks(variant: str) -> None:
    torch.manual_seed(1)
    net = BUILD[variant]((2, 16, 16)).double()
    for each in (m for m in net.modules() if isinstance(m, BatchNorm)):
        nn.init.uniform_(each.bias, -0.2, 0.2)
    x = torch.rand(STEPS, SAMPLES, 2, 16, 16).double()
    with torch.no_grad():
        recorded = net.run(x, record=list(net.populations())).recorded
        expected = resnet_loop(net, x, variant)
    assert recorded.keys() == expected.keys() - {"input"}
    for name, values in recorded.items():
        assert name == "out" or 0.01 < values.mean() < 1.5, name
        torch.testing.assert_close(values, expected[name], rtol=0, atol=1e-12 if name == "out" else 0)
    if variant == "sew":
        assert recorded["stage4_2"].max() > 1  # spikes add up


def test_normalisation_starts_at_the_threshold_and_at_its_share_in_a_sum() -> None:
    net = resnet18((3, 32, 32), 10, width=WIDTH, neuron=lambda: ns.LIF(dt=DT, v_th=0.8))

    def start(edge: str) -> float:
        return float(net.synapses[edge][1].weight.detach().unique())

    assert start("input->stem") == start("stem->stage1_1_first") == pytest.approx(0.8)
    for edge in ("stage1_1_first->stage1_1", "stage2_1_first->stage2_1", "stage1_2->stage2_1"):
        assert start(edge) == pytest.approx(0.8 / math.sqrt(2))
    sew = resnet18((3, 32, 32), 10, width=WIDTH, variant="sew", neuron=lambda: ns.LIF(dt=DT, v_th=0.8))
    assert {float(m.weight.detach().unique()) for m in sew.modules() if isinstance(m, BatchNorm)} == {1.0}


@pytest.mark.parametrize("kind", BUILD)
def test_folded_counted_and_written_to_nir(kind: str) -> None:
    torch.manual_seed(2)
    x = torch.rand(STEPS, SAMPLES, 2, 32, 32).double()
    net = settled(BUILD[kind]((2, 32, 32), **({"pool": "average"} if kind == "vgg" else {})).double(), x)
    plain = fold(net)
    with torch.no_grad():
        out, again = net(x)[0], plain(x)[0]
    assert not any(isinstance(m, BatchNorm) for m in plain.modules()) and out.std() > 0.01
    torch.testing.assert_close(again, out, rtol=1e-9, atol=1e-9)
    assert count_operations(plain, x).accumulates > 0
    with torch.no_grad():
        torch.testing.assert_close(from_nir(to_nir(plain), dt=DT).double()(x)[0], again, rtol=1e-6, atol=1e-6)


def test_nir_refuses_the_maximum_by_name() -> None:
    net = fold(vgg11((2, 32, 32), 10, width=WIDTH).eval())
    with pytest.raises(ExportError, match=r"'conv1_1->conv2_1': holds MaxPool2d; NIR has no primitive"):
        to_nir(net)


def test_loihi_refuses_sums_without_neurons_by_name() -> None:
    net = fold(BUILD["sew"]((2, 32, 32)).eval())
    with pytest.raises(ExportError, match=r"node 'stage1_1': its model is 'relay'"):
        quantise(net, torch.ones(2, 1, 2, 32, 32))


def test_the_kernels_are_fused_and_the_convolutions_event_driven() -> None:
    torch.manual_seed(0)
    rows = {kind: str(BUILD[kind]((2, 32, 32)).explain(torch.rand(2, 2, 2, 32, 32))) for kind in BUILD}
    for kind, text in rows.items():
        assert "neurons: fused on cpu" in text and "neurons: reference" not in text, kind
    assert all("conv: event-driven on cpu" in rows[kind] for kind in ("tdbn", "sew"))


def test_rules_that_learn_step_by_step_train_with_statistics_of_each_step_alone() -> None:
    torch.manual_seed(0)
    x, target = torch.rand(2, 3, 1, 16, 16), torch.tensor([0, 1, 2])
    net = BUILD["sew"]((1, 16, 16), over="step")
    ns.SLTT().gradients(net, x, target, ns.CrossEntropy())
    assert net.synapses["input->stem"][0].weight.grad.abs().sum() > 0
    with pytest.raises(InputError, match='over="time"'):
        ns.SLTT().gradients(BUILD["sew"]((1, 16, 16)), x, target, ns.CrossEntropy())


def wrong_neuron() -> ns.Neuron:
    return ns.LI(dt=DT)


@pytest.mark.parametrize(
    ("make", "choices", "kind", "said"),
    [
        (resnet18, dict(shape=(32, 32)), InputError, r"shape must be \(channels, height, width\)"),
        (resnet18, dict(variant="max"), InputError, "variant must be one of"),
        (vgg11, dict(width=0.0), InputError, "width must be a number above 0"),
        (vgg11, dict(classes=1), InputError, "classes must be an integer from 2"),
        (resnet18, dict(dt=1.0), UnitError, "resnet18: dt"),
        (vgg11, dict(pool="sum"), InputError, 'pool must be "max" or "average"'),
        (vgg11, dict(neuron=ns.LIF(dt=DT)), InputError, "a function without arguments"),
        (resnet34, dict(neuron=wrong_neuron), InputError, "share of the threshold v_th"),
        (vgg16, dict(shape=(3, 16, 16)), ShapeError, "H >= 2"),
        (resnet18, dict(over="batch"), InputError, 'over must be "step" or "time"'),
    ],
)
def test_wrong_arguments_are_refused_by_name(make, choices, kind, said) -> None:
    with pytest.raises(kind, match=said):
        make(**{"shape": (3, 32, 32), "classes": 10, "width": WIDTH, **choices})
