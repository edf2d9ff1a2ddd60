"""Factors of units, and the questions that a value in another unit causes."""

from __future__ import annotations

import pytest

import neurosim as ns
from neurosim import language, units
from neurosim.errors import UnitError

FACTORS = {
    **{"s": 1.0, "ms": 1e-3, "us": 1e-6, "Hz": 1.0, "kHz": 1e3, "V": 1.0, "mV": 1e-3, "uV": 1e-6},
    **{"mA": 1e-3, "uA": 1e-6, "nA": 1e-9, "pA": 1e-12, "mS": 1e-3, "uS": 1e-6, "nS": 1e-9, "pS": 1e-12},
    **{"uF": 1e-6, "nF": 1e-9, "pF": 1e-12, "kOhm": 1e3, "MOhm": 1e6, "GOhm": 1e9, "mm": 1e-3, "um": 1e-6},
}


def test_every_factor_is_a_plain_number():
    given = {name: value for name, value in vars(units.factors).items() if isinstance(value, float)}
    assert given == FACTORS and set(FACTORS) <= set(units.__all__)
    assert 0.1 * units.ms == 1e-4 and 1.5 * units.ms == 1.5e-3


@pytest.mark.parametrize(
    ("declare", "good", "bad", "question"),
    [
        (ns.seconds, 20e-3, 20.0, r"in \(0, 1\) s; got 20.0. Did you pass milliseconds\? 20 ms is 0.02 s"),
        (ns.volts, -65e-3, -65.0, r"in \(-1, 1\) V; got -65.0. Did you pass millivolts\? -65 mV is -0.065 V"),
        (ns.volts, 0.0, 20, r"got 20. Did you pass millivolts\? 20 mV is 0.02 V"),
        (ns.amperes, 0.0, 500.0, r"got 500.0. Did you pass picoamperes\? 500 pA is 5e-10 A"),
        (ns.amperes, -90e-12, -90.0, r"Did you pass picoamperes\? -90 pA is -9e-11 A"),
        (ns.siemens, 10e-9, 10.0, r"in \(0, 0.001\) S; got 10.0. Did you pass nanosiemens\? 10 nS is 1e-08 S"),
        (ns.farads, 250e-12, 250.0, r"Did you pass picofarads\? 250 pF is 2.5e-10 F"),
        (ns.ohms, 1e8, 100.0, r"got 100.0. Did you pass megaohms\? 100 MOhm is 1e\+08 Ohm"),
    ],
)
def test_a_value_in_another_unit_raises_that_question(declare, good, bad, question):
    @ns.core(parameters=dict(p=declare(good)))
    def neuron(i, v, *, p):
        return v + i * p, v

    make = ns.layer(neuron)
    assert make(dt=1e-3).value("p") == good
    with pytest.raises(UnitError, match=f"neuron: p must be a finite number .*{question}"):
        make(dt=1e-3, p=bad)


def test_a_value_out_of_range_for_another_reason_raises_no_question():
    for declare in (ns.siemens, ns.farads):
        with pytest.raises(UnitError, match=r"got -1e-09\.$"):
            ns.layer(ns.core(parameters=dict(p=declare(1e-9)))(_sum))(dt=1e-3, p=-1e-9)


def _sum(i, v, *, p):
    return v + i * p, v


def test_a_number_of_steps_may_be_zero():
    make = ns.layer(ns.core(parameters=dict(p=language.seconds(2e-3, in_steps=True)))(_sum))
    assert make(dt=1e-3, p=0.0).value("p") == 0.0
    with pytest.raises(UnitError, match=r"in \[0, 1\) s; got -0.001"):
        make(dt=1e-3, p=-1e-3)
    with pytest.raises(UnitError, match=r"in \(0, 1\) s; got 0.0"):
        ns.LIF(dt=1e-3, tau_mem=0.0)
