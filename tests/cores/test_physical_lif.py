"""Integrate-and-fire neurons in physical units: exact responses, order of a step, refractoriness, kicks."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim import cores, language
from neurosim.language import Core
from neurosim.units import ms, mV, nS, pA, pF

TAU_MEM, TAU_EXC, C_M = 20 * ms, 5 * ms, 200 * pF
WITH_T_REF = (cores.lif_delta, cores.lif_exp, cores.lif_alpha, cores.lif_cond, cores.adex, cores.hodgkin_huxley)


def pulse(steps: int, value: float, at: int = 0) -> torch.Tensor:
    """Return an input [T, 1, 1] in double precision that is `value` in one step."""
    i = torch.zeros(steps, 1, 1, dtype=torch.float64)
    i[at] = value
    return i


def membrane(core: Core, dt: float, i: dict[str, torch.Tensor], **parameters: float) -> np.ndarray:
    """Return v after each step."""
    layer = ns.layer(core)(dt=dt, **parameters)
    recorded = layer.run(i, record=("v",)).recorded["v"].flatten().numpy()
    assert np.array_equal(recorded, layer.run_reference(i, record=("v",)).recorded["v"].flatten().numpy())
    return recorded


def quadrature(shape, tau_mem: float, times: np.ndarray) -> np.ndarray:
    """Return the membrane's response to a current over time, by integration in many digits."""
    with mpmath.workdps(30):
        decay = [
            mpmath.quad(lambda s, t=t: shape(s) * mpmath.exp(-(t - s) / tau_mem), [0, t]) / C_M for t in times.tolist()
        ]
        return np.array([float(value) for value in decay])


