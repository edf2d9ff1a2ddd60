"""Small networks, batches and comparisons for tests of rules."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import neurosim as ns
from neurosim.learning import CrossEntropy, Loss, Rule
from tests.observed import observed

DT = 1e-3
CHUNKS = [1, 3, 8, 100]


def network(decay: float = 0.5, *, plain_readout: bool = False, seed: int = 0) -> Any:
    """Return LIF layers `u = decay v + I` in float64 that spike; a plain readout has no memory and does not spike."""
    parts: list[Any] = []
    sizes = (20, 32, 16, 5)
    generator = torch.Generator().manual_seed(seed)
    tau = DT / 40 if decay == 0 else -DT / math.log(decay)
    for n_in, n_out in pairwise(sizes):
        layer = ns.Linear(n_in, n_out)
        with torch.no_grad():
            layer.weight.copy_(torch.randn(n_out, n_in, generator=generator) * (1.5 / math.sqrt(n_in)))
        parts += [layer, ns.LIF(tau_mem=tau, r=1 / (1 - math.exp(-DT / tau)), dt=DT, spike=ns.atan(2.0))]
    if plain_readout:
        parts[-1] = ns.LI(tau_mem=DT / 40, dt=DT)
    return ns.Sequential(*parts).double()


def batch(steps: int, samples: int = 4, n_in: int = 20, classes: int = 5) -> tuple[Tensor, Tensor]:
    """Return random spikes [steps, samples, n_in] and classes."""
    generator = torch.Generator().manual_seed(7)
    x = (torch.rand(steps, samples, n_in, generator=generator) < 0.4).double()
    return x, torch.randint(classes, (samples,), generator=generator)


def gradients(
    rule: Rule, net: Any, x: Tensor, y: Tensor, loss: Loss | None = None, generator: torch.Generator | None = None
) -> list[Tensor]:
    """Return the gradients of all parameters that a rule computes for a batch."""
    net.zero_grad()
    rule.gradients(net, x, y, loss or CrossEntropy(), generator)
    return [parameter.grad.clone() for parameter in net.parameters()]


def atan_spike(x: Tensor) -> Tensor:
    """Return spikes with the derivative of an arctangent, without a kernel."""
    smooth = torch.atan(math.pi * x) / math.pi
    return (x > 0).to(x.dtype) + smooth - smooth.detach()


def close(a: list[Tensor], b: list[Tensor], tolerance: float = 1e-12) -> bool:
    """Return whether gradients agree up to a share of the largest one, which must not be 0."""
    scale = max(float(t.abs().max()) for t in b)
    assert scale > 1e-6, "the gradients compared are zero: nothing is being tested"
    error = max(float((s - t).abs().max()) for s, t in zip(a, b, strict=True)) / scale
    if error <= tolerance:
        observed(error)
    return error <= tolerance


DECAY = 0.6
TAU = -DT / math.log(DECAY)


def chain(
    sizes: tuple[int, ...] = (20, 24, 16, 5), bias: bool = False, seed: int = 0, plain_readout: bool = False
) -> ns.Network:
    """Return LIF layers with the decay DECAY and a reset by subtraction, in float64."""
    torch.manual_seed(seed)
    parts: list[Any] = []
    for n_in, n_out in pairwise(sizes):
        linear = ns.Linear(n_in, n_out, bias=bias)
        with torch.no_grad():
            linear.weight.copy_(torch.randn(n_out, n_in) * (1.5 / math.sqrt(n_in)))
        parts += [linear, ns.LIF(tau_mem=TAU, r=1 / (1 - DECAY), dt=DT, reset="subtract")]
    if plain_readout:
        parts[-1] = ns.LI(tau_mem=DT / 40, dt=DT)
    return ns.Sequential(*parts).double()


def ottt_by_hand(net: Any, x: Tensor, y: Tensor, bias: bool) -> list[Tensor]:
    """Compute the gradients of OTTT by its equations: each step alone, weights by the outer product with the trace."""
    held = [p.detach() for p in net.parameters()]
    weights, biases = (held[::2], held[1::2]) if bias else (held, [])
    v = [torch.zeros(x.shape[1], len(w), dtype=x.dtype) for w in weights]
    traces = [torch.zeros(x.shape[1], w.shape[1], dtype=x.dtype) for w in weights]
    found = [torch.zeros_like(p) for p in held]
    for x_t in x:
        z, currents = x_t, []
        for k, w in enumerate(weights):
            traces[k] = DECAY * traces[k] + z.detach()
            current = z @ w.T + (biases[k] if bias else 0.0)
            if not current.requires_grad:
                current.requires_grad_()
            current.retain_grad()
            currents.append(current)
            u = DECAY * v[k].detach() + current
            z = atan_spike(u - 1)
            v[k] = u - z.detach()
        (F.cross_entropy(z, y) / len(x)).backward()
        for k, current in enumerate(currents):
            found[2 * k if bias else k] += current.grad.T @ traces[k]
            if bias:
                found[2 * k + 1] += current.grad.sum(0)
    return found
