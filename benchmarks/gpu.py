"""Parity and speed of the CUDA kernels on one GPU, in less than 8 minutes.

``python -m benchmarks.gpu --json FILE``. Every time is compared with the measured rates of the device: a copy in
memory, a product of matrices. Without a GPU, ``TRITON_INTERPRET=1 python -m benchmarks.gpu --quick`` runs everything
once in Triton's interpreter at tiny sizes, without times.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import machine, nets
from benchmarks.timing import ImplausibleError, Times
from neurosim.files.atomic import replaced

Run = Callable[[], object]
MARGIN = 1.1  # a fraction of the device's rate above this is a wrong measurement


class Clock:
    """Times of calls on a device, each with cold caches.

    Parameters
    ----------
    device : torch.device
        A GPU; on the CPU, with the interpreter, every run is called once and not timed.
    calls : int
        Number of timed calls.
    """

    def __init__(self, device: torch.device, calls: int = 20) -> None:
        self.device, self.calls = device, calls
        self.keeps_time = device.type == "cuda"
        # Filling it evicts everything else from the second-level cache, and gives the host time to queue the call.
        self._other = torch.empty(512 << 20 if self.keeps_time else 0, dtype=torch.uint8, device=device)

    def __call__(self, run: Run) -> Times | None:
        """Return the times of `run` on the device, without the launch on the host."""
        if not self.keeps_time:
            run()
            return None
        for _ in range(3):
            run()
        found = []
        for _ in range(self.calls):
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            self._other.zero_()
            begin.record()
            run()
            end.record()
            found.append((begin, end))
        torch.cuda.synchronize()
        return Times(tuple(sorted(begin.elapsed_time(end) * 1e-3 for begin, end in found)))

    def elapsed(self, run: Run) -> Times | None:
        """Return the times of `run` from the call to the end of the work."""
        if not self.keeps_time:
            run()
            return None
        for _ in range(3):
            run()
        found = []
        for _ in range(self.calls):
            torch.cuda.synchronize()
            start = time.perf_counter()
            run()
            torch.cuda.synchronize()
            found.append(time.perf_counter() - start)
        return Times(tuple(sorted(found)))


def figure(times: Times | None, **known: Any) -> dict[str, Any]:
    """Return the record of a measurement."""
    return {**known, **({} if times is None else times.as_json())}


def share(times: Times | None, amount: float, rate: float | None) -> dict[str, float]:
    """Return `amount` over the median time, as a fraction of `rate`.

    Raises
    ------
    ImplausibleError
        When the fraction exceeds 1 by more than the tolerance.
    """
    if times is None or rate is None:
        return {}
    found = amount / times.median / rate
    if found > MARGIN:
        raise ImplausibleError(f"{found:.2f} of the device's rate: the clock or the count is wrong.")
    return {"share": found}


def rates(clock: Clock, quick: bool) -> dict[str, Any]:
    """Measure the device: bytes/s of a copy, FLOP/s of square products."""
    n, width = (1 << 10, 64) if quick else (1 << 28, 8192)
    a = torch.randn(n, device=clock.device)
    b = torch.empty_like(a)
    copy = clock(lambda: b.copy_(a))
    found: dict[str, Any] = {"copy_bytes_per_s": copy and 2.0 * a.numel() * a.element_size() / copy.median}
    for name, dtype, precision in PRECISIONS:
        x = torch.randn(width, width, device=clock.device).to(dtype)
        with Matmul(precision):
            times = clock(partial(torch.mm, x, x))
        found[f"{name}_flop_per_s"] = times and 2.0 * width**3 / times.median
    return found


PRECISIONS = (
    ("float32", torch.float32, "highest"),
    ("tf32", torch.float32, "high"),
    ("bfloat16", torch.bfloat16, "highest"),
)


class Matmul:
    """Torch's precision of single-precision products, set inside a ``with`` block."""

    def __init__(self, precision: str) -> None:
        self.precision = precision

    def __enter__(self) -> None:
        self.before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision(self.precision)

    def __exit__(self, *_: object) -> None:
        torch.set_float32_matmul_precision(self.before)


