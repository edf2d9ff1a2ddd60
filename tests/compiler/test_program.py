"""Recording a step: what is kept of it, and that recording leaves no trace outside."""

from __future__ import annotations

import cProfile
import sys

import pytest
import torch

import neurosim as ns
from neurosim.compiler.program import Levels, record
from neurosim.errors import InputError
from neurosim.language import Reset, atan
from tests.user_cores import coba, izhikevich


def lif(**choices):
    return record(ns.cores.lif, atan(), Reset(**choices))


def test_the_step_is_recorded_as_written():
    program = lif()
    assert repr(program.named["u"]) == "add(mul(alpha_mem, v), mul(mul(sub(1.0, alpha_mem), r), i))"
    assert program.named["z"] is program.output and program.is_spiking
    assert program.output.args[0].args[0] is program.named["u"]
    assert repr(program.state["v"]).startswith("select(detach(spike(") and program.named["u"].label == "u"


def test_the_reset_is_recorded_as_chosen():
    assert lif(mode="subtract", detached=False).state["v"].op == "sub"
    assert "detach" not in repr(lif(detached=False).state["v"])
    plain = lif(mode=None)
    assert plain.state["v"] is plain.named["u"]


def test_a_core_that_never_fires():
    program = record(ns.cores.leaky_integrator, atan(), Reset())
    assert not program.is_spiking and program.output is program.state["v"]


def test_every_port_is_an_input_of_its_own():
    program = record(coba, atan(), Reset())
    assert program.inputs == ("ge", "gi")
    assert repr(program.state["g_exc"]) == "add(mul(alpha_exc, g_exc), ge)"


def test_a_port_that_nothing_feeds_is_the_number_that_the_core_declares():
    program = record(coba, atan(), Reset(), fed=("ge",))
    assert program.inputs == ("ge",) and repr(program.state["g_inh"]) == "add(mul(alpha_inh, g_inh), 0.0)"
    with pytest.raises(InputError, match="core coba: the input port 'ge' must be fed"):
        record(coba, atan(), Reset(), fed=("gi",))


def test_levels():
    program = record(ns.cores.lif, atan(), Reset(), ("v_th", "r"))
    level = Levels(program.per_neuron)
    trace = program.trace
    alpha, r, v = trace.leaf("parameter", "alpha_mem"), trace.leaf("parameter", "r"), trace.leaf("state", "v")
    assert level(1.0 - alpha) == "host" and level((1.0 - alpha) * r) == "neuron" and level(program.named["u"]) == "step"
    assert level(trace.lift(2.0)) == "host" and level(v) == "step"


def test_recording_under_a_profiler_leaves_the_profiler_alone():
    calls = []

    def watch(frame, event, argument):
        calls.append(event)

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        record(izhikevich, atan(), Reset())
        assert sys.getprofile() is watch
    finally:
        sys.setprofile(before)
    profile = cProfile.Profile()
    z, _ = profile.runcall(ns.IF(dt=1e-3, v_th=0.5), torch.ones(2, 1, 1))
    assert z.sum() == 2.0 and profile.getstats()


def test_changing_a_choice_of_a_layer_that_has_run_takes_effect():
    layer, i = ns.LIF(dt=1e-3), torch.randn(50, 2, 3) * 4 + 1
    layer(i)
    layer.reset = "subtract"
    assert torch.equal(layer(i)[1].v, layer.run_reference(i).state.v)
    layer.spike = ns.triangle()
    x = i.clone().requires_grad_()
    fused, reference = (torch.autograd.grad(run(x)[0].sum(), x)[0] for run in (layer, layer.run_reference))
    assert torch.equal(fused, reference)
    layer.detach_reset = False
    fused, reference = (torch.autograd.grad(run(x)[1].v.sum(), x)[0] for run in (layer, layer.run_reference))
    assert torch.equal(fused, reference)
