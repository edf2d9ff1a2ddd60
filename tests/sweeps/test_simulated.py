"""Sweeps of networks: what fits on the axis of the batch, bit for bit the trials alone."""

from __future__ import annotations

import re

import numpy as np
import pytest

import neurosim as ns
from neurosim import cores
from neurosim.circuit import Current, FixedInDegree, Noise, OneToOne, Poisson, Uniform
from neurosim.errors import FailedTrials, InputError, UnitError
from neurosim.network.neuron import Neuron
from neurosim.synapses import Identity

pytest.importorskip("xarray")
pytest.importorskip("h5netcdf")

from neurosim.sweeps import simulated, sweep

DT, STEPS, N = 1e-4, 200, 70


def build(w=2.0, rate=9000.0, tau_mem=20e-3, **more):
    cell = Neuron(
        cores.refractory_lif, dt=DT, size=N, t_ref=1e-3, tau_mem=tau_mem, init={"v": Uniform(0.0, 0.5)}, **more
    )
    feed = ns.Edge("noise", "E", ns.Drawn(OneToOne(), weight=9.0))
    loop = ns.Edge("E", "E", ns.Drawn(FixedInDegree(20), weight=w), delay=2 * DT)
    return ns.Network({"noise": Poisson(rate, N), "E": cell}, [feed, loop])


def measure(run):
    spikes = run.spikes["E"]
    first = run.state.nodes["E"].v[0, 0].item()
    return {"n": len(spikes), "neuron": np.bincount(spikes.neuron, minlength=N), "v": first, "B": run.B}


PARAMETERS = {"E.tau_mem": [10e-3, 17e-3, 30e-3], "noise.rate": [9000.0, 7000.0]}


def test_a_trial_has_the_same_bits_alone_and_in_any_batch_and_process():
    runs = [
        sweep(build(), PARAMETERS, seeds=[3, 2**40], steps=STEPS, measure=measure, **how)
        for how in ({}, {"batch": 1}, {"batch": 4, "workers": 1})
    ]
    assert (runs[0]["error"] == "").all() and (runs[0]["B"] == 1).all() and runs[0]["n"].min() > 10
    assert len(np.unique(runs[0]["n"])) > 6  # they differ
    for other in runs[1:]:
        for name in ("n", "neuron", "v"):
            assert runs[0][name].identical(other[name])
    alone = ns.simulate(build(rate=7000.0, tau_mem=17e-3), steps=STEPS, seed=2**40)
    own = runs[0].sel({"E.tau_mem": 17e-3, "noise.rate": 7000.0, "seed": 2**40})
    for name, value in measure(alone).items():
        assert np.array_equal(own[name].values, value), name


def test_values_of_one_network_run_as_one_batch(monkeypatch):
    batches = []

    def watched(net, **options):
        batches.append(net.samples_of(options["state"]))
        return ns.simulate(net, **options)

    monkeypatch.setattr(simulated, "simulate", watched)
    found = sweep(build(), PARAMETERS, seeds=5, steps=3)
    assert batches == [15, 15]  # the rate of a source is not on the axis of the batch
    assert found["rate.E"].dims == ("E.tau_mem", "noise.rate", "seed")
    batches.clear()
    sweep(build(), {"E.tau_mem": np.linspace(5e-3, 50e-3, 100).tolist()}, steps=3)
    assert batches == [64, 36]


def test_a_function_that_makes_the_network_has_parameters_of_both():
    both = sweep(build, {"w": [1.0, 2.0], **PARAMETERS}, seeds=[3, 4], steps=STEPS, measure=measure)
    one = sweep(build(), PARAMETERS, seeds=[3, 4], steps=STEPS, measure=measure)
    assert (both["n"].sel(w=2.0) == one["n"]).all() and (both["n"].sel(w=1.0) != one["n"]).any()
    run = sweep(build, {"w": [2.0]}, seconds=STEPS * DT, measure=lambda run: run.statistics(after=0.01))
    assert run["E.rate"].item() > 0


