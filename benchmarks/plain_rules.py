"""Each learning rule and the loop over time that one would write for it in PyTorch, for the same work.

A pair is two calls that take a batch and return their result, gradients or weight changes; both start from the same
weights every time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import neurosim as ns
from neurosim.learning import DECOLLE, FPTT, DecolleLIF, EProp, EventProp, ForwardForward, Goodness, LocalReadouts
from neurosim.learning.rules.base import Rule
from neurosim.learning.rules.eventprop import CubaLI
from neurosim.learning.rules.ottt import OTTT

Call = Callable[[Tensor, Tensor], list[Tensor]]
Sizes = tuple[int, int, int]
DT, CLASSES, RATE = 1e-3, 10, 0.01
TAUS = ("tau_mem", "tau_syn")
LOSS = ns.CrossEntropy()


@dataclasses.dataclass(frozen=True)
class Pair:
    """A rule and its plain loop."""

    ours: Call
    plain: Call


class _Spike(torch.autograd.Function):
    """A spike with the triangle surrogate."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x > 0).to(x)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return g * (1 - x.abs()).clamp(min=0)


class _LIF:
    """LIF neurons, step by step: decays, gain, state."""

    def __init__(self, node: ns.Neuron) -> None:
        decay, gain = node.decay("tau_mem"), node.value("r")
        assert isinstance(decay, float) and isinstance(gain, float)
        self.decay, self.gain = decay, (1 - decay) * gain
        self.v: Tensor | float = 0.0

    def step(self, i: Tensor, *, cut: bool = False) -> Tensor:
        v = self.v.detach() if cut and isinstance(self.v, Tensor) else self.v
        u = self.decay * v + self.gain * i
        z: Tensor = _Spike.apply(u - 1.0)
        self.v = u * (1 - z.detach())
        return z

    def leak(self, i: Tensor, *, cut: bool = False) -> Tensor:
        v = self.v.detach() if cut and isinstance(self.v, Tensor) else self.v
        self.v = self.decay * v + self.gain * i
        return self.v


def _network(sizes: Sizes, *, loop: bool = False) -> ns.Network:
    torch.manual_seed(0)
    n_in, hidden, out = sizes
    pool = ns.LIF(dt=DT, r=8.0, spike=ns.triangle())
    middle = ns.Recurrent(pool, ns.Linear(hidden, hidden)) if loop else pool
    return ns.Sequential(
        ns.Linear(n_in, hidden), middle, ns.Linear(hidden, out), ns.LI(dt=DT, r=8.0), names=("hidden", "out")
    )


def _layers(net: ns.Network) -> tuple[_LIF, _LIF]:
    nodes = net.neurons()
    return _LIF(nodes["hidden"]), _LIF(nodes["out"])


def _found(weights: list[Tensor]) -> list[Tensor]:
    grads = [w.grad for w in weights if w.grad is not None]
    for w in weights:
        w.grad = None
    return grads


def _by_rule(net: torch.nn.Module, rule: Rule, loss: ns.Loss = LOSS) -> Call:
    weights: list[Tensor] = list(net.parameters())

    def ours(x: Tensor, y: Tensor) -> list[Tensor]:
        rule.gradients(net, x, y, loss, torch.Generator().manual_seed(0))
        return _found(weights)

    return ours


def _copies(net: torch.nn.Module) -> list[Tensor]:
    return [p.detach().clone().requires_grad_() for p in net.parameters()]


def _bptt(sizes: Sizes, rule: Rule) -> Pair:
    net = _network(sizes)
    w, w_out = weights = _copies(net)

    def plain(x: Tensor, y: Tensor) -> list[Tensor]:
        hidden, out = _layers(net)
        total = torch.zeros(())
        for i in F.linear(x, w):  # the first product is independent of time
            total = total + F.cross_entropy(out.leak(F.linear(hidden.step(i), w_out)), y)
        (total / len(x)).backward()
        return _found(weights)

    return Pair(_by_rule(net, rule), plain)


