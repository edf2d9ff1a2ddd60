"""Numbers of a surrogate are arguments of the kernels: another slope or width compiles nothing, and acts."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import Tensor

import neurosim as ns
from neurosim.compiler.llvm.jit import CompiledKernel
from neurosim.compiler.plan import Plan, known
from neurosim.compiler.program import record
from neurosim.kernels.common.policy import forced
from neurosim.language import (
    Reset,
    Surrogate,
    exponential,
    fast_sigmoid,
    maximum,
    multi_gaussian,
    rectangle,
    sigmoid,
    smooth,
    triangle,
)
from neurosim.language.functions import absolute

FAMILIES = {
    "atan": (ns.atan, (2.0, 2, 5.5)),
    "fast_sigmoid": (fast_sigmoid, (25.0, 3.0)),
    "sigmoid": (sigmoid, (4.0, 1.5)),
    "triangle": (triangle, (1.0, 0.3, 2.0)),
    "height of a triangle": (functools.partial(triangle, 0.7), (0.3, 1.0)),
    "rectangle": (rectangle, (1.0, 0.25)),
    "exponential": (exponential, (0.01, 0.05)),
    "multi_gaussian": (multi_gaussian, (0.5, 0.9)),
    "smooth": (smooth, (4.0, 7.0)),
}


def network(spike: Surrogate) -> ns.Network:
    torch.manual_seed(0)
    neurons = {"dt": 1e-3, "spike": spike}
    return ns.Network(
        nodes={
            "input": ns.Input(6),
            "first": ns.LIF(v_th=0.1, **neurons),
            "loop": ns.ALIF(v_th=0.05, **neurons),
            "last": ns.LIF(v_th=0.05, learn=("v_th",), **neurons),
        },
        edges=[
            ns.Edge("input", "first", ns.Linear(6, 20)),
            ns.Edge("first", "loop", ns.Linear(20, 9)),
            ns.Edge("loop", "loop", ns.Linear(9, 9)),
            ns.Edge("loop", "last", ns.Linear(9, 7)),
        ],
    )


def gradients(net: ns.Network, recompute: bool = False) -> list[Tensor]:
    torch.manual_seed(1)
    x = (torch.rand(30, 4, 6) < 0.4).float().requires_grad_()
    out, _ = net(x, recompute=recompute)
    return [out, *torch.autograd.grad(out.square().sum(), [x, *net.parameters()])]


def neurons_alone(spike: Surrogate) -> list[Tensor]:
    torch.manual_seed(1)
    i = torch.randn(30, 4, 6, requires_grad=True)
    layer = ns.LIF(dt=1e-3, v_th=0.05, spike=spike)
    found = []
    for run in (layer.run, layer.run_reference):
        out = run(i).out
        found += [out, *torch.autograd.grad(out.square().sum(), i)]
    torch.testing.assert_close(found[0], found[2], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found[1], found[3], rtol=1e-4, atol=1e-6)
    return found


@pytest.mark.parametrize("product", ["events", "dense"])
@pytest.mark.parametrize("name", FAMILIES)
def test_another_number_compiles_nothing_and_gives_its_own_gradients(name, product):
    make, values = FAMILIES[name]
    with forced(product):
        net = network(make(values[0]))
        results = [[*gradients(net), *gradients(net, recompute=True), *neurons_alone(make(values[0]))]]
        compiled = CompiledKernel.number_compiled
        for value in values[1:]:
            for node in ("first", "loop", "last"):
                net.nodes[node].spike = make(value)
            changed = [*gradients(net), *gradients(net, recompute=True), *neurons_alone(make(value))]
            fresh = network(make(value))
            again = [*gradients(fresh), *gradients(fresh, recompute=True), *neurons_alone(make(value))]
            assert all(torch.equal(a, b) for a, b in zip(changed, again, strict=True))
            results.append(changed)
        assert CompiledKernel.number_compiled == compiled
    if name != "atan":  # of which 2 and 2.0 are one slope
        assert not all(torch.equal(a, b) for a, b in zip(*results[:2], strict=True))
    else:
        assert all(torch.equal(a, b) for a, b in zip(*results[:2], strict=True))


def test_the_generated_code_of_every_device_is_the_same():
    keys = {
        known(Plan(record(ns.cores.lif, ns.atan(slope), Reset(), ("v_th",)), train=True)) for slope in (0.5, 2.0, 77.0)
    }
    widths = {known(Plan(record(ns.cores.lif, triangle(width), Reset()), train=True)) for width in (0.5, 2.0)}
    assert len(keys) == len(widths) == 1
    different = {known(Plan(record(ns.cores.lif, make(1.5), Reset()), train=True)) for make in (ns.atan, sigmoid)}
    assert len(different) == 2


def narrow(x, width, power):
    for _ in range(power):
        x = x * 0.5
    return maximum(1.0 - absolute(x) * (1.0 / width), 0.0)


def test_a_user_s_partial_has_arguments_too():
    def make(width):
        return Surrogate(f"narrow({width})", functools.partial(narrow, width=width, power=1), support=2.0 * width)

    assert make(0.5).numbers == {"width": 0.5}
    first = neurons_alone(make(0.5))
    compiled = CompiledKernel.number_compiled
    second = neurons_alone(make(0.25))
    assert CompiledKernel.number_compiled == compiled and not torch.equal(first[1], second[1])


def branching(x, slope):
    return slope / (1.0 + absolute(x)) if slope > 1.0 else 1.0 + 0.0 * x


def test_a_function_that_branches_on_its_number_is_compiled_for_each():
    steep, flat = (Surrogate("branching", functools.partial(branching, slope=slope)) for slope in (2.0, 1.0))
    assert steep.numbers == flat.numbers == {} and steep.form != flat.form
    assert not torch.equal(neurons_alone(steep)[1], neurons_alone(flat)[1])


def test_a_new_slope_acts_in_a_compiled_network():
    net = ns.Sequential(ns.Linear(6, 5), ns.LIF(dt=1e-3, v_th=0.05))
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    x = (torch.rand(20, 3, 6) < 0.5).float()
    weight = net.edges[0].synapses[0].weight
    for slope in (2.0, 9.0, 0.5):
        layer = net.nodes["lif1"]
        assert isinstance(layer, ns.Neuron)
        layer.spike = ns.atan(slope)
        found = [torch.autograd.grad(run(x)[0].square().sum(), weight)[0] for run in (compiled, net)]
        assert torch.equal(*found)
