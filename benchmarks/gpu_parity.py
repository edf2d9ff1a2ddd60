"""Every CUDA operator against the CPU kernels or the definition; differences beyond the tolerance are reported."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

import neurosim as ns
from neurosim.compiler.plan import Plan, known
from neurosim.compiler.program import record
from neurosim.cores import alif, cubalif, integrate_and_fire, leaky_integrator, lif
from neurosim.kernels.linear import cpu as linear_cpu
from neurosim.kernels.linear import cuda as linear_cuda
from neurosim.kernels.linear import cuda_events
from neurosim.kernels.linear.arguments import Call
from neurosim.kernels.linear.operator import run_layer
from neurosim.kernels.neurons import arguments as neuron_arguments
from neurosim.kernels.neurons import cpu, cuda
from neurosim.kernels.neurons.operator import run_core
from neurosim.kernels.recurrent import arguments as recurrent_arguments
from neurosim.kernels.recurrent import cuda as cuda_recurrent
from neurosim.kernels.recurrent import cuda_code as cuda_recurrent_source
from neurosim.kernels.recurrent.operator import run_recurrent
from neurosim.language import Core, Reset

CORES = (lif, cubalif, alif, integrate_and_fire, leaky_integrator)
# One rounding of the precision; twice that for bfloat16, which Triton's interpreter truncates.
LAST_PLACE = {torch.float16: 2.0**-11, torch.bfloat16: 2.0**-7, torch.float32: 2.0**-22, torch.float64: 2.0**-50}


@dataclasses.dataclass(frozen=True)
class Parity:
    """Difference between an operator and its reference, relative to the largest value; 0 is bit for bit."""

    operator: str
    case: str
    away: float
    allowed: float

    @property
    def holds(self) -> bool:
        return self.away <= self.allowed


@dataclasses.dataclass(frozen=True, eq=False)
class Work:
    """A plan whose coefficients are plain numbers."""

    plan: Plan
    forward: list[float]
    backward: list[float]


def work(core: Core, through_time: bool = True) -> Work:
    spike, reset = ns.atan(2.0), Reset()
    plan = Plan(record(core, spike, reset, ()), True, through_time)
    known(plan)
    numbers = {k: core.parameters[k].default if k in core.parameters else 0.9 for k in core.coefficients}
    numbers["dt"] = 1e-3
    return Work(plan, *(plan.host_values(u, numbers) for u in (plan.forward_uniforms, plan.backward_uniforms)))


def away(a: Tensor, b: Tensor) -> float:
    """Return the largest difference relative to the largest value; NaN counts as infinite."""
    if not b.numel():
        return 0.0
    a, b = a.detach().cpu().double(), b.detach().cpu().double()
    far = ((a - b).abs().max() / b.abs().max().clamp(min=1e-30)).item()
    return far if far == far else float("inf")


def cores(device: torch.device, quick: bool) -> Iterator[Parity]:
    """Compare with the CPU kernels: bit for bit, except for one rounding where arrays are in half precision."""
    steps, shape = (5, (2, 9)) if quick else (100, (16, 250))
    for core in CORES:
        given, states = work(core), len(core.state)
        plan = given.plan
        for dtype in LAST_PLACE:
            real = cuda.arithmetic(dtype)
            i = (torch.randn(steps, *shape) * 20.0).to(dtype)
            g = torch.randn(steps, *shape).to(dtype)
            start, ends = ([0.1 * torch.randn(shape, dtype=real) for _ in core.state] for _ in range(2))
            call = neuron_arguments.Call(plan.key, [i.to(real)], start, [], given.forward, given.backward)
            wanted = cpu.forward(call)
            back = cpu.backward(run_core.save(call, wanted), [g.to(real), *ends])
            there = [x.to(device) for x in (i, g, *start, *ends)]
            call = call._replace(inputs=[there[0]], state=there[2 : 2 + states])
            got = cuda.forward(call)
            found = cuda.backward(run_core.save(call, got), [there[1], *there[2 + states :]])
            case = f"{core.name} {_name(dtype)}"
            once = LAST_PLACE[dtype] if dtype != real else 0.0
            yield Parity("run_core", f"{case}: output", away(got.out, wanted.out), once if core is CORES[-1] else 0.0)
            yield Parity("run_core", f"{case}: states", max(map(away, got.state, wanted.state)), 0.0)
            yield Parity("run_core_backward", f"{case}: input", away(found.inputs[0], back.inputs[0]), once)
            yield Parity("run_core_backward", f"{case}: states", max(map(away, found.state, back.state)), 0.0)


def events(device: torch.device, quick: bool) -> Iterator[Parity]:
    """Compare with dense products in double precision."""
    rows, n_in, n_out = (6, 70, 17) if quick else (1000, 700, 250)
    for dtype in LAST_PLACE:
        mask = torch.rand(rows, n_in) < 0.1
        weight, g = (torch.randn(n, n_out).to(dtype) for n in (n_in, rows))
        for name, x in (("ones", mask.to(dtype)), ("values", (mask * torch.randn(rows, n_in)).to(dtype))):
            there = x.to(device)
            bits = cuda_events.pack(there)
            case, allowed = f"{name} {_name(dtype)}", 8 * LAST_PLACE[dtype]
            yield Parity("pack", f"{case}: bits", away(cuda_events.unpack(bits, n_in, dtype), x != 0), 0.0)
            values = None if name == "ones" else there
            got = cuda_events.gather(bits, values, weight.to(device))
            yield Parity("gather", case, away(got, x.double() @ weight.double()), allowed)
            got = cuda_events.scatter(bits, values, g.to(device), n_in)
            yield Parity("scatter", case, away(got, x.double().T @ g.double()), allowed)


def layers(device: torch.device, quick: bool) -> Iterator[Parity]:
    """Compare a linear layer with its neurons with that on the CPU; weights are halves, so that sums are exact."""
    steps, batch, n_in, n = (4, 2, 70, 17) if quick else (100, 64, 700, 256)
    for chunk in (0, 3 if quick else 10):
        given = work(lif)
        weight = torch.randint(-16, 17, (n, n_in)).float() / 2
        x, g = (torch.rand(steps, batch, n_in) < 0.05).float(), torch.randn(steps, batch, n)
        state, ends = [torch.zeros(batch, n)], [torch.randn(batch, n)]
        found = []
        for kernels, at in ((linear_cpu, torch.device("cpu")), (linear_cuda, device)):
            numbers = (given.forward, given.backward)
            call = Call(given.plan.key, x.to(at), weight.to(at), None, [s.to(at) for s in state], [], *numbers, chunk)
            outputs = kernels.forward(call)
            grads = [g.to(at), *(e.to(at) for e in ends)]
            back = kernels.backward(run_layer.save(call, outputs), (True, True, False), grads)
            found.append((outputs.out, back[0], back[1]))
        (wanted, g_x, g_weight), (got, got_g_x, got_g_weight) = found
        case = f"lif, {f'borders every {chunk} steps' if chunk else 'every value kept'}"
        yield Parity("run_layer", f"{case}: output", away(got, wanted), 0.0)
        yield Parity("run_layer_backward", f"{case}: weight", away(got_g_weight, g_weight), 1e-5)
        yield Parity("run_layer_backward", f"{case}: input", away(got_g_x, g_x), 1e-5)


def loop(core: Core, leaves: dict[str, Tensor], numbers: dict[str, Any]) -> tuple[Tensor, ...]:
    """Run a recurrent layer by its definition; return output and states."""
    heads, n, _ = leaves["weight"].shape
    z, state, outputs = leaves["z0"], tuple(leaves[k] for k in core.state), []
    for driven in leaves["drive"]:
        comes_back = torch.einsum("hij,bhj->bhi", leaves["weight"], z.view(-1, heads, n)).reshape(z.shape)
        z, *new = core(driven + comes_back, *state, **numbers)
        state = tuple(new)
        outputs.append(z)
    return (torch.stack(outputs), *state)


def recurrent(device: torch.device, quick: bool) -> Iterator[Parity]:
    """Compare with the loop over steps in single precision; weights and currents are multiples of 1/64.

    The sum over spikes is then exact in any order, and so are the spikes, for any method of the product.
    """
    sizes = [(1, 16), (2, 17)] if quick else [(1, 128), (4, 50), (1, 256), (1, 700)]
    steps, batch = (4, 3) if quick else (50, 20)
    for core in (lif, cubalif, alif):
        given = work(core)
        numbers: dict[str, Any] = {k: 0.9 for k in core.coefficients if k not in core.parameters}
        numbers |= {k: core.parameters[k].default for k in core.coefficients if k in core.parameters}
        numbers |= {k: v for k, v in {"spike": ns.atan(2.0), "reset": Reset()}.items() if k in core.wants}
        for heads, n in sizes:
            for dtype in (torch.float32, torch.bfloat16):
                yield from _recurrent(device, core, given, numbers, (steps, batch, heads, n), dtype)


def _recurrent(
    device: torch.device, core: Core, given: Work, numbers: dict[str, Any], size: tuple[int, ...], dtype: torch.dtype
) -> Iterator[Parity]:
    steps, batch, heads, n = size
    width = heads * n
    drive = _grid(torch.randn(steps, batch, width) * 5.0, 4)
    weight = _grid(torch.randn(heads, n, n) * 3.0 * n**-0.5, 4 if dtype == torch.bfloat16 else 64)
    z0, g = (torch.rand(batch, width) < 0.2).double(), torch.randn(steps, batch, width).to(dtype).double()
    leaves = {"drive": drive, "weight": weight, "z0": z0}
    leaves |= {k: torch.zeros(batch, width, dtype=torch.float64) for k in core.state}
    # In single precision as the kernel, so that the same bits decide a spike.
    leaves = {k: v.float().requires_grad_() for k, v in leaves.items()}
    wanted = loop(core, leaves, numbers)
    g_wanted = torch.autograd.grad(wanted[0], [leaves["drive"], leaves["z0"]], g.float())
    there = {k: v.detach().to(device, torch.float32 if k in core.state else dtype) for k, v in leaves.items()}
    state = [there[k] for k in core.state]
    inputs = (there["drive"], there["weight"], there["z0"], state)
    call = recurrent_arguments.Call(given.plan.key, *inputs, [], given.forward, given.backward)
    got = cuda_recurrent.forward(call)
    grads = [g.to(device, dtype), None, *(torch.zeros_like(s) for s in state)]
    found = cuda_recurrent.backward(run_recurrent.save(call, got), grads)
    case = f"{core.name} {_name(dtype)} {heads} x {n}"
    one_kernel = cuda_recurrent.fits(n, dtype, device)
    # In single steps a current in half precision is rounded before use, so spikes may differ.
    if one_kernel or dtype == torch.float32:
        apart = (got.out.cpu().float() != wanted[0]).double().mean().item()
        yield Parity("run_recurrent", f"{case}: spikes", apart, 1e-4)
        allowed = 1e-3 if dtype == torch.float32 else 40 * LAST_PLACE[dtype]
        for name, a, b in zip(("drive", "first spikes"), found, g_wanted, strict=False):
            yield Parity("run_recurrent_backward", f"{case}: {name}", away(a, b), allowed)


def graphs(device: torch.device, quick: bool) -> Iterator[Parity]:
    """Compare the results of a captured graph with those of the same calls outside of one."""
    given = work(lif)
    i = torch.randn(20, 16, 100, device=device) * 20.0
    start = [torch.zeros(16, 100, device=device)]

    def both() -> list[Tensor]:
        call = neuron_arguments.Call(given.plan.key, [i], start, [], given.forward, given.backward)
        run = cuda.forward(call)
        back = cuda.backward(run_core.save(call, run), [i, *start])
        return [run.out, *run.state, *run.stored, *back.inputs, *back.state]

    wanted = [x.clone() for x in both()]
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        got = both()
    for x in got:
        x.zero_()
    graph.replay()
    yield Parity("CUDA graph", "run_core", max(map(away, got, wanted)), 0.0)

    wide = cuda_recurrent_source.WIDEST["float32"] + 22
    drive = torch.randn(10, 5, wide, device=device) * 5.0
    weight = torch.randn(1, wide, wide, device=device) * wide**-0.5
    zeros = torch.zeros(5, wide, device=device)
    call = recurrent_arguments.Call(given.plan.key, drive, weight, zeros, [zeros], [], given.forward, given.backward)
    runs = []
    for _ in range(3):
        run = cuda_recurrent.forward(call)
        runs.append([x.clone() for x in (run.out, *run.state, *run.stored)])
    yield Parity("CUDA graph", "recurrent, step by step", max(map(away, runs[2], runs[0])), 1e-6)


def _grid(x: Tensor, parts: int) -> Tensor:
    return (x * parts).round().double() / parts


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def as_record(each: Parity) -> dict[str, Any]:
    """Return a comparison as a record."""
    return {**vars(each), "holds": each.holds}


def networks(device: torch.device, quick: bool) -> Iterator[Parity]:
    """Compare networks with synapses that torch computes with the same on the CPU: weights on a grid, exact sums."""
    torch.manual_seed(1)
    steps, batch = (4, 2) if quick else (30, 8)
    made: dict[str, ns.Network] = {
        "convolution": ns.Sequential(
            ns.Input((2, 8, 8)), ns.Conv2d(2, 4, 3), ns.LIF(), ns.Flatten(), ns.LIF(), dt=1e-3
        ),
        "sparse": ns.Sequential(ns.Sparse.random(40, 30, density=0.2), ns.LIF(), dt=1e-3),
        "recurrent": ns.Network(
            {"in": ns.Input(40), "r": ns.LIF()},
            [ns.Edge("in", "r", ns.Linear(40, 24), delay=2e-3), ns.Edge("r", "r", ns.Linear(24, 24))],
            dt=1e-3,
        ),
    }
    for name, net in made.items():
        with torch.no_grad():
            for weight in net.parameters():
                weight.copy_((weight * 64 * 8).round() / 64)
        (shape,) = (tuple(node.shape) for node in net.nodes.values() if isinstance(node, ns.Input))
        x = (torch.rand(steps, batch, *shape) < 0.2).float()
        wanted, _ = net(x)
        got, _ = copy.deepcopy(net).to(device)(x.to(device), recompute=name == "recurrent")
        yield Parity("network", name, away(got, wanted), 0.0)


def all_of(device: torch.device, quick: bool) -> Iterator[Parity]:
    """Run every comparison; graphs only on a device that has them."""
    torch.manual_seed(0)
    kinds: list[Callable[[torch.device, bool], Iterator[Parity]]] = [cores, events, layers, recurrent, networks]
    if device.type == "cuda":
        kinds.append(graphs)
    for kind in kinds:
        yield from kind(device, quick)