def _sltt(sizes: Sizes, k: int | None = None) -> Pair:
    net = _network(sizes)
    w, w_out = weights = _copies(net)

    def plain(x: Tensor, y: Tensor) -> list[Tensor]:
        hidden, out = _layers(net)
        generator = torch.Generator().manual_seed(0)
        learned = set(range(len(x)) if k is None else torch.randperm(len(x), generator=generator)[:k].tolist())
        for t, step in enumerate(x):
            with torch.set_grad_enabled(t in learned):
                z = hidden.step(F.linear(step, w), cut=True)
                value = F.cross_entropy(out.leak(F.linear(z, w_out), cut=True), y) / len(x)
            if t in learned:
                value.backward()
        return _found(weights)

    return Pair(_by_rule(net, ns.SLTT(k=k)), plain)


def _ottt(sizes: Sizes) -> Pair:
    net = _network(sizes)
    w, w_out = weights = _copies(net)

    def traced(s: Tensor, trace: Tensor, weight: Tensor) -> Tensor:
        # Value and input gradient are those of the spikes; the weight gradient uses the trace.
        seen = F.linear(trace, weight)
        return F.linear(s, weight.detach()) + seen - seen.detach()

    def plain(x: Tensor, y: Tensor) -> list[Tensor]:
        hidden, out = _layers(net)
        before, after = x.new_zeros((x.shape[1], sizes[0])), x.new_zeros((x.shape[1], sizes[1]))
        for step in x:
            before = hidden.decay * before + step
            z = hidden.step(traced(step, before, w), cut=True)
            after = out.decay * after + z.detach()
            v = out.leak(traced(z, after, w_out), cut=True)
            (F.cross_entropy(v, y) / len(x)).backward()
        return _found(weights)

    return Pair(_by_rule(net, OTTT()), plain)


def _eprop(sizes: Sizes) -> Pair:
    net = _network(sizes, loop=True)
    w, w_loop, w_out = _copies(net)
    node = net.neurons()["hidden"]

    def plain(x: Tensor, y: Tensor) -> list[Tensor]:
        # The traces of the method: one per synapse and sample, and another filtered by the readout's leak.
        hidden, out = _LIF(node), _LIF(net.neurons()["out"])
        with torch.no_grad():
            z, y_out = x.new_zeros((x.shape[1], sizes[1])), x.new_zeros((x.shape[1], CLASSES))
            v, smooth = torch.zeros_like(z), torch.zeros_like(z)
            held = torch.cat((w, w_loop), 1)
            traces = x.new_zeros((x.shape[1], *held.shape))
            smoothed, gradient, g_out = torch.zeros_like(traces), torch.zeros_like(held), torch.zeros_like(w_out)
            for step in x:
                before = torch.cat((step, z), 1)
                traces = hidden.decay * (1 - z).unsqueeze(2) * traces + hidden.gain * before.unsqueeze(1)
                u = hidden.decay * v + hidden.gain * F.linear(before, held)
                z = (u > 1).to(u)
                v = u * (1 - z)
                smoothed = out.decay * smoothed + (1 - (u - 1).abs()).clamp(min=0).unsqueeze(2) * traces
                smooth = out.decay * smooth + z
                y_out = out.decay * y_out + out.gain * F.linear(z, w_out)
                error = (torch.softmax(y_out, 1) - F.one_hot(y, CLASSES)) * (out.gain / len(x) / len(y))
                gradient += torch.einsum("bj,bji->ji", error @ w_out, smoothed)
                g_out += error.T @ smooth
        return [gradient[:, : sizes[0]], gradient[:, sizes[0] :], g_out]

    return Pair(_by_rule(net, EProp()), plain)


