"""The parts of the GPU run: each yields records, which are written as they come."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import gpu_parity, machine, nets
from benchmarks.gpu_circuits import circuits
from benchmarks.gpu_clock import PRECISIONS, Clock, Matmul, Run, figure, rates, share

Record = dict[str, Any]
Rates = dict[str, Any]


def smoke(clock: Clock, known: Rates, quick: bool) -> Iterator[Record]:
    """Say what runs here, and run one small layer: Triton compiles, launches and gives the right numbers."""
    yield {"fact": "machine", **machine.facts(), **_device_facts(clock.device)}
    case = next(gpu_parity.cores(clock.device, quick=True))
    yield {"fact": "first kernel", **gpu_parity.as_record(case)}


def _device_facts(device: torch.device) -> Record:
    found: Record = {"triton": machine.version("triton"), "cuda": torch.version.cuda, "hip": torch.version.hip}
    found["tf32"] = [torch.get_float32_matmul_precision(), str(torch.backends.cudnn.allow_tf32)]
    if device.type != "cuda":
        return {**found, "device": "Triton's interpreter: no times"}
    properties: Any = torch.cuda.get_device_properties(device)
    found |= {"device": properties.name, "capability": [properties.major, properties.minor]}
    found |= {name: getattr(properties, name, None) for name in ("multi_processor_count", "total_memory")}
    found["shared_memory"] = getattr(properties, "shared_memory_per_block_optin", None)
    if shutil.which("nvidia-smi"):
        query = "driver_version,clocks.sm,clocks.mem,clocks.max.sm,power.limit,temperature.gpu"
        command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        found["nvidia-smi"] = dict(zip(query.split(","), done.stdout.strip().split(", "), strict=False))
    return found


def device_rates(clock: Clock, known: Rates, quick: bool) -> Iterator[Record]:
    """Measure the rates of the device, which the others are compared with."""
    yield rates(clock, quick)


def parity(clock: Clock, known: Rates, quick: bool) -> Iterator[Record]:
    """Compare every operator with its reference."""
    for each in gpu_parity.all_of(clock.device, quick):
        yield gpu_parity.as_record(each)


def neurons(clock: Clock, known: Rates, quick: bool, others: Sequence[Record] = ()) -> Iterator[Record]:
    """Time the fused LIF forward and backward, as shares of the copy bandwidth."""
    from neurosim.cores import lif as core
    from neurosim.kernels.neurons import cuda
    from neurosim.kernels.neurons.arguments import Call

    given = gpu_parity.work(core)
    shapes = [(4, 2, 17)] if quick else [(100, 64, 256), (500, 64, 4096)]
    for shape in shapes:
        for dtype in (torch.float32, torch.bfloat16):
            i = (torch.randn(shape, device=clock.device) * 20.0).to(dtype)
            start = [torch.zeros(shape[1:], device=clock.device)]
            call = Call(given.plan.key, [i], start, [], given.forward, given.backward)
            out, (after,), (kept,) = cuda.forward(call)
            back = torch.empty_like(i)
            directions: dict[str, tuple[list[Tensor], list[float], int]] = {
                "forward": ([i, out, kept, *start, after], given.forward, 3),
                "backward": ([i, back, kept, *start, after], given.backward, 3),
            }
            for direction, (arrays, numbers, large) in directions.items():
                name = cuda.REAL[dtype]
                kernel = cuda.compiled(given.plan.key, name, direction == "backward", cuda.interpreted())
                moved = float(sum(x.numel() * x.element_size() for x in arrays[:large]))
                used = cuda.tiling(i[0].numel(), dtype)
                for tiling in others or [used]:
                    run = partial(cuda.launch, kernel, arrays, numbers, **tiling)
                    times = clock(run)
                    operator = "run_core" if direction == "forward" else "run_core_backward"
                    case = {"operator": operator, "shape": list(shape), "dtype": name, "bytes": moved, **tiling}
                    case |= {} if others else {"launches": clock.launches(run)}
                    yield figure(times, **case, **share(times, moved, known.get("copy_bytes_per_s")))


def sweep(clock: Clock, known: Rates, quick: bool) -> Iterator[Record]:
    """Time the same kernels with other numbers of steps in flight, neurons of a thread, and warps."""
    counts = [(2, 1, 1)] if quick else [(a, e, w) for w in (1, 4, 8) for a in (4, 8, 16) for e in (1, 2, 4)]
    tilings: list[Record] = [{"AHEAD": a, "EACH": e, "BLOCK": 32 * w * e, "num_warps": w} for a, e, w in counts]
    yield from neurons(clock, known, quick, tilings)


def products(clock: Clock, known: Rates, quick: bool) -> Iterator[Record]:
    """Time dense and event-driven products over the input rate; dense ones as shares of the matrix rate."""
    from neurosim.kernels.linear import cuda_events
    from neurosim.kernels.linear.policy import gathering_is_faster

    shapes = [(6, 70, 17)] if quick else [(6400, 700, 256), (16, 700, 256), (8000, 4096, 4096)]
    chances = (0.1,) if quick else (0.001, 0.003, 0.01, 0.03, 0.1)
    for rows, n_in, n_out in shapes:
        size = {"rows": rows, "n_in": n_in, "n_out": n_out}
        for name, dtype, precision in PRECISIONS:
            weight, g, x = (
                torch.randn(n, m, device=clock.device).to(dtype)
                for n, m in ((n_in, n_out), (rows, n_out), (rows, n_in))
            )
            dense: dict[str, Run] = {
                "forward": partial(torch.mm, x, weight),
                "weight gradient": partial(torch.mm, x.T, g),
                "input gradient": partial(torch.mm, g, weight.T),
            }
            with Matmul(precision):
                for product, run in dense.items():
                    times = clock(run)
                    part = share(times, 2.0 * rows * n_in * n_out, known.get(f"{name}_flop_per_s"))
                    yield figure(times, operator="dense product", product=product, dtype=name, **size, **part)
            if name == "tf32":
                continue
            for chance in chances:
                spikes = (torch.rand(rows, n_in, device=clock.device) < chance).to(dtype)
                bits = cuda_events.pack(spikes)
                events: dict[str, Run] = {
                    "pack": partial(cuda_events.pack, spikes),
                    "gather": partial(cuda_events.gather, bits, None, weight),
                    "scatter": partial(cuda_events.scatter, bits, None, g, n_in),
                }
                expected = gathering_is_faster(rows, n_in, n_out, chance, dtype)
                for operator, run in events.items():
                    case = {"operator": operator, "dtype": name, "rate": chance, "launches": clock.launches(run)}
                    yield figure(clock(run), **case, **size, expected_to_pay=expected)


def recurrent(clock: Clock, known: Rates, quick: bool) -> Iterator[Record]:
    """Time recurrent LIF layers, per step, and cuDNN's LSTM of the same width beside them."""
    from neurosim.cores import lif as core
    from neurosim.kernels.recurrent import cuda as cuda_recurrent
    from neurosim.kernels.recurrent.operator import Call, run_recurrent

    given = gpu_parity.work(core)
    steps, batch = (3, 2) if quick else (1000, 16)
    for width in (16, 17) if quick else (128, 256, 768):
        for dtype in (torch.float32, torch.bfloat16):
            drive = (torch.randn(steps, batch, width, device=clock.device) * 15.0).to(dtype)
            weight = (torch.randn(1, width, width, device=clock.device) * width**-0.5).to(dtype)
            z0 = torch.zeros_like(drive[0])
            state = [torch.zeros(batch, width, device=clock.device)]

            call = Call(given.plan.key, drive, weight, z0, state, [], given.forward, given.backward)
            forward = partial(cuda_recurrent.forward, call)
            backward = partial(cuda_recurrent.backward, run_recurrent.save(call, forward()), [drive, None, *state])
            way = "one kernel" if cuda_recurrent.fits(width, dtype, clock.device) else "captured graph"
            for direction, run in (("forward", forward), ("backward", backward)):
                times = clock.elapsed(run)
                case: Record = {"operator": "run_recurrent" if direction == "forward" else "run_recurrent_backward"}
                case |= {"width": width, "batch": batch, "steps": steps, "dtype": str(dtype)[6:], "way": way}
                step = {} if times is None else {"us_per_step": 1e6 * times.median / steps}
                yield figure(times, **case, **step, launches=clock.launches(run))
    for width in (16,) if quick else (128, 256, 768):
        lstm, x = nn.LSTM(width, width).to(clock.device), torch.randn(steps, batch, width, device=clock.device)
        times = clock.elapsed(partial(lstm, x))
        step = {} if times is None else {"us_per_step": 1e6 * times.median / steps}
        yield figure(times, operator="torch LSTM", width=width, batch=batch, steps=steps, dtype="float32", **step)