def test_layered_runs_and_sources_of_currents():
    def net():
        nodes = {"i": Current(1.0, 3, start=1e-3), "noise": Noise(0.1, 3), "out": ns.LIF(dt=1e-3)}
        return ns.Network(nodes, [ns.Edge("i", "out", Identity()), ns.Edge("noise", "out", Identity())])

    found = sweep(
        net(), {"i.waveform": [0.0, 3.0], "noise.std": [0.0, 2.0], "out.v_th": [0.5, 1.0]}, steps=100, measure=count
    )
    n = found["n"].sel({"noise.std": 0.0})
    assert (n.sel({"i.waveform": 0.0}) == 0).all() and (n.sel({"i.waveform": 3.0}) > 0).all()
    assert (found["n"].sel({"noise.std": 2.0, "i.waveform": 0.0}) > 0).any()


def count(run):
    return {"n": len(run.spikes["out"])}


def test_the_network_that_is_given_stays_as_it_is():
    net = build()
    before = ns.simulate(net, steps=STEPS, seed=1).spikes["E"].step
    sweep(net, PARAMETERS, steps=3)
    assert net["E"].value("tau_mem") == 20e-3 and net["noise"].rate.values.item() == 9000.0
    assert np.array_equal(ns.simulate(net, steps=STEPS, seed=1).spikes["E"].step, before)


def test_a_trial_that_fails_in_a_batch_fails_alone():
    def unstable(run):
        if run.spikes["E"].rate() > 300:
            raise ArithmeticError("too high")
        return {"n": len(run.spikes["E"])}

    with pytest.warns(FailedTrials, match="ArithmeticError: too high"):
        found = sweep(build(), {"E.tau_mem": [10e-3, 100e-3]}, steps=STEPS, measure=unstable)
    assert (found["error"] == "").values.tolist() == [False, True]

    def wild(w):
        return build(w, t_ref=1e-3, reset=None) if w < 0 else build(w)

    with pytest.warns(FailedTrials, match="1 of 3 trials failed"):
        found = sweep(wild, {"w": [1.0, -1.0, 2.0]}, steps=3, measure=count_or_fail)
    assert found["error"].sel(w=-1.0).item() != ""


def count_or_fail(run):
    return {"n": len(run.spikes["E"])}


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"E.tau": [1.0]}, InputError, "'E' has no parameter 'tau'; it has ['tau_mem', 't_ref'"),
        ({"X.tau_mem": [1.0]}, InputError, "'X.tau_mem': the network has no node 'X'; it has ['noise', 'E']"),
        ({"E->E.weight": [1.0]}, InputError, "Weights and delays are parameters of a function"),
        ({"tau_mem": [1.0]}, InputError, "a network has no parameter 'tau_mem'; give \"node.parameter\""),
        ({"noise.tau": [1.0]}, InputError, "'noise' has no parameter 'tau' to sweep; it has 'rate'"),
        ({"E.tau_mem": [0.02, 20.0]}, UnitError, "sweep: E: tau_mem must be a finite number in (0, 1) s; got 20"),
    ],
)
def test_what_a_network_does_not_have_is_refused(parameters, error, message):
    with pytest.raises(error, match=re.escape(message)):
        sweep(build(), parameters, steps=3)


def test_other_requests_are_refused_by_name():
    with pytest.raises(InputError, match="give steps= or seconds="):
        sweep(build(), {"E.tau_mem": [0.02]})
    with pytest.raises(InputError, match="no argument 'recrod'; those of simulate are steps, seconds"):
        sweep(build(), {"E.tau_mem": [0.02]}, steps=3, recrod=["E"])
    with pytest.raises(InputError, match="must return a network, which is then run; it returned int"):
        sweep(lambda x: x, {"x": [1]}, steps=3)
    with pytest.raises(InputError, match="has no parameter 'q'"):
        sweep(lambda w: build(w), {"q": [1.0]}, steps=3)
    fed = ns.Network({"x": ns.Input(3), "a": ns.LIF(dt=1e-3)}, [ns.Edge("x", "a", ns.Linear(3, 3))])
    with pytest.raises(InputError, match=r"the network has the inputs \['x'\]"):
        sweep(fed, {"a.tau_mem": [0.02]}, steps=3)
    quiet = ns.Network({"a": ns.LIF(dt=1e-3, size=3)}, [ns.Edge("a", "a", ns.Linear(3, 3))])
    with pytest.raises(InputError, match="the network draws no numbers"):
        sweep(quiet, {"a.tau_mem": [0.02]}, steps=3, seeds=2)
    changing = build(rate=lambda t: 100.0 + 0 * t)
    with pytest.raises(InputError, match="'rate' of 'noise' is not one number"):
        sweep(changing, {"noise.rate": [1.0]}, steps=3)
