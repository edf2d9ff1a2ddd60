"""Hodgkin-Huxley (Traub-Miles) against its equations, at the removable singularities of its rates, and at extremes."""

from __future__ import annotations

import itertools
import json

import mpmath
import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

import neurosim as ns
from benchmarks.peers.hodgkin_huxley import CURRENT_NA, DT_MS, EXCITATORY_MS, INHIBITORY_MS, MS, WEIGHTS_NS
from benchmarks.peers.hodgkin_huxley import REST as BRIAN_REST
from neurosim.cores import hodgkin_huxley
from neurosim.cores.hodgkin_huxley import REST, _ratio
from neurosim.units import ms, mV, nA, nS, pA, uS

Make = ns.layer(hodgkin_huxley)


def exprel(x: float) -> float:
    return float(np.expm1(x) / x) if x else 1.0


def rates(v: float) -> dict[str, tuple[float, float]]:
    """Return opening and closing rate (1/ms) of each gate at v (mV): appendix 2 of Brette et al. 2007."""
    x = v + 63.0
    return {
        "m": (0.32 * 4 / exprel((13 - x) / 4), 0.28 * 5 / exprel((x - 40) / 5)),
        "h": (0.128 * np.exp((17 - x) / 18), 4 / (1 + np.exp((40 - x) / 5))),
        "n": (0.032 * 5 / exprel((15 - x) / 5), 0.5 * np.exp((10 - x) / 40)),
    }


def membrane_slope(v: float, m: float, h: float, n: float, drive: float) -> float:
    """Return dv/dt in V/s."""
    ionic = 20e-6 * m**3 * h * (v - 50e-3) + 6e-6 * n**4 * (v + 90e-3) + 10e-9 * (v + 60e-3)
    return (drive - ionic) / 200e-12


def by_loop(steps: int, dt: float, drive: float, ge: np.ndarray, gi: np.ndarray) -> tuple[list[int], np.ndarray]:
    """Return spikes and v of exponential Euler, written as one neuron and one step at a time."""
    v, gates, g_exc, g_inh, wait = -65e-3, dict(REST), 0.0, 0.0, 0
    spikes, voltages = [], []
    for k in range(steps):
        sodium, potassium = 20e-6 * gates["m"] ** 3 * gates["h"], 6e-6 * gates["n"] ** 4
        total = 10e-9 + sodium + potassium + g_exc + g_inh
        rest = (10e-9 * -60e-3 + sodium * 50e-3 + potassium * -90e-3 + g_inh * -80e-3 + drive) / total
        u = rest + (v - rest) * np.exp(-dt * total / 200e-12)
        for name, (opening, closing) in rates(1e3 * v).items():
            settled = opening / (opening + closing)
            gates[name] = settled + (gates[name] - settled) * np.exp(-1e3 * dt * (opening + closing))
        g_exc, g_inh = g_exc * np.exp(-dt / 5e-3) + ge[k], g_inh * np.exp(-dt / 10e-3) + gi[k]
        if wait == 0 and v <= -20e-3 < u:
            spikes.append(k)
            wait = round(3e-3 / dt)
        else:
            wait = max(wait - 1, 0)
        v = u
        voltages.append(v)
    return spikes, np.array(voltages)


def test_it_is_the_exponential_euler_of_its_equations():
    dt, steps = 0.05 * ms, 4000
    draw = np.random.default_rng(1)
    ge, gi = (draw.random(steps) < 0.02) * 6 * nS, (draw.random(steps) < 0.002) * 67 * nS
    spikes, v = by_loop(steps, dt, 0.4 * nA, ge, gi)
    i = {"ge": torch.from_numpy(ge)[:, None, None], "gi": torch.from_numpy(gi)[:, None, None]}
    run = Make(dt=dt, i_e=0.4 * nA).run(i, record=("v",))
    assert run.out.flatten().nonzero().flatten().tolist() == spikes and len(spikes) > 5
    np.testing.assert_allclose(run.recorded["v"].flatten().numpy(), v, rtol=1e-7, atol=1e-10)


