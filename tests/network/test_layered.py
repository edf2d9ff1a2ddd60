"""What populations hand to each other beside their spikes: bits, and where a gradient is of use."""

from __future__ import annotations

import pytest
import torch

import neurosim as ns
from neurosim.kernels.common.bits import pack
from neurosim.kernels.common.policy import forced
from neurosim.network.context import RunContext
from neurosim.network.graph import Connection
from neurosim.synapses import Synapse

DT = 1e-3


def convolutional(spike):
    torch.manual_seed(0)
    net = ns.Network(
        nodes={
            "input": ns.Input((2, 8, 8)),
            "a": ns.LIF(dt=DT, spike=spike),
            "b": ns.CubaLIF(dt=DT, spike=spike),
            "c": ns.LIF(dt=DT, spike=spike),
            "d": ns.LIF(dt=DT, spike=spike),
            "out": ns.LI(dt=DT),
        },
        edges=[
            ns.Edge("input", "a", ns.Conv2d(2, 4, 3, padding=1)),
            ns.Edge("a", "b", ns.Conv2d(4, 4, 3)),
            ns.Edge("b", "c", (ns.Flatten(), ns.Linear(144, 20))),
            ns.Edge("c", "d", ns.Sparse.random(20, 15, 0.5)),
            ns.Edge("d", "out", ns.Linear(15, 3)),
            ns.Edge("c", "out", ns.Linear(20, 3), delay=2 * DT),
        ],
    ).double()
    with torch.no_grad():
        for name, weight in net.synapses.named_parameters():
            weight.mul_(25.0 if "->a" in name or "->b" in name else 80.0)
    return net


def gradients(net, x):
    z, _ = net(x)
    total = (z * torch.linspace(-1.0, 1.0, z.numel(), dtype=z.dtype).view(z.shape)).sum()
    return torch.autograd.grad(total, [x, *net.parameters()])


@pytest.mark.parametrize("spike", [ns.triangle(0.6), ns.rectangle(1.0)], ids=["triangle", "rectangle"])
def test_leaving_out_what_is_not_wanted_changes_no_gradient(spike, monkeypatch):
    net = convolutional(spike)
    x = (torch.rand(25, 3, 2, 8, 8) < 0.3).double().requires_grad_()
    told, known = [], RunContext.bits_and_mask

    def watched(run, edge):
        found = known(run, edge)
        told.append((edge.name, *(f is not None for f in found)))
        return found

    monkeypatch.setattr(RunContext, "bits_and_mask", watched)
    with forced("events"):
        masked = gradients(net, x)
    assert {name: (bits, mask) for name, bits, mask in told} == {
        "input->a": (False, False),
        "a->b": (False, True),
        "b->c": (False, True),
        "c->d": (True, True),
        "d->out": (False, True),
        "c->out": (False, False),
    }
    monkeypatch.setattr(RunContext, "bits_and_mask", lambda run, edge: (None, None))
    whole = gradients(net, x)
    assert all(g.any() for g in whole)
    assert all(torch.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in zip(masked, whole, strict=True))


def test_the_mask_is_where_the_surrogate_is_not_zero():
    for make in (ns.LIF, ns.CubaLIF, ns.ALIF, ns.IF):
        neurons = make(dt=DT, spike=ns.triangle(0.3))
        i = (torch.randn(20, 2, 70) * 3).requires_grad_()
        out, _, values, _, mask, _ = neurons.run(i, None, ("u",))
        assert mask is not None and out.any()
        (g,) = torch.autograd.grad(out.sum(), i, retain_graph=True)
        # The gradient of the current of the last step comes through that step's surrogate alone.
        near = pack((g[-1] != 0).float()).bits
        assert torch.equal(mask.view(20, 2, -1)[-1], near)
        if make is not ns.ALIF:  # whose threshold moves
            assert torch.equal(mask, pack(((values["u"] - 1.0).abs() < 0.3).float().flatten(0, 1)).bits)
    assert ns.LIF(dt=DT).run(i).mask is None
    with torch.no_grad():
        assert neurons.run(i).mask is None


