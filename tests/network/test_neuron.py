"""Layers: what they accept and refuse, their parameters, and the physics of the cores."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim.errors import InputError, ShapeError, UnitError


class TestMaking:
    @pytest.mark.parametrize("tau", [20, torch.tensor([20e-3, 20.0])])
    def test_milliseconds_get_the_question(self, tau):
        message = r"lif: tau_mem must be .* in \(0, 1\) s; got 20.*Did you pass milliseconds\?"
        with pytest.raises(UnitError, match=message):
            ns.LIF(tau_mem=tau, dt=1e-3)

    @pytest.mark.parametrize("dt", [1, 1.0, 5, 0.1])
    def test_a_step_in_milliseconds_gets_the_question(self, dt):
        message = rf"lif: dt must be a number in \(0, 0.1\) s; got {dt}. Did you pass milliseconds"
        with pytest.raises(UnitError, match=message):
            ns.LIF(dt=dt)

    @pytest.mark.parametrize("dt", [0, -1e-3, math.nan, math.inf, "1ms"])
    def test_a_step_out_of_range(self, dt):
        with pytest.raises(UnitError, match="lif: dt must be a number"):
            ns.LIF(dt=dt)

    @pytest.mark.parametrize("bad", [0.0, -1.0, math.nan])
    def test_one_bad_value_of_a_tensor_is_named(self, bad):
        with pytest.raises(UnitError, match=rf"cubalif: tau_syn must be .* got {bad}"):
            ns.CubaLIF(tau_syn=torch.tensor([5e-3, bad]), dt=1e-3)

    @pytest.mark.parametrize(
        ("choices", "message"),
        [
            (dict(tau=1e-3), r"lif: unknown parameters \['tau'\]; this core has \['tau_mem', 'v_th', 'v_reset', 'r'\]"),
            (dict(learn=("beta",)), r"lif: unknown learn \['beta'\]; this core has"),
            (dict(reset="soft"), r"lif: reset must be \"value\", \"subtract\" or None; got 'soft'"),
            (dict(spike="atan"), r"lif: spike must be a surrogate such as atan\(2.0\); got 'atan'"),
        ],
    )
    def test_wrong_choices_are_named(self, choices, message):
        with pytest.raises(InputError, match=message):
            ns.LIF(dt=1e-3, **choices)

    @pytest.mark.parametrize("make", [ns.LIF, ns.ALIF, ns.layer(ns.cores.leaky_integrator)])
    def test_a_value_without_a_name_is_refused(self, make):
        with pytest.raises(InputError, match=r"have names; got 4 without one\. Write size="):
            make(4, dt=1e-3)

    def test_the_signature_names_the_parameters(self):
        import inspect

        assert list(inspect.signature(ns.CubaLIF).parameters)[:4] == ["dt", "tau_syn", "tau_mem", "v_th"]
        assert "tau_syn : float or Tensor, default 0.005" in str(ns.CubaLIF.__doc__)

    def test_repr_says_how_it_was_made(self):
        layer = ns.LIF(tau_mem=torch.tensor([0.01, 0.02]), dt=1e-3, learn=("tau_mem",), reset="subtract")
        for part in ("lif, tau_mem=tensor[2] (learned)", "v_th=1", "dt=0.001", "atan(slope=2.0)", "reset='subtract'"):
            assert part in repr(layer)
        assert "spike" not in repr(ns.LI(dt=1e-3))


class TestParameters:
    def test_values_and_decays(self):
        layer = ns.LIF(tau_mem=10e-3, dt=1e-3)
        assert layer.value("tau_mem") == 10e-3 and layer.decay("tau_mem") == math.exp(-0.1)
        with pytest.raises(InputError, match=r"lif: no parameter 'tau_syn'; this core has \['tau_mem'"):
            layer.value("tau_syn")

    def test_each_neuron_its_own(self):
        taus = torch.tensor([5e-3, 10e-3, 50e-3])
        together, _ = ns.LI(tau_mem=taus, dt=1e-3)(torch.ones(30, 2, 3))
        for n, tau in enumerate(taus.tolist()):
            alone, _ = ns.LI(tau_mem=tau, dt=1e-3)(torch.ones(30, 2, 1))
            torch.testing.assert_close(together[..., n], alone[..., 0], rtol=1e-6, atol=0)

    def test_a_tensor_is_copied_and_saved_with_the_layer(self):
        given = torch.full((3,), 10e-3)
        layer = ns.LIF(tau_mem=given, dt=1e-3)
        given.zero_()
        assert torch.equal(torch.as_tensor(layer.value("tau_mem")), torch.full((3,), 10e-3))
        assert list(layer.state_dict()) == ["tau_mem"]

    def test_a_learned_time_is_positive_whatever_the_optimiser_does(self):
        layer = ns.LIF(dt=1e-3, size=4, learn=("tau_mem",))
        torch.testing.assert_close(layer.value("tau_mem"), torch.full((4,), 20e-3))
        with torch.no_grad():
            for stored in layer.parameters():
                stored.sub_(100.0)
        assert (
            torch.as_tensor(layer.value("tau_mem")).min() >= 0 and torch.isfinite(layer(torch.ones(5, 1, 4))[0]).all()
        )

    def test_learning_lowers_a_loss(self):
        torch.manual_seed(0)
        target = ns.LI(dt=1e-3, tau_mem=5e-3)(torch.ones(30, 1, 1))[0]
        layer = ns.LI(dt=1e-3, learn=("tau_mem",))
        optimiser = torch.optim.Adam(layer.parameters(), lr=0.1)
        for _ in range(60):
            optimiser.zero_grad()
            ((layer(torch.ones(30, 1, 1))[0] - target) ** 2).mean().backward()
            optimiser.step()
        assert torch.as_tensor(layer.value("tau_mem")).item() == pytest.approx(5e-3, rel=0.05)

    def test_size_gives_each_neuron_a_parameter_and_none_shares_one(self):
        assert ns.LIF(dt=1e-3, size=(2, 3), learn=("v_th",)).v_th.shape == (2, 3)
        assert ns.LIF(dt=1e-3, learn=("v_th",)).v_th.shape == ()


class TestInput:
    @pytest.mark.parametrize(
        ("i", "message"),
        [
            (torch.ones(5), r"lif: i must be a tensor \[T, B, ...\]; got shape \[5\]. Time comes first"),
            (np.ones((5, 1, 1)), r"lif: i must be a tensor \[T, B, ...\]; got ndarray"),
        ],
    )
    def test_not_over_time_and_batch(self, i, message):
        with pytest.raises(ShapeError, match=message):
            ns.LIF(dt=1e-3)(i)

    def test_whole_numbers(self):
        message = r"lif: i must be a current in floating point; got torch.int64. Use i.float\(\)"
        with pytest.raises(InputError, match=message):
            ns.LIF(dt=1e-3)(torch.ones(5, 1, 1, dtype=torch.int64))

    def test_another_population(self):
        with pytest.raises(ShapeError, match=r"lif: i must be \[T, B, 4\]; got \[5, 1, 3\]"):
            ns.LIF(dt=1e-3, size=4)(torch.ones(5, 1, 3))
        with pytest.raises(ShapeError, match=r"lif: v_th of shape \[4\] does not fit neurons of shape \[3\]"):
            ns.LIF(dt=1e-3, v_th=torch.ones(4))(torch.ones(5, 1, 3))

    def test_a_state_that_does_not_fit(self):
        with pytest.raises(ShapeError, match=r"cubalif: state must hold \['j', 'v'\]; got 1"):
            ns.CubaLIF(dt=1e-3)(torch.ones(5, 1, 3), (torch.ones(1, 3),))
        with pytest.raises(ShapeError, match=r"lif: state.v must be \[1, 3\] as i\[0\] is; got \[2, 3\]"):
            ns.LIF(dt=1e-3)(torch.ones(5, 1, 3), (torch.ones(2, 3),))

    def test_on_another_device(self):
        with pytest.raises(InputError, match=r"lif: state.v is on meta, i on cpu; move one with .to\(\)"):
            ns.LIF(dt=1e-3)(torch.ones(5, 1, 3), (torch.ones(1, 3, device="meta"),))
        with pytest.raises(InputError, match=r"lif: v_th is on meta, i on cpu"):
            ns.LIF(dt=1e-3, v_th=torch.ones(3)).to("meta")(torch.ones(5, 1, 3))

    def test_names_to_record(self):
        with pytest.raises(InputError, match=r"lif: cannot record \['w'\]; this core has \['v', 'u', 'z'\]"):
            ns.LIF(dt=1e-3).run(torch.ones(5, 1, 3), record=("w",))

    def test_not_a_number_is_carried_on_and_not_hidden(self):
        i = torch.ones(5, 1, 2)
        i[2, 0, 0] = math.nan
        _, state = ns.LIF(dt=1e-3)(i)
        assert state.v.isnan().tolist() == [[True, False]]


@pytest.mark.parametrize("dt", [1e-3, 5e-4, 1e-4])
@pytest.mark.parametrize("layer", [ns.LI, ns.LIF])
def test_constant_drive_below_threshold_is_solved_exactly(layer, dt):
    # tau dv/dt = -v + r i from v0: v(t) = r i + (v0 - r i) exp(-t / tau), at any step.
    steps = round(0.05 / dt)
    model = layer(tau_mem=15e-3, r=0.7, dt=dt)
    i, start = torch.full((steps, 1, 1), 1.2).double(), torch.full((1, 1), -0.4).double()
    values = model.run(i, (start,), ("v",)).recorded
    t = dt * np.arange(1, steps + 1)
    limit = 0.7 * i[0].item()
    expected = limit + (start.item() - limit) * np.exp(-t / 15e-3)
    np.testing.assert_allclose(values["v"].flatten().numpy(), expected, rtol=0, atol=1e-13)


def test_cubalif_converges_with_first_order():
    # One input spike at t = 0: v(t) = r j0 tau_syn / (tau_mem - tau_syn) (exp(-t/tau_mem) - exp(-t/tau_syn)).
    errors = []
    for dt in (1e-3, 5e-4, 2.5e-4, 1.25e-4):
        i = torch.zeros(round(0.04 / dt), 1, 1, dtype=torch.float64)
        i[0] = 2.0
        values = ns.CubaLIF(dt=dt, tau_syn=5e-3, tau_mem=20e-3, v_th=9.0).run(i, record=("v",)).recorded
        t = dt * np.arange(1, len(i) + 1)
        exact = 2.0 * 5e-3 / 15e-3 * (np.exp(-t / 20e-3) - np.exp(-t / 5e-3))
        errors.append(np.abs(values["v"].flatten().numpy() - exact).max())
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert errors[0] < 0.06 and (np.abs(orders - 1.0) < 0.1).all()


def test_if_integrates_what_it_is_given():
    _, state = ns.IF(dt=1e-3, v_th=9.0, r=0.5)(torch.full((10, 1, 1), 0.25))
    assert state.v.item() == 1.25


@pytest.mark.parametrize("current", [1.05, 1.2, 1.5, 3.0, 10.0])
def test_lif_fires_at_the_rate_of_the_analytic_curve(current):
    # Interval from reset to threshold: tau ln((i - v_reset) / (i - v_th)); a step rounds it up, by less than dt.
    dt, tau, v_reset = 1e-4, 20e-3, -0.5
    z, _ = ns.LIF(tau_mem=tau, v_reset=v_reset, dt=dt)(torch.full((20_000, 1, 1), current, dtype=torch.float64))
    intervals = z.flatten().nonzero().flatten().diff() * dt
    exact = tau * math.log((current - v_reset) / (current - 1.0))
    assert intervals.min() == intervals.max()
    assert 0 <= intervals[0].item() - exact < dt * (1 + 1e-9)


def test_the_raised_threshold_of_alif_decays_with_tau_adapt():
    dt, tau_adapt = 1e-3, 150e-3
    layer = ns.ALIF(dt=dt, tau_adapt=tau_adapt)
    i = torch.zeros(300, 1, 1, dtype=torch.float64)
    i[:40] = 4.0
    z, _, values, *_ = layer.run(i, record=("a",))
    a, last = values["a"].flatten().numpy(), int(z.flatten().nonzero()[-1])
    assert z.sum() > 3 and a[last] > 1.0
    t = dt * np.arange(300 - last)
    np.testing.assert_allclose(a[last:], a[last] * np.exp(-t / tau_adapt), rtol=1e-12)
    assert a[int(z.flatten().nonzero()[0])] == 1.0


def test_a_raised_threshold_delays_the_next_spike():
    i = torch.full((200, 1, 1), 4.0)
    adaptive, plain = ns.ALIF(dt=1e-3)(i)[0], ns.ALIF(dt=1e-3, beta=0.0)(i)[0]
    assert torch.equal(plain, ns.LIF(dt=1e-3)(i)[0])
    intervals = adaptive.flatten().nonzero().flatten().diff()
    assert intervals[-1] > intervals[0] and adaptive.sum() < plain.sum()