def lif(clock: Clock, device_rates: dict[str, Any], quick: bool) -> list[dict[str, Any]]:
    """Time the fused LIF forward and backward as fractions of the copy bandwidth.

    Other tilings are timed too, the one in use being marked: steps in flight, neurons per thread.
    """
    from benchmarks import gpu_parity
    from neurosim.compiler.triton import source as triton_source
    from neurosim.cores import lif as core
    from neurosim.kernels.neurons import cuda
    from neurosim.kernels.neurons.arguments import Call

    given, found = gpu_parity.work(core), []
    shapes = [(4, 2, 17)] if quick else [(100, 64, 256), (500, 16, 512), (64, 256, 4096)]
    others = [] if quick else [(ahead, each) for ahead in (4, 8, 16, 32) for each in (1, 2, 4)]
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
                tilings = [
                    used,
                    *({"AHEAD": a, "EACH": e, "BLOCK": e * triton_source.THREADS} for a, e in others),
                ]
                for tiling in tilings:
                    times = clock(partial(cuda.launch, kernel, arrays, numbers, **tiling))
                    case = {"shape": list(shape), "dtype": name, "direction": direction, "bytes": moved}
                    case |= {"used": tiling is used, "ahead": tiling["AHEAD"], "each": tiling["EACH"]}
                    found.append(figure(times, **case, **share(times, moved, device_rates["copy_bytes_per_s"])))
    return found


def products(clock: Clock, device_rates: dict[str, Any], quick: bool) -> list[dict[str, Any]]:
    """Time dense and event-driven products over the input rate; dense ones as fractions of the matrix rate."""
    from neurosim.kernels.linear import cuda_events
    from neurosim.kernels.linear.policy import gathering_is_faster

    found: list[dict[str, Any]] = []
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
                    part = share(times, 2.0 * rows * n_in * n_out, device_rates[f"{name}_flop_per_s"])
                    found.append(figure(times, way="dense", product=product, dtype=name, **size, **part))
            if name == "tf32":
                continue
            for chance in chances:
                spikes = (torch.rand(rows, n_in, device=clock.device) < chance).to(dtype)
                bits = cuda_events.pack(spikes)
                events: dict[str, Run] = {
                    "pack": partial(cuda_events.pack, spikes),
                    "forward": partial(cuda_events.gather, bits, None, weight),
                    "weight gradient": partial(cuda_events.scatter, bits, None, g, n_in),
                }
                expected = gathering_is_faster(rows, n_in, n_out, chance, dtype)
                for product, run in events.items():
                    case = {"way": "events", "product": product, "dtype": name, "rate": chance, **size}
                    found.append(figure(clock(run), **case, expected_to_pay=expected))
    return found


def recurrent(clock: Clock, quick: bool) -> list[dict[str, Any]]:
    """Time recurrent LIF layers, per step."""
    from benchmarks import gpu_parity
    from neurosim.cores import lif as core
    from neurosim.kernels.recurrent import cuda as cuda_recurrent
    from neurosim.kernels.recurrent.operator import Call, run_recurrent

    given, found = gpu_parity.work(core), []
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
                case = {"width": width, "batch": batch, "steps": steps, "dtype": str(dtype)[6:], "way": way}
                step = {} if times is None else {"us_per_step": 1e6 * times.median / steps}
                found.append(figure(times, **case, direction=direction, **step))
    return found


def train_step(clock: Clock, quick: bool) -> list[dict[str, Any]]:
    """Time a training step of 700-256-256-20 against SpikingJelly."""
    small: dict[str, Any] = {"steps": 5, "batch": 2, "sizes": (30, 16, 16, 5)} if quick else {}
    found = []
    for rate in (0.05,) if quick else (0.01, 0.05, 0.1, 0.2):
        task = nets.feedforward(rate, **small)
        assert task.target is not None
        x, target = task.x.to(clock.device), task.target.to(clock.device)
        loss = nets.cross_entropy_of_rates(target)
        contenders, missing = _networks(task, clock.device)
        spikes = {name: net(x) for name, net in contenders.items()}
        for name, net in contenders.items():
            agree = (spikes[name] == spikes["neurosim"]).float().mean().item()
            if agree < 0.99:
                raise ImplausibleError(f"{name} agrees with neurosim at only {agree:.3f} of the neuron-steps.")

            case = {"contender": name, "rate": rate, "work": task.work, "spikes_that_agree": agree}
            found.append(figure(clock.elapsed(partial(_step, net, x, loss)), **case))
        found += [{"contender": name, "rate": rate, "missing": why} for name, why in missing.items()]
    return found


def _step(net: Any, x: Tensor, loss: Callable[[Tensor], Tensor]) -> None:
    for each in net.parameters():
        each.grad = None
    loss(net(x)).backward()


