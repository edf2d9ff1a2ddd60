"""Layers of torch as synapses: the numbers are those of a call of the layer, or the layer is refused by name."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize, prune

from neurosim.errors import InputError
from neurosim.synapses import BatchNorm, Conv2d, Dropout, Flatten, Linear, SumPool2d, Synapse, Unflatten
from neurosim.synapses.torch_counterparts import counterpart
from neurosim.synapses.torch_layers import Place, torch_synapses

BATCH = 4


def run(synapses: list[Synapse], x: Tensor) -> Tensor:
    """Return what synapses compute for ``x`` [B, ...]."""
    x = x.unsqueeze(0)
    with torch.no_grad():
        for synapse in synapses:
            x = synapse(x)
    return x[0]


def spikes(shape: tuple[int, ...]) -> Tensor:
    return (torch.rand(BATCH, *shape, dtype=torch.float64) < 0.5).double()


def converted(module: nn.Module, shape: tuple[int, ...], **more: object) -> list[Synapse]:
    synapses = torch_synapses(module, Place(shape, **more))
    assert synapses is not None
    return synapses


def norm(kind: type, channels: int) -> nn.Module:
    module = kind(channels, momentum=0.3)
    for value in (module.running_mean, module.running_var, module.weight, module.bias):
        nn.init.uniform_(value, 0.5, 1.5)
    return module


def norm_of(module: nn.Module) -> nn.Module:
    for value in module.parameters():
        nn.init.uniform_(value, 0.5, 1.5)
    return module


IMAGE, LINE = (2, 6, 7), (3, 9)
LAYERS = {
    "Linear": (lambda: nn.Linear(5, 4), (5,)),
    "Linear without bias": (lambda: nn.Linear(5, 4, bias=False), (5,)),
    "Conv1d": (lambda: nn.Conv1d(3, 4, 3, stride=2, padding=1), LINE),
    "Conv2d": (lambda: nn.Conv2d(2, 4, (3, 2), dilation=(1, 2), groups=2, padding=(1, 0)), IMAGE),
    "Conv2d valid": (lambda: nn.Conv2d(2, 4, 3, padding="valid"), IMAGE),
    "Conv2d same": (lambda: nn.Conv2d(2, 4, 3, padding="same"), IMAGE),
    "Conv2d same, even kernel": (lambda: nn.Conv2d(2, 4, (4, 3), padding="same"), IMAGE),
    "Conv2d same, even kernel, dilated": (lambda: nn.Conv2d(2, 4, (2, 4), dilation=(3, 1), padding="same"), IMAGE),
    "Conv1d same, even kernel": (lambda: nn.Conv1d(3, 3, 4, padding="same", groups=3), LINE),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1, output_padding=1), IMAGE),
    "ConvTranspose2d without bias": (lambda: nn.ConvTranspose2d(2, 3, 2, bias=False), IMAGE),
    "ConvTranspose2d grouped": (lambda: nn.ConvTranspose2d(2, 4, 3, groups=2, dilation=2), IMAGE),
    "Conv3d": (lambda: nn.Conv3d(2, 3, (2, 3, 1), stride=(1, 2, 1), padding=(1, 0, 0)), (2, 3, 6, 4)),
    "Conv3d same": (lambda: nn.Conv3d(2, 3, (2, 3, 4), padding="same", bias=False), (2, 3, 6, 4)),
    "GroupNorm": (lambda: norm_of(nn.GroupNorm(2, 4)), (4, 3, 3)),
    "GroupNorm without weights": (lambda: nn.GroupNorm(2, 4, affine=False), (4, 3, 3)),
    "LayerNorm": (lambda: norm_of(nn.LayerNorm((3, 9), eps=1e-3)), LINE),
    "LayerNorm without bias": (lambda: nn.LayerNorm(8, bias=False), (8,)),
    "MaxPool1d plain": (lambda: nn.MaxPool1d(2), LINE),
    "AvgPool1d plain": (lambda: nn.AvgPool1d(2, stride=1), LINE),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(3, 2, 3, stride=3), LINE),
    "AvgPool2d": (lambda: nn.AvgPool2d(2, stride=1), IMAGE),
    "AvgPool2d padded": (lambda: nn.AvgPool2d(3, stride=2, padding=1), IMAGE),
    "AvgPool2d padded, not counted": (lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False), IMAGE),
    "AvgPool2d ceil": (lambda: nn.AvgPool2d(4, ceil_mode=True), IMAGE),
    "AvgPool2d sum": (lambda: nn.AvgPool2d(2, divisor_override=1), IMAGE),
    "AvgPool2d divisor": (lambda: nn.AvgPool2d(2, divisor_override=3), IMAGE),
    "MaxPool2d": (lambda: nn.MaxPool2d(2), IMAGE),
    "MaxPool2d padded": (lambda: nn.MaxPool2d(3, stride=2, padding=1), IMAGE),
    "AvgPool1d": (lambda: nn.AvgPool1d(3, padding=1), LINE),
    "MaxPool1d": (lambda: nn.MaxPool1d(3, stride=2, padding=1), LINE),
    "AdaptiveAvgPool2d(1)": (lambda: nn.AdaptiveAvgPool2d(1), IMAGE),
    "AdaptiveAvgPool2d, unequal windows": (lambda: nn.AdaptiveAvgPool2d((4, 3)), IMAGE),
    "AdaptiveAvgPool2d, None": (lambda: nn.AdaptiveAvgPool2d((None, 1)), IMAGE),
    "AdaptiveAvgPool1d": (lambda: nn.AdaptiveAvgPool1d(4), LINE),
    "AdaptiveMaxPool2d": (lambda: nn.AdaptiveMaxPool2d((3, 7)), IMAGE),
    "Flatten": (lambda: nn.Flatten(), IMAGE),
    "Flatten(1, 3)": (lambda: nn.Flatten(1, 3), IMAGE),
    "Flatten(2)": (lambda: nn.Flatten(2), IMAGE),
    "Flatten(-2, -1)": (lambda: nn.Flatten(-2, -1), IMAGE),
    "Flatten of a row": (lambda: nn.Flatten(), (8,)),
    "Unflatten": (lambda: nn.Unflatten(1, (2, 2, 3)), (12,)),
    "Unflatten the last": (lambda: nn.Unflatten(-1, (7, -1)), IMAGE),
    "BatchNorm1d": (lambda: norm(nn.BatchNorm1d, 5), (5,)),
    "BatchNorm1d over time": (lambda: norm(nn.BatchNorm1d, 3), LINE),
    "BatchNorm2d": (lambda: norm(nn.BatchNorm2d, 2), IMAGE),
    "BatchNorm2d without weights": (lambda: nn.BatchNorm2d(2, affine=False), IMAGE),
    "Identity": (lambda: nn.Identity(), IMAGE),
    "Dropout": (lambda: nn.Dropout(0.5), IMAGE),
    "Upsample nearest": (lambda: nn.Upsample(scale_factor=2), IMAGE),
    "Upsample bilinear": (lambda: nn.Upsample(size=(9, 5), mode="bilinear"), IMAGE),
    "ZeroPad2d": (lambda: nn.ZeroPad2d((1, 0, 2, 3)), IMAGE),
}


@pytest.mark.filterwarnings("ignore:Using padding=.same.")
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_layer_computes_the_same(name: str, dtype: torch.dtype) -> None:
    make, shape = LAYERS[name]
    module = make().to(dtype).eval()
    kept = copy.deepcopy(module.state_dict())
    synapses = converted(module, shape, dtype=dtype)
    tolerance = dict(rtol=1e-12, atol=1e-12) if dtype is torch.float64 else dict(rtol=1e-5, atol=1e-5)
    for x in (spikes(shape).to(dtype), torch.randn(BATCH, *shape, dtype=dtype)):
        with torch.no_grad():
            expected = module(x)
        torch.testing.assert_close(run(synapses, x), expected, **tolerance)
    assert all(torch.equal(value, kept[key]) for key, value in module.state_dict().items())


def test_settings_of_training_are_kept() -> None:
    (synapse,) = converted(norm(nn.BatchNorm2d, 2).eval(), IMAGE)
    assert isinstance(synapse, BatchNorm) and (synapse.momentum, synapse.eps) == (0.3, 1e-5)
    (dropout,) = converted(nn.Dropout(0.25), IMAGE)
    assert isinstance(dropout, Dropout) and dropout.p == 0.25 and not dropout.training
    module = nn.Linear(5, 4).requires_grad_(False)
    module.bias.requires_grad_(True)
    (linear,) = converted(module, (5,))
    assert isinstance(linear, Linear) and linear.bias is not None
    assert not linear.weight.requires_grad and linear.bias.requires_grad
    bilinear = nn.Upsample(scale_factor=2, mode="bilinear")
    assert not any(p.requires_grad for s in converted(bilinear, IMAGE) for p in s.parameters())
    (norm_without,) = converted(nn.GroupNorm(1, 2, affine=False), IMAGE)
    assert not any(p.requires_grad for p in norm_without.parameters())


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Linear(5, 4), (5,)),
        (nn.Conv3d(2, 4, 2, groups=2), (2, 3, 4, 4)),
        (nn.ConvTranspose2d(2, 3, 2), IMAGE),
        (norm(nn.BatchNorm2d, 2).eval(), IMAGE),
        (norm_of(nn.LayerNorm(LINE)), LINE),
    ],
)
def test_a_counterpart_shares_the_numbers_of_a_layer_or_copies_them(
    module: nn.Module, shape: tuple[int, ...], share: bool
) -> None:
    module.bias.requires_grad_(False)
    synapse = counterpart(module, type(module), share=share)
    assert synapse is not None
    x = torch.randn(BATCH, *shape)
    with torch.no_grad():
        torch.testing.assert_close(synapse(x[None])[0], module(x))
    own = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    found = {**dict(synapse.named_parameters()), **dict(synapse.named_buffers())}
    assert len(found) >= 2
    for name, value in found.items():
        assert (value is own[name]) == share and torch.equal(value, own[name])
        assert value.requires_grad == own[name].requires_grad and (value.data_ptr() == own[name].data_ptr()) == share


def test_structure_is_kept_where_a_synapse_has_it() -> None:
    assert isinstance(converted(nn.Conv2d(2, 4, 2, padding="same"), IMAGE)[0], Conv2d)
    assert [type(s) for s in converted(nn.Flatten(1, 3), IMAGE)] == [Flatten]
    assert [type(s) for s in converted(nn.Flatten(2), IMAGE)] == [Unflatten]
    assert converted(nn.ReLU(), IMAGE, non_negative=True) == []
    assert [type(s) for s in converted(nn.AvgPool2d(2, divisor_override=1), IMAGE)] == [SumPool2d]
    assert [type(s) for s in converted(nn.Flatten(2), IMAGE, axes_before=2)] == [Flatten]
    assert torch_synapses(nn.GRUCell(3, 3), Place((3,))) is None


class Positive(nn.Linear):
    """A subclass with a forward method of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight * (self.weight > 0), self.bias)


