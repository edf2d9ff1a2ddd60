"""One NIR file in several simulators: which of them read it as written, and which rule the others follow.

``python -m benchmarks.interop`` writes each network as a NIR file, once in each form of the gain, runs the file with
neurosim and with every installed simulator, and prints the fraction of equal outputs. Where they differ, the file is
run again by the rule that the simulator was found to follow; agreement then proves the explanation.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import importlib.metadata
import io
import json
import logging
import math
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

import neurosim as ns
from neurosim.errors import NeurosimError
from neurosim.exchange.nir import from_nir, write_nir
from neurosim.files.atomic import replaced

DT = 1e-4  # snnTorch has no other time step
GAINS = ("weights", "tau/dt")


def lif(gain: float) -> ns.Neuron:
    """Return LIF neurons."""
    return ns.LIF(dt=DT, tau_mem=2e-3, r=gain)


def cuba(gain: float) -> ns.Neuron:
    """Return current-based LIF neurons."""
    return ns.CubaLIF(dt=DT, tau_mem=2e-3, tau_syn=1e-3, r=gain)


def conv(neuron: Callable[[float], ns.Neuron], pool: ns.Neuron | Any, gains: tuple[float, float, float]) -> ns.Network:
    """Return a convolutional network with pooling."""
    return ns.Sequential(
        ns.Input((2, 12, 12)),
        ns.Conv2d(2, 4, 3, padding=1, bias=True),
        neuron(gains[0]),
        pool,
        ns.Conv2d(4, 4, 3, bias=True),
        neuron(gains[1]),
        ns.Flatten(),
        ns.Linear(64, 5, bias=True),
        neuron(gains[2]),
    )


def driven(net: ns.Network) -> ns.Network:
    """Return `net` with increased weights, so that neurons without leak do not drift to negative values."""
    with torch.no_grad():
        for weight in net.synapses.parameters():
            weight.add_(0.05)
    return net


def looped(neuron: Callable[[float], ns.Neuron], gain: float, bias: bool = True) -> ns.Network:
    """Return a network with recurrent hidden neurons."""
    return ns.Sequential(
        ns.Linear(20, 30, bias=True),
        ns.Recurrent(neuron(gain), ns.Linear(30, 30, bias=bias)),
        ns.Linear(30, 5, bias=True),
        lif(60.0),
    )


def dense(neuron: Callable[[float], ns.Neuron], gain: float) -> ns.Network:
    """Return a network of two layers."""
    return ns.Sequential(ns.Linear(20, 30, bias=True), neuron(gain), ns.Linear(30, 5, bias=True), neuron(gain))


NETS: dict[str, Callable[[], ns.Network]] = {
    "LIF 20-30-5": lambda: dense(lif, 60.0),
    "CubaLIF 20-30-5": lambda: dense(cuba, 20.0),
    "conv, sum pooling, LIF": lambda: conv(lif, ns.SumPool2d(2), (50.0, 80.0, 80.0)),
    "conv, sum pooling, IF": lambda: driven(conv(lambda g: ns.IF(dt=DT, r=g), ns.SumPool2d(2), (0.6, 0.4, 0.4))),
    "conv, mean pooling, LIF": lambda: conv(lif, ns.AvgPool2d(2), (60.0, 200.0, 120.0)),
    "recurrent LIF": lambda: looped(lif, 50.0),
    "recurrent CubaLIF": lambda: looped(cuba, 15.0),
    "recurrent CubaLIF, loop without bias": lambda: looped(cuba, 15.0, bias=False),
}


def data(shape: tuple[int, ...], steps: int, samples: int) -> Tensor:
    """Return random spikes [T, B, *shape]."""
    return (torch.rand(steps, samples, *shape) < 0.3).float()


def stepwise(module: Any, x: Tensor) -> Tensor:
    """Step a module whose call takes and returns its state."""
    state, sent = None, []
    for i in x:
        z, state = module(i, state)
        sent.append(z)
    return torch.stack(sent)


def one_by_one(make: Callable[[], Any], x: Tensor) -> Tensor:
    """Run each sample separately and without a batch axis, since NIR's Flatten has none."""
    return torch.stack([stepwise(make(), x[:, k]) for k in range(x.shape[1])], 1)


def by_snntorch(graph: nir.NIRGraph, x: Tensor) -> Tensor:
    """Run a graph with snnTorch."""
    from snntorch.import_nir import import_from_nir

    return one_by_one(lambda: import_from_nir(copy.deepcopy(graph)), x)


def by_norse(graph: nir.NIRGraph, x: Tensor) -> Tensor:
    """Run a graph with Norse."""
    from norse.torch.utils.import_nir import from_nir as to_norse

    return one_by_one(lambda: to_norse(graph, ignore_warnings=True, dt=DT), x)


