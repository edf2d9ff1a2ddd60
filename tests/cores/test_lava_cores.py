"""Cores that equal a process of Lava: traces of Lava's own programs, and what theory says."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import neurosim as ns
from neurosim import cores, language
from neurosim.errors import InputError, UnitError

DT = 1e-3


def run(core: language.Core, i: list[float], **choices) -> Tensor:
    z, _ = ns.layer(core)(dt=DT, **choices)(torch.tensor(i, dtype=torch.float64).reshape(-1, 1, 1))
    return z.flatten()


def fired(z: Tensor) -> list[int]:
    return z.nonzero().flatten().tolist()


INPUT = [
    [3, 1, 4, 1, 5, -9, 2, 6, -5, 3, 5, 8, -9, 7, 9, 3, 2, -3, 8, 4, 6, -2, 6, 4, 3, -3, 8, 3, 2, 7, 9, 5][k % 32] / 4
    for k in range(64)
]


def tau(kept: float) -> float:
    """Return the time constant in which a step leaves a share of `kept`."""
    return -DT / math.log(kept)


# Recorded from the float models of lava-nc 0.10.0, driven with INPUT.
@pytest.mark.parametrize(
    ("core", "choices", "wanted"),
    [
        (
            cores.refractory_lif,
            dict(tau_mem=tau(0.5), t_ref=3 * DT, r=2.0),  # r makes up for the share of a leak that takes what is new
            [2, 7, 11, 18, 22, 26, 30, 36, 42, 46, 50, 54, 58, 62],
        ),
        (
            cores.atrlif,
            dict(
                tau_syn=tau(0.5), tau_mem=tau(0.5), tau_adapt=tau(0.75), tau_refr=tau(0.875), v_th=0.5, step=0.25, r=2.0
            ),
            [0, 2, 4, 11, 14, 15, 19, 20, 26, 29, 30, 31, 43, 46, 47, 51, 52, 56, 61, 62, 63],
        ),
        (
            cores.resonate_and_fire,
            dict(f_osc=1 / (6 * DT), tau_mem=tau(0.9375), v_th=0.5),
            [8, 15, 20, 27, 47, 52, 59],
        ),
        (
            cores.resonate_and_fire_izhikevich,
            dict(f_osc=1 / (8 * DT), tau_mem=tau(0.75)),
            [11, 15, 20, 25, 27, 31, 44, 47, 52, 57, 59, 63],
        ),
    ],
)
def test_trace_of_lava(core: language.Core, choices: dict[str, float], wanted: list[int]) -> None:
    assert fired(run(core, INPUT, **choices)) == wanted


def test_ternary_trace_of_lava() -> None:
    z = run(cores.ternary_lif, INPUT, tau_mem=tau(0.5), v_low=-0.75, r=2.0)
    down = [5, 8, 12, 37, 40, 44]
    up = [2, 4, 7, 10, 11, 13, 14, 18, 20, 22, 24, 26, 29, 30, 31, 34, 36, 39, 42, 43, 45, 46, 50, 52, 54, 56, 58]
    assert fired(z < 0) == down
    assert fired(z > 0) == [*up, 61, 62, 63]


def test_a_ternary_neuron_takes_off_the_threshold_that_was_crossed() -> None:
    layer = ns.layer(cores.ternary_lif)(dt=DT, tau_mem=tau(0.5), v_th=1.0, v_low=-0.5, r=2.0, reset="subtract")
    z, state = layer(torch.tensor([1.25, -0.75]).reshape(1, 1, 2))
    assert z.flatten().tolist() == [1.0, -1.0]
    assert state.v.flatten().tolist() == pytest.approx([0.25, -0.25])


def test_each_interval_is_that_of_the_leaky_neuron_and_its_rest() -> None:
    i = torch.full((400, 1, 1), 1.7, dtype=torch.float64)
    plain, _ = ns.LIF(dt=DT, tau_mem=10e-3)(i)
    (interval,) = set(torch.tensor(fired(plain.flatten())).diff().tolist())
    for rest in (1, 2, 5):
        z, _ = ns.layer(cores.refractory_lif)(dt=DT, tau_mem=10e-3, t_ref=rest * DT)(i)
        assert set(torch.tensor(fired(z.flatten())).diff().tolist()) == {interval + rest}


def test_a_resting_neuron_does_not_fire_whatever_its_membrane() -> None:
    i = torch.full((12, 1, 1), 9.0)
    z, _ = ns.layer(cores.refractory_lif)(dt=DT, tau_mem=2e-3, t_ref=3 * DT, reset=None)(i)
    assert fired(z.flatten()) == [0, 4, 8]


def test_an_oscillator_left_alone_turns_at_its_frequency_and_decays() -> None:
    layer = ns.layer(cores.resonate_and_fire)(dt=DT, f_osc=50.0, tau_mem=40e-3, v_th=0.2)
    i = torch.zeros(81, 1, 1, dtype=torch.float64)
    i[0] = 1.0
    z, state, values, *_ = layer.run(i, None, ["x", "y"])
    turned = torch.exp(torch.arange(81, dtype=torch.float64) * DT * complex(-1 / 40e-3, 2 * math.pi * 50.0))
    torch.testing.assert_close(values["x"].flatten(), turned.real, rtol=0, atol=1e-12)
    torch.testing.assert_close(values["y"].flatten(), turned.imag, rtol=0, atol=1e-12)
    # Whole turns of 20 steps, until less than the threshold is left; rounding decides where y is 0.
    assert [step in (19, 20, 21, 39, 40, 41, 59, 60, 61) for step in fired(z.flatten())] in ([True] * 2, [True] * 3)
    del state


def test_a_frequency_may_be_learned() -> None:
    layer = ns.layer(cores.resonate_and_fire)(dt=DT, f_osc=torch.tensor([30.0, 60.0]).double(), learn=("f_osc",))
    i = torch.randn(30, 2, 2, dtype=torch.float64)

    def loss(f: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            layer.f_osc.copy_(f)
        return layer(i)[1].x.square().sum()

    at = torch.tensor([30.0, 60.0], dtype=torch.float64)
    (gradient,) = torch.autograd.grad(loss(at), [layer.f_osc])
    for k in range(2):
        step = torch.zeros(2, dtype=torch.float64)
        step[k] = 1e-4
        slope = (loss(at + step) - loss(at - step)).detach() / 2e-4
        assert float(gradient[k]) == pytest.approx(float(slope), rel=1e-5)


def test_frequencies_and_turns_are_declared() -> None:
    with pytest.raises(UnitError, match=r"f_osc must be a finite number in \(0, 10000\) Hz; got -1"):
        ns.layer(cores.resonate_and_fire)(dt=DT, f_osc=-1)
    with pytest.raises(InputError, match="cos_x and sin_x from f_x"):
        ns.core(parameters={"cos_gain": 1.0})
    with pytest.raises(InputError, match=r"takes \['cos_x'\] by keyword; it may take"):

        @ns.core(parameters={"tau_x": ns.seconds(1e-3)})
        def wrong(i, v, *, cos_x):
            return v, v


def test_graded_spikes_are_what_arrives_above_the_threshold() -> None:
    i = torch.tensor([-7.0, -3.0, 0.0, 3.0, 4.0]).reshape(1, 1, 5)
    assert ns.layer(cores.graded)(dt=DT, v_th=3)(i)[0].flatten().tolist() == [-7.0, 0.0, 0.0, 0.0, 4.0]
    assert ns.layer(cores.graded_relu)(dt=DT, v_th=3)(i)[0].flatten().tolist() == [0.0, 0.0, 0.0, 0.0, 4.0]
    with pytest.raises(UnitError, match="v_th must be"):
        ns.layer(cores.graded)(dt=DT, v_th=-1)
