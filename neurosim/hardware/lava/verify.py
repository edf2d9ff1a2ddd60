"""Run a network on Lava and in the simulator, and compare them spike by spike."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from neurosim.graph import NetworkState
from neurosim.hardware.lava.exchange import Request
from neurosim.hardware.lava.export import Data, LavaExport, as_arrays, to_lava
from neurosim.hardware.lava.mapping import lava_layout
from neurosim.hardware.lava.runner import run_graph
from neurosim.network import Network


@dataclass(frozen=True)
class NodeVerification:
    """The comparison of one population.

    Attributes
    ----------
    compared : int
        Steps times samples times neurons.
    spikes_simulator, spikes_lava : int
        Spikes of either.
    differing : int
        Where only one of the two spikes.
    """

    name: str
    compared: int
    spikes_simulator: int
    spikes_lava: int
    differing: int


@dataclass(frozen=True)
class Difference:
    """The first spike that only one of the two has; everything after it may be its consequence.

    Attributes
    ----------
    node : str
        Population.
    neuron : tuple of int
        Index in the population's shape.
    step, sample : int
        When, and in which sample.
    spikes_simulator, spikes_lava : bool
        Which of the two spikes.
    v_simulator, v_lava : float
        Membrane before reset.
    v_th : float
        Threshold.
    distance : float
        The smaller of the two distances from the threshold. About 1e-16 speaks of rounding: the two sum in different
        orders. Anything much larger speaks of a wrong export.
    """

    node: str
    neuron: tuple[int, ...]
    step: int
    sample: int
    spikes_simulator: bool
    spikes_lava: bool
    v_simulator: float
    v_lava: float
    v_th: float
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
        Spikes that both have.
    spikes_differing : int
        Bins where only one of the two spikes.
    nodes : tuple of NodeVerification
        The same for each population.
    first_difference : Difference or None
        The earliest difference.
    spikes_differing_float32 : int or None
        For information: bins in which the simulator in single precision differs from itself in double precision. None
        if the network is not in single precision.
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
    def agrees(self) -> bool:
        """Whether no spike differs."""
        return self.spikes_differing == 0

    def to_json(self) -> str:
        """Return all of it as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    def summary(self) -> str:
        """Return it in a few lines."""
        head = (
            f"Lava and simulator: {self.spikes_differing} of {self.spikes_compared} neuron-steps differ, {self.spikes} "
            f"spikes in both ({self.samples} samples of {self.steps} steps, Lava took {self.seconds_lava:.1f} s)"
        )
        rows = [
            f"  {n.name}: {n.differing} differ; {n.spikes_simulator} spikes in the simulator, {n.spikes_lava} on Lava"
            for n in self.nodes
        ]
        first = self.first_difference
        if first is not None:
            rows.append(
                f"  first difference: {first.node} neuron {list(first.neuron)}, sample {first.sample}, "
                f"step {first.step}: v = {first.v_simulator!r} in the simulator, {first.v_lava!r} on Lava, "
                f"threshold {first.v_th!r} ({first.distance:.2g} away)"
            )
        return "\n".join([head, *rows])


def verify(
    net: Network, x: Data, *, timeout: float = 300.0, python: str | os.PathLike[str] | None = None
) -> Verification:
    """Export a network to Lava, run it there and in the simulator, and compare every spike of every population.

    Both compute in double precision: rounding in single precision could move a spike whose membrane comes within 1e-7
    of the threshold, and would hide whether the graph is right.

    Parameters
    ----------
    net : Network
        Network that Lava can hold.
    x : Tensor or array [T, B, ...], or mapping of input name to such
        Input.
    timeout : float
        Seconds for each run of Lava. There is one, and a second, of one sample, if spikes differ.
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
    """
    export = to_lava(net)
    return compare(export, net, x, timeout=timeout, python=python)


def compare(
    export: LavaExport, net: Network, x: Data, *, timeout: float = 300.0, python: str | os.PathLike[str] | None = None
) -> Verification:
    """Compare an export made before with the network it was made of; see `verify`."""
    data = as_arrays(export.network, x)
    lava = export.run(data, timeout=timeout, python=python)
    simulated = _simulate(export.network, data)
    nodes = tuple(_node(name, simulated[name], lava.spikes[name]) for name in lava.spikes)
    steps, samples = next(iter(data.values())).shape[:2]
    differing = sum(node.differing for node in nodes)
    return Verification(
        steps=steps,
        samples=samples,
        spikes_compared=sum(node.compared for node in nodes),
        spikes=sum(int(np.sum((simulated[name] == 1) & (lava.spikes[name] == 1))) for name in lava.spikes),
        spikes_differing=differing,
        nodes=nodes,
        first_difference=_first(export, data, simulated, lava.spikes, timeout, python) if differing else None,
        spikes_differing_float32=_differing_in_single(net, data, simulated),
        python=lava.python,
        seconds_lava=lava.seconds,
    )