def _eventprop(sizes: Sizes) -> Pair:
    torch.manual_seed(0)
    n_in, hidden, classes = sizes
    net = ns.Sequential(ns.Linear(n_in, hidden), ns.CubaLIF(dt=DT), ns.Linear(hidden, classes), CubaLI(dt=DT))
    first, second = net.parameters()
    torch.nn.init.normal_(first, 8.0 / n_in**0.75, 14.0 / n_in**0.75)
    torch.nn.init.normal_(second, 0.0, 2.0 / hidden**0.5)
    w, w_out = weights = _copies(net)
    node = net.neurons()["cubalif1"]
    mem, syn, tau_mem, tau_syn = (
        float(value) for value in (*(node.decay(n) for n in TAUS), *(node.value(n) for n in TAUS))
    )
    loss, floor = ns.MaxMembrane(), EventProp().floor

    def plain(x: Tensor, y: Tensor) -> list[Tensor]:
        zero = x.new_zeros
        j, v, i, o = (zero((x.shape[1], n)) for n in (hidden, hidden, classes, classes))
        spikes, currents, outputs = [], [], []
        with torch.no_grad():
            for drive in F.linear(x, w):
                j = syn * j + drive
                v = mem * v + (1 - mem) * j
                z = (v > 1).to(v)
                v = v * (1 - z)
                i = syn * i + F.linear(z, w_out)
                o = mem * o + (1 - mem) * i
                spikes.append(z)
                currents.append(j)
                outputs.append(o)
        read = torch.stack(outputs).requires_grad_()
        loss(read, y).backward()
        assert read.grad is not None
        mu_v, mu_j, mu_o, mu_i = (zero((x.shape[1], n)) for n in (hidden, hidden, classes, classes))
        into_hidden, into_out = [], []
        with torch.no_grad():
            for t in range(len(x) - 1, -1, -1):
                mu_o = mem * mu_o + read.grad[t]
                mu_i = syn * mu_i + (1 - mem) * mu_o
                mu = mem * mu_v
                worth = (mu_i / tau_syn - mu_o / tau_mem) @ w_out
                mu_v = mu + spikes[t] * (mu - tau_mem * worth) / (currents[t] - 1).clamp_min(floor)
                mu_j = syn * mu_j + (1 - mem) * mu_v
                into_hidden.append(mu_j)
                into_out.append(mu_i)
            back, out = torch.stack(into_hidden[::-1]), torch.stack(into_out[::-1])
            w.grad = back.flatten(0, 1).T @ x.flatten(0, 1)
            w_out.grad = out.flatten(0, 1).T @ torch.stack(spikes).flatten(0, 1)
        return _found(weights)

    return Pair(_by_rule(net, EventProp(), loss), plain)


def _fptt(sizes: Sizes, chunk: int) -> Pair:
    net = _network(sizes)
    start = [p.detach().clone() for p in net.parameters()]
    w, w_out = weights = _copies(net)
    alpha, beta = 0.1, 0.5

    def ours(x: Tensor, y: Tensor) -> list[Tensor]:
        _put(list(net.parameters()), start)
        optimizer = torch.optim.SGD(net.parameters(), RATE)
        FPTT(optimizer, alpha=alpha, beta=beta, chunk=chunk).sequence(net, x, y, LOSS)
        return [p.detach() - s for p, s in zip(net.parameters(), start, strict=True)]

    def plain(x: Tensor, y: Tensor) -> list[Tensor]:
        _put(weights, start)
        optimizer = torch.optim.SGD(weights, RATE)
        mean, dual = [s.clone() for s in start], [torch.zeros_like(s) for s in start]
        hidden, out = _layers(net)
        for start_at in range(0, len(x), chunk):
            part, value = x[start_at : start_at + chunk], torch.zeros(())
            for t, step in enumerate(part):
                v = out.leak(F.linear(hidden.step(F.linear(step, w), cut=not t), w_out), cut=not t)
                value = value + F.cross_entropy(v, y)
            value = value * ((start_at + len(part)) / len(x) / len(part))
            for p, m, d in zip(weights, mean, dual, strict=True):
                value = value - (d * p).sum() + alpha / 2 * (p - m).square().sum()
            optimizer.zero_grad()
            value.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            with torch.no_grad():
                for p, m, d in zip(weights, mean, dual, strict=True):
                    d -= alpha * (p - m)
                    m.copy_((1 - beta) * m + beta * p - beta / alpha * d)
        return [p.detach() - s for p, s in zip(weights, start, strict=True)]

    return Pair(ours, plain)


def _put(weights: list[Any], values: list[Tensor]) -> None:
    with torch.no_grad():
        for weight, value in zip(weights, values, strict=True):
            weight.copy_(value)