def _networks(task: nets.Task, device: torch.device) -> tuple[dict[str, Any], dict[str, str]]:
    """Build the contenders that run here, and return why the others do not.

    SpikingJelly 2 selects its kernels: its CUDA code if built with it, Triton under torch.compile.
    """
    from benchmarks.libraries import ours

    made: dict[str, Any] = {"neurosim": ours.network(task.layers).to(device)}
    missing = {}
    for name, prepare in _SPIKINGJELLY.items():
        try:
            from benchmarks.libraries import spikingjelly

            net = prepare(spikingjelly.network(task.layers).to(device))
            if device.type == "cuda":
                net(task.x[:2].to(device)).sum().backward()
        except Exception as error:  # a peer may fail for any reason, which is reported
            missing[name] = f"{type(error).__name__}: {str(error).splitlines()[:1]}"
        else:
            made[name] = net
    return made, missing


def _compiled(net: torch.nn.Module) -> Any:
    if next(net.parameters()).device.type != "cuda":
        raise RuntimeError("compared on GPUs only")
    return torch.compile(net)


_SPIKINGJELLY: dict[str, Callable[[torch.nn.Module], Any]] = {
    "SpikingJelly": lambda net: net,
    "SpikingJelly, torch.compile": _compiled,
}


def measure(device: torch.device, quick: bool) -> dict[str, Any]:
    """Return parity and all measurements."""
    from benchmarks import gpu_parity

    start, clock = time.perf_counter(), Clock(device)
    torch.manual_seed(0)
    on_gpu = device.type == "cuda"
    result: dict[str, Any] = {
        "device": torch.cuda.get_device_name(device) if on_gpu else "Triton's interpreter: no times",
        **machine.facts(),
        "quick": quick,
    }
    parity = gpu_parity.all_of(device, quick)
    result["parity"] = [{**vars(each), "holds": each.holds} for each in parity]
    result["rates"] = rates(clock, quick)
    result["lif"] = lif(clock, result["rates"], quick)
    result["products"] = products(clock, result["rates"], quick)
    result["recurrent"] = recurrent(clock, quick)
    result["train_step"] = train_step(clock, quick)
    result["seconds"] = time.perf_counter() - start
    return result


def table(result: dict[str, Any]) -> str:
    """Return the result as text."""
    broken = [each for each in result["parity"] if not each["holds"]]
    lines = [
        f"{result['device']}, {result['date']}, torch {result['torch']}: {result['seconds']:.0f} s",
        f"parity: {len(result['parity']) - len(broken)} of {len(result['parity'])} comparisons hold",
        *(
            f"  {each['operator']}, {each['case']}: {each['away']:.2e} away, {each['allowed']:.2e} allowed"
            for each in broken
        ),
    ]
    for name, rate in result["rates"].items():
        lines.append(f"{name}: " + ("not measured" if rate is None else f"{rate:.3e}"))
    for part in ("lif", "products", "recurrent", "train_step"):
        lines.append(f"\n{part}")
        lines += [f"  {_line(each)}" for each in result[part]]
    return "\n".join(lines)


def _line(each: dict[str, Any]) -> str:
    timed = {"median_s", "p10_s", "p90_s", "fastest_s", "calls", "work", "bytes"}
    case = ", ".join(
        f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in each.items()
        if key not in timed
    )
    return f"{1e6 * each['median_s']:10.1f} us  {case}" if "median_s" in each else f"{'':10}     {case}"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description="Check and time the CUDA kernels.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to this file")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to check that everything runs")
    options = parser.parse_args(arguments)
    device = _device(options.quick)
    if device is None:
        print(
            "benchmarks.gpu: torch sees no CUDA device, so there is nothing to measure. To run the same kernels at "
            "tiny sizes in Triton's interpreter: TRITON_INTERPRET=1 python -m benchmarks.gpu --quick",
            file=sys.stderr,
        )
        return 2
    try:
        result = measure(device, options.quick)
    except ImplausibleError as error:
        print(f"benchmarks.gpu is wrong: {error}", file=sys.stderr)
        return 1
    print(table(result))
    if options.json:
        with replaced(options.json) as part:
            part.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if not all(each["holds"] for each in result["parity"]):
        print("benchmarks.gpu: the kernels do not agree with their definition.", file=sys.stderr)
        return 1
    return 0


def _device(quick: bool) -> torch.device | None:
    from neurosim.kernels.neurons.cuda import interpreted

    if torch.cuda.is_available() and not interpreted():
        return torch.device("cuda")
    return torch.device("cpu") if quick and interpreted() else None


if __name__ == "__main__":
    raise SystemExit(main())