def _simulate(net: Network, data: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    names = list(net.neurons())
    with torch.no_grad():
        _, _, values = net.recorded(_tensors(net, data), None, names)
    return {name: values[name].numpy() for name in names}


def _tensors(net: Network, data: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    dtype = next((p.dtype for p in net.parameters()), torch.float64)
    return {name: torch.from_numpy(values).to(dtype) for name, values in data.items()}


def _node(name: str, simulated: np.ndarray, lava: np.ndarray) -> NodeVerification:
    return NodeVerification(
        name, lava.size, int(np.sum(simulated == 1)), int(np.sum(lava == 1)), int(np.sum(simulated != lava))
    )


def _differing_in_single(net: Network, data: dict[str, np.ndarray], simulated: dict[str, np.ndarray]) -> int | None:
    if any(p.dtype != torch.float32 for p in net.parameters()):
        return None
    single = _simulate(copy.deepcopy(net).cpu(), data)
    return sum(int(np.sum(single[name] != simulated[name])) for name in simulated)


def _first(
    export: LavaExport,
    data: dict[str, np.ndarray],
    simulated: dict[str, np.ndarray],
    lava: dict[str, np.ndarray],
    timeout: float,
    python: str | os.PathLike[str] | None,
) -> Difference:
    differs = {name: np.argwhere(simulated[name] != lava[name]) for name in lava}
    node = min((name for name in differs if len(differs[name])), key=lambda name: int(differs[name][0][0]))
    step, sample, *neuron = (int(k) for k in differs[node][0])
    cut = {name: values[: step + 1, sample : sample + 1] for name, values in data.items()}
    v_simulator = float(_membrane_simulator(export.network, cut, node)[tuple(neuron)])
    v_lava = float(_membrane_lava(export, cut, node, timeout, python)[tuple(neuron)])
    v_th = float(_everywhere(export.network.neurons()[node].value("v_th"), export.network.shape(node))[tuple(neuron)])
    return Difference(
        node=node,
        neuron=tuple(neuron),
        step=step,
        sample=sample,
        spikes_simulator=bool(simulated[node][step, sample][tuple(neuron)]),
        spikes_lava=bool(lava[node][step, sample][tuple(neuron)]),
        v_simulator=v_simulator,
        v_lava=v_lava,
        v_th=v_th,
        distance=min(abs(v_simulator - v_th), abs(v_lava - v_th)),
    )


def _membrane_simulator(net: Network, data: dict[str, np.ndarray], node: str) -> np.ndarray:
    """Return the membrane [*shape] at the last step before reset: that step is run by neurons that do not reset."""
    x = _tensors(net, data)
    state: NetworkState | None = None
    with torch.no_grad():
        if len(next(iter(x.values()))) > 1:
            _, state = net({name: values[:-1] for name, values in x.items()})
        without_reset = copy.deepcopy(net)
        without_reset.neurons()[node].reset = None
        _, _, values = without_reset.recorded({name: v[-1:] for name, v in x.items()}, state, [f"{node}.v"])
    return values[f"{node}.v"].numpy()[0, 0]


def _membrane_lava(
    export: LavaExport, data: dict[str, np.ndarray], node: str, timeout: float, python: str | os.PathLike[str] | None
) -> np.ndarray:
    """Return the same of Lava, from its voltage a step earlier and its current now."""
    population = export.graph.population(node)
    sources = {s.name: lava_layout(data[s.name], len(s.shape)) for s in export.graph.sources}
    pairs = ((node, "v"), (node, "u"))
    traces = run_graph(export.graph, Request(sources, (node,), pairs), timeout=timeout, python=python).traces
    now = population.latency + len(next(iter(sources.values()))) - 1
    v, u = traces[node, "v"][now - 1, 0], traces[node, "u"][now, 0]
    membrane = (v * (1.0 - population.dv) + u + population.bias) * export.scale[node]
    return lava_layout(membrane, membrane.ndim)


def _everywhere(value: Any, shape: tuple[int, ...]) -> np.ndarray:
    return np.broadcast_to(value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value), shape)
