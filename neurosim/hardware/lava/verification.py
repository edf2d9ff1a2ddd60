"""Comparison of a network on Lava with the simulator, spike by spike."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from neurosim.errors import NothingCompared
from neurosim.files.notebook import text_html
from neurosim.hardware.lava.exchange import Request
from neurosim.hardware.lava.export import LavaExport, to_lava
from neurosim.hardware.lava.inputs import Data, as_arrays
from neurosim.hardware.lava.integers import is_integer
from neurosim.hardware.lava.layout import lava_layout
from neurosim.hardware.lava.populations import GRADED, INTEGER_GRADED, PROCESSES, READ_OUT
from neurosim.hardware.lava.probes import INTEGER, VARIABLES
from neurosim.hardware.lava.runner import run_graph
from neurosim.network.network import Network

_ROUNDING = 1e-9  # of the largest value: allowed difference of graded outputs and membranes, whose sums differ in order


@dataclass(frozen=True)
class NodeVerification:
    """The comparison of one population.

    Attributes
    ----------
    compared : int
        Steps times samples times neurons.
    spikes_simulator, spikes_lava : int
        Spikes of each, graded ones included; 0 for a membrane that is read out.
    differing : int
        Number of outputs that differ: spikes exactly, graded ones and membranes beyond 1e-9 of the largest.
    largest : float
        Largest difference.
    states_differing : int or None
        For fixed-point models: number of currents u and voltages v that differ, of all steps, samples and neurons.
    is_silent : bool
        Whether all outputs of both are 0, so that none could have differed.
    """

    name: str
    compared: int
    spikes_simulator: int
    spikes_lava: int
    differing: int
    largest: float
    states_differing: int | None = None
    is_silent: bool = False


@dataclass(frozen=True)
class Difference:
    """The first output or state that differs; later differences may follow from it.

    Attributes
    ----------
    node : str
        Population.
    neuron : tuple of int
        Index in the population's shape.
    step, sample : int
        Step and sample.
    sent_simulator, sent_lava : float
        Outputs.
    v_simulator, v_lava : float
        Membrane before reset, or another value that the core compares with its threshold.
    v_th : float or None
        Threshold; None where there is none. Of a fixed-point neuron all three are integers, the threshold 64 times its
        mantissa.
    distance : float
        The smaller of the two distances from the threshold, or between the two. About 1e-16 is rounding: the order of
        sums differs. A much larger distance is a wrong export.
    """

    node: str
    neuron: tuple[int, ...]
    step: int
    sample: int
    sent_simulator: float
    sent_lava: float
    v_simulator: float
    v_lava: float
    v_th: float | None
    distance: float


@dataclass(frozen=True)
class Verification:
    """Result of `verify`.

    Attributes
    ----------
    steps, samples : int
        Size of the run.
    spikes_compared : int
        Neuron-step bins compared, over all samples and populations.
    spikes : int
        Spikes in both.
    spikes_differing : int
        Bins with a spike in only one of the two.
    nodes : tuple of NodeVerification
        Comparison of each population.
    first_difference : Difference or None
        The earliest difference.
    spikes_differing_float32 : int or None
        For information: bins that differ between the simulator in single and in double precision. None if the network
        is not in single precision.
    python : str
        Version of the Python that ran Lava.
    seconds_lava : float
        Wall time of Lava's run.
    """

    steps: int
    samples: int
    spikes_compared: int
    spikes: int
    spikes_differing: int
    nodes: tuple[NodeVerification, ...]
    first_difference: Difference | None
    spikes_differing_float32: int | None
    python: str
    seconds_lava: float

    @property
    def silent(self) -> tuple[str, ...]:
        """Populations without a spike on either side, or with a membrane of 0: of them nothing was shown."""
        return tuple(node.name for node in self.nodes if node.is_silent)

    @property
    def agrees(self) -> bool:
        """Whether no spike differs, nor any state that was compared; see `silent` for what was not compared."""
        return self.spikes_differing == 0 and not any(node.states_differing for node in self.nodes)

    def to_json(self) -> str:
        """Return everything as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    def _repr_html_(self) -> str:
        return text_html(self.summary())

    def summary(self) -> str:
        """Return the result in a few lines."""
        head = (
            f"Lava and simulator: {self.spikes_differing} of {self.spikes_compared} neuron-steps differ, {self.spikes} "
            f"spikes in both ({self.samples} samples of {self.steps} steps, Lava took {self.seconds_lava:.1f} s)"
        )
        rows = [
            f"  {n.name}: {n.differing} differ; {n.spikes_simulator} spikes in the simulator, {n.spikes_lava} on Lava"
            + ("" if n.states_differing is None else f"; {n.states_differing} of {2 * n.compared} states differ")
            for n in self.nodes
        ]
        if self.silent:
            rows.append(f"  {without_evidence(self.silent)}")
        first = self.first_difference
        if first is not None:
            rows.append(
                f"  first difference: {first.node} neuron {list(first.neuron)}, sample {first.sample}, "
                f"step {first.step}: v = {first.v_simulator!r} in the simulator, {first.v_lava!r} on Lava, "
                f"threshold {first.v_th!r} ({first.distance:.2g} away); sent {first.sent_simulator:g} and "
                f"{first.sent_lava:g}"
            )
        return "\n".join([head, *rows])


