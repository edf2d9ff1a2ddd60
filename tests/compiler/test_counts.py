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
    "slow_lif": OperationCount(add=2, mul=2, compare=1, select=1, state=1),
    # wait > dt / 2; as lif; the membrane held, the spike held back, the wait counted down, both set anew by a spike.
    "refractory_lif": OperationCount(add=3, mul=2, compare=2, select=5, state=2),
    # j; v; the two decays; v - q - a - v_th; > 0; q + 2 (v_th + a) and a + step, each chosen by the spike.
    "atrlif": OperationCount(add=8, mul=6, compare=1, select=2, state=4),
    # the trace; gamma a / (1 + a); 1 + that.
    "calcium_gain": OperationCount(add=3, mul=3, div=1, state=1),
    "izhikevich": OperationCount(add=9, mul=8, compare=1, select=1, state=2),
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
