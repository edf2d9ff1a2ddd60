"""Declaring a core: what the decorator accepts, what it refuses and what it says."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim.errors import InputError, UnitError
from neurosim.language import Derived, Parameter
from tests.user_cores import coba, izhikevich


def test_a_core_knows_its_parts():
    core = izhikevich
    assert core.name == "izhikevich" and repr(core) == "<core izhikevich(i, v, w)>"
    assert list(core.parameters) == ["a", "b", "c", "d", "v_peak"] and core.state == {"v": -65.0, "w": -13.0}
    assert core.coefficients == ("a", "b", "c", "d", "v_peak", "dt")
    assert str(core.__doc__).startswith("Izhikevich 2003")


def test_calling_a_core_on_numbers_runs_its_step():
    lif = ns.cores.lif
    given = dict(alpha_mem=0.5, v_th=1.0, v_reset=0.25, r=1.0, spike=ns.atan(), reset=ns.language.Reset())
    assert lif(1.0, 0.8, **given) == (0.0, 0.9)
    assert lif(1.5, 0.8, **given) == (1.0, 0.25)


@pytest.mark.parametrize("core", [ns.cores.lif, izhikevich])
def test_a_core_pickles_by_name_and_copies_to_itself(core):
    assert pickle.loads(pickle.dumps(core)) is core
    assert copy.deepcopy(core) is core


def test_a_core_inside_a_function_copies_but_does_not_pickle():
    @ns.core()
    def hidden(i, v):
        return v + i, v + i

    layer = ns.layer(hidden)(dt=1e-3)
    z, _ = copy.deepcopy(layer)(torch.ones(3, 1, 1))
    assert z.flatten().tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(InputError, match="'hidden' cannot be pickled: it must be defined at the top level of module"):
        pickle.dumps(hidden)


def test_the_step_must_take_the_declared_state():
    message = r"core wrong: .* then the state \('v', 'w'\) by position; it takes \('i', 'v'\)"
    with pytest.raises(InputError, match=message):

        @ns.core(state=("v", "w"))
        def wrong(i, v):
            return v, v


def test_a_core_has_the_input_ports_it_declares():
    assert ns.cores.lif.inputs == {"i": None}
    assert coba.inputs == {"ge": None, "gi": 0.0} and repr(coba) == "<core coba(ge, gi, v, g_exc, g_inh)>"

    @ns.core(inputs=("a", "b"))
    def both(a, b, v):
        return v + a - b, v + a - b

    assert both.inputs == {"a": None, "b": None} and both(2.0, 0.5, 1.0) == (2.5, 2.5)


def test_the_step_must_take_the_declared_ports():
    message = (
        r"core wrong: the step must take the inputs \('ge', 'gi'\) and then the state \('v',\) .* \('gi', 'ge', 'v'\)"
    )
    with pytest.raises(InputError, match=message):

        @ns.core(inputs=("ge", "gi"))
        def wrong(gi, ge, v):
            return v, v


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("ge", r"inputs must be a sequence or a mapping of names; got 'ge'. Write inputs=\('ge',\)"),
        ((), "inputs must name at least one port, .* got none"),
        ({"ge": math.inf}, r"each with a finite value or None; got {'ge': inf}"),
    ],
)
def test_ports_that_are_refused(inputs, message):
    with pytest.raises(InputError, match=message):
        ns.core(inputs=inputs)


def test_names_that_kernels_use_themselves_are_refused():
    def refused(step, **declared):
        with pytest.raises(InputError, match=r"kernels use the names \[.*\] for their own arrays"):
            ns.core(**declared)(step)

    refused(lambda out, v: (out, v), inputs=("out",))
    refused(lambda i, kept0: (i, kept0), state=("kept0",))
    refused(lambda i, v, *, g_v: (i, g_v * v), parameters=dict(g_v=1.0))
    refused(lambda i, v, *, k, share_k: (i, k * share_k * v), parameters=dict(k=1.0, share_k=1.0))


def test_the_step_may_ask_only_for_what_there_is():
    message = r"core wrong: the step takes \['alpha_adapt'\] by keyword; it may take \['alpha_mem'"
    with pytest.raises(InputError, match=message):

        @ns.core(parameters=dict(tau_mem=ns.seconds(0.02)))
        def wrong(i, v, *, alpha_mem, alpha_adapt):
            return v, v


@pytest.mark.parametrize("name", ["dt", "spike", "reset", "alpha_mem"])
def test_a_parameter_cannot_take_the_name_of_what_the_layer_gives(name):
    with pytest.raises(InputError, match=rf"a parameter cannot be called \['{name}'\]"):
        ns.core(parameters={name: 1.0})


def test_the_step_must_return_output_and_state():
    with pytest.raises(InputError, match=r"core forgetful: the step must return the output and 1 new state value"):

        @ns.core()
        def forgetful(i, v):
            return v + i


def test_a_comparison_is_not_an_output():
    message = r"core undecided: the output is a comparison, .* where\(condition, 1.0, 0.0\)"
    with pytest.raises(InputError, match=message):

        @ns.core()
        def undecided(i, v):
            return v > 1.0, v + i


def run_once(step):
    return ns.layer(ns.core()(step))(dt=1e-3)(torch.ones(2, 1, 1))


def test_a_branch_on_a_neurons_value_is_refused():
    def branching(i, v):
        return (i, v) if v > 1.0 else (v, v)

    message = r"cannot branch on a neuron's value with `if`.* write where\(condition, a, b\)"
    with pytest.raises(InputError, match=message):
        run_once(branching)


def test_equality_is_refused_instead_of_being_false_for_every_neuron():
    def equal(i, v):
        return ns.language.where(v == 0.0, i, v), v

    with pytest.raises(InputError, match="core equal: a step function compares values with > >= < <=, not with =="):
        run_once(equal)


@pytest.mark.parametrize("power", [0, -1, 0.5, 2.0])
def test_only_whole_powers(power):
    with pytest.raises(InputError, match=r"a power in a step function must be an integer from 1; got"):

        def powerful(i, v):
            return v**power, v

        run_once(powerful)


def test_other_objects_are_refused_by_name():
    with pytest.raises(InputError, match="a step function may use numbers and its own arguments; got str 'one'"):

        def mixed(i, v):
            return v + "one", v

        run_once(mixed)


def test_a_long_step_is_recorded_without_running_out_of_stack():
    def long(i, v):
        for _ in range(600):
            v = v * 0.999 + i
        return v, v

    z, _ = ns.layer(ns.core()(long))(dt=1e-3, reset=None)(torch.zeros(1, 1, 1))
    assert z.item() == 0.0


class TestParameter:
    def test_in_range(self):
        assert Parameter(1.0).check("lif", "v_th", 3) == 3.0
        single: Any = np.float32(0.5)
        assert type(ns.seconds(0.02).check("lif", "tau_mem", single)) is float

    @pytest.mark.parametrize("value", [0.0, -1e-3, math.nan, -math.inf, "20ms", None, True])
    def test_out_of_range(self, value):
        message = r"lif: tau_mem must be a finite number in \(0, 1\) s; got .*\.$"
        with pytest.raises(UnitError, match=message) as caught:
            ns.seconds(0.02).check("lif", "tau_mem", value)
        assert repr(value) in str(caught.value) and "milliseconds" not in str(caught.value)

    @pytest.mark.parametrize("value", [20, 10.0, 5000.0, 1])
    def test_milliseconds_get_the_question(self, value):
        wanted = rf"got {value}\. Did you pass milliseconds\? {value:g} ms is {value * 1e-3:g} s\."
        with pytest.raises(UnitError, match=wanted):
            ns.seconds(0.02).check("lif", "tau_mem", value)

    def test_a_plain_number_must_be_finite_and_is_never_milliseconds(self):
        with pytest.raises(UnitError, match=r"lif: v_th must be a finite number; got inf\.$"):
            Parameter(1.0).check("lif", "v_th", math.inf)


def test_a_derived_coefficient_has_a_free_name_and_declared_parameters():
    def declare(**derived: Derived) -> None:
        @ns.core(parameters=dict(tau_mem=ns.seconds(10e-3)), derived=derived)
        def neuron(i, v, *, gain):
            return v + gain * i, v

    declare(gain=Derived(lambda tau, dt: dt / tau, "tau_mem"))
    for name in ("tau_mem", "alpha_mem", "dt", "reset"):
        with pytest.raises(InputError, match=rf"a derived coefficient cannot be called \['{name}'\]"):
            declare(**{name: Derived(lambda tau, dt: tau, "tau_mem")})
    for of in ((), ("tau_syn",)):
        with pytest.raises(InputError, match=r"'gain' is computed from .* one or more of the declared .*'tau_mem'"):
            declare(gain=Derived(lambda *_: 1.0, *of))
    with pytest.raises(InputError, match=r"the step takes \['gain'\] by keyword; it may take .*'alpha_mem'"):
        declare()