def verify(
    net: Network,
    x: Data,
    *,
    together: bool = False,
    timeout: float = 300.0,
    python: str | os.PathLike[str] | None = None,
) -> Verification:
    """Run a network on Lava and in the simulator, and compare every spike of every population.

    An integer network of Loihi neurons runs on Lava's fixed-point models, and every current and voltage is compared
    too, bit for bit. All others run on the floating-point models.

    Both compute in double precision: rounding in single precision could move a spike whose membrane is within 1e-7 of
    the threshold, which would hide whether the graph is right.

    Parameters
    ----------
    net : Network
        Network that Lava can hold.
    x : Tensor or array [T, B, ...], or mapping of input name to such
        Input.
    together : bool
        Whether all samples are in one run of Lava; see `LavaExport.run`.
    timeout : float
        Seconds for each run of Lava. There is one, and another of one sample if spikes differ.
    python : path, optional
        Interpreter that has lava-nc; the running one if left out.

    Returns
    -------
    Verification

    Raises
    ------
    ExportError
        When Lava cannot hold the network.
    ShapeError, InputError
        When `x` does not fit or is not finite.
    TargetRunError
        When Lava is missing, fails or takes too long.

    Warns
    -----
    NothingCompared
        When a population sent no spike on either side.
    """
    export = to_lava(net)
    return compare(export, net, x, together=together, timeout=timeout, python=python)


def compare(
    export: LavaExport,
    net: Network,
    x: Data,
    *,
    together: bool = False,
    timeout: float = 300.0,
    python: str | os.PathLike[str] | None = None,
) -> Verification:
    """Compare an export with the network it was made from; see `verify`."""
    data = as_arrays(export.network, x)
    names = list(export.network.neurons())
    integer = export.graph.model == "fixed_pt"
    integers = [name for name in names if integer and export.graph.population(name).process in ("LIF", "LIFReset")]
    states = [f"{name}.{variable}" for name in integers for variable in ("u", "v")]
    lava = export.run(data, record=[*names, *states], together=together, timeout=timeout, python=python)
    simulated = _simulate(export.network, data, states)
    sends_other = {name: _differs(export, name, simulated[name], lava.outputs[name]) for name in names}
    differs, nodes = dict(sends_other), []
    for name in names:
        other = [simulated[s] != lava.traces[s] for s in states if s.rpartition(".")[0] == name]
        node = _node(name, simulated[name], lava.outputs[name], sends_other[name], _kind(export.network, name))
        if other:
            node = dataclasses.replace(node, states_differing=sum(int(o.sum()) for o in other))
            differs[name] = sends_other[name] | other[0] | other[1]
        nodes.append(node)
    steps, samples = next(iter(data.values())).shape[:2]
    spiking = [name for name in names if _kind(export.network, name) != "membrane"]
    first = any(where.any() for where in differs.values())
    result = Verification(
        steps=steps,
        samples=samples,
        spikes_compared=sum(node.compared for node in nodes),
        spikes=sum(int(np.sum((simulated[name] != 0) & (lava.outputs[name] != 0))) for name in spiking),
        spikes_differing=sum(node.differing for node in nodes),
        nodes=tuple(nodes),
        first_difference=_first(export, data, simulated, lava.outputs, differs, timeout, python) if first else None,
        spikes_differing_float32=_differing_in_single(net, data, simulated),
        python=lava.python,
        seconds_lava=lava.seconds,
    )
    if result.silent:
        warnings.warn(without_evidence(result.silent), NothingCompared, stacklevel=3)
    return result


def without_evidence(silent: Sequence[str]) -> str:
    """Return what to say of populations of which nothing was compared."""
    return (
        f"no spike was compared of {', '.join(silent)}, which sent none: that shows nothing. Give an input at which "
        "they spike."
    )


def _kind(net: Network, name: str) -> str:
    core = net.neurons()[name].core
    return "membrane" if core in READ_OUT else "graded" if core in GRADED else "spikes"


def _differs(export: LavaExport, name: str, simulated: np.ndarray, lava: np.ndarray) -> np.ndarray:
    if _kind(export.network, name) == "spikes" or export.graph.model == "fixed_pt":
        return np.asarray(simulated != lava)
    return np.asarray(np.abs(simulated - lava) > _ROUNDING * max(1.0, float(np.abs(simulated).max())))


