"""Conductance-based integrate-and-fire: exact where conductances are constant, against its equation elsewhere."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim import language
from neurosim.cores import conductance_lif
from neurosim.errors import InputError

make = ns.layer(conductance_lif)


def trains(seed: int, steps: int, neurons: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Return conductance that arrives at each step through the two ports [T, N]."""
    draw = np.random.default_rng(seed)
    excitatory = (draw.random((steps, neurons)) < 0.12) * draw.uniform(0.1, 0.6, (steps, neurons))
    inhibitory = (draw.random((steps, neurons)) < 0.08) * draw.uniform(0.1, 0.9, (steps, neurons))
    return excitatory, inhibitory


def integrated(excitatory: np.ndarray, inhibitory: np.ndarray, dt: float, fires: bool = True) -> Any:
    """Integrate the equation as written, one neuron and one step at a time; return spikes and membrane [T, N]."""
    spikes, membranes = np.zeros_like(excitatory), np.zeros_like(excitatory)
    for n in range(excitatory.shape[1]):
        v = g_exc = g_inh = 0.0
        for t in range(len(excitatory)):
            g_exc = g_exc * math.exp(-dt / 5e-3) + excitatory[t, n]
            g_inh = g_inh * math.exp(-dt / 10e-3) + inhibitory[t, n]
            leak = 1.0 + g_exc + g_inh
            target = (6.0 * g_exc - 2.0 * g_inh) / leak
            v = target + (v - target) * math.exp(-leak * dt / 20e-3)
            if fires and v > 1.0:
                spikes[t, n], v = 1.0, 0.0
            membranes[t, n] = v
    return spikes, membranes


def feed(excitatory: np.ndarray, inhibitory: np.ndarray) -> dict[str, torch.Tensor]:
    return {"ge": torch.from_numpy(excitatory)[:, None], "gi": torch.from_numpy(inhibitory)[:, None]}


def test_it_is_the_integration_of_its_equation():
    given = trains(0, 600)
    spikes, membranes = integrated(*given, dt=1e-3)
    result = make(dt=1e-3).run(feed(*given), record=("v",))
    assert np.array_equal(result.out[:, 0].numpy(), spikes) and 20 < spikes.sum() < 600
    np.testing.assert_allclose(result.recorded["v"][:, 0].numpy(), membranes, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("dt", [1e-3, 5e-4, 1e-4])
def test_constant_conductances_are_integrated_exactly(dt):
    steps, g_exc, g_inh = round(0.05 / dt), 0.3, 0.9
    i = {}
    for port, g, tau in (("ge", g_exc, 5e-3), ("gi", g_inh, 10e-3)):
        i[port] = torch.full((steps, 1, 1), -g * math.expm1(-dt / tau), dtype=torch.float64)
        i[port][0] = g
    _, state = make(dt=dt, v_th=10.0)(i)
    total = 1.0 + g_exc + g_inh
    target = (6.0 * g_exc - 2.0 * g_inh) / total
    assert state.v.item() == pytest.approx(target * -math.expm1(-total * 0.05 / 20e-3), rel=1e-12)
    assert state.g_exc.item() == pytest.approx(g_exc, rel=1e-12)


def test_it_converges_to_the_solution_of_its_equation():
    def end(dt: float) -> float:
        """Return v after 40 ms of three spikes that arrive at the same times whatever the step."""
        ge, gi = (torch.zeros(round(0.04 / dt), 1, 1, dtype=torch.float64) for _ in range(2))
        ge[round(4e-3 / dt)], ge[round(12e-3 / dt)], gi[round(20e-3 / dt)] = 0.2, 0.3, 0.5
        return make(dt=dt, v_th=10.0)({"ge": ge, "gi": gi})[1].v.item()

    exact = end(1e-6)
    errors = [abs(end(dt) - exact) for dt in (1e-3, 5e-4, 2.5e-4)]
    assert errors[0] < 0.02
    for coarse, fine in itertools.pairwise(errors):
        assert 1.7 < coarse / fine < 2.3


def test_a_port_that_nothing_feeds_is_zero():
    excitatory, _ = trains(1, 200)
    i = feed(excitatory, np.zeros_like(excitatory))
    layer = make(dt=1e-3)
    z, state = layer(i)
    alone, state_alone = layer({"ge": i["ge"]})
    assert torch.equal(z, alone) and all(map(torch.equal, state, state_alone)) and z.sum() > 5
    driven, _ = layer({"i": torch.full((200, 1, 3), 1.5)})
    expected = ns.LIF(dt=1e-3)(torch.full((200, 1, 3), 1.5))[0]
    assert torch.equal(driven, expected) and driven.any()
    with pytest.raises(
        InputError, match=r"conductance_lif: no port is fed; this core has the input ports \['ge', 'gi', 'i'\]"
    ):
        layer({})


def test_gradients_of_both_ports_are_those_of_finite_differences():
    layer = make(dt=1e-3, spike=language.smooth(4.0), detach_reset=False)

    def run(ge: torch.Tensor, gi: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, ...]:
        z, state = layer({"ge": ge, "gi": gi}, (v, torch.zeros_like(v), torch.zeros_like(v)))
        return (z, *state)

    draw = torch.Generator().manual_seed(0)
    ge, gi = (torch.rand(12, 2, 3, dtype=torch.float64, generator=draw).mul(0.3).requires_grad_() for _ in range(2))
    v = torch.rand(2, 3, dtype=torch.float64, generator=draw).requires_grad_()
    assert torch.autograd.gradcheck(run, (ge, gi, v))
