"""Calcium of an astrocyte: where it oscillates, at which order it converges, and what current comes of it."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

import neurosim as ns
from neurosim.cores import li_rinzel
from neurosim.errors import ExportError, UnitError
from neurosim.hardware.lava.mapping import map_network

MICRO = 1e-3  # mol/m^3


def run(ip3: Tensor, seconds: float, dt: float, **parameters: float) -> dict[str, Tensor]:
    """Hold IP3 at each value [mol/m^3] and return current and states [T, n] with time."""
    layer = ns.layer(li_rinzel)(dt=dt, ip3_rest=ip3, **parameters)
    silence = torch.zeros(round(seconds / dt), 1, len(ip3), dtype=torch.float64)
    start = layer.initial_state(silence)._replace(ip3=ip3[None].clone())
    current, _, seen, *_ = layer.run(silence, start, ("ip3", "ca", "h"))
    return {"current": current[:, 0], **{name: value[:, 0] for name, value in seen.items()}}


def test_calcium_oscillates_in_the_middle_of_the_range_of_ip3_alone():
    ip3 = torch.tensor([0.16, 0.25, 0.35, 0.40, 0.45, 0.50, 0.60, 0.70], dtype=torch.float64) * MICRO
    dt = 2e-3
    calcium = run(ip3, 200.0, dt)["ca"][round(140.0 / dt) :] / MICRO  # what rings on at 0.60 has died down
    swing = calcium.amax(0) - calcium.amin(0)
    assert (swing[[0, 1, 6, 7]] < 0.01).all()
    assert swing[2:6].tolist() == pytest.approx([0.228, 0.317, 0.364, 0.363], abs=0.003)
    assert float(calcium[:, 0].mean()) == pytest.approx(0.0864, abs=2e-4)
    for column, period in ((2, 12.52), (3, 11.83), (4, 11.38), (5, 11.11)):
        above = calcium[:, column] > calcium[:, column].mean()
        rises = (above[1:] & ~above[:-1]).nonzero().flatten() * dt
        assert float(rises.diff().mean()) == pytest.approx(period, abs=0.05)


def test_the_step_is_of_second_order():
    ip3 = torch.tensor([0.4], dtype=torch.float64) * MICRO

    def at_the_end(dt: float) -> Tensor:
        seen = run(ip3, 8.0, dt)
        return torch.stack((seen["ca"][-1] / MICRO, seen["h"][-1]))

    exact = at_the_end(1e-3)
    errors = [float((at_the_end(dt) - exact).abs().max()) for dt in (40e-3, 20e-3, 10e-3)]
    orders = [math.log2(coarse / fine) for coarse, fine in itertools.pairwise(errors)]
    assert errors[0] < 0.01 and all(1.8 < order < 2.2 for order in orders), (errors, orders)


def test_the_equations_hold_step_by_step():
    """The definition written down once more, in uM and ms as NEST has it, and stepped with plain Euler."""
    ca, h, ip3, dt = 0.073, 0.793, 0.5, 0.02  # uM, 1, uM, ms
    for _ in range(round(2000 / dt)):
        store = 2.0 + (2.0 - ca) / 0.185
        leak = 0.185 * 1.1e-4 * (store - ca)
        pump = 9e-4 * ca**2 / (0.1**2 + ca**2)
        channel = 0.185 * 6e-3 * (ip3 / (ip3 + 0.13)) ** 3 * (ca / (ca + 0.08234)) ** 3 * h**3 * (store - ca)
        gate = 2e-4 * (1.049 * (ip3 + 0.13) / (ip3 + 0.9434) * (1 - h) - ca * h)
        ca, h = ca + dt * (channel - pump + leak), h + dt * gate
        ip3 += dt * (0.16 - ip3) / 7142.0
    layer = ns.layer(li_rinzel)(dt=1e-3)
    silence = torch.zeros(2000, 1, 1, dtype=torch.float64)
    _, state = layer(silence, layer.initial_state(silence)._replace(ip3=torch.full((1, 1), 0.5e-3).double()))
    assert float(state.ip3) / MICRO == pytest.approx(ip3, rel=1e-5)
    assert float(state.ca) / MICRO == pytest.approx(ca, rel=2e-4)
    assert float(state.h) == pytest.approx(h, rel=2e-4)


def test_the_current_is_the_logarithm_of_calcium_above_its_threshold():
    seen = run(torch.tensor([0.16, 0.45], dtype=torch.float64) * MICRO, 40.0, 2e-3, scale=2.0)
    nanomolar = seen["ca"] / MICRO * 1e3 - 196.69
    expected = torch.where(nanomolar > 1, 2.0 * nanomolar.clamp(min=1).log(), 0.0)
    assert (expected[:, 0] == 0).all() and expected[:, 1].amax() > 5
    torch.testing.assert_close(seen["current"], expected, rtol=1e-9, atol=1e-9)


def test_spikes_set_ip3_free_that_decays_and_negative_ones_take_no_more_than_there_is():
    layer = ns.layer(li_rinzel)(dt=1e-3)
    weighted = torch.zeros(2000, 1, 2, dtype=torch.float64)
    weighted[0, 0] = torch.tensor([0.1, -1.0])
    seen = layer.run(weighted, None, ("ip3",)).recorded
    left = seen["ip3"][-1, 0] / MICRO
    assert left.tolist() == pytest.approx([0.16 + 0.5 * math.exp(-2 / 7.142), 0.16 - 0.16 * math.exp(-2 / 7.142)])


def test_calcium_stays_between_nothing_and_all_there_is():
    layer = ns.layer(li_rinzel)(dt=1e-3)
    silence = torch.zeros(1, 1, 2, dtype=torch.float64)
    wrong = layer.initial_state(silence)._replace(ca=torch.tensor([[-1.0, 1.0]], dtype=torch.float64))
    assert layer(silence, wrong)[1].ca.tolist() == [[0.0, pytest.approx(2e-3 * 1.185)]]


def test_exporters_refuse_it_by_name():
    net = ns.Sequential(ns.Linear(4, 2), ns.layer(li_rinzel)(dt=1e-3), ns.Linear(2, 1), ns.LIF(dt=1e-3))
    with pytest.raises(ExportError, match="node 'li_rinzel1': its core is 'li_rinzel'"):
        map_network(net)
    pytest.importorskip("nir")
    from neurosim.exchange.nir import to_nir

    with pytest.raises(ExportError, match="node 'li_rinzel1': its core is 'li_rinzel'"):
        to_nir(net)


def test_micromolar_and_milliseconds_are_refused():
    make = ns.layer(li_rinzel)
    with pytest.raises(UnitError, match=r"ip3_rest must be a finite number in \(0, 0.02\) mol/m\^3; got 0.16"):
        make(dt=1e-3, ip3_rest=0.16)
    with pytest.raises(UnitError, match="Did you pass milliseconds"):
        make(dt=1e-3, tau_ip3=7142.0)
