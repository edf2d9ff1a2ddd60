"""Learning rules: memory against the length of the run, and time against a plain loop."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from benchmarks.activations import Alive
from benchmarks.options import Options
from benchmarks.plain_rules import CLASSES, RULES, Sizes, pair
from benchmarks.timing import ImplausibleError, Times, interleaved

NAME = "rules"
BATCH = 32


def batch(steps: int, sizes: Sizes) -> tuple[Tensor, Tensor]:
    """Return spikes [T, B, N] at 5 % and classes."""
    generator = torch.Generator().manual_seed(1)
    x = (torch.rand(steps, BATCH, sizes[0], generator=generator) < 0.05).float()
    return x, torch.randint(CLASSES, (BATCH,), generator=generator)


def peak(name: str, steps: int, sizes: Sizes) -> int:
    """Return the peak of the bytes that a rule allocates for one batch.

    The ten outputs are not counted: every rule returns the output of the whole run.
    """
    x, y = batch(steps, sizes)
    call = pair(name, sizes).ours
    call(*batch(4, sizes))  # for objects created once, such as kernels
    with Alive(lambda tensor: tensor.shape[-1:] != (CLASSES,)) as alive:
        call(x, y)
    return alive.peak


def agreement(name: str, steps: int, sizes: Sizes) -> float:
    """Return the cosine between the results of a rule and its plain loop."""
    both = pair(name, sizes)
    x, y = batch(steps, sizes)
    found, wanted = (torch.cat([part.flatten() for part in call(x, y)]) for call in (both.ours, both.plain))
    return torch.cosine_similarity(found.double(), wanted.double(), dim=0).item()


def compared(name: str, steps: int, sizes: Sizes, rounds: int, calls: int) -> dict[str, Times]:
    """Time a rule and its plain loop in turns, in one thread each; processor time in s."""
    both, given = pair(name, sizes), batch(steps, sizes)
    contenders = {"neurosim": lambda: both.ours(*given), "plain loop": lambda: both.plain(*given)}
    slow = {"plain loop": rounds} if name == "e-prop" else None
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return interleaved(contenders, rounds, calls, slow=slow, clock=time.process_time)
    finally:
        torch.set_num_threads(threads)


def measure(options: Options) -> dict[str, Any]:
    """Return peaks in bytes by rule and number of steps, and times in seconds."""
    lengths, sizes = ((10, 30), (40, 16, CLASSES)) if options.quick else ((10, 100, 1000), (784, 128, CLASSES))
    steps, rounds, calls = (20, 1, 1) if options.quick else (100, 2, 3)
    found: dict[str, Any] = {}
    for name in options.chosen(list(RULES)):
        same = agreement(name, steps, sizes)
        if same < 0.999:
            raise ImplausibleError(f"{name} and its plain loop have different results: their cosine is {same:.4f}.")
        peaks = {str(t): peak(name, t, sizes) for t in lengths}
        times = compared(name, steps, sizes, rounds, calls)
        found[name] = {
            "peak_bytes": peaks,
            "longest_over_shortest": peaks[str(lengths[-1])] / peaks[str(lengths[0])],
            "agreement": same,
            **{contender: each.as_json() for contender, each in times.items()},
        }
    work = f"{sizes[0]}-{sizes[1]}-{CLASSES}, batch {BATCH}, spikes at 5 %"
    return {"work": work, "steps": steps, "rules": found}


def table(result: dict[str, Any]) -> str:
    """Return the result as text."""
    rules = result["rules"]
    lengths = list(next(iter(rules.values()))["peak_bytes"])
    lines = [f"Peak memory for one batch, and processor time at T = {result['steps']}: {result['work']}"]
    heads = "".join(f"{'T = ' + t:>13}" for t in lengths)
    lines.append(f"{'':24}{heads}{'last/first':>12}{'neurosim':>12}{'plain loop':>12}{'plain/ours':>12}")
    for name, each in rules.items():
        sizes = "".join(f"{each['peak_bytes'][t] / 1e6:10.2f} MB" for t in lengths)
        ours, plain = each["neurosim"]["median_s"], each["plain loop"]["median_s"]
        ratio = each["longest_over_shortest"]
        lines.append(f"{name:24}{sizes}{ratio:12.2f}{ours * 1e3:9.1f} ms{plain * 1e3:9.1f} ms{plain / ours:12.2f}")
    return "\n".join(lines)