def train_step(clock: Clock, known: Rates, quick: bool) -> Iterator[Record]:
    """Time a training step of 700-256-256-20: as called, its host alone, its replayed graph; and SpikingJelly's."""
    small: dict[str, Any] = {"steps": 5, "batch": 2, "sizes": (30, 16, 16, 5)} if quick else {}
    for rate in (0.05,) if quick else (0.01, 0.05, 0.2):
        task = nets.feedforward(rate, **small)
        yield from _steps_of(
            clock, task, f"train-step, {rate:g} of the inputs spike", SPIKINGJELLY if rate == 0.05 else {}
        )


def other_steps(clock: Clock, known: Rates, quick: bool) -> Iterator[Record]:
    """Time training steps of a recurrent and of a convolutional network."""
    small: dict[str, Any] = {"steps": 5, "batch": 2, "sizes": (30, 16, 5)} if quick else {}
    yield from _steps_of(clock, nets.recurrent(**small), "recurrent-step", {})
    small = {"steps": 2, "batch": 1} if quick else {}
    yield from _steps_of(clock, nets.conv(**small), "conv-step", {})


def _steps_of(
    clock: Clock, task: nets.Task, name: str, peers: dict[str, Callable[[nn.Module], Any]]
) -> Iterator[Record]:
    from benchmarks.libraries import ours

    x = task.x.to(clock.device)
    target = None if task.target is None else task.target.to(clock.device)
    net: Any = ours.network(task.layers).to(clock.device)
    spikes = net(x)
    step = partial(_step, net, x, _loss(target))
    case = {"operator": "training step", "work": name, "contender": "neurosim"}
    yield figure(clock.elapsed(step), **case, measured="call to end", launches=clock.launches(step))
    yield figure(clock.queued(step), **case, measured="host alone")
    yield figure(clock.replayed(step), **case, measured="replayed graph", peak_bytes=_peak(clock, step))
    for peer, prepare in peers.items():
        case |= {"contender": peer}
        try:
            from benchmarks.libraries import spikingjelly

            other = prepare(spikingjelly.network(task.layers).to(clock.device))
            agree = (other(x) == spikes).float().mean().item()
            yield figure(clock.elapsed(partial(_step, other, x, _loss(target))), **case, spikes_that_agree=agree)
        except Exception as error:  # a peer may fail for any reason, which is reported
            yield {**case, "missing": f"{type(error).__name__}: {str(error).splitlines()[:1]}"}