def by_spikingjelly(graph: nir.NIRGraph, x: Tensor) -> Tensor:
    """Run a graph with SpikingJelly."""
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    return stepwise(import_from_nir(graph, dt=DT), x)


def by_sinabs(graph: nir.NIRGraph, x: Tensor) -> Tensor:
    """Run a graph with sinabs, which has no time step."""
    from sinabs.nir import from_nir as to_sinabs

    given = to_sinabs(graph, batch_size=x.shape[1])(x.transpose(0, 1).flatten(0, 1))
    z: Tensor = given[0] if isinstance(given, tuple) else given
    return z.unflatten(0, (x.shape[1], x.shape[0])).transpose(0, 1)


TOOLS: dict[str, Callable[[nir.NIRGraph, Tensor], Tensor]] = {
    "snntorch": by_snntorch,
    "norse": by_norse,
    "spikingjelly": by_spikingjelly,
    "sinabs": by_sinabs,
}


def without_r(graph: nir.NIRGraph, x: Tensor) -> Tensor:
    """Follow Norse's rule: r of LIF is ignored, as if it were 1."""
    return from_nir(_with_r_one(graph), dt=DT)(x)[0]


def _with_r_one(graph: nir.NIRGraph) -> nir.NIRGraph:
    changed = copy.deepcopy(graph)
    for node in changed.nodes.values():
        if isinstance(node, nir.LIF):
            node.r = np.ones_like(node.r)
    return changed


def through_the_loop(graph: nir.NIRGraph, x: Tensor) -> Tensor:
    """Follow snnTorch's rule for a loop: external input also passes through the matrix of the loop.

    The matrix is applied to the sum of the external current and the previous spikes, with the bias once.
    """
    changed = copy.deepcopy(graph)
    for neuron, matrix in _loops(changed):
        changed.edges = [(a, matrix if b == neuron and a != matrix else b) for a, b in changed.edges]
    return from_nir(changed, dt=DT)(x)[0]


def in_steps(graph: nir.NIRGraph, x: Tensor) -> Tensor:
    """Follow sinabs' rule: tau is in steps, r and dt are ignored, n = trunc(v / v_threshold) spikes per step.

    They are subtracted, and a loop is not run. IF neurons are bounded by ``-v_threshold`` from below, LIF are not.
    """
    back = {matrix for _, matrix in _loops(graph)}
    after = {a: b for a, b in graph.edges if b not in back}
    name, value = next(n for n, node in graph.nodes.items() if isinstance(node, nir.Input)), x
    while name in after:
        name = after[name]
        node = graph.nodes[name]
        if isinstance(node, nir.Affine):
            value = functional.linear(value, _t(node.weight), _t(node.bias))
        elif isinstance(node, nir.Conv2d):
            flat = functional.conv2d(
                value.flatten(0, 1),
                _t(node.weight),
                _t(node.bias),
                tuple(map(int, node.stride)),
                tuple(map(int, node.padding)),
            )
            value = flat.unflatten(0, value.shape[:2])
        elif isinstance(node, nir.SumPool2d):
            pooled = functional.avg_pool2d(value.flatten(0, 1), tuple(map(int, node.kernel_size)), divisor_override=1)
            value = pooled.unflatten(0, value.shape[:2])
        elif isinstance(node, nir.Flatten):
            value = value.flatten(2)
        elif isinstance(node, (nir.IF, nir.LIF)):
            value = _many_spikes(node, value)
    return value


def _many_spikes(node: nir.IF | nir.LIF, current: Tensor) -> Tensor:
    leaks = isinstance(node, nir.LIF)
    decay = torch.exp(-1.0 / _t(node.tau)) if leaks else 1.0
    threshold, v, sent = _t(node.v_threshold), torch.zeros_like(current[0]), []
    for i in current:
        v = decay * v + i
        n = (v / threshold).trunc().clamp_min(0.0)
        v = v - n * threshold
        v = v if leaks else torch.maximum(v, -threshold)
        sent.append(n)
    return torch.stack(sent)


def _t(values: Any) -> Tensor:
    return torch.as_tensor(np.asarray(values)).float()


def late_loop(graph: nir.NIRGraph, x: Tensor) -> Tensor:
    """Follow nirtorch's rule for a loop: the output of its matrix is late, so its bias is missing in the first step."""
    changed = copy.deepcopy(graph)
    for neuron, matrix in _loops(changed):
        size = len(changed.nodes[matrix].weight)
        changed.nodes[f"{matrix} late"] = nir.Delay(np.full(size, DT))
        late = f"{matrix} late"
        changed.edges = [(a, late if (a, b) == (matrix, neuron) else b) for a, b in changed.edges] + [(late, neuron)]
    return from_nir(changed, dt=DT)(x)[0]


