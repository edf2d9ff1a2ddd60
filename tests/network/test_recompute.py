"""Recomputation of the steps between two checkpoints: the same gradients from less memory."""

from __future__ import annotations

import pytest
import torch

import neurosim as ns
from neurosim.kernels.recurrent import cpu_recomputed
from neurosim.network.recompute import chunk_length, recomputed
from neurosim.synapses import Dropout, Synapse


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


@pytest.mark.usefixtures("product")
@pytest.mark.parametrize("graded", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_same_output_and_gradients(name, graded):
    make, shape = NETWORKS[name]
    net = make().double()
    with torch.no_grad():
        for weight in net.synapses.parameters():
            weight.mul_(16.0)
    for steps in (1, 2, 23):
        x = (torch.rand(steps, 3, *shape) < 0.3).double()
        x = (x * torch.rand_like(x) if graded else x).requires_grad_()
        z, stored = gradients(net, x)
        again, recomputed = gradients(net, x, recompute=True)
        assert torch.equal(again, z) and (steps < 23 or z.any())
        for a, b in zip(recomputed, stored, strict=True):
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
    plain = net.run(x, None, ("lif1.v", "cubalif2.j")).recorded
    values = net.run(x, None, ("lif1.v", "cubalif2.j"), recompute=True).recorded
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


def looped(spike, loop, neuron=ns.LIF, **choices):
    torch.manual_seed(4)
    net = ns.Network(
        nodes={
            "input": ns.Input(11),
            "hidden": neuron(dt=1e-3, spike=spike, **choices),
            "out": ns.LI(dt=1e-3),
        },
        edges=[
            ns.Edge("input", "hidden", ns.Linear(11, 40, bias=True)),
            ns.Edge("hidden", "hidden", loop),
            ns.Edge("hidden", "out", ns.Linear(40, 3)),
        ],
    )
    with torch.no_grad():
        net.edges[0].synapses[0].weight.mul_(60.0)
        net.edges[1].synapses[0].weight.mul_(8.0)
    return net


LOOPS = {
    "arctan": lambda: looped(ns.atan(), ns.Linear(40, 40, bias=True)),
    "triangle, many near threshold": lambda: looped(ns.triangle(4.0), ns.Linear(40, 40)),
    "rectangle, few near threshold": lambda: looped(ns.rectangle(0.1), ns.Linear(40, 40)),
    "blocks": lambda: looped(ns.triangle(), ns.BlockLinear(40, 40, 2)),
    "learned": lambda: looped(ns.atan(), ns.Linear(40, 40), ns.ALIF, size=40, learn=("tau_mem", "beta")),
    "through the reset": lambda: looped(ns.triangle(), ns.Linear(40, 40), ns.CubaLIF, detach_reset=False, v_th=6.0),
}


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_run_again_gives_the_very_same_gradients(name, monkeypatch):
    real, runs = cpu_recomputed.run, []
    monkeypatch.setattr(cpu_recomputed, "run", lambda call: (runs.append(call.chunk), real(call))[1])
    net = LOOPS[name]()
    for steps in (1, 2, 30):
        x = (torch.rand(steps, 5, 11) < 0.4).float().requires_grad_()
        _, start = net((torch.rand(4, 5, 11) < 0.4).float())
        z, stored = gradients(net, x, state=start.detach())
        assert not runs
        again, recomputed = gradients(net, x, state=start.detach(), recompute=True)
        assert runs == ([chunk_length(steps)] if steps > 1 else [])
        runs.clear()
        assert torch.equal(again, z)
        assert all(torch.equal(a, b) for a, b in zip(recomputed, stored, strict=True))
    assert z.any() and all(g.any() for g in stored)


def test_of_a_loop_the_bits_of_its_input_are_kept():
    net, x = LOOPS["arctan"](), (torch.rand(400, 2, 11) < 0.2).float()
    # What is left is the output, which the next layer reads, and bits.
    assert kept(net, x, recompute=True) < 0.45 * kept(net, x)


def test_without_time_a_loop_run_again_gives_the_same():
    net, x = LOOPS["arctan"](), (torch.rand(30, 5, 11) < 0.4).float().requires_grad_()
    found = [gradients(net, x, through_time=False, recompute=again) for again in (False, True)]
    assert all(torch.equal(a, b) for a, b in zip(found[0][1], found[1][1], strict=True))


class Noisy(Synapse):
    """Multiply each value by its own random number, and keep the numbers of the forward pass."""

    def __init__(self):
        super().__init__()
        self.drawn = []

    def output_shape(self, shape):
        return shape

    def apply_step(self, x):
        noise = torch.rand_like(x)
        self.drawn.append(noise)
        return x * noise


class Fixed(Synapse):
    """Multiply by given numbers [T B, ...]."""

    def __init__(self, numbers):
        super().__init__()
        self.numbers = numbers

    def output_shape(self, shape):
        return shape

    def apply_step(self, x):
        return x * self.numbers


def noisy(first, second):
    torch.manual_seed(3)
    lif = dict(dt=1e-3, tau_mem=5e-3, r=8.0)
    parts = (ns.Linear(6, 20), first, ns.LIF(**lif), second, ns.Linear(20, 5), ns.CubaLIF(**lif))
    return ns.Sequential(*parts).double()


def test_random_numbers_of_a_synapse_are_drawn_again_in_the_backward_pass():
    x = torch.rand(17, 3, 6).double().requires_grad_()
    first, second = Noisy(), Noisy()
    net = noisy(first, second)
    z, found = gradients(net, x, recompute=True)
    forward = [torch.cat(each.drawn[:5]) for each in (first, second)]  # 17 steps in chunks of 4
    assert len(first.drawn) == 10 and z.any()
    z_same, expected = gradients(noisy(*map(Fixed, forward)), x)
    assert torch.equal(z, z_same)
    assert all(torch.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in zip(found, expected, strict=True))
    torch.manual_seed(9)
    z, _ = noisy(Noisy(), Noisy())(x, recompute=True)
    before = torch.get_rng_state()
    z.sum().backward()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("draws", "states"), [(False, 1), (True, 4)])