def test_it_is_that_of_brian2(root):
    # `benchmarks/peers/hodgkin_huxley_brian2.py` wrote the data.
    stored = json.loads((root / "tests" / "data" / "brian2_hh.json").read_text(encoding="utf-8"))
    dt, steps = DT_MS * ms, round(MS / DT_MS)
    i = {port: torch.zeros(steps, 1, 1, dtype=torch.float64) for port in ("ge", "gi")}
    for port, times, weight in zip(i, (EXCITATORY_MS, INHIBITORY_MS), WEIGHTS_NS, strict=True):
        for time in times:
            i[port][round(time / DT_MS)] = weight * nS
    layer = Make(dt=dt, i_e=CURRENT_NA * nA)
    start = layer.initial_state(i["ge"])
    start = start._replace(**{name: torch.full_like(start.m, value) for name, value in BRIAN_REST.items()})
    run = layer.run(i, start, record=("v",))
    fired = run.out.flatten().nonzero().flatten() * DT_MS
    assert fired.tolist() == pytest.approx(stored["spikes"]) and len(fired) > 2
    v = run.recorded["v"].flatten()[::10] / mV
    np.testing.assert_allclose(v.numpy(), stored["v"], rtol=1e-6, atol=1e-6)


def test_it_converges_to_the_solution_of_its_equations_with_first_order():
    def slope(_: float, y: np.ndarray) -> list[float]:
        v, gates = y[0], dict(zip("mhn", y[1:], strict=True))
        moved = [1e3 * (o * (1 - gates[g]) - c * gates[g]) for g, (o, c) in rates(1e3 * v).items()]
        return [membrane_slope(v, *y[1:], 0.3 * nA), *moved]

    end = 8 * ms
    exact = solve_ivp(
        slope, (0, end), [-65 * mV, *REST.values()], method="DOP853", rtol=1e-10, atol=1e-12, max_step=1e-5
    ).y[0][-1]
    errors = []
    for dt in (0.02 * ms, 0.01 * ms, 0.005 * ms):
        i = torch.full((round(end / dt), 1, 1), 0.3 * nA, dtype=torch.float64)
        errors.append(abs(Make(dt=dt)({"i": i})[1].v.item() - exact))
    for coarse, fine in itertools.pairwise(errors):
        assert 1.6 < coarse / fine < 2.4, errors


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rates_at_their_removable_singularities(dtype):
    near = [sign * 10.0**-k for k in range(0, 17) for sign in (1.0, -1.0)]
    x = torch.tensor([0.0, *near, 0.04999, 0.05001, -0.05, 5.0, 59.0, 700.0, -700.0], dtype=dtype, requires_grad=True)
    value = _ratio(x)
    (slope,) = torch.autograd.grad(value.sum(), x)
    digits = 1e-5 if dtype is torch.float32 else 1e-12
    with mpmath.workdps(50):
        for each, found, gradient in zip(x.tolist(), value.tolist(), slope.tolist(), strict=True):
            exact = each / mpmath.expm1(each) if each else mpmath.mpf(1)
            assert abs(found - exact) < digits * (1 + abs(each)), each
            exact = mpmath.diff(lambda t: t / mpmath.expm1(t), each) if abs(each) > 1e-12 else mpmath.mpf(-0.5)
            assert abs(gradient - exact) < 100 * digits, each


def test_it_starts_with_the_gates_settled():
    for name, (opening, closing) in rates(-65.0).items():
        assert REST[name] == pytest.approx(opening / (opening + closing), abs=1e-7)
    layer = Make(dt=0.1 * ms)
    assert layer.initial_state(torch.zeros(1, 1, 1)).v.item() == pytest.approx(-65 * mV)
    state = layer({"i": torch.zeros(1, 1, 1, dtype=torch.float64)})[1]
    assert abs(state.v.item() + 65 * mV) < 0.1 * mV


def test_a_spike_is_an_upward_crossing():
    run = Make(dt=0.02 * ms, t_ref=0.0).run(
        {"i": torch.full((5000, 1, 1), 0.3 * nA, dtype=torch.float64)}, record=("v",)
    )
    v = run.recorded["v"].flatten()
    before = torch.cat((v.new_full((1,), -65 * mV), v[:-1]))
    crossings = (before <= -20 * mV) & (v > -20 * mV)
    assert torch.equal(run.out.flatten().bool(), crossings) and 3 < crossings.sum() < 30
    assert (v > -20 * mV).sum() > 10 * crossings.sum()  # it stays above for many steps and is counted once


def test_a_conductance_of_any_size_leaves_it_finite():
    ge = torch.zeros(100, 1, 1)
    ge[3] = 1e3 * uS
    z, state = Make(dt=0.1 * ms)({"ge": ge, "i": torch.full_like(ge, 100 * pA)})
    assert all(bool(torch.isfinite(value).all()) for value in state) and z.sum() == 1
