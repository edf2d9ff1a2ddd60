"""Propagators of a leaky membrane against arithmetic of 60 digits, at and around equal time constants."""

from __future__ import annotations

from collections.abc import Iterator

import mpmath
import pytest
import torch

import neurosim as ns
from neurosim.language import Derived
from neurosim.units import alpha_response, constant_response, decay_of, exponential_response, mV, pF

C = 250 * pF


def textbook(tau_mem: float, tau_syn: float, dt: float) -> tuple[mpmath.mpf, mpmath.mpf]:
    """Return both responses by the textbook's division, in 60 digits; its limit where the time constants are equal."""
    mem, syn, h, c = map(mpmath.mpf, (tau_mem, tau_syn, dt, C))
    if mem == syn:
        return h / c * mpmath.exp(-h / mem), h * h / 2 / c * mpmath.exp(-h / mem)
    d = 1 / syn - 1 / mem
    decayed = mpmath.exp(-h * d)
    return mpmath.exp(-h / mem) * (1 - decayed) / d / c, mpmath.exp(-h / mem) * (1 - (1 + h * d) * decayed) / d**2 / c


def pairs() -> Iterator[tuple[float, float]]:
    """Yield time constants of ratio 1 +- 10^-k, and of ratios far from 1, in both orders."""
    for k in range(17):
        for sign in (1, -1):
            near = 10e-3 * (1 + sign * 10.0**-k)
            yield from ((10e-3, near), (near, 10e-3)) if near > 0 else ((10e-3, 1e-5), (1e-5, 10e-3))


@pytest.mark.parametrize("dt", [1e-5, 1e-4, 1e-3])
def test_r7_propagators_are_exact_around_equal_time_constants(dt):
    with mpmath.workdps(60):
        for tau_mem, tau_syn in pairs():
            for compute, exact in zip(
                (exponential_response, alpha_response), textbook(tau_mem, tau_syn, dt), strict=True
            ):
                each = torch.tensor([tau_mem], dtype=torch.float64), torch.tensor(tau_syn, dtype=torch.float64)
                values = (compute(tau_mem, tau_syn, C, dt), compute(*each, C, dt), compute(each[0], tau_syn, C, dt))
                for value in values:
                    error = abs(mpmath.mpf(float(value)) / exact - 1)
                    assert error < 1e-12, (compute.__name__, tau_mem, tau_syn, float(error))


@pytest.mark.parametrize("dt", [1e-9, 1e-4, 1e-3, 1.0])
def test_the_response_to_a_constant_current_is_exact(dt):
    with mpmath.workdps(60):
        exact = mpmath.mpf(20e-3) / C * -mpmath.expm1(-mpmath.mpf(dt) / mpmath.mpf(20e-3))
        for value in (
            constant_response(20e-3, C, dt),
            constant_response(torch.tensor([20e-3], dtype=torch.float64), C, dt),
        ):
            assert abs(mpmath.mpf(float(value)) / exact - 1) < 1e-14


@pytest.mark.parametrize("ratio", [0.1, 0.9, 1 - 1e-9, 1.0, 1 + 1e-12, 1.5, 30.0])
@pytest.mark.parametrize("compute", [exponential_response, alpha_response])
def test_gradients_are_those_of_finite_differences_in_many_digits(compute, ratio):
    tau_mem, tau_syn, dt = 10e-3, 10e-3 * ratio, 1e-3
    each = [torch.tensor(t, dtype=torch.float64, requires_grad=True) for t in (tau_mem, tau_syn)]
    found = torch.autograd.grad(compute(*each, C, dt), each)
    which = (exponential_response, alpha_response).index(compute)
    with mpmath.workdps(150):
        h = mpmath.mpf(10) ** -20
        taus = [mpmath.mpf(tau_mem), mpmath.mpf(tau_syn)]
        for n, gradient in enumerate(found):
            up, down = ([t + sign * h if k == n else t for k, t in enumerate(taus)] for sign in (1, -1))
            exact = (textbook(*up, dt)[which] - textbook(*down, dt)[which]) / (2 * h)
            assert abs(mpmath.mpf(gradient.item()) / exact - 1) < 1e-9