def test_one_state_of_the_generator_serves_chunks_that_draw_nothing(draws, states):
    def segment(xs, state):
        return xs[0] * (torch.rand_like(xs[0]) if draws else 2.0), state

    x = torch.rand(8, 3, 6, requires_grad=True)
    out, _ = recomputed(segment, [x], [torch.zeros(3, 6)], [], chunk=2)
    assert len(set(map(id, out.grad_fn.random))) == states
    out.sum().backward()
    assert torch.allclose(x.grad, out.detach() / x.detach())


@pytest.mark.parametrize("product", ["linear", "loop"])
def test_dropout_has_one_mask_for_a_run_with_or_without_recomputation(product):
    def make():
        if product == "linear":
            return noisy(Dropout(0.5), Dropout(0.3))
        torch.manual_seed(3)
        loop = ns.Recurrent(ns.LIF(dt=1e-3, r=20.0), ns.Linear(20, 20))
        parts = (Dropout(0.4), ns.Linear(6, 20), Dropout(0.5), loop, Dropout(0.3), ns.Linear(20, 5), ns.LI(dt=1e-3))
        return ns.Sequential(ns.Input(6), *parts).double()

    x = torch.rand(17, 3, 6).double().requires_grad_()
    results = []
    for recompute in (False, True):
        net = make()
        torch.manual_seed(7)
        results.append(gradients(net, x, recompute=recompute))
    (z, plain), (again, recomputed_gradients) = results
    assert torch.equal(z, again) and z.any()
    assert all(torch.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in zip(recomputed_gradients, plain, strict=True))


def test_a_synapse_with_its_own_forward_keeps_all():
    class Mean(ns.Flatten):
        def forward(self, x, packed_bits=None, mask=None):
            return x - x.mean(0)

    net = ns.Sequential(ns.Input(6), Mean(), ns.Linear(6, 4), ns.LIF(dt=1e-3))
    x = torch.rand(17, 3, 6)
    (row,) = net.explain(x.requires_grad_(), recompute=True).rows
    assert "own forward" in row.skipped["recomputed"]
    assert torch.equal(net(x)[0], net(x, recompute=True)[0])
