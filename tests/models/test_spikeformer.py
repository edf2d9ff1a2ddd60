"""The spike-driven transformer: numbers of parameters, folding, attention, the audit of its products, and energy."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from neurosim.errors import InputError, ShapeError
from neurosim.models import SpikeAttention, SpikeFormer, fold_spikeformer, spikeformer_energy, spikeformer_products
from neurosim.models.spikeformer import SIZES, RepConv, SepConv, Spiking, Steps

KINDS = ["sdsa1", "sdsa2", "sdsa3", "sdsa4"]


def with_statistics(model: nn.Module) -> nn.Module:
    """Return the model in evaluation mode, in double precision, with norms that are not those of the start."""
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.uniform_(part.bias, -0.3, 0.6)
            assert part.running_mean is not None and part.running_var is not None
            part.running_mean.uniform_(-0.3, 0.3)
            part.running_var.uniform_(0.5, 1.5)
    return model.double().eval()


def small(attention: Any = "sdsa3") -> SpikeFormer:
    """Return a network for images of 12 x 12 pixels."""
    torch.manual_seed(0)
    net = SpikeFormer((8, 16, 16, 16), 10, n_in=1, blocks=(1, 1, 1, 1, 1), strides=(1, 2, 2, 1, 1), attention=attention)
    with_statistics(net)
    return net


@pytest.mark.parametrize(
    ("size", "parameters"), [("31M", 31_333_864), ("55M", 55_350_248), ("124M", 123_741_160), ("15M", 15_112_208)]
)
def test_numbers_of_parameters_are_those_of_the_authors_program(size: str, parameters: int) -> None:
    """The first three are those counted from its classes; the last one is the sum of the same layers."""
    with torch.device("meta"):
        net = SpikeFormer(SIZES[size])
    assert sum(p.numel() for p in net.parameters()) == parameters


@pytest.mark.parametrize("layers", ["RepConv", "SepConv", "plain"])
def test_folded_layers_are_one_convolution(layers: str) -> None:
    """Borders included: a border of zeros behind the first norm would be off by much more."""
    torch.manual_seed(0)
    made: dict[str, Steps] = {
        "RepConv": Steps(RepConv(6, 5), nn.BatchNorm2d(5)),
        "SepConv": SepConv(4).mix,
        "plain": Steps(nn.Conv2d(6, 5, 3, 2, 1), nn.BatchNorm2d(5)),
    }
    layer = with_statistics(made[layers])
    x = (torch.rand(2, 3, 8 if layers == "SepConv" else 6, 9, 9) < 0.3).double()
    assert isinstance(layer, Steps)
    expected, one = layer(x), fold_spikeformer(layer)
    assert [type(part) for part in one.layers] == [nn.Conv2d]  # type: ignore[union-attr]
    assert torch.allclose(one(x), expected, rtol=0, atol=1e-13)
    if layers == "RepConv":
        padded = nn.functional.pad(layer.layers[0][1].norm(layer.layers[0][0](x.flatten(0, 1))), (1, 1, 1, 1))  # type: ignore[index, union-attr, operator]
        wrong = layer.layers[1](nn.Sequential(*list(layer.layers[0])[2:])(padded)).unflatten(0, (2, 3))  # type: ignore[arg-type]
        assert torch.allclose(wrong[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1])
        assert (wrong - expected).abs().max() > 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_a_folded_network_gives_the_same_scores(kind: str) -> None:
    """Spike for spike."""
    net, x = small(kind), torch.rand(2, 2, 1, 12, 12).double()
    found = net(x)
    assert found.abs().max() > 0 and torch.equal(fold_spikeformer(net)(x), found)


def test_attention_is_its_definition() -> None:
    """Token by token, for each kind; the integers of the third do not depend on the order of its products."""
    torch.manual_seed(1)
    q, k, v = ((torch.rand(1, 2, 16, 3, 3) < 0.4).double() for _ in range(3))
    for kind in KINDS:
        layer = SpikeAttention(16, kind, heads=4).double()  # type: ignore[arg-type]
        found = layer.attend(q=q, v=v) if kind == "sdsa2" else layer.attend(q=q, v=v, k=k)
        for b in range(2):
            for head in range(4):
                a, b_, c = (
                    each[0, b, 4 * head : 4 * head + 4].flatten(1).T for each in (q, k, v)
                )  # [tokens, features]
                if kind == "sdsa1":
                    expected = a * fire((b_ * c).sum(0), 1.0)
                elif kind == "sdsa2":
                    expected = c * fire(a.sum(0), 1.0)
                else:
                    assert torch.equal((a @ b_.T) @ c, a @ (b_.T @ c))
                    expected = fire((a @ b_.T) @ c * 0.125, 0.5)
                assert torch.equal(found[0, b, 4 * head : 4 * head + 4].T, expected)
        assert 0 < found.mean() < 1


def fire(current: torch.Tensor, v_th: float) -> torch.Tensor:
    """Return the spikes of the first step of neurons at rest."""
    return (current / 2.0 > v_th).double()


def test_a_scale_is_a_threshold() -> None:
    """With a hard reset to 0: an eighth of the input at a threshold of 0.5 is the input at 4."""
    x = torch.randint(0, 30, (20, 3, 7)).double()
    assert torch.equal(Spiking(0.5).double()(x * 0.125), Spiking(4.0).double()(x))


def test_neurons_are_those_of_the_paper() -> None:
    """``v + (x - v) / 2`` with a hard reset, in a plain loop."""
    x, v = torch.randn(30, 5).double() * 2 + 1, torch.zeros(5).double()
    expected = []
    for now in x:
        v = v + (now - v) / 2.0
        s = (v > 1.0).double()
        v = (1 - s) * v
        expected.append(s)
    assert torch.equal(Spiking().double()(x[:, None])[:, 0], torch.stack(expected))


@pytest.mark.parametrize("kind", KINDS)
def test_every_product_of_a_folded_network_has_a_side_of_spikes_or_counts(kind: str) -> None:
    """But for the first convolution; as trained, the layers inside of a RepConv have real inputs too."""
    net, x = small(kind), torch.rand(2, 2, 1, 12, 12).double()
    real = {name for name, each in spikeformer_products(fold_spikeformer(net), x).items() if each["input"] == "real"}  # type: ignore[arg-type]
    assert real == {"stages.0.0.layers.0"}
    trained = {name for name, each in spikeformer_products(net, x).items() if each["input"] == "real"}
    assert all("attention" in name or "mix.layers.1" in name for name in trained - real) and len(trained) > 4


def test_energy_counts_each_product_with_an_input() -> None:
    """By a loop over places and channels on one layer; the formula differs at borders alone."""
    net, x = fold_spikeformer(small()), torch.rand(1, 1, 1, 12, 12).double()
    found = spikeformer_products(net, x)  # type: ignore[arg-type]
    name = "stages.1.1.layers.0"  # 3 x 3, stride 2, on 12 x 12 pixels
    seen: list[torch.Tensor] = []
    layer = net.get_submodule(name)
    handle = layer.register_forward_hook(lambda _, given, result: seen.extend((given[0], result)))
    net(x)
    handle.remove()
    given, result = seen
    total = 0
    for row in range(result.shape[2]):
        for column in range(result.shape[3]):
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    y, z = 2 * row + dy, 2 * column + dx
                    if 0 <= y < given.shape[2] and 0 <= z < given.shape[3]:
                        total += int((given[0, :, y, z] != 0).sum()) * result.shape[1]
    assert found[name]["effective"] == total
    assert found[name]["dense"] == result.numel() * given.shape[1] * 9
    energy = spikeformer_energy(found, add=1.0, multiply=10.0)
    first = found["stages.0.0.layers.0"]["dense"]
    spiking = [each for each in found.values() if each["input"] == "spikes" and "dense" in each]
    assert energy["counted"] == pytest.approx(10 * first + sum(each["effective"] for each in spiking))
    assert energy["formula"] == pytest.approx(10 * first + sum(each["rate"] * each["dense"] for each in spiking))


def test_all_parameters_get_gradients() -> None:
    """In training mode, with the learned threshold of the fourth attention."""
    net = small("sdsa4").float().train()
    net(torch.rand(2, 4, 1, 12, 12) * 3).square().sum().backward()
    without = [name for name, p in net.named_parameters() if p.grad is None]
    assert not without and any("v_th" in name for name, _ in net.named_parameters())


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: SpikeFormer((8, 16, 16)), InputError, "4 widths, 5 numbers of blocks and 5 strides"),
        (lambda: SpikeFormer((8, 16, 16, 16), attention="softmax"), InputError, "attention must be sdsa1"),
        (lambda: SpikeFormer((8, 16, 12, 16)), InputError, "dim = 12 is not a multiple of heads = 8"),
        (lambda: small()(torch.rand(2, 3, 12, 12).double()), ShapeError, r"x must be \[T, B, 1, H, W\]"),
    ],
)
def test_what_cannot_be_is_refused(make: Any, error: type[Exception], message: str) -> None:
    """By name and value."""
    with pytest.raises(error, match=message):
        make()
