"""Conversion to spike rates: the bound of the first layer, a plain loop for the others, accuracy on digits."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import neurosim as ns
from neurosim.datasets import digits
from neurosim.errors import ExportError, InputError, ShapeError
from neurosim.models import rate_coded, rate_errors
from neurosim.synapses import BatchNorm, Scale
from neurosim.synapses.dropout import Dropout

SHAPE = (1, 8, 8)


def convolutional() -> nn.Sequential:
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(inplace=True)),
        nn.AvgPool2d(2),
        nn.Dropout(0.1),
        nn.Conv2d(12, 24, 3, padding=1, bias=False),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(96, 48),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(48, 10),
    )


@pytest.fixture(scope="module")
def trained() -> tuple[nn.Sequential, Tensor, Tensor, Tensor]:
    """A trained network, the training images, the test images and their classes."""
    data = digits()
    torch.manual_seed(0)
    model, x, y = convolutional(), data.train.x.view(-1, *SHAPE), data.train.y
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(15):
        for batch in torch.randperm(len(x)).split(128):
            optimizer.zero_grad()
            functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
    return model.eval(), x, data.test.x.view(-1, *SHAPE), data.test.y


def accuracy(out: Tensor, y: Tensor) -> float:
    return float((out.argmax(1) == y).double().mean())


def test_the_accuracy_on_digits_approaches_that_of_the_model(trained) -> None:
    model, x, test, y = trained
    with torch.no_grad():
        own = accuracy(model(test), y)
        assert own > 0.97
        for percentile in (100.0, 99.9):
            net = rate_coded(model, x, percentile=percentile)
            out, _ = net(test.expand(128, *test.shape))
            reached = [accuracy(out[:steps].mean(0), y) for steps in (8, 32, 128)]
            print(f"model {own:.4f}, percentile {percentile}: {reached}")
            assert reached[1] >= reached[0] - 0.01 and reached[2] >= reached[1] - 0.01
            assert abs(reached[2] - own) <= 0.01 and reached[0] > 0.5


def plain_loop(model: nn.Sequential, thresholds: list[float], x: Tensor, steps: int) -> list[Tensor]:
    """Count spikes of membranes that start at half the threshold, from the layers of the model itself."""
    flat = [m for part in model for m in (part if isinstance(part, nn.Sequential) else [part])]
    membranes = [torch.tensor(0.5 * theta).to(x) for theta in thresholds]
    counts, out = [torch.zeros(()).to(x) for _ in thresholds], torch.zeros(()).to(x)
    for _ in range(steps):
        value, place = x, 0
        for module in flat:
            if isinstance(module, nn.ReLU):
                u = membranes[place] + value
                z = (u > thresholds[place]).to(x)
                membranes[place], counts[place] = u - thresholds[place] * z, counts[place] + z
                value, place = thresholds[place] * z, place + 1
            else:
                value = module(value)
        out = out + value
    return [*counts, out / steps]


def test_it_computes_what_a_plain_loop_of_the_model_computes(trained) -> None:
    model, x, test, _ = trained
    model = copy.deepcopy(model).double()
    net = rate_coded(model, x.double())
    names = [*net.populations()]
    assert names == ["relu1", "relu2", "relu3", "out"]
    assert not any(isinstance(m, (BatchNorm, Dropout)) for m in net.modules())
    thresholds = [float(net.nodes[name].value("reset_amount")) for name in names[:3]]
    with torch.no_grad():
        recorded = net.run(test[:20].double().expand(25, 20, *SHAPE), record=names).recorded
        expected = plain_loop(model, thresholds, test[:20].double(), 25)
    for name, values in zip(names[:3], expected, strict=False):
        assert torch.equal(recorded[name].sum(0), values) and values.any()
    torch.testing.assert_close(recorded["out"].mean(0), expected[-1])


@pytest.mark.parametrize("start", [0.0, 0.25, 0.5])
@pytest.mark.parametrize("steps", [1, 7, 100])
def test_the_bound_of_the_first_layer_holds_for_any_constant_current(start: float, steps: int) -> None:
    model = nn.Sequential(nn.Identity(), nn.ReLU()).eval()
    activation = torch.linspace(-1.5, 3.0, 20_001, dtype=torch.float64)[:, None]
    theta = 2.0  # the largest on the data; 1 of 3 is clipped
    net = rate_coded(model, torch.tensor([[theta]], dtype=torch.float64), start=start)
    (row,) = rate_errors(model, net, activation, steps)
    assert row.threshold == theta and row.bound == pytest.approx(theta * max(start, 1 - start) / steps)
    assert 0.98 * row.bound <= row.largest <= row.bound * (1 + 1e-6) and row.beyond == 0.0
    assert row.clipped == pytest.approx(1.0 / 4.5, abs=1e-3)


def test_the_errors_of_all_layers_fall_with_the_number_of_steps(trained) -> None:
    model, x, test, _ = trained
    net = rate_coded(model, x)
    short, long = (rate_errors(model, net, test, steps) for steps in (16, 128))
    assert [row.population for row in short] == ["relu1", "relu2", "relu3", "out"]
    assert short[0].beyond == long[0].beyond == 0.0
    for before, after in zip(short, long, strict=True):
        print(before, after, sep="\n")
        assert after.mean < 0.4 * before.mean
    assert short[-1].bound is None


def test_thresholds_are_percentiles_of_the_activations_above_zero() -> None:
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU()).eval()
    nn.init.ones_(model[0].weight)
    x = torch.cat([-torch.ones(500), torch.arange(1.0, 102.0)])[:, None]
    for percentile, theta in ((100.0, 101.0), (50.0, 51.0), (90.0, 91.0)):
        net = rate_coded(model, x, percentile=percentile)
        assert net.nodes["relu1"].value("reset_amount") == pytest.approx(theta)
        assert net.nodes["relu1"].value("v_th") == pytest.approx(theta / 2)


def test_what_lies_between_rectifiers() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.ReLU(), nn.AvgPool2d(2), nn.ReLU(), nn.Flatten(), nn.Dropout(), nn.ReLU(), nn.ReLU(), nn.Linear(4, 3)
    ).eval()
    x = torch.rand(200, 1, 4, 4).double() * 3
    model.double()
    net = rate_coded(model, x)
    assert any(isinstance(m, Scale) for m in net.modules())  # no weights take the value of a spike behind relu1
    rows = rate_errors(model, net, x, 400)
    assert [row.population for row in rows] == ["relu1", "relu2", "relu3", "out"]
    assert all(row.largest < 0.05 for row in rows)


def test_the_model_is_not_changed_and_a_start_of_zero_needs_no_reset_amount(trained) -> None:
    model, x, _, _ = trained
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    net = rate_coded(model, x, start=0.0)
    assert "reset_amount" not in net.nodes["relu1"].declared
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())


class Doubled(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def hooked() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    model.register_forward_hook(lambda module, inputs, out: out + 1)
    return model


@pytest.mark.parametrize(
    ("model", "choices", "kind", "said"),
    [
        (
            nn.Sequential(nn.Unflatten(1, (1, 4)), nn.MaxPool1d(2), nn.ReLU()),
            {},
            InputError,
            "1, MaxPool1d, is not affine",
        ),
        (
            nn.Sequential(nn.Unflatten(1, (1, 2, 2)), nn.MaxPool2d(2), nn.ReLU()),
            {},
            InputError,
            "MaxPool2d, is not affine",
        ),
        (
            nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.ReLU()),
            {},
            InputError,
            "module 1, LayerNorm, is not affine",
        ),
        (nn.Sequential(nn.Linear(4, 3), nn.Tanh()), {}, InputError, r"module 1, Tanh, has no conversion"),
        (nn.Sequential(nn.Linear(4, 3)), {}, InputError, "the model has no ReLU"),
        (nn.Sequential(Doubled(4, 3), nn.ReLU()), {}, InputError, "module 0, Doubled,"),
        (hooked(), {}, InputError, "has hooks"),
        (nn.Linear(4, 3), {}, InputError, "must be a torch.nn.Sequential"),
        (nn.Sequential(nn.ReLU(), nn.BatchNorm1d(4)), {}, ExportError, "BatchNorm is behind the spikes"),
        (
            nn.Sequential(nn.Linear(4, 3), nn.ReLU()),
            dict(percentile=0),
            InputError,
            r"percentile must be in \(0, 100\]",
        ),
        (nn.Sequential(nn.Linear(4, 3), nn.ReLU()), dict(start=1.0), InputError, r"share of the threshold in \[0, 1\)"),
        (nn.Sequential(nn.Linear(4, 3), nn.ReLU()), dict(data=torch.ones(4)), ShapeError, r"data must be a tensor \[B"),
    ],
)
def test_what_has_no_conversion_is_refused_by_name(model, choices, kind, said) -> None:
    with pytest.raises(kind, match=said):
        rate_coded(model.eval(), **{"data": torch.rand(5, 4), **choices})


def test_models_in_training_silent_layers_and_other_networks_are_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    with pytest.raises(InputError, match=r"in training; call model.eval\(\)"):
        rate_coded(model, torch.rand(5, 4))
    nn.init.constant_(model[0].weight, -1.0)
    nn.init.constant_(model[0].bias, 0.0)
    with pytest.raises(InputError, match="activations of module 1 are 0"):
        rate_coded(model.eval(), torch.rand(5, 4))
    other = ns.Sequential(ns.Linear(4, 3), ns.LIF(dt=1e-3), names=["hidden"])
    with pytest.raises(InputError, match=r"the populations \['hidden'\]"):
        rate_errors(model, other, torch.rand(5, 4), 3)
