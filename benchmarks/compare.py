"""One task, all contenders: agreement, time, memory, and the floors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks import floors, fresh, step
from benchmarks.libraries import CONTENDERS, UnavailableError, build, ours
from benchmarks.nets import TASKS, Task
from benchmarks.timing import ImplausibleError, interleaved, seconds

PRODUCTS = "products only"
SILENT, BUSY = 0.001, 0.5
AGREEMENT = 0.999
WARMS_UP_S = 5.0
SLOW_START = {"torch.compile": "not in a quick run: compilation takes half a minute"}


def compare(
    task_name: str,
    options: Mapping[str, Any],
    *,
    rounds: int,
    calls: int,
    omitted: Mapping[str, str] | None = None,
    limit_s: float = 60.0,
    budget_s: float = 20.0,
    peaks: bool = True,
    quick: bool = False,
) -> dict[str, Any]:
    """Measure one training step of every contender.

    Parameters
    ----------
    task_name, options
        Key of `benchmarks.nets.TASKS` and its arguments.
    rounds, calls
        As in `benchmarks.timing.interleaved`.
    omitted
        Excluded contenders, and why. Those that cannot run here, or take longer than `limit_s`, are added.
    limit_s, budget_s
        Limits of one call, and of all calls of a contender: a slow one is called less often.
    peaks
        Also measure the memory of each, in a separate process.
    quick
        Omit what takes long at any size: memory, and compilation.

    Raises
    ------
    ImplausibleError
        When a contender computes something else, or takes less time than its spikes need.
    """
    task = TASKS[task_name](**options)
    missing = {**(omitted or {}), **(SLOW_START if quick else {})}
    with torch.no_grad():
        wanted = ours.reference(task.layers, task.x)
    rates = _rates(wanted)
    gradient = _gradient(build("plain loop", task.layers), task)
    before, warm_up = floors.machine(task.x), 1 if calls == 1 else 2
    runs: dict[str, Callable[[], object]] = {}
    slow: dict[str, int] = {}
    facts: dict[str, dict[str, Any]] = {}
    for name in CONTENDERS:
        if name in missing:
            continue
        try:
            net = build(name, task.layers)
        except UnavailableError as error:
            missing[name] = str(error)
            continue
        if hasattr(net, "ready"):
            net.ready(task.x[:2])
        run = step.training_step(net, task)
        taken = seconds(run)
        if taken > limit_s:
            missing[name] = f"one step took {taken:.0f} s, more than {limit_s:.0f} s"
            continue
        turns = warm_up + rounds * (1 + calls)
        if taken * turns > budget_s and taken < WARMS_UP_S:
            taken = min(taken, seconds(run))  # the first call may have been slow because it loads code
        if taken * turns > budget_s:
            slow[name] = min(max(int(budget_s / taken), 1), rounds)
        facts[name] = {
            "spikes_that_agree": _agreement(name, net, task, wanted),
            "gradient_cosine": F.cosine_similarity(net.gradient().flatten(), gradient.flatten(), dim=0).item(),
            "differs": CONTENDERS[name].differs,
        }
        if hasattr(net, "compile_s"):
            facts[name]["compile_s"] = net.compile_s
        runs[name] = run
    runs[PRODUCTS] = step.products(task, wanted)
    times = interleaved(runs, rounds, calls, warm_up, slow)
    after = floors.machine(task.x)
    at = floors.Machine(max(before.flops_per_s, after.flops_per_s), max(before.bytes_per_s, after.bytes_per_s))
    needs = floors.needs(task, wanted)
    peers = {name: each.median for name, each in times.items() if name in facts and not CONTENDERS[name].ours}
    best = min(peers, key=peers.__getitem__)
    contenders = {}
    for name, each in times.items():
        compact = name in facts and CONTENDERS[name].compact
        floor = needs.seconds(at, compact)
        if name != PRODUCTS:
            floors.check(name, each, floor)
        contenders[name] = {
            **each.as_json(),
            "times_as_fast_as_best_peer": peers[best] / each.median,
            "peak_bytes": fresh.peak_bytes(name, task_name, options) if name in facts and peaks and not quick else None,
            "floor_s": floor,
            **facts.get(name, {}),
        }
    return {
        "work": task.work + "; gradients to zero, forward, loss, backward",
        "task": task_name,
        "options": dict(options),
        "layer_rates": rates,
        "floor": {**needs.as_json(), **at.as_json()},
        "best_peer": best,
        "contenders": contenders,
        "omitted": missing,
    }


def _rates(spikes: Sequence[Tensor]) -> list[float]:
    rates = [z.mean().item() for z in spikes]
    for number, rate in enumerate(rates, 1):
        if not SILENT < rate < BUSY:
            raise ImplausibleError(
                f"layer {number} fires at {rate:.4f} spikes per step, which is not realistic for a network."
            )
    return rates


def _gradient(net: Any, task: Task) -> Tensor:
    step.training_step(net, task)()
    return net.gradient().clone()


def _agreement(name: str, net: Any, task: Task, wanted: Sequence[Tensor]) -> float:
    """Return the fraction of neuron-steps, over all layers, at which a contender equals the reference.

    Sums over spikes are exact in any order, so neurosim must agree everywhere unless the input is not spikes. Other
    libraries round the membrane in another order, and a spike that moves by a step also moves later ones.
    """
    with torch.no_grad():
        found = net.spikes(net.prepare(task.x))
    same = sum(int((z == w).sum()) for z, w in zip(found, wanted, strict=True))
    share = same / sum(w.numel() for w in wanted)
    spiking = bool(((task.x == 0) | (task.x == 1)).all())
    if share < (1.0 if CONTENDERS[name].ours and spiking else AGREEMENT):
        raise ImplausibleError(f"{name} agrees with the reference at only {share:.5f} of the neuron-steps.")
    return share


def table(result: Mapping[str, Any]) -> str:
    """Return the comparisons in ``result["cases"]`` as text."""
    return "\n\n".join("\n".join(_lines(case)) for case in result["cases"])


def _lines(case: Mapping[str, Any]) -> list[str]:
    rates = ", ".join(f"{rate:.1%}" for rate in case["layer_rates"])
    lines = [case["work"], f"layers fire at {rates} of the steps; x peer: times as fast as the best peer"]
    lines.append(f"{'':20}{'median':>12}{'p10':>12}{'p90':>12}{'x peer':>8}{'peak':>11}{'agree':>10}{'grad':>7}")
    for name, each in case["contenders"].items():
        middle = "".join(f"{1e3 * each[key]:9.2f} ms" for key in ("median_s", "p10_s", "p90_s"))
        peak = f"{each['peak_bytes'] / 1e6:8.1f} MB" if each["peak_bytes"] is not None else ""
        agree, cosine = each.get("spikes_that_agree"), each.get("gradient_cosine")
        checked = "" if agree is None else f"{agree:10.4%}{cosine:7.3f}"
        lines.append(f"{name:20}{middle}{each['times_as_fast_as_best_peer']:8.2f}{peak:>11}{checked}")
    lines += _floors(case)
    most = max(each["calls"] for each in case["contenders"].values())
    for name, each in case["contenders"].items():
        if each["calls"] < most:
            lines.append(f"{name} is slow: {each['calls']} calls, {most} of the others")
        if each.get("compile_s"):
            lines.append(f"{name} compiled in {each['compile_s']:.1f} s, not included")
    lines += [f"{name} differs: {each['differs']}" for name, each in case["contenders"].items() if each.get("differs")]
    lines += [f"{name} omitted: {why}" for name, why in case["omitted"].items()]
    return lines


def _floors(case: Mapping[str, Any]) -> list[str]:
    """Return a line for each floor: with dense input gradients, and without where a contender may omit them."""
    floor = case["floor"]
    found = {}
    for name, each in case["contenders"].items():
        compact = name in CONTENDERS and CONTENDERS[name].compact
        flops = floor["flops"] + (0.0 if compact else floor["input_flops"])
        found["floor, compact" if compact else "floor"] = (
            f"{1e3 * each['floor_s']:9.2f} ms   ({flops / 1e9:.3g} G operations at "
            f"{floor['product_flops_per_s'] / 1e9:.0f} G/s or {floor['bytes'] / 1e6:.1f} MB at "
            f"{floor['copy_bytes_per_s'] / 1e9:.0f} GB/s)"
        )
    return [f"{name:20}{text}" for name, text in found.items()]
