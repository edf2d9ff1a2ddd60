"""Operations of one update, counted by hand from the equations."""

from __future__ import annotations

import pytest

import neurosim as ns
from neurosim.compiler.counts import OperationCount
from tests.core_list import BY_NAME

# lif: alpha v; (1 - alpha) r i; their sum; u - v_th; > 0; the choice of the reset.
BY_HAND = {
    "integrate_and_fire": OperationCount(add=2, mul=1, compare=1, select=1, state=1),
    "leaky_integrator": OperationCount(add=1, mul=2, state=1),
    "lif": OperationCount(add=2, mul=2, compare=1, select=1, state=1),
    "cubalif": OperationCount(add=3, mul=3, compare=1, select=1, state=2),
    "alif": OperationCount(add=4, mul=4, compare=1, select=1, state=2),
    # Two conductances; their sum with the leak; the target; the way to it and its decay; u - v_th.
    "conductance_lif": OperationCount(add=10, mul=7, div=1, compare=1, select=1, function=1, state=3),
    "slow_lif": OperationCount(add=2, mul=2, compare=1, select=1, state=1),
    # wait > dt / 2; as lif; the membrane held, the spike held back, the wait counted down, both set anew by a spike.
    "refractory_lif": OperationCount(add=3, mul=2, compare=2, select=5, state=2),
    # j; v; the two decays; v - q - a - v_th; > 0; q + 2 (v_th + a) and a + step, each chosen by the spike.
    "atrlif": OperationCount(add=8, mul=6, compare=1, select=2, state=4),
    # the trace; gamma a / (1 + a); 1 + that.
    "calcium_gain": OperationCount(add=3, mul=3, div=1, state=1),
    # alpha (v - e_l) + e_l; charge (i_e + i); dv; 100 (u - v_th); as refractory_lif.
    "lif_delta": OperationCount(add=7, mul=3, compare=2, select=5, state=2),
    # As lif_delta without dv; p j and alpha j + i of two synapses.
    "lif_exp": OperationCount(add=10, mul=7, compare=2, select=5, state=4),
    # As lif_delta without dv; p j + q rise, alpha (j + dt rise), alpha rise + e / tau i of two synapses.
    "lif_alpha": OperationCount(add=14, mul=15, compare=2, select=5, state=6),
    # As conductance_lif, with the current in two parts; as refractory_lif; 100 (u - v_th).
    "lif_cond": OperationCount(add=12, mul=7, div=1, compare=2, select=5, function=1, state=4),
    # As lif_cond; the upswing, its exponent and cap; w, settled at a (v - e_l) and raised by b z.
    "adex": OperationCount(add=19, mul=11, div=2, compare=3, select=5, function=2, state=5),
    # As lif_cond, with two more currents; three gates that relax; six rates, three of them ratios with a series.
    "hodgkin_huxley": OperationCount(add=48, mul=45, div=14, compare=12, select=10, function=13, state=7),
    # Two half steps of v, each (0.04 v v + 5 v + 140 - u + i) h; u; v - v_peak and its scale; u + d z.
    "izhikevich": OperationCount(add=14, mul=12, compare=1, select=1, state=2),
    "integrator": OperationCount(add=1, mul=1, state=1),
    "cuba_integrator": OperationCount(add=2, mul=3, state=2),
    # With rest: r j + v_leak.
    "cuba_integrator_resting": OperationCount(add=3, mul=4, state=2),
    "cubalif_resting": OperationCount(add=4, mul=4, compare=1, select=1, state=2),
    # lif; v_low - u; up - down; a second spike and reset.
    "ternary_lif": OperationCount(add=4, mul=2, compare=2, select=2, state=1),
    "reset_free_leaky": OperationCount(add=2, mul=2, compare=1, state=1),
    # Three filters of one addition and two products; p + ref; u - v_th; v_ref z.
    "decolle": OperationCount(add=5, mul=7, compare=1, state=3),
    # beta v + i; u - v_th.
    "beta_lif": OperationCount(add=2, mul=1, compare=1, select=1, state=1),
    # leak v + i; u / v_th - 1; u - v_th z.
    "iir_lif": OperationCount(add=3, mul=2, div=1, compare=1, state=1),
    # A turn of four products and two sums, its two decays, r i; x - v_th; two signs and the spike.
    "resonate_and_fire": OperationCount(add=4, mul=7, compare=3, select=2, state=2),
    "resonate_and_fire_izhikevich": OperationCount(add=4, mul=7, compare=1, select=2, state=2),
    # d v + (1 - d)(i - w), 1 - d computed once; u - v_th; u - v_th z; e w + a u + b z.
    "silif": OperationCount(add=6, mul=6, compare=1, state=2),
    # A turn of four products and two sums, its two decays, r i; 2 x - v_th; x - v_th z / 2.
    "csilif": OperationCount(add=5, mul=9, compare=1, state=2),
    # Two slopes of 11 additions, 13 products and 5 divisions; around them the messenger, the half step, the current.
    "li_rinzel": OperationCount(add=22 + 9, mul=26 + 9, div=10, compare=4, function=1, state=3),
    "relay": OperationCount(),
    "threshold": OperationCount(add=1, compare=1),
    "sigma": OperationCount(add=1, state=1),
    # i - act + residue; its size, compared and chosen; change - sent.
    "delta": OperationCount(add=3, compare=1, select=1, function=1, state=2),
    "sigma_delta": OperationCount(add=5, compare=2, select=1, function=1, state=3),
    "sigma_delta_cumulative": OperationCount(add=6, compare=3, select=2, function=2, state=4),
    "graded": OperationCount(compare=1, select=1, function=1),
    "graded_relu": OperationCount(compare=1, select=1),
    # Two decays (5 products, 2 additions, 2 roundings) and two wraps to 32 bits (2, 2, 1); 64 i; the wrap to 24 bits.
    "loihi_integrator": OperationCount(add=13, mul=16, compare=4, select=2, function=6, state=2),
    "loihi": OperationCount(add=14, mul=16, compare=5, select=3, function=6, state=2),
    "loihi_refractory": OperationCount(add=15, mul=16, compare=7, select=5, function=6, state=3),
    # Two currents (a sum, two bounds, a decay, a difference), the decay of v, three saturated sums, the spikes.
    "xylo": OperationCount(add=15, mul=5, div=1, compare=21, select=4, function=4, state=3),
    "loihi_joined": OperationCount(add=12, mul=12, compare=5, select=3, function=4, state=1),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_counts(name):
    assert BY_NAME[name].make().operations() == BY_HAND[name]


def test_every_core_is_counted():
    assert set(BY_HAND) == set(BY_NAME)


def test_the_reset_is_counted_as_chosen():
    assert ns.LIF(dt=1e-3, reset=None).operations() == OperationCount(add=2, mul=2, compare=1, state=1)
    assert ns.LIF(dt=1e-3, reset="subtract").operations() == OperationCount(add=3, mul=3, compare=1, state=1)


def test_a_parameter_of_each_neuron_is_a_number_that_does_not_change_either():
    assert ns.LIF(dt=1e-3, size=3, learn=("tau_mem", "r")).operations() == BY_HAND["lif"]


def test_functions_and_divisions_have_their_own_columns():
    def odd(i, v):
        return ns.language.exp(i) / (v + 2.0), ns.language.tanh(-v)

    count = ns.layer(ns.core()(odd))(dt=1e-3).operations()
    assert count == OperationCount(add=2, div=1, function=2, state=1)
