"""e-prop against autograd with the spikes between neurons held fixed, and against the paper's equations."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import neurosim as ns
from benchmarks.activations import activations
from neurosim.errors import InputError
from neurosim.learning.rules.eprop import EProp, Feedback
from tests.learning.rules.small_networks import close, gradients

DT, TAU, ADAPT, OUT = 1e-3, 6e-3, 40e-3, 10e-3
ALPHA, RHO, KAPPA = (math.exp(-DT / tau) for tau in (TAU, ADAPT, OUT))
R, BETA, N_IN, N, K = 5.0, 0.4, 7, 9, 3


def network(kind: str = "alif", reset: str | None = "subtract", bias: bool = False, seed: int = 0) -> ns.Network:
    torch.manual_seed(seed)
    choices = dict(tau_mem=TAU, r=R, dt=DT, spike=ns.triangle(1.0, 0.3), reset=reset)
    hidden = ns.LIF(**choices) if kind == "lif" else ns.ALIF(**choices, tau_adapt=ADAPT, beta=BETA)
    net = ns.Network(
        nodes={"input": ns.Input(N_IN), "pool": hidden, "out": ns.LI(tau_mem=OUT, r=2.0, dt=DT)},
        edges=[
            ns.Edge("input", "pool", ns.Linear(N_IN, N, bias=bias)),
            ns.Edge("pool", "pool", ns.Linear(N, N), delay=2 * DT),
            ns.Edge("pool", "out", ns.Linear(N, K, bias=bias)),
        ],
    ).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, 0.2 if parameter.shape[-1] == N_IN else 0.0, 0.7)
    return net


def batch(steps: int = 40, samples: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = (torch.rand(steps, samples, N_IN, generator=generator) < 0.4).double()
    return x, torch.arange(samples) % K


def triangle(x: Tensor) -> Tensor:
    return 0.3 * torch.relu(1 - x.abs())


class Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x > 0).double()

    @staticmethod
    def backward(ctx, g):
        return g * triangle(ctx.saved_tensors[0])


def by_autograd(net, x, y, kind, reset, *, fixed=True, rate_weight=0.0, rate=0.0):
    """Gradients of a loop that knows nothing of neurosim but the weights."""
    weights = {name: p.detach().clone().requires_grad_() for name, p in net.named_parameters()}

    def at(edge, pre):
        i = pre @ weights[f"synapses.{edge}.0.weight"].T
        return i + weights[f"synapses.{edge}.0.bias"] if f"synapses.{edge}.0.bias" in weights else i

    v = a = x.new_zeros(x.shape[1], N)
    out = x.new_zeros(x.shape[1], K)
    sent, value = [torch.zeros_like(v)] * 2, torch.zeros(())
    for step in x:
        loop = sent[-2].detach() if fixed else sent[-2]
        u = ALPHA * v + (1 - ALPHA) * R * (at("input->pool", step) + at("pool->pool", loop))
        z = Spike.apply(u - (1 + (BETA * a if kind == "alif" else 0)))
        a = RHO * a + z
        held = z.detach()
        v = u - held if reset == "subtract" else u * (1 - held) if reset == "value" else u
        sent.append(z)
        out = KAPPA * out + (1 - KAPPA) * 2.0 * at("pool->out", z)
        value = value + F.cross_entropy(out, y) / len(x)
    f = torch.stack(sent[2:]).mean((0, 1)) / DT
    assert 0.05 < float(f.detach().mean()) * DT < 0.95, "the neurons must fire, not all the time"
    (value + rate_weight / 2 * (f - rate).square().sum()).backward()
    return [w.grad for w in weights.values()]


@pytest.mark.parametrize("chunk", [1, 7, 40])
@pytest.mark.parametrize("reset", ["subtract", "value", None])
@pytest.mark.parametrize("kind", ["lif", "alif"])
def test_it_is_autograd_with_the_recurrent_spikes_held_fixed(kind, reset, chunk):
    net, (x, y) = network(kind, reset, bias=True), batch()
    assert close(gradients(EProp(chunk=chunk), net, x, y), by_autograd(net, x, y, kind, reset), 1e-12)


def test_it_is_near_but_not_the_whole_gradient():
    net, (x, y) = network(), batch()
    online, exact = gradients(EProp(), net, x, y), gradients(ns.BPTT(), net, x, y)
    assert close(exact, by_autograd(net, x, y, "alif", "subtract", fixed=False), 1e-12)
    assert close(online[2:], exact[2:], 1e-12)  # the readout
    for a, b in zip(online[:2], exact[:2], strict=True):
        assert 0.5 < F.cosine_similarity(a.flatten(), b.flatten(), dim=0) < 0.999


def test_the_traces_are_those_of_the_paper():
    """W_in and W_rec from equations written step by step: eligibility vector, filtered trace, learning signal."""
    net, (x, y) = network(), batch(25)
    *_, w_out = (p.detach() for p in net.parameters())
    with torch.no_grad():
        out, _, seen, *_ = net.run(x, None, ("pool", "pool.u"))
    z, u, gain = seen["pool"], seen["pool.u"], (1 - ALPHA) * R
    late = torch.cat((torch.zeros_like(z[:2]), z))[: len(x)]
    for pre, index in ((x, 0), (late, 1)):
        for feedback in (None, Feedback(net, generator=torch.Generator().manual_seed(5)).double()):
            way = w_out if feedback is None else feedback.matrices["pool->out"].detach()
            epsilon_v = torch.zeros(x.shape[1], N, pre.shape[2], dtype=x.dtype)
            epsilon_a, filtered = torch.zeros_like(epsilon_v), torch.zeros_like(epsilon_v)
            a, found = x.new_zeros(x.shape[1], N), torch.zeros(())
            for t in range(len(x)):
                psi = triangle(u[t] - 1 - BETA * a)[..., None]
                epsilon_v = ALPHA * epsilon_v + gain * pre[t][:, None]
                filtered = KAPPA * filtered + psi * (epsilon_v - BETA * epsilon_a)
                epsilon_a = psi * epsilon_v + (RHO - psi * BETA) * epsilon_a
                a = RHO * a + z[t]
                error = (out[t].softmax(1) - F.one_hot(y, K)) / (len(x) * len(y))
                signal = (1 - KAPPA) * 2.0 * (error @ way)
                found = found + (signal[..., None] * filtered).sum(0)
            for chunk in (1, 6, 100):
                found_here = gradients(EProp(feedback=feedback, chunk=chunk), net, x, y)
                assert close(found_here[index : index + 1], [found], 1e-12)
                exact = gradients(EProp(), net, x, y)
                assert close(found_here[2:], exact[2:], 1e-12)


def test_trained_feedback_gets_the_gradient_of_the_readout():
    net, (x, y) = network(bias=True), batch()
    fixed = Feedback(net, generator=torch.Generator().manual_seed(1)).double()
    learns = Feedback(net, adaptive=True, generator=torch.Generator().manual_seed(1)).double()
    found = gradients(EProp(feedback=learns), net, x, y)
    assert close(found, gradients(EProp(feedback=fixed), net, x, y), 0)
    readout = net.synapses["pool->out"][0]
    gradients(EProp(feedback=learns, chunk=9), net, x, y)
    learns.zero_grad()
    gradients(EProp(feedback=learns, chunk=9), net, x, y)
    assert close([learns.matrices["pool->out"].grad], [readout.weight.grad], 1e-15)
    assert fixed.matrices["pool->out"].grad is None
    net.add_module("feedback", learns)
    assert "feedback.matrices.pool->out" in net.state_dict()
    # Equal gradients and equal decay: the two matrices become alike.
    optimizer = torch.optim.SGD(net.parameters(), 0.1, weight_decay=0.5)
    apart = [float((learns.matrices["pool->out"] - readout.weight).norm().detach())]
    for _ in range(20):
        optimizer.zero_grad()
        EProp(feedback=learns).gradients(net, x, y, ns.CrossEntropy())
        optimizer.step()
        apart.append(float((learns.matrices["pool->out"] - readout.weight).norm().detach()))
    assert math.isclose(apart[-1], apart[0] * 0.95**20, rel_tol=1e-9)


@pytest.mark.parametrize("chunk", [1, 40])
def test_the_rate_loss_has_the_gradient_of_half_its_square(chunk):
    net, (x, y) = network(bias=True), batch()
    rule = EProp(rate_weight=1e-5, rate=50.0, chunk=chunk)
    expected = by_autograd(net, x, y, "alif", "subtract", rate_weight=1e-5, rate=50.0)
    assert close(gradients(rule, net, x, y), expected, 1e-12)
    assert not close(gradients(EProp(), net, x, y), expected, 1e-3)


def test_several_populations_learn_and_a_direct_edge_too():
    torch.manual_seed(0)
    choices = dict(tau_mem=TAU, r=R, dt=DT)
    net = ns.Network(
        nodes={"input": ns.Input(N_IN), "a": ns.LIF(**choices), "b": ns.CubaLIF(**choices), "out": ns.LI(dt=DT)},
        edges=[
            ns.Edge("input", "a", ns.Linear(N_IN, 6)),
            ns.Edge("a", "b", ns.Linear(6, 5)),
            ns.Edge("b", "a", ns.Linear(5, 6), delay=DT),
            ns.Edge("a", "out", ns.Linear(6, K)),
            ns.Edge("b", "out", ns.Linear(5, K)),
            ns.Edge("input", "out", ns.Linear(N_IN, K), delay=3 * DT),
        ],
    ).double()
    x, y = batch()
    found = [gradients(EProp(chunk=chunk), net, x, y) for chunk in (1, 4, 40)]
    assert all(part.any() for part in found[0])
    assert close(found[0], found[2], 1e-12) and close(found[1], found[2], 1e-12)
    exact = gradients(ns.BPTT(), net, x, y)
    assert close(found[0][-3:], exact[-3:], 1e-12)


def peak(rule, steps):
    net, (x, y) = network(), batch(steps)
    with activations(x, *net.parameters()) as count:
        rule.gradients(net, x, y, ns.CrossEntropy())
    return count.peak


def test_its_memory_does_not_grow_with_time():
    assert peak(EProp(chunk=8), 200) <= 1.05 * peak(EProp(chunk=8), 50)
    assert peak(ns.BPTT(), 200) > 3 * peak(ns.BPTT(), 50)


def test_it_trains_in_the_loop():
    x, y = batch(30, 24)
    x = torch.where(torch.rand_like(x) < 0.2 + 0.3 * F.one_hot(y % 2, N_IN), 1.0, 0.0).double()
    net = network(seed=1)
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    how = dict(loss=ns.CrossEntropy(), optimizer=optimizer, epochs=25, progress=False)
    history = ns.fit(net, [(x, y % 2)], rule=EProp(rate_weight=1e-6, rate=100.0), **how)
    assert history["loss"][-1] < 0.7 * history["loss"][0]


def test_unsupported_use_is_refused_by_name():
    net, (x, y) = network(), batch()
    with pytest.raises(InputError, match=r"EProp\(chunk=0\)"):
        EProp(chunk=0)
    with pytest.raises(InputError, match=r"EProp\(rate=-1\): a finite number from 0 up"):
        EProp(rate=-1)
    with pytest.raises(InputError, match="mean over steps"):
        EProp().gradients(net, x, y, ns.MaxMembrane())
    with pytest.raises(InputError, match="needs the Network itself"):
        EProp().gradients(lambda x, state=None: None, x, y, ns.CrossEntropy())
    spiking = ns.Sequential(ns.Linear(N_IN, 4), ns.LIF(dt=DT)).double()
    with pytest.raises(InputError, match="must be LI with one plain tau_mem; it is lif"):
        EProp().gradients(spiking, x, y, ns.CrossEntropy())
    each = ns.Sequential(ns.Linear(N_IN, 4), ns.LI(dt=DT, r=torch.ones(4))).double()
    with pytest.raises(InputError, match="one plain r"):
        EProp().gradients(each, x, y, ns.CrossEntropy())
    parts = (ns.Linear(N_IN, 4), ns.LIF(dt=DT), ns.Linear(4, 4), ns.LIF(dt=DT), ns.Linear(4, 2), ns.LI(dt=DT))
    deep = ns.Sequential(*parts)
    with pytest.raises(InputError, match="'lif1' must have an edge to 'leaky_integrator3' without delay"):
        EProp().gradients(deep.double(), x, y, ns.CrossEntropy())
    pooled = ns.Sequential(ns.Input((1, 7)), ns.Flatten(), ns.Linear(7, 2), ns.LI(dt=DT)).double()
    with pytest.raises(InputError, match="is Flatten, Linear; one Linear is needed"):
        EProp().gradients(pooled, x[:, :, None], y % 2, ns.CrossEntropy())
    with pytest.raises(InputError, match=r"no matrix for \['lif1->leaky_integrator2'\]"):
        other = ns.Sequential(ns.Linear(N_IN, 4), ns.LIF(dt=DT), ns.Linear(4, K), ns.LI(dt=DT)).double()
        EProp(feedback=Feedback(net)).gradients(other, x, y, ns.CrossEntropy())
    back = ns.Network(
        nodes={"input": ns.Input(N_IN), "out": ns.LI(dt=DT)},
        edges=[ns.Edge("input", "out", ns.Linear(N_IN, 2)), ns.Edge("out", "out", ns.Linear(2, 2))],
    ).double()
    with pytest.raises(InputError, match="leaves the output"):
        EProp().gradients(back, x, y % 2, ns.CrossEntropy())
    two = ns.Network(
        nodes={"a": ns.Input(N_IN), "b": ns.Input(2), "out": ns.LI(dt=DT)},
        edges=[ns.Edge("a", "out", ns.Linear(N_IN, 2)), ns.Edge("b", "out", ns.Linear(2, 2))],
    ).double()
    with pytest.raises(InputError, match="one input"):
        EProp().gradients(two, x, y % 2, ns.CrossEntropy())
