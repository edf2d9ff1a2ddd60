"""Siegert's formula against direct integration, its limits, and Brunel's mean field."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import brentq

from neurosim.analysis import siegert_rate
from neurosim.errors import InputError, UnitError

CELL = {"tau_mem": 20e-3, "t_ref": 2e-3, "v_th": 20e-3, "v_reset": 10e-3}


def brunel(g: float, eta: float, v_reset: float) -> float:
    """Return the rate of the stationary state of the sparse network of Brunel (2000), model A, Hz."""
    tau, weight, fan_in, v_th = 20e-3, 0.1e-3, 1000, 20e-3
    outside = eta * v_th / (weight * tau)  # of all external synapses together

    def off(rate: float) -> float:
        mu = tau * weight * (outside + fan_in * rate * (1 - 0.25 * g))
        sigma = weight * math.sqrt(tau * (outside + fan_in * rate * (1 + 0.25 * g**2)))
        return siegert_rate(mu, sigma, tau_mem=tau, t_ref=2e-3, v_th=v_th, v_reset=v_reset) - rate

    return brentq(off, 0.0, 499.0)


@pytest.mark.parametrize(
    ("g", "eta", "v_reset", "rate"),
    [(5, 2, 10e-3, 37.95), (5, 2, 0.0, 32.03), (6, 4, 10e-3, 55.8), (4.5, 0.9, 10e-3, 6.5), (3, 2, 10e-3, 327)],
)
def test_the_mean_field_of_brunel(g: float, eta: float, v_reset: float, rate: float) -> None:
    assert brunel(g, eta, v_reset) == pytest.approx(rate, abs=0.5 * 10.0 ** -len(str(rate).partition(".")[2]))


@pytest.mark.parametrize("mu", [-20e-3, 0.0, 10e-3, 18e-3, 20e-3, 20.01e-3, 25e-3, 60e-3])
@pytest.mark.parametrize("sigma", [1e-5, 3e-4, 1e-3, 4e-3, 0.1, 1.0])
def test_the_formula_by_direct_integration(mu: float, sigma: float) -> None:
    mp = pytest.importorskip("mpmath")
    with mp.workdps(40):
        low, high = ((mp.mpf(v) - mp.mpf(mu)) / mp.mpf(sigma) for v in (CELL["v_reset"], CELL["v_th"]))
        inside = [x for x in (-1000, -100, -10, -3, 0, 3, 10, 100) if low < x < high]
        integral = mp.quad(lambda x: mp.exp(x * x) * mp.erfc(-x), [low, *inside, high])
        rate = float(1 / (CELL["t_ref"] + CELL["tau_mem"] * mp.sqrt(mp.pi) * integral))
    assert siegert_rate(mu, sigma, **CELL) == pytest.approx(rate, rel=1e-13, abs=1e-290)


def test_without_noise_it_is_the_rate_of_the_deterministic_neuron() -> None:
    exact = 1 / (2e-3 + 20e-3 * math.log((25 - 10) / (25 - 20)))
    assert siegert_rate(25e-3, 0.0, **CELL) == pytest.approx(exact, rel=1e-14)
    assert siegert_rate(25e-3, 1e-6, **CELL) == pytest.approx(exact, rel=1e-6)
    assert siegert_rate(20e-3, 0.0, **CELL) == siegert_rate(5e-3, 0.0, **CELL) == siegert_rate(5e-3, 1e-9, **CELL) == 0


def test_the_rate_grows_with_the_drive_and_ends_at_the_refractory_time() -> None:
    found = siegert_rate(np.geomspace(1e-3, 1e6, 200), 5e-3, **CELL)
    assert (np.diff(found[found > 0]) > 0).all()
    assert found[-1] == pytest.approx(500.0, rel=1e-6)


def test_arrays_have_the_shape_of_both_arguments() -> None:
    mu, sigma = np.array([[10e-3], [25e-3]]), np.array([1e-3, 5e-3, 0.0])
    found = siegert_rate(mu, sigma, **CELL)
    assert found.shape == (2, 3)
    assert found[1, 1] == siegert_rate(25e-3, 5e-3, **CELL)


@pytest.mark.parametrize("wrong", [{"tau_mem": 20.0}, {"tau_mem": 0.0}, {"t_ref": -1e-3}, {"t_ref": 2.0}])
def test_times_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(UnitError, match=f"{next(iter(wrong))} must be in"):
        siegert_rate(10e-3, 1e-3, **(CELL | wrong))


def test_values_that_are_no_input_are_refused() -> None:
    with pytest.raises(InputError, match="v_reset must be below v_th"):
        siegert_rate(10e-3, 1e-3, **(CELL | {"v_reset": 20e-3}))
    for mu, sigma in ((math.nan, 1e-3), (10e-3, -1e-3), (math.inf, 1e-3)):
        with pytest.raises(InputError, match="must be finite"):
            siegert_rate(mu, sigma, **CELL)
