"""OTTT against its definition, written out by hand, and against BPTT where the two must agree."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

import neurosim as ns
from benchmarks.activations import activations
from neurosim.errors import InputError
from neurosim.synapses.traced import Traces
from tests.learning.rules.small_networks import (
    CHUNKS,
    DT,
    TAU,
    batch,
    chain,
    close,
    gradients,
    ottt_by_hand,
)


@pytest.mark.usefixtures("product")
@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize("bias", [True, False])
def test_the_gradients_are_those_of_the_definition(bias, chunk):
    net, (x, y) = chain(bias=bias), batch(19)
    assert close(gradients(ns.OTTT(chunk=chunk), net, x, y), ottt_by_hand(net, x, y, bias), 1e-12)


def test_a_readout_without_memory_and_the_layer_before_it_have_the_exact_gradient():
    net, (x, y) = chain(plain_readout=True), batch(17)
    online, exact = gradients(ns.OTTT(), net, x, y), gradients(ns.BPTT(), net, x, y)
    assert close(online[1:], exact[1:], 1e-12)
    assert F.cosine_similarity(online[0].flatten(), exact[0].flatten(), dim=0) > 0.8
    assert not close(online[:1], exact[:1], 1e-3)
    assert not close(gradients(ns.SLTT(), net, x, y)[1:], exact[1:], 1e-3)
    whole = chain()
    assert close(gradients(ns.OTTT(), whole, x, y)[2:], gradients(ns.BPTT(), whole, x, y)[2:], 1e-12)


def test_without_decay_it_is_sltt():
    net, (x, y) = chain(), batch(9)
    for node in net.neurons().values():
        node._shared.update(tau_mem=DT / 60, r=1.0)
        node._plans.clear()
    assert close(gradients(ns.OTTT(), net, x, y), gradients(ns.SLTT(), net, x, y), 1e-9)


def test_any_synapse_with_weights_learns_from_traces():
    torch.manual_seed(0)
    maps = [
        ns.Conv2d(2, 3, 3, bias=True),
        ns.Conv1d(4, 3, 3),
        ns.Sparse.random(9, 7, 0.4),
        ns.BlockLinear(6, 4, 2),
        ns.SumPool2d(2),
    ]
    shapes = [(2, 5, 5), (4, 6), (9,), (6,), (2, 4, 4)]
    for synapse, shape in zip(maps, shapes, strict=True):
        synapse.double()
        x = (torch.rand(11, 2, *shape, dtype=torch.float64) < 0.4).double()
        traces, outputs = Traces(), []
        inputs = [part.clone().requires_grad_() for part in x.split(4)]
        for part in inputs:
            outputs.append(traces.through("here", synapse, part, 0.7))
        out = torch.cat(outputs)
        assert torch.allclose(out, synapse(x))
        g = torch.randn_like(out)
        weights = dict(synapse.named_parameters())
        found = torch.autograd.grad(out, [*inputs, *weights.values()], g)
        a = [x[0]]
        for s in x[1:]:
            a.append(0.7 * a[-1] + s)
        for (name, weight), gradient in zip(weights.items(), found[len(inputs) :], strict=True):
            presynaptic = x if name == "bias" else torch.stack(a)
            (expected,) = torch.autograd.grad(synapse(presynaptic), weight, g)
            assert torch.allclose(gradient, expected), (synapse, name)
        whole = x.clone().requires_grad_()
        (expected,) = torch.autograd.grad(synapse(whole), whole, g)
        assert torch.allclose(torch.cat(found[: len(inputs)]), expected)


def test_loops_and_delays_learn_from_traces_too():
    torch.manual_seed(0)
    net = ns.Network(
        nodes={"input": ns.Input(8), "pool": ns.LIF(dt=DT, tau_mem=TAU, r=3.0), "out": ns.LI(dt=DT, tau_mem=TAU)},
        edges=[
            ns.Edge("input", "pool", ns.Linear(8, 12)),
            ns.Edge("pool", "pool", ns.Linear(12, 12)),
            ns.Edge("pool", "out", ns.Linear(12, 3), delay=2 * DT),
        ],
    ).double()
    x, y = (torch.rand(20, 4, 8) < 0.5).double(), torch.tensor([0, 1, 2, 0])
    found = []
    for chunk in (20, 3):
        net.zero_grad()
        ns.OTTT(chunk).gradients(net, x, y, ns.CrossEntropy())
        # Behind a delay there is no gradient within a step: only the last map learns.
        found.append([p.grad for p in net.parameters() if p.grad is not None])
    assert len(found[0]) == 1 and close(*found) and found[0][0].any()
    net = ns.Network(
        nodes={"input": ns.Input(8), "pool": ns.LIF(dt=DT, tau_mem=TAU, r=3.0), "out": ns.LI(dt=DT, tau_mem=TAU)},
        edges=[
            ns.Edge("input", "pool", ns.Linear(8, 12)),
            ns.Edge("pool", "pool", ns.Linear(12, 12)),
            ns.Edge("pool", "out", ns.Linear(12, 3)),
        ],
    ).double()
    whole, parts = gradients(ns.OTTT(chunk=20), net, x, y), gradients(ns.OTTT(chunk=3), net, x, y)
    assert close(parts, whole) and all(p.any() for p in whole)


def peak(rule, steps, sizes):
    """Return the most bytes that autograd holds at once."""
    torch.manual_seed(0)
    n_in, hidden, out = sizes
    net = ns.Sequential(ns.Linear(n_in, hidden), ns.LIF(dt=1e-3), ns.Linear(hidden, out), ns.LIF(dt=1e-3))
    x, y = torch.rand(steps, 32, n_in), torch.randint(out, (32,))
    with activations(x, *net.parameters()) as count:
        rule.gradients(net, x, y, ns.CrossEntropy())
    return count.peak


def test_its_memory_does_not_grow_with_time():
    sizes = (40, 16, 10)
    for rule in (ns.OTTT(), ns.SLTT(), ns.SLTT(chunk=1), ns.SLTT(k=5)):
        assert peak(rule, 200, sizes) <= 1.05 * peak(rule, 20, sizes)  # more than the steps of a chunk
    assert peak(ns.BPTT(), 200, sizes) > 15 * peak(ns.BPTT(), 10, sizes)


def test_it_trains_in_the_loop():
    torch.manual_seed(0)
    net = ns.Sequential(ns.Linear(10, 20), ns.LIF(dt=DT, tau_mem=5e-3, r=6.0), ns.Linear(20, 2), ns.LI(dt=DT))
    y = torch.arange(32) % 2
    x = (torch.rand(12, 32, 10) < torch.where(y[:, None] == 1, 0.6, 0.1)).float()
    data = torch.utils.data.TensorDataset(x.transpose(0, 1), y)

    def batches(items):
        xs, ys = zip(*items, strict=True)
        return torch.stack(xs, 1), torch.stack(ys)

    loader = torch.utils.data.DataLoader(data, 16, collate_fn=batches)
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    how = {"loss": ns.CrossEntropy(), "optimizer": optimizer, "epochs": 15, "progress": False}
    history = ns.fit(net, loader, rule=ns.OTTT(), **how)
    assert history["loss"][-1] < 0.8 * history["loss"][0]


def test_unsupported_use_is_refused_by_name():
    x, y = torch.rand(5, 2, 4), torch.tensor([0, 1])
    with pytest.raises(InputError, match="mean over steps"):
        ns.OTTT().gradients(chain((4, 2)).float(), x, y, ns.RateCrossEntropy())
    net = ns.Sequential(ns.Linear(4, 2), ns.LIF(dt=DT, size=2, learn=("tau_mem",)))
    with pytest.raises(InputError, match="one shared tau_mem"):
        ns.OTTT().gradients(net, x, y, ns.CrossEntropy())
    with pytest.raises(InputError, match=r"OTTT\(chunk=0\)"):
        ns.OTTT(chunk=0)
    traces, synapse = Traces(), ns.Linear(4, 2)
    traces.through("a", synapse, x, 0.5)
    with pytest.raises(InputError, match=r"trace of 'a' is \[2, 4\], one step of its input \[3, 4\]"):
        traces.through("a", synapse, torch.rand(5, 3, 4), 0.5)
