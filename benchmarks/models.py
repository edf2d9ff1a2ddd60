"""Models and rules without a separate benchmark, each against the loop one would write in plain PyTorch.

Delayed synapses, HLOP, a delta layer, active dendrites, ELM layers and astrocytes: forward, backward and, for HLOP,
lateral learning, in float32. Both do the same work: outputs and gradients are compared before anything is timed.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

import neurosim as ns
from benchmarks.options import Options
from benchmarks.timing import ImplausibleError, interleaved
from neurosim.learning import HLOP, LateralBanks
from neurosim.models import ActiveDendrites, DeltaActivation, ELMLayer, GainAstrocyte, activity
from neurosim.synapses import DelayedLinear

NAME = "models"
OURS, LOOP = "neurosim", "plain loop"
DT = 1e-3
Way = Callable[[], Sequence[Tensor]]


def learnable_delays(small: bool) -> tuple[str, Way, Way]:
    """Return forward and backward of `DelayedLinear`, and of a loop over its taps."""
    n_in, n_out, steps, batch, reach = (8, 6, 10, 4, 5) if small else (80, 64, 88, 128, 24)
    layer = DelayedLinear(n_in, n_out, reach * DT, dt=DT)
    x, g = (torch.rand(steps, batch, n_in) < 0.1).float(), torch.randn(steps, batch, n_out)

    def loop() -> Tensor:
        kernel, line = layer.kernel(), torch.cat((x.new_zeros(reach, batch, n_in), x))
        taken = [line[reach - n : reach - n + steps] @ kernel[..., n].T for n in range(reach + 1)]
        return torch.stack(taken).sum(0)

    def step(run: Callable[[], Tensor]) -> Sequence[Tensor]:
        y = run()
        return [y.detach(), *torch.autograd.grad(y, (layer.weight, layer.delay), g)]

    what = f"delayed synapses {n_in}-{n_out}, {reach + 1} taps, T = {steps}, batch {batch}"
    return what, lambda: step(lambda: layer(x)[0]), lambda: step(loop)


def rounded_delays(small: bool) -> tuple[str, Way, Way]:
    """Return a run of `RoundedDelays`, and of a loop over delays."""
    n_in, n_out, steps, batch, reach = (8, 6, 10, 4, 5) if small else (80, 64, 88, 128, 24)
    layer = DelayedLinear(n_in, n_out, reach * DT, dt=DT).rounded()
    x, kernel = (torch.rand(steps, batch, n_in) < 0.05).float(), layer.kernel()

    def loop() -> Sequence[Tensor]:
        line = torch.cat((x.new_zeros(reach, batch, n_in), x))
        taken = [line[reach - n : reach - n + steps] @ kernel[..., n].T for n in range(reach + 1)]
        return [torch.stack(taken).sum(0)]

    what = f"rounded delays {n_in}-{n_out}, no gradient, T = {steps}, batch {batch}"
    return what, lambda: [layer(x)[0]], loop


def hlop(small: bool) -> tuple[str, Way, Way]:
    """Return gradients and lateral learning of a batch of a second task, and a loop that does it step by step."""
    sizes, steps, batch, rows, more = (
        ((12, 10, 10, 3), 3, 4, (4, 5, 3), (2, 2, 2))
        if small
        else ((784, 800, 800, 10), 6, 64, (80, 200, 100), (70, 70, 70))
    )
    neurons: dict[str, Any] = dict(tau_mem=DT / math.log(2), r=2.0, dt=DT, reset="subtract", spike=ns.sigmoid(4.0))
    parts: list[Any] = []
    for n_in, n_out in itertools.pairwise(sizes[:-1]):
        parts += [ns.Linear(n_in, n_out), ns.LIF(**neurons)]
    net = ns.Sequential(*parts, ns.Linear(sizes[-2], sizes[-1]), ns.LI(tau_mem=DT / 40, dt=DT))
    weights = list(net.parameters())
    banks = LateralBanks(net)
    banks.begin_task(rows)
    banks.begin_task(more)
    first = {name: value.clone() for name, value in banks.state_dict().items()}
    x = (4.0 * torch.rand(1, batch, sizes[0])).expand(steps, -1, -1)
    y, rule, loss = torch.randint(sizes[-1], (batch,)), HLOP(ns.BPTT(), banks), ns.MeanMembrane()

    def ours() -> Sequence[Tensor]:
        banks.load_state_dict(first)
        net.zero_grad()
        rule.gradients(net, x, y, loss)
        learnt = [bank.weight.clone() for _, bank in banks.each()]
        return [*(w.grad.clone() for w in weights if w.grad is not None), *learnt]

    def loop() -> Sequence[Tensor]:
        potentials = [x.new_zeros(batch, n) for n in sizes[1:-1]]
        seen: list[list[Tensor]] = [[] for _ in weights]
        outputs = []
        for now in x:
            for k, potential in enumerate(potentials):
                seen[k].append(now)
                u = 0.5 * potential + now @ weights[k].T
                smooth = torch.sigmoid(4.0 * (u - 1.0))
                now = (u > 1.0).float() + smooth - smooth.detach()
                potentials[k] = u - now.detach()
            seen[-1].append(now)
            outputs.append(now @ weights[-1].T)
        found = torch.autograd.grad(functional.cross_entropy(torch.stack(outputs).mean(0), y), weights)
        projected, learnt = [], []
        for k, (_, bank) in enumerate(banks.each()):
            h, m, old = first_of(k, "weight"), first_of(k, "drift"), bank.frozen
            projected.append(found[k] - found[k] @ h[:old].T @ h[:old])
            with torch.no_grad():
                samples = torch.cat(seen[k])
                for _ in range(bank.iterations):
                    response = samples @ h.T
                    change = response[:, old:].T @ (samples - response @ h) / len(samples)
                    m = torch.cat((m[:old], 0.9 * m[old:] + 0.1 * change.clamp(-10, 10)))
                    h = torch.cat((h[:old], h[old:] + bank.rate * m[old:]))
            learnt.append(h)
        return [*projected, *learnt]

    names = [name for name in first if name.endswith("weight")]

    def first_of(k: int, what: str) -> Tensor:
        return first[names[k].removesuffix("weight") + what]

    return f"HLOP, {'-'.join(map(str, sizes))}, T = {steps}, batch {batch}, second task", ours, loop


def delta_layer(small: bool) -> tuple[str, Way, Way]:
    """Return forward and backward of `DeltaActivation` with its loss on activity, and of a loop over frames."""
    shape, steps, batch = ((2, 3, 3), 5, 2) if small else ((8, 15, 15), 16, 50)
    layer = DeltaActivation(shape, dt=DT, threshold=0.1)
    assert layer.theta is not None
    x, g = torch.randn(steps, batch, *shape, requires_grad=True), torch.randn(steps, batch, *shape)
    leaves = (x, layer.bias, layer.theta)

    def ours() -> Sequence[Tensor]:
        o, state = layer(x)
        return [o.detach(), *torch.autograd.grad((o * g).sum() + activity(state).mean_change, leaves)]

    class Round(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, active: Tensor, theta: Tensor) -> Tensor:
            count = torch.round(active / theta.abs())
            ctx.save_for_backward(count, theta)
            return count * theta.abs()

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
            count, theta = ctx.saved_tensors
            return grad, (-grad * count * theta.sign()).sum_to_size(theta.shape)

    def loop() -> Sequence[Tensor]:
        sent, frames, changes, events, nonzero = None, [], x.new_zeros(()), 0, 0
        for frame in x:
            o = Round.apply(torch.relu(frame + layer.bias), layer.theta)
            if sent is not None:
                changes = changes + (o - sent).abs().sum()
                events += int(torch.count_nonzero(o - sent))
                nonzero += int(torch.count_nonzero(o))
            sent = o
            frames.append(o)
        o = torch.stack(frames)
        return [o.detach(), *torch.autograd.grad((o * g).sum() + changes / o[1:].numel(), leaves)]

    return f"delta layer {list(shape)}, {steps} frames, batch {batch}", ours, loop


def dendrites(small: bool) -> tuple[str, Way, Way]:
    """Return forward and backward of `ActiveDendrites`, and of a loop over samples, each with its context."""
    n_in, n_out, segments, batch = (10, 8, 3, 4) if small else (784, 512, 5, 64)
    layer = ActiveDendrites(n_in, n_out, context=n_in, segments=segments, winners=n_out // 8)
    x, context, g = torch.randn(batch, n_in), torch.randn(batch, n_in), torch.randn(batch, n_out)
    leaves = list(layer.parameters())

    def step(y: Tensor) -> Sequence[Tensor]:
        return [y.detach(), *torch.autograd.grad(y, leaves, g)]

    def loop() -> Tensor:
        rows = []
        for sample, told in zip(x, context, strict=True):
            drive = layer.segments @ told
            strongest = drive.abs().argmax(1)
            gated = layer.feed_forward(sample) * torch.sigmoid(drive[torch.arange(n_out), strongest])
            kept = gated.topk(layer.winners).indices
            rows.append(torch.zeros_like(gated).index_put((kept,), gated[kept]))
        return torch.stack(rows)

    what = f"active dendrites {n_in}-{n_out}, {segments} segments, one context for each of {batch} samples"
    return what, lambda: step(layer(x, context)), lambda: step(loop())


def elm_layer(small: bool, synapses: int = 32) -> tuple[str, Way, Way]:
    """Return forward and backward of a recurrent `ELMLayer`, and of the loop of its equations."""
    neurons, d_m, branches, steps, batch = (6, 3, synapses // 2, 5, 2) if small else (256, 16, synapses, 10, 8)
    layer = ELMLayer(64, neurons, dt=5 * DT, d_m=d_m, branches=branches, synapses=synapses)
    elm, kappa = layer.elm, layer.low_pass.decay("tau_mem")
    x, g = (torch.rand(steps, batch, 64) < 0.1).float(), torch.randn(steps, batch, neurons)

    def loop() -> Tensor:
        keep, gain = elm.decay_and_gain()
        branch, memory = x.new_zeros(batch, neurons, branches), x.new_zeros(batch, neurons, d_m)
        slow = a = x.new_zeros(batch, neurons)
        out = []
        for now in x:
            branch = elm.kappa_s * branch + (torch.cat((now, a), 1)[:, elm.routes] * elm.w_s).sum(3)
            decayed = keep * memory
            summed = torch.einsum("bni,nhi->bnh", torch.cat((branch, decayed), 2), elm.inward)
            written = torch.einsum("bnh,nmh->bnm", torch.relu(summed + elm.inward_bias), elm.outward)
            memory = decayed + gain * 1.7159 * torch.tanh(2.0 / 3.0 * (written + elm.outward_bias))
            y = (memory * elm.readout[:, 0]).sum(2) + elm.readout_bias[:, 0]
            slow = kappa * slow + (1.0 - kappa) * y
            a = torch.relu(y - slow)
            out.append(a)
        return torch.stack(out)

    def step(run: Callable[[], Tensor]) -> Sequence[Tensor]:
        y = run()
        return [y.detach(), *torch.autograd.grad(y, list(layer.parameters()), g)]

    what = (
        f"{neurons} recurrent ELM neurons, d_m {d_m}, {branches * synapses} synapses each, T = {steps}, batch {batch}"
    )
    return what, lambda: step(lambda: layer(x)[0]), lambda: step(loop)


def gain_astrocyte(small: bool) -> tuple[str, Way, Way]:
    """Return forward and backward of `GainAstrocyte`, and of a loop over steps."""
    neurons, domains, steps, batch = (8, 2, 10, 4) if small else (256, 16, 100, 32)
    layer = GainAstrocyte(domains, dt=DT, learn=("gamma", "tau_ca"))
    s = (torch.rand(steps, batch, neurons) < 0.1).float().requires_grad_()
    g, leaves = torch.randn(steps, batch, neurons), (s, *layer.parameters())

    def loop() -> Tensor:
        kept = torch.as_tensor(layer.calcium.decay("tau_ca")).float()
        gamma = layer.calcium.value("gamma")
        a, out = s.new_zeros(batch, domains), []
        for now in s:
            fired = now.unflatten(1, (domains, -1))
            a = kept * a + (1 - kept) * fired.mean(-1)
            out.append((fired * (1 + gamma * a / (1 + a))[..., None]).flatten(1))
        return torch.stack(out)

    def step(out: Tensor) -> Sequence[Tensor]:
        return [out.detach(), *torch.autograd.grad(out, leaves, g)]

    what = f"gain astrocytes, {neurons} neurons in {domains} domains, T = {steps}, batch {batch}"
    return what, lambda: step(layer(s)[0]), lambda: step(loop())


def calcium(small: bool) -> tuple[str, Way, Way]:
    """Return forward and backward of the core `li_rinzel`, and of its step function on tensors."""
    cells, steps, batch = (5, 10, 4) if small else (64, 500, 8)
    layer = ns.layer(ns.cores.li_rinzel)(dt=DT, learn=("channel",))
    i, g = 0.01 * torch.rand(steps, batch, cells), torch.randn(batch, cells)

    def step(state: Any) -> Sequence[Tensor]:
        return [state.ca.detach(), *torch.autograd.grad(state.ca, tuple(layer.parameters()), g)]

    what = f"Li-Rinzel calcium, {cells} cells, T = {steps}, batch {batch}"
    return what, lambda: step(layer(i)[1]), lambda: step(layer.run_reference(i).state)


MODELS: tuple[Callable[[bool], tuple[str, Way, Way]], ...] = (
    learnable_delays,
    rounded_delays,
    hlop,
    delta_layer,
    dendrites,
    elm_layer,
    functools.partial(elm_layer, synapses=8),
    gain_astrocyte,
    calcium,
)


def one(make: Callable[[bool], tuple[str, Way, Way]], rounds: int, calls: int, small: bool) -> dict[str, Any]:
    """Time a model and its loop, after checking that they agree."""
    torch.manual_seed(0)
    what, ours, loop = make(small)
    for a, b in zip(ours(), loop(), strict=True):
        off = float((a - b).norm() / b.norm().clamp(min=1e-6))
        if off > 1e-3:
            raise ImplausibleError(f"{what}: off by {off:g} from the plain loop.")
    times = interleaved({OURS: ours, LOOP: loop}, rounds, calls)
    return {
        "work": what,
        "contenders": {name: found.as_json() for name, found in times.items()},
        "times_as_fast": times[LOOP].median / times[OURS].median,
    }


def measure(options: Options) -> dict[str, Any]:
    """Return the times of each model."""
    rounds, calls = (2, 1) if options.quick else (4, 4)
    return {"cases": [one(make, rounds, calls, options.quick) for make in MODELS]}


def table(result: dict[str, Any]) -> str:
    """Return the result as text."""
    lines = [f"{'median ms':70}{OURS:>10}{LOOP:>12}{'times as fast':>15}"]
    for case in result["cases"]:
        ours, loop = (1e3 * case["contenders"][name]["median_s"] for name in (OURS, LOOP))
        lines.append(f"{case['work']:70}{ours:10.2f}{loop:12.2f}{case['times_as_fast']:15.1f}")
    return "\n".join(lines)