@pytest.mark.parametrize("tau_mem", [TAU_MEM, TAU_EXC, 3 * ms])
@pytest.mark.parametrize("dt", [0.1 * ms, 1 * ms])
def test_the_response_to_a_spike_is_exact_for_any_step_and_time_constants(dt, tau_mem):
    steps, w = round(6 * ms / dt), 40 * pA
    times = dt * np.arange(steps)
    cell = dict(tau_mem=tau_mem, tau_exc=TAU_EXC, c_m=C_M)
    v = membrane(cores.lif_exp, dt, {"i_exc": pulse(steps, w)}, **cell) + 70 * mV
    expected = quadrature(lambda s: w * mpmath.exp(-s / TAU_EXC), tau_mem, times)
    np.testing.assert_allclose(v, expected, rtol=1e-10, atol=1e-15)
    v = membrane(cores.lif_alpha, dt, {"i_exc": pulse(steps, w)}, **cell) + 70 * mV
    expected = quadrature(lambda s: w * s / TAU_EXC * mpmath.exp(1 - s / TAU_EXC), tau_mem, times)
    np.testing.assert_allclose(v, expected, rtol=1e-10, atol=1e-15)
    v = membrane(cores.lif_delta, dt, {"dv": pulse(steps, 2 * mV)}, tau_mem=tau_mem) + 70 * mV
    np.testing.assert_allclose(v, 2 * mV * np.exp(-times / tau_mem), rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("core", [cores.lif_delta, cores.lif_exp, cores.lif_alpha])
def test_a_constant_current_charges_the_membrane_exactly(core):
    for dt in (0.1 * ms, 1 * ms):
        steps = round(30 * ms / dt)
        i = {"i": torch.full((steps, 1, 1), 80 * pA, dtype=torch.float64)}
        v = membrane(core, dt, i, tau_mem=TAU_MEM, c_m=C_M, i_e=20 * pA)
        expected = -70 * mV + 10 * mV * -math.expm1(-30 * ms / TAU_MEM)  # 100 pA through 100 MOhm
        assert v[-1] == pytest.approx(expected, rel=1e-13)


def test_the_peak_of_an_alpha_current_is_its_weight_after_one_time_constant():
    layer = ns.layer(cores.lif_alpha)(dt=0.1 * ms, tau_inh=2 * ms)
    j = layer.run({"i_inh": pulse(100, -90 * pA)}, record=("j_inh",)).recorded["j_inh"].flatten()
    assert int(j.argmin()) == 20 and j.min().item() == pytest.approx(-90 * pA, rel=1e-12)


def test_an_input_acts_at_once_or_from_the_next_step_on():
    steps, at = 6, 2
    for core, port, w in (
        (cores.lif_delta, "dv", 1 * mV),
        (cores.lif_exp, "i_exc", 40 * pA),
        (cores.lif_alpha, "i_exc", 40 * pA),
        (cores.lif_cond, "ge", 6 * nS),
    ):
        v = membrane(core, 0.1 * ms, {port: pulse(steps, w, at)}, e_l=-60 * mV, v_reset=-60 * mV, v_th=-50 * mV)
        quiet = membrane(core, 0.1 * ms, {port: pulse(steps, 0.0)}, e_l=-60 * mV, v_reset=-60 * mV, v_th=-50 * mV)
        first = int(np.flatnonzero(v != quiet)[0])
        assert first == (at if core is cores.lif_delta else at + 1), core.name


def test_a_conductance_is_integrated_by_exponential_euler():
    dt, steps = 0.1 * ms, 400
    draw = np.random.default_rng(0)
    ge = (draw.random(steps) < 0.05) * 6 * nS
    gi = (draw.random(steps) < 0.02) * 30 * nS
    i = {"ge": torch.from_numpy(ge)[:, None, None], "gi": torch.from_numpy(gi)[:, None, None]}
    v, g_exc, g_inh, expected = -60 * mV, 0.0, 0.0, []
    for k in range(steps):
        total = 10 * nS + g_exc + g_inh
        rest = (10 * nS * -60 * mV + g_inh * -80 * mV) / total
        v = rest + (v - rest) * math.exp(-dt * total / (200 * pF))
        g_exc, g_inh = g_exc * math.exp(-dt / (5 * ms)) + ge[k], g_inh * math.exp(-dt / (10 * ms)) + gi[k]
        expected.append(v)
    np.testing.assert_allclose(membrane(cores.lif_cond, dt, i, v_th=0.5), expected, rtol=1e-12)


# The action potential of hodgkin_huxley is longer than its refractory time: see test_r1_of_hodgkin_huxley.
@pytest.mark.parametrize(
    "core", [core for core in WITH_T_REF if core is not cores.hodgkin_huxley], ids=lambda core: core.name
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("dt", "t_ref"), [(1e-4, 0.0), (1e-4, 2e-3), (1e-4, 5e-3), (5e-5, 0.05), (2.5e-5, 3.3e-3)])
def test_r1_every_interval_is_the_refractory_time_and_one_step(core, dt, t_ref, dtype):
    steps = round(t_ref / dt)
    strong = 1e-3 if core is cores.adex else 1e-6
    layer = ns.layer(core)(dt=dt, t_ref=t_ref)
    for start in (0, 17, 1000):  # steps of rest before the drive
        i = torch.zeros(start + 3 * steps + 4, 1, 1, dtype=dtype)
        i[start:] = strong
        z = layer({"i": i})[0].flatten()
        fired = z.nonzero().flatten()
        assert fired.tolist() == [start + k * (steps + 1) for k in range(len(fired))] and len(fired) > 3


def test_r1_of_hodgkin_huxley():
    i = torch.zeros(4000, 1, 1, dtype=torch.float64)
    i[:] = 1e-9
    free = ns.layer(cores.hodgkin_huxley)(dt=2.5e-5, t_ref=0.0)({"i": i})[0].flatten().nonzero().flatten()
    period = int(free.diff().float().median())
    for t_ref in (0.5e-3, period * 2.5e-5 * 1.5):
        steps = round(t_ref / 2.5e-5)
        held = ns.layer(cores.hodgkin_huxley)(dt=2.5e-5, t_ref=steps * 2.5e-5)({"i": i})[0].flatten()
        intervals = held.nonzero().flatten().diff()
        assert len(intervals) > 5 and bool((intervals > steps).all())
        assert steps > period or torch.equal(held.nonzero().flatten(), free)


@pytest.mark.parametrize("core", (*WITH_T_REF, cores.izhikevich), ids=lambda core: core.name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_r8_a_kick_of_a_microampere_leaves_the_state_finite(core, dtype, sign):
    layer = ns.layer(core)(dt=0.1 * ms)
    i = torch.zeros(300, 1, 1, dtype=dtype)
    i[5:15] = sign * (1e6 if core is cores.izhikevich else 1e-6)
    for run in (layer, layer.run_reference):
        z, state = run(i if core is cores.izhikevich else {"i": i})[:2]
        assert all(bool(torch.isfinite(value).all()) for value in state), state
        assert sign < 0 or 0 < z.sum() < 300


@pytest.mark.parametrize("core", (*WITH_T_REF, cores.izhikevich), ids=lambda core: core.name)
def test_gradients_are_those_of_finite_differences(core):
    dt = 0.1 * ms
    smooth = language.smooth(4.0)
    layer = ns.layer(core)(dt=dt, spike=smooth, detach_reset=False)
    draw = torch.Generator().manual_seed(0)
    # In units in which a share of 0.1 matters: of currents nA, of conductances 10 nS, of voltages 10 mV.
    size = {"i_exc": 1e-9, "i_inh": -1e-9, "i": 1e-9, "ge": 1e-8, "gi": 1e-8, "dv": 1e-2}
    if core is cores.izhikevich:
        size = {"i": 10.0}

    def run(*each: torch.Tensor) -> torch.Tensor:
        i = {port: size[port] * x for port, x in zip(core.inputs, each, strict=True)}
        z, state = layer(i if len(i) > 1 else i["i"])
        return torch.cat((z.flatten(), state.v.flatten() * (1.0 if core is cores.izhikevich else 100.0)))

    each = [torch.rand(8, 2, 2, dtype=torch.float64, generator=draw).requires_grad_() for _ in core.inputs]
    assert torch.autograd.gradcheck(run, each, eps=1e-6, atol=1e-5, rtol=1e-4)