def test_parameters_in_single_precision_are_taken_in_double():
    tau, c = torch.tensor([7e-3]), torch.tensor([C])
    exact = exponential_response(tau.double(), tau.double() / 2, c.double(), 1e-4)
    value = exponential_response(tau, tau / 2, c, 1e-4)
    assert value.dtype is torch.float64 and torch.equal(value, exact)
    assert torch.equal(constant_response(tau, c, 1e-4), constant_response(tau.double(), c.double(), 1e-4))


@ns.core(
    parameters=dict(tau_mem=ns.seconds(10e-3), tau_syn=ns.seconds(2e-3), c_m=ns.farads(C)),
    derived=dict(
        p_syn=Derived(exponential_response, "tau_mem", "tau_syn", "c_m"),
        both=Derived(lambda a, b, dt: decay_of(a, dt) * decay_of(b, dt), "tau_mem", "tau_syn"),
    ),
    state=("v", "j"),
)
def filtered(i, v, j, *, alpha_mem, alpha_syn, p_syn, both):
    u = alpha_mem * v + p_syn * j + 0.0 * both
    return u, u, alpha_syn * j + i


Filtered = ns.layer(filtered)
TAUS = torch.tensor([1e-3, 2e-3, 10e-3, 30e-3], dtype=torch.float64)


def response(**parameters: object) -> torch.Tensor:
    trials = 4 if any(isinstance(p, torch.Tensor) and p.dim() == 2 for p in parameters.values()) else 1
    i = torch.zeros(50, trials, 4, dtype=torch.float64)
    i[0] = 1e-9
    return Filtered(dt=1e-4, **parameters)(i)[0]  # type: ignore[arg-type]


def test_a_derived_coefficient_follows_every_shape_of_its_parameters():
    alone = [response(tau_syn=tau.item())[:, 0, 0] for tau in TAUS]
    for number, expected in enumerate(alone):
        assert torch.equal(response(tau_syn=TAUS[:, None])[:, number, 0], expected)  # per trial: the same bits
        torch.testing.assert_close(response(tau_syn=TAUS)[:, 0, number], expected, rtol=1e-13, atol=0.0)
        both = response(tau_syn=TAUS[:, None], tau_mem=TAUS.flip(0) + 1e-3)
        pair = response(tau_syn=TAUS[number].item(), tau_mem=TAUS.flip(0) + 1e-3)
        torch.testing.assert_close(both[:, number], pair[:, 0], rtol=1e-13, atol=0.0)
    assert float(alone[0].max()) > 0.05 * mV


def test_a_learned_parameter_gets_the_gradient_through_a_derived_coefficient():
    layer = Filtered(dt=1e-4, learn=("tau_mem", "tau_syn", "c_m"), size=4).double()
    i = torch.zeros(50, 1, 4, dtype=torch.float64)
    i[0] = 1e-9
    for run in (layer, layer.run_reference):
        out = run(i)[0].sum()
        names = [name for name, _ in layer.named_parameters()]
        found = dict(zip(names, torch.autograd.grad(out, [*layer.parameters()]), strict=True))
        values = {name: layer.value(name).detach() for name in ("tau_mem", "tau_syn", "c_m")}
        for name, parameter in zip(names, ("tau_mem", "tau_syn", "c_m"), strict=True):
            step = 1e-6 * values[parameter]
            up, down = (
                Filtered(dt=1e-4, **{**values, parameter: values[parameter] + sign * step})(i)[0].sum((0, 1))
                for sign in (1, -1)
            )
            scale = values[parameter] if name.startswith("log_") else 1.0
            torch.testing.assert_close(found[name], (up - down) / (2 * step) * scale, rtol=1e-6, atol=0.0)