def _simulate(net: Network, data: dict[str, np.ndarray], states: Sequence[str] = ()) -> dict[str, np.ndarray]:
    names = [*net.neurons(), *states]
    with torch.no_grad():
        values = net.run(_tensors(net, data), None, names).recorded
    return {name: values[name].numpy() for name in names}


def _tensors(net: Network, data: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    dtype = next((p.dtype for p in net.parameters()), torch.float64)
    return {name: torch.from_numpy(values).to(dtype) for name, values in data.items()}


def _node(name: str, simulated: np.ndarray, lava: np.ndarray, differs: np.ndarray, kind: str) -> NodeVerification:
    spikes = (0, 0) if kind == "membrane" else (int(np.sum(simulated != 0)), int(np.sum(lava != 0)))
    largest = float(np.abs(simulated - lava).max())
    is_silent = not simulated.any() and not lava.any()
    return NodeVerification(name, lava.size, *spikes, int(differs.sum()), largest, is_silent=is_silent)


def _differing_in_single(net: Network, data: dict[str, np.ndarray], simulated: dict[str, np.ndarray]) -> int | None:
    if any(p.dtype != torch.float32 for p in net.parameters()) or is_integer(net):
        return None
    single = _simulate(copy.deepcopy(net).cpu(), data)
    spiking = [name for name in simulated if _kind(net, name) == "spikes"]
    return sum(int(np.sum(single[name] != simulated[name])) for name in spiking)


def _first(
    export: LavaExport,
    data: dict[str, np.ndarray],
    simulated: dict[str, np.ndarray],
    lava: dict[str, np.ndarray],
    differs: dict[str, np.ndarray],
    timeout: float,
    python: str | os.PathLike[str] | None,
) -> Difference:
    places = {name: np.argwhere(where) for name, where in differs.items() if where.any()}
    node = min(places, key=lambda name: int(places[name][0][0]))
    step, sample, *rest = (int(k) for k in places[node][0])
    neuron, net = tuple(rest), export.network
    cut = {name: values[: step + 1, sample : sample + 1] for name, values in data.items()}
    sent = float(simulated[node][step, sample][neuron]), float(lava[node][step, sample][neuron])
    v_simulator = float(_compared_simulator(net, cut, node)[neuron])
    v_lava = float(_compared_lava(export, cut, node, timeout, python)[neuron])
    core = net.neurons()[node]
    v_th, distance = None, abs(v_simulator - v_lava)
    if "v_th" in core.core.parameters:
        v_th = float(_everywhere(core.value("v_th"), net.shape(node))[neuron])
        v_th *= 64.0 if export.graph.model == "fixed_pt" and core.core not in INTEGER_GRADED else 1.0
        distance = min(abs(v_simulator - v_th), abs(v_lava - v_th))
    return Difference(node, neuron, step, sample, *sent, v_simulator, v_lava, v_th, distance)


def _compared_simulator(net: Network, data: dict[str, np.ndarray], node: str) -> np.ndarray:
    """Return the value compared with the threshold [*shape] at the last step: a local variable of the core's step."""
    core = net.neurons()[node].core
    if core in INTEGER_GRADED:  # without memory or local variable: the output
        with torch.no_grad():
            values = net.run(_tensors(net, data), None, [node]).recorded
        return values[node].numpy()[-1, 0]
    name = f"{node}.{'voltage' if is_integer(net) else PROCESSES[core].compared}"
    with torch.no_grad():
        values = net.run(_tensors(net, data), None, [name]).recorded
    return values[name].numpy()[-1, 0]


def _compared_lava(
    export: LavaExport, data: dict[str, np.ndarray], node: str, timeout: float, python: str | os.PathLike[str] | None
) -> np.ndarray:
    """Return the same of Lava, from its variables at this step and the one before."""
    population = export.graph.population(node)
    sources = {s.name: lava_layout(data[s.name], len(s.shape)) for s in export.graph.sources}
    integer = export.graph.model == "fixed_pt"
    if export.network.neurons()[node].core in INTEGER_GRADED:
        done = run_graph(export.graph, Request(sources, (node,)), timeout=timeout, python=python)
        return lava_layout(done.sent[node][-1, 0], len(export.network.shape(node)))
    variables, value = INTEGER if integer else VARIABLES[population.process]
    request = Request(sources, (node,), tuple((node, variable) for variable in variables))
    done = run_graph(export.graph, request, timeout=timeout, python=python)
    seen = {variable: done.traces[node, variable][:, 0] for variable in variables}
    compared = value(population, seen, population.latency + len(next(iter(sources.values()))) - 1)
    if variables == ("residue",):
        compared = compared + done.sent[node][-1, 0]
    if not integer:
        compared = compared * export.scale[node]
    return lava_layout(compared, compared.ndim)


def _everywhere(value: Any, shape: tuple[int, ...]) -> np.ndarray:
    return np.broadcast_to(value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value), shape)
