"""Measurements in a separate process: ``python -m benchmarks.fresh '{"measure": ...}'`` prints JSON.

Nothing is imported before a measurement starts, since import time is measured too.
"""

from __future__ import annotations

import ctypes
import functools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.nets import Task

_START = time.perf_counter()
ROOT = Path(__file__).resolve().parent.parent


class FreshError(Exception):
    """The process failed; the message is the end of its output."""


def measured(measure: str, **what: Any) -> dict[str, Any]:
    """Run one of the functions below in a fresh process and return its result."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.fresh", json.dumps({"measure": measure, **what})],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise FreshError(f"{measure} {what} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def peak(contender: str, task: str, options: dict[str, Any], calls: int = 1) -> dict[str, Any]:
    """Return the additional memory of a step, and its seconds.

    `contender` is one of `libraries.CONTENDERS` or of `RULES`. Before the step the process has created the network and
    the input and run a step of T = 2. The result of a rule, the output over all steps, is not counted, nor is the
    input. The memory is that of the first of `calls` steps, the seconds are their median.
    """
    import gc

    from benchmarks.nets import TASKS

    full, short = TASKS[task](**options), TASKS[task](**{**options, "steps": 2})
    warm, run = (_rule_steps if contender in RULES else _library_steps)(contender, short, full)
    warm()
    gc.collect()
    before = _reset_peak()
    start = time.perf_counter()
    handed_back = run() or 0
    taken, highest = [time.perf_counter() - start], _peak()
    for _ in range(calls - 1):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return {"peak_bytes": highest - before - handed_back, "median_s": statistics.median(taken), "calls": calls}


def peaks(processes: int = 3, **what: Any) -> dict[str, Any]:
    """Return the medians of `peak` over fresh processes: about one in five reuses memory that it has just freed."""
    found = [measured("peak", **what) for _ in range(processes)]
    return {
        **{key: statistics.median(each[key] for each in found) for key in ("peak_bytes", "median_s")},
        "calls": found[0]["calls"],
        "peaks_bytes": [each["peak_bytes"] for each in found],
    }


def peak_bytes(contender: str, task: str, options: Mapping[str, Any]) -> int:
    """Return the memory of one step, measured in fresh processes."""
    return peaks(contender=contender, task=task, options=dict(options))["peak_bytes"]


def _library_steps(contender: str, *tasks: Task) -> list[Callable[[], int | None]]:
    from benchmarks.libraries import build
    from benchmarks.step import training_step

    net = build(contender, tasks[0].layers)
    return [training_step(net, task) for task in tasks]


# neurosim's rules by the name of their contender: class and arguments.
RULES: dict[str, tuple[str, dict[str, Any]]] = {
    "neurosim, BPTT": ("BPTT", {}),
    "neurosim, BPTT recompute": ("BPTT", {"recompute": True}),
    "neurosim, SLTT": ("SLTT", {}),
}


def _rule_steps(contender: str, *tasks: Task) -> list[Callable[[], int | None]]:
    import neurosim as ns
    from benchmarks.libraries import ours

    kind, choices = RULES[contender]
    rule, net = getattr(ns, kind)(**choices), ours.network(tasks[0].layers).net

    def step(task: Task) -> int:
        for each in net.parameters():
            each.grad = None
        _, output = rule.gradients(net, task.x, task.target, ns.CrossEntropy())
        return output.numel() * output.element_size()

    return [functools.partial(step, task) for task in tasks]


def _status(field: str) -> int:
    """Return a size in bytes from the kernel's statistics of this process."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no entry {field}.")


def _reset_peak() -> int:
    """Reset the peak memory and return the current memory, in bytes."""
    if sys.platform != "linux":
        import resource

        # Elsewhere the peak since the start is used for the current memory: it is the larger of the two.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    # Memory freed by the imports would otherwise be reused and not be counted. Not every C library can return it.
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if give_back is not None:
        give_back(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _status("VmRSS")


def _peak() -> int:
    return _status("VmHWM") if sys.platform == "linux" else _reset_peak()


def cold(contender: str, options: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Return the seconds from the first import to the end of the first step, and those of a step of another size.

    `compiled` counts what was compiled in each: engines of llvmlite, or graphs of torch.compile; None where nothing is
    compiled.
    """
    from benchmarks.libraries import build
    from benchmarks.nets import feedforward
    from benchmarks.step import training_step

    if contender == "torch.compile":
        import torch._inductor.config

        torch._inductor.config.force_disable_caches = True
    task = feedforward(**options)
    net = build(contender, task.layers)
    imported = time.perf_counter() - _START
    compiled = _counter(contender)
    training_step(net, task)()
    first, at_first = time.perf_counter() - _START, compiled()
    other = feedforward(**second)
    start = time.perf_counter()
    training_step(net, other)()
    again, at_second = time.perf_counter() - start, compiled()
    return {
        "import_and_build_s": imported,
        "first_step_s": first,
        "second_size_s": again,
        "compiled_first": at_first,
        "compiled_second": None if at_first is None or at_second is None else at_second - at_first,
    }


def _counter(contender: str) -> Any:
    if contender.startswith("neurosim"):
        import llvmlite.binding as binding

        made = []

        def counted(function: Any) -> Any:
            def call(*arguments: Any, **named: Any) -> Any:
                made.append(function.__name__)
                return function(*arguments, **named)

            return call

        for name in ("create_mcjit_compiler", "create_lljit_compiler"):
            if hasattr(binding, name):
                setattr(binding, name, counted(getattr(binding, name)))
        return lambda: len(made)
    if contender == "torch.compile":
        from torch._dynamo.utils import counters

        return lambda: int(counters["stats"]["unique_graphs"])
    return lambda: None


def main() -> None:
    """Run the measurement given as JSON."""
    what = json.loads(sys.argv[1])
    measure = what.pop("measure")
    print(json.dumps(peak(**what) if measure == "peak" else cold(**what)))


if __name__ == "__main__":
    main()
