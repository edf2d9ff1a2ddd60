"""Surrogates against closed forms, primitives, the figures of their table and the libraries they come from."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import erf, expit

from neurosim import language
from neurosim.errors import InputError

POINTS = torch.cat((torch.linspace(-3, 3, 1001, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)))


def gaussian(x, mean, sigma):
    return np.exp(-0.5 * ((x - mean) / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))


def multi_gaussian(x, sigma, h, s, gamma):
    flanks = gaussian(x, sigma, s * sigma) + gaussian(x, -sigma, s * sigma)
    return gamma * ((1 + h) * gaussian(x, 0, sigma) - h * flanks)


def multi_gaussian_primitive(x, sigma, h, s, gamma):
    def phi(mean, width):
        return 0.5 * erf((x - mean) / (width * math.sqrt(2)))

    return gamma * ((1 + h) * phi(0, sigma) - h * (phi(sigma, s * sigma) + phi(-sigma, s * sigma)))


# surrogate, its closed form, its primitive: each written here anew with numpy.
FORMS: dict[str, tuple[language.Surrogate, Any, Any]] = {
    "atan": (
        language.atan(),
        lambda x: 1 / (1 + (np.pi * x) ** 2),
        lambda x: np.arctan(np.pi * x) / np.pi,
    ),
    "atan of slope 5": (
        language.atan(5.0),
        lambda x: 2.5 / (1 + (2.5 * np.pi * x) ** 2),
        lambda x: np.arctan(2.5 * np.pi * x) / np.pi,
    ),
    "fast_sigmoid": (
        language.fast_sigmoid(),
        lambda x: (1 + 25 * np.abs(x)) ** -2.0,
        lambda x: x / (1 + 25 * np.abs(x)),
    ),
    "sigmoid": (
        language.sigmoid(),
        lambda x: 4 * expit(4 * x) * (1 - expit(4 * x)),
        lambda x: expit(4 * x),
    ),
    "triangle": (
        language.triangle(),
        lambda x: np.clip(1 - np.abs(x), 0, None),
        lambda x: np.sign(x) * (np.minimum(np.abs(x), 1) - np.minimum(np.abs(x), 1) ** 2 / 2),
    ),
    "triangle of Bellec": (
        language.triangle(1.0, 0.3),
        lambda x: 0.3 * np.clip(1 - np.abs(x), 0, None),
        lambda x: 0.3 * np.sign(x) * (np.minimum(np.abs(x), 1) - np.minimum(np.abs(x), 1) ** 2 / 2),
    ),
    "rectangle": (
        language.rectangle(),
        lambda x: np.where(np.abs(x) < 0.5, 1.0, 0.0),
        lambda x: np.clip(x, -0.5, 0.5),
    ),
    "exponential": (
        language.exponential(),
        lambda x: 5e-4 * np.exp(-np.abs(x) / 100),
        lambda x: 0.05 * np.sign(x) * (1 - np.exp(-np.abs(x) / 100)),
    ),
    "exponential of lava-dl's tutorial": (
        language.exponential(0.03, 3.0, 1.25),
        lambda x: 0.04 * np.exp(-np.abs(x) / 3.75),
        lambda x: 0.15 * np.sign(x) * (1 - np.exp(-np.abs(x) / 3.75)),
    ),
    "multi_gaussian": (
        language.multi_gaussian(),
        lambda x: multi_gaussian(x, 0.5, 0.15, 6.0, 0.5),
        lambda x: multi_gaussian_primitive(x, 0.5, 0.15, 6.0, 0.5),
    ),
    "straight_through": (language.straight_through(), np.ones_like, lambda x: x),
}
every_form = pytest.mark.parametrize("name", FORMS)


def backward(surrogate, x):
    x = x.clone().requires_grad_()
    z = surrogate(x)
    (gradient,) = torch.autograd.grad(z, x, torch.ones_like(z))
    return z.detach(), gradient


@every_form
def test_gradient_is_the_closed_form(name):
    surrogate, form, _ = FORMS[name]
    _, gradient = backward(surrogate, POINTS)
    np.testing.assert_allclose(gradient.numpy(), form(POINTS.numpy()), rtol=1e-12, atol=1e-15)


@every_form
def test_gradient_is_the_slope_of_the_primitive(name):
    surrogate, _, primitive = FORMS[name]
    kinks = (0.0, 0.5, -0.5, 1.0, -1.0)
    x = np.array([p for p in POINTS.numpy() if all(abs(p - k) > 1e-3 for k in kinks)])
    _, gradient = backward(surrogate, torch.from_numpy(x))
    step = 1e-5
    slope = (primitive(x + step) - primitive(x - step)) / (2 * step)
    np.testing.assert_allclose(gradient.numpy(), slope, rtol=1e-6, atol=1e-8 * np.abs(slope).max())


# peak, half width at half maximum, mass and value at 1, to the digits of the literature survey's table.
FIGURES = {
    "atan": (language.atan(), 1.0, 0.318, 1.0, 0.092),
    "atan of slope 5": (language.atan(5.0), 2.5, 0.127, 1.0, 0.040),
    "fast_sigmoid": (language.fast_sigmoid(), 1.0, 0.0166, 0.08, 0.0015),
    "fast_sigmoid as Norse has it": (language.fast_sigmoid(100.0), 1.0, 0.0042, 0.02, 1e-4),
    "sigmoid": (language.sigmoid(), 1.0, 0.441, 1.0, 0.0707),
    "triangle": (language.triangle(), 1.0, 0.5, 1.0, 0.0),
    "triangle of Bellec": (language.triangle(1.0, 0.3), 0.3, 0.5, 0.3, 0.0),
    "rectangle": (language.rectangle(), 1.0, 0.5, 1.0, 0.0),
    "exponential": (language.exponential(), 5e-4, 69.3, 0.1, 4.95e-4),
    "exponential of lava-dl's tutorial": (language.exponential(0.03, 3.0, 1.25), 0.04, 2.6, 0.3, 0.031),
    "multi_gaussian of width 0.3": (language.multi_gaussian(0.3), 0.73, 0.343, 0.425, -0.025),
}


@pytest.mark.parametrize("name", FIGURES)
def test_peak_width_and_mass_are_those_of_the_table(name):
    surrogate, peak, half_width, mass, at_one = FIGURES[name]
    g = surrogate.derivative
    assert float(g(torch.zeros(1, dtype=torch.float64))) == pytest.approx(peak, rel=6e-3)
    grid = torch.linspace(0, 4 * half_width, 400_001, dtype=torch.float64)
    above = g(grid) >= g(grid[:1]) / 2
    assert float(grid[above][-1]) == pytest.approx(half_width, rel=2e-2)
    # Heavy tails: the substitution x = tan(t) brings the whole line into one interval.
    t = (torch.arange(500_000, dtype=torch.float64) + 0.5) / 500_000 * math.pi - math.pi / 2
    integral = (g(torch.tan(t)) / torch.cos(t) ** 2).mean() * math.pi
    assert float(integral) == pytest.approx(mass, rel=5e-3)
    assert float(g(torch.ones(1, dtype=torch.float64))) == pytest.approx(at_one, rel=5e-2, abs=1e-12)


@every_form
def test_the_spike_is_strict_and_the_gradient_at_zero_is_the_peak(name):
    surrogate, form, _ = FORMS[name]
    tiny = torch.finfo(torch.float32).tiny
    x = torch.tensor([-1.0, -tiny, -0.0, 0.0, tiny, 1.0])
    z, gradient = backward(surrogate, x)
    assert z.tolist() == [0.0, 0.0, 0.0, 0.0, 1.0, 1.0]
    assert gradient[3].item() == pytest.approx(float(form(np.zeros(1))[0]), rel=1e-6)
    assert surrogate(0.0) == 0.0 and surrogate(0.1) == 1.0 and surrogate(-0.1) == 0.0


@every_form
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_far_from_threshold_half_precision_stays_finite(name, dtype):
    surrogate = FORMS[name][0]
    z, gradient = backward(surrogate, torch.tensor([-1e4, 1e4, -100.0, 100.0, 0.0], dtype=dtype))
    assert z.dtype is dtype and gradient.dtype is dtype
    assert torch.isfinite(z).all() and torch.isfinite(gradient).all()


@every_form
def test_support_is_where_the_derivative_ends(name):
    surrogate = FORMS[name][0]
    nonzero = POINTS[surrogate.derivative(POINTS) != 0].abs()
    if math.isinf(surrogate.support):
        assert nonzero.numel() == POINTS.numel()
    else:
        assert float(nonzero.max()) < surrogate.support
        assert float(surrogate.derivative(torch.tensor(surrogate.support * 0.999))) > 0


@every_form
def test_second_derivative_of_the_reference_is_that_of_the_form(name):
    surrogate = FORMS[name][0]
    x = torch.tensor([0.3, -0.7], dtype=torch.float64, requires_grad=True)
    (once,) = torch.autograd.grad(surrogate(x).sum(), x, create_graph=True)
    if not once.requires_grad:
        pytest.fail("the gradient of the spike cannot be differentiated again")
    (twice,) = torch.autograd.grad(once.sum(), x)
    step = 1e-6
    slope = (surrogate.derivative(x + step) - surrogate.derivative(x - step)) / (2 * step)
    torch.testing.assert_close(twice, slope.detach(), rtol=1e-5, atol=1e-8)


@every_form
def test_name_says_how_to_make_it_and_pickling_keeps_it(name):
    surrogate = FORMS[name][0]
    again = eval(repr(surrogate), vars(language))
    assert again == surrogate and hash(again) == hash(surrogate)
    assert torch.equal(again.derivative(POINTS), surrogate.derivative(POINTS))
    kept = pickle.loads(pickle.dumps(surrogate))
    assert kept == surrogate and torch.equal(kept.derivative(POINTS), surrogate.derivative(POINTS))


def test_surrogates_of_other_width_differ():
    assert language.atan(2.0) != language.atan(3.0) and language.atan() != language.sigmoid(2.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: language.atan(0.0), "atan: slope must be a finite number above 0; got 0.0"),
        (lambda: language.fast_sigmoid(-1.0), "fast_sigmoid: slope .* got -1.0"),
        (lambda: language.sigmoid(math.nan), "sigmoid: slope .* got nan"),
        (lambda: language.triangle(width=0), "triangle: width .* got 0"),
        (lambda: language.triangle(height=-2.0), "triangle: height .* got -2.0"),
        (lambda: language.rectangle(-math.inf), "rectangle: width .* got -inf"),
        (lambda: language.exponential(tau_grad=math.inf), "exponential: tau_grad .* got inf"),
        (lambda: language.exponential(scale_grad=0.0), "exponential: scale_grad .* got 0.0"),
        (lambda: language.multi_gaussian(sigma=-0.5), "multi_gaussian: sigma .* got -0.5"),
        (lambda: language.smooth(0.0), "smooth: slope .* got 0.0"),
    ],
)
def test_a_width_that_is_none_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_the_smooth_twin_is_the_sigmoid_and_its_true_derivative():
    twin = language.smooth(4.0)
    z, gradient = backward(twin, POINTS)
    np.testing.assert_allclose(z.numpy(), expit(4 * POINTS.numpy()), rtol=1e-13, atol=1e-15)
    torch.testing.assert_close(gradient, backward(language.sigmoid(4.0), POINTS)[1], rtol=1e-10, atol=1e-13)
    far = twin(torch.tensor([-1e4, 1e4]))
    assert far.tolist() == [0.0, 1.0]


def check_same(ours, theirs, strict=True):
    x = POINTS.float()
    z, gradient = backward(ours, x)
    their_z, their_gradient = backward(theirs, x)
    assert torch.equal(z, their_z if strict else torch.where(x == 0, 0.0, their_z))
    torch.testing.assert_close(gradient, their_gradient, rtol=3e-6, atol=1e-6)


def test_same_as_snntorch():
    surrogate = pytest.importorskip("snntorch.surrogate")
    check_same(language.atan(2.0), surrogate.atan(alpha=2.0))
    check_same(language.fast_sigmoid(25.0), surrogate.fast_sigmoid(slope=25))
    check_same(language.sigmoid(25.0), surrogate.sigmoid(slope=25))
    check_same(language.straight_through(), surrogate.straight_through_estimator())


def test_same_as_norse():
    threshold = pytest.importorskip("norse.torch.functional.threshold")
    # Norse 1.1 takes an alpha here and does not use it: the width is 1 whatever it is.
    check_same(language.fast_sigmoid(1.0), lambda x: threshold.threshold(x, "super", 100.0))
    check_same(language.triangle(1.0, 0.3), lambda x: threshold.threshold(x, "triangle", 0.3))


def test_same_as_spikingjelly_but_for_its_spike_at_threshold():
    surrogate = pytest.importorskip("spikingjelly.activation_based.surrogate")
    check_same(language.atan(2.0), surrogate.ATan(alpha=2.0), strict=False)
    check_same(language.sigmoid(4.0), surrogate.Sigmoid(alpha=4.0), strict=False)
    check_same(language.triangle(1.0), surrogate.PiecewiseQuadratic(alpha=1.0), strict=False)
    check_same(language.rectangle(1.0), surrogate.Rect(alpha=1.0), strict=False)