class Named(nn.Linear):
    """A subclass that computes what its base does."""

    def describe(self) -> str:
        return "named"


class Halved(nn.Conv2d):
    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return super()._conv_forward(x, weight / 2, bias)


class Shifted(nn.Flatten):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).roll(1, 1)


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


def moved(module: nn.Module) -> nn.Module:
    """Move all parameters, as an optimizer does, after a hook computed weights from them."""
    with torch.no_grad():
        for value in module.parameters():
            value.add_(torch.randn_like(value))
    return module


def parametrized() -> nn.Module:
    module = nn.Linear(5, 4)
    parametrize.register_parametrization(module, "weight", Doubled())
    return moved(module)


COMPUTED = {
    "subclass without a forward method": lambda: Named(5, 4),
    "weight_norm as a hook": lambda: moved(torch.nn.utils.weight_norm(nn.Linear(5, 4))),
    "spectral_norm as a hook": lambda: moved(torch.nn.utils.spectral_norm(nn.Linear(5, 4))),
    "pruned": lambda: moved(prune.random_unstructured(nn.Linear(5, 4), "weight", 0.4)),
    "pruned twice": lambda: moved(
        prune.ln_structured(prune.random_unstructured(nn.Linear(5, 4), "weight", 0.4), "weight", 0.3, 2, 0)
    ),
    "pruned bias": lambda: moved(prune.random_unstructured(nn.Linear(5, 4), "bias", 0.5)),
    "parametrized": parametrized,
    "weight_norm as a parametrisation": lambda: moved(parametrizations.weight_norm(nn.Linear(5, 4))),
    "spectral_norm as a parametrisation": lambda: moved(parametrizations.spectral_norm(nn.Linear(5, 4))),
    "orthogonal": lambda: moved(parametrizations.orthogonal(nn.Linear(5, 4))),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated")
@pytest.mark.parametrize("name", COMPUTED)
def test_computed_weights_are_those_of_a_call(name: str) -> None:
    module = COMPUTED[name]().double().eval()
    kept = copy.deepcopy({key: value.clone() for key, value in module.state_dict().items()})
    x = torch.randn(BATCH, 5, dtype=torch.float64)
    synapses = converted(module, (5,))
    assert all(torch.equal(value, kept[key]) for key, value in module.state_dict().items())
    with torch.no_grad():
        torch.testing.assert_close(run(synapses, x), module(x), rtol=1e-12, atol=1e-12)


def hooked(module: nn.Module, kind: str = "forward_hook") -> nn.Module:
    def twice(module: nn.Module, x: object, y: object = None) -> object:
        return y if y is None else 2 * y

    getattr(module, f"register_{kind}")(twice)
    return module


def assigned() -> nn.Module:
    module = nn.Linear(5, 4)
    module.forward = lambda x: functional.linear(x, module.weight.abs())  # type: ignore[method-assign, assignment]
    return module


class Thinned(prune.RandomUnstructured):
    def apply_mask(self, module: nn.Module) -> Tensor:
        return 2 * super().apply_mask(module)


REFUSED = {
    "own forward": (lambda: Positive(5, 4), (5,), "its class Positive has a method 'forward' of its own"),
    "own inner method": (lambda: Halved(2, 3, 3), IMAGE, "its class Halved has a method '_conv_forward' of its own"),
    "own flattening": (lambda: Shifted(), IMAGE, "its class Shifted has a method 'forward'"),
    "hook": (lambda: hooked(nn.Linear(5, 4)), (5,), "has the forward hook twice"),
    "pre-hook": (lambda: hooked(nn.Linear(5, 4), "forward_pre_hook"), (5,), "has the forward pre-hook twice"),
    "hook on pooling": (lambda: hooked(nn.MaxPool2d(2)), IMAGE, "has the forward hook twice"),
    "hook on dropout": (lambda: hooked(nn.Dropout()), IMAGE, "has the forward hook twice"),
    "hook on normalisation": (lambda: hooked(nn.BatchNorm2d(2).eval()), IMAGE, "has the forward hook twice"),
    "assigned forward": (assigned, (5,), "its method 'forward' was assigned on this object"),
    "spectral_norm in training": (
        lambda: parametrizations.spectral_norm(nn.Linear(5, 4)),
        (5,),
        r"computes another weight at each call in training; call .eval\(\)",
    ),
    "spectral_norm in training, hook": (
        lambda: torch.nn.utils.spectral_norm(nn.Linear(5, 4)),
        (5,),
        r"computes another weight at each call in training; call .eval\(\)",
    ),
    "normalisation in training": (lambda: nn.BatchNorm2d(2), IMAGE, "is in training"),
    "no statistics": (lambda: nn.BatchNorm2d(2, track_running_stats=False).eval(), IMAGE, "no running statistics"),
    "last axis": (lambda: nn.Linear(9, 4), LINE, r"reads the last axis of an input of \[3, 9\]"),
    "padding mode": (lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), IMAGE, "padding_mode='reflect'"),
    "flattens the batch": (lambda: nn.Flatten(0), IMAGE, r"flattens axes 0 to -1 of \[B, 2, 6, 7\]"),
    "flattens nothing": (lambda: nn.Flatten(2), (3,), r"flattens axes 2 to -1 of \[B, 3\]"),
    "dilated maximum": (lambda: nn.MaxPool2d(2, dilation=2), IMAGE, "dilation=2; pooling of neurosim has no such"),
    "ceil of a maximum": (lambda: nn.MaxPool2d(2, ceil_mode=True), IMAGE, "ceil_mode=True"),
    "rectified currents": (lambda: nn.ReLU(), IMAGE, "rectifies currents, which may be below 0"),
    "shape": (lambda: nn.Conv2d(3, 4, 3), IMAGE, r"cannot take an input of \[2, 6, 7\]"),
    "shape of pooling": (lambda: nn.AvgPool2d(2, padding=1), (4,), r"cannot take an input of \[4\]"),
    "some axes": (lambda: nn.LayerNorm(9), LINE, r"normalises the axes \[9\] of an input of \[3, 9\]"),
    "no equal windows": (lambda: nn.AdaptiveMaxPool2d(4), IMAGE, "does not divide"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name: str) -> None:
    make, shape, message = REFUSED[name]
    with pytest.raises(InputError, match=message):
        torch_synapses(make(), Place(shape))


def test_pruning_of_ones_own_is_refused() -> None:
    module = nn.Linear(5, 4)
    Thinned.apply(module, "weight", 0.5)
    with pytest.raises(InputError, match="has the forward pre-hook Thinned"):
        torch_synapses(module, Place((5,)))


def test_a_layer_of_torch_with_time_before_the_batch_is_refused() -> None:
    for module, shape in ((nn.MaxPool2d(2), IMAGE), (nn.BatchNorm1d(5).eval(), (5,)), (nn.Conv1d(3, 2, 3), LINE)):
        with pytest.raises(InputError, match=r"takes the axes \[B, ...\]"):
            torch_synapses(module, Place(shape, axes_before=2))