def _loops(graph: nir.NIRGraph) -> list[tuple[str, str]]:
    """Return each neuron with the matrix of its loop."""
    return [(a, b) for a, b in graph.edges if (b, a) in graph.edges and hasattr(graph.nodes[b], "weight")]


def in_double(graph: nir.NIRGraph, x: Tensor) -> Tensor:
    """Run neurosim in double precision: agreement with it means that only rounding differs in single precision."""
    return from_nir(graph, dt=DT, dtype=torch.float64)(x.double())[0].float()


RULES: dict[str, dict[str, Callable[[nir.NIRGraph, Tensor], Tensor]]] = {
    "snntorch": {"input through the loop's matrix": through_the_loop},
    "norse": {
        "loop's bias late": late_loop,
        "r of LIF ignored": without_r,
        "r of LIF ignored, loop's bias late": lambda graph, x: late_loop(_with_r_one(graph), x),
    },
    "spikingjelly": {"loop's bias late": late_loop, "rounding: neurosim in double precision": in_double},
    "sinabs": {"tau in steps, many spikes, subtracted": in_steps},
}


def agreement(ours: Tensor, theirs: Tensor) -> float:
    """Return the fraction of equal values over neurons, steps and samples."""
    return float((ours == theirs).double().mean())


def measure(steps: int, samples: int, nets: list[str]) -> list[dict[str, Any]]:
    """Run all networks by all tools."""
    rows: list[dict[str, Any]] = []
    for number, name in enumerate(nets):
        torch.manual_seed(number)
        net = NETS[name]()
        x = data(net.shape("input"), steps, samples)
        for gain in GAINS:
            with tempfile.TemporaryDirectory() as folder:
                write_nir(net, Path(folder) / "net.nir", gain=gain)
                graph = nir.read(Path(folder) / "net.nir")
                ours = from_nir(Path(folder) / "net.nir", dt=DT)(x)[0]
            for tool, run in TOOLS.items():
                row = {"network": name, "gain": gain, "tool": tool, "spikes": int(ours.sum())}
                rows.append({**row, **compared(tool, run, graph, x, ours)})
                print(line(rows[-1]), flush=True)
    return rows


def compared(tool: str, run: Callable[..., Tensor], graph: nir.NIRGraph, x: Tensor, ours: Tensor) -> dict[str, Any]:
    """Return the comparison of one tool and one graph."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            theirs = run(graph, x)
    except ModuleNotFoundError as error:
        return {"error": f"not installed: {error.name}"}
    except Exception as error:  # any error of another program is a result here
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:90]}"}
    if theirs.shape != ours.shape:
        return {"error": f"gives the output {list(theirs.shape[2:])}, not {list(ours.shape[2:])}"}
    found: dict[str, Any] = {"theirs": int(theirs.sum()), "equal": agreement(ours, theirs)}
    if found["equal"] < 1.0:
        for rule, by_rule in RULES[tool].items():
            with contextlib.suppress(NeurosimError, RuntimeError):
                equal = agreement(by_rule(graph, x), theirs)
                if equal > found.get("equal by rule", -1.0):
                    found |= {"rule": rule, "equal by rule": equal}
    return found


def line(row: dict[str, Any]) -> str:
    """Return a row as text."""
    head = f"{row['network']:36} {row['gain']:8} {row['tool']:13} {row['spikes']:7}"
    if "error" in row:
        return f"{head}  {row['error']}"
    text = f"{head} {row['theirs']:7} {row['equal']:7.4f}"
    return text + (f"  {row['equal by rule']:.4f} by the rule: {row['rule']}" if "rule" in row else "")


def main(arguments: list[str] | None = None) -> int:
    """Run the networks given on the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.interop", description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to this file")
    parser.add_argument("--quick", action="store_true", help="one network for a few steps, to check that it runs")
    chosen = parser.parse_args(arguments)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    versions = {}
    for name in ("nir", "nirtorch", *TOOLS):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    print(", ".join(f"{name} {version}" for name, version in versions.items()), f"torch {torch.__version__}")
    print(f"{'network':36} {'gain':8} {'simulator':13} {'spikes':>7} {'theirs':>7}   equal")
    with torch.no_grad():
        rows = measure(40, 2, list(NETS)[:1]) if chosen.quick else measure(400, 4, list(NETS))
    if any(math.isnan(row.get("equal", 0.0)) for row in rows):
        return 1
    if chosen.json:
        with replaced(chosen.json) as part:
            part.write_text(json.dumps({"versions": versions, "rows": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