def _loss(target: Tensor | None) -> Callable[[Tensor], Tensor]:
    return lambda out: out.mean() if target is None else functional.cross_entropy(out.mean(0), target)


def _step(net: Any, x: Tensor, loss: Callable[[Tensor], Tensor]) -> None:
    for each in net.parameters():
        each.grad = None
    loss(net(x)).backward()


def _peak(clock: Clock, run: Run) -> int | None:
    if not clock.keeps_time:
        return None
    torch.cuda.reset_peak_memory_stats()
    run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated()


def _compiled(net: nn.Module) -> Any:
    if next(net.parameters()).device.type != "cuda":
        raise RuntimeError("compared on GPUs only")
    return torch.compile(net)


# SpikingJelly 2 selects its kernels: its CUDA code if built with it, Triton under torch.compile.
SPIKINGJELLY: dict[str, Callable[[nn.Module], Any]] = {
    "SpikingJelly": lambda net: net,
    "SpikingJelly, torch.compile": _compiled,
}


def failing(clock: Clock, known: Rates, quick: bool) -> Iterator[Record]:
    """Fail after a first record: a dry run shows that the record is kept and the other parts run."""
    yield {"operator": "none", "case": "before the failure"}
    raise RuntimeError("this part fails on purpose")


def dying(clock: Clock, known: Rates, quick: bool) -> Iterator[Record]:
    """End the process after a first record, as an illegal access does."""
    yield {"operator": "none", "case": "before the end of the process"}
    os.abort()


Part = Callable[[Clock, Rates, bool], Iterator[Record]]
# In the order of the run: what is wanted most comes first. Seconds that each may take, of the 480 of the run.
PARTS: dict[str, tuple[Part, int]] = {
    "smoke": (smoke, 60),
    "rates": (device_rates, 40),
    "train_step": (train_step, 90),
    "parity": (parity, 150),
    "neurons": (neurons, 60),
    "recurrent": (recurrent, 90),
    "circuits": (circuits, 150),
    "products": (products, 60),
    "other_steps": (other_steps, 90),
    "sweep": (sweep, 120),
}
ON_PURPOSE: dict[str, tuple[Part, int]] = {"failing": (failing, 60), "dying": (dying, 60)}