def test_a_map_that_knows_nothing_of_masks_is_called_as_ever():
    class Doubled(ns.Linear):
        def forward(self, x):  # type: ignore[override]
            return 2.0 * super().forward(x)

    net = ns.Sequential(
        ns.Linear(6, 8), ns.LIF(dt=DT, spike=ns.triangle(), r=9.0), Doubled(8, 4), ns.LIF(dt=DT, spike=ns.triangle())
    )
    x = (torch.rand(20, 3, 6) < 0.5).float()
    z, _ = net(x)
    hidden, _ = net.nodes["lif1"](net.edges[0](x))
    assert torch.equal(
        z, net.nodes["lif2"](2.0 * torch.nn.functional.linear(hidden, net.edges[1].synapses[0].weight))[0]
    )


def test_outputs_that_nobody_reads_any_more_are_let_go():
    held, release = [], RunContext.release
    with pytest.MonkeyPatch.context() as patch:

        def watched(run, component, keep):
            release(run, component, keep)
            held.append(sorted(run.outputs))

        patch.setattr(RunContext, "release", watched)
        net = convolutional(ns.triangle())
        net.run(torch.rand(4, 1, 2, 8, 8).double(), None, ["b"])
    assert held == [["input"], ["a"], ["b"], ["b", "c"], ["b", "c", "d"], ["b", "out"]]


def pooling(pool):
    torch.manual_seed(0)
    spike = ns.triangle(0.6)
    net = ns.Network(
        nodes={
            "input": ns.Input((2, 9, 8)),
            "a": ns.LIF(dt=DT, spike=spike),
            "b": ns.LIF(dt=DT, spike=spike),
            "c": ns.LIF(dt=DT, spike=spike),
            "out": ns.LI(dt=DT),
        },
        edges=[
            ns.Edge("input", "a", ns.Conv2d(2, 4, 3, padding=1)),
            ns.Edge("a", "b", (pool(2), ns.Conv2d(4, 3, 3, padding=1))),
            ns.Edge("b", "c", (pool(2), ns.Flatten(), ns.Linear(12, 9))),
            ns.Edge("c", "out", ns.Linear(9, 3)),
        ],
    ).double()
    with torch.no_grad():
        for name, weight in net.synapses.named_parameters():
            weight.mul_(25.0 if pool is ns.SumPool2d or "->a" in name else 150.0)
    return net


@pytest.mark.parametrize("pool", [ns.SumPool2d, ns.AvgPool2d, ns.MaxPool2d])
def test_a_mask_goes_through_pooling(pool, monkeypatch):
    net = pooling(pool)
    x = (torch.rand(25, 3, 2, 9, 8) < 0.3).double().requires_grad_()
    told, through = [], Synapse.forward

    def watched(synapse, x, bits=None, active=None):
        told.append((type(synapse).__name__, bits is not None, active is not None))
        return through(synapse, x, bits, active)

    with monkeypatch.context() as patch, forced("events"):
        patch.setattr(Synapse, "forward", watched)
        masked = gradients(net, x)
    # A convolution does not say which of its neurons spiked, so the first pooling has no bits to take the maximum of.
    assert told == [
        ("Conv2d", False, False),
        (pool.__name__, False, True),
        ("Conv2d", False, True),
        (pool.__name__, False, True),
        ("Flatten", False, True),
    ]
    monkeypatch.setattr(RunContext, "bits_and_mask", lambda run, edge: (None, None))
    whole = gradients(net, x)
    assert all(torch.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in zip(masked, whole, strict=True))
    assert all(g.any() for g in masked)


class Doubled(ns.SumPool2d):
    """A pooling of the user's."""


def test_nothing_is_known_behind_a_map_of_the_users_or_a_hook():
    active = pack(torch.ones(6, 16)).bits
    x = torch.ones(3, 2, 1, 4, 4)
    pools = [ns.SumPool2d(2), Doubled(2), ns.SumPool2d(2)]
    pools[2].register_forward_hook(lambda module, given, out: out * 2)
    known = [Connection("e", "a", "b", (pool,), 0, 0.0, "i").carry((pool,), x, None, active)[2] for pool in pools]
    assert [k is not None for k in known] == [True, False, False]
