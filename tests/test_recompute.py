"""Working out the steps between two borders again: the same gradients from less memory."""

from __future__ import annotations

import pytest
import torch

import neurosim as ns
from neurosim.kernels import layer
from neurosim.recompute import chunk_length, recomputed


def convolutional(**choices):
    return ns.Sequential(
        ns.Input((2, 8, 8)),
        ns.Conv2d(2, 4, 3, padding=1),
        ns.LIF(dt=1e-3, **choices),
        ns.SumPool2d(2),
        ns.Flatten(),
        ns.Linear(64, 5, bias=True),
        ns.CubaLIF(dt=1e-3, **choices),
    )


def branched():
    def lif():
        return ns.LIF(dt=1e-3, size=6, learn=("tau_mem", "v_th"))

    return ns.Network(
        nodes={"input": ns.Input(9), "a": lif(), "b": lif(), "out": ns.LI(dt=1e-3)},
        edges=[
            ns.Edge("input", "a", ns.Linear(9, 6)),
            ns.Edge("input", "b", ns.Linear(9, 6), delay=3e-3),
            ns.Edge("a", "b", ns.Linear(6, 6)),
            ns.Edge("b", "b", ns.Linear(6, 6)),
            ns.Edge("b", "out", ns.Linear(6, 3)),
            ns.Edge("a", "out", ns.Linear(6, 3), delay=2e-3),
        ],
    )


NETWORKS = {"convolutional": (convolutional, (2, 8, 8)), "branched": (branched, (9,))}


def gradients(net, x, **how):
    z, state = net(x, **how)
    total = (z * torch.linspace(-1.0, 1.0, z.numel()).view(z.shape)).sum()
    total = total + sum((v * v).sum() for node in state.nodes.values() for v in node)
    return z.detach(), torch.autograd.grad(total, [x, *net.parameters()])


@pytest.mark.parametrize("crossover", [2.0, -1.0])
@pytest.mark.parametrize("graded", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_same_output_and_gradients(name, graded, crossover, monkeypatch):
    monkeypatch.setattr(layer, "CROSSOVER", crossover)
    make, shape = NETWORKS[name]
    net = make().double()
    with torch.no_grad():
        for weight in net.synapses.parameters():
            weight.mul_(16.0)
    for steps in (1, 2, 23):
        x = (torch.rand(steps, 3, *shape) < 0.3).double()
        x = (x * torch.rand_like(x) if graded else x).requires_grad_()
        z, stored = gradients(net, x)
        again, worked_out = gradients(net, x, recompute=True)
        assert torch.equal(again, z) and (steps < 23 or z.any())
        for a, b in zip(worked_out, stored, strict=True):
            assert torch.allclose(a, b, rtol=1e-9, atol=1e-12)


def kept(net, x, **how) -> int:
    sizes = {}
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: sizes.setdefault(t.untyped_storage().data_ptr(), t.untyped_storage().nbytes()) and t, lambda t: t
    ):
        held = net(x, **how)
    for weight in net.parameters():
        sizes.pop(weight.untyped_storage().data_ptr(), None)
    sizes.pop(x.untyped_storage().data_ptr(), None)
    del held
    return sum(sizes.values())


def test_far_less_is_kept():
    net, x = convolutional(), (torch.rand(400, 2, 2, 8, 8) < 0.1).float()
    assert kept(net, x, recompute=True) < 0.15 * kept(net, x)


def test_a_population_that_is_recorded_keeps_all():
    net, x = convolutional(), (torch.rand(30, 2, 2, 8, 8) < 0.3).float()
    _, _, plain = net.recorded(x, None, ("lif1.v", "cubalif2.j"))
    _, _, values = net.recorded(x, None, ("lif1.v", "cubalif2.j"), recompute=True)
    assert all(torch.equal(values[name], plain[name]) for name in plain)


def test_without_gradients_it_makes_no_difference():
    net, x = convolutional(), (torch.rand(30, 2, 2, 8, 8) < 0.3).float()
    with torch.no_grad():
        assert torch.equal(net(x)[0], net(x, recompute=True)[0])


def test_the_rule_trains_alike():
    x, y = (torch.rand(30, 4, 2, 8, 8) < 0.3).float(), torch.tensor([0, 1, 2, 3])
    net = convolutional(spike=ns.triangle())
    found = []
    for rule in (ns.BPTT(), ns.BPTT(recompute=True)):
        net.zero_grad()
        value, output = rule.gradients(net, x, y, ns.CrossEntropy())
        found.append([value, output, *(p.grad.clone() for p in net.parameters())])
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(*found, strict=True))


def test_a_chunk_is_as_long_as_there_are_chunks():
    assert [chunk_length(steps) for steps in (0, 1, 3, 4, 100, 500)] == [1, 1, 1, 2, 10, 22]


def test_work_whose_end_carries_no_gradient():
    weight = torch.ones(2, requires_grad=True)
    x = torch.rand(10, 3, 2)
    out, _ = recomputed(
        lambda xs, state: (xs[0] * weight, [s.detach() for s in state]), [x], [torch.zeros(3)], [weight]
    )
    (found,) = torch.autograd.grad(out.sum(), weight)
    assert torch.allclose(found, x.sum((0, 1)))