def _decolle(sizes: Sizes, chunk: int, *, moves: bool) -> Pair:
    torch.manual_seed(0)
    n_in, hidden, _ = sizes
    spike = ns.fast_sigmoid(10.0)
    inner = ns.Sequential(
        ns.Linear(n_in, hidden),
        DecolleLIF(dt=DT, spike=spike),
        ns.Linear(hidden, hidden),
        DecolleLIF(dt=DT, spike=spike),
    )
    net = LocalReadouts(inner, CLASSES, scale=2.0, generator=torch.Generator().manual_seed(0))
    start = [p.detach().clone() for p in net.parameters()]
    weights = _copies(net)
    readouts = list(net.buffers())
    node = inner.neurons()["decolle1"]
    fast, slow, ref = (float(node.decay(f"tau_{name}")) for name in ("syn", "mem", "ref"))
    mine: list[Tensor] = list(net.parameters())

    def move(held: list[Tensor]) -> None:
        with torch.no_grad():
            for p in held:
                assert p.grad is not None
                p.sub_(RATE * p.grad)
                p.grad = None

    def ended(held: list[Tensor]) -> list[Tensor]:
        return [p.detach() - s for p, s in zip(held, start, strict=True)] if moves else _found(held)

    def ours(x: Tensor, y: Tensor) -> list[Tensor]:
        _put(mine, start)
        DECOLLE(chunk=chunk, update=(lambda: move(mine)) if moves else None).gradients(net, x, y, LOSS)
        return ended(mine)

    def plain(x: Tensor, y: Tensor) -> list[Tensor]:
        _put(weights, start)
        q, p = ([x.new_zeros((x.shape[1], n)) for n in (n_in, hidden)] for _ in range(2))
        r = [x.new_zeros((x.shape[1], hidden)) for _ in range(2)]
        for step in x:
            s, value = step, torch.zeros(())
            for k, w in enumerate(weights):
                p[k] = slow * p[k] + (1 - slow) * q[k]
                q[k] = fast * q[k] + (1 - fast) * s
                u = F.linear(p[k], w) + r[k]
                s = (u.detach() > 0).to(u)
                r[k] = ref * r[k] - (1 - ref) * s
                value = value + F.cross_entropy(F.linear(torch.sigmoid(u), readouts[k]), y)
            (value / len(x)).backward()
            if moves:
                move(weights)
        return ended(weights)

    return Pair(ours, plain)


def _forward_forward(sizes: Sizes) -> Pair:
    torch.manual_seed(0)
    n_in, hidden, _ = sizes
    parts = (ns.LIF(dt=DT, r=8.0, spike=ns.triangle()) for _ in range(2))
    inner = ns.Sequential(ns.Linear(n_in, hidden), next(parts), ns.Linear(hidden, hidden), next(parts))
    net, theta = Goodness(inner, CLASSES), 2.0
    weights = _copies(net)

    def plain(x: Tensor, y: Tensor) -> list[Tensor]:
        drawn = torch.randint(1, CLASSES, y.shape, generator=torch.Generator().manual_seed(0))
        sent = torch.cat((x, x), 1)
        sent[:, :, :CLASSES] = F.one_hot(torch.cat((y, (y + drawn) % CLASSES)), CLASSES).to(x)
        for w, node in zip(weights, inner.neurons().values(), strict=True):
            layer = _LIF(node)
            z = torch.stack([layer.step(i) for i in F.linear(sent, w)])
            rates = z.mean(0)
            right, wrong = rates.square().sum(1).chunk(2)
            (F.softplus(theta - right).mean() + F.softplus(wrong - theta).mean()).backward()
            sent = z.detach() / rates.detach().square().mean(1, keepdim=True).sqrt().clamp(min=1e-8)
        return _found(weights)

    return Pair(_by_rule(net, ForwardForward(threshold=theta)), plain)


RULES: dict[str, Callable[[Sizes], Pair]] = {
    "BPTT": lambda sizes: _bptt(sizes, ns.BPTT()),
    "BPTT, recompute": lambda sizes: _bptt(sizes, ns.BPTT(recompute=True)),
    "SLTT": _sltt,
    "SLTT-K, K = 4": lambda sizes: _sltt(sizes, 4),
    "OTTT": _ottt,
    "e-prop": _eprop,
    "EventProp": _eventprop,
    "FPTT, an update per step": lambda sizes: _fptt(sizes, 1),
    "FPTT, an update per 10 steps": lambda sizes: _fptt(sizes, 10),
    "DECOLLE": lambda sizes: _decolle(sizes, 32, moves=False),
    "DECOLLE, an update per step": lambda sizes: _decolle(sizes, 1, moves=True),
    "forward-forward": _forward_forward,
}


def pair(name: str, sizes: Sizes) -> Pair:
    """Return a rule and its plain loop by name, at these numbers of neurons."""
    return RULES[name](sizes)
